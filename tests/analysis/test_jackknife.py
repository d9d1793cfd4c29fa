"""Intervals by leaving images out: Student's for a mean, and as many hold the truth as said."""

import numpy as np
import pytest

from evolver.analysis.jackknife import jackknife_interval, jackknife_share
from evolver.analysis.rank_tests import mean_interval
from evolver.analysis.success_rates import share
from evolver.errors import DataError


def test_of_a_mean_it_is_students():
    x = np.random.default_rng(0).standard_normal(23)
    found = jackknife_interval(lambda rows: x[rows].mean(), 23)
    expected = mean_interval(x)
    np.testing.assert_allclose(
        [found.mean, found.low, found.high], [expected.mean, expected.low, expected.high]
    )
    assert found.n == 23


@pytest.mark.parametrize("groups", [10, 100])
def test_intervals_of_a_correlation_hold_it(groups):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        x = rng.standard_normal((40, 2))
        y = 0.6 * x[:, 0] + 0.8 * x[:, 1]

        def r(rows, x=x, y=y):
            return np.corrcoef(x[rows, 0], y[rows])[0, 1]

        found = jackknife_interval(r, 40, groups=groups)
        held += found.low <= 0.6 <= found.high
    assert 88 <= held <= 100  # 95, with a standard deviation of 2.2


def test_ends_are_where_the_statistic_can_be():
    found = jackknife_interval(lambda rows: (rows > 0).mean(), 5, within=(0.0, 1.0))
    assert (found.mean, found.high) == (0.8, 1.0)


def test_what_has_no_interval():
    few = jackknife_interval(lambda rows: float(len(rows)), 2)
    assert few.mean == 2
    assert np.isnan(few.low)
    assert np.isnan(jackknife_interval(lambda _: np.nan, 0).mean)
    undefined = jackknife_interval(lambda rows: 1.0 if 0 in rows else np.nan, 9)
    assert undefined.mean == 1
    assert np.isnan(undefined.low)
    with pytest.raises(DataError, match="groups 2 or more"):
        jackknife_interval(lambda _: 0.0, 9, groups=1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_of_all_pairs_or_none_it_is_wilsons_of_the_images(value):
    found = jackknife_share(lambda _: value, 12)
    expected = share(round(12 * value), 12)
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])
    assert (found.mean, found.n) == (value, 12)
    assert found.high - found.low > 0.2


def test_of_a_mean_it_is_wilsons_of_as_many_trials():
    told = np.arange(40) % 4 > 0
    found = jackknife_share(lambda rows: told[rows].mean(), 40)
    # Leaving one out gives the variance s^2 / n of a mean, with s^2 of n - 1: 39 trials.
    z2 = 1.959964**2
    centre = (0.75 * 39 + z2 / 2) / (39 + z2)
    half = np.sqrt(z2 * (0.75 * 0.25 * 39 + z2 / 4)) / (39 + z2)
    np.testing.assert_allclose(
        [found.low, found.high], [centre - half, centre + half], rtol=1e-6
    )


def test_what_is_no_share_is_refused():
    assert np.isnan(jackknife_share(lambda _: 1.0, 2).low)
    with pytest.raises(DataError, match="a share must be from 0 to 1; got 2"):
        jackknife_share(lambda _: 2.0, 9)
