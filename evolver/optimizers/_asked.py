"""Checks of what an optimizer is told against what it asked for.

Knows arrays and bytes. Knows no algorithm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evolver.checks import check_batch, check_scores
from evolver.errors import DataError
from evolver.types import Codes, Scores


def check_told(
    codes: Codes, scores: Scores, *, asked: Codes, at_least: int
) -> NDArray[np.intp]:
    """Raise `DataError` unless `codes` are rows of `asked`, in any order, each scored once.

    Parameters
    ----------
    codes : array of float64, shape (n, d); any subset of `asked`
    scores : array of float64, shape (n,), finite
    asked : array of float64, shape (m, d), finite
    at_least : fewest codes that can be learnt from

    Returns
    -------
    array of intp, shape (n,): the row of `asked` that each code is
    """
    if codes.shape == asked.shape and np.array_equal(codes, asked):
        check_scores(scores, n=len(codes))  # the codes are finite, as they were when drawn
        return np.arange(len(codes))
    check_batch(codes, scores, d=asked.shape[1], at_least=at_least)
    left: dict[bytes, list[int]] = {}
    for i in reversed(range(len(asked))):
        left.setdefault(asked[i].tobytes(), []).append(i)
    rows = np.empty(len(codes), dtype=np.intp)
    for i, row in enumerate(codes):
        places = left.get(row.tobytes())
        if places is None:
            raise DataError(
                f"codes must be rows of what ask() returned, as float64 and unchanged; row {i} "
                "is none of them. Tell the codes that were asked for"
            )
        if not places:
            raise DataError(
                f"each code can be told once; row {i} comes again. Average the scores of "
                "repeated presentations before tell()"
            )
        rows[i] = places.pop()
    return rows
