"""What Open Ephys' ZMQ Interface says: its bytes to values, and back for the emulator.

Bytes and values; no sockets, no clocks. A message is two or three frames: an envelope
(``DATA`` or ``EVENT``, with a trailing zero), a header in JSON, and binary data. Numbers are
little-endian, as on the machines that the GUI runs on. Keys that are not named here are
skipped, since versions of the plugin differ in them; those that are named must be right.

Source: the plugin's page in the GUI's manual, and the bytes that the plugin sends.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rig_bridge.errors import ProtocolError

DATA_PORT = 5556
"""The listening port, for heartbeats, is the next one."""
HEARTBEAT_S = 2.0
MAX_FRAME_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 16
TTL = 3
"""The type of a TTL event in its header."""

_TTL_BYTES = struct.Struct("<BBQ")  # line, state, word of all lines
_ENVELOPES = {b"DATA", b"EVENT"}

_Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
_Name: TypeAlias = Annotated[str, Meta(max_length=200)]
_Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]


@dataclass(frozen=True, slots=True)
class Data:
    """Samples of one continuous channel; the samples themselves are not kept."""

    number: int  # message_num
    stream: str
    channel: int
    sample: int  # index of the first
    samples: int
    rate_hz: float


@dataclass(frozen=True, slots=True)
class Spike:
    """A spike, as a spike detector or sorter found it; its waveform is not kept."""

    number: int
    stream: str
    electrode: str
    sorted_id: int  # 0: not sorted
    sample: int  # index of the peak


@dataclass(frozen=True, slots=True)
class Ttl:
    """A digital line went up or down."""

    number: int
    stream: str
    line: int  # from 0
    state: bool
    sample: int


@dataclass(frozen=True, slots=True)
class Other:
    """A message of no use here; it counts in the numbering all the same."""

    number: int


PluginMessage: TypeAlias = Data | Spike | Ttl | Other


class _Content(Struct, frozen=True):
    """Of continuous data."""

    stream: _Name
    channel_num: Annotated[int, Meta(ge=0, le=100_000)]
    num_samples: Annotated[int, Meta(ge=0, le=MAX_FRAME_BYTES // 4)]
    sample_num: _Number
    sample_rate: _Rate


class _Event(Struct, frozen=True):
    stream: _Name
    sample_num: _Number
    type: int = TTL


class _Spike(Struct, frozen=True):
    stream: _Name
    electrode: _Name
    sample_num: _Number
    sorted_id: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


class _Header(Struct, frozen=True):
    message_num: _Number
    type: Annotated[str, Meta(max_length=32)]
    content: msgspec.Raw = msgspec.Raw(b"")
    spike: msgspec.Raw = msgspec.Raw(b"")


_header = msgspec.json.Decoder(_Header)
_content = msgspec.json.Decoder(_Content)
_event = msgspec.json.Decoder(_Event)
_spike = msgspec.json.Decoder(_Spike)


def decode_plugin(frames: Sequence[bytes | memoryview]) -> PluginMessage:
    """Return the message in these frames.

    Raises
    ------
    ProtocolError
        It is none; the text says what is wrong with it.
    """
    if not 2 <= len(frames) <= 3:
        raise ProtocolError(f"a message must have 2 or 3 frames; got {len(frames)}")
    envelope = bytes(frames[0][:16]).rstrip(b"\0")
    if len(frames[0]) > 16 or envelope not in _ENVELOPES:
        raise ProtocolError(f"an envelope must be DATA or EVENT; got {bytes(frames[0][:16])!r}")
    if len(frames[1]) > MAX_HEADER_BYTES:
        raise ProtocolError(
            f"a header must have at most {MAX_HEADER_BYTES} bytes; got {len(frames[1])}"
        )
    payload = frames[2] if len(frames) == 3 else b""
    try:
        header = _header.decode(bytes(frames[1]).rstrip(b"\0"))
        match header.type:
            case "data":
                return _data(header, payload)
            case "spike":
                spike = _spike.decode(header.spike)
                return Spike(
                    header.message_num,
                    spike.stream,
                    spike.electrode,
                    spike.sorted_id,
                    spike.sample_num,
                )
            case "event":
                return _ttl(header, payload)
            case _:
                return Other(header.message_num)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"not a header of the ZMQ Interface: {exc}") from exc


def _data(header: _Header, payload: bytes | memoryview) -> Data:
    content = _content.decode(header.content)
    if len(payload) != 4 * content.num_samples:
        raise ProtocolError(
            f"{content.num_samples} samples must be {4 * content.num_samples} bytes of "
            f"float32; got {len(payload)}"
        )
    return Data(
        header.message_num,
        content.stream,
        content.channel_num,
        content.sample_num,
        content.num_samples,
        content.sample_rate,
    )


def _ttl(header: _Header, payload: bytes | memoryview) -> Ttl | Other:
    event = _event.decode(header.content)
    if event.type != TTL:
        return Other(header.message_num)
    if len(payload) != _TTL_BYTES.size:
        raise ProtocolError(
            f"a TTL event must carry {_TTL_BYTES.size} bytes; got {len(payload)}"
        )
    line, state, _word = _TTL_BYTES.unpack(payload)
    if state > 1:
        raise ProtocolError(f"a TTL line's state must be 0 or 1; got {state}")
    return Ttl(header.message_num, event.stream, line, bool(state), event.sample_num)


def encode_plugin(
    message: Data | Spike | Ttl, payload: bytes, *, node: int, now_ms: int
) -> list[bytes]:
    """Return the frames that the plugin would send.

    Parameters
    ----------
    message : what
    payload : samples, or waveform, float32; of a TTL event, the word of all lines, 8 bytes
    node : number of the processor that it comes from
    now_ms : time of day of the sender
    """
    header: dict[str, Any] = {"message_num": message.number}
    match message:
        case Data(_, stream, channel, sample, samples, rate):
            content = {
                "stream": stream,
                "channel_num": channel,
                "channel_name": f"CH{channel + 1}",
                "num_samples": samples,
                "sample_num": sample,
                "sample_rate": rate,
            }
            header |= {"type": "data", "content": content, "data_size": len(payload)}
        case Ttl(_, stream, line, state, sample):
            payload = bytes((line, state)) + payload
            content = {
                "stream": stream,
                "source_node": node,
                "type": TTL,
                "sample_num": sample,
            }
            header |= {"type": "event", "content": content, "data_size": len(payload)}
        case Spike(_, stream, electrode, sorted_id, sample):
            spike = {
                "stream": stream,
                "source_node": node,
                "electrode": electrode,
                "sample_num": sample,
                "num_channels": 1,
                "num_samples": len(payload) // 4,
                "sorted_id": sorted_id,
                "threshold": [-50.0],
            }
            header |= {"type": "spike", "spike": spike}
    header["timestamp"] = now_ms
    envelope = b"DATA\0" if isinstance(message, Data) else b"EVENT\0"
    return [envelope, msgspec.json.encode(header), payload]


def heartbeat(application: str, uuid: str) -> bytes:
    """Return what a client says to the listening port every two seconds."""
    return msgspec.json.encode({"application": application, "uuid": uuid, "type": "heartbeat"})
