"""SepCMA: its oracle, its borders, and that it learns the scale of each dimension."""

from math import exp, log, sqrt

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import CholeskyCMA, SepCMA, state_from_dict, state_to_dict
from scorers.known import Ellipsoid
from tests.optimizers.conformance import OptimizerConformance, hill


class TestSep(OptimizerConformance):
    def make(self, rng, **options):
        return SepCMA(self.d, rng=rng, **options)


@pytest.mark.soak  # as cholesky, of given codes
class TestSepFromGivenCodes(OptimizerConformance):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return SepCMA(self.d, rng=rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


def full_matrix(d, n, rng, score, first=None, sigma=3.0):
    """Yield the populations of CMA-ES whose matrix C keeps its diagonal alone (section 3)."""
    mu = n // 2
    w = np.array([log(n / 2 + 0.5) - log(i) for i in range(1, mu + 1)])
    w /= w.sum()
    mu_eff = 1 / (w**2).sum()
    c_s = (mu_eff + 2) / (d + mu_eff + 3)
    d_s = 1 + 2 * max(0, sqrt((mu_eff - 1) / (d + 1)) - 1) + c_s
    c_c = 4 / (d + 4)
    c_cov = (1 / mu_eff) * 2 / (d + sqrt(2)) ** 2
    c_cov += (1 - 1 / mu_eff) * min(1, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff))
    c_cov = min(1, c_cov * (d + 2) / 3)
    chi = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
    m, p_s, p_c, c = np.zeros(d), np.zeros(d), np.zeros(d), np.eye(d)
    if first is not None:
        rng.standard_normal((n, d))
        yield first
        w1 = np.array([log(len(first) / 2 + 0.5) - log(i + 1) for i in range(len(first) // 2)])
        m = w1 / w1.sum() @ first[np.argsort(-score(first))[: len(w1)]]
    generation = 0
    while True:
        generation += 1
        root = np.linalg.cholesky(c)
        x = m + sigma * rng.standard_normal((n, d)) @ root.T
        yield x
        best = np.argsort(-score(x))[:mu]
        y = (x[best] - m) / sigma
        m = w @ x[best]
        p_s = (1 - c_s) * p_s + sqrt(c_s * (2 - c_s) * mu_eff) * np.linalg.solve(root, w @ y)
        length = np.linalg.norm(p_s)
        h = length / sqrt(1 - (1 - c_s) ** (2 * (generation + 1))) < (1.4 + 2 / (d + 1)) * chi
        p_c = (1 - c_c) * p_c + h * sqrt(c_c * (2 - c_c) * mu_eff) * (w @ y)
        rank_one = np.outer(p_c, p_c) + (1 - h) * c_c * (2 - c_c) * c
        rank_mu = np.einsum("i,ij,ik->jk", w, y, y)
        c = (1 - c_cov) * c + c_cov / mu_eff * rank_one + c_cov * (1 - 1 / mu_eff) * rank_mu
        c = np.diag(np.diag(c))
        sigma *= exp(c_s / d_s * (length / chi - 1))


@pytest.mark.parametrize("first", [None, 5])
@pytest.mark.parametrize(("d", "n"), [(1, 6), (7, 12), (40, 21)])
def test_equals_the_full_matrix_kept_diagonal(d, n, first):
    setting = np.random.default_rng(5)
    score = Ellipsoid(setting.normal(size=d), np.geomspace(1, 30, d))
    codes = None if first is None else setting.normal(size=(first, d))
    optimizer = SepCMA(d, rng=np.random.default_rng(0), popsize=n, initial=codes)
    oracle = full_matrix(d, n, np.random.default_rng(0), score, codes)
    for generation in range(60):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=1e-9 * abs(expected).max(), err_msg=f"{generation}"
        )
        optimizer.tell(got, score(got))


def test_learns_scales_that_an_isotropic_search_does_not():
    d = 100
    slopes = np.geomspace(1, 1e4, d)
    reached = {}
    for kind in (SepCMA, CholeskyCMA):
        optimizer = kind(d, rng=np.random.default_rng(0), sigma=1.0)
        TestSep().run(optimizer, 600, lambda x: -((x - 1) ** 2) @ slopes)
        reached[kind] = (optimizer.state.mean - 1) ** 2 @ slopes
    assert reached[SepCMA] < 1e-3 * reached[CholeskyCMA]


def test_a_silent_unit_does_not_shrink_the_steps():
    # After the path, which starts at 0, has reached the length that is neutral.
    ratios = []
    for seed in range(8):
        optimizer = SepCMA(64, rng=np.random.default_rng(seed), sigma=1.0)
        sizes = []
        for generations in (40, 80):
            TestSep().run(optimizer, generations, lambda x: np.zeros(len(x)))
            sizes.append(optimizer.state.sigma * np.sqrt(optimizer.state.var).mean())
        ratios.append(sizes[1] / sizes[0])
    assert abs(np.log(ratios).mean()) < 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 0}, "d must be a whole number >= 1; got 0"),
        ({"popsize": 1}, "popsize must be a whole number >= 2"),
        ({"sigma": 0}, "sigma must be a number > 0"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        SepCMA(**({"d": 3, "rng": np.random.default_rng(0)} | options))


def test_a_search_that_leaves_float64_says_so():
    optimizer = SepCMA(3, rng=np.random.default_rng(0), sigma=1e149)
    with pytest.raises(DataError, match=r"must stay between 1e-150 and 1e\+150"):
        TestSep().run(optimizer, 300, lambda x: x[:, 0])
    assert np.isfinite(optimizer.state.mean).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("var", np.array([1.0, 1, 1, 1, 1, 0]), "var of the state"),
        ("sigma", -1.0, "sigma of the state"),
        ("steps", -1, "steps of the state"),
        ("path_c", np.zeros(5), "path_c of the state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(field, value, message):
    optimizer = TestSep().fresh()
    TestSep().run(optimizer, 1, hill)
    values = state_to_dict(optimizer.state) | {field: value}
    with pytest.raises(DataError, match=message):
        SepCMA.from_state(
            state_from_dict(SepCMA.state_type, values), rng=np.random.default_rng(0)
        )
