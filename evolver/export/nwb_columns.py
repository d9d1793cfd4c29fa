# pyright: basic, reportAttributeAccessIssue=false, reportInvalidTypeForm=false, reportCallIssue=false
# pynwb and hdmf make their classes as they are imported; no checker sees what is in them.
"""Columns of NWB's tables, arrays that stay in the recording until they are written.

Knows hdmf; knows nothing of sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTable, VectorData, VectorIndex
from hdmf.data_utils import AbstractDataChunkIterator, DataChunk
from numpy.typing import DTypeLike, NDArray

from evolver.recording.hdf5 import part_of

AT_ONCE_BYTES = 8 << 20
_CHUNK_BYTES = 512 << 10
# As the recording's own: opened by every HDF5 reader, without a plug-in.
_COMPRESSED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class Stream(AbstractDataChunkIterator):
    """An array that comes in pieces along its first axis, one in memory at a time.

    Parameters
    ----------
    shape, dtype : of all of it
    pieces : (k, *shape[1:]) each, as many as make up the shape
    progress : told the bytes of every piece
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        pieces: Iterable[NDArray[Any]],
        progress: Callable[[int], None],
    ) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._pieces = iter(pieces)
        self._progress, self._done = progress, 0

    def __iter__(self) -> Iterator[DataChunk]:
        """Return itself."""
        return self

    def __next__(self) -> DataChunk:
        """Return the next piece, and where it goes."""
        piece = next(self._pieces)
        start, self._done = self._done, self._done + len(piece)
        self._progress(piece.nbytes)
        rest = tuple(slice(0, length) for length in self._shape[1:])
        return DataChunk(
            data=piece.astype(self._dtype, copy=False),
            selection=(slice(start, self._done), *rest),
        )

    def recommended_chunk_shape(self) -> tuple[int, ...]:
        """Return the shape of what HDF5 packs together."""
        row = int(np.prod(self._shape[1:], dtype=np.int64)) * self._dtype.itemsize
        return (min(self._shape[0], max(1, _CHUNK_BYTES // row)), *self._shape[1:])

    def recommended_data_shape(self) -> tuple[int, ...]:
        """Return the shape of all of it."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        return self._dtype

    @property
    def maxshape(self) -> tuple[int, ...]:
        """Of all of it."""
        return self._shape


class Streams:
    """The large arrays of a file: what there is to write, and how much is written.

    Parameters
    ----------
    tell : told the bytes that are written, and of how many
    """

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell, self._done, self._total = tell, 0, 0

    def new(
        self, shape: tuple[int, ...], dtype: DTypeLike, pieces: Iterable[NDArray[Any]]
    ) -> H5DataIO | NDArray[Any]:
        """Return what writes an array as its pieces come, compressed; an empty one as it is."""
        if 0 in shape:
            return np.zeros(shape, dtype)
        self._total += int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return H5DataIO(Stream(shape, dtype, pieces, self._wrote), **_COMPRESSED)

    def rows(
        self, dataset: h5py.Dataset, order: NDArray[np.integer[Any]] | None = None
    ) -> H5DataIO | NDArray[Any]:
        """Return what writes all rows of a recording's dataset, in an order."""
        order = np.arange(len(dataset)) if order is None else order
        return self.new((len(order), *dataset.shape[1:]), dataset.dtype, _rows(dataset, order))

    def _wrote(self, n_bytes: int) -> None:
        self._done += n_bytes
        self._tell(self._done, self._total)


def _rows(dataset: h5py.Dataset, order: NDArray[np.integer[Any]]) -> Iterator[NDArray[Any]]:
    row = int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize
    at_once = max(1, AT_ONCE_BYTES // max(1, row))
    for first in range(0, len(order), at_once):
        yield np.concatenate([
            part_of(dataset, slice(int(run[0]), int(run[-1]) + 1))
            for run in runs(order[first : first + at_once])
        ])


def runs(rows: NDArray[np.integer[Any]]) -> list[NDArray[np.integer[Any]]]:
    """Return rows in pieces in which each is the one after the one before."""
    return np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)


def column(name: str, description: str, data: object) -> VectorData:
    """Return a column of numbers or texts."""
    if isinstance(data, np.ndarray) and data.dtype.kind == "U":
        data = [utf8(text) for text in data.tolist()]
    if isinstance(data, np.ndarray) and data.nbytes > _CHUNK_BYTES:
        data = H5DataIO(data, **_COMPRESSED)
    return VectorData(name=name, description=description, data=data)


def ragged(
    name: str, description: str, data: object, ends: NDArray[np.int64]
) -> tuple[VectorIndex, VectorData]:
    """Return a column of which row i has the values from ``ends[i - 1]`` to ``ends[i]``.

    The index first: hdmf takes a streamed column out of those that it compares, and misses it.
    """
    values = column(name, description, data)
    return VectorIndex(name=f"{name}_index", data=ends.astype(np.uint64), target=values), values


def table(
    name: str,
    description: str,
    columns: Sequence[VectorData],
    *,
    ids: NDArray[np.integer[Any]] | None = None,
    rows: int = 0,
) -> DynamicTable:
    """Return a table; its rows are numbered from 0 where they have no `ids`."""
    return DynamicTable(
        name=name,
        description=description,
        id=np.arange(rows) if ids is None else ids,
        columns=list(columns),
    )


def utf8(text: str) -> str:
    """Return a text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


def object_name(text: str, taken: Iterable[str] = ()) -> str:
    """Return a text as the name of an object, without what makes a path; unlike those taken."""
    name = utf8(text)
    for mark in "/\\:\n\r":
        name = name.replace(mark, "_")
    name = base = name.strip().strip(".") or "unknown"
    others, number = set(taken), 2
    while name in others:
        name, number = f"{base} {number}", number + 1
    return name


def bins(name: str, edges_ms: NDArray[np.float64]) -> DynamicTable:
    """Return the bins of counts, (t + 1,) edges, as a table."""
    return table(
        name,
        "bins relative to a trial's onset",
        [
            column("start_ms", "included, ms", edges_ms[:-1].copy()),
            column("stop_ms", "not included, ms", edges_ms[1:].copy()),
        ],
        rows=len(edges_ms) - 1,
    )
