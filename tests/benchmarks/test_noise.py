"""Noise: what is published, and what neurons do; paired by the draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.optimizers.noise import WINDOW_S, Noise
from evolver.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["0", "0.2", "0.5", "poisson-20", "poisson-100", "poisson-2.5"]
)
def test_a_name_is_read_and_written(name):
    assert str(Noise.parse(name)) == name


@pytest.mark.parametrize(
    "name", ["", "-1", "poisson", "poisson-0", "gauss-2", "0,2", "nan", "1e3"]
)
def test_another_name_is_refused(name):
    with pytest.raises(ConfigError, match="noise must be"):
        Noise.parse(name)


def test_multiplicative_noise_is_the_published_one():
    clean = np.array([2.0, 2.0, 2.0, -1.0, 0.0])
    draws = np.array([0.0, 1.5, -3.0, 1.0, 2.0])
    told = Noise.parse("0.5").spoil(clean, draws)
    np.testing.assert_allclose(told, [2.0, 3.5, 0.0, -1.5, 0.0])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_no_noise_leaves_scores_as_they_are(clean):
    draws = np.linspace(-3, 3, len(clean))
    np.testing.assert_array_equal(Noise.parse("0").spoil(np.array(clean), draws), clean)


def test_counts_are_poisson():
    draws = np.random.default_rng(0).standard_normal(40_000)
    told = Noise.parse("poisson-20").spoil(np.full(len(draws), 1.5), draws)
    counts = np.rint(told * WINDOW_S).astype(int)
    expected = stats.poisson(20 * 1.5 * WINDOW_S)
    bins = np.arange(10)
    seen = [*(np.sum(counts == k) for k in bins), np.sum(counts >= 10)]
    wanted = np.array([*expected.pmf(bins), expected.sf(9)]) * len(draws)
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_a_neuron_below_its_threshold_is_silent():
    told = Noise.parse("poisson-100").spoil(np.array([-3.0, 0.0]), np.array([4.0, 4.0]))
    np.testing.assert_array_equal(told, [0.0, 0.0])


@given(st.floats(0, 5), st.floats(0, 5), st.floats(-9, 9))
def test_equal_draws_never_turn_two_scores_round(a, b, draw):
    noise = Noise.parse("poisson-20")
    low, high = noise.spoil(np.sort([a, b]), np.array([draw, draw]))
    assert low <= high
    assert np.isfinite([low, high]).all()
