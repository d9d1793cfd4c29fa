"""Recordings to export: `tests.recording.sessions` in the past, with what may go wrong."""

import msgspec
import numpy as np

from evolver.journal import JournalWriter
from evolver.journal.records import (
    ImagePixels,
    PackedArray,
    Proposed,
    Result,
    RigRecord,
    RunStart,
    UnitInfo,
)
from evolver.recording.fold import fold
from tests.recording import sessions

CREATED = "2023-11-14T22:13:20Z"
PAST_NS = sessions.START_NS - 1_700_000_000_000_000_000
"""How far a made-up session is moved: the inspector refuses one of the future."""

LAB = """
[session]
name = "made-up"
[presentation]
on_ms = 100
off_ms = 150
[[threads]]
name = "texture"
generator = "mini-texture"
[[threads]]
name = "object"
generator = "mini-object"
[subject]
id = "Ärmel 12"
species = "Macaca mulatta"
sex = "F"
age = "P7Y"
date_of_birth = 2016-02-29
weight = "7.4 kg"
description = "原 right-handed"
[device]
name = "array PIT"
manufacturer = "a maker"
model = "FMA-32"
electrodes = "PtIr, 0.5 MOhm"
sampling_hz = 40000
[experimenter]
names = ["Müller, Zoë", "Hubel, David"]
lab = "Vision"
institution = "a university"
description = "Which images does a site respond to?"
keywords = ["closed loop"]
protocol = "1958-01"
publications = ["doi:10.1113/jphysiol.1959.sp006308"]
"""


def moved(record):
    """Return a record as it would be, had the session been in the past."""
    changes = {
        name: getattr(record, name) - PAST_NS
        for name in ("time_ns", "received_ns")
        if getattr(record, name, 0)
    }
    if isinstance(record, RunStart):
        changes |= {"created": CREATED, "mode": "live"}
    return msgspec.structs.replace(record, **changes)


def made(folder, change=lambda records: records, *, lab=LAB, **how):
    """Make a recording of a session whose records are changed; return its path."""
    records = [moved(record) for record in sessions.make_records(**how)]
    records[0] = msgspec.structs.replace(records[0], config=lab)
    folder.mkdir(parents=True, exist_ok=True)
    with JournalWriter(folder / "journal", segment_bytes=1 << 20) as journal:
        for record in change(records):
            journal.append(record)
        journal.sync()
    fold(folder / "journal", folder / "session.h5")
    return folder / "session.h5"


def two_rigs(records):
    """Let another rig, with other units and a clock of its own, answer the last block."""
    last = max(record.block for record in records if isinstance(record, Proposed))
    at = next(k for k, r in enumerate(records) if isinstance(r, Proposed) and r.block == last)
    units = (UnitInfo(7, 0, "V1/V2: ü", "später"), UnitInfo(2, 1, "IT", "unit 3"))
    answered = min(r.received_ns for r in records[at:] if isinstance(r, Result))
    joined = RigRecord(answered - 10**9, "another", "2", units, "{}")
    changed = [*records[:at], joined]
    for record in records[at:]:
        if isinstance(record, Result):
            arrays = dict(record.arrays)
            if record.form == "spikes":
                unit = arrays["units"].numpy()
                arrays["units"] = PackedArray.of((unit % 2).astype(np.uint32))
            elif record.form == "counts":
                arrays["counts"] = PackedArray.of(arrays["counts"].numpy()[:2].copy())
            else:
                arrays["rates"] = PackedArray.of(arrays["rates"].numpy()[:2].copy())
            shift = 3_600_000_000_000
            record = msgspec.structs.replace(
                record,
                arrays=arrays,
                commanded_ns=record.commanded_ns + shift,
                onset_ns=record.onset_ns + shift,
                offset_ns=record.offset_ns + shift,
            )
        changed.append(record)
    return changed


def repeats(records):
    """Let every image of the first block's results come again, as a later repeat."""
    return [
        msgspec.structs.replace(
            record,
            presentations=tuple(
                msgspec.structs.replace(one, repeat=one.presentation % 2)
                for one in record.presentations
            ),
        )
        if isinstance(record, Proposed)
        else record
        for record in records
    ]


def nothing_shown(records):
    """Leave the session before its first block."""
    return [r for r in records if isinstance(r, (RunStart, RigRecord))]


def lost_images(records):
    """Lose every third image of the threads."""
    images = [r for r in records if isinstance(r, ImagePixels)]
    lost = {id(r) for r in images[3::3]}
    return [r for r in records if id(r) not in lost]


def silent_unit(records):
    """Let unit 1 never fire, and the last one either."""
    return [_without(r, (1, 3)) if isinstance(r, Result) else r for r in records]


def no_spikes(records):
    """Let no unit fire at all."""
    return [_without(r, (0, 1, 2, 3)) if isinstance(r, Result) else r for r in records]


def _without(record, silent):
    unit, time = (record.arrays[name].numpy() for name in ("units", "times_ms"))
    keep = ~np.isin(unit, silent)
    arrays = {"units": PackedArray.of(unit[keep]), "times_ms": PackedArray.of(time[keep])}
    return msgspec.structs.replace(record, arrays=arrays)
