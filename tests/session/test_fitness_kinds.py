"""Every kind of fitness against the conformance suite, and each against its own arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.config.fitness_table import FitnessTable
from evolver.session.fitness import Target
from evolver.session.fitness_state import FitnessState

from .fitness_conformance import FitnessConformance, resolve

ALL = tuple(range(6))
VALUES = np.array([3.0, 40.0, 10.0, 0.0, 25.0, 7.0])


def target(distance, place, **others):
    return FitnessTable(ALL, kind="target", distance=distance, target=place, **others)


class TestRate(FitnessConformance):
    in_each_form = True
    table = FitnessTable(("c", 0), weights=(2.0, -1.0), baseline_ms=(0.0, 50.0))


class TestRateMinimised(FitnessConformance):
    table = FitnessTable((1,), minimise=True)


class TestLateEarly(FitnessConformance):
    in_each_form = True
    table = FitnessTable((0, 3), weights=(1.0, 0.5), kind="late-early")


class TestContrast(FitnessConformance):
    table = FitnessTable((1,), kind="contrast", others=(0, "c"), baseline_ms=(0.0, 50.0))


class TestContrastWithTheStrongest(FitnessConformance):
    table = FitnessTable(
        (1, 2), kind="contrast", others=(0, 4, 5), others_by="max", others_weight=2.0
    )


class TestNormalised(FitnessConformance):
    in_each_form = True
    table = FitnessTable(ALL, normalise="references")


class TestNormalisedContrast(FitnessConformance):
    table = FitnessTable((1,), kind="contrast", others=(0, 2), normalise="references")


class TestCosineToAFile(FitnessConformance):
    in_each_form = True
    table, target = target("cosine", "x.npy"), Target(VALUES, sha256="ab" * 32)


class TestCorrelationWithAFile(FitnessConformance):
    table, target = target("correlation", "x.npy"), Target(VALUES, sha256="ab" * 32)


class TestSquaredErrorToAFile(FitnessConformance):
    table, target = target("squared-error", "x.npy"), Target(VALUES, sha256="ab" * 32)


class TestCosineToAReference(FitnessConformance):
    table, target = target("cosine", "reference:1"), Target(np.zeros(0), reference=1)


class TestNormalisedCorrelationWithAReference(FitnessConformance):
    table = target("correlation", "reference:1", normalise="references")
    target = Target(np.zeros(0), reference=1)


class TestSquaredErrorToTheBest(FitnessConformance):
    table = target("squared-error", "best")


def rates(*values):
    return {"rates": np.array(values, dtype=float)}


def spikes(*pairs):
    units, times = zip(*pairs, strict=True)
    return {"units": np.array(units, "<u4"), "times_ms": np.array(times, "<f4")}


def test_late_less_early_by_hand():
    table = FitnessTable(
        (0,), kind="late-early", late_ms=(150.0, 250.0), early_ms=(50.0, 100.0)
    )
    arrays = spikes((0, 60.0), (0, 150.0), (0, 249.9), (0, 250.0), (0, 120.0))
    assert resolve(table).score("spikes", arrays) == pytest.approx(2 / 0.1 - 1 / 0.05)


@pytest.mark.parametrize(("by", "expected"), [("mean", 8 - 0.5 * 3), ("max", 8 - 0.5 * 4)])
def test_contrast_by_hand(by, expected):
    table = FitnessTable(
        (0, 1), kind="contrast", others=(3, 5), others_by=by, others_weight=0.5
    )
    assert resolve(table).score("rates", rates(6, 10, 99, 2, 99, 4)) == expected


def test_distances_by_hand():
    values = np.array([1.0, 2, 3, 4, 5, 9])
    for distance, expected in (
        ("cosine", values @ VALUES / np.linalg.norm(values) / np.linalg.norm(VALUES)),
        ("correlation", np.corrcoef(values, VALUES)[0, 1]),
        ("squared-error", -np.mean((values - VALUES) ** 2)),
    ):
        fitness = resolve(target(distance, "x.npy"), Target(VALUES))
        assert fitness.score("rates", rates(*values)) == pytest.approx(expected)
        itself = fitness.score("rates", rates(*VALUES))
        assert itself == pytest.approx(0.0 if distance == "squared-error" else 1.0)


@pytest.mark.parametrize("distance", ["cosine", "correlation"])
def test_a_response_without_a_direction_is_like_nothing(distance):
    fitness = resolve(target(distance, "x.npy"), Target(VALUES))
    assert fitness.score("rates", rates(*[0.0] * 6)) == 0.0
    if distance == "correlation":
        assert fitness.score("rates", rates(*[0.1] * 6)) == 0.0


def follow(fitness, *blocks):
    """Return what is known after blocks of references' responses, (row, values) each."""
    state = FitnessState()
    for block in blocks:
        shown = [(-1, row, fitness.response("rates", rates(*v))) for row, v in block]
        state = fitness.follow(state, shown)
    return state


@given(
    st.lists(
        st.lists(st.lists(st.floats(0, 500), min_size=6, max_size=6), max_size=5),
        min_size=1,
        max_size=5,
    )
)
def test_the_norm_is_the_mean_and_spread_of_all_references_so_far(blocks):
    fitness = resolve(FitnessTable(ALL, normalise="references"))
    state = follow(fitness, *[[(0, values) for values in block] for block in blocks])
    every = np.array([values for block in blocks for values in block]).reshape(-1, 6)
    assert state.blocks == len(blocks)
    assert state.showings == len(every)
    assert fitness.is_ready(state) == (len(every) >= 2)
    if len(every) >= 2:
        np.testing.assert_allclose(state.mean, every.mean(axis=0), atol=1e-9)
        least = 1000 / 150 / np.sqrt(len(every))  # one spike in all showings
        sd = np.maximum(every.std(axis=0, ddof=1), least)
        np.testing.assert_allclose(state.sd(1000 / 150), sd, rtol=1e-6)


def test_a_z_is_a_distance_from_the_references_in_their_spread():
    fitness = resolve(FitnessTable((0, 1), normalise="references"))
    block = [(0, [10, 0, 0, 0, 0, 0]), (1, [30, 0, 0, 0, 0, 0])]
    state = follow(fitness, block)
    spread = np.sqrt(200.0)
    silent = 1000 / 150 / np.sqrt(2)  # a unit that was silent: one spike in all showings
    got = fitness.score("rates", rates(20 + spread, 3 * silent, 0, 0, 0, 0), state)
    assert got == pytest.approx((1 + 3) / 2)


def test_the_target_is_the_mean_response_to_its_image_so_far():
    table = target("squared-error", "reference:1")
    fitness = resolve(table, Target(np.zeros(0), reference=1))
    one, two, other = [1, 2, 3, 4, 5, 6], [3, 2, 1, 0, 5, 6], [9] * 6
    assert not fitness.is_ready(follow(fitness, [(0, other)]))
    state = follow(fitness, [(0, other), (1, one)], [(1, two), (1, two)], [(0, other)])
    assert state.target_showings == 3
    np.testing.assert_allclose(state.target, np.mean([one, two, two], axis=0))


def test_the_best_is_each_units_highest_mean_over_an_images_showings():
    fitness = resolve(target("cosine", "best"))
    low, high = np.array([1.0, 9, 1, 1, 1, 1]), np.array([3.0, 1, 1, 1, 1, 1])
    state = fitness.follow(FitnessState(), [(0, 0, low), (0, 0, high), (1, 0, high)])
    np.testing.assert_array_equal(state.target, [3, 5, 1, 1, 1, 1])
    state = fitness.follow(state, [(0, 0, np.full(6, 4.0)), (-1, 2, np.full(6, 2.0))])
    np.testing.assert_array_equal(state.target, [4, 5, 4, 4, 4, 4])
    assert (state.blocks, state.target_showings) == (2, 4)


def test_a_plain_rate_is_scored_as_it_always_was():
    """To the last bit, and with no references asked for."""
    rng = np.random.default_rng(3)
    weights = tuple(rng.normal(size=6))
    fitness = resolve(FitnessTable(ALL, weights=weights))
    assert fitness.reference_blocks == 0
    assert not fitness.learns
    for _ in range(50):
        values = rng.gamma(2.0, 20.0, 6)
        assert fitness.score("rates", rates(*values)) == values @ np.array(weights)
