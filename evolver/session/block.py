"""One block while it is shown: its images, what is asked for, what has come back.

Values in memory; no rig, no disk, no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolver.config.tables import PresentationTable
from evolver.journal.records import PlannedPresentation
from evolver.session.schedule import REFERENCE, Block
from rig_bridge.messages import PresentationRequest
from rig_bridge.trials import ShowRequest, TrialResult

SHOWN_AT_ONCE = 256
"""Presentations in one request, whose header has a limit."""


@dataclass(frozen=True, slots=True, eq=False)
class HashedImage:
    """Pixels and the digest of their bytes, which is the image's identity."""

    pixels: NDArray[np.uint8]  # (h, w, 3), C order
    sha256: str

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> HashedImage:
        """Take pixels, copied only where they are not in C order."""
        solid = np.ascontiguousarray(pixels)
        return cls(solid, hashlib.sha256(solid.data).hexdigest())


@dataclass(frozen=True, slots=True, eq=False)
class RenderedThread:
    """One thread's images of one block."""

    thread: int
    images: tuple[HashedImage, ...]  # a row of the codes each
    began: float  # seconds, monotonic
    ended: float


@dataclass(slots=True, eq=False)
class RunningBlock:
    """A block from its proposal to its commit.

    Attributes
    ----------
    rendering : its images while they are being rendered, a thread each; taken into `images`
    proposed_at : when, seconds, monotonic; the other times of this block are in seconds too
    results : every attempt that was answered
    in_flight : presentations that were asked for and are not answered
    known : presentation -> the last attempt that was answered
    last_attempt, unanswered : of a block that was interrupted: the last attempt number that was
        used, and what was asked for then, by the attempt
    same_attempts : a simulation answers the same question as it would have
    wait_s, timed : how long the rig was showing this block, and so many showings in that time:
        not those that it had kept from before the rig or the engine was gone, or stood still
    frozen_s : of it, an engine before this one may have stood still, about to fall
    resent : presentation -> attempt under which it was asked for again of its own accord
    recorded : `Proposed` is in the journal
    """

    block: Block
    rendering: list[Future[RenderedThread]]
    proposed_at: float
    propose_s: float
    images: dict[int, tuple[HashedImage, ...]] = field(
        default_factory=dict[int, "tuple[HashedImage, ...]"]
    )
    results: list[TrialResult] = field(default_factory=list[TrialResult])
    in_flight: set[int] = field(default_factory=set[int])
    known: dict[int, int] = field(default_factory=dict[int, int])
    last_attempt: int = 0
    unanswered: dict[int, tuple[int, ...]] = field(default_factory=dict[int, "tuple[int, ...]"])
    same_attempts: bool = False
    recorded: bool = False
    shown_once: bool = False
    render_s: float = 0.0
    encode_s: float = 0.0
    send_s: float = 0.0
    blocked_s: float = 0.0
    idle_s: float = 0.0
    wait_s: float = 0.0
    timed: int = 0
    frozen_s: float = 0.0
    resent: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def is_rendered(self) -> bool:
        """Whether every image is there."""
        return all(future.done() for future in self.rendering)

    def take_images(self, still_s: Callable[[float, float], float]) -> None:
        """Fetch what was rendered; raise what rendering raised.

        Parameters
        ----------
        still_s : how much of the time from one to another the engine stood still, seconds
        """
        for future in self.rendering:
            rendered = future.result()
            self.images[rendered.thread] = rendered.images
            seconds = rendered.ended - rendered.began
            seconds -= still_s(rendered.began, rendered.ended)
            self.render_s = max(self.render_s, seconds)  # they render at the same time
        self.rendering = []

    def take(self, result: TrialResult, *, timed: bool = True) -> None:
        """Take one result.

        Parameters
        ----------
        result : TrialResult
        timed : it was shown in time that counts as showing, if this process asked for it
        """
        self.results.append(result)
        asked = self.resent.get(result.presentation, self.last_attempt + 1)
        self.timed += timed and result.attempt >= asked
        self.in_flight.discard(result.presentation)
        self.known[result.presentation] = result.attempt

    def parts(self, pending: Sequence[int], attempt: int) -> list[tuple[int, Sequence[int]]]:
        """Return the requests to make for `pending`: attempt number and presentations.

        What was under way when the session was interrupted comes first, by itself: it is no
        repetition, and the rest is repeated only when all of it has been answered.

        Parameters
        ----------
        pending : presentations still to show, in order
        attempt : the next one for the rig
        """
        attempt = max(attempt, self.last_attempt + 1)
        groups: list[tuple[int, Sequence[int]]] = []
        if self.unanswered:
            left = set(pending)
            for k, (before, numbers) in enumerate(self.unanswered.items()):
                ask = [number for number in numbers if number in left]
                groups.append((before if self.same_attempts else attempt + k, ask))
            self.unanswered = {}
            groups = [group for group in groups if group[1]]
        if not groups:
            return [
                (attempt + k, pending[i : i + SHOWN_AT_ONCE])
                for k, i in enumerate(range(0, len(pending), SHOWN_AT_ONCE))
            ]
        return groups

    @property
    def valid(self) -> int:
        """Presentations that were answered and not aborted."""
        return len({r.presentation for r in self.results if r.ok})

    def image(
        self, planned: PlannedPresentation, references: Sequence[HashedImage]
    ) -> HashedImage:
        """Return what a presentation shows."""
        if planned.thread == REFERENCE:
            return references[planned.row]
        return self.images[planned.thread][planned.row]

    def request(
        self,
        numbers: Sequence[int],
        attempt: int,
        references: Sequence[HashedImage],
        table: PresentationTable,
    ) -> ShowRequest:
        """Return the request for some of the block's presentations, each image in it once."""
        places: dict[str, int] = {}
        pixels: list[NDArray[np.uint8]] = []
        presentations: list[PresentationRequest] = []
        for number in numbers:
            planned = self.block.planned(number)
            if planned is None:
                raise ValueError(f"presentation {number} is none of block {self.block.index}")
            image = self.image(planned, references)
            if image.sha256 not in places:
                places[image.sha256] = len(pixels)
                pixels.append(image.pixels)
            item = self.block.item(planned)
            size_deg, position_deg = (item and item.place) or (None, None)
            presentations.append(
                PresentationRequest(
                    presentation=number,
                    image=places[image.sha256],
                    on_ms=planned.on_ms,
                    off_ms=planned.off_ms,
                    known_attempt=self.known.get(number, 0),
                    size_deg=size_deg,
                    position_deg=position_deg,
                )
            )
        return ShowRequest(
            block=self.block.index,
            attempt=attempt,
            images=tuple(pixels),
            sha256=tuple(places),
            presentations=tuple(presentations),
            size_deg=table.size_deg,
            position_deg=table.position_deg,
        )
