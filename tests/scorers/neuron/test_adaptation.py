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


@given(st.lists(st.integers(0, 3), max_size=60), st.floats(0, 1), st.floats(1, 100))
def test_what_is_left_follows_from_all_traces(images, depth, showings):
    memory = Adaptation(depth, showings)
    for k, image in enumerate(images):
        trace = sum(
            math.exp(-(k - j) / showings)
            for j, other in enumerate(images[:k])
            if other == image
        )
        expected = 1 - depth * (1 - 2**-trace)
        assert memory.left(str(image), k) == pytest.approx(expected, abs=1e-3)
        memory.add(str(image), k)


def test_images_long_forgotten_take_no_memory():
    memory = Adaptation(0.5, 5.0)
    for k in range(10_000):
        memory.add(f"image {k}", k)
    assert len(memory._traces) < 100
