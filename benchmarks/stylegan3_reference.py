"""StyleGAN3 by its equations, one plain operation after another: slow, and easy to check.

Zeros are inserted and multiplied, whole rows are filtered and every second sample thrown away,
weights are modulated image by image. What `evolver.generators.stylegan3` makes of the same
equations is measured against this, and compared with it in its tests. Any dtype: float64 makes
an oracle of it.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Mapping
from math import pi, sqrt

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.generators.stylegan3.filters import lowpass
from evolver.generators.stylegan3.settings import (
    StyleGAN3Settings,
    SynthesisLayer,
    expected,
    schedule,
)

ReferenceTensors = Mapping[str, torch.Tensor]


def random_tensors(config: StyleGAN3Settings, seed: int) -> dict[str, torch.Tensor]:
    """Return weights as a network has them before training, but no bias and no mean is zero."""
    rng = np.random.default_rng(seed)
    plan = schedule(config)
    filters: dict[str, np.ndarray] = {}
    for layer in plan.layers:
        if layer.rgb:
            continue
        key = f"synthesis.{layer.name}."
        filters[f"{key}up_filter"] = lowpass(
            layer.up_taps, layer.in_cutoff, layer.in_half_width, layer.up * layer.in_rate,
            radial=False,
        )  # fmt: skip
        filters[f"{key}down_filter"] = lowpass(
            layer.down_taps, layer.out_cutoff, layer.out_half_width,
            layer.down * layer.out_rate, radial=layer.radial,
        )  # fmt: skip
    made: dict[str, torch.Tensor] = {}
    for name, shape in expected(config).items():
        value = rng.standard_normal(shape, np.float32)
        if name in filters:
            value = filters[name]
        elif name.endswith("magnitude_ema"):
            value = np.exp(0.3 * value)
        elif name.endswith("transform"):
            value = np.eye(3)
        elif name.endswith("freqs"):
            length = np.sqrt(rng.uniform(size=(len(value), 1)))
            value = value / np.linalg.norm(value, axis=1, keepdims=True) * length * plan.cutoff
        elif "mapping.fc" in name:
            value = 100 * value
        elif name.endswith("affine.bias"):
            value = 1 + 0.2 * value if "input" not in name else np.array([1, 0.1, 0.05, -0.1])
        elif name.endswith("bias"):
            value = 0.2 * value
        made[name] = torch.from_numpy(np.asarray(value, np.float32))
    return made


def upfirdn(
    x: torch.Tensor, f: torch.Tensor, *, up: int, down: int, pad: tuple[int, int], gain: float
) -> torch.Tensor:
    """Insert zeros, pad or crop, filter along both axes, keep every `down`-th sample."""
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(n, c, h * up, w * up), [*pad, *pad])  # negative numbers crop
    if f.ndim == 2:
        x = F.conv2d(x, (gain * f).flip(0, 1).expand(c, 1, -1, -1), groups=c)
    else:
        row = (sqrt(gain) * f).flip(0).expand(c, 1, 1, -1)
        x = F.conv2d(F.conv2d(x, row, groups=c), row.transpose(2, 3), groups=c)
    return x[:, :, ::down, ::down]


def activate(
    x: torch.Tensor, up: torch.Tensor, down: torch.Tensor, layer: SynthesisLayer, clamp: float
) -> torch.Tensor:
    """Upsample, LeakyReLU, clamp, downsample."""
    size = layer.in_size + layer.kernel - 1
    total = (layer.out_size - 1) * layer.down + 1 - size * layer.up
    total += layer.up_taps + layer.down_taps - 2
    pad = (layer.before, total - layer.before)
    x = upfirdn(x, up, up=layer.up, down=1, pad=pad, gain=layer.up**2)
    x = (F.leaky_relu(x, 0.2) * sqrt(2)).clamp(-clamp, clamp)
    return upfirdn(x, down, up=1, down=layer.down, pad=(0, 0), gain=1)


def mapping(
    config: StyleGAN3Settings, t: ReferenceTensors, z: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Return w, (n, w_dim), from z, (n, z_dim), and one-hot labels, (n, c_dim)."""
    x = _unit(z)
    if config.c_dim:
        x = torch.cat([x, _unit(_dense(t, "mapping.embed", c))], dim=1)
    for i in range(config.mapping_kwargs.num_layers):
        x = F.leaky_relu(_dense(t, f"mapping.fc{i}", x, 0.01), 0.2) * sqrt(2)
    return x


def synthesis(config: StyleGAN3Settings, t: ReferenceTensors, ws: torch.Tensor) -> torch.Tensor:
    """Return images, (n, 3, h, w), from styles, (n, num_ws, w_dim)."""
    plan = schedule(config)
    x = _input(config, t, ws[:, 0])
    for i, layer in enumerate(plan.layers):
        key = f"synthesis.{layer.name}"
        weight, bias = t[f"{key}.weight"], t[f"{key}.bias"]
        style = _dense(t, f"{key}.affine", ws[:, i + 1])
        if layer.rgb:
            style = style / sqrt(layer.in_channels)
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            style = style * style.square().mean(1, keepdim=True).rsqrt()
        rows: list[torch.Tensor] = []
        for image, s in zip(x, style, strict=True):
            modulated = weight * s[:, None, None]
            if not layer.rgb:
                power = modulated.square().sum((1, 2, 3), keepdim=True)
                modulated = modulated * (power + 1e-8).rsqrt()
            modulated = modulated * t[f"{key}.magnitude_ema"].rsqrt()
            rows.append(F.conv2d(image[None], modulated, padding=layer.kernel - 1))
        x = torch.cat(rows) + bias[:, None, None]
        if layer.rgb:
            x = x.clamp(-config.conv_clamp, config.conv_clamp)
        else:
            up, down = t[f"{key}.up_filter"], t[f"{key}.down_filter"]
            x = activate(x, up, down, layer, config.conv_clamp)
    return x * config.output_scale


def _input(config: StyleGAN3Settings, t: ReferenceTensors, w: torch.Tensor) -> torch.Tensor:
    plan, key = schedule(config), "synthesis.input"
    weight, user = t[f"{key}.weight"], t[f"{key}.transform"]
    centres = (np.arange(plan.size) + 0.5 - plan.size / 2) / plan.rate
    x, y = (torch.from_numpy(a).to(w) for a in np.meshgrid(centres, centres))
    images: list[torch.Tensor] = []
    for row in _dense(t, f"{key}.affine", w):
        a, b, dx, dy = (row / row[:2].norm()).unbind()
        one, zero = torch.ones_like(a), torch.zeros_like(a)
        turn = torch.stack([a, -b, zero, b, a, zero, zero, zero, one]).view(3, 3)
        move = torch.stack([one, zero, -dx, zero, one, -dy, zero, zero, one]).view(3, 3)
        m = turn @ move @ user
        phase = t[f"{key}.phases"] + t[f"{key}.freqs"] @ m[:2, 2]
        freq = t[f"{key}.freqs"] @ m[:2, :2]
        height = 1 - (freq.norm(dim=1) - plan.cutoff) / (plan.rate / 2 - plan.cutoff)
        fx, fy, p = (v[:, None, None] for v in (freq[:, 0], freq[:, 1], phase))
        waves = height.clamp(0, 1)[:, None, None] * torch.sin(2 * pi * (fx * x + fy * y + p))
        images.append(torch.einsum("chw,kc->khw", waves, weight / sqrt(plan.channels)))
    return torch.stack(images)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _dense(t: ReferenceTensors, name: str, x: torch.Tensor, rate: float = 1.0) -> torch.Tensor:
    weight = t[f"{name}.weight"]
    return F.linear(x, weight * rate / sqrt(weight.shape[1]), t[f"{name}.bias"] * rate)
