"""Pictures from files, and the reference images that every block shows.

Knows image files and the built-in world's scenes. There is one way from a file to pixels here,
for references and for what `evolver display` shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evolver import seeds
from evolver.config.tables import ReferencesTable
from evolver.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_LARGEST_IMAGE = 2048  # pixels a side
_GREY = (128, 128, 128, 255)
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N", "I"}


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """The images shown in every block beside the evolving ones."""

    images: tuple[NDArray[np.uint8], ...]  # each (h, w, 3)
    labels: tuple[str, ...]


def build_references(table: ReferencesTable, *, seed: int) -> References:
    """Return the session's reference images: rendered, or drawn from a folder.

    Raises
    ------
    ConfigError
        The folder does not exist, or has fewer images than are asked for.
    DataError
        A file in it is no image, or too large.
    """
    if table.count == 0:
        return References((), ())
    if table.source == "builtin":
        from scorers.mini import scenes

        rng = seeds.stream(seed, "references")
        images, classes, _ = scenes.sample_scenes(table.count, rng=rng)
        return References(tuple(images), tuple(scenes.CLASSES[int(i)] for i in classes))
    folder = Path(table.source).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            "references.source: must be 'builtin' or a folder of PNG or JPEG files; "
            f"{table.source!r} is not a folder"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    if len(files) < table.count:
        raise ConfigError(
            f"references.count: must be at most the number of PNG and JPEG files in {folder}, "
            f"{len(files)}; found {table.count}"
        )
    shuffled = seeds.stream(seed, "references").permutation(len(files))
    picked = [files[i] for i in sorted(int(i) for i in shuffled[: table.count])]
    return References(tuple(map(read_image, picked)), tuple(p.stem for p in picked))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the image in a file, (h, w, 3) uint8 sRGB, upright, transparency over grey.

    Sixteen bits a channel become eight; a camera's note of how it was held is applied.

    Raises
    ------
    DataError
        The file is no image, or larger than 2048 pixels a side.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(path) as opened:
            if max(opened.size) > _LARGEST_IMAGE:
                raise DataError(
                    f"{path} must be at most {_LARGEST_IMAGE} pixels a side; it is "
                    f"{opened.size[0]} x {opened.size[1]}"
                )
            image = _opaque(PIL.ImageOps.exif_transpose(opened))
    except DataError:
        raise
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as exc:  # OSError: PIL's own
        raise DataError(
            f"{path} must be a PNG or JPEG image; it cannot be read: {exc}"
        ) from exc
    return np.asarray(image, dtype=np.uint8)


def _opaque(image: Image) -> Image:
    """Return `image` with 8 bits in each of three channels, and nothing to see through."""
    import PIL.Image

    if image.mode in _SIXTEEN_BITS:  # convert() would clip at 255 and not scale
        levels = np.asarray(image).astype(np.int64) >> 8
        return PIL.Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        grey = PIL.Image.new("RGBA", rgba.size, _GREY)
        return PIL.Image.alpha_composite(grey, rgba).convert("RGB")
    return image.convert("RGB")
