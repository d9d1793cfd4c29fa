"""The plugin's messages as the values that `sampled.windows` takes.

The one place that knows both; no sockets, no clocks.
"""

from __future__ import annotations

import zlib

from rig_bridge.rigs.open_ephys.format import Data, Other, PluginMessage, Spike, Ttl
from rig_bridge.rigs.open_ephys.units import UnitTable
from rig_bridge.rigs.sampled.windows import (
    LineEdge,
    SampleBlock,
    SampledEvent,
    SampledMessage,
    UnitSpike,
)


def to_sampled(
    message: PluginMessage, header: bytes, *, units: UnitTable, arrived_ns: int, now_s: float
) -> SampledMessage:
    """Return a message of the plugin as a value of any sampled acquisition.

    Parameters
    ----------
    message : as decoded
    header : its bytes, by which a repeat is known
    units : which spikes are which unit's
    arrived_ns, now_s : when it came, on the display's clock and on one that never goes back
    """
    return SampledMessage(
        number=message.number,
        fingerprint=zlib.crc32(header),
        stream="" if isinstance(message, Other) else message.stream,
        event=_event(message, units),
        arrived_ns=arrived_ns,
        now_s=now_s,
    )


def _event(message: PluginMessage, units: UnitTable) -> SampledEvent | None:
    match message:
        case Data():
            return SampleBlock(message.sample, message.samples, message.rate_hz)
        case Spike():
            unit = units.find(message.electrode, message.sorted_id)
            return UnitSpike(message.sample, unit, f"{message.electrode}:{message.sorted_id}")
        case Ttl():
            return LineEdge(message.sample, message.line, message.state)
        case Other():
            return None
