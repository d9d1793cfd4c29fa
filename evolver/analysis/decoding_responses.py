"""Responses as decoders take them: a window an area, z-scores, repeats averaged, ceilings.

Rows are presentations, (p, channels); an image may be shown more than once. What z-scores are
made of comes of training presentations alone, and is kept for the test: HYPER took each set's
own mean and sd (``statistics="paper"``), by which a test image's score depends on the others'.

Windows: Brain2GAN (Dado et al. 2024). Spearman 1910 and Brown 1910, British Journal of
Psychology 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from evolver.analysis.latent_metrics import columns_r
from evolver.analysis.quantities import check_choice, finite_table
from evolver.analysis.time_bins import window_mean
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Responses, Vector

AREA_WINDOWS_MS = {"V1": (25.0, 125.0), "V4": (50.0, 150.0), "IT": (75.0, 175.0)}
"""Half open, after onset; published for arrays in a macaque's areas."""
ScoreStatistics: TypeAlias = Literal["training", "paper"]
"""Whose mean and sd make z-scores: the training presentations', or each set's own."""
SPLITS = 100
_FEWEST_IMAGES = 3


@dataclass(frozen=True, slots=True, eq=False)
class ResponseScale:
    """What makes z-scores of responses.

    Attributes
    ----------
    mean : (c,) float64, of training presentations
    sd : (c,) float64, n in the variance; 1 for a channel that does not vary by more than
        rounding, whose score is then 0 where it is as it was
    """

    mean: Vector
    sd: Vector

    def scores(
        self, responses: ArrayLike, *, statistics: ScoreStatistics = "training"
    ) -> Responses:
        """Return z-scores, (p, c).

        Parameters
        ----------
        responses : (p, c) finite
        statistics : "paper" takes these responses' own mean and sd instead
        """
        check_choice(statistics, ScoreStatistics, "statistics")
        table = finite_table(responses, "responses")
        if table.shape[1] != len(self.mean):
            raise DataError(
                f"responses must have the {len(self.mean)} channels of the scale; got "
                f"{table.shape[1]}"
            )
        scale = self if statistics == "training" else response_scale(table)
        return (table - scale.mean) / scale.sd


@dataclass(frozen=True, slots=True, eq=False)
class RepeatMeans:
    """Responses to images, averaged over their repeats.

    Attributes
    ----------
    image : (n,) int64, ascending
    mean : (n, c) float64
    repeats : (n,) int64, presentations of each image
    """

    image: NDArray[np.int64]
    mean: Responses
    repeats: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """How far responses to repeats agree, of each channel.

    Attributes
    ----------
    half : (c,) float64, Pearson's r over images between means of two halves of the repeats,
        averaged over splits
    reliability : (c,) float64, of the mean of all repeats, by Spearman and Brown; NaN where
        `half` is, and where it is -1
    ceiling : (c,) float64, square root of it: the largest r that the mean response can have
        with anything. NaN where the reliability is not above 0
    images : int, with two repeats or more
    half_showings : float, showings that a half's mean has, harmonic mean over images
    reason : str, why no channel has one; empty where one may
    """

    half: Vector
    reliability: Vector
    ceiling: Vector
    images: int
    half_showings: float
    reason: str = ""

    def of_means(self, showings: ArrayLike) -> Vector:
        """Return the reliability, (c,), of means over other numbers of showings.

        Of images some of which were shown once, for instance: the noise of their means is that
        of so many showings as the harmonic mean of their numbers is. Images are taken to be
        like those that were shown twice.

        Parameters
        ----------
        showings : (n,) of each image, 1 or more
        """
        counts = np.asarray(showings, dtype=np.float64)
        if counts.ndim != 1 or not len(counts) or counts.min() < 1:
            raise DataError("showings must be (n,), 1 or more of each image")
        return _longer(self.half, _harmonic(counts) / self.half_showings)


def area_responses(
    psths: ArrayLike,
    areas: Sequence[str],
    *,
    windows_ms: Mapping[str, tuple[float, float]] | None = None,
    edges_ms: ArrayLike | None = None,
) -> Responses:
    """Return the mean rate of each channel in its area's window, (p, c).

    Parameters
    ----------
    psths : (p, c, t) spikes/s of presentations
    areas : (c,) the area of each channel
    windows_ms : from and to, of each area, on edges of bins; `AREA_WINDOWS_MS` if not given
    edges_ms : (t + 1,) ascending; 1-ms bins from onset if not given

    Raises
    ------
    DataError
        Arrays do not fit, or an area has no window.
    """
    rates = np.asarray(psths, dtype=np.float64)
    if rates.ndim != 3 or len(areas) != rates.shape[1]:
        raise DataError(
            f"psths must be (presentations, channels, bins), an area for each channel; got "
            f"{rates.shape} and {len(areas)} areas"
        )
    windows = AREA_WINDOWS_MS if windows_ms is None else windows_ms
    labels = np.array([str(area) for area in areas])
    responses = np.empty(rates.shape[:2])
    for area in dict.fromkeys(labels.tolist()):
        if area not in windows:
            raise DataError(f"area {area!r} has no window; windows are of {', '.join(windows)}")
        members = labels == area
        responses[:, members] = window_mean(rates[:, members], windows[area], edges_ms=edges_ms)
    return responses


def response_scale(training: ArrayLike) -> ResponseScale:
    """Return what makes z-scores, of training presentations, (p, c)."""
    from sklearn import preprocessing

    table = finite_table(training, "training responses")
    if not table.size:
        raise DataError(f"training responses must be (p, c), some of both; got {table.shape}")
    scaler = cast("Any", preprocessing).StandardScaler().fit(table)
    return ResponseScale(np.asarray(scaler.mean_), np.asarray(scaler.scale_))


def repeat_means(responses: ArrayLike, image: ArrayLike) -> RepeatMeans:
    """Average responses over the repeats of each image.

    Parameters
    ----------
    responses : (p, c) finite
    image : (p,) int, which image was shown
    """
    table, shown = _presentations(responses, image)
    order = np.argsort(shown, kind="stable")
    images, begins, repeats = np.unique(shown[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(table[order], begins, axis=0)
    return RepeatMeans(images, sums / repeats[:, None], repeats.astype(np.int64))


def split_half_reliability(
    responses: ArrayLike,
    image: ArrayLike,
    *,
    rng: np.random.Generator,
    splits: int = SPLITS,
) -> Reliability:
    """Return how far responses to repeats agree, and what no decoder or encoder can exceed.

    Each image's repeats are dealt to two halves (of an odd number one is left out), and the
    halves' means correlated over images: r. All k times as many repeats then have
    k r / (1 + (k - 1) r), 2 r / (1 + r) where their number is even; numbers that differ between
    images count by their harmonic mean, as their noise does.

    Parameters
    ----------
    responses : (p, c) finite
    image : (p,) int, which image was shown; those shown once are left out
    rng : of the deals
    splits : deals that are averaged
    """
    table, shown = _presentations(responses, image)
    if splits < 1:
        raise DataError(f"splits must be 1 or more; got {splits}")
    images, which, counts = np.unique(shown, return_inverse=True, return_counts=True)
    repeated = counts[which] > 1
    n = int((counts > 1).sum())
    if n < _FEWEST_IMAGES:
        nothing = np.full(table.shape[1], np.nan)
        reason = f"{n} of {len(images)} images were shown twice; {_FEWEST_IMAGES} are needed"
        return Reliability(nothing, nothing, nothing, n, np.nan, reason)
    table, which = table[repeated], which[repeated]
    total = np.zeros(table.shape[1])
    for _ in range(splits):
        first, second = _halves(table, which, rng)
        total += columns_r(first, second)
    half = total / splits
    repeats = counts[counts > 1]
    showings = _harmonic(repeats // 2)
    reliability = _longer(half, _harmonic(repeats) / showings)
    ceiling = np.sqrt(np.where(reliability > 0, reliability, np.nan))
    return Reliability(half, reliability, ceiling, n, showings)


def _harmonic(counts: NDArray[np.integer] | Vector) -> float:
    return 1 / float((1 / counts).mean())


def _longer(half: Vector, k: float) -> Vector:
    """Return Spearman's and Brown's reliability of k times as many showings; NaN with none."""
    below = 1 + (k - 1) * half
    return np.divide(k * half, below, out=np.full(len(half), np.nan), where=below > 0)


def _halves(
    table: Matrix, which: NDArray[np.intp], rng: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """Return means, (n, c), of two halves of each image's presentations."""
    order = rng.permutation(len(which))
    order = order[np.argsort(which[order], kind="stable")]
    _, begins, counts = np.unique(which[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(begins, counts)
    size = np.repeat(counts // 2, counts)
    starts = np.concatenate([[0], np.cumsum(counts // 2)[:-1]])
    share = (counts // 2)[:, None]
    first, second = (
        np.add.reduceat(table[order[chosen]], starts, axis=0) / share
        for chosen in (place < size, (place >= size) & (place < 2 * size))
    )
    return first, second


def _presentations(
    responses: ArrayLike, image: ArrayLike
) -> tuple[Responses, NDArray[np.int64]]:
    table, shown = finite_table(responses, "responses"), np.asarray(image)
    if shown.shape != (len(table),) or shown.dtype.kind not in "iu" or not table.size:
        raise DataError(
            f"image must be int, one for each of {len(table)} presentations; got {shown.dtype} "
            f"{shown.shape}"
        )
    return table, shown.astype(np.int64)
