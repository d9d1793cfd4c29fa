"""Generators by name, as session files give it.

Knows names and import paths. Knows nothing of networks, and loads no torch until a name is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolver.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from evolver.types import Generator

BUILTIN = {
    "mini-texture": "evolver.generators.mini:texture",
    "mini-object": "evolver.generators.mini:object_like",
    "stylegan3": "evolver.generators.stylegan3:stylegan3",
    "deepsim-fc6": "evolver.generators.deepsim:fc6",
    "deepsim-fc6_eucl": "evolver.generators.deepsim:fc6_eucl",
    "deepsim-fc7": "evolver.generators.deepsim:fc7",
    "deepsim-fc8": "evolver.generators.deepsim:fc8",
    "deepsim-pool5": "evolver.generators.deepsim:pool5",
    "deepsim-conv3": "evolver.generators.deepsim:conv3",
    "deepsim-conv4": "evolver.generators.deepsim:conv4",
    "deepsim-norm1": "evolver.generators.deepsim:norm1",
    "deepsim-norm2": "evolver.generators.deepsim:norm2",
    "biggan-deep-128": "evolver.generators.biggan:deep_128",
    "biggan-deep-256": "evolver.generators.biggan:deep_256",
    "biggan-deep-512": "evolver.generators.biggan:deep_512",
    "pggan": "evolver.generators.pggan:load_pggan",
    "fourier": "evolver.generators.fourier:load_fourier",
}
"""Name in a session file -> module:factory, imported when asked for."""

REGISTRY = Registry("generator", BUILTIN, ("weights", "device"))
"""The generators that a session file can name."""


def load_generator(
    name: str, /, *, weights: str | Path | None = None, device: str = "cpu", **options: object
) -> Generator:
    """Load a generator by name; `evolver.generators.load` is this function.

    Parameters
    ----------
    name : a key of `BUILTIN`; or one that an installed distribution adds through the
        entry-point group ``evolver.generators``: a factory that takes `weights`, `device` and
        options of its own; or ``module:attr``, where Python finds a torch module that draws
        images from codes (see `evolver.generators.user`)
    weights : a file to use instead of the generator's own, of the same architecture
    device : a torch device, "cpu" or "cuda:0"
    **options : what the generator takes besides, by the names in its factory's signature

    Raises
    ------
    ConfigError
        The name, an option or the device does not exist.
    WeightsError
        The weight file is missing, or is not the one shipped with this version.
    """
    return REGISTRY.make(
        name, find_generator(name), options=options, weights=weights, device=device
    )


def find_generator(name: str) -> Any:  # noqa: ANN401  a factory of generators
    """Return the factory of the generator called `name`; raise `ConfigError` if none is."""
    if ":" in name:
        from evolver.generators.user import factory as factory_of

        return factory_of(name)
    return REGISTRY.find(name)
