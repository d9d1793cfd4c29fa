"""RankSphere: its oracle, its angle, its sphere, and that it finds what it is for."""

from dataclasses import replace
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
import torch

from evolver.errors import ConfigError, DataError
from evolver.optimizers import batched, load, state_from_dict, state_to_dict
from evolver.optimizers.rank_sphere import (
    RankSphere,
    RankSphereState,
    gain,
    normal_scores,
    sample,
    update,
)
from tests.optimizers.conformance import OptimizerConformance, hill
from tests.soak import further


class TestRankSphere(OptimizerConformance):
    def make(self, rng, **options):
        return RankSphere(self.d, rng=rng, **options)


@pytest.mark.soak  # as sphere, of given codes
class TestRankSphereFromGivenCodes(OptimizerConformance):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return RankSphere(self.d, rng=rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


def quantiles(scores):
    """Return normal scores, by sorting, one at a time; ties get the mean of their ranks."""
    n, by_rank = len(scores), {}
    for rank, i in enumerate(np.argsort(scores)):
        by_rank.setdefault(scores[i], []).append(NormalDist().inv_cdf((rank + 0.5) / n))
    return np.array([np.mean(by_rank[s]) for s in scores])


def recursion(d, n, rng, score, *, radius, start=None, first=None):
    """Yield populations by the equations, one vector at a time; the base in the first row."""
    base = None if start is None else start / np.linalg.norm(start)
    t, reach = int(start is not None), 4.5
    while True:
        z = rng.standard_normal((-(-n // 2), d))
        if base is None:
            codes = [radius * row / np.linalg.norm(row) for row in [*z, *-z][:n]]
            codes = np.array(codes if first is None else first)
            yield codes
            if first is None:
                base = quantiles(score(codes)) @ codes
            else:
                order, m = np.argsort(-score(codes)), len(codes) // 2
                w = np.log(len(codes) / 2 + 0.5) - np.log(np.arange(1, m + 1))
                base = (w / w.sum()) @ codes[order[:m]]
            base /= np.linalg.norm(base)
            t = 1
            continue
        k = max(1, reach / 4.5) / sqrt(t + 0.3 * t**2 * n / d)
        angle = np.arctan(reach * k)
        ahead = [row - (row @ base) * base for row in z[: n // 2]]
        ahead = [row / np.linalg.norm(row) for row in ahead]
        ahead = [*ahead, *(-row for row in ahead)][: n - 1]
        codes = [np.cos(angle) * base + np.sin(angle) * row for row in ahead]
        codes = radius * np.array([base, *codes])
        yield codes
        scores = score(codes)
        w = quantiles(scores)[1:]
        w -= w.mean()
        base = base + k * (w / np.linalg.norm(w)) @ np.array(ahead)
        base /= np.linalg.norm(base)
        above = (np.mean(scores[1:] > scores[0]) + np.mean(scores[1:] >= scores[0])) / 2
        reach *= np.exp(0.15 * min(3, above / 0.12 - 1))
        reach = min(max(reach, 2.5), 6)
        t += 1


@pytest.mark.parametrize("begin", ["anywhere", "point", "population"])
@pytest.mark.parametrize(("d", "n"), [(3, 6), (100, 13), further(500, 40)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_equals_the_equations(d, n, begin, noise):
    setting = np.random.default_rng(5)
    target = setting.normal(size=d)

    draws = {}

    def score(codes):  # the noise of a generation is the same for both
        key = tuple(np.round(codes[:, 0], 4))
        if key not in draws:
            draws[key] = setting.normal(size=len(codes))
        return codes @ target * (1 + noise * draws[key])

    start = setting.normal(size=d) if begin == "point" else None
    first = setting.normal(size=(12, d)) if begin == "population" else None
    optimizer = RankSphere(
        d,
        rng=np.random.default_rng(0),
        popsize=n,
        radius=20.0,
        initial=first if start is None else start,
    )
    oracle = recursion(
        d, n, np.random.default_rng(0), score, radius=20.0, start=start, first=first
    )
    for generation in range(40):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(got, expected, atol=1e-8, err_msg=f"{generation}")
        optimizer.tell(got, score(got))


def test_normal_scores():
    scores = np.array([3.0, -1, 8, 3, 5])
    found = normal_scores(scores)
    np.testing.assert_allclose(found, quantiles(scores), atol=1e-15)
    assert found[0] == found[3]
    assert abs(found.sum()) < 1e-15
    np.testing.assert_array_equal(normal_scores(np.zeros(7)), 0)


def test_every_code_is_on_the_sphere_and_the_base_is_first():
    optimizer = RankSphere(4096, rng=np.random.default_rng(0), popsize=10)
    for generation in range(20):
        codes = optimizer.ask()
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 448, rtol=1e-12)
        if generation:
            np.testing.assert_allclose(codes[0], optimizer.state.base, rtol=1e-12)
        optimizer.tell(codes, hill(codes))


@pytest.mark.parametrize("n", [12, 13])
def test_samples_come_in_pairs_across_their_base(n):
    optimizer = RankSphere(50, rng=np.random.default_rng(0), popsize=n)
    first = optimizer.ask()
    np.testing.assert_allclose(first[: n // 2], -first[-(-n // 2) :], rtol=1e-12)
    optimizer.tell(first, hill(first))

    samples, base = optimizer.ask()[1:], optimizer.state.base
    aside = samples - np.outer(samples @ base, base) / (base @ base)
    one, other = aside[: (n - 1) // 2], aside[n // 2 :]
    np.testing.assert_allclose(one, -other, atol=1e-9)


def base_scores(optimizer, score):
    """Let the base score so much, and the samples 0, in one generation."""
    TestRankSphere().run(optimizer, 1)
    before = optimizer.state.reach
    codes = optimizer.ask()
    optimizer.tell(codes, [score, *np.zeros(len(codes) - 1)])
    return optimizer.state.reach / before


def test_samples_spread_as_often_as_they_beat_their_base():
    assert np.isclose(base_scores(TestRankSphere().fresh(), 1.0), np.exp(-0.15))
    wide = RankSphere(4096, rng=np.random.default_rng(0))
    assert base_scores(wide, -1.0) == 4 / 3  # to its bound
    few = RankSphere(4096, rng=np.random.default_rng(0), popsize=26)
    codes = few.ask()
    few.tell(codes, hill(codes))
    codes = few.ask()
    few.tell(codes, [1.0, 2, 2, 1, 1, *np.zeros(21)])
    np.testing.assert_allclose(few.state.reach, 4.5 * np.exp(0.15 * (3 / 25 / 0.12 - 1)))


def test_reach_has_bounds():
    for score, bound in ((1.0, 2.5), (-1.0, 6.0)):
        optimizer = RankSphere(300, rng=np.random.default_rng(0), popsize=8)
        for _ in range(30):
            codes = optimizer.ask()
            optimizer.tell(codes, [score, *np.zeros(len(codes) - 1)])
        assert optimizer.state.reach == bound


def test_the_base_alone_steers_the_angle_and_not_the_direction():
    a, b = TestRankSphere().fresh(), TestRankSphere().fresh()
    TestRankSphere().run(a, 1), TestRankSphere().run(b, 1)
    codes = a.ask()
    b.ask()
    a.tell(codes, hill(codes))
    b.tell(codes[1:], hill(codes[1:]))
    assert b.state.reach == 4.5  # nobody knows how the base would have scored
    assert a.state.reach != 4.5
    # The base holds one of the ranks; without it the others move a little.
    cosine = a.state.base @ b.state.base / a.state.radius**2
    assert cosine > 0.99


def test_tied_scores_move_nothing():
    optimizer = TestRankSphere().fresh()
    TestRankSphere().run(optimizer, 3)
    before = optimizer.state.base
    TestRankSphere().run(optimizer, 1, lambda x: np.ones(len(x)))
    np.testing.assert_allclose(optimizer.state.base, before, rtol=1e-12)


def test_step_needs_no_budget():
    state = RankSphere(4096, rng=np.random.default_rng(0), popsize=40).state
    steps = [gain(replace(state, age=t)) for t in (1, 4, 100)]
    np.testing.assert_allclose(steps, [1, 0.5, 0.1], rtol=0.15)
    assert (np.diff(steps) < 0).all()


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.95), (0.5, 0.75)])
def test_climbs_to_the_best_code_of_the_sphere(noise, least):
    d, rng = 64, np.random.default_rng(1)
    optimizer = RankSphere(d, rng=np.random.default_rng(0), popsize=40)

    def score(codes):
        clean = codes.sum(axis=1)
        return clean * np.maximum(0, 1 + noise * rng.normal(size=len(codes)))

    TestRankSphere().run(optimizer, 75, score)
    assert optimizer.state.base.sum() / np.sqrt(d) / optimizer.state.radius > least


@pytest.mark.parametrize("given", [None, "point", "points", "populations"])
def test_batched_equals_one_by_one(given):
    d, populations = 9, 4
    setting = np.random.default_rng(5)
    initial = {
        None: None,
        "point": setting.normal(size=(1, d)).repeat(populations, axis=0),
        "points": setting.normal(size=(populations, d)),
        "populations": setting.normal(size=(populations, 7, d)),
    }[given]

    def streams():
        return [np.random.default_rng(seed) for seed in range(populations)]

    starts = [None] * populations if initial is None else list(initial)
    alone = [
        load("rank-sphere", d, rng=rng, initial=start)
        for rng, start in zip(streams(), starts, strict=True)
    ]
    together = batched("rank-sphere", d, rngs=streams(), initial=initial)
    for _ in range(10):
        codes, scores = together.ask().numpy(), []
        for one, theirs in zip(alone, codes, strict=True):
            asked = one.ask()
            np.testing.assert_allclose(theirs, asked, atol=1e-8)
            scores.append(np.round(hill(asked)))  # some are tied
            one.tell(asked, scores[-1])
        together.tell(np.array(scores))


def test_single_precision_tells_the_base_from_its_samples():
    d, rngs = 2000, [np.random.default_rng(0)]
    together = batched("rank-sphere", d, rngs=rngs, dtype="float32")
    alone = load("rank-sphere", d, rng=np.random.default_rng(0))
    for generation in range(30):
        codes, asked = together.ask(), alone.ask()
        scores = 1e4 * np.sin(np.arange(len(asked)) + generation)  # whatever the codes are
        together.tell(scores[None])
        alone.tell(asked, scores)
        cosines = (codes[0].double().numpy() * asked).sum(axis=1) / alone.state.radius**2
        np.testing.assert_allclose(cosines, 1, atol=1e-5)
    np.testing.assert_allclose(float(together.state.reach[0]), alone.state.reach, rtol=1e-5)


def test_torch_equals_numpy():
    rng = np.random.default_rng(0)
    ours = RankSphere(7, rng=rng, popsize=9).state

    def on_torch(s):
        names = ("radius", "reach", "given", "base")
        arrays = {n: torch.tensor(getattr(s, n), dtype=torch.float64) for n in names}
        return replace(s, **arrays)

    theirs = on_torch(ours)
    for _ in range(20):
        z = rng.standard_normal((9, 7))
        x, y = sample(ours, z), sample(theirs, torch.tensor(z))
        np.testing.assert_allclose(y.numpy(), x, atol=1e-10)
        scores = np.round(hill(x))
        ours, theirs = update(ours, x, scores), update(theirs, y, torch.tensor(scores))
    np.testing.assert_allclose(theirs.base.numpy(), ours.base, atol=1e-9)
    np.testing.assert_allclose(float(theirs.reach), ours.reach)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 1}, "d must be a whole number >= 2; got 1"),
        ({"popsize": 2}, "popsize must be a whole number >= 3"),
        ({"radius": 0}, "radius must be a number > 0"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        RankSphere(**({"d": 3, "rng": np.random.default_rng(0)} | options))


def test_a_code_of_norm_zero_is_refused():
    for zero in (np.zeros(3), np.eye(3) * [[1], [0], [1]]):
        with pytest.raises(DataError, match="must not be zero"):
            RankSphere(3, rng=np.random.default_rng(0), initial=zero)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("base", np.ones(6), "base of the state must have the norm of its sphere"),
        ("radius", -1.0, "radius of the state"),
        ("age", -1, "age of the state"),
        ("reach", 1.0, "reach of the state"),
        ("popsize", 2, "popsize of the state"),
        ("given", np.zeros((0, 5)), "given of the state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(field, value, message):
    optimizer = TestRankSphere().fresh()
    TestRankSphere().run(optimizer, 2)
    values = state_to_dict(optimizer.state) | {field: value}
    with pytest.raises(DataError, match=message):
        RankSphere.from_state(
            state_from_dict(RankSphereState, values), rng=np.random.default_rng(0)
        )
