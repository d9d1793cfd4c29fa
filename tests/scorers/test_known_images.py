"""Units whose best image is known: nothing scores higher, and that image reaches the value."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

import scorers
from evolver import generators
from evolver.errors import ConfigError, WeightsError
from evolver.optimizers import CholeskyCMA
from evolver.setup.simulated_rig import build_population
from scorers import networks, quantiles
from scorers.mini import reference_images
from scorers.networks.extent import extents
from scorers.networks.known import COLOURS, ENERGIES, GABORS, GaborTuning, furthest_corner
from tests.live.sessions import small
from tests.soak import further

LAYERS = ("gabor", "energy", "patch", "colour")
ALMOST = 1e-5


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "user_cache_path", lambda name: folder / name)
        yield


@pytest.fixture(scope="module")
def known():
    return networks.load("known")


def score(network, layer, images):
    """Return what a whole layer answers, (n, channels, 5, 5)."""
    x = torch.as_tensor(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return network.outputs(x, {layer: None})[layer].numpy()


@pytest.mark.parametrize("size", [48, 64, further(128)])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_image_handed_out_reaches_the_value(layer, size):
    network = networks.load("known", size=size)
    for position in ((0, 0), (3, 1), None):
        channels = range(network.layers[layer].channels)
        best = [network.optimum(layer, channel, position) for channel in channels]
        row, column = position or (2, 2)
        found = score(network, layer, np.stack([b.image for b in best]))
        reached = found[channels, channels, row, column]
        np.testing.assert_allclose(reached, [b.value for b in best], rtol=0, atol=ALMOST)
        assert found.max() < 1 + ALMOST


@pytest.mark.soak
@pytest.mark.parametrize("layer", ["gabor", "energy", "patch", "colour"])
def test_of_thousands_of_images_none_scores_higher(known, layer):
    """Scenes, noise, black and white, other sizes, units' best, and that changed a bit."""
    rng = np.random.default_rng(1)
    shapes = [(64, 64), (32, 32), (100, 90), (160, 160)]
    kinds = [reference_images(100, seed=9)]
    kinds += [rng.integers(0, 256, (60, *shape, 3), dtype=np.uint8) for shape in shapes]
    kinds += [255 * rng.integers(0, 2, (60, *shape, 3), dtype=np.uint8) for shape in shapes]
    best = np.stack([
        known.optimum(name, channel).image
        for name in LAYERS for channel in range(known.layers[name].channels)
    ])  # fmt: skip
    kinds += [best, best[:, ::-1], 255 - best, best.repeat(3, 1).repeat(3, 2)]
    changed = best.repeat(4, 0)
    where = rng.random(changed.shape) < 0.01
    changed[where] = rng.integers(0, 256, where.sum())
    kinds.append(changed)
    assert sum(map(len, kinds)) > 1_500
    assert max(float(score(known, layer, images).max()) for images in kinds) < 1 + ALMOST


@pytest.mark.parametrize("layer", ["gabor", *map(further, ("energy", "patch", "colour"))])
def test_gradient_ascent_comes_up_to_the_value_and_no_further(known, layer):
    """From noise; of the energies, some end on a lower top, as all corners are tops."""
    torch.manual_seed(0)
    channels = torch.arange(known.layers[layer].channels)[::4]
    at = torch.tensor([known.layers[layer].place(int(c), (2, 2)) for c in channels])
    x = torch.rand(len(channels), 3, 64, 64)
    rows = torch.arange(len(channels))
    for step in range(80):
        x.requires_grad_()
        values = known.outputs(x, {layer: at})[layer][rows, rows]
        (slope,) = torch.autograd.grad(values.sum(), x)
        assert float(values.detach().max()) < 1 + ALMOST
        size = 0.02 if layer == "patch" and step > 40 else 0.2
        top = slope.abs().amax((1, 2, 3), keepdim=True)
        way = slope / top if layer == "patch" else slope.sign()
        x = (x.detach() + size * way).clamp(0, 1)
    least = {"gabor": 1 - 1e-3, "colour": 1 - ALMOST, "energy": 0.9, "patch": 0.97}[layer]
    assert float(values.detach().min()) > least


def test_the_longest_sum_of_vectors_is_found():
    rng = np.random.default_rng(0)
    for _ in range(20):
        pairs = rng.normal(size=(2, 9))
        pairs[:, 0], pairs[1, 1] = 0, 0  # as a filter's middle has
        signs, length = furthest_corner(pairs)
        every = np.array(list(product((-1, 1), repeat=9)))
        assert length == pytest.approx(np.hypot(*(pairs @ every.T)).max())
        assert np.hypot(*(pairs @ signs)) == pytest.approx(length)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_unit_sees_its_square_and_nothing_else(known, layer):
    assert extents(known, [layer])[layer].size == 32
    assert extents(known, [layer])[layer].stride == 8
    image = np.random.default_rng(2).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    outside, corner = image.copy(), image.copy()
    seen = np.zeros((64, 64), dtype=bool)
    seen[8:40, 24:56] = True  # the row 1, the column 3
    outside[:, ~seen] = 255 - outside[:, ~seen]
    corner[:, 39, 24] = 255 - corner[:, 39, 24]
    there, moved, touched = (
        score(known, layer, images)[0, :, 1, 3] for images in (image, outside, corner)
    )
    np.testing.assert_array_equal(moved, there)
    assert (touched != there).mean() > 0.5  # the finest of the Gaussians are small out there
    best = known.optimum(layer, 0, (1, 3)).image
    assert (best[~seen] == 128).all()
    assert (best[seen] != 128).any()


def test_channels_are_tuned_to_what_they_are_said_to_be(known):
    """Of gratings of all orientations, frequencies and phases, a unit likes its own best."""
    down, right = np.indices((64, 64)) - 31.5
    gratings = []
    for tuning in GABORS:
        angle, phase = np.deg2rad([tuning.orientation_deg, tuning.phase_deg])
        height = np.cos(angle) * -down - np.sin(angle) * right  # above a bar
        wave = np.cos(2 * np.pi * tuning.cycles / 64 * height + phase)
        gratings.append(np.round(127.5 + 127.5 * wave).astype(np.uint8))
    images = np.stack(gratings)[..., None].repeat(3, axis=-1)
    found = score(known, "gabor", images)[:, :, 2, 2]
    np.testing.assert_array_equal(found.argmax(axis=0), np.arange(96))
    energies = score(known, "energy", images)[:, :, 2, 2]
    best = [GABORS[k] for k in energies.argmax(axis=0)]
    assert [GaborTuning(t.orientation_deg, t.cycles) for t in best] == list(ENERGIES)
    four = energies.reshape(24, 4, 24)  # whatever the phase
    own = four[np.arange(24), :, np.arange(24)]
    np.testing.assert_allclose(own, own[:, :1].repeat(4, 1), rtol=0.05)


def test_colours_are_the_corners_they_are_called():
    network = networks.load("known")
    expected = {
        "white": (255,) * 3,
        "black": (0, 0, 0),
        "red": (255, 0, 0),
        "cyan": (0, 255, 255),
    }
    for name, colour in expected.items():
        best = network.optimum("colour", COLOURS.index(name)).image
        assert best[32, 32].tolist() == list(colour)


def test_a_response_is_the_same_alone_and_among_others():
    scorer = scorers.load([f"known:{layer}:all" for layer in LAYERS])
    images = reference_images(11, seed=4)
    np.testing.assert_array_equal(scorer.score(images[4:5]), scorer.score(images)[4:5])
    assert scorer.digests["known:gabor:all"] == networks.load("known").sha256
    assert networks.load("known", size=48).sha256 != networks.load("known").sha256


def test_the_pictures_stay_what_they_are():
    """A version of the units is one set of pictures: these are whole numbers everywhere."""
    assert networks.load("known").sha256[:16] == "a470aa52d814bb26"


@pytest.mark.soak
def test_what_is_possible_is_said_in_the_units_scale_and_in_spikes():
    settings = simulated(["mini:fc5:3", "known:gabor:0", "known:colour:2"])
    population = build_population(settings)
    highest = population.scorer.highest_responses
    np.testing.assert_array_equal(highest, [np.nan, 1, 1])
    window, on_ms = settings.fitness.response_ms, settings.presentation.on_ms
    rates = population.highest_rates(window, on_ms=on_ms)
    network = population.scorer.networks["known"]
    best = [network.optimum("gabor", 0).image, network.optimum("colour", 2).image]
    images = [*best, *reference_images(30, seed=3)]
    shown = population.neurons.expected_rates(population.respond(images), window, on_ms=on_ms)
    assert np.isnan(rates[0])
    np.testing.assert_allclose([shown[0, 1], shown[1, 2]], rates[1:], rtol=1e-3)
    assert (shown[2:, 1:] < rates[1:]).all()


@pytest.mark.soak
def test_a_short_evolution_climbs_to_half_of_what_is_possible(tmp_path):
    """Of a Gabor's best image, from nothing, by its neuron's rates, in 16 generations of 24.

    The neuron, one of IT, is at four fifths of its highest rate by then: it saturates, and the
    last of it is the slowest.
    """
    settings = simulated(["known:gabor:48"], folder=tmp_path)
    population = build_population(settings)
    window = settings.fitness.response_ms
    (most,) = population.highest_rates(window, on_ms=100.0)
    generator = generators.load("mini-texture")
    optimizer = CholeskyCMA(generator.d, rng=np.random.default_rng(1), popsize=24)
    reached, rates = [], []
    for _ in range(16):
        codes = optimizer.ask()
        drives = population.respond(list(generator.render(codes)))
        scores = population.neurons.expected_rates(drives, window, on_ms=100.0)[:, 0]
        optimizer.tell(codes, scores)
        reached.append(drives.mean())
        rates.append(scores.mean() / most)
    assert reached[0] < 0.1
    assert reached[-1] > 0.5
    assert 0.8 < rates[-1] < 1


def simulated(units, folder="recordings"):
    """Return a session whose simulated neurons are these units'."""
    return small(Path(folder), simulation={"units": tuple(units)})


@pytest.mark.parametrize("size", [0, 40, 63, 64.0, 512])
def test_another_size_is_refused(size):
    with pytest.raises(ConfigError, match="multiple of 8"):
        networks.load("known", size=size)


def test_there_are_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="formulas"):
        networks.load("known", weights=tmp_path / "known.pt")
