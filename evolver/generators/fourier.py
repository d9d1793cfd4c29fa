"""An image without a network: pixels by their spectrum, colours decorrelated, after a sigmoid.

Olah, Mordvintsev & Schubert 2017 (Distill, "Feature visualization"): that a step along
coordinates of a 1/f spectrum in decorrelated colours makes images that a step along pixels does
not. So ascent without a generator's prior has its contestant.

A code is the real spectrum (Hartley: every coordinate a plane grating, all orthonormal) of
three planes of `size` by `size`, and of a fourth, the mask, where there is one: d = 3 or 4
times size squared. Each coefficient is divided by its frequency, the planes are mixed to
correlated colours, and a sigmoid makes them pixels: a code of zeros is grey. With a mask,
itself a sigmoid, the image lies over a background: grey, or a noise that is always the same.

Knows tensors and pixels. Knows nothing of scores. There are no weights: the digest is that of
the settings.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from evolver import seeds
from evolver.errors import ConfigError, WeightsError
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.scale import CodeScale
from evolver.tensors import hartley
from evolver.weights.read import chosen_device

if TYPE_CHECKING:
    from pathlib import Path

    from evolver.types import Codes

# Colours of natural images: columns are the root of their covariance's eigenvectors, as
# published with the article.
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
_SIZES = range(8, 513)
_BACKGROUNDS = ("grey", "noise")
_NOISE_SD = 0.2  # of a background's pixels, about grey
_SPREAD = 0.1  # of the codes that one starts with
_RATE = 0.05
_STEP = 0.1
_VERSION = "evolver, pixels by their spectrum, version 1"


class SpectrumNet(torch.nn.Module):
    """Spectra to images, (n, planes * size^2) to (n, 3, size, size) in [0, 1].

    Parameters
    ----------
    size : pixels a side
    decay : exponent of the frequency that coefficients are divided by; 1 is natural images'
    alpha : whether a fourth plane is the mask
    background : (3, size, size) in [0, 1], behind it
    """

    gain: torch.Tensor
    """(size, size), what each coefficient is multiplied by: planes of N(0, 1) codes have
    the standard deviation 1."""
    colours: torch.Tensor
    """(3, 3), from decorrelated colours, in columns, to red, green and blue."""
    background: torch.Tensor
    """(3, size, size)."""

    def __init__(
        self, size: int, *, decay: float, alpha: bool, background: torch.Tensor
    ) -> None:
        super().__init__()
        self.size, self.planes = size, 4 if alpha else 3
        waves = np.fft.fftfreq(size, 1 / size)
        cycles = np.hypot(waves[:, None], waves[None, :])  # an image
        gain = np.maximum(cycles, 1.0) ** -decay
        gain /= np.sqrt((gain**2).mean())
        colours = np.array(_COLOURS)
        colours /= np.linalg.norm(colours, axis=0).max()
        self.register_buffer("gain", torch.tensor(gain, dtype=torch.float32))
        self.register_buffer("colours", torch.tensor(colours, dtype=torch.float32))
        self.register_buffer("background", background)

    @property
    def d(self) -> int:
        """Numbers of a code."""
        return self.planes * self.size**2

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into images (n, 3, size, size), 0 to 1."""
        spectrum = z.view(-1, self.planes, self.size, self.size) * self.gain
        planes = hartley(spectrum)
        # Summed by hand, in one order whatever the number of images.
        red, green, blue = planes[:, 0:1], planes[:, 1:2], planes[:, 2:3]
        mix = self.colours.view(3, 3, 1, 1)
        pixels = torch.sigmoid(red * mix[:, 0] + green * mix[:, 1] + blue * mix[:, 2])
        if self.planes == 3:
            return pixels
        opaque = torch.sigmoid(planes[:, 3:])
        return pixels * opaque + self.background * (1 - opaque)


def load_fourier(
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    size: int = 64,
    decay: float = 1.0,
    alpha: bool = False,
    background: Literal["grey", "noise"] = "grey",
    noise_seed: int = 0,
    chunk: int = 8,
) -> FrozenGenerator:
    """Return the generator of pixels by their spectrum.

    Parameters
    ----------
    weights : must be None; there are none
    device : a torch device, "cpu" or "cuda:0"
    size : pixels a side, 8 to 512. A code has 3 times its square of numbers, 12,288 of 64
    decay : exponent of the spectrum, 0 (white) to 3; amplitudes of natural images fall by 1
    alpha : a mask as well, through which the background is seen; 4 times the square
    background : what is behind it: "grey" (half), or "noise", fixed
    noise_seed : of that noise
    chunk : images drawn at once; bounds memory

    Raises
    ------
    ConfigError
        An option is out of its range, or the device does not exist.
    WeightsError
        Weights were given.
    """
    if weights is not None:
        raise WeightsError(f"'fourier' has no weights, and takes no file; got {weights}")
    if type(size) is not int or size not in _SIZES:
        raise ConfigError(
            f"size must be pixels a side, {_SIZES[0]} to {_SIZES[-1]}; got {size!r}"
        )
    if type(decay) not in {int, float} or not 0 <= decay <= 3:
        raise ConfigError(f"decay must be an exponent, 0 to 3; got {decay!r}")
    if type(alpha) is not bool:
        raise ConfigError(f"alpha must be true or false; got {alpha!r}")
    if background not in _BACKGROUNDS:
        raise ConfigError(
            f"background must be one of {', '.join(_BACKGROUNDS)}; got {background!r}"
        )
    if type(noise_seed) is not int or noise_seed < 0:
        raise ConfigError(f"noise_seed must be a whole number >= 0; got {noise_seed!r}")
    behind = _background(size, noise_seed if background == "noise" else None)
    net = SpectrumNet(size, decay=float(decay), alpha=alpha, background=behind)
    digest = hashlib.sha256(f"{_VERSION}, {size} pixels, decay {float(decay)!r}\n".encode())
    if alpha:
        digest.update(behind.numpy().tobytes())
    return FrozenGenerator(
        "fourier",
        net,
        d=net.d,
        image_size=size,
        sha256=digest.hexdigest(),
        device=chosen_device(device),
        chunk=chunk,
        initial=lambda n, rng: _initial(n, net.d, rng),
        parts={"image": (0, 3 * size**2)} | ({"mask": (3 * size**2, net.d)} if alpha else {}),
        # Codes may grow: the sigmoid has no end.
        code_scale=CodeScale(step=_STEP, norm=None, rate=_RATE),
    )


def _initial(n: int, d: int, rng: np.random.Generator) -> Codes:
    """Return codes whose images are nearly grey, (n, d)."""
    return _SPREAD * rng.standard_normal((n, d))


def _background(size: int, noise_seed: int | None) -> torch.Tensor:
    """Return what is behind the mask, (3, size, size) in [0, 1]; grey without a seed."""
    pixels = np.full((3, size, size), 0.5)
    if noise_seed is not None:
        rng = seeds.stream(noise_seed, "fourier", "background")
        pixels = np.clip(pixels + _NOISE_SD * rng.standard_normal(pixels.shape), 0, 1)
    return torch.tensor(pixels, dtype=torch.float32)
