# pyright: basic, reportAttributeAccessIssue=false, reportInvalidTypeForm=false, reportCallIssue=false
# pynwb and hdmf make their classes as they are imported; no checker sees what is in them.
"""A recording as an NWB file (Neurodata Without Borders 2), for archives as DANDI.

What stands where, and why there:

- **Trials**: a row an attempt, in the order of time, with every column of the recording's
  presentations. One that was planned and never shown has no times (NaN) and stands last.
- **Images**: `stimulus/images`, a table with one array of pixels, whose ids the trials' column
  `image_id` names. NWB has two other places. `Images` with an `IndexSeries` has an object an
  image, thousands of them, each with a dataset of its own, which is slow to write and to open.
  An `ImageSeries` is one array, but a series in time, which these are not; to index one is
  deprecated, and one with fewer images than rows of pixels counts as turned the wrong way.
  Images of several sizes are in a table for each size.
- **Units** with a train of spikes each, where a rig sent spikes: see `trains` for what becomes
  of windows that overlap. `observed_windows` says when there was a window; units have it, too,
  as `obs_intervals`, unless there are so many that the inspector would not come to an end.
- **processing/ecephys**: spikes as they were recorded, a row a trial, PSTHs, and counts and
  rates as rigs sent them. Tables, whose row k is trial k, or has the column `trial`: as series
  in time, of responses that are longer than the trials are many, they would count as turned.
- **processing/misc**: codes and scores, states of optimizers and fitness, blocks, references'
  scores, activations. **scratch**: the session file, settings and versions as they are.

Large arrays go from one file to the other a piece at a time. Two files of one recording differ
in the time at which they were made and in nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, ProcessingModule
from pynwb.ecephys import ElectrodesTable
from pynwb.event import EventsTable, TimestampVectorData
from pynwb.file import Subject

from evolver import __version__
from evolver.config.lab_tables import DeviceTable, ExperimenterTable, SubjectTable
from evolver.export.clock import SessionClock, session_clock
from evolver.export.hdf5_file import new_hdf5_file
from evolver.export.lab import config_of
from evolver.export.nwb_columns import Streams, column, object_name, utf8
from evolver.export.nwb_responses import add_responses, make_units
from evolver.export.nwb_search import add_activations, add_blocks, add_threads
from evolver.export.nwb_shown import Trials, image_tables
from evolver.export.nwb_words import SETTINGS, ending, two_clocks
from evolver.export.session_facts import json_text, resolved_settings
from evolver.recording import Recording
from evolver.recording import schema as s

_UNKNOWN = "unknown"


def export_nwb(
    recording: Recording,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a recording as an NWB file, whole or not at all.

    Parameters
    ----------
    recording : open
    path : the file, .nwb
    overwrite : replace one that is there
    progress : told the bytes that are written, and of how many

    Raises
    ------
    RecordingError
        The recording is damaged.
    FileExistsError
        It is there, and may not be replaced.
    OSError
        The file cannot be written.
    """
    with new_hdf5_file(path, overwrite=overwrite) as (file, disk):

        def tell(done: int, total: int) -> None:
            disk.check()
            if progress is not None:
                progress(done, total)

        with NWBHDF5IO(file=file, mode="w") as io:
            io.write(_nwb_file(recording, Streams(tell)))
            _name_objects(file, recording.session_id)


def _nwb_file(recording: Recording, streams: Streams) -> NWBFile:
    """Return the file, which reads the recording while it is written."""
    clock = session_clock(recording)
    trials = Trials(recording, clock)
    config = config_of(recording.config)
    device = DeviceTable() if config is None else config.device
    who = ExperimenterTable() if config is None else config.experimenter
    file = _described(recording, clock, who)
    file.subject = _subject(recording, SubjectTable() if config is None else config.subject)
    if len(recording.presentations):
        file.trials = trials.table()
    for images in image_tables(recording, streams):
        file.add_stimulus(images)
    if len(recording.events):
        file.add_events_table(_events(recording, clock))
    ecephys = ProcessingModule(
        name="ecephys", description="responses: spikes, counts, rates and PSTHs by trial"
    )
    misc = ProcessingModule(
        name="misc", description="codes, scores, states of optimizers, blocks"
    )
    if len(recording.units):
        file.add_processing_module(ecephys)  # before its tables: they refer to the file's
        of_unit = _add_electrodes(file, recording, device)
        file.units, observed = make_units(
            recording,
            clock,
            streams,
            electrodes=file.electrodes,
            of_unit=of_unit,
            sampling_hz=device.sampling_hz,
        )
        ecephys.add(observed)
    add_responses(ecephys, recording, trials, streams)
    add_threads(misc, recording, streams)
    add_blocks(misc, recording, clock)
    add_activations(misc, recording, streams)
    for module in (ecephys, misc):
        if module.data_interfaces and module.name not in file.processing:
            file.add_processing_module(module)
    _add_scratch(file, recording, clock)
    return file


def _described(recording: Recording, clock: SessionClock, who: ExperimenterTable) -> NWBFile:
    threads = "; ".join(
        f"{t.name}: {t.optimizer} on {t.generator}, {t.generations} generations of {t.popsize}"
        for t in recording.threads
    )
    responses = "live" if recording.mode == "live" else "simulated neurons"
    if recording.is_replay:
        responses = "a recording played back, no animal"
    publications = tuple(map(utf8, who.publications)) or None
    name = object_name(recording.name).replace(" ", "-")
    return NWBFile(
        session_description=utf8(
            f"Images evolved in a closed loop, {responses}. "
            f"Threads: {threads or 'none'}. {ending(recording)}"
        ),
        identifier=recording.session_id,
        session_id=f"{name}-{recording.session_id[:8]}",
        session_start_time=clock.start,
        file_create_date=datetime.now(UTC),
        experimenter=[utf8(name) for name in who.names] or None,
        experiment_description=who.description,
        institution=who.institution,
        lab=who.lab,
        keywords=[utf8(word) for word in who.keywords] or None,
        protocol=who.protocol,
        related_publications=publications,
        notes=utf8("\n".join(recording.warnings)) or None,
        was_generated_by=[["evolver", __version__]],
    )


def _subject(recording: Recording, subject: SubjectTable) -> Subject:
    if subject.id is None:
        simulated = recording.mode != "live" or recording.is_replay
        whose = "a recording played back" if recording.is_replay else "simulated neurons"
        what = f"no animal: {whose}" if simulated else "the session file names none"
        # NWB wants a subject with an age: this says from birth on, which is any.
        return Subject(
            subject_id="simulated" if simulated else _UNKNOWN,
            description=what,
            sex="U",
            age="P0D/",
        )
    born = subject.date_of_birth
    unknown_age = subject.age is None and born is None
    return Subject(
        subject_id=utf8(subject.id),
        species=subject.species,
        sex=subject.sex or "U",
        age="P0D/" if unknown_age else subject.age,
        date_of_birth=None if born is None else datetime.combine(born, time(), UTC),
        weight=subject.weight,
        strain=subject.strain,
        genotype=subject.genotype,
        description=subject.description,
    )


def _add_electrodes(
    file: NWBFile, recording: Recording, told: DeviceTable
) -> NDArray[np.int64]:
    """Add an electrode a channel and area; return each unit's, (u,)."""
    units = recording.units
    if not len(units):
        return np.zeros(0, dtype=np.int64)
    rigs = [str(rig[s.RIG_NAME]) for rig in recording.rigs]
    model = None
    if told.model or told.manufacturer:
        model = file.create_device_model(
            name=object_name(told.model or _UNKNOWN),
            manufacturer=told.manufacturer or _UNKNOWN,
            description=told.description or "of the array or probe that was recorded with",
        )
    device = file.create_device(
        name=object_name(told.name or next(iter(rigs), _UNKNOWN)),
        description=told.description or f"reached through: {utf8(', '.join(rigs))}",
        serial_number=told.serial_number,
        model=model,
    )
    places = [(str(unit["area"]), int(unit["channel"])) for unit in units]
    groups: dict[str, Any] = {}
    for area in dict.fromkeys(area for area, _ in places):
        known = [group.name for group in groups.values()]
        groups[area] = file.create_electrode_group(
            name=object_name(area or _UNKNOWN, known),
            description=told.electrodes or f"electrodes in {utf8(area) or _UNKNOWN}",
            location=utf8(area) or _UNKNOWN,
            device=device,
        )
    # All rows at once: `add_electrode` compares each with all that are there.
    rows = {place: row for row, place in enumerate(dict.fromkeys(places))}
    groups_of = [groups[area] for area, _ in rows]
    file.electrodes = ElectrodesTable(
        id=np.arange(len(rows)),
        columns=[
            column(
                "location",
                "brain area or layer",
                np.array([utf8(area) or _UNKNOWN for area, _ in rows]),
            ),
            column("group", "the electrodes of this area", groups_of),
            column("group_name", "name of the group", [group.name for group in groups_of]),
            column(
                "channel",
                "channel of the recording system",
                np.array([channel for _, channel in rows], dtype=np.int64),
            ),
        ],
    )
    return np.array([rows[place] for place in places], dtype=np.int64)


def _events(recording: Recording, clock: SessionClock) -> EventsTable:
    events = recording.events
    events = events[np.argsort(events["time_ns"], kind="stable")]
    return EventsTable(
        name="session_events",
        description="what happened in the session, as its log has it" + two_clocks(recording),
        source_description="evolver",
        id=np.arange(len(events)),
        columns=[
            TimestampVectorData(
                name="timestamp",
                description="session's clock, s",
                data=clock.engine_seconds(events["time_ns"]),
            ),
            column("level", "info, warning or error", events["level"].copy()),
            column("kind", "what kind of event", events["name"].copy()),
            column("annotation", "what happened", events["text"].copy()),
        ],
    )


def _add_scratch(file: NWBFile, recording: Recording, clock: SessionClock) -> None:
    threads = [
        {
            "name": t.name,
            "optimizer": t.optimizer,
            "generator": t.generator,
            "d": t.d,
            "popsize": t.popsize,
            "image_size": t.image_size,
            "weights_sha256": t.weights_sha256,
            "options": t.options,
            "fitness": t.fitness,
            "rng_states": {
                int(g): t.state(int(g))[s.STATE_RNG]
                for g in np.unique(t.generation)
                if t.has_state(int(g))
            },
        }
        for t in recording.threads
    ]
    settings = resolved_settings(recording)
    told = {"zero_ns": clock.zero_ns, "shift_ns": clock.shift_ns.tolist()}
    for name, text, what in (
        ("session_file", recording.config, "the session file, TOML"),
        ("settings", "" if settings is None else json_text(settings), SETTINGS),
        ("threads", json_text(threads), "JSON: settings, and the random streams' states"),
        ("rigs", json_text(recording.rigs), "JSON: what each rig said of itself"),
        ("clock", json_text(told), "JSON: zero, engine ns since 1970; each rig's distance"),
        ("versions", json_text(recording.versions), "JSON: package to version"),
        ("machine", json_text(recording.machine), "JSON: what the session ran on"),
        ("weights", json_text(recording.weights), "JSON: sha256 of every weight file"),
        ("recording", json_text(recording.attrs), "JSON: the recording's attributes"),
    ):
        if text:
            file.add_scratch(utf8(text), name=name, description=what)


def _name_objects(file: h5py.File, session_id: str) -> None:
    """Give every object the same id in every export: pynwb draws them at random."""
    family = uuid.uuid5(uuid.NAMESPACE_OID, session_id)

    def name(place: str, part: h5py.Group | h5py.Dataset) -> None:
        if "object_id" in part.attrs:
            part.attrs["object_id"] = str(uuid.uuid5(family, place))

    name("/", file)
    file.visititems(name)
