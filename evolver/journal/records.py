"""What a journal holds: one struct a kind of record, and their bytes.

Values only: no files, no clocks. `writer.py` frames these bytes and puts them on disk,
`interpreter.py` says what they mean in their order. Arrays travel as `PackedArray` (dtype,
shape, little-endian bytes), so that a record is one MessagePack value and decoding one executes
nothing.

The order in a session: RunStart, then for every block Proposed, Sent (once an attempt), Result
(one a presentation and attempt, in the order they came), Committed (once a block); RigRecord
and Event at any place; RunEnd last, if the session came to an end by itself; Resumed where one
that was interrupted went on. An image's pixels
come before the first Proposed that names it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgpack
import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from evolver.errors import RecordingError

JOURNAL_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 2 added `Resumed` and the budget's `idle`; version 1 is the same without them."""

DTYPES = ("|u1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f4", "<f8", "|b1")


class PackedArray(Struct, frozen=True, array_like=True):
    """An array as it was: dtype from `DTYPES`, shape, C-order bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.generic]) -> PackedArray:
        """Wrap an array.

        Raises
        ------
        RecordingError
            Its dtype is not in `DTYPES`.
        """
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        if little.dtype.str not in DTYPES:
            raise RecordingError(
                f"a record's array must have a dtype of {DTYPES}; got {little.dtype.str!r}"
            )
        return cls(little.dtype.str, array.shape, little.tobytes())

    def numpy(self) -> NDArray[np.generic]:
        """Return the array, read-only.

        Raises
        ------
        RecordingError
            The dtype is not in `DTYPES`, or bytes and shape do not fit.
        """
        if self.dtype not in DTYPES:
            raise RecordingError(
                f"a record's array must have one of the dtypes {DTYPES}; got {self.dtype!r}"
            )
        dtype = np.dtype(self.dtype)
        n = 1
        for length in self.shape:
            n *= length
        if any(length < 0 for length in self.shape) or n * dtype.itemsize != len(self.data):
            raise RecordingError(
                f"an array of {self.dtype} and shape {self.shape} must have "
                f"{n * dtype.itemsize} bytes; got {len(self.data)}"
            )
        return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)


SessionMode: TypeAlias = Literal["live", "simulate", "replay"]
"""Of a session: a rig over the network, model neurons, or a recording that is played back."""

REPLAY_OF = "replay of "
"""What the name of a rig begins with that plays a recording back."""


class Record(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every record; `kind` is the struct's tag."""


class WeightFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One weight file the session depends on."""

    role: str  # "generator:texture", "scorer"
    name: str  # the name it was loaded by
    sha256: str  # 64 hexadecimal digits


class UnitInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """One recorded unit, as the rig named it; its index is its place in the table."""

    channel: int
    unit: int
    area: str
    label: str


class AroundInfo(Struct, frozen=True, kw_only=True):
    """Where about an evolved code the images of a set lie, of a set whose codes do."""

    session_id: str  # of the session that evolved it
    thread: str  # of that session
    code: str  # "mean" of its last scored generation, or of its "best" image
    kind: str  # "steps", "circles" or "sphere"
    norm: float  # of the evolved code, latent units
    axes: tuple[str, ...]  # what each axis is called; of a sphere, each pair
    numbers: tuple[tuple[int, ...], ...]  # of each, from 0; of a sphere, of both
    part: str = ""  # of the code, that the axes lie in; empty: in all of it
    metric_sha256: str = ""  # of its eigenvectors, the axes; empty: principal components
    axis: tuple[int, ...]  # an image each: place in `axes`, -1 the evolved code itself
    step: tuple[float, ...]  # an image each: latent units; of circles and spheres degrees
    second_step: tuple[float, ...]  # an image each: of a sphere along its second axis; else 0


class SetInfo(Struct, frozen=True, kw_only=True):
    """What a set of fixed images is: `set` of its thread's options."""

    role: str  # "train", "test" or "probe"
    source: str  # "codes" or "images"
    images: int
    items: int  # images at a place and size
    repeats: int  # showings of each item
    blocks: int  # shares in which they come
    seed: int
    labels: tuple[str, ...] = ()  # of image files, one an image
    places: tuple[tuple[float, float, float], ...] = ()  # of each image: right, up, size; deg
    codes_sha256: str
    around: AroundInfo | None = None  # of codes about an evolved one; else left out


class AxesInfo(Struct, frozen=True, kw_only=True):
    """Along which axes of latent space a thread searches: one of `axes` of its options."""

    source: str  # "first-layer", "metric", or the file they came from
    k: int  # axes
    d: int  # dimensions they are in
    energy: float  # share that they have, from 0 to 1
    whole: bool  # whether that is of all eigenvalues; else of those that the source holds
    scale: float  # p; 0: all axes alike
    outside: str  # what the start has outside of them: "keep" or "drop"
    sha256: str  # of vectors and scales, float64
    first: int = 0  # of the code's dimensions, of a part of it

    def text(self, code_d: int) -> str:
        """Return it all but the digest, in a line.

        Parameters
        ----------
        code_d : dimensions of the whole code: of axes in a part of it, which part is said
        """
        part = ""
        if self.d < code_d:
            part = f", dimensions {self.first} to {self.first + self.d}"
        share = f"{100 * self.energy:.4g} % of the {'' if self.whole else 'known '}energy"
        scale = f"; scale {self.scale:g}" if self.scale else ""
        drop = "" if self.outside == "keep" else "; nothing outside of them"
        axes = "1 axis" if self.k == 1 else f"{self.k} axes"
        return f"{axes} of {self.d}{part} ({self.source}, {share}{scale}{drop})"


class _ThreadOptions(Struct, frozen=True):
    """Options of a thread, as far as they are known here."""

    set: SetInfo | None = None
    axes: tuple[AxesInfo, ...] = ()


def set_info(options: str) -> SetInfo | None:
    """Return what a thread's options, JSON, say of a set; None of one that evolves.

    Raises
    ------
    RecordingError
        They are no options of a thread.
    """
    return _known_options(options).set


def axes_info(options: str) -> tuple[AxesInfo, ...]:
    """Return what a thread's options, JSON, say of the axes it searches along.

    One of each part of its code that has some; none of one that searches anywhere.

    Raises
    ------
    RecordingError
        They are no options of a thread.
    """
    return _known_options(options).axes


def _known_options(options: str) -> _ThreadOptions:
    try:
        return msgspec.json.decode(options, type=_ThreadOptions)
    except msgspec.MsgspecError as exc:
        raise RecordingError(f"a thread's options must be as recorded: {exc}") from exc


class ThreadInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """One optimizer driving one generator."""

    name: str
    optimizer: str
    generator: str
    d: int
    popsize: int
    image_size: int
    weights_sha256: str
    options: str  # JSON: optimizer and generator options
    fitness: str  # JSON: unit weights, windows, missing-trial policy


class RunStart(Record, frozen=True, forbid_unknown_fields=True, tag="run_start"):
    """First record: everything that was decided before the first image."""

    journal_version: int
    session_id: str  # 32 hexadecimal digits
    name: str
    created: str  # ISO 8601, UTC
    seed: int
    mode: SessionMode
    config: str  # the session file's text
    threads: tuple[ThreadInfo, ...]
    weights: tuple[WeightFile, ...]
    versions: dict[str, str]  # package -> version
    machine: dict[str, str]  # cpu, platform, blas, threads, device
    window_ms: tuple[float, float]  # spikes are asked for in this window around onset


class RigRecord(Record, frozen=True, forbid_unknown_fields=True, tag="rig_joined"):
    """A rig said hello (or the simulated population was made): who answers from here on."""

    time_ns: int  # engine clock, unix epoch
    name: str
    software: str
    units: tuple[UnitInfo, ...]
    info: str  # JSON: the screen, capabilities, everything else it said


class ImagePixels(Record, frozen=True, forbid_unknown_fields=True, tag="image"):
    """Pixels of one image, once a session; its identity is the digest of these bytes."""

    sha256: str
    pixels: PackedArray  # (h, w, 3) uint8


class PlannedItem(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One showing of one item of a set: one image, at one place and size."""

    item: int  # of the set, from 0
    repeat: int  # how often it was planned before in the session
    image: int  # of the set, from 0
    size_deg: float = 0.0  # longer side; 0: the session's, and so is the place
    x_deg: float = 0.0  # of its centre, right of fixation
    y_deg: float = 0.0  # and above it

    @property
    def place(self) -> tuple[float, tuple[float, float]] | None:
        """Longer side, and centre right of and above fixation; None: the session's."""
        return (self.size_deg, (self.x_deg, self.y_deg)) if self.size_deg else None


class ProposedThread(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thread's generation inside a block."""

    thread: int  # index into RunStart.threads
    generation: int  # from 0
    codes: PackedArray  # (n, d) float64
    images: tuple[str, ...]  # sha256 of each rendered code
    optimizer_state: dict[str, PackedArray | int | float]  # before ask
    rng_state: str  # JSON of bit_generator.state, before ask
    items: tuple[PlannedItem, ...] = ()  # of a set: a row of the codes each


class PlannedPresentation(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One showing of one image, planned."""

    presentation: int  # unique in the session, in the order of showing
    thread: int  # -1 for a reference image
    row: int  # row of the thread's codes, or index into Proposed.references
    repeat: int  # from 0; of a set's item, in the session
    on_ms: float
    off_ms: float


class Proposed(Record, frozen=True, forbid_unknown_fields=True, tag="proposed"):
    """A block, before any of it is shown."""

    block: int
    time_ns: int
    threads: tuple[ProposedThread, ...]
    references: tuple[str, ...]  # sha256 of this block's reference images
    reference_labels: tuple[str, ...]
    presentations: tuple[PlannedPresentation, ...]


class Sent(Record, frozen=True, forbid_unknown_fields=True, tag="sent"):
    """A request left for the rig."""

    block: int
    attempt: int  # from 1; a resend or a re-show counts one up
    presentations: tuple[int, ...]
    time_ns: int


class Result(Record, frozen=True, forbid_unknown_fields=True, tag="result", omit_defaults=True):
    """What the rig said of one presentation, raw."""

    block: int
    presentation: int
    attempt: int
    status: Literal["ok", "aborted"]
    reason: str  # of an aborted one; else empty
    received_ns: int  # engine clock, unix epoch
    commanded_ns: int  # rig clock
    onset_ns: int  # rig clock
    offset_ns: int  # rig clock
    onset_source: str  # "simulated", "command", "flip", "photodiode"
    form: Literal["spikes", "counts", "rates"]
    # spikes: units (k,) <u4, times_ms (k,) <f4 relative to onset;
    # counts: counts (u, t) <u2, edges_ms (t + 1,) <f8;  rates: rates (u,) <f8, spikes/s
    arrays: dict[str, PackedArray]
    answer: str = ""  # of a replay: "recorded", "nearest code", ...; as on the wire
    answer_of: int = 0  # presentation of the replayed recording whose response it is
    answer_distance: float = 0.0  # of that one's image from this one's


class CommittedThread(Struct, frozen=True, forbid_unknown_fields=True):
    """What one thread's optimizer was told."""

    thread: int
    generation: int
    scores: PackedArray  # (n,) float64; NaN where no valid presentation came: image dropped
    sem: PackedArray  # (n,) float64 over repeats; NaN for a single one


class TimeBudget(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a block's time went, seconds on the engine's monotonic clock.

    `wait` is how long the rig was showing this block: what passed between answers counts to
    the block whose answer ended it, less pauses and what passed without a rig. `idle` is how
    long the rig had nothing to show, for want of this block. `paused`, `no_rig` and `frozen`
    (the engine stood still) are what passed so since the block that was committed before. No
    second is counted twice, so that these five of all blocks add up to the session's time from
    its first image on. Where an engine fell in between, they hold what it had not committed
    (`rig_time.RecordedTime`).

    The rest was spent beside them: blocks overlap, and the parts of one need not add up to its
    `total`, from its proposal to its commit. `journal` is what the recorder spent writing and
    syncing since the last commit; `blocked` is the part of it during which the loop could not
    go on.
    """

    propose: float
    render: float
    encode: float
    send: float
    wait: float
    score: float
    journal: float
    blocked: float
    total: float
    idle: float = 0.0
    paused: float = 0.0
    no_rig: float = 0.0
    frozen: float = 0.0
    shown: int = 0
    """Showings, aborted ones too, that `wait` is the time of; 0 in records of before."""


class FitnessStateRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What a thread's fitness had learnt of the session's responses, with a block.

    The block's scores were made with it. Responses are in spikes/s, of the units that are
    scored (k) and then of the others (m), as the thread's fitness names them.
    """

    blocks: int  # committed so far, this one included
    showings: int  # valid ones of references that the next two are of
    mean: PackedArray  # (k + m,) float64; empty where nothing is normalised
    squares: PackedArray  # (k + m,) float64: sum of squared differences from the mean
    target_showings: int  # of the target's image; images, where the target is the best
    target: PackedArray  # (k,) float64; empty where the session makes none


class Committed(
    Record, frozen=True, forbid_unknown_fields=True, tag="committed", omit_defaults=True
):
    """A block, scored; the optimizers have learnt from it."""

    block: int
    time_ns: int
    threads: tuple[CommittedThread, ...]
    # a thread each: (references,) float64, NaN where missing
    reference_scores: tuple[PackedArray, ...]
    budget: TimeBudget
    # a thread each, None where a fitness learns nothing; empty where none of them does
    fitness_states: tuple[FitnessStateRecord | None, ...] = ()


class Event(Record, frozen=True, forbid_unknown_fields=True, tag="event"):
    """Anything else worth keeping: faults, pauses, notes, re-shows."""

    time_ns: int
    level: Literal["info", "warning", "error"]
    name: str  # "rig_lost", "reshow", "interrupted", "note", …
    text: str


class RunEnd(Record, frozen=True, forbid_unknown_fields=True, tag="run_end"):
    """Last record of a session that ended by itself or by its operator."""

    time_ns: int
    reason: str  # "finished", "stopped by operator", "error: …"


class Resumed(Record, frozen=True, forbid_unknown_fields=True, tag="resumed"):
    """A session that was interrupted goes on, in this journal."""

    time_ns: int
    # every thread's last codes came out as they were recorded, and no record was missing
    bit_identical: bool
    reason: str  # where not, or where the machine is another: what differs
    machine: dict[str, str]
    versions: dict[str, str]

    def as_event(self) -> Event:
        """Return it as the list of events has it."""
        level = "info" if self.bit_identical else "warning"
        how = "bit for bit" if self.bit_identical else "not bit for bit"
        text = f"{how}; {self.reason}" if self.reason else how
        return Event(self.time_ns, level, "resumed", text)


AnyRecord: TypeAlias = (
    RunStart
    | RigRecord
    | ImagePixels
    | Proposed
    | Sent
    | Result
    | Committed
    | Event
    | Resumed
    | RunEnd
)


def encode_record(record: AnyRecord) -> bytes:
    """Return the MessagePack bytes of `record`."""
    return msgspec.msgpack.encode(record)


def decode_record(data: bytes) -> AnyRecord:
    """Return the record in `data`.

    Parsed by msgpack with limits, then typed by msgspec: unknown kinds and fields are refused.

    Raises
    ------
    RecordingError
        It is no record of this version; the text says what is wrong with it.
    """
    try:
        return msgspec.convert(
            msgpack.unpackb(  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
                data, raw=False, strict_map_key=True, max_ext_len=0
            ),
            AnyRecord,
        )
    except (ValueError, msgspec.ValidationError, msgpack.UnpackException) as exc:
        raise RecordingError(f"not a version {JOURNAL_VERSION} journal record: {exc}") from exc
