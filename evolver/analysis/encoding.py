"""Encoding: what neurons answer to images, as a ridge regression on the images' features.

There are more features than images, so the regression is one of kernels, K = Phi Phi'
(Saunders, Gammerman & Vovk 1998, ICML). How much it smooths is said in degrees of freedom,
dof(l) = sum s / (s + l) over the eigenvalues s of K (Hastie, Tibshirani & Friedman 2009, eq.
3.50), of which a few are offered, evenly spaced; the penalty that has each is found by Newton's
method. One penalty a group of responses (an area), chosen by leaving out tenths of the images,
or by generalised cross-validation (Golub, Heath & Wahba 1979). As published by Güçlü & van
Gerven 2015 (J. Neurosci. 35, 10005), whose code pairs each penalty with the degrees of freedom
of the one before: `choice="paper"`.

Our own beside scikit-learn's ``KernelRidge``, which has neither degrees of freedom nor
generalised cross-validation: of more features than images both give the same numbers; of fewer,
where a penalty of 0 is offered, its kernel is singular and its numbers are others, in 11 times
the time (``benchmarks/decoding.py``).

How good predictions are, and which layer a unit is most like, say `encoding_scores` and
`assign_layers` of `layer_assignment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from evolver.analysis.quantities import check_choice
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Vector

PenaltyChoice: TypeAlias = Literal["cv", "gcv", "paper"]
"""Images left out; generalised cross-validation; that with the published pairing."""
DOF_TOLERANCE = 1e-10
"""Degrees of freedom by which Newton's method may miss."""
_STEPS = 500  # of Newton's method, which takes about ten
_COLUMNS = 4096  # features that are multiplied at once: no second copy of all of them


@dataclass(frozen=True, slots=True, eq=False)
class KernelRidgeFit:
    """Responses as a linear map of features, with a penalty a group.

    Attributes
    ----------
    weights : (k, m): y = (features - feature_mean) weights + response_mean
    feature_mean : (k,), response_mean : (m,); zeros where nothing was centred
    groups : the groups of responses, in the order of their first
    penalty : (g,) lambda of each
    dof : (g,) its effective degrees of freedom
    offered : (l,) penalties that were on offer
    offered_dof : (l,) the degrees of freedom that they were offered for
    errors : (g, l) what each group's choice went by, as a share of the responses' variance;
        infinite where a penalty leaves nothing to judge it by
    """

    weights: Matrix
    feature_mean: Vector
    response_mean: Vector
    groups: tuple[Hashable, ...]
    penalty: Vector
    dof: Vector
    offered: Vector
    offered_dof: Vector
    errors: Matrix

    def predict(self, features: ArrayLike) -> Matrix:
        """Return responses, (n, m), to features, (n, k)."""
        phi = _checked(features, "features")
        if phi.shape[1] != len(self.weights):
            raise DataError(f"features must be (n, {len(self.weights)}); got {phi.shape}")
        out = np.tile(self.response_mean, (len(phi), 1))
        for columns, part in _parts(phi, self.feature_mean):
            out += part @ self.weights[columns]
        return out


@dataclass(frozen=True, slots=True, eq=False)
class KernelRidge:
    """Kernel ridge regression whose penalties are offered by effective degrees of freedom.

    Parameters
    ----------
    candidates : M; degrees of freedom are linspace(n, 1, M) without the first, which smooths
        nothing
    choice : "cv", `folds` parts of the images left out in turn, the default; "gcv"; "paper"
    folds : parts of the images, 10 as published
    centre : whether a constant is fitted beside the features, without a penalty. Published:
        False, with responses z-scored
    """

    candidates: int = 5
    choice: PenaltyChoice = "cv"
    folds: int = 10
    centre: bool = True

    def __post_init__(self) -> None:
        """Raise `DataError` where a setting is out of its bounds."""
        check_choice(self.choice, PenaltyChoice, "choice")
        if self.candidates < 2 or self.folds < 2:
            raise DataError(
                "candidates and folds must be 2 or more; got "
                f"{self.candidates} and {self.folds}"
            )

    def fit(
        self,
        features: ArrayLike,
        responses: ArrayLike,
        *,
        groups: Sequence[Hashable] | None = None,
        rng: np.random.Generator | None = None,
    ) -> KernelRidgeFit:
        """Fit responses to images by the images' features.

        Parameters
        ----------
        features : (n, k), finite; float32 stays what it is, products are float64
        responses : (n, m), finite, n images at least 3 and as many as `folds`
        groups : (m,) the area of each response, whose responses share a penalty; one group of
            all when None
        rng : deals images to folds; needed where the choice is "cv"

        Raises
        ------
        DataError
            The arrays do not fit, or are not finite.
        """
        phi, y = _checked(features, "features"), _checked(responses, "responses")
        y = y.astype(np.float64)
        least = max(3, self.folds if self.choice == "cv" else 0)
        if len(phi) != len(y) or len(y) < least:
            raise DataError(
                f"features and responses must be of the same images, {least} at least; got "
                f"{len(phi)} and {len(y)}"
            )
        members = _members(groups, y.shape[1])
        zero = np.zeros(phi.shape[1])
        mean = phi.mean(axis=0, dtype=np.float64) if self.centre else zero
        y_mean = y.mean(axis=0) if self.centre else np.zeros(y.shape[1])
        kernel = np.zeros((len(phi), len(phi)))
        for _, part in _parts(phi, mean):
            kernel += part @ part.T
        spectrum = _Spectrum.of(kernel)
        offered_dof = np.linspace(len(phi), 1, self.candidates)[1:]
        offered = penalties_of(spectrum.values, offered_dof)
        if self.choice == "cv":
            if rng is None:
                raise DataError("rng must be given, by which images are dealt to folds")
            folds = np.array_split(rng.permutation(len(y)), self.folds)
            each = _left_out(kernel, y, offered, folds, centre=self.centre)
        else:
            published = self.choice == "paper"
            each = _generalised(
                spectrum, y - y_mean, offered, offered_dof, self.centre, published
            )
        errors = _shares(each, y, members)
        chosen = errors.argmin(axis=1)
        dual = np.empty_like(y)
        for columns, at in zip(members.values(), chosen.tolist(), strict=True):
            dual[:, columns] = spectrum.dual((y - y_mean)[:, columns], float(offered[at]))
        weights = np.empty((phi.shape[1], y.shape[1]))
        for columns, part in _parts(phi, mean):
            weights[columns] = part.T @ dual
        penalty = offered[chosen]
        dof = np.array([effective_dof(spectrum.values, p) for p in penalty])
        return KernelRidgeFit(
            weights, mean, y_mean, tuple(members), penalty, dof, offered, offered_dof, errors
        )


def effective_dof(eigenvalues: ArrayLike, penalty: float) -> float:
    """Return dof = sum s / (s + penalty) over eigenvalues s, of which 0 counts nothing."""
    s = _above_rounding(np.asarray(eigenvalues, dtype=np.float64))
    return float((s / (s + penalty)).sum())


def penalties_of(eigenvalues: ArrayLike, dofs: ArrayLike) -> Vector:
    """Return the penalty that has each of some degrees of freedom, (l,), by Newton's method.

    Newton's method from max(the penalty before, (r / dof - 1) / mean(1 / s)), r eigenvalues s
    above 0: by Jensen's inequality that is no larger than the solution, and dof is convex and
    falls, so that steps go up to the solution and never beyond it.

    Parameters
    ----------
    eigenvalues : (n,) of the kernel, >= 0; what is 0 but for rounding counts nothing
    dofs : (l,) above 0, falling

    Returns
    -------
    ndarray : (l,), >= 0; 0 where even no penalty leaves fewer degrees of freedom

    Raises
    ------
    DataError
        Degrees of freedom do not fall, or are not above 0; or all eigenvalues are 0.
    """
    s = _above_rounding(np.asarray(eigenvalues, dtype=np.float64))
    wanted = np.asarray(dofs, dtype=np.float64)
    if not (wanted > 0).all() or not (np.diff(wanted) < 0).all():
        raise DataError(f"degrees of freedom must be above 0, and fall; got {wanted.tolist()}")
    if not len(s):
        raise DataError("features must differ between images; they are all the same")
    found, penalty = np.zeros(len(wanted)), 0.0
    for i, dof in enumerate(wanted):
        penalty = max(penalty, (len(s) / dof - 1) / float((1 / s).mean()))
        for _ in range(_STEPS if dof < len(s) else 0):
            over = float((s / (s + penalty)).sum()) - dof
            if abs(over) <= DOF_TOLERANCE:
                break
            penalty = max(0.0, penalty + over / float((s / (s + penalty) ** 2).sum()))
        found[i] = penalty
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Spectrum:
    """A kernel's eigenvalues above rounding, and their vectors."""

    values: Vector
    vectors: Matrix  # (n, r)

    @classmethod
    def of(cls, kernel: Matrix) -> _Spectrum:
        """Return that of a symmetric kernel."""
        values, vectors = np.linalg.eigh(kernel)
        kept = values > _least(values)
        return cls(values[kept], vectors[:, kept])

    def dual(self, y: Matrix, penalty: float) -> Matrix:
        """Return (K + penalty)^-1 y, (n, m); of what K does not have, nothing."""
        return self.vectors @ ((self.vectors.T @ y) / (self.values + penalty)[:, None])

    def fitted(self, y: Matrix, penalty: float) -> Matrix:
        """Return K (K + penalty)^-1 y, (n, m)."""
        shrink = self.values / (self.values + penalty)
        return self.vectors @ ((self.vectors.T @ y) * shrink[:, None])


def _left_out(
    kernel: Matrix, y: Matrix, offered: Vector, folds: list[NDArray[np.intp]], *, centre: bool
) -> Matrix:
    """Return the sum of squared errors of images left out, (l, m)."""
    errors = np.zeros((len(offered), y.shape[1]))
    for test in folds:
        train = np.setdiff1d(np.arange(len(y)), test)
        inner, across = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
        mean = np.zeros(y.shape[1])
        if centre:  # features by those of the training images alone
            by_image = inner.mean(axis=0)
            across = across - across.mean(axis=1, keepdims=True) - by_image + by_image.mean()
            inner = inner - by_image - by_image[:, None] + by_image.mean()
            mean = y[train].mean(axis=0)
        spectrum = _Spectrum.of(inner)
        for i, penalty in enumerate(offered):
            guess = across @ spectrum.dual(y[train] - mean, penalty) + mean
            errors[i] += ((y[test] - guess) ** 2).sum(axis=0)
    return errors


def _generalised(
    spectrum: _Spectrum,
    y: Matrix,
    offered: Vector,
    offered_dof: Vector,
    centre: bool,  # noqa: FBT001
    published: bool,  # noqa: FBT001
) -> Matrix:
    """Return sum ((y - fit) / (1 - dof / n))^2, (l, m); a constant is a degree of freedom."""
    n = len(y)
    dofs = np.array([effective_dof(spectrum.values, penalty) + centre for penalty in offered])
    if published:  # that of the penalty before; the first is paired with n, and never chosen
        dofs = np.concatenate([[n], offered_dof[:-1]])
    errors = np.full((len(offered), y.shape[1]), np.inf)
    for i, penalty in enumerate(offered):
        left = 1 - dofs[i] / n
        if left > DOF_TOLERANCE:
            errors[i] = (((y - spectrum.fitted(y, penalty)) / left) ** 2).sum(axis=0)
    return errors


def _shares(each: Matrix, y: Matrix, members: dict[Hashable, NDArray[np.intp]]) -> Matrix:
    """Return errors by group, (g, l), each response's as a share of its variance."""
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    varies = total > 0
    shares = np.zeros((len(members), len(each)))
    for g, columns in enumerate(members.values()):
        used = columns[varies[columns]]
        if len(used):
            shares[g] = (each[:, used] / total[used]).mean(axis=1)
    return shares


def _members(groups: Sequence[Hashable] | None, m: int) -> dict[Hashable, NDArray[np.intp]]:
    """Return the columns of each group, in the order of their first."""
    labels: Sequence[Hashable] = ["all"] * m if groups is None else list(groups)
    if len(labels) != m:
        raise DataError(f"each response must have a group; got {len(labels)} of {m}")
    members: dict[Hashable, list[int]] = {}
    for column, label in enumerate(labels):
        members.setdefault(label, []).append(column)
    return {label: np.array(columns) for label, columns in members.items()}


def _parts(phi: NDArray[Any], mean: Vector) -> Iterator[tuple[slice, Matrix]]:
    """Yield features less their mean, some columns at a time."""
    for first in range(0, phi.shape[1], _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        yield columns, phi[:, columns].astype(np.float64) - mean[columns]


def _least(eigenvalues: Vector) -> float:
    """Return what an eigenvalue is above, if it is not 0 but for rounding."""
    if not len(eigenvalues):
        return 0.0
    return max(float(eigenvalues.max()), 0.0) * len(eigenvalues) * np.finfo(np.float64).eps


def _above_rounding(eigenvalues: Vector) -> Vector:
    return eigenvalues[eigenvalues > _least(eigenvalues)]


def _checked(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return a finite table, float32 as it is and all else as float64."""
    table = np.asarray(values)
    if table.dtype != np.float32:
        table = table.astype(np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise DataError(f"{name} must be finite, with two dimensions; got {table.shape}")
    return table
