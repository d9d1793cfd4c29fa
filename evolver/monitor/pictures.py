"""Thumbnails of a session's images: kept while a page can still show them, or read from a file.

Knows pixels and digests; knows nothing of generations or scores.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evolver.errors import RecordingError
from evolver.recording import Recording

THUMBNAIL = 64
"""Pixels a side of the images that are kept."""
_READ_AT_MOST = 512

Thumbnail: TypeAlias = NDArray[np.uint8]
"""(64, 64, 3) sRGB."""


class PictureStore(Protocol):
    """Where a page's pictures come from."""

    def add(self, sha256: str, pixels: NDArray[np.uint8]) -> None:
        """Take an image, (h, w, 3), that a generation will name."""
        ...

    def hold(self, digests: Iterable[str]) -> None:
        """Keep these for as long as it takes to `release` them as often as they were held."""
        ...

    def release(self, digests: Iterable[str]) -> None:
        """Let go of what was held."""
        ...

    def forget_unheld(self) -> None:
        """Forget what nobody holds."""
        ...

    def get(self, sha256: str) -> Thumbnail | None:
        """Return a picture; None where its pixels are lost, or nobody holds it."""
        ...


class KeptPictures:
    """Thumbnails of images as they come, until nobody holds them."""

    def __init__(self) -> None:
        self._thumbnails: dict[str, Thumbnail] = {}
        self._holders: Counter[str] = Counter()

    def add(self, sha256: str, pixels: NDArray[np.uint8]) -> None:
        """Take an image, (h, w, 3), that a generation will name."""
        self._thumbnails[sha256] = thumbnail(pixels)

    def hold(self, digests: Iterable[str]) -> None:
        """Keep these for as long as it takes to `release` them as often as they were held."""
        self._holders.update(digests)

    def release(self, digests: Iterable[str]) -> None:
        """Let go of what was held."""
        for sha256 in digests:
            if self._holders[sha256] > 1:
                self._holders[sha256] -= 1
            else:
                self._holders.pop(sha256, None)

    def forget_unheld(self) -> None:
        """Forget what nobody holds."""
        for sha256 in self._thumbnails.keys() - self._holders.keys():
            del self._thumbnails[sha256]

    def get(self, sha256: str) -> Thumbnail | None:
        """Return a picture; None where its pixels are lost, or nobody holds it."""
        return self._thumbnails.get(sha256)


class RecordedPictures:
    """Thumbnails of a recording's images, read when they are asked for.

    Parameters
    ----------
    recording : stays open for as long as pictures are wanted
    """

    def __init__(self, recording: Recording) -> None:
        self._images = recording.images
        self._ids = {str(sha256): at for at, sha256 in enumerate(recording.image_sha256)}
        self._latest: OrderedDict[str, Thumbnail | None] = OrderedDict()

    def add(self, sha256: str, pixels: NDArray[np.uint8]) -> None:
        """Nothing: the file has it."""

    def hold(self, digests: Iterable[str]) -> None:
        """Nothing: the file holds them all."""

    def release(self, digests: Iterable[str]) -> None:
        """Nothing: the file holds them all."""

    def forget_unheld(self) -> None:
        """Nothing: the file holds them all."""

    def get(self, sha256: str) -> Thumbnail | None:
        """Return a picture; None where its pixels are lost."""
        if sha256 not in self._latest:
            self._latest[sha256] = self._read(sha256)
            if len(self._latest) > _READ_AT_MOST:
                self._latest.popitem(last=False)
        return self._latest[sha256]

    def _read(self, sha256: str) -> Thumbnail | None:
        try:
            return thumbnail(self._images[self._ids[sha256]])
        except (KeyError, RecordingError):
            return None


def thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """Return (64, 64, 3) pixels: each the mean of those it stands for, or repeated."""
    h, w = pixels.shape[:2]
    rows = np.arange(THUMBNAIL + 1) * h // THUMBNAIL
    columns = np.arange(THUMBNAIL + 1) * w // THUMBNAIL
    if h < THUMBNAIL or w < THUMBNAIL:
        return pixels[np.minimum(rows[:-1], h - 1)][:, np.minimum(columns[:-1], w - 1)]
    if h == w == THUMBNAIL:
        return pixels
    sums = np.add.reduceat(pixels.astype(np.float64), rows[:-1], axis=0)
    sums = np.add.reduceat(sums, columns[:-1], axis=1)
    area = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    return np.rint(sums / area).astype(np.uint8)
