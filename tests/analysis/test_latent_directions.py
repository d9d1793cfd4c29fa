"""Scores along directions, SeFa's against eigenvalues, groups, and maps with their t."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from evolver.analysis.decoding import InvertedGLM
from evolver.analysis.latent_directions import (
    activation_map,
    attribute_scores,
    attribute_shuffle,
    classified,
    group_axis,
    sefa_directions,
    unit_normals,
)
from evolver.errors import DataError

RNG = np.random.default_rng(11)


def test_scores_are_projections_and_their_correlation_pearsons():
    true = RNG.standard_normal((40, 6))
    decoded = true + RNG.standard_normal((40, 6))
    normals = RNG.standard_normal((3, 6))
    found = attribute_scores(true, decoded, unit_normals(normals))
    for k, normal in enumerate(normals):
        unit = normal / np.linalg.norm(normal)
        np.testing.assert_allclose(found.true[:, k], true @ unit)
        assert found.r[k] == pytest.approx(
            stats.pearsonr(true @ unit, decoded @ unit).statistic
        )
    np.testing.assert_array_equal(found.best, np.argsort(-found.r))
    assert attribute_scores(true, decoded, unit_normals(normals[0])).r.shape == (1,)


def test_one_attribute_of_many_is_found_and_none_is_not():
    true = RNG.standard_normal((60, 20))
    decoded = RNG.standard_normal((60, 20))
    decoded[:, 7] = true[:, 7] + 0.5 * RNG.standard_normal(60)
    scores = attribute_scores(true, decoded, np.eye(20))
    found = attribute_shuffle(scores, rng=np.random.default_rng(0), shuffles=999)
    assert scores.best[0] == 7
    assert found.p_best[7] == 0.001
    assert np.delete(found.p_best, 7).min() > 0.05
    assert np.delete(found.p, 7).min() < np.delete(found.p_best, 7).min()


def test_sefa_is_the_eigenvectors_of_unit_columns_in_order():
    weights = [RNG.standard_normal((5, 8)), 100 * RNG.standard_normal((5, 3))]
    weights[0][:, 2] = 0
    found = sefa_directions(weights)
    a = np.hstack(weights)
    a = np.delete(a, 2, axis=1)
    a /= np.sqrt((a**2).sum(axis=0))
    values, vectors = np.linalg.eig(a @ a.T)
    order = np.argsort(-values)
    np.testing.assert_allclose(found.strengths, values[order], atol=1e-10)
    alike = np.abs((found.directions * vectors[:, order]).sum(axis=0))
    np.testing.assert_allclose(alike, 1, atol=1e-10)
    few = sefa_directions(weights, most=2)
    np.testing.assert_array_equal(few.directions, found.directions[:, :2])


def test_a_direction_that_weights_share_comes_first():
    axis = unit_normals(RNG.standard_normal(9))
    noisy = axis @ RNG.standard_normal((1, 50)) + 0.05 * RNG.standard_normal((9, 50))
    found = sefa_directions([noisy])
    assert abs(found.directions[:, 0] @ axis[:, 0]) > 0.99
    assert found.strengths[0] > 10 * found.strengths[1]


def test_groups_are_told_apart_along_their_axis():
    group = np.arange(200) % 2 == 1
    shift = np.array([2.0, 0, 0, -1])
    latents = RNG.standard_normal((200, 4)) + np.where(group[:, None], shift, 0)
    axis = group_axis(latents[:100], group[:100])
    expected = latents[:100][group[:100]].mean(0) - latents[:100][~group[:100]].mean(0)
    np.testing.assert_allclose(axis.axis, expected)
    share = classified(axis, latents[100:], group[100:]).value
    assert share == pytest.approx(stats.norm.cdf(np.linalg.norm(shift) / 2), abs=0.1)
    np.testing.assert_array_equal(
        axis.scores(latents) > 0, (latents - latents[:100].mean(0)) @ expected > 0
    )
    assert classified(axis, np.tile(axis.centre, (4, 1)), group[:4]).value == 0.5
    alone = group_axis(latents, np.ones(200, dtype=bool))
    assert alone.reason == "all images are of one group"
    assert classified(alone, latents, group).reason == alone.reason


def test_a_map_is_g_w_with_the_t_of_its_contrast():
    """t of a direction is that of a regression in which it is a regressor of its own."""
    x = RNG.standard_normal((80, 3))
    y = x @ RNG.standard_normal((3, 5)) + RNG.standard_normal((80, 5))
    y[:, 4] = RNG.standard_normal(80)
    fit = InvertedGLM().fit(y, x)
    g = np.array([1.0, -2.0, 0.5])
    found = activation_map(fit, g)
    np.testing.assert_allclose(found.activation, LinearRegression().fit(x, y).coef_ @ g)
    design = np.column_stack([np.ones(80), x])
    inverse = np.linalg.inv(design.T @ design)
    contrast = np.append(0, g)
    for k in range(5):
        w, rss = np.linalg.lstsq(design, y[:, k])[:2]
        error = np.sqrt(rss[0] / 76 * (contrast @ inverse @ contrast))
        assert found.t[k] == pytest.approx(contrast @ w / error)
    assert abs(found.t[4]) < 4


def test_what_is_no_direction_is_refused():
    x = np.eye(4)
    with pytest.raises(DataError, match="columns of length 1"):
        attribute_scores(x, x, 2 * x)
    with pytest.raises(DataError, match="none of them 0"):
        unit_normals(np.zeros(4))
    with pytest.raises(DataError, match="one d"):
        sefa_directions([x, x[1:]])
    with pytest.raises(DataError, match="not all be 0"):
        sefa_directions([0 * x])
    with pytest.raises(DataError, match="1 to 4"):
        sefa_directions([x], most=5)
    with pytest.raises(DataError, match="of bool"):
        group_axis(x, [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"axis must be finite, \(2,\)"):
        activation_map(InvertedGLM().fit(x @ RNG.normal(size=(4, 5)), x[:, :2]), [1.0])
    with pytest.raises(DataError, match="shuffles must be"):
        attribute_shuffle(attribute_scores(x, x, x), rng=RNG, shuffles=0)
