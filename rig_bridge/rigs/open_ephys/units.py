"""Which electrode and which cluster is which unit of the rig.

Names and numbers, and a CSV file of them; nothing of the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Unit
from rig_bridge.rigs.unit_files import MOST_UNITS, read_unit_rows

_COLUMNS = {"electrode", "sorted_id", "channel", "area", "label"}


@dataclass(frozen=True, slots=True)
class SpikeSource:
    """Where the spikes of a unit come from; `sorted_id` None: all of the electrode's."""

    electrode: str
    sorted_id: int | None


class UnitTable:
    """Units in the order of the rig's indices.

    Parameters
    ----------
    units : as in the rig's hello
    sources : one a unit. A spike belongs to the unit of its own cluster, if there is one, else
        to the unit of its whole electrode, else to none

    Raises
    ------
    EndpointError
        The two differ in length, a source comes twice, or there is none.
    """

    def __init__(self, units: Sequence[Unit], sources: Sequence[SpikeSource]) -> None:
        if not 1 <= len(units) <= MOST_UNITS or len(units) != len(sources):
            raise EndpointError(
                f"a unit table must have 1 to {MOST_UNITS} units and a source for each; got "
                f"{len(units)} and {len(sources)}"
            )
        self.units = tuple(units)
        self._index: dict[SpikeSource, int] = {}
        for i, source in enumerate(sources):
            if source in self._index:
                raise EndpointError(
                    f"an electrode's cluster must be one unit; {source.electrode!r}, "
                    f"sorted_id {source.sorted_id} is there twice"
                )
            self._index[source] = i

    @classmethod
    def electrodes(cls, count: int, name: str = "Electrode {}") -> UnitTable:
        """Return a table of multi-units: one an electrode, named from 1 on."""
        if "{}" not in name:
            raise EndpointError(f"an electrode's name must have {{}} in it; got {name!r}")
        names = [name.replace("{}", str(i + 1)) for i in range(count)]
        return cls(
            [Unit(i, 0, "", label) for i, label in enumerate(names)],
            [SpikeSource(label, None) for label in names],
        )

    @classmethod
    def load(cls, path: Path) -> UnitTable:
        """Return the table in a CSV file with a header line.

        Columns: electrode (its name in the GUI); and, as they are needed, sorted_id (empty:
        all spikes of the electrode), channel, area, label.
        """
        rows = read_unit_rows(path, key="electrode", columns=_COLUMNS)
        units: list[Unit] = []
        sources: list[SpikeSource] = []
        for line, row in enumerate(rows, 2):
            electrode = row["electrode"]
            try:
                sorted_id = int(row["sorted_id"]) if row["sorted_id"] else None
                channel = int(row["channel"] or len(units))
            except ValueError as exc:
                raise EndpointError(
                    f"{path}, line {line}: numbers must be whole; {exc}"
                ) from exc
            if not electrode or channel < 0 or (sorted_id or 0) < 0:
                raise EndpointError(
                    f"{path}, line {line}: an electrode must have a name, and numbers must not "
                    f"be below 0; got {row}"
                )
            named = electrode if sorted_id is None else f"{electrode}:{sorted_id}"
            label = row["label"] or named
            units.append(Unit(channel, sorted_id or 0, row["area"][:200], label[:200]))
            sources.append(SpikeSource(electrode, sorted_id))
        return cls(units, sources)

    def find(self, electrode: str, sorted_id: int) -> int | None:
        """Return the index of the unit that a spike belongs to; None: of none."""
        unit = self._index.get(SpikeSource(electrode, sorted_id))
        return self._index.get(SpikeSource(electrode, None)) if unit is None else unit
