"""Runs a session: render, record, show, gather, commit, block after block.

The one place where the loop's logic meets generators, the record and a rig. Knows the order in
which things must happen for nothing to be lost: a block is on disk before it is sent, a result
is on disk before it is acknowledged and before an optimizer learns from it. Knows nothing of
sockets (a `RigPort` answers, be it a rig across the network or a simulation in this process),
of signals, or of printing; the clock is handed in.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evolver.config import Config
from evolver.errors import RecordingError
from evolver.optimizers import state_to_dict
from evolver.recording import records
from evolver.recording.records import Array
from evolver.session import REFERENCE, Block, Outcome, Presentation, Response, Session
from evolver.types import Generator
from rig_bridge.events import BlockDone, Resent, Responded, RigEvent, RigJoined, RigLost
from rig_bridge.messages import Notice
from rig_bridge.trials import PresentationRequest, ShowRequest, TrialResult

logger = logging.getLogger(__name__)

_SHOWN_AT_ONCE = 256  # a request's header has a limit
_RETRY_S = 2.0
_POLL_S = 0.05  # the longest an acknowledgement waits once its result is on disk


class RigPort(Protocol):
    """What shows images and answers with responses."""

    @property
    def encode_seconds(self) -> float:
        """Time spent turning requests into frames since the beginning."""
        ...

    @property
    def send_seconds(self) -> float:
        """Time spent handing frames over since the beginning."""
        ...

    def show(self, request: ShowRequest) -> None:
        """Ask for presentations; returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[RigEvent]:
        """Return what happened; wait at most `timeout_s` for it."""
        ...

    def ack(self, block: int, presentations: Sequence[int]) -> None:
        """Say that these results are on disk, so that the rig may forget them."""
        ...


class Recorder(Protocol):
    """Where records go."""

    def submit(
        self, record: records.AnyRecord, on_durable: Callable[[], None] | None = None
    ) -> None:
        """Take a record; returns at once. `on_durable` is called from another OS thread."""
        ...

    def barrier(self) -> None:
        """Return when everything submitted is on disk."""
        ...

    def retry(self) -> None:
        """Forget a storage error and write again what it held up."""
        ...

    def take_busy_seconds(self) -> float:
        """Return the time spent writing and syncing since this was last asked."""
        ...


class Clock(Protocol):
    """Time, handed in."""

    def time_ns(self) -> int:
        """Return ns since the unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What a person watching wants to know."""

    block: int  # blocks committed
    blocks: int
    shown: int  # presentations answered in the block under way
    planned: int  # presentations in it
    aborted: int  # in the session
    presentations: int  # answered in the session
    elapsed_s: float  # since the first block
    outcome: Outcome | None  # of a block just committed; None between
    budget: records.TimeBudget | None
    event: str  # what happened besides; empty mostly


class Stopped(Exception):  # noqa: N818  not an error: the operator asked for it
    """The operator ended the session while a block was on screen."""


class Loop:
    """One session, from the first block to the last.

    Parameters
    ----------
    config : the session file's values
    session : the loop's logic
    generators : one a thread
    references : images, each (h, w, 3) uint8; their labels beside them
    rig : RigPort, already joined
    recorder : Recorder, RunStart and RigJoined already submitted
    clock : Clock
    should_stop : asked often; True ends the session without losing what was shown
    on_progress : called after every change
    """

    def __init__(
        self,
        config: Config,
        session: Session,
        *,
        generators: Sequence[Generator],
        references: Sequence[NDArray[np.uint8]],
        reference_labels: Sequence[str],
        rig: RigPort,
        recorder: Recorder,
        clock: Clock,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._config, self._session = config, session
        self._generators = generators
        self._references = [_Image.of(image) for image in references]
        self._reference_labels = tuple(reference_labels)
        self._rig, self._recorder, self._clock = rig, recorder, clock
        self._should_stop, self._on_progress = should_stop, on_progress
        self._recorded_images: set[str] = set()
        self._durable: deque[int] = deque()  # filled by the recorder's worker
        self._aborted = self._answered = 0
        self._blocked_s = 0.0
        self._started = clock.monotonic()

    def run(self) -> str:
        """Run to the end; return why it ended: "finished" or "stopped by operator"."""
        self._started = self._clock.monotonic()
        try:
            while not self._session.finished:
                if self._should_stop():
                    return "stopped by operator"
                self._block()
        except Stopped:
            return "stopped by operator"
        return "finished"

    def _block(self) -> None:
        rig, now = self._rig, self._clock.monotonic
        t0, encode0, send0, blocked0 = (
            now(),
            rig.encode_seconds,
            rig.send_seconds,
            self._blocked_s,
        )
        block = self._session.propose()
        t1 = now()
        images = [
            [_Image.of(image) for image in self._generators[p.thread].render(p.codes)]
            for p in block.proposals
        ]
        t2 = now()
        self._propose_to_record(block, images)
        responses = self._show_until_complete(block, images)
        t3 = now()
        outcome = self._session.commit(responses)
        t4 = now()
        encode, send = rig.encode_seconds - encode0, rig.send_seconds - send0
        blocked = self._blocked_s - blocked0
        budget = records.TimeBudget(
            propose=t1 - t0,
            render=t2 - t1,
            encode=encode,
            send=send,
            wait=max(0.0, t3 - t2 - encode - send - blocked),
            score=t4 - t3,
            journal=self._recorder.take_busy_seconds(),
            blocked=blocked,
            total=t4 - t0,
        )
        self._submit(
            records.Committed(
                block=block.index,
                time_ns=self._clock.time_ns(),
                threads=tuple(
                    records.CommittedThread(
                        t.thread, t.generation, Array.of(t.scores), Array.of(t.sem)
                    )
                    for t in outcome.threads
                ),
                reference_scores=tuple(Array.of(s) for s in outcome.reference_scores),
                budget=budget,
            )
        )
        self._report(block, len(block.presentations), outcome=outcome, budget=budget)

    def _propose_to_record(self, block: Block, images: list[list[_Image]]) -> None:
        for image in [*self._references, *(i for row in images for i in row)]:
            if image.sha256 not in self._recorded_images:
                self._recorded_images.add(image.sha256)
                self._submit(records.ImagePixels(image.sha256, Array.of(image.pixels)))
        show = self._config.presentation
        self._submit(
            records.Proposed(
                block=block.index,
                time_ns=self._clock.time_ns(),
                threads=tuple(
                    records.ProposedThread(
                        thread=p.thread,
                        generation=p.generation,
                        codes=Array.of(p.codes),
                        images=tuple(image.sha256 for image in rows),
                        optimizer_state=_state_record(state_to_dict(p.state)),
                        rng_state=p.rng_state,
                    )
                    for p, rows in zip(block.proposals, images, strict=True)
                ),
                references=tuple(image.sha256 for image in self._references),
                reference_labels=self._reference_labels,
                presentations=tuple(
                    records.PlannedPresentation(
                        p.presentation, p.thread, p.row, p.repeat, show.on_ms, show.off_ms
                    )
                    for p in block.presentations
                ),
            )
        )

    def _show_until_complete(self, block: Block, images: list[list[_Image]]) -> list[Response]:
        """Show the block until the missing-trial policy is content; return all responses."""
        responses: list[Response] = []
        attempt = 0
        while pending := self._session.still_to_show(responses):
            attempt += 1
            answered = {r.presentation for r in responses}
            if again := len(answered.intersection(pending)):
                self._event("info", "reshow", f"block {block.index}: {again} again")
            pending = pending[:_SHOWN_AT_ONCE]  # the rest comes in the next turn
            self._sent(block.index, attempt, pending)
            self._barrier()
            wanted = [block.presentations[i] for i in _places(block, pending)]
            self._rig.show(self._request(block, attempt, wanted, images))
            attempt = self._gather(block, attempt, responses)
        return responses

    def _gather(self, block: Block, attempt: int, responses: list[Response]) -> int:
        """Collect one request's results; return the last attempt's number."""
        done = False
        while not done:
            for event in self._rig.poll(_POLL_S):
                match event:
                    case Responded(_, trials):
                        self._take(block, trials, responses)
                    case BlockDone():
                        done = True
                    case Resent(_, attempt, presentations):
                        self._sent(block.index, attempt, presentations)
                        self._event("warning", "resent", f"block {block.index} sent again")
                    case RigJoined(hello):
                        self._event("info", "rig_joined", f"{hello.name} is back")
                    case RigLost(reason):
                        self._event("warning", "rig_lost", reason)
                    case Notice(level, text):
                        self._event(level, "rig_notice", text)
                    case _:
                        pass
            self._acknowledge(block.index)
            if self._should_stop() and not done:
                self._barrier()
                self._acknowledge(block.index)
                raise Stopped
        # The optimizer learns only from what is on disk.
        self._barrier()
        self._acknowledge(block.index)
        return attempt

    def _take(
        self, block: Block, trials: Sequence[TrialResult], responses: list[Response]
    ) -> None:
        for trial in trials:
            self._submit(
                _result_record(block.index, trial, self._clock.time_ns()),
                lambda number=trial.presentation: self._durable.append(number),
            )
            ok = trial.status == "ok"
            responses.append(Response(trial.presentation, ok, trial.form, trial.arrays))
            self._answered += 1
            self._aborted += not ok
        shown = len({r.presentation for r in responses if r.ok})
        self._report(block, shown)

    def _acknowledge(self, block: int) -> None:
        numbers: list[int] = []
        while self._durable:
            numbers.append(self._durable.popleft())
        if numbers:
            self._rig.ack(block, numbers)

    def _request(
        self,
        block: Block,
        attempt: int,
        wanted: Sequence[Presentation],
        images: list[list[_Image]],
    ) -> ShowRequest:
        show = self._config.presentation
        places: dict[str, int] = {}
        pixels: list[NDArray[np.uint8]] = []
        presentations: list[PresentationRequest] = []
        for p in wanted:
            image = (
                self._references[p.row] if p.thread == REFERENCE else images[p.thread][p.row]
            )
            if image.sha256 not in places:
                places[image.sha256] = len(pixels)
                pixels.append(image.pixels)
            presentations.append(
                PresentationRequest(
                    p.presentation, places[image.sha256], show.on_ms, show.off_ms
                )
            )
        return ShowRequest(
            block=block.index,
            attempt=attempt,
            images=tuple(pixels),
            sha256=tuple(places),
            presentations=tuple(presentations),
            size_deg=show.size_deg,
            position_deg=show.position_deg,
        )

    def _sent(self, block: int, attempt: int, presentations: Sequence[int]) -> None:
        self._submit(records.Sent(block, attempt, tuple(presentations), self._clock.time_ns()))

    def _event(self, level: str, name: str, text: str) -> None:
        logger.log(logging.getLevelNamesMapping()[level.upper()], "%s: %s", name, text)
        self._submit(event_record(self._clock.time_ns(), level, name, text))
        self._report(None, 0, event=text)

    def _submit(
        self, record: records.AnyRecord, on_durable: Callable[[], None] | None = None
    ) -> None:
        self._until_stored(partial(self._recorder.submit, record, on_durable))

    def _barrier(self) -> None:
        started = self._clock.monotonic()
        self._until_stored(self._recorder.barrier)
        self._blocked_s += self._clock.monotonic() - started

    def _until_stored(self, act: Callable[[], None]) -> None:
        """Do `act`; while the disk refuses, say so and try again: nothing is shown meanwhile.

        A full disk is made room on by a person, in minutes; what was measured waits in memory,
        and with the rig, which forgets no result before it is acknowledged.
        """
        while True:
            try:
                act()
            except RecordingError as exc:
                if self._should_stop():
                    raise
                logger.error("%s", exc)  # noqa: TRY400  the place is known; the message says all
                text = f"paused, the disk refuses: {exc}. Trying again every {_RETRY_S:.0f} s"
                self._report(None, 0, event=text)
                self._clock.sleep(_RETRY_S)
                self._recorder.retry()
            else:
                return

    def _report(
        self,
        block: Block | None,
        shown: int,
        *,
        outcome: Outcome | None = None,
        budget: records.TimeBudget | None = None,
        event: str = "",
    ) -> None:
        self._on_progress(
            Progress(
                block=self._session.blocks_done,
                blocks=self._session.generations,
                shown=shown,
                planned=0 if block is None else len(block.presentations),
                aborted=self._aborted,
                presentations=self._answered,
                elapsed_s=self._clock.monotonic() - self._started,
                outcome=outcome,
                budget=budget,
                event=event,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """Pixels and the digest of their bytes, which is the image's identity."""

    pixels: NDArray[np.uint8]  # (h, w, 3), C order
    sha256: str

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> _Image:
        solid = np.ascontiguousarray(pixels)
        return cls(solid, hashlib.sha256(solid.data).hexdigest())


def event_record(time_ns: int, level: str, name: str, text: str) -> records.Event:
    """Return an event's record; an unknown level counts as a warning."""
    match level:
        case "info" | "error":
            return records.Event(time_ns, level, name, text)
        case _:
            return records.Event(time_ns, "warning", name, text)


def _places(block: Block, numbers: Sequence[int]) -> list[int]:
    first = block.presentations[0].presentation
    return [number - first for number in numbers]


def _state_record(
    state: Mapping[str, NDArray[np.float64] | int | float],
) -> dict[str, Array | int | float]:
    return {
        name: Array.of(value) if isinstance(value, np.ndarray) else value
        for name, value in state.items()
    }


def _result_record(block: int, trial: TrialResult, received_ns: int) -> records.Result:
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
        arrays={name: Array.of(array) for name, array in trial.arrays.items()},
    )
