"""The two built-in generators: a texture-like and an object-like image world, 64 pixels.

Knows tensors and pixels. Knows nothing of scores, screens, seeds or where weights are kept: the
same codes on the same device always give the same images.

Both end in a logistic squashing instead of a clamp: a pixel driven far beyond white keeps a
slope, so two large codes still rank differently, and optimizers by gradient are not blind there.
"""
# pyright: basic
# torch types the children of a Module as Any; strict mode would only say so, line by line.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.checks import check_codes
from evolver.generators.weights import chosen_device, fill, read_weights, shipped

if TYPE_CHECKING:
    from evolver.types import Codes, Images

SHIPPED = {
    "mini-texture": (
        "texture.safetensors",
        "defa01e49ddc0d5d073987730a7911ebc316bdb7bce630766ccd04a58253507f",
    ),
    "mini-object": (
        "object.safetensors",
        "54568c452ae795adadb46108fea217c096c1ca86ba25193e9fa1b8870d79b0e1",
    ),
}
"""File and sha256 of the weights of each; `python -m scorers.mini.train` makes them again."""
_PACKAGE = "evolver.generators"

IMAGE_SIZE = 64
"""Height and width of the images, pixels."""


class TextureNet(nn.Module):
    """Up-convolutional inverse of a fully connected layer (Dosovitskiy & Brox 2016), small.

    Three linear layers, then transposed convolutions that each double the map, with ordinary
    ones between; LeakyReLU(0.3) throughout. A code's length is compressed first, asinh-wise, so
    that codes of length 16 (standard normal) and of length 100 (late in an evolution) both land
    where the network was trained; direction, and the order of lengths, are kept.
    """

    d = 256

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("code_mean", torch.zeros(256))
        self.register_buffer("code_matrix", torch.eye(256))
        self.defc7, self.defc6 = nn.Linear(256, 384), nn.Linear(384, 384)
        self.defc5 = nn.Linear(384, 128 * 4 * 4)
        self.deconv4, self.conv4_1 = _up(128, 128), _conv(128, 128)
        self.deconv3, self.conv3_1 = _up(128, 64), _conv(64, 64)
        self.deconv2, self.conv2_1 = _up(64, 48), _conv(48, 48)
        self.deconv1 = _up(48, 3)

    def encode(self, fc6: torch.Tensor) -> torch.Tensor:
        """Turn outputs of the inverted layer, (n, 256), into codes: centred and whitened."""
        return (fc6 - self.code_mean) @ self.code_matrix

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, 256) into images (n, 3, 64, 64), 0 to 1."""
        length = torch.linalg.vector_norm(z, dim=1, keepdim=True) / 12
        x = z * (torch.asinh(length) / length.clamp(min=1e-6))
        for name in ("defc7", "defc6", "defc5"):
            x = F.leaky_relu(self.get_submodule(name)(x), 0.3)
        x = x.view(-1, 128, 4, 4)
        for k in (4, 3, 2):
            x = F.leaky_relu(self.get_submodule(f"deconv{k}")(x), 0.3)
            x = F.leaky_relu(self.get_submodule(f"conv{k}_1")(x), 0.3)
        return torch.sigmoid(self.deconv1(x))


class ObjectNet(nn.Module):
    """Class embedding (64) and continuous factors (64) to an image, in the manner of BigGAN.

    The code enters at the bottom and again at every block, where it scales and shifts the
    channels. Trained by regression on rendered scenes whose factors are known.
    """

    d, embedding = 128, 64

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(classes, 64)
        self.trunk1, self.trunk2 = nn.Linear(128, 512), nn.Linear(512, 512)
        self.seed = nn.Linear(512, 128 * 4 * 4)
        self.blocks = [(128, 128), (128, 64), (64, 48)]
        for k, (inputs, outputs) in enumerate(self.blocks):
            self.add_module(f"up{k}", _up(inputs, outputs))
            self.add_module(f"conv{k}", _conv(outputs, outputs))
            self.add_module(f"style{k}", nn.Linear(512, 2 * outputs))
        self.rgb = _up(48, 3)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, 128) into images (n, 3, 64, 64), 0 to 1."""
        h = F.leaky_relu(self.trunk1(z), 0.2)
        h = F.leaky_relu(self.trunk2(h), 0.2)
        x = self.seed(h).view(-1, 128, 4, 4)
        for k in range(len(self.blocks)):
            x = self.get_submodule(f"up{k}")(F.leaky_relu(x, 0.2))
            scale, shift = self.get_submodule(f"style{k}")(h)[:, :, None, None].chunk(2, dim=1)
            x = F.leaky_relu(x * (1 + scale) + shift, 0.2)
            x = x + self.get_submodule(f"conv{k}")(x)
        return torch.sigmoid(self.rgb(F.leaky_relu(x, 0.2)))


def _up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


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
        self._net = net.eval().requires_grad_(False).to(device)  # noqa: FBT003  torch's own
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
