"""What the live page knows of a session: fed with records, asked for arrays.

No browser, no clock, no files. A journal that is followed and a recording that is played back
feed it alike. Memory is bounded, however long the session: counts are summed as they come,
pictures are kept of what can still be shown, and spikes of the last few hundred showings. Of
more than a few hundred generations, older ones are thinned out: their scores stay, pictures and
counts of most go.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from evolver.clock import duration_text
from evolver.config.search_words import GUIDED
from evolver.config.set_table import FIXED
from evolver.errors import DataError, RecordingError
from evolver.journal.interpreter import (
    BlockPlan,
    BlockScores,
    Interpreter,
    ReceivedResult,
    RecordReading,
)
from evolver.journal.records import (
    REPLAY_OF,
    AnyRecord,
    Event,
    ImagePixels,
    Resumed,
    RigRecord,
    RunStart,
    ThreadInfo,
    TimeBudget,
    set_info,
)
from evolver.journal.tally import ShowingTally
from evolver.monitor.pictures import KeptPictures, PictureStore, Thumbnail
from evolver.monitor.psth import Counts, ResponseSums
from evolver.responses import TimeWindow

_EVENTS = 200
_BUDGETS = 400
_GENERATIONS_IN_FULL, _LATEST_IN_FULL = 160, 60
_PICTURES = 8


@dataclass(slots=True, eq=False)
class GenerationView:
    """One generation of one thread, as far as it has come."""

    number: int
    digests: tuple[str, ...]  # of its images; empty once the next generation is there
    counts: Counts
    shown: int = 0  # valid showings
    binned: int = 0  # of them, those in `counts`
    mean: float = float("nan")
    sem: float = float("nan")
    best: float = float("nan")
    best_digests: tuple[str, ...] = ()  # of the images that scored best, best first
    scored: bool = False
    in_full: bool = True  # pictures and counts are still here


@dataclass(slots=True, eq=False)
class ThreadView:
    """One thread."""

    name: str
    units: tuple[int, ...] = ()  # that its fitness watches
    response_ms: TimeWindow | None = None  # ms after onset, what is scored
    baseline_ms: TimeWindow | None = None  # and what is taken off
    generations: dict[int, GenerationView] = field(default_factory=dict[int, GenerationView])
    score_unit: str = "spikes/s"
    less_name: str = "baseline"  # what the window that is taken off is called
    is_set: bool = False  # of fixed images
    length: int = 0  # generations in the whole session; of a set, shares
    is_guided: bool = False  # some generations have a second arm's images too

    @property
    def scores_of(self) -> str:
        """What a generation's mean score is of: its name, and both arms of a guided search."""
        return f"{self.name} (both arms)" if self.is_guided else self.name

    @property
    def scored(self) -> list[GenerationView]:
        """Generations with scores, in order."""
        return [
            g for _, g in sorted(self.generations.items()) if g.scored and math.isfinite(g.mean)
        ]

    @property
    def done(self) -> int:
        """Generations that are finished, of which some may have no score."""
        return sum(g.scored for g in self.generations.values())

    def at(self, number: int) -> GenerationView | None:
        """Return the scored generation of this number in full, or the last before it."""
        earlier = [g for g in self.scored if g.number <= number and g.in_full]
        return earlier[-1] if earlier else None


class _Watched(msgspec.Struct, frozen=True):
    """What of a thread's fitness the page needs; the record says more."""

    units: tuple[int, ...] = ()  # rows of the unit table
    response_ms: TimeWindow | None = None
    baseline_ms: TimeWindow | None = None
    late_ms: TimeWindow | None = None  # instead of the response's, and of the baseline's
    early_ms: TimeWindow | None = None
    unit: str = "spikes/s"


class SessionModel:
    """A session, as its records tell it.

    Parameters
    ----------
    pictures : PictureStore, where its images are kept; None: in memory, as they come
    """

    def __init__(self, pictures: PictureStore | None = None) -> None:
        self.version = 0  # counts up with every record
        self.scored_version = 0  # with every block that was scored
        self.start: RunStart | None = None
        self.ended: str | None = None
        self.unit_labels: tuple[str, ...] = ()
        self.threads: list[ThreadView] = []
        self.references: list[tuple[float, NDArray[np.float64], NDArray[np.float64]]] = []
        self.events: deque[tuple[int, str, str, str]] = deque(maxlen=_EVENTS)
        self.budgets: deque[tuple[int, TimeBudget]] = deque(maxlen=_BUDGETS)
        self.generations = 0
        self.latest_ns = 0
        self.on_ms = float("nan")  # how long images stay on; NaN where that changes
        self.paused = self.references_only = False
        self.gone_ns: int | None = None  # there is no rig since
        self.tally = ShowingTally()
        self._begun_ns: int | None = None  # since when the tally knows nothing
        self._begun_before_s = 0.0  # and what it knows nothing of before that
        self._answered_then = 0
        self.responses = ResponseSums()
        self._interpreter = Interpreter()
        self._pictures = KeptPictures() if pictures is None else pictures
        self._progress: dict[int, float] = {}  # open block -> where the threads stood
        self._planned = False  # a block was
        self._replay = ""
        self._contradictions = 0

    @property
    def replay(self) -> str:
        """What is played back, where no animal answers; empty where a rig does."""
        return self._replay

    # ------------------------------------------------------------------ fed

    def feed(self, records: Iterable[AnyRecord]) -> None:
        """Take records in their order.

        Raises
        ------
        RecordingError
            The session is of a version that cannot be read here.
        """
        for record in records:
            try:
                self._take(self._interpreter.take(self.version, record))
            except DataError:
                self._contradictions += 1
            self.version += 1

    def _take(self, reading: RecordReading) -> None:
        if isinstance(reading, BlockPlan):
            self._take_plan(reading)
        elif isinstance(reading, ReceivedResult):
            self._take_result(reading)
        elif isinstance(reading, BlockScores):
            self._take_scores(reading)
        match reading.record:
            case RunStart() as start:
                self._take_start(start)
            case RigRecord() as rig:
                self.gone_ns = None
                if rig.name.startswith(REPLAY_OF):
                    self._replay = rig.name
                self._take_units()
            case ImagePixels() as image:
                pixels = image.pixels.numpy().astype(np.uint8, copy=False)
                self._pictures.add(image.sha256, pixels)
            case Event() as event:
                self._take_event(event)
            case Resumed() as resumed:
                self._begun_before_s = self._begun_s
                self._begun_ns = max(resumed.time_ns, self.latest_ns)
                self._take_event(resumed.as_event())
            case _:
                pass
        end = self._interpreter.end
        self.ended = None if end is None else end.reason

    def _take_event(self, event: Event) -> None:
        self.events.append((event.time_ns, event.level, event.name, event.text))
        match event.name:
            case "pause":
                self.paused = True
            case "resume":
                self.paused = self.references_only = False
            case "reference_only":
                self.paused, self.references_only = False, True
            case "resumed":  # what was commanded before is commanded again, if it still holds
                self.paused = self.references_only = False
                self.gone_ns = None  # one has joined, or it would not go on
            case "rig_lost":
                self.gone_ns = event.time_ns
            case "rig_joined":
                self.gone_ns = None
            case _:
                pass

    def _take_start(self, start: RunStart) -> None:
        self.start = start
        self.responses = ResponseSums(start.window_ms)
        self.threads = [_thread_view(info) for info in start.threads]
        generations = _generations(start.config)
        for view in self.threads:
            view.length = view.length or generations
        evolving = [view for view in self.threads if not view.is_set]
        leading = evolving or self.threads
        self.generations = max((view.length for view in leading), default=generations)

    def _take_units(self) -> None:
        units = self._interpreter.units
        if len(units) != len(self.unit_labels):
            self.unit_labels = tuple(unit.label or f"ch {unit.channel}" for unit in units)

    def _take_plan(self, reading: BlockPlan) -> None:
        record = reading.record
        if not self._planned:
            self._planned = True
            self.on_ms = record.presentations[0].on_ms if record.presentations else self.on_ms
        if any(planned.on_ms != self.on_ms for planned in record.presentations):
            self.on_ms = float("nan")
        self._pictures.hold(sha256 for part in record.threads for sha256 in part.images)
        self._pictures.forget_unheld()
        for part in record.threads:
            if part.thread < len(self.threads):
                view = self.threads[part.thread]
                self._let_go(view, part.generation)
                view.generations[part.generation] = GenerationView(
                    part.generation, part.images, self.responses.empty()
                )
        numbers = [max(view.generations, default=0) for view in self._leaders]
        self._progress[record.block] = float(np.mean(numbers)) if numbers else 0.0
        for number in self._progress.keys() - self._interpreter.open_blocks.keys():
            del self._progress[number]  # its commit was lost

    def _let_go(self, view: ThreadView, number: int) -> None:
        """Let the images go that no page shows any more, now that a generation is proposed."""
        for generation in (
            view.generations.get(number - 1),
            view.generations.pop(number, None),
        ):
            if generation is not None:
                self._pictures.release(generation.digests)
                generation.digests = ()

    def _take_result(self, reading: ReceivedResult) -> None:
        record = reading.record
        if reading.repeated:
            return
        self._take_units()
        self.latest_ns = record.received_ns
        if self._begun_ns is None:
            self._begun_ns = record.received_ns
        if record.status != "ok":
            return
        self.responses.show(reading.form, reading.arrays, reading.rows)
        showing = reading.showing
        if showing is None or not 0 <= showing.planned.thread < len(self.threads):
            return
        generation = self.threads[showing.planned.thread].generations.get(showing.generation)
        if generation is None:
            return
        generation.shown += 1
        counts = self.responses.add(
            generation.counts, reading.form, reading.arrays, reading.rows
        )
        if counts is not None:
            generation.counts = counts
            generation.binned += 1

    def _take_scores(self, reading: BlockScores) -> None:
        record = reading.record
        for part in record.threads:
            if 0 <= part.thread < len(self.threads):
                view = self.threads[part.thread]
                generation = view.generations.get(part.generation)
                if generation is not None:
                    self._score(view, generation, part.scores.numpy().astype(np.float64))
        at = self._progress.pop(record.block, 0.0)
        self._add_references(
            at, [scores.numpy().astype(np.float64) for scores in record.reference_scores]
        )
        self.budgets.append((record.block, record.budget))
        self.tally.add(record)
        self._begun_ns, self._begun_before_s = record.time_ns, 0.0
        self._answered_then = self.presentations
        self.scored_version += 1

    def _score(
        self, view: ThreadView, generation: GenerationView, scores: NDArray[np.float64]
    ) -> None:
        generation.mean, generation.sem = _mean_sem(scores)
        generation.best = float(np.nanmax(scores)) if np.isfinite(scores).any() else np.nan
        generation.scored = True
        order = np.argsort(np.where(np.isfinite(scores), -scores, np.inf), kind="stable")
        rows = [int(row) for row in order if row < len(generation.digests)]
        # A set's image may be shown several times in a share: it is one picture.
        best = tuple(dict.fromkeys(generation.digests[row] for row in rows))
        self._keep_best(generation, best[:_PICTURES])
        self._thin(view)

    def _keep_best(self, generation: GenerationView, digests: tuple[str, ...]) -> None:
        self._pictures.hold(digests)
        self._pictures.release(generation.best_digests)
        generation.best_digests = digests

    def _thin(self, view: ThreadView) -> None:
        """Keep the first generation, the latest ones, and others evenly between in full."""
        full = [g for g in view.scored if g.in_full]
        if len(full) > _GENERATIONS_IN_FULL:
            numbers = np.array([generation.number for generation in full[:-_LATEST_IN_FULL]])
            gaps = numbers[2:] - numbers[:-2]  # that each but the first and last would leave
            generation = full[1 + int(gaps.argmin())]
            self._keep_best(generation, ())
            generation.in_full, generation.counts = False, self.responses.empty()

    def _add_references(self, at: float, scores: list[NDArray[np.float64]]) -> None:
        """Take a block's reference scores, one array a thread, shown at generation `at`."""
        pairs = [_mean_sem(values) for values in scores]
        if any(np.isfinite(mean) for mean, _ in pairs):
            means, sems = (np.array(column) for column in zip(*pairs, strict=True))
            # In order: of two blocks on their way at once, either may end first.
            insort(self.references, (at, means, sems), key=itemgetter(0))

    # ------------------------------------------------------------------ asked

    @property
    def name(self) -> str:
        """The session's."""
        return "" if self.start is None else self.start.name

    @property
    def score_units(self) -> dict[str, list[int]]:
        """What scores are counted in, and the threads whose are, by number."""
        units: dict[str, list[int]] = {}
        for k, view in enumerate(self.threads):
            units.setdefault(view.score_unit, []).append(k)
        return units

    @property
    def presentations(self) -> int:
        """Presentations that were answered, every attempt."""
        return self._interpreter.answered

    @property
    def aborted(self) -> int:
        """Of them, those that were aborted."""
        return self._interpreter.aborted

    @property
    def edges_ms(self) -> NDArray[np.float64]:
        """Bins of every PSTH, (t + 1,) ms after onset."""
        return self.responses.edges_ms

    @property
    def notes(self) -> list[str]:
        """What the page cannot show, and why, a sentence each; as a rule none."""
        lines = self.responses.notes(len(self.unit_labels))
        if self._contradictions:
            lines.append(
                f"{self._contradictions} records contradict themselves and were left out."
            )
        return lines

    @property
    def done(self) -> int:
        """Generations that every thread has finished; of sets, where nothing else is shown."""
        return min((t.done for t in self._leaders), default=0)

    @property
    def _leaders(self) -> list[ThreadView]:
        """Threads whose generations sets follow: those that evolve, or the longest sets."""
        evolving = [view for view in self.threads if not view.is_set]
        return evolving or [v for v in self.threads if v.length == self.generations]

    def state(self, now_ns: int) -> str:
        """Return what the session does, in the words of the terminal and of `ctl status`.

        Parameters
        ----------
        now_ns : engine clock
        """
        words = ["paused"] if self.paused else []
        if self.references_only:
            words.append("reference-only")
        if self.gone_ns is not None:
            words.append(f"no rig for {duration_text((now_ns - self.gone_ns) / 1e9)}")
        return ", ".join(words) or "running"

    @property
    def pace(self) -> float:
        """Showings a second, of late, while the rig had something to show; NaN: not known."""
        pace = self.tally.pace
        return float("nan") if pace is None else pace

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first image, up to the last answer.

        Up to the last commit as the terminal counts them, by the engine's own clock; of the
        block under way, which may be long, by the times of its answers.
        """
        return self.tally.elapsed_s + self._begun_s

    @property
    def _begun_s(self) -> float:
        """Seconds from the last commit to the last answer."""
        since = 0 if self._begun_ns is None else max(0, self.latest_ns - self._begun_ns)
        return self._begun_before_s + since / 1e9

    @property
    def left_s(self) -> float | None:
        """Seconds to the last generation, as the terminal has them; None before one is done.

        Less what was shown since the last commit, at the pace of late.
        """
        left_s, pace = self.tally.left_s(sum(view.length for view in self.threads)), self.pace
        if left_s is None or not pace > 0:
            return left_s
        return max(0.0, left_s - (self.presentations - self._answered_then) / pace)

    @property
    def idle_share(self) -> float:
        """How much of the time that it could have shown images the rig had none to show."""
        return self.tally.idle_share

    def pictures(self, generation: GenerationView) -> list[Thumbnail | None]:
        """Return the images of a generation that scored best, best first; None where lost."""
        return [self._pictures.get(sha256) for sha256 in generation.best_digests]

    def rates(self, generation: GenerationView, unit: int) -> NDArray[np.float64]:
        """Return a unit's PSTH in a generation, (t,) spikes/s; NaN where there is none."""
        if unit >= len(generation.counts) or not generation.binned:
            return np.full(len(self.edges_ms) - 1, np.nan)
        return self._per_second(generation.counts[unit], generation)

    def all_units(self, generation: GenerationView) -> NDArray[np.float64]:
        """Return every unit's PSTH in a generation, (u, t) spikes/s; no rows without any."""
        return self._per_second(generation.counts, generation)

    def _per_second(self, counts: Counts, generation: GenerationView) -> NDArray[np.float64]:
        return counts / (np.diff(self.edges_ms) / 1000) / max(1, generation.binned)


def _thread_view(info: ThreadInfo) -> ThreadView:
    try:
        watched = msgspec.json.decode(info.fitness, type=_Watched)
    except msgspec.MsgspecError:
        watched = _Watched()
    return ThreadView(
        info.name,
        watched.units,
        watched.response_ms or watched.late_ms,
        watched.baseline_ms or watched.early_ms,
        score_unit=watched.unit,
        less_name="early" if watched.late_ms else "baseline",
        is_set=info.optimizer == FIXED,
        length=_shares(info),
        is_guided=info.optimizer == GUIDED,
    )


def _shares(info: ThreadInfo) -> int:
    """Return in how many shares a set is shown; 0 of a thread that evolves."""
    if info.optimizer != FIXED:
        return 0
    try:
        known = set_info(info.options)
    except RecordingError:
        return 0
    return 0 if known is None else known.blocks


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
