"""What tasks share: generators, networks and reference images, each loaded once.

Knows session files and what loads their parts. Knows nothing of how tasks are run.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from evolver.setup.build import Makers, build_parts, session_references, thread_generator
from evolver.setup.simulated_rig import build_population
from scorers import networks, parse_units
from scorers.scorer import UnitScorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evolver.config.tables import Config, ThreadTable
    from evolver.setup.build import Parts
    from evolver.setup.references import References
    from evolver.setup.simulated_rig import Population
    from evolver.types import Generator
    from scorers.networks.network import Network

_REFERENCES = 16  # sets kept; a seed each, usually


class Shared:
    """Loads what a session file names, and hands out what is loaded already.

    Parameters
    ----------
    device : of networks; generators are where their threads say
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._generators: dict[str, Generator] = {}
        self._networks: dict[str, Network] = {}
        self._references: OrderedDict[str, References] = OrderedDict()

    def parts(self, config: Config) -> Parts:
        """Return the parts of a session; as `build_parts`."""
        return build_parts(config, makers=Makers(self.generator, self.references))

    def population(self, config: Config) -> Population:
        """Return the neurons of a session; as `build_population`."""
        return build_population(config, load=self.scorer)

    def generator(self, table: ThreadTable) -> Generator:
        """Return a thread's generator."""
        key = text_of((table.generator, table.weights, table.device, table.generator_options))
        if key not in self._generators:
            self._generators[key] = thread_generator(table)
        return self._generators[key]

    def network(self, name: str, options: Mapping[str, Any]) -> Network:
        """Return a network, by its name in addresses and its options."""
        key = text_of((name, options))
        if key not in self._networks:
            self._networks[key] = networks.load(name, device=self._device, **options)
        return self._networks[key]

    def scorer(
        self, units: str | Sequence[str], *, networks: Mapping[str, Mapping[str, Any]]
    ) -> UnitScorer:
        """Return units; as `scorers.load`."""
        addresses = [
            parse_units(text) for text in ([units] if isinstance(units, str) else units)
        ]
        names = dict.fromkeys(address.network for address in addresses)
        loaded = {name: self.network(name, networks.get(name, {})) for name in names}
        return UnitScorer(loaded, addresses)

    def references(self, config: Config) -> References:
        """Return a session's reference images."""
        key = text_of((config.references, config.session.seed))
        if key not in self._references:
            self._references[key] = session_references(config)
        self._references.move_to_end(key)
        while len(self._references) > _REFERENCES:
            self._references.popitem(last=False)
        return self._references[key]


def text_of(values: object) -> str:
    """Return values as a text that is equal for equal ones."""
    return msgspec.json.encode(values, order="deterministic").decode()
