"""The shape of a tuning curve: monotonic, or rising and then falling, or a bell.

Wang & Ponce, Nature Neuroscience 2026, Fig. 6E. How often each shape comes is a share, with its
interval and its test, of `success_rates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.quantities import check_choice, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from evolver.types import Vector

TOLERANCE = 0.02
"""Of the fitted range: how far each of the curve's steps may go back."""
TOGETHER = 5
"""Times the tolerance: how far a curve may go back in all, and still be said to rise."""
PAPER_TOLERANCE = 0.01
"""Spikes/s that each of the curve's 99 steps may go back, in the paper."""

ShapeRule: TypeAlias = Literal["range", "paper"]


@dataclass(frozen=True, slots=True)
class TuningShape:
    """The shape of a curve.

    Attributes
    ----------
    monotonic : bool, it rises or falls all along
    unimodal : bool, it rises and then falls; either part may be missing
    bell : bool, unimodal with an inner peak
    reason : str, why it has no shape; empty where it has
    """

    monotonic: bool
    unimodal: bool
    bell: bool
    reason: str = ""


def shape_of(
    curve: ArrayLike, *, rule: ShapeRule = "range", tolerance: float | None = None
) -> TuningShape:
    """Say whether a curve is monotonic, unimodal, or a bell.

    A curve rises where no step goes back by more than the tolerance, and it lies nowhere more
    than `TOGETHER` times that below a place before it: a slow fall over half the axis is one. A
    peak is inner where the curve is that much lower at both ends; so a bell is not monotonic.

    The published rule (``rule="paper"``) compares neighbours alone: each of 99 steps may go
    back by 0.01 spikes/s, whatever the range, and a peak is inner where it is at neither end.

    Parameters
    ----------
    curve : (k,) finite, read at 100 even places, as published: fewer have larger steps
    tolerance : share of the curve's range (`TOLERANCE` if not given), or for the published
        rule spikes/s (`PAPER_TOLERANCE`)
    """
    check_choice(rule, ShapeRule, "rule")
    values = vector_of(curve, "curve")
    if not np.isfinite(values).all():
        raise DataError("curve must be finite")
    if len(values) < 3 or np.ptp(values) <= 1e-9 * max(float(np.abs(values).max()), 1e-300):
        reason = f"{len(values)} places" if len(values) < 3 else "the curve is flat"
        return TuningShape(monotonic=False, unimodal=False, bell=False, reason=reason)
    peak = int(np.argmax(values))
    changes = np.diff(values)
    if rule == "paper":
        allowed = PAPER_TOLERANCE if tolerance is None else tolerance
        together = np.inf
        inner = 0 < peak < len(values) - 1
    else:
        allowed = (TOLERANCE if tolerance is None else tolerance) * float(np.ptp(values))
        together = TOGETHER * allowed
        inner = float(values[peak] - max(values[0], values[-1])) > together
    rises = (changes >= -allowed).all() and _drop(values) <= together
    falls = (changes <= allowed).all() and _drop(values[::-1]) <= together
    unimodal = (changes[:peak] >= -allowed).all() and (changes[peak:] <= allowed).all()
    return TuningShape(
        monotonic=bool(rises or falls), unimodal=bool(unimodal), bell=bool(unimodal and inner)
    )


def _drop(values: Vector) -> float:
    """Return how far a curve lies below a place before it, at most."""
    return float((np.maximum.accumulate(values) - values).max())
