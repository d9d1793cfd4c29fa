"""Student's t against scipy's, marks against the definitions, and what has no test."""

import warnings
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolver.analysis.t_tests import marks, t_test, t_tests
from evolver.errors import DataError

RNG = np.random.default_rng(1)
NUMBER = st.one_of(st.just(float("nan")), st.floats(-100, 100))


@pytest.mark.parametrize("paired", [True, False])
def test_t_and_p_are_scipys(paired):
    a, b = RNG.normal(1, 2, 14), RNG.normal(0, 1, 14)
    theirs = (stats.ttest_rel if paired else stats.ttest_ind)(a, b)
    found = t_test(a, b, paired=paired)
    assert (found.t, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert found.dof == theirs.df
    assert found.difference == pytest.approx(a.mean() - b.mean())


def test_columns_leave_out_what_is_missing():
    a, b = RNG.normal(0, 1, (9, 4)), RNG.normal(0, 1, (9, 4))
    a[2, 1] = b[5, 1] = a[:, 3] = np.nan
    found = t_tests(a, b, paired=True)
    both = np.isfinite(a[:, 1]) & np.isfinite(b[:, 1])
    assert found[1].t == pytest.approx(stats.ttest_rel(a[both, 1], b[both, 1]).statistic)
    assert (found[1].n, found[3].n, found[3].defined) == (7, 0, False)
    unpaired = t_tests(a[:6], b, paired=False)[1]
    assert (unpaired.n, unpaired.m) == (5, 8)


@given(
    first=st.lists(NUMBER, max_size=6),
    second=st.lists(NUMBER, max_size=6),
    paired=st.booleans(),
)
def test_any_values_have_a_t_or_a_reason(first, second, paired):
    if paired:
        second = (second + [float("nan")] * 6)[: len(first)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = t_test(first, second, paired=paired)
    assert found.defined == (0 <= found.p <= 1) == (not isnan(found.t))


def test_what_has_no_test_says_why():
    assert "differ by the same" in t_test([1.0, 2.0], [0.0, 1.0], paired=True).reason
    assert "all equal" in t_test([1.0, 1.0], [2.0, 2.0], paired=False).reason
    assert "1 pairs" in t_test([1.0], [2.0], paired=True).reason
    with pytest.raises(DataError, match="as many"):
        t_test([1.0], [1.0, 2.0], paired=True)


@given(
    p=st.lists(st.one_of(st.just(float("nan")), st.floats(0, 1)), max_size=25),
    alpha=st.floats(0.001, 0.5),
)
def test_marks_are_the_definitions(p, alpha):
    found = marks(p, alpha=alpha)
    tested = [q for q in p if q == q]
    for i, q in enumerate(p):
        assert found.raw[i] == (q < alpha)
        assert found.bonferroni[i] == (q * len(tested) < alpha)
    if tested:
        # scipy divides where we multiply: p on the border itself may go either way.
        adjusted = iter(stats.false_discovery_control(tested))
        for i, q in enumerate(p):
            if q == q and abs((at := next(adjusted)) - alpha) > 1e-9:
                assert found.fdr[i] == (at <= alpha)
    assert found.tests == len(tested)
    assert not found.fdr[np.isnan(np.array(p, dtype=float))].any()
