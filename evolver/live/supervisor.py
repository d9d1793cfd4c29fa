"""Runs a live session as processes that outlive one another: `evolver serve`.

The recorder owns the journal and outlives everything else; the engine runs the loop and may
crash and be started again, going on where the journal stands; the page may be lost at no cost.
The supervisor starts them, starts them again, hears the operator, and folds the recording at
the end. It does no arithmetic and touches no image: there is little in it that can fail.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec
import zmq

from evolver.clock import time_text
from evolver.config.tables import WatchdogsTable
from evolver.errors import DataError, RecordingError
from evolver.journal.recorder_protocol import RecorderStatus, recorder_status
from evolver.live import pipe
from evolver.live.child_process import KEPT_STARTS, Child
from evolver.live.children import fold_in_child
from evolver.live.console import Console
from evolver.live.control import (
    ControlServer,
    Reply,
    Request,
    SessionStatus,
    runtime_folder,
)
from evolver.live.disk import DISK_EVERY_S, DiskWatchdog
from evolver.session.ports import CommandName, Progress
from evolver.session_folder import JOURNAL, RECORDING

logger = logging.getLogger(__name__)

_POLL_MS = 200
_WITHIN_S = 600.0
_BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0)
_END_PATIENCE_S = 60.0
_EVENTS_KEPT = 20


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
    """

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._folder = settings.folder
        self._id = uuid.uuid4().hex  # of this run; the session's own is the engine's business
        self._confirmed = settings.confirmed
        self._progress: Progress | None = None
        self._waiting, self._endpoint, self._page = "starting", "", ""
        self._to_confirm = False
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._over: str | None = None  # why the session came to its end
        self._failed: str | None = None
        self._signals = self._asked = 0
        self._orphan_read, self._orphan_write = os.pipe()  # closed by our death
        self._recorder_status: RecorderStatus | None = None
        self._disk = DiskWatchdog(settings.watchdogs)
        self._disk_asked = 0.0
        self._address = address = str(runtime_folder() / f"{self._id[:12]}.rec")
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        python = [sys.executable, "-m"]
        self._recorder = Child(
            "recorder",
            [
                *python,
                "evolver.journal.recorder_process",
                str(self._folder / JOURNAL),
                address,
                "--parent",
                str(self._orphan_read),
            ],
            logs / "recorder.log",
        )
        self._engine = Child(
            "engine",
            [*python, "evolver.live.engine", str(self._folder), address],
            logs / "engine.log",
        )
        self._pages: list[Child] = []
        if settings.page_port is not None:
            command = [*python, "evolver", "monitor", str(self._folder)]
            command += ["--port", str(settings.page_port)]
            self._pages = [Child("page", command, logs / "page.log")]

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
                while self._over is None and self._failed is None:
                    self._turn(control)
                self._end(control)
        finally:
            self._stop_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._finish()

    # ------------------------------------------------------------------ one turn

    def _turn(self, control: ControlServer) -> None:
        now = time.monotonic()
        for child in (self._recorder, self._engine, *self._pages):
            self._keep(child, now)
        poller = zmq.Poller()
        poller.register(control.socket, zmq.POLLIN)
        reader = self._engine.reader
        if reader is not None:
            poller.register(reader.fd, zmq.POLLIN)
        asking = self._to_confirm and self._settings.terminal is not None
        if asking:
            poller.register(self._settings.terminal, zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        if asking and self._settings.terminal in ready:
            self._read_terminal()
        if control.socket in ready:
            control.answer(self._answer)
        if reader is not None and reader.fd in ready:
            self._receive(reader)
        self._look_at_disk(now)
        self._apply_signals()

    def _keep(self, child: Child, now: float) -> None:
        """Start a child that is to run and does not."""
        if child.running or not child.wanted:
            return
        if child.process is not None and child.reader is not None:
            return  # its last messages are read first
        if child.process is not None:
            self._restart_later(child, now)
            if not child.wanted:
                return
            child.process = None
        if now >= child.start_at:
            self._start(child)

    def _start(self, child: Child) -> None:
        command = list(child.command)
        piped = child is self._engine
        if piped and self._confirmed:
            command.append("--confirmed")
        if piped and self._endpoint:
            command += ["--endpoint", self._endpoint]  # where the rig looks for it
        with child.log.open("ab") as log:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped or child.name == "page" else log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the supervisor's to understand
                pass_fds=(self._orphan_read,) if child is self._recorder else (),
            )
        if piped and child.process.stdout is not None:
            child.reader = pipe.Reader(child.process.stdout.fileno())
        if child.name == "page":
            self._page = self._read_address(child)

    def _read_address(self, child: Child) -> str:
        """Return the address that the page says on its first line."""
        stdout = child.process.stdout if child.process is not None else None
        if stdout is None:
            return ""
        poller = zmq.Poller()
        poller.register(stdout.fileno(), zmq.POLLIN)
        line = stdout.readline().decode("utf-8", "replace") if poller.poll(20_000) else ""
        address = line.partition("live page:")[2].strip()
        if address:
            self._note(f"live page: {address}")
        return address

    def _restart_later(self, child: Child, now: float) -> None:
        """Decide when a child that ended is started again, if it is."""
        status = child.process.returncode if child.process is not None else 0
        if child is self._engine and status in {0, pipe.CANNOT_GO_ON}:
            child.wanted = False
            if self._over is None and self._failed is None:
                self._failed = f"the engine ended with status {status}; see {child.log}"
            return
        how = f"signal {-status}" if status < 0 else f"status {status}"
        child.recent.append(now)
        many = len(child.recent) == KEPT_STARTS and now - child.recent[0] < _WITHIN_S
        if many:
            child.wanted = False
            text = (
                f"the {child.name} ended {KEPT_STARTS} times, last with {how}; see {child.log}"
            )
            self._note(text)
            if child.name != "page":
                self._failed = text
            return
        wait = _BACKOFF_S[min(len(child.recent) - 1, len(_BACKOFF_S) - 1)]
        child.start_at = now + wait
        child.restarts += 1
        if child is self._engine:  # what it said last is no longer so
            self._waiting = "the engine is started again"
            self._console.on_wait(self._waiting)
        self._note(f"the {child.name} ended with {how}; it is started again")

    def _receive(self, reader: pipe.Reader) -> None:
        try:
            for message in reader.read():
                self._apply(message)
        except (OSError, DataError) as exc:
            logger.warning("the engine cannot be understood: %s", exc)
            reader.closed = True
        if reader.closed:
            process = self._engine.process
            self._engine.reader = None
            if process is not None:
                for end in (process.stdin, process.stdout):
                    if end is not None:
                        with contextlib.suppress(OSError):
                            end.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def _apply(self, message: pipe.PipeMessage) -> None:
        match message:
            case Progress():
                self._progress = message
                if message.event:
                    self._keep_event(message.event, message.event_ns)
                self._console.on_progress(message)
            case pipe.Waiting(text):
                self._waiting = text
                self._console.on_wait(text)
            case pipe.Listening(endpoint):
                self._endpoint = endpoint
                self._console.on_endpoint(endpoint)
            case pipe.Preflight(checks, needs):
                self._to_confirm = needs
                self._waiting = "waiting for the operator to confirm" if needs else ""
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

    def command(self, name: CommandName, text: str, by: str) -> bool:
        """Hand a command to the engine; return whether there is one to hear it."""
        process = self._engine.process
        if process is None or process.stdin is None or not self._engine.running:
            return False
        try:
            pipe.send(process.stdin.fileno(), pipe.Order(name, text, by))
        except OSError:
            return False
        return True

    def confirm(self) -> bool:
        """Say that the operator has seen the checks."""
        process = self._engine.process
        if not self._to_confirm or process is None or process.stdin is None:
            return False
        try:
            pipe.send(process.stdin.fileno(), pipe.Confirm())
        except OSError:
            return False
        self._to_confirm, self._confirmed = False, True
        return True

    def _read_terminal(self) -> None:
        line = os.read(self._settings.terminal or 0, 1024).decode("utf-8", "replace")
        answer = line.strip().lower()
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
            case "confirm":
                if self.confirm():
                    return Reply(ok=True, text="confirmed: the first image follows")
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
        if progress is not None:
            progress = msgspec.structs.replace(progress, committed=None)  # it may be long
        return SessionStatus(
            name=self._settings.name,
            folder=str(self._folder),
            state=self._waiting or ("running" if progress is None else progress.state),
            progress=progress,
            waiting=self._waiting,
            rig_endpoint=self._endpoint,
            page=self._page,
            disk_minutes=None if recorder is None else recorder.minutes_left,
            children=tuple(c.status() for c in (self._recorder, self._engine, *self._pages)),
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

    def _look_at_disk(self, now: float) -> None:
        if now - self._disk_asked < DISK_EVERY_S or not self._recorder.running:
            return
        self._disk_asked = now
        try:
            self._recorder_status = recorder_status(self._address, timeout_s=1.0)
        except RecordingError as exc:
            logger.info("%s", exc)  # it is starting
            return
        command = self._disk.judge(self._recorder_status.minutes_left)
        if command is not None:
            self._note(command.text)
            self.command(command.name, command.text, command.by)

    # ------------------------------------------------------------------ the end

    def _end(self, control: ControlServer) -> None:
        """Let the engine and the recorder finish, still answering operators."""
        deadline = time.monotonic() + _END_PATIENCE_S
        process = self._engine.process
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            if self._engine.reader is not None:
                poller = zmq.Poller()
                poller.register(self._engine.reader.fd, zmq.POLLIN)
                if poller.poll(_POLL_MS):
                    self._receive(self._engine.reader)
            else:
                time.sleep(0.01)
            control.answer(self._answer)

    def _stop_all(self) -> None:
        engine = self._engine.process
        if engine is not None and engine.poll() is None:
            engine.kill()
            engine.wait()
        for child in (self._recorder, *self._pages):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in (self._recorder, *self._pages):
            if child.process is not None:
                try:
                    child.process.wait(_END_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
                if child.process.stdout is not None:
                    child.process.stdout.close()
        for end in (engine.stdin, engine.stdout) if engine is not None else ():
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
        os.close(self._orphan_read)
        os.close(self._orphan_write)

    def _finish(self) -> str:
        if (self._folder / JOURNAL).is_dir() and any((self._folder / JOURNAL).glob("*.evj")):
            self._console.on_wait("folding the journal into one file …")
            fold_in_child(self._folder / JOURNAL, self._folder / RECORDING)
            self._console.on_wait("")
        return self._over if self._over is not None else f"failed: {self._failed}"

    @property
    def failed(self) -> str | None:
        """Why the session could not go on; None: it came to its end."""
        return self._failed if self._over is None else None


_DONE: dict[CommandName, str] = {
    "pause": "paused: nothing is shown after the presentation under way",
    "resume": "going on",
    "stop": "stopping after the presentation under way; everything is kept",
    "abort": "stopping at once; what was recorded is kept",
    "reference-only": "only references from here on; 'resume' goes back to the evolution",
    "note": "noted",
}
