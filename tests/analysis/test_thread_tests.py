"""Two threads against scipy's t-test, and threads between which there is nothing."""

from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.thread_tests import compare_thread_means, compare_threads
from evolver.errors import DataError

BLOCK = np.repeat(np.arange(8), 10)


def thread(rng, *, level=0.0, slope=0.0, n=10):
    block = np.repeat(np.arange(8), n)
    return rng.normal(level + slope * block, 1.0), block


def test_each_pair_is_scipys_t_test():
    rng = np.random.default_rng(0)
    first, second = thread(rng, slope=0.5), thread(rng, level=1, n=7)
    second[0][40] = 9.0  # block 5 is the second thread's highest
    found = compare_threads(first, second, shuffles=50)
    for test, starts in ((found.init, (0, 0)), (found.end, (6, 6)), (found.highest, (5, 5))):
        assert (test.first_start, test.second_start) == starts
        a, b = (
            of[(block >= start) & (block < start + 2)]
            for (of, block), start in zip((first, second), starts, strict=True)
        )
        theirs = stats.ttest_ind(a, b)
        assert (test.t_test.t, test.t_test.p) == pytest.approx((
            theirs.statistic,
            theirs.pvalue,
        ))
        assert test.reason == ""


def test_p_is_the_share_of_images_dealt_to_the_threads():
    """Again image by image, with each thread's highest pair picked anew."""
    rng = np.random.default_rng(1)
    first, second = thread(rng, level=0.3, slope=0.1), thread(rng, n=6)
    found = compare_threads(first, second, shuffles=4000)
    pooled = [
        np.concatenate([first[0][first[1] == b], second[0][second[1] == b]]) for b in range(8)
    ]

    def ts(one, other):
        highest = [min(int(np.argmax([x.mean() for x in of])), 5) for of in (one, other)]
        t = []
        for starts in ((0, 0), (6, 6), highest):
            a, b = np.concatenate(one[starts[0] :][:2]), np.concatenate(other[starts[1] :][:2])
            squares = a.var() * len(a) + b.var() * len(b)
            error = squares / (len(a) + len(b) - 2) * (1 / len(a) + 1 / len(b))
            t.append(abs(a.mean() - b.mean()) / sqrt(error))
        return np.array(t)

    observed = ts([p[:10] for p in pooled], [p[10:] for p in pooled])
    at_least = np.zeros(3)
    for _ in range(600):
        dealt = [rng.permutation(p) for p in pooled]
        at_least += ts([p[:10] for p in dealt], [p[10:] for p in dealt]) >= observed
    expected = at_least / 600
    p = [found.init.p, found.end.p, found.highest.p]
    np.testing.assert_allclose(p, expected, atol=0.08)


@pytest.mark.soak
def test_threads_that_are_alike_differ_as_often_as_is_said():
    rng = np.random.default_rng(2)
    drawn = [
        compare_threads(thread(rng), thread(rng), shuffles=99, rng=rng) for _ in range(1000)
    ]
    for pair in ("init", "end", "highest"):
        called = np.mean([getattr(tests, pair).p < 0.05 for tests in drawn])
        assert 0.02 < called < 0.075  # of 99 sessions dealt: 0.04 or 0.05


def test_what_has_no_test_says_why():
    rng = np.random.default_rng(3)
    short = (np.zeros(8), np.repeat(np.arange(4), 2))
    found = compare_threads(short, short)
    assert "4 and 4 blocks" in found.init.reason
    assert isnan(found.highest.p)
    silent = (np.zeros(80), BLOCK)
    assert "all equal" in compare_threads(silent, silent, shuffles=3).end.reason
    assert isnan(compare_threads(silent, silent, shuffles=3).end.p)
    assert "8 and 4 blocks" in compare_threads(thread(rng), short).end.reason
    with pytest.raises(DataError, match="once at least"):
        compare_threads(short, short, shuffles=0)


def one_course(rng, blocks=12, apart=0.0):
    """Two threads of one course, `apart` at its end; their means and sems."""
    sems = rng.uniform(0.5, 2.0, (2, blocks))
    course = np.stack([20 + np.arange(blocks), 20 + np.arange(blocks)]) + 0.0
    course[0, -4:] += apart
    means = course + rng.normal(0, 1, (2, blocks)) * sems
    return [(means[k], sems[k]) for k in (0, 1)]


def test_means_are_compared_by_z_of_pairs():
    first, second = one_course(np.random.default_rng(5), apart=4.0)
    found = compare_thread_means(first, second, last_pair="all", shuffles=2000)
    highest = [min(int(np.argmax(mean)), 10) for mean, _ in (first, second)]
    for test, starts in (
        (found.init, (0, 0)),
        (found.end, (10, 10)),
        (found.highest, tuple(highest)),
    ):
        assert (test.first_start, test.second_start) == starts
        pairs = [
            (mean[at : at + 2].mean(), (sem[at : at + 2] ** 2).sum() / 4)
            for (mean, sem), at in zip((first, second), starts, strict=True)
        ]
        z = (pairs[0][0] - pairs[1][0]) / sqrt(pairs[0][1] + pairs[1][1])
        assert test.t_test.difference == pytest.approx(pairs[0][0] - pairs[1][0])
        assert (test.t_test.t, test.t_test.dof) == (pytest.approx(z), 0)
        assert test.t_test.p == pytest.approx(2 * stats.norm.sf(abs(z)))
        if test is not found.highest:  # without picking, draws say what z says
            assert test.p == pytest.approx(test.t_test.p, abs=0.03)
    assert found.end.p < 0.05


@pytest.mark.soak
def test_threads_of_one_course_differ_as_often_as_is_said():
    rng = np.random.default_rng(8)
    p = np.array([
        [
            getattr(compare_thread_means(*one_course(rng), shuffles=99, rng=rng), at).p
            for at in ("init", "highest")
        ]
        for _ in range(400)
    ])
    for share in (p < 0.0501).mean(axis=0):
        assert share == pytest.approx(0.05, abs=4 * sqrt(0.05 * 0.95 / 400))


def test_means_without_errors_or_too_few_give_a_reason():
    mean = np.arange(8.0)
    found = compare_thread_means((mean, np.zeros(8)), (mean + 1, np.zeros(8)))
    assert "no block of either pair has an error" in found.end.reason
    assert isnan(found.end.p)
    assert found.end.t_test.difference == -1
    short = compare_thread_means((mean, np.ones(8)), (mean[:7], np.ones(7)))
    assert "8 and 7 blocks" in short.init.reason
    for wrong in ((mean, np.ones(7)), (mean, -np.ones(8)), (mean * np.nan, np.ones(8))):
        with pytest.raises(DataError):
            compare_thread_means(wrong, (mean, np.ones(8)))
    with pytest.raises(DataError, match="drawn once"):
        compare_thread_means((mean, mean), (mean, mean), shuffles=0)
