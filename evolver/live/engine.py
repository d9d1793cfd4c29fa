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
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from evolver.clock import SYSTEM_CLOCK
from evolver.config.tables import parse_session_file
from evolver.errors import ConfigError, EvolverError, MissingResponseError, RigError
from evolver.garbage import collect_seldom
from evolver.journal.history import find_history
from evolver.journal.recorder_client import RemoteRecorder
from evolver.live import pipe
from evolver.live.console import Console, KeptCommands
from evolver.live.rigs import rig_over_network
from evolver.live.run import LOADING, Job, run_session
from evolver.session.ports import Command, Progress
from evolver.session_folder import JOURNAL, SESSION_FILE
from evolver.setup.resume import Restored
from rig_bridge.errors import RigBridgeError

logger = logging.getLogger(__name__)

_QUEUE = 1000


class SupervisorGoneError(EvolverError):
    """Nobody listens to this engine any more."""


class _Sender:
    """Sends messages to the supervisor from a worker, so that the loop never waits for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.Queue[pipe.PipeMessage | None] = queue.Queue(_QUEUE)
        self._worker = threading.Thread(target=self._work, name="sender", daemon=True)
        self._worker.start()

    def send(self, message: pipe.PipeMessage) -> None:
        """Send what must arrive; waits where the supervisor is far behind."""
        self._queue.put(message)

    def send_progress(self, progress: Progress) -> None:
        """Send progress; left out where the supervisor is far behind."""
        matters = progress.committed is not None or progress.event
        if matters or self._queue.qsize() < _QUEUE // 2:
            try:
                self._queue.put_nowait(progress)
            except queue.Full:
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


class _Receiver:
    """Receives the supervisor's orders; asked often."""

    def __init__(self, fd: int, *, confirmed: bool) -> None:
        self._reader = pipe.Reader(fd)
        self._confirmed = confirmed

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
        commands: list[Command] = []
        while select.select([self._reader.fd], [], [], 0.0)[0]:
            for message in self._reader.read():
                match message:
                    case pipe.Order(name, text, by):
                        commands.append(Command(name, text, by))
                    case pipe.Confirm():
                        self._confirmed = True
                    case _:
                        logger.warning("not an order: %s", message)
            if self._reader.closed:
                raise SupervisorGoneError("the supervisor is gone; 'evolver resume' goes on")
        return commands


def _console(sender: _Sender, receiver: _Receiver) -> Console:
    """Return the console of an operator who is reached through the supervisor."""
    return Console(
        on_wait=lambda text: sender.send(pipe.Waiting(text)),
        on_endpoint=lambda endpoint: sender.send(pipe.Listening(endpoint)),
        on_checks=lambda checks, needed: sender.send(pipe.Preflight(tuple(checks), needed)),
        on_progress=sender.send_progress,
        commands=receiver.orders,
        confirmed=receiver.confirmed,
        can_resume=True,
    )


def main(folder: Path, recorder_address: str, *, confirmed: bool, endpoint: str) -> int:
    """Run the engine; return its exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not be taken for a message
    sender, receiver = _Sender(out), _Receiver(0, confirmed=confirmed)
    try:
        reason = _run(folder, recorder_address, endpoint, _console(sender, receiver))
    except (ConfigError, RigError, MissingResponseError, RigBridgeError) as exc:
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


def _run(folder: Path, recorder_address: str, endpoint: str, console: Console) -> str:
    """Run the session of a folder, from its beginning or from where its journal ends."""
    console.on_wait(LOADING)
    recorder = RemoteRecorder(recorder_address)
    recorder.attach()  # first, so that the journal holds all that an earlier engine handed over
    try:
        job = _job(folder)
        restored = job.parts.restored
        commands = KeptCommands(console.commands, () if restored is None else restored.commands)
        rig = rig_over_network(
            job.parts.config,
            job.session_id,
            console,
            commands,
            clock=SYSTEM_CLOCK,
            endpoint=endpoint,
            may_restart=True,
        )
        return run_session(
            job, rig, lambda wanted: nullcontext((recorder, wanted)), console, commands
        )
    finally:
        recorder.close()


def _job(folder: Path) -> Job:
    history = find_history(folder / JOURNAL)
    if history is not None:
        return Job.resume(Restored.of(history), folder, clock=SYSTEM_CLOCK)
    path = folder / SESSION_FILE
    text = path.read_text(encoding="utf-8")
    config = parse_session_file(text, source=str(path))
    return replace(
        Job.begin(config, text, "live", clock=SYSTEM_CLOCK), recordings=folder.parent
    )


if __name__ == "__main__":
    collect_seldom()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    parser = argparse.ArgumentParser(description="The engine of a live session.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("recorder")
    parser.add_argument("--confirmed", action="store_true")
    parser.add_argument("--endpoint", default="")
    options = parser.parse_args()
    sys.exit(
        main(
            options.folder,
            options.recorder,
            confirmed=options.confirmed,
            endpoint=options.endpoint,
        )
    )
