"""What is checked before the first image: of what will be shown, not of a guess."""

import msgspec
import pytest

from evolver import config
from evolver.setup import preflight
from evolver.setup.build import build_parts
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


def test_a_clock_that_went_back_is_said(parts, tmp_path):
    (tmp_path / "earlier").mkdir()
    assert before(parts, tmp_path, time_ns=NOW)["clock"].verdict == "good"
    past = 1_750_000_000_000_000_000
    assert before(parts, tmp_path, time_ns=past)["clock"].verdict == "warning"
    assert before(parts, tmp_path, time_ns=0)["clock"].verdict == "bad"
    assert before(parts, tmp_path / "none", time_ns=past)["clock"].verdict == "good"
