"""Train the object generator: (class, factors) to the scene that the renderer draws from them.

Regression: the image, its features in the network, and a small adversarial term that keeps edges
sharp where the image alone would settle for their average. Class embeddings are learnt, each kept
at the length of a standard normal vector, and blurred by a little noise, so that the space
between two classes is drawn too.
"""
# pyright: basic
# torch types the children of a Module as Any; strict mode would only say so, line by line.

from __future__ import annotations

import logging
import time

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from evolver.generators.mini import ObjectNet
from scorers.mini import scenes
from scorers.mini.network import MiniCNN
from scorers.mini.train.cnn import tensor
from scorers.mini.train.data import Scenes
from scorers.mini.train.texture import Adversary, Comparator

_log = logging.getLogger(__name__)


@torch.no_grad()
def _fix_length(net: ObjectNet) -> None:
    table = net.embeddings.weight
    table.mul_(table.square().mean(1, keepdim=True).rsqrt())


def train(net: MiniCNN, data: Scenes, *, steps: int, seed: int, batch: int = 48) -> ObjectNet:
    """Train for `steps` batches; Adam, one-cycle rate; the adversary joins after half of them."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    images, labels, factors = data
    known, label = torch.from_numpy(factors).float(), torch.from_numpy(labels)
    generator = ObjectNet(len(scenes.OBJECTS)).to(memory_format=torch.channels_last)
    _fix_length(generator)
    comparator, adversary = Comparator(net, tensor(images[:500])), Adversary()
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.9, 0.99))
    opponent = torch.optim.Adam(adversary.parameters(), lr=1e-3, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=0.1
    )
    begin, started = steps // 2, time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(images), (batch,), generator=rng)
        x = tensor(images[rows.numpy()])
        embedded = generator.embeddings(label[rows])
        embedded = embedded + 0.1 * torch.randn(embedded.shape, generator=rng)
        drawn = generator(torch.cat([embedded, known[rows]], dim=1))
        with torch.no_grad():
            real = comparator(x)
        seen = comparator(drawn)
        loss_image = (drawn - x).abs().mean() + 2 * F.mse_loss(drawn, x)
        loss_feature = comparator.distance(seen, real)
        loss = 4 * loss_image + 3 * loss_feature
        fooled = torch.zeros(())
        if step >= begin:
            fooled = -adversary(seen).mean()
            loss = loss + 0.05 * fooled
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(generator.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        _fix_length(generator)
        if step >= begin - 50:
            told = adversary({name: value.detach() for name, value in seen.items()})
            loss_adversary = F.relu(1 - adversary(real)).mean() + F.relu(1 + told).mean()
            opponent.zero_grad(set_to_none=True)
            loss_adversary.backward()
            opponent.step()
        if step % 100 == 0 or step == steps - 1:
            _log.info(
                "object %5d/%d  image %.3f  features %.3f  adversary %.2f  %.0f s",
                step,
                steps,
                loss_image.item(),
                loss_feature.item(),
                fooled.item(),
                time.monotonic() - started,
            )
    return generator.eval()
