"""A MATLAB file's stimulusID and tEvokedResp, of every version that `save` writes.

Versions 5 to 7 are read by `mat5_files`, 7.3 (HDF5) by h5py, imported when it is used.
Nothing outside the file is opened, sizes are looked at before anything is read, and whatever is
wrong with a file is a `MatFileError` that says what.
"""

# pyright: basic
# h5py's reading functions are not annotated.

from __future__ import annotations

import math
import re
import stat
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig_bridge.rigs.mat5_files import MatFileError, read_mat5

_LARGEST_FILE = 64 << 20
_MOST_NUMBERS = 8 << 20  # in one variable: 64 MiB
_MOST_NAMES = 100_000
_LONGEST_NAME = 1_000
_NAMES, _RATES = "stimulusID", "tEvokedResp"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # before the HDF5 of a MATLAB file
_PARSERS_OWN = (  # what h5py makes of half a file, or of a strange one
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,  # NotImplementedError and RecursionError too
)


def is_hdf5(path: Path) -> bool:
    """Return whether a file is of MATLAB's version 7.3.

    Raises
    ------
    MatFileError
        It cannot be opened, or is no regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer
            raise MatFileError("it is not a regular file")
        with path.open("rb") as file:
            head = file.read(_USER_BLOCK + len(_HDF5))
    except OSError as exc:
        raise MatFileError(f"it cannot be opened: {exc.strerror}") from exc
    return _HDF5 in {head[: len(_HDF5)], head[_USER_BLOCK:]}


def read_rates(path: Path, *, channels: int) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the images that were shown, and the rates of each showing.

    Parameters
    ----------
    path : a MATLAB file of any version
    channels : how many tEvokedResp must have

    Returns
    -------
    names : one a showing, without folder and without .png
    rates : (n, channels), spikes/s

    Raises
    ------
    MatFileError
        The file is not whole, is of another kind, or its variables do not fit together.
    """
    hdf5 = is_hdf5(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MatFileError(f"it must be at most {_LARGEST_FILE >> 20} MiB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parsers, about files: errors are ours
            names, rates = (_read_hdf5 if hdf5 else _read_older)(path)
    except MatFileError:
        raise
    except _PARSERS_OWN as exc:
        raise MatFileError(
            f"it cannot be read as a MATLAB file ({type(exc).__name__}: {str(exc)[:120]})"
        ) from exc
    plain = [
        re.sub(r"\.png$", "", re.split(r"[\\/]", n.strip())[-1], flags=re.I) for n in names
    ]
    return plain, _by_showing(rates, len(plain), channels)


def _by_showing(rates: NDArray[Any], n: int, channels: int) -> NDArray[np.float64]:
    """Return (n, channels) of what may have lost an axis of one, or be the other way round."""
    if rates.dtype.kind not in "fiub":
        raise MatFileError(f"{_RATES} must hold real numbers; it holds {rates.dtype}")
    numbers = np.asarray(rates, dtype=np.float64)
    shape = tuple(size for size in numbers.shape if size != 1)
    if shape == tuple(size for size in (n, channels) if size != 1):
        return numbers.reshape(n, channels)
    if shape == (channels, n):
        return numbers.reshape(channels, n).T
    raise MatFileError(
        f"{_RATES} must be {n} x {channels}, a row for each of the names in {_NAMES} and a "
        f"column for each channel; it is {' x '.join(map(str, numbers.shape))}"
    )


# ------------------------------------------------------------------ versions 5 to 7


def _read_older(path: Path) -> tuple[list[str], NDArray[Any]]:
    with path.open("rb") as file:
        values, there = read_mat5(file.read(_LARGEST_FILE + 1), (_NAMES, _RATES))
    for name in (_NAMES, _RATES):
        _must_be_there(name, there)
    names, rates = values[_NAMES], values[_RATES]
    if not isinstance(names, list):
        raise MatFileError(
            _not_names(f"it is {names if isinstance(names, str) else 'numeric'}")
        )
    if not isinstance(rates, np.ndarray):
        found = rates if isinstance(rates, str) else "text"
        raise MatFileError(f"{_RATES} must be a full matrix of real numbers; it is {found}")
    return names, rates


def _not_names(found: str) -> str:
    return (
        f"{_NAMES} must be a cell array of character vectors, or a character matrix; {found} "
        f"(in MATLAB: {_NAMES} = cellstr({_NAMES}))"
    )


def _must_be_there(name: str, there: Collection[str]) -> None:
    if name not in there:
        found = ", ".join(list(there)[:10]) or "nothing"
        raise MatFileError(f"it must hold {_NAMES} and {_RATES}; it holds {found[:200]}")


def _must_not_exceed(name: str, shape: Sequence[int], most: int) -> None:
    if math.prod(shape) > most:
        raise MatFileError(
            f"{name} must have at most {most} elements; it is {' x '.join(map(str, shape))}"
        )


# ------------------------------------------------------------------ version 7.3


def _read_hdf5(path: Path) -> tuple[list[str], NDArray[Any]]:
    """Return the variables of a -v7.3 file. HDF5 has MATLAB's axes the other way round."""
    import h5py

    with h5py.File(path, "r") as file:
        for name in (_NAMES, _RATES):
            _must_be_there(name, [key for key in map(str, file) if not key.startswith("#")])
        ids, rates = (_dataset(file, name) for name in (_NAMES, _RATES))
        _must_not_exceed(_RATES, rates.shape, _MOST_NUMBERS)
        kind = _class(ids)
        if kind == "char":
            _must_not_exceed(_NAMES, ids.shape, _MOST_NAMES * _LONGEST_NAME)
            names = ["".join(map(chr, row)) for row in np.atleast_2d(ids[()].T)]
        elif kind == "cell" and ids.dtype == h5py.ref_dtype:
            _must_not_exceed(_NAMES, ids.shape, _MOST_NAMES)
            names = [_characters(file, cell) for cell in ids[()].ravel(order="F")]
        else:
            raise MatFileError(_not_names(f"it is a {kind or rates.dtype}"))
        return names, np.asarray(rates[()]).T


def _dataset(file: Any, name: str) -> Any:  # noqa: ANN401  h5py's
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise MatFileError(f"{name} must be in the file itself; it is a link")
    return _in_the_file(file[name], name)


def _in_the_file(found: Any, name: str) -> Any:  # noqa: ANN401  h5py's
    import h5py

    if not isinstance(found, h5py.Dataset):
        raise MatFileError(f"{name} must be an array; it is a {_class(found) or 'group'}")
    if found.external or found.is_virtual:
        raise MatFileError(f"{name} must be in the file itself; its data lie in other files")
    return found


def _class(found: Any) -> str:  # noqa: ANN401  h5py's
    kind = found.attrs.get("MATLAB_class", b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)


def _characters(file: Any, cell: Any) -> str:  # noqa: ANN401  h5py's
    found = _in_the_file(file[cell], f"a cell of {_NAMES}")
    if _class(found) != "char" or found.dtype.kind != "u":
        raise MatFileError(_not_names(f"a cell holds a {_class(found) or found.dtype}"))
    _must_not_exceed(f"a cell of {_NAMES}", found.shape, _LONGEST_NAME)
    return "".join(map(chr, found[()].ravel()))
