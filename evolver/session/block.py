"""One block while it is shown: its images, what is asked for, what has come back.

Values in memory; no rig, no disk, no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolver.config.tables import PresentationTable
from evolver.journal import records
from evolver.journal.records import PackedArray
from evolver.optimizers import state_to_dict
from evolver.session.schedule import REFERENCE, Block, Presentation, Response
from rig_bridge.trials import PresentationRequest, ShowRequest, TrialResult

SHOWN_AT_ONCE = 256
"""Presentations in one request, whose header has a limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels and the digest of their bytes, which is the image's identity."""

    pixels: NDArray[np.uint8]  # (h, w, 3), C order
    sha256: str

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Picture:
        """Take pixels, copied only where they are not in C order."""
        solid = np.ascontiguousarray(pixels)
        return cls(solid, hashlib.sha256(solid.data).hexdigest())


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One thread's images of one block."""

    thread: int
    pictures: tuple[Picture, ...]  # a row of the codes each
    seconds: float


@dataclass(slots=True, eq=False)
class Running:
    """A block from its proposal to its commit."""

    block: Block
    rendering: list[Future[Rendered]]
    proposed_at: float  # seconds, monotonic
    propose_s: float
    pictures: dict[int, tuple[Picture, ...]] = field(
        default_factory=dict[int, "tuple[Picture, ...]"]
    )
    responses: list[Response] = field(default_factory=list[Response])
    in_flight: set[int] = field(default_factory=set[int])  # asked for, not answered
    known: dict[int, int] = field(default_factory=dict[int, int])  # presentation -> attempt
    last_attempt: int = 0  # of a block that was interrupted
    unanswered: dict[int, tuple[int, ...]] = field(
        default_factory=dict[int, "tuple[int, ...]"]
    )  # what was asked for then, by the attempt
    same_attempts: bool = False  # a simulation answers the same question as it would have
    recorded: bool = False  # Proposed is in the journal
    shown_once: bool = False
    render_s: float = 0.0
    encode_s: float = 0.0
    send_s: float = 0.0
    blocked_s: float = 0.0
    idle_s: float = 0.0
    sent_at: float | None = None
    answered_at: float | None = None

    @property
    def rendered(self) -> bool:
        """Whether every image is there."""
        return all(future.done() for future in self.rendering)

    def take_pictures(self) -> None:
        """Fetch what was rendered; raise what rendering raised."""
        for future in self.rendering:
            done = future.result()
            self.pictures[done.thread] = done.pictures
            self.render_s = max(self.render_s, done.seconds)  # they render at the same time
        self.rendering = []

    def take(self, trial: TrialResult) -> Response:
        """Take one result; return it as the session's logic knows it."""
        response = Response(trial.presentation, trial.status == "ok", trial.form, trial.arrays)
        self.responses.append(response)
        self.in_flight.discard(trial.presentation)
        self.known[trial.presentation] = trial.attempt
        return response

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
        return len({r.presentation for r in self.responses if r.ok})

    def picture(self, p: Presentation, references: Sequence[Picture]) -> Picture:
        """Return what presentation `p` shows."""
        return references[p.row] if p.thread == REFERENCE else self.pictures[p.thread][p.row]

    def request(
        self,
        numbers: Sequence[int],
        attempt: int,
        references: Sequence[Picture],
        show: PresentationTable,
    ) -> ShowRequest:
        """Return the request for some of the block's presentations, each image in it once."""
        first = self.block.presentations[0].presentation
        places: dict[str, int] = {}
        pixels: list[NDArray[np.uint8]] = []
        presentations: list[PresentationRequest] = []
        for number in numbers:
            picture = self.picture(self.block.presentations[number - first], references)
            if picture.sha256 not in places:
                places[picture.sha256] = len(pixels)
                pixels.append(picture.pixels)
            presentations.append(
                PresentationRequest(
                    number,
                    places[picture.sha256],
                    show.on_ms,
                    show.off_ms,
                    self.known.get(number, 0),
                )
            )
        return ShowRequest(
            block=self.block.index,
            attempt=attempt,
            images=tuple(pixels),
            sha256=tuple(places),
            presentations=tuple(presentations),
            size_deg=show.size_deg,
            position_deg=show.position_deg,
        )

    def proposed(
        self,
        references: Sequence[Picture],
        labels: Sequence[str],
        show: PresentationTable,
        *,
        time_ns: int,
    ) -> records.Proposed:
        """Return the block's record, before any of it is shown."""
        with_references = self.block.references > 0
        return records.Proposed(
            block=self.block.index,
            time_ns=time_ns,
            threads=tuple(
                records.ProposedThread(
                    thread=p.thread,
                    generation=p.generation,
                    codes=PackedArray.of(p.codes),
                    images=tuple(picture.sha256 for picture in self.pictures[p.thread]),
                    optimizer_state=_state_record(state_to_dict(p.state)),
                    rng_state=p.rng_state,
                )
                for p in self.block.proposals
            ),
            references=tuple(r.sha256 for r in references) if with_references else (),
            reference_labels=tuple(labels) if with_references else (),
            presentations=tuple(
                records.PlannedPresentation(
                    p.presentation, p.thread, p.row, p.repeat, show.on_ms, show.off_ms
                )
                for p in self.block.presentations
            ),
        )


def result_record(block: int, trial: TrialResult, received_ns: int) -> records.Result:
    """Return the record of one result, everything the rig said."""
    return records.Result(
        block=block,
        presentation=trial.presentation,
        attempt=trial.attempt,
        status=trial.status,
        reason=trial.reason,
        received_ns=received_ns,
        commanded_ns=trial.commanded_ns,
        onset_ns=trial.onset_ns,
        offset_ns=trial.offset_ns,
        onset_source=trial.onset_source,
        form=trial.form,
        arrays={name: PackedArray.of(array) for name, array in trial.arrays.items()},
    )


def _state_record(
    state: Mapping[str, NDArray[np.float64] | int | float],
) -> dict[str, PackedArray | int | float]:
    return {
        name: PackedArray.of(value) if isinstance(value, np.ndarray) else value
        for name, value in state.items()
    }
