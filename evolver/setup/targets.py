"""What a fitness compares responses with: read from a file, or found among the references.

Knows numpy's files and lists of numbers; knows nothing of responses.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evolver.config.fitness_table import FitnessTable
from evolver.errors import ConfigError, DataError
from evolver.numpy_files import NumpyArchive, read_array
from evolver.regular_files import PARSER_ERRORS, expanded, read_regular
from evolver.session.fitness import LARGEST_RESPONSE, Target
from evolver.types import Vector

_LARGEST_FILE = 16 << 20  # bytes
_KEY = "target"  # the array's name in an archive that holds several


def build_target(table: FitnessTable, labels: Sequence[str]) -> Target | None:
    """Return what a fitness compares with; None where it compares with nothing from outside.

    Parameters
    ----------
    table : of the session file
    labels : of the reference images

    Raises
    ------
    ConfigError
        There is no such reference.
    DataError
        The file cannot be read, or does not hold one number a unit; or a distance to these
        numbers is not defined.
    """
    if (name := table.reference) is not None:
        return Target(np.zeros(0), reference=_reference(name, labels))
    if table.target_file is None:
        return None
    path, k = table.target_file, len(table.units)
    try:
        content = read_regular(path, at_most=_LARGEST_FILE)
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    values = _numbers(content, path, k)
    if not (np.abs(values) <= LARGEST_RESPONSE).all():
        raise DataError(
            f"{path} must hold finite numbers, at most {LARGEST_RESPONSE:g} in size"
        )
    if table.distance == "cosine" and not values.any():
        raise DataError(f"{path} must not be all 0: there is no cosine with that")
    if table.distance == "correlation" and (values == values[0]).all():
        raise DataError(
            f"{path} must hold numbers that differ: there is no correlation with {values[0]:g} "
            f"for each of {k} units"
        )
    return Target(values, sha256=hashlib.sha256(content).hexdigest())


def _reference(name: str, labels: Sequence[str]) -> int:
    """Return the row of the reference that a session file names."""
    places = [i for i, label in enumerate(labels) if label == name]
    if len(places) == 1:
        return places[0]
    if not places and name.isdecimal() and int(name) < len(labels):
        return int(name)
    if places:
        raise ConfigError(
            f"must name one reference; {name!r} is the label of those with the indices "
            f"{places}: name one by its index"
        )
    near = difflib.get_close_matches(name, labels, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(
        f"must name a reference, by its label or its index, 0 to {len(labels) - 1}; found "
        f"{name!r}{hint}. The labels are {', '.join(sorted(set(labels))[:12])}"
    )


def _numbers(content: bytes, path: str, k: int) -> Vector:
    """Return the numbers in a file, (k,) float64."""
    suffix = expanded(path).suffix.lower()
    if suffix == ".csv":
        values: NDArray[np.float64] = _separated(content, path)
        if len(values) != k:
            raise DataError(f"{path} must hold one number a unit, {k}; it holds {len(values)}")
        return values

    def fits(shape: tuple[int, ...]) -> bool:
        return shape == (k,)

    try:
        if suffix == ".npz":
            with zipfile.ZipFile(io.BytesIO(content)) as opened:
                archive = NumpyArchive(opened, path)
                array = archive.read(_name_in(archive, path), fits=fits)
        else:
            array = read_array(io.BytesIO(content), len(content), path, fits=fits)
    except DataError as exc:
        if "another shape" in str(exc):
            raise DataError(f"{path} must hold one number a unit, shape ({k},); {exc}") from exc
        raise
    except PARSER_ERRORS as exc:
        raise DataError(
            f"{path} must be a file that numpy writes (.npy, .npz), or a list of numbers "
            f"(.csv): {exc}"
        ) from exc
    return array.astype(np.float64)


def _name_in(archive: NumpyArchive, path: str) -> str:
    if _KEY in archive.names:
        return _KEY
    if len(archive.names) == 1:
        return archive.names[0]
    raise DataError(
        f"{path} must hold one array, or one called {_KEY!r}; it holds "
        f"{', '.join(sorted(archive.names)[:8])}"
    )


def _separated(content: bytes, path: str) -> Vector:
    """Return the numbers of a text, in its order, separated by commas, blanks or new lines."""
    try:
        words = content.decode("utf-8-sig").replace(",", " ").split()
        return np.array([float(word) for word in words], dtype=np.float64)
    except ValueError as exc:
        raise DataError(
            f"{path} must hold numbers alone, separated by commas or new lines: {exc}"
        ) from exc
