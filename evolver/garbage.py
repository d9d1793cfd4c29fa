"""Garbage collection for a process that imports much and may end soon.

Importing torch makes half a million objects, none of them garbage. As Python is set, they are
looked through hundreds of times while it is imported, and once more when the process ends.
"""

from __future__ import annotations

import atexit
import gc

_NEW_OBJECTS = 50_000  # between two collections; Python's own is 700


def collect_seldom() -> None:
    """Look for garbage seldom, and not at all at the process's end; to be called first."""
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
