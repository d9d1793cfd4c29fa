"""Where in images a unit looks: its responses, correlated with each feature of a network.

Of all images of a session: Pearson's r of the responses with every channel at every place of a
layer; what is beyond a threshold of t stays, times the feature's standard deviation, as a
covariance; the positive part is factored into few maps of places, each with its channels; the
maps' sum is a mask. Wang & Ponce, Nature Neuroscience 2026 (code: Animadversio's
Dynamic-Neuron-GAN-Alignment).

Above a threshold of 3 are 1 in 740 features of pure noise, in a layer of 16,000 about 22, and
a mask is always as high as 1: so the positive part's mass is compared with that of responses
dealt anew to images (`p`). That test takes images for exchangeable: responses that drift for
other reasons, as by an electrode that moves, while images change over a session, are no such
noise, and pass.

Knows arrays: features are handed in, a part of the images at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from scipy import special

from evolver.analysis.image_similarity import zoomed_mask
from evolver.analysis.nonnegative_factors import nonnegative_factors
from evolver.analysis.quantities import Quantity, check_choice, vector_of
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from evolver.types import Matrix, Vector

FEWEST_IMAGES = 10
"""With a response; of fewer nothing is said."""
FACTORS, THRESHOLD, BORDER = 3, 3.0, 1
"""As published."""
MOST_SHUFFLES = 10_000
_AT_ONCE = 8 << 20  # numbers of an array that is not in parts
_ROUNDING = 1e-12  # of a feature's mean: what is left of the spread of one that is constant

_functions = cast("Any", special)  # its functions leave their arguments open

MapScale: TypeAlias = Literal["unit", "paper"]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureAttribution:
    """What of a layer a unit's responses go with; c channels, h rows and w columns of places.

    Attributes
    ----------
    n : int, images with a response
    r : (c, h, w) Pearson's; NaN of features that do not vary
    positive, negative : (c, h, w) covariances over the responses' standard deviation, r times
        the feature's, in the feature's unit: above 0 where t is beyond the threshold on that
        side, else 0, as on the border
    tested : int, features that vary, off the border
    beyond : int, how many of them are in `positive`
    chance : float, how many would be, were all pure noise
    p : share of dealings of the responses to images whose positive part is as heavy; NaN
        where none were made
    maps : (h, w, k) of the factors
    channels : (c, k) of the factors, each of length 1, or as the factoring leaves them
    explained : float, of the positive part's squares, how much the factors are
    mask : (h, w) sum of the maps, over its largest
    reason : str, why there is no mask: empty where there is one, and else maps, channels and
        mask are NaN
    """

    n: int
    r: NDArray[np.float64]
    positive: NDArray[np.float64]
    negative: NDArray[np.float64]
    tested: int
    beyond: int
    chance: float
    p: float
    maps: NDArray[np.float64]
    channels: Matrix
    explained: float
    mask: Matrix
    reason: str = ""

    @property
    def area(self) -> Quantity:
        """Which share of the layer the mask is, its mean."""
        if self.reason:
            return Quantity.undefined(self.reason)
        return Quantity(float(self.mask.mean()))


def feature_attribution(
    features: NDArray[Any] | Iterable[NDArray[Any]],
    responses: ArrayLike,
    *,
    threshold: float = THRESHOLD,
    border: int = BORDER,
    factors: int = FACTORS,
    map_scale: MapScale = "unit",
    shuffles: int = 99,
    rng: np.random.Generator | None = None,
) -> FeatureAttribution:
    """Find where in a layer a unit looks.

    Features are gone through once, and no more than a part of them, the sums over it, and a
    number for each feature and shuffle are held at a time.

    Parameters
    ----------
    features : (n, c, h, w) of every image; or an iterable of parts of it, (any, c, h, w) each,
        in the order of the responses
    responses : (n,) one an image; NaN leaves an image out
    threshold : of t, above 0
    border : cells at the layer's edge that are left out, as they see what is padded
    factors : of the positive part
    map_scale : how a factor's size is divided between its map and its channels, which nothing
        in the factoring determines: "unit", channels have length 1; "paper", as the descent
        happens to leave it
    shuffles : dealings of responses to images; 0: none, and no `p`
    rng : of the shuffles; seed 0 if not given

    Returns
    -------
    FeatureAttribution, whose `reason` says where there is nothing

    Raises
    ------
    DataError
        Features are not of one shape or not finite, are more or fewer than the responses, or a
        setting is out of its range.
    """
    y = vector_of(responses, "responses")
    check_choice(map_scale, MapScale, "map_scale")
    if not threshold > 0 or border < 0 or factors < 1 or not 0 <= shuffles <= MOST_SHUFFLES:
        raise DataError(
            "threshold must be above 0, border 0 or more, factors 1 or more and shuffles 0 to "
            f"{MOST_SHUFFLES}; got {threshold}, {border}, {factors} and {shuffles}"
        )
    used = np.isfinite(y)
    n = int(used.sum())
    centred = np.zeros((1 + shuffles, n))
    if n:
        centred[0] = y[used] - y[used].mean()
    random = np.random.default_rng(0) if rng is None else rng
    for row in centred[1:]:
        row[:] = random.permutation(centred[0])
    sums = _summed(features, used, centred)
    inside = _inside(sums.shape, border)
    bare = _bare(sums, n, inside, factors)
    spread = float(np.sqrt((centred[0] ** 2).sum()))
    reason = _no_correlation(n, y[used], inside, bare.tested)
    if reason:
        return replace(bare, reason=reason)
    r = sums.correlation(0, spread)
    cut = _least_r(threshold, n)
    kept = inside & sums.varies
    sd = np.sqrt(sums.squares / n)
    positive = np.where(kept & (r > cut), r * sd, 0.0)
    negative = np.where(kept & (r < -cut), -r * sd, 0.0)
    beyond = int((positive > 0).sum())
    measured = replace(
        bare,
        r=r,
        positive=positive,
        negative=negative,
        beyond=beyond,
        chance=bare.tested * float(_functions.stdtr(n - 2, -threshold)),
        p=_p(sums, spread, cut, np.where(kept, sd, 0.0), float(positive.sum())),
    )
    if not beyond:
        return replace(
            measured, reason=f"no feature's t is above {threshold:g}: none rises with responses"
        )
    return _factored(measured, factors, map_scale)


def mask_cosine(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the cosine of two masks' angle, (h, w) each."""
    a, b = _masks(first, second)
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if lengths == 0:
        return Quantity.undefined("a mask is zero everywhere")
    return Quantity(float((a * b).sum()) / lengths)


def soft_iou(first: ArrayLike, second: ArrayLike) -> Quantity:
    """Return the sum of two masks' smaller values over that of the larger, (h, w) each.

    Each mask is divided by its largest value first.
    """
    a, b = _masks(first, second)
    if not (a.any() and b.any()):
        return Quantity.undefined("a mask is zero everywhere")
    a, b = a / a.max(), b / b.max()
    return Quantity(float(np.minimum(a, b).sum() / np.maximum(a, b).sum()))


def mass_inside(mask: ArrayLike, region: ArrayLike) -> Quantity:
    """Return which share of a mask lies in a region, (h, w) each, the region 0 to 1."""
    a, b = _masks(mask, region)
    if not a.any():
        return Quantity.undefined("the mask is zero everywhere")
    return Quantity(float((a * b).sum() / a.sum()))


def alpha_image(
    image: ArrayLike,
    mask: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
) -> NDArray[np.uint8]:
    """Return an image whose opacity is the mask, (height, width, 4) uint8: a PNG's RGBA.

    Parameters
    ----------
    image : (height, width, 3) uint8
    mask : (h, w) in 0 to 1, of a layer
    rows, columns : (h,) and (w,) where the cells' centres are; see `zoomed_mask`
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise DataError(f"image must be (h, w, 3) uint8; got {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    alpha = zoomed_mask(mask, height, width, rows=rows, columns=columns)
    opaque = np.rint(255 * np.clip(alpha, 0, 1)).astype(np.uint8)
    return np.concatenate([pixels, opaque[..., None]], axis=2)


class _Sums:
    """Of every feature, over images that have come: mean, squares about it, products with y."""

    def __init__(self, shape: tuple[int, int, int], products: int) -> None:
        self.shape = shape
        self.n = 0
        self.mean = np.zeros(shape)
        self.squares = np.zeros(shape)  # about the mean
        # Of y as it is, exact; of shuffles, which are only compared, in half the room.
        self.first = np.zeros(shape)
        self.others = np.zeros((products - 1, *shape), dtype=np.float32)
        self._origin = np.zeros(shape)

    def add(self, part: NDArray[np.float64], centred: Matrix) -> None:
        """Add images, (k, c, h, w), and what is left of responses without their mean, (p, k).

        Chan, Golub & LeVeque 1983 (Am. Stat. 37, 242).
        """
        k = len(part)
        if not k:
            return
        mean = part.mean(axis=0)
        if not self.n:
            self._origin = mean
        away = mean - self.mean
        total = self.n + k
        self.squares += ((part - mean) ** 2).sum(axis=0)
        self.squares += away**2 * (self.n * k / total)
        self.mean += away * (k / total)
        self.n = total
        # Responses add up to 0, so products are the same about any origin; about one that is
        # near the mean they keep their digits.
        flat = (part - self._origin).reshape(k, -1)
        self.first += (centred[0] @ flat).reshape(self.shape)
        if len(centred) > 1:
            products = centred[1:].astype(np.float32) @ flat.astype(np.float32)
            self.others += products.reshape(len(centred) - 1, *self.shape)

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which features are more than the rounding of one number."""
        least = _ROUNDING * np.abs(self.mean)
        return np.sqrt(self.squares / max(self.n, 1)) > least

    def correlation(self, k: int, spread: float) -> NDArray[np.float64]:
        """Return r with y, of `k` 0, or with a shuffle of it; NaN of features without any."""
        products = self.first if k == 0 else self.others[k - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.clip(products / (np.sqrt(self.squares) * spread), -1, 1)
        return np.where(self.varies, r, np.nan)


def _summed(
    features: NDArray[Any] | Iterable[NDArray[Any]], used: NDArray[np.bool_], centred: Matrix
) -> _Sums:
    parts = _parts(features)
    sums: _Sums | None = None
    come = 0
    for part in parts:
        if part.ndim != 4 or (sums is not None and part.shape[1:] != sums.shape):
            wanted = "one shape" if sums is None else f"shape (any, {sums.shape})"
            raise DataError(
                f"features must be (n, channels, rows, columns), all of {wanted}; got "
                f"{part.shape}"
            )
        if sums is None:
            c, h, w = part.shape[1:]
            sums = _Sums((c, h, w), len(centred))
        at = slice(come, come + len(part))
        come += len(part)
        if come > len(used):
            break
        kept = part[used[at]]
        if not np.isfinite(kept).all():
            raise DataError("features must be finite; some are NaN or infinite")
        sums.add(kept, centred[:, sums.n : sums.n + len(kept)])
    if come != len(used):
        more = "more" if come > len(used) else str(come)
        raise DataError(
            f"there must be features of each of {len(used)} responses' images; there are {more}"
        )
    if sums is None:
        raise DataError("features must be of one image or more; there are none")
    return sums


def _parts(
    features: NDArray[Any] | Iterable[NDArray[Any]],
) -> Iterable[NDArray[np.float64]]:
    """Yield features some images at a time, float64."""
    if isinstance(features, np.ndarray):
        whole = np.atleast_1d(cast("NDArray[Any]", features))
        size = max(1, len(whole))
        if whole.ndim == 4:
            size = max(1, _AT_ONCE // max(math.prod(whole.shape[1:]), 1))
        features = (whole[i : i + size] for i in range(0, max(len(whole), 1), size))
    for part in features:
        yield np.asarray(part, dtype=np.float64)


def _inside(shape: tuple[int, int, int], border: int) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=bool)
    _, h, w = shape
    inside[:, border : max(h - border, border), border : max(w - border, border)] = True
    return inside


def _bare(sums: _Sums, n: int, inside: NDArray[np.bool_], factors: int) -> FeatureAttribution:
    """Return a result without any."""
    c, h, w = sums.shape
    return FeatureAttribution(
        n=n,
        r=np.full(sums.shape, nan),
        positive=np.zeros(sums.shape),
        negative=np.zeros(sums.shape),
        tested=int((inside & sums.varies).sum()) if n else 0,
        beyond=0,
        chance=nan,
        p=nan,
        maps=np.full((h, w, factors), nan),
        channels=np.full((c, factors), nan),
        explained=nan,
        mask=np.full((h, w), nan),
    )


def _no_correlation(n: int, y: Vector, inside: NDArray[np.bool_], tested: int) -> str:
    """Return why nothing can be correlated; empty where it can."""
    if n < FEWEST_IMAGES:
        return f"{n} images have a response; {FEWEST_IMAGES} are needed"
    if float(np.ptp(y)) <= _ROUNDING * float(np.abs(y).max()):
        return "all responses are the same"
    if not inside.any():
        h, w = inside.shape[1:]
        return f"the layer has {h} x {w} places, none off its border"
    if not tested:
        return "no feature varies between images"
    return ""


def _least_r(threshold: float, n: int) -> float:
    """Return the r of n pairs for which r sqrt((n - 2) / (1 - r^2)) is the threshold of t."""
    return threshold / float(np.sqrt(n - 2 + threshold**2))


def _p(sums: _Sums, spread: float, cut: float, sd: NDArray[np.float64], mass: float) -> float:
    """Return the share of dealings, this one among them, whose positive part is as heavy."""
    if not len(sums.others):
        return nan
    heavy = 1
    for k in range(len(sums.others)):
        r = sums.correlation(k + 1, spread)
        heavy += float(np.where(r > cut, r * sd, 0.0).sum()) >= mass
    return heavy / (len(sums.others) + 1)


def _factored(
    found: FeatureAttribution, factors: int, map_scale: MapScale
) -> FeatureAttribution:
    c, h, w = found.positive.shape
    parts = nonnegative_factors(found.positive.reshape(c, h * w).T, factors)
    maps, channels = parts.left, parts.right.T
    if map_scale == "unit":
        lengths = np.linalg.norm(channels, axis=0)
        maps = maps * lengths
        channels = channels / np.where(lengths > 0, lengths, 1)
    mask = maps.sum(axis=1)
    return replace(
        found,
        maps=maps.reshape(h, w, factors),
        channels=channels,
        explained=parts.explained,
        mask=(mask / mask.max()).reshape(h, w),
    )


def _masks(first: ArrayLike, second: ArrayLike) -> tuple[Matrix, Matrix]:
    a: Matrix = np.asarray(first, dtype=np.float64)
    b: Matrix = np.asarray(second, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise DataError(f"masks must be (h, w), both of one shape; got {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or min(a.min(), b.min()) < 0:
        raise DataError("masks must be finite, and none of their numbers negative")
    return a, b
