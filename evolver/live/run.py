"""One session in this process: from a session file, or a journal, to a finished recording.

Composition: builds the parts, puts the first records in the journal, joins rig, recorder and
loop, and sees to it that whatever happens, the journal is closed, the rig is told, and an HDF5
file is folded from what was recorded. No arithmetic on codes or scores here, and no printing.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evolver.clock import SYSTEM_CLOCK, Clock
from evolver.config.tables import Config, parse_session_file
from evolver.errors import RecordingError, RigError
from evolver.journal import records
from evolver.journal.recorder import Recorder as JournalRecorder
from evolver.journal.writer import JournalWriter
from evolver.live.children import fold_in_child
from evolver.session.loop import Loop, event_record
from evolver.session.ports import Command, Commands, Progress, Recorder, RigPort, Watch
from evolver.session_folder import JOURNAL, RECORDING, new_folder
from evolver.setup.build import (
    build_generators,
    build_references,
    build_session,
    fresh,
    machine,
    run_start,
    versions,
)
from evolver.setup.simulated_rig import LocalRig, build_population
from rig_bridge.auth import EngineKeys
from rig_bridge.events import RigJoined
from rig_bridge.messages import Hello
from rig_bridge.server import EngineServer

if TYPE_CHECKING:
    from evolver.setup.resume import Restored

logger = logging.getLogger(__name__)


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

    def commands(self) -> Sequence[Command]:
        """Return what the watcher commands."""
        return (Command("stop"),) if self.should_stop() else ()


class Job:
    """One session's parts, and what is done with them.

    Parameters
    ----------
    config, text : the session file's values, and the file as it was
    mode : "live" or "simulate"
    clock : Clock
    restored : what a journal says of a session that was interrupted; None: a new one

    Raises
    ------
    ConfigError
        The session file names something that does not exist here, or a weight file is not the
        one the session was begun with. Nothing was shown or written.
    """

    def __init__(
        self,
        config: Config,
        text: str,
        *,
        mode: str,
        clock: Clock,
        restored: Restored | None = None,
    ) -> None:
        self.config, self.restored = config, restored
        self.session_id = uuid.uuid4().hex if restored is None else restored.session_id
        self.text, self._mode, self._clock = text, mode, clock
        # Before anything is shown or written, so that a mistake costs nothing.
        self.generators = build_generators(config)
        if restored is not None:
            restored.check_weights(self.generators)
        self.references = build_references(config.references, seed=config.session.seed)
        if restored is not None:
            self.references = restored.references(self.references)

    def check_units(self, hello: Hello) -> int:
        """Return the presentations of one generation of every thread and the references.

        Raises
        ------
        ConfigError
            The rig does not have a unit that the session file names.
        """
        labels = [unit.label for unit in hello.units]
        session = build_session(
            self.config,
            self.generators,
            labels=labels,
            references=len(self.references.images),
            schedule="together",
        )
        return len(session.propose().presentations)

    def run(
        self,
        rig: RigPort,
        hello: Hello,
        recorder: Recorder,
        *,
        commands: Commands,
        on_progress: Callable[[Progress], None],
        watch: Watch | None = None,
        weights: Sequence[records.WeightFile] = (),
    ) -> str:
        """Run the session to its end, from where it stands; return why it ended.

        Parameters
        ----------
        rig, hello : a rig that has joined, and what it said
        recorder : of this session's journal
        commands, on_progress, watch : as the loop takes them
        weights : of weight files besides the generators'

        Raises
        ------
        ConfigError
            The rig does not have a unit of the session file. Nothing was shown.
        """
        config, clock, old = self.config, self._clock, self.restored
        session = build_session(
            config,
            self.generators,
            labels=[unit.label for unit in hello.units],
            references=len(self.references.images),
            restore=fresh if old is None else old.thread,
            position=None if old is None else old.position,
        )
        loop = Loop(
            config,
            session,
            generators=self.generators,
            references=self.references.images,
            reference_labels=self.references.labels,
            rig=rig,
            recorder=recorder,
            clock=clock,
            commands=commands,
            on_progress=on_progress,
            watch=watch,
            running=() if old is None else old.running,
            recorded_images=() if old is None else old.recorded_images,
        )
        if old is None:
            now = datetime.fromtimestamp(clock.time_ns() / 1e9, tz=UTC)
            first = run_start(
                config,
                self.text,
                self.generators,
                session,
                session_id=self.session_id,
                created=now.isoformat(timespec="milliseconds"),
                mode=self._mode,
                weights=weights,
            )
        else:
            first = old.record(clock.time_ns(), machine=machine(), versions=versions())
        loop.store(first, joined_record(hello, clock.time_ns()))
        try:
            reason = loop.run()
        except BaseException as exc:
            said = f"{type(exc).__name__}: {exc}"
            logger.exception("the session failed")
            recorder.retry()
            recorder.submit(event_record(clock.time_ns(), "error", "failed", said))
            recorder.submit(records.RunEnd(clock.time_ns(), f"error: {said}"))
            raise
        loop.store(records.RunEnd(clock.time_ns(), reason))
        return reason


def run_live(
    config: Config,
    text: str,
    watcher: Watcher,
    *,
    clock: Clock = SYSTEM_CLOCK,
    on_endpoint: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Run a session against a rig over the network, all in this process.

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
    job = Job(config, text, mode="live", clock=clock)
    with EngineServer(
        config.rig.endpoint,
        session=job.session_id,
        name=config.session.name,
        window_ms=config.rig.window_ms,
        answer_timeout_s=config.rig.answer_timeout_s,
        clock=clock.monotonic,
        keys=engine_keys(config),
    ) as server:
        watcher.on_wait(f"waiting for a rig to connect to {server.endpoint} …")
        on_endpoint(server.endpoint)
        hello = await_rig(server, watcher.commands)
        watcher.on_wait("")
        try:
            ended = _record(
                job,
                server,
                hello,
                watcher,
                new_folder(job.config, job.text, clock.time_ns()),
                clock,
            )
        except BaseException:
            server.end("the session failed")
            raise
        server.end(ended.reason)
    return _fold(ended, watcher)


def run_simulated(
    config: Config, text: str, watcher: Watcher, *, clock: Clock = SYSTEM_CLOCK
) -> Ended:
    """Run a session against the simulated rig of its file, in this process and without waiting.

    The neurons, their noise and the order are those of a live session against `evolver rig`
    with the same file. Parameters and errors are those of `run_live`.
    """
    return _simulate(Job(config, text, mode="simulate", clock=clock), watcher, None, clock)


def resume_simulated(folder: Path, watcher: Watcher, *, clock: Clock = SYSTEM_CLOCK) -> Ended:
    """Go on with a simulated session that was interrupted, to the same recording.

    Parameters
    ----------
    folder : the session's
    watcher, clock : as `run_simulated` takes them

    Raises
    ------
    RecordingError
        There is no journal, it is of a live session, or the session is finished.
    """
    from evolver.journal.history import read_history
    from evolver.setup.resume import Restored

    restored = Restored.of(read_history(folder / JOURNAL))
    if restored.mode != "simulate":
        raise RecordingError(
            f"{folder} must hold a simulated session; it is a live one: use 'evolver resume'"
        )
    config = parse_session_file(restored.config_text, source=f"the session file in {folder}")
    job = Job(config, restored.config_text, mode="simulate", clock=clock, restored=restored)
    return _simulate(job, watcher, folder, clock)


def _simulate(job: Job, watcher: Watcher, folder: Path | None, clock: Clock) -> Ended:
    population = build_population(job.config)
    rig = LocalRig(population, job.config, clock=clock)
    weights = tuple(
        records.WeightFile("scorer", name, population.scorer.sha256)
        for name in job.config.simulation.units
    )
    # A unit that the rig does not have is found before a folder is made.
    ended = _record(job, rig, rig.hello, watcher, folder, clock, weights=weights)
    return _fold(ended, watcher)


def _record(
    job: Job,
    rig: RigPort,
    hello: Hello,
    watcher: Watcher,
    folder: Path | None,
    clock: Clock,
    *,
    weights: Sequence[records.WeightFile] = (),
) -> Ended:
    resumed = folder is not None and (folder / JOURNAL).is_dir()
    job.check_units(hello)
    if folder is None:
        folder = new_folder(job.config, job.text, clock.time_ns())
    watcher.on_start(folder)
    journal = JournalWriter(folder / JOURNAL, resume=resumed)
    with JournalRecorder(journal, clock=clock.monotonic) as recorder:
        reason = job.run(
            rig,
            hello,
            recorder,
            commands=watcher.commands,
            on_progress=watcher.on_progress,
            weights=weights,
        )
    return Ended(reason, folder, folder / RECORDING)


def engine_keys(config: Config) -> EngineKeys | None:
    """Return the keys that the session file names; None where it names none.

    Raises
    ------
    KeyFileError
        They are missing, wrong, or open to others.
    """
    folder = config.rig.keys
    return None if folder is None else EngineKeys.load(Path(folder).expanduser())


def await_rig(server: EngineServer, commands: Commands) -> Hello:
    """Return what a rig says when it has joined.

    Raises
    ------
    RigError
        The operator stopped before.
    """
    while True:
        if any(command.name in {"stop", "abort"} for command in commands()):
            raise RigError("stopped before a rig joined: nothing was shown or recorded")
        for event in server.poll(0.1):
            if isinstance(event, RigJoined):
                return event.hello


def _fold(ended: Ended, watcher: Watcher) -> Ended:
    watcher.on_wait("folding the journal into one file …")
    fold_in_child(ended.folder / JOURNAL, ended.recording)
    watcher.on_wait("")
    return ended


def joined_record(hello: Hello, time_ns: int) -> records.RigJoined:
    """Return the record of a rig that joined, with everything it said."""
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
