"""How well a display keeps time: test presentations, and what their flips say.

`FlipTiming` is numbers only; `measure_flips` runs a `StimulusDisplay` and needs its window.
Nothing here prints: `evolver display check` does.
"""

# pyright: basic
# pygame's modules are not fully annotated.

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rig_bridge.rigs.display.screen import Screen
from rig_bridge.rigs.display.stimulus_display import FrameRecord, StimulusDisplay
from rig_bridge.trials import Presentation

_IMAGES = 40
_PROBES = 60  # flips with and without work before them
_WORK = 0.3  # of a frame
_UNEVEN = (
    0.2  # spread of what should be a screen's pace: 10th to 90th percentile, of its median
)
_REFRESH_TOLERANCE = 0.01  # of the refresh rate that was stated
EDGES = (0.0, 0.5, 0.9, 0.98, 1.02, 1.1, 1.5, 2.5, 3.5, float("inf"))
"""Of the histogram of intervals, in frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipTiming:
    """What a run of presentations says of a display.

    Parameters
    ----------
    refresh_hz : measured without any pacing of ours; None where the driver does not wait for
        the vertical blank, so that no flip says anything of the screen
    stated_hz : what was stated
    presentations, flips : how many there were
    dropped : frames missed within presentations: images that were too long on the screen
    between : frames missed between one presentation's end and the next one's onset
    median, p99, largest : intervals from flip to flip within presentations, in frames
    histogram : how many intervals lie between two neighbours of `EDGES`
    """

    refresh_hz: float | None
    stated_hz: float
    presentations: int
    flips: int
    dropped: int
    between: int
    median: float
    p99: float
    largest: float
    histogram: tuple[int, ...]

    @property
    def waits(self) -> bool:
        """Whether the driver waits for the vertical blank."""
        return self.refresh_hz is not None

    @property
    def faults(self) -> tuple[str, ...]:
        """What must be put right before an animal is shown anything, each with advice."""
        advice: list[str] = []
        if (hz := self.refresh_hz) is not None and (
            abs(hz / self.stated_hz - 1) > _REFRESH_TOLERANCE
        ):
            advice.append(
                f"the screen refreshes {hz:.2f} times a second, not {self.stated_hz:g}: "
                f"state --refresh-hz {hz:.2f}, or set the monitor to {self.stated_hz:g} Hz"
            )
        if self.dropped:
            advice.append(
                f"{self.dropped} frames were dropped, so that images were too long on the "
                "screen: use --fullscreen and a graphics card's driver, turn the desktop's "
                "compositor off, close other programs, or take fewer pixels"
            )
        return tuple(advice)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is good to know."""
        advice: list[str] = []
        if not self.waits:
            advice.append(
                "the driver does not wait for the vertical blank, so that frames are paced by "
                "the clock and an onset may be wrong by a frame: on a real screen use "
                "--fullscreen and a driver with vertical synchronization; and a photodiode"
            )
        if self.between:
            advice.append(
                f"{self.between} frames were missed between presentations, where new images "
                "are scaled: those blanks were longer; onsets are right all the same"
            )
        return tuple(advice)

    @classmethod
    def of(
        cls, record: Sequence[FrameRecord], screen: Screen, *, refresh_hz: float | None
    ) -> FlipTiming:
        """Return what the flips of `record` say.

        Raises
        ------
        ValueError
            There are not two flips in it.
        """
        gaps = [b - a for frames in record for a, b in pairwise(frames.flips_ns)]
        if not gaps:
            raise ValueError("a record must hold a presentation of two flips; got none")
        intervals = np.array(gaps) / 1e6 / screen.frame_ms
        counted, _ = np.histogram(intervals, np.array(EDGES))
        return cls(
            refresh_hz=refresh_hz,
            stated_hz=screen.refresh_hz,
            presentations=len(record),
            flips=sum(len(frames.flips_ns) for frames in record),
            dropped=sum(frames.dropped for frames in record),
            between=sum(
                screen.dropped([a.flips_ns[-1], b.flips_ns[0]])
                for a, b in pairwise(record)
                if a.flips_ns and b.flips_ns
            ),
            median=float(np.median(intervals)),
            p99=float(np.percentile(intervals, 99)),
            largest=float(intervals.max()),
            histogram=tuple(int(n) for n in counted),
        )


def refresh_rate(flip: Callable[[], object], *, frame_s: float) -> float | None:
    """Return the rate at which `flip` returns, per second; None where it does not wait.

    A driver that waits for the vertical blank returns at the same pace whether or not there
    was work before the flip; one that does not takes the work's time longer, or is uneven, as
    where a server draws slowly meanwhile.

    Parameters
    ----------
    flip : puts a frame on the screen
    frame_s : about how long a frame is, seconds
    """
    for _ in range(5):  # what the driver queues
        flip()
    medians: list[float] = []
    spreads: list[float] = []
    for work_s in (0.0, _WORK * frame_s):
        times = [time.perf_counter()]
        for _ in range(_PROBES):
            if work_s:
                time.sleep(work_s)
            flip()
            times.append(time.perf_counter())
        low, middle, high = np.percentile(np.diff(times), [10, 50, 90])
        medians.append(float(middle))
        spreads.append(float((high - low) / middle))
    idle, busy = medians
    waits = busy - idle < _WORK / 3 * frame_s and max(spreads) < _UNEVEN
    return 1 / idle if waits else None


def measure_flips(
    display: StimulusDisplay,
    screen: Screen,
    *,
    seconds: float,
    on_ms: float,
    off_ms: float,
    size_deg: float,
    position_deg: tuple[float, float],
    stop: Callable[[], bool],
) -> tuple[FlipTiming, tuple[FrameRecord, ...]]:
    """Show noise for some seconds; return what its flips say, and the flips.

    Parameters
    ----------
    display, screen : the display, and what it was made for
    seconds : of showing, about
    on_ms, off_ms, size_deg, position_deg : as in a session
    stop : asked between presentations; True: enough

    Raises
    ------
    RequestError
        The image would be outside the screen.
    """
    import pygame

    rate = refresh_rate(pygame.display.flip, frame_s=screen.frame_ms / 1000)
    rng = np.random.default_rng(0)
    images: list[NDArray[np.uint8]] = [
        rng.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(_IMAGES)
    ]
    number = max(2, round(seconds * 1000 / (on_ms + off_ms)))
    for i in range(number):
        if i % _IMAGES == 0:  # as a block of a session does
            display.prepare({str(k): image for k, image in enumerate(images)})
        window = (0.0, on_ms)
        which = i % _IMAGES
        asked = Presentation(
            block=0,
            attempt=1,
            presentation=i,
            sha256=str(which),
            on_ms=on_ms,
            off_ms=off_ms,
            size_deg=size_deg,
            position_deg=position_deg,
            window_ms=window,
        )
        if display.show(images[which], asked).status != "ok" or stop():
            break
    record = tuple(display.record)
    return FlipTiming.of(record, screen, refresh_hz=rate), record
