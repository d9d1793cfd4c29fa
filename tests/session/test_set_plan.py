"""Every item of a set as often as asked, evenly; beside threads that evolve, or alone."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config.set_table import GridTable
from evolver.errors import OrderError
from evolver.optimizers.fixed import FixedCodes
from evolver.session.schedule import REFERENCE, Thread
from evolver.session.set_plan import SetPlan

from .test_schedule import aborted, respond, session, thread


def plan(images=5, repeats=2, blocks=3, places=(), seed=0):
    return SetPlan(
        images=images,
        places=places,
        repeats=repeats,
        blocks=blocks,
        rng=np.random.default_rng(seed),
    )


@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 30),
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.1, 9)), max_size=4),
)
def test_every_item_comes_once_before_any_comes_again_and_shares_are_even(
    images, repeats, blocks, places
):
    made = plan(images, repeats, blocks, tuple(places))
    shares = [made.block(k) for k in range(made.blocks)]
    lengths = {len(share) for share in shares}
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1
    assert max(lengths) == made.largest
    shown = [item for share in shares for item in share]
    assert len(shown) == made.showings == images * max(1, len(places)) * repeats
    for k in range(repeats):
        once = shown[k * made.items : (k + 1) * made.items]
        assert sorted(item.item for item in once) == list(range(made.items))
        assert {item.repeat for item in once} == {k}
    if made.items > 1:
        assert all(a.item != b.item for a, b in pairwise(shown))
    for item in shown:
        assert item.image == item.item // max(1, len(places))
        if places:
            place = places[item.item % len(places)]
            assert (item.x_deg, item.y_deg, item.size_deg) == place
    assert made.block(-1) == made.block(made.blocks) == ()


def test_passes_have_orders_of_their_own_that_follow_the_seed():
    made = plan(30, 2, 1)
    order = [item.item for item in made.block(0)]
    assert order[:30] != order[30:]
    assert order == [item.item for item in plan(30, 2, 1).block(0)]
    assert order != [item.item for item in plan(30, 2, 1, seed=1).block(0)]


def test_a_grid_is_centred_and_spans_what_it_says():
    grid = GridTable(columns=3, rows=2, span_deg=(4.0, 1.0), sizes_deg=(1.0, 2.0))
    places = grid.places((1.0, -1.0), 3.0)
    assert len(places) == 12
    assert places[:3] == ((-1.0, -1.5, 1.0), (-1.0, -1.5, 2.0), (1.0, -1.5, 1.0))
    assert places[-1] == (3.0, -0.5, 2.0)
    assert GridTable().places((2.0, 1.0), 3.0) == ((2.0, 1.0, 3.0),)
    centred = GridTable(columns=2, center_deg=(0.0, 0.0)).places((9.0, 9.0), 3.0)
    assert centred == ((-4.0, 0.0, 3.0), (4.0, 0.0, 3.0))


def fixed(name, made, *, d=6):
    codes = np.random.default_rng(3).normal(size=(made.images, d))
    rows = [
        np.array([item.image for item in made.block(k)], dtype=np.intp)
        for k in range(made.blocks)
    ]
    like = thread(name)
    return Thread(name, FixedCodes(codes, rows), like.fitness, like.rng, plan=made)


def run(made, answers=respond):
    """Run a session to its end, each block committed before the next; return its blocks."""
    blocks = []
    while not made.finished:
        block = made.propose()
        made.commit(block.index, answers(block))
        blocks.append(block)
    return blocks


def items_of(blocks, k):
    return Counter(
        (item.item, item.repeat)
        for block in blocks
        for proposal in block.proposals
        if proposal.thread == k
        for item in proposal.items
    )


@given(
    st.sampled_from(["together", "references", "alternate"]),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_beside_a_thread_every_showing_is_planned_once_and_no_block_is_empty(
    schedule, generations, images, times, repeats, references
):
    made = fixed("set", plan(images, times, generations))
    blocks = run(
        session(
            thread("a"),
            made,
            generations=generations,
            schedule=schedule,
            repeats=repeats,
            references=references,
        )
    )
    expected = {(i, k): 1 for i in range(images) for k in range(times)}
    assert items_of(blocks, 1) == expected
    assert all(block.presentations for block in blocks)
    planned = [p for block in blocks for p in block.presentations if p.thread == 1]
    rounds = [p.repeat for p in planned]  # whatever stands between, and however blocks are cut
    assert rounds == sorted(rounds)
    assert len(planned) == images * times  # whatever `repeats` is, which is of the others
    for block in blocks:
        for p in block.presentations:
            item = block.item(p)
            assert (item is None) == (p.thread != 1)
            if item is not None:
                assert p.repeat == item.repeat
                codes = next(q.codes for q in block.proposals if q.thread == 1)
                np.testing.assert_array_equal(
                    codes[p.row],
                    made.optimizer._codes[item.image],
                )


@pytest.mark.parametrize("schedule", ["together", "references"])
def test_shares_keep_step_with_the_generations(schedule):
    made = session(
        thread("a"), fixed("set", plan(6, 1, 4)), generations=4, schedule=schedule, references=0
    )
    with_both = [{p.thread for p in block.proposals} for block in run(made)]
    assert with_both == [{0, 1}] * 4
    few = session(thread("a"), fixed("set", plan(2, 1, 4)), generations=4, references=0)
    shares = [len(block.proposals) for block in run(few)]
    assert shares == [2, 1, 2, 1]


@pytest.mark.parametrize("schedule", ["together", "references", "alternate"])
def test_a_set_changes_nothing_of_what_evolves(schedule):
    alone = run(session(thread("a"), thread("b"), schedule=schedule))
    beside = run(
        session(thread("a"), thread("b"), fixed("set", plan(9, 1, 4)), schedule=schedule)
    )
    for k in (0, 1):
        ours, theirs = (
            [p.codes for block in blocks for p in block.proposals if p.thread == k]
            for blocks in (alone, beside)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_alone_it_waits_for_nothing():
    made = session(fixed("long", plan(12, 1, 4)), fixed("short", plan(2, 1, 4)), generations=99)
    assert made.lengths == (4, 2)
    assert made.generations == 4
    blocks = []
    while made.can_propose:
        blocks.append(made.propose())
    assert len(blocks) == 4
    assert not made.finished
    assert made.generations_done == (0, 0)
    with pytest.raises(OrderError, match="finished"):
        made.propose()
    for block in reversed(blocks):  # in any order
        made.commit(block.index, respond(block))
    assert made.finished
    assert made.generations_done == (4, 2)
    assert made.blocks_done == 4


def test_of_a_set_nothing_is_needed_to_learn_from():
    """All its showings may be lost: with `drop`, its block is committed all the same."""
    made = session(fixed("set", plan(4, 1, 1)), references=1, generations=1)
    made.threads = tuple(
        Thread(t.name, t.optimizer, thread("x", missing="drop").fitness, t.rng, plan=t.plan)
        for t in made.threads
    )
    block = made.propose()
    lost = [aborted(p.presentation) for p in block.presentations]
    assert made.still_to_show(block.index, lost) == ()
    outcome = made.commit(block.index, lost)
    assert np.isnan(outcome.threads[0].scores).all()


def test_references_are_shown_among_a_set():
    made = session(fixed("set", plan(20, 1, 2)), references=3, generations=1)
    blocks = run(made)
    for block in blocks:
        assert sum(p.thread == REFERENCE for p in block.presentations) == 3


class TestFixedCodes:
    """It stands where an optimizer does."""

    codes = np.arange(6.0).reshape(3, 2)
    rows = (np.array([0, 1], np.intp), np.array([2, 0], np.intp))

    def test_asks_for_what_is_planned_whatever_was_scored(self):
        made = FixedCodes(self.codes, self.rows)
        assert (made.d, made.popsize) == (2, 2)
        np.testing.assert_array_equal(made.ask(), self.codes[[0, 1]])
        np.testing.assert_array_equal(made.ask(), self.codes[[2, 0]])
        with pytest.raises(OrderError, match="all 2 generations"):
            made.ask()

    def test_goes_on_from_where_it_stood(self):
        made = FixedCodes(self.codes, self.rows)
        made.ask()
        again = made.go_on_from(made.state, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(again.ask(), self.codes[[2, 0]])
