# pyright: basic
# h5py leaves half of its arguments untyped; here they are given types, for every other file.
"""Tables, texts and growing datasets in HDF5, and typed access to what is in a file.

Knows h5py and what the schema says of a dataset; knows nothing of sessions. What is read is
compared with its checksum, where a file has them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from evolver.errors import RecordingError
from evolver.recording import schema
from evolver.recording.schema import TEXT, Column
from evolver.recording.strangers import (
    check_array,
    check_attribute,
    check_dataset,
    check_group,
    member,
    read_texts,
)

_CHUNK_BYTES = 256 << 10
_SMALLEST_CHUNK_BYTES = 4 << 10
_WIDEST_COLUMN_BYTES = 1 << 20
# gzip at level 1 after shuffle: opened by every HDF5 reader, without a plug-in.
_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_CHECKED_BYTES = 16 << 20  # read at once to compute a checksum
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises where a file is damaged."""


def clean(text: str) -> str:
    """Return a text as HDF5 can hold it: its strings end at the first NUL."""
    return text.replace("\0", "�")


def new_group(parent: h5py.Group, name: str | int) -> h5py.Group:
    """Make a group that is not there yet."""
    return parent.create_group(str(name))


def write_array(group: h5py.Group, name: str, array: NDArray[Any]) -> None:
    """Write an array, as it is."""
    group.create_dataset(name, data=array)


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write one text, of any length, as a scalar dataset."""
    data = clean(text).encode()
    dtype = h5py.string_dtype("utf-8", max(1, len(data)))
    group.create_dataset(name, data=np.array(data, dtype=dtype), dtype=dtype)


def write_texts(group: h5py.Group, name: str, texts: Iterable[str]) -> None:
    """Write texts as a column.

    All of one length, padded, because texts of their own length cost 4 KiB a dataset at least;
    unless one long text would make the whole column wide.
    """
    data = [clean(text).encode() for text in texts]
    width = max(1, *map(len, data)) if data else 1
    fixed = width * len(data) <= _WIDEST_COLUMN_BYTES
    dtype = h5py.string_dtype("utf-8", width if fixed else None)
    values = np.array(data, dtype=dtype if fixed else object)
    group.create_dataset(name, shape=values.shape, data=values, dtype=dtype)


def write_table(
    parent: h5py.Group,
    name: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
) -> h5py.Group:
    """Write a table: a group with one dataset a column, all of one length.

    Parameters
    ----------
    parent, name : where the group goes
    columns : name, dtype and meaning of each
    rows : values of each row, in the order of `columns`
    """
    group = parent.create_group(name)
    group.attrs["columns"] = [column.name for column in columns]
    for place, column in enumerate(columns):
        values = [row[place] for row in rows]
        if column.dtype == TEXT:
            write_texts(group, column.name, values)
        else:
            group.create_dataset(column.name, data=np.array(values, dtype=column.dtype))
    return group


def group_at(group: h5py.Group, *names: str | int) -> h5py.Group:
    """Return the group at a path.

    Raises
    ------
    RecordingError
        The file does not have it.
    """
    part = _at(group, names)
    if not isinstance(part, h5py.Group):
        raise RecordingError(_wrong(group, names, "a group"))
    return part


def dataset_at(group: h5py.Group, *names: str | int) -> h5py.Dataset:
    """Return the dataset at a path.

    Raises
    ------
    RecordingError
        The file does not have it.
    """
    part = _at(group, names)
    if not isinstance(part, h5py.Dataset):
        raise RecordingError(_wrong(group, names, "a dataset"))
    with _damage_at(part):
        check_dataset(part)
    return part


def is_in(group: h5py.Group, name: str) -> bool:
    """Return whether a group has something of a name.

    Raises
    ------
    RecordingError
        The file is too damaged to tell.
    """
    with _damage_at(group):
        return name in group


def array_at(group: h5py.Group, *names: str | int) -> NDArray[Any]:
    """Return all of a dataset.

    Raises
    ------
    RecordingError
        The file does not have it, it is more than a recording holds, or its values are not
        those that were written.
    """
    dataset = dataset_at(group, *names)
    with _damage_at(dataset):
        check_array(dataset)
    return _values(dataset)


def part_of(dataset: h5py.Dataset, at: int | slice) -> NDArray[Any]:
    """Return rows of a dataset, and read no others.

    Raises
    ------
    RecordingError
        They are not those that were written, as HDF5's own checksum of a chunk says.
    """
    with _damage_at(dataset):
        return np.asarray(dataset[at])


def text_at(group: h5py.Group, *names: str | int) -> str:
    """Return a scalar text; raises as `array_at`."""
    return "".join(_texts(dataset_at(group, *names)))


def texts_at(group: h5py.Group, *names: str | int) -> list[str]:
    """Return a column of texts; raises as `array_at`."""
    return _texts(dataset_at(group, *names))


def _texts(dataset: h5py.Dataset) -> list[str]:
    """Return all texts of a dataset, compared with its checksum where the file has one."""
    with _damage_at(dataset):
        texts = read_texts(dataset)
        expected = dataset.attrs.get(schema.D_CRC32)
    if expected is not None:
        data = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
        if zlib.crc32(data) != int(expected):
            raise RecordingError(_damaged(dataset, "its checksum differs"))
    return texts


def _values(dataset: h5py.Dataset) -> NDArray[Any]:
    """Return all of a dataset, compared with its checksum where the file has one."""
    with _damage_at(dataset):
        values = np.asarray(dataset[()])
        expected = dataset.attrs.get(schema.D_CRC32)
    if expected is not None and _crc(values, 0) != int(expected):
        raise RecordingError(_damaged(dataset, "its checksum differs"))
    return values


def _crc(values: NDArray[Any], crc: int) -> int:
    """Return the CRC-32 of values, going on from that of those before them.

    Of the little-endian bytes in C order; of texts, each one's UTF-8 bytes and a NUL.
    """
    if values.dtype.kind in "SO":
        data = b"".join(bytes(text) + b"\0" for text in values.ravel())
        return zlib.crc32(data, crc)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return zlib.crc32(little.reshape(-1).view(np.uint8).data, crc)


def _crc_of(dataset: h5py.Dataset) -> int:
    """Return the CRC-32 of a dataset, reading it a part at a time."""
    if not dataset.shape or not dataset.size:
        return _crc(np.asarray(dataset[()]), 0)
    rows = max(1, _CHECKED_BYTES * dataset.shape[0] // max(1, dataset.nbytes))
    if dataset.chunks:  # whole chunks, so that none is unpacked twice
        rows = max(1, rows // dataset.chunks[0]) * dataset.chunks[0]
    crc = 0
    for start in range(0, dataset.shape[0], rows):
        crc = _crc(np.asarray(dataset[start : start + rows]), crc)
    return crc


def finish(file: h5py.File) -> None:
    """Let every dataset say what it is, and what its bytes must be; once all are written.

    HDF5 has checksums of its own for its structures and for the attributes that lie in them,
    but not for values, nor for texts of variable length.
    """
    found: list[h5py.Group | h5py.Dataset] = [file]
    file.visititems(lambda _, part: found.append(part))
    values = {
        part.name: {name: _plain(value) for name, value in part.attrs.items()}
        for part in found
        if isinstance(part, h5py.Group) and part.attrs
    }
    values |= {part.name: {} for part in found if isinstance(part, h5py.Dataset)}
    write_text(file, schema.ATTRIBUTES, json.dumps(values, sort_keys=True))
    for part in [*found, file[schema.ATTRIBUTES]]:
        if isinstance(part, h5py.Dataset):
            meaning, unit = schema.describe_dataset(str(part.name))
            for name, text in ((schema.D_MEANING, meaning), (schema.D_UNIT, unit)):
                data = text.encode()
                dtype = h5py.string_dtype("utf-8", max(1, len(data)))
                part.attrs.create(name, np.array(data, dtype=dtype), dtype=dtype)
            part.attrs[schema.D_CRC32] = np.uint32(_crc_of(part))


def has_checksums(file: h5py.File) -> bool:
    """Return whether a file was made with them."""
    return is_in(file, schema.ATTRIBUTES)


def check_attributes(file: h5py.File) -> None:
    """Raise `RecordingError` unless attributes are as they were when the file was made.

    Those that were added since are not looked at; a group that is gone is missed by its reader.
    """
    if not has_checksums(file):
        return
    expected = json.loads(text_at(file, schema.ATTRIBUTES))
    for path, values in expected.items():
        if not values or not is_in(file, path):
            continue
        there = group_at(file, path)
        for name, value in values.items():
            try:
                same = json.dumps(_plain(there.attrs[name])) == json.dumps(value)  # NaN too
            except _H5PY_ERRORS:
                same = False
            if not same:
                raise RecordingError(_damaged(there, f"its attribute {name!r} differs"))


def damaged_datasets(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Yield (path, "" or what is wrong with it) of every dataset of a file with checksums."""
    paths: list[str] = []
    try:
        file.visititems(
            lambda name, part: paths.append(name) if isinstance(part, h5py.Dataset) else None
        )
    except _H5PY_ERRORS as exc:
        yield "/", f"its groups cannot be read: {exc}"
    for path in sorted({*paths, *_written(file)}):
        try:
            dataset = dataset_at(file, path)
            expected = dataset.attrs.get(schema.D_CRC32)
            if expected is None:
                yield path, "it has no checksum"
            elif _crc_of(dataset) != int(expected):
                yield path, "its checksum differs"
            else:
                yield path, ""
        except (RecordingError, *_H5PY_ERRORS) as exc:
            yield path, str(exc)


def _written(file: h5py.File) -> set[str]:
    """Return the datasets that a file was made with; none where its maker did not say."""
    try:
        stated = json.loads(text_at(file, schema.ATTRIBUTES))
        return {str(path).lstrip("/") for path, values in stated.items() if not values}
    except (RecordingError, AttributeError, ValueError):
        return set()  # the list is a dataset too, and what is wrong with it is said of it


def _plain(value: object) -> object:
    """Return an attribute as JSON has it."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return json.loads(json.dumps(value))


@contextmanager
def _damage_at(part: h5py.Group | h5py.Dataset) -> Generator[None, None, None]:
    """Raise `RecordingError` for what h5py raises in here: the file is damaged at this part."""
    try:
        yield
    except _H5PY_ERRORS as exc:
        raise RecordingError(_damaged(part, str(exc))) from exc


def _damaged(part: h5py.Group | h5py.Dataset, what: str) -> str:
    return (
        f"{part.file.filename} must hold at {part.name} what was written there and does not: "
        f"{what}. The file was changed or damaged after it was made; fold the journal again, "
        "or bring a copy back"
    )


def attributes(group: h5py.Group) -> dict[str, Any]:
    """Return a group's attributes; numbers are Python's own.

    Raises
    ------
    RecordingError
        They cannot be read any more.
    """
    with _damage_at(group):
        for name in group.attrs:
            check_attribute(group, name)
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in group.attrs.items()
        }


def names_in(group: h5py.Group) -> list[str]:
    """Return what is in a group, numbered names in the order of their numbers."""
    with _damage_at(group):
        check_group(group)
        names = [str(name) for name in group]
    return sorted(names, key=lambda name: (int(name), "") if name.isdigit() else (-1, name))


def read_table(parent: h5py.Group, name: str, columns: Sequence[Column]) -> NDArray[np.void]:
    """Return a table as one structured array; text columns are as wide as their longest.

    A column that files of an earlier version do not have is all zeros, or what it says.
    """
    length = len(dataset_at(parent, name, columns[0].name))
    there = set(names_in(group_at(parent, name)))
    values = [
        _missing(column, length)
        if column.added and column.name not in there
        else np.array(texts_at(parent, name, column.name), dtype=np.str_)
        if column.dtype == TEXT
        else array_at(parent, name, column.name)
        for column in columns
    ]
    kinds = [(column.name, array.dtype) for column, array in zip(columns, values, strict=True)]
    table = np.empty(len(values[0]), dtype=kinds)
    for column, array in zip(columns, values, strict=True):
        table[column.name] = array
    return table


def _missing(column: Column, length: int) -> NDArray[Any]:
    """Return what stands for a column that a file does not have."""
    if column.dtype == TEXT:
        return np.zeros(length, "<U1")
    return np.full(length, column.missing, dtype=column.dtype)


class Growing:
    """A dataset that is appended to along its first axis, a buffer at a time.

    Its rows may be read one by one, so each chunk has a checksum, by which HDF5 refuses it.

    Parameters
    ----------
    group, name : where it goes
    shape : of one row; () for a plain column
    dtype : of its values
    compress : gzip-1 after shuffle; off for what is compressed already
    """

    def __init__(
        self,
        group: h5py.Group,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        compress: bool = True,
    ) -> None:
        self.length = 0
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._row_bytes = int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize
        self._buffer: list[NDArray[Any]] = []
        self._buffered = 0
        self._group, self._name, self._shape, self._compress = group, name, shape, compress
        self._dataset: h5py.Dataset | None = None

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows, (k, *shape)."""
        self._buffer.append(np.asarray(rows, dtype=self._dtype))
        self._buffered += len(rows)
        self.length += len(rows)
        if self._buffered * self._row_bytes >= _CHUNK_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left; the dataset is there even if nothing was added."""
        if self._dataset is not None or self._buffered * self._row_bytes:
            self._flush()
            return
        # Nothing: not worth an index of chunks.
        values = np.concatenate([np.zeros((0, *self._shape), self._dtype), *self._buffer])
        self._group.create_dataset(self._name, data=values)

    def _flush(self) -> None:
        if not self._buffered or not self._row_bytes:
            return
        values = np.concatenate(self._buffer)
        self._buffer, self._buffered = [], 0
        if self._dataset is None:
            # A file of a short session should not be a row of half-empty chunks.
            size = min(_CHUNK_BYTES, max(_SMALLEST_CHUNK_BYTES, values.nbytes))
            filters = {"fletcher32": True, **(_COMPRESSED if self._compress else {})}
            self._dataset = self._group.create_dataset(
                self._name,
                data=values,
                maxshape=(None, *self._shape),
                chunks=(max(1, size // self._row_bytes), *self._shape),
                **filters,
            )
            return
        start = len(self._dataset)
        self._dataset.resize(start + len(values), axis=0)
        self._dataset[start:] = values


def _at(group: h5py.Group, names: tuple[str | int, ...]) -> object:
    path = "/".join(str(name) for name in names)
    part: object = group.file["/"] if path.startswith("/") else group
    try:
        for name in filter(None, path.split("/")):
            if not isinstance(part, h5py.Group):
                raise KeyError(name)
            part = member(part, name)
    except _H5PY_ERRORS as exc:
        raise RecordingError(_wrong(group, names, f"something ({exc})")) from exc
    return part


def _wrong(group: h5py.Group, names: tuple[str | int, ...], what: str) -> str:
    path = "/".join([str(group.name).rstrip("/"), *(str(name) for name in names)])
    return (
        f"{group.file.filename} must have {what} at {path} and does not. The file was changed "
        "or damaged after it was made; fold the journal again"
    )
