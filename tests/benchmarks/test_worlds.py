"""What is searched: units in two sets, a generator that is the same everywhere."""

import numpy as np
import pytest
import torch
from PIL import Image

import scorers
from benchmarks.optimizers import upconv
from benchmarks.optimizers.worlds import (
    FOREIGN,
    HELD_APART,
    LAYERS,
    MINI,
    TRAINING,
    Stage,
    at_norm,
    contrasts,
    draw_units,
    generator_of,
    layer_of,
    own_world,
    upconv_world,
)
from evolver import generators
from evolver.errors import ConfigError
from evolver.windows import Window
from scorers import networks
from tests.soak import further


def test_the_two_sets_share_no_unit_and_split_every_layer():
    a, b = draw_units(TRAINING, 31), draw_units(HELD_APART, 31)
    assert not set(a) & set(b)
    assert [layer_of(unit) for unit in a] == [layer for layer in LAYERS for _ in range(31)]
    logits = {unit for unit in (*a, *b) if layer_of(unit) == "logits"}
    assert len(logits) == networks.load("mini").layers["logits"].channels


def test_more_units_are_the_same_and_others():
    few, many = draw_units(HELD_APART, 1), draw_units(HELD_APART, 3)
    assert few == many[::3]
    assert draw_units(HELD_APART, 1, layers=("conv3",)) == [few[LAYERS.index("conv3")]]


def test_what_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="at most 31 of logits"):
        draw_units(TRAINING, 32)
    with pytest.raises(ConfigError, match="training or held-apart"):
        draw_units("both", 1)
    with pytest.raises(ConfigError, match="width must be"):
        upconv.width_of("upconv/3")
    with pytest.raises(ConfigError, match="one unit"):
        Stage(MINI, "mini:fc5:0-3", device="cpu")


def test_axes_are_those_of_a_session_file():
    stage = Stage(MINI, "mini:conv3:5", device="cpu")
    assert stage.axes({"source": "first-layer", "k": 3}).k == 3
    with pytest.raises(ConfigError, match="as in a session file"):
        stage.axes({"axis": 3})
    with pytest.raises(ConfigError, match="must be left out"):
        stage.axes({"k": 3, "energy": 0.5})
    with pytest.raises(ConfigError, match="k must be at most"):
        stage.axes({"source": "first-layer", "k": 1000})


def test_clean_scores_are_the_units_own_in_units_of_its_references():
    stage = Stage(MINI, "mini:conv3:5", device="cpu")
    codes = 3 * np.random.default_rng(0).standard_normal((5, stage.d))
    scorer = scorers.load("mini:conv3:5")
    raw = scorer.score(generators.load("mini-texture").render(codes))[:, 0]
    q = scorer.reference_quantiles
    expected = (raw - q["p50"][0]) / (q["p99"][0] - q["p50"][0])
    np.testing.assert_allclose(stage.clean(codes), expected, atol=1e-5)


@pytest.mark.parametrize(
    "world", [MINI, further(upconv_world(16))], ids=lambda world: world.name
)
@pytest.mark.parametrize("unit", ["mini:fc6:3", "mini:conv3:5"])
def test_a_score_is_the_same_in_any_company(world, unit):
    stage = Stage(world, unit, device="cpu")
    codes = np.random.default_rng(1).standard_normal((51, stage.d)) * 3
    together = stage.clean(codes)
    np.testing.assert_array_equal(stage.clean(codes[4:6]), together[4:6])
    np.testing.assert_array_equal(stage.clean(codes[49:]), together[49:])
    assert len(stage.clean(codes[:0])) == 0
    assert np.ptp(together) > 0.01


@pytest.mark.parametrize("world", [MINI, upconv_world(16)], ids=lambda world: world.name)
@pytest.mark.parametrize("layer", ["conv2", "conv3", "conv4"])
def test_a_part_of_the_image_gives_the_score_of_the_whole(world, layer):
    unit = f"mini:{layer}:5"
    stage, whole = (Stage(world, unit, device="cpu", whole=w) for w in (False, True))
    drawn = stage.seen.drawn
    assert drawn is not None
    assert max(drawn.shape) < generator_of(world.generator, "cpu").image_size
    codes = at_norm(np.random.default_rng(0).standard_normal((24, stage.d)), world.norm)
    scores = whole.clean(codes)
    apart = np.abs(stage.clean(codes) - scores) / np.ptp(scores)
    # Most are those of the whole but for the order of sums; of the others a pixel lay between
    # two grey levels.
    assert np.median(apart) < 3e-5
    assert apart.max() < 1e-3


@pytest.mark.parametrize("place", ["0:0", "0:7", "7:3"])
def test_a_unit_at_the_edge_sees_the_edge(place):
    unit, world = f"mini:conv3:5:{place}", upconv_world(16)
    stage, whole = (Stage(world, unit, device="cpu", whole=w) for w in (False, True))
    codes = at_norm(np.random.default_rng(2).standard_normal((12, stage.d)), world.norm)
    np.testing.assert_allclose(stage.clean(codes), whole.clean(codes), atol=1e-3)


def test_what_cannot_be_seen_in_part_is_seen_whole():
    assert Stage(MINI, "mini:fc6:3", device="cpu").seen.drawn is None
    flat = own_world("tests.benchmarks.made:flat", norm=2.0)
    assert Stage(flat, "mini:conv3:5", device="cpu").seen.drawn is None


def test_a_part_of_the_seeded_generators_image_is_the_wholes():
    generator = generator_of("upconv/16", "cpu")
    z = torch.from_numpy(
        at_norm(np.random.default_rng(0).standard_normal((2, 4096)), 300.0).astype(np.float32)
    )
    with torch.inference_mode():
        whole = generator.synthesize(z)
        for window in (Window(0, 1, 0, 1), Window(101, 140, 7, 256), Window.whole(256)):
            part = generator.synthesize_part(z, window)
            np.testing.assert_allclose(part, window.of(whole), atol=2e-5)


def test_a_network_of_ones_own_needs_only_the_protocols():
    world = own_world("tests.benchmarks.made:flat", norm=2.0)
    stage = Stage(world, "mini:fc6:3", device="cpu")
    assert (world.name, stage.d) == ("flat", 2)
    a, b, c = stage.clean(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert a == c != b


def test_a_generator_by_name_is_the_presets_world():
    assert own_world("mini-texture") == MINI
    assert own_world("foreign") == FOREIGN
    assert own_world("upconv/8") == upconv_world(8)
    assert own_world("upconv/8", norm=100.0).norm == 100.0
    assert own_world("my_lab:factory").norm == 300.0


def test_a_unit_of_ones_own_is_made_by_a_factory():
    stage = Stage(MINI, "tests.benchmarks.made:brightness@red", device="cpu")
    images = generators.load("mini-texture").render(np.ones((2, 256)))
    np.testing.assert_allclose(
        stage.clean(np.ones((2, 256))), (images[..., 0].mean(axis=(1, 2)) - 100) / 50
    )
    assert layer_of("tests.benchmarks.made:brightness@red") == "brightness"


def test_a_start_is_one_codes_for_all_and_another_for_other_units_and_seeds():
    stage, other = (Stage(MINI, f"mini:fc6:{k}", device="cpu") for k in (3, 4))
    np.testing.assert_array_equal(
        stage.start(1), Stage(MINI, "mini:fc6:3", device="cpu").start(1)
    )
    assert (stage.start(1) != stage.start(2)).any()
    assert (stage.start(1) != other.start(1)).any()


@pytest.mark.soak
def test_the_seeded_generator_is_deepsims_in_shape_and_always_the_same():
    net = upconv.Net(1)
    # The published network's parameters, counted from its description.
    assert sum(p.numel() for p in net.parameters()) == 56_097_891
    one, two = upconv.load_upconv(16, device="cpu"), upconv.load_upconv(16, device="cpu")
    assert one.sha256 == two.sha256 != upconv.load_upconv(8, device="cpu").sha256
    codes = at_norm(np.random.default_rng(0).standard_normal((16, 4096)), 300.0)
    with torch.inference_mode():
        images = one.synthesize(torch.from_numpy(codes.astype(np.float32)))
    assert images.shape == (16, 3, 256, 256)
    contrast = 255 * float(images.std())
    assert 30 < contrast < 60  # 50 before clipping, over other codes
    clipped = float(((images == 0) | (images == 1)).float().mean())
    assert clipped < 0.15


def test_codes_are_brought_to_one_norm_and_zeros_stay():
    codes = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-3]])
    np.testing.assert_allclose(at_norm(codes, 10.0), [[6, 8], [0, 0], [0, 10]])


@pytest.mark.parametrize(
    "world", [MINI, further(upconv_world(16))], ids=lambda world: world.name
)
def test_codes_are_brought_to_one_image_contrast(world):
    stage = Stage(world, "mini:conv2:5", device="cpu")
    generator = generator_of(world.generator, "cpu")
    codes = np.random.default_rng(3).standard_normal((4, stage.d))
    codes[1] *= 3
    alike = stage.at_contrast(codes)
    # An oracle of its own: luma by Pillow, the spread by numpy.
    luma = [np.array(Image.fromarray(one).convert("L")) for one in generator.render(alike)]
    np.testing.assert_allclose([one.std() for one in luma], stage.contrast, rtol=0.03)
    np.testing.assert_allclose(at_norm(alike, 1.0), at_norm(codes, 1.0))
    assert contrasts(generator.render(codes)).std() > 0.1 * stage.contrast
    first = at_norm(generator.initial_codes(40, rng=np.random.default_rng(5)), world.norm)
    assert 0.7 < np.mean(contrasts(generator.render(first)) > stage.contrast) < 1.0


def test_what_has_no_contrast_keeps_what_it_has():
    stage = Stage(own_world("tests.benchmarks.made:flat", norm=2.0), "mini:fc6:3", device="cpu")
    alike = stage.at_contrast(np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert np.isfinite(alike).all()
    np.testing.assert_array_equal(alike[1], 0)
