"""A recording's images through a layer of a network: where its unit looks, thread by thread.

A thread's responses are its scores, as the session had them; all its images with a score and
with pixels take part. Threads are pooled where they score the same. The first two threads are
compared by their masks, and by their prototypes: the best image, that of the mean code, and the
re-evolved one; in pixels, and in the layer's features, pooled over all but the image's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from evolver import recording as recordings
from evolver import seeds
from evolver.analysis.image_similarity import (
    Similarity,
    centre_mask,
    evolution_similarity,
    feature_cosine,
    feature_mse,
    masked_features,
    pixel_correlation,
    prototypes,
    structural_similarity,
    zoomed_mask,
)
from evolver.analysis.quantities import Quantity
from evolver.analysis.spatial_attribution import feature_attribution
from evolver.attributions.drawing import RecordedGenerators
from evolver.attributions.re_evolution import STEPS, pixel_generator, re_evolve
from evolver.errors import EvolverError
from evolver.experiments.experiment import BEST_IMAGE, MEAN_CODE_IMAGE
from evolver.experiments.masks import ExperimentLook, MaskGrid, ThreadLook, UnitMask
from evolver.recording.strangers import said_as_recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.analysis.spatial_attribution import FeatureAttribution
    from evolver.recording import Recording, ThreadData
    from evolver.types import Generator, Matrix, Vector
    from scorers.layer_maps import LayerMaps

RE_EVOLVED_IMAGE = "re_evolved"
"""A prototype, beside `BEST_IMAGE` and `MEAN_CODE_IMAGE`."""
ReEvolution: TypeAlias = Literal["thread", "fourier", "none"]
"""In what an image is re-evolved: the thread's own generator, or pixels by their spectrum."""
_NO_PIXELS = "no image with a score has its pixels in the file"
_POOLED = 7  # places a side of the published mask of features


@dataclass(frozen=True, slots=True, eq=False)
class LookSettings:
    """How masks are made.

    Attributes
    ----------
    maps : the layer
    generators : of the threads
    re_evolution : in what images are re-evolved
    steps : of that
    shuffles : responses dealt anew, for p
    seed : of the shuffles and of the starts
    """

    maps: LayerMaps
    generators: RecordedGenerators = field(default_factory=RecordedGenerators)
    re_evolution: ReEvolution = "thread"
    steps: int = STEPS
    shuffles: int = 99
    seed: int = 0


def look(
    path: Path, settings: LookSettings, *, progress: Callable[[int, int], None] | None = None
) -> ExperimentLook:
    """Find where the unit of a recording looks.

    Parameters
    ----------
    path : of the recording
    settings : which layer, and what is drawn
    progress : told what is done, and of how much: images, and steps of re-evolutions

    Raises
    ------
    RecordingError
        It cannot be read, or is damaged.
    """
    with recordings.read(path) as opened, said_as_recording(path):
        return _Session(opened, settings, progress).look()


class _Session:
    """One recording, open, while it is looked at."""

    def __init__(
        self,
        opened: Recording,
        settings: LookSettings,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._opened, self._settings = opened, settings
        self._progress = progress
        self._images = [_shown(opened, thread) for thread in opened.threads]
        self._no_pooled = _why_apart(opened.threads)
        if not any(map(len, self._images)):
            self._no_pooled = self._no_pooled or _NO_PIXELS
        images = sum(map(len, self._images)) * (1 if self._no_pooled else 2)
        steps = settings.steps if settings.re_evolution != "none" else 0
        self._done, self._total = 0, images + steps * len(self._images)

    def look(self) -> ExperimentLook:
        maps = self._settings.maps
        rows, columns = maps.centres
        threads = tuple(
            self._thread(thread, own)
            for thread, own in zip(self._opened.threads, self._images, strict=True)
        )
        pooled = None
        if not self._no_pooled:
            pooled = self._mask(list(self._opened.threads), self._images, "pooled")
        return ExperimentLook(
            grid=MaskGrid(maps.name, rows, columns),
            threads=threads,
            pooled=None if pooled is None else self._unit_mask(pooled),
            no_pooled=self._no_pooled,
            similarity=tuple(self._similarity(threads)),
            re_evolution=self._settings.re_evolution,
        )

    def _unit_mask(self, found: FeatureAttribution) -> UnitMask:
        return UnitMask.of(found, dealings=self._settings.shuffles)

    def _advance(self, by: int) -> None:
        self._done += by
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)

    def _stepped(self, _step: int, _of: int) -> None:
        self._advance(1)

    def _thread(self, thread: ThreadData, own: NDArray[np.intp]) -> ThreadLook:
        found: FeatureAttribution | None = None
        no_mask = ""
        if len(own):
            found = self._mask([thread], [own], thread.name)
        else:
            no_mask = _NO_PIXELS
        generator = self._settings.generators.of(self._opened, thread)
        best, mean_code = self._prototypes(thread, generator)
        re_evolved, no_drawing = self._re_evolved(generator, found)
        return ThreadLook(
            mask=None if found is None else self._unit_mask(found),
            no_mask=no_mask,
            best=best,
            mean_code=mean_code,
            re_evolved=re_evolved,
            no_drawing=no_drawing,
        )

    def _mask(
        self, threads: Sequence[ThreadData], images: Sequence[NDArray[np.intp]], name: str
    ) -> FeatureAttribution:
        """Return the attribution over the images of threads, rows of each one's table."""
        settings = self._settings
        responses: Vector = np.concatenate([
            np.asarray(thread.score, dtype=np.float64)[rows]
            for thread, rows in zip(threads, images, strict=True)
        ])
        ids = [
            int(image)
            for thread, rows in zip(threads, images, strict=True)
            for image in thread.image_id[rows]
        ]

        def parts() -> Iterator[NDArray[np.float32]]:
            for part in settings.maps.parts(self._opened.images[image] for image in ids):
                yield part
                self._advance(len(part))

        return feature_attribution(
            parts(),
            responses,
            shuffles=settings.shuffles,
            rng=seeds.stream(settings.seed, "attribution", self._opened.session_id, name),
        )

    def _prototypes(
        self, thread: ThreadData, generator: Generator | str
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
        """Return the best image of the highest block, and the image of its mean code."""
        scored = np.isfinite(thread.score)
        places = prototypes(
            thread.score[scored], thread.generation[scored], thread.codes[scored]
        )
        if places.reason:
            return None, None
        best_id = int(thread.image_id[np.flatnonzero(scored)[places.best_row]])
        lost = self._opened.images.is_lost(best_id)
        best = None if lost else self._opened.images[best_id]
        if isinstance(generator, str) or generator.d != thread.codes.shape[1]:
            return best, None
        return best, generator.render(places.mean_code[None])[0]

    def _re_evolved(
        self, generator: Generator | str, found: FeatureAttribution | None
    ) -> tuple[NDArray[np.uint8] | None, str]:
        settings = self._settings
        if settings.re_evolution == "none":
            return None, "no image was re-evolved: it was not asked for"
        if found is None or found.reason:
            self._advance(settings.steps)
            return None, "no image was re-evolved: there is no mask"
        drawing = generator
        if settings.re_evolution == "fourier":
            drawing = pixel_generator(settings.maps)
        if isinstance(drawing, str):
            self._advance(settings.steps)
            return None, drawing
        try:
            climbed = re_evolve(
                drawing,
                settings.maps,
                found.positive,
                seed=settings.seed,
                steps=settings.steps,
                progress=self._stepped,
            )
        except EvolverError as error:
            return None, f"no image was re-evolved: {error}"
        return climbed.image, ""

    def _similarity(self, threads: Sequence[ThreadLook]) -> list[Similarity]:
        """Compare the first two threads' prototypes."""
        if len(threads) < 2:
            return []
        first, second = (_prototype_images(thread) for thread in threads[:2])
        found: list[Similarity] = []
        for name in first:
            if name not in second:
                continue
            a, b = first[name], second[name]
            if a.shape == b.shape:
                pixels = {"pixel_r": pixel_correlation, "ssim": structural_similarity}
                found += evolution_similarity({name: a}, {name: b}, pixels)
            else:
                reason = f"images have different sizes: {a.shape[:2]} and {b.shape[:2]}"
                none = Quantity.undefined(reason)
                found += [Similarity(name, measure, none) for measure in ("pixel_r", "ssim")]
            pooled = {name: self._pooled(a)}, {name: self._pooled(b)}
            measures = {"cnn_cosine": feature_cosine, "cnn_mse": feature_mse}
            found += evolution_similarity(*pooled, measures)
        return found

    def _pooled(self, image: NDArray[np.uint8]) -> Matrix:
        """Return an image's features, pooled over all but its edge, (c,)."""
        maps = self._settings.maps
        _, h, w = maps.shape
        mask = zoomed_mask(centre_mask(_POOLED, _POOLED), h, w)
        return masked_features(maps.of_image(image), mask)


def _shown(opened: Recording, thread: ThreadData) -> NDArray[np.intp]:
    """Return the rows of a thread that have a score, and an image whose pixels are there."""
    rows = np.flatnonzero(np.isfinite(thread.score))
    there = [not opened.images.is_lost(int(image)) for image in thread.image_id[rows]]
    return rows[np.array(there, dtype=bool)]


def _why_apart(threads: Sequence[ThreadData]) -> str:
    """Return why scores of threads cannot be pooled; empty where they can."""
    if len(threads) < 2:
        return "the session has one thread"
    if any(thread.fitness != threads[0].fitness for thread in threads):
        return "the threads' fitness is not the same"
    return ""


def _prototype_images(thread: ThreadLook) -> dict[str, NDArray[np.uint8]]:
    images = {
        BEST_IMAGE: thread.best,
        MEAN_CODE_IMAGE: thread.mean_code,
        RE_EVOLVED_IMAGE: thread.re_evolved,
    }
    return {name: image for name, image in images.items() if image is not None}
