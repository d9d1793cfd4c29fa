"""Any torch module that draws images from codes, named by where Python finds it.

A session file says ``generator = "lab.nets:Decoder"`` and ``weights = "decoder.safetensors"``;
what `Decoder` is, an nn.Module, its class, or a function that returns one, is called for or
taken as it is. Knows codes, pixels and weight files. Knows nothing of what the module does: it
is shown one code of zeros, and must answer with one image.

Importing a module runs it: a session file that names one is to be trusted as a program is.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import import_module
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evolver.errors import ConfigError
from evolver.generators.frozen import FrozenGenerator
from evolver.weights.read import chosen_device, fill, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


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
) -> FrozenGenerator:
    """Load a module as a generator.

    Parameters
    ----------
    name : "module:attr", an import path and what is to be found there; `attr` may have dots
    weights : a safetensors file, or torch's, with exactly the module's tensors; the module's
        own, as it comes, when None
    device : a torch device
    d : latent dimensions; the module's attribute `d` when None
    code_shape : what one code looks like to the module, as (256, 6, 6); (d,) when None
    output_range : what the module's black and white are, as (-1, 1) or (0, 255)
    arguments : handed to the class or function
    chunk : images drawn at once

    Raises
    ------
    ConfigError
        The module cannot be imported, made or called, or draws no images.
    WeightsError
        The weight file is missing, or is of another module.
    """
    low, high = _range(output_range)
    chosen = chosen_device(device)
    net = _made(name, dict(arguments or {})).float().eval().requires_grad_(False)
    if weights is not None:
        tensors, sha256 = read_weights(Path(weights))
        fill(net, tensors, path=Path(weights))
    else:
        sha256 = _digest(net)
    width = _width(name, net, d, code_shape)
    face = _Face(net, tuple(code_shape or (width,)), low, high).to(chosen)
    return FrozenGenerator(
        name,
        face,
        d=width,
        image_size=_image_size(name, face, width, chosen),
        sha256=sha256,
        device=chosen,
        chunk=chunk,
    )


class _Face(torch.nn.Module):
    """A module with codes in rows before it and pixels of 0 to 1 after it."""

    def __init__(
        self, net: torch.nn.Module, shape: tuple[int, ...], low: float, high: float
    ) -> None:
        super().__init__()
        self.net, self._shape, self._low, self._scale = net, shape, low, 1 / (high - low)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        images = self.net(z.reshape(-1, *self._shape))
        if images.shape[1] == 1:  # grey
            images = images.expand(-1, 3, -1, -1)
        return ((images.float() - self._low) * self._scale).clamp(0, 1)


def _made(name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    """Import what `name` says, and make a module of it."""
    path, _, attribute = name.partition(":")
    try:
        target: Any = import_module(path)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"generator {name!r} must be importable, as module:attr; it is not: {error}. "
            "Install the module, or put its folder on PYTHONPATH"
        ) from error
    if isinstance(target, torch.nn.Module):
        if arguments:
            raise ConfigError(f"generator {name!r} is a module already and takes no arguments")
        return target
    if not callable(target):
        raise ConfigError(
            f"generator {name!r} must be a torch.nn.Module, its class, or a function that "
            f"returns one; it is a {type(target).__name__}"
        )
    try:
        module = target(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"generator {name!r} must be made of arguments {arguments!r}; it says: {error}"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(
            f"generator {name!r} must return a torch.nn.Module; it returns a "
            f"{type(module).__name__}"
        )
    return module


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


def _image_size(name: str, face: _Face, width: int, device: torch.device) -> int:
    """Draw a code of zeros, and return the size of its image."""
    try:
        with torch.no_grad():
            image = face(torch.zeros(1, width, device=device))
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"generator {name!r} must draw an image from a code of {width} numbers; it says: "
            f"{reason}"
        ) from error
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3]:
        raise ConfigError(
            f"generator {name!r} must draw one square image, (1, 3 or 1, h, h), from one code; "
            f"it draws {shape}"
        )
    return shape[2]


def _digest(net: torch.nn.Module) -> str:
    """Return the sha256 of a module's tensors: names, dtypes, shapes and bytes, in order."""
    digest = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
