"""Fitting encoders: images and responses to a file whose units can be evolved.

Composition: joins `scorers` (features) to `evolver.analysis` (fits and scores). Knows nothing
of recordings, figures or sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.encoding import KernelRidge
from evolver.analysis.layer_assignment import assign_layers, encoding_scores
from evolver.errors import DataError
from scorers.encoder_file import ENCODER_VERSION, EncodedLayer, EncoderFacts, UnitEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.analysis.encoding import KernelRidgeFit
    from evolver.analysis.layer_assignment import EncodingScores, LayerAssignment
    from evolver.responses import TimeWindow
    from evolver.types import Images, Matrix, Vector
    from scorers.feature_pyramid import FeaturePyramid


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredImages:
    """Images, and what units answered to each.

    Attributes
    ----------
    images : n, each (h, w, 3) uint8
    responses : (n, u), finite; the mean of an image's repeats
    """

    images: Images | Sequence[NDArray[np.uint8]]
    responses: Matrix

    def __post_init__(self) -> None:
        """Raise `DataError` unless there is a row of responses for each image."""
        if self.responses.ndim != 2 or len(self.images) != len(self.responses):
            raise DataError(
                "each image must have a row of responses; got "
                f"{len(self.images)} and {self.responses.shape}"
            )

    def rows(self, at: NDArray[np.intp]) -> AnsweredImages:
        """Return some of them."""
        return AnsweredImages([self.images[int(i)] for i in at], self.responses[at])


@dataclass(frozen=True, slots=True, eq=False)
class FittedEncoder:
    """An encoder and how well it predicts images that it was not fitted to.

    Attributes
    ----------
    encoder : each unit by the layer that predicts it best
    scores : by layer, of all units
    assignment : which layer is whose
    penalties : by layer and area
    """

    encoder: UnitEncoder
    scores: dict[str, EncodingScores]
    assignment: LayerAssignment
    penalties: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def over_ceiling(self) -> Vector:
        """Each unit's correlation over its ceiling, (u,), of its best layer; NaN without."""
        best = self.assignment.best
        by_layer = np.stack([score.over_ceiling for score in self.scores.values()])
        return np.where(best >= 0, by_layer[np.maximum(best, 0), np.arange(len(best))], np.nan)


def fit_encoder(
    pyramid: FeaturePyramid,
    train: AnsweredImages,
    test: AnsweredImages,
    *,
    labels: Sequence[str],
    rng: np.random.Generator,
    areas: Sequence[str] | None = None,
    reliability: ArrayLike | None = None,
    ridge: KernelRidge | None = None,
    quantity: str = "spikes/s",
    window_ms: TimeWindow | None = None,
    baseline_ms: TimeWindow | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> FittedEncoder:
    """Fit units' responses by each layer of a pyramid; keep each unit's best.

    The best layer is the one with the highest correlation over the test images, as published:
    of several, that correlation is a little too high for images that decided nothing.

    Parameters
    ----------
    pyramid : the layers' features
    train, test : other images, of the same units
    labels : (u,) what units are called
    rng : deals images to folds
    areas : (u,) of the units; units of an area share a penalty. One area when None
    reliability : (u,) of the test responses
    ridge : how to fit; `KernelRidge()` when None
    quantity : what responses are
    window_ms, baseline_ms : whose rate they are, and whose was taken off; None: not said
    progress : told what is being done

    Raises
    ------
    DataError
        The arrays do not fit together.
    """
    u = train.responses.shape[1]
    names = ["all"] * u if areas is None else list(areas)
    if test.responses.shape[1] != u or len(labels) != u or len(names) != u:
        raise DataError(
            f"train, test, labels and areas must be of the same units; got {u}, "
            f"{test.responses.shape[1]}, {len(labels)} and {len(names)}"
        )
    ridge = KernelRidge() if ridge is None else ridge
    seed = int(rng.integers(2**63))  # each layer deals images alike
    network = pyramid.network
    progress(f"features of {len(train.images) + len(test.images):,} images")
    features, new = pyramid.features(train.images), pyramid.features(test.images)
    fits: dict[str, KernelRidgeFit] = {}
    scores: dict[str, EncodingScores] = {}
    for layer in pyramid.layers:
        progress(f"fitting {network.name}:{layer}")
        deals = np.random.default_rng(seed)
        fits[layer] = ridge.fit(features[layer], train.responses, groups=names, rng=deals)
        guesses = fits[layer].predict(new[layer])
        scores[layer] = encoding_scores(guesses, test.responses, reliability=reliability)
    assignment = assign_layers(list(scores.values()), pyramid.layers, names)
    facts = EncoderFacts(
        version=ENCODER_VERSION,
        network=network.name,
        network_sha256=network.sha256,
        most_features=pyramid.most,
        layers=pyramid.layers,
        labels=tuple(labels),
        areas=tuple(names),
        quantity=quantity,
        window_ms=window_ms,
        baseline_ms=baseline_ms,
    )
    encoder = _joined(facts, fits, assignment)
    penalties = {
        layer: {str(g): float(p) for g, p in zip(fit.groups, fit.penalty, strict=True)}
        for layer, fit in fits.items()
    }
    return FittedEncoder(encoder, scores, assignment, penalties)


def _joined(
    facts: EncoderFacts, fits: Mapping[str, KernelRidgeFit], assignment: LayerAssignment
) -> UnitEncoder:
    """Return the encoder that has each unit from its layer; the first, where it has none."""
    best = np.maximum(assignment.best, 0)
    constant = np.empty(len(best), dtype=np.float32)
    layers: dict[str, EncodedLayer] = {}
    for i, layer in enumerate(facts.layers):
        units, fit = np.flatnonzero(best == i), fits[layer]
        constant[units] = fit.response_mean[units]
        layers[layer] = EncodedLayer(
            fit.feature_mean.astype(np.float32),
            np.ascontiguousarray(fit.weights[:, units].T, dtype=np.float32),
            units.astype(np.int64),
        )
    return UnitEncoder(facts, layers, constant, assignment.r.astype(np.float32))
