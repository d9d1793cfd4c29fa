"""What a gradient climbs: the simulated units' drives, with the slope of finite differences."""

import msgspec
import numpy as np
import pytest
import torch

import scorers
from evolver import config, generators
from evolver.config.mistakes import Mistakes
from evolver.errors import ConfigError, DataError
from evolver.optimizers import Adam
from evolver.setup.build import build_parts, gather_parts
from evolver.setup.objective import build_objective, seen_of
from evolver.setup.simulated_rig import ScreenView, build_population
from tests.live.sessions import small
from tests.soak import further

UNITS = ("mini:fc6:3", "mini:conv3:1:4:4", "known:energy:4")


def session(folder=".", *, fitness=None, simulation=None, presentation=None, **thread):
    """A session of one thread that climbs."""
    table = {"generator": "mini-object", "optimizer": "adam", "popsize": 4} | thread
    settings = msgspec.structs.replace(
        small(folder, simulation={"units": UNITS} | (simulation or {})),
        threads=(config.ThreadTable("t", **table),),
    )
    for name, values in (("fitness", fitness), ("presentation", presentation)):
        if values:
            changed = msgspec.structs.replace(getattr(settings, name), **values)
            settings = msgspec.structs.replace(settings, **{name: changed})
    return settings


def climbed(settings):
    generator = generators.load(settings.threads[0].generator)
    return build_objective(settings, 0, generator), generator


FITNESSES = {
    "one unit": {"units": (0,)},
    "weights": {"units": (2, "mini:fc6:3"), "weights": (-2.0, 0.5)},
    "minimised": {"units": (1,), "minimise": True},
    "mean of others": {"kind": "contrast", "units": (0,), "others": (1, 2)},
    "highest other": {
        "kind": "contrast",
        "units": (0,),
        "others": (1, 2),
        "others_by": "max",
        "others_weight": 3.0,
    },
}
SCORES = {
    "one unit": lambda r: r[:, 0],
    "weights": lambda r: -2.0 * r[:, 2] + 0.5 * r[:, 0],
    "minimised": lambda r: -r[:, 1],
    "mean of others": lambda r: r[:, 0] - r[:, 1:].mean(axis=1),
    "highest other": lambda r: r[:, 0] - 3.0 * r[:, 1:].max(axis=1),
}


@pytest.mark.parametrize(
    "fitness",
    ["weights", "minimised", "highest other", *map(further, ("one unit", "mean of others"))],
)
@pytest.mark.parametrize("view_deg", [further(None), 4.0])
def test_values_are_the_drives_of_what_is_shown(fitness, view_deg):
    settings = session(
        fitness=FITNESSES[fitness],
        simulation={"view_deg": view_deg},
        presentation={"size_deg": 3.0, "position_deg": (0.4, -0.3)},
    )
    objective, generator = climbed(settings)
    codes = generator.initial_codes(6, rng=np.random.default_rng(0))
    values, slopes = objective.climb(codes)
    drives = build_population(settings).respond(list(generator.render(codes)))
    expected = SCORES[fitness](drives)
    # But for the rounding of pixels, half a grey level at most.
    np.testing.assert_allclose(values, expected, atol=0.03 * expected.std() + 0.01)
    assert (values.dtype, slopes.shape, slopes.dtype) == (np.float64, codes.shape, np.float64)


@pytest.mark.parametrize(
    ("generator", "fitness"),
    [
        ("mini-texture", "mean of others"),
        further("mini-object", "weights"),
        further("mini-texture", "weights"),
        further("mini-object", "mean of others"),
    ],
)
def test_slopes_are_those_of_finite_differences(generator, fitness):
    settings = session(
        generator=generator, fitness=FITNESSES[fitness], simulation={"view_deg": 3.5}
    )
    objective, generator = climbed(settings)
    codes = generator.initial_codes(2, rng=np.random.default_rng(1))
    values, slopes = objective.climb(codes)
    across = np.random.default_rng(2).standard_normal(slopes.shape)
    for along in (slopes, slopes / np.linalg.norm(slopes) + across / np.linalg.norm(across)):
        step = 0.05 * along / np.linalg.norm(along, axis=1, keepdims=True)
        change = objective.climb(codes + step)[0] - values
        # All along the way: at kinks of the networks a slope is one side's.
        ways = (np.arange(12) + 0.5) / 12
        rise = np.mean([objective.climb(codes + way * step)[1] for way in ways], axis=0)
        np.testing.assert_allclose(change, (rise * step).sum(axis=1), rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("generator", [further("mini-texture"), "mini-object"])
def test_a_code_has_the_same_value_and_slope_alone_and_among_others(generator):
    objective, generator = climbed(session(generator=generator))
    codes = generator.initial_codes(5, rng=np.random.default_rng(3))
    values, slopes = objective.climb(codes)
    for rows in ([2], [4, 1], range(4, -1, -1)):
        alone = objective.climb(codes[list(rows)])
        np.testing.assert_array_equal(alone[0], values[list(rows)])
        np.testing.assert_array_equal(alone[1], slopes[list(rows)])
    assert [len(part) for part in objective.climb(codes[:0])] == [0, 0]


def test_passes_elsewhere_than_on_a_processor_are_of_one_size(monkeypatch):
    """As on a GPU: a chunk of rows, the last filled up with zeros, which say nothing."""
    generator = generators.load("mini-object", chunk=6)
    objective = build_objective(session(), 0, generator)
    codes = generator.initial_codes(11, rng=np.random.default_rng(3))
    values, slopes = objective.climb(codes)
    asked = []
    synthesize = generator.synthesize

    def counted(z):
        asked.append(len(z))
        return synthesize(z)

    class Elsewhere:
        type = "elsewhere"

    monkeypatch.setattr(generator, "synthesize", counted)
    monkeypatch.setattr(objective, "_device", Elsewhere())
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)
    others = objective.climb(codes)
    assert asked == [6, 6]
    np.testing.assert_allclose(others[0], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(others[1], slopes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "view",
    [
        ScreenView(4.0, 4.0),
        ScreenView(8.0, 4.0, (1.1, -0.7)),
        ScreenView(3.0, 4.0, (0.3, 0.2)),
        ScreenView(4.0, 4.0, (3.0, 0.0)),
        ScreenView(180.0, 2.0),  # shrunk, not by a whole number
        ScreenView(180.0, 2.0, (89.5, 0.0)),
    ],
)
def test_what_is_seen_is_what_the_animal_sees(view):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    shown = view.of(image, 128)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    seen = seen_of(x.requires_grad_(), view)
    drawn = 255 * seen.detach()[0].permute(1, 2, 0).numpy()
    assert np.abs(drawn - shown).max() <= (1e-4 if view.place(64).side == 64 else 1.0)
    seen.sum().backward()
    place = view.place(64)
    visible = (place.rows.stop - place.rows.start) * (place.columns.stop - place.columns.start)
    assert float(x.grad.sum()) == pytest.approx(3 * visible)


def test_the_parts_of_a_session_climb():
    (optimizer,) = build_parts(session()).optimizers
    assert isinstance(optimizer, Adam)
    before = optimizer.ask()
    optimizer.tell(before, np.zeros(4))
    values = optimizer.objective.climb
    assert (values(optimizer.ask())[0] > values(before)[0]).all()


def test_codes_that_are_none_are_refused():
    objective, generator = climbed(session())
    with pytest.raises(DataError, match="shape"):
        objective.climb(np.zeros((2, generator.d + 1)))


def wrong(settings, **options):
    mistakes = Mistakes()
    assert gather_parts(settings, mistakes, **options) is None
    return [(mistake.key, mistake.text) for mistake in mistakes.found]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_live_rig_has_no_slope(optimizer):
    ((key, text),) = wrong(session(optimizer=optimizer), live=True)
    assert key == "threads[0].optimizer"
    assert f"'{optimizer}' must run in 'evolver simulate'" in text
    assert not wrong_or_none(session(optimizer="sep"), live=True)


def wrong_or_none(settings, **options):
    mistakes = Mistakes()
    gather_parts(settings, mistakes, **options)
    return mistakes.found


@pytest.mark.parametrize(
    ("fitness", "said"),
    [
        ({"kind": "late-early"}, "kind must be 'rate' or 'contrast'"),
        (
            {"kind": "target", "units": (0, 1), "target": "best"},
            "kind must be 'rate' or 'contrast'",
        ),
        ({"normalise": "references"}, "normalise must be 'none'"),
        ({"units": ("nobody",)}, "must name one of the rig's 3 units"),
    ],
)
def test_a_fitness_without_a_slope_is_refused(fitness, said):
    ((key, text),) = wrong(session(fitness=fitness))
    assert key.startswith(("threads[0].optimizer", "fitness"))
    assert said in text


class Flat(torch.nn.Module):
    """Draws from a code what has no slope, in the way that `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, z):
        pixels = torch.sigmoid(z.reshape(-1, 3, 16, 16))
        if self.how == "detached":
            return pixels.detach()
        if self.how == "rounded":
            return (pixels * 255).round() / 255
        if self.how == "inference":
            with torch.inference_mode():
                return pixels.clone()
        return torch.from_numpy(pixels.numpy())  # torch refuses: it would lose the slope


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("detached", "operators that have a slope"),
        ("rounded", "its slope is 0 at 4 first codes"),
        ("inference", "slope"),
        ("numpy", "have none: Can't call numpy"),
    ],
)
def test_a_generator_without_a_slope_is_refused(how, said):
    from evolver.generators.frozen import FrozenGenerator

    flat = FrozenGenerator(
        "flat", Flat(how), d=768, image_size=16, sha256="0" * 64, device=torch.device("cpu")
    )
    with pytest.raises(ConfigError, match=said):
        build_objective(session(), 0, flat)


def test_an_image_out_of_sight_and_a_network_without_a_slope_are_refused(monkeypatch):
    away = session(
        simulation={"view_deg": 4.0, "units": ("mini:fc6:3",)},
        presentation={"position_deg": (30.0, 0.0)},
    )
    with pytest.raises(ConfigError, match="out of the units' sight"):
        climbed(away)
    monkeypatch.setattr(
        scorers.scorer.UnitScorer,
        "responses",
        lambda self, x: torch.zeros((len(x), len(self.unit_names))),
    )
    with pytest.raises(ConfigError, match="network of the simulated units must have a slope"):
        climbed(session())


@pytest.mark.parametrize(
    ("unit", "least"), [("known:patch:1", 0.99), further("known:gabor:48", 0.8)]
)
def test_a_units_best_image_is_climbed_to(unit, least):
    """By pixels without a network: as near as this to 1, above which no image comes."""
    settings = session(
        simulation={"units": (unit,)},
        generator="fourier",
        generator_options={"size": 32},
        popsize=2,
        optimizer_options={"lr": 0.2},
    )
    (optimizer,) = build_parts(settings).optimizers
    for _ in range(100):
        codes = optimizer.ask()
        optimizer.tell(codes, np.zeros(2))
    values = optimizer.objective.climb(codes)[0]
    assert values.min() > least
    assert values.max() <= 1 + 1e-5
