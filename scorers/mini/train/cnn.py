"""Train the network: classes first, and enough of each scene's factors that it can be inverted.

Knows tensors and scenes in memory. Knows nothing of files. Besides the classes, fc6 is asked,
by a linear read-out thrown away afterwards, for the scene's factors and an 8 x 8 thumbnail:
with 256 units and nothing but classes to tell apart it would forget position, light and colour,
which 4,096 units trained on photographs keep, and a generator could not draw from it.
"""

from __future__ import annotations

import logging
import time
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from evolver.tensors import channels_last, descend, seed_torch
from scorers.mini import scenes
from scorers.mini.network import MiniCNN
from scorers.mini.train.data import Scenes

_log = logging.getLogger(__name__)


def _blur(weight: torch.Tensor) -> torch.Tensor:
    """Smooth filters over space, (out, in, 7, 7)."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    plane = torch.outer(kernel, kernel)[None, None]
    flat = weight.reshape(-1, 1, *weight.shape[2:])
    return F.conv2d(flat, plane, padding=2).reshape(weight.shape)


def _roughness(weight: torch.Tensor) -> torch.Tensor:
    """Return how much of each filter's energy its blurred copy lacks, 0 to 1, on average.

    The scale of a filter is free (normalisation follows), so energy is compared, not size: what
    training leaves of its random start is asked to fade, which seven pixels of a few images
    hardly ask for by themselves.
    """
    rest = (weight - _blur(weight)).square().sum((1, 2, 3))
    return (rest / weight.square().sum((1, 2, 3))).mean()


class _Trainee(nn.Module):
    """The network with batch normalisation after each layer but the last, and the read-outs."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = MiniCNN(classes)
        self.norms = nn.ModuleDict({
            name: (nn.BatchNorm2d if layer.kernel else nn.BatchNorm1d)(layer.channels)
            for name, layer in self.net.layers.items()
            if name != "logits"
        })
        first = self.net.get_parameter("conv1.weight")
        with torch.no_grad():
            first.copy_(2 * _blur(first))
        self.factors = nn.Linear(256, len(scenes.FACTORS))
        self.thumbnail = nn.Linear(256, 8 * 8 * 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = (x - 0.5) * 4
        code = x
        for name, norm in self.norms.items():
            if name == "fc5":
                x = F.max_pool2d(x, 2).flatten(1)
            x = norm(self.net.get_submodule(name)(x))
            code, x = x, F.relu(x)
        x = F.dropout(x, 0.2, self.training)
        return self.net.get_submodule("logits")(x), self.factors(code), self.thumbnail(code)

    @torch.no_grad()
    def folded(self) -> MiniCNN:
        """Return the plain network, each normalisation multiplied into the weights before."""
        plain = MiniCNN(self.net.layers["logits"].channels)
        plain.load_state_dict(self.net.state_dict())
        for name, norm in self.norms.items():
            weight = plain.get_parameter(f"{name}.weight")
            bias = plain.get_parameter(f"{name}.bias")
            variance = norm.get_buffer("running_var") + cast("nn.BatchNorm2d", norm).eps
            gain = norm.get_parameter("weight") / torch.sqrt(variance)
            weight.mul_(gain.view(-1, *[1] * (weight.ndim - 1)))
            bias.copy_(
                (bias - norm.get_buffer("running_mean")) * gain + norm.get_parameter("bias")
            )
        return plain.eval().requires_grad_(False)


def tensor(images: np.ndarray) -> torch.Tensor:
    """Turn uint8 images (n, h, w, 3) into float32 (n, 3, h, w), 0 to 1."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).float().div_(255)


def train(data: Scenes, *, steps: int, seed: int, batch: int = 96) -> MiniCNN:
    """Train for `steps` batches; cross-entropy plus the two read-outs, Adam, one-cycle rate."""
    seed_torch(seed)
    images, labels, factors = data
    model = channels_last(_Trainee(len(scenes.CLASSES)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=0.15
    )
    pick = np.random.Generator(np.random.PCG64(seed))
    # Only scenes drawn from their factors one to one can be asked for them.
    smooth = torch.as_tensor(labels < len(scenes.OBJECTS)).float()
    order, started = np.empty(0, np.int64), time.monotonic()
    for step in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, pick.permutation(len(images))])
        rows, order = order[:batch], order[batch:]
        x = tensor(images[rows])
        logits, read, thumb = model(x + 0.02 * torch.randn_like(x))
        loss_class = F.cross_entropy(
            logits, torch.as_tensor(labels[rows]), label_smoothing=0.05
        )
        wrong = (read - torch.as_tensor(factors[rows]).float()).square().mean(1)
        loss_factor = (wrong * smooth[rows]).mean()
        loss_thumb = (thumb - F.avg_pool2d((x - 0.5) * 4, 8).flatten(1)).square().mean()
        rough = _roughness(model.net.get_parameter("conv1.weight"))
        loss = loss_class + 0.5 * loss_factor + 0.5 * loss_thumb + 0.2 * rough
        descend(loss, optimizer)
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            right = (logits.argmax(1).numpy() == labels[rows]).mean()
            _log.info(
                "cnn %5d/%d  class %.3f  right %.2f  factors %.3f  thumbnail %.3f  %.0f s",
                step,
                steps,
                loss_class.item(),
                right,
                loss_factor.item(),
                loss_thumb.item(),
                time.monotonic() - started,
            )
    return model.eval().folded()
