"""The object-like network: class embedding and continuous factors to one thing on a background.

Knows tensors. Knows nothing of pixels as bytes, of scores, or of where weights are kept.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

_SIZE = 64
_BLOCKS = ((128, 128), (128, 64), (64, 48))  # channels in and out; each doubles the map


class ObjectNet(nn.Module):
    """Class embedding (64) and continuous factors (64) to an image.

    As in BigGAN, the code enters at the bottom and again at every block, where it scales and
    shifts the channels. What they paint is a thing in a frame of its own, colours and opacity;
    a small network reads from the code where that frame lies on the canvas (shift, zoom, turn:
    Jaderberg et al. 2015), and another paints the background, which is smooth. So a place is
    learnt once for all things, not for each thing anew, and edges stay sharp wherever they go.
    """

    d, embedding = 128, 64

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(classes, 64)
        self.trunk1, self.trunk2 = nn.Linear(128, 384), nn.Linear(384, 384)
        self.seed = nn.Linear(384, 128 * 4 * 4)
        for k, (inputs, outputs) in enumerate(_BLOCKS):
            self.add_module(
                f"up{k}", nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
            )
            self.add_module(f"conv{k}", nn.Conv2d(outputs, outputs, 3, padding=1))
            self.add_module(f"style{k}", nn.Linear(384, 2 * outputs))
        self.up3 = nn.ConvTranspose2d(48, 12, 4, stride=2, padding=1)
        self.paint = nn.Conv2d(12, 4, 3, padding=1)
        self.pose1, self.pose2 = nn.Linear(128, 128), nn.Linear(128, 4)
        self.ground1, self.ground2 = nn.Linear(128, 256), nn.Linear(256, 3 * 8 * 8)
        nn.init.zeros_(self.pose2.weight)  # training starts with every thing in the middle
        nn.init.zeros_(self.pose2.bias)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, 128) into images (n, 3, 64, 64), 0 to 1."""
        painted = self._thing(z)
        opaque = torch.sigmoid(painted[:, 3:] - 1)
        layers = torch.cat([torch.sigmoid(painted[:, :3]) * opaque, opaque], dim=1)
        layers = F.grid_sample(
            layers, self._frame(z), mode="bilinear", padding_mode="zeros", align_corners=False
        )
        far = self.ground2(F.leaky_relu(self.ground1(z), 0.2)).view(-1, 3, 8, 8)
        far = torch.sigmoid(
            F.interpolate(far, (_SIZE, _SIZE), mode="bilinear", align_corners=False)
        )
        return far * (1 - layers[:, 3:]) + layers[:, :3]

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that a code meets first, each (outputs, 128)."""
        return [self.trunk1.weight, self.pose1.weight, self.ground1.weight]

    def _thing(self, z: torch.Tensor) -> torch.Tensor:
        """Return colours and opacity before squashing, (n, 4, 64, 64), in the thing's frame."""
        h = F.leaky_relu(self.trunk1(z), 0.2)
        h = F.leaky_relu(self.trunk2(h), 0.2)
        x = self.seed(h).view(-1, 128, 4, 4)
        for k in range(len(_BLOCKS)):
            x = self.get_submodule(f"up{k}")(F.leaky_relu(x, 0.2))
            scale, shift = self.get_submodule(f"style{k}")(h)[:, :, None, None].chunk(2, dim=1)
            x = F.leaky_relu(x * (1 + scale) + shift, 0.2)
            x = x + self.get_submodule(f"conv{k}")(x)
        return self.paint(F.leaky_relu(self.up3(F.leaky_relu(x, 0.2)), 0.2))

    def _frame(self, z: torch.Tensor) -> torch.Tensor:
        """Return where each pixel of the canvas lies in the thing's frame, (n, 64, 64, 2)."""
        pose = self.pose2(F.leaky_relu(self.pose1(z), 0.2))
        shift, zoom = 0.5 * torch.tanh(pose[:, :2]), torch.exp(0.7 * torch.tanh(pose[:, 2]))
        c, s = zoom * torch.cos(pose[:, 3]), zoom * torch.sin(pose[:, 3])
        rows = torch.stack([c, s, -s, c], dim=1).view(-1, 2, 2)
        moved = -(rows @ shift[:, :, None])
        theta = torch.cat([rows, moved], dim=2)
        return F.affine_grid(theta, [len(z), 1, _SIZE, _SIZE], align_corners=False)
