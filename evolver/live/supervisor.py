"""Runs a live session as processes that outlive one another: `evolver serve`.

The recorder owns the journal and outlives everything else; the engine runs the loop and may
crash and be started again, going on where the journal stands; the page may be lost at no cost.
The supervisor starts them, starts them again, hears the operator, and folds the recording at
the end. It does no arithmetic and touches no image: there is little in it that can fail.

Nothing in it waits: pipes are read and written as far as they go, the terminal and whatever may
be long in answering (the recorder, the page, the disk) have workers of their own. And every
process is watched: one that runs and answers nothing for a stated time (`Patience`) is ended
and started again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import msgspec
import zmq

from evolver.clock import SYSTEM_CLOCK, time_text, waiting_text
from evolver.config.tables import WatchdogsTable
from evolver.errors import DataError, RecordingError
from evolver.journal.reader import segment_paths
from evolver.journal.recorder_protocol import DISK_WAS_FULL, RecorderStatus
from evolver.live import pipe
from evolver.live.child_process import KEPT_FALLS, Child, Patience, Printed
from evolver.live.children import fold_in_child
from evolver.live.console import Console
from evolver.live.console_worker import ConsoleWorker
from evolver.live.control import (
    ControlServer,
    Reply,
    Request,
    SessionStatus,
    runtime_folder,
)
from evolver.live.disk import DiskWatchdog
from evolver.live.questions import Places, Repeated, ask_page, ask_recorder
from evolver.live.waiting import WaitingFile
from evolver.session.ports import (
    ENDED_BY,
    WAITING_FOR_DISK,
    CommandName,
    Progress,
    held_text,
)
from evolver.session_folder import JOURNAL, LOGS, RECORDING, SILENT
from rig_bridge.messages import Notice
from rig_bridge.notices import NoticeLimit

logger = logging.getLogger(__name__)

_POLL_MS = 200
_END_PATIENCE_S = 60.0
_END_POLL_MS = 20
_PAGE_END_PATIENCE_S = 5.0
_CONSOLE_PATIENCE_S = 5.0
_EVENTS_KEPT = 20
_ASK_EVERY_S = 2.0
_FULL_DISK_EVERY_S = 60.0  # an event for so many seconds in which it was found full
_DISK_FULL = "found the disk full"
_LONGEST_TURN_S = 2.0  # a longer one: this process was stopped, which says nothing of others


@dataclass(slots=True, eq=False)
class Settings:
    """What the supervisor needs to know of a session.

    Parameters
    ----------
    folder : the session's, with its session file in it
    name : the session's
    confirmed : go on after the pre-flight checks without asking
    page_port : where the live page listens; 0: any port; None: no page
    watchdogs : the session file's [watchdogs], of which the disk's is kept here
    terminal : file descriptor on which a person may answer the checks; None: nobody is there
    references : whether it has reference images
    """

    folder: Path
    name: str
    confirmed: bool
    page_port: int | None
    watchdogs: WatchdogsTable
    terminal: int | None = None
    references: bool = True


class Supervisor:
    """Runs one session to its end.

    Parameters
    ----------
    settings : Settings
    console : Console; its commands come through `command` and signals
    patience : how long a process may answer nothing
    """

    def __init__(
        self, settings: Settings, console: Console, patience: Patience | None = None
    ) -> None:
        self._settings, self._patience = settings, patience or Patience()
        self._told = ConsoleWorker(console)
        self._console = self._told.console
        self._folder = settings.folder
        self._id = uuid.uuid4().hex  # of this run; the session's own is the engine's business
        self._confirmed = settings.confirmed
        self._progress: Progress | None = None
        self._ran = False  # an engine of ours has recorded that it went on
        self._waiting, self._endpoint, self._page = "starting", "", ""
        self._no_rig_since_ns = 0  # where it waits for a rig
        self._to_confirm = False
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._over: str | None = None  # why the session came to its end
        self._failed: str | None = None
        self._fell = False  # a process did, and nobody said why: its log may
        self._signals = self._asked = 0
        self._orphan_read, self._orphan_write = os.pipe()  # closed by our death
        self._recorder_status: RecorderStatus | None = None
        self._waiting_file = WaitingFile(self._folder)  # written where there is no engine
        self._silent = ""  # which process answers nothing
        self._silent_file = WaitingFile(self._folder, SILENT)
        self._silent_file.remove()
        self._full_disk = NoticeLimit(at_once=1, every_s=_FULL_DISK_EVERY_S)
        self._disk = DiskWatchdog(settings.watchdogs)
        self._address = address = str(runtime_folder() / f"{self._id[:12]}.rec")
        logs = self._folder / LOGS
        logs.mkdir(exist_ok=True)
        python = [sys.executable, "-m"]
        orphan = self._orphan_read
        journal = str(self._folder / JOURNAL)
        command = [*python, "evolver.journal.recorder_process", journal, address]
        self._recorder = Child(
            "recorder",
            [*command, "--parent", str(orphan)],
            logs / "recorder.log",
            pass_fds=(orphan,),
        )
        self._engine = Child(
            "engine",
            [*python, "evolver.live.engine", str(self._folder), address],
            logs / "engine.log",
            speaks="frames",
        )
        self._pages: list[Child] = []
        if settings.page_port is not None:
            command = [*python, "evolver", "monitor", str(self._folder)]
            command += ["--port", str(settings.page_port), "--parent", str(orphan)]
            log = logs / "page.log"
            self._pages = [Child("page", command, log, speaks="text", pass_fds=(orphan,))]
        self._children = (self._recorder, self._engine, *self._pages)
        self._turn_at = self._asked_engine_at = time.monotonic()
        self._since_orders_s = 0.0  # by the engine's loop, as its process last said
        self._ordered = self._taken = 0  # orders to this engine, and those its loop has taken
        self._ending: CommandName | None = None  # the order to end that was confirmed
        self._abort_number, self._untaken_s = 0, 0.0  # of an abort; since it was ordered
        self._misplaced = ""  # what happened to the session's folder
        self._to_pause = ""  # why, until the engine is told
        self._places = Places(self._folder, self._folder / JOURNAL)
        self._asked_places = Repeated("ask-folder", self._places.look, _ASK_EVERY_S)
        self._asked_recorder = Repeated(
            "ask-recorder", lambda: ask_recorder(address), _ASK_EVERY_S
        )
        self._asked_page = Repeated("ask-page", lambda: ask_page(self._page), _ASK_EVERY_S)

    def run(self) -> str:
        """Run until the session is over and folded; return why it ended.

        Raises
        ------
        RecordingError
            The recording could not be folded from the journal, which is complete.
        """
        before = {
            s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes ends no session
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            with ControlServer(
                session_id=self._id, name=self._settings.name, folder=self._folder
            ) as control:
                try:
                    while self._over is None and self._failed is None:
                        self._turn(control)
                    self._end(control)
                finally:
                    self._stop_all(control)
                    for number, handler in before.items():
                        signal.signal(number, handler)
                return self._finish(control)
        finally:
            self._told.close(_CONSOLE_PATIENCE_S)

    # ------------------------------------------------------------------ one turn

    def _turn(self, control: ControlServer) -> None:
        now = time.monotonic()
        passed, self._turn_at = min(now - self._turn_at, _LONGEST_TURN_S), now
        for child in self._children:
            self._keep(child, now)
        self._poll(control)
        self._look_at_answers()
        self._watch(now, passed)
        self._apply_signals()

    def _poll(self, control: ControlServer) -> None:
        """Take and send what comes and goes without waiting."""
        poller = zmq.Poller()
        poller.register(control.socket, zmq.POLLIN)
        reader, writer = self._engine.reader, self._engine.writer
        if reader is not None:
            poller.register(reader.fd, zmq.POLLIN)
        if writer is not None and writer.unread:
            poller.register(writer.fd, zmq.POLLOUT)
        printed = [(page, page.printed) for page in self._pages if page.printed is not None]
        for _, text in printed:
            poller.register(text.fd, zmq.POLLIN)
        terminal = self._settings.terminal if self._to_confirm else None
        if terminal is not None:
            poller.register(terminal, zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        if terminal is not None and terminal in ready:
            self._read_terminal(terminal)
        if control.socket in ready:
            control.answer(self._answer)
        if writer is not None and writer.fd in ready:
            self._flush(writer)
        if reader is not None and reader.fd in ready:
            self._receive(reader)
        for page, text in printed:
            if text.fd in ready:
                self._read_page(page, text)

    def _keep(self, child: Child, now: float) -> None:
        """Start a child that is to run and does not."""
        if child.running or not child.wanted:
            return
        if child.process is not None and child.reader is not None:
            return  # its last messages are read first
        if child not in self._pages and self._misplaced:
            return  # it would begin another journal where the session's was
        if child.process is not None:
            self._restart_later(child, now)
            if not child.wanted:
                return
            child.close_pipes()
            child.process = None
        if now >= child.start_at:
            self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        options: list[str] = []
        if child is self._engine and self._confirmed:
            options.append("--confirmed")
        if child is self._engine and self._endpoint:
            options += ["--endpoint", self._endpoint]  # where the rig looks for it
        if child is self._engine and self._ran:
            options.append("--restarted")
        if child is self._engine:
            self._since_orders_s, self._ordered, self._taken = 0.0, 0, 0
            self._abort_number = 0
        if child in self._pages and child.spoke:  # where browsers look for it
            options += ["--port", str(urlsplit(self._page).port)]
        try:
            child.start(*options)
        except OSError as exc:
            self._again(child, now, f"cannot be started: {exc}")

    def _read_page(self, page: Child, printed: Printed) -> None:
        """Take what a page prints; its first line says where it is."""
        printed.read()
        line, end, _ = printed.beginning.decode("utf-8", "replace").partition("\n")
        address = line.partition("live page:")[2].strip() if end else ""
        if address and address != self._page:
            self._page = address
            self._note(f"live page: {address}")
        if printed.closed:
            page.close_pipes()

    def _look_at_answers(self) -> None:
        """Take what the workers were answered."""
        recorder = self._asked_recorder.take()
        if recorder is not None:
            self._recorder_status = recorder
            self._recorder.spoke, self._recorder.silent_s = True, 0.0
            command = self._disk.judge(recorder.minutes_left)
            if command is not None:
                self._note(command.text)
                self.command(command.name, command.text, command.by)
        if self._asked_page.take():
            for page in self._pages:
                page.spoke, page.silent_s = True, 0.0
        misplaced = self._asked_places.take()
        if misplaced is not None and misplaced != self._misplaced:
            self._apply_misplaced(misplaced)
        if self._to_pause and self.command("pause", self._to_pause, "the watchdog 'folder'"):
            self._to_pause = ""

    def _apply_misplaced(self, text: str) -> None:
        """Pause where the session's folder is not in its place any more; say that it is."""
        if text and not self._misplaced:
            self._to_pause = text
        self._misplaced = text
        if text:
            self._note(
                f"{text}: the session pauses. Put it back where it was, then "
                "'evolver ctl resume'"
            )
        else:
            self._to_pause = ""
            self._note(f"{self._folder} is in its place again; 'evolver ctl resume' goes on")

    def _watch(self, now: float, passed: float) -> None:
        """End a process that answers nothing; it is started again as one that fell."""
        engine, patience = self._engine, self._patience
        if now - self._asked_engine_at >= _ASK_EVERY_S:
            self._asked_engine_at = now
            self._send(pipe.AreYouThere())
        for child in self._children:
            if not child.running:
                continue
            child.silent_s += passed
            limit = child.limit_s(patience)
            if child.silent_s >= limit:
                child.end(f"it answered nothing for {limit:g} s")
        if engine.spoke and self._since_orders_s >= patience.stuck_s:
            engine.end(f"its loop asked for no orders for {patience.stuck_s:g} s")
        if self._taken < self._abort_number and engine.running:
            self._untaken_s += passed
            if self._untaken_s >= patience.abort_s:
                engine.end(f"it did not take the abort within {patience.abort_s:g} s")
        self._tell_silence()

    def _tell_silence(self) -> None:
        """Have everybody see a process that answers nothing, for as long as it does not."""
        now_ns = SYSTEM_CLOCK.time_ns()
        silences = (c.silence(self._patience, now_ns) for c in (self._engine, self._recorder))
        text = "; ".join(filter(None, silences))
        if text == self._silent:
            return
        self._silent = text
        if text:
            logger.warning("%s", text)
            self._silent_file.wait(text)
            self._console.on_wait(text)
        else:
            self._silent_file.remove()
            self._console.on_wait(self._waiting, self._no_rig_since_ns)

    def _restart_later(self, child: Child, now: float) -> None:
        """Decide when a child that ended is started again, if it is."""
        status = child.process.returncode if child.process is not None else 0
        if child is self._engine and status in {0, pipe.CANNOT_GO_ON}:
            child.wanted = False
            if self._over is None and self._failed is None:
                self._failed = f"the engine ended with status {status}; see {child.log}"
                self._fell = True
            return
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        if child is self._engine and self._ending is not None:
            what = (
                f"was ended, as {child.ended_for}" if child.ended_for else f"ended with {how}"
            )
            self._end_without_engine(f"the engine {what}")
        elif child.ended_for:
            self._again(child, now, f"was ended, as {child.ended_for}")
        else:
            full = child is self._recorder and status == DISK_WAS_FULL
            what = _DISK_FULL if full else f"ended with {how}"
            self._again(child, now, what, excused=full or status == -signal.SIGABRT)

    def _end_without_engine(self, what: str) -> None:
        """End as the operator ordered, where no engine is left to do it; none is started.

        Parameters
        ----------
        what : happened to the engine
        """
        self._engine.wanted = False
        if self._ending is None or self._over is not None or self._failed is not None:
            return
        if self.began:
            self._over = ENDED_BY[self._ending]
            kept = "what was recorded is kept"
        else:
            self._failed = f"{ENDED_BY[self._ending]} before the first image"
            kept = "nothing was recorded"
        self._note(f"{what}; the session ends, as '{self._ending}' was ordered, and {kept}")

    def _again(self, child: Child, now: float, what: str, *, excused: bool = False) -> None:
        """Start a child that fell again after a while, or no more, and say so."""
        if not child.fall(now, excused=excused):
            text = (
                f"the {child.name} fell {KEPT_FALLS} times, at last it {what}; see {child.log}"
            )
            self._note(text)
            if child.name != "page":
                self._failed, self._fell = text, True
            return
        if child is self._engine:  # what it said last is no longer so
            self._waiting = "the engine is started again"
            self._no_rig_since_ns = 0
            self._console.on_wait(self._waiting)
            self._waiting_file.wait(self._waiting)
        text = f"the {child.name} {what}; it is started again"
        if what != _DISK_FULL:
            self._note(text)
            return
        for notice in self._full_disk.admit(what, Notice("warning", text), now):
            self._note(notice.text)

    def _receive(self, reader: pipe.Reader) -> None:
        try:
            for message in reader.read():
                self._engine.silent_s = 0.0
                self._apply(message)
        except (OSError, DataError) as exc:
            logger.warning("the engine cannot be understood: %s", exc)
            reader.closed = True
        if reader.closed:
            self._engine.close_pipes()

    def _apply(self, message: pipe.PipeMessage) -> None:
        match message:
            case Progress():
                self._progress = message
                self._ran = self._ran or message.state != WAITING_FOR_DISK
                if message.event:
                    self._keep_event(message.event, message.event_ns)
                self._console.on_progress(message)
            case pipe.Waiting(text, no_rig_since_ns):
                self._waiting, self._no_rig_since_ns = text, no_rig_since_ns
                if not self._silent:  # else that is shown until it is over
                    self._console.on_wait(text, no_rig_since_ns)
            case pipe.Here(since_orders_s, orders):
                self._taken = orders
                self._take_here(since_orders_s)
            case pipe.Listening(endpoint):
                self._engine.spoke = True
                self._endpoint = endpoint
                self._console.on_endpoint(endpoint)
            case pipe.Preflight(checks, needs):
                self._to_confirm = needs
                self._waiting = "waiting for the operator to confirm" if needs else ""
                self._no_rig_since_ns = 0
                self._console.on_checks(checks, needs)
                for check in checks:
                    if check.verdict != "good":
                        self._keep_event(f"{check.name}: {check.text}")
            case pipe.Over(reason):
                self._over = reason
            case pipe.Failed(text):
                self._failed = text
            case _:
                logger.warning("not for a supervisor: %s", message)

    # ------------------------------------------------------------------ the operator

    def _take_here(self, since_orders_s: float) -> None:
        """Say when the engine's loop begins to be long busy."""
        before, self._since_orders_s = self._since_orders_s, since_orders_s
        if self._engine.spoke and before < self._patience.busy_s <= since_orders_s:
            self._note(
                f"the engine's loop has asked for no orders for {since_orders_s:.0f} s; after "
                f"{self._patience.stuck_s:g} s the engine is started again"
            )

    def _send(self, message: pipe.PipeMessage) -> bool:
        """Hand a message to the engine, if there is one that takes it."""
        writer = self._engine.writer
        if writer is None or not self._engine.running:
            return False
        try:
            return writer.send(message)
        except OSError:
            return False

    def _flush(self, writer: pipe.Writer) -> None:
        try:
            writer.flush()
        except OSError as exc:
            logger.info("the engine reads no more: %s", exc)
            self._engine.writer = None

    def command(self, name: CommandName, text: str, by: str) -> bool:
        """Hand a command to the engine; return whether there is one to hear it.

        An order to end outlives the engine: where that one ends without having obeyed, or there
        is none for now, none is started again.
        """
        sent = self._send(pipe.Order(name, text, by))
        self._ordered += sent
        if name not in ENDED_BY:
            return sent
        fallen = not self._engine.running and self._engine.restarts > 0
        if not sent and not fallen and name == "abort":
            self._engine.end("it reads no orders, and an abort was ordered")
        elif not sent and not fallen:
            return False
        if name == "abort" and not self._abort_number:
            self._abort_number, self._untaken_s = self._ordered, 0.0
        if self._ending != "abort":
            self._ending = name
        if not self._engine.running and self._engine.process is None:
            self._end_without_engine("there is no engine for now")
        return True

    def confirm(self) -> bool:
        """Say that the operator has seen the checks."""
        if not self._to_confirm or not self._send(pipe.Confirm()):
            return False
        self._to_confirm, self._confirmed = False, True
        return True

    def _read_terminal(self, terminal: int) -> None:
        try:
            data = os.read(terminal, 1024)
        except OSError:
            data = b""
        if not data:  # it is gone; 'evolver ctl confirm' is not
            self._settings.terminal = None
            self._note("nobody is at the terminal; confirm with 'evolver ctl confirm'")
            return
        answer = data.decode("utf-8", "replace").strip().lower()
        if answer in {"y", "yes"}:
            self.confirm()
        elif answer in {"n", "no"}:
            self.command("stop", "the checks were not confirmed", "operator")
        else:
            self._console.on_event("answer yes or no")

    def _answer(self, request: Request) -> Reply:
        match request.name:
            case "status":
                return Reply(ok=True, text="", status=self.status())
            case _ if ended := self._ended:
                return Reply(ok=False, text=f"the session has {ended}")
            case "confirm":
                if self.confirm():
                    return Reply(ok=True, text="confirmed: images are shown from here on")
                return Reply(ok=False, text="there is nothing to confirm now")
            case _:
                if request.name == "reference-only" and not self._settings.references:
                    text = "the session has no reference images ([references] in its file)"
                    return Reply(ok=False, text=text)
                if request.name == "note" and not request.text:
                    return Reply(ok=False, text="a note must say something")
                if self.command(request.name, request.text, "operator"):
                    return Reply(ok=True, text=_DONE[request.name])
                return Reply(ok=False, text="the engine is starting; ask again in a moment")

    def status(self) -> SessionStatus:
        """Return where the session stands."""
        progress, recorder = self._progress, self._recorder_status
        now_ns = SYSTEM_CLOCK.time_ns()
        waiting = self._silent or waiting_text(self._waiting, self._no_rig_since_ns, now_ns)
        state = "running" if progress is None else progress.state
        state = self._ended or (held_text(waiting, state) if waiting else state)
        if progress is not None:
            progress = msgspec.structs.replace(progress, committed=None)  # it may be long
        return SessionStatus(
            name=self._settings.name,
            folder=str(self._folder),
            state=state,
            progress=progress,
            waiting=waiting,
            rig_endpoint=self._endpoint,
            page=self._page,
            disk_minutes=None if recorder is None else recorder.minutes_left,
            children=tuple(child.status(over=bool(self._ended)) for child in self._children),
            events=tuple(self._events),
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._signals += 1

    def _apply_signals(self) -> None:
        """Stop the session at the first signal, at once at the second; kill it at the third."""
        if not self._signals:
            return
        count, self._signals = self._signals, 0
        self._asked += count
        if self._asked == 1 and self.command("stop", "interrupted", "a signal"):
            self._note("stopping after the presentation under way")
        elif self._asked == 2 and self.command("abort", "interrupted twice", "a signal"):
            self._note("stopping at once")
        elif self._engine.process is not None:
            self._failed = "ended by a signal before the engine could end it"
            self._engine.process.kill()
        else:
            self._failed = "ended by a signal before the engine was there"

    def _note(self, text: str) -> None:
        logger.info("%s", text)
        self._keep_event(text)
        self._console.on_event(text)

    def _keep_event(self, text: str, time_ns: int = 0) -> None:
        """Keep an event for `ctl status`, with its time: now, if it has none of its own."""
        self._events.append(f"{time_text(time_ns or time.time_ns())}  {text}")

    # ------------------------------------------------------------------ the end

    def _end(self, control: ControlServer) -> None:
        """Let the engine finish, still answering operators."""
        deadline = time.monotonic() + _END_PATIENCE_S
        while self._engine.running and time.monotonic() < deadline:
            self._poll(control)

    def _stop_all(self, control: ControlServer) -> None:
        """End every process, still answering operators."""
        for asked in (self._asked_recorder, self._asked_page, self._asked_places):
            asked.close()
        self._silent_file.remove()
        if self._engine.process is not None and self._engine.running:
            self._engine.process.kill()
        for child in (self._recorder, *self._pages):
            if child.process is not None and child.running:
                child.process.terminate()
        for child in self._children:
            if child.process is not None:
                page = child in self._pages
                deadline = time.monotonic()
                deadline += _PAGE_END_PATIENCE_S if page else _END_PATIENCE_S
                while child.running and time.monotonic() < deadline:
                    self._answer_for(control, _END_POLL_MS)
                if child.running:
                    child.process.kill()
                child.process.wait()
                child.close_pipes()
        os.close(self._orphan_read)
        os.close(self._orphan_write)

    def _answer_for(self, control: ControlServer, wait_ms: int = 0) -> None:
        """Answer operators for so long at least."""
        if control.socket.poll(wait_ms):
            control.answer(self._answer)

    def _finish(self, control: ControlServer) -> str:
        """Fold what was recorded; return why the session ended."""
        journal = self._folder / JOURNAL
        misplaced = self._places.look()
        self._places.close()
        if misplaced:
            raise RecordingError(
                f"the session's folder must be in its place at the end, to make the recording; "
                f"{misplaced}. Where it was moved, make it there:  evolver fold FOLDER"
            )
        if journal.is_dir() and any(journal.glob("*.evj")):
            self._console.on_wait("folding the journal into one file …")
            recording = self._folder / RECORDING
            fold_in_child(journal, recording, lambda: self._answer_for(control))
            self._console.on_wait("")
        elif self._over is not None:
            raise RecordingError(
                f"a session that came to its end ({self._over}) must have a journal; "
                f"{journal} holds none, so there is no recording"
            )
        if self._over is not None:
            return self._over
        self._waiting_file.wait(f"failed: {self._failed}")
        return f"failed: {self._failed}"

    @property
    def _ended(self) -> str:
        """That it came to its end, for operators, who are answered until the file is made."""
        why = self._over or (f"failed: {self._failed}" if self._failed is not None else "")
        if not why:
            return ""
        kept = "; its recording is being written" if self.began else ""
        return f"ended ({why}){kept}"

    @property
    def failed(self) -> str | None:
        """Why the session could not go on; None: it came to its end."""
        return self._failed if self._over is None else None

    @property
    def began(self) -> bool:
        """Whether anything was recorded."""
        return bool(segment_paths(self._folder / JOURNAL))

    @property
    def fell(self) -> bool:
        """Whether a process fell for a reason that only its log can tell."""
        return self._fell


_DONE: dict[CommandName, str] = {
    "pause": "paused: nothing is shown after the presentation under way",
    "resume": "going on",
    "stop": "stopping after the presentation under way; everything is kept",
    "abort": "stopping at once; what was recorded is kept",
    "reference-only": "only references from here on; 'resume' goes back to the evolution",
    "note": "noted",
}
