"""Time constants block by block, and Gaussian processes against another library's numbers."""

from itertools import product
from math import isnan, log, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.gaussian_process import (
    Hyperparameter,
    course_points,
    fit_process,
    smooth_course,
)
from evolver.analysis.time_constants import time_constant, time_constants
from evolver.errors import DataError

MEANS = np.array([20.0, 22, 21, 27, 30, 33, 31, 36, 35, 38, 37, 39])
SEM = np.full(12, 1.5)


@given(
    course=st.lists(st.one_of(st.just(float("nan")), st.floats(-50, 50)), max_size=12),
    base=st.sampled_from(["first", "zero", "baseline"]),
    threshold=st.sampled_from([0.8, 0.632, 0.3]),
    baseline=st.floats(-5, 20),
)
def test_a_constant_is_counted_block_by_block(course, base, threshold, baseline):
    found = {
        statistic: time_constant(
            course, base=base, baseline=baseline, threshold=threshold, statistic=statistic
        )
        for statistic in ("first_above", "blocks_below")
    }
    less = {"first": course[0] if course else 0.0, "zero": 0.0, "baseline": baseline}[base]
    risen = [(i, value - less) for i, value in enumerate(course) if value == value]
    highest = max((r for _, r in risen), default=0.0)
    if isnan(less) or highest <= 0:
        assert all(q.reason and isnan(q.value) for q in found.values())
        return
    above = [i for i, r in risen if r > threshold * highest]
    assert found["first_above"].value == above[0]
    assert found["blocks_below"].value == sum(r < threshold * highest for _, r in risen)


def test_a_curve_that_never_rises_has_no_constant():
    assert "no block is above" in time_constant([5.0, 4, 3]).reason
    assert "none of 0" in time_constant([]).reason
    assert "first block" in time_constant([np.nan, 2.0]).reason
    assert "no block is above" in time_constant([7.0]).reason  # one block
    with pytest.raises(DataError, match="needs the mean rate"):
        time_constant([1.0, 2.0], base="baseline")
    with pytest.raises(DataError, match="between 0 and 1"):
        time_constant([1.0, 2.0], threshold=1.0)


def test_the_table_holds_every_variant():
    table = time_constants(MEANS, SEM, baseline=12.0)
    assert len(table) == 24
    assert len({(v.curve, v.base, v.threshold, v.statistic) for v in table}) == 24
    smooth = smooth_course(MEANS, SEM).mean
    for variant in table:
        expected = time_constant(
            MEANS if variant.curve == "means" else smooth,
            base=variant.base,
            baseline=12.0,
            threshold=variant.threshold,
            statistic=variant.statistic,
        )
        assert variant.blocks == expected
    published = time_constant(MEANS)
    assert published.value == 7  # 36 - 20 is the first above 0.8 * 19
    flat = time_constants(np.full(5, 3.0), np.ones(5), baseline=3.0)
    reasons = {v.blocks.reason for v in flat if v.curve == "smooth"}
    assert reasons == {"all 5 values are equal"}


def noise_trials():
    x = np.repeat(np.linspace(-0.4, 0.4, 9), 6)
    y = 10 + 8 * np.exp(-(((x - 0.1) / 0.2) ** 2)) + np.sin(np.arange(54) * 1.7) * 3
    return x, y


def test_a_process_is_that_of_scikit_learn():
    """Its numbers for these 54 trials (scikit-learn 1.9.1, alpha 0, 10 restarts)."""
    x, y = noise_trials()
    noise = np.mean([y[x == step].var(ddof=1) for step in np.unique(x)])
    found = fit_process(
        x,
        y,
        at=np.linspace(-0.4, 0.4, 5),
        constant=Hyperparameter(y.var(), y.var() * 1e-2, y.var() * 1e2),
        length=Hyperparameter(0.08, 1e-2, 1e2),
        noise=Hyperparameter(0.1 * noise, noise * 1e-2, noise * 10),
        restarts=10,
    )
    assert found.log_likelihood == pytest.approx(-130.9537227, abs=1e-6)
    assert (found.constant, found.length, found.noise) == pytest.approx(
        (112.8356, 0.3058571, 5.083429), rel=1e-4
    )
    np.testing.assert_allclose(
        found.mean, [10.26300331, 10.93246787, 16.1027737, 16.21678885, 10.84035352], atol=1e-5
    )
    np.testing.assert_allclose(
        found.sd, [0.84444843, 0.61261178, 0.59105545, 0.61261178, 0.84444843], atol=1e-5
    )


def test_a_smooth_course_is_that_of_scikit_learn():
    """Its numbers for these blocks (1.9.1: normalize_y, alpha 0.01, 3 restarts)."""
    found = smooth_course(MEANS, SEM, at=[0.0, 5.0, 11.0])
    np.testing.assert_allclose(found.mean, [20.14034154, 31.13505716, 38.07084315], atol=1e-4)
    assert found.length == pytest.approx(5.0)
    assert found.log_likelihood == pytest.approx(-7.04698106, abs=1e-6)


def test_the_likelihood_of_repeats_is_that_of_all_trials():
    """Joined places against the whole covariance, hyperparameters held."""
    x, y = noise_trials()
    fixed = {"constant": 30.0, "length": 0.2, "noise": 4.0}
    found = fit_process(
        x, y, at=[0.05], jitter=0.5, **{k: Hyperparameter(v, v, v) for k, v in fixed.items()}
    )
    whole = 30 * np.exp(-((x[:, None] - x) ** 2) / (2 * 0.2**2)) + 4.5 * np.eye(len(x))
    expected = stats.multivariate_normal(np.zeros(len(x)), whole).logpdf(y)
    assert found.log_likelihood == pytest.approx(expected)
    across = 30 * np.exp(-((0.05 - x) ** 2) / (2 * 0.2**2))
    assert found.mean[0] == pytest.approx(across @ np.linalg.solve(whole, y))
    variance = 30 - across @ np.linalg.solve(whole, across)
    assert found.sd[0] == pytest.approx(np.sqrt(variance))


def test_no_other_hyperparameters_nearby_are_likelier():
    found = smooth_course(MEANS, SEM)
    z = (MEANS - MEANS.mean()) / MEANS.std()
    blocks = np.arange(12.0)
    squared = (blocks[:, None] - blocks) ** 2

    def log_likelihood(constant, length, noise):
        covariance = constant * np.exp(-squared / (2 * length**2)) + (noise + 0.01) * np.eye(12)
        solved = np.linalg.solve(covariance, z)
        return -0.5 * (z @ solved + np.linalg.slogdet(covariance)[1] + 12 * log(2 * pi))

    scale = MEANS.var()
    fitted = found.constant / scale, found.length, found.noise / scale
    best = log_likelihood(*fitted)
    assert best == pytest.approx(found.log_likelihood)
    for factors in product((0.9, 1.0, 1.1), (0.9, 1.0), (0.9, 1.0, 1.1)):
        assert log_likelihood(*np.multiply(fitted, factors)) <= best + 1e-6


def test_a_process_finds_a_planted_curve_and_its_noise():
    rng = np.random.default_rng(3)
    blocks = np.arange(60.0)
    truth = 40 - 25 * np.exp(-blocks / 12)
    found = smooth_course(truth + rng.normal(0, 1.5, 60), np.full(60, 1.5))
    assert np.sqrt(np.mean((found.mean - truth) ** 2)) < 1.0  # the noise has 1.5
    assert np.sqrt(found.noise) == pytest.approx(1.5, rel=0.3)
    finer = smooth_course(truth, np.full(60, 1.5), at=course_points(60))
    assert len(finer.mean) == 200
    assert finer.x[[0, -1]].tolist() == [0, 59]


def test_the_papers_noise_is_in_raw_units():
    """Where responses are small, the bounds of raw units make another curve."""
    small = MEANS / 100
    right = smooth_course(small, SEM / 100)
    paper = smooth_course(small, SEM / 100, noise_units="paper")
    np.testing.assert_allclose(right.mean * 100, smooth_course(MEANS, SEM).mean, rtol=1e-3)
    assert np.abs(paper.mean - right.mean).max() > 0.005


def test_missing_blocks_are_left_out_and_too_few_have_no_curve():
    gappy = MEANS.copy()
    gappy[[3, 8]] = np.nan
    found = smooth_course(gappy, SEM)
    assert np.isfinite(found.mean).all()
    assert len(found.mean) == 12
    assert "1 points" in smooth_course([3.0], [1.0]).reason
    assert "0 points" in smooth_course([np.nan] * 4, [np.nan] * 4).reason
    assert "equal" in smooth_course([3.0] * 4, [1.0] * 4).reason
    assert np.isnan(smooth_course([3.0], [1.0]).mean).all()
    wrong = Hyperparameter(1.0, 2.0, 3.0)
    with pytest.raises(DataError, match="bounds must be positive"):
        fit_process([0.0, 1], [0.0, 1], at=[0.0], constant=wrong, length=wrong, noise=wrong)
