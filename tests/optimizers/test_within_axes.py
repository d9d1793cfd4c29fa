"""Searches along a few axes: that of the optimizer within, on the function it sees."""

import copy

import numpy as np
import pytest
import torch

from evolver.errors import ConfigError, DataError
from evolver.optimizers import batched, default_popsize, load, state_from_dict, state_to_dict
from evolver.optimizers.gradient import go_on
from evolver.optimizers.within_axes import WithinAxes, make_axes
from tests.optimizers.conformance import OptimizerConformance, hill

D, K = 12, 5
BLIND = {
    "cholesky": {"update_every": 2},
    "sphere": {"generations": 20},
    "rank-sphere": {},
    "sep": {},
    "snes": {},
    "genetic": {"popsize": 12},
    "random": {"sigma": 1.0},
}


def spectrum(d=D, k=K, seed=0):
    """Return eigenvalues, (k,), and directions, (k, d)."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    return np.geomspace(4, 0.1, k), vectors[:, :k].T


def some_axes(d=D, k=K, *, scale=0.0, **options):
    values, vectors = spectrum(d, k)
    return make_axes(vectors, values=values, exponent=scale, **options)


AXES = some_axes()
STRETCHED = some_axes(scale=0.4)
START = np.random.default_rng(5).normal(size=D)
STARTS = np.random.default_rng(6).normal(size=(9, D))


class AlongAxes(OptimizerConformance):
    name = "cholesky"
    axes = some_axes(6, 4)

    def make(self, rng, **options):
        return load(self.name, self.d, rng=rng, axes=self.axes, **options)

    def go_on(self, kind, state, rng):
        return kind.from_state(state, rng=rng, axes=self.axes)


class TestCholeskyAlongAxes(AlongAxes):
    pass


class TestSphereAlongStretchedAxes(AlongAxes):
    name = "sphere"
    axes = some_axes(6, 4, scale=0.5)


@pytest.mark.soak  # as from a point
class TestGivenCodesAlongAxes(AlongAxes):
    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return super().make(rng, initial=given, popsize=11, **options)

    def test_another_seed_other_codes(self):
        assert not np.array_equal(self.run(self.fresh(7), 2)[1], self.run(self.fresh(8), 2)[1])


class TestACompositeWithAxesInAPart(OptimizerConformance):
    d = 8

    def make(self, rng, **options):
        parts = [
            {"slice": [0, 6], "optimizer": "cholesky", "axes": some_axes(6, 4)},
            {"slice": [6, 8], "optimizer": "sep"},
        ]
        return load("composite", self.d, rng=rng, parts=parts, **options)

    def go_on(self, kind, state, rng):
        del kind
        return go_on(self.fresh(), state, rng=rng)


@pytest.mark.parametrize(
    ("axes", "start"),
    [
        pytest.param(AXES, None, id="equal-none"),
        pytest.param(STRETCHED, STARTS, id="stretched-population"),
        pytest.param(STRETCHED, START, id="stretched-code"),
        pytest.param(STRETCHED, None, id="stretched-none", marks=pytest.mark.soak),
        pytest.param(AXES, START, id="equal-code", marks=pytest.mark.soak),
        pytest.param(AXES, STARTS, id="equal-population", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("name", BLIND)
def test_it_is_the_optimizer_within_on_the_function_along_the_axes(name, start, axes):
    """The same bits, and codes that lie in what is common to all plus the axes' span."""
    options = {"popsize": 12, **BLIND[name]}
    if "sphere" in name:
        options["radius"] = 20.0
    whole = load(name, D, rng=np.random.default_rng(3), axes=axes, initial=start, **options)
    forth = axes.scales[:, None] * axes.vectors
    origin, along = np.zeros(D), None
    if start is not None:
        mean = np.atleast_2d(start).mean(axis=0)
        origin = mean - axes.vectors.T @ (axes.vectors @ mean)
        along = start @ np.linalg.pinv(forth)
    alone = load(name, K, rng=np.random.default_rng(3), initial=along, **options)
    outside = np.eye(D) - axes.vectors.T @ axes.vectors
    for _ in range(8):
        codes, u = whole.ask(), alone.ask()
        np.testing.assert_allclose(codes, origin + u @ forth, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose((codes - origin) @ outside, 0, atol=1e-12)
        scores = hill(codes)
        whole.tell(codes, scores)
        alone.tell(u, scores)
    if start is None:
        for name_, value in state_to_dict(alone.state).items():
            np.testing.assert_array_equal(state_to_dict(whole.state)[f"inner_{name_}"], value)


def test_stretched_axes_are_those_of_hessian():
    """Of the same basis, with steps as long: lambda^-p is brought to a mean square of 1."""
    values, vectors = spectrum()
    p = 0.4
    ours = load("cholesky", D, rng=np.random.default_rng(1), axes=STRETCHED, sigma=0.5)
    lengths = np.sqrt(((values / values.max()) ** (-2 * p)).mean()) * values.max() ** -p
    theirs = load(
        "hessian",
        D,
        rng=np.random.default_rng(1),
        basis=(values, vectors.T),
        exponent=p,
        sigma=0.5 / lengths,
    )
    for _ in range(12):
        a, b = ours.ask(), theirs.ask()
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        ours.tell(a, hill(a))
        theirs.tell(b, hill(b))


def test_what_the_start_has_outside_is_kept_or_dropped():
    for start in (START, STARTS):
        kept = load("sep", D, rng=np.random.default_rng(0), axes=AXES, initial=start).ask()
        dropping = some_axes(keeps_outside=False)
        left = load("sep", D, rng=np.random.default_rng(0), axes=dropping, initial=start).ask()
        mean = np.atleast_2d(start).mean(axis=0)
        across = mean - AXES.vectors.T @ (AXES.vectors @ mean)
        np.testing.assert_allclose(kept - left, np.tile(across, (len(kept), 1)), atol=1e-12)
        np.testing.assert_allclose(left @ across, 0, atol=1e-12)
    np.testing.assert_allclose(left @ AXES.vectors.T, STARTS @ AXES.vectors.T, atol=1e-12)


def test_what_is_left_out_is_as_without_axes():
    """As many images, on as large a sphere; the norm is that of the part along the axes."""
    d = 300
    axes = some_axes(d, 7)
    start = np.random.default_rng(0).normal(size=d)
    for name in ("cholesky", "genetic", "rank-sphere", "sphere"):
        blind = load(name, d, rng=np.random.default_rng(0))
        within = load(name, d, rng=np.random.default_rng(0), axes=axes, initial=start)
        assert within.popsize == blind.popsize
        assert within.popsize == (40 if name == "genetic" else default_popsize(d))
        if "sphere" in name:
            assert within.state.inner.radius == blind.state.radius
            along = within.ask() @ axes.vectors.T
            np.testing.assert_allclose(np.linalg.norm(along, axis=1), blind.state.radius)


@pytest.mark.parametrize("given", [None, "points", "populations"])
@pytest.mark.parametrize("name", BLIND)
def test_a_batch_equals_as_many_single_runs(name, given):
    setting = np.random.default_rng(5)
    starts = {
        None: [None] * 3,
        "points": setting.normal(size=(3, D)),
        "populations": setting.normal(size=(3, 7, D)),
    }[given]
    options = {"axes": STRETCHED, **BLIND[name]}
    rngs = [[np.random.default_rng(seed) for seed in range(3)] for _ in range(2)]
    alone = [
        load(name, D, rng=rng, initial=s, **options)
        for rng, s in zip(rngs[0], starts, strict=True)
    ]
    initial = None if given is None else starts
    together = batched(name, D, rngs=rngs[1], initial=initial, **options)
    for _ in range(6):
        codes = together.ask()
        scores = []
        for i, one in enumerate(alone):
            asked = one.ask()
            samples = asked[len(asked) - codes.shape[1] :]  # after the base of a sphere
            np.testing.assert_allclose(
                codes[i].numpy(), samples, rtol=1e-9, atol=1e-9 * abs(samples).max()
            )
            scores.append(np.round(hill(samples), 1))
            one.tell(samples, scores[-1])
        together.tell(torch.tensor(np.array(scores)))


def test_codes_that_were_adopted_are_read_back_along_the_axes():
    optimizer = load("cholesky", D, rng=np.random.default_rng(0), axes=AXES, initial=START)
    codes = optimizer.ask()
    before = copy.deepcopy(optimizer)
    recorded = codes.astype(np.float32).astype(np.float64)
    optimizer.adopt(recorded)
    optimizer.tell(recorded, hill(recorded))
    before.tell(codes, hill(codes))
    np.testing.assert_allclose(optimizer.ask(), before.ask(), rtol=1e-4, atol=1e-4)

    beside = load("cholesky", D, rng=np.random.default_rng(0), axes=AXES, initial=START)
    codes = beside.ask()
    elsewhere = codes.copy()
    elsewhere[2] += 0.1 * np.linalg.svd(AXES.vectors)[2][-1]
    with pytest.raises(DataError, match=r"must lie along the axes .* row 2 is 0\.1 latent"):
        beside.adopt(elsewhere)
    beside.tell(codes, hill(codes))  # nothing was adopted


def search(axes, seed=1):
    rng = np.random.default_rng(seed)
    return load("cholesky", D, rng=rng, axes=axes, initial=START), rng


def test_axes_that_were_computed_again_may_differ_by_rounding_alone():
    axes = some_axes(computed=True)
    optimizer, rng = search(axes)
    codes = optimizer.ask()
    optimizer.tell(codes, hill(codes))
    state, position = optimizer.state, rng.bit_generator.state
    recorded = optimizer.ask()

    def again(angle, *, computed=True):
        turned = axes.vectors.copy()
        turned[0] = np.cos(angle) * axes.vectors[0] + np.sin(angle) * axes.vectors[1]
        turned[1] = np.cos(angle) * axes.vectors[1] - np.sin(angle) * axes.vectors[0]
        fresh, stream = search(make_axes(turned, computed=computed))
        stream.bit_generator.state = position
        return go_on(fresh, state, rng=stream)

    close = again(1e-12)
    assert not np.array_equal(close.ask(), recorded)
    close.adopt(recorded)
    close.tell(recorded, hill(recorded))
    far = again(0.1)
    far.ask()
    with pytest.raises(DataError, match="must be those that the search began with"):
        far.adopt(recorded)
    with pytest.raises(DataError, match="must be those that the search began with, sha256"):
        again(1e-12, computed=False)
    with pytest.raises(DataError, match="pass them again"):
        WithinAxes.from_state(state, rng=rng)


def test_a_state_of_another_number_of_axes_is_refused():
    optimizer, rng = search(some_axes(computed=True))
    with pytest.raises(DataError, match=r"a search along 4 axes; it is of one along 5"):
        WithinAxes.from_state(optimizer.state, rng=rng, axes=some_axes(k=4, computed=True))
    saved = state_to_dict(optimizer.state)
    with pytest.raises(DataError, match="missing or wrong: 'origin'"):
        state_from_dict(
            type(optimizer.state), {k: v for k, v in saved.items() if k != "origin"}
        )
    with pytest.raises(DataError, match="has no odd"):
        state_from_dict(type(optimizer.state), {**saved, "odd": 1})


class Slope:
    """-|x - 1|^2 and its slope; starts are drawn in all dimensions."""

    def climb(self, codes):
        return hill(codes), 2 * (1 - codes)

    def start(self, n, *, rng):
        return rng.normal(size=(n, D))


def test_an_ascent_climbs_along_the_axes():
    """Plain ascent: each step is the slope's part along them."""
    rng = np.random.default_rng(0)
    optimizer = load("sgd", D, rng=rng, axes=AXES, initial=STARTS, popsize=None, lr=0.1)
    assert optimizer.popsize == len(STARTS)
    optimizer.use(Slope())
    onto = AXES.vectors.T @ AXES.vectors
    codes = optimizer.ask()
    optimizer = go_on(optimizer, optimizer.state, rng=rng)  # and the slope comes along
    np.testing.assert_array_equal(optimizer.ask(), codes)
    optimizer.tell(codes, hill(codes))
    np.testing.assert_allclose(
        optimizer.ask(), codes + 0.1 * 2 * (1 - codes) @ onto, atol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("hessian", {"basis": "b.npz"}, "must not come with a basis"),
        ("adam", {"basis": "rotation"}, "must not come with a basis"),
        ("composite", {"parts": []}, "those of a composite's parts"),
        ("nothing", {}, "must be one of"),
        ("cholesky", {"odd": 1}, "takes the options sigma"),
        ("cholesky", {"sigma": -1.0}, "^sigma must be"),
    ],
)
def test_what_cannot_search_along_axes_says_so(name, options, match):
    with pytest.raises(ConfigError, match=match):
        load(name, D, rng=np.random.default_rng(0), axes=AXES, **options)


def test_a_sphere_along_a_single_axis_says_that_it_is_too_few():
    one = make_axes(np.eye(1, D))
    with pytest.raises(ConfigError, match="as many as 'sphere' needs dimensions; of 1: d must"):
        load("sphere", D, rng=np.random.default_rng(0), axes=one)


def test_axes_that_are_none_are_refused():
    values, vectors = spectrum()
    with pytest.raises(DataError, match=r"must be \(k, d\), one a row"):
        make_axes(vectors.T)
    with pytest.raises(DataError, match="must be orthonormal rows"):
        make_axes(vectors * 1.1)
    with pytest.raises(DataError, match="must be orthonormal rows"):
        make_axes(vectors * 1e300)
    with pytest.raises(DataError, match="must be finite"):
        make_axes(vectors * np.nan)
    with pytest.raises(ConfigError, match="scale must be 0 for axes that come without"):
        make_axes(vectors, exponent=0.4)
    with pytest.raises(ConfigError, match="scale must be a number between 0 and 10"):
        make_axes(vectors, values=values, exponent=-1)
    with pytest.raises(DataError, match="eigenvalues of axes must be"):
        make_axes(vectors, values=values[1:], exponent=1)
    with pytest.raises(DataError, match="must be of codes of 9 dimensions; they are of 12"):
        load("sep", 9, rng=np.random.default_rng(0), axes=AXES)
    across = np.linalg.svd(AXES.vectors)[2][-1]
    with pytest.raises(DataError, match="must have a part along the axes"):
        load("sphere", D, rng=np.random.default_rng(0), axes=AXES, initial=across)
    single = make_axes(vectors.astype(np.float32))
    np.testing.assert_allclose(single.vectors @ single.vectors.T, np.eye(K), atol=1e-14)
    np.testing.assert_allclose(single.vectors, vectors, atol=1e-6)
