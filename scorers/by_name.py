"""Scorers by the names of their units, as session files give them.

Knows names and import paths. Knows nothing of networks, and loads no torch until a name is
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from evolver.errors import ConfigError
from evolver.registry import Registry
from scorers.units import parse_units

if TYPE_CHECKING:
    from pathlib import Path

    from scorers.cnn import CNNScorer

BUILTIN = {"mini": "scorers.cnn:load_mini_scorer"}
"""Network -> module:factory, imported when asked for."""

_REGISTRY = Registry("scorer", BUILTIN, ("weights", "device"))


def load_scorer(
    units: str | Sequence[str],
    /,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    **options: object,
) -> CNNScorer:
    """Load units of a network; `scorers.load` is this function.

    Parameters
    ----------
    units : one name or several: ``"mini:fc5:3"``, ``"mini:fc5:0-63"``, ``"mini:conv3:10:4:4"``.
        All must be of one network, a key of `BUILTIN` or one that an installed distribution
        adds through the entry-point group ``evolver.scorers``: a factory that takes the parsed
        units first, then by name `weights`, `device` and options of its own. It is evaluated
        once for all of them
    weights : a file to use instead of the shipped one, of the same architecture
    device : a torch device, "cpu" or "cuda:0"
    **options : what the network takes besides, by the names in its factory's signature

    Returns
    -------
    CNNScorer, whose ``score(images)`` is (n, u) in the order of the names

    Raises
    ------
    ConfigError
        A name has another form, or there is no such network, layer, channel, position or
        option.
    WeightsError
        The weight file is missing, or is not the one shipped with this version.
    """
    specs = [parse_units(text) for text in ([units] if isinstance(units, str) else units)]
    if not specs:
        raise ConfigError("units must name at least one unit, as mini:fc5:3; got none")
    networks = sorted({spec.network for spec in specs})
    factory = partial(_REGISTRY.find(networks[0]), specs)
    if len(networks) > 1:
        raise ConfigError(f"all units must be of one network; got {', '.join(networks)}")
    return _REGISTRY.make(networks[0], factory, options=options, weights=weights, device=device)
