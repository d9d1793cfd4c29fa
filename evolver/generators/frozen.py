"""A frozen network with the face every generator has: codes in, bytes out, a slope under it.

Knows tensors, pixels and how many images to draw at once. Knows nothing of architectures,
weight files, scores or seeds: the same codes on the same device always give the same images.

Arithmetic is float32 throughout. Half the width is no faster on a processor, and moves pixels
of DeePSim's fc6 by up to 13 grey levels (bfloat16, codes four times standard normal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError
from evolver.row_products import row_by_row
from evolver.tensors import channels_last

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evolver.generators.scale import CodeScale
    from evolver.types import Codes, Images, Matrix
    from evolver.windows import Window

_MOST_AT_ONCE = 4096


class FrozenGenerator:
    """A network in its final state, and what an evolution needs to know of it.

    Parameters
    ----------
    name : the name it is loaded by
    net : torch.nn.Module, its weights in place: (n, d) float32 -> (n, 3, h, h) in [0, 1]
    d : int, latent dimensions
    image_size : int, height and width of its images, pixels
    sha256 : digest of the weight file, 64 hexadecimal digits
    device : torch.device, chosen by the caller and never guessed here
    chunk : int, images drawn at once; bounds memory. Another chunk may round sums otherwise,
        and so move a pixel that lies between two grey levels by one
    initial : (n, random generator) -> codes, (n, d); standard normal when None
    parts : name -> (first, one past last) dimension of a part of the code with a meaning of its
        own, as "noise" and "class"; an optimizer may have one to itself
    embeddings : (classes, k) float64, what the part "class" holds for each; none when None
    code_scale : the lengths of its codes that users set; from its first codes when None

    Raises
    ------
    ConfigError
        `chunk` is no number of images.
    """

    def __init__(
        self,
        name: str,
        net: torch.nn.Module,
        *,
        d: int,
        image_size: int,
        sha256: str,
        device: torch.device,
        chunk: int = 8,
        initial: Callable[[int, np.random.Generator], Codes] | None = None,
        parts: Mapping[str, tuple[int, int]] | None = None,
        embeddings: Matrix | None = None,
        code_scale: CodeScale | None = None,
    ) -> None:
        if type(chunk) is not int or not 1 <= chunk <= _MOST_AT_ONCE:
            raise ConfigError(
                f"chunk must be a number of images drawn at once, 1 to {_MOST_AT_ONCE}; "
                f"got {chunk!r}"
            )
        self.name, self.d, self.image_size, self.sha256 = name, d, image_size, sha256
        self.parts, self.embeddings = dict(parts or {}), embeddings
        self.code_scale = code_scale
        self._net = net.eval().requires_grad_(False).to(device)
        self._device, self._chunk, self._initial = device, chunk, initial

    @property
    def device(self) -> torch.device:
        """Where the network is, and where `synthesize` wants its codes."""
        return self._device

    @property
    def chunk(self) -> int:
        """How many images are drawn at once."""
        return self._chunk

    def synthesize(self, z: torch.Tensor) -> torch.Tensor:
        """Differentiable: z, (n, d) float32, to images, (n, 3, h, w) float32 in [0, 1]."""
        return self._net(z)

    @torch.inference_mode()
    def render(self, codes: Codes) -> Images:
        """Turn codes, (n, d) latent units, into images, (n, h, w, 3) uint8 sRGB.

        A code must give the same bytes alone and among others. So every pass has exactly
        `chunk` rows, the last filled up with zeros, for products of different heights may round
        differently; and on a processor, where the rows of one product may, each is multiplied
        by itself. This is the one place where pixels are rounded, half to even.

        Raises
        ------
        DataError
            Codes are not (n, d) and finite, or the network draws no image of numbers for each.
        """
        check_codes(codes, d=self.d)
        size = self.image_size
        images = np.empty((len(codes), size, size, 3), np.uint8)
        for start in range(0, len(codes), self._chunk):
            part = codes[start : start + self._chunk]
            z = torch.zeros((self._chunk, self.d))
            z[: len(part)] = torch.as_tensor(part.astype(np.float32))
            with row_by_row(self._device, self._chunk):
                drawn = self._net(z.to(self._device))
            if tuple(drawn.shape) != (self._chunk, 3, size, size):
                raise DataError(
                    f"{self.name} must draw an image from each of {self._chunk} codes, "
                    f"{(self._chunk, 3, size, size)}; it draws {tuple(drawn.shape)}"
                )
            pixels = drawn[: len(part)]
            if not bool(torch.isfinite(pixels).all()):
                raise DataError(
                    f"{self.name} must draw finite pixels; for these codes, whose largest "
                    f"number is {np.abs(part).max():.3g}, it draws NaN: are these its weights?"
                )
            rows = pixels.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1)
            # In rows before they leave the device: a strided copy costs more than the network.
            torch.as_tensor(images[start : start + len(part)]).copy_(rows.contiguous())
        return images

    def convert(self, dtype: torch.dtype) -> None:
        """Go over to another arithmetic, and to the layout that wide registers like.

        For whoever has this generator to itself: its images are no longer a session's, bit for
        bit, and it is to `synthesize` only.
        """
        self._net = channels_last(self._net.to(dtype))

    def synthesize_part(self, z: torch.Tensor, window: Window) -> torch.Tensor:
        """Return a part of what `synthesize` does, by itself where the network can do that."""
        part = getattr(self._net, "part", None)
        return window.of(self._net(z)) if part is None else part(z, window)

    @property
    def code_space(self) -> str:
        """Which of its spaces a code is of, where the network has several, as "z"; or empty."""
        return str(getattr(self._net, "latent", ""))

    def first_weights(self) -> list[Matrix] | None:
        """Return the weights that a code meets first, each (k, outputs) float64.

        k is d, or that of `as_w`'s codes. None where the network does not say which they are.
        """
        of_net = getattr(self._net, "first_weights", None)
        weights: list[torch.Tensor] = [] if of_net is None else of_net()
        return [weight.numpy(force=True).astype(np.float64).T for weight in weights] or None

    @torch.no_grad()
    def as_w(self, codes: Codes) -> Codes:
        """Return codes of the space that images are compared in; most networks have but one.

        Of a network that maps z to w these are w, (n, k); else the codes themselves.

        Raises
        ------
        DataError
            Codes are not (n, d) and finite.
        """
        check_codes(codes, d=self.d)
        mapped = getattr(self._net, "as_w", None)
        if mapped is None:
            return codes
        z = torch.as_tensor(codes.astype(np.float32)).to(self._device)
        return mapped(z).double().numpy(force=True)

    def initial_codes(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return codes, (n, d), where users of this generator start an evolution."""
        if self._initial is None:
            return rng.standard_normal((n, self.d))
        return self._initial(n, rng)
