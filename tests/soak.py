"""What a soak does, and how much: a share that fits into ten minutes, or all of it.

`make soak` runs the share; `make soak-full` sets EVOLVER_SOAK=full.
"""

import os

import pytest


def share(full: int, scaled: int) -> int:
    """Return how many of something to do."""
    return full if os.environ.get("EVOLVER_SOAK") == "full" else scaled


def further(*values):
    """Return parameters, or a fixture's, that `make soak` adds to those of every run."""
    return pytest.param(*values, marks=pytest.mark.soak)
