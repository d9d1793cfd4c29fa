"""A generator's image metric, as eigenvalues and eigenvectors, and the files it comes in.

Knows arrays and npz files; never unpickles. Knows nothing of how a metric is computed
(`evolver.metric.products`), nor of what an optimizer makes of one.

The file, schema version 1, is an npz: numpy alone opens it, and the metrics that others have
published are npz files too, so that one reader does. It holds four arrays, none of objects:

==================  =================  ==================================================
``schema_version``  () int64           1
``eigenvalues``     (m,) float64       descending, none negative
``eigenvectors``    (d, m) float64     orthonormal columns; column j belongs to value j
``provenance``      () text            JSON, the fields of `Provenance`
==================  =================  ==================================================

The same metric always gives the same bytes.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.numpy_files import NumpyArchive, opened_archive
from evolver.regular_files import PARSER_ERRORS
from evolver.types import Matrix, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SCHEMA_VERSION = 1
LAYOUTS = (
    ("eigv_avg", "eigvect_avg"),
    ("eigvals_avg", "eigvects_avg"),
    ("eva_avg", "evc_avg"),
    ("eigvals_nois_avg", "eigvects_nois_avg"),
    ("eigvals_clas_avg", "eigvects_clas_avg"),
    ("eigvals", "eigvects"),
)
"""Names of eigenvalues and eigenvectors in the files that others have published."""
PARTS = ("nois", "clas")
"""The halves of BigGAN's code, as those files call them."""
_OWN = ("eigenvalues", "eigenvectors")


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a metric comes from."""

    generator: str
    weights_sha256: str
    distance: str  # 'mse', 'mini:conv3', ...
    distance_sha256: str  # of the weights it runs on; empty where it has none
    solver: str  # 'lanczos' or 'dense'
    points: int  # codes it is the average over
    points_sha256: str  # of those codes, (n, d) float64, little-endian
    first: int = 0  # it is of these dimensions of the code: first, and one past last
    last: int = 0
    part: str = ""  # their name, where they have one
    seed: int | None = None  # that the codes were drawn with
    norm: float | None = None  # that the codes were scaled to, latent units
    options: dict[str, Any] = {}  # of the generator
    software: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """The leading eigenvalues and eigenvectors of a metric, largest first."""

    eigenvalues: Vector  # (m,) descending, >= 0, squared image distance / latent unit squared
    eigenvectors: Matrix  # (d, m) one a column, orthonormal
    provenance: Provenance | None = None  # none in the files of others

    @property
    def d(self) -> int:
        """Latent dimensions it is of."""
        return self.eigenvectors.shape[0]


def make_metric(
    eigenvalues: ArrayLike,
    eigenvectors: ArrayLike,
    *,
    d: int | None = None,
    leading: int | None = None,
    provenance: Provenance | None = None,
    source: str = "basis",
) -> Metric:
    """Return the `leading` directions of an eigendecomposition, in any order, sorted.

    Parameters
    ----------
    eigenvalues : shape (m,); negative ones, which are rounding, become 0
    eigenvectors : shape (d, m), one a column, orthonormal
    d : latent dimensions it must be of; any by default
    leading : directions to keep; all by default
    provenance : where it comes from
    source : the same, for the errors

    Raises
    ------
    DataError
        Shapes do not fit, a value is not finite, none is positive, or the vectors are not
        orthonormal.
    ConfigError
        There are fewer directions than `leading`.
    """
    values, columns = _checked_arrays(eigenvalues, eigenvectors, d, source)
    m = len(values)
    if leading is not None and leading > m:
        raise ConfigError(
            f"cutoff must be at most the {m} directions of {source}; got {leading}"
        )
    if not np.isfinite(values).all() or not np.isfinite(columns).all():
        raise DataError(f"{source} must be finite; it holds a value that is not")
    order = np.argsort(-values, kind="stable")[:leading]
    values, columns = values[order], columns[:, order]
    if values[0] <= 0:
        raise DataError(
            f"{source} must have a positive eigenvalue; the largest is {values[0]:g}"
        )
    off = float(np.abs(columns.T @ columns - np.eye(len(order))).max())
    if off > 1e-3:  # float32 files are good to 1e-5
        raise DataError(
            f"eigenvectors of {source} must be orthonormal columns; they miss it by {off:.2g}. "
            "Pass the columns of numpy.linalg.eigh"
        )
    return Metric(np.maximum(values, 0.0), columns, provenance)


def _checked_arrays(
    eigenvalues: ArrayLike, eigenvectors: ArrayLike, d: int | None, source: str
) -> tuple[Vector, Matrix]:
    """Return both as float64, (m,) and (d, m), or raise `DataError`."""
    given = np.asarray(eigenvalues), np.asarray(eigenvectors)
    if any(array.dtype.kind not in "fiu" for array in given):
        raise DataError(
            f"{source} must be real numbers; got {given[0].dtype} and {given[1].dtype}"
        )
    values, columns = (array.astype(np.float64) for array in given)
    m = values.shape[0] if values.ndim == 1 else 0
    rows = columns.shape[0] if d is None and columns.ndim == 2 else d
    if not m or not rows or columns.shape != (rows, m):
        raise DataError(
            f"{source} must have eigenvalues (m,) and eigenvectors ({rows or 'd'}, m), one a "
            f"column, for a generator of {rows or 'd'} dimensions; got {values.shape} and "
            f"{columns.shape}"
        )
    return values, columns


def read_metric(
    path: str | Path,
    *,
    d: int | None = None,
    leading: int | None = None,
    part: str | None = None,
) -> Metric:
    """Read a metric from this package's file, or from an npz in one of the public layouts.

    ``eigv_avg, eigvect_avg``; ``eigvals_avg, eigvects_avg``; ``eva_avg, evc_avg``;
    ``eigvals, eigvects``; and, for the halves of BigGAN's code, ``eigvals_nois_avg,
    eigvects_nois_avg`` and ``eigvals_clas_avg, eigvects_clas_avg``. Eigenvectors are columns.

    Parameters
    ----------
    path : the file
    d, leading : as `make_metric` takes them
    part : 'nois' or 'clas', where a public file has one metric for each

    Raises
    ------
    ConfigError
        The file is missing, is no npz, has none of these layouts, or is of a later version.
    DataError
        As `make_metric`.
    """
    provenance = None
    with _opened(path) as file:
        held = set(file.names)
        if "schema_version" in held:
            if part is not None:
                raise ConfigError(f"{path} holds one metric; leave out basis_part, {part!r}")
            names = _OWN
            provenance = _provenance(path, file, held)
        else:
            names = _choose(path, held, part)
        values = file.read(names[0], fits=lambda shape: len(shape) == 1)
        m = len(values)

        def fits(shape: tuple[int, ...]) -> bool:
            return len(shape) == 2 and shape[1] == m and d in {None, shape[0]}

        columns = file.read(names[1], fits=fits)
        arrays = values, columns
    return make_metric(*arrays, d=d, leading=leading, provenance=provenance, source=str(path))


def read_provenance(path: str | Path) -> Provenance | None:
    """Return where a file's metric comes from; None where it does not say, as those of others.

    Raises
    ------
    ConfigError
        As `read_metric`.
    """
    with _opened(path) as file:
        held = set(file.names)
        return _provenance(path, file, held) if "schema_version" in held else None


def check_generator(
    provenance: Provenance | None, path: str | Path, *, generator: str, sha256: str, remedy: str
) -> None:
    """Raise `ConfigError` where a metric is of another generator, or of other weights."""
    stated = None if provenance is None else (provenance.generator, provenance.weights_sha256)
    if provenance is not None and stated != (generator, sha256):
        raise ConfigError(
            f"{path} must be of the generator that draws; it is of {provenance.generator} "
            f"with weights of sha256 {provenance.weights_sha256}, and this is {generator} with "
            f"{sha256}. {remedy}"
        )


def write_metric(metric: Metric, path: Path) -> None:
    """Write a metric, whole or not at all; see the head of this file for what is in it.

    Raises
    ------
    DataError
        It does not say where it comes from.
    ConfigError
        The file cannot be written.
    """
    if metric.provenance is None:
        raise DataError(
            "a metric that is written must say where it comes from; provenance is None"
        )
    arrays: dict[str, Any] = {
        "schema_version": np.array(SCHEMA_VERSION, "<i8"),
        "eigenvalues": metric.eigenvalues.astype("<f8"),
        "eigenvectors": np.ascontiguousarray(metric.eigenvectors, "<f8"),
        "provenance": np.array(msgspec.json.encode(metric.provenance, order="sorted").decode()),
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    content = io.BytesIO()
                    np.lib.format.write_array(content, array, allow_pickle=False)
                    # A ZipInfo of its own: the default one holds the time of writing.
                    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error}") from error


@contextmanager
def _opened(path: str | Path) -> Generator[NumpyArchive]:
    """Open an npz file of plain arrays; raise `ConfigError` where it is none, or is damaged."""
    try:
        with opened_archive(path) as file:
            if file is None:
                raise ConfigError(
                    f"basis must be an npz file of named arrays; {path} holds a single array, "
                    "none, or is cut off"
                )
            yield file
    except (ConfigError, DataError):
        raise
    except FileNotFoundError as exc:
        raise ConfigError(
            f"basis must name an npz file; there is none at {path}. Compute it ('evolver "
            "metric compute') or fetch it first"
        ) from exc
    except PARSER_ERRORS as exc:
        raise ConfigError(
            f"basis must be an npz file of plain arrays; {path} cannot be read as one: {exc}"
        ) from exc


def _provenance(path: str | Path, file: NumpyArchive, held: set[str]) -> Provenance:
    """Return what one of our own files says of itself."""
    stated = file.read("schema_version", fits=lambda shape: len(shape) <= 1)
    if stated.shape != () or stated.dtype.kind not in "iu" or int(stated) != SCHEMA_VERSION:
        raise ConfigError(
            f"the metric in {path} must be of schema version {SCHEMA_VERSION}; it is of "
            f"{stated}. Read it with the version of this package that wrote it"
        )
    missing = sorted({*_OWN, "provenance"} - held)
    if missing:
        raise ConfigError(f"the metric in {path} must be whole; it lacks {', '.join(missing)}")
    try:
        text = str(file.read("provenance", fits=lambda shape: shape == (), text=True))
        return msgspec.json.decode(text, type=Provenance)
    except msgspec.DecodeError as exc:
        raise ConfigError(
            f"{path} must say where its metric comes from; it does not: {exc}"
        ) from exc


def _choose(path: str | Path, held: set[str], part: str | None) -> tuple[str, str]:
    if part is not None and part not in PARTS:
        raise ConfigError(f"basis_part must be one of {', '.join(PARTS)}; got {part!r}")
    layouts = [
        pair
        for pair in LAYOUTS
        if (part is None and not any(f"_{p}_" in pair[0] for p in PARTS))
        or (part is not None and f"_{part}_" in pair[0])
    ]
    matching = [pair for pair in layouts if set(pair) <= held]
    if not matching:
        wanted = "; ".join(", ".join(pair) for pair in layouts)
        raise ConfigError(
            f"basis must hold what 'evolver metric compute' writes, with its schema_version, "
            f"or one of the layouts ({wanted}); {path} holds "
            f"{', '.join(sorted(held)) or 'nothing'}"
        )
    return matching[0]
