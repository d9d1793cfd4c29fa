"""The bytes of a weight file: a regular one, of bounded length, read once.

Knows paths and lengths. Knows nothing of what is in a file, and loads no torch.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from evolver.errors import WeightsError
from evolver.regular_files import opened, read_regular

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 << 30
"""Bytes of a weight file; larger ones are refused before they are read."""


def read_bytes(path: Path, *, at_most: int = LARGEST) -> bytes:
    """Return what is in a file; raise `WeightsError` where it is none, or it is too large."""
    try:
        return read_regular(path, at_most=at_most)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its path
        raise WeightsError(
            f"weights must be a file that can be read; {path}: {error}"
        ) from error


def digest_of(path: Path, *, at_most: int = LARGEST) -> str:
    """Return a file's sha256, 64 hexadecimal digits; raises as `read_bytes`."""
    try:
        with opened(path, at_most=at_most) as (file, _):
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"weights must be a file that can be read; {path}: {error}"
        ) from error
