"""A display and an acquisition as one rig: what each says ends up in the right place."""

import msgspec
import numpy as np
import pytest

from rig_bridge import messages as m
from rig_bridge.client import LatePresenter
from rig_bridge.errors import RequestError
from rig_bridge.events import Responded, RigJoined
from rig_bridge.rigs.combined import CombinedRig
from rig_bridge.rigs.protocols import Recorded
from rig_bridge.trials import Presentation
from tests.rig_bridge.samples import image, request, showing
from tests.rig_bridge.test_late import serve

UNITS = (m.Unit(17, 1, "IT", "17a"), m.Unit(33, 0, "V4", "33 multi"))
SCREEN = m.ScreenInfo(800, 600, 60.0, 20.0)


class FakeDisplay:
    screen_info = SCREEN

    def __init__(self):
        self.calls, self.status, self.time = [], "ok", 10**15

    def prepare(self, images):
        self.calls.append(("prepare", sorted(images)))

    def show(self, pixels, asked):  # noqa: ARG002
        if asked.size_deg > 100:
            raise RequestError("an image must lie on the screen")
        self.time += 10**8
        shown = showing(asked, self.time + 5, on_ns=100, status=self.status)
        return msgspec.structs.replace(shown, commanded_ns=self.time)

    def blank(self):
        self.calls.append("blank")

    def close(self):
        self.calls.append("close")


class FakeAcquisition:
    """Hands windows over `behind` presentations later; sees onsets 3 ns after the display."""

    units, form = UNITS, "spikes"

    def __init__(self, behind=0, *, sees=True, status="ok", reason=""):
        self.behind, self.sees, self.status, self.reason = behind, sees, status, reason
        self.waiting, self.closed, self.asked = [], False, 0

    def expect(self, asked, shown):
        self.waiting.append((asked, shown))
        self.asked = 0

    def collect(self):
        self.asked += 1
        keep = self.behind if self.asked < 3 else 0
        ready = self.waiting[: max(0, len(self.waiting) - keep)]
        self.waiting = self.waiting[len(ready) :]
        return [
            Recorded(
                request=asked,
                showing=shown,
                status=self.status,
                reason=self.reason,
                onset_ns=shown.onset_ns + 3 if self.sees else None,
                form="spikes",
                arrays={"units": np.array([1], "<u4"), "times_ms": np.array([12.5], "<f4")},
            )
            for asked, shown in ready
        ]

    def close(self):
        self.closed = True


def ask(number=1, *, block=2, size=3.0):
    return Presentation(
        block=block,
        attempt=4,
        presentation=number,
        sha256="a",
        on_ms=50.0,
        off_ms=50.0,
        size_deg=size,
        position_deg=(0, 0),
        window_ms=(-100.0, 300.0),
    )


def test_its_hello_is_that_of_its_halves():
    rig = CombinedRig(FakeDisplay(), FakeAcquisition())
    assert isinstance(rig, LatePresenter)
    hello = rig.hello("setup 2", software="1", widest_window_ms=(-200.0, 500.0))
    assert hello == m.Hello(
        name="setup 2",
        software="1",
        capabilities=("spikes",),
        units=UNITS,
        display=SCREEN,
        window_ms=(-200.0, 500.0),
    )


@pytest.mark.parametrize("sees", [True, False])
def test_an_onset_that_was_seen_counts_more_than_the_displays_own(sees):
    display = FakeDisplay()
    rig = CombinedRig(display, FakeAcquisition(sees=sees))
    assert rig.present(image(1), ask()) is None
    ((block, result),) = rig.collect()
    assert rig.collect() == []
    assert (block, result.presentation, result.attempt) == (2, 1, 4)
    moved = 3 if sees else 0
    assert result.commanded_ns == display.time
    assert result.onset_ns == display.time + 5 + moved
    assert result.offset_ns - result.onset_ns == 100
    assert result.onset_source == ("photodiode" if sees else "flip")
    assert (result.status, result.form) == ("ok", "spikes")
    assert result.arrays["times_ms"].tolist() == [12.5]


def test_the_reason_of_the_half_that_failed_is_the_results():
    lost = FakeAcquisition(status="aborted", reason="loss: 3 messages are missing")
    rig = CombinedRig(FakeDisplay(), lost)
    rig.present(image(1), ask())
    assert [(r.status, r.reason) for _, r in rig.collect()] == [
        ("aborted", "loss: 3 messages are missing")
    ]
    display = FakeDisplay()
    display.status = "aborted"
    rig = CombinedRig(display, FakeAcquisition())  # which recorded all of it
    rig.present(image(1), ask())
    assert [(r.status, r.reason) for _, r in rig.collect()] == [("aborted", "fixation broken")]


def test_an_image_that_cannot_be_shown_is_aborted_and_the_rig_goes_on():
    acquisition = FakeAcquisition()
    rig = CombinedRig(FakeDisplay(), acquisition)
    rig.present(image(1), ask(1))
    result = rig.present(image(1), ask(2, size=170.0))
    assert (result.presentation, result.status) == (2, "aborted")
    assert "on the screen" in result.reason
    assert len(acquisition.waiting) == 1


def test_both_halves_are_closed_even_if_one_cannot_be():
    display, acquisition = FakeDisplay(), FakeAcquisition()

    def broken():
        raise OSError("gone")

    display.close = broken
    with pytest.raises(OSError, match="gone"):
        CombinedRig(display, acquisition).close()
    assert acquisition.closed


@pytest.mark.parametrize("behind", [0, 2])
def test_over_the_wire_results_come_while_others_are_shown(behind):
    display = FakeDisplay()
    rig = CombinedRig(display, FakeAcquisition(behind))
    requests = [request(1, presentations=range(5)), request(2, presentations=range(5, 9))]
    outcome, events = serve(rig, requests)
    assert outcome == ["enough"]
    assert any(isinstance(e, RigJoined) for e in events)
    got = [t for e in events if isinstance(e, Responded) for t in e.trials]
    assert sorted(t.presentation for t in got) == list(range(9))
    assert {(t.status, t.onset_source) for t in got} == {("ok", "photodiode")}
    assert display.calls[-1] == "blank"


class Anxious(FakeAcquisition):
    """Has something to say with the first window."""

    def __init__(self):
        super().__init__()
        self.said = [("warning", "the clocks do not go together")]

    def notices(self):
        said, self.said = (self.said, []) if self.asked else ([], self.said)
        return said


def test_what_a_half_has_to_say_reaches_the_engine_once():
    _, events = serve(CombinedRig(FakeDisplay(), Anxious()), [request()])
    said = [(e.level, e.text) for e in events if isinstance(e, m.Notice)]
    assert said == [("warning", "the clocks do not go together")]
