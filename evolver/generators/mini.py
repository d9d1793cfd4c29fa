"""The two built-in generators: a texture-like and an object-like image world, 64 pixels.

Knows tensors and pixels. Knows nothing of scores, screens, seeds or where weights are kept: the
same codes on the same device always give the same images.

Both end in a logistic squashing instead of a clamp: a pixel driven far beyond white keeps a
slope, so two large codes still rank differently, and a gradient is not blind there.
"""
# pyright: basic, reportCallIssue=false, reportOperatorIssue=false, reportArgumentType=false
# torch types the children of a Module as Tensor or Module: every call of one would be an error.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from evolver.checks import check_codes
from evolver.generators.mini_object import ObjectNet
from evolver.generators.mini_texture import TextureNet
from evolver.generators.weights import chosen_device, fill, read_weights, shipped

if TYPE_CHECKING:
    from evolver.types import Codes, Images

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
_PACKAGE = "evolver.generators"

IMAGE_SIZE = 64
"""Height and width of the images, pixels."""


class MiniGenerator:
    """A frozen built-in generator.

    Parameters
    ----------
    name : the name it is loaded by
    net : TextureNet or ObjectNet, its weights in place
    sha256 : digest of the weight file, 64 hexadecimal digits
    device : torch.device, chosen by the caller and never guessed here
    chunk : int, images rendered at once; bounds memory, and never changes an image
    """

    image_size = IMAGE_SIZE

    def __init__(
        self,
        name: str,
        net: TextureNet | ObjectNet,
        *,
        sha256: str,
        device: torch.device,
        chunk: int = 8,
    ) -> None:
        self.name, self.sha256, self.d = name, sha256, net.d
        self._net = net.eval().requires_grad_(False).to(device)
        self._device, self._chunk = device, chunk

    def synthesize(self, z: torch.Tensor) -> torch.Tensor:
        """Differentiable: z, (n, d) float32, to images, (n, 3, h, w) float32 in [0, 1]."""
        return self._net(z)

    @torch.inference_mode()
    def render(self, codes: Codes) -> Images:
        """Turn codes, (n, d) latent units, into images, (n, h, w, 3) uint8 sRGB.

        Every pass has exactly `chunk` rows, the last filled up with zeros: matrix products of
        different heights may round differently, and a code must give the same bytes alone and
        among others. This is the one place where pixels are rounded, half to even.
        """
        check_codes(codes, d=self.d)
        images = np.empty((len(codes), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for start in range(0, len(codes), self._chunk):
            part = codes[start : start + self._chunk]
            z = torch.zeros((self._chunk, self.d))
            z[: len(part)] = torch.from_numpy(part.astype(np.float32))
            pixels = self._net(z.to(self._device)).mul_(255).round_().to(torch.uint8)
            images[start : start + len(part)] = (
                pixels.permute(0, 2, 3, 1).cpu().numpy()[: len(part)]
            )
        return images

    def initial_codes(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return codes, (n, d), where users of this generator start an evolution.

        Texture: standard normal. Object: the embedding of a class drawn at random, beside
        0.7 times standard normal factors, as BigGAN's users do.
        """
        if isinstance(self._net, TextureNet):
            return rng.standard_normal((n, self.d))
        table = self._net.embeddings.weight.cpu().numpy().astype(np.float64)
        chosen = table[rng.integers(len(table), size=n)]
        return np.hstack([chosen, 0.7 * rng.standard_normal((n, self.d - table.shape[1]))])


def load_mini(name: str, *, weights: str | Path | None, device: str) -> MiniGenerator:
    """Load ``mini-texture`` or ``mini-object``; see `evolver.generators.load`."""
    filename, pinned = SHIPPED[name]
    path = shipped(_PACKAGE, f"weights_mini/{filename}") if weights is None else Path(weights)
    tensors, sha256 = read_weights(path, sha256=pinned if weights is None else None)
    if name == "mini-texture":
        net = TextureNet()
    else:
        table = tensors.get("embeddings.weight")
        net = ObjectNet(0 if table is None else len(table))
    fill(net, tensors, path=path)
    return MiniGenerator(name, net, sha256=sha256, device=chosen_device(device))


def texture(*, weights: str | Path | None, device: str) -> MiniGenerator:
    """Load ``mini-texture``; see `evolver.generators.load`."""
    return load_mini("mini-texture", weights=weights, device=device)


def thing(*, weights: str | Path | None, device: str) -> MiniGenerator:
    """Load ``mini-object``; see `evolver.generators.load`."""
    return load_mini("mini-object", weights=weights, device=device)
