"""HessianCMA: its oracle, the files its basis comes in, and what it gains by one."""

from math import exp, log, sqrt

import numpy as np
import pytest

from evolver.errors import ConfigError, DataError
from evolver.optimizers import CholeskyCMA, HessianCMA, state_from_dict, state_to_dict
from scorers.known import Ellipsoid
from tests.optimizers.conformance import OptimizerConformance, hill
from tests.soak import further


def eigenbasis(d, seed=0):
    """Ascending, as numpy.linalg.eigh returns it, one eigenvalue negative."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    return np.concatenate([[-0.1], np.geomspace(0.01, 10, d - 1)]), vectors


class TestHessianFromArrays(OptimizerConformance):
    def make(self, rng, **options):
        return HessianCMA(self.d, rng=rng, basis=eigenbasis(self.d), **options)

    def go_on(self, kind, state, rng):
        return kind.from_state(state, rng=rng, basis=eigenbasis(self.d))


class TestHessianFromAFile(OptimizerConformance):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _file(cls, tmp_path_factory):
        cls.path = tmp_path_factory.mktemp("basis") / "hessian.npz"
        values, vectors = eigenbasis(cls.d)
        np.savez(cls.path, H_avg=np.eye(cls.d), eva_avg=values, evc_avg=vectors)

    def make(self, rng, **options):
        given = np.random.default_rng(99).normal(size=(11, self.d))
        return HessianCMA(
            self.d, rng=rng, basis=self.path, cutoff=4, initial=given, popsize=11, **options
        )

    def test_another_seed_other_codes(self):
        a, b = self.fresh(7), self.fresh(8)
        assert not np.array_equal(self.run(a, 2)[1], self.run(b, 2)[1])


@pytest.mark.soak  # as with it
class TestHessianWithoutAdaptation(TestHessianFromArrays):
    def make(self, rng, **options):
        return super().make(rng, update_every=None, **options)


def dense(d, n, every, rng, score, basis, p, sigma, first=None):
    """Yield the populations of the recursion with A (k, d) and its pseudo-inverse stored."""
    values, vectors = basis
    values = np.maximum(values, 1e-6 * values.max())
    a, inverse = np.diag(values**-p) @ vectors.T, vectors @ np.diag(values**p)
    k, mu = len(values), n // 2
    w = np.array([log(n / 2 + 0.5) - log(i) for i in range(1, mu + 1)])
    w /= w.sum()
    mu_eff = 1 / (w**2).sum()
    c_c, c_1 = 4 / (k + 4), 2 / (k + sqrt(2)) ** 2
    c_s = sqrt(mu_eff) / (sqrt(mu_eff) + sqrt(k))
    d_s = 1 + c_s + 2 * max(0, sqrt((mu_eff - 1) / (k + 1)) - 1)
    chi = sqrt(k) * (1 - 1 / (4 * k) + 1 / (21 * k**2))
    m, p_s, p_c = np.zeros(d), np.zeros(k), np.zeros(d)
    generation = 0
    while True:
        generation += 1
        z = rng.standard_normal((n, k))
        if generation == 1 and first is not None:
            yield first
            w1 = log(len(first) / 2 + 0.5) - np.log(1 + np.arange(len(first) // 2))
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


@pytest.mark.parametrize("first", [None, 8])
@pytest.mark.parametrize("every", [1, 10, further(None)])
@pytest.mark.parametrize(("d", "k", "p"), [(20, 20, 0.4), (60, 25, 0.25), (60, 25, 0.0)])
def test_equals_the_dense_recursion(d, k, p, every, first):
    setting = np.random.default_rng(5)
    target = setting.normal(size=d)
    score = Ellipsoid(target, np.geomspace(1, 30, d))
    values, vectors = eigenbasis(d)
    codes = None if first is None else setting.normal(size=(first, d))
    optimizer = HessianCMA(
        d,
        rng=np.random.default_rng(0),
        basis=(values, vectors),
        cutoff=k,
        exponent=p,
        popsize=16,
        sigma=0.5,
        initial=codes,
        update_every=every,
    )
    leading = np.argsort(-values)[:k]
    rng = np.random.default_rng(0)
    kept = values[leading], vectors[:, leading]
    oracle = dense(d, 16, every, rng, score, kept, p, 0.5, codes)
    for generation in range(40):
        expected, got = next(oracle), optimizer.ask()
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=1e-9 * abs(expected).max(), err_msg=f"{generation}"
        )
        optimizer.tell(got, score(got))


def test_without_exponent_and_cut_it_is_cholesky_turned():
    d = 12
    values, vectors = eigenbasis(d)
    ours = HessianCMA(
        d, rng=np.random.default_rng(0), basis=(values, vectors), exponent=0, sigma=3.0
    )
    plain = CholeskyCMA(d, rng=np.random.default_rng(0))
    for _ in range(40):
        x, y = ours.ask(), plain.ask()
        np.testing.assert_allclose(x, y @ vectors[:, ::-1].T, atol=1e-9)
        ours.tell(x, hill(x))
        plain.tell(y, hill(x))


def test_searches_the_leading_directions_alone():
    values, vectors = eigenbasis(30)
    optimizer = HessianCMA(
        30, rng=np.random.default_rng(0), basis=(values, vectors), cutoff=5, update_every=2
    )
    codes = np.concatenate(TestHessianFromArrays().run(optimizer, 20))
    inside = vectors[:, np.argsort(-values)[:5]]
    np.testing.assert_allclose(codes @ inside @ inside.T, codes, atol=1e-12)
    assert np.linalg.matrix_rank(codes) == 5


def test_goes_further_where_images_change_less():
    values, vectors = eigenbasis(8)
    optimizer = HessianCMA(
        8, rng=np.random.default_rng(0), basis=(values, vectors), popsize=4000, exponent=0.4
    )
    spread = (optimizer.ask() @ vectors).std(axis=0)
    clipped = np.maximum(values, 1e-6 * values.max())
    np.testing.assert_allclose(spread, 0.2 * clipped**-0.4, rtol=0.1)


def test_a_metric_helps_where_it_is_right():
    d = 50
    values, vectors = eigenbasis(d)
    sharp = np.maximum(values, 0.01)
    score = Ellipsoid(np.ones(d), sharp, vectors)
    reached = {}
    for exponent in (0.5, 0.0):
        optimizer = HessianCMA(
            d,
            rng=np.random.default_rng(0),
            basis=(sharp, vectors),
            exponent=exponent,
            update_every=None,
        )
        codes = TestHessianFromArrays().run(optimizer, 150, score)[-1]
        reached[exponent] = score(codes).max()
    assert reached[0.5] > 0.01 * reached[0.0]


LAYOUTS = [
    ("eigv_avg", "eigvect_avg", None),
    ("eigvals_avg", "eigvects_avg", None),
    ("eva_avg", "evc_avg", None),
    ("eigvals_nois_avg", "eigvects_nois_avg", "nois"),
    ("eigvals_clas_avg", "eigvects_clas_avg", "clas"),
]


@pytest.mark.parametrize(("values_name", "vectors_name", "part"), LAYOUTS)
def test_every_public_layout_is_read(tmp_path, values_name, vectors_name, part):
    values, vectors = eigenbasis(6)
    path = tmp_path / "basis.npz"
    half = {"eigvals_nois_avg": -np.ones(6), "eigvects_nois_avg": np.eye(6)}
    named = {values_name: values, vectors_name: vectors.astype(np.float32)}
    np.savez(path, H_avg=np.eye(6), **(half | named))
    a = HessianCMA(6, rng=np.random.default_rng(0), basis=str(path), basis_part=part)
    b = HessianCMA(6, rng=np.random.default_rng(0), basis=(values, vectors))
    np.testing.assert_allclose(a.ask(), b.ask(), atol=1e-4)


class Grenade:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def write(path, what):
    values, vectors = eigenbasis(6)
    match what:
        case "pickle":
            held = np.array([Grenade()], dtype=object)
            np.savez(path, eva_avg=held, evc_avg=vectors)
        case "text":
            path.write_text("no zip")
        case "empty":
            path.write_bytes(b"")
        case "array":
            with path.open("wb") as file:
                np.save(file, values)
        case "names":
            np.savez(path, spam=values)
        case "shape":
            np.savez(path, eva_avg=values, evc_avg=vectors[:5])
        case "nan":
            np.savez(path, eva_avg=values * np.nan, evc_avg=vectors)
        case "negative":
            np.savez(path, eva_avg=-np.ones(6), evc_avg=vectors)
        case "skew":
            np.savez(path, eva_avg=values, evc_avg=vectors + 0.1)
        case "few":
            np.savez(path, eva_avg=values[:2], evc_avg=vectors[:, :2])


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("nothing", ConfigError, "there is none at"),
        ("pickle", DataError, "must hold numbers; it holds object"),
        ("text", ConfigError, "npz file of named arrays"),
        ("empty", ConfigError, "npz file of named arrays"),
        ("array", ConfigError, "holds a single array"),
        ("names", ConfigError, "holds spam"),
        ("shape", DataError, "evc_avg must have another shape"),
        ("nan", DataError, "must be finite"),
        ("negative", DataError, "must have a positive eigenvalue"),
        ("skew", DataError, "must be orthonormal columns"),
        ("few", ConfigError, "cutoff must be at most the 2 directions"),
    ],
)
def test_a_file_that_is_no_basis_is_refused(tmp_path, what, error, message):
    path = tmp_path / "basis.npz"
    write(path, what)
    with pytest.raises(error, match=message):
        HessianCMA(6, rng=np.random.default_rng(0), basis=path, cutoff=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "basis must be the path of an npz file, or the arrays .* got nothing"),
        ({"basis": eigenbasis(3), "cutoff": 0}, "cutoff must be a whole number >= 1"),
        ({"basis": eigenbasis(3), "exponent": -1}, "exponent must be a number"),
        ({"basis": "x.npz", "basis_part": "half"}, "there is none"),
        ({"basis": eigenbasis(3), "popsize": 1}, "popsize"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        HessianCMA(3, rng=np.random.default_rng(0), **options)


def test_a_part_that_is_none_is_named(tmp_path):
    write(path := tmp_path / "basis.npz", "few")
    with pytest.raises(ConfigError, match="basis_part must be one of nois, clas; got 'half'"):
        HessianCMA(6, rng=np.random.default_rng(0), basis=path, basis_part="half")


def test_the_state_is_small_and_names_its_basis(tmp_path):
    path = tmp_path / "basis.npz"
    values, vectors = eigenbasis(6)
    np.savez(path, eva_avg=values, evc_avg=vectors)
    optimizer = HessianCMA(6, rng=np.random.default_rng(0), basis=path)
    state = optimizer.state
    assert not any(np.shape(value) == (6, 6) for value in state_to_dict(state).values())
    HessianCMA.from_state(state, rng=np.random.default_rng(0))
    np.savez(path, eva_avg=2 * values, evc_avg=vectors)
    with pytest.raises(DataError, match="must be the one the search began with"):
        HessianCMA.from_state(state, rng=np.random.default_rng(0))
    path.unlink()
    with pytest.raises(ConfigError, match="there is none at"):
        HessianCMA.from_state(state, rng=np.random.default_rng(0))
    arrays = HessianCMA(6, rng=np.random.default_rng(0), basis=(values, vectors))
    with pytest.raises(DataError, match="came as arrays"):
        HessianCMA.from_state(arrays.state, rng=np.random.default_rng(0))


@pytest.mark.parametrize("field", ["origin", "digest", "given"])
def test_a_state_that_does_not_fit_is_refused(field):
    tests = TestHessianFromArrays()
    optimizer = tests.fresh()
    values = state_to_dict(optimizer.state) | {field: np.zeros((2, 3))}
    with pytest.raises(DataError, match="of the state"):
        tests.go_on(
            HessianCMA, state_from_dict(HessianCMA.state_type, values), np.random.default_rng(0)
        )
