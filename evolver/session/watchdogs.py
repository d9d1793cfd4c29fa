"""Watchdogs: look at results and scores, warn when something is wrong, or pause by rule.

Values in, warnings and commands out: no clock, no I/O. Each watchdog is something labs have
lost sessions to. One that has warned is silent until what it looks at was good again, so that a
warning comes once and not with every block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.config.tables import Config, WatchdogsTable
from evolver.journal import records
from evolver.session.ports import Command
from evolver.session.schedule import Block, Outcome
from rig_bridge.clocks import ClockFit
from rig_bridge.messages import Hello
from rig_bridge.trials import TrialResult

_CLOCKED_EVERY_NS = 1_000_000_000

WarningList: TypeAlias = list[Command | str]
"""Texts, and commands by rule."""

_NORMAL_BLOCKS = 5
"""Blocks at the beginning that say what is normal."""
_RECENT = 200
"""Showings that say how a recording is doing."""
_INVALID = 3
"""Messages of the rig in a row that cannot be taken: it will not get better by asking."""
_ENOUGH = 40
"""Showings before a share of them is believed."""
_BACK = 3
"""Onsets of the last `_ENOUGH` that are before the one before them: not a clock set once."""
_OFF = 10
"""Pairs of times in a row, a second apart, that fit neither those before nor each other."""


@dataclass(slots=True, eq=False)
class _Normal:
    """A number a block, compared with its first blocks."""

    first: list[float] = field(default_factory=list[float])

    def distance(self, mean: float, error: float) -> float | None:
        """Return how far `mean` is from normal, in standard deviations, once known."""
        if len(self.first) < _NORMAL_BLOCKS:
            self.first.append(mean)
            return None
        spread = float(np.std(self.first, ddof=1))
        return abs(mean - self.mean) / max(float(np.hypot(spread, error)), 1e-9)

    @property
    def mean(self) -> float:
        """What is normal."""
        return float(np.mean(self.first))


@dataclass(slots=True, eq=False)
class Watchdogs:
    """All the watchdogs of one session; a `WatchdogsPort`.

    Parameters
    ----------
    table : the session file's [watchdogs]
    units : rows of the rig's unit table that scores are made of, and their labels
    n_units : rows of that table
    presentation_s : what one showing takes as planned, seconds
    window_ms : in which spikes are recorded, from onset
    """

    table: WatchdogsTable
    units: Mapping[int, str]
    n_units: int
    presentation_s: float
    window_ms: tuple[float, float]
    _valid: deque[bool] = field(default_factory=lambda: deque[bool](maxlen=_RECENT))
    _in_a_row: int = 0
    _invalid: int = 0  # messages that could not be taken, since the last valid response
    _silent: dict[int, int] = field(default_factory=dict[int, int])  # showings without a spike
    _rates: dict[int, deque[float]] = field(default_factory=dict[int, "deque[float]"])
    # Spikes before onset of each showing, by block: the next is answered before one is over.
    _before: dict[int, list[float]] = field(default_factory=dict[int, "list[float]"])
    _baseline: _Normal = field(default_factory=_Normal)
    _references: dict[int, _Normal] = field(default_factory=dict[int, _Normal])
    _warned: set[str] = field(default_factory=set[str])
    _clock: ClockFit = field(init=False)
    _clocked_ns: int = -_CLOCKED_EVERY_NS  # when it was last handed a pair of times
    _since_woke: list[tuple[int, int]] | None = None
    """Pairs of times since the engine stood still, until two of them agree."""
    _off: int = 0  # pairs in a row that are off the fit
    _fitted: tuple[int, int] = (0, 0)  # the last one that was not: rig's clock, engine's
    _onset: tuple[int, int, int, int] = (-1, 0, 0, 0)  # block, attempt, presentation, ns
    _back: deque[int] = field(default_factory=lambda: deque[int](maxlen=_ENOUGH))
    """By how much each onset was before the one before it, ns; below 0 where it was after."""

    def __post_init__(self) -> None:
        """Make the fit of the two clocks, with this session's threshold."""
        self._clock = ClockFit(span_s=3600.0, step_s=self.table.clock_s, alarm_s=3600.0)

    @classmethod
    def of(cls, config: Config, hello: Hello) -> Watchdogs:
        """Return the watchdogs of a session file, for a rig that has its units."""
        labels = [unit.label for unit in hello.units]
        wanted = {
            u for k in range(len(config.all_threads)) for u in config.fitness_of(k).scored
        }
        rows = {u if isinstance(u, int) else labels.index(u) for u in wanted}
        show = config.presentation
        return cls(
            table=config.watchdogs,
            units={row: labels[row] for row in sorted(rows)},
            n_units=len(labels),
            presentation_s=(show.on_ms + show.off_ms) / 1000,
            window_ms=config.rig.window_ms,
        )

    def answered(
        self,
        block: Block,
        results: Sequence[TrialResult],
        time_ns: int,
    ) -> WarningList:
        """Take results and when they came, ns; return warnings, or commands by rule."""
        if any(result.ok for result in results):
            self._invalid = 0
        warnings = self._clocks(block.index, results, time_ns)
        for result in results:
            ok = result.ok
            self._valid.append(ok)
            self._in_a_row = 0 if ok else self._in_a_row + 1
            if not ok and "loss" in result.reason:
                warnings += self._warn("spike loss", f"spikes were lost: {result.reason}")
            elif ok and result.form == "spikes":
                self._clear("spike loss")
                self._count(block.index, result.arrays)
            elif ok and result.form == "counts":
                edges_ms = result.arrays["edges_ms"].astype(np.float64)
                fired = result.arrays["counts"].sum(axis=1, dtype=np.float64)
                self._follow_units(fired, float(edges_ms[-1] - edges_ms[0]) / 1000)
            # After each showing, so that it is the same however answers are grouped.
            warnings += [*self._aborts(), *self._units()]
        return warnings

    def invalid(self, reason: str) -> WarningList:
        """Take the news that the rig sent what cannot be taken; return the same."""
        self._invalid += 1
        if self._invalid < _INVALID:
            return []
        self._invalid = 0  # said again after an operator has resumed
        self._clear("invalid")
        text = f"no valid response came among {_INVALID} messages of the rig; {reason}"
        return self._warn("invalid", text)

    def woke(self) -> None:
        """Take the news that this engine stood still: answers have waited, or its clock has.

        How the rig's clock goes against the engine's is found out anew, from two pairs of times
        that agree.
        """
        self._since_woke, self._off = [], 0

    def committed(
        self, block: Block, outcome: Outcome, budget: records.TimeBudget
    ) -> WarningList:
        """Take a scored block; return the same."""
        planned = len(block.presentations) * self.presentation_s
        slow = budget.wait > planned * self.table.slow_block + 1.0
        warnings = self._warn_if(
            "pace",
            slow,
            f"block {block.index} took {budget.wait:.0f} s on the rig instead of "
            f"{planned:.0f} s",
        )
        warnings += self._warn_if(
            "idle",
            budget.idle > self.table.idle_s,
            f"the rig had nothing to show for {budget.idle:.1f} s before block {block.index}, "
            f"whose images took {budget.render:.1f} s to render",
        )
        return [
            *warnings,
            *self._drift_of_baseline(block.index),
            *self._drift_of_references(outcome),
        ]

    def summary(self) -> list[str]:
        """Return what is worth keeping of the whole session: how the two clocks went."""
        line, left = self._clock.line, self._clock.residual
        if line is None:
            return []
        text = (
            f"the rig's clock against the engine's: rate {(1 / line.rate - 1) * 1e6:+.1f} "
            f"millionths, {self._clock.steps} jumps; residual of the last {left.pairs} answers "
            f"{left.rms_s * 1e3:.1f} ms rms, {left.max_s * 1e3:.1f} ms at most, network and "
            "grouping of answers included"
        )
        return [text]

    # ------------------------------------------------------------------ the single watchdogs

    def _clocks(self, block: int, results: Sequence[TrialResult], time_ns: int) -> WarningList:
        # A simulated clock keeps its own time; a showing that was aborted may have had none.
        timed = [t for t in results if t.ok and t.onset_source != "simulated"]
        warnings = [*self._onsets(block, timed)]
        if not timed or 0 <= time_ns - self._clocked_ns < _CLOCKED_EVERY_NS:
            return warnings
        self._clocked_ns = time_ns
        last = max(t.offset_ns for t in timed)  # the one that waited least
        if self._since_woke is not None:
            self._since_woke.append((last, time_ns))
            pairs = self._since_woke[-2:]
            passed = [b - a for a, b in zip(*pairs, strict=True)] if len(pairs) == 2 else None
            agree = (
                passed is not None and abs(passed[1] - passed[0]) <= self.table.clock_s * 1e9
            )
            if not agree and len(self._since_woke) <= _OFF:
                return warnings
            self._since_woke = None
            self._clock.forget()
            self._clock.add(*pairs[0])
            self._fitted = pairs[0]
        line = self._clock.line
        off = 0.0 if line is None else (time_ns - line.at(last)) / 1e9
        jumped = self._clock.add(last, time_ns)
        if abs(off) <= self.table.clock_s or jumped:
            self._off, self._fitted = 0, (last, time_ns)
        else:
            self._off += 1
        if self._off >= _OFF and "clock 1" not in self._warned:  # else that says it
            gone, passed = (
                (b - a) / 1e9 for a, b in zip(self._fitted, (last, time_ns), strict=True)
            )
            text = (
                f"the rig's clock went on by {gone:.3f} s while {passed:.1f} s passed here: "
                "onset_ns and offset_ns must be nanoseconds on one clock of the rig's that "
                "runs. Mend the rig; when its images were shown is not known till then"
            )
            return [*warnings, *self._warn("clock", text)]
        text = (
            f"the rig's clock jumped by {-off:+.3f} s against the engine's, or its answers "
            "come with another delay: set no clock during a session, and look at the network"
        )
        if self._off and not jumped:
            return warnings  # not known yet, and not well either
        return [*warnings, *self._warn_if("clock", jumped, text)]

    def _onsets(self, block: int, timed: Sequence[TrialResult]) -> WarningList:
        """Look whether onsets follow one another as their images did."""
        for t in timed:
            before, self._onset = self._onset, (block, t.attempt, t.presentation, t.onset_ns)
            # What was asked for in one request is shown in the order of its numbers.
            if before[:2] == self._onset[:2] and before[2] < t.presentation:
                self._back.append(before[3] - t.onset_ns)
        bad = [ns for ns in self._back if ns > 0]  # where only a batch has a time, 0 is usual
        if not bad:
            self._clear("clock", which=1)
        if len(bad) < _BACK:
            return []
        text = (
            f"{len(bad)} of the last {len(self._back)} onsets were before the one before them, "
            f"by up to {max(bad) / 1e9:.3f} s: the rig's clock runs back again and again. "
            "onset_ns must come from one clock that only goes forward; mend the "
            "rig, and let nothing set its clock during a session"
        )
        return self._warn("clock", text, which=1)

    def _aborts(self) -> WarningList:
        n = len(self._valid)
        share = 1 - sum(self._valid) / n if n else 0.0
        if self._in_a_row >= self.table.aborts_in_a_row:
            return self._warn("aborts", f"the last {self._in_a_row} showings were aborted")
        many = n >= _ENOUGH and share > self.table.abort_share
        return self._warn_if(
            "aborts", many, f"{share:.0%} of the last {n} showings were aborted"
        )

    def _count(self, block: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        rows = arrays["units"].astype(np.int64)
        counts = np.bincount(rows, minlength=self.n_units)
        seconds = (self.window_ms[1] - self.window_ms[0]) / 1000
        early = np.bincount(rows[arrays["times_ms"] < 0], minlength=self.n_units)
        self._before.setdefault(block, []).append(float(sum(early[row] for row in self.units)))
        self._follow_units(counts, seconds)

    def _follow_units(self, spikes: NDArray[Any], seconds: float) -> None:
        """Take how often each unit fired in so many seconds."""
        for row in self.units:
            fired = float(spikes[row])
            self._silent[row] = 0 if fired else self._silent.get(row, 0) + 1
            self._rates.setdefault(row, deque(maxlen=_ENOUGH)).append(fired / seconds)

    def _units(self) -> WarningList:
        warnings: WarningList = []
        for row, label in self.units.items():
            silent = self._silent.get(row, 0)
            warnings += self._warn_if(
                "dead unit",
                silent >= self.table.silent_showings,
                f"unit {row} ({label}) fired no spike in {silent} showings",
                which=row,
            )
            rates = self._rates.get(row, ())
            mean = float(np.mean(rates)) if len(rates) == _ENOUGH else 0.0
            warnings += self._warn_if(
                "noisy unit",
                mean > self.table.noisy_hz,
                f"unit {row} ({label}) fires {mean:.0f} spikes/s, more than a neuron does",
                which=row,
            )
        return warnings

    def _drift_of_baseline(self, block: int) -> WarningList:
        before = np.array(self._before.pop(block, []))
        if self.window_ms[0] >= 0 or len(before) < 2:
            return []
        seconds = -self.window_ms[0] / 1000 * len(self.units)
        rate = float(before.mean()) / seconds
        error = float(before.std(ddof=1)) / np.sqrt(len(before)) / seconds
        away = self._baseline.distance(rate, float(error))
        if away is None:
            return []
        text = f"the baseline is {rate:.1f} spikes/s; it was {self._baseline.mean:.1f} at first"
        return self._warn_if("baseline", away > self.table.drift_sd, text)

    def _drift_of_references(self, outcome: Outcome) -> WarningList:
        warnings: WarningList = []
        for k, levels in enumerate(outcome.reference_levels):
            valid = levels[np.isfinite(levels)]
            if len(valid) < 2:
                continue
            normal = self._references.setdefault(k, _Normal())
            mean = float(valid.mean())
            away = normal.distance(mean, float(valid.std(ddof=1)) / float(np.sqrt(len(valid))))
            if away is not None:
                warnings += self._warn_if(
                    "drift",
                    away > self.table.drift_sd,
                    f"the references drive thread {k}'s units to {mean:.1f} spikes/s; at first "
                    f"it was {normal.mean:.1f}",
                    which=k,
                )
        return warnings

    # ------------------------------------------------------------------ warnings

    def _warn_if(self, name: str, bad: bool, text: str, *, which: int = 0) -> WarningList:  # noqa: FBT001  the verdict
        if bad:
            return self._warn(name, text, which=which)
        self._clear(name, which=which)
        return []

    def _warn(self, name: str, text: str, *, which: int = 0) -> WarningList:
        key = f"{name} {which}"
        if key in self._warned:
            return []
        self._warned.add(key)
        if name in self.table.pause_on:
            return [Command("pause", text, by=f"the watchdog '{name}'")]
        return [f"{name}: {text}"]

    def _clear(self, name: str, *, which: int = 0) -> None:
        self._warned.discard(f"{name} {which}")
