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
from pathlib import Path

from evolver.clock import SYSTEM_CLOCK
from evolver.config.tables import parse_session_file
from evolver.errors import ConfigError, EvolverError, MissingResponseError, RigError
from evolver.journal.history import find_history
from evolver.journal.recorder_client import RemoteRecorder
from evolver.live import pipe
from evolver.live.run import Job, await_rig, engine_keys
from evolver.session.ports import Command, Progress
from evolver.session.watchdogs import Watchdogs
from evolver.session_folder import JOURNAL, SESSION_FILE
from evolver.setup import preflight
from evolver.setup.resume import Restored
from rig_bridge.errors import RigBridgeError
from rig_bridge.server import EngineServer

logger = logging.getLogger(__name__)

_QUEUE = 1000


class SupervisorGoneError(EvolverError):
    """Nobody listens to this engine any more."""


class _Mouth:
    """Says things to the supervisor without ever waiting for it, unless they must be heard."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.Queue[pipe.Message | None] = queue.Queue(_QUEUE)
        self._worker = threading.Thread(target=self._work, name="mouth", daemon=True)
        self._worker.start()

    def say(self, message: pipe.Message) -> None:
        """Say something that must be heard."""
        self._queue.put(message)

    def tell(self, progress: Progress) -> None:
        """Tell how it goes; left out where the supervisor is far behind."""
        told = pipe.Told.of(progress)
        if told.block >= 0 or told.event or self._queue.qsize() < _QUEUE // 2:
            try:
                self._queue.put_nowait(told)
            except queue.Full:
                logger.warning("the supervisor does not listen; left out: %s", told.event)

    def close(self) -> None:
        """Return once everything is said."""
        self._queue.put(None)
        self._worker.join(5.0)

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                pipe.send(self._fd, message)
            except OSError:
                return


class _Ears:
    """Hears orders; asked often."""

    def __init__(self, fd: int) -> None:
        self._reader = pipe.Reader(fd)
        self.confirmed = False

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
                        self.confirmed = True
                    case _:
                        logger.warning("not an order: %s", message)
            if self._reader.closed:
                raise SupervisorGoneError("the supervisor is gone; 'evolver resume' goes on")
        return commands


def main(folder: Path, recorder_address: str, *, confirmed: bool, endpoint: str) -> int:
    """Run the engine; return its exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not be taken for a message
    mouth, ears = _Mouth(out), _Ears(0)
    ears.confirmed = confirmed
    try:
        reason = _run(folder, recorder_address, endpoint, mouth, ears)
    except (ConfigError, RigError, MissingResponseError, RigBridgeError) as exc:
        logger.exception("the engine cannot go on")
        mouth.say(pipe.Failed(str(exc)))
        return pipe.CANNOT_GO_ON
    except SupervisorGoneError as exc:
        logger.error("%s", exc)  # noqa: TRY400  it says it all
        return pipe.CANNOT_GO_ON
    else:
        mouth.say(pipe.Over(reason))
        return 0
    finally:
        mouth.close()


def _run(folder: Path, recorder_address: str, endpoint: str, mouth: _Mouth, ears: _Ears) -> str:
    mouth.say(pipe.Waiting("loading the generators …"))
    recorder = RemoteRecorder(recorder_address)
    recorder.attach()
    try:
        return _run_recorded(folder, recorder, endpoint, mouth, ears)
    finally:
        recorder.close()


def _run_recorded(
    folder: Path, recorder: RemoteRecorder, endpoint: str, mouth: _Mouth, ears: _Ears
) -> str:
    clock = SYSTEM_CLOCK
    history = find_history(folder / JOURNAL)
    restored = None if history is None else Restored.of(history)
    path = folder / SESSION_FILE
    text = path.read_text(encoding="utf-8") if restored is None else restored.config_text
    config = parse_session_file(text, source=str(path))
    job = Job(config, text, mode="live", clock=clock, restored=restored)
    checks = preflight.before_the_rig(
        config,
        job.generators,
        job.references,
        folder,
        time_ns=clock.time_ns(),
        monotonic=clock.monotonic,
    )
    with EngineServer(
        endpoint or config.rig.endpoint,
        session=job.session_id,
        name=config.session.name,
        window_ms=config.rig.window_ms,
        answer_timeout_s=config.rig.answer_timeout_s,
        clock=clock.monotonic,
        keys=engine_keys(config),
    ) as server:
        mouth.say(pipe.Waiting("waiting for the rig", server.endpoint))
        hello = await_rig(server, ears.orders)
        n = job.check_units(hello)
        checks += preflight.with_the_rig(config, job.generators, hello, folder, n=n)
        _confirm(checks, server, mouth, ears, fresh=restored is None)
        mouth.say(pipe.Waiting("", server.endpoint))
        reason = job.run(
            server,
            hello,
            recorder,
            commands=ears.orders,
            on_progress=mouth.tell,
            watch=Watchdogs.of(config, hello),
        )
        recorder.barrier()  # the rig is told of the end only when all is safe
        server.end(reason)
    return reason


def _confirm(
    checks: tuple[pipe.Check, ...],
    server: EngineServer,
    mouth: _Mouth,
    ears: _Ears,
    *,
    fresh: bool,
) -> None:
    """Return once the operator has seen the checks, or has said so beforehand.

    Raises
    ------
    ConfigError
        The operator said no.
    """
    mouth.say(pipe.Preflight(checks, needs_confirmation=not ears.confirmed))
    bad = [check for check in checks if check.verdict == "bad"]
    if bad and ears.confirmed and fresh:  # one that was interrupted goes on all the same
        said = "\n".join(f"  {check.name}: {check.text}" for check in bad)
        raise ConfigError(f"before the first image, this must be mended:\n{said}")
    while not ears.confirmed:
        if any(command.name in {"stop", "abort"} for command in ears.orders()):
            raise RigError("stopped before the first image: nothing was shown or recorded")
        server.poll(0.1)  # so that the rig hears that the engine is there


if __name__ == "__main__":
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
