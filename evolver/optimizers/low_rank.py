"""A d x d matrix kept as a product of rank-one terms, never stored: O(d k) for k of them.

Knows arrays of any array-API library, and branches on shapes only. Knows nothing of codes,
scores or populations.

With row vectors, A = s (I + V'TV) and A^-1 = (I - V'UV) / s: one row in V for each term, and T
and U triangular, k x k. Multiplying A from the left by sqrt(1 - c) (I + b v'v) appends the row
v to V, the row (b v V'T, b) to T, and the column (-beta U V v', beta) to U, where
(I + b v'v)^-1 = I - beta v'v. Nothing is approximated. Once V has more rows than columns it
says nothing that a d x d matrix would not, and is folded into one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from evolver.types import Codes, Matrix, Vector

_SLACK = 16  # rows V may have beyond d, so that small matrices are not folded at every term


@dataclass(frozen=True, slots=True, eq=False)
class Factored:
    """The matrix A."""

    scale: float  # s > 0, 0-d
    rows: Matrix  # (k, d) V
    forward: Matrix  # (k, k) T
    inverse: Matrix  # (k, k) U

    @classmethod
    def identity(cls, d: int) -> Factored:
        """Return I, of no terms."""
        none = np.zeros((0, 0))
        return cls(scale=1.0, rows=np.zeros((0, d)), forward=none, inverse=none)


def times(z: Codes, a: Factored, factor: float) -> Codes:
    """Return a new array, factor * z A, for rows z, shape (n, d)."""
    if not a.rows.shape[0]:
        return (factor * a.scale) * z
    xp = array_namespace(z, a.rows)
    product = ((z @ xp.matrix_transpose(a.rows)) @ a.forward) @ a.rows
    product += z  # in place, on the array just made: (n, d) is the largest thing here
    product *= factor * a.scale
    return product


def solve(y: Vector, a: Factored) -> Vector:
    """Return y A^-1 for one row y, shape (d,)."""
    if a.rows.shape[0]:
        y = y - ((a.rows @ y) @ a.inverse) @ a.rows
    return y / a.scale


def stretched(a: Factored, v: Vector, c: float) -> tuple[Factored, Vector]:
    """Return A after the covariance I has moved by `c` towards v'v, and v A_old A_new^-1.

    A_new = sqrt(1 - c) (I + b v'v) A with b = (sqrt(1 + q |v|^2) - 1) / |v|^2 and
    q = c / (1 - c), so that A_new' A_new = A' ((1 - c) I + c v'v) A.
    """
    xp = array_namespace(v, a.rows)
    q = c / (1 - c)
    squared = xp.sum(v**2)
    root = xp.sqrt(1 + q * squared)
    b = q / (root + 1)  # b, written so that it is defined at v = 0
    beta = b / root
    with_v = a.rows @ v
    zero = xp.zeros_like(with_v)
    longer = Factored(
        scale=a.scale * sqrt(1 - c),
        rows=xp.concat([a.rows, v[None, :]]),
        forward=_bordered(a.forward, zero, b * (with_v @ a.forward), b),
        inverse=_bordered(a.inverse, -beta * (a.inverse @ with_v), zero, beta),
    )
    if longer.rows.shape[0] > longer.rows.shape[1] + _SLACK:
        longer = _folded(longer)
    return longer, v / xp.sqrt(1 - c + c * squared)


def _bordered(block: Matrix, right: Vector, below: Vector, corner: Any) -> Matrix:  # noqa: ANN401  0-d
    """Return [[block, right], [below, corner]]."""
    xp = array_namespace(block, right, below)
    upper = xp.concat([block, right[:, None]], axis=1)
    lower = xp.concat([below, xp.reshape(corner, (1,))])
    return xp.concat([upper, lower[None, :]])


def _folded(a: Factored) -> Factored:
    """Write the same A with d rows, and an inverse without drift.

    s becomes the root mean square of A's singular values, so that what T holds is of order 1
    and A loses no digits to it, however far C has shrunk or grown.
    """
    xp = array_namespace(a.rows)
    d = a.rows.shape[1]
    eye = xp.eye(d, dtype=a.rows.dtype, device=a.rows.device)
    full = eye + xp.matrix_transpose(a.rows) @ (a.forward @ a.rows)
    size = xp.sqrt(xp.sum(full**2) / d)
    full = full / size
    return Factored(
        scale=a.scale * size,
        rows=eye,
        forward=full - eye,
        inverse=eye - xp.linalg.inv(full),
    )
