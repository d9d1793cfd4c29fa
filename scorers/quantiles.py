"""How far units respond to reference images: what scales a unit's drive to spikes a second.

Knows networks, reference images and a folder. Of the built-in network the answer is shipped; of
any other it is measured once and kept in this user's cache, under a name that depends on the
network's weights and preprocessing, the layer, the units and the images: nothing else is ever
taken for it.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from evolver.regular_files import read_regular
from evolver.weights.catalogue import CNN
from evolver.whole_files import write_whole
from scorers.mini import calibration, reference_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evolver.types import Vector
    from scorers.networks.network import Network

logger = logging.getLogger(__name__)

IMAGES = 500
"""Reference images that a network is measured with."""
_SEED = 20_260_101  # of those images
_KEYS = ("p05", "p50", "p99")
_OF = "of"  # in a kept file, its own name: a digest of what it was measured of
_CHUNK = 8
_LARGEST = 64 << 20  # bytes of a kept file


def reference_quantiles(
    network: Network, places: Mapping[str, NDArray[np.int64]]
) -> dict[str, dict[str, Vector]]:
    """Return the 5th, 50th and 99th percentile of units' responses to reference images.

    What is not known of several layers is measured in one pass over the images.

    Parameters
    ----------
    network : whose units
    places : by layer, where they are in the flattened layer, (u,)

    Returns
    -------
    dict : by layer, "p05", "p50", "p99", each (u,) float64
    """
    if network.sha256 == CNN.sha256:
        table = calibration()
        return {
            layer: dict(zip(_KEYS, table[layer][:, at], strict=True))
            for layer, at in places.items()
        }
    paths = {
        layer: quantile_folder() / f"{_name(network, layer, at)}.safetensors"
        for layer, at in places.items()
    }
    kept = {layer: _read(path, len(places[layer])) for layer, path in paths.items()}
    unknown = {layer: places[layer] for layer, levels in kept.items() if levels is None}
    if unknown:
        units = sum(map(len, unknown.values()))
        logger.info("measuring %d units of %s:%s", units, network.name, ", ".join(unknown))
        for layer, levels in _measured(network, unknown).items():
            kept[layer] = levels
            _write(paths[layer], levels)
    return {layer: levels for layer, levels in kept.items() if levels is not None}


def quantile_folder() -> Path:
    """Return the folder of what was measured."""
    return user_cache_path("evolver") / "quantiles"


def _name(network: Network, layer: str, places: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(
        f"{network.sha256} {network.preprocessing} {layer} {IMAGES} {_SEED}\n".encode()
    )
    digest.update(np.ascontiguousarray(places, dtype="<i8").tobytes())
    return digest.hexdigest()


def _measured(
    network: Network, places: Mapping[str, NDArray[np.int64]]
) -> dict[str, dict[str, Vector]]:
    images = reference_images(IMAGES, seed=_SEED)
    at = {
        layer: torch.as_tensor(units, device=network.device) for layer, units in places.items()
    }
    responses = {
        layer: np.empty((IMAGES, len(units)), dtype=np.float32)
        for layer, units in places.items()
    }
    for start in range(0, IMAGES, _CHUNK):
        pixels = torch.as_tensor(images[start : start + _CHUNK]).to(network.device)
        with torch.inference_mode():
            outputs = network.outputs(pixels.permute(0, 3, 1, 2).float() / 255, at)
        for layer, values in outputs.items():
            responses[layer][start : start + len(values)] = values.cpu().numpy()
    return {
        layer: dict(
            zip(_KEYS, np.percentile(rows, [5, 50, 99], axis=0).astype(np.float64), strict=True)
        )
        for layer, rows in responses.items()
    }


def _read(path: Path, units: int) -> dict[str, Vector] | None:
    """Return what was kept; None where there is nothing, or it cannot be read."""
    try:
        kept = load(read_regular(path, at_most=_LARGEST))
    except (OSError, SafetensorError, ValueError) as error:
        if path.exists():
            logger.warning("measured anew, as %s cannot be read: %s", path, error)
        return None
    levels = {key: values for key, values in kept.items() if key != _OF}
    if set(levels) != set(_KEYS) or any(v.shape != (units,) for v in levels.values()):
        return None
    if _OF not in kept or kept[_OF].tobytes().decode("ascii", "replace") != path.stem:
        logger.warning("measured anew, as %s is not of what its name says", path)
        return None
    return {key: kept[key].astype(np.float64) for key in _KEYS}


def _write(path: Path, kept: dict[str, Vector]) -> None:
    """Keep what was measured; a folder that cannot be written costs measuring it again."""
    try:
        of = np.frombuffer(path.stem.encode(), dtype=np.uint8)
        write_whole(path, save({**kept, _OF: of}))
    except OSError as error:
        logger.warning("not kept for the next time: %s", error)
