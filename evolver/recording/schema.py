"""Every name in the HDF5 file, version 1, and what stands under it.

`docs/FILE_FORMAT.md` is the text for people.

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
A_SALVAGED = "salvaged"
A_SOFTWARE = "software"

# Texts at the root: scalar datasets, because an attribute holds 64 KiB at most.
CONFIG = "config"
VERSIONS = "versions"
MACHINE = "machine"
WEIGHTS = "weights"
WARNINGS = "warnings"
ATTRIBUTES = "attributes"

# Attributes of every dataset.
D_MEANING = "meaning"
D_UNIT = "unit"
D_CRC32 = "crc32"

# Groups.
UNITS = "units"
RIGS = "rigs"
THREADS = "threads"
IMAGES = "images"
ACTIVATIONS = "activations"
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
T_FITNESS_STATES = "fitness_states"
FITNESS_NUMBERS = ("blocks", "showings", "target_showings")
FITNESS_ARRAYS = ("mean", "squares", "target")
STATE_RNG = "rng_state"

# Inside /images.
I_SHA256 = "sha256"
I_LABEL = "label"
I_IS_REFERENCE = "is_reference"
I_SHAPE = "shape"
I_ENCODING = "encoding"
I_OFFSETS = "offsets"
I_PIXELS = "pixels"
ENCODING_MISSING, ENCODING_RAW, ENCODING_WEBP, ENCODING_PNG = 0, 1, 2, 3

# Inside /activations, which is there where a session recorded some.
ACT_UNITS = "units"
ACT_VALUES = "values"

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
    added: bool = False  # later than the first file of this schema version
    missing: int = 0  # what files of before have in its place, where it is of numbers

    @property
    def unit(self) -> str:
        """What its numbers are counted in: "ms", "ns", "s", or nothing."""
        ending = self.name.rpartition("_")[2]
        return ending if ending in {"ms", "ns"} else "s" if self.name in BUDGET_NAMES else ""


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
    Column("repeat", "<i4", "from 0, of the image in its block; of a set, in the session"),
    Column("attempt", "<i4", "request of its block, from 1; 0 where no result came"),
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
    Column("answer", TEXT, "of a replay: whose response it is; else empty", added=True),
    Column("answer_of", "<i8", "presentation replayed, whose response it is", added=True),
    Column("answer_distance", "<f8", "of its image from the one shown", added=True),
    Column(
        "item", "<i8", "of a set: which image at which place; else -1", added=True, missing=-1
    ),
    Column("size_deg", "<f8", "longer side, degrees; 0: the session's size, place", added=True),
    Column("x_deg", "<f8", "its centre right of fixation, degrees", added=True),
    Column("y_deg", "<f8", "its centre above fixation, degrees", added=True),
)

PLACE_COLUMNS = ("size_deg", "x_deg", "y_deg")
"""Where an item of a set was shown."""

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
    "frozen",
    "total",
)
_LATER_BUDGET = {"idle", "paused", "no_rig", "frozen"}
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


_STATE_MEANING = "of the optimizer's state before the generation was asked for, by its own name"

DATASETS: dict[str, tuple[str, str]] = {
    CONFIG: ("the session file", ""),
    VERSIONS: ("JSON: package to version", ""),
    MACHINE: ("JSON: what the engine ran on", ""),
    WEIGHTS: ("JSON: role, name and sha256 of every weight file", ""),
    WARNINGS: ("what could not be taken over from the journal", ""),
    ATTRIBUTES: (
        "JSON: path to attributes, as they were when the file was made; {} of a dataset",
        "",
    ),
    f"{RIGS}/#/{RIG_INFO}": ("JSON: what else the rig said of itself", ""),
    f"{RIGS}/#/{RIG_UNITS}": ("rows of /units that this rig has", ""),
    f"{THREADS}/#/{T_OPTIONS}": ("JSON: options of optimizer and generator", ""),
    f"{THREADS}/#/{T_FITNESS}": ("JSON: units, windows and policies of the score", ""),
    f"{THREADS}/#/{T_CODES}": ("(N, d) codes in the order proposed", "latent units"),
    f"{THREADS}/#/{T_GENERATION}": ("(N,) generation, from 0", ""),
    f"{THREADS}/#/{T_ROW}": ("(N,) row within the generation", ""),
    f"{THREADS}/#/{T_IMAGE_ID}": ("(N,) row of /images", ""),
    f"{THREADS}/#/{T_SCORE}": (
        "(N,) what the optimizer was told; NaN where dropped or never committed",
        "the fitness's `unit`; spikes/s as a rule",
    ),
    f"{THREADS}/#/{T_SEM}": (
        "(N,) standard error of the score over repeats; NaN for a single one",
        "as the score",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/blocks": (
        "(b,) committed blocks that the fitness had learnt of, with this one; -1: none",
        "",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/showings": (
        "(b,) valid showings of references that mean and squares are of; -1: none",
        "",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/target_showings": (
        "(b,) showings of the target's image, or images a best was among; -1: none",
        "",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/mean": (
        "(b, k + m) response of each scored unit, then of the others, to the references so far",
        "spikes/s",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/squares": (
        "(b, k + m) sum of the squared differences from it",
        "(spikes/s)^2",
    ),
    f"{THREADS}/#/{T_FITNESS_STATES}/target": (
        "(b, k) what the scored units' responses were compared with",
        "spikes/s",
    ),
    f"{IMAGES}/{I_SHA256}": ("(m,) sha256 of the pixels' bytes as they were sent", ""),
    f"{IMAGES}/{I_LABEL}": ("(m,) name of a reference image", ""),
    f"{IMAGES}/{I_IS_REFERENCE}": ("(m,) 1 for a reference image", ""),
    f"{IMAGES}/{I_SHAPE}": ("(m, 3) height, width, 3", "pixels"),
    f"{IMAGES}/{I_ENCODING}": (
        "(m,) 0 pixels lost, 1 raw (h, w, 3) uint8, 2 WebP lossless, 3 PNG",
        "",
    ),
    f"{IMAGES}/{I_OFFSETS}": ("(m + 1,) image i is pixels[offsets[i]:offsets[i + 1]]", "bytes"),
    f"{IMAGES}/{I_PIXELS}": ("every image's bytes, one after the other", "sRGB, 0 to 255"),
    f"{ACTIVATIONS}/{ACT_UNITS}": ("(a,) address of each unit of a network", ""),
    f"{ACTIVATIONS}/{ACT_VALUES}": (
        "(m, a) what each unit answers to each row of /images; NaN: its pixels are lost",
        "as the network puts it out",
    ),
    f"{SPIKES}/{S_OFFSETS}": (
        "(p + 1,) spikes of row i are offsets[i]:offsets[i + 1]",
        "spikes",
    ),
    f"{SPIKES}/{S_UNIT}": ("row of /units", ""),
    f"{SPIKES}/{S_TIME_MS}": ("time relative to onset", "ms"),
    f"{COUNTS}/#/{C_ROWS}": ("rows of /presentations", ""),
    f"{COUNTS}/#/{C_COUNTS}": ("(rows, u, t) counts as the rig sent them", "spikes"),
    f"{COUNTS}/#/{C_EDGES_MS}": ("(t + 1,) bin edges relative to onset", "ms"),
    f"{RATES}/{R_ROWS}": ("rows of /presentations", ""),
    f"{RATES}/{R_RATES}": ("(rows, u) as the rig sent them, in its own window", "spikes/s"),
    f"{PSTH}/{P_COUNTS}": ("(p, u, t) spikes in each bin", "spikes"),
    f"{PSTH}/{P_EDGES_MS}": ("(t + 1,) bin edges relative to onset", "ms"),
    f"{PSTH}/{P_VALID}": ("(p,) 0 where nothing could be binned", ""),
    f"{REFERENCES}/{REF_SCORES}": (
        "(b, threads, references) a reference's score as each thread counts it; NaN: missing",
        "as the thread's score",
    ),
    f"{REFERENCES}/{REF_IMAGE_ID}": ("(b, references) row of /images; -1: fewer", ""),
}
"""Path to meaning and unit, "#" for a number in it; of all datasets but those of tables and
states."""

TABLES = {
    UNITS: UNIT_COLUMNS,
    PRESENTATIONS: PRESENTATION_COLUMNS,
    BLOCKS: BLOCK_COLUMNS,
    SENT: SENT_COLUMNS,
    EVENTS: EVENT_COLUMNS,
}


def describe_dataset(path: str) -> tuple[str, str]:
    """Return the meaning and the unit of what stands under a path in the file.

    Raises
    ------
    KeyError
        The schema has no such dataset.
    """
    parts = path.strip("/").split("/")
    if parts[0] in TABLES:
        column = next((c for c in TABLES[parts[0]] if [c.name] == parts[1:]), None)
        if column is not None:
            return column.meaning, column.unit
    if parts[:1] == [THREADS] and parts[2:3] == [T_STATES] and len(parts) == 5:
        return _STATE_MEANING, ""
    return DATASETS["/".join("#" if part.isdecimal() else part for part in parts)]
