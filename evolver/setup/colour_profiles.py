"""From the colours of an image's profile (ICC) to sRGB, by littleCMS."""

# pyright: basic
# Pillow's profiles are not annotated.

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageCms

PROFILE_ERRORS = (ImageCms.PyCMSError,)
_SAME_COLOUR = 2  # levels: what profiles that are called sRGB differ by


def to_srgb(colour: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    """Return an image's colours in sRGB, RGB of eight bits.

    One whose profile is of those called sRGB keeps its levels as they are.

    Parameters
    ----------
    colour : grey (L), RGB or CMYK of eight bits
    profile : the file's

    Raises
    ------
    PROFILE_ERRORS, OSError, ValueError
        The profile is none, or of other channels than the image's.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _space(source) == "RGB":
        colour = colour.convert("RGB")  # grey of a camera's profile
        if _is_srgb(profile):
            return colour
    turned = ImageCms.profileToProfile(colour, source, _srgb(), outputMode="RGB")
    if turned is None:  # only where it is asked to work in place
        raise ValueError("the profile turns the image into nothing")
    return turned


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    opened: Any = profile.profile  # its stub is a file's
    return opened.xcolor_space.strip()


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Return whether a profile of red, green and blue is one of those called sRGB."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    turned = ImageCms.profileToProfile(PIL.Image.fromarray(grid), source, _srgb())
    return bool(np.abs(np.asarray(turned).astype(int) - grid).max() <= _SAME_COLOUR)
