"""SNES: its oracle, evosax's own, its borders, and that it learns a step for each dimension."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
import torch

from evolver.errors import ConfigError, DataError
from evolver.optimizers import SNES, batched, state_from_dict, state_to_dict
from evolver.optimizers.snes import SnesState, sample, update, utilities
from scorers.known import Ellipsoid
from tests.optimizers.conformance import OptimizerConformance, hill


class TestSNES(OptimizerConformance):
    def make(self, rng, **options):
        return SNES(self.d, rng=rng, **options)


@pytest.mark.soak  # as cholesky, of given codes
class TestSNESFromGivenCodes(OptimizerConformance):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return SNES(self.d, rng=rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


def table_of_utilities(n):
    """Return the paper's utilities, best rank first, one at a time."""
    raw = [max(0.0, log(n / 2 + 1) - log(k)) for k in range(1, n + 1)]
    return [value / sum(raw) - 1 / n for value in raw]


def paper(d, n, rng, score, *, first=None, start=0.0, sigma=3.0, eta_mu=1.0, eta_sigma=None):
    """Yield the populations of the paper's SNES, a dimension and a sample at a time."""
    eta_sigma = (3 + log(d)) / (5 * sqrt(d)) if eta_sigma is None else eta_sigma
    m, steps = np.full(d, start), np.full(d, sigma)
    if first is not None:
        rng.standard_normal((n, d))
        yield first
        parents = len(first) // 2
        w = np.array([log(len(first) / 2 + 0.5) - log(i + 1) for i in range(parents)])
        m = w / w.sum() @ first[np.argsort(-score(first))[:parents]]
    u = table_of_utilities(n)
    while True:
        s = rng.standard_normal((n, d))
        x = np.array([m + steps * s_k for s_k in s])
        yield x
        best_first = np.argsort(-score(x))
        of_mean, of_steps = np.zeros(d), np.zeros(d)
        for u_k, k in zip(u, best_first, strict=True):
            of_mean += u_k * s[k]
            of_steps += u_k * (s[k] ** 2 - 1)
        m = m + eta_mu * steps * of_mean
        steps = steps * np.array([exp(eta_sigma / 2 * gradient) for gradient in of_steps])


@pytest.mark.parametrize(
    "options", [{}, {"first": 5}, {"eta_mu": 0.5, "eta_sigma": 0.2, "sigma": 0.7}]
)
@pytest.mark.parametrize(("d", "n"), [(1, 6), (7, 11), (40, 20)])
def test_equals_the_papers_equations(d, n, options):
    setting = np.random.default_rng(5)
    score = Ellipsoid(setting.normal(size=d), np.geomspace(1, 30, d))
    rest = dict(options)
    first = rest.pop("first", None)
    codes = None if first is None else setting.normal(size=(first, d))
    optimizer = SNES(d, rng=np.random.default_rng(0), popsize=n, initial=codes, **rest)
    oracle = paper(d, n, np.random.default_rng(0), score, first=codes, **rest)
    for generation in range(30):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=1e-12 * abs(expected).max(), err_msg=f"{generation}"
        )
        optimizer.tell(got, score(got))


def test_ties_share_the_utilities_of_their_ranks():
    u = table_of_utilities(5)
    shared = utilities(np.array([2.0, 7.0, 2.0, -1.0, 2.0]))
    middle = (u[1] + u[2] + u[3]) / 3
    np.testing.assert_allclose(shared, [middle, u[0], middle, u[4], middle], atol=1e-15)
    assert abs(utilities(np.zeros(40))).max() < 1e-16


@pytest.mark.soak  # a second oracle beside the paper's equations; it compiles what it runs
def test_an_update_is_evosaxs_own():
    """Of equal draws; theirs in float32, and of losses."""
    algorithms = pytest.importorskip("evosax.algorithms.distribution_based")
    import jax

    d, n = 30, 16
    setting = np.random.default_rng(2)
    score = Ellipsoid(setting.normal(size=d), np.geomspace(1, 30, d))
    theirs = algorithms.SNES(population_size=n, solution=np.zeros(d, np.float32))
    parameters = theirs.default_params.replace(std_init=2.0)
    key = jax.random.key(0)
    of_theirs = theirs.init(key, np.zeros(d, np.float32), parameters)
    ours = SNES(d, rng=np.random.default_rng(0), popsize=n, sigma=2.0)
    for _ in range(20):
        codes = ours.ask()
        scores = score(codes)
        ours.tell(codes, scores)
        of_theirs, _ = theirs.tell(
            key, codes.astype(np.float32), -scores.astype(np.float32), of_theirs, parameters
        )
        np.testing.assert_allclose(of_theirs.mean, ours.state.mean, atol=1e-4)
        np.testing.assert_allclose(of_theirs.std, ours.state.sigma, rtol=1e-4)


def test_learns_a_step_for_each_dimension():
    d = 30
    slopes = np.geomspace(1, 1e4, d)
    optimizer = SNES(d, rng=np.random.default_rng(0), sigma=1.0)
    TestSNES().run(optimizer, 300, lambda x: -((x - 1) ** 2) @ slopes)
    assert (optimizer.state.mean - 1) ** 2 @ slopes < 1e-3
    scaled = np.log(optimizer.state.sigma * np.sqrt(slopes))
    assert scaled.std() < 0.5  # of log steps that span ln 100 in the code's own units


def test_a_silent_unit_moves_nothing():
    optimizer = SNES(64, rng=np.random.default_rng(0), initial=np.ones(64), sigma=2.0)
    TestSNES().run(optimizer, 50, lambda x: np.zeros(len(x)))
    np.testing.assert_allclose(optimizer.state.mean, 1, atol=1e-12)
    np.testing.assert_allclose(optimizer.state.sigma, 2, rtol=1e-12)


def test_a_batch_is_as_many_single_runs_to_rounding():
    d, n, seeds = 20, 13, range(3)
    alone = [SNES(d, rng=np.random.default_rng(seed), popsize=n) for seed in seeds]
    rngs = [np.random.default_rng(seed) for seed in seeds]
    together = batched("snes", d, rngs=rngs, popsize=n)
    for _ in range(15):
        codes = together.ask()
        scores = []
        for row, optimizer in zip(codes.numpy(), alone, strict=True):
            asked = optimizer.ask()
            np.testing.assert_allclose(row, asked, rtol=0, atol=1e-12 * abs(asked).max())
            scores.append(np.round(hill(asked), 1))  # some are tied
            optimizer.tell(asked, scores[-1])
        together.tell(torch.tensor(np.array(scores)))


def test_arguments_of_pure_functions_are_untouched():
    rng = np.random.default_rng(0)
    state = TestSNES().fresh().state
    z = rng.normal(size=(8, 6))
    kept = z.copy()
    codes = sample(state, z)
    np.testing.assert_array_equal(z, kept)
    before = codes.copy()
    update(state, codes, hill(codes))
    np.testing.assert_array_equal(codes, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 0}, "d must be a whole number >= 1; got 0"),
        ({"popsize": 1}, "popsize must be a whole number >= 2"),
        ({"sigma": 0}, "sigma must be a number > 0"),
        ({"eta_mu": 0}, "eta_mu must be a number between 0.001 and 10; got 0"),
        ({"eta_sigma": 1.5}, "eta_sigma must be a number between 0 and 1; got 1.5"),
        ({"eta_sigma": "fast"}, "eta_sigma must be a number between 0 and 1; got 'fast'$"),
        ({"sigma": "8"}, "got '8', a text: write it without quotes$"),
        ({"popsize": "8"}, "got '8', a text: write it without quotes$"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        SNES(**({"d": 3, "rng": np.random.default_rng(0)} | options))


@pytest.mark.parametrize("far", [1e30, 1e200])
def test_a_step_that_leaves_float64_says_so_and_is_not_taken(far):
    """Codes as far out as none is drawn: the exponential, or the square, has no number."""
    optimizer = TestSNES().fresh()
    TestSNES().run(optimizer, 2)
    codes = optimizer.ask()
    codes[0] *= far
    optimizer.adopt(codes)
    before = optimizer.state
    with pytest.raises(DataError, match=r"sigma must stay between 1e-150 and 1e\+150"):
        optimizer.tell(codes, np.arange(len(codes))[::-1])
    assert optimizer.state is before
    optimizer.tell(codes[1:], hill(codes[1:]))
    assert np.isfinite(optimizer.ask()).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.array([1.0, 1, 1, 1, 1, 0])}, "sigma of the state"),
        ({"sigma": np.ones(5)}, "sigma of the state"),
        ({"eta_mu": -1.0}, "eta_mu of the state"),
        ({"eta_sigma": float("nan")}, "eta_sigma of the state"),
        ({"popsize": 1}, "popsize of the state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, message):
    optimizer = TestSNES().fresh()
    TestSNES().run(optimizer, 1)
    values = state_to_dict(replace(optimizer.state, **change))
    with pytest.raises(DataError, match=message):
        SNES.from_state(state_from_dict(SnesState, values), rng=np.random.default_rng(0))
