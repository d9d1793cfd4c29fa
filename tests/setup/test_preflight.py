"""What is checked before the first image: of what will be shown, not of a guess."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evolver import config
from evolver.setup import preflight
from evolver.setup.build import build_parts
from evolver.setup.references import References
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
    assert "1 references are not square ('r1': 64 x 32)" in found.text
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
