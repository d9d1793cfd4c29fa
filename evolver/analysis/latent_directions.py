"""What latents say of attributes: scores along directions, true against decoded.

Directions are boundaries that others have learnt (gender, age, glasses, pose, smile: HYPER),
those that a generator's own first weights hold (SeFa), or the difference of two groups' means
(VanRullen & Reddy). A score of a direction is w . n, n of length 1.

SeFa: Shen & Zhou, CVPR 2021. Its public code leaves the eigenvalues unsorted; here they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.latent_metrics import (
    SETS,
    RandomSets,
    against_random,
    columns_r,
    latent_pair,
)
from evolver.analysis.quantities import Quantity, finite_table, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.decoding import GLMDecoder
    from evolver.types import Codes, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class SefaDirections:
    """Directions of a latent space that move a generator's first weights the most.

    Attributes
    ----------
    directions : (d, k) float64, columns of length 1, the strongest first
    strengths : (k,) float64, eigenvalues, descending
    """

    directions: Matrix
    strengths: Vector


@dataclass(frozen=True, slots=True, eq=False)
class AttributeScores:
    """Scores of images along directions, true and decoded.

    Attributes
    ----------
    true, decoded : (n, k) float64
    r : (k,) float64, Pearson's over images; NaN where a score is the same for all images
    """

    true: Matrix
    decoded: Matrix
    r: Vector

    @property
    def best(self) -> NDArray[np.intp]:
        """Directions, the highest r first; those without one are left out."""
        order = np.argsort(-self.r, kind="stable")
        return order[np.isfinite(self.r[order])]


@dataclass(frozen=True, slots=True, eq=False)
class GroupAxis:
    """The axis from one group's mean latent to another's.

    Attributes
    ----------
    axis : (d,) float64, mean of the second group less that of the first
    centre : (d,) float64, mean latent of all
    reason : str, why there is none; empty where there is
    """

    axis: Vector
    centre: Vector
    reason: str = ""

    def scores(self, latents: ArrayLike) -> Vector:
        """Return (x - centre) . axis of latents, (n, d); above 0 is the second group's side."""
        return (finite_table(latents, "latents") - self.centre) @ self.axis


@dataclass(frozen=True, slots=True, eq=False)
class ActivationMap:
    """What each channel does when a latent moves along an axis.

    Attributes
    ----------
    activation : (c,) float64, g W: change of each channel's response
    t : (c,) float64, that over its standard error of the model's residual; NaN where a channel
        has no residual
    """

    activation: Vector
    t: Vector


def unit_normals(normals: ArrayLike) -> Matrix:
    """Return directions, one a row or a single one, (k, d), as columns of length 1, (d, k)."""
    table = finite_table(np.atleast_2d(np.asarray(normals, dtype=np.float64)), "normals")
    lengths = np.linalg.norm(table, axis=1)
    if not table.size or not (lengths > 0).all():
        raise DataError(f"normals must be one or more, none of them 0; got {table.shape}")
    return (table / lengths[:, None]).T


def attribute_scores(
    true: ArrayLike, decoded: ArrayLike, directions: ArrayLike
) -> AttributeScores:
    """Score images along directions, and correlate true with decoded scores.

    Parameters
    ----------
    true, decoded : (n, d)
    directions : (d, k), columns of length 1: `unit_normals`, `SefaDirections.directions`
    """
    x, found = latent_pair(true, decoded)
    axes = _directions(directions, x.shape[1])
    scores, decoded_scores = x @ axes, found @ axes
    return AttributeScores(scores, decoded_scores, columns_r(scores, decoded_scores))


def attribute_shuffle(
    scores: AttributeScores, *, rng: np.random.Generator, shuffles: int = SETS
) -> RandomSets:
    """Return p of each direction's r, and p of the best of all, decoded latents dealt anew.

    The best of 512 directions is not one test: `RandomSets.p_best` is of the largest r of each
    deal.

    Parameters
    ----------
    scores : of `attribute_scores`
    rng : of the deals of images
    shuffles : of them
    """
    if shuffles < 1:
        raise DataError(f"shuffles must be 1 or more; got {shuffles}")
    n = len(scores.true)
    random = [
        columns_r(scores.true, scores.decoded[rng.permutation(n)]) for _ in range(shuffles)
    ]
    return against_random(scores.r, random)


def sefa_directions(weights: Sequence[ArrayLike], *, most: int | None = None) -> SefaDirections:
    """Return the directions of SeFa: eigenvectors of A A', of columns of length 1.

    Parameters
    ----------
    weights : A, stacked along its columns: each (d, out), the latent axis first, of a style
        layer. Of PGGAN: the first layer's, flipped in space, its other axes flattened
    most : directions; all d if not given

    Raises
    ------
    DataError
        A weight is of another d, or all are 0.
    """
    tables = [finite_table(weight, "weights") for weight in weights]
    if not tables or len({len(table) for table in tables}) != 1 or not tables[0].size:
        raise DataError(
            f"weights must be (d, out), one d, one or more; got {[t.shape for t in tables]}"
        )
    a = np.concatenate(tables, axis=1)
    d = len(a)
    if most is not None and not 1 <= most <= d:
        raise DataError(f"most must be 1 to {d}; got {most}")
    lengths = np.linalg.norm(a, axis=0)
    if not lengths.any():
        raise DataError("weights must not all be 0")
    a = a / np.where(lengths > 0, lengths, 1)
    strengths, vectors = np.linalg.eigh(a @ a.T)
    kept = slice(None) if most is None else slice(most)
    return SefaDirections(vectors[:, ::-1][:, kept], strengths[::-1][kept])


def group_axis(latents: ArrayLike, group: ArrayLike) -> GroupAxis:
    """Return the axis between two groups of images, such as male and female faces.

    Parameters
    ----------
    latents : (n, d) of training images
    group : (n,) bool, True for the second group
    """
    x = finite_table(latents, "latents")
    second = np.asarray(group)
    if second.dtype != np.bool_ or second.shape != (len(x),):
        raise DataError(f"group must be ({len(x)},) of bool; got {second.dtype} {second.shape}")
    if second.all() or not second.any():
        nothing = np.full(x.shape[1], np.nan)
        return GroupAxis(nothing, nothing, "all images are of one group")
    axis = x[second].mean(axis=0) - x[~second].mean(axis=0)
    return GroupAxis(axis, x.mean(axis=0))


def classified(axis: GroupAxis, latents: ArrayLike, group: ArrayLike) -> Quantity:
    """Return the share of images whose score lies on their group's side.

    Parameters
    ----------
    axis : of training images
    latents : (n, d), decoded
    group : (n,) bool, as `group_axis` takes it; a score of 0 counts as half
    """
    second = np.asarray(group)
    if axis.reason:
        return Quantity.undefined(axis.reason)
    scores = axis.scores(latents)
    if second.dtype != np.bool_ or second.shape != scores.shape or not len(scores):
        raise DataError(f"group must be ({len(scores)},) of bool, one or more")
    right = np.where(second, scores > 0, scores < 0)
    return Quantity(float((right + 0.5 * (scores == 0)).mean()))


def activation_map(decoder: GLMDecoder, axis: ArrayLike) -> ActivationMap:
    """Return g W, what each channel does along a latent axis, with its t.

    Parameters
    ----------
    decoder : of `InvertedGLM`
    axis : (d,), as of `group_axis`
    """
    g = vector_of(axis, "axis")
    if g.shape != (len(decoder.latent_weights),) or not np.isfinite(g).all():
        raise DataError(f"axis must be finite, ({len(decoder.latent_weights)},); got {g.shape}")
    activation = g @ decoder.latent_weights
    error = np.sqrt(decoder.residual_variance * float(g @ decoder.latent_covariance @ g))
    t = np.divide(activation, error, out=np.full(len(error), np.nan), where=error > 0)
    return ActivationMap(activation, t)


def _directions(directions: ArrayLike, d: int) -> Codes:
    axes = finite_table(directions, "directions")
    if len(axes) != d or not axes.size or not np.allclose(np.linalg.norm(axes, axis=0), 1):
        raise DataError(
            f"directions must be ({d}, k), columns of length 1, as `unit_normals` makes them; "
            f"got {axes.shape}"
        )
    return axes
