# pyright: basic
# h5py leaves half of its arguments untyped.
"""HDF5 files of strangers: what must hold of one before it is read.

Knows h5py and lengths; knows no name of the schema. A link may lead out of the file, to any
that the reader may read; a virtual or external dataset takes its numbers from one; a filter may
be a plug-in; and a few bytes may stand for terabytes. A recording has none of these, so that
each is refused where it is met.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from evolver.errors import EvolverError, RecordingError
from evolver.regular_files import PARSER_ERRORS, opened

_LARGEST_FILE = 1 << 44
_LARGEST_ARRAY = 4 << 30  # bytes that are read at once
_LARGEST_ATTRIBUTE = 1 << 20
_LARGEST_TEXTS = 256 << 20  # bytes of a column of texts
_MOST_DENSE, _WITHOUT_STORAGE = 1100, 1 << 20  # gzip makes 1032 bytes of one, and no more
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MOST_NAMES = 1_000_000
_ROWS_AT_ONCE = 64


def check_file(path: Path) -> None:
    """Raise `RecordingError` unless a path is of a regular file, which can be opened."""
    try:
        with opened(path, at_most=_LARGEST_FILE):
            pass
    except (OSError, ValueError) as exc:
        raise RecordingError(
            f"a recording must be a file that can be read; {path}: {exc}"
        ) from exc


@contextmanager
def said_as_recording(path: Path) -> Generator[None, None, None]:
    """Turn whatever reading a file of a stranger raises into `RecordingError`.

    What the system says of other files (no room, no permission) is left as it is.
    """
    try:
        yield
    except EvolverError:
        raise
    except PARSER_ERRORS as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        first = (str(exc).splitlines() or [""])[0][:200]
        raise RecordingError(
            f"{path} must hold what a recording holds, and its parts must fit together; they "
            f"do not ({type(exc).__name__}: {first}). It was changed, damaged, or made by "
            "another program: fold the journal again. If evolver made it just now, report this"
        ) from exc


def member(group: h5py.Group, name: str) -> object:
    """Return what a group holds under a name, in this file.

    Raises
    ------
    KeyError
        There is nothing.
    RecordingError
        It is a link that leads elsewhere, or no object of HDF5's.
    """
    link = group.get(name, getlink=True)
    if link is None:
        raise KeyError(name)
    if not isinstance(link, h5py.HardLink):
        raise _refused(group, name, "it is a link, which may lead to another file")
    return group[name]


def check_dataset(dataset: h5py.Dataset) -> None:
    """Raise `RecordingError` unless a dataset's numbers are in its file, as many as it says."""
    name = str(dataset.name)
    if dataset.is_virtual or dataset.external:
        raise _refused(dataset, name, "it takes its numbers from other files")
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(k)[0] for k in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        raise _refused(dataset, name, f"it is packed by {sorted(filters - _FILTERS)}, not gzip")
    if dataset.shape is None:
        raise _refused(dataset, name, "it is empty")
    stored = dataset.id.get_storage_size()
    if (size := size_of(dataset)) > _MOST_DENSE * stored + _WITHOUT_STORAGE:
        raise _refused(dataset, name, f"it says {size} bytes, of which {stored} are stored")


def check_array(dataset: h5py.Dataset) -> None:
    """Raise `RecordingError` unless all of a dataset can be read at once, as numbers."""
    if dataset.dtype.kind not in "biuf":
        raise _refused(dataset, str(dataset.name), f"it holds {dataset.dtype}, not numbers")
    if (size := size_of(dataset)) > _LARGEST_ARRAY:
        raise _refused(
            dataset, str(dataset.name), f"it has {size} bytes, and at most 4 GiB fit"
        )


def read_texts(dataset: h5py.Dataset) -> list[str]:
    """Return a column's texts, in pieces: many rows may name the same long text.

    Raises
    ------
    RecordingError
        They are no texts, or more than a recording has.
    """
    name = str(dataset.name)
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise _refused(dataset, name, f"it holds {dataset.dtype}, not text")
    if dataset.dtype.itemsize * dataset.size > _LARGEST_TEXTS:
        raise _refused(dataset, name, f"its texts have more than {_LARGEST_TEXTS >> 20} MiB")
    whole = dataset.asstr()
    if dataset.dtype.kind != "O":  # of a stated length
        return [str(text) for text in np.atleast_1d(whole[()])]
    if dataset.ndim == 0:
        return [str(whole[()])]
    texts: list[str] = []
    left = _LARGEST_TEXTS
    for start in range(0, len(dataset), _ROWS_AT_ONCE):
        piece = [str(text) for text in whole[start : start + _ROWS_AT_ONCE]]
        left -= sum(map(len, piece))
        if left < 0:
            raise _refused(
                dataset, name, f"its texts have more than {_LARGEST_TEXTS >> 20} MiB"
            )
        texts.extend(piece)
    return texts


def check_group(group: h5py.Group) -> None:
    """Raise `RecordingError` where a group holds more than any recording's."""
    if len(group) > _MOST_NAMES:
        raise _refused(group, str(group.name), f"it holds {len(group)} parts")


def check_attribute(group: h5py.Group, name: str) -> None:
    """Raise `RecordingError` unless an attribute is numbers or a text, of a bounded length."""
    found = group.attrs.get_id(name)
    size = int(np.prod(found.shape or (), dtype=np.float64)) * found.dtype.itemsize
    texts = h5py.check_string_dtype(found.dtype) is not None
    if size > _LARGEST_ATTRIBUTE or not (texts or found.dtype.kind in "biuf"):
        what = f"its attribute {name!r} has {size} bytes of {found.dtype}"
        raise _refused(group, str(group.name), what)


def size_of(dataset: h5py.Dataset) -> int:
    """Return the bytes that a dataset's shape speaks of."""
    count = 1
    for extent in dataset.shape or ():
        count *= int(extent)
    return count * dataset.dtype.itemsize


def _refused(part: h5py.Group | h5py.Dataset, name: str, why: str) -> RecordingError:
    return RecordingError(
        f"{part.file.filename} must hold all of a recording itself; {name}: {why}. evolver "
        "makes no such file: do not trust its source, or fold the journal again"
    )
