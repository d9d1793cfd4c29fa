"""StyleGAN3's arithmetic: codes to styles, and styles to an image (Karras et al. 2021).

Knows tensors. Knows nothing of files, of pixels as bytes, or of where codes come from. The
weights are frozen: what depends on them alone is worked out once, when the network is made.

Modulation and demodulation scale the channels that go into a convolution and come out of it, so
here the images are scaled, and one set of weights serves all of them; the style is brought to
unit size image by image, so that no image depends on its company.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import pi, sqrt

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.generators.stylegan3.resampling import Activation, filtered_activation
from evolver.generators.stylegan3.settings import StyleGAN3Settings, SynthesisLayer, schedule
from evolver.generators.stylegan3.winograd import convolution
from evolver.tensors import vector_norm

Tensors = Mapping[str, torch.Tensor]
_EPSILON = 1e-8


class MappingNetwork:
    """Codes z, and a label, to styles w."""

    def __init__(self, settings: StyleGAN3Settings, tensors: Tensors) -> None:
        self.w_avg = tensors["mapping.w_avg"]
        rate = settings.mapping_kwargs.lr_multiplier
        self._full = [
            _dense(tensors, f"mapping.fc{i}", rate)
            for i in range(settings.mapping_kwargs.num_layers)
        ]
        self._embed = _dense(tensors, "mapping.embed", 1.0) if settings.c_dim else None

    def __call__(self, z: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """Return w, (n, w_dim), from z, (n, z_dim), and a label, (n, c_dim) or None."""
        x = _unit(z)
        if self._embed is not None and label is not None:
            x = torch.cat([x, _unit(F.linear(label, *self._embed))], dim=1)
        for weight, bias in self._full:
            x = F.leaky_relu(F.linear(x, weight, bias), 0.2) * sqrt(2)
        return x


class SynthesisNetwork:
    """Styles, a row for the input and one for each layer, to an image.

    Parameters
    ----------
    settings : the network's settings
    tensors : its weights, float32, on the device it runs on
    transform : (3, 3) what is done to the plane on which everything is drawn; the network's own
        when None
    """

    def __init__(
        self,
        settings: StyleGAN3Settings,
        tensors: Tensors,
        transform: torch.Tensor | None = None,
    ) -> None:
        plan = schedule(settings)
        self._input = _Input(settings, tensors, transform)
        self.layers = tuple(_Layer(layer, settings, tensors) for layer in plan.layers)
        self._scale = settings.output_scale

    def affine_weights(self) -> list[torch.Tensor]:
        """Return the weights that make styles of w, each (outputs, w_dim)."""
        return [self._input.affine_weight, *(layer.affine_weight for layer in self.layers)]

    def __call__(
        self, ws: torch.Tensor, trace: dict[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return images (n, 3, h, w), about -1 to 1, from ws (n, num_ws, w_dim).

        Parameters
        ----------
        ws : styles, a row for the input and one for each layer
        trace : filled with what each layer gives, by its name, if there is one
        """
        x = self._input(ws[:, 0])
        if trace is not None:
            trace["input"] = x
        for k, layer in enumerate(self.layers):
            x = layer(x, ws[:, k + 1])
            if trace is not None:
                trace[layer.plan.name] = x
        return x * self._scale


class _Input:
    """The plane waves that an image grows from, moved and turned as the style says."""

    def __init__(
        self, settings: StyleGAN3Settings, tensors: Tensors, transform: torch.Tensor | None
    ) -> None:
        plan, key = schedule(settings), "synthesis.input."
        self._affine = _dense(tensors, f"{key}affine", 1.0)
        own = tensors[f"{key}transform"]
        self._transform = own if transform is None else transform.to(own)
        self._freqs, self._phases = tensors[f"{key}freqs"], tensors[f"{key}phases"]
        self._weight = tensors[f"{key}weight"] / sqrt(plan.channels)
        self._cutoff, self._rate = plan.cutoff, plan.rate
        # Pixel centres, where the unit square has `rate` pixels and the rest is margin.
        centres = (torch.arange(plan.size, device=own.device) + 0.5) / plan.size - 0.5
        centres = centres * (plan.size / plan.rate)
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self._grid = torch.stack([x, y], dim=2)

    @property
    def affine_weight(self) -> torch.Tensor:
        """What turns w into the plane's move, (4, w_dim)."""
        return self._affine[0]

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return features (n, c, h, w) from styles (n, w_dim)."""
        t = F.linear(w, *self._affine)
        t = t / vector_norm(t[:, :2], dim=1, keepdim=True)
        c, s, x, y = t.unbind(1)
        ones, zeros = torch.ones_like(c), torch.zeros_like(c)
        turn = torch.stack([c, -s, zeros, s, c, zeros, zeros, zeros, ones], 1).view(-1, 3, 3)
        move = torch.stack([ones, zeros, -x, zeros, ones, -y, zeros, zeros, ones], 1)
        move = move.view(-1, 3, 3)
        moved = turn @ move @ self._transform
        phases = self._phases + (self._freqs @ moved[:, :2, 2:])[:, :, 0]
        freqs = self._freqs @ moved[:, :2, :2]
        # A wave that was zoomed out of what the grid can hold is faded before it aliases.
        length = vector_norm(freqs, dim=2)
        fade = (length - self._cutoff) / (self._rate / 2 - self._cutoff)
        height = (1 - fade).clamp(0, 1)
        waves = torch.einsum("hwk,nck->nhwc", self._grid, freqs) + phases[:, None, None]
        waves = torch.sin(waves * (2 * pi)) * height[:, None, None]
        return (waves @ self._weight.T).permute(0, 3, 1, 2).contiguous()


class _Layer:
    """Modulated convolution, bias, and activation between filters."""

    def __init__(
        self, plan: SynthesisLayer, settings: StyleGAN3Settings, tensors: Tensors
    ) -> None:
        self.plan, key = plan, f"synthesis.{plan.name}."
        self._affine = _dense(tensors, f"{key}affine", 1.0)
        self._gain = float(tensors[f"{key}magnitude_ema"].double().rsqrt())
        self._bias = tensors[f"{key}bias"]
        self._clamp = settings.conv_clamp
        weight = tensors[f"{key}weight"]
        if plan.rgb:
            self._weight = weight * (self._gain / sqrt(plan.in_channels))
            return
        weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        self._power = weight.square().sum((2, 3)).T.contiguous()
        self._convolve = convolution(weight, padding=plan.kernel - 1)
        self._activation = Activation.make(
            tensors[f"{key}up_filter"].cpu().numpy() if plan.up_taps > 1 else None,
            tensors[f"{key}down_filter"].cpu().numpy() if plan.down_taps > 1 else None,
            up=plan.up,
            down=plan.down,
            before=plan.before,
            size=plan.in_size + plan.kernel - 1,
            out=plan.out_size,
            clamp=settings.conv_clamp,
            device=weight.device,
        )

    @property
    def affine_weight(self) -> torch.Tensor:
        """What turns w into the layer's style, (in_channels, w_dim)."""
        return self._affine[0]

    def __call__(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Return features (n, c', h', w') from features (n, c, h, w) and styles (n, w_dim)."""
        style = F.linear(w, *self._affine)
        if self.plan.rgb:
            x = F.conv2d(x * style[:, :, None, None], self._weight, self._bias)
            return x.clamp(-self._clamp, self._clamp)
        style = style * style.square().mean(1, keepdim=True).rsqrt()
        after = self._gain * (style.square() @ self._power + _EPSILON).rsqrt()
        y = self._convolve(x * style[:, :, None, None])
        y = torch.addcmul(self._bias[:, None, None], y, after[:, :, None, None])
        return filtered_activation(y, self._activation)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x * (x.square().mean(1, keepdim=True) + _EPSILON).rsqrt()


def _dense(tensors: Tensors, name: str, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a fully connected layer, its learning rate folded in."""
    weight = tensors[f"{name}.weight"]
    return weight * (rate / sqrt(weight.shape[1])), tensors[f"{name}.bias"] * rate
