"""The one way from an image file to pixels, for references and for what a display shows.

What comes out is what the file says: upright, eight bits a channel, in sRGB, nothing to see
through. What a file leaves open, or what eight bits of sRGB cannot hold, is refused in words
and not guessed. Knows image files and nothing of sessions.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evolver.errors import DataError
from evolver.setup.colour_profiles import PROFILE_ERRORS, to_srgb

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
BACKGROUND_GREY = 128
"""What is seen behind a transparent image: the display's own background, if nothing is said."""

_LARGEST_SIDE = 2048  # pixels
_LARGEST_FILE = 64 << 20  # bytes
_FORMATS = ("PNG", "JPEG")
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}
_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"}
_SRGB_GAMMA = 0.45455  # as PNG files have it
_SAME_GAMMA = 0.01
_SAME_COLOUR = 2  # levels: what profiles called sRGB differ by
_PARSERS_OWN = (  # what Pillow makes of files that are no images
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
)


def read_image(
    path: Path, *, grey: int = BACKGROUND_GREY, largest: int = _LARGEST_SIDE
) -> NDArray[np.uint8]:
    """Return the image in a PNG or JPEG file, (h, w, 3) uint8 sRGB.

    Turned as the camera's note says; of sixteen bits the upper eight; colours by the file's
    profile, or its gamma; what is transparent shows `grey`.

    Parameters
    ----------
    path : a regular file
    grey : behind transparent pixels, 0 to 255
    largest : pixels a side

    Raises
    ------
    DataError
        The file is no such image, is larger than `largest`, or does not say what its
        pixels mean. The text says which.
    """
    content = _content(path)
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd files: errors are ours
            with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                return _pixels(opened, path, grey, largest)
    except DataError:
        raise
    except PIL.UnidentifiedImageError as exc:
        raise DataError(f"{path} must be a PNG or JPEG image; {_kind(content)}") from exc
    except (*_PARSERS_OWN, PIL.Image.DecompressionBombError) as exc:
        reason = str(exc) or type(exc).__name__
        raise DataError(
            f"{path} must be a whole PNG or JPEG image; it cannot be read: {reason[:200]}"
        ) from exc


def _content(path: Path) -> bytes:
    """Return what a regular file holds; a pipe or a device is not waited for."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for who writes into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DataError(f"{path} must be a regular file, a PNG or JPEG image")
            content = file.read(_LARGEST_FILE + 1)
    except OSError as exc:
        raise DataError(f"{path} must be a PNG or JPEG image; {exc.strerror}") from exc
    if len(content) > _LARGEST_FILE:
        raise DataError(f"{path} must be at most {_LARGEST_FILE >> 20} MiB large")
    return content


def _kind(content: bytes) -> str:
    """Return in words what a file is that is no image."""
    if not content:
        return "it is empty"
    if content.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: fetch the file itself with 'git lfs pull'"
    if content.startswith((b"\x00\x05\x16\x07", b"\x00\x05\x16\x00")):
        return "it is macOS' note beside a file, and not the file"
    return f"it begins with {content[:8]!r}"


def _pixels(opened: Image, path: Path, grey: int, largest: int) -> NDArray[np.uint8]:
    import PIL.ImageOps

    width, height = opened.size
    if max(width, height) > largest:
        raise DataError(
            f"{path} must be at most {largest} pixels a side; it is {width} x {height}"
        )
    if getattr(opened, "n_frames", 1) > 1 and opened.format == "PNG":
        raise DataError(f"{path} must be one image; it is a film of several")
    info: dict[str, Any] = {str(key): value for key, value in opened.info.items()}
    turned = PIL.ImageOps.exif_transpose(opened)
    colour, alpha = _layers(turned, info, path)
    rgb = np.asarray(_in_srgb(colour, info, path), dtype=np.uint8)
    if alpha is None:
        return rgb
    opacity = alpha[..., None].astype(np.uint32)
    blended = rgb * opacity + np.uint32(grey) * (255 - opacity)
    return ((blended + 127) // 255).astype(np.uint8)


def _layers(
    image: Image, info: dict[str, Any], path: Path
) -> tuple[Image, NDArray[np.uint8] | None]:
    """Return an image's colours, of eight bits, and its opacity, (h, w), where it has one."""
    import PIL.Image

    clear: int | bytes | tuple[int, ...] | None = info.get("transparency")
    if image.mode in _SIXTEEN_BITS:
        levels = np.asarray(image)
        # The upper byte, as files of 16-bit colour are read too: exact for levels that were
        # made of eight bits by v * 256 and by v * 257.
        colour = PIL.Image.fromarray((levels >> 8).astype(np.uint8))
        alpha = None if clear is None else np.where(levels == clear, 0, 255).astype(np.uint8)
        return colour, alpha
    if isinstance(clear, tuple) and max(clear) > 255:  # Pillow compares it with eight bits
        raise DataError(
            f"{path} must not have a transparent colour of 16 bits: save it as RGBA"
        )
    if image.mode == "CMYK" and "icc_profile" in info:
        return image, None
    if image.mode not in _EIGHT_BITS:
        hint = " (a CMYK image needs its profile)" if image.mode == "CMYK" else ""
        raise DataError(
            f"{path} must be grey or colour of 8 or 16 bits a channel; its pixels are "
            f"{image.mode}{hint}: convert it to sRGB"
        )
    if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in info:
        rgba = image.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        grey_only = image.mode in {"1", "L", "LA", "La"}
        return rgba.convert("RGB").convert("L") if grey_only else rgba.convert("RGB"), alpha
    return image.convert("L" if image.mode in {"1", "L"} else "RGB"), None


def _in_srgb(colour: Image, info: dict[str, Any], path: Path) -> Image:
    """Return an image in sRGB, as its profile or its gamma says; without one it is in sRGB."""
    profile = info.get("icc_profile")
    if profile:
        try:
            return to_srgb(colour, profile)
        except (*PROFILE_ERRORS, *_PARSERS_OWN) as exc:
            raise DataError(
                f"{path} must have a colour profile that fits its pixels; it does not "
                f"({exc}): convert the image to sRGB"
            ) from exc
    gamma = info.get("gamma")
    if gamma is None or "srgb" in info or abs(gamma - _SRGB_GAMMA) <= _SAME_GAMMA:
        return colour.convert("RGB")
    if not 0.05 <= gamma <= 5:
        raise DataError(f"{path} must have a gamma from 0.05 to 5; it says {gamma:g}")
    return colour.convert("RGB").point(_encoded(gamma) * 3)


def _encoded(gamma: float) -> list[int]:
    """Return the level in sRGB of each level v whose light is v ** (1 / gamma)."""
    light: NDArray[np.float64] = (np.arange(256) / 255) ** (1 / gamma)
    levels: NDArray[np.float64] = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return [round(255 * float(level)) for level in levels]
