"""Train the texture generator: invert fc6 of the network (Dosovitskiy & Brox 2016).

Three losses, as theirs: the image, the image's features in the network (the comparator), and an
adversary that tells rendered scenes from generated ones. Two things are ours. The code is fc6
whitened, so that standard normal codes are spread as those of scenes are; and part of each
batch are normal codes of any length, which no scene has: from them the network must read back
the code (so each direction of the space draws something of its own) and the adversary must be
fooled.
"""

from __future__ import annotations

import logging
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from evolver.generators.mini_texture import TextureNet
from evolver.tensors import channels_last, descend, seed_torch, symmetric_eigen
from scorers.mini.network import MiniCNN
from scorers.mini.train.cnn import tensor
from scorers.mini.train.data import Scenes

_log = logging.getLogger(__name__)

_COMPARED = ("conv1", "conv2", "conv3", "conv4")
_WEIGHTS = {"conv1": 0.3, "conv2": 0.6, "conv3": 1.0, "conv4": 1.0}


class Comparator:
    """Distances between images in the network's features, each layer in its own variance."""

    def __init__(self, net: MiniCNN, reference: torch.Tensor) -> None:
        self.net, self.wanted = net, frozenset((*_COMPARED, "fc6"))
        with torch.inference_mode():
            outputs = net(reference, self.wanted)
        self._scale = {name: 1 / float(outputs[name].detach().var()) for name in _COMPARED}

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the features, fc6 among them."""
        return self.net(x, self.wanted)

    def distance(self, a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted squared distance, 1 for images as unlike as two at random are."""
        parts = [
            _WEIGHTS[name] * self._scale[name] * (a[name] - b[name]).square().mean()
            for name in _COMPARED
        ]
        return sum(parts[1:], parts[0]) / (2 * sum(_WEIGHTS.values()))


class Adversary(nn.Module):
    """Tells scenes from generated images by the network's own features (Sauer et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.fine = norm(nn.Conv2d(32, 48, 3, stride=2, padding=1))
        self.join = norm(nn.Conv2d(48 + 64, 96, 3, stride=2, padding=1))
        self.deep = norm(nn.Conv2d(96, 96, 3, padding=1))
        self.verdict = norm(nn.Conv2d(96, 1, 1))
        self.scale = nn.ParameterDict({
            "conv1": nn.Parameter(torch.ones(1)),
            "conv2": nn.Parameter(torch.ones(1)),
        })

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return (n, 8, 8): large where a patch looks like a scene."""
        x = F.leaky_relu(
            self.fine(F.leaky_relu(features["conv1"], 0.2) * self.scale["conv1"]), 0.2
        )
        x = torch.cat([x, F.leaky_relu(features["conv2"], 0.2) * self.scale["conv2"]], dim=1)
        x = F.leaky_relu(self.join(x), 0.2)
        return self.verdict(F.leaky_relu(self.deep(x), 0.2))[:, 0]


def jittered(*batches: torch.Tensor, rng: torch.Generator) -> list[torch.Tensor]:
    """Shift all batches alike by up to 3 pixels, round the edges.

    The first convolution looks at every second pixel; always on the same ones, it would let a
    generator hide a checkerboard between them.
    """
    shift = [int(pixels) for pixels in torch.randint(4, (2,), generator=rng)]
    return [torch.roll(x, shift, dims=(2, 3)) for x in batches]


@torch.inference_mode()
def codes_of(net: MiniCNN, images: np.ndarray, batch: int = 500) -> torch.Tensor:
    """Return fc6 of every image, (n, 256) float32."""
    wanted = frozenset(["fc6"])
    parts = [
        net(tensor(images[k : k + batch]), wanted)["fc6"] for k in range(0, len(images), batch)
    ]
    return torch.cat(parts).clone()


def whitening(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (mean, matrix): (codes - mean) @ matrix has unit variance in every direction.

    Directions in which scenes hardly vary are floored at a thousandth of the largest variance,
    so that they are not blown up to noise.
    """
    mean = codes.mean(0)
    values, vectors = symmetric_eigen(torch.cov((codes - mean).double().T))
    gain = values.clamp(min=1e-3 * float(values[-1])).rsqrt()
    return mean, (vectors * gain @ vectors.T).float()


def random_codes(n: int, d: int, rng: torch.Generator) -> torch.Tensor:
    """Return normal codes 0.6 to 6 times as long as those of scenes, evenly in logarithm."""
    length = torch.exp(torch.empty(n, 1).uniform_(-0.5, 1.8, generator=rng))
    return torch.randn(n, d, generator=rng) * length


def train(
    net: MiniCNN, data: Scenes, *, steps: int, seed: int, batch: int = 48, free: int = 16
) -> TextureNet:
    """Train for `steps` batches of `batch` scenes and `free` codes of no scene; Adam."""
    seed_torch(seed)
    rng = torch.Generator().manual_seed(seed)
    images = data[0]
    generator = TextureNet()
    layer = codes_of(net, images)
    mean, matrix = whitening(layer)
    generator.code_mean.copy_(mean)
    generator.code_matrix.copy_(matrix)
    channels_last(generator)
    adversary = Adversary()
    comparator = Comparator(net, tensor(images[:500]))
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.8, 0.99))
    opponent = torch.optim.Adam(adversary.parameters(), lr=1e-3, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.5e-3, total_steps=steps, pct_start=0.1
    )
    begin, started = steps // 5, time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(images), (batch,), generator=rng)
        x = tensor(images[rows.numpy()])
        z = generator.encode(layer[rows])
        extra = random_codes(free, generator.d, rng)
        drawn = generator(torch.cat([z, extra]))
        shifted_x, shifted = jittered(x, drawn, rng=rng)
        with torch.no_grad():
            real = comparator(shifted_x)
        seen = comparator(shifted)
        matched = {name: value[:batch] for name, value in seen.items()}
        loss_image = (drawn[:batch] - x).abs().mean() + 2 * F.mse_loss(drawn[:batch], x)
        loss_feature = comparator.distance(matched, real)
        back = generator.encode(seen["fc6"])
        loss_code = 1 - F.cosine_similarity(back, torch.cat([z, extra])).mean()
        loss = 3 * loss_image + 3 * loss_feature + 0.5 * loss_code
        fooled = torch.zeros(())
        if step >= begin:
            fooled = -adversary(seen).mean()
            loss = loss + 0.1 * fooled
        descend(loss, optimizer, clipped=generator.parameters())
        schedule.step()
        if step >= begin - 50:
            verdict_real = adversary(real)
            verdict_drawn = adversary({name: value.detach() for name, value in seen.items()})
            loss_adversary = F.relu(1 - verdict_real).mean() + F.relu(1 + verdict_drawn).mean()
            descend(loss_adversary, opponent)
        if step % 100 == 0 or step == steps - 1:
            _log.info(
                "texture %5d/%d  image %.3f  features %.3f  code %.3f  adversary %.2f  %.0f s",
                step,
                steps,
                loss_image.item(),
                loss_feature.item(),
                loss_code.item(),
                fooled.item(),
                time.monotonic() - started,
            )
    return generator.eval()
