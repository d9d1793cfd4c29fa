"""StyleGAN3 as every generator is used: codes in, images out.

Knows its network, and how a code becomes styles: as z, as w, or as a w for each layer. Knows
nothing of scores, screens or seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evolver.errors import ConfigError, DataError
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.stylegan3.convert import read_converted
from evolver.generators.stylegan3.network import MappingNetwork, SynthesisNetwork
from evolver.weights import hub
from evolver.weights.read import chosen_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evolver.generators.stylegan3.settings import StyleGAN3Settings
    from evolver.types import Codes

LATENTS = ("z", "w", "w+")


class StyleGAN3(torch.nn.Module):
    """A frozen network, and what a code means to it.

    Parameters
    ----------
    settings : the network's settings
    tensors : its weights, on the device it runs on
    latent : what a code is. "z": what the mapping network takes. "w": one style for all layers.
        "w+": a style for each layer, one after another
    truncation : psi; styles are drawn to the mean style by it, 1 leaves them. In "w" and "w+"
        it acts on `initial_codes` alone: what a code says is what is drawn
    cutoff : how many styles, from the first, are truncated; all when None
    label : which class to draw, for a network that has classes
    transform : (3, 3), what is done to the plane on which everything is drawn (a rotation, a
        shift); its last row is 0 0 1. The network's own, usually nothing, when None

    Raises
    ------
    ConfigError
        An option is none of this network's.
    """

    def __init__(
        self,
        settings: StyleGAN3Settings,
        tensors: dict[str, torch.Tensor],
        *,
        latent: str = "z",
        truncation: float = 0.7,
        cutoff: int | None = None,
        label: int | None = None,
        transform: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        rows = settings.num_ws
        _must(latent in LATENTS, "latent", f"one of {', '.join(LATENTS)}", latent)
        _must(_is_number(truncation), "truncation", "a finite number", truncation)
        _must(
            cutoff is None or (_is_whole(cutoff) and 0 <= cutoff <= rows),
            "cutoff",
            f"a whole number, 0 to {rows}",
            cutoff,
        )
        self.settings, self.latent, self.truncation = settings, latent, float(truncation)
        self.cutoff = rows if cutoff is None else cutoff
        self.d = {"z": settings.z_dim, "w": settings.w_dim, "w+": rows * settings.w_dim}[latent]
        placed = {name: value.float() for name, value in tensors.items()}
        self._device = placed["mapping.w_avg"].device
        self._label = _one_hot(label, settings.c_dim, self._device)
        with torch.no_grad():
            self._mapping = MappingNetwork(settings, placed)
            self._synthesis = SynthesisNetwork(settings, placed, _plane(transform))

    def styles(self, z: torch.Tensor) -> torch.Tensor:
        """Return truncated styles, (n, num_ws, w_dim), from z, (n, z_dim)."""
        label = None if self._label is None else self._label.expand(len(z), -1)
        w = self._mapping(z, label)[:, None].expand(-1, self.settings.num_ws, -1)
        if self.truncation == 1 or self.cutoff == 0:
            return w
        near = torch.lerp(self._mapping.w_avg, w[:, : self.cutoff], self.truncation)
        return torch.cat([near, w[:, self.cutoff :]], dim=1)

    def draw(self, ws: torch.Tensor) -> torch.Tensor:
        """Return images, (n, 3 or 1, h, w), about -1 to 1 and not clamped, from styles.

        Differentiable. `ws` is (n, num_ws, w_dim): a style for the input and one for each
        layer, which may differ (style mixing).

        Raises
        ------
        DataError
            `ws` has another shape.
        """
        rows, width = self.settings.num_ws, self.settings.w_dim
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (rows, width):
            raise DataError(f"ws must have shape (n, {rows}, {width}); got {tuple(ws.shape)}")
        return self._synthesis(ws)

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that make styles of w, each (outputs, w_dim)."""
        return self._synthesis.affine_weights()

    def as_w(self, codes: torch.Tensor) -> torch.Tensor:
        """Return w of codes, (n, w_dim): truncated where they are z; of w+ the first style."""
        if self.latent == "z":
            return self.styles(codes)[:, 0]
        return codes[:, : self.settings.w_dim]

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Turn codes, (n, d), into images, (n, 3, h, w) in [0, 1]."""
        if self.latent == "z":
            ws = self.styles(codes)
        elif self.latent == "w":
            ws = codes[:, None].expand(-1, self.settings.num_ws, -1)
        else:
            ws = codes.view(-1, self.settings.num_ws, self.settings.w_dim)
        images = (self.draw(ws) / 2 + 0.5).clamp(0, 1)
        return images.expand(-1, 3, -1, -1)  # grey where the network has one channel

    @torch.no_grad()
    def initial_codes(self, n: int, rng: np.random.Generator) -> Codes:
        """Return codes, (n, d), where users of this generator start an evolution.

        Standard normal z; in "w" and "w+" the truncated styles of such.
        """
        z = rng.standard_normal((n, self.settings.z_dim))
        if self.latent == "z":
            return z
        ws = self.styles(torch.as_tensor(z.astype(np.float32)).to(self._device))
        ws = ws[:, 0] if self.latent == "w" else ws.reshape(n, self.d)
        return ws.cpu().numpy().astype(np.float64)


def load_network(
    weights: str | Path,
    *,
    device: str = "cpu",
    **options: Any,  # noqa: ANN401  those of `StyleGAN3`, checked there
) -> tuple[StyleGAN3, str]:
    """Read a converted network, for its `styles` and `draw`; return it and its sha256.

    Raises
    ------
    ConfigError
        An option or the device is none of this network's or machine's.
    WeightsError
        The file is missing, or is no converted generator.
    """
    chosen = chosen_device(device)
    location = hub.find_weights("stylegan3", weights)
    settings, tensors, sha256 = read_converted(location.path, sha256=location.sha256)
    placed = {name: value.to(chosen) for name, value in tensors.items()}
    return StyleGAN3(settings, placed, **options), sha256


def stylegan3(
    *,
    weights: str | Path | None,
    device: str,
    latent: str = "z",
    truncation: float = 0.7,
    cutoff: int | None = None,
    label: int | None = None,
    transform: Sequence[Sequence[float]] | None = None,
    chunk: int = 1,
) -> FrozenGenerator:
    """Load a converted generator; see `evolver.generators.load` and `StyleGAN3`.

    `chunk` images are drawn at once. On a processor one is as fast as many.
    """
    if weights is None:
        raise ConfigError(
            "stylegan3 must be given weights: an official pickle, converted once by "
            "'evolver weights convert FILE OUT.safetensors --as stylegan3'"
        )
    net, sha256 = load_network(
        weights,
        device=device,
        latent=latent,
        truncation=truncation,
        cutoff=cutoff,
        label=label,
        transform=transform,
    )
    width = net.settings.w_dim
    parts = {f"w{k}": (k * width, (k + 1) * width) for k in range(net.settings.num_ws)}
    return FrozenGenerator(
        "stylegan3",
        net,
        d=net.d,
        image_size=net.settings.img_resolution,
        sha256=sha256,
        device=chosen_device(device),
        chunk=chunk,
        initial=net.initial_codes,
        parts=parts if latent == "w+" else None,
    )


def _one_hot(label: Any, classes: int, device: torch.device) -> torch.Tensor | None:  # noqa: ANN401  from a session file
    if not classes:
        _must(label is None, "label", "left out, as the network has no classes", label)
        return None
    rule = f"a whole number, 0 to {classes - 1}, as the network has classes"
    _must(_is_whole(label) and 0 <= label < classes, "label", rule, label)
    return torch.eye(classes, device=device)[label : label + 1]


def _plane(transform: Any) -> torch.Tensor | None:  # noqa: ANN401  from a session file
    if transform is None:
        return None
    try:
        matrix = np.array(transform, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    good = matrix.shape == (3, 3) and np.isfinite(matrix).all()
    _must(
        bool(good) and matrix[2].tolist() == [0, 0, 1],
        "transform",
        "three rows of three finite numbers, the last 0 0 1",
        transform,
    )
    return torch.as_tensor(matrix.astype(np.float32))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _must(good: bool, name: str, rule: str, value: object) -> None:  # noqa: FBT001  a check
    if not good:
        raise ConfigError(f"stylegan3's {name} must be {rule}; got {value!r}")
