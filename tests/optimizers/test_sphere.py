"""SphereCMA: its oracle, its schedules, its sphere, and that it finds what it is for."""

from math import log

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import SphereCMA, state_from_dict, state_to_dict
from evolver.optimizers.sphere import angle
from scorers.known import Direction, Ellipsoid
from tests.optimizers.conformance import OptimizerConformance, hill
from tests.soak import further


class TestSphere(OptimizerConformance):
    def make(self, rng, **options):
        return SphereCMA(self.d, rng=rng, **options)


@pytest.mark.soak  # as with the other schedule
class TestSphereInverse(OptimizerConformance):
    def make(self, rng, **options):
        return SphereCMA(self.d, rng=rng, schedule="inv", base=False, parents=3, **options)


class TestSphereFromGivenCodes(OptimizerConformance):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return SphereCMA(self.d, rng=rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


def recursion(d, n, rng, score, *, radius, generations, schedule, turn, first=None):
    """Yield the populations as the paper's equations give them, vectors one at a time."""
    base, t = None, 0
    while True:
        z = rng.standard_normal((n, d))
        if base is None:
            codes = [radius * row / np.linalg.norm(row) for row in z]
            codes = codes if first is None else list(first)
            yield np.array(codes)
        else:
            t += 1
            mu = np.linspace(log(50), log(7.33), generations)[min(t, generations) - 1]
            degrees = np.exp(mu) if schedule == "exp" else 15 + 1 / (0.0017 * t + 0.0146)
            codes = []
            for row in z:
                unit = base / np.linalg.norm(base)
                tangent = degrees * np.pi / 180 / np.sqrt(d) * (row - (row @ unit) * unit)
                theta = np.linalg.norm(tangent)
                codes.append(radius * (np.cos(theta) * unit + np.sin(theta) * tangent / theta))
            yield np.array([base, *codes])
        order = np.argsort(-score(np.array(codes)))[: len(codes) // 2]
        w = log(len(codes) / 2 + 0.5) - np.log(np.arange(1, len(order) + 1))
        mean = (w / w.sum()) @ np.array(codes)[order]
        mean *= radius / np.linalg.norm(mean)
        if base is None:
            base = mean
        else:
            omega = np.arccos(base @ mean / radius**2)
            near, far = np.sin((1 - turn) * omega), np.sin(turn * omega)
            base = (near * base + far * mean) / np.sin(omega)


@pytest.mark.parametrize("schedule", ["exp", "inv"])
@pytest.mark.parametrize("first", [None, 12])
@pytest.mark.parametrize(
    ("d", "n", "turn"), [(2, 6, 1.5), (100, 13, 1.0), further(500, 40, 1.5)]
)
def test_equals_the_equations(d, n, turn, first, schedule):
    setting = np.random.default_rng(5)
    score = Ellipsoid(setting.normal(size=d))
    codes = None if first is None else setting.normal(size=(first, d))
    options = {"radius": 20.0, "generations": 30, "schedule": schedule, "turn": turn}
    optimizer = SphereCMA(d, rng=np.random.default_rng(0), popsize=n, initial=codes, **options)
    oracle = recursion(d, n, np.random.default_rng(0), score, first=codes, **options)
    for generation in range(40):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(got, expected, atol=2e-8, err_msg=f"{generation}")
        optimizer.tell(got, score(got))


def test_every_code_is_on_the_sphere():
    optimizer = SphereCMA(4096, rng=np.random.default_rng(0), popsize=10)
    for codes in TestSphere().run(optimizer, 20):
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 300, rtol=1e-12)


def test_angles_as_published():
    def angles(schedule, generations):
        optimizer = SphereCMA(
            5, rng=np.random.default_rng(0), schedule=schedule, generations=generations
        )
        found = []
        for _ in range(90):
            TestSphere().run(optimizer, 1)
            found.append(angle(optimizer.state))
        return found

    exp = angles("exp", 75)
    assert exp[0] == 50
    np.testing.assert_allclose(np.diff(np.log(exp[:75])), log(7.33 / 50) / 74)
    np.testing.assert_allclose(exp[74:], 7.33)
    assert angles("exp", 1)[0] == 50
    np.testing.assert_allclose(angles("inv", 75)[0], 15 + 1 / 0.0163)
    np.testing.assert_allclose(angles("inv", 75)[74], 15 + 1 / (0.0017 * 75 + 0.0146))


def test_samples_stand_at_the_angle_of_the_schedule():
    optimizer = SphereCMA(4000, rng=np.random.default_rng(0), popsize=20, generations=10)
    for degrees in (50.0, 50 * (7.33 / 50) ** (1 / 9)):
        TestSphere().run(optimizer, 1)
        twin = SphereCMA.from_state(optimizer.state, rng=np.random.default_rng(3))
        base, *codes = twin.ask()
        cosines = (
            np.array(codes) @ base / (np.linalg.norm(codes, axis=1) * optimizer.state.radius)
        )
        np.testing.assert_allclose(np.degrees(np.arccos(cosines)), degrees, rtol=0.05)


def test_the_base_is_shown_and_not_learnt_from():
    a, b = TestSphere().fresh(), TestSphere().fresh()
    for optimizer, praise in ((a, 1e9), (b, -1e9)):
        codes = optimizer.ask()
        assert len(codes) == optimizer.popsize
        optimizer.tell(codes, hill(codes))
        codes = optimizer.ask()
        assert len(codes) == optimizer.popsize + 1
        np.testing.assert_array_equal(codes[0], optimizer.state.base)
        optimizer.tell(codes, [praise, *hill(codes[1:])])
    np.testing.assert_array_equal(a.ask(), b.ask())
    without = TestSphere().fresh(base=False)
    TestSphere().run(without, 1)
    assert len(without.ask()) == without.popsize


@pytest.mark.parametrize("stays", [True, False])
def test_one_sample_alone_competes_with_the_base(stays):
    optimizer = TestSphere().fresh()
    TestSphere().run(optimizer, 1)
    base = optimizer.state.base
    codes = optimizer.ask()
    optimizer.tell(codes[[4, 0]], [0.0, 1.0] if stays else [1.0, 0.0])
    assert np.allclose(optimizer.state.base, base) == stays


def test_parents_are_the_best_samples():
    optimizer = TestSphere().fresh(parents=1)
    codes = optimizer.ask()
    optimizer.tell(codes, hill(codes))
    np.testing.assert_allclose(optimizer.state.base, codes[np.argmax(hill(codes))], rtol=1e-12)


def test_starts_in_the_direction_of_a_given_code():
    start = np.array([3.0, 0, 4])
    optimizer = SphereCMA(3, rng=np.random.default_rng(0), initial=start, radius=10)
    codes = optimizer.ask()
    np.testing.assert_allclose(codes[0], [6, 0, 8], rtol=1e-15)
    assert len(codes) == optimizer.popsize + 1
    assert angle(optimizer.state) == 50


def test_tied_opposites_do_not_cancel():
    codes = np.array([[3.0, 4], [-3, -4]])
    optimizer = SphereCMA(2, rng=np.random.default_rng(0), initial=codes, radius=5)
    optimizer.tell(optimizer.ask(), [1, 1])
    np.testing.assert_allclose(optimizer.state.base, [3, 4], rtol=1e-15)


def test_climbs_to_the_best_code_of_the_sphere():
    # The paper's own settings; the best direction is (1, ..., 1).
    d = 64
    optimizer = SphereCMA(d, rng=np.random.default_rng(0), popsize=40, generations=75)
    unit = Direction(np.ones(d), optimizer.state.radius)
    TestSphere().run(optimizer, 75, unit)
    assert unit(optimizer.state.base[None])[0] > 0.95 * unit.optimum.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d": 1}, "d must be a whole number >= 2; got 1"),
        ({"popsize": 1}, "popsize must be a whole number >= 2"),
        ({"schedule": "linear"}, "schedule must be 'exp' or 'inv'; got 'linear'"),
        ({"generations": 0}, "generations must be a whole number >= 1"),
        ({"radius": 0}, "radius must be a number > 0"),
        ({"turn": -1}, "turn must be a number > 0"),
        ({"angles": (50,)}, "angles must be two"),
        ({"angles": (50, 0)}, r"angles\[1\] must be degrees > 0"),
        ({"parents": 0}, "parents must be a whole number >= 1"),
        ({"base": "yes"}, "base must be true or false"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        SphereCMA(**({"d": 3, "rng": np.random.default_rng(0)} | options))


def test_a_code_of_norm_zero_is_refused():
    for zero in (np.zeros(3), np.eye(3) * [[1], [0], [1]]):
        with pytest.raises(DataError, match="must not be zero"):
            SphereCMA(3, rng=np.random.default_rng(0), initial=zero)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("base", np.ones(6), "base of the state must have the norm of its sphere"),
        ("radius", -1.0, "radius of the state"),
        ("age", -1, "age of the state"),
        ("inverse", 2, "inverse of the state"),
        ("given", np.zeros((0, 5)), "given of the state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(field, value, message):
    optimizer = TestSphere().fresh()
    TestSphere().run(optimizer, 2)
    values = state_to_dict(optimizer.state) | {field: value}
    with pytest.raises(DataError, match=message):
        SphereCMA.from_state(
            state_from_dict(SphereCMA.state_type, values), rng=np.random.default_rng(0)
        )
