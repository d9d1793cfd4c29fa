"""Every name in the HDF5 file, version 1. `docs/FILE_FORMAT.md` is the text for people.

Names, dtypes and meanings only: neither h5py nor any value. A table is a group with one dataset
a column, all of one length, so that any HDF5 reader gets a column by its path. Adding a column,
a dataset or an attribute does not change the version; anything else does.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = "evolver recording"
SCHEMA_VERSION = 1

# Root attributes.
A_FORMAT = "format"
A_SCHEMA_VERSION = "schema_version"
A_SESSION_ID = "session_id"
A_NAME = "name"
A_CREATED = "created"
A_SEED = "seed"
A_MODE = "mode"
A_WINDOW_MS = "window_ms"
A_COMPLETE = "complete"
A_END_REASON = "end_reason"
A_END_NS = "end_ns"
A_RESUMED = "resumed"
A_BIT_IDENTICAL = "bit_identical"
A_JOURNAL_VERSION = "journal_version"
A_JOURNAL_SHA256 = "journal_sha256"
A_JOURNAL_RECORDS = "journal_records"
A_JOURNAL_MISSING = "journal_missing"
A_SOFTWARE = "software"

# Texts at the root: scalar datasets, because an attribute holds 64 KiB at most.
CONFIG = "config"
VERSIONS = "versions"
MACHINE = "machine"
WEIGHTS = "weights"
WARNINGS = "warnings"

# Groups.
UNITS = "units"
RIGS = "rigs"
THREADS = "threads"
IMAGES = "images"
PRESENTATIONS = "presentations"
SPIKES = "spikes"
COUNTS = "counts"
RATES = "rates"
PSTH = "psth"
BLOCKS = "blocks"
REFERENCES = "references"
SENT = "sent"
EVENTS = "events"

# Inside /rigs/<r>.
RIG_NAME = "name"
RIG_SOFTWARE = "software"
RIG_TIME_NS = "time_ns"
RIG_INFO = "info"
RIG_UNITS = "units"

# Inside /threads/<k>: attributes, then datasets.
T_NAME = "name"
T_OPTIMIZER = "optimizer"
T_GENERATOR = "generator"
T_D = "d"
T_POPSIZE = "popsize"
T_IMAGE_SIZE = "image_size"
T_WEIGHTS_SHA256 = "weights_sha256"
T_CODES_EXACT = "codes_exact"
T_OPTIONS = "options"
T_FITNESS = "fitness"
T_CODES = "codes"
T_GENERATION = "generation"
T_ROW = "row"
T_IMAGE_ID = "image_id"
T_SCORE = "score"
T_SEM = "sem"
T_STATES = "states"
STATE_RNG = "rng_state"

# Inside /images.
I_SHA256 = "sha256"
I_LABEL = "label"
I_IS_REFERENCE = "is_reference"
I_SHAPE = "shape"
I_ENCODING = "encoding"
I_OFFSETS = "offsets"
I_PIXELS = "pixels"
ENCODING_MISSING, ENCODING_RAW, ENCODING_WEBP = 0, 1, 2

# Inside /spikes, /counts/<c>, /rates, /psth, /references.
S_OFFSETS = "offsets"
S_UNIT = "unit"
S_TIME_MS = "time_ms"
C_ROWS = "rows"
C_COUNTS = "counts"
C_EDGES_MS = "edges_ms"
R_ROWS = "rows"
R_RATES = "rates"
P_COUNTS = "counts"
P_EDGES_MS = "edges_ms"
P_VALID = "valid"
REF_SCORES = "scores"
REF_IMAGE_ID = "image_id"

TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    dtype: str  # numpy's, or TEXT: variable-length UTF-8
    meaning: str  # written beside the data, as the attribute `meaning`
    added: bool = False  # later than the first file of this schema version: zeros where missing


UNIT_COLUMNS = (
    Column("channel", "<i4", "channel of the recording system"),
    Column("unit", "<i4", "number of the unit on its channel"),
    Column("area", TEXT, "brain area or layer"),
    Column("label", TEXT, "name given by the rig"),
)

PRESENTATION_COLUMNS = (
    Column("presentation", "<i8", "unique in the session, in the order planned"),
    Column("block", "<i8", "block it was planned in; -1 unknown"),
    Column("thread", "<i4", "row of /threads; -1 a reference image"),
    Column("row", "<i4", "row of the generation's codes, or of the block's references"),
    Column("image_id", "<i8", "row of /images; -1 unknown"),
    Column("is_reference", "|b1", "whether it is a reference image"),
    Column("repeat", "<i4", "from 0, of the image in its block"),
    Column("attempt", "<i4", "from 1; 0 where no result came"),
    Column("status", TEXT, "ok, aborted, or missing where no result came"),
    Column("reason", TEXT, "why it was aborted"),
    Column("on_ms", "<f8", "planned time on the screen, ms"),
    Column("off_ms", "<f8", "planned time to the next, ms"),
    Column("commanded_ns", "<i8", "rig clock, ns; 0 where no result came"),
    Column("onset_ns", "<i8", "rig clock, ns; 0 where no result came"),
    Column("offset_ns", "<i8", "rig clock, ns; 0 where no result came"),
    Column("onset_source", TEXT, "simulated, command, flip or photodiode"),
    Column("received_ns", "<i8", "engine clock, ns since 1970; 0 where no result came"),
    Column("generation", "<i4", "of its thread; -1 for a reference image"),
    Column("form", TEXT, "spikes, counts, rates; empty where there is no response"),
    Column("rig", "<i4", "row of /rigs that sent it; -1 unknown or none"),
)

BUDGET_NAMES = (
    "propose",
    "render",
    "encode",
    "send",
    "wait",
    "score",
    "journal",
    "blocked",
    "idle",
    "paused",
    "no_rig",
    "total",
)
_LATER_BUDGET = {"idle", "paused", "no_rig"}
BLOCK_COLUMNS = (
    Column("block", "<i8", "number of the block"),
    Column("time_ns", "<i8", "when it was proposed, engine clock, ns since 1970"),
    Column("committed_ns", "<i8", "when it was committed; 0 if it never was"),
    Column("attempts", "<i4", "times it was sent to the rig, re-shown parts included"),
    *(
        Column(
            name, "<f8", "time budget, s; NaN if never committed", added=name in _LATER_BUDGET
        )
        for name in BUDGET_NAMES
    ),
    Column("shown", "<i4", "showings that `wait` is the time of; 0: not known", added=True),
)

SENT_COLUMNS = (
    Column("block", "<i8", "number of the block"),
    Column("attempt", "<i4", "from 1"),
    Column("time_ns", "<i8", "engine clock, ns since 1970"),
    Column("presentations", "<i4", "how many were asked for"),
)

EVENT_COLUMNS = (
    Column("time_ns", "<i8", "engine clock, ns since 1970"),
    Column("level", TEXT, "info, warning or error"),
    Column("name", TEXT, "what kind of event"),
    Column("text", TEXT, "what happened"),
)


def generation_name(generation: int) -> str:
    """Return the name, inside `states`, of the state before a generation was asked for."""
    return f"{generation:06d}"
