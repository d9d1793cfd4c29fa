"""The built-in image world and its network: what the first session runs on, without a download.

Knows where its files lie and what a scene is. Importing this, and drawing reference images,
loads no torch.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load

from evolver.errors import WeightsError
from evolver.seeds import stream
from scorers.mini import scenes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.types import Images

SHIPPED = {
    "cnn": (
        "cnn.safetensors",
        "2ad9798b086c550a046fa7420ee788bd5d0fa99cea9d8f3de20b9a2c6fe612cb",
    ),
    "calibration": (
        "calibration.safetensors",
        "f3f7ec6a0c3f13e7b868429cfa3fcb2d3c40a6e2aa4f0d3fddcb5dba83a2fa52",
    ),
}
"""File and sha256 of each; `python -m scorers.mini.train` makes them again."""


def reference_images(n: int, *, seed: int) -> Images:
    """Draw n scenes, the classes as balanced as n allows, (n, 64, 64, 3) uint8.

    The same for the same n and seed, on every processor: a fixed set to compare what a neuron
    draws with, and the references of a session that brings none.
    """
    return scenes.sample(n, rng=stream(seed, "reference images"))[0]


@cache
def calibration() -> dict[str, NDArray[np.float64]]:
    """Return how far units respond to the world: (3, channels * rows * columns) for each layer.

    The rows are the 5th, 50th and 99th percentiles over 5,000 reference images of a seed that
    the training set does not share. The same arrays are handed out each time: read-only.

    Raises
    ------
    WeightsError
        The file is missing, or is not the one shipped with this version.
    """
    from importlib import resources

    filename, pinned = SHIPPED["calibration"]
    file = resources.files("scorers.mini").joinpath("weights", filename)
    try:
        content = file.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != pinned:
            raise WeightsError(f"{file} must have sha256 {pinned}; it has {found}")
        tables = {k: v.astype(np.float64) for k, v in _load(content).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} must be the calibration shipped; {error}") from error
    for table in tables.values():
        table.flags.writeable = False
    return tables
