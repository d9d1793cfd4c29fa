"""Success against scipy's t-test, images dealt by hand, and sessions in which nothing rises."""

from __future__ import annotations

import itertools
import warnings
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import stdtr

from evolver.analysis.success_tests import success, success_of_means
from evolver.errors import DataError
from tests.soak import further


def rising(rng, blocks, n=12, *, peak=None):
    peak = blocks - 1 if peak is None else peak
    block = np.repeat(np.arange(blocks), n)
    level = np.where(block <= peak, block, 2 * peak - block)
    return level + rng.normal(0, 0.3, len(block)), block


@pytest.mark.parametrize(
    ("rule", "last_pair", "peak", "late", "base"),
    [
        ("maxinit", "paper", 9, 7, 0),  # the last block is never used
        ("maxinit", "paper", 8, 7, 0),
        ("maxinit", "all", 9, 8, 0),
        ("maxinit", "paper", 4, 4, 0),
        ("maxinit", "all", 4, 4, 0),
        ("endinit", "paper", 4, 8, 0),
        ("maxend", "paper", 4, 4, 8),
        ("maxend", "paper", 9, 7, 8),  # the pairs share block 8
    ],
)
def test_the_papers_rules_are_t_tests_between_pairs_of_blocks(
    rule, last_pair, peak, late, base
):
    responses, block = rising(np.random.default_rng(3), 10, peak=peak)
    responses[17] = np.nan
    result = success(responses, block, rule=rule, last_pair=last_pair)
    assert (result.first_late, result.first_base) == (late, base)
    finite = np.isfinite(responses)
    a = responses[finite & np.isin(block, [late, late + 1])]
    b = responses[finite & np.isin(block, [base, base + 1])]
    dof = len(a) + len(b) - 2
    variance = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / dof
    t = (a.mean() - b.mean()) / np.sqrt(variance * (1 / len(a) + 1 / len(b)))
    p = 2 * stdtr(dof, -abs(t))
    assert result.t == pytest.approx(t) == stats.ttest_ind(a, b).statistic
    assert result.p == result.p_t == pytest.approx(p)
    assert (result.dof, result.rule, result.pairs) == (dof, rule, rule)
    assert (result.late, result.base) == pytest.approx((a.mean(), b.mean()))
    assert result.success == bool(p < 0.01 and t > 0)
    assert result.defined


def dealt_p(responses, block, shuffles, rng, pairs, last_pair):
    """The share of sessions dealt anew with a t as large, one image at a time."""
    observed = success(responses, block, rule=pairs, last_pair=last_pair).t
    kept = np.isfinite(responses)
    order = np.argsort(block[kept], kind="stable")
    values, of = responses[kept][order], block[kept][order]
    at_least = 1
    for _ in range(shuffles):
        again = success(rng.permutation(values), of, rule=pairs, last_pair=last_pair)
        at_least += again.t >= observed - 1e-9
    return at_least / (1 + shuffles)


@pytest.mark.parametrize(
    ("pairs", "last_pair"),
    [
        ("maxinit", "paper"),
        further("maxinit", "all"),
        further("endinit", "paper"),
        ("maxend", "paper"),
    ],
)
def test_p_is_the_share_of_sessions_dealt_anew_with_as_large_a_t(pairs, last_pair):
    rng = np.random.default_rng(4)
    block = np.repeat(np.arange(8), [3, 6, 5, 0, 4, 6, 5, 2])
    responses = rng.normal(0, 1, len(block)) + 0.12 * block
    responses[9] = np.nan
    order = rng.permutation(len(responses))  # rows stand in no order
    responses, block = responses[order], block[order]
    found = success(
        responses,
        block,
        pairs=pairs,
        last_pair=last_pair,
        shuffles=4000,
        rng=np.random.default_rng(1),
    )
    expected = dealt_p(responses, block, 1000, np.random.default_rng(2), pairs, last_pair)
    assert found.p == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / 1000))
    assert (found.rule, found.pairs) == ("shuffle", pairs)
    assert found.success == (found.p < 0.01)


def test_dealing_by_hand_gives_the_same_p():
    """Every order of a session so small that all 120 can be tried."""
    responses, block = np.array([1.0, 0.0, 4.0, 2.5, 7.0]), np.arange(5)
    observed = success(responses, block, rule="endinit").t
    ts = [
        success(np.array(order), block, rule="endinit").t
        for order in itertools.permutations(responses)
    ]
    share = np.mean([t >= observed - 1e-9 for t in ts])
    found = success(responses, block, pairs="endinit", shuffles=20_000)
    assert found.p == pytest.approx(share, abs=0.012)


@pytest.mark.soak
def test_sessions_of_noise_are_called_successes_as_often_as_is_said():
    """2,000 sessions of 10 blocks; the paper's rule errs more often."""
    rng = np.random.default_rng(7)
    block = np.repeat(np.arange(10), 8)
    drawn = [
        success(rng.poisson(20, 80).astype(float), block, shuffles=199, rng=rng)
        for _ in range(2000)
    ]
    rates = {
        alpha: np.mean([result.p < alpha and result.t > 0 for result in drawn])
        for alpha in (0.05, 0.01)
    }
    assert 0.035 < rates[0.05] < 0.065
    assert rates[0.01] < 0.02
    published = np.mean([result.p_t < 0.05 and result.t > 0 for result in drawn])
    assert published > 1.3 * rates[0.05]


@pytest.mark.soak
def test_means_of_noise_are_called_successes_as_often_as_is_said():
    rng = np.random.default_rng(2)
    drawn = [
        success_of_means(
            20 + rng.normal(0, (sem := rng.uniform(0.5, 1.5, 20))), sem, shuffles=199, rng=rng
        )
        for _ in range(2000)
    ]
    called = np.mean([result.p < 0.05 and result.t > 0 for result in drawn])
    published = np.mean([result.p_t < 0.05 and result.t > 0 for result in drawn])
    assert 0.035 < called < 0.065
    assert published > 1.5 * called


@pytest.mark.parametrize("rule", ["maxinit", "endinit", "maxend"])
def test_means_and_errors_give_nearly_the_t_of_their_images(rule):
    """With the same number of images a block and equal variances, z is nearly t."""
    responses, block = rising(np.random.default_rng(5), 9, n=60, peak=5)
    per = responses.reshape(9, 60)
    whole = success(responses, block, rule=rule)
    means = success_of_means(per.mean(axis=1), stats.sem(per, axis=1), rule=rule)
    assert (means.first_late, means.first_base) == (whole.first_late, whole.first_base)
    assert (means.late, means.base) == pytest.approx((whole.late, whole.base))
    pairs = [
        responses[np.isin(block, [f, f + 1])] for f in (whole.first_late, whole.first_base)
    ]
    sems = stats.sem(per, axis=1)
    expected = sqrt(
        sum((sems[f] ** 2 + sems[f + 1] ** 2) / 4 for f in (whole.first_late, whole.first_base))
    )
    assert means.t == pytest.approx((pairs[0].mean() - pairs[1].mean()) / expected)


def test_a_block_in_both_pairs_cancels():
    mean, sem = np.array([0.0, 1.0, 5.0, 1.0, 1.0, 1.0]), np.arange(1.0, 7.0)
    result = success_of_means(mean, sem, rule="maxinit")
    assert result.first_late == 2
    shared = success_of_means(mean[::-1], sem, rule="maxend")
    assert (shared.first_late, shared.first_base) == (3, 4)
    # Blocks 3 and 4 against 4 and 5: what is left is 3 against 5.
    assert shared.t == pytest.approx((5 - 0) / 2 / sqrt((sem[3] ** 2 + sem[5] ** 2) / 4))


def test_a_verdict_has_the_threshold_that_was_asked_for():
    responses, block = rising(np.random.default_rng(3), 6, 3)
    results = {alpha: success(responses, block, alpha=alpha) for alpha in (0.05, 1e-6)}
    assert [(r.alpha, r.success) for r in results.values()] == [(0.05, True), (1e-6, False)]
    assert results[0.05].p == results[1e-6].p


def test_without_a_generator_the_images_are_dealt_alike_for_everyone():
    responses, block = rising(np.random.default_rng(3), 6, 3, peak=3)
    same = [success(responses, block, shuffles=50) for _ in range(2)]
    named = success(responses, block, shuffles=50, rng=np.random.default_rng(0))
    assert same[0] == same[1] == named


def test_a_base_of_one_image_has_no_variance_of_its_own():
    responses = np.array([2.0, np.nan, 3.0, 4.0, 5.0, 6.0, 8.0])
    result = success(responses, np.arange(7), rule="endinit")
    late = responses[5:]
    assert result.dof == 1
    variance = ((late - late.mean()) ** 2).sum()
    assert result.t == pytest.approx((late.mean() - 2.0) / np.sqrt(variance * 1.5))


def test_a_fall_is_no_success():
    responses, block = rising(np.random.default_rng(3), 10)
    result = success(-responses, block, pairs="endinit")
    assert result.p_t < 0.01
    assert result.p > 0.99
    assert not result.success


def test_five_blocks_are_enough_for_pairs_that_share_none():
    result = success(*rising(np.random.default_rng(3), 5), rule="maxinit")
    assert (result.first_late, result.defined) == (2, True)


@pytest.mark.parametrize(
    ("responses", "block", "reason"),
    [
        (np.zeros(18), np.repeat(np.arange(6), 3), "do not vary"),
        (np.full(18, np.nan), np.repeat(np.arange(6), 3), "0 blocks"),
        # With four, the paper's rule would test blocks 1 and 2 against 0 and 1.
        (np.arange(12.0), np.repeat(np.arange(4), 3), "4 blocks with responses; 5 are needed"),
        (np.arange(9.0), np.zeros(9, dtype=int), "1 blocks"),
        (np.zeros(0), np.zeros(0, dtype=int), "0 blocks"),
        (np.arange(6.0), np.array([2, 3, 4, 5, 6, 7]), "2 and 0 responses"),
        (np.arange(6.0), np.full(6, -1), "0 blocks"),
    ],
)
@pytest.mark.parametrize("rule", ["shuffle", "maxinit"])
def test_what_is_undefined_says_why(responses, block, reason, rule):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = success(responses, block, rule=rule)
    assert reason in result.reason
    assert isnan(result.p)
    assert not result.defined
    assert not result.success


@given(
    sizes=st.lists(st.integers(0, 4), max_size=9),
    seed=st.integers(0, 2**16),
    missing=st.floats(0, 1),
    values=st.sampled_from(["normal", "silent", "counts"]),
    pairs=st.sampled_from(["maxinit", "endinit", "maxend"]),
)
def test_any_session_has_a_p_or_a_reason(sizes, seed, missing, values, pairs):
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(len(sizes)), sizes)
    n = len(block)
    responses = {
        "normal": rng.normal(0, 1, n),
        "silent": np.zeros(n),
        "counts": rng.poisson(0.3, n).astype(float),
    }[values]
    responses[rng.uniform(size=n) < missing] = np.nan
    result = success(responses, block, pairs=pairs, shuffles=19, rng=rng)
    assert result.defined == (0 < result.p <= 1) == (0 <= result.p_t <= 1)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(DataError, match="at least one shuffle"):
        success(np.zeros(3), np.zeros(3, dtype=int), shuffles=0)
    with pytest.raises(DataError, match="compares its own pairs"):
        success(np.zeros(3), np.zeros(3, dtype=int), rule="maxinit", pairs="endinit")
    with pytest.raises(DataError, match=r"block must be \(3,\) integers"):
        success(np.zeros(3), np.zeros(3))
    with pytest.raises(DataError, match="0 or more"):
        success(np.zeros(3), np.array([-2, 0, 1]))
    with pytest.raises(DataError, match="finite vectors"):
        success_of_means(np.zeros(6), np.full(6, -1.0))
    assert "no block" in success_of_means(np.arange(6.0), np.zeros(6)).reason
    assert "4 blocks" in success_of_means(np.arange(4.0), np.ones(4)).reason


def test_where_p_is_near_alpha_as_many_are_dealt_as_tell_on_which_side_it_is():
    block = np.repeat(np.arange(8), 6)
    rng = np.random.default_rng(3)
    responses = rng.poisson(20 + 5 * block / 7, len(block)).astype(float)
    exact = success(responses, block, alpha=0.99, shuffles=50_000)
    alpha = exact.p + 6 * exact.p_error  # nearer than 199 dealings tell
    results = [
        success(responses, block, alpha=alpha, shuffles=199, rng=np.random.default_rng(seed))
        for seed in range(4)
    ]
    assert {found.success for found in results} == {exact.p < alpha}
    assert all(found.dealings > 199 for found in results)
    assert all(abs(found.p - exact.p) < 5 * found.p_error for found in results)
    assert success(responses, block, shuffles=199, alpha=0.9).dealings == 199
    none = success(responses, block, rule="maxinit")
    assert none.dealings == 0
    assert np.isnan(none.p_error)


def test_means_near_alpha_are_drawn_more_often_too():
    rng = np.random.default_rng(1)
    mean, sem = rng.normal(0, 1, 16), np.ones(16)
    p = success_of_means(mean, sem, alpha=0.99).p
    found = [
        success_of_means(mean, sem, alpha=p * 0.97, rng=np.random.default_rng(seed))
        for seed in range(3)
    ]
    assert all(one.dealings > 1999 for one in found)
    far = success_of_means(mean, sem, alpha=0.01 if p > 0.1 else 0.6)
    assert far.dealings == 1999
