"""The stimulus display: where, how long, and what it says of its own timing."""

import math
import time
from contextlib import ExitStack

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge import codec
from rig_bridge.errors import EndpointError, RequestError
from rig_bridge.rigs.display.light import calibrate_by_gamma, calibrate_by_table, srgb_light
from rig_bridge.rigs.display.screen import Screen
from rig_bridge.rigs.display.stimulus_display import Look, StimulusDisplay, name_monitor
from rig_bridge.trials import Presentation
from tests.rig_bridge.samples import hello as samples_hello
from tests.soak import further
from tests.virtual_screen import virtual_screen

SCREEN = Screen(800, 600, 40.0, 57.3, 60.0)


def asked(number=1, *, on=50.0, off=50.0, size=4.0, at=(0.0, 0.0), sha256="a"):
    return Presentation(
        block=0,
        attempt=1,
        presentation=number,
        sha256=sha256,
        on_ms=on,
        off_ms=off,
        size_deg=size,
        position_deg=at,
        window_ms=(-100.0, 300.0),
    )


class TestScreen:
    def test_a_degree_is_a_centimetre_at_57_centimetres(self):
        assert SCREEN.px_per_deg == pytest.approx(20.0, rel=1e-3)

    @given(st.floats(0.5, 8), st.floats(-8, 8), st.floats(-5, 5))
    def test_every_edge_is_at_its_angle(self, size, x, y):
        left, top, width, height = SCREEN.rectangle(size, (x, y))
        for pixel, angle in (
            (left - 400, x - size / 2),
            (left + width - 400, x + size / 2),
            (300 - top, y + size / 2),
            (300 - top - height, y - size / 2),
        ):
            expected = 57.3 * math.tan(math.radians(angle)) * 20
            assert abs(pixel - expected) <= 1.0

    def test_outside_is_refused(self):
        with pytest.raises(RequestError, match="must lie on the screen"):
            SCREEN.rectangle(4.0, (19.0, 0.0))

    @pytest.mark.parametrize("shape", [(32, 64), (64, 32), (100, 500), (7, 7)])
    def test_the_longer_side_is_the_size_and_the_shape_is_kept(self, shape):
        left, top, width, height = SCREEN.rectangle(8.0, (0.0, 0.0), shape)
        assert max(width, height) == SCREEN.rectangle(8.0, (0.0, 0.0))[2]
        assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)
        assert abs(2 * left + width - 800) <= 1
        assert abs(2 * top + height - 600) <= 1

    def test_what_would_be_thinner_than_a_pixel_is_refused(self):
        with pytest.raises(RequestError, match="at least a pixel high and wide"):
            SCREEN.rectangle(4.0, (0.0, 0.0), (3, 500))
        assert SCREEN.rectangle(16.0, (0.0, 0.0), (3, 500))[3] == 2

    def test_frames(self):
        assert [SCREEN.frames(ms) for ms in (0, 16, 17, 100, 150, 8)] == [0, 1, 1, 6, 9, 0]

    def test_dropped_frames(self):
        frame = 16_666_667
        assert SCREEN.dropped([0, frame, 2 * frame]) == 0
        assert SCREEN.dropped([0, frame, 3 * frame, 6 * frame]) == 3
        assert SCREEN.dropped([0, round(1.4 * frame)]) == 0


def opened(**look):
    made = StimulusDisplay(
        SCREEN, Look(**look), breaks_off=lambda: made.reason() if made else ""
    )
    made.reason = lambda: ""
    return made


@pytest.fixture
def display_with(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield opened
    pygame.display.quit()


@pytest.fixture(params=[further("dummy"), "x11"])
def display(request, monkeypatch):
    with ExitStack() as closing:
        if request.param == "x11":
            monkeypatch.setenv("DISPLAY", closing.enter_context(virtual_screen()))
        monkeypatch.setenv("SDL_VIDEODRIVER", request.param)
        made = opened()
        yield made
        made.close()


def pixels():
    """What is in the window, (h, w, 3)."""
    surface = pygame.display.get_surface()
    return np.swapaxes(pygame.surfarray.array3d(surface), 0, 1)


def test_the_image_is_where_it_was_asked_for(display):
    seen = []
    display.reason = lambda: seen.append(pixels()) or ""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 1] = 200
    image[:32, :, 2] = 100  # the upper half
    display.prepare({"a": image})
    shown = display.show(image, asked(size=4.0, at=(5.0, 3.0)))
    left, top, width, height = SCREEN.rectangle(4.0, (5.0, 3.0))
    on = seen[0]
    inside = on[top + 2 : top + height - 2, left + 2 : left + width - 2]
    assert (inside[..., 1] == 200).all()
    assert (inside[5, :, 2] == 100).all()
    assert (inside[-5, :, 2] == 0).all()
    outside = on.copy()
    outside[top : top + height, left : left + width] = 128
    outside[-60:, :60] = 128
    outside[290:311, 390:411] = 128
    assert (outside == 128).all()
    assert (on[-30, 30] == 255).all()  # the photodiode's square
    assert tuple(on[300, 400]) == (255, 0, 0)  # fixation
    assert (pixels()[-30, 30] == 0).all()
    assert (shown.status, shown.onset_source) == ("ok", "flip")
    assert len(seen) == 3  # frames


@pytest.mark.parametrize("shape", [(32, 64), (64, 32)])
def test_an_image_keeps_its_shape_and_has_the_background_around_it(display, shape):
    seen = []
    display.reason = lambda: seen.append(pixels()) or ""
    image = np.full((*shape, 3), 250, np.uint8)
    display.prepare({"a": image})
    display.show(image, asked(size=8.0, at=(5.0, 3.0)))
    found = seen[0].copy()
    found[-60:, :60] = found[290:311, 390:411] = 128  # photodiode, fixation
    rows, columns = np.nonzero((found == 250).all(axis=-1))
    left, top, width, height = SCREEN.rectangle(8.0, (5.0, 3.0), shape)
    assert (rows.min(), rows.max() + 1) == (top, top + height)
    assert (columns.min(), columns.max() + 1) == (left, left + width)
    assert (width, height)[shape[1] < shape[0]] == pytest.approx(162, abs=3)
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.03)
    found[top : top + height, left : left + width] = 128
    assert (found == 128).all()
    assert display.screen_info.background_grey == 128
    assert display.screen_info.levels is None


def test_one_image_is_where_each_of_its_presentations_says(display):
    seen = []
    display.reason = lambda: seen.append(pixels()) or ""
    image = np.full((20, 20, 3), 250, np.uint8)
    display.prepare({"a": image})
    assert display.screen_info.places
    places = [(2.0, (5.0, 3.0)), (4.0, (-6.0, 2.0)), (2.0, (-6.0, -3.0)), (2.0, (5.0, 3.0))]
    for number, (size, at) in enumerate(places):
        seen.clear()
        display.show(image, asked(number, size=size, at=at))
        rows, columns = np.nonzero((seen[0] == 250).all(axis=-1))
        left, top, width, height = SCREEN.rectangle(size, at)
        assert (rows.min(), rows.max() + 1) == (top, top + height)
        assert (columns.min(), columns.max() + 1) == (left, left + width)
        assert len(rows) == width * height
    with pytest.raises(RequestError, match="must lie on the screen"):
        display.show(image, asked(9, size=2.0, at=(40.0, 0.0)))


def test_levels_are_those_of_the_calibration_everywhere(display_with):
    """A linear monitor: half the light is half the level, where sRGB has 188."""
    display = display_with(calibration=calibrate_by_gamma(1.0))
    seen = []
    display.reason = lambda: seen.append(pixels()) or ""
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., 0], image[..., 1] = 188, 255
    display.prepare({"a": image})
    display.show(image, asked(size=4.0, at=(5.0, 3.0)))
    left, top, width, height = SCREEN.rectangle(4.0, (5.0, 3.0))
    assert (seen[0][top : top + height, left : left + width] == (128, 255, 0)).all()
    assert (seen[0][5, 5] == 55).all()  # the background, 128 in sRGB
    info = display.screen_info
    assert (info.background_grey, info.calibration) == (128, "gamma 1")
    assert info.levels[0][188] == 128
    assert info.levels[0] == info.levels[2]
    hello = samples_hello(display=info)
    frames = codec.encode_message(hello)
    assert codec.decode_from_rig(frames)[0] == hello


def test_a_monitor_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.raises(EndpointError, match=r"one of those here \(0: \d+ x \d+\); got 7"):
        StimulusDisplay(SCREEN, Look(monitor=7))
    assert name_monitor(1, [(800, 600), (1024, 768)]) == "monitor 1 of 2, 1024 x 768"
    pygame.display.quit()


class TestLight:
    def test_a_monitor_of_srgbs_own_gamma_is_sent_nearly_what_the_image_says(self):
        levels = calibrate_by_gamma(2.2).levels.astype(int)
        assert np.abs(levels - np.arange(256)).max() <= 9  # near black sRGB is straight
        assert (np.diff(levels) >= 0).all()

    @pytest.mark.parametrize("guns", [1, 3])
    def test_a_measured_monitor_gives_the_light_that_srgb_means(self, tmp_path, guns):
        """Gammas of three guns, with stray light, in cd/m2: shares of light come out right."""
        gammas = np.array([1.8, 2.4, 2.9][:guns])
        measured = np.arange(0, 256, 5)
        light = 0.3 + 110 * (measured[:, None] / 255) ** gammas
        head = "level,luminance" if guns == 1 else "level,red,green,blue"
        rows = [
            ",".join(map(str, [level, *row]))
            for level, row in zip(measured, light, strict=True)
        ]
        path = tmp_path / "monitor.csv"
        path.write_text("\ufeff" + "\r\n".join([head, *rows[::-1]]), encoding="utf-8")
        found = calibrate_by_table(path)
        assert found.text.startswith("table monitor.csv, sha256 ")
        assert found.levels.shape == (3, 256)
        for gamma, levels in zip(np.broadcast_to(gammas, 3), found.levels, strict=True):
            made = (levels / 255) ** gamma
            np.testing.assert_allclose(made, srgb_light(), atol=0.006)
            assert (levels[0], levels[255]) == (0, 255)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "must begin with 'level,luminance'"),
            ("v,l\n0,1", "must begin with 'level,luminance'"),
            ("level,luminance\n0,1\n255,2", "at least 3 lines"),
            ("level,luminance\n0,1\n9,x\n255,2", "must hold numbers"),
            ("level,luminance\n0,1\n9\n255,2", "must hold numbers"),
            ("level,luminance\n0,1\n9,2\n250,3", "0 and 255 among them"),
            ("level,luminance\n0,1\n9,2\n9,2\n255,3", "each level once"),
            ("level,luminance\n0,1\n9,nan\n255,3", "finite numbers"),
            ("level,luminance\n0,9\n9,2\n255,1", "must rise"),
        ],
    )
    def test_what_is_no_such_table_is_named(self, tmp_path, text, said):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(EndpointError, match=said):
            calibrate_by_table(tmp_path / "a.csv")

    def test_what_cannot_be_read_is_named(self, tmp_path):
        with pytest.raises(EndpointError, match="cannot be read"):
            calibrate_by_table(tmp_path / "none.csv")
        with pytest.raises(EndpointError, match=r"from 0\.2 to 5; got 22"):
            calibrate_by_gamma(22)


def test_times_are_whole_frames(display):
    image = np.zeros((8, 8, 3), np.uint8)
    display.prepare({"a": image})
    shown = [display.show(image, asked(i, on=50.0, off=33.4)) for i in range(5)]
    assert [len(r.flips_ns) for r in display.record] == [5] * 5
    for one, record in zip(shown, display.record, strict=True):
        assert one.onset_ns == record.flips_ns[0]
        assert one.offset_ns == record.flips_ns[3]
        assert one.commanded_ns <= one.onset_ns


def test_an_animal_that_looks_away_ends_the_image_at_once(display):
    reasons = iter(["", "fixation broken"])
    display.reason = lambda: next(reasons)
    image = np.full((8, 8, 3), 255, np.uint8)
    display.prepare({"a": image})
    shown = display.show(image, asked(on=5000.0, off=5000.0))
    assert (shown.status, shown.reason) == ("aborted", "fixation broken")
    assert len(display.record[-1].flips_ns) == 3  # two with the image, one without
    assert (pixels()[-30, 30] == 0).all()


def test_escape_breaks_off(display):
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    shown = display.show(np.zeros((8, 8, 3), np.uint8), asked(on=5000.0))
    assert shown.reason == "the operator closed the display"


def test_a_frame_that_came_late_is_counted(display):
    calls = iter(range(100))
    display.reason = lambda: time.sleep(0.1) or "" if next(calls) == 1 else ""
    display.show(np.zeros((8, 8, 3), np.uint8), asked(on=100.0))
    assert display.dropped >= 4
