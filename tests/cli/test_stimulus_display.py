"""`evolver display`: what it says of a screen, what it shows, and a rehearsed session."""

import csv
import importlib.util
import itertools
import json
import os
import re
import signal
import sys
import uuid

import msgspec
import numpy as np
import PIL.Image
import pygame
import pytest
from typer.testing import CliRunner

from evolver import recording
from evolver.cli import app
from evolver.errors import EvolverError
from rig_bridge.errors import RigBridgeError
from rig_bridge.rigs.display.light import calibrate_by_gamma
from rig_bridge.rigs.display.rehearsal import Rehearsal
from rig_bridge.rigs.display.screen import Screen
from rig_bridge.rigs.display.stimulus_display import FrameRecord
from rig_bridge.rigs.display.timing import FlipTiming, refresh_rate
from rig_bridge.rigs.lsl.clock import loopback_config
from rig_bridge.trials import Presentation
from tests.children import evolver
from tests.live.sessions import UNIT, small, write
from tests.live.test_live import ENVIRONMENT, Evolver, recorded
from tests.rig_bridge.samples import showing
from tests.virtual_screen import virtual_screen

SCREEN = Screen(800, 600, 40.0, 57.3, 60.0)
FRAME = 16_666_667
AT = ("--width-cm", "40", "--distance-cm", "57.3", "--resolution", "800x600")


@pytest.fixture
def dummy(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(ENVIRONMENT, "SDL_VIDEODRIVER", "dummy")


@pytest.fixture
def xvfb(monkeypatch):
    with virtual_screen() as name:
        monkeypatch.setenv("DISPLAY", name)
        monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
        yield


def run(*arguments):
    """Run a command of the group here; return its exit status and all it printed."""
    done = CliRunner().invoke(app.app, ["display", *map(str, arguments)])
    if isinstance(done.exception, EvolverError | RigBridgeError):
        return 2, f"{done.output}error: {done.exception}"  # as `app.main` does
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def record(*frames):
    """Return presentations whose flips are so many frames apart, one after the other."""
    made, now = [], 0
    for number, gaps in enumerate(frames):
        flips = [now := now + FRAME]
        flips += [now := now + round(gap * FRAME) for gap in gaps]
        made.append(
            FrameRecord(
                presentation=number,
                attempt=1,
                flips_ns=tuple(flips),
                dropped=SCREEN.dropped(flips),
            )
        )
    return made


class TestTiming:
    def test_an_even_record_has_no_fault(self):
        found = FlipTiming.of(record([1, 1, 1], [1, 1]), SCREEN, refresh_hz=60.0)
        assert (found.presentations, found.flips, found.dropped, found.between) == (2, 7, 0, 0)
        assert found.median == pytest.approx(1.0)
        assert sum(found.histogram) == 5
        assert found.faults == found.notes == ()

    def test_dropped_frames_are_a_fault_with_advice(self):
        found = FlipTiming.of(record([1, 1, 3], [1, 2]), SCREEN, refresh_hz=60.0)
        assert found.dropped == 3
        assert found.largest == pytest.approx(3.0)
        (said,) = found.faults
        assert "3 frames were dropped" in said
        assert "--fullscreen" in said

    def test_a_wrong_refresh_rate_is_a_fault(self):
        assert (
            "--refresh-hz 75.00"
            in FlipTiming.of(record([1]), SCREEN, refresh_hz=75.0).faults[0]
        )
        assert FlipTiming.of(record([1]), SCREEN, refresh_hz=59.94).faults == ()

    def test_what_cannot_be_known_is_said(self):
        found = FlipTiming.of(record([1]), SCREEN, refresh_hz=None)
        assert not found.waits
        assert "does not wait" in found.notes[0]

    def test_a_longer_blank_is_no_fault(self):
        first, second = record([1], [1])
        late = FrameRecord(
            presentation=1,
            attempt=1,
            flips_ns=tuple(t + 2 * FRAME for t in second.flips_ns),
            dropped=0,
        )
        found = FlipTiming.of([first, late], SCREEN, refresh_hz=60.0)
        assert (found.between, found.faults) == (2, ())
        assert "2 frames were missed between" in found.notes[0]

    def test_nothing_shown_is_refused(self):
        with pytest.raises(ValueError, match="two flips"):
            FlipTiming.of([], SCREEN, refresh_hz=None)


class Time:
    """A clock that work and flips move on, in place of the module's own."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("hz", [59.94, 75.0, 144.0])
def test_a_driver_that_waits_is_told_from_one_that_does_not(monkeypatch, hz):
    time = Time()
    monkeypatch.setattr("rig_bridge.rigs.display.timing.time", time)

    def waits():
        time.now = (np.floor(time.now * hz + 1e-6) + 1) / hz

    def returns_at_once():
        time.now += 0.004

    uneven = itertools.cycle([0.02, 0.05, 0.035])

    def server_is_slow():
        time.now = max(time.now, server_is_slow.free)
        server_is_slow.free = time.now + next(uneven)

    server_is_slow.free = 0.0

    assert refresh_rate(waits, frame_s=1 / 60) == pytest.approx(hz)
    assert refresh_rate(returns_at_once, frame_s=1 / 60) is None
    assert refresh_rate(server_is_slow, frame_s=1 / 60) is None


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.usefixtures("dummy")
def test_check_says_how_the_screen_keeps_time_and_writes_every_flip(tmp_path, suffix):
    out = tmp_path / f"flips.{suffix}"
    status, said = run("check", *AT, "--seconds", 0.6, "--on-ms", 50, "--off-ms", 50,
                       "--out", out)  # fmt: skip
    facts = " ".join(said.split())
    for fact in (
        "800 x 600 px, driver dummy",
        "a degree 20.00 px",
        "4° is 80 x 80 px, its upper left corner at 360, 260",
        "does not wait for it",
        "6 presentations, 36 flips",
        "flip to flip median",
    ):
        assert fact in facts, said
    if suffix == "json":
        written = json.loads(out.read_text())
        flips = [one["flips_ns"] for one in written["presentations"]]
        dropped = written["timing"]["dropped"]
        assert written["screen"]["px_per_deg"] == pytest.approx(20.0, rel=1e-3)
    else:
        rows = list(csv.DictReader(out.read_text().splitlines()))
        flips = [[r["time_ns"] for r in rows if r["presentation"] == str(i)] for i in range(6)]
        dropped = sum(int(r["dropped_in_presentation"]) for r in rows if r["flip"] == "0")
    assert [len(one) for one in flips] == [6] * 6
    assert status == (1 if dropped else 0)
    assert (f"{dropped} frames were dropped" in said) == bool(dropped)


@pytest.mark.usefixtures("xvfb")
def test_check_on_an_x_server():
    status, said = run("check", *AT, "--seconds", 0.3)
    assert status in {0, 1}
    assert "driver x11" in said


def test_no_display_is_an_error_and_not_an_invisible_window():
    without = {k: v for k, v in os.environ.items() if k not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    without.pop("SDL_VIDEODRIVER", None)
    assert "error:" in evolver("display", "check", *AT, expect=2, environment=without)


def test_a_missing_pygame_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    status, said = run("check", *AT, "--fullscreen")
    assert status == 2
    assert "pip install 'evolver[display]'" in said


@pytest.mark.usefixtures("dummy")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--resolution", "huge"), "1920x1080"),
        (("--size-deg", "60"), "must lie on the screen"),
        (("--out", "flips.txt"), ".csv or a .json"),
        (("--refresh-hz", "nan"), "should be less"),
        (("--seconds", "nan"), "should be less"),
        (("--x", "nan"), "should be less"),
        (("--monitor", "9"), "must be one of those here (0: "),
        (("--monitor", "9", "--fullscreen", "--resolution", ""), "those here (0: "),
        (("--gamma", "nan"), "must be from 0.2 to 5"),
        (("--gamma", "2.2", "--gamma-table", "a.csv"), "must be told once"),
        (("--gamma-table", "none.csv"), "none.csv cannot be read"),
    ],
)
def test_mistakes_are_named(wrong, said):
    status, found = run("check", *AT, *wrong)
    assert status == 2
    assert said in found
    assert not pygame.display.get_init()  # the next may be of another driver


@pytest.fixture
def picture(tmp_path):
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:20] = (0, 0, 250)
    pixels[20:] = (0, 250, 0)
    PIL.Image.fromarray(pixels).save(tmp_path / "flag.png")
    return tmp_path / "flag.png"


@pytest.mark.parametrize("driver", ["dummy", "xvfb"])
def test_show_puts_a_picture_where_it_was_asked_for(request, picture, tmp_path, driver):
    request.getfixturevalue(driver)
    shot = tmp_path / "screen.png"
    status, said = run("show", picture, picture, *AT, "--size-deg", 4, "--x", 5, "--y", 2,
                       "--grey", 90, "--seconds", 0.05, "--screenshot", shot)  # fmt: skip
    assert status == 0, said
    left, top, width, height = SCREEN.rectangle(4.0, (5.0, 2.0))
    assert said.count(f"{width} x {height} px at {left}, {top}") == 2
    seen = np.asarray(PIL.Image.open(shot))
    assert (seen[top + 5, left + width // 2] == (0, 0, 250)).all()
    assert (seen[top + height - 5, left + width // 2] == (0, 250, 0)).all()
    assert (seen[10, 10] == 90).all()
    assert (seen[-10, 10] == 255).all()  # the photodiode's square


@pytest.mark.usefixtures("dummy")
def test_show_keeps_the_shape_and_corrects_for_the_monitor(tmp_path):
    shot = tmp_path / "shot.png"
    PIL.Image.new("RGBA", (64, 32), (0, 0, 188, 0)).save(tmp_path / "clear.png")
    PIL.Image.new("RGB", (64, 32), (0, 0, 188)).save(tmp_path / "wide.png")
    for name, colour in (("clear.png", (55, 55, 55)), ("wide.png", (0, 0, 128))):
        status, said = run("show", tmp_path / name, *AT, "--size-deg", 8, "--seconds", 0.05,
                           "--gamma", 1, "--fixation-deg", 0, "--screenshot", shot)  # fmt: skip
        assert status == 0, said
        left, top, width, height = SCREEN.rectangle(8.0, (0.0, 0.0), (32, 64))
        assert f"{width} x {height} px at {left}, {top}" in said
        seen = np.array(PIL.Image.open(shot))
        assert (seen[top : top + height, left : left + width] == colour).all()
        seen[top : top + height, left : left + width] = 55
        assert (seen[:500] == 55).all()  # 128 in sRGB, on a linear monitor


@pytest.mark.usefixtures("dummy")
def test_show_goes_on_at_a_key_and_ends_at_escape(picture, monkeypatch):
    import pygame

    from rig_bridge.rigs.display.stimulus_display import StimulusDisplay

    keys = iter([pygame.K_SPACE, pygame.K_ESCAPE])
    shown = []
    prepare = StimulusDisplay.prepare

    def press_a_key_and_prepare(display, images):
        shown.extend(images)
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=next(keys)))
        prepare(display, images)

    monkeypatch.setattr(StimulusDisplay, "prepare", press_a_key_and_prepare)
    done = CliRunner().invoke(app.app, ["display", "show", *[str(picture)] * 3, *AT])
    assert done.exit_code == 0, done.output
    assert shown == ["0", "1"]  # the third never came


@pytest.mark.usefixtures("dummy")
def test_show_names_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("nothing of the kind")
    status, said = run("show", tmp_path / "a.png", *AT)
    assert status == 2
    assert "must be a PNG or JPEG image" in said


class Shows:
    """A display without a screen, whose onsets are its own."""

    def __init__(self, status="ok", shown_ns=100_000_000):
        self.screen_info = SCREEN.message()
        self.prepared = {}
        self.prepare = self.prepared.update
        self.show = lambda _image, asked: msgspec.structs.replace(
            showing(asked, 20, on_ns=shown_ns, status=status), commanded_ns=10
        )


def rehearse(display):
    from evolver.setup.simulated_rig import build_population, build_rig

    settings = small(".", simulation={"abort_rate": 0.0})
    rig = build_rig(build_population(settings), settings, speed=float("inf"))
    presenter = Rehearsal(display, rig)
    image = np.full((64, 64, 3), 200, np.uint8)
    presenter.prepare({"a": image})
    asked = Presentation(
        block=0,
        attempt=1,
        presentation=3,
        sha256="a",
        on_ms=100.0,
        off_ms=100.0,
        size_deg=3.0,
        position_deg=(0.0, 0.0),
        window_ms=(-100.0, 300.0),
    )
    return presenter, presenter.present(image, asked), rig.present(image, asked)


def test_a_rehearsal_has_the_displays_times_and_the_neurons_spikes():
    presenter, result, alone = rehearse(display := Shows())
    assert (result.commanded_ns, result.onset_ns, result.onset_source) == (10, 20, "flip")
    np.testing.assert_array_equal(result.arrays["times_ms"], alone.arrays["times_ms"])
    assert list(display.prepared) == ["a"]
    hello = presenter.hello("r", software="1")
    assert hello.display == SCREEN.message()
    assert hello.units[0].label == UNIT


def test_a_display_that_breaks_off_aborts_the_rehearsed_presentation():
    _, result, alone = rehearse(Shows("aborted", 40_000_000))
    assert (result.status, result.reason) == ("aborted", "fixation broken")
    times = result.arrays["times_ms"]
    assert len(times) == (alone.arrays["times_ms"] < 40).sum() < len(alone.arrays["times_ms"])
    assert len(result.arrays["units"]) == len(times)


def test_an_image_beyond_the_screen_is_aborted_and_the_rehearsal_goes_on():
    display = Shows()

    def refuse(_image, asked):
        SCREEN.rectangle(asked.size_deg, (19.0, 0.0))

    display.show = refuse
    _, result, alone = rehearse(display)
    assert result.status == "aborted"
    assert "must lie on the screen" in result.reason
    assert result.form == alone.form


@pytest.mark.usefixtures("dummy")
def test_a_session_is_rehearsed_on_a_display(tmp_path, monkeypatch):
    markers = []
    if importlib.util.find_spec("pylsl"):  # with its onsets told, on this machine alone
        (tmp_path / "lsl.cfg").write_text(loopback_config(uuid.uuid4().hex))
        monkeypatch.setitem(ENVIRONMENT, "LSLAPICFG", str(tmp_path / "lsl.cfg"))
        markers = ["--markers", "rehearsal"]
    settings = small(
        tmp_path / "out",
        session={"generations": 2},
        presentation={"on_ms": 34.0, "off_ms": 17.0},
        simulation={"abort_rate": 0.0},
    )
    file = write(settings, tmp_path / "s.toml")
    engine, rig = Evolver("here", file), None
    try:
        endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
        looks = ("--gamma", "1.8", "--grey", "90")
        rig = Evolver("display", "rig", file, *AT, *looks, "--endpoint", endpoint, *markers)
        rig.until("connecting to")
        status, said = engine.end()
        assert status == 0, said
        status, said = rig.end()
        assert status == 0, said
        assert "20.0 pixels a degree" in said
        assert re.search(r"the session is over: \S+\n\d+ frames were dropped", said)
    finally:
        engine.kill()
        if rig is not None:
            rig.kill()
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        assert [u["label"] for u in opened.units] == list(settings.simulation.units)
        screen = opened.rigs[0]["info"]["display"]
        assert (screen["background_grey"], screen["calibration"]) == (90, "gamma 1.8")
        assert screen["levels"] == calibrate_by_gamma(1.8).levels.tolist()
        assert screen["monitor"].startswith("monitor 0 of 1, ")
        shown = opened.presentations
        assert set(np.unique(shown["onset_source"])) <= {"flip", b"flip"}
        assert (np.diff(shown["onset_ns"]) > 0).all()


@pytest.mark.usefixtures("dummy")
def test_a_rehearsal_that_nobody_connects_to_ends_at_a_signal(tmp_path):
    file = write(small(tmp_path), tmp_path / "s.toml")
    rig = Evolver("display", "rig", file, *AT, "--endpoint", "tcp://127.0.0.1:1")
    try:
        rig.until("connecting to")
        rig.process.send_signal(signal.SIGINT)
        assert rig.end()[0] == 0
    finally:
        rig.kill()


@pytest.mark.parametrize("command", [[], ["check"], ["show"], ["rig"]])
def test_every_command_has_help(command):
    said = CliRunner().invoke(app.app, ["display", *command, "--help"])
    assert said.exit_code == 0
    assert "Usage:" in said.output
