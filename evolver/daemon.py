"""One session from a session file to a finished recording: sockets, folders, clocks.

Composition: opens the journal and the rig's socket, joins them to the loop, and sees to it that
whatever happens, the journal is closed, the rig is told, and an HDF5 file is folded from what
was recorded. No arithmetic on codes or scores here, and no printing.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from evolver.compose import build_generators, build_references, build_session, run_start
from evolver.config import Config
from evolver.errors import RecordingError, RigError
from evolver.layout import JOURNAL, RECORDING, SESSION_FILE
from evolver.loop import Loop, event_record
from evolver.ports import Clock, Command, Progress, RigPort
from evolver.recording import records
from evolver.recording.journal import JournalWriter
from evolver.recording.recorder import Recorder
from evolver.simulation import LocalRig, build_population
from rig_bridge.events import RigJoined
from rig_bridge.messages import Hello
from rig_bridge.server import EngineServer

logger = logging.getLogger(__name__)


class SystemClock:
    """The machine's clocks."""

    def time_ns(self) -> int:
        """Return ns since the unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so long."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended, and where its recording lies."""

    reason: str
    folder: Path
    recording: Path


@dataclass(frozen=True, slots=True, eq=False)
class Watcher:
    """Whoever watches a session.

    Parameters
    ----------
    should_stop : asked often; True ends the session without losing what was shown
    on_wait : told what the session waits for before its first block; '' when it goes on
    on_start : told the recording's folder
    on_progress : told of every change after that
    """

    should_stop: Callable[[], bool]
    on_wait: Callable[[str], None]
    on_start: Callable[[Path], None]
    on_progress: Callable[[Progress], None]


def run_live(
    config: Config,
    text: str,
    watcher: Watcher,
    *,
    clock: Clock = SYSTEM_CLOCK,
    on_endpoint: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Run a session against a rig over the network.

    Parameters
    ----------
    config, text : the session file's values, and the file as it was
    watcher : Watcher
    clock : the machine's, if not given
    on_endpoint : told the address the rig must connect to, once it can

    Returns
    -------
    Ended, once the recording is folded and verified

    Raises
    ------
    ConfigError
        The session file names something that does not exist here, or a unit the rig does not
        have. Nothing was shown.
    RigError
        The operator stopped before a rig joined.
    RecordingError
        The journal could not be written, or the recording not be folded from it.
    """
    job = _Job(config, text, watcher, clock, mode="live")
    with _Port(
        config.rig.endpoint,
        session=job.session_id,
        name=config.session.name,
        window_ms=config.rig.window_ms,
        answer_timeout_s=config.rig.answer_timeout_s,
        clock=clock.monotonic,
    ) as server:
        watcher.on_wait(f"waiting for a rig to connect to {server.endpoint} …")
        on_endpoint(server.endpoint)
        hello = None
        while hello is None:
            if watcher.should_stop():
                raise RigError("stopped before a rig joined: nothing was shown or recorded")
            for event in server.poll(0.1):
                if isinstance(event, RigJoined):
                    hello = event.hello
        watcher.on_wait("")
        try:
            ended = job.run(server, hello, weights=())
        except BaseException:
            server.end("the session failed")
            raise
        server.end(ended.reason)
    return job.fold(ended)


def run_simulated(
    config: Config, text: str, watcher: Watcher, *, clock: Clock = SYSTEM_CLOCK
) -> Ended:
    """Run a session against the simulated rig of its file, in this process and without waiting.

    The neurons, their noise and the order are those of `run_live` against `evolver rig` with
    the same file. Parameters and errors are those of `run_live`.
    """
    job = _Job(config, text, watcher, clock, mode="simulate")
    population = build_population(config)
    rig = LocalRig(population, config, clock=clock)
    weights = tuple(
        records.WeightFile("scorer", name, population.scorer.sha256)
        for name in config.simulation.units
    )
    return job.fold(job.run(rig, rig.hello, weights=weights))


class _Port(EngineServer):
    def next_attempt(self, block: int) -> int:
        return self._link._attempts.get(block, 0) + 1  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def hold(self, on: bool) -> None:  # noqa: FBT001
        pass


class _Job:
    """What live and simulated sessions share."""

    def __init__(
        self, config: Config, text: str, watcher: Watcher, clock: Clock, *, mode: str
    ) -> None:
        self.session_id = uuid.uuid4().hex
        self._config, self._text, self._watcher = config, text, watcher
        self._clock, self._mode = clock, mode
        # Before anything is shown or written, so that a mistake costs nothing.
        self._generators = build_generators(config)
        self._references = build_references(config.references, seed=config.session.seed)

    def run(
        self, rig: RigPort, hello: Hello, *, weights: Sequence[records.WeightFile]
    ) -> Ended:
        config, clock = self._config, self._clock
        session = build_session(
            config,
            self._generators,
            labels=[unit.label for unit in hello.units],
            references=len(self._references.images),
        )
        now = datetime.fromtimestamp(clock.time_ns() / 1e9, tz=UTC)
        start = run_start(
            config,
            self._text,
            self._generators,
            session,
            session_id=self.session_id,
            created=now.isoformat(timespec="milliseconds"),
            mode=self._mode,
            weights=weights,
        )
        folder = _new_folder(Path(config.session.folder).expanduser(), config.session.name, now)
        (folder / SESSION_FILE).write_text(self._text, encoding="utf-8")
        self._watcher.on_start(folder)
        with Recorder(JournalWriter(folder / JOURNAL), clock=clock.monotonic) as recorder:
            recorder.submit(start)
            recorder.submit(_joined(hello, clock.time_ns()))
            loop = Loop(
                config,
                session,
                generators=self._generators,
                references=self._references.images,
                reference_labels=self._references.labels,
                rig=rig,
                recorder=recorder,
                clock=clock,
                commands=self._commands,
                on_progress=self._watcher.on_progress,
            )
            try:
                reason = loop.run()
            except BaseException as exc:
                said = f"{type(exc).__name__}: {exc}"
                logger.exception("the session failed")
                recorder.retry()
                recorder.submit(event_record(clock.time_ns(), "error", "failed", said))
                recorder.submit(records.RunEnd(clock.time_ns(), f"error: {said}"))
                raise
            recorder.submit(records.RunEnd(clock.time_ns(), reason))
        return Ended(reason, folder, folder / RECORDING)

    def _commands(self) -> Sequence[Command]:
        return (Command("stop"),) if self._watcher.should_stop() else ()

    def fold(self, ended: Ended) -> Ended:
        self._watcher.on_wait("folding the journal into one file …")
        fold_in_child(ended.folder / JOURNAL, ended.recording)
        self._watcher.on_wait("")
        return ended


def fold_in_child(journal: Path, recording: Path) -> None:
    """Fold a journal in a process of its own: what HDF5 does to it cannot reach this one.

    Raises
    ------
    RecordingError
        Folding failed; the journal is untouched.
    """
    command = [sys.executable, "-m", "evolver", "fold", str(journal), "--out", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RecordingError(
            f"the journal must fold into {recording}; it did not: {said}\n"
            f"Nothing is lost: mend the cause and run  evolver fold {journal}"
        )


def _new_folder(parent: Path, name: str, now: datetime) -> Path:
    """Make a folder that did not exist: name, date, time, and a number if need be."""
    stem = f"{name}-{now:%Y%m%d-%H%M%S}"
    for attempt in range(1000):
        folder = parent / (stem if attempt == 0 else f"{stem}-{attempt + 1}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as exc:
            raise RecordingError(
                f"session.folder: must be a folder that can be written to; {folder} cannot be "
                f"made: {exc.strerror}"
            ) from exc
        return folder
    raise RecordingError(f"{parent} has a thousand recordings called {stem}; use another name")


def _joined(hello: Hello, time_ns: int) -> records.RigJoined:
    return records.RigJoined(
        time_ns=time_ns,
        name=hello.name,
        software=hello.software,
        units=tuple(
            records.UnitInfo(unit.channel, unit.unit, unit.area, unit.label)
            for unit in hello.units
        ),
        info=json.dumps(msgspec.to_builtins(hello)),
    )
