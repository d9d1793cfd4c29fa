"""Train the object generator: (class, factors) to the scene that the renderer draws from them.

Regression: the image, and its features in the network, which keep edges sharp where the image
alone would settle for their average. No adversary: the image is known exactly, and one that was
tried drew grain instead of detail. Class embeddings are learnt, each kept
at the length of a standard normal vector, and blurred by a little noise, so that the space
between two classes is drawn too.
"""

from __future__ import annotations

import logging
import time

import torch
from torch.nn import functional as F  # noqa: N812

from evolver.generators.mini_object import ObjectNet
from evolver.tensors import channels_last, descend, seed_torch
from scorers.mini import scenes
from scorers.mini.network import MiniCNN
from scorers.mini.train.cnn import tensor
from scorers.mini.train.data import Scenes
from scorers.mini.train.texture import Comparator, jittered

_log = logging.getLogger(__name__)


@torch.no_grad()
def _fix_length(net: ObjectNet) -> None:
    table = net.embeddings.weight
    table.mul_(table.square().mean(1, keepdim=True).rsqrt())


def train(net: MiniCNN, data: Scenes, *, steps: int, seed: int, batch: int = 48) -> ObjectNet:
    """Train for `steps` batches; Adam, one-cycle rate."""
    seed_torch(seed)
    rng = torch.Generator().manual_seed(seed)
    images, labels, factors = data
    known, label = torch.as_tensor(factors).float(), torch.as_tensor(labels)
    generator = channels_last(ObjectNet(len(scenes.OBJECTS)))
    _fix_length(generator)
    comparator = Comparator(net, tensor(images[:500]))
    optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=0.1
    )
    started = time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(images), (batch,), generator=rng)
        x = tensor(images[rows.numpy()])
        embedded = generator.embeddings(label[rows])
        embedded = embedded + 0.1 * torch.randn(embedded.shape, generator=rng)
        drawn = generator(torch.cat([embedded, known[rows]], dim=1))
        shifted_x, shifted = jittered(x, drawn, rng=rng)
        with torch.no_grad():
            real = comparator(shifted_x)
        seen = comparator(shifted)
        loss_image = (drawn - x).abs().mean() + 2 * F.mse_loss(drawn, x)
        loss_feature = comparator.distance(seen, real)
        loss = 4 * loss_image + 3 * loss_feature
        descend(loss, optimizer, clipped=generator.parameters())
        schedule.step()
        _fix_length(generator)
        if step % 100 == 0 or step == steps - 1:
            _log.info(
                "object %5d/%d  image %.3f  features %.3f  %.0f s",
                step,
                steps,
                loss_image.item(),
                loss_feature.item(),
                time.monotonic() - started,
            )
    return generator.eval()
