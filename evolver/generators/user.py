"""Any torch module that draws images from codes, named by where Python finds it.

A session file says ``generator = "lab.nets:Decoder"`` and ``weights = "decoder.safetensors"``;
what `Decoder` is, an nn.Module, its class, or a function that returns one, is called for or
taken as it is. Knows codes, pixels and weight files. Knows nothing of what the module does: it
is shown a few codes as an evolution begins with, twice together and once alone, and must draw
the same images each time.

Importing a module runs it: a session file that names one is to be trusted as a program is.
"""

from __future__ import annotations

from functools import partial
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evolver.errors import ConfigError, DataError
from evolver.generators.frozen import FrozenGenerator
from evolver.lab_code import OWN_FAILURES, error_text, own_errors
from evolver.lab_modules import fill_module, make_module
from evolver.weights.read import chosen_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def factory(name: str) -> Callable[..., FrozenGenerator]:
    """Return the factory of the generator called ``module:attr``; see `load_module`."""
    return partial(load_module, name)


def load_module(
    name: str,
    *,
    weights: str | Path | None,
    device: str,
    d: int | None = None,
    code_shape: Sequence[int] | None = None,
    output_range: Sequence[float] = (0.0, 1.0),
    arguments: Mapping[str, Any] | None = None,
    chunk: int = 8,
    entry: str | None = None,
) -> FrozenGenerator:
    """Load a module as a generator.

    Parameters
    ----------
    name : "module:attr", an import path and what is to be found there; `attr` may have dots
    weights : a safetensors file, or torch's, with exactly the module's tensors, or a checkpoint
        that holds them; ``repo:file`` on the Hub; the module's own, as it comes, when None
    device : a torch device
    d : latent dimensions; the module's attribute `d` when None
    code_shape : what one code looks like to the module, as (256, 6, 6); (d,) when None
    output_range : what the module's black and white are, as (-1, 1) or (0, 255)
    arguments : handed to the class or function
    chunk : images drawn at once
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    ConfigError
        The module cannot be imported, made or called; or draws no images, other images for the
        same codes, or values outside of `output_range`.
    WeightsError
        The weight file is missing, or is of another module.
    """
    low, high = _range(output_range)
    chosen = chosen_device(device)
    net = make_module("generator", name, arguments or {}).float().eval().requires_grad_(False)
    sha256 = fill_module(net, name, weights, entry=entry)
    width = _width(name, net, d, code_shape)
    face = _Face(name, net, tuple(code_shape or (width,)), low, high).to(chosen).eval()
    return FrozenGenerator(
        name,
        face,
        d=width,
        image_size=_probed(name, face, width, chosen),
        sha256=sha256,
        device=chosen,
        chunk=chunk,
    )


_PROBES = 3  # codes
_REPEATS_TO = 1e-4  # of the range; a GPU adds up in any order
_COMPANY_TO = 4e-3  # of the range, about one grey level
_MARGIN, _MOST_OUTSIDE = 0.01, 0.2  # of the range; of the values


class _Face(torch.nn.Module):
    """A module with codes in rows before it and pixels of 0 to 1 after it."""

    def __init__(
        self, name: str, net: torch.nn.Module, shape: tuple[int, ...], low: float, high: float
    ) -> None:
        super().__init__()
        self.net, self._shape, self._low, self._scale = net, shape, low, 1 / (high - low)
        self._must = f"generator {name!r} must draw an image from every code"

    def unclamped(self, z: torch.Tensor) -> torch.Tensor:
        """Return what the module draws, with its black at 0 and its white at 1."""
        images = self.net(z.reshape(-1, *self._shape))
        if not isinstance(images, torch.Tensor):
            raise DataError(f"{self._must}, a tensor; it returns a {type(images).__name__}")
        return (images.float() - self._low) * self._scale

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        with own_errors(self._must):
            images = self.unclamped(z)
            if images.shape[1] == 1:  # grey
                images = images.expand(-1, 3, -1, -1)
            return images.clamp(0, 1)


def _width(name: str, net: torch.nn.Module, d: int | None, shape: Sequence[int] | None) -> int:
    """Return the latent dimensions, from whatever gives them."""
    if shape is not None and (not shape or any(type(k) is not int or k < 1 for k in shape)):
        raise ConfigError(f"code_shape must be whole numbers of at least 1; got {shape!r}")
    given = {
        "d": d,
        "code_shape": prod(shape) if shape is not None else None,
        "the module's d": getattr(net, "d", None) if d is None and shape is None else None,
    }
    widths = {key: value for key, value in given.items() if value is not None}
    if not widths:
        raise ConfigError(
            f"generator {name!r} must say how many dimensions its codes have: give the option d"
        )
    width = next(iter(widths.values()))
    if type(width) is not int or width < 1 or len(set(widths.values())) > 1:
        raise ConfigError(f"d must be one whole number, at least 1; got {widths}")
    return width


def _range(values: Any) -> tuple[float, float]:  # noqa: ANN401  from a session file
    match values:
        case [int() | float() as low, int() | float() as high] if (
            isfinite(low) and isfinite(high) and low < high
        ):
            return float(low), float(high)
        case _:
            raise ConfigError(
                f"output_range must be two numbers, black below white; got {values!r}"
            )


def _probed(name: str, face: _Face, width: int, device: torch.device) -> int:
    """Draw a few codes twice, and each alone; return the size of the images.

    Raises
    ------
    ConfigError
        The module raises, draws no square images, other images for the same codes or in other
        company, or values that its `output_range` cuts off.
    """
    normal = np.random.default_rng(0).standard_normal((_PROBES, width))
    codes = torch.as_tensor(normal.astype(np.float32)).to(device)
    alone = _drawn(name, face, codes[:1], width)
    shape = tuple(alone.shape)
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in {1, 3} or shape[2] != shape[3]:
        raise ConfigError(
            f"generator {name!r} must draw one square image, (1, 3 or 1, h, h), from one code; "
            f"it draws {shape}"
        )
    together = _drawn(name, face, codes, width)
    if tuple(together.shape) != (_PROBES, *shape[1:]):
        raise ConfigError(
            f"generator {name!r} must draw {_PROBES} images, {(_PROBES, *shape[1:])}, from "
            f"{_PROBES} codes, as it draws one from one; it draws {tuple(together.shape)}. "
            "Is a number of images written into its forward? -1 in view leaves it open"
        )
    if not bool(torch.isfinite(together).all()):
        raise ConfigError(
            f"generator {name!r} must draw finite values; it draws NaN or infinity"
        )
    again = _drawn(name, face, codes, width)
    if (moved := _distance(together, again)) > _REPEATS_TO:
        raise ConfigError(
            f"generator {name!r} must draw the same image for the same code; drawn twice, its "
            f"values differ by up to {moved:.2g} of its range, in evaluation mode. Take out "
            "what draws random numbers (noise, functional dropout), or give it a fixed seed"
        )
    if (moved := _distance(alone, together[:1])) > _COMPANY_TO:
        raise ConfigError(
            f"generator {name!r} must draw an image that does not depend on which others are "
            f"drawn with it; alone, its values differ by up to {moved:.2g} of its range. Does "
            "it normalise over the batch?"
        )
    outside = float(((together < -_MARGIN) | (together > 1 + _MARGIN)).float().mean())
    if outside > _MOST_OUTSIDE:
        low, high = float(together.min()), float(together.max())
        raise ConfigError(
            f"generator {name!r} must draw values within its output_range; {outside:.0%} lie "
            f"outside, where they would be cut to black or white: with the range as 0 to 1, it "
            f"draws {low:.3g} to {high:.3g}. A network that ends in tanh has output_range = "
            "[-1, 1]"
        )
    return shape[2]


def _drawn(name: str, face: _Face, codes: torch.Tensor, width: int) -> torch.Tensor:
    try:
        with torch.no_grad():
            return face.unclamped(codes)
    except OWN_FAILURES as error:
        count = "a code" if len(codes) == 1 else f"{len(codes)} codes at once, each"
        raise ConfigError(
            f"generator {name!r} must draw an image from {count} of {width} numbers; it says: "
            f"{error_text(error)}"
        ) from error


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
