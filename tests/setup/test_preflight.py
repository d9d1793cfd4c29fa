"""What is checked before the first image: of what will be shown, not of a guess."""

import re
from dataclasses import replace
from datetime import date

import msgspec
import numpy as np
import pytest

from evolver import config
from evolver.config.set_table import GridTable, SetTable
from evolver.setup import preflight
from evolver.setup.build import build_parts
from evolver.setup.references import References
from rig_bridge.auth import new_rig, revoke
from rig_bridge.messages import ScreenInfo
from tests.live.sessions import small

NOW = 1_800_000_000_000_000_000


def genetic(folder):
    thread = config.ThreadTable("t", "mini-texture", optimizer="genetic")
    settings = msgspec.structs.replace(small(folder), threads=(thread,))
    return build_parts(settings)


def before(parts, folder, time_ns=NOW):
    checks = preflight.before_the_rig(parts, folder, time_ns=time_ns, monotonic=lambda: 0.0)
    return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return genetic(tmp_path_factory.mktemp("preflight"))


def hello(parts):
    from evolver.setup.simulated_rig import LocalRig, build_population

    rig = LocalRig(build_population(parts.config), parts.config, clock=None)
    return rig.hello


def test_it_renders_as_many_images_as_the_optimizer_asks_for(parts, tmp_path):
    (n,) = parts.popsizes
    assert n == parts.optimizers[0].popsize == 40  # not 28, as others have in 256 dimensions
    check = before(parts, tmp_path)["render"]
    assert check.verdict == "good"
    assert f"t: {n} images" in check.text


def test_images_that_do_not_fit_into_memory_are_bad(parts, tmp_path, monkeypatch):
    def full(_codes):
        raise MemoryError

    monkeypatch.setattr(type(parts.generators[0]), "render", lambda _, codes: full(codes))
    assert before(parts, tmp_path)["render"].verdict == "bad"


@pytest.mark.soak
def test_a_first_pass_that_is_slow_is_no_warning(parts, tmp_path):
    """Networks are slow at first; what counts is a pass like those of the session."""
    hidden = parts.config.references.count * 0.15 * parts.config.presentation.repeats

    def verdict(*seconds):
        times = [t for s in seconds for t in (0.0, s)]
        checks = preflight.before_the_rig(
            parts, tmp_path, time_ns=NOW, monotonic=iter(times).__next__
        )
        return next(check.verdict for check in checks if check.name == "render")

    assert parts.config.presentation.schedule == "references"
    assert verdict(hidden / 2) == "good"
    assert verdict(hidden * 9, hidden / 2) == "good"
    assert verdict(hidden * 9, hidden * 2) == "warning"


def test_the_disk_must_hold_the_images_of_every_generation(parts, tmp_path, monkeypatch):
    size = parts.generators[0].image_size
    pixels = parts.config.session.generations * parts.popsizes[0] * size * size * 3

    def verdict(free):
        monkeypatch.setattr(preflight, "disk_free_bytes", lambda _: free)
        checks = preflight.with_the_rig(parts, hello(parts), tmp_path / "not" / "yet")
        return next(check.verdict for check in checks if check.name == "disk")

    assert verdict(pixels) == "bad"
    assert verdict(10_000 * pixels) == "good"


def test_one_unit_is_one(parts, tmp_path):
    said = hello(parts)
    one = msgspec.structs.replace(said, units=said.units[:1])
    checks = preflight.with_the_rig(parts, one, tmp_path)
    assert next(c.text for c in checks if c.name == "rig").endswith("), 1 unit")


def with_shapes(parts, folder, *shapes, grey=128, **stated):
    labels = tuple(f"r{i}" for i in range(len(shapes)))
    images = tuple(np.zeros((*shape, 3), np.uint8) for shape in shapes)
    source = msgspec.structs.replace(parts.config.references, source=str(folder), grey=grey)
    settings = msgspec.structs.replace(parts.config, references=source)
    parts = replace(parts, references=References(images, labels), config=settings)
    screen = ScreenInfo(1920, 1080, 60.0, 40.0, **stated)
    checks = preflight.with_the_rig(
        parts, msgspec.structs.replace(hello(parts), display=screen), folder
    )
    return {c.name: c for c in checks if c.name in {"shapes", "background"}}


def test_a_rig_that_may_stretch_images_is_refused_them(parts, tmp_path):
    (found,) = with_shapes(parts, tmp_path, (64, 64), (32, 64)).values()
    assert found.verdict == "bad"
    assert "1 reference is not square ('r1': 64 x 32)" in found.text
    assert "does not say that it keeps an image's shape" in found.text
    assert with_shapes(parts, tmp_path, (64, 64), (9, 9)) == {}


def test_a_rig_that_keeps_shapes_and_says_its_background_is_shown_them(parts, tmp_path):
    found = with_shapes(parts, tmp_path, (32, 64), grey=90, background_grey=90)
    assert found["shapes"].verdict == "good"
    assert "their longer side is 3°, around them is grey 90" in found["shapes"].text
    assert "background" not in found
    thin = with_shapes(parts, tmp_path, (3, 500), background_grey=128)["shapes"]
    assert thin.verdict == "bad"
    assert "'r0', 500 x 3 would be thinner than a pixel" in thin.text


def test_another_grey_behind_transparent_pixels_than_the_displays_is_said(parts, tmp_path):
    (found,) = with_shapes(parts, tmp_path, (9, 9), grey=128, background_grey=90).values()
    assert (found.name, found.verdict) == ("background", "warning")


def test_simulated_neurons_see_an_image_in_its_shape():
    from evolver.setup.simulated_rig import build_population

    population = build_population(small("."))
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    square = np.full((64, 64, 3), population.grey, np.uint8)
    square[16:48] = wide
    seen, expected, tall = population.respond([wide, square, wide.swapaxes(0, 1)])
    np.testing.assert_array_equal(seen, expected)
    assert (seen != tall).any()


def test_a_clock_that_went_back_is_said(parts, tmp_path):
    (tmp_path / "earlier").mkdir()
    assert before(parts, tmp_path, time_ns=NOW)["clock"].verdict == "good"
    past = 1_750_000_000_000_000_000
    assert before(parts, tmp_path, time_ns=past)["clock"].verdict == "warning"
    assert before(parts, tmp_path, time_ns=0)["clock"].verdict == "bad"
    assert before(parts, tmp_path / "none", time_ns=past)["clock"].verdict == "good"


def checked(folder, *, keys=None, threads=1, **changes):
    """Return the checks of a session file of one or two threads."""
    settings = small(folder, **changes)
    tables = [config.ThreadTable(f"t{i}", "mini-texture", popsize=4) for i in range(threads)]
    settings = msgspec.structs.replace(settings, threads=tuple(tables))
    if keys is not None:
        rig = msgspec.structs.replace(settings.rig, keys=str(keys))
        settings = msgspec.structs.replace(settings, rig=rig)
    return before(build_parts(settings), folder)


class TestSchedule:
    def test_threads_that_cannot_take_turns(self, tmp_path):
        check = checked(tmp_path, presentation={"schedule": "alternate"})["schedule"]
        assert check.verdict == "warning"
        assert "'alternate' needs two threads, there is one: the rig waits" in check.text
        two = checked(tmp_path, presentation={"schedule": "alternate"}, threads=2)
        assert "schedule" not in two

    def test_references_that_there_are_none_of(self, tmp_path):
        check = checked(tmp_path, references={"count": 0})["schedule"]
        assert check.verdict == "warning"
        assert "references.count is 0: the rig waits" in check.text
        assert "schedule" not in checked(tmp_path)

    def test_a_generation_that_takes_too_long_names_popsizes(self, tmp_path):
        slow = {"on_ms": 10_000.0, "off_ms": 10_000.0, "repeats": 10}
        check = checked(tmp_path, presentation=slow)["duration"]
        assert check.verdict == "warning"
        assert "is 80 presentations, 27 min of showing; 3 generations are 80 min" in check.text
        assert "images a generation are t0 4 (threads.popsize)" in check.text

    def test_seconds_of_a_short_generation_are_not_rounded_away(self, tmp_path):
        shown = {"on_ms": 100.0, "off_ms": 150.0, "repeats": 1}
        check = checked(tmp_path, presentation=shown, references={"count": 10})["duration"]
        assert check.text.endswith(
            "is 14 presentations, 3.5 s of showing; 3 generations are 10 s"
        )

    def test_a_session_that_takes_too_long_names_its_generations(self, tmp_path):
        check = checked(tmp_path, session={"generations": 100_000})["duration"]
        assert check.verdict == "warning"
        assert "(session.generations)" in check.text
        assert checked(tmp_path)["duration"].verdict == "good"


def test_a_receptive_field_of_tomorrow_is_a_wrong_date(tmp_path):
    check = checked(tmp_path, presentation={"mapped": date(2027, 2, 3)})["receptive field"]
    assert check.verdict == "warning"
    assert "mapped on 2027-02-03, which is still to come: today is 2027-01-15" in check.text


def test_keys_say_who_may_connect(tmp_path):
    keys = tmp_path / "keys"
    new_rig(keys, "setup-1", tmp_path / "setup-1.key")
    check = checked(tmp_path, keys=keys)["keys"]
    assert (check.verdict, check.text) == ("good", "setup-1 may connect")
    revoke(keys, "setup-1")
    check = checked(tmp_path, keys=keys)["keys"]
    assert check.verdict == "warning"
    assert f"no rig is listed in {keys}, so that none can connect" in check.text
    assert "keys" not in checked(tmp_path)


def test_it_says_how_each_thread_is_scored_and_by_which_units(tmp_path):
    fitness = {"kind": "contrast", "units": (1,), "others": (0,), "normalise": "references"}
    settings = small(tmp_path, fitness=fitness)
    parts = build_parts(settings)
    checks = preflight.with_the_rig(parts, hello(parts), tmp_path)
    score = [check.text for check in checks if check.name == "score"]
    assert score == [
        f"{name}: mean rate of 1 unit in 50 to 200 ms less that of 0 to 45 ms, minus 1 times "
        "the mean of 1 other, each unit by its mean and sd over the references so far; in z"
        for name in ("texture", "object")
    ]
    assert len(aims(checks)) == 4  # the one that is to stay low is named as well


def aims(checks):
    return [check.text.partition(":")[0] for check in checks if check.name == "unit"]


@pytest.mark.parametrize(
    ("fitness", "wanted"),
    [
        ({"units": (0, 1), "weights": (2.0, -1.0)}, ["climbs unit 0", "drives down unit 1"]),
        (
            {"units": (0, 1), "weights": (0.0, 1.0)},
            ["does not count unit 0", "climbs unit 1"],
        ),
        ({"kind": "late-early", "minimise": True}, ["drives down unit 0"]),
        (
            {"kind": "contrast", "units": (1,), "others": (0,)},
            ["climbs unit 1", "keeps low unit 0"],
        ),
        (
            {"kind": "contrast", "units": (1,), "others": (0,), "minimise": True},
            ["drives down unit 1", "climbs unit 0"],
        ),
        (
            {"kind": "target", "units": (0, 1), "target": "best"},
            [f"brings unit {unit} towards its target" for unit in (0, 1)],
        ),
        (
            {"kind": "target", "units": (0, 1), "target": "best", "minimise": True},
            [f"takes unit {unit} away from its target" for unit in (0, 1)],
        ),
    ],
)
def test_it_says_what_a_thread_does_to_each_unit(tmp_path, fitness, wanted):
    settings = small(tmp_path, fitness=fitness)
    parts = build_parts(settings)
    checks = preflight.with_the_rig(parts, hello(parts), tmp_path)
    assert aims(checks) == [f"{name} {aim}" for name in ("texture", "object") for aim in wanted]


@pytest.mark.parametrize(
    ("grid", "stated", "verdict", "words"),
    [
        ({}, {"places": True}, "good", "far: 8 places and sizes"),
        ({}, {}, "bad", "the rig does not say that it heeds"),
        # 1920 x 1080 at 40 pixels a degree: 24 and 13.5 degrees to each side.
        ({"span_deg": (46.0, 4.0)}, {"places": True}, "good", "8 places"),
        ({"span_deg": (46.5, 4.0)}, {"places": True}, "bad", "4 of them partly outside"),
        (
            {"center_deg": (0.0, 11.0)},
            {"places": True},
            "bad",
            "2 of them .* as 2° at -2°, +13°",
        ),
    ],
)
def test_every_place_of_a_grid_is_on_the_screen(tmp_path, grid, stated, verdict, words):
    spread = {"columns": 2, "rows": 2, "span_deg": (4.0, 4.0), "center_deg": (0.0, 0.0)}
    far = SetTable(
        "far", images="builtin", count=1,
        grid=GridTable(**{**spread, "sizes_deg": (1.0, 2.0), **grid}),
    )  # fmt: skip
    settings = msgspec.structs.replace(small(tmp_path), threads=(), sets=(far,))
    parts = build_parts(settings)
    screen = ScreenInfo(1920, 1080, 60.0, 40.0, **stated)
    checks = preflight.with_the_rig(
        parts, msgspec.structs.replace(hello(parts), display=screen), tmp_path
    )
    (check,) = [check for check in checks if check.name == "places"]
    assert check.verdict == verdict
    assert re.search(words.replace("+", r"\+"), check.text), check.text


@pytest.mark.parametrize(
    ("view", "verdict", "words"),
    [
        (6.0, "good", "far: 4 places and sizes, all seen by simulated units"),
        (5.9, "warning", "4 of them partly outside the 5.9° .*, as 2° at -2°, -2°: a smaller"),
        (None, None, ""),
    ],
)
def test_every_place_of_a_grid_is_seen_by_simulated_units(tmp_path, view, verdict, words):
    grid = GridTable(
        columns=2, rows=2, span_deg=(4.0, 4.0), center_deg=(0.0, 0.0), sizes_deg=(2.0,)
    )
    far = SetTable("far", images="builtin", count=1, grid=grid)
    settings = small(tmp_path, simulation={"view_deg": view})
    settings = msgspec.structs.replace(settings, sets=(far,))
    checks = list(preflight.simulated_view(settings))
    assert [check.verdict for check in checks] == ([verdict] if verdict else [])
    for check in checks:
        assert re.search(words, check.text), check.text


def test_a_session_that_maps_need_not_say_when_it_was_mapped(tmp_path):
    grid = GridTable(columns=2, rows=2, span_deg=(4.0, 4.0))
    mapping = SetTable("places", images="builtin", count=1, grid=grid)
    settings = msgspec.structs.replace(small(tmp_path), threads=(), sets=(mapping,))
    check = before(build_parts(settings), tmp_path)["receptive field"]
    assert (check.verdict, check.text) == ("good", "is mapped in this session, by places")
    whole = msgspec.structs.replace(mapping, name="whole", grid=None)
    both = msgspec.structs.replace(settings, sets=(mapping, whole))
    check = before(build_parts(both), tmp_path)["receptive field"]
    assert check.verdict == "warning"  # the other's images are where the session's are


def test_an_experimental_optimizer_is_said_to_be_one(tmp_path):
    thread = config.ThreadTable("t", "mini-texture", optimizer="guided", popsize=4)
    settings = msgspec.structs.replace(small(tmp_path), threads=(thread,))
    parts = build_parts(settings)
    (check, *_) = preflight._searches(parts)
    assert check.verdict == "warning"
    assert check.text.startswith("t: guided, sigma = 8.0 (from mini-texture)")
    assert check.text.endswith(": guided is experimental")
    assert preflight._duration(parts).text.endswith(
        "; of t, guided adds images in some generations"
    )


def test_options_are_said_as_the_session_file_has_them(tmp_path):
    parts = [
        {"slice": [0, 128], "optimizer": "cholesky", "options": {"sigma": 0.5}},
        {"slice": [128, 200], "optimizer": "snes"},
        {"slice": [200, 256], "value": 0.0},
    ]
    thread = config.ThreadTable(
        "t",
        "mini-texture",
        optimizer="composite",
        popsize=4,
        optimizer_options={"parts": parts},
    )
    settings = msgspec.structs.replace(small(tmp_path), threads=(thread,))
    (check, *_) = preflight._searches(build_parts(settings))
    assert check.text == (
        "t: composite of cholesky, dimensions 0 to 128, sigma = 0.5; snes, dimensions 128 to "
        "200, sigma = 8.0 (from mini-texture); dimensions 200 to 256 held at 0.0"
    )
