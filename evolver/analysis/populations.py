"""Sessions of one kind brought together: which count, on one scale, of one length.

Blocks are a session's, threads are two evolutions of one session. Nothing that was made up to
fill a length passes for data: it comes with a mask that is True where blocks were shown.

Wang & Ponce, Nature Neuroscience 2026, with the settings of its code as defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver.analysis.quantities import Quantity, check_choice, vector_of
from evolver.analysis.trajectories import Trajectory
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Vector

FEWEST_IMAGES = 10
"""In either thread's last block; with fewer it is dropped."""
FEWEST_BLOCKS = 15
"""Of a session that counts."""
ROBUST_SDS = 3.0
"""Of the steps between blocks; a larger step of the baseline is a jump."""
_MAD_TO_SD = 1.4826022185056018

BaselineSd: TypeAlias = Literal["steps", "levels"]
"""Whose robust sd a baseline's step is compared with: all steps', or the block means'."""
PopulationError: TypeAlias = Literal["sample", "paper"]
"""Of n experiments: n - 1 in the variance, or n as in the paper."""


@dataclass(frozen=True, slots=True, eq=False)
class PaddedCourses:
    """Courses of several sessions, brought to one length.

    Attributes
    ----------
    values : (e, b) float64, padded with the mean of each session's last two blocks
    shown : (e, b) bool, True where the value is data
    """

    values: Matrix
    shown: NDArray[np.bool_]

    @property
    def data(self) -> Matrix:
        """The values, (e, b), with NaN where they are padding."""
        return np.where(self.shown, self.values, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class BaselineSteps:
    """How a baseline moved from block to block.

    Attributes
    ----------
    steps : (b - 1,) float64, each block's mean less the one before, spikes/s
    robust_sd : float, 1.4826 times the steps' median distance from 0, or the levels' from their
        median
    jumps : (k,) int64, blocks before which a step was larger than `limit` robust sd
    limit : float
    reason : str, why nothing can be said; empty where it can
    """

    steps: Vector
    robust_sd: float
    jumps: NDArray[np.int64]
    limit: float
    reason: str = ""

    @property
    def stable(self) -> bool:
        """Whether there is no jump; False where nothing can be said."""
        return not self.reason and not len(self.jumps)


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether a session counts.

    Attributes
    ----------
    reasons : tuple of str, why it does not; empty where it does
    """

    reasons: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the session counts."""
        return not self.reasons


def kept_blocks(images: ArrayLike, *, fewest: int = FEWEST_IMAGES) -> int:
    """Return how many blocks are kept: all, or all but the last.

    Parameters
    ----------
    images : (threads, b) int, images with a response in each block
    fewest : the last block is dropped where a thread has fewer in it
    """
    counts = np.asarray(images)
    if counts.ndim != 2:
        raise DataError(f"images must have shape (threads, blocks); got {counts.shape}")
    blocks = counts.shape[1]
    return (
        blocks - 1 if blocks and counts.shape[0] and (counts[:, -1] < fewest).any() else blocks
    )


def padded_courses(courses: Sequence[ArrayLike], *, blocks: int | None = None) -> PaddedCourses:
    """Bring courses to one length, by the mean of the last two blocks of each.

    Parameters
    ----------
    courses : each (b,) of its own length, at least 1
    blocks : the length; that of the longest if not given, which none may exceed

    Raises
    ------
    DataError
        A course is empty, or longer than `blocks`.
    """
    vectors = [vector_of(course, "each course") for course in courses]
    lengths = [len(vector) for vector in vectors]
    length = max(lengths, default=0) if blocks is None else blocks
    if min(lengths, default=1) < 1 or max(lengths, default=0) > length:
        raise DataError(f"courses must have 1 to {length} blocks; got {sorted(set(lengths))}")
    shown = np.arange(length) < np.array(lengths, dtype=np.int64)[:, None]
    values = np.empty((len(vectors), length))
    for row, vector in zip(values, vectors, strict=True):
        row[: len(vector)] = vector
        row[len(vector) :] = vector[-2:].mean()
    return PaddedCourses(values, shown.reshape(values.shape))


def baseline_steps(
    baseline: ArrayLike, *, robust_sds: float = ROBUST_SDS, sd: BaselineSd = "steps"
) -> BaselineSteps:
    """Find jumps of a session's baseline.

    A step is a jump where it is larger than `robust_sds` robust standard deviations of all
    steps, which a jump itself hardly moves. The paper named six sessions by hand instead. Of
    sessions of 30 blocks whose baseline is white noise, one in seven has a step beyond 3. With
    ``sd="levels"``, of the block means: a step of such noise is 1.4 times as wide as they are,
    so five sessions in eight have one beyond 3, and a baseline that drifts hides its jumps.

    Parameters
    ----------
    baseline : (b,) mean rate before the response, of each block of both threads, spikes/s
    robust_sds : a larger step is a jump
    sd : whose robust sd
    """
    check_choice(sd, BaselineSd, "sd")
    rates = vector_of(baseline, "baseline")
    steps = np.diff(rates)
    none = np.zeros(0, dtype=np.int64)
    if len(steps) < 3 or not np.isfinite(steps).all():
        finite = int(np.isfinite(rates).sum())
        reason = f"{finite} of {len(rates)} blocks have a baseline; four and all are needed"
        return BaselineSteps(steps, float("nan"), none, robust_sds, reason)
    spread = np.abs(steps) if sd == "steps" else np.abs(rates - np.median(rates))
    robust_sd = _MAD_TO_SD * float(np.median(spread))
    jumps = np.flatnonzero(np.abs(steps) > robust_sds * robust_sd) + 1
    return BaselineSteps(steps, robust_sd, jumps.astype(np.int64), robust_sds)


def validity(
    spaces: tuple[str, str],
    baseline: ArrayLike,
    *,
    fewest_blocks: int = FEWEST_BLOCKS,
    robust_sds: float = ROBUST_SDS,
    baseline_sd: BaselineSd = "steps",
    wanted: tuple[str, str] = ("fc6", "BigGAN"),
) -> Validity:
    """Say whether a session counts in comparisons of two generators.

    Parameters
    ----------
    spaces : names of the two threads' latent spaces
    baseline : (b,) as `baseline_steps` takes it
    fewest_blocks : of the session
    robust_sds : a larger step of the baseline is a jump
    baseline_sd : whose robust sd, as in `baseline_steps`
    wanted : the first thread's space, and how the second's begins (``BigGAN_class`` is one)
    """
    reasons: list[str] = []
    if spaces[0] != wanted[0] or not spaces[1].startswith(wanted[1]):
        reasons.append(f"threads are {spaces[0]} and {spaces[1]}, not {' and '.join(wanted)}")
    blocks = len(vector_of(baseline, "baseline"))
    if blocks < fewest_blocks:
        reasons.append(f"{blocks} blocks; {fewest_blocks} are needed")
    steps = baseline_steps(baseline, robust_sds=robust_sds, sd=baseline_sd)
    if steps.reason:
        reasons.append(steps.reason)
    elif not steps.stable:
        where = ", ".join(str(block) for block in steps.jumps)
        reasons.append(f"the baseline jumps before block {where}")
    return Validity(tuple(reasons))


def normaliser(*means: ArrayLike) -> Quantity:
    """Return the one number that a session's rates are divided by: its highest block mean.

    The same number divides its PSTHs and every window's trajectory.

    Parameters
    ----------
    *means : of each thread, (b,) block means, spikes/s; NaN is left out
    """
    rates = np.concatenate([vector_of(mean, "means") for mean in means] or [np.zeros(0)])
    rates = rates[np.isfinite(rates)]
    if not len(rates):
        return Quantity.undefined("no block has a mean")
    highest = float(rates.max())
    if highest <= 0:
        return Quantity.undefined(f"the highest block mean is {highest:g}, not above 0")
    return Quantity(highest)


def population_mean(values: ArrayLike, *, error: PopulationError = "sample") -> Trajectory:
    """Return the mean over experiments and its standard error, of each column.

    Parameters
    ----------
    values : (e, k); NaN is left out
    error : "paper" has n in the variance, which is 13 % too small for four experiments

    Returns
    -------
    Trajectory of k columns; `sem` is NaN where there are fewer than two values
    """
    check_choice(error, PopulationError, "error")
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"values must have shape (experiments, k); got {table.shape}")
    filled = np.isfinite(table)
    n = filled.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the NaN that is promised
        mean = np.where(filled, table, 0).sum(axis=0) / n
        squares = np.where(filled, (table - mean) ** 2, 0).sum(axis=0)
        variance = squares / (n if error == "paper" else n - 1)
        sem = np.where(n > 1, np.sqrt(variance / n), np.nan)
    return Trajectory(mean, sem, n.astype(np.int64))
