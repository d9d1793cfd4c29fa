"""Latent codes to images; torch lives here, and is loaded by `load`, not by importing this.

Built in: ``mini-texture`` (256 dimensions, textures) and ``mini-object`` (128, things).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from evolver.types import Generator

NAMES: tuple[str, ...] = ("mini-texture", "mini-object")
"""The generators that `load` knows."""


def load(
    name: str, *, weights: str | Path | None = None, device: str = "cpu", **options: object
) -> Generator:
    """Load a generator by name.

    Parameters
    ----------
    name : one of `NAMES`
    weights : a file to use instead of the shipped one, of the same architecture
    device : a torch device, "cpu" or "cuda:0"
    **options : what the generator takes besides; the built-in ones take nothing

    Raises
    ------
    ConfigError : the name, an option or the device does not exist
    WeightsError : the weight file is missing, or is not the one shipped with this version
    """
    if name not in NAMES:
        raise ConfigError(f"generator must be one of {', '.join(NAMES)}; got {name!r}")
    if options:
        raise ConfigError(f"{name} takes no options; got {', '.join(sorted(options))}")
    from evolver.generators.mini import load_mini  # torch, only now

    return load_mini(name, weights=weights, device=device)
