"""The person's rig: an engine's presentations in, grids for a page, answers out.

Knows a clock that is handed in, and that two threads come here: the rig's client, and the page.
Knows no page and no browser. Of a block, nothing is shown before all that the engine asks for
together is here; while a person thinks, nothing times out, and what the engine asks for again
meanwhile is what is on the page already (`RigLink` sees to that).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rig_bridge.client import Standing
from rig_bridge.messages import Hello, Level, ScreenInfo
from rig_bridge.rigs.person.grid import UNITS, Grid, unanswered
from rig_bridge.rigs.person.orders import (
    Again,
    Appeared,
    Clear,
    Mark,
    Mode,
    PersonOrder,
    Phase,
    Restore,
    Send,
    View,
)
from rig_bridge.steady import unix_ns
from rig_bridge.trials import Image, Presentation, TrialResult

_QUIET_S = 0.2
"""What is asked for together is all here when nothing came during so long."""
_AGAIN, _OVER = "the person asked to see these again", "the session is over"
_DONE = {"pick": "picked", "rank": "ranked", "rate": "rated"}


class RandomStream(Protocol):
    """Random generators by name: strings and integers."""

    def __call__(self, *name: str | int) -> np.random.Generator:
        """Return the generator of a name; the same one for the same name."""
        ...


@dataclass(slots=True, eq=False)
class _Batch:
    """Showings of one block, in the order in which they were asked for."""

    block: int
    images: list[Image] = field(default_factory=list[Image])
    asked: list[Presentation] = field(default_factory=list[Presentation])


def _nothing(_text: str = "") -> None:
    pass


class PersonRig:
    """A presenter whose neuron is a person at a page: `LatePresenter`, `Informed`, `Reporting`.

    Parameters
    ----------
    mode : how the person answers
    stream : random generators by name; put the images into their places
    question : what the person is asked, in a line or two; it goes on the session's record
    tell : told, for the people at the rig, what happens
    clock, now_ns : seconds, monotonic; nanoseconds of the clock of the results
    """

    def __init__(
        self,
        mode: Mode,
        *,
        stream: RandomStream,
        question: str = "",
        tell: Callable[[str], None] = _nothing,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = unix_ns,
    ) -> None:
        self.on_change: Callable[[], None] = _nothing
        """Called after every change of the view, from any thread, and must not wait."""
        self._mode: Mode = mode
        self._question = question
        self._stream, self._tell, self._clock, self._now_ns = stream, tell, clock, now_ns
        self._lock = threading.RLock()
        self._standing = Standing()
        self._news = ""
        self._is_over = False
        self._batches: deque[_Batch] = deque()
        self._asked_at = 0.0
        self._grid: Grid | None = None
        self._results: list[tuple[int, TrialResult]] = []
        self._answered = 0
        self._put_off = False  # the last grid was, as the person asked
        self._asked_of = ""  # the session whose images came last
        self._noticed = ""  # the session that was told how its images are judged

    def hello(self, name: str, *, software: str, display: ScreenInfo) -> Hello:
        """Return what this rig says first."""
        return Hello(
            name=name,
            software=software,
            capabilities=("rates",),
            units=UNITS,
            display=display,
            window_ms=(-10_000.0, 10_000.0),
        )

    # ------------------------------------------------------------------ the client's side

    def prepare(self, images: dict[str, Image]) -> None:
        """Wait for the presentations, which say what is shown how often."""

    def present(self, image: Image, request: Presentation) -> None:
        """Lay an image beside the others of its block; the answer comes later."""
        with self._lock:
            if not self._batches or self._batches[-1].block != request.block:
                self._batches.append(_Batch(request.block))
            self._batches[-1].images.append(image)
            self._batches[-1].asked.append(request)
            self._asked_at, self._asked_of = self._clock(), self._standing.session

    def collect(self) -> Sequence[tuple[int, TrialResult]]:
        """Open the next grid once all of it is here; return what was answered."""
        with self._lock:
            self._open_next()
            results, self._results = self._results, []
        return results

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return, once a session, how its images are judged: it goes on record."""
        with self._lock:
            if self._noticed == self._standing.session:
                return []
            self._noticed = self._standing.session
        asked = f", asked {self._question!r}" if self._question else ""
        return [("info", f"a person is to {self._mode} images{asked}")]

    def stands(self, standing: Standing) -> None:
        """Take how the rig stands with its engine."""
        with self._lock:
            before, self._standing = self._standing, standing
            self._asked_at = self._clock()  # what was held may still be on its way
            if standing.connected:
                self._news = ""
            if before.session and standing.session != before.session:
                self._drop_all()
            if standing.connected and standing.held != before.held:
                self._tell("the session is paused" if standing.held else "the session goes on")
            elif standing.connected and not before.connected:
                self._tell(f"the session is {standing.name!r}")
            elif before.connected and not standing.connected:
                kept = "" if self._grid is None else "; the images stay on the page"
                self._tell(f"the engine is gone{kept}")
        self.on_change()

    def blank(self) -> None:
        """Take everything off the page: the session is over, or the rig leaves."""
        self.over("")

    # ------------------------------------------------------------------ the page's side

    def view(self) -> View:
        """Return what a page shows now."""
        with self._lock:
            standing, grid = self._standing, self._grid
            phase: Phase = "making"
            if self._is_over:
                phase = "over"
            elif grid is not None:
                phase = "grid"
            elif not standing.connected:
                phase = "no engine"
            elif standing.held:
                phase = "paused"
            elif self._asked_of != standing.session:
                phase = "no images yet"
            return View(
                phase=phase,
                mode=self._mode,
                question=self._question,
                session=standing.name,
                connected=standing.connected,
                held=standing.held,
                news=self._news,
                answered=self._answered,
                put_off=self._put_off,
                grid=None if grid is None else grid.view(),
            )

    def image(self, grid: str, place: int) -> Image | None:
        """Return the (h, w, 3) uint8 image at a place of the grid that is open, or None."""
        with self._lock:
            if self._grid is None or self._grid.name != grid:
                return None
            images = self._grid.images
            return images[place] if 0 <= place < len(images) else None

    def apply(self, order: PersonOrder) -> bool:
        """Do what a page asks for; return whether that changed anything.

        What is about another grid than the one that is open changes nothing: it is answered
        already, by another tab, or of an engine that is gone.
        """
        with self._lock:
            grid = self._grid
            if grid is None or grid.name != order.grid:
                return False
            changed = self._changed_by(order, grid)
        if changed:
            self.on_change()
        return changed

    # ------------------------------------------------------------------ the command's side

    def news(self, text: str) -> None:
        """Take what there is to say of the connection, for the page."""
        with self._lock:
            self._news = text
        self.on_change()

    def over(self, reason: str) -> None:
        """Take the news that it is over, and why; '': it is not known, or said already."""
        with self._lock:
            self._is_over, self._grid = True, None
            self._batches.clear()
            self._news = reason or self._news
        self.on_change()

    @property
    def waits(self) -> bool:
        """Whether images wait for the person."""
        with self._lock:
            return self._grid is not None

    # ------------------------------------------------------------------ inside, under the lock

    def _changed_by(self, order: PersonOrder, grid: Grid) -> bool:
        now_ns = self._now_ns()
        if grid.appeared_ns is None and isinstance(order, Mark | Send):
            return False  # nobody has seen these images
        match order:
            case Appeared():
                grid.appear(now_ns)
                return False  # nothing of the view
            case Mark(place=place, stars=stars):
                return grid.mark(place, stars, now_ns)
            case Clear():
                return grid.clear()
            case Restore():
                return grid.restore()
            case Send(nothing=nothing):
                if not grid.marked and not nothing:
                    return False
                seconds = (now_ns - (grid.appeared_ns or now_ns)) / 1e9
                self._close(grid, grid.send(now_ns))
                self._answered += 1
                self._put_off = False
                self._tell(
                    f"block {grid.block}: {grid.marked} of {len(grid.images)} "
                    f"{_DONE[self._mode]}, after {seconds:.0f} s"
                )
                return True
            case Again():
                self._close(grid, grid.give_up(_AGAIN, now_ns))
                self._put_off = True
                self._tell(f"block {grid.block}: to be shown again, as the person asked")
                return True

    def _close(self, grid: Grid, results: Sequence[TrialResult]) -> None:
        self._results += [(grid.block, result) for result in results]
        self._grid = None

    def _open_next(self) -> None:
        if self._grid is not None or not self._batches or self._standing.held:
            return
        is_quiet = self._clock() - self._asked_at >= _QUIET_S
        if not is_quiet and len(self._batches) == 1:
            return
        batch = self._batches.popleft()
        attempt = max(asked.attempt for asked in batch.asked)
        stream = self._stream("grid", batch.block, attempt)
        order: list[int] = stream.permutation(len(batch.asked)).tolist()
        self._grid = Grid(
            secrets.token_hex(8),
            self._mode,
            [batch.images[i] for i in order],
            [batch.asked[i] for i in order],
            opened_ns=self._now_ns(),
        )
        self._tell(f"block {batch.block}: {len(batch.asked)} images are on the page")
        self.on_change()

    def _drop_all(self) -> None:
        """Give up what nobody waits for any more, so that the new session's may come."""
        now_ns, self._put_off = self._now_ns(), False
        if self._grid is not None:
            self._close(self._grid, self._grid.give_up(_OVER, now_ns))
        for batch in self._batches:
            self._results += [(a.block, unanswered(a, _OVER, now_ns)) for a in batch.asked]
        self._batches.clear()
