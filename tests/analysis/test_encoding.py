"""Kernel ridge against scikit-learn's and brute force; planted penalties; scores and layers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.linalg import circulant
from sklearn.kernel_ridge import KernelRidge as TheirRidge

from evolver.analysis.encoding import KernelRidge, effective_dof, penalties_of
from evolver.analysis.layer_assignment import EncodingScores, assign_layers, encoding_scores
from evolver.errors import DataError

CANDIDATES = 6


def drawn(n, k, m, *, noise, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, k)) * np.geomspace(3, 0.1, k) + 2
    signal = features @ rng.standard_normal((k, m))
    signal = 10 * signal / signal.std(axis=0)
    return features, signal + noise * rng.standard_normal((n, m)) + 30


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("choice", ["cv", "gcv", "paper"])
def test_predictions_are_those_of_scikit_learn(choice, centre):
    """Of a kernel of both sets, centred by its training images alone."""
    features, y = drawn(40, 90, 3, noise=5)
    x, new, y = features[:30], features[30:], y[:30]
    model = KernelRidge(choice=choice, centre=centre, candidates=CANDIDATES)
    fit = model.fit(x, y, groups=["V1", "V1", "IT"], rng=np.random.default_rng(1))
    assert fit.groups == ("V1", "IT")
    assert (np.diff(fit.offered) > 0).all()
    mean, y_mean = (x.mean(axis=0), y.mean(axis=0)) if centre else (0.0, 0.0)
    for group, columns in enumerate(([0, 1], [2])):
        theirs = TheirRidge(alpha=fit.penalty[group], kernel="linear")
        theirs.fit(x - mean, (y - y_mean)[:, columns])
        expected = theirs.predict(new - mean) + (y_mean[columns] if centre else 0)
        np.testing.assert_allclose(fit.predict(new)[:, columns], expected, rtol=1e-8)


def test_cross_validation_is_that_of_scikit_learn_by_hand():
    features, y = drawn(33, 50, 2, noise=8)
    fit = KernelRidge(candidates=CANDIDATES).fit(features, y, rng=np.random.default_rng(3))
    folds = np.array_split(np.random.default_rng(3).permutation(33), 10)
    for i, penalty in enumerate(fit.offered):
        guesses = np.empty_like(y)
        for test in folds:
            train = np.setdiff1d(np.arange(33), test)
            mean, y_mean = features[train].mean(axis=0), y[train].mean(axis=0)
            theirs = TheirRidge(alpha=penalty, kernel="linear")
            theirs.fit(features[train] - mean, y[train] - y_mean)
            guesses[test] = theirs.predict(features[test] - mean) + y_mean
        error = ((y - guesses) ** 2).sum(axis=0) / (33 * y.var(axis=0))
        np.testing.assert_allclose(fit.errors[0, i], error.mean(), rtol=1e-8)


@pytest.mark.parametrize("centre", [False, True])
def test_generalised_cross_validation_is_leaving_one_out_where_images_are_alike(centre):
    """Features that are one row, turned, give images the same leverage: then it is exact."""
    rng = np.random.default_rng(4)
    features, y = circulant(rng.standard_normal(11)), rng.standard_normal((11, 2))
    model = KernelRidge(choice="gcv", centre=centre, candidates=CANDIDATES)
    fit = model.fit(features, y)
    for i, penalty in enumerate(fit.offered):
        errors = np.zeros(2)
        for out in range(11):
            x, t = np.delete(features, out, 0), np.delete(y, out, 0)
            mean, t_mean = (x.mean(axis=0), t.mean(axis=0)) if centre else (0.0, 0.0)
            a = x - mean
            map_ = np.linalg.solve(a.T @ a + penalty * np.eye(11), a.T @ (t - t_mean))
            errors += (y[out] - (features[out] - mean) @ map_ - t_mean) ** 2
        share = (errors / (11 * y.var(axis=0))).mean()
        np.testing.assert_allclose(fit.errors[0, i], share, rtol=1e-8)


def test_the_published_pairing_judges_each_penalty_by_the_one_before():
    features, y = drawn(20, 30, 1, noise=3)
    y = (y - y.mean()) / y.std()
    right = KernelRidge(choice="gcv", centre=False, candidates=CANDIDATES).fit(features, y)
    paper = KernelRidge(choice="paper", centre=False, candidates=CANDIDATES).fit(features, y)
    assert np.isinf(paper.errors[0, 0])
    np.testing.assert_array_equal(paper.offered, right.offered)
    own, before = right.offered_dof[1:], right.offered_dof[:-1]
    ratio = ((1 - own / 20) / (1 - before / 20)) ** 2
    np.testing.assert_allclose(paper.errors[0, 1:], right.errors[0, 1:] * ratio, rtol=1e-7)


@given(
    st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=30),
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=5, unique=True),
)
def test_penalties_have_the_degrees_of_freedom_that_were_wanted(s, shares):
    """Against Brent's method, in the logarithm of the penalty."""
    dofs = np.unique(np.array(shares))[::-1] * len(s)
    found = penalties_of(s, dofs)
    for penalty, dof in zip(found, dofs, strict=True):
        assert effective_dof(s, penalty) == pytest.approx(dof, abs=1e-8)
        theirs = optimize.brentq(
            lambda log, dof=dof: effective_dof(s, np.exp(log)) - dof, -30, 40, xtol=1e-13
        )
        assert penalty == pytest.approx(np.exp(theirs), rel=1e-6)


def test_a_kernel_of_few_features_offers_no_more_than_it_has():
    """Twenty images, four features: the first two offers are of no penalty at all."""
    features, y = drawn(20, 4, 2, noise=0.1)
    fit = KernelRidge().fit(features, y, rng=np.random.default_rng(0))
    assert fit.offered[0] == fit.offered[1] == fit.offered[2] == 0
    assert fit.offered[3] > 0
    ones = np.column_stack([features, np.ones(20)])
    least = ones @ np.linalg.lstsq(ones, y, rcond=None)[0]
    np.testing.assert_allclose(fit.predict(features), least, rtol=1e-8)


@pytest.mark.parametrize("choice", ["cv", "gcv"])
def test_a_planted_penalty_is_chosen(choice):
    """With weights of variance 1 the best penalty is the noise's variance: its neighbours err.

    One group almost without noise, one drowned in it: each has its own.
    """
    rng = np.random.default_rng(6)
    features = rng.standard_normal((300, 200)).astype(np.float32)
    signal = features @ rng.standard_normal((200, 40))
    noise = np.where(np.arange(40) < 20, 4.0, 40.0)
    y = signal + noise * rng.standard_normal((300, 40))
    model = KernelRidge(choice=choice, candidates=9)
    fit = model.fit(features, y, groups=[noise[i] for i in range(40)], rng=rng)
    assert fit.groups == (4.0, 40.0)
    for group, variance in enumerate((16.0, 1600.0)):
        nearest = np.abs(np.log(np.maximum(fit.offered, 1e-9) / variance)).argmin()
        assert fit.penalty[group] == fit.offered[nearest]
    assert fit.dof[0] > fit.dof[1]


def test_what_cannot_be_fitted_is_refused():
    features, y = drawn(12, 5, 2, noise=1)
    model = KernelRidge()
    with pytest.raises(DataError, match="rng"):
        model.fit(features, y)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="same images, 10 at least; got 12 and 11"):
        model.fit(features, y[:11], rng=rng)
    with pytest.raises(DataError, match="group"):
        model.fit(features, y, groups=["V1"], rng=rng)
    with pytest.raises(DataError, match="finite"):
        model.fit(features * np.nan, y, rng=rng)
    with pytest.raises(DataError, match="all the same"):
        model.fit(np.ones((12, 5)), y, rng=rng)
    with pytest.raises(DataError, match="fall"):
        penalties_of([1.0, 2.0], [1.0, 1.5])
    with pytest.raises(DataError, match="choice"):
        KernelRidge(choice="loo")
    with pytest.raises(DataError, match=r"\(n, 5\)"):
        model.fit(features, y, rng=rng).predict(features[:, :4])


def test_scores_are_correlations_raw_and_over_their_ceiling():
    rng = np.random.default_rng(7)
    truth = rng.standard_normal((100, 4))
    guess = truth + rng.standard_normal((100, 4))
    guess[:, 3] = 0.1  # constant: its mean rounds
    scores = encoding_scores(guess, truth, reliability=[1.0, 0.25, -0.1, 0.5])
    for i in range(3):
        theirs = stats.pearsonr(guess[:, i], truth[:, i], alternative="greater")
        assert scores.r[i] == pytest.approx(theirs.statistic)
        assert scores.p[i] == pytest.approx(theirs.pvalue)
    np.testing.assert_allclose(scores.over_ceiling[:2], scores.r[:2] * [1, 2])
    assert np.isnan(scores.over_ceiling[2:]).all()
    assert np.isnan([scores.r[3], scores.p[3]]).all()
    assert encoding_scores(truth, truth).p == pytest.approx(0, abs=1e-300)
    with pytest.raises(DataError, match="same images"):
        encoding_scores(guess[:2], truth[:2])


def test_no_relation_is_significant_as_often_as_its_level_says():
    rng = np.random.default_rng(8)
    shape = 100, 2000
    scores = encoding_scores(rng.standard_normal(shape), rng.standard_normal(shape))
    assert 0.035 < (scores.p < 0.05).mean() < 0.065


def test_units_are_assigned_to_the_layer_that_predicts_them():
    nan = np.nan
    r = [[0.5, 0.1, nan, 0.2, nan], [0.4, 0.6, 0.3, 0.1, nan]]
    p = [[0.001, 0.3, nan, 0.02, nan], [0.004, 0.0, 0.01, 0.4, nan]]
    scores = [
        EncodingScores(np.array(a), np.full(5, nan), np.array(b), 100)
        for a, b in zip(r, p, strict=True)
    ]
    found = assign_layers(scores, ["conv1", "conv2"], ["V1", "V4", "V4", "V1", "V1"])
    assert found.best.tolist() == [0, 1, 1, 0, -1]
    np.testing.assert_array_equal(found.r, [0.5, 0.6, 0.3, 0.2, nan])
    np.testing.assert_array_equal(found.opacity, [0.999, 1.0, 0.99, 0.98, 0.0])
    np.testing.assert_array_equal(found.p_of_best, [0.002, 0, 0.02, 0.04, nan])
    assert [(s.k, s.n) for s in found.shares["V1"]] == [(2, 2), (0, 2)]
    assert [(s.k, s.n) for s in found.shares["V4"]] == [(0, 2), (2, 2)]
    with pytest.raises(DataError, match="score of each unit"):
        assign_layers(scores, ["conv1"], ["V1"] * 5)
