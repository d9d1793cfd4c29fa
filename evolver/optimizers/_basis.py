"""The directions a Hessian-aware search goes along: a metric's leading ones, none of them flat.

Knows arrays, and asks `evolver.metric.file` for files. Knows no optimizer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver import metric
from evolver.types import Matrix, Vector

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

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


def make_basis(values: ArrayLike, vectors: ArrayLike, *, d: int, cutoff: int | None) -> Basis:
    """Return the `cutoff` leading directions of an eigendecomposition, in any order.

    Parameters
    ----------
    values : shape (m,), eigenvalues; negative ones, and those below 1e-6 of the largest, are
        raised to 1e-6 of the largest
    vectors : shape (d, m), eigenvectors, one a column, orthonormal
    d : latent dimensions
    cutoff : directions to keep; all by default

    Raises
    ------
    DataError, ConfigError
        As `evolver.metric.file.make_metric`.
    """
    return _basis(metric.make_metric(values, vectors, d=d, leading=cutoff))


def read_basis(
    path: str | Path, *, d: int, cutoff: int | None, part: str | None = None
) -> Basis:
    """Read a basis from a file, as `evolver.metric.read` does; `make_basis` says of what."""
    return _basis(metric.read(path, d=d, leading=cutoff, part=part))


def _basis(found: metric.Metric) -> Basis:
    values = np.maximum(found.eigenvalues, _FLOOR * found.eigenvalues[0])
    return Basis(values, np.ascontiguousarray(found.eigenvectors.T))
