"""Networks by the names that addresses begin with.

Knows names and import paths. Knows nothing of networks, and loads no torch until a name is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError
from evolver.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scorers.networks.network import Network

BUILTIN = {
    "mini": "scorers.networks.mini:load_mini",
    "caffenet": "scorers.networks.caffenet:load_caffenet",
    "known": "scorers.networks.known:load_known",
}
"""Name -> module:factory, imported when asked for."""
LIBRARIES = {
    "encoder": "scorers.networks.encoder:load_encoder",
    "hf": "scorers.networks.huggingface:load_huggingface",
    "torchvision": "scorers.networks.libraries:load_torchvision",
    "timm": "scorers.networks.libraries:load_timm",
}
"""What stands before a colon -> module:factory of every network of that library; of encoders,
before their file."""

REGISTRY = Registry("network", {**BUILTIN, **LIBRARIES}, ("name", "weights", "device"))
"""The networks that an address can begin with."""


def load_network_by_name(
    name: str,
    /,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    **options: object,
) -> Network:
    """Load a network; `scorers.networks.load` is this function.

    Parameters
    ----------
    name : a key of `BUILTIN`; ``hf:ORG/NAME`` or ``hf:FOLDER``, ``torchvision:NAME``,
        ``timm:NAME``; ``encoder:FILE``, what was fitted, whose options are its network's; one
        that an installed distribution adds through the entry-point group ``evolver.networks``,
        a factory that takes the name first, then `weights`, `device` and options of its own by
        name; or any name where the option `module` says where a lab's own is found (see
        `scorers.networks.own`)
    weights : a file to use instead of the network's own, of the same architecture
    device : a torch device, "cpu" or "cuda:0"
    **options : what the network takes besides, by the names in its factory's signature

    Raises
    ------
    ConfigError
        There is no such network or option, or a package that it needs is missing.
    WeightsError
        The weight file is missing, or is of another network.
    """
    return REGISTRY.make(
        name, _factory(name, options), name, options=options, weights=weights, device=device
    )


def _factory(name: str, options: Mapping[str, object]) -> Any:  # noqa: ANN401  of networks
    library, colon, rest = name.partition(":")
    if "module" in options and library != "encoder":
        from scorers.networks.own import load_own

        return load_own
    if library in LIBRARIES and not (colon and rest):
        raise ConfigError(f"network {library} must be followed by a name, as {library}:NAME")
    return REGISTRY.find(library if colon and library in LIBRARIES else name)
