"""A lab's own generator and classifier, as plain torch modules: grey digits of 28 x 28 pixels.

``python digits.py`` makes both in seconds and writes ``decoder.safetensors`` and
``classifier.safetensors``; ``digits.toml`` beside this file evolves a three.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from torch import nn

SIZE, DIMENSIONS, EACH = 28, 24, 150


class Decoder(nn.Module):
    """A code to a picture: the mean digit, and so much of each principal component."""

    d = DIMENSIONS

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(DIMENSIONS, SIZE * SIZE)

    def forward(self, z):
        return self.linear(z).clamp(0, 1).reshape(-1, 1, SIZE, SIZE)


class Classifier(nn.Module):
    """A picture to a number for each of the ten digits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, stride=2)
        self.hidden = nn.Linear(16 * 12 * 12, 48)
        self.digits = nn.Linear(48, 10)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.digits(torch.relu(self.hidden(x.flatten(1))))


def draw_digits(rng):
    """Return pictures (n, 1, 28, 28) in [0, 1], and which digits they are."""
    pictures, digits = [], []
    for digit in range(10):
        for _ in range(EACH):
            image = Image.new("L", (SIZE, SIZE))
            font = ImageFont.load_default(size=float(rng.uniform(19, 25)))
            middle = tuple(SIZE / 2 + rng.normal(0, 1.2, 2))
            ImageDraw.Draw(image).text(middle, str(digit), fill=255, font=font, anchor="mm")
            turned = image.rotate(float(rng.normal(0, 8)), Image.Resampling.BILINEAR)
            pictures.append(np.asarray(turned, dtype=np.float32) / 255)
            digits.append(digit)
    return torch.tensor(np.stack(pictures))[:, None], torch.tensor(digits)


def main():
    """Make both networks."""
    torch.manual_seed(1)
    pictures, digits = draw_digits(np.random.default_rng(1))
    flat = pictures.flatten(1)
    mean = flat.mean(0)
    _, lengths, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    scale = lengths[:DIMENSIONS] / len(flat) ** 0.5
    save_file(
        {
            "linear.weight": (axes[:DIMENSIONS] * scale[:, None]).T.contiguous(),
            "linear.bias": mean,
        },
        "decoder.safetensors",
    )
    net = Classifier()
    adam = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(4):
        for rows in torch.randperm(len(digits)).split(50):
            adam.zero_grad()
            nn.functional.cross_entropy(net(pictures[rows]), digits[rows]).backward()
            adam.step()
    right = (net(pictures).argmax(1) == digits).float().mean()
    save_file(net.state_dict(), "classifier.safetensors")
    print(f"{right:.0%} of the digits are told apart")


if __name__ == "__main__":
    main()
