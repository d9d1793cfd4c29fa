"""The built-in image world and its network: what the first session runs on, without a download.

Knows what a scene is, and which file holds the calibration. Importing this, and drawing
reference images, loads no torch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load

from evolver.errors import WeightsError
from evolver.seeds import stream
from evolver.weights import hub
from evolver.weights.catalogue import CALIBRATION
from scorers.mini import scenes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.types import Images


def reference_images(n: int, *, seed: int) -> Images:
    """Draw n scenes, the classes as balanced as n allows, (n, 64, 64, 3) uint8.

    The same for the same n and seed, on every processor: a fixed set to compare what a neuron
    draws with, and the references of a session that brings none.
    """
    return scenes.sample_scenes(n, rng=stream(seed, "reference images"))[0]


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
    location = hub.find_file(CALIBRATION)
    hub.check_digest(location)
    try:
        content = location.path.read_bytes()
        tables = {name: array.astype(np.float64) for name, array in _load(content).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{location.path} must be the calibration shipped; {error}"
        ) from error
    for table in tables.values():
        table.flags.writeable = False
    return tables
