"""Tuning that was planted is found, and none where there is none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.axis_tuning import one_way, tuning
from evolver.analysis.tuning_shapes import shape_of
from evolver.errors import DataError
from tests.soak import examples

STEPS = np.linspace(-0.4, 0.4, 9)
GRID = np.linspace(-0.4, 0.4, 100)


def trials(curve, *, repeats=10, noise=2.0, seed=0):
    step = np.repeat(STEPS, repeats)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(step))
    return step[order], (curve(step) + rng.normal(0, noise, len(step)))[order]


def bell(x, *, centre=0.1, sd=0.15):
    return 12 + 20 * np.exp(-((x - centre) ** 2) / (2 * sd**2))


def test_a_planted_bell_is_found():
    found = tuning(*trials(bell))
    assert found.anova.tuned
    g = found.gaussian.parameters
    assert g["centre"] == pytest.approx(0.1, abs=0.03)
    assert g["sd"] == pytest.approx(0.15, abs=0.04)
    assert g["amplitude"] == pytest.approx(20, abs=4)
    assert g["base"] == pytest.approx(12, abs=3)
    assert found.peak.value == pytest.approx(0.1, abs=0.05)
    assert found.best_step.value == pytest.approx(0.1)
    assert (found.shape.bell, found.shape.unimodal, found.shape.monotonic) == (
        True,
        True,
        False,
    )
    assert found.best != "line"
    assert found.gaussian.explained.value == pytest.approx(1, abs=0.05)
    assert found.line.r2.value < 0.3


@pytest.mark.parametrize("slope", [30.0, -30.0])
def test_a_planted_ramp_is_found(slope):
    found = tuning(*trials(lambda x: 25 + slope * x))
    assert found.line.parameters["slope"] == pytest.approx(slope, abs=4)
    assert found.line.parameters["intercept"] == pytest.approx(25, abs=1)
    assert (found.shape.monotonic, found.shape.bell) == (True, False)
    assert found.peak.value == np.sign(slope) * 0.4


def test_fits_are_those_of_scipy():
    x, y = trials(bell, seed=3)
    found = tuning(x, y)
    line = stats.linregress(x, y)
    assert found.line.parameters == pytest.approx({
        "slope": line.slope,
        "intercept": line.intercept,
    })
    assert found.line.r2.value == pytest.approx(line.rvalue**2)
    anova = stats.f_oneway(*(y[x == step] for step in STEPS))
    assert (found.anova.f, found.anova.p) == pytest.approx((anova.statistic, anova.pvalue))
    within = np.mean([y[x == step].var(ddof=1) for step in STEPS])
    assert found.explainable.value == pytest.approx(1 - within / y.var(ddof=1))
    explained = found.line.r2.value / found.explainable.value
    assert found.line.explained.value == pytest.approx(explained)
    np.testing.assert_allclose(found.means, [y[x == step].mean() for step in STEPS])
    np.testing.assert_allclose(found.sems, [stats.sem(y[x == step]) for step in STEPS])


def test_the_gaussian_is_the_least_squares_one():
    x, y = trials(bell, seed=4)
    found = tuning(x, y).gaussian

    def squares(p):
        return ((y - p[0] * np.exp(-((x - p[1]) ** 2) / (2 * p[2] ** 2)) - p[3]) ** 2).sum()

    best = list(found.parameters.values())
    assert list(found.parameters) == ["amplitude", "centre", "sd", "base"]
    for i, factor in ((i, f) for i in range(4) for f in (0.98, 1.02)):
        assert squares([p * (factor if i == j else 1) for j, p in enumerate(best)]) >= squares(
            best
        )
    assert found.r2.value == pytest.approx(
        1 - squares(best) / ((y - y.mean()) ** 2).sum(), abs=1e-6
    )


def test_untuned_units_are_called_tuned_as_often_as_is_said():
    rng = np.random.default_rng(5)
    step = np.repeat(STEPS, 8)
    p = np.array([one_way(step, rng.poisson(20, len(step))).p for _ in range(2000)])
    assert 0.035 < (p < 0.05).mean() < 0.065
    assert (p < 0.01).mean() < 0.02


def test_an_axis_without_a_step_of_0_borrows_the_origins_trials():
    x, y = trials(bell)
    without = x != 0
    borrowed = tuning(x[without], y[without], origin=[20.0, np.nan, 30.0], restarts=0)
    assert borrowed.steps.tolist() == STEPS.tolist()
    assert borrowed.means[4] == 25.0
    own = tuning(x, y, origin=[1e6], restarts=0)
    assert own.means.max() < 100


@pytest.mark.parametrize(
    ("curve", "monotonic", "unimodal", "is_bell"),
    [
        (GRID, True, True, False),
        (-GRID, True, True, False),
        (bell(GRID), False, True, True),
        (-bell(GRID), False, False, False),
        (bell(GRID, centre=0.39), True, True, False),  # the fall is within the tolerance
        (bell(GRID, centre=-0.3) + bell(GRID, centre=0.3, sd=0.1), False, False, False),
        (GRID + 0.005 * np.sin(60 * GRID), True, True, False),
        (np.minimum(GRID, 0.3 - 0.5 * GRID), False, True, True),  # a slow fall is one
    ],
)
def test_shapes(curve, monotonic, unimodal, is_bell):
    found = shape_of(curve)
    assert (found.monotonic, found.unimodal, found.bell) == (monotonic, unimodal, is_bell)


def test_a_slow_way_back_is_one_and_a_bell_is_not_monotonic():
    """Steps of less than 2 % of the range, but 20 and 40 % of it together."""
    broad = bell(GRID, centre=0.2, sd=0.3)
    valley = 0.4 * np.abs(GRID - 0.1)
    for curve in (broad, valley):
        steps = np.abs(np.diff(curve)) / np.ptp(curve)
        assert steps.max() < 0.025
        assert not shape_of(curve).monotonic
    assert shape_of(broad).bell
    assert not shape_of(valley).bell


@pytest.mark.parametrize("kind", ["bell", "ramp", "valley", "two"])
def test_planted_shapes_are_found_in_noisy_trials(kind):
    curve = {
        "bell": lambda x: bell(x, sd=0.14),
        "ramp": lambda x: 24 + 30 * x,
        "valley": lambda x: 40 - bell(x, centre=0, sd=0.3),
        "two": lambda x: bell(x, centre=0.25, sd=0.1) + bell(x, centre=-0.25, sd=0.1),
    }[kind]
    found = [tuning(*trials(curve, noise=6.0, seed=seed)).shape for seed in range(2)]
    assert [shape.bell for shape in found] == [kind == "bell"] * 2
    assert [shape.monotonic for shape in found] == [kind == "ramp"] * 2


def test_the_papers_shapes_go_by_spikes_a_second():
    steep, faint = 100 * bell(GRID), 0.001 * bell(GRID)
    assert shape_of(steep, rule="paper").bell
    assert not shape_of(steep, rule="paper").monotonic
    found = shape_of(faint, rule="paper")
    assert (found.monotonic, found.bell) == (True, True)  # every step is below 0.01 spikes/s
    assert shape_of(faint) == shape_of(steep)
    assert shape_of(faint, rule="paper", tolerance=1e-9) == shape_of(steep, rule="paper")


def test_what_is_undefined_says_why():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = tuning(*trials(lambda x: 0 * x, noise=0))
        single = tuning(STEPS, bell(STEPS))
        alone = tuning([0.0, 0.0], [3.0, 4.0])
        nothing = tuning(STEPS, np.full(9, np.nan))
    assert "all equal" in silent.anova.reason
    for fit in (silent.gaussian, silent.line, silent.process, silent.shape, silent.peak):
        assert fit.reason == "responses do not vary"
    assert silent.best == ""
    assert "a repeat" in single.anova.reason
    assert "a repeat" in single.gaussian.explained.reason
    assert single.gaussian.r2.value > 0.99
    assert "1 steps" in alone.line.reason
    assert "0 steps" in nothing.process.reason
    assert "no trial" in nothing.best_step.reason
    assert "flat" in shape_of(np.ones(5)).reason
    assert "2 places" in shape_of([1.0, 2.0]).reason
    assert "three steps" not in tuning([0.0, 0.1, 0.1], [1.0, 2, 3]).gaussian.reason
    with pytest.raises(DataError, match="one for each response"):
        tuning(STEPS, bell(STEPS)[:2])


@examples(0.5)
@given(
    repeats=st.lists(st.integers(0, 3), max_size=6),
    kind=st.sampled_from(["counts", "constant", "negative", "missing"]),
    seed=st.integers(0, 999),
)
def test_any_trials_have_fits_or_reasons(repeats, kind, seed):
    rng = np.random.default_rng(seed)
    step = np.repeat(np.arange(len(repeats)) / 10, repeats)
    n = len(step)
    response = {
        "counts": rng.poisson(2, n).astype(float),
        "constant": np.full(n, 7.0),
        "negative": -rng.exponential(1, n),
        "missing": np.where(rng.uniform(size=n) < 0.5, np.nan, 1.0),
    }[kind]
    found = tuning(step, response, restarts=1)
    for fit in (found.gaussian, found.line, found.process):
        assert fit.r2.defined == bool(np.isfinite(fit.r2.value))
        assert fit.r2.defined == bool(fit.parameters)
    assert (
        found.peak.defined == found.curve.defined == bool(np.isfinite(found.curve.mean).all())
    )
    assert np.isfinite(found.anova.p) == (not found.anova.reason)


def test_responses_whose_squares_are_no_numbers_have_no_tuning_but_a_reason():
    step = np.repeat(np.linspace(-0.4, 0.4, 9), 3)
    found = tuning(step, np.linspace(0, 5e300, len(step)))
    assert "whose square is no number" in found.gaussian.reason
    assert found.anova.reason == found.peak.reason == found.best_step.reason
    assert found.best == ""


def test_a_flat_axis_has_no_best_step():
    step = np.repeat(np.linspace(-0.4, 0.4, 9), 3)
    found = tuning(step, np.full(len(step), 7.0))
    assert not found.best_step.defined
    assert "equal" in found.best_step.reason
