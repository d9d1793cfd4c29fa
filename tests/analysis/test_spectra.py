"""Spectra: shares of the axes, ranks to show, and steps of equal length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.analysis.spectra import matching_sigma, participation, spaced_ranks


def test_participation_counts_the_axes_that_share():
    assert participation(np.array([3.0, 0.0, 0.0])) == pytest.approx(1)
    assert participation(np.full(7, 0.2)) == pytest.approx(7)


@given(m=st.integers(1, 300), most=st.integers(1, 40))
def test_ranks_are_distinct_and_reach_both_ends(m, most):
    ranks = spaced_ranks(m, most)
    assert len(ranks) == min(m, most)
    assert ranks[0] == 1
    assert (np.diff(ranks) > 0).all()
    if len(ranks) > 1:
        assert ranks[-1] == m


def test_matching_sigma_makes_steps_of_equal_mean_square():
    values = np.array([9.0, 4.0, 1.0, 0.0])
    sigma = matching_sigma(values, d=50, step=3.0, exponent=0.4)
    floored = np.maximum(values, 1e-6 * 9.0)
    z = np.random.default_rng(0).standard_normal((200_000, 4))
    squared = ((sigma * z * floored**-0.4) ** 2).sum(axis=1).mean()
    assert squared == pytest.approx(3.0**2 * 50, rel=0.02)
