"""Adam and SGD: torch is the oracle; starts climb by themselves; dead ones are drawn again."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from evolver.errors import ConfigError, DataError, OrderError
from evolver.optimizers import SGD, Adam, load, state_to_dict
from evolver.optimizers.gradient import NeedsObjective, go_on
from scorers.known import Ellipsoid
from tests.optimizers.conformance import OptimizerConformance
from tests.soak import further

D = 6


class Hill:
    """A quadratic hill with its slope; exactly 0, and level, where the first number is low."""

    def __init__(self, d=D, *, slopes=None, cliff=-np.inf):
        self.ellipsoid = Ellipsoid(np.ones(d), slopes)
        self.slopes, self.cliff, self.asked = slopes, cliff, []

    def climb(self, codes):
        self.asked.append(len(codes))
        each = 1.0 if self.slopes is None else self.slopes
        alive = codes[:, 0] > self.cliff
        values = np.where(alive, self.ellipsoid(codes), 0.0)
        return values, np.where(alive[:, None], -2 * (codes - 1) * each, 0.0)

    def start(self, n, *, rng):
        return rng.standard_normal((n, len(self.ellipsoid.top)))


def metric(d=D, seed=0, low=0.01):
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    return np.geomspace(low, 10, d), vectors


def climber(kind, d=D, *, seed=3, objective=None, **options):
    optimizer = kind(d, rng=np.random.default_rng(seed), **options)
    optimizer.use(objective or Hill(d))
    return optimizer


def trajectory(optimizer, generations):
    """Every generation's codes, and where they stand at the end."""
    asked = []
    for _ in range(generations):
        asked.append(optimizer.ask())
        optimizer.tell(asked[-1], np.zeros(len(asked[-1])))
    return np.stack([*asked, optimizer.ask()])


class TestAdam(OptimizerConformance):
    learns = False  # from a slope, not from scores
    kind = Adam
    options: ClassVar = {}

    def make(self, rng, **options):
        optimizer = self.kind(self.d, rng=rng, **self.options, **options)
        optimizer.use(Hill(self.d))
        return optimizer

    def go_on(self, kind, state, rng):
        again = kind.from_state(state, rng=rng, metric=self.options.get("metric"))
        again.use(Hill(self.d))
        return again


@pytest.mark.soak  # as SGD along one
class TestAdamAlongABasis(TestAdam):
    options: ClassVar = {"basis": "scaled", "metric": metric(), "cutoff": 4, "steps": 2}


@pytest.mark.soak  # as with momentum
class TestSGD(TestAdam):
    kind = SGD


class TestSGDWithMomentumAlongABasis(TestAdam):
    kind = SGD
    options: ClassVar = {"basis": "rotation", "metric": metric(), "momentum": 0.9, "popsize": 5}


@pytest.mark.parametrize(
    ("kind", "options", "peer"),
    [
        (Adam, {"lr": 0.03}, lambda p: torch.optim.Adam(p, lr=0.03)),
        (
            Adam,
            {"lr": 0.2, "betas": [0.5, 0.9]},
            lambda p: torch.optim.Adam(p, lr=0.2, betas=(0.5, 0.9)),
        ),
        (SGD, {"lr": 0.01}, lambda p: torch.optim.SGD(p, lr=0.01)),
        (
            SGD,
            {"lr": 0.004, "momentum": 0.9},
            lambda p: torch.optim.SGD(p, lr=0.004, momentum=0.9),
        ),
    ],
)
@pytest.mark.parametrize("steps", [further(1), 3])
def test_equals_torch_in_float64(kind, options, peer, steps):
    slopes = np.geomspace(0.1, 20, D)
    optimizer = climber(kind, objective=Hill(slopes=slopes), popsize=4, steps=steps, **options)
    z = torch.tensor(optimizer.state.codes, requires_grad=True)
    theirs = peer([z])
    expected = []
    for _ in range(26):
        expected.append(z.detach().numpy().copy())
        for _ in range(steps):
            theirs.zero_grad()
            ((z - 1).square() * torch.from_numpy(slopes)).sum().backward()
            theirs.step()
    np.testing.assert_allclose(trajectory(optimizer, 25), expected, rtol=1e-13, atol=1e-13)


def test_sgd_is_unchanged_by_a_rotation_and_adam_is_not():
    d = 40
    slopes = np.geomspace(0.1, 20, d)
    for kind, options, same in (
        (SGD, {"lr": 0.01}, True),
        (SGD, {"lr": 0.01, "momentum": 0.9}, True),
        (Adam, {"lr": 0.1}, False),
    ):
        found = [
            trajectory(
                climber(kind, d, objective=Hill(d, slopes=slopes), **options, **basis), 40
            )
            for basis in ({}, {"basis": "rotation", "metric": metric(d)})
        ]
        away = np.abs(found[0] - found[1]).max()
        assert away < 1e-12 if same else away > 0.1, (kind, options)


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_scaled_steps_are_those_in_the_coordinates_of_the_metric(kind):
    """Twenty lines of the equations: w of z = z0 + V diag(s) w, moved by torch."""
    values, vectors = metric(low=1e-5)
    clip, k = 30.0, 4
    leading = np.argsort(-values)[:k]
    s = np.minimum((values[leading] / values.max()) ** -0.5, clip)
    assert s.max() == clip
    s = s / np.sqrt((s**2).mean())
    optimizer = climber(
        kind, lr=0.02, basis="scaled", metric=(values, vectors), cutoff=k, clip=clip, popsize=3
    )
    z0 = torch.tensor(optimizer.state.codes)
    along = torch.from_numpy(s[:, None] * vectors[:, leading].T)
    w = torch.zeros((3, k), dtype=torch.float64, requires_grad=True)
    theirs = {Adam: torch.optim.Adam, SGD: torch.optim.SGD}[kind]([w], lr=0.02)
    expected = []
    for _ in range(21):
        expected.append((z0 + w.detach() @ along).numpy())
        theirs.zero_grad()
        (z0 + w @ along - 1).square().sum().backward()
        theirs.step()
    np.testing.assert_allclose(trajectory(optimizer, 20), expected, rtol=1e-12, atol=1e-12)


def test_a_preconditioner_of_the_hills_own_metric_makes_it_round():
    """A hill a thousand times steeper one way than another is climbed as a ball is."""
    d = 8
    values, vectors = np.geomspace(1e-3, 1, d), np.eye(d)
    hill = Hill(d, slopes=values)
    ends = []
    for basis in ("none", "scaled"):
        # The longest step that is stable on each; s has root mean square 1.
        s = values**-0.5 / np.sqrt((1 / values).mean())
        steepest = values.max() if basis == "none" else (values * s**2).max()
        optimizer = climber(
            SGD,
            d,
            objective=hill,
            lr=0.4 / steepest,
            basis=basis,
            metric=None if basis == "none" else (values, vectors),
        )
        ends.append(hill.ellipsoid(trajectory(optimizer, 12)[-1]).max())
    assert ends[0] < -1e-3
    assert ends[1] > -1e-7


@pytest.mark.parametrize(("kind", "lr"), [(Adam, 0.1), (SGD, 0.1)])
def test_the_top_of_a_known_hill_is_reached(kind, lr):
    hill = Hill()
    optimizer = climber(kind, objective=hill, lr=lr)
    end = trajectory(optimizer, 400)[-1]
    best = hill.ellipsoid.optimum
    np.testing.assert_allclose(end, np.tile(best.code, (len(end), 1)), atol=1e-3)
    assert hill.ellipsoid(end).min() > best.value - 1e-5


@pytest.mark.parametrize("basis", ["none", "scaled"])
@pytest.mark.parametrize("kind", [Adam, SGD])
def test_a_start_climbs_as_it_would_without_the_others(kind, basis):
    d = 300
    options: ClassVar = {"basis": basis, "metric": None if basis == "none" else metric(d)}
    starts = np.random.default_rng(1).standard_normal((7, d))
    together = trajectory(climber(kind, d, initial=starts, **options), 5)
    for rows in ([2, 3], [6, 0, 5]):
        alone = trajectory(climber(kind, d, initial=starts[rows], **options), 5)
        np.testing.assert_array_equal(alone, together[:, rows])


def test_a_start_that_is_not_told_stays_where_it_is():
    optimizer = climber(Adam, popsize=4)
    codes = optimizer.ask()
    optimizer.tell(codes[[2, 0]], np.zeros(2))
    after = optimizer.ask()
    np.testing.assert_array_equal(after[[1, 3]], codes[[1, 3]])
    assert (after[[0, 2]] != codes[[0, 2]]).all()
    assert optimizer.state.taken.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("told", [0.0, 5.0])
def test_a_start_whose_value_is_exactly_zero_is_drawn_again(kind, told):
    """By the value without noise, whatever was scored; and a drawn one climbs from nothing."""
    hill = Hill(cliff=0.0)
    starts = np.full((5, D), 0.5)
    starts[[1, 4], 0] = -1.0
    options: ClassVar = {"momentum": 0.9} if kind is SGD else {}
    optimizer = climber(kind, objective=hill, initial=starts, **options)
    expected = hill.start(5, rng=np.random.default_rng(3))
    codes = optimizer.ask()
    optimizer.tell(codes, np.full(5, told))
    after = optimizer.ask()
    np.testing.assert_array_equal(after[[1, 4]], expected[[1, 4]])
    assert (hill.ellipsoid(after)[[0, 2, 3]] > hill.ellipsoid(codes)[[0, 2, 3]]).all()
    memory = optimizer.state.first if kind is Adam else optimizer.state.velocity
    assert not memory[[1, 4]].any()
    assert memory[[0, 2, 3]].all()
    # Until none is dead: the hill's level part has half of all starts.
    for _ in range(40):
        optimizer.tell(after, np.zeros(5))
        after = optimizer.ask()
    assert (after[:, 0] > 0).all()


def test_all_dead_at_once_and_several_steps():
    hill = Hill(cliff=0.0)
    optimizer = climber(Adam, objective=hill, initial=np.full((3, D), -1.0), steps=4)
    codes = optimizer.ask()
    optimizer.tell(codes, np.zeros(3))
    assert hill.asked == [3]
    assert (optimizer.ask() != codes).all()


def test_where_starts_are():
    def starts(**options):
        return climber(Adam, d=2000, popsize=6, **options).ask()

    assert starts().std() == pytest.approx(1, abs=0.03)
    about = starts(initial=np.full(2000, 9.0), sigma=0.5)
    assert about.mean() == pytest.approx(9, abs=0.03)
    assert about.std() == pytest.approx(0.5, abs=0.03)
    given = np.arange(8000.0).reshape(4, 2000)
    np.testing.assert_array_equal(starts(initial=given), given[[0, 1, 2, 3, 0, 1]])
    assert climber(Adam, d=2000, initial=given).popsize == 4


def test_about_one_code_starts_are_drawn_about_it_again():
    class Stuck(Hill):
        def start(self, n, **_):
            return np.full((n, D), 7.0)

    optimizer = climber(Adam, objective=Stuck(cliff=50.0), initial=np.zeros(D), sigma=0.1)
    codes = optimizer.ask()
    optimizer.tell(codes, np.zeros(len(codes)))
    after = optimizer.ask()
    assert after.mean() == pytest.approx(7, abs=0.05)
    assert len(np.unique(after[:, 0])) == len(after)


def test_it_says_that_it_needs_a_slope():
    optimizer = load("adam", 4, rng=np.random.default_rng(0))
    assert isinstance(optimizer, NeedsObjective)
    assert optimizer.objective is None
    assert not isinstance(load("sep", 4, rng=np.random.default_rng(0)), NeedsObjective)
    codes = optimizer.ask()
    with pytest.raises(OrderError, match=r"climbs a slope.*use\(\) before tell"):
        optimizer.tell(codes, np.zeros(len(codes)))
    hill = Hill(4)
    optimizer.use(hill)
    again = go_on(optimizer, optimizer.state, rng=np.random.default_rng(0))
    assert again.objective is hill
    again.ask()
    again.tell(codes, np.zeros(len(codes)))


def test_slopes_that_are_no_numbers_teach_nothing():
    hill = Hill()
    optimizer = climber(Adam, objective=hill)
    before = state_to_dict(optimizer.state)
    codes = optimizer.ask()
    good = hill.climb
    hill.climb = lambda codes: (np.ones(len(codes)), np.full(codes.shape, np.nan))
    with pytest.raises(DataError, match=r"must be finite.*smaller lr than 0\.1"):
        optimizer.tell(codes, np.zeros(len(codes)))
    for name, value in state_to_dict(optimizer.state).items():
        np.testing.assert_array_equal(value, before[name])
    hill.climb = good
    optimizer.tell(codes, np.zeros(len(codes)))
    np.testing.assert_array_equal(optimizer.ask(), trajectory(climber(Adam), 1)[-1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0}, "lr must be a number > 0"),
        ({"betas": [0.9]}, "betas must be two numbers"),
        ({"betas": [0.9, 1.0]}, r"betas must be in \[0, 1\)"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"basis": "hessian"}, "basis must be one of none, rotation, scaled; got 'hessian'"),
        ({"basis": "scaled"}, "must come with a metric"),
        ({"metric": metric()}, "metric must come with basis"),
        ({"basis": "scaled", "metric": metric(), "clip": 0.5}, "clip must be a ratio"),
        ({"basis": "scaled", "metric": metric(), "cutoff": 7}, "cutoff must be at most the 6"),
        ({"popsize": 1}, "popsize must be"),
        ({"sigma": -1}, "sigma must be"),
    ],
)
def test_settings_out_of_range_are_named(options, said):
    with pytest.raises(ConfigError, match=said):
        Adam(D, rng=np.random.default_rng(0), **options)


def test_momentum_out_of_range_is_named():
    with pytest.raises(ConfigError, match=r"momentum must be in \[0, 1\)"):
        SGD(D, rng=np.random.default_rng(0), momentum=1.0)


def test_a_metric_in_a_file_is_read_again_and_must_be_the_same(tmp_path):
    path = tmp_path / "metric.npz"
    values, vectors = metric()
    np.savez(path, eva_avg=values, evc_avg=vectors)
    optimizer = climber(Adam, basis="scaled", metric=str(path), cutoff=3)
    trajectory(optimizer, 3)
    again = go_on(optimizer, optimizer.state, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again.ask(), optimizer.state.codes)
    with pytest.raises(DataError, match="must be the one the search began with"):
        Adam.from_state(
            optimizer.state, rng=np.random.default_rng(0), metric=(values * 2, vectors)
        )
    arrays = climber(Adam, basis="rotation", metric=(values, vectors))
    with pytest.raises(DataError, match="came as arrays"):
        Adam.from_state(arrays.state, rng=np.random.default_rng(0))


def test_it_is_no_part_of_a_composite():
    parts = [{"slice": [0, 3], "optimizer": "adam"}, {"slice": [3, 6]}]
    with pytest.raises(ConfigError, match=r"parts\[0\] must learn from scores; 'adam' climbs"):
        load("composite", 6, rng=np.random.default_rng(0), parts=parts)
