"""A generator small enough to be computed by hand: pixels are linear in the code."""

import numpy as np
import torch

from evolver.generators.frozen import FrozenGenerator

SIZE = 4
WEIGHT = np.random.default_rng(7).normal(0, 0.08, (3 * SIZE * SIZE, 5))


class _Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 3 * SIZE * SIZE)
        self.layer.weight.data = torch.tensor(WEIGHT, dtype=torch.float32)
        self.layer.bias.data.fill_(0.5)

    def forward(self, z):
        return self.layer(z).reshape(-1, 3, SIZE, SIZE)


def linear_generator(chunk=3):
    return FrozenGenerator(
        "linear",
        _Linear(),
        d=5,
        image_size=SIZE,
        sha256="0" * 64,
        device=torch.device("cpu"),
        chunk=chunk,
    )
