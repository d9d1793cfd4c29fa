"""Weights by rank: the published ones, and shared among ties."""

from itertools import permutations
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.optimizers.ranks import (
    Strategy,
    log_weights,
    rank_weights,
)


def test_weights_as_published():
    raw = np.array([log(4.5) - log(i) for i in (1, 2, 3, 4)])
    np.testing.assert_allclose(log_weights(8), [*(raw / raw.sum()), 0, 0, 0, 0], rtol=1e-15)
    np.testing.assert_array_equal(log_weights(1), [1])
    np.testing.assert_array_equal(log_weights(2), [1, 0])


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=6))
def test_ties_share_as_if_broken_at_random(scores):
    f = np.array(scores, float)
    orders = [np.argsort(-f[list(p)], kind="stable") for p in permutations(range(len(f)))]
    mean = np.zeros(len(f))
    for p, order in zip(permutations(range(len(f))), orders, strict=True):
        mean[np.array(p)[order]] += log_weights(len(f)) / len(orders)
    np.testing.assert_allclose(rank_weights(f), mean, atol=1e-14)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60))
def test_weights_sum_to_one_and_follow_the_order(scores):
    f = np.array(scores)
    w = rank_weights(f)
    assert w.sum() == pytest.approx(1, abs=1e-13)
    assert (w >= 0).all()
    better = f[:, None] > f
    assert (w[:, None] - w >= 0)[better].all()
    assert (np.equal.outer(w, w))[np.equal.outer(f, f)].all()


def test_rates_at_full_size():
    k = Strategy.cholesky(4096, 40)
    assert k.c_1 == pytest.approx(1.2e-7, rel=0.01)
    assert k.chi == pytest.approx(64, abs=0.02)
    assert k.d_s == 1 + k.c_s
