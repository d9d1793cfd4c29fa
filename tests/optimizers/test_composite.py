"""Composite: its parts are the optimizers they are alone, and what is held stays."""

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import (
    CholeskyCMA,
    Composite,
    SepCMA,
    load,
    state_from_dict,
    state_to_dict,
)
from tests.optimizers.conformance import OptimizerConformance, hill

TWO = (
    {"slice": [0, 2], "optimizer": "cholesky", "options": {"sigma": 0.3}},
    {"slice": [2, 6], "optimizer": "sep", "options": {"sigma": 0.6}},
)
HELD = (
    {"slice": [0, 2], "value": [5.0, -5.0]},
    {"slice": [2, 6], "optimizer": "sphere", "options": {"base": False}},
)


class TestComposite(OptimizerConformance):
    def make(self, rng, **options):
        return Composite(self.d, rng=rng, parts=TWO, popsize=9, **options)


class TestCompositeWithAPartHeld(OptimizerConformance):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return Composite(self.d, rng=rng, parts=HELD, popsize=11, initial=given, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


@pytest.mark.soak  # as one
class TestCompositeOfComposites(OptimizerConformance):
    def make(self, rng, **options):
        inner = {"slice": [0, 5], "optimizer": "composite", "options": {"parts": [*HELD[:1]]}}
        inner["options"]["parts"].append({"slice": [2, 5], "optimizer": "genetic"})
        parts = [inner, {"slice": [5, 6], "optimizer": "random"}]
        return Composite(self.d, rng=rng, parts=parts, popsize=9, **options)

    test_only_ranks_matter = None  # the spacing of scores reaches it


class Fork:
    """One stream for several, in turns: what each of them draws is what the whole draws."""

    def __init__(self, draws):
        self.draws = draws

    def standard_normal(self, shape):
        out = self.draws.pop(0)
        assert out.shape == shape
        return out.copy()


def test_each_part_is_what_it_is_alone():
    rng = np.random.default_rng(3)
    first, second = [], []
    for _ in range(20):
        first.append(rng.standard_normal((9, 2)))
        second.append(rng.standard_normal((9, 4)))
    start = np.arange(6.0)
    a = CholeskyCMA(2, rng=Fork(first), sigma=0.3, popsize=9, initial=start[:2])
    b = SepCMA(4, rng=Fork(second), sigma=0.6, popsize=9, initial=start[2:])
    both = Composite(6, rng=np.random.default_rng(3), parts=TWO, popsize=9, initial=start)
    for _ in range(20):
        codes = both.ask()
        x, y = a.ask(), b.ask()
        np.testing.assert_array_equal(codes, np.hstack([x, y]))
        both.tell(codes[1:], hill(codes)[1:])
        a.tell(x[1:], hill(codes)[1:])
        b.tell(y[1:], hill(codes)[1:])


def test_held_values_never_change():
    optimizer = TestCompositeWithAPartHeld().fresh()
    for codes in TestCompositeWithAPartHeld().run(optimizer, 5):
        np.testing.assert_array_equal(codes[:, :2], np.tile([5.0, -5.0], (11, 1)))
        assert (np.ptp(codes[:, 2:], axis=0) > 0).all()


@pytest.mark.parametrize("initial", [None, np.arange(6.0), np.tile(np.arange(6.0), (9, 1))])
def test_held_where_it_starts(initial):
    parts = ({"slice": [0, 4], "optimizer": "sep"}, {"slice": [4, 6]})
    optimizer = Composite(
        6, rng=np.random.default_rng(0), parts=parts, popsize=9, initial=initial
    )
    expected = [0, 0] if initial is None else [4, 5]
    for codes in TestComposite().run(optimizer, 3, lambda x: np.arange(len(x), dtype=float)):
        np.testing.assert_array_equal(codes[:, 4:], np.tile(expected, (9, 1)))


def test_where_one_part_refuses_none_learns():
    parts = (
        {"slice": [0, 2], "optimizer": "sep"},
        {"slice": [2, 4], "optimizer": "cholesky", "options": {"sigma": 1e150}},
    )
    optimizer = Composite(
        4, rng=np.random.default_rng(0), parts=parts, popsize=9, initial=np.zeros((9, 4))
    )
    optimizer.tell(optimizer.ask(), np.zeros(9))
    codes = before = None

    def go_on_for_ever():
        nonlocal codes, before
        while True:
            codes, before = optimizer.ask(), state_to_dict(optimizer.state)
            optimizer.tell(codes, codes[:, 2])

    with pytest.raises(DataError, match="sigma and the scale of A"):
        go_on_for_ever()
    for name, value in state_to_dict(optimizer.state).items():
        np.testing.assert_array_equal(value, before[name])
    optimizer.tell(codes, -codes[:, 2] * 0)  # and may be told again


def test_as_a_session_file_gives_it():
    import tomllib

    table = tomllib.loads("""
        [[parts]]
        slice = [0, 2]
        optimizer = "cholesky"
        options = { sigma = 0.3 }
        [[parts]]
        slice = [2, 6]
        optimizer = "sep"
        options = { sigma = 0.6 }
    """)
    a = load("composite", 6, rng=np.random.default_rng(7), popsize=9, **table)
    np.testing.assert_array_equal(a.ask(), TestComposite().fresh().ask())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "parts must be a list"),
        ("cholesky", "parts must be a list"),
        ((*TWO, {"slice": [6, 7], "value": 0}), r"slice of parts\[2\] must be \[6, stop\]"),
        (TWO[:1], "parts must cover the code up to 6; they end at 2"),
        (TWO[::-1], r"slice of parts\[0\] must be \[0, stop\] with stop from 1 to 6"),
        ((TWO[0], {"slice": [1, 6], "optimizer": "sep"}), r"\[2, stop\]"),
        ((TWO[0], {"slice": [2, 6.5], "optimizer": "sep"}), r"got \[2, 6.5\]"),
        ((TWO[0], {"optimizer": "sep"}), r"parts\[1\] .*found no slice"),
        (
            (TWO[0], {"slice": [2, 6], "optimiser": "sep"}),
            "found optimiser; did you mean 'optimizer'",
        ),
        ((TWO[0], "sep"), "found 'sep'"),
        ((TWO[0], TWO[1] | {"value": 0}), "an optimizer or a value; it has both"),
        ((TWO[0], {"slice": [2, 6], "options": {"a": 1}}), "no optimizer to take them"),
        (({"slice": [0, 6]},), "all are held fixed"),
        ((TWO[0], {"slice": [2, 6], "optimizer": "spe"}), r"parts\[1\]: optimizer must be one"),
        ((TWO[0], TWO[1] | {"options": {"sigma": 0}}), r"parts\[1\]: sigma must be"),
        ((TWO[0], TWO[1] | {"options": {"rng": 0}}), r"parts\[1\] must leave .*found rng"),
        ((TWO[0], {"slice": [2, 6], "optimizer": "sphere"}), "base = false"),
    ],
)
def test_parts_that_do_not_fit_are_named(parts, message):
    with pytest.raises(ConfigError, match=message):
        Composite(6, rng=np.random.default_rng(0), parts=parts, popsize=9)


@pytest.mark.parametrize("value", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_values_of_another_shape_are_refused(value):
    parts = ({"slice": [0, 2], "value": value}, {"slice": [2, 6], "optimizer": "sep"})
    with pytest.raises(DataError, match=r"value of parts\[0\]"):
        Composite(6, rng=np.random.default_rng(0), parts=parts)


def test_initial_that_does_not_fit_is_refused():
    for wrong in (np.zeros(5), np.zeros((2, 2, 6)), np.zeros((0, 6)), np.full(6, np.nan)):
        with pytest.raises(DataError, match=r"initial must have|finite"):
            Composite(6, rng=np.random.default_rng(0), parts=TWO, initial=wrong)
    parts = ({"slice": [0, 2]}, {"slice": [2, 6], "optimizer": "sep"})
    with pytest.raises(ConfigError, match="Give it a value"):
        Composite(6, rng=np.random.default_rng(0), parts=parts, initial=np.eye(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part1_stop": 5}, "must cover 0 to 6 in order"),
        ({"part0_stop": 3}, "part 0 of the state must have 3 finite dimensions; it has 2"),
        ({"parts": 1}, "has no part1"),
        ({"parts": 3}, "missing or wrong: 'part2_optimizer'"),
        ({"spare": 1}, "has no spare"),
        ({"d": "six"}, "missing or wrong"),
        ({"part0_optimizer": np.array([300.0])}, "a text of the state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, message):
    values = state_to_dict(TestComposite().fresh().state) | change
    with pytest.raises(DataError, match=message):
        Composite.from_state(
            state_from_dict(Composite.state_type, values), rng=np.random.default_rng(0)
        )
