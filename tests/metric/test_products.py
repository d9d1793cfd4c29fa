"""The metric of a latent space: products, directions, averages; against independent oracles."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evolver import generators
from evolver.errors import ConfigError, DataError
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.stylegan3.convert import convert_stylegan3
from evolver.metric import average as average_room
from evolver.metric import products
from evolver.metric.average import average
from scorers import distances
from tests.skips import NO_LPIPS
from tests.soak import further

GOLDEN = Path(__file__).parents[1] / "golden" / "generators"
D = 256
# torch's own, the first time anything is differentiated forward.
FORWARD = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


@pytest.fixture(scope="module")
def texture():
    return generators.load("mini-texture")


@pytest.fixture(scope="module")
def code():
    return np.random.default_rng(3).standard_normal(D)


class Linear(nn.Module):
    """Pixels that are a matrix times the code."""

    def __init__(self, matrix, size):
        super().__init__()
        self.register_buffer("matrix", torch.from_numpy(matrix.astype(np.float32)))
        self.size = size

    def forward(self, z):
        return (z @ self.matrix.T + 0.5).reshape(-1, 3, self.size, self.size)


def linear(matrix, size=4, **options):
    return FrozenGenerator(
        "linear",
        Linear(matrix, size),
        d=matrix.shape[1],
        image_size=size,
        sha256="0" * 64,
        device=torch.device("cpu"),
        **options,
    )


def drawn_matrix(d=40, rank=None, size=4):
    rng = np.random.default_rng(1)
    pixels = 3 * size * size
    rank = rank or min(pixels, d)
    left = np.linalg.qr(rng.standard_normal((pixels, rank)))[0]
    right = np.linalg.qr(rng.standard_normal((d, rank)))[0]
    return (left * np.geomspace(2, 0.02, rank)) @ right.T


def squared_distance(generator, code, distance):
    """Return D(G(z0), G(z)) as a function of z, by autograd's own means."""
    with torch.no_grad():
        origin = distance.embed(generator.synthesize(torch.tensor(code[None]).float()))

    def apart(z):
        return ((distance.embed(generator.synthesize(z[None])) - origin) ** 2).sum()

    return apart


@pytest.mark.parametrize("k", [5, 12, 30, 40])
def test_a_linear_generator_has_the_metric_of_its_matrix(k):
    w = drawn_matrix()
    expected = 2 / len(w) * w.T @ w  # of the mean over pixels of the squared difference
    values, vectors = products.directions(linear(w), np.full(40, 0.3), k=k)
    known, axes = np.linalg.eigh(expected)
    np.testing.assert_allclose(values, known[::-1][:k], rtol=1e-4, atol=1e-7 * known[-1])
    kept = axes[:, ::-1][:, :k]
    np.testing.assert_allclose(
        (vectors * values) @ vectors.T, (kept * known[::-1][:k]) @ kept.T, atol=1e-6
    )
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-6)
    np.testing.assert_allclose(
        products.dense(linear(w), np.zeros(40)), expected, atol=1e-6 * known[-1]
    )


def test_fewer_directions_than_asked_for_have_a_slope():
    w = drawn_matrix(rank=4)
    values, _ = products.directions(linear(w), np.zeros(40), k=8)
    np.testing.assert_allclose(
        values[:4], 2 / len(w) * np.geomspace(2, 0.02, 4) ** 2, rtol=1e-3
    )
    np.testing.assert_allclose(values[4:], 0, atol=1e-6 * values[0])
    assert (values >= 0).all()


@pytest.mark.parametrize("name", ["mini:conv3", *map(further, ("mse", "mini:fc6"))])
def test_a_product_is_the_second_derivative_of_the_squared_distance(texture, code, name):
    distance = distances.load_distance(name)
    apart = squared_distance(texture, code, distance)
    times = products.product(texture, code, distance=distance)
    z0 = torch.tensor(code).float().requires_grad_()
    (slope,) = torch.autograd.grad(apart(z0), z0, create_graph=True)
    assert not slope.detach().any()
    for v in torch.randn((3, D), generator=torch.Generator().manual_seed(0)):
        (expected,) = torch.autograd.grad(slope @ v, z0, retain_graph=True)
        got = times(v)
        assert float((got - expected).norm() / expected.norm()) < 1e-4


def stylegan3(folder):
    out = folder / "face.safetensors"
    convert_stylegan3(GOLDEN / "stylegan3-r-tiny.pkl", out)
    return generators.load("stylegan3", weights=out)


def biggan(folder):
    shutil.copy(GOLDEN / "biggan_tiny_config.json", folder / "config.json")
    shutil.copy(GOLDEN / "biggan_tiny.safetensors", folder / "model.safetensors")
    return generators.load("biggan-deep-256", weights=folder)


def mini_object(_folder):
    return generators.load("mini-object")  # its operators have no forward derivative


@pytest.mark.parametrize(
    "load", [further(stylegan3), further(biggan), mini_object], ids=lambda load: load.__name__
)
def test_networks_of_every_kind_have_a_metric(tmp_path, load):
    """By finite differences: v'Hv is twice the squared speed of the image along v."""
    generator = load(tmp_path)
    rng = np.random.default_rng(0)
    code = generator.initial_codes(1, rng=rng)[0]
    some = (2, 8)
    h = products.dense(generator, code, dimensions=some)
    times = products.product(generator, code, dimensions=some)
    v = rng.standard_normal(6)
    v /= np.linalg.norm(v)
    product = times(torch.tensor(v).float()).numpy()
    assert np.linalg.norm(h @ v - product) < 1e-3 * np.linalg.norm(product)
    step = 1e-2
    with torch.no_grad():
        ends = np.stack([code, code])
        ends[:, 2:8] += np.outer([-step, step], v)
        drawn = generator.synthesize(torch.tensor(ends).float())
        before, after = products.PIXELS.embed(drawn).double()
    speed = float((after - before).norm()) / (2 * step)
    assert v @ product == pytest.approx(2 * speed**2, rel=0.03)


class Once(torch.autograd.Function):
    """A sine without a forward derivative, whose backward one forgets what it was made of."""

    forgotten = 0

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        back, k = slope * x.cos(), Once.forgotten
        return torch.cat([back[:, :k].detach(), back[:, k:]], dim=1)


@pytest.mark.parametrize("forgotten", [6, 12])
def test_a_network_whose_products_would_be_wrong_is_refused(monkeypatch, forgotten):
    made = linear(drawn_matrix(d=12))
    draws = made.synthesize
    monkeypatch.setattr(made, "synthesize", lambda z: draws(Once.apply(z)))
    products.product(made, np.full(12, 0.4))
    monkeypatch.setattr(Once, "forgotten", forgotten)
    with pytest.raises(ConfigError, match="must have a derivative forward"):
        products.product(made, np.full(12, 0.4))


@FORWARD
@pytest.mark.parametrize(
    ("generator", "k"), [("bent", 8), pytest.param("mini-texture", 32, marks=pytest.mark.soak)]
)
def test_lanczos_finds_the_leading_eigenvalues_of_the_dense_hessian(generator, k):
    made = bent() if generator == "bent" else generators.load(generator)
    code = np.random.default_rng(3).standard_normal(made.d)
    apart = squared_distance(made, code, products.PIXELS)
    hessian = torch.func.hessian(apart)(torch.tensor(code).float()).double().numpy()
    known = np.linalg.eigvalsh(hessian)[::-1]
    values, vectors = products.directions(made, code, k=k)
    np.testing.assert_allclose(values, known[:k], rtol=1e-3)
    np.testing.assert_allclose(np.sum(vectors * (hessian @ vectors), axis=0), values, rtol=1e-3)
    assert vectors.shape == (made.d, k)


def test_the_distance_of_two_images_is_what_the_metric_says_of_near_codes(texture, code):
    distance = distances.load_distance("mini:conv3")
    values, vectors = products.directions(texture, code, k=3, distance=distance)
    apart = squared_distance(texture, code, distance)
    for value, axis in zip(values, vectors.T, strict=True):
        step = 0.03
        moved = float(apart(torch.tensor(code + step * axis).float()))
        assert moved == pytest.approx(value * step**2 / 2, rel=0.1)


def test_images_of_another_size_are_compared_by_a_network_too():
    w = drawn_matrix(d=6, size=80)
    distance = distances.load_distance("mini:conv1")
    apart = squared_distance(linear(w, 80), np.zeros(6), distance)
    expected = torch.autograd.functional.hessian(apart, torch.zeros(6))
    got = products.dense(linear(w, 80), np.zeros(6), distance=distance)
    np.testing.assert_allclose(got, expected, atol=1e-4 * got.max())


def test_a_part_of_the_code_has_the_metric_s_block():
    w = drawn_matrix(d=20)
    made = linear(w, parts={"class": (0, 6), "noise": (6, 20)})
    found = average(made, np.zeros((1, 20)), k=4, part="noise")
    whole = products.dense(made, np.zeros(20))
    np.testing.assert_allclose(
        found.eigenvalues, np.linalg.eigvalsh(whole[6:, 6:])[::-1][:4], rtol=1e-3
    )
    assert found.d == 14
    assert (found.provenance.first, found.provenance.last) == (6, 20)
    with pytest.raises(ConfigError, match=r"one of \(class, noise\); got 'hue'"):
        average(made, np.zeros((1, 20)), k=4, part="hue")


class Bent(nn.Module):
    """Pixels that saturate: every code has a metric of its own."""

    def __init__(self):
        super().__init__()
        self.linear = Linear(4 * drawn_matrix(d=30), 4)

    def forward(self, z):
        return torch.sigmoid(self.linear(z))


def bent(sha256="1" * 64):
    device = torch.device("cpu")
    return FrozenGenerator("bent", Bent(), d=30, image_size=4, sha256=sha256, device=device)


def points(n=4):
    return np.random.default_rng(5).standard_normal((n, 30))


def test_an_average_is_that_of_the_points():
    found = average(bent(), points(), k=30)  # all there is: nothing is cut off
    mean = np.mean([products.dense(bent(), p) for p in points()], axis=0)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(mean)[::-1], atol=1e-8)
    np.testing.assert_allclose(
        (found.eigenvectors * found.eigenvalues) @ found.eigenvectors.T, mean, atol=1e-8
    )
    assert found.provenance.solver == "dense"
    lanczos = average(bent(), points(), k=10)
    assert lanczos.provenance.solver == "lanczos"
    np.testing.assert_allclose(lanczos.eigenvalues[:5], found.eigenvalues[:5], rtol=0.02)


class Interrupted(Exception):  # noqa: N818  it is none
    pass


def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path, monkeypatch):
    whole = average(bent(), points(), k=10)
    computed = []

    def counted(*args, **options):
        computed.append(1)
        return products.directions(*args, **options)

    def stop(done, n):
        assert n == 4
        if done == 2:
            raise Interrupted

    monkeypatch.setattr(average_room, "directions", counted)
    with pytest.raises(Interrupted):
        average(bent(), points(), k=10, folder=tmp_path, progress=stop)
    assert len(computed) == 2
    (tmp_path / "point-00002.npz.123.partial").write_bytes(b"half a file")
    news = []
    resumed = average(
        bent(), points(), k=10, folder=tmp_path, progress=lambda done, _: news.append(done)
    )
    assert (len(computed), news) == (4, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(resumed.eigenvalues, whole.eigenvalues)
    np.testing.assert_array_equal(resumed.eigenvectors, whole.eigenvectors)
    assert resumed.provenance == whole.provenance
    more = average(bent(), points(6), k=10, folder=tmp_path)
    assert (len(computed), more.provenance.points) == (6, 6)


@pytest.mark.parametrize("other", ["generator", "code", "k", "distance"])
def test_points_of_something_else_are_never_taken(tmp_path, other):
    average(bent(), points(1), k=5, folder=tmp_path)
    made = bent("2" * 64) if other == "generator" else bent()
    codes = points(1) + (0.5 if other == "code" else 0)
    distance = products.PIXELS
    if other == "distance":
        distance = products.Distance("twice", "", lambda x: 2 * x.flatten(1))
    with pytest.raises(ConfigError, match="must be a point of this computation"):
        average(made, codes, k=6 if other == "k" else 5, folder=tmp_path, distance=distance)


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, z):
        return (self.value + 0 * z[:, :1, None, None]).expand(-1, 3, 4, 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.5, "must change with its code"), (float("nan"), "must draw finite pixels")],
)
@pytest.mark.parametrize("k", [2, 8])
def test_an_image_without_a_slope_is_refused(value, message, k):
    net, device = Constant(value), torch.device("cpu")
    made = FrozenGenerator("still", net, d=8, image_size=4, sha256="0" * 64, device=device)
    with pytest.raises(DataError, match=message):
        products.directions(made, np.zeros(8), k=k)


def test_what_is_out_of_range_is_named(texture, code):
    with pytest.raises(ConfigError, match="k must be a number of directions, 1 to 256; got 0"):
        products.directions(texture, code, k=0)
    with pytest.raises(ConfigError, match="1 to 256; got 257"):
        average(texture, code[None], k=257)
    with pytest.raises(ConfigError, match="dimensions must lie between 0 and 256"):
        products.product(texture, code, dimensions=(3, 300))
    with pytest.raises(ConfigError, match="at least one code"):
        average(texture, np.zeros((0, D)), k=2)
    with pytest.raises(DataError, match="codes must be finite"):
        products.directions(texture, code * np.nan, k=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ssim", "distance must be mse, NETWORK:LAYER"),
        ("mini:conv3:4", "distance must be mse, NETWORK:LAYER"),
        ("mini:conv9", "none called 'conv9', but conv1"),
        ("lpips-deep", r"lpips-\{squeeze,alex,vgg\}"),
    ],
)
def test_a_distance_that_there_is_not_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        distances.load_distance(name)


def test_a_distance_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(ConfigError, match="pip install lpips torchvision"):
        distances.load_distance("lpips-squeeze")


class Head:
    def __init__(self, channels, seed):
        weight = torch.rand((1, channels, 1, 1), generator=torch.Generator().manual_seed(seed))
        self.model = [nn.Identity(), type("Conv", (), {"weight": weight})]


class Perceptual:
    """As `lpips.LPIPS` is laid out, with a trunk of two layers."""

    def __init__(self):
        self.convolutions = [nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 3, 2)]
        self.lins = [Head(5, 0), Head(7, 1)]
        self.net = self

    @staticmethod
    def scaling_layer(x):
        return (x - 0.1) / 0.5

    def forward(self, x):
        first = self.convolutions[0](x).relu()
        return [first, self.convolutions[1](first).relu()]

    def state_dict(self):
        return {"a": self.convolutions[0].weight}


def unit_length(x):
    return x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)


def test_lpips_is_a_distance_of_embeddings():
    torch.manual_seed(0)
    model = Perceptual()
    with torch.no_grad():
        a, b = torch.rand(2, 1, 3, 12, 12)
        expected = 0.0
        outputs = zip(
            model.forward(model.scaling_layer(2 * a - 1)),
            model.forward(model.scaling_layer(2 * b - 1)),
            model.lins,
            strict=True,
        )
        for x, y, head in outputs:
            apart = (unit_length(x) - unit_length(y)) ** 2 * head.model[-1].weight
            expected += float(apart.sum(1).mean())
        embed = distances.lpips_distance("lpips-two", model, unit_length).embed
        assert float(((embed(a) - embed(b)) ** 2).sum()) == pytest.approx(expected, rel=1e-5)


def test_lpips_itself_is_a_distance_of_embeddings():
    lpips = pytest.importorskip("lpips", reason=NO_LPIPS, exc_type=ImportError)
    pytest.importorskip("torchvision", reason=NO_LPIPS, exc_type=ImportError)
    torch.manual_seed(0)
    model = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    with torch.no_grad():
        a, b = torch.rand(2, 1, 3, 64, 64)
        embed = distances.lpips_distance("l", model, lpips.normalize_tensor).embed
        expected = float(model(a, b, normalize=True))
        assert float(((embed(a) - embed(b)) ** 2).sum()) == pytest.approx(expected, rel=1e-4)
