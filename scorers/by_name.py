"""Scorers by the addresses of their units, as session files give them.

Knows addresses and names. Loads no torch until something is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError
from scorers.networks.by_name import load_network_by_name
from scorers.units import parse_units

if TYPE_CHECKING:
    from pathlib import Path

    from scorers.scorer import UnitScorer


def load_scorer(
    units: str | Sequence[str],
    /,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    networks: Mapping[str, Mapping[str, Any]] | None = None,
    **options: object,
) -> UnitScorer:
    """Load units of networks; `scorers.load` is this function.

    Parameters
    ----------
    units : one address or several, of one network or several: ``"mini:fc5:3"``,
        ``"mini:fc5:0-63"``, ``"mini:conv3:10:4:4"`` (see `scorers.units`). Each network is
        evaluated once for all of its units
    weights : a file to use instead of the network's own; for one network
    device : a torch device, "cpu" or "cuda:0"
    networks : by a name in the addresses, what `scorers.networks.load` takes for it: `weights`,
        and options. A lab's own networks are named here, by ``module``
    **options : of the network, where there is one

    Returns
    -------
    UnitScorer, whose ``score(images)`` is (n, u) in the order of the addresses

    Raises
    ------
    ConfigError
        An address has another form, or there is no such network, layer, channel, position or
        option.
    WeightsError
        A weight file is missing, or is of another network.
    """
    addresses = [parse_units(text) for text in ([units] if isinstance(units, str) else units)]
    if not addresses:
        raise ConfigError("units must name at least one unit, as mini:fc5:3; got none")
    from scorers.scorer import UnitScorer

    names = list(dict.fromkeys(address.network for address in addresses))
    if len(names) > 1 and (weights is not None or options):
        raise ConfigError(
            f"weights and options are of one network; the units are of {', '.join(names)}. "
            "Give them by networks="
        )
    of_each = networks or {}
    common: dict[str, Any] = {**options, **({} if weights is None else {"weights": weights})}
    loaded = {
        name: load_network_by_name(name, device=device, **{**of_each.get(name, {}), **common})
        for name in names
    }
    return UnitScorer(loaded, addresses)
