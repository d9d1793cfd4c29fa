"""A lab's own torch module as a `Network`: ``module:attr``, weights, what is done to images.

Knows what a session file may say of one. Importing a module runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from evolver.errors import ConfigError
from evolver.lab_modules import fill_module, make_module
from evolver.weights.read import chosen_device
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Interpolation, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def load_own(
    name: str,
    *,
    weights: str | Path | None,
    device: str,
    module: str,
    size: int | Sequence[int],
    arguments: Mapping[str, Any] | None = None,
    entry: str | None = None,
    order: Literal["rgb", "bgr", "grey"] = "rgb",
    scale: float = 1.0,
    mean: Sequence[float] | float = 0.0,
    sd: Sequence[float] | float = 1.0,
    interpolation: Interpolation = "bilinear",
) -> ModuleNetwork:
    """Load a module as a network.

    Parameters
    ----------
    name : what addresses call it
    weights, entry : as `evolver.lab_modules.fill_module` takes them
    device : a torch device
    module : "module:attr": a torch.nn.Module, its class, or a function that returns one
    size : of its input, pixels: a side, or height and width
    arguments : handed to the class or function
    order, scale, mean, sd, interpolation : as `Preprocessing`; one number for mean or sd is for
        every channel

    Raises
    ------
    ConfigError
        The module cannot be imported, made or called, or a value cannot be used.
    WeightsError
        The weight file is missing, or is of another module.
    """
    channels = 1 if order == "grey" else 3
    preprocessing = Preprocessing(
        _pair(size),
        interpolation=interpolation,
        order=order,
        scale=float(scale),
        mean=_each(mean, channels),
        sd=_each(sd, channels),
    )
    chosen = chosen_device(device)
    net = make_module("network", module, arguments or {})
    sha256 = fill_module(net, module, weights, entry=entry)
    return ModuleNetwork(name, net, preprocessing, sha256=sha256, device=chosen)


def _pair(size: Any) -> tuple[int, int]:  # noqa: ANN401  from a session file
    match size:
        case int() if not isinstance(size, bool):
            return size, size
        case [int() as height, int() as width]:
            return height, width
        case _:
            raise ConfigError(f"size must be pixels a side, or [height, width]; got {size!r}")


def _each(values: Any, channels: int) -> tuple[float, ...]:  # noqa: ANN401  from a session file
    if isinstance(values, int | float):
        return (float(values),) * channels
    return tuple(float(value) for value in values)
