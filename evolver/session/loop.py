"""Runs a session: render, record, show, gather, commit, block after block.

The one place where the loop's logic meets generators, the record and a rig. Knows the order in
which things must happen for nothing to be lost: a block is on disk before it is sent, a result
is on disk before it is acknowledged and before an optimizer learns from it. And for no time to
be wasted: images are rendered on workers of their own, and the next block is with the rig
before the last one is over, wherever the session's schedule allows it. Knows nothing of sockets
(a `RigPort` answers, be it a rig across the network or a simulation in this process), of
signals, or of printing; the clock is handed in.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from evolver.clock import Clock, duration_text
from evolver.config.tables import Config
from evolver.errors import RecordingError
from evolver.journal import records
from evolver.journal.rig_time import FROZEN, Missed, RigTime
from evolver.session import to_records
from evolver.session.block import HashedImage, RenderedThread, RunningBlock
from evolver.session.ports import (
    ENDED_BY,
    WAITING_FOR_DISK,
    Command,
    Commands,
    Earlier,
    EndReason,
    Progress,
    RecorderPort,
    RigPort,
    WatchdogsPort,
)
from evolver.session.schedule import Block, Proposal, Session
from evolver.types import Generator
from rig_bridge.events import (
    FROZEN_S,
    EngineWoke,
    Resent,
    Responded,
    RigEvent,
    RigInvalid,
    RigJoined,
    RigLost,
)
from rig_bridge.messages import Notice
from rig_bridge.notices import NoticeLimit
from rig_bridge.trials import TrialResult

logger = logging.getLogger(__name__)

BLOCKS_AT_ONCE = 3
"""Blocks that overlap: one on screen, one waiting behind it, one being rendered."""
_IMAGES_REMEMBERED = 4096  # digests; an image that comes later is recorded again
_RETRY_S = 2.0
_REFUSALS_EVERY_S = 60.0  # an event for so many seconds of refusals, after the first
_REPORT_EVERY_S = 0.5  # however little happens, so that who watches hears that it goes on
_POLL_S = 0.05  # the longest an acknowledgement waits once its result is on disk
_POLL_RENDERING_S = 0.002  # the longest a rendered block waits


class Loop:
    """One session, from the first block, or where it was interrupted, to the last.

    Parameters
    ----------
    config : the session file's values
    session : the loop's logic
    generators : one a thread
    references : images, each (h, w, 3) uint8; their labels beside them
    rig : RigPort, already joined
    recorder : RecorderPort, RunStart and RigJoined already submitted
    clock : Clock
    commands : asked often for what an operator wants
    on_progress : called after every change
    watchdogs : warn of what goes wrong; None: there are none
    running : blocks that were interrupted, `session.pending`, with what is known of them
    recorded_images : digests of the pixels that are in the journal already
    earlier : what the session has behind it where it goes on
    notices : of the rig, from before there was this loop, each with its time, ns
    blocks_at_once : so many overlap, at most
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
        recorder: RecorderPort,
        clock: Clock,
        commands: Commands,
        on_progress: Callable[[Progress], None],
        watchdogs: WatchdogsPort | None = None,
        running: Sequence[RunningBlock] = (),
        recorded_images: Sequence[str] = (),
        earlier: Earlier | None = None,
        notices: Sequence[tuple[int, Notice]] = (),
        blocks_at_once: int = BLOCKS_AT_ONCE,
    ) -> None:
        self._config, self._session = config, session
        self._generators = generators
        self._references = [HashedImage.of(image) for image in references]
        self._reference_labels = tuple(reference_labels)
        self._rig, self._recorder, self._clock = rig, recorder, clock
        self._commands, self._on_progress, self._watchdogs = commands, on_progress, watchdogs
        self._running = {block.block.index: block for block in running}
        self._blocks_at_once = blocks_at_once
        self._recorded_images = dict.fromkeys(recorded_images[-_IMAGES_REMEMBERED:])
        self._durable: deque[tuple[int, int]] = deque()  # filled by the recorder's worker
        self._ending: EndReason | None = None
        self._paused = self._references_only = False
        self._earlier, self._notices = earlier or Earlier(), notices
        self._tally = self._earlier.tally.copy()
        self._aborted, self._answered = self._earlier.aborted, self._earlier.answered
        self._blocked_s = 0.0
        self._thawed = False  # this engine stood still, and what came meanwhile is not read yet
        self._refused_lately = self._listened_late = False  # between two looks at the rig
        self._rig_time = RigTime()
        self._rig_time.skip(clock.monotonic())
        self._missed = self._earlier.missed  # until a block is committed
        # Of blocks under way, before this process.
        self._earlier_wait_s = sum(block.wait_s for block in running)
        self._earlier_idle_s = sum(block.idle_s for block in running)
        self._begun = self._earlier.begun  # something was shown
        self._unscorable: set[int] = set()  # blocks of which that was said
        self._noticed: dict[int, str] = {}  # what was last said of a thread's optimizer
        self._refused = False  # the disk refuses, and nothing goes on
        self._gone_at: float | None = None  # there is no rig since
        self._heard_at = self._reported_at = clock.monotonic()
        self._postponed: deque[Command] = deque()  # came while the disk refused
        self._renderers: ThreadPoolExecutor | None = None

    def run(self) -> EndReason:
        """Run to the end; return why it ended."""
        reason = self._run()
        for text in () if self._watchdogs is None else self._watchdogs.summary():
            self._event("info", "summary", text)
        return reason

    def _run(self) -> EndReason:
        started = self._heard_at = self._clock.monotonic()
        self._rig_time.skip(started)
        for interrupted in self._running.values():  # its time before was another process's
            interrupted.proposed_at = started
            interrupted.results = [self._scorable(interrupted, r) for r in interrupted.results]
        for time_ns, notice in self._notices:
            self._event(notice.level, "rig_notice", notice.text, time_ns)
        if not self._rig.connected:
            what = "the session went on" if self._begun else "the first image"
            self._event("warning", "rig_lost", f"the rig went before {what}")
        elif self._begun:  # else what was said last may be of a rig that was gone
            text = "the session goes on, the rig is there"
            self._report(None, event=text, event_ns=self._clock.time_ns())
        with ThreadPoolExecutor(len(self._generators), "render") as self._renderers:
            try:
                while True:
                    self._apply_commands()
                    if self._ending is not None:
                        return self._ending
                    if not self._paused:
                        self._advance()
                    if self._session.finished and not self._references_only:
                        return "finished"
                    self._receive()
            finally:
                for running in self._running.values():
                    for future in running.rendering:
                        future.cancel()

    def store(self, *wanted: records.AnyRecord) -> None:
        """Return once these records are on disk, however long the disk refuses.

        Raises
        ------
        RecordingError
            The disk refuses, and the operator wants to end.
        """
        for record in wanted:
            self._submit(record)
        self._barrier()

    # ------------------------------------------------------------------ commands

    def _apply_commands(self) -> None:
        self._postponed.extend(self._commands())
        while self._postponed:
            self._apply(self._postponed.popleft())

    def _apply(self, command: Command) -> None:
        text = f"{command.name} by {command.by}" + (f": {command.text}" if command.text else "")
        match command.name:
            case "note":
                text = command.text
            case "pause":
                self._hold(True)
            case "resume":
                self._references_only = False
                self._hold(False)
            case "reference-only":
                if not self._references:
                    self._event(
                        "warning",
                        "refused",
                        f"{text}; refused, the session has no reference images",
                    )
                    return
                self._references_only = True
                self._hold(False)  # it says what is to be shown
            case "stop" | "abort":
                self._ending = ENDED_BY[command.name]
        name = command.name.replace("-", "_")
        self._event("info" if command.by == "operator" else "warning", name, text)
        if self._ending == "stopped by operator":
            self._hold(True)
            self._settle()

    def _hold(self, on: bool) -> None:  # noqa: FBT001  as the port's
        if on != self._paused:
            self._paused = on
            self._rig.hold(on)
            self._heard_at = self._clock.monotonic()
            self._follow_rig()

    def _settle(self) -> None:
        """Wait for what the rig says of the presentation under way, and put it on disk."""
        show, window = self._config.presentation, self._config.rig.window_ms
        patience = (show.on_ms + show.off_ms + window[1]) / 1000 + 0.1
        until = self._clock.monotonic() + patience
        while self._busy and self._clock.monotonic() < until:
            for event in self._rig.poll(_POLL_S):
                self._handle(event)
        self._barrier()
        self._acknowledge()

    # ------------------------------------------------------------------ forward

    @property
    def _busy(self) -> bool:
        return any(running.in_flight for running in self._running.values())

    def _follow_rig(self) -> float:
        """Take note of what the rig does now; return the time, seconds, monotonic."""
        now = self._clock.monotonic()
        if self._rig_time.passed_s(now) > FROZEN_S:
            self._stand_still(now)
        connected = self._rig.connected
        if connected:
            self._gone_at = None
        elif self._gone_at is None:
            self._gone_at = now
        if not self._begun:
            self._rig_time.enter("starting", now)
        elif not connected:
            self._rig_time.enter("no rig", now)
        elif self._paused or self._refused:
            self._rig_time.enter("paused", now)
        else:
            self._rig_time.enter("showing" if self._busy else "idle", now)
        return now

    def _stand_still(self, now: float) -> None:
        """Count what passed as time in which this engine stood still."""
        self._thawed = self._rig_time.stand_still(now) > 0 or self._thawed

    def _count(self) -> None:
        """Count what passed as what the rig did: this engine was busy, or listened."""
        self._rig_time.enter(self._rig_time.state, self._clock.monotonic())

    def _advance(self) -> None:
        """Do all that can be done without waiting, the earliest block first."""
        for index in sorted(self._running):
            running = self._running[index]
            if running.shown_once and not running.in_flight:
                pending = self._session.still_to_show(index, running.results)
                if pending:
                    self._show(running, pending)
                elif self._session.may_commit(index):
                    self._commit(running)
        while len(self._running) < self._blocks_at_once and self._propose():
            pass
        for index in sorted(self._running):
            running = self._running[index]
            if running.shown_once:
                continue
            if not running.is_rendered:
                break  # blocks are shown in their order
            running.take_images(self._rig_time.still_s)
            self._show(running, self._session.still_to_show(index, running.results))

    def _propose(self) -> bool:
        """Propose what is due and have it rendered; return whether anything was."""
        before = self._clock.monotonic()
        if self._references_only:
            if len(self._running) > 1:
                return False
            block = self._session.propose_references()
        elif self._session.can_propose:
            block = self._session.propose()
        else:
            return False
        now = self._clock.monotonic()
        self._count()
        self._note_optimizers(block)
        futures = [self._render(proposal) for proposal in block.proposals]
        self._running[block.index] = RunningBlock(block, futures, before, now - before)
        return True

    def _note_optimizers(self, block: Block) -> None:
        """Record what optimizers came upon when they were asked; the same words once."""
        for proposal in block.proposals:
            thread = self._session.threads[proposal.thread]
            notice = getattr(thread.optimizer, "notice", "")
            if notice and notice != self._noticed.get(proposal.thread):
                self._noticed[proposal.thread] = notice
                self._event("warning", "optimizer", f"{thread.name}: {notice}")

    def _render(self, proposal: Proposal) -> Future[RenderedThread]:
        def render() -> RenderedThread:
            started = self._clock.monotonic()
            images = self._generators[proposal.thread].render(proposal.codes)
            hashed = tuple(HashedImage.of(pixels) for pixels in images)
            return RenderedThread(proposal.thread, hashed, started, self._clock.monotonic())

        if self._renderers is None:
            raise RuntimeError("images are rendered inside run()")
        return self._renderers.submit(render)

    def _show(self, running: RunningBlock, pending: Sequence[int]) -> None:
        """Put what is to be shown on disk, then ask the rig for it."""
        block, blocked = running.block, self._blocked_s
        if not running.recorded:
            self._record_block(running)
        parts = running.parts(pending, self._rig.next_attempt(block.index))
        if again := len(
            running.known.keys() & {number for _, part in parts for number in part}
        ):
            shown = f"{again} presentation{'' if again == 1 else 's'} shown again"
            self._event("info", "reshow", f"block {block.index}: {shown}")
        running.shown_once = True
        for attempt, part in parts:
            self._record_sent(block.index, attempt, part)
        self._barrier()
        running.blocked_s += self._blocked_s - blocked
        encode, send = self._rig.encode_seconds, self._rig.send_seconds
        if pending:
            running.idle_s += self._rig_time.claim("idle", self._follow_rig())
            self._begun = True
        running.in_flight.update(*(part for _, part in parts))
        self._heard_at = self._follow_rig()
        table = self._config.presentation
        for attempt, part in parts:
            self._rig.show(running.request(part, attempt, self._references, table))
        running.encode_s += self._rig.encode_seconds - encode
        running.send_s += self._rig.send_seconds - send

    def _record_block(self, running: RunningBlock) -> None:
        images = [image for row in running.images.values() for image in row]
        if running.block.references:
            images = [*self._references, *images]
        for image in images:
            is_new = image.sha256 not in self._recorded_images
            self._recorded_images.pop(image.sha256, None)
            self._recorded_images[image.sha256] = None  # the last one seen is the last to go
            if is_new:
                self._submit(to_records.image_record(image))
        while len(self._recorded_images) > _IMAGES_REMEMBERED:
            del self._recorded_images[next(iter(self._recorded_images))]
        self._submit(
            to_records.proposed_record(
                running,
                self._references,
                self._reference_labels,
                time_ns=self._clock.time_ns(),
            )
        )
        running.recorded = True

    def _commit(self, running: RunningBlock) -> None:
        """Let the optimizers learn, from what is on disk only."""
        blocked = self._blocked_s
        self._barrier()
        self._acknowledge()
        running.blocked_s += self._blocked_s - blocked
        started = self._clock.monotonic()
        outcome = self._session.commit(running.block.index, running.results)
        self._count()
        now = self._clock.monotonic()
        del self._running[running.block.index]
        own = self._budget(running, score=now - started, now=now)
        missed, self._missed = self._missed, Missed()
        budget = msgspec.structs.replace(
            own,
            idle=own.idle + missed.idle_s,
            paused=own.paused + missed.paused_s,
            no_rig=own.no_rig + missed.no_rig_s,
            frozen=own.frozen + missed.frozen_s,
        )
        committed = to_records.committed_record(outcome, budget, self._clock.time_ns())
        self._submit(committed)
        self._tally.add(committed)
        self._report(running, committed=committed)
        for text in outcome.news:
            self._event("info", "fitness", text)
        if self._watchdogs is not None:
            watched = msgspec.structs.replace(own, wait=own.wait - running.frozen_s)
            self._apply_warnings(self._watchdogs.committed(running.block, outcome, watched))

    def _budget(self, running: RunningBlock, *, score: float, now: float) -> records.TimeBudget:
        return records.TimeBudget(
            propose=running.propose_s,
            render=running.render_s,
            encode=running.encode_s,
            send=running.send_s,
            wait=running.wait_s,
            score=score,
            journal=self._recorder.take_busy_seconds(),
            blocked=running.blocked_s,
            idle=running.idle_s,
            paused=self._rig_time.claim("paused", now),
            no_rig=self._rig_time.claim("no rig", now),
            frozen=self._rig_time.claim("frozen", now),
            shown=running.timed,
            total=now - running.proposed_at,
        )

    # ------------------------------------------------------------------ what comes back

    def _receive(self) -> None:
        futures = [
            f for running in self._running.values() for f in running.rendering if not f.done()
        ]
        # Where the disk was waited for, that was said, and is why nobody listened.
        self._listened_late, self._refused_lately = self._refused_lately, False
        if futures and not self._busy:
            wait(futures, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            events = self._rig.poll(0.0)
        else:
            events = self._rig.poll(_POLL_RENDERING_S if futures else _POLL_S)
        if any(isinstance(event, EngineWoke) for event in events):
            self._stand_still(self._clock.monotonic())
        self._count()
        for event in events:
            self._handle(event)
        self._thawed = False
        self._acknowledge()
        if self._follow_rig() - self._reported_at >= _REPORT_EVERY_S:
            self._report(None)

    def _handle(self, event: RigEvent) -> None:
        self._heard_at = self._follow_rig()
        match event:
            case Responded(block, trials):
                self._take(block, trials)
            case Resent(block, attempt, presentations):
                if (running := self._running.get(block)) is not None:
                    running.resent.update(dict.fromkeys(presentations, attempt))
                self._record_sent(block, attempt, presentations)
                self._event("warning", "resent", f"block {block} sent again")
            case RigJoined(hello):
                self._event("info", "rig_joined", f"{hello.name} is back")
            case RigLost(reason):
                self._event("warning", "rig_lost", reason)
            case EngineWoke(seconds):
                self._take_freeze(seconds)
            case RigInvalid(reason):
                if self._watchdogs is not None:
                    self._apply_warnings(self._watchdogs.invalid(reason))
            case Notice(level, text):
                self._event(level, "rig_notice", text)
            case _:
                pass

    def _take_freeze(self, seconds: float) -> None:
        """Say that this engine stood still, and have nobody else blamed for it."""
        if self._watchdogs is not None:
            self._watchdogs.woke()
        if self._begun and not self._listened_late:
            text = (
                f"this engine stood still for {seconds:.0f} s: its process was stopped, or the "
                "machine slept, swapped, or had a slow disk. The rig is not to blame for it"
            )
            self._event("warning", FROZEN, text)

    def _take(self, block: int, results: Sequence[TrialResult]) -> None:
        running = self._running.get(block)
        if running is None:
            self._event("warning", "late_result", f"of block {block}, which is over: dropped")
            return
        taken: list[TrialResult] = []
        for answer in results:
            result = self._scorable(running, answer)
            taken.append(result)
            key = (block, result.presentation)
            self._submit(
                to_records.result_record(block, result, self._clock.time_ns()),
                lambda key=key: self._durable.append(key),
            )
            running.take(result, timed=not self._thawed)
            self._aborted += not result.ok
            self._answered += 1
        running.wait_s += self._rig_time.claim("showing", self._follow_rig())
        self._report(running)
        if self._watchdogs is not None:
            now_ns = self._clock.time_ns()
            self._apply_warnings(self._watchdogs.answered(running.block, taken, now_ns))

    def _scorable(self, running: RunningBlock, result: TrialResult) -> TrialResult:
        """Return a result as it is to be recorded: aborted, with the reason, without a score.

        What was measured is kept with it. The first of a block is an event.
        """
        index = running.block.index
        fault = self._session.fault_of(index, result)
        if not fault:
            return result
        reason = f"cannot be scored: {fault}"
        said = f"block {index}, presentation {result.presentation} {reason}"
        if self._watchdogs is not None:
            self._apply_warnings(self._watchdogs.invalid(said))
        if index not in self._unscorable:
            self._unscorable.add(index)
            self._event("warning", "unscorable", f"{said}; aborted")
        return msgspec.structs.replace(result, status="aborted", reason=reason[:200])

    def _apply_warnings(self, warnings: Sequence[Command | str]) -> None:
        """Do what watchdogs command, and record what they warn of."""
        for warning in warnings:
            if isinstance(warning, Command):
                self._apply(warning)
            else:
                self._event("warning", "watchdog", warning)

    def _acknowledge(self) -> None:
        blocks: dict[int, list[int]] = {}
        while self._durable:
            block, number = self._durable.popleft()
            blocks.setdefault(block, []).append(number)
        for block, numbers in blocks.items():
            self._rig.ack(block, numbers)

    # ------------------------------------------------------------------ the record

    def _record_sent(self, block: int, attempt: int, presentations: Sequence[int]) -> None:
        self._submit(
            to_records.sent_record(block, attempt, presentations, self._clock.time_ns())
        )

    def _event(self, level: str, name: str, text: str, time_ns: int = 0) -> None:
        """Record and report an event; of now, if it has no time of its own."""
        logger.log(logging.getLevelNamesMapping()[level.upper()], "%s: %s", name, text)
        time_ns = time_ns or self._clock.time_ns()
        self._submit(to_records.event_record(time_ns, level, name, text))
        self._report(None, event=text, event_ns=time_ns)

    def say(self, text: str) -> None:
        """Tell who watches what happened; nothing is recorded."""
        self._report(None, event=text, event_ns=self._clock.time_ns())

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
        refusals = NoticeLimit(at_once=1, every_s=_REFUSALS_EVERY_S)
        while True:
            try:
                act()
            except RecordingError as exc:
                self._postponed.extend(self._commands())
                if any(command.name in {"stop", "abort"} for command in self._postponed):
                    raise
                self._refused = self._refused_lately = True
                self._follow_rig()
                text = f"paused, the disk refuses: {exc}. Trying again every {_RETRY_S:.0f} s"
                said = refusals.admit("disk", Notice("error", text), self._clock.monotonic())
                for notice in said:
                    logger.error("%s", notice.text)  # noqa: TRY400  it says all
                    self._report(None, event=notice.text, event_ns=self._clock.time_ns())
                if not said:
                    self._report(None)
                self._clock.sleep(_RETRY_S)
                self._recorder.retry()
            else:
                if self._refused:
                    self._follow_rig()  # what passed was a pause
                    self._refused = False
                    self._heard_at = self._follow_rig()
                    self._event("info", "disk_again", "the disk takes records again")
                return

    def _report(
        self,
        running: RunningBlock | None,
        *,
        committed: records.Committed | None = None,
        event: str = "",
        event_ns: int = 0,
    ) -> None:
        """Tell who watches how it goes.

        Parameters
        ----------
        running : the block it is about; None: the first that is under way
        committed, event, event_ns : as in `Progress`
        """
        now = self._reported_at = self._follow_rig()
        if running is None and self._running:
            running = self._running[min(self._running)]
        time, session = self._rig_time, self._session
        before, missed = self._earlier.tally, self._earlier.missed
        idle_s = before.idle_s + missed.idle_s + self._earlier_idle_s + time.total("idle", now)
        paused_s = before.paused_s + missed.paused_s + time.total("paused", now)
        no_rig_s = before.no_rig_s + missed.no_rig_s + time.total("no rig", now)
        frozen_s = before.frozen_s + missed.frozen_s + time.total("frozen", now)
        on_screen_s = before.on_screen_s + self._earlier_wait_s + time.total("showing", now)
        self._on_progress(
            Progress(
                generation=session.blocks_done,
                generations=session.generations,
                shown=0 if running is None else running.valid,
                planned=0 if running is None else len(running.block.presentations),
                aborted=self._aborted,
                presentations=self._answered,
                elapsed_s=on_screen_s + idle_s + paused_s + no_rig_s + frozen_s,
                idle_s=idle_s,
                idle_share=self._tally.idle_share,
                paused_s=paused_s,
                no_rig_s=no_rig_s,
                frozen_s=frozen_s,
                pace=self._tally.pace,
                left_s=self._tally.left_s(sum(session.lengths)),
                state=self._state(now),
                committed=committed,
                event=event,
                event_ns=event_ns,
            )
        )

    def _state(self, now: float) -> str:
        """Return what the session does, in words."""
        if self._refused:
            return WAITING_FOR_DISK
        words: list[str] = []
        if self._ending is not None:
            words.append("stopping")
        elif self._paused:
            words.append("paused")
        if self._references_only:
            words.append("reference-only")
        if self._gone_at is not None:
            words.append(f"no rig for {duration_text(now - self._gone_at)}")
        elif (
            self._busy
            and not self._paused
            and now - self._heard_at >= self._config.rig.answer_timeout_s
        ):
            words.append(f"no answer for {duration_text(now - self._heard_at)}")
        return ", ".join(words) or "running"
