"""DeePSim weights from numpy alone, as the golden numbers were computed on."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "golden" / "generators"
RECIPE = json.loads((GOLDEN / "deepsim_recipe.json").read_text())
VARIANTS = tuple(name for name in RECIPE if not name.startswith("_"))
LIKE = {"fc7": "fc6", "fc6_eucl": "fc6"}  # of the same architecture


def weights(variant):
    """Return (tensors by name, their digest) of a variant."""
    entry = RECIPE[LIKE.get(variant, variant)]
    rng = np.random.RandomState(RECIPE["_recipe"]["seed"])
    tensors, digest = {}, hashlib.sha256()
    for key in sorted(entry["shapes"]):
        shape, layer = entry["shapes"][key], key.split(".")[0]
        scale = 0.1 if key.endswith("bias") else np.sqrt(2 / (1.09 * _fan(layer, shape)))
        if layer == entry["last_module"]:
            scale *= entry["last_scale"]
        tensors[key] = (rng.standard_normal(shape) * scale).astype(np.float32)
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].tobytes())
    return {k: torch.from_numpy(v) for k, v in tensors.items()}, digest.hexdigest()


def _fan(layer, shape):
    if len(shape) == 2:
        return shape[1]
    if shape[2] == 4:  # transposed, stride 2: four of the sixteen taps meet a pixel
        return shape[0] * 4
    # Of the layers that keep the map's size, conv5_1 is transposed and has unequal channels.
    return shape[0 if layer == "conv5_1" else 1] * shape[2] * shape[3]


def codes(variant):
    """Return the two golden codes, (2, d) float32."""
    shape = RECIPE[LIKE.get(variant, variant)]["latent_shape"]
    drawn = np.random.RandomState(7).standard_normal((2, *shape)).astype(np.float32)
    return drawn.reshape(2, -1)


@cache
def golden():
    with np.load(GOLDEN / "deepsim_recipe.npz", allow_pickle=False) as opened:
        return dict(opened)
