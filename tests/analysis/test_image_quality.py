"""Frechet distance and inception score against scipy's root, closed forms, and loops."""

from math import isnan

import numpy as np
import pytest
from scipy.linalg import sqrtm

from evolver.analysis.image_quality import (
    frechet_distance,
    frechet_with_floor,
    inception_score,
)
from evolver.errors import DataError

RNG = np.random.default_rng(2)


def published(a, b, ridge=0.0):
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    identity = ridge * np.eye(len(s1))
    root = sqrtm((s1 + identity) @ (s2 + identity)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)


def test_the_distance_is_that_of_the_matrix_root():
    a = RNG.standard_normal((60, 8)) @ RNG.standard_normal((8, 8))
    b = RNG.standard_normal((50, 8)) @ RNG.standard_normal((8, 8)) + 1
    found = frechet_distance(a, b)
    assert found.value == pytest.approx(published(a, b), rel=1e-9)
    assert (found.n, found.m, found.ridge) == (60, 50, 0)


def test_a_singular_product_has_its_diagonal_raised():
    """Fewer images than features: the published rule, 1e-6 on both diagonals."""
    a, b = RNG.standard_normal((9, 20)), RNG.standard_normal((12, 20)) * 2
    found = frechet_distance(a, b)
    assert found.ridge == 1e-6
    assert found.value == pytest.approx(published(a, b, 1e-6), rel=1e-6)
    assert frechet_distance(a, a).value == pytest.approx(0, abs=1e-3)


def test_known_normals_have_the_known_distance():
    """Diagonal covariances: the sum of (m1 - m2)^2 + (sd1 - sd2)^2."""
    z = RNG.standard_normal((400, 3))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z, rowvar=False))).T  # white exactly
    found = frechet_distance(z, z * [1, 2, 5] + [0, 3, 0])
    assert found.value == pytest.approx(9 + 0 + 1 + 16)


def test_the_floor_is_of_sets_of_the_same_size():
    natural, drawn = RNG.standard_normal((80, 5)), RNG.standard_normal((30, 5)) + 2
    distance, floor = frechet_with_floor(drawn, natural, rng=np.random.default_rng(0))
    assert {distance.n, distance.m, floor.n, floor.m} == {30}
    assert distance.value > 10 > 2 > floor.value > 0
    distance, _ = frechet_with_floor(drawn, natural[:21], rng=np.random.default_rng(0))
    assert distance.n == 10
    assert "two images" in frechet_distance(drawn[:1], drawn).reason


def test_inception_score_by_loops_and_at_its_ends():
    p = RNG.dirichlet(np.ones(6), 43)
    scores = []
    for part in np.array_split(p, 4):
        mean = part.mean(axis=0)
        divergences = [
            sum(q * np.log(q / m) for q, m in zip(row, mean, strict=True)) for row in part
        ]
        scores.append(np.exp(np.mean(divergences)))
    found = inception_score(p, splits=4)
    assert found.mean == pytest.approx(np.mean(scores))
    assert found.sd == pytest.approx(np.std(scores))
    sure = np.eye(5)[np.arange(100) % 5]
    assert inception_score(sure).mean == pytest.approx(5)
    assert inception_score(np.full((10, 5), 0.2), splits=1).mean == pytest.approx(1)
    few = inception_score(sure[:99])  # of one image a split it would be 1
    assert isnan(few.mean)
    assert "10 splits need 100 images" in few.reason
    with pytest.raises(DataError, match="sum to 1"):
        inception_score(p * 2)
