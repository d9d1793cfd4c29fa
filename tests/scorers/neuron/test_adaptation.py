"""What repeats cost: at once, often, and after a while."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.neuron import Adaptation


def test_half_of_the_depth_is_lost_at_once_and_all_of_it_never():
    memory = Adaptation(0.4, 1e9)
    assert memory.left("a", 0) == 1.0
    memory.add("a", 0)
    assert memory.left("a", 1) == pytest.approx(0.8)
    for k in range(1, 100):
        memory.add("a", k)
    assert memory.left("a", 100) == pytest.approx(0.6)
    assert memory.left("b", 100) == 1.0


def test_a_trace_fades_by_the_presentations_between():
    memory = Adaptation(0.4, 10.0)
    memory.add("a", 0)
    trace = math.exp(-2.5)
    assert memory.left("a", 25) == pytest.approx(1 - 0.4 * (1 - 2**-trace))
    assert memory.left("a", 1000) == pytest.approx(1.0)


@given(
    shown=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=60),
    depth=st.floats(0, 1),
    showings=st.floats(20, 100),
    data=st.data(),
)
def test_what_is_left_follows_from_the_presentations_before_in_any_order(
    shown, depth, showings, data
):
    memory = Adaptation(depth, showings)
    for image, number in data.draw(st.permutations(shown)):
        memory.add(str(image), number)
    for image in range(4):
        before = {number for other, number in shown if other == image and number < 150}
        trace = sum(math.exp(-(150 - number) / showings) for number in before)
        for showing in (1, 3):
            left = 1 - depth * (1 - 2 ** -(trace + showing - 1))
            assert memory.left(str(image), 150, showing=showing) == pytest.approx(left)


def test_images_long_forgotten_take_no_memory():
    memory = Adaptation(0.5, 5.0)
    for k in range(10_000):
        memory.add(f"image {k}", k)
        memory.add("always", k)
    assert len(memory._seen) < 200
    assert len(memory._seen["always"]) < 60
