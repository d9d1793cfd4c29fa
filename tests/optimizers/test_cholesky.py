"""CholeskyCMA: its oracle, its borders, and that it finds what it is for."""

import tracemalloc
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.errors import ConfigError, DataError
from evolver.optimizers import CholeskyCMA, state_from_dict, state_to_dict
from scorers.known import Ellipsoid
from tests.optimizers.conformance import OptimizerConformance, hill
from tests.soak import examples, further


class TestCholesky(OptimizerConformance):
    def make(self, rng, **options):
        return CholeskyCMA(self.d, rng=rng, **options)


class TestCholeskyFromGivenCodes(OptimizerConformance):
    """The same, when the first population is the caller's."""

    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return CholeskyCMA(self.d, rng=rng, initial=given, popsize=11, **options)

    # The first codes are the caller's, whatever the seed.
    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


@pytest.mark.soak  # as with its matrix
class TestCholeskyIsotropic(OptimizerConformance):
    def make(self, rng, **options):
        return CholeskyCMA(self.d, rng=rng, update_every=None, **options)


def dense(d, n, every, rng, score, first=None, sigma=3.0):
    """Yield the populations of the recursion with A and its inverse stored, as published."""
    mu = n // 2
    w = np.array([log(n / 2 + 0.5) - log(i) for i in range(1, mu + 1)])
    w /= w.sum()
    mu_eff = 1 / (w**2).sum()
    c_c, c_1 = 4 / (d + 4), 2 / (d + sqrt(2)) ** 2
    c_s = sqrt(mu_eff) / (sqrt(mu_eff) + sqrt(d))
    d_s = 1 + c_s + 2 * max(0, sqrt((mu_eff - 1) / (d + 1)) - 1)
    chi = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
    m, p_s, p_c, a, inverse = np.zeros(d), np.zeros(d), np.zeros(d), np.eye(d), np.eye(d)
    generation = 0
    while True:
        generation += 1
        z = rng.standard_normal((n, d))
        if generation == 1 and first is not None:
            yield first
            w1 = np.array([
                log(len(first) / 2 + 0.5) - log(i + 1) for i in range(len(first) // 2)
            ])
            m = w1 / w1.sum() @ first[np.argsort(-score(first))[: len(w1)]]
            continue
        x = m + sigma * z @ a
        yield x
        best = np.argsort(-score(x))[:mu]
        m, z_w = w @ x[best], w @ z[best]
        p_s = (1 - c_s) * p_s + sqrt(c_s * (2 - c_s) * mu_eff) * z_w
        p_c = (1 - c_c) * p_c + sqrt(c_c * (2 - c_c) * mu_eff) * (z_w @ a)
        sigma *= exp(c_s / d_s * (np.linalg.norm(p_s) / chi - 1))
        if every and generation % every == 0:
            v = p_c @ inverse
            vv = v @ v
            root = sqrt(1 + vv * c_1 / (1 - c_1))
            a = sqrt(1 - c_1) * a + sqrt(1 - c_1) / vv * (root - 1) * np.outer(v, p_c)
            shrunk = (1 - 1 / root) / (sqrt(1 - c_1) * vv)
            inverse = inverse / sqrt(1 - c_1) - shrunk * np.outer(inverse @ v, v)


@pytest.mark.parametrize(
    ("every", "first"),
    [
        (1, None),
        (3, 12),
        *(
            further(every, first)
            for every in (1, 3, 10, None)
            for first in (None, 5, 12)
            if (every, first) not in {(1, None), (3, 12)}
        ),
    ],
)
@pytest.mark.parametrize(
    ("d", "n"), [(1, 6), (30, 12), (300, 28), further(7, 12), further(64, 22)]
)
def test_equals_the_dense_recursion(d, n, every, first):
    # With an update each generation all but d = 300 go through folding; 300 holds 60 rows.
    setting = np.random.default_rng(5)
    score = Ellipsoid(setting.normal(size=d), np.geomspace(1, 30, d))
    codes = None if first is None else setting.normal(size=(first, d))
    optimizer = CholeskyCMA(
        d, rng=np.random.default_rng(0), popsize=n, initial=codes, update_every=every
    )
    oracle = dense(d, n, every, np.random.default_rng(0), score, codes)
    for generation in range(60 if d == 300 else 100):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=1e-10 * abs(expected).max(), err_msg=f"{generation}"
        )
        optimizer.tell(got, score(got))


def test_the_covariance_is_learnt_on_schedule():
    for every, updates in ((1, 12), (5, 2), (12, 1), (13, 0), (None, 0)):
        optimizer = CholeskyCMA(20, rng=np.random.default_rng(0), update_every=every)
        TestCholesky().run(optimizer, 12)
        assert len(optimizer.state.rows) == updates


def test_folding_bounds_the_state_and_the_drift():
    optimizer = CholeskyCMA(5, rng=np.random.default_rng(0), popsize=8, update_every=1)
    slopes = np.geomspace(1, 100, 5)
    bent = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    for _ in range(1000):
        codes = optimizer.ask()
        # Found after 300 generations; then rounding decides the ranks, and C wanders off.
        scores = codes[:, 0] * 1e-3 - (codes @ bent) ** 2 @ slopes
        optimizer.tell(codes, scores)
        state = optimizer.state
        assert len(state.rows) <= 5 + 16
    eye = np.eye(5)
    a = state.scale * (eye + state.rows.T @ state.forward @ state.rows)
    inverse = (eye - state.rows.T @ state.inverse @ state.rows) / state.scale
    condition = np.linalg.cond(a)
    assert condition > 100
    np.testing.assert_allclose(a @ inverse, eye, atol=1e-14 * condition)


class CountingStream:
    """Has `standard_normal` alone, and keeps what it was asked for."""

    def __init__(self):
        self.asked, self._rng = [], np.random.default_rng(0)

    def standard_normal(self, shape):
        self.asked.append(shape)
        return self._rng.standard_normal(shape)


@pytest.mark.parametrize("initial", [None, np.ones(6), np.ones((3, 6))])
def test_draws_once_a_generation_and_nothing_else(initial):
    stream = CountingStream()
    optimizer = CholeskyCMA(6, rng=stream, popsize=9, initial=initial)
    for generation in range(25):
        codes = optimizer.ask()
        optimizer.tell(codes[1:], hill(codes)[1:])
        assert stream.asked == [(9, 6)] * (generation + 1)


def test_defaults():
    sizes = [CholeskyCMA(d, rng=np.random.default_rng(0)).popsize for d in (4096, 512, 256, 1)]
    assert sizes == [40, 31, 28, 4]
    optimizer = CholeskyCMA(256, rng=np.random.default_rng(0))
    draws = np.random.default_rng(0).standard_normal((28, 256))
    np.testing.assert_allclose(optimizer.ask(), 3 * draws, rtol=1e-15)


def test_starts_around_a_given_code():
    start = np.arange(6.0)
    optimizer = CholeskyCMA(6, rng=np.random.default_rng(0), initial=start, sigma=0.1)
    start[:] = 0  # the caller's array stays the caller's
    draws = np.random.default_rng(0).standard_normal((optimizer.popsize, 6))
    np.testing.assert_allclose(optimizer.ask(), np.arange(6.0) + 0.1 * draws, rtol=1e-13)


@pytest.mark.parametrize("told", [1, 2, 5])
def test_first_population_is_the_callers(told):
    codes = np.random.default_rng(2).normal(size=(5, 6))
    optimizer = CholeskyCMA(6, rng=np.random.default_rng(0), initial=codes)
    asked = optimizer.ask()
    np.testing.assert_array_equal(asked, codes)
    optimizer.tell(asked[:told], np.arange(told))
    best_first = codes[:told][::-1]
    weights = {1: [1], 2: [1, 0], 5: np.log(3) - np.log([1, 2])}[told]
    weights = np.pad(np.asarray(weights, float), (0, told - len(weights)))
    mean = weights / weights.sum() @ best_first
    np.testing.assert_allclose(optimizer.state.mean, mean, rtol=1e-14, atol=1e-15)
    assert optimizer.state.sigma == 3.0
    assert not optimizer.state.path_s.any()
    assert len(optimizer.ask()) == optimizer.popsize


def test_first_population_may_repeat_a_code():
    optimizer = CholeskyCMA(6, rng=np.random.default_rng(0), initial=np.zeros((4, 6)))
    optimizer.tell(optimizer.ask()[:3], [1, 2, 3])
    np.testing.assert_array_equal(optimizer.state.mean, np.zeros(6))


def test_dropped_codes_are_left_out_of_the_ranking():
    # Losing the worst code leaves the best ones best, with the weights of one code fewer.
    a = CholeskyCMA(6, rng=np.random.default_rng(0), popsize=8)
    codes = a.ask()
    order = np.argsort(-hill(codes))
    a.tell(codes[order[:7]], hill(codes)[order[:7]])
    weights = log(4) - np.log([1, 2, 3])
    weights /= weights.sum()
    np.testing.assert_allclose(a.state.mean, weights @ codes[order[:3]], rtol=1e-13)
    codes = a.ask()
    with pytest.raises(DataError, match="at least 2 scored codes to learn from; got 1"):
        a.tell(codes[:1], [1.0])


def test_a_silent_generation_is_neutral():
    # Equal scores: all codes weigh alike, and the path keeps its expected length.
    n, d = 9, 6
    optimizer = CholeskyCMA(d, rng=np.random.default_rng(0), popsize=n)
    codes = optimizer.ask()
    optimizer.tell(codes, np.full(n, 4.0))
    np.testing.assert_allclose(optimizer.state.mean, codes.mean(axis=0), rtol=1e-13)
    w = log(n / 2 + 0.5) - np.log(np.arange(1, n // 2 + 1))
    mu_eff = w.sum() ** 2 / (w**2).sum()
    c_s = sqrt(mu_eff) / (sqrt(mu_eff) + sqrt(d))
    step = sqrt(n) * (codes / 3).mean(axis=0)  # standard normal
    np.testing.assert_allclose(optimizer.state.path_s, sqrt(c_s * (2 - c_s)) * step, rtol=1e-12)


def test_a_silent_unit_does_not_shrink_the_steps():
    sigmas = []
    for seed in range(20):
        optimizer = CholeskyCMA(64, rng=np.random.default_rng(seed), sigma=1.0)
        TestCholesky().run(optimizer, 40, lambda x: np.zeros(len(x)))
        sigmas.append(optimizer.state.sigma)
    assert abs(np.log(sigmas).mean()) < 0.25


@examples(0.7)
@given(data=st.data(), d=st.integers(1, 50), n=st.integers(2, 12), seed=st.integers(0, 99))
def test_any_scores_at_any_size(data, d, n, seed):
    every = data.draw(st.sampled_from([1, 2, None]))
    m = data.draw(st.integers(0, 4))
    initial = np.random.default_rng(seed).normal(size=(m, d)) if m else None
    optimizer = CholeskyCMA(
        d, rng=np.random.default_rng(seed), popsize=n, initial=initial, update_every=every
    )
    few = st.sampled_from([-1e308, -1.0, -0.0, 0.0, 5e-324, 1.0, 1e308])
    for generation in range(4):
        codes = optimizer.ask()
        fewest = 1 if m and generation == 0 else 2
        size = data.draw(st.integers(min(fewest, len(codes)), len(codes)))
        told = data.draw(st.permutations(range(len(codes))))[:size]
        scores = data.draw(st.lists(few, min_size=size, max_size=size))
        optimizer.tell(codes[told], scores)
        state = optimizer.state
        arrays = [v for v in state_to_dict(state).values() if isinstance(v, np.ndarray)]
        assert all(np.isfinite(array).all() for array in arrays)
        # The mean stays among the codes that were told.
        span = np.ptp(codes[told], axis=0) * 1e-12 + 1e-300
        assert (state.mean >= codes[told].min(axis=0) - span - 1e-12).all()
        assert (state.mean <= codes[told].max(axis=0) + span + 1e-12).all()
        again = CholeskyCMA.from_state(
            state_from_dict(type(state), state_to_dict(state)), rng=np.random.default_rng(1)
        )
        other = CholeskyCMA.from_state(state, rng=np.random.default_rng(1))
        np.testing.assert_array_equal(again.ask(), other.ask())


def test_climbs_a_sphere():
    optimizer = CholeskyCMA(20, rng=np.random.default_rng(0), update_every=1)
    TestCholesky().run(optimizer, 400)
    assert abs(optimizer.state.mean - 1).max() < 1e-8


def test_learns_the_shape_of_a_ridge():
    ridge = Ellipsoid(np.ones(8), np.geomspace(1, 1e4, 8))
    reached = []
    for every in (1, None):
        optimizer = CholeskyCMA(8, rng=np.random.default_rng(0), update_every=every)
        TestCholesky().run(optimizer, 500, ridge)
        reached.append(float(ridge(optimizer.state.mean[None])[0]))
    assert reached[0] > 1e-3 * reached[1]


def test_drives_a_noisy_tuned_unit():
    d, noise = 256, np.random.default_rng(4)
    preferred = noise.normal(size=d)
    preferred /= np.linalg.norm(preferred)

    def rate(codes):
        return np.maximum(0, codes @ preferred / np.linalg.norm(codes, axis=-1))

    optimizer = CholeskyCMA(d, rng=np.random.default_rng(0))
    TestCholesky().run(optimizer, 75, lambda x: noise.poisson(2 + 40 * rate(x)).astype(float))
    draws = np.random.default_rng(1).normal(size=(3000, d))
    assert rate(optimizer.state.mean) > 2 * rate(draws).max()


def test_memory_at_full_size():
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        optimizer = CholeskyCMA(4096, rng=rng)
        for _ in range(75):
            codes = optimizer.ask()
            optimizer.tell(codes, codes[:, 0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    values = state_to_dict(optimizer.state).values()
    assert len(optimizer.state.rows) == 7
    assert sum(v.nbytes for v in values if isinstance(v, np.ndarray)) < 1_000_000
    assert peak < 16 * 2**20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 0}, "d must be a whole number >= 1; got 0"),
        ({"d": 2.0}, "d must be a whole number"),
        ({"popsize": 1}, "popsize must be a whole number >= 2; got 1"),
        ({"popsize": True}, "popsize must be a whole number"),
        ({"sigma": 0}, "sigma must be a number > 0"),
        ({"sigma": np.inf}, "sigma must be a number > 0"),
        ({"sigma": "3"}, "sigma must be a number > 0"),
        ({"update_every": {}}, r"update_every must .* \(0: never\); got \{\}"),
        ({"update_every": 10**30}, r"update_every must .* from 0 to 1000000000 "),
        ({"update_every": -1}, r"update_every must be a whole number >= 0 \(0: never\)"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        CholeskyCMA(**({"d": 3, "rng": np.random.default_rng(0)} | options))


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (0, 3), (2, 2, 3)])
def test_initial_of_another_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"initial must have shape \(3,\).*\(m, 3\)"):
        CholeskyCMA(3, rng=np.random.default_rng(0), initial=np.zeros(shape))


def test_initial_must_be_finite():
    with pytest.raises(DataError, match="finite"):
        CholeskyCMA(3, rng=np.random.default_rng(0), initial=[0, np.nan, 0])


def test_a_search_that_leaves_float64_says_so():
    optimizer = CholeskyCMA(3, rng=np.random.default_rng(0), sigma=1e149)

    def slope_without_end(codes):
        assert np.isfinite(codes).all()
        return codes[:, 0]

    with pytest.raises(DataError, match=r"sigma .* must stay between 1e-150 and 1e\+150"):
        TestCholesky().run(optimizer, 200, slope_without_end)
    assert optimizer.state.sigma <= 1e150


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("path_s", np.zeros(4), r"path_s of the state .*\(6,\); got float64 \(4,\)"),
        ("rows", np.zeros(6), "rows of the state"),
        ("forward", np.zeros((2, 1)), "forward of the state"),
        ("mean", np.full(6, np.nan), "mean of the state"),
        ("sigma", -1.0, "sigma and scale"),
        ("popsize", 0, "popsize"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(field, value, message):
    optimizer = CholeskyCMA(6, rng=np.random.default_rng(0), update_every=1)
    TestCholesky().run(optimizer, 1)
    values = state_to_dict(optimizer.state) | {field: value}
    with pytest.raises(DataError, match=message):
        CholeskyCMA.from_state(
            state_from_dict(CholeskyCMA.state_type, values), rng=np.random.default_rng(0)
        )
