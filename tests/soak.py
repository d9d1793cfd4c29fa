"""What a soak does, and how much: a share that fits into an hour, or all of it.

`make soak` runs the share; `make soak-full` sets EVOLVER_SOAK=full.
"""

import os

import pytest
from hypothesis import settings


def share(full: int, scaled: int) -> int:
    """Return how many of something to do."""
    return full if os.environ.get("EVOLVER_SOAK") == "full" else scaled


def further(*values):
    """Return parameters, or a fixture's, that `make soak` adds to those of every run."""
    return pytest.param(*values, marks=pytest.mark.soak)


def examples(times: float):
    """Return hypothesis settings: so many times the examples of the profile that is in use."""
    return settings(max_examples=max(1, round(times * settings.default.max_examples)))
