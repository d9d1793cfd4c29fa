"""The loop's logic, with optimizers that really learn and responses made by hand."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver import seeds
from evolver.config.tables import FitnessTable
from evolver.errors import MissingResponseError, OrderError
from evolver.optimizers import CholeskyCMA
from evolver.session.fitness import Fitness
from evolver.session.schedule import (
    REFERENCE,
    Position,
    Session,
    Thread,
    balanced_order,
)
from rig_bridge.trials import TrialResult


def thread(name, *, seed=1, unit=0, d=6, popsize=8, **fitness):
    rng = seeds.stream(seed, "optimizer", name)
    table = FitnessTable((unit,), **fitness)
    return Thread(
        name,
        CholeskyCMA(d, rng=rng, popsize=popsize, sigma=1.0),
        Fitness.resolve(table, ("u0", "u1"), key="fitness"),
        rng,
    )


def session(*threads, references=3, repeats=1, generations=4, seed=1, **options):
    order = partial(seeds.stream, seed, "order")
    return Session(
        threads,
        references=references,
        repeats=repeats,
        generations=generations,
        on_ms=100.0,
        off_ms=50.0,
        order=order,
        **options,
    )


def answer(number, arrays, *, status="ok"):
    return TrialResult(
        presentation=number,
        attempt=1,
        status=status,
        reason="" if status == "ok" else "fixation",
        commanded_ns=0,
        onset_ns=0,
        offset_ns=0,
        onset_source="simulated",
        form="rates",
        arrays=arrays,
    )


def rates(number, value=0.0, other=0.0):
    return answer(number, {"rates": np.array([value, other])})


def aborted(number):
    return answer(number, {}, status="aborted")


def respond(block, *, references=1.0):
    """Answer every presentation: minus the squared norm of its code; unit 1 the same, x 10."""
    answers = []
    for p in block.presentations:
        if p.thread == REFERENCE:
            value = references
        else:
            codes = next(q.codes for q in block.proposals if q.thread == p.thread)
            value = -float((codes[p.row] ** 2).sum())
        answers.append(rates(p.presentation, value, 10 * value))
    return answers


def commit(s, block):
    return s.commit(block.index, respond(block))


def run(s):
    outcomes = []
    while not s.finished:
        block = s.propose()
        outcomes.append((block, commit(s, block)))
    return outcomes


def test_every_image_is_shown_as_often_as_asked():
    s = session(thread("a"), thread("b", popsize=5), references=3, repeats=2)
    block = s.propose()
    shown = [(p.thread, p.row, p.repeat) for p in block.presentations]
    images = [(0, i) for i in range(8)] + [(1, i) for i in range(5)]
    images += [(REFERENCE, i) for i in range(3)]
    assert sorted(shown) == sorted((*image, r) for image in images for r in range(2))
    assert [p.repeat for p in block.presentations] == [0] * 16 + [1] * 16


def test_presentations_are_numbered_through_the_session():
    s = session(thread("a"), generations=3)
    numbers = []
    for _ in range(3):
        block = s.propose()
        numbers += [p.presentation for p in block.presentations]
        commit(s, block)
    assert numbers == list(range(33))
    assert s.finished
    with pytest.raises(OrderError, match="finished after 3 generations"):
        s.propose()


def test_the_same_seed_gives_the_same_session_and_another_does_not():
    first, second = run(session(thread("a"))), run(session(thread("a")))
    for (x, _), (y, _) in zip(first, second, strict=True):
        assert x.presentations == y.presentations
        np.testing.assert_array_equal(x.proposals[0].codes, y.proposals[0].codes)
    other = run(session(thread("a", seed=2), seed=2))
    assert other[0][0].presentations != first[0][0].presentations


def test_adding_a_thread_changes_no_other_threads_codes():
    alone, together = run(session(thread("a"))), run(session(thread("b"), thread("a")))
    for (x, _), (y, _) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(x.proposals[0].codes, y.proposals[1].codes)


def test_threads_learn_from_their_own_unit():
    s = session(thread("a", unit=0), thread("b", unit=1))
    block = s.propose()
    outcome = commit(s, block)
    for k, factor in ((0, 1.0), (1, 10.0)):
        expected = -factor * (block.proposals[k].codes ** 2).sum(axis=1)
        np.testing.assert_allclose(outcome.threads[k].scores, expected)
        np.testing.assert_allclose(outcome.reference_scores[k], [factor] * 3)


def test_it_climbs():
    outcomes = run(session(thread("a", popsize=20), generations=30))
    scores = [outcome.threads[0].scores.mean() for _, outcome in outcomes]
    assert np.mean(scores[-5:]) > 0.2 * np.mean(scores[:5])  # scores are negative


def test_the_state_before_ask_replays_the_generation():
    s = session(thread("a"))
    commit(s, s.propose())
    block = s.propose()
    import json

    rng = np.random.default_rng()
    rng.bit_generator.state = json.loads(block.proposals[0].rng_state)
    again = CholeskyCMA.from_state(block.proposals[0].state, rng=rng)
    np.testing.assert_array_equal(again.ask(), block.proposals[0].codes)


def test_repeats_are_averaged_and_their_sem_kept():
    s = session(thread("a", popsize=2), references=0, repeats=3)
    block = s.propose()
    values = {0: [1.0, 2.0, 6.0], 1: [4.0, 4.0, 4.0]}
    outcome = s.commit(
        block.index,
        [rates(p.presentation, values[p.row][p.repeat]) for p in block.presentations],
    )
    np.testing.assert_allclose(outcome.threads[0].scores, [3.0, 4.0])
    sem = np.std([1.0, 2.0, 6.0], ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(outcome.threads[0].sem, [sem, 0.0])


class TestMissing:
    def test_reshow_asks_until_the_last_attempt_then_drops(self):
        s = session(thread("a", max_attempts=2), references=0)
        block = s.propose()
        bad = block.presentations[3].presentation
        answers = [r if r.presentation != bad else aborted(bad) for r in respond(block)]
        assert s.still_to_show(block.index, answers) == (bad,)
        answers.append(aborted(bad))
        assert s.still_to_show(block.index, answers) == ()
        outcome = s.commit(block.index, answers)
        row = block.presentations[3].row
        assert np.flatnonzero(np.isnan(outcome.threads[0].scores)).tolist() == [row]

    def test_a_reshown_presentation_counts_once(self):
        s = session(thread("a"), references=0)
        block = s.propose()
        bad = block.presentations[0].presentation
        answers = [aborted(bad), *respond(block)]
        assert s.still_to_show(block.index, answers) == ()
        expected = -(block.proposals[0].codes ** 2).sum(axis=1)
        np.testing.assert_allclose(s.commit(block.index, answers).threads[0].scores, expected)

    def test_drop_leaves_the_image_out_and_learns_from_the_rest(self):
        s, without = (session(thread("a", missing="drop"), references=0) for _ in range(2))
        block = s.propose()
        without.propose()
        answers = respond(block)
        bad = answers[2].presentation
        assert s.still_to_show(block.index, [*answers[:2], aborted(bad), *answers[3:]]) == ()
        s.commit(block.index, [*answers[:2], aborted(bad), *answers[3:]])
        without.commit(block.index, [*answers[:2], *answers[3:]])
        np.testing.assert_array_equal(
            s.propose().proposals[0].codes, without.propose().proposals[0].codes
        )

    def test_fail_raises_and_says_where(self):
        s = session(thread("a", missing="fail"), references=0)
        block = s.propose()
        with pytest.raises(MissingResponseError, match=r"thread 'a' in block 0"):
            s.still_to_show(block.index, [aborted(block.presentations[1].presentation)])

    def test_an_aborted_reference_never_fails_a_session(self):
        s = session(thread("a", missing="fail"))
        block = s.propose()
        answers = [
            r if p.thread != REFERENCE else aborted(p.presentation)
            for p, r in zip(block.presentations, respond(block), strict=True)
        ]
        assert s.still_to_show(block.index, answers) == ()
        assert np.isnan(s.commit(block.index, answers).reference_scores[0]).all()

    def test_an_unanswered_presentation_comes_back_whatever_the_policy(self):
        s = session(thread("a", missing="drop"))
        block = s.propose()
        everything = tuple(p.presentation for p in block.presentations)
        assert s.still_to_show(block.index, []) == everything
        assert s.still_to_show(block.index, respond(block)[:4]) == everything[4:]

    def test_a_generation_with_nothing_to_learn_from_is_shown_again(self):
        s = session(thread("a", missing="drop"), references=0)
        block = s.propose()
        numbers = [p.presentation for p in block.presentations]
        answers = [aborted(number) for number in numbers]
        assert s.still_to_show(block.index, answers) == tuple(numbers)
        with pytest.raises(OrderError, match="needs 2 scored images"):
            s.commit(block.index, answers)
        answers += [rates(numbers[0], 1.0), rates(numbers[1], 2.0)]
        assert s.still_to_show(block.index, answers) == ()
        assert np.isfinite(s.commit(block.index, answers).threads[0].scores).sum() == 2


def test_nothing_is_learnt_from_half_a_commit():
    s = session(thread("a"), thread("b"), references=0)
    block = s.propose()
    before = s.threads[0].optimizer.state
    answers = [
        rates(p.presentation, 1.0) if p.thread == 0 else aborted(p.presentation)
        for p in block.presentations
    ]
    with pytest.raises(OrderError, match="thread 'b' has 0"):
        s.commit(block.index, answers)
    assert s.threads[0].optimizer.state is before


def test_a_thread_learns_before_it_proposes():
    s = session(thread("a"))
    with pytest.raises(OrderError, match="block 0 must be proposed and not committed"):
        s.commit(0, [])
    block = s.propose()
    assert not s.can_propose
    with pytest.raises(OrderError, match="commit block 0 first"):
        s.propose()
    commit(s, block)
    assert s.can_propose
    with pytest.raises(OrderError, match="pending are none"):
        commit(s, block)


class TestSchedules:
    @staticmethod
    def blocks(s):
        """Run a session; return each block's threads and references."""
        return [([p.thread for p in b.proposals], b.references) for b, _ in run(s)]

    def test_together(self):
        s = session(thread("a"), thread("b"), generations=2)
        assert self.blocks(s) == [([0, 1], 3)] * 2

    def test_references_are_a_block_of_their_own(self):
        s = session(thread("a"), thread("b"), generations=2, schedule="references")
        assert self.blocks(s) == [([0, 1], 0), ([], 3)] * 2

    def test_without_references_there_are_no_blocks_for_them(self):
        s = session(thread("a"), references=0, generations=2, schedule="references")
        assert self.blocks(s) == [([0], 0)] * 2

    def test_threads_alternate(self):
        s = session(thread("a"), thread("b"), generations=2, schedule="alternate")
        assert self.blocks(s) == [([0], 3), ([1], 3)] * 2

    def test_references_overlap_the_next_generation(self):
        s = session(thread("a"), schedule="references")
        first = s.propose()
        second = s.propose()
        assert (second.proposals, second.references) == ((), 3)
        assert not s.can_propose  # the thread has not learnt yet
        commit(s, first)
        third = s.propose()
        assert s.pending == (second, third)
        outcome = commit(s, second)
        assert outcome.threads == ()
        np.testing.assert_allclose(outcome.reference_scores, [[1.0] * 3])

    @pytest.mark.parametrize("schedule", ["together", "references", "alternate"])
    def test_overlap_changes_nothing(self, schedule):
        """Blocks are the same whether each is awaited or as many as can be are on their way."""
        one = run(session(thread("a"), thread("b"), generations=5, schedule=schedule))
        s = session(thread("a"), thread("b"), generations=5, schedule=schedule)
        blocks = []
        while not s.finished:
            while s.can_propose:
                blocks.append(s.propose())
            commit(s, s.pending[0])
        assert len(blocks) == len(one)
        for x, (y, _) in zip(blocks, one, strict=True):
            assert x.presentations == y.presentations
            for p, q in zip(x.proposals, y.proposals, strict=True):
                np.testing.assert_array_equal(p.codes, q.codes)

    def test_references_can_be_asked_for_at_any_time(self):
        s = session(thread("a"), schedule="references", generations=2)
        commit(s, s.propose_references())
        assert s.generations_done == (0,)
        first = s.propose()
        extra = s.propose_references()  # stands for the ones the schedule would show now
        commit(s, first)
        assert s.generations_done == (1,)
        assert [p.thread for p in s.propose().proposals] == [0]
        commit(s, extra)
        with pytest.raises(OrderError, match="has none to show"):
            session(thread("a"), references=0).propose_references()


@pytest.mark.parametrize("schedule", ["together", "references", "alternate"])
@pytest.mark.parametrize("after", range(9))
def test_a_session_goes_on_from_a_position(schedule, after):
    """Interrupted with `after` blocks proposed, rebuilt from what a journal holds."""
    import json

    whole = [b for b, _ in run(session(thread("a"), thread("b"), schedule=schedule))]
    s = session(thread("a"), thread("b"), schedule=schedule)
    for _ in range(min(after, len(whole))):
        while not s.can_propose:
            commit(s, s.pending[0])
        s.propose()
    last = {p.thread: (b, p) for b in whole[: min(after, len(whole))] for p in b.proposals}
    threads = []
    for k, name in enumerate("ab"):
        fresh = thread(name)
        if k in last:
            block, proposal = last[k]
            fresh.rng.bit_generator.state = json.loads(proposal.rng_state)
            optimizer = CholeskyCMA.from_state(proposal.state, rng=fresh.rng)
            np.testing.assert_array_equal(optimizer.ask(), proposal.codes)
            if block.index not in [b.index for b in s.pending]:
                scores = -(proposal.codes**2).sum(axis=1)
                optimizer.tell(proposal.codes, scores)
            fresh = Thread(name, optimizer, fresh.fitness, fresh.rng)
        threads.append(fresh)
    done = whole[: min(after, len(whole))]
    position = Position(
        next_block=len(done),
        next_presentation=sum(len(b.presentations) for b in done),
        generations=tuple(
            sum(any(p.thread == k for p in b.proposals) for b in done) for k in (0, 1)
        ),
        last_was_threads=bool(done and done[-1].proposals),
        pending=s.pending,
    )
    again = session(*threads, schedule=schedule, position=position)
    blocks = []
    while not again.finished:
        while again.can_propose:
            blocks.append(again.propose())
        commit(again, again.pending[0])
    assert len(blocks) == len(whole) - len(done)
    for x, y in zip(blocks, whole[len(done) :], strict=True):
        assert x.presentations == y.presentations
        for p, q in zip(x.proposals, y.proposals, strict=True):
            np.testing.assert_array_equal(p.codes, q.codes)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 2**32))
def test_balanced_order_gives_each_group_its_share_at_every_moment(groups, seed):
    order = balanced_order(groups, np.random.default_rng(seed))
    assert sorted(order) == [(g, i) for g, m in enumerate(groups) for i in range(m)]
    if not order:
        return
    # A group's k-th member lies in the k-th of m equal parts of the block's time, so two
    # groups can never be more than two members apart in the shares they have had.
    seen = [0] * len(groups)
    for group, _ in order:
        seen[group] += 1
        for a, m in zip(seen, groups, strict=True):
            for b, n in zip(seen, groups, strict=True):
                if m and n:
                    assert abs(a / m - b / n) <= 1 / m + 1 / n + 1e-9


def test_balanced_order_is_random_within_that():
    orders = {tuple(balanced_order([4, 4], np.random.default_rng(i))) for i in range(50)}
    assert len(orders) == 50


def learning(name="a", **fitness):
    return thread(name, normalise="references", **fitness)


def test_scores_that_need_references_wait_for_them():
    s = session(learning(reference_blocks=2), thread("b"), references=3)
    first, second = s.propose(), s.propose()
    assert not first.proposals
    assert not second.proposals
    assert not s.can_propose
    with pytest.raises(OrderError, match=r"commit blocks \[0, 1\] first"):
        s.propose()
    assert not commit(s, first).news  # one of two
    assert s.can_propose
    third = s.propose()
    assert [p.thread for p in third.proposals] == [0, 1]
    assert not s.may_commit(third.index)  # however fast it was answered
    with pytest.raises(OrderError, match="commit block 1 before block 2"):
        commit(s, third)
    (news,) = commit(s, second).news
    assert news.startswith("a: units are normalised by the references, 6 showings so far")
    assert not commit(s, third).news
    run(s)
    assert s.finished


def test_references_that_were_all_lost_are_shown_again():
    s = session(learning(reference_blocks=1, missing="drop"), references=1)
    for _ in range(3):
        block = s.propose()
        assert not block.proposals
        outcome = s.commit(block.index, [aborted(p.presentation) for p in block.presentations])
        assert np.isnan(outcome.reference_scores[0]).all()
    for _ in range(2):  # one showing has no spread
        block = s.propose()
        assert not block.proposals
        commit(s, block)
    assert s.propose().proposals


def test_what_a_fitness_knows_goes_on_with_the_session():
    """The state that a commit hands out is all that another session needs."""
    whole = session(learning(reference_blocks=1), generations=2)
    outcomes = run(whole)
    head = session(learning(reference_blocks=1), generations=2)
    for _ in range(2):
        outcome = commit(head, head.propose())
    tail = session(
        head.threads[0],
        generations=2,
        position=Position(
            next_block=2,
            next_presentation=14,
            generations=(1,),
            last_was_threads=True,
            pending=(),
        ),
        fitness_states=outcome.fitness_states,
    )
    for expected, got in zip(outcomes[2:], run(tail), strict=True):
        for a, b in zip(expected[1].threads, got[1].threads, strict=True):
            np.testing.assert_array_equal(a.scores, b.scores)
