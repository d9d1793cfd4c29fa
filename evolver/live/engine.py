"""The engine's process: the loop and the rig's socket, under a supervisor.

Composition. Started by the supervisor as ``python -m evolver.live.engine FOLDER RECORDER``;
takes orders on its standard input, says what happens on its standard output, logs to its
standard error. Killed at any moment and started again, it goes on where the journal says.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from evolver.clock import SYSTEM_CLOCK
from evolver.config.tables import load_session_file
from evolver.errors import (
    ConfigError,
    DamagedJournalError,
    DataError,
    EvolverError,
    MissingResponseError,
    RecordingError,
    RigError,
    WeightsError,
)
from evolver.garbage import collect_seldom
from evolver.journal.history import find_history
from evolver.journal.recorder_client import RemoteRecorder
from evolver.live import pipe
from evolver.live.console import Console, KeptCommands
from evolver.live.rigs import rig_over_network
from evolver.live.run import LOADING, Job, run_session
from evolver.live.waiting import WaitingFile
from evolver.logs import log_to_stderr
from evolver.session.ports import Command, Progress
from evolver.session_folder import JOURNAL, SESSION_FILE
from evolver.setup.preflight import Check
from evolver.setup.resume import Restored
from rig_bridge.errors import RigBridgeError

logger = logging.getLogger(__name__)

_QUEUE = 1000
_ORDERS_EVERY_S = 0.2
_RETRIES_EVERY = 10  # as often as orders are asked for, while the disk refuses
# What another engine would meet as well.
_CANNOT_GO_ON = (
    ConfigError,
    DamagedJournalError,
    RigError,
    MissingResponseError,
    RigBridgeError,
    WeightsError,
)


class SupervisorGoneError(EvolverError):
    """Nobody listens to this engine any more."""


class Sender:
    """Sends messages to the supervisor from a worker, so that the loop never waits for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.SimpleQueue[pipe.PipeMessage | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="sender", daemon=True)
        self._worker.start()

    def send(self, message: pipe.PipeMessage) -> None:
        """Send what must arrive, be the supervisor as far behind as it may."""
        self._queue.put(message)

    def send_progress(self, progress: Progress) -> None:
        """Send progress; left out where the supervisor is far behind."""
        matters = progress.committed is not None or progress.event
        if self._queue.qsize() < (_QUEUE if matters else _QUEUE // 2):
            self._queue.put(progress)
        elif matters:
            logger.warning("the supervisor does not listen; left out: %s", progress.event)

    def close(self) -> None:
        """Return once everything is sent."""
        self._queue.put(None)
        self._worker.join(5.0)

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                pipe.send(self._fd, message)
            except OSError:
                return


class Receiver:
    """Receives the supervisor's messages on a worker, and answers there that it is.

    A loop that is busy for seconds still answers, and the supervisor's end of the pipe does not
    fill; a process that is frozen does not answer.

    Parameters
    ----------
    fd : to read from
    confirmed : whether the checks are confirmed already
    sender : answers go through it
    """

    def __init__(self, fd: int, *, confirmed: bool, sender: Sender) -> None:
        self._reader = pipe.Reader(fd)
        self._confirmed = confirmed
        self._sender = sender
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._asked, self._handed_out = time.monotonic(), 0
        self._gone = False
        threading.Thread(target=self._work, name="receiver", daemon=True).start()

    def confirmed(self) -> bool:
        """Return whether the operator has seen the checks."""
        return self._confirmed

    def orders(self) -> Sequence[Command]:
        """Return what was ordered since last asked.

        Raises
        ------
        SupervisorGoneError
            The supervisor is gone.
        """
        self._asked = time.monotonic()
        gone = self._gone  # read first: what it ordered before it went is obeyed
        commands: list[Command] = []
        while not self._commands.empty():
            commands.append(self._commands.get())
        self._handed_out += len(commands)
        if gone and not commands:
            raise SupervisorGoneError("the supervisor is gone; 'evolver resume' goes on")
        return commands

    def _work(self) -> None:
        try:
            while not self._reader.closed:
                for message in self._reader.read():
                    self._take(message)
        except (OSError, DataError):
            logger.exception("the supervisor cannot be understood")
        finally:
            self._gone = True

    def _take(self, message: pipe.PipeMessage) -> None:
        match message:
            case pipe.Order(name, text, by):
                self._commands.put(Command(name, text, by))
            case pipe.Confirm():
                self._confirmed = True
            case pipe.AreYouThere():
                since_s = time.monotonic() - self._asked
                self._sender.send(pipe.Here(since_s, self._handed_out))
            case _:
                logger.warning("not an order: %s", message)


def _console(sender: Sender, receiver: Receiver, file: WaitingFile) -> Console:
    """Return the console of an operator who is reached through the supervisor."""

    def on_wait(text: str, no_rig_since_ns: int = 0) -> None:
        file.wait(text, no_rig_since_ns)
        sender.send(pipe.Waiting(text, no_rig_since_ns))

    def on_checks(checks: Sequence[Check], needed: bool) -> None:  # noqa: FBT001  a console's
        file.check(checks, needed)
        sender.send(pipe.Preflight(tuple(checks), needed))

    return Console(
        on_wait=on_wait,
        on_endpoint=lambda endpoint: sender.send(pipe.Listening(endpoint)),
        on_checks=on_checks,
        on_progress=sender.send_progress,
        commands=receiver.orders,
        confirmed=receiver.confirmed,
        can_resume=True,
    )


def main(
    folder: Path, recorder_address: str, *, confirmed: bool, endpoint: str, restarted: bool
) -> int:
    """Run the engine; return its exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not be taken for a message
    sender = Sender(out)
    receiver = Receiver(0, confirmed=confirmed, sender=sender)
    console = _console(sender, receiver, WaitingFile(folder))
    try:
        reason = _run(folder, recorder_address, endpoint, console, restarted=restarted)
    except _CANNOT_GO_ON as exc:
        logger.exception("the engine cannot go on")
        sender.send(pipe.Failed(str(exc)))
        return pipe.CANNOT_GO_ON
    except SupervisorGoneError as exc:
        logger.error("%s", exc)  # noqa: TRY400  it says it all
        return pipe.CANNOT_GO_ON
    else:
        sender.send(pipe.Over(reason))
        return 0
    finally:
        sender.close()


def _run(
    folder: Path, recorder_address: str, endpoint: str, console: Console, *, restarted: bool
) -> str:
    """Run the session of a folder, from its beginning or from where its journal ends."""
    console.on_wait(LOADING)
    recorder = RemoteRecorder(recorder_address)
    early = KeptCommands(console.commands)
    try:
        # First, so that the journal holds all that an earlier engine handed over.
        attach(recorder, early, console)
        job = replace(_job(folder), restarted=restarted)
        restored = job.parts.restored
        held = () if restored is None else restored.commands
        commands = KeptCommands(console.commands, (*held, *early()))
        rig = rig_over_network(
            job.parts.config,
            job.session_id,
            console,
            commands,
            clock=SYSTEM_CLOCK,
            endpoint=endpoint,
            may_restart=True,
            gone_ns=restored.history.time.gone_ns if restarted and restored is not None else 0,
        )
        return run_session(
            job, rig, lambda wanted: nullcontext((recorder, wanted)), console, commands
        )
    finally:
        recorder.close()


def attach(recorder: RemoteRecorder, commands: KeptCommands, console: Console) -> None:
    """Attach to the recorder, waiting for as long as the disk refuses what came before.

    Raises
    ------
    RecordingError
        This engine can never write the journal; or the operator ended the session, and the
        disk still refuses.
    """
    waited = ""
    while True:
        try:
            recorder.attach()
        except RecordingError as exc:
            if recorder.over:
                raise
            text = f"paused, as what was recorded cannot be written yet: {exc}"
            if text != waited:  # it is tried again every few seconds
                waited = text
                logger.warning("waiting for the recorder: %s", exc)
                console.on_wait(text)
            for _ in range(_RETRIES_EVERY):
                if commands.end_wanted() is not None:
                    raise
                time.sleep(_ORDERS_EVERY_S)
            recorder.retry()
        else:
            if waited:
                console.on_wait(LOADING)
            return


def _job(folder: Path) -> Job:
    history = find_history(folder / JOURNAL)
    if history is not None:
        return Job.resume(Restored.of(history), folder, clock=SYSTEM_CLOCK)
    config, text = load_session_file(folder / SESSION_FILE)
    return replace(
        Job.begin(config, text, "live", clock=SYSTEM_CLOCK), recordings=folder.parent
    )


if __name__ == "__main__":
    collect_seldom()
    log_to_stderr(logging.INFO)
    parser = argparse.ArgumentParser(description="The engine of a live session.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("recorder")
    parser.add_argument("--confirmed", action="store_true")
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--restarted", action="store_true")
    options = parser.parse_args()
    sys.exit(
        main(
            options.folder,
            options.recorder,
            confirmed=options.confirmed,
            endpoint=options.endpoint,
            restarted=options.restarted,
        )
    )
