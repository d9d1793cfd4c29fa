"""A journal to the HDF5 file that users open.

Knows h5py and Pillow, the survey of a journal and the names in `schema.py`; knows nothing of
how a journal is framed. The file is a projection: it can be made again from the journal at any
time, also from the journal of a session that was killed or still runs. Two passes, one record
in memory at a time. The file gets its name only after `verify.py` has read it back and compared
it with the journal.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin

from evolver import __version__
from evolver.errors import RecordingError
from evolver.journal.interpreter import PlannedShowing
from evolver.journal.reader import JournalIndex, JournalSummary
from evolver.journal.records import (
    Committed,
    FitnessStateRecord,
    ImagePixels,
    Proposed,
    ProposedThread,
    Result,
)
from evolver.journal.storage import OsFileSystem, sync_folder
from evolver.journal.survey import Survey, SurveyedResult, survey
from evolver.recording import schema as s
from evolver.recording.fold_activations import (
    ActivationLoader,
    ActivationSource,
    activation_source,
    write_activations,
)
from evolver.recording.fold_responses import ResponseWriter
from evolver.recording.hdf5 import (
    Growing,
    array_at,
    clean,
    finish,
    group_at,
    new_group,
    write_array,
    write_table,
    write_text,
    write_texts,
)
from evolver.recording.verify import verify
from evolver.session_folder import SESSION_FILE

_R = TypeVar("_R")
_WEBP_MAX = 16383  # pixels a side

ImageEncoding: TypeAlias = Literal["webp", "png", "none"]
_Encoder: TypeAlias = Callable[[NDArray[Any]], tuple[int, bytes] | None]
"""(h, w, 3) uint8 to the encoding's number and bytes; None where it cannot hold the image."""


@dataclass(frozen=True, slots=True)
class FoldReport:
    """What a fold made, and what it left out."""

    path: Path
    journal: JournalSummary
    presentations: int  # rows of the presentation table
    shown: int  # of them with a result
    missing: int  # of them without one
    images: int
    spikes: int
    complete: bool  # the session came to its end
    end_reason: str  # empty where it did not
    warnings: tuple[str, ...]


def fold(
    journal_folder: Path,
    out_path: Path,
    *,
    overwrite: bool = False,
    compress_images: ImageEncoding = "webp",
    activations: ActivationLoader | None = None,
) -> FoldReport:
    """Make the HDF5 file of a journal, verify it, and give it its name.

    A journal that lost its first record is salvaged: what the others hold is in the file, its
    attribute `salvaged` is 1, and a warning says so.

    Parameters
    ----------
    journal_folder : Path; read only
    out_path : Path of the file to make; its folder must exist
    overwrite : replace a file that is there already
    compress_images : "webp", lossless; "png", which is larger and which every program reads; or
        "none", raw bytes
    activations : gives what the session file wants recorded of every image, where networks are
        at hand; None leaves it out, with a warning in the file where a session wants some

    Returns
    -------
    FoldReport

    Raises
    ------
    RecordingError
        The journal cannot be read or holds nothing; the file exists; the disk refuses; or the
        file that was made differs from the journal. Then nothing is left at `out_path` that
        was not there before.
    """
    if out_path.exists() and not overwrite:
        raise RecordingError(
            f"{out_path} exists and would be replaced; allow overwriting, or choose another "
            "name"
        )
    temporary = _temporary(out_path)  # first: a place that cannot be written is said at once
    try:
        return _fold(
            journal_folder,
            out_path,
            temporary,
            compress_images=compress_images,
            activations=activations,
        )
    finally:
        temporary.unlink(missing_ok=True)


def _fold(
    journal_folder: Path,
    out_path: Path,
    temporary: Path,
    *,
    compress_images: ImageEncoding,
    activations: ActivationLoader | None,
) -> FoldReport:
    index = JournalIndex(journal_folder)
    content = survey(index, _session_file(journal_folder))
    source = activation_source(content, activations)
    try:
        with h5py.File(temporary, "w", libver=("v108", "v108")) as file:
            spikes = _write(file, content, index, source, encode=_ENCODERS[compress_images])
            finish(file)
        OsFileSystem().sync_file(temporary)
        verify(temporary, journal_folder, last=index.summary.last)  # it may have grown since
        temporary.replace(out_path)
        sync_folder(out_path.parent)
    except (OSError, RuntimeError) as exc:  # h5py raises RuntimeError for some failed writes
        raise RecordingError(
            f"cannot write {out_path}: {exc}. Free some space or choose another disk; the "
            "journal is untouched"
        ) from exc
    return _report(out_path, content, index.summary, spikes)


def _session_file(journal_folder: Path) -> str:
    """Return the text of the session file beside a journal, or nothing."""
    try:
        path = journal_folder.resolve().parent / SESSION_FILE
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _report(path: Path, content: Survey, summary: JournalSummary, spikes: int) -> FoldReport:
    rows = content.rows
    return FoldReport(
        path=path,
        journal=summary,
        presentations=len(rows),
        shown=len(content.results),
        missing=len(rows) - len(content.results),
        images=len(content.images),
        spikes=spikes,
        complete=content.end is not None,
        end_reason="" if content.end is None else content.end.reason,
        warnings=tuple(content.warnings),
    )


def _temporary(out_path: Path) -> Path:
    try:
        fd, name = tempfile.mkstemp(
            dir=out_path.parent, prefix=f".{out_path.name}.", suffix=".partial"
        )
    except OSError as exc:
        raise RecordingError(
            f"the recording must be written in {out_path.parent}, and cannot: {exc.strerror}. "
            "Make that folder, or name another file with --out"
        ) from exc
    with contextlib.suppress(OSError):  # exFAT and CIFS have no modes
        os.fchmod(fd, 0o644)  # mkstemp's files are for their owner alone
    os.close(fd)
    return Path(name)


def _write(
    file: h5py.File,
    content: Survey,
    index: JournalIndex,
    source: ActivationSource | None,
    *,
    encode: _Encoder | None,
) -> int:
    rows = content.rows
    _write_root(file, content, index)
    _write_rigs(file, content)
    _write_threads(file, content, index)
    _write_images(file, content, index, encode=encode)
    if source is not None:
        write_activations(file, content, source, pixels=partial(_pixels, index))
    responses = ResponseWriter(file, content)
    presentations: list[tuple[Any, ...]] = []
    for key in rows:
        place = content.results.get(key)
        result = None if place is None else _read(index, place.sequence, Result)
        responses.add(place, result)
        plan = content.plans.get(key[0])
        image_id = -1 if plan is None else content.image_id(plan)
        presentations.append(_presentation_row(key, plan, image_id, result, place))
    responses.close()
    write_table(file, s.PRESENTATIONS, s.PRESENTATION_COLUMNS, presentations)
    _write_blocks(file, content, index)
    write_table(
        file,
        s.SENT,
        s.SENT_COLUMNS,
        [
            (request.block, request.attempt, request.time_ns, len(request.presentations))
            for request in content.sent
        ],
    )
    write_table(
        file,
        s.EVENTS,
        s.EVENT_COLUMNS,
        [(event.time_ns, event.level, event.name, event.text) for event in content.events],
    )
    write_texts(file, s.WARNINGS, content.warnings)  # last: writing may add some
    return responses.n_spikes


def _write_root(file: h5py.File, content: Survey, index: JournalIndex) -> None:
    start, end, summary = content.start, content.end, index.summary
    attributes = {
        s.A_FORMAT: s.FORMAT,
        s.A_SCHEMA_VERSION: s.SCHEMA_VERSION,
        s.A_SESSION_ID: clean(start.session_id),
        s.A_NAME: clean(start.name),
        s.A_CREATED: clean(start.created),
        s.A_SEED: start.seed,
        s.A_MODE: start.mode,
        s.A_WINDOW_MS: np.array(start.window_ms),
        s.A_COMPLETE: np.uint8(end is not None),
        s.A_END_REASON: "" if end is None else clean(end.reason),
        s.A_END_NS: 0 if end is None else end.time_ns,
        s.A_RESUMED: content.resumed,
        s.A_BIT_IDENTICAL: np.uint8(content.bit_identical),
        s.A_JOURNAL_VERSION: start.journal_version,
        s.A_JOURNAL_SHA256: content.sha256,
        s.A_JOURNAL_RECORDS: summary.records,
        s.A_JOURNAL_MISSING: sum(last - first + 1 for first, last in summary.missing),
        s.A_SALVAGED: np.uint8(content.salvaged),
        s.A_SOFTWARE: f"evolver {__version__}",
    }
    for name, value in attributes.items():
        file.attrs[name] = value
    write_text(file, s.CONFIG, start.config)
    write_text(file, s.VERSIONS, json.dumps(start.versions, sort_keys=True))
    write_text(file, s.MACHINE, json.dumps(start.machine, sort_keys=True))
    weights = [
        {"role": file.role, "name": file.name, "sha256": file.sha256} for file in start.weights
    ]
    write_text(file, s.WEIGHTS, json.dumps(weights))


def _write_rigs(file: h5py.File, content: Survey) -> None:
    units = [(unit.channel, unit.unit, unit.area, unit.label) for unit in content.units]
    write_table(file, s.UNITS, s.UNIT_COLUMNS, units)
    rigs = new_group(file, s.RIGS)
    for number, rig in enumerate(content.rigs):
        group = new_group(rigs, number)
        joined = rig.joined
        group.attrs[s.RIG_NAME] = "" if joined is None else clean(joined.name)
        group.attrs[s.RIG_SOFTWARE] = "" if joined is None else clean(joined.software)
        group.attrs[s.RIG_TIME_NS] = 0 if joined is None else joined.time_ns
        write_text(group, s.RIG_INFO, "{}" if joined is None else joined.info)
        write_array(group, s.RIG_UNITS, np.array(rig.rows, dtype=np.uint32))


def _write_threads(file: h5py.File, content: Survey, index: JournalIndex) -> None:
    threads = new_group(file, s.THREADS)
    groups: list[h5py.Group] = []
    spans: dict[tuple[int, int], slice] = {}
    for k, info in enumerate(content.threads):
        group = new_group(threads, k)
        groups.append(group)
        for name, value in (
            (s.T_NAME, clean(info.name)),
            (s.T_OPTIMIZER, clean(info.optimizer)),
            (s.T_GENERATOR, clean(info.generator)),
            (s.T_D, info.d),
            (s.T_POPSIZE, info.popsize),
            (s.T_IMAGE_SIZE, info.image_size),
            (s.T_WEIGHTS_SHA256, clean(info.weights_sha256)),
        ):
            group.attrs[name] = value
        write_text(group, s.T_OPTIONS, info.options)
        write_text(group, s.T_FITNESS, info.fitness)
        n = 0
        for number in content.generations_of(k):
            place = content.generations[k, number]
            spans[k, number] = slice(n, n + place.n)
            n += place.n
        codes = Growing(group, s.T_CODES, (info.d,), "<f4", compress=False)
        generation, row = np.zeros(n, np.int32), np.zeros(n, np.int32)
        image_id = np.full(n, -1, np.int64)
        states = new_group(group, s.T_STATES)
        exact = True
        for number in content.generations_of(k):
            place = content.generations[k, number]
            part = _read(index, place.sequence, Proposed).threads[place.place]
            span = spans[k, number]
            values = part.codes.numpy()
            rounded = values.astype(np.float32)
            exact = exact and bool(np.array_equal(rounded, values))
            codes.add(rounded)
            generation[span] = number
            row[span] = np.arange(place.n)
            image_id[span] = [content.images[sha256].image_id for sha256 in part.images]
            _write_state(states, number, part)
        codes.close()
        group.attrs[s.T_CODES_EXACT] = np.uint8(exact)
        write_array(group, s.T_GENERATION, generation)
        write_array(group, s.T_ROW, row)
        write_array(group, s.T_IMAGE_ID, image_id)
    _write_scores(groups, spans, content, index)


def _write_state(states: h5py.Group, generation: int, part: ProposedThread) -> None:
    group = new_group(states, s.generation_name(generation))
    write_text(group, s.STATE_RNG, part.rng_state)
    for name, value in part.optimizer_state.items():
        if isinstance(value, (int, float)):
            group.attrs[name] = value
        else:
            write_array(group, name, value.numpy())


def _write_scores(
    groups: Sequence[h5py.Group],
    spans: dict[tuple[int, int], slice],
    content: Survey,
    index: JournalIndex,
) -> None:
    columns = [
        {name: np.full(len(array_at(group, s.T_ROW)), np.nan) for name in (s.T_SCORE, s.T_SEM)}
        for group in groups
    ]
    for block in sorted(content.committed):
        record = _read(index, content.committed[block], Committed)
        for part in record.threads:
            span = spans.get((part.thread, part.generation))
            if span is None:
                content.warnings.append(
                    f"generation {part.generation} of thread {part.thread} was scored, its "
                    "codes are lost"
                )
                continue
            for name, values in ((s.T_SCORE, part.scores), (s.T_SEM, part.sem)):
                if values.shape != (span.stop - span.start,):
                    raise RecordingError(
                        f"block {block} must have one {name} per code of thread {part.thread}, "
                        f"{span.stop - span.start}; got shape {values.shape}"
                    )
                columns[part.thread][name][span] = values.numpy()
    for group, arrays in zip(groups, columns, strict=True):
        for name, values in arrays.items():
            write_array(group, name, values)


def _write_images(
    file: h5py.File, content: Survey, index: JournalIndex, *, encode: _Encoder | None
) -> None:
    group = new_group(file, s.IMAGES)
    images = list(content.images.items())
    m = len(images)
    offsets = np.zeros(m + 1, np.int64)
    shapes, encodings = np.zeros((m, 3), np.int32), np.zeros(m, np.uint8)
    pixels = Growing(group, s.I_PIXELS, (), "|u1", compress=False)
    for at, (sha256, image) in enumerate(images):
        array = _pixels(index, image.sequence)
        if array is not None:
            shapes[at] = array.shape
            data = None if encode is None else encode(array)
            number, encoded = data or (s.ENCODING_RAW, array.tobytes())
            encodings[at] = number
            pixels.add(np.frombuffer(encoded, np.uint8))
        else:
            content.warnings.append(f"the pixels of image {at} ({sha256}) are lost")
        offsets[at + 1] = pixels.length
    pixels.close()
    write_texts(group, s.I_SHA256, [sha256 for sha256, _ in images])
    write_texts(group, s.I_LABEL, [image.label for _, image in images])
    flags = np.array([image.is_reference for _, image in images], dtype=np.uint8)
    write_array(group, s.I_IS_REFERENCE, flags)
    write_array(group, s.I_SHAPE, shapes)
    write_array(group, s.I_ENCODING, encodings)
    write_array(group, s.I_OFFSETS, offsets)


def _pixels(index: JournalIndex, sequence: int) -> NDArray[Any] | None:
    if sequence < 0:
        return None
    array = _read(index, sequence, ImagePixels).pixels.numpy()
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise RecordingError(
            f"the pixels of record {sequence} must be (h, w, 3) uint8; got {array.shape} "
            f"{array.dtype}"
        )
    return array


def _webp(pixels: NDArray[Any]) -> tuple[int, bytes] | None:
    """Return lossless WebP, or None where the format cannot hold an image of that size."""
    if not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= _WEBP_MAX:
        return None
    out = io.BytesIO()
    # Method 0: the slower ones gain nothing on pictures like these. The format by its module,
    # or Pillow loads all that it has to find it.
    Image.fromarray(pixels).save(
        out, WebPImagePlugin.WebPImageFile.format, lossless=True, method=0, quality=50
    )
    return s.ENCODING_WEBP, out.getvalue()


def _png(pixels: NDArray[Any]) -> tuple[int, bytes] | None:
    """Return PNG, or None where there is no pixel to hold."""
    if not pixels.size:
        return None
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return s.ENCODING_PNG, out.getvalue()


_ENCODERS: dict[ImageEncoding, _Encoder | None] = {"webp": _webp, "png": _png, "none": None}


def _presentation_row(
    key: tuple[int, int],
    plan: PlannedShowing | None,
    image_id: int,
    result: Result | None,
    place: SurveyedResult | None,
) -> tuple[Any, ...]:
    """Return the row, in the order of `schema.PRESENTATION_COLUMNS`.

    What is not known of the plan or of the survey is the result's field of the column's name;
    where no result came, zero, NaN or no text.
    """
    if place is None:
        result = None
    row: dict[str, Any] = {"presentation": key[0], "attempt": key[1], "image_id": image_id}
    if plan is None:
        block = -1 if result is None else result.block
        row |= {"block": block, "thread": -1, "row": -1, "is_reference": False}
        row |= {"repeat": 0, "on_ms": np.nan, "off_ms": np.nan, "generation": -1}
    else:
        planned = plan.planned
        row |= {
            "block": plan.block,
            "thread": planned.thread,
            "row": planned.row,
            "is_reference": planned.thread == -1,
            "repeat": planned.repeat,
            "on_ms": planned.on_ms,
            "off_ms": planned.off_ms,
            "generation": plan.generation,
        }
    item = None if plan is None else plan.item
    row |= {"item": -1} | dict.fromkeys(s.PLACE_COLUMNS, 0.0)
    if item is not None:
        row |= {"item": item.item} | {name: getattr(item, name) for name in s.PLACE_COLUMNS}
    row |= {"form": "", "rig": -1} if place is None else {"form": place.form, "rig": place.rig}
    if result is None:
        row |= {"status": "missing", "answer_distance": 0.0}
    for column in s.PRESENTATION_COLUMNS:
        if column.name not in row:
            row[column.name] = (
                _nothing(column) if result is None else getattr(result, column.name)
            )
    return tuple(row[column.name] for column in s.PRESENTATION_COLUMNS)


def _nothing(column: s.Column) -> object:
    """Return what a column has where no result came."""
    if column.dtype == s.TEXT:
        return ""
    return np.nan if column.dtype[1] == "f" else 0


def _write_blocks(file: h5py.File, content: Survey, index: JournalIndex) -> None:
    blocks = content.blocks
    proposed = [_proposed(index, content.proposed.get(block)) for block in blocks]
    committed = [_committed(index, content.committed.get(block)) for block in blocks]
    rows: list[tuple[Any, ...]] = []
    for block, plan, done in zip(blocks, proposed, committed, strict=True):
        budget = [
            np.nan if done is None else getattr(done.budget, name) for name in s.BUDGET_NAMES
        ]
        times = (0 if plan is None else plan.time_ns, 0 if done is None else done.time_ns)
        shown = 0 if done is None else done.budget.shown
        rows.append((block, *times, content.attempts.get(block, 0), *budget, shown))
    write_table(file, s.BLOCKS, s.BLOCK_COLUMNS, rows)

    widths = [len(plan.references) for plan in proposed if plan is not None]
    widths += [array.shape[0] for done in committed if done for array in done.reference_scores]
    r = max(widths, default=0)
    scores = np.full((len(blocks), len(content.threads), r), np.nan)
    image_id = np.full((len(blocks), r), -1, np.int64)
    for at, (plan, done) in enumerate(zip(proposed, committed, strict=True)):
        if plan is not None:
            ids = [content.images[sha256].image_id for sha256 in plan.references]
            image_id[at, : len(ids)] = ids
        for k, array in enumerate(() if done is None else done.reference_scores):
            scores[at, k, : array.shape[0]] = array.numpy()
    for k in range(len(content.threads)):
        states = [
            done.fitness_states[k] if done and len(done.fitness_states) > k else None
            for done in committed
        ]
        if any(states):
            _write_fitness_states(group_at(file, s.THREADS, k), states)
    references = new_group(file, s.REFERENCES)
    write_array(references, s.REF_SCORES, scores)
    write_array(references, s.REF_IMAGE_ID, image_id)


def _write_fitness_states(
    thread: h5py.Group, states: Sequence[FitnessStateRecord | None]
) -> None:
    """Write what a thread's fitness had learnt with each block, (b,) and (b, units)."""
    group = new_group(thread, s.T_FITNESS_STATES)
    for name in s.FITNESS_NUMBERS:
        numbers = [-1 if state is None else getattr(state, name) for state in states]
        write_array(group, name, np.array(numbers, np.int64))
    for name in s.FITNESS_ARRAYS:
        rows = [None if state is None else getattr(state, name).numpy() for state in states]
        width = max((len(row) for row in rows if row is not None), default=0)
        table = np.full((len(rows), width), np.nan)
        for at, row in enumerate(rows):
            if row is not None:
                table[at, : len(row)] = row
        write_array(group, name, table)


def _proposed(index: JournalIndex, sequence: int | None) -> Proposed | None:
    return None if sequence is None else _read(index, sequence, Proposed)


def _committed(index: JournalIndex, sequence: int | None) -> Committed | None:
    return None if sequence is None else _read(index, sequence, Committed)


def _read(index: JournalIndex, sequence: int, kind: type[_R]) -> _R:
    record = index.record(sequence)
    if not isinstance(record, kind):
        raise RecordingError(
            f"record {sequence} must be {kind.__name__}; it is {type(record).__name__} now. "
            "Something writes the journal while it is folded: fold it again"
        )
    return record
