"""The stimulus display: where, how long, and what it says of its own timing."""

import math
import shutil
import subprocess
import time

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge.errors import RequestError
from rig_bridge.rigs.display.screen import Screen
from rig_bridge.trials import Presentation
from tests.limits import PATIENCE_S
from tests.skips import NO_XVFB

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

    def test_frames(self):
        assert [SCREEN.frames(ms) for ms in (0, 16, 17, 100, 150, 8)] == [0, 1, 1, 6, 9, 0]

    def test_dropped_frames(self):
        frame = 16_666_667
        assert SCREEN.dropped([0, frame, 2 * frame]) == 0
        assert SCREEN.dropped([0, frame, 3 * frame, 6 * frame]) == 3
        assert SCREEN.dropped([0, round(1.4 * frame)]) == 0


XVFB = shutil.which("Xvfb")


@pytest.fixture(params=["dummy", "x11"])
def display(request, monkeypatch):
    from rig_bridge.rigs.display.stimulus_display import StimulusDisplay

    server = None
    if request.param == "x11":
        if XVFB is None:
            pytest.skip(NO_XVFB)
        server = subprocess.Popen(
            [XVFB, "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().decode().strip()}")
    monkeypatch.setenv("SDL_VIDEODRIVER", request.param)
    made = StimulusDisplay(SCREEN, breaks_off=lambda: made.reason() if made else "")
    made.reason = lambda: ""
    yield made
    made.close()
    if server is not None:
        server.terminate()
        server.wait(PATIENCE_S)
        server.stdout.close()


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
