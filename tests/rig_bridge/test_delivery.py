"""What the engine remembers of answers: enough, and no more than that."""

from hypothesis import given
from hypothesis import strategies as st

from rig_bridge.delivery import BLOCKS_KEPT, Answers


def test_a_long_session_does_not_grow_it():
    answers = Answers()
    for block in range(500):
        answers.use(block, 1)
        answers.forget(block, [block])
        for presentation in range(20):
            answers.deliver(block, presentation, 1)
            answers.acknowledge(block, presentation)
    assert len(answers._blocks) <= BLOCKS_KEPT + 1


def test_what_is_not_safe_is_not_forgotten():
    answers = Answers()
    for presentation in (1, 2):
        answers.use(0, 1)
        answers.deliver(0, presentation, 1)
    answers.acknowledge(0, 1)
    answers.forget(1000, [])
    assert answers.delivered(0, 2) == 1
    assert not answers.is_safe(0, 2, 1)
    assert answers.is_safe(0, 1, 1)
    answers.acknowledge(0, 2)
    assert answers.delivered(0, 2) == 0  # forgotten, and the rig may forget it as well
    assert answers.is_safe(0, 2, 1)
    assert not answers._blocks


def test_a_block_that_is_still_open_is_not_forgotten():
    answers = Answers()
    answers.use(3, 2)
    answers.deliver(3, 7, 1)
    answers.acknowledge(3, 7)
    answers.forget(1000, [3])
    assert answers.last_attempt(3) == 2
    assert not answers.is_safe(3, 7, 2)
    assert not answers.is_safe(3, 8, 1)


def test_an_engine_that_was_restarted_lets_go_of_blocks_long_over():
    answers = Answers()
    answers.use(100, 1)
    answers.forget(100, [100])
    assert answers.is_safe(10, 5, 1)
    assert not answers.is_safe(99, 5, 1)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.integers(1, 4))))
def test_nothing_recent_is_ever_taken_for_safe_before_it_was_acknowledged(steps):
    answers, newest = Answers(), 0
    for block, presentation, attempt in steps:
        newest = max(newest, block)
        answers.use(block, attempt)
        answers.forget(newest, [block])
        if block >= newest - BLOCKS_KEPT and not answers.delivered(block, presentation):
            assert not answers.is_safe(block, presentation, attempt)
        answers.deliver(block, presentation, attempt)
