"""The two built-in generators: a texture-like and an object-like image world, 64 pixels.

Knows tensors and pixels. Knows nothing of scores, screens, seeds or where weights are kept: the
same codes on the same device always give the same images.

Both end in a logistic squashing instead of a clamp: a pixel driven far beyond white keeps a
slope, so two large codes still rank differently, and a gradient is not blind there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.generators.frozen import FrozenGenerator
from evolver.generators.mini_object import ObjectNet
from evolver.generators.mini_texture import TextureNet
from evolver.generators.scale import CodeScale
from evolver.weights import hub
from evolver.weights.outlines import without_numbers
from evolver.weights.read import TensorTable, chosen_device, fill, fitted, read_weight_file

if TYPE_CHECKING:
    from pathlib import Path

    from evolver.types import Codes, Matrix

IMAGE_SIZE = 64
"""Height and width of the images, pixels."""


def load_mini_generator(
    name: str,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    chunk: int = 8,
    entry: str | None = None,
) -> FrozenGenerator:
    """Load ``mini-texture`` or ``mini-object``.

    Parameters
    ----------
    name : which of the two
    weights : a file to use instead of the shipped one; ``repo:file`` on the Hub
    device : a torch device, "cpu" or "cuda:0"
    chunk : images drawn at once; bounds memory
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    ConfigError
        An option or the device does not exist.
    WeightsError
        The file is missing, is not the one shipped with this version, or is of another
        network.
    """
    location = hub.find_weights(name, weights)
    file = read_weight_file(location.path, sha256=location.sha256)
    net = fitted(file, partial(_mini_net, name, path=location.path), entry=entry)
    return FrozenGenerator(
        name,
        net,
        d=net.d,
        image_size=IMAGE_SIZE,
        sha256=file.sha256,
        device=chosen_device(device),
        chunk=chunk,
        **_code_of(net),
    )


def _mini_net(name: str, tensors: TensorTable, *, path: Path) -> TextureNet | ObjectNet:
    with without_numbers():
        if name == "mini-texture":
            net = TextureNet()
        else:
            table = tensors.get("embeddings.weight")
            # Of the width there is, so that rows of nothing make no network of any size.
            whole = table is not None and table.shape[1:] == (ObjectNet.embedding,)
            net = ObjectNet(len(table) if table is not None and whole else 0)
    fill(net, tensors, path=path)
    return net


def _code_of(net: TextureNet | ObjectNet) -> dict[str, Any]:
    """Return what a generator says of an object's code: its parts, classes and first codes."""
    if not isinstance(net, ObjectNet):
        return {"code_scale": CodeScale(step=8.0, norm=None, rate=0.1)}
    table = net.embeddings.weight.detach().numpy().astype(np.float64)
    k = table.shape[1]
    return {
        "initial": partial(_initial, table, net.d),
        "parts": {"class": (0, k), "noise": (k, net.d)},
        "embeddings": table,
    }


def _initial(table: Matrix, d: int, n: int, rng: np.random.Generator) -> Codes:
    """Return a class drawn at random beside 0.7 times standard normal factors, (n, d)."""
    chosen = table[rng.integers(len(table), size=n)]
    return np.hstack([chosen, 0.7 * rng.standard_normal((n, d - table.shape[1]))])


texture = partial(load_mini_generator, "mini-texture")
object_like = partial(load_mini_generator, "mini-object")
