"""Which sessions count, padding that is known for what it is, and means over experiments."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.populations import (
    baseline_steps,
    kept_blocks,
    normaliser,
    padded_courses,
    population_mean,
    validity,
)
from evolver.errors import DataError


def test_the_last_block_goes_where_a_thread_has_too_few_images():
    assert kept_blocks([[30, 30, 12], [25, 25, 10]]) == 3
    assert kept_blocks([[30, 30, 12], [25, 25, 9]]) == 2
    assert kept_blocks([[30, 3, 12], [25, 25, 11]]) == 3  # the last one alone
    assert kept_blocks([[30, 4]], fewest=4) == 2
    assert kept_blocks(np.zeros((2, 0))) == 0


@given(
    lengths=st.lists(st.integers(1, 6), max_size=5),
    more=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_padding_is_the_mean_of_the_last_two_and_is_marked(lengths, more, seed):
    rng = np.random.default_rng(seed)
    courses = [rng.normal(size=n) for n in lengths]
    blocks = max(lengths, default=0) + more
    found = padded_courses(courses, blocks=blocks)
    assert found.values.shape == found.shown.shape == (len(lengths), blocks)
    for course, row, shown in zip(courses, found.values, found.shown, strict=True):
        n = len(course)
        np.testing.assert_array_equal(row[:n], course)
        np.testing.assert_allclose(row[n:], course[-2:].mean())
        np.testing.assert_array_equal(shown, np.arange(blocks) < n)
    assert np.isnan(found.data[~found.shown]).all()
    assert np.isfinite(found.data[found.shown]).all()


def test_courses_that_are_empty_or_too_long_are_refused():
    with pytest.raises(DataError, match="1 to 2 blocks"):
        padded_courses([[1.0, 2.0], []])
    with pytest.raises(DataError, match="1 to 2 blocks"):
        padded_courses([np.zeros(3)], blocks=2)


def test_a_jump_of_the_baseline_is_found_and_noise_seldom_is():
    rng = np.random.default_rng(4)
    jump = rng.normal(10, 1, 40)
    jump[17:] += 12
    found = baseline_steps(jump)
    assert found.jumps.tolist() == [17]
    assert not found.stable
    steps = np.diff(jump)
    assert found.robust_sd == pytest.approx(
        stats.median_abs_deviation(
            steps, 0, center=lambda x, axis: 0 * x.sum(axis), scale="normal"
        )
    )
    unstable = np.mean([not baseline_steps(rng.normal(10, 1, 30)).stable for _ in range(1000)])
    assert unstable == pytest.approx(1 / 7, abs=0.04)
    assert baseline_steps(np.full(9, 3.0)).stable
    levels = baseline_steps(jump, sd="levels")
    assert levels.robust_sd == pytest.approx(stats.median_abs_deviation(jump, scale="normal"))
    noise = [baseline_steps(rng.normal(10, 1, 30), sd="levels").stable for _ in range(1000)]
    assert 1 - np.mean(noise) == pytest.approx(5 / 8, abs=0.05)


def test_a_session_that_does_not_count_says_every_reason():
    rates = np.random.default_rng(0).normal(10, 1, 20)
    assert validity(("fc6", "BigGAN_class"), rates).valid
    jump = np.concatenate([rates[:5], rates[:6] + 30])
    found = validity(("BigGAN", "BigGAN_class"), jump)
    assert not found.valid
    assert len(found.reasons) == 3
    assert "threads are BigGAN" in found.reasons[0]
    assert "11 blocks; 15" in found.reasons[1]
    assert "before block 5" in found.reasons[2]
    assert any("four" in r for r in validity(("fc6", "BigGAN"), [1.0, np.nan]).reasons)


def test_one_number_divides_a_session():
    assert normaliser([1.0, 5.0, np.nan], [2.0, 7.5]).value == 7.5
    assert "not above 0" in normaliser([0.0, -2.0]).reason
    assert "no block" in normaliser([np.nan], []).reason
    assert not normaliser().defined


@pytest.mark.parametrize(("error", "ddof"), [("sample", 1), ("paper", 0)])
def test_population_means_have_the_error_that_was_asked_for(error, ddof):
    values = np.random.default_rng(2).normal(size=(6, 4))
    values[:3, 1] = values[1:, 2] = values[:, 3] = np.nan
    found = population_mean(values, error=error)
    assert found.mean[0] == pytest.approx(values[:, 0].mean())
    assert found.sem[0] == pytest.approx(stats.sem(values[:, 0], ddof=ddof))
    assert found.sem[1] == pytest.approx(values[3:, 1].std(ddof=ddof) / sqrt(3))
    assert found.mean[2] == values[0, 2]
    assert np.isnan([found.sem[2], found.mean[3], found.sem[3]]).all()
    np.testing.assert_array_equal(found.n, [6, 3, 1, 0])
