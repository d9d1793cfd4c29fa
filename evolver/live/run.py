"""One session in this process: from a session file, or a journal, to a finished recording.

Composition. `run_session` is the one way in which a session runs: pre-flight, first records,
watchdogs, loop, last record. Simulations, demonstrations and sessions beside an animal hand it
another rig, another recorder, another console. Whatever happens, the journal is closed, and an
HDF5 file is folded from what was recorded. No arithmetic on codes or scores, and no printing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evolver.clock import SYSTEM_CLOCK, Clock
from evolver.config.tables import Config, parse_session_file
from evolver.errors import (
    ConfigError,
    DataError,
    EvolverError,
    RecordingError,
    StoppedEarlyError,
)
from evolver.journal import records
from evolver.journal.recorder import Recorder as JournalRecorder
from evolver.journal.rig_time import RESTARTED
from evolver.journal.writer import JournalWriter
from evolver.lab_code import error_text
from evolver.live.children import fold_in_child
from evolver.live.console import Console, KeptCommands
from evolver.live.disk import DiskWatchdog, JournalDisk
from evolver.live.rigs import JoinedRig, rig_in_process, rig_over_network
from evolver.regular_files import expanded
from evolver.session.loop import Loop
from evolver.session.ports import ENDED_BY, Command, Commands, RecorderPort
from evolver.session.schedule import Session
from evolver.session.to_records import event_record, joined_record
from evolver.session.watchdogs import Watchdogs
from evolver.session_folder import JOURNAL, RECORDING, new_folder
from evolver.setup import preflight, provenance
from evolver.setup.build import Makers, Parts, build_parts
from evolver.setup.places import check_heeds_places, check_sees_places

if TYPE_CHECKING:
    from evolver.setup.resume import Restored

logger = logging.getLogger(__name__)

LOADING = "loading the generators …"
"""What a session waits for at first."""
JOURNAL_DAMAGED = "journal_damaged"
"""Name of the event that says what is lost of the journal that a session goes on in."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended, and where its recording lies."""

    reason: str
    folder: Path
    recording: Path


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One session that can be run, once.

    Parameters
    ----------
    parts : made of its session file
    text : the session file as it was
    mode : of the recording
    recordings : the folder in which the session has, or gets, a folder of its own
    session_id : the session keeps it when it is resumed
    clock : Clock
    restarted : it goes on after an engine of the same supervisor
    """

    parts: Parts
    text: str
    mode: records.SessionMode
    recordings: Path
    session_id: str
    clock: Clock
    restarted: bool = False

    @classmethod
    def begin(
        cls,
        config: Config,
        text: str,
        mode: records.SessionMode,
        *,
        clock: Clock,
        makers: Makers | None = None,
    ) -> Job:
        """Return a new session; `makers` as `build_parts` takes them.

        Raises
        ------
        ConfigError
            The session file names something that does not exist here. Nothing was shown or
            written.
        """
        recordings = expanded(config.session.folder)
        parts = build_parts(config, live=mode != "simulate", makers=makers)
        return cls(parts, text, mode, recordings, uuid.uuid4().hex, clock)

    @classmethod
    def resume(cls, restored: Restored, folder: Path, *, clock: Clock) -> Job:
        """Return the session of `folder`, to go on from where its journal ends.

        Raises
        ------
        ConfigError
            As `begin`; or a weight file is not the one the session was begun with.
        """
        text = restored.config_text
        config = parse_session_file(text, source=f"the session file in {folder}")
        config = config.as_recorded(restored.optimizers)
        parts = build_parts(config, restored=restored, live=restored.mode == "live")
        return cls(parts, text, restored.mode, folder.parent, restored.session_id, clock)


def run_session(
    job: Job,
    rig: AbstractContextManager[JoinedRig],
    recorder: Callable[[Commands], AbstractContextManager[tuple[RecorderPort, Commands]]],
    console: Console,
    commands: KeptCommands,
) -> str:
    """Run a session to its end, from where it stands; return why it ended.

    One that goes on and is stopped before its rig is back ends as any that is stopped: it was
    recorded before.

    Parameters
    ----------
    job : the session
    rig : entered once all that needs no rig is checked; yields it when it has joined
    recorder : called with the commands once nothing speaks against the first image; gives
        the recorder, and the commands to which it may have added its own
    console : told how it goes
    commands : the console's, which were kept since the session began to be put together

    Raises
    ------
    ConfigError
        The rig does not have a unit of the session file, or a check is bad and nobody was
        asked. Nothing was shown.
    StoppedEarlyError
        The operator stopped before the first image of a session that begins.
    RecordingError
        The disk refuses, and the operator ended the session.
    """
    try:
        return _run_with_rig(job, rig, recorder, console, commands)
    except StoppedEarlyError:
        if job.parts.restored is None or commands.last is None:
            raise
    ending, time_ns = commands.last, job.clock.time_ns()
    reason = ENDED_BY[ending.name]
    text = f"{ending.name} by {ending.by} while there was no rig"
    text += f": {ending.text}" if ending.text else ""
    with recorder(commands) as (opened, _):
        opened.submit(event_record(time_ns, "info", ending.name, text))
        opened.submit(records.RunEnd(time_ns, reason))
        opened.barrier()
    return reason


def _run_with_rig(
    job: Job,
    rig: AbstractContextManager[JoinedRig],
    recorder: Callable[[Commands], AbstractContextManager[tuple[RecorderPort, Commands]]],
    console: Console,
    commands: KeptCommands,
) -> str:
    parts, clock = job.parts, job.clock
    checks = preflight.before_the_rig(
        parts, job.recordings, time_ns=clock.time_ns(), monotonic=clock.monotonic
    )
    with rig as joined:
        if parts.restored is not None:
            parts.restored.check_rig(joined.weights)
        check_heeds_places(parts.config, joined.hello)
        session = parts.session(
            [unit.label for unit in joined.hello.units], forms=joined.hello.capabilities
        )
        checks += preflight.with_the_rig(parts, joined.hello, job.recordings)
        _confirm(job, checks, joined, console, commands)
        console.on_wait("")
        with recorder(commands) as (opened, all_commands):
            reason = _run_loop(job, session, joined, opened, all_commands, console)
            opened.barrier()  # the rig is told of the end only when all is safe
        joined.end(reason)
    return reason


def _confirm(
    job: Job,
    checks: Sequence[preflight.Check],
    joined: JoinedRig,
    console: Console,
    commands: KeptCommands,
) -> None:
    """Return once the operator has seen the checks, or has said so beforehand."""
    confirmed = console.confirmed()
    console.on_checks(checks, not confirmed)
    bad = [check for check in checks if check.verdict == "bad"]
    # One that was interrupted goes on all the same; so does one without an animal.
    if bad and confirmed and job.mode == "live" and job.parts.restored is None:
        lines = "\n".join(f"  {check.name}: {check.text}" for check in bad)
        raise ConfigError(f"before the first image, this must be mended:\n{lines}")
    while not console.confirmed():
        if commands.end_wanted() is not None:
            raise StoppedEarlyError("before the first image")
        events = joined.port.poll(0.1)  # so that the rig hears that the engine is there
        joined.keep_notices(events, job.clock.time_ns())


def _run_loop(
    job: Job,
    session: Session,
    joined: JoinedRig,
    recorder: RecorderPort,
    commands: Commands,
    console: Console,
) -> str:
    """Record what the session begins with, run it, record how it ended."""
    parts, clock, restored = job.parts, job.clock, job.parts.restored
    first = _first_records(job, session, joined)
    if restored is not None:
        for record in first:
            restored.history.time.take(record)  # as a later engine will
    loop = Loop(
        parts.config,
        session,
        generators=parts.generators,
        references=parts.references.images,
        reference_labels=parts.references.labels,
        rig=joined.port,
        recorder=recorder,
        clock=clock,
        commands=commands,
        on_progress=console.on_progress,
        watchdogs=Watchdogs.of(_watched(parts.config, console), joined.hello),
        running=() if restored is None else restored.running,
        recorded_images=() if restored is None else restored.recorded_images,
        earlier=None if restored is None else restored.earlier,
        notices=tuple(joined.notices),
    )
    loop.store(*first)
    try:
        reason = loop.run()
    except BaseException as exc:
        text = error_text(exc)
        if isinstance(exc, EvolverError):
            logger.error("the session failed: %s", text)  # noqa: TRY400  it says all there is
        else:
            logger.exception("the session failed")
        recorder.retry()
        recorder.submit(event_record(clock.time_ns(), "error", "failed", text))
        recorder.submit(records.RunEnd(clock.time_ns(), f"error: {text}"))
        if job.mode == "live":  # elsewhere the error itself is printed next
            with suppress(Exception):  # what failed may be what tells
                loop.say(f"the engine fails: {text}")
        if isinstance(exc, SystemExit):  # else this process would end as if all were well
            raise DataError(
                "no code that a session uses may end the program; some did, with "
                f"{text}. Take it out"
            ) from exc
        raise
    loop.store(records.RunEnd(clock.time_ns(), reason))
    return reason


def _first_records(
    job: Job, session: Session, joined: JoinedRig
) -> tuple[records.AnyRecord, ...]:
    time_ns, restored = job.clock.time_ns(), job.parts.restored
    rig = joined_record(joined.hello, time_ns)
    if restored is not None:
        resumed = restored.record(
            time_ns, machine=provenance.machine(), versions=provenance.versions()
        )
        first: list[records.AnyRecord] = [resumed]
        if job.restarted:
            text = "started again after it had fallen, and ready for a rig"
            first.append(event_record(joined.awaited_ns, "warning", RESTARTED, text))
        first.append(rig)
        if restored.loss:
            first.append(event_record(time_ns, "warning", JOURNAL_DAMAGED, restored.loss))
        return tuple(first)
    created = datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="milliseconds")
    start = provenance.run_start(
        job.parts,
        session,
        text=job.text,
        session_id=job.session_id,
        created=created,
        mode=job.mode,
        weights=joined.weights,
    )
    return start, rig


def _watched(config: Config, console: Console) -> Config:
    """Return the session file as watchdogs read it: where nobody could resume, none pauses."""
    if console.can_resume:
        return config
    table = msgspec.structs.replace(config.watchdogs, pause_on=())
    return msgspec.structs.replace(config, watchdogs=table)


# ------------------------------------------------------------------ all in this process


def run_live(
    config: Config, text: str, console: Console | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> Ended:
    """Run a session against a rig over the network, with loop and recorder in this process.

    Beside an animal, `evolver serve` runs the same in processes that outlive one another.

    Parameters
    ----------
    config, text : the session file's values, and the file as it was
    console : told how it goes; commands it. Without one, nobody watches
    clock : the machine's, if not given

    Returns
    -------
    Ended, once the recording is folded and verified

    Raises
    ------
    ConfigError
        The session file names something that does not exist here, or a unit the rig does not
        have. Nothing was shown.
    RigError
        The operator stopped before the first image.
    RecordingError
        The journal could not be written, or the recording not be folded from it.
    """
    console = console or Console()
    console.on_wait(LOADING)
    job = Job.begin(config, text, "live", clock=clock)
    commands = KeptCommands(console.commands)
    rig = rig_over_network(config, job.session_id, console, commands, clock=clock)
    return run_here(job, rig, console, commands)


def run_simulated(
    config: Config,
    text: str,
    console: Console | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
    fold: Callable[[Path, Path], None] | None = None,
) -> Ended:
    """Run a session against the simulated rig of its file, in this process and without waiting.

    The neurons, their noise and the order are those of a live session against `evolver rig`
    with the same file. Other parameters and errors are those of `run_live`.

    Parameters
    ----------
    fold : makes a recording, second, of a journal, first; without it a process of its own does,
        which takes a second to begin
    """
    console = console or Console()
    console.on_wait(LOADING)
    check_sees_places(config)
    job = Job.begin(config, text, "simulate", clock=clock)
    rig = rig_in_process(config, clock=clock)
    return run_here(job, rig, console, KeptCommands(console.commands), fold=fold)


def resume_simulated(
    folder: Path, console: Console | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> Ended:
    """Go on with a simulated session that was interrupted, to the same recording.

    Parameters
    ----------
    folder : the session's
    console, clock : as `run_simulated` takes them

    Raises
    ------
    RecordingError
        There is no journal, it is of a live session, or the session is finished.
    """
    from evolver.journal.history import read_history
    from evolver.setup.resume import Restored

    console = console or Console()
    restored = Restored.of(read_history(folder / JOURNAL))
    if restored.mode != "simulate":
        raise RecordingError(
            f"{folder} must hold a simulated session; it is a live one: use 'evolver resume'"
        )
    console.on_wait(LOADING)
    job = Job.resume(restored, folder, clock=clock)
    rig = rig_in_process(job.parts.config, clock=clock, earlier=restored.earlier_showings)
    return run_here(job, rig, console, KeptCommands(console.commands), folder=folder)


def run_here(
    job: Job,
    rig: AbstractContextManager[JoinedRig],
    console: Console,
    commands: KeptCommands,
    *,
    folder: Path | None = None,
    fold: Callable[[Path, Path], None] | None = None,
) -> Ended:
    """Run a session whose journal this process keeps, and fold it.

    Parameters
    ----------
    job, rig, console, commands : as `run_session` takes them
    folder : the session's; None: made once nothing speaks against the first image
    fold : as `run_simulated` takes it
    """
    config, clock = job.parts.config, job.clock
    folders = [] if folder is None else [folder]

    @contextmanager
    def recorder(commands: Commands) -> Generator[tuple[RecorderPort, Commands], None, None]:
        if not folders:
            folders.append(new_folder(config, job.text, clock.time_ns()))
        console.on_start(folders[0])
        journal = JournalWriter(folders[0] / JOURNAL, resume=job.parts.restored is not None)
        watchdog = DiskWatchdog(_watched(config, console).watchdogs)
        disk = JournalDisk(watchdog, journal, clock)

        def all_commands() -> Sequence[Command]:
            return (*commands(), *disk.commands())

        with JournalRecorder(journal, clock=clock.monotonic) as opened:
            try:
                yield opened, all_commands
            except EvolverError as exc:
                exc.add_note(
                    f"What was recorded is kept; 'evolver resume {folders[0]}' goes on"
                )
                raise

    reason = run_session(job, rig, recorder, console, commands)
    console.on_wait("folding the journal into one file …")
    (fold or fold_in_child)(folders[0] / JOURNAL, folders[0] / RECORDING)
    console.on_wait("")
    return Ended(reason, folders[0], folders[0] / RECORDING)
