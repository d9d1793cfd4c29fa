"""What the live page knows of a session: fed with records, asked for arrays.

No browser, no clock, no files. Memory is bounded, however long the session: counts are summed
as they come, pixels are kept of what can still be shown, and spikes of the last few hundred
showings. Of more than a few hundred generations, older ones are thinned out: their scores stay,
pictures and counts of every other one go.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from evolver.journal.records import (
    AnyRecord,
    Committed,
    Event,
    ImagePixels,
    Proposed,
    Result,
    Resumed,
    RigJoined,
    RunEnd,
    RunStart,
)
from evolver.report.evolution import Watched
from evolver.responses import psth_counts, psth_edges

_BIN_MS = 10.0
_RASTER = 300
_EVENTS = 200
_BUDGETS = 400
_PACE = 60
_UNITS_IN_FULL = 256
_GENERATIONS_IN_FULL, _LATEST_IN_FULL = 240, 60
THUMBNAIL = 64
"""Pixels a side of the images that are kept."""


@dataclass(slots=True, eq=False)
class Generation:
    """One generation of one thread, as far as it has come."""

    number: int
    digests: tuple[str, ...]
    counts: NDArray[np.uint32]  # (u, t) over valid showings
    shown: int = 0
    mean: float = float("nan")
    sem: float = float("nan")
    best: float = float("nan")
    pictures: list[NDArray[np.uint8] | None] = field(
        default_factory=list["NDArray[np.uint8] | None"]
    )  # best first
    scored: bool = False
    in_full: bool = True  # pictures and counts are still here

    def thin(self) -> None:
        """Let pictures and counts go."""
        self.in_full, self.pictures, self.digests = False, [], ()
        self.counts = np.zeros((0, self.counts.shape[1]), np.uint32)


@dataclass(slots=True, eq=False)
class ThreadView:
    """One thread."""

    name: str
    optimizer: str
    generator: str
    units: tuple[int, ...] = ()
    generations: dict[int, Generation] = field(default_factory=dict[int, Generation])

    @property
    def scored(self) -> list[Generation]:
        """Generations with scores, in order."""
        return [g for _, g in sorted(self.generations.items()) if g.scored]

    def at(self, number: int) -> Generation | None:
        """Return the scored generation of this number in full, or the last before it."""
        found = [g for g in self.scored if g.number <= number and g.in_full]
        return found[-1] if found else None

    def thin(self) -> None:
        """Keep the first generation, the latest ones, and every other one between in full."""
        full = sorted(n for n, g in self.generations.items() if g.scored and g.in_full)
        if len(full) > _GENERATIONS_IN_FULL:
            for number in full[1:-_LATEST_IN_FULL:2]:
                self.generations[number].thin()


@dataclass(slots=True, eq=False)
class _Open:
    """A block under way."""

    place: dict[int, tuple[int, int, int]]  # presentation -> thread, generation, row
    generation: float  # where the threads stand


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """Where one block's time went, seconds."""

    block: int
    render: float
    wait: float
    idle: float
    other: float


class SessionModel:
    """A session, as its journal tells it."""

    KEPT_PICTURES = 12

    def __init__(self) -> None:
        self.title = ""  # where no start says it
        self.version = 0  # counts up with every change
        self.scored_version = 0  # with every block that was scored
        self.start: RunStart | None = None
        self.ended: str | None = None
        self.unit_labels: tuple[str, ...] = ()
        self.threads: list[ThreadView] = []
        self.references: list[tuple[float, NDArray[np.float64], NDArray[np.float64]]] = []
        self.reference_pictures: list[NDArray[np.uint8]] = []
        self.events: deque[tuple[int, str, str, str]] = deque(maxlen=_EVENTS)
        self.budgets: deque[Budget] = deque(maxlen=_BUDGETS)
        self.raster: deque[tuple[NDArray[Any], NDArray[Any]]] = deque(maxlen=_RASTER)
        self.presentations = self.aborted = 0
        self.generations = 0
        self.edges_ms = psth_edges((-100.0, 300.0), _BIN_MS)
        self.latest_ns = 0
        self.paused = False
        self._came: deque[int] = deque(maxlen=_PACE)
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._blocks: dict[int, _Open] = {}
        self._begun_ns = 0

    # ------------------------------------------------------------------ fed

    def feed(self, records: Iterable[AnyRecord]) -> None:
        """Take records in their order."""
        for record in records:
            self._take(record)
            self.version += 1

    def _take(self, record: AnyRecord) -> None:
        match record:
            case RunStart():
                self._take_start(record)
            case RigJoined():
                self.unit_labels = tuple(u.label or f"ch {u.channel}" for u in record.units)
            case ImagePixels():
                pixels = record.pixels.numpy()
                self._pictures[record.sha256] = thumbnail(pixels.astype(np.uint8, copy=False))
            case Proposed():
                self._take_proposed(record)
            case Result():
                self._take_result(record)
            case Committed():
                self._take_committed(record)
            case Event():
                self._say(record)
            case Resumed():
                self._say(record.as_event())
                self.ended = None
            case RunEnd():
                self.ended = record.reason
            case _:
                pass

    def _say(self, event: Event) -> None:
        self.events.append((event.time_ns, event.level, event.name, event.text))
        if event.name in {"pause", "resume"}:
            self.paused = event.name == "pause"

    def _take_start(self, record: RunStart) -> None:
        self.start = record
        self.edges_ms = psth_edges(record.window_ms, _BIN_MS)
        for info in record.threads:
            try:
                units = msgspec.json.decode(info.fitness, type=Watched).units
            except msgspec.MsgspecError:
                units = ()
            self.threads.append(ThreadView(info.name, info.optimizer, info.generator, units))
        self.generations = _generations(record.config)

    def _take_proposed(self, record: Proposed) -> None:
        self._begun_ns = self._begun_ns or record.time_ns
        bins = len(self.edges_ms) - 1
        place: dict[int, tuple[int, int, int]] = {}
        number = {part.thread: part.generation for part in record.threads}
        for part in record.threads:
            if part.thread < len(self.threads):
                view = self.threads[part.thread]
                counts = np.zeros((min(len(self.unit_labels), _UNITS_IN_FULL), bins), np.uint32)
                view.generations[part.generation] = Generation(
                    part.generation, part.images, counts
                )
        for p in record.presentations:
            place[p.presentation] = (p.thread, number.get(p.thread, -1), p.row)
        stand = [max(t.generations, default=0) for t in self.threads]
        self._blocks[record.block] = _Open(place, float(np.mean(stand)) if stand else 0.0)
        if record.references and not self.reference_pictures:
            kept = [self._pictures.get(sha256) for sha256 in record.references]
            self.reference_pictures = [picture for picture in kept if picture is not None]

    def _take_result(self, record: Result) -> None:
        self.presentations += 1
        self.latest_ns = record.received_ns
        self._came.append(record.received_ns)
        if record.status != "ok":
            self.aborted += 1
            return
        arrays = {name: array.numpy() for name, array in record.arrays.items()}
        if record.form == "spikes":
            self.raster.append((arrays["units"], arrays["times_ms"]))
        block = self._blocks.get(record.block)
        if block is None:
            return
        thread, number, _ = block.place.get(record.presentation, (-1, -1, -1))
        if not 0 <= thread < len(self.threads):
            return
        generation = self.threads[thread].generations.get(number)
        if generation is None:
            return
        generation.shown += 1
        n = len(self.unit_labels)
        counts = psth_counts(record.form, arrays, n, self.edges_ms)
        if counts is not None:
            generation.counts += counts[: len(generation.counts)].astype(np.uint32)

    def _take_committed(self, record: Committed) -> None:
        block = self._blocks.pop(record.block, None)
        for part in record.threads:
            if part.thread < len(self.threads):
                view = self.threads[part.thread]
                generation = view.generations.get(part.generation)
                if generation is not None:
                    self._score(view, generation, part.scores.numpy().astype(np.float64))
        at = 0.0 if block is None else block.generation
        scores = [array.numpy().astype(np.float64) for array in record.reference_scores]
        self.add_references(at, scores)
        b = record.budget
        known = b.propose + b.encode + b.send + b.score + b.blocked
        self.budgets.append(Budget(record.block, b.render, b.wait, b.idle, known))
        self.scored_version += 1

    @staticmethod
    def order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows of `scores`, best first, those without a score last."""
        key = np.where(np.isfinite(scores), -scores, np.inf)
        return np.argsort(key, kind="stable").astype(np.int64)

    def set_scores(self, generation: Generation, scores: NDArray[np.float64]) -> None:
        """Say what a generation's images scored."""
        generation.mean, generation.sem = _mean_sem(scores)
        generation.best = float(np.nanmax(scores)) if np.isfinite(scores).any() else np.nan
        generation.scored = True

    def counts(self, spikes: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[np.uint32]:
        """Return the counts of some showings' spikes, (u, t)."""
        n = min(len(self.unit_labels), _UNITS_IN_FULL)
        total = np.zeros((n, len(self.edges_ms) - 1), np.uint32)
        for units, times in spikes:
            found, _, _ = np.histogram2d(units, times, (np.arange(n + 1), self.edges_ms))
            total += found.astype(np.uint32)
        return total

    def add_references(self, at: float, scores: Iterable[NDArray[np.float64]]) -> None:
        """Take a block's reference scores, one array a thread, shown at generation `at`."""
        both = [_mean_sem(np.asarray(one, dtype=np.float64)) for one in scores]
        if both and any(np.isfinite(mean) for mean, _ in both):
            means, sems = (np.array(column) for column in zip(*both, strict=True))
            # In order: of two blocks on their way at once, either may end first.
            insort(self.references, (at, means, sems), key=itemgetter(0))

    def take_times(self, first_ns: int, last_ns: int) -> None:
        """Say when the first and the last result came."""
        self._begun_ns, self.latest_ns = first_ns, last_ns

    def _score(
        self, view: ThreadView, generation: Generation, scores: NDArray[np.float64]
    ) -> None:
        self.set_scores(generation, scores)
        best = self.order(scores)[: self.KEPT_PICTURES]
        digests = [generation.digests[int(i)] for i in best]
        generation.pictures = [self._pictures.get(sha256) for sha256 in digests]
        earlier = view.generations.get(generation.number - 1)
        if earlier is not None:
            earlier.pictures = earlier.pictures[:4]  # what playback shows
        for sha256 in generation.digests:
            self._pictures.pop(sha256, None)
        generation.digests = ()
        view.thin()

    # ------------------------------------------------------------------ asked

    @property
    def name(self) -> str:
        """The session's."""
        return self.title if self.start is None else self.start.name

    @property
    def done(self) -> int:
        """Generations that every thread has finished."""
        return min((len(t.scored) for t in self.threads), default=0)

    @property
    def pace(self) -> float:
        """Presentations a second, of late."""
        if len(self._came) < 2 or self._came[-1] <= self._came[0]:
            return float("nan")
        return (len(self._came) - 1) / (self._came[-1] - self._came[0]) * 1e9

    @property
    def minutes(self) -> float:
        """Minutes since the first block."""
        return max(0.0, (self.latest_ns - self._begun_ns) / 60e9) if self.latest_ns else 0.0

    @property
    def minutes_left(self) -> float:
        """Minutes to the last generation, at the pace so far; NaN before one is finished."""
        left = self.generations - self.done
        return self.minutes / self.done * left if self.done else float("nan")

    @property
    def idle_share(self) -> float:
        """How much of its recent time the rig had nothing to show."""
        wait = sum(b.wait for b in self.budgets)
        idle = sum(b.idle for b in self.budgets)
        return idle / (wait + idle) if wait + idle > 0 else 0.0

    def rates(self, generation: Generation, unit: int) -> NDArray[np.float64]:
        """Return a unit's PSTH in a generation, (t,) spikes/s."""
        if unit >= len(generation.counts) or not generation.shown:
            return np.full(len(self.edges_ms) - 1, np.nan)
        widths = np.diff(self.edges_ms) / 1000
        return generation.counts[unit] / widths / generation.shown

    def all_units(self, thread: int, number: int) -> NDArray[np.float64]:
        """Return every unit's PSTH in a generation, (u, t) spikes/s."""
        generation = self.threads[thread].generations.get(number)
        if generation is None or not generation.shown or not generation.in_full:
            return np.zeros((len(self.unit_labels), len(self.edges_ms) - 1))
        return generation.counts / (np.diff(self.edges_ms) / 1000) / generation.shown


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (64, 64, 3) pixels: each the mean of those it stands for, or repeated."""
    h, w = pixels.shape[:2]
    rows = np.arange(THUMBNAIL + 1) * h // THUMBNAIL
    columns = np.arange(THUMBNAIL + 1) * w // THUMBNAIL
    if h < THUMBNAIL or w < THUMBNAIL:
        return pixels[np.minimum(rows[:-1], h - 1)][:, np.minimum(columns[:-1], w - 1)]
    if h == w == THUMBNAIL:
        return pixels
    sums = np.add.reduceat(pixels.astype(np.float64), rows[:-1], axis=0)
    sums = np.add.reduceat(sums, columns[:-1], axis=1)
    area = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    return np.rint(sums / area).astype(np.uint8)


def _mean_sem(values: NDArray[np.float64]) -> tuple[float, float]:
    valid = values[np.isfinite(values)]
    if not len(valid):
        return float("nan"), float("nan")
    sem = float(valid.std(ddof=1) / np.sqrt(len(valid))) if len(valid) > 1 else float("nan")
    return float(valid.mean()), sem


def _generations(text: str) -> int:
    from evolver.config.tables import parse_session_file
    from evolver.errors import ConfigError

    try:
        return parse_session_file(text).session.generations
    except ConfigError:  # of a later version
        return 0
