"""A rig without an animal: model neurons answer as spikes, at the pace of a real session.

Knows presentations, a clock and how to wait; nothing of sockets, networks or scores. What the
neurons see is `respond` (images to drives), what they do is a `SpikeModel`; both are handed in.

Time. The rig's clock, in which results are stamped, counts *stimulus time*: on and off times
are what was asked for, whatever the speed. At speed 1 it runs with the wall clock; at speed 10
it runs ten times as fast, and a presentation of 100 + 100 ms takes 20 ms; at infinite speed
nothing waits, and the clock counts presentations only: it moves on by each one's length and
stands still between them, so that stamps do not depend on the machine. It starts at 0 and
never goes back.

Chance. What happens in a showing follows from its presentation and from how often that was
shown before: the first time is the first time whatever number the attempt has, for an engine
that was interrupted asks again under another one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rig_bridge.forms import Form
from rig_bridge.messages import Hello, ScreenInfo, Unit
from rig_bridge.trials import Array, Image, Presentation, TrialResult

Drive: TypeAlias = NDArray[np.float64]
"""(u,) what each unit would say of an image, in the scorer's own unit."""
Respond: TypeAlias = Callable[[Sequence[Image]], NDArray[np.float64]]
"""Images, each (h, w, 3) uint8, to drives, (n, u) float64."""
Place: TypeAlias = tuple[float, tuple[float, float]]
"""Degrees: an image's longer side, and its centre right of and above fixation."""
RespondAt: TypeAlias = Callable[[Sequence[tuple[Image, Place]]], NDArray[np.float64]]
"""Images, each where it is on the screen, to drives, (n, u) float64."""
DriveKey: TypeAlias = tuple[str, Place | None]
"""Whose drive: an image's digest, and its place where that is not the usual one."""
RandomStreams: TypeAlias = Callable[..., np.random.Generator]
"""A name, strings and integers, to the random generator of that name."""

_REMEMBERED = 8192
"""Drives kept for images that are shown again, as references are in every block."""
_NO_UNITS, _NO_TIMES = np.zeros(0, np.uint32), np.zeros(0, np.float32)  # of a rig without noise


@dataclass(frozen=True, slots=True)
class EarlierShowings:
    """What a session that goes on has shown already."""

    counts: Mapping[int, int]
    """Presentation to how often it was shown, of those that may be shown again."""
    images: Sequence[tuple[str, int]] = ()
    """Digests of images, and the presentations in which they are shown, in order."""


NOTHING_SHOWN = EarlierShowings({})


class SpikeModel(Protocol):
    """Neurons: a drive to spikes."""

    def spikes(
        self,
        drive: Drive,
        *,
        presentation: int,
        showing: int,
        on_ms: float,
        window_ms: tuple[float, float],
        delay_ms: float,
        adaptation: float,
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return units (k,) and times (k,) in ms after onset, sorted by time.

        `showing` is from 1, of that presentation. The response to this image comes by
        `delay_ms` later than to another one, and `adaptation`, in [0, 1], is what is left of
        it. The same arguments always give the same spikes, in whatever order they come.
        """
        ...


class ImageMemory(Protocol):
    """What repeats of an image cost."""

    def left(self, image: str, presentation: int, *, showing: int) -> float:
        """Return what is left of the response to an image (its digest), in [0, 1]."""
        ...

    def add(self, image: str, presentation: int) -> None:
        """Keep that an image is shown in a presentation; again is the same."""
        ...


class ExpectedRates(Protocol):
    """Neurons without noise: drives to mean rates."""

    def __call__(
        self, drive: NDArray[np.float64], window_ms: tuple[float, float], *, on_ms: float
    ) -> NDArray[np.float64]:
        """Return the mean rates in a window, spikes/s, of the drive's shape, (n, u)."""
        ...


class SimulatedRig:
    """Presents images to model neurons; a `Presenter`.

    Parameters
    ----------
    respond : images to drives; called once for all new images of a request, before its first
        presentation
    respond_at : the same for images that are elsewhere than `usual_place`; None: neurons see an
        image alone, wherever it is
    usual_place : where images are for `respond`
    neurons : drives to spikes
    labels : one per unit
    areas : whose neurons they are, in the unit table: one per unit
    stream : random generators by name; makes the aborted trials
    speed : times faster than life; `math.inf` waits for nothing
    abort_rate : share of presentations in which fixation breaks, in [0, 1]
    form : what is reported: spikes; counts in bins of `bin_ms`; or rates, in spikes/s, over
        `rate_window_ms`
    expected_rates : with form "rates", reported instead of counted spikes: a rig without noise
    widest_window_ms : the widest window around onset that it can record
    lag_ms : from the command to the image on screen
    delay_ms : by how much later than others an image is answered; without it, no image is
    memory : what is left of the response to an image that was shown before
    earlier : what was shown already, in a session that goes on
    clock, sleep : the wall clock, seconds, and how to wait on it

    Raises
    ------
    ValueError
        Speed, abort_rate, lag or windows are out of range.
    """

    def __init__(
        self,
        respond: Respond,
        neurons: SpikeModel,
        *,
        respond_at: RespondAt | None = None,
        usual_place: Place | None = None,
        labels: Sequence[str],
        areas: Sequence[str] | None = None,
        stream: RandomStreams,
        speed: float = 1.0,
        abort_rate: float = 0.0,
        form: Form = "spikes",
        bin_ms: float = 10.0,
        rate_window_ms: tuple[float, float] = (50.0, 200.0),
        expected_rates: ExpectedRates | None = None,
        widest_window_ms: tuple[float, float] = (-500.0, 1000.0),
        lag_ms: float = 8.0,
        delay_ms: Callable[[Image], float] | None = None,
        memory: ImageMemory | None = None,
        earlier: EarlierShowings = NOTHING_SHOWN,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0 (inf: no waiting); got {speed}")
        if not 0 <= abort_rate <= 1:
            raise ValueError(f"abort_rate must be in [0, 1]; got {abort_rate}")
        if not (bin_ms > 0 and lag_ms >= 0 and rate_window_ms[0] < rate_window_ms[1]):
            raise ValueError(
                "bin_ms must be above 0, lag_ms not below 0, and rate_window_ms must begin "
                f"before it ends; got {bin_ms}, {lag_ms}, {rate_window_ms}"
            )
        self._respond, self._neurons, self._stream = respond, neurons, stream
        self._respond_at, self._usual_place = respond_at, usual_place
        self._labels = tuple(labels)
        self._areas = tuple(areas or ["simulated"] * len(self._labels))
        self._expected_rates = expected_rates
        self._speed, self._abort_rate = speed, abort_rate
        self._form: Form = form
        self._bin_ms, self._rate_window_ms = bin_ms, rate_window_ms
        self._widest_window_ms, self._lag_ms = widest_window_ms, lag_ms
        self._clock, self._sleep = clock, sleep
        self._wall_start = clock()
        self._now_ms = 0.0  # stimulus time
        self._drives: dict[DriveKey, tuple[Drive, float]] = {}  # and the delay in ms
        # Of a rig without noise: on_ms and the rates, of images whose drives are known.
        self._rates: dict[DriveKey, tuple[float, NDArray[np.float64]]] = {}
        self._delay_ms, self._memory = delay_ms, memory
        # Presentation -> its last attempt, and the number of that showing from 1.
        self._showings = {number: (0, count) for number, count in earlier.counts.items()}
        for sha256, presentation in earlier.images:
            if memory is not None:
                memory.add(sha256, presentation)

    def hello(self, name: str, *, software: str, display: ScreenInfo | None = None) -> Hello:
        """Return what this rig says of itself: that it heeds places, if its neurons do."""
        screen = display or ScreenInfo(1920, 1080, 60.0, 40.0, places=self.sees_places)
        return Hello(
            name=name,
            software=software,
            capabilities=(self._form,),
            units=tuple(
                Unit(i, 0, area, label)
                for i, (area, label) in enumerate(zip(self._areas, self._labels, strict=True))
            ),
            display=screen,
            window_ms=self._widest_window_ms,
        )

    @property
    def sees_places(self) -> bool:
        """Whether it matters to the neurons how large an image is, and where."""
        return self._respond_at is not None

    def prepare(self, images: dict[str, Image]) -> None:
        """Compute the drive of every image that is new, at the usual place."""
        self._prepare({(sha256, None): image for sha256, image in images.items()})

    def prepare_places(self, shown: Iterable[tuple[Image, Presentation]]) -> None:
        """Compute the drives of all that is to be shown, each image at its own place."""
        self._prepare({self._key(request): image for image, request in shown})

    def _prepare(self, images: Mapping[DriveKey, Image]) -> None:
        new = {key: image for key, image in images.items() if key not in self._drives}
        usual = {key: image for key, image in new.items() if key[1] is None}
        if usual:
            self._take(usual, self._respond(list(usual.values())))
        elsewhere = [(image, key[1]) for key, image in new.items() if key[1] is not None]
        if elsewhere and self._respond_at is not None:
            there = {key: image for key, image in new.items() if key[1] is not None}
            self._take(there, self._respond_at(elsewhere))

    def _take(self, images: Mapping[DriveKey, Image], responses: NDArray[np.float64]) -> None:
        drives = np.asarray(responses, dtype=np.float64)
        if drives.shape != (len(images), len(self._labels)):
            raise ValueError(
                f"respond must return drives of shape (images, units) = "
                f"({len(images)}, {len(self._labels)}); got {drives.shape}"
            )
        late = self._delay_ms
        delays = [0.0 if late is None else late(image) for image in images.values()]
        self.take_drives(dict(zip(images, zip(drives, delays, strict=True), strict=True)))

    def _key(self, request: Presentation) -> DriveKey:
        place = request.size_deg, request.position_deg
        usual = self._respond_at is None or place == self._usual_place
        return request.sha256, None if usual else place

    def lacks(self, sha256: str) -> bool:
        """Return whether the drive of an image at the usual place is not known any more."""
        return (sha256, None) not in self._drives

    def take_drives(self, drives: Mapping[DriveKey, tuple[Drive, float]]) -> None:
        """Take drives and delays in ms that were worked out elsewhere, with many others.

        Parameters
        ----------
        drives : by the digest of the image, or whatever stands for it in requests, and its
            place; None: the usual one, or neurons to which it does not matter
        """
        while len(self._drives) + len(drives) > _REMEMBERED and self._drives:
            oldest = next(iter(self._drives))
            del self._drives[oldest]
            self._rates.pop(oldest, None)
        for key in drives:
            self._rates.pop(key, None)
        self._drives.update(drives)

    def forget(self, images: Iterable[str], presentations: Iterable[int]) -> None:
        """Keep nothing more of images, nor of presentations, which are not asked for again."""
        gone = set(images)
        for key in [key for key in self._drives if key[0] in gone]:
            del self._drives[key]
            self._rates.pop(key, None)
        for presentation in presentations:
            self._showings.pop(presentation, None)

    def present(self, image: Image, request: Presentation) -> TrialResult:
        """Show one image for as long as it takes, and return what the neurons did."""
        key = self._key(request)
        if key not in self._drives:  # elsewhere, or forgotten since it was prepared
            self._prepare({key: image})
        commanded_ms = self._command_time()
        shown_ms = request.on_ms
        reason = ""
        showing = self._showing_of(request)
        if self._abort_rate > 0:
            broke = self._stream("fixation", request.presentation, showing).random(2)
            if broke[0] < self._abort_rate:
                shown_ms *= float(broke[1])
                reason = "fixation broken"
        units, times = _NO_UNITS, _NO_TIMES
        if self._expected_rates is None:
            drive, delay_ms = self._drives[key]
            units, times = self._neurons.spikes(
                drive,
                presentation=request.presentation,
                showing=showing,
                on_ms=request.on_ms,
                window_ms=request.window_ms,
                delay_ms=delay_ms,
                adaptation=self._left(request, showing),
            )
        if reason:  # reported at once: what came later was never recorded
            units, times = units[times < shown_ms], times[times < shown_ms]
        onset_ms = commanded_ms + self._lag_ms
        # After an abort the screen stays blank for as long as after any image.
        self._wait_until(onset_ms + shown_ms + request.off_ms)
        return TrialResult(
            presentation=request.presentation,
            attempt=request.attempt,
            status="aborted" if reason else "ok",
            reason=reason,
            commanded_ns=_ns(commanded_ms),
            onset_ns=_ns(onset_ms),
            offset_ns=_ns(onset_ms + shown_ms),
            onset_source="simulated",
            form=self._form,
            arrays=self._arrays(units, times, request),
        )

    def blank(self) -> None:
        """Clear a screen that is not there."""

    # ------------------------------------------------------------------ inside

    def _showing_of(self, request: Presentation) -> int:
        """Return which showing of its presentation this is, from 1.

        Attempts of a presentation rise within a session: the same one again is the same
        showing, and a lower one is of another session, whose numbers begin anew.
        """
        attempt, showing = self._showings.get(request.presentation, (0, 0))
        if request.attempt > attempt:
            showing += 1
        elif request.attempt < attempt:
            showing = 1
        self._showings[request.presentation] = request.attempt, showing
        return showing

    def _left(self, request: Presentation, showing: int) -> float:
        """Return what is left of the response to an image that was shown before."""
        if self._memory is None:
            return 1.0
        self._memory.add(request.sha256, request.presentation)
        return self._memory.left(request.sha256, request.presentation, showing=showing)

    def _command_time(self) -> float:
        if math.isfinite(self._speed):
            wall_ms = (self._clock() - self._wall_start) * 1000
            self._now_ms = max(self._now_ms, wall_ms * self._speed)
        return self._now_ms

    def _wait_until(self, stimulus_ms: float) -> None:
        """Wait until stimulus time is there, by the wall clock's own measure: no drift."""
        self._now_ms = stimulus_ms
        if math.isfinite(self._speed):
            due = self._wall_start + stimulus_ms / 1000 / self._speed
            if (left := due - self._clock()) > 0:
                self._sleep(left)

    def _arrays(
        self,
        units: NDArray[np.uint32],
        times: NDArray[np.float32],
        request: Presentation,
    ) -> dict[str, Array]:
        window_ms = request.window_ms
        n = len(self._labels)
        if self._form == "spikes":
            return {"units": units.astype("<u4"), "times_ms": times.astype("<f4")}
        if self._form == "counts":
            bins = max(1, round((window_ms[1] - window_ms[0]) / self._bin_ms))
            edges = np.linspace(*window_ms, bins + 1, dtype="<f8")
            counts = np.zeros((n, bins), "<u2")
            inside = (times >= edges[0]) & (times < edges[-1])
            places = np.searchsorted(edges, times[inside], side="right") - 1
            np.add.at(counts, (units[inside], places), 1)
            return {"counts": counts, "edges_ms": edges}
        if self._expected_rates is not None:
            return {"rates": self._expected(request).astype("<f8")}
        start, end = self._rate_window_ms
        inside = (times >= start) & (times < end)
        counted = np.bincount(units[inside], minlength=n)
        return {"rates": (counted / ((end - start) / 1000)).astype("<f8")}

    def _expected(self, request: Presentation) -> NDArray[np.float64]:
        """Return the mean rates of an image; of all new ones at once, when one is asked for."""
        wanted = self._key(request)
        known = self._rates.get(wanted)
        if known is None or known[0] != request.on_ms:
            on_ms = request.on_ms
            new = [k for k in self._drives if self._rates.get(k, (math.nan,))[0] != on_ms]
            drives = np.stack([self._drives[key][0] for key in new])
            if self._expected_rates is None:
                raise RuntimeError("a rig with noise has no rates without it")
            rates = self._expected_rates(drives, self._rate_window_ms, on_ms=on_ms)
            self._rates |= {k: (on_ms, row) for k, row in zip(new, rates, strict=True)}
        return self._rates[wanted][1]


def _ns(ms: float) -> int:
    return round(ms * 1_000_000)
