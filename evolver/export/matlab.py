# pyright: basic
# h5py leaves half of its arguments untyped.
"""A recording as a MAT-file of version 7.3, which MATLAB reads with `load`.

Such a file is HDF5 behind a header of 512 bytes, with conventions that are written down here as
far as they are used: every variable says its class in the attribute `MATLAB_class`; axes are in
the reverse order, since MATLAB's first varies fastest; a vector is a column; a text is a row of
16-bit characters; a column of texts a matrix of them, padded with blanks (`cellstr` takes it
apart); a struct is a group, a cell array a dataset of references into `#refs#`, and what is
empty says its size instead.

Rows that others point at count from 1, as MATLAB does, and 0 means none: `image`, `thread`,
`rig`, `unit`, `scored_unit`, `other_unit`, `presentation_row`. All else is as it was recorded,
texts in JSON too, which count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from evolver.export.hdf5_file import new_hdf5_file
from evolver.export.image_files import image_shapes
from evolver.export.session_facts import json_text
from evolver.export.trains import spike_batches
from evolver.recording import Recording, ThreadData
from evolver.recording import schema as s
from evolver.recording.hdf5 import part_of

_T = TypeVar("_T")
_HEADER = 512
_AT_ONCE_BYTES = 8 << 20
_CHUNK_BYTES = 512 << 10
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_POINTERS = {"image_id": "image", "thread": "thread", "rig": "rig"}


def export_matlab(
    recording: Recording,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a recording as a MAT-file, whole or not at all.

    Parameters
    ----------
    recording : open
    path : the file, .mat
    overwrite : replace one that is there
    progress : told how many variables are written, and of how many

    Raises
    ------
    RecordingError
        The recording is damaged.
    FileExistsError
        It is there, and may not be replaced.
    OSError
        The file cannot be written.
    """
    variables: dict[str, Callable[[_Struct], None]] = {
        "session": lambda to: _session(to, recording),
        "units": lambda to: to.table(recording.units),
        "presentations": lambda to: to.table(recording.presentations),
        "images": lambda to: _images(to, recording),
        "spikes": lambda to: _spikes(to, recording),
        "psth": lambda to: _psth(to, recording),
        "counts": lambda to: _counts(to, recording),
        "rates": lambda to: _rates(to, recording),
        "threads": lambda to: _threads(to, recording),
        "blocks": lambda to: to.table(recording.blocks),
        "references": lambda to: _references(to, recording),
        "events": lambda to: to.table(recording.events),
    }
    header = _header(recording)
    with new_hdf5_file(path, overwrite=overwrite, userblock=header) as (file, disk):
        for done, (name, write) in enumerate(variables.items()):
            write(_Struct(file, name, disk.check))
            if progress is not None:
                progress(done + 1, len(variables))


def _header(recording: Recording) -> bytes:
    text = f"MATLAB 7.3 MAT-file, Platform: evolver, Created on: {recording.created}"
    first = f"{text[:90]} HDF5 schema 1.00 .".encode("ascii", "replace").ljust(116)
    return (first + bytes(8) + b"\x00\x02IM").ljust(_HEADER, b"\x00")


class _Struct:
    """A variable that is a struct, field by field.

    Parameters
    ----------
    parent : a group
    name : of the struct in it
    check : called after every piece of an array; raises what the disk refused
    """

    def __init__(self, parent: h5py.Group, name: str, check: Callable[[], None]) -> None:
        self._check = check
        self._group = parent.create_group(name)
        self._group.attrs["MATLAB_class"] = np.bytes_("struct")

    def array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array, an axis of MATLAB's for each of its own; a vector as a column."""
        values = np.asarray(values)
        if values.dtype.kind == "U":
            self._characters(name, _character_rows(values))
            return
        column = values.reshape(-1, 1) if values.ndim < 2 else values
        self.stream(name, column.shape, column.dtype, [column])

    def stream(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        pieces: Iterable[NDArray[Any]],
        *,
        axis: int = 0,
    ) -> None:
        """Write an array that comes in pieces along one of MATLAB's axes, the first or last."""
        kind = np.dtype(dtype)
        stored = np.dtype(np.uint8) if kind.kind == "b" else kind
        if 0 in shape:
            self._empty(name, shape, kind)
            return
        reverse = shape[::-1]
        row = stored.itemsize * int(np.prod(shape)) // shape[axis]
        chunks = list(reverse)
        chunks[-1 - axis] = min(shape[axis], max(1, _CHUNK_BYTES // row))
        large = row * shape[axis] > _CHUNK_BYTES
        packed = {**_PACKED, "chunks": tuple(chunks)} if large else {}
        dataset = self._group.create_dataset(name, reverse, stored, **packed)
        done = 0
        for piece in pieces:
            place: list[Any] = [slice(None)] * len(reverse)
            place[-1 - axis] = slice(done, done + piece.shape[axis])
            dataset[tuple(place)] = piece.T
            self._check()
            done += piece.shape[axis]
        _say_class(dataset, kind)

    def text(self, name: str, text: str) -> None:
        """Write a text, a row of characters."""
        self._characters(name, _character_rows(np.array([text])))

    def table(self, table: NDArray[np.void]) -> None:
        """Write a table's columns as fields."""
        for name in table.dtype.names or ():
            values = table[name].copy()
            if name in _POINTERS:
                self.array(_POINTERS[name], values + 1)
            else:
                self.array(name, values)

    def cell(
        self, name: str, parts: Sequence[_T], write: Callable[[_Struct, _T], None]
    ) -> None:
        """Write a field that is a column of structs, a cell each."""
        if not len(parts):
            self._empty(name, (0, 1), "cell")
            return
        refs = self._group.file.require_group("#refs#")
        dataset = self._group.create_dataset(name, (1, len(parts)), h5py.ref_dtype)
        dataset.attrs["MATLAB_class"] = np.bytes_("cell")
        for place, part in enumerate(parts):
            own = f"s{len(refs)}"
            write(_Struct(refs, own, self._check), part)
            dataset[0, place] = refs[own].ref

    def _characters(self, name: str, rows: NDArray[np.uint16]) -> None:
        if rows.size == 0:
            self._empty(name, rows.shape, "char")
            return
        self.stream(name, rows.shape, np.uint16, [rows])
        attributes = self._group[name].attrs
        attributes["MATLAB_class"] = np.bytes_("char")
        attributes["MATLAB_int_decode"] = np.int32(2)

    def _empty(self, name: str, shape: tuple[int, ...], kind: str | np.dtype[Any]) -> None:
        dataset = self._group.create_dataset(name, data=np.array(shape, dtype=np.uint64))
        if isinstance(kind, str):
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        else:
            _say_class(dataset, kind)
        dataset.attrs["MATLAB_empty"] = np.uint8(1)


def _say_class(dataset: h5py.Dataset, kind: np.dtype[Any]) -> None:
    if kind.kind == "b":
        dataset.attrs["MATLAB_class"] = np.bytes_("logical")
        dataset.attrs["MATLAB_int_decode"] = np.int32(1)
        return
    name = {"float64": "double", "float32": "single"}.get(kind.name, kind.name)
    dataset.attrs["MATLAB_class"] = np.bytes_(name)


def _character_rows(texts: NDArray[np.str_]) -> NDArray[np.uint16]:
    """Return texts as rows of UTF-16, padded with blanks, (n, longest)."""
    coded = [
        np.frombuffer(text.encode("utf-16-le", "replace"), dtype="<u2")
        for text in texts.ravel().tolist()
    ]
    rows = np.full((len(coded), max(map(len, coded), default=0)), ord(" "), dtype=np.uint16)
    for row, characters in zip(rows, coded, strict=True):
        row[: len(characters)] = characters
    return rows


# -- the variables


def _session(to: _Struct, recording: Recording) -> None:
    for name in ("name", "session_id", "created", "mode", "end_reason"):
        to.text(name, str(getattr(recording, name)))
    to.array("seed", np.array([recording.seed], dtype=np.uint64))
    to.array("complete", np.array([recording.complete]))
    to.array("resumed", np.array([recording.resumed], dtype=np.float64))
    to.array("window_ms", np.array([recording.window_ms]))
    to.text("session_file", recording.config)
    for name in ("versions", "machine", "weights", "warnings"):
        to.text(name, json_text(getattr(recording, name)))
    rigs = [
        {key: value for key, value in rig.items() if key != s.RIG_UNITS}
        for rig in recording.rigs
    ]
    to.text("rigs", json_text(rigs))


def _images(to: _Struct, recording: Recording) -> None:
    images = recording.images
    to.array("sha256", recording.image_sha256)
    to.array("label", recording.image_labels)
    to.array("is_reference", recording.image_is_reference)
    shapes = image_shapes(recording)
    lost = np.array([images.is_lost(image_id) for image_id in range(len(images))], dtype=bool)
    to.array("is_lost", lost)

    def write(one: _Struct, shape: tuple[int, int, int]) -> None:
        ids = np.flatnonzero([other == shape for other in shapes])
        one.array("image", ids + 1)
        pieces = (
            np.zeros((*shape, 1), np.uint8) if lost[k] else images[int(k)][..., None]
            for k in ids
        )
        one.stream("pixels", (*shape, len(ids)), np.uint8, pieces, axis=3)

    to.cell("pixels", list(dict.fromkeys(shapes)), write)


def _spikes(to: _Struct, recording: Recording) -> None:
    offsets = recording.spike_offsets
    total = int(offsets[-1])

    def pieces(part: int) -> Iterator[NDArray[Any]]:
        for start, stop in spike_batches(recording):
            found = recording.spikes_between(start, stop)
            if part == 0:
                rows = np.arange(start + 1, stop + 1, dtype=np.uint32)
                yield np.repeat(rows, np.diff(found[0])).reshape(-1, 1)
            else:
                yield (found[part] + (part == 1)).reshape(-1, 1)

    to.stream("presentation_row", (total, 1), np.uint32, pieces(0))
    to.stream("unit", (total, 1), np.uint32, pieces(1))
    to.stream("time_ms", (total, 1), np.float32, pieces(2))


def _psth(to: _Struct, recording: Recording) -> None:
    psth = recording.psth
    to.stream("counts", psth.shape, psth.dtype, _pieces(psth))
    to.array("edges_ms", recording.psth_edges_ms)
    to.array("valid", recording.psth_valid)


def _counts(to: _Struct, recording: Recording) -> None:
    def write(one: _Struct, number: int) -> None:
        rows, counts, edges = recording.own_counts[number]
        one.array("presentation_row", rows + 1)
        one.stream("counts", counts.shape, counts.dtype, _pieces(counts))
        one.array("edges_ms", edges)

    to.cell("bins", range(len(recording.own_counts)), write)


def _rates(to: _Struct, recording: Recording) -> None:
    rows, rates = recording.own_rates
    to.array("presentation_row", rows + 1)
    to.stream("rates", rates.shape, rates.dtype, _pieces(rates))


def _threads(to: _Struct, recording: Recording) -> None:
    rows = recording.rigs[0][s.RIG_UNITS] if recording.rigs else np.zeros(0, np.uint32)
    to.cell("thread", recording.threads, lambda one, thread: _thread(one, thread, rows))


def _thread(to: _Struct, thread: ThreadData, rows: NDArray[np.uint32]) -> None:
    """Write a thread; `rows` are those of `units` that fitnesses number."""
    for name in ("name", "optimizer", "generator", "weights_sha256"):
        to.text(name, str(getattr(thread, name)))
    to.text("options", json_text(thread.options))
    to.text("fitness", json_text(thread.fitness))
    for name, key in (("scored_unit", "units"), ("other_unit", "others")):
        numbers = np.array(thread.fitness.get(key) or (), dtype=np.int64)
        to.array(name, rows[numbers[numbers < len(rows)]].astype(np.int64) + 1)
    to.array("popsize", np.array([thread.popsize], dtype=np.float64))
    to.array("codes", thread.codes)
    to.array("image", thread.image_id + 1)
    for name in ("generation", "row", "score", "sem"):
        to.array(name, getattr(thread, name))


def _references(to: _Struct, recording: Recording) -> None:
    to.array("scores", recording.reference_scores)
    to.array("image", recording.reference_image_id + 1)


def _pieces(dataset: h5py.Dataset) -> Iterator[NDArray[Any]]:
    row = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=np.int64))
    at_once = max(1, _AT_ONCE_BYTES // max(1, row))
    for start in range(0, len(dataset), at_once):
        yield part_of(dataset, slice(start, start + at_once))
