"""Subjects brought into one space: hyperalignment, and the shared response model.

Subjects have seen the same trials; their channels have nothing to do with one another. Each is
turned so that its responses lie on the others', by maps that are fitted on training trials and
then kept: `fit` takes those alone, and what is to be tested goes through `transform`. Fitting
on trials that are tested later, as published, leaks; whoever wants it hands them to `fit`.

Hyperalignment: Haxby et al. 2011 (Neuron 72, 404) in the three levels of PyMVPA; regularised:
Xu et al. 2012 (IEEE SSP, 229). SRM: Chen et al. 2015 (NeurIPS 28), its deterministic form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.decoding_responses import ResponseScale, ScoreStatistics, response_scale
from evolver.analysis.latent_metrics import columns_r
from evolver.analysis.quantities import Quantity, finite_table
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from evolver.types import Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class SubjectMap:
    """One subject's way into the common space: z-scores, a turn, a scale, a shift.

    Attributes
    ----------
    scale : what makes z of responses, of the training trials
    turn : (c, k) float64: common = z turn + shift
    shift : (k,) float64
    """

    scale: ResponseScale
    turn: Matrix
    shift: Vector

    def transform(
        self, responses: ArrayLike, *, statistics: ScoreStatistics = "training"
    ) -> Matrix:
        """Return responses, (n, c), in the common space, (n, k).

        Parameters
        ----------
        responses : (n, c) finite
        statistics : "paper" z-scores these trials by their own mean and sd
        """
        return self.scale.scores(responses, statistics=statistics) @ self.turn + self.shift


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSubjects:
    """What was fitted: a map for each subject.

    Attributes
    ----------
    maps : of each subject, in the order in which they were handed in
    common : (n, k) float64, the training trials in the space that they share
    """

    maps: tuple[SubjectMap, ...]
    common: Matrix

    def transform(
        self, subjects: Sequence[ArrayLike], *, statistics: ScoreStatistics = "training"
    ) -> list[Matrix]:
        """Return each subject's responses, (n, c of its own), in the common space, (n, k).

        Parameters
        ----------
        subjects : one for each map, in that order; trials may be others for each
        statistics : "paper" z-scores each subject's trials by their own mean and sd
        """
        if len(subjects) != len(self.maps):
            raise DataError(
                f"subjects must be the {len(self.maps)} that were fitted; got {len(subjects)}"
            )
        return [
            way.transform(responses, statistics=statistics)
            for way, responses in zip(self.maps, subjects, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Hyperalignment:
    """Subjects turned onto their mean, by Procrustes, in three levels.

    Level 1 builds the common space, from the widest subject on; level 2 turns each subject
    anew, as it came, onto the mean of the others; level 3 turns each onto the last common
    space, and that map is kept. Responses are z-scored per channel, and those of subjects with
    fewer channels padded with zeros. A turn may reflect.

    Attributes
    ----------
    regularisation : alpha, 1 to 0: from turns alone to subjects that are whitened first
        (canonical correlation), by V ((1 - alpha) S^2 + alpha)^(-1/2) V'
    dimensions : of the common space, its leading singular vectors; those of the widest subject
        if not given
    repeats : of level 2
    """

    regularisation: float = 1.0
    dimensions: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.regularisation <= 1 or self.repeats < 0:
            raise DataError(
                f"regularisation must be 0 to 1, and repeats 0 or more; got "
                f"{self.regularisation} and {self.repeats}"
            )

    def fit(self, subjects: Sequence[ArrayLike]) -> AlignedSubjects:
        """Fit a map for each subject.

        Parameters
        ----------
        subjects : two or more, each (n, c of its own), finite: the same training trials

        Raises
        ------
        DataError
            There is one subject, trials differ, or `dimensions` is more than there are.
        """
        z, scales = _prepared(subjects)
        widths = [scores.shape[1] for scores in z]
        width = max(widths)
        most = min(width, len(z[0]) - 1)
        if self.dimensions is not None and not 1 <= self.dimensions <= most:
            raise DataError(
                f"dimensions must be 1 to {most}, of {width} channels and {len(z[0])} trials; "
                f"got {self.dimensions}"
            )
        white = [_whitening(scores, self.regularisation) for scores in z]
        data = [
            np.pad(scores @ w, ((0, 0), (0, width - scores.shape[1])))
            for scores, w in zip(z, white, strict=True)
        ]
        common = self._common(data, widths.index(width))
        kept = np.eye(width)
        if self.dimensions is not None:
            kept = np.linalg.svd(common, full_matrices=False)[2][: self.dimensions].T
        maps: list[SubjectMap] = []
        for points, w, scale in zip(data, white, scales, strict=True):
            turn, shift = _procrustes(points, common)
            maps.append(SubjectMap(scale, w @ turn[: len(w)] @ kept, shift @ kept))
        return AlignedSubjects(tuple(maps), common @ kept)

    def _common(self, data: list[Matrix], first: int) -> Matrix:
        """Return the common space of levels 1 and 2, (n, width), begun with the widest."""
        n = len(data)
        common = data[first]
        mapped = list(data)
        for i in range(n):
            if i != first:
                mapped[i] = _zscored(_moved(data[i], common))
                common = _zscored((common + mapped[i]) / 2)
        for _ in range(self.repeats):
            for i in range(n):
                others = _zscored((n * common - mapped[i]) / (n - 1))
                mapped[i] = _zscored(_moved(data[i], others))
            common = _zscored(np.mean(mapped, axis=0))
        return common


@dataclass(frozen=True, slots=True)
class SRM:
    """Shared response model: orthonormal turns of the subjects onto few shared responses.

    Minimises sum |z_i - S W_i'|^2 over orthonormal W_i, (c, k), and the shared S, (n, k), which
    are solved for in turn; the loss never rises. Also of subjects with few channels each.

    Attributes
    ----------
    dimensions : k, no more than the narrowest subject has channels
    iterations : int
    seed : of the W that it begins with
    """

    dimensions: int = 50
    iterations: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dimensions < 1 or self.iterations < 1:
            raise DataError(
                f"dimensions and iterations must be 1 or more; got {self.dimensions} and "
                f"{self.iterations}"
            )

    def fit(self, subjects: Sequence[ArrayLike]) -> AlignedSubjects:
        """Fit a map for each subject.

        Parameters
        ----------
        subjects : two or more, each (n, c of its own), finite: the same training trials

        Raises
        ------
        DataError
            There is one subject, trials differ, or one has fewer channels than `dimensions`.
        """
        z, scales = _prepared(subjects)
        narrowest = min(*(scores.shape[1] for scores in z), len(z[0]) - 1)
        if self.dimensions > narrowest:
            raise DataError(
                f"dimensions must be {narrowest} at most, channels of the narrowest subject "
                f"or the trials less one; got {self.dimensions}"
            )
        rng = np.random.default_rng(self.seed)
        turns = [
            np.linalg.qr(rng.standard_normal((scores.shape[1], self.dimensions)))[0]
            for scores in z
        ]
        shared = _mean_of(z, turns)
        for _ in range(self.iterations):
            turns = [_orthonormal(scores.T @ shared) for scores in z]
            shared = _mean_of(z, turns)
        nothing = np.zeros(self.dimensions)
        maps = (
            SubjectMap(scale, turn, nothing) for turn, scale in zip(turns, scales, strict=True)
        )
        return AlignedSubjects(tuple(maps), shared)


def inter_subject_correlation(aligned: Sequence[ArrayLike]) -> Quantity:
    """Return how alike subjects are in a common space: mean r over pairs and dimensions.

    Parameters
    ----------
    aligned : two or more, each (n, k), the same trials, as `transform` gives them

    Returns
    -------
    Quantity, in [-1, 1]; dimensions that are constant in a subject of a pair are left out, and
        with none left it is undefined
    """
    tables = _subjects(aligned)
    if len({table.shape[1] for table in tables}) > 1:
        raise DataError("subjects must have the same dimensions: align them first")
    correlations: list[Vector] = []
    for a, b in combinations(tables, 2):
        vary = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
        correlations.append(columns_r(a[:, vary], b[:, vary]))
    values = np.concatenate(correlations)
    if not len(values):
        return Quantity.undefined("no dimension varies in two subjects")
    return Quantity(float(values.mean()))


def _procrustes(source: Matrix, target: Matrix) -> tuple[Matrix, Vector]:
    """Return turn, scaled, and shift that bring `source`, (n, k), nearest to `target`."""
    s_mean, t_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - s_mean, target - t_mean
    s_size, t_size = float(np.linalg.norm(s)), float(np.linalg.norm(t))
    if s_size == 0 or t_size == 0:
        raise DataError(
            "a subject has the same response in all trials: there is nothing to align"
        )
    u, sizes, vt = np.linalg.svd((t / t_size).T @ (s / s_size))
    turn = (vt.T @ u.T) * (float(sizes.sum()) * t_size / s_size)
    return turn, t_mean - s_mean @ turn


def _moved(source: Matrix, target: Matrix) -> Matrix:
    turn, shift = _procrustes(source, target)
    return source @ turn + shift


def _whitening(scores: Matrix, alpha: float) -> Matrix:
    """Return what a subject's z-scores, (n, c), are multiplied with first, (c, c)."""
    if alpha == 1:
        return np.eye(scores.shape[1])
    _, s, vt = np.linalg.svd(scores, full_matrices=False)
    sizes = (1 - alpha) * s**2 + alpha
    # Without any alpha, what the subject has no responses along is left out; else it stays.
    kept = s > (s[0] if len(s) else 0) * max(scores.shape) * np.finfo(np.float64).eps
    inverse = np.where(kept, 1 / np.sqrt(np.where(kept, sizes, 1)), 0)
    return (vt.T * inverse) @ vt


def _orthonormal(matrix: Matrix) -> Matrix:
    """Return the orthonormal columns nearest to those of a matrix, (c, k), c >= k."""
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return u @ vt


def _mean_of(z: list[Matrix], turns: list[Matrix]) -> Matrix:
    return np.mean([scores @ turn for scores, turn in zip(z, turns, strict=True)], axis=0)


def _zscored(table: Matrix) -> Matrix:
    return response_scale(table).scores(table)


def _prepared(subjects: Sequence[ArrayLike]) -> tuple[list[Matrix], list[ResponseScale]]:
    """Return the z-scores of each subject, (n, c of its own), and what made them."""
    tables = _subjects(subjects)
    scales = [response_scale(table) for table in tables]
    return [scale.scores(t) for t, scale in zip(tables, scales, strict=True)], scales


def _subjects(subjects: Sequence[ArrayLike]) -> list[Matrix]:
    tables = [finite_table(table, f"subject {i}") for i, table in enumerate(subjects)]
    trials = sorted({len(table) for table in tables})
    if len(tables) < 2 or len(trials) != 1 or trials[0] < 2 or not all(t.size for t in tables):
        raise DataError(
            f"subjects must be two or more, with the same trials, two or more; got "
            f"{[table.shape for table in tables]}"
        )
    return tables
