"""Which electrode and which cluster is which unit of the rig.

Names and numbers, and a CSV file of them; nothing of the wire.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Unit

_COLUMNS = {"electrode", "sorted_id", "channel", "area", "label"}
_MOST = 1000  # what fits into a hello


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
        if not 1 <= len(units) <= _MOST or len(units) != len(sources):
            raise EndpointError(
                f"a unit table must have 1 to {_MOST} units and a source for each; got "
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
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                rows = list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise EndpointError(f"{path} must be a CSV file that can be read; {exc}") from exc
        if "electrode" not in columns or not columns <= _COLUMNS:
            raise EndpointError(
                f"{path} must have a column 'electrode', and no others than "
                f"{sorted(_COLUMNS)}; got {sorted(columns)}"
            )
        units: list[Unit] = []
        sources: list[SpikeSource] = []
        for line, row in enumerate(rows, 2):
            electrode = (row["electrode"] or "").strip()
            try:
                cluster = (row.get("sorted_id") or "").strip()
                sorted_id = int(cluster) if cluster else None
                channel = int((row.get("channel") or "").strip() or len(units))
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
            label = (row.get("label") or "").strip() or named
            area = (row.get("area") or "").strip()
            units.append(Unit(channel, sorted_id or 0, area[:200], label[:200]))
            sources.append(SpikeSource(electrode, sorted_id))
        return cls(units, sources)

    def find(self, electrode: str, sorted_id: int) -> int | None:
        """Return the index of the unit that a spike belongs to; None: of none."""
        unit = self._index.get(SpikeSource(electrode, sorted_id))
        return self._index.get(SpikeSource(electrode, None)) if unit is None else unit
