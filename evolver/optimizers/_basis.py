"""The eigenbasis of a generator's image metric, and the files it comes in.

Knows arrays, and npz files in the layouts that are public; never unpickles. Knows no optimizer.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.types import Matrix, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LAYOUTS = (
    ("eigv_avg", "eigvect_avg"),
    ("eigvals_avg", "eigvects_avg"),
    ("eva_avg", "evc_avg"),
    ("eigvals_nois_avg", "eigvects_nois_avg"),
    ("eigvals_clas_avg", "eigvects_clas_avg"),
    ("eigvals", "eigvects"),
)
_PARTS = ("nois", "clas")
_FLOOR = 1e-6  # of the largest eigenvalue; smaller and negative ones are raised to it


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Directions of latent space and how far to go along each, largest eigenvalue first."""

    values: Vector  # (k,) eigenvalues, descending, > 0
    vectors: Matrix  # (k, d) eigenvectors, one a row, orthonormal

    def digest(self) -> Vector:
        """Return the sha256 of both arrays, (32,) bytes as float64."""
        sha = hashlib.sha256(self.values.tobytes())
        sha.update(self.vectors.tobytes())
        return np.frombuffer(sha.digest(), dtype=np.uint8).astype(np.float64)


def make_basis(
    values: ArrayLike, vectors: ArrayLike, *, d: int, cutoff: int | None, source: str = "basis"
) -> Basis:
    """Return the `cutoff` leading directions of an eigendecomposition, in any order.

    Parameters
    ----------
    values : shape (m,), eigenvalues; negative ones, and those below 1e-6 of the largest, are
        raised to 1e-6 of the largest
    vectors : shape (d, m), eigenvectors, one a column, orthonormal
    d : latent dimensions
    cutoff : directions to keep; all by default
    source : where they come from, for the errors

    Raises
    ------
    DataError
        Shapes do not fit, a value is not finite, none is positive, or the vectors are not
        orthonormal.
    ConfigError
        There are fewer directions than `cutoff`.
    """
    eigenvalues, columns = np.asarray(values, np.float64), np.asarray(vectors, np.float64)
    m = eigenvalues.shape[0] if eigenvalues.ndim == 1 else 0
    if not m or columns.shape != (d, m):
        raise DataError(
            f"{source} must have eigenvalues (m,) and eigenvectors ({d}, m), one a column, for "
            f"a generator of {d} dimensions; got {eigenvalues.shape} and {columns.shape}"
        )
    if cutoff is not None and cutoff > m:
        raise ConfigError(
            f"cutoff must be at most the {m} directions of {source}; got {cutoff}"
        )
    if not np.isfinite(eigenvalues).all() or not np.isfinite(columns).all():
        raise DataError(f"{source} must be finite; it holds a value that is not")
    order = np.argsort(-eigenvalues, kind="stable")[:cutoff]
    kept, rows = eigenvalues[order], np.ascontiguousarray(columns.T[order])
    if kept[0] <= 0:
        raise DataError(f"{source} must have a positive eigenvalue; the largest is {kept[0]:g}")
    off = float(np.abs(rows @ rows.T - np.eye(len(rows))).max())
    if off > 1e-3:  # float32 files are good to 1e-5
        raise DataError(
            f"eigenvectors of {source} must be orthonormal columns; they miss it by {off:.2g}. "
            "Pass the columns of numpy.linalg.eigh"
        )
    return Basis(np.maximum(kept, _FLOOR * kept[0]), rows)


def read_basis(
    path: str | Path, *, d: int, cutoff: int | None, part: str | None = None
) -> Basis:
    """Read a basis from an npz file in one of the public layouts.

    ``eigv_avg, eigvect_avg``; ``eigvals_avg, eigvects_avg``; ``eva_avg, evc_avg``;
    ``eigvals, eigvects``; and, for the halves of BigGAN's code, ``eigvals_nois_avg,
    eigvects_nois_avg`` and ``eigvals_clas_avg, eigvects_clas_avg``. Eigenvectors are columns.

    Parameters
    ----------
    path : the file
    d, cutoff : as `make_basis` takes them
    part : 'nois' or 'clas', where a file has more than the basis of `d` dimensions

    Raises
    ------
    ConfigError
        The file is missing, is no npz, or has none of these layouts; or more than one that
        fits.
    DataError
        As `make_basis`.
    """
    try:
        file: Any = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ConfigError(
                f"basis must be an npz file of named arrays; {path} holds a single array"
            )
        with file:
            held = set(file.files)
            names = _choose(path, held, part)
            arrays: list[Any] = [file[name] for name in names]
    except FileNotFoundError as exc:
        raise ConfigError(
            f"basis must name an npz file; there is none at {path}. Compute or fetch it first"
        ) from exc
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as exc:
        raise ConfigError(
            f"basis must be an npz file of plain arrays; {path} cannot be read as one: {exc}"
        ) from exc
    return make_basis(*arrays, d=d, cutoff=cutoff, source=str(path))


def _choose(path: str | Path, held: set[str], part: str | None) -> tuple[str, str]:
    if part is not None and part not in _PARTS:
        raise ConfigError(f"basis_part must be one of {', '.join(_PARTS)}; got {part!r}")
    layouts = [
        pair
        for pair in _LAYOUTS
        if (part is None and not any(f"_{p}_" in pair[0] for p in _PARTS))
        or (part is not None and f"_{part}_" in pair[0])
    ]
    found = [pair for pair in layouts if set(pair) <= held]
    if not found:
        wanted = "; ".join(", ".join(pair) for pair in layouts)
        raise ConfigError(
            f"basis must hold one of the layouts ({wanted}); {path} holds "
            f"{', '.join(sorted(held)) or 'nothing'}"
        )
    return found[0]
