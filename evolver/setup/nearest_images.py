"""The recorded image that is nearest to one that was never shown: by its code, or by pixels.

Knows arrays of a recording, and metrics. Codes are compared within the thread of that name, if
it has the same generator: other generators' codes lie elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from evolver import metric
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.recording import Recording, ThreadData
    from rig_bridge.messages import Answer
    from rig_bridge.trials import Image

Nearness: TypeAlias = Literal["latent", "metric", "pixels"]
"""What distances are of: codes, codes in a generator's image metric, or pixels."""

_SIDE = 32
"""Pixels a side that images are shrunk to, by means over areas, before they are compared."""
UNITS: dict[Answer, str] = {
    "nearest code": "latent units",
    "nearest metric": "image distance",
    "nearest pixels": f"grey levels, rms at {_SIDE} x {_SIDE} pixels",
}
"""What distances are counted in, by the word that is recorded with them."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedCode:
    """What is known of an image beside its pixels.

    Attributes
    ----------
    thread : name of the one that asks for it
    generator, sha256 : what drew it, and the digest of its weights
    code : (d,) float32
    """

    thread: str
    generator: str
    sha256: str
    code: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearestImage:
    """An image that was recorded, and how far it is from the one asked for."""

    image: int  # row of the recording's images
    distance: float
    answer: Answer


class NearestImages:
    """Finds recorded images.

    Parameters
    ----------
    recording : open as long as images are looked for
    candidates : rows of its images that have a response
    nearness : what is compared, where codes are known; else pixels
    metric_file : for "metric"; without it, the one that the thread's optimizer was given

    Raises
    ------
    ConfigError
        "metric" without a file, or a file of another generator.
    """

    def __init__(
        self,
        recording: Recording,
        candidates: Sequence[int],
        *,
        nearness: Nearness = "latent",
        metric_file: Path | None = None,
    ) -> None:
        self._recording = recording
        self._answered = np.zeros(len(recording.images), dtype=bool)
        self._answered[list(candidates)] = True
        self._nearness: Nearness = nearness
        self._metrics = {
            thread.name: _metric_of(thread, metric_file)
            for thread in (recording.threads if nearness == "metric" else ())
        }
        self._small: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        self._codes: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def find(self, image: Image, asked: AskedCode | None) -> NearestImage | None:
        """Return the nearest image that has a response; None where none can be compared.

        Parameters
        ----------
        image : (h, w, 3) uint8
        asked : its code, where that is known
        """
        if asked is not None and self._nearness != "pixels":
            by_code = self._by_code(asked)
            if by_code is not None:
                return by_code
        ids, small = self._thumbnails()
        if not len(ids):
            return None
        away = np.sqrt(((small - _thumbnail(image)) ** 2).mean(axis=1))
        at = int(away.argmin())
        return NearestImage(int(ids[at]), float(away[at]), "nearest pixels")

    def _by_code(self, asked: AskedCode) -> NearestImage | None:
        threads = self._recording.threads
        if asked.thread not in threads.names:
            return None
        thread = threads[asked.thread]
        same = (thread.generator, thread.weights_sha256) == (asked.generator, asked.sha256)
        if not same or thread.d != len(asked.code):
            return None
        ids, codes = self._codes_of(thread)
        if not len(ids):
            return None
        away = np.linalg.norm(codes - self._placed(thread, asked.code[None]), axis=1)
        at = int(away.argmin())
        answer = "nearest metric" if self._nearness == "metric" else "nearest code"
        return NearestImage(int(ids[at]), float(away[at]), answer)

    def _codes_of(self, thread: ThreadData) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if thread.name not in self._codes:
            rows = np.flatnonzero(self._answered[thread.image_id])
            placed = self._placed(thread, thread.codes[rows])
            self._codes[thread.name] = thread.image_id[rows], placed
        return self._codes[thread.name]

    def _placed(self, thread: ThreadData, codes: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return codes where Euclidean distances are those that are asked for, (n, m)."""
        wide = codes.astype(np.float64)
        if self._nearness != "metric":
            return wide
        leading = self._metrics[thread.name]
        return wide @ leading.eigenvectors * np.sqrt(leading.eigenvalues)

    def _thumbnails(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._small is None:
            images = self._recording.images
            ids = [i for i in np.flatnonzero(self._answered).tolist() if not images.is_lost(i)]
            small = [_thumbnail(images[i]) for i in ids]
            self._small = (
                np.array(ids, dtype=np.int64),
                np.stack(small) if small else np.zeros((0, _SIDE * _SIDE * 3), np.float32),
            )
        return self._small


def _thumbnail(image: Image) -> NDArray[np.float32]:
    """Return an image at the size at which pixels are compared, (1, values)."""
    drawn = PillowImage.fromarray(np.ascontiguousarray(image))
    small = drawn.resize((_SIDE, _SIDE), PillowImage.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).reshape(-1)


def _metric_of(thread: ThreadData, file: Path | None) -> metric.Metric:
    """Return the metric in which a thread's codes are compared."""
    options = thread.options.get("optimizer", {})
    path = options.get("metric") or options.get("basis") if file is None else file
    if not path:
        raise ConfigError(
            f"--nearest metric needs the image metric of {thread.generator}: name its file "
            "with --metric ('evolver metric compute' writes one), or take --nearest latent"
        )
    metric.check_generator(
        metric.read_provenance(path),
        path,
        generator=thread.generator,
        sha256=thread.weights_sha256,
        remedy="Name its own with --metric",
    )
    leading = metric.read_metric(path)
    if leading.d != thread.d:
        raise ConfigError(
            f"{path} must be a metric of {thread.d} latent dimensions, as thread "
            f"{thread.name!r} has; it is of {leading.d}"
        )
    return leading
