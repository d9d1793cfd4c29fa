"""Several blocks outstanding: the order a rig shows in, and the attempts an engine uses."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from rig_bridge import messages as m
from tests.rig_bridge.halves import (
    answer,
    ask,
    joined_engine,
    next_shown,
    present_all,
    said,
    welcomed_rig,
)
from tests.rig_bridge.samples import request, result


def test_blocks_are_shown_in_the_order_of_their_numbers_however_they_came():
    link = welcomed_rig()
    ask(link, request(block=2, presentations=(20, 21)))
    ask(link, request(block=1, presentations=(11, 10)))
    assert present_all(link) == [(1, 11, 1), (1, 10, 1), (2, 20, 1), (2, 21, 1)]


def test_what_is_asked_again_goes_to_the_end_of_its_own_block():
    link = welcomed_rig()
    ask(link, request(block=1, presentations=(10, 11, 12)))
    ask(link, request(block=2, presentations=(20, 21)))
    label = next_shown(link)
    link.presented(result(*label[1:], ok=False))
    link.flush()
    ask(link, request(block=1, attempt=2, presentations=(10,), known={10: 1}))
    ask(link, request(block=1, attempt=3, presentations=(13,)))  # more of a large block
    assert present_all(link) == [
        (1, 11, 1),
        (1, 12, 1),
        (1, 10, 2),
        (1, 13, 3),
        (2, 20, 1),
        (2, 21, 1),
    ]


def test_an_earlier_block_goes_first_even_when_a_later_one_has_begun():
    link = welcomed_rig()
    ask(link, request(block=2, presentations=(20, 21, 22)))
    assert next_shown(link) == (2, 20, 1)
    ask(link, request(block=1, presentations=(10,)))
    link.presented(result(20))
    assert present_all(link) == [(1, 10, 1), (2, 21, 1), (2, 22, 1)]


def test_blocks_that_share_an_image_keep_it_until_the_last_has_shown_it():
    link = welcomed_rig()
    first = request(block=1, presentations=(10,), images=1)
    later = request(block=2, presentations=(20,), images=1)
    later = dataclasses.replace(later, images=first.images, sha256=first.sha256)
    ask(link, first)
    ask(link, later)
    assert present_all(link) == [(1, 10, 1), (2, 20, 1)]
    ask(link, request(block=3, presentations=(30,), images=1))
    assert present_all(link) == [(3, 30, 1)]


def test_done_is_said_of_each_block_as_it_ends():
    link = welcomed_rig()
    ask(link, request(block=1, presentations=(10,)))
    ask(link, request(block=2, presentations=(20,)))
    link.presented(result(*next_shown(link)[1:]))
    assert said(link.flush(), m.Done) == [m.Done(1, 1)]
    link.presented(result(*next_shown(link)[1:]))
    assert said(link.flush(), m.Done) == [m.Done(2, 1)]


@st.composite
def conversations(draw):
    """What happens to a rig: parts of blocks are asked for, and images are shown."""
    steps, fresh = [], 0
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            steps.append(None)
            continue
        n = draw(st.integers(1, 4))
        steps.append((draw(st.integers(0, 3)), tuple(range(fresh, fresh + n))))
        fresh += n
    return steps


@given(conversations())
def test_the_order_is_by_block_then_as_asked_for(steps):
    """The model: of what waits, the smallest block; within it, the oldest."""
    link = welcomed_rig()
    waiting: list = []
    shown: list = []
    expected: list = []
    attempts: dict = {}
    for step in [*steps, *[None] * 64]:
        if step is None:
            label = next_shown(link)
            if label is not None:
                shown.append(label)
                link.presented(result(*label[1:]))
            if waiting:
                first = min(
                    waiting, key=lambda label: label[0]
                )  # min takes the first of equals
                waiting.remove(first)
                expected.append(first)
        else:
            block, presentations = step
            attempts[block] = attempt = attempts.get(block, 0) + 1
            ask(link, request(block, attempt, presentations))
            waiting += [(block, p, attempt) for p in presentations]
    assert shown == expected
    assert link.is_idle
    done = said(link.flush(), m.Done)
    assert {d.block: d.attempt for d in done} == attempts


def test_the_next_attempt_is_above_every_one_that_was_used():
    link = joined_engine(answer_timeout_s=10.0)
    assert link.next_attempt(7) == 1
    link.show(request(block=7, attempt=link.next_attempt(7)), 0.0)
    assert (link.next_attempt(7), link.next_attempt(8)) == (2, 1)
    assert [s.attempt for s in said(link.tick(11.0), m.Show)] == [2]  # of its own accord
    assert link.next_attempt(7) == 3
    assert said(link.show(request(block=7, attempt=3, presentations=(9,)), 0.0), m.Show)


def test_the_next_attempt_of_an_engine_that_resumed_is_above_every_one_the_rig_knows():
    link = joined_engine(answer_timeout_s=10.0)
    link.show(request(block=7, attempt=2), 0.0)
    answer(link, [result(0, 5)], block=7, attempt=5)  # the engine before had asked again
    assert link.next_attempt(7) == 6
    assert said(link.show(request(block=7, attempt=6, presentations=(9,)), 0.0), m.Show)


def test_two_blocks_are_answered_each_in_its_own_time():
    link = joined_engine()
    link.show(request(block=1, presentations=(10, 11)), 0.0)
    link.show(request(block=2, presentations=(20,)), 0.0)
    assert link.unanswered == {1: (10, 11), 2: (20,)}
    actions = answer(link, [result(20)], block=2)
    assert [type(a).__name__ for a in actions] == ["Responded", "BlockDone"]
    assert link.unanswered == {1: (10, 11)}
    actions = answer(link, [result(11), result(10)], block=1)
    assert (actions[1].block, link.unanswered) == (1, {})
