"""Where in images the unit of an experiment looks: what is kept of it, for tables and pictures.

Knows arrays, `evolver.analysis.spatial_attribution`'s results and names; the networks and
generators that they are made with are `evolver.attributions`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.image_similarity import masked_image, zoomed_mask
from evolver.analysis.quantities import Quantity
from evolver.analysis.spatial_attribution import alpha_image, mask_cosine, soft_iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.analysis.image_similarity import Similarity
    from evolver.analysis.spatial_attribution import FeatureAttribution
    from evolver.types import Matrix, Vector


NOISE_P = 0.05
"""A mask with a larger p is like those of responses dealt anew."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskGrid:
    """Where the places of a layer are in an image.

    Attributes
    ----------
    layer : its name, ``NETWORK:LAYER``
    rows, columns : (h,) and (w,), their centres, as a share of the image
    """

    layer: str
    rows: Vector
    columns: Vector

    def alpha(self, image: NDArray[np.uint8], mask: Matrix) -> NDArray[np.uint8]:
        """Return an image whose opacity is a mask, (height, width, 4) uint8."""
        return alpha_image(image, mask, rows=self.rows, columns=self.columns)

    def on_grey(self, image: NDArray[np.uint8], mask: Matrix) -> NDArray[np.uint8]:
        """Return an image that is grey where a mask is 0, (height, width, 3) uint8."""
        height, width = image.shape[:2]
        alpha = self.at_size(mask, height, width)
        return np.rint(255 * masked_image(image, np.clip(alpha, 0, 1))).astype(np.uint8)

    def at_size(self, mask: Matrix, height: int, width: int) -> Matrix:
        """Return a mask at an image's size, (height, width)."""
        return zoomed_mask(mask, height, width, rows=self.rows, columns=self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class UnitMask:
    """Where a unit looks, over the images of one thread or of several.

    Attributes
    ----------
    n : int, images with a response
    mask : (h, w) in 0 to 1; NaN where there is none
    maps : (h, w, k) of the factors, whose sum it is but for its scale
    area : Quantity, which share of the layer the mask is
    tested, beyond : int, features, and how many of them go with responses
    chance : float, how many would of pure noise
    p : Quantity, of the positive part's mass among responses dealt anew
    dealings : int, how many were dealt
    explained : Quantity, of the positive part's squares, what the factors are
    """

    n: int
    mask: Matrix
    maps: NDArray[np.float64]
    area: Quantity
    tested: int
    beyond: int
    chance: float
    p: Quantity
    explained: Quantity
    dealings: int = 0

    @property
    def p_words(self) -> str:
        """Its p; as a bound where no dealing weighs as much, and whether it is like noise."""
        if not self.p.defined:
            return ""
        if self.p.value * (1 + self.dealings) < 1.5:
            return f"p \N{LESS-THAN OR EQUAL TO} {self.p.value:.2g}"
        return f"p = {self.p.value:.2g}{': like noise' if self.p.value > NOISE_P else ''}"

    @property
    def reason(self) -> str:
        """Why there is no mask; empty where there is one."""
        return self.area.reason

    @classmethod
    def of(cls, attribution: FeatureAttribution, *, dealings: int) -> UnitMask:
        """Keep of an attribution, with responses dealt so often, what is small."""
        reason = attribution.reason

        def number(value: float) -> Quantity:
            if np.isfinite(value):
                return Quantity(value)
            return Quantity.undefined(reason or "no responses were dealt anew")

        return cls(
            n=attribution.n,
            mask=attribution.mask,
            maps=attribution.maps,
            area=attribution.area,
            tested=attribution.tested,
            beyond=attribution.beyond,
            chance=attribution.chance,
            p=number(attribution.p),
            explained=number(attribution.explained),
            dealings=dealings,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ThreadLook:
    """Where the unit looks in one thread's images.

    Attributes
    ----------
    mask : of it; None where its images are not there, as `no_mask` says
    no_mask : str
    best : (height, width, 3) uint8, best image of the highest block; None where there is none
    mean_code : image of that block's mean code; None, as `no_drawing` says
    re_evolved : image that drives the weighed features farthest; None, as `no_drawing` says
    no_drawing : str, why its generator drew nothing; empty where it did
    """

    mask: UnitMask | None
    no_mask: str
    best: NDArray[np.uint8] | None
    mean_code: NDArray[np.uint8] | None
    re_evolved: NDArray[np.uint8] | None
    no_drawing: str

    @property
    def reason(self) -> str:
        """Why there is no mask; empty where there is one."""
        return self.no_mask if self.mask is None else self.mask.reason


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentLook:
    """Where the unit of an experiment looks, by each of its threads.

    Attributes
    ----------
    grid : of the masks
    threads : in the experiment's order
    pooled : over the images of all threads; None, as `no_pooled` says
    no_pooled : str
    similarity : of the first two threads' prototypes, by pixels and by the layer
    re_evolution : in what images were re-evolved: "thread", "fourier" or "none"
    """

    grid: MaskGrid
    threads: tuple[ThreadLook, ...]
    pooled: UnitMask | None
    no_pooled: str
    similarity: tuple[Similarity, ...]
    re_evolution: str = "thread"

    @property
    def re_evolved_words(self) -> str:
        """What is said of re-evolved images; empty where there are none."""
        return {
            "thread": "re-evolved in the generator",
            "fourier": "re-evolved in Fourier pixels",
        }.get(self.re_evolution, "")

    @property
    def cosine(self) -> Quantity:
        """Of the first two threads' masks."""
        pair = self._pair()
        return pair if isinstance(pair, Quantity) else mask_cosine(*pair)

    @property
    def iou(self) -> Quantity:
        """Of the first two threads' masks, soft."""
        pair = self._pair()
        return pair if isinstance(pair, Quantity) else soft_iou(*pair)

    def _pair(self) -> tuple[Matrix, Matrix] | Quantity:
        if len(self.threads) < 2:
            return Quantity.undefined("the session has one thread")
        first, second = (thread.mask for thread in self.threads[:2])
        for thread, mask in zip(self.threads, (first, second), strict=False):
            if mask is None or mask.reason:
                return Quantity.undefined(f"a thread has no mask: {thread.reason}")
        if first is None or second is None:  # said above
            return Quantity.undefined("a thread has no mask")
        return first.mask, second.mask
