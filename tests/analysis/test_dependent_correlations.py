"""Correlations that share a variable, against published numbers and simulated nulls."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.dependent_correlations import compare_correlations, compare_r
from evolver.errors import DataError


def test_williams_t_is_a_determinants():
    """With the determinant of the matrix, and not its expansion."""
    r = np.array([[1, 0.63, 0.41], [0.63, 1, 0.52], [0.41, 0.52, 1]])
    n, mean = 103, (0.63 + 0.41) / 2
    below = 2 * (n - 1) / (n - 3) * np.linalg.det(r) + mean**2 * (1 - 0.52) ** 3
    t = (0.63 - 0.41) * np.sqrt((n - 1) * (1 + 0.52) / below)
    found = compare_r(0.63, 0.41, between=0.52, n=n)
    assert found.statistic == pytest.approx(t)
    assert found.p == pytest.approx(2 * stats.t.sf(t, n - 3))


def test_steigers_z_divides_by_the_spread_of_the_difference():
    """Against the covariance of Fisher's z in 20,000 samples."""
    rng = np.random.default_rng(1)
    r = np.array([[1, 0.5, 0.5], [0.5, 1, 0.3], [0.5, 0.3, 1]])
    drawn = rng.multivariate_normal(np.zeros(3), r, (20_000, 60))
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    z = np.arctanh(np.einsum("sni,snj->sij", centred, centred)[:, 0, 1:])
    spread = (z[:, 0] - z[:, 1]).std()
    step = 1e-3
    found = compare_r(0.5 + step, 0.5 - step, between=0.3, n=60, method="steiger")
    expected = (np.arctanh(0.5 + step) - np.arctanh(0.5 - step)) / spread
    assert found.statistic == pytest.approx(expected, rel=0.02)


@pytest.mark.soak
def test_true_nulls_are_rejected_as_often_as_is_said():
    """2,000 samples of 60; the published z rejects about 30 % at 5 %."""
    rng = np.random.default_rng(2)
    r = np.array([[1, 0.3, 0.3], [0.3, 1, 0.1], [0.3, 0.1, 1]])
    drawn = rng.multivariate_normal(np.zeros(3), r, (2000, 60))
    rates = {
        method: np.mean([compare_correlations(*s.T, method=method).p < 0.05 for s in drawn])
        for method in ("williams", "steiger", "paper")
    }
    assert 0.035 < rates["williams"] < 0.065
    assert 0.035 < rates["steiger"] < 0.065
    assert 0.25 < rates["paper"] < 0.36


@given(
    rows=st.lists(
        st.tuples(*[st.one_of(st.just(float("nan")), st.floats(-5, 5))] * 3), max_size=8
    ),
    method=st.sampled_from(["williams", "steiger", "paper"]),
)
def test_any_columns_have_a_p_or_a_reason(rows, method):
    y, a, b = np.array(rows, dtype=float).reshape(-1, 3).T
    found = compare_correlations(y, a, b, method=method)
    assert found.defined == (0 <= found.p <= 1) == (not isnan(found.statistic))


def test_what_has_no_comparison_says_why():
    x = np.arange(9.0)
    noise = np.random.default_rng(0).normal(size=(2, 9))
    assert "y is a or b" in compare_correlations(x, 2 * x, noise[0]).reason
    assert "a and b are the same" in compare_correlations(noise[0], x, -x).reason
    assert "does not vary" in compare_correlations(x, x * 0, noise[0]).reason
    assert "3 rows" in compare_correlations(x[:3], *noise[:, :3]).reason
    assert "1 rows" in compare_correlations(x[:1], *noise[:, :1]).reason
    with pytest.raises(DataError, match="one length"):
        compare_correlations(x, x, x[:2])
    with pytest.raises(DataError, match="-1 and 1"):
        compare_r(1.2, 0.1, between=0.0, n=10)
