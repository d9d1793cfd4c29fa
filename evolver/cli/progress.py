"""What a person watching a session sees in the terminal.

Knows rich, and what `Progress` says. Knows nothing of how a session runs; drawing never holds
one up, because the picture is only rebuilt a few times a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from evolver.journal import records
from evolver.session.ports import Progress
from evolver.types import Scores

_BARS = "▁▂▃▄▅▆▇█"
_TREND = 30  # columns of the trend


@dataclass(slots=True)
class _ThreadView:
    name: str
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
        return "-" if np.isnan(self.reference) else f"{self.reference:.1f}"


def _finite(scores: records.PackedArray) -> Scores:
    values = np.asarray(scores.numpy(), dtype=np.float64)
    return values[np.isfinite(values)]


class ProgressView:
    """Live table of a session on a terminal; one line a block where there is none.

    Parameters
    ----------
    console : rich.console.Console
    title : first line
    threads : names, in order
    unit : of the scores, as "spikes/s"
    """

    def __init__(
        self, console: Console, *, title: str, threads: Sequence[str], unit: str = "spikes/s"
    ) -> None:
        self._console, self._title, self._unit = console, title, unit
        self._views = [_ThreadView(name) for name in threads]
        self._last: Progress | None = None
        self._event = ""
        self._waiting = ""
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture standing."""
        if self._console.is_terminal:
            self._live.stop()

    def begin(self, title: str) -> None:
        """Show another first line, now that more is known."""
        self._title = title
        if not self._console.is_terminal:
            self._console.print(title)

    def wait(self, text: str) -> None:
        """Say what the session waits for; '' when it goes on."""
        self._waiting = text
        if text and not self._console.is_terminal:
            self._console.print(text)

    def update(self, progress: Progress) -> None:
        """Take news of the session."""
        if progress.event:
            self._event = progress.event
            if not self._console.is_terminal:
                self._console.print(f"  {progress.event}")
        if progress.committed is not None:
            for index, view in enumerate(self._views):
                view.add(progress.committed, index)
        if progress.planned or self._last is None:
            self._last = progress
        scored = progress.committed is not None and progress.committed.threads
        if scored and not self._console.is_terminal:
            self._console.print(self._line(progress), highlight=False)

    def _line(self, progress: Progress) -> str:
        scores = "  ".join(
            f"{view.name} {view.means[-1]:.1f} (best {view.best:.1f}, "
            f"references {view.yardstick})"
            for view in self._views
            if view.means
        )
        return (
            f"generation {progress.generation:>4}/{progress.generations}  {scores}  "
            f"{self._pace(progress)}  {_left(progress)}"
        )

    @staticmethod
    def _pace(progress: Progress) -> str:
        if progress.elapsed_s <= 0:
            return ""
        return f"{progress.presentations / progress.elapsed_s:.1f} images/s"

    def _picture(self) -> Group:
        title = Text(self._title, style="bold")
        if self._last is None:
            return Group(title, Text(self._waiting or "starting …", style="dim"))
        progress = self._last
        done, of = progress.generation, progress.generations
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            f"generation {min(done + 1, of)} of {of}",
            ProgressBar(total=of, completed=done, width=40),
            _left(progress),
        )
        return Group(title, bar, self._table(), self._footer(progress))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        unit = f"mean ± sem [{self._unit}]".replace("[", r"\[")
        table.add_column("thread", overflow="ellipsis", no_wrap=True)
        for title, least in ((unit, 13), ("best image", 6), ("references", 6)):
            table.add_column(title, justify="right", min_width=least)
        table.add_column("mean score by generation", overflow="crop", no_wrap=True)
        low, high = self._range()
        for view in self._views:
            if not view.means:
                table.add_row(view.name, "…", "…", "…", "")
                continue
            table.add_row(
                view.name,
                f"{view.means[-1]:.1f} ± {view.sem:.1f}",
                f"{view.best:.1f}",
                view.yardstick,
                Text(sparkline(view.means, low, high), style="cyan"),
            )
        return table

    def _range(self) -> tuple[float, float]:
        values = [x for view in self._views for x in view.means]
        return (min(values), max(values)) if values else (0.0, 1.0)

    def _footer(self, progress: Progress) -> Text:
        parts = [
            f"{progress.presentations} presentations ({progress.aborted} aborted)",
            f"rig {self._pace(progress)}",
        ]
        if progress.elapsed_s > 0 and progress.presentations:
            parts.append(f"rig idle {progress.idle_s / progress.elapsed_s:.1%} of the time")
        if progress.state != "running":
            parts.append(progress.state.upper())
        if self._waiting:
            parts.append(self._waiting)
        elif self._event:
            parts.append(self._event)
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
    done, of = progress.generation, progress.generations
    if done == 0 or done >= of:
        return ""
    seconds = progress.elapsed_s / done * (of - done)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text} left"
