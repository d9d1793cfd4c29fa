# pyright: basic
# h5py leaves half of its arguments untyped; here they are given types, for every other file.
"""Tables, texts and growing datasets in HDF5, and typed access to what is in a file.

Knows h5py; knows no name of the schema and nothing of sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from evolver.errors import RecordingError
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
        group[column.name].attrs["meaning"] = column.meaning
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
    check_dataset(part)
    return part


def array_at(group: h5py.Group, *names: str | int) -> NDArray[Any]:
    """Return all of a dataset."""
    dataset = dataset_at(group, *names)
    check_array(dataset)
    return np.asarray(dataset[()])


def part_of(dataset: h5py.Dataset, at: int | slice) -> NDArray[Any]:
    """Return rows of a dataset, and read no others."""
    return np.asarray(dataset[at])


def text_at(group: h5py.Group, *names: str | int) -> str:
    """Return a scalar text."""
    return "".join(read_texts(dataset_at(group, *names)))


def texts_at(group: h5py.Group, *names: str | int) -> list[str]:
    """Return a column of texts."""
    return read_texts(dataset_at(group, *names))


def attributes(group: h5py.Group) -> dict[str, Any]:
    """Return a group's attributes; numbers are Python's own."""
    for name in group.attrs:
        check_attribute(group, name)
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in group.attrs.items()
    }


def names_in(group: h5py.Group) -> list[str]:
    """Return what is in a group, numbered names in the order of their numbers."""
    check_group(group)
    names = [str(name) for name in group]
    return sorted(names, key=lambda name: (int(name), "") if name.isdigit() else (-1, name))


def read_table(parent: h5py.Group, name: str, columns: Sequence[Column]) -> NDArray[np.void]:
    """Return a table as one structured array; text columns are as wide as their longest.

    A column that files of an earlier version do not have is all zeros in them.
    """
    length = len(dataset_at(parent, name, columns[0].name))
    there = set(names_in(group_at(parent, name)))
    values = [
        np.zeros(length, column.dtype)
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


class Growing:
    """A dataset that is appended to along its first axis, a buffer at a time.

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
        if (
            self._dataset is not None
            or self._buffered * self._row_bytes > _SMALLEST_CHUNK_BYTES
        ):
            self._flush()
            return
        # Too little to be worth an index of chunks, or nothing.
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
            filters = _COMPRESSED if self._compress else {}
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
    part: object = group
    try:
        for name in "/".join(str(name) for name in names).split("/"):
            if not isinstance(part, h5py.Group):
                raise KeyError(name)
            part = member(part, name)
    except KeyError as exc:
        raise RecordingError(_wrong(group, names, "something")) from exc
    return part


def _wrong(group: h5py.Group, names: tuple[str | int, ...], what: str) -> str:
    path = "/".join([str(group.name).rstrip("/"), *(str(name) for name in names)])
    return (
        f"{group.file.filename} must have {what} at {path} and does not. The file was changed "
        "or damaged after it was made; fold the journal again"
    )
