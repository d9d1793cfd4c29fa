"""The two built-in generators: a texture-like and an object-like image world, 64 pixels.

Knows tensors and pixels. Knows nothing of scores, screens, seeds or where weights are kept: the
same codes on the same device always give the same images.

Both end in a logistic squashing instead of a clamp: a pixel driven far beyond white keeps a
slope, so two large codes still rank differently, and a gradient is not blind there.
"""
# pyright: basic, reportCallIssue=false, reportOperatorIssue=false, reportArgumentType=false
# torch types the children of a Module as Tensor or Module: every call of one would be an error.

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.generators.frozen import FrozenGenerator
from evolver.generators.mini_object import ObjectNet
from evolver.generators.mini_texture import TextureNet
from evolver.weights.read import chosen_device, fill, read_weights, shipped

if TYPE_CHECKING:
    from evolver.types import Codes, Matrix

SHIPPED = {
    "mini-texture": (
        "texture.safetensors",
        "6ebbad144d426e09923d53e6c7f7907798a688dc81e133d4ea10ebda47275dfa",
    ),
    "mini-object": (
        "object.safetensors",
        "c1a055ecae03afd744ce5ab0219ca80fc6f117b88e0728324edd8a10206b3fc0",
    ),
}
"""File and sha256 of the weights of each; `python -m scorers.mini.train` makes them again."""
_PACKAGE = "evolver.weights"

IMAGE_SIZE = 64
"""Height and width of the images, pixels."""


def load_mini(
    name: str, *, weights: str | Path | None, device: str, chunk: int = 8
) -> FrozenGenerator:
    """Load ``mini-texture`` or ``mini-object``; see `evolver.generators.load`."""
    filename, pinned = SHIPPED[name]
    path = shipped(_PACKAGE, f"mini/{filename}") if weights is None else Path(weights)
    tensors, sha256 = read_weights(path, sha256=pinned if weights is None else None)
    if name == "mini-texture":
        net = TextureNet()
    else:
        table = tensors.get("embeddings.weight")
        net = ObjectNet(0 if table is None else len(table))
    fill(net, tensors, path=path)
    return FrozenGenerator(
        name,
        net,
        d=net.d,
        image_size=IMAGE_SIZE,
        sha256=sha256,
        device=chosen_device(device),
        chunk=chunk,
        **_parts(net),
    )


def _parts(net: TextureNet | ObjectNet) -> dict[str, Any]:
    """Return what is said of an object's code besides: its parts, its classes, its start."""
    if not isinstance(net, ObjectNet):
        return {}
    table = net.embeddings.weight.detach().numpy().astype(np.float64)
    k = table.shape[1]
    return {
        "initial": partial(_things, table, net.d),
        "parts": {"class": (0, k), "noise": (k, net.d)},
        "embeddings": table,
    }


def _things(table: Matrix, d: int, n: int, rng: np.random.Generator) -> Codes:
    """Codes of things: a class drawn at random, beside 0.7 times standard normal factors."""
    chosen = table[rng.integers(len(table), size=n)]
    return np.hstack([chosen, 0.7 * rng.standard_normal((n, d - table.shape[1]))])


def texture(*, weights: str | Path | None, device: str, chunk: int = 8) -> FrozenGenerator:
    """Load ``mini-texture``; see `evolver.generators.load`."""
    return load_mini("mini-texture", weights=weights, device=device, chunk=chunk)


def thing(*, weights: str | Path | None, device: str, chunk: int = 8) -> FrozenGenerator:
    """Load ``mini-object``; see `evolver.generators.load`."""
    return load_mini("mini-object", weights=weights, device=device, chunk=chunk)
