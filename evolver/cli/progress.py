"""What a person watching a session sees in the terminal.

Knows rich, and what `Progress` says. Knows nothing of how a session runs; drawing never holds
one up, because the picture is only rebuilt a few times a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evolver.clock import SYSTEM_CLOCK, duration_text, time_text, waiting_text
from evolver.journal import records
from evolver.plain_text import plain
from evolver.report.words import score
from evolver.session.ports import Progress, held_text
from evolver.types import Scores

_BARS = "▁▂▃▄▅▆▇█"
_TREND = 30  # columns of the trend
_BAR = 18  # columns of the bar of generations
_TITLE_LINES, _STATE_LINES, _EVENT_LINES = 2, 2, 3  # at most


@dataclass(slots=True)
class _ThreadView:
    name: str
    unit: str
    means: list[float] = field(default_factory=list[float])
    reference: float = float("nan")
    sem: float = float("nan")
    best: float = -float("inf")

    def add(self, committed: records.Committed, index: int) -> None:
        """Take what a block says of thread number `index`."""
        for thread in committed.threads:
            if thread.thread == index:
                valid = _finite(thread.scores)
                n = len(valid)
                self.means.append(float(valid.mean()))
                self.sem = float(valid.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
                self.best = max(self.best, float(valid.max()))
        references = _finite(committed.reference_scores[index])
        if len(references):
            self.reference = float(references.mean())

    @property
    def yardstick(self) -> str:
        """The references' last mean score."""
        return score(self.reference, self.unit)


def _finite(scores: records.PackedArray) -> Scores:
    values = np.asarray(scores.numpy(), dtype=np.float64)
    return values[np.isfinite(values)]


class _Lines:
    """A text of at most so many lines, none wider than the terminal."""

    def __init__(self, text: str, style: str, most: int) -> None:
        self._text, self._most = Text(plain(text), style=style), most

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        lines = list(self._text.wrap(console, width, overflow="fold", no_wrap=False))
        if len(lines) > self._most:
            last = lines[self._most - 1]
            last.truncate(max(1, width - 1))
            lines = [*lines[: self._most - 1], last.append("…")]
        yield from lines


class _Wrapping:
    """Folds what is too wide, also on a console that leaves wrapping to the terminal.

    Such a console has a live display cut off at its edge, and what is cut off is nowhere.
    """

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._content, options.update(no_wrap=False, overflow="fold"))


class ProgressView:
    """Live table of a session on a terminal; one line a block where there is none.

    State and last event have lines of their own, above all else: neither a narrow terminal nor
    one with few lines can hide them.

    Parameters
    ----------
    console : rich.console.Console
    title : first line
    threads : names, in order
    units : of the scores, one a thread; spikes/s if not given
    step : what is counted: "generation", or "block" where nothing evolves
    """

    def __init__(
        self,
        console: Console,
        *,
        title: str,
        threads: Sequence[str],
        units: Sequence[str] | None = None,
        step: Literal["generation", "block"] = "generation",
    ) -> None:
        self._console, self._title, self._step = console, title, step
        # A terminal that cannot move its cursor gets lines, as a pipe does.
        self._draws = console.is_terminal and not console.is_dumb_terminal
        units = ["spikes/s"] * len(threads) if units is None else units
        self._views = [
            _ThreadView(name, unit) for name, unit in zip(threads, units, strict=True)
        ]
        self._last: Progress | None = None
        self._event, self._event_ns = "", 0
        self._over = False
        self._waiting, self._no_rig_since_ns = "", 0
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._draws:
            self._live.start()
        else:
            self._print(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture standing; it says that the session is over."""
        self._over = True
        if self._draws:
            self._live.stop()

    def event(self, text: str) -> None:
        """Take news that is not the loop's, as that a process was started again."""
        self._event, self._event_ns = text, SYSTEM_CLOCK.time_ns()

    def begin(self, title: str) -> None:
        """Show another first line, now that more is known."""
        self._title = title
        if not self._draws:
            self._print(title)

    def remember(self, committed: records.Committed) -> None:
        """Take a block from before the session was interrupted."""
        for index, view in enumerate(self._views):
            view.add(committed, index)

    def wait(self, text: str, no_rig_since_ns: int = 0) -> None:
        """Say what the session waits for, as a console hears it; '' when it goes on."""
        self._waiting, self._no_rig_since_ns = text, no_rig_since_ns
        if text and not self._draws:
            self._print(text)

    def _print(self, text: str) -> None:
        """Print a line as it is: no markup, for a rig or an operator may have written it."""
        self._console.print(plain(text), markup=False, highlight=False)

    def update(self, progress: Progress) -> None:
        """Take news of the session."""
        if progress.event:
            self._event, self._event_ns = progress.event, progress.event_ns
            if not self._draws:
                self._print(f"  {self._last_event}")
        if progress.committed is not None:
            self.remember(progress.committed)
        self._last = progress
        scored = progress.committed is not None and progress.committed.threads
        if scored and not self._draws:
            self._print(self._line(progress))

    def _line(self, progress: Progress) -> str:
        scores = "  ".join(
            f"{view.name} {score(view.means[-1], view.unit)} "
            f"(best {score(view.best, view.unit)}, references {view.yardstick})"
            f"{'' if view.unit == 'spikes/s' else f' {view.unit}'}"
            for view in self._views
            if view.means
        )
        return (
            f"{self._step} {progress.generation:>4}/{progress.generations}  {scores}  "
            f"{self._pace(progress)}  {_left(progress)}"
        )

    @staticmethod
    def _pace(progress: Progress) -> str:
        return "" if progress.pace is None else f"{progress.pace:.1f} images/s"

    @property
    def _last_event(self) -> str:
        """The last event, with its time where that is known."""
        return f"{time_text(self._event_ns)}  {self._event}" if self._event_ns else self._event

    def _picture(self) -> RenderableType:
        title = _Lines(self._title, "bold", _TITLE_LINES)
        if self._last is None:
            return _Lines(f"{self._title}\n{self._waits_for or 'starting …'}", "bold", 4)
        progress = self._last
        event = _Lines(self._last_event or "nothing happened yet", "dim", _EVENT_LINES)
        done, of = progress.generation, progress.generations
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            f"{done} of {of} {self._step}s done",
            ProgressBar(total=of, completed=done, width=_BAR),
            "" if self._over else _left(progress),
        )
        state = self._state(progress)
        return _Wrapping(Group(title, state, event, bar, self._table(), self._footer(progress)))

    @property
    def _waits_for(self) -> str:
        return waiting_text(self._waiting, self._no_rig_since_ns, SYSTEM_CLOCK.time_ns())

    def _state(self, progress: Progress) -> RenderableType:
        if self._over:
            return _Lines("ended", "bold", _STATE_LINES)
        if self._waiting:
            text = held_text(self._waits_for, progress.state)
            return _Lines(text, "yellow", _STATE_LINES)
        if progress.state == "running":
            return _Lines("running", "green", _STATE_LINES)
        return _Lines(progress.state.upper(), "bold red", _STATE_LINES)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        units = {view.unit for view in self._views}
        heading = f"mean ± sem [{', '.join(units)}]" if len(units) == 1 else "mean ± sem"
        unit = heading.replace("[", r"\[")
        table.add_column("thread", overflow="ellipsis", no_wrap=True)
        for title, least in ((unit, 13), ("best image", 10), ("references", 10)):
            table.add_column(title, justify="right", min_width=least)
        table.add_column(f"by {self._step}", overflow="crop", no_wrap=True, min_width=5)
        for view in self._views:
            low, high = self._range(view.unit)
            if not view.means:
                table.add_row(view.name, "…", "…", "…", "")
                continue
            after = f" {view.unit}" if len(units) > 1 else ""
            table.add_row(
                view.name,
                f"{score(view.means[-1], view.unit)} ± {score(view.sem, view.unit)}{after}",
                score(view.best, view.unit),
                view.yardstick,
                Text(sparkline(view.means, low, high), style="cyan"),
            )
        return table

    def _range(self, unit: str) -> tuple[float, float]:
        values = [x for view in self._views if view.unit == unit for x in view.means]
        return (min(values), max(values)) if values else (0.0, 1.0)

    def _footer(self, progress: Progress) -> Text:
        parts = [f"{progress.presentations} presentations ({progress.aborted} aborted)"]
        if progress.pace is not None:
            parts += [self._pace(progress), f"rig idle {progress.idle_share:.1%}"]
        if progress.paused_s >= 1:
            parts.append(f"paused {duration_text(progress.paused_s)} in all")
        if progress.no_rig_s >= 1:
            parts.append(f"no rig for {duration_text(progress.no_rig_s)} in all")
        if progress.frozen_s >= 1:
            parts.append(f"engine frozen for {duration_text(progress.frozen_s)} in all")
        return Text(" · ".join(parts), style="dim")


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Return `values` as a row of bars between `low` and `high`, at most 30 columns wide."""
    data = np.asarray(values, dtype=np.float64)
    if len(data) > _TREND:
        data = np.array([part.mean() for part in np.array_split(data, _TREND)])
    span = high - low
    levels = np.zeros(len(data)) if span <= 0 else (data - low) / span
    steps = np.clip(np.floor(levels * len(_BARS)), 0, len(_BARS) - 1).astype(int)
    return "".join(_BARS[i] for i in steps)


def _left(progress: Progress) -> str:
    if progress.left_s is None or progress.generation >= progress.generations:
        return ""
    return f"{duration_text(math.ceil(progress.left_s))} left"
