"""A journal's frames: how a record's bytes are wrapped, and found again in a damaged file.

Bytes in, bytes out: no files, and no idea what a record says. Little-endian, 20 bytes before
every payload:

    magic  4s  b"EVJ1"
    length u32  bytes of payload
    sequence u64  from 0, one up a record
    crc32  u32  of length, sequence and payload

The checksum covers the length and the sequence too, so that a flipped bit there can neither
move a record nor hide one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from evolver.errors import RecordingError

MAGIC = b"EVJ1"
MAX_PAYLOAD_BYTES = 1 << 30
_HEADER = struct.Struct("<4sIQI")
_COVERED = struct.Struct("<IQ")
HEADER_BYTES = _HEADER.size
_MAY_BE_ZEROS = 64  # last bytes of a payload that may be zeros themselves, generously


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one whole frame lies."""

    sequence: int
    offset: int  # bytes from the start of the segment
    length: int  # bytes, header included
    crc32: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds: its whole frames, and every byte that is none of theirs."""

    frames: tuple[Frame, ...]
    damage: tuple[tuple[int, int], ...]  # [start, end) before the last whole frame
    torn: int  # bytes after the last whole frame, preallocated zeros not counted


def check_payload(payload: bytes | bytearray) -> None:
    """Refuse a payload that is too long for a frame.

    Raises
    ------
    RecordingError
        It is.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RecordingError(
            f"a record must have at most {MAX_PAYLOAD_BYTES} bytes; got {len(payload)}. "
            "Record large arrays in parts"
        )


def pack_frame(sequence: int, payload: bytes | bytearray) -> bytes:
    """Return the frame of `payload`.

    Raises
    ------
    RecordingError
        It is too long for one.
    """
    check_payload(payload)
    crc = _crc(len(payload), sequence, payload)
    return _HEADER.pack(MAGIC, len(payload), sequence, crc) + payload


def unpack_frame(data: bytes | memoryview, offset: int = 0) -> tuple[Frame, memoryview] | None:
    """Return the frame that begins at `offset` and its payload; None if no whole one does."""
    view = memoryview(data)
    if offset + HEADER_BYTES > len(view):
        return None
    magic, length, sequence, crc = _HEADER.unpack_from(view, offset)
    start = offset + HEADER_BYTES
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or start + length > len(view):
        return None
    payload = view[start : start + length]
    if _crc(length, sequence, payload) != crc:
        return None
    return Frame(sequence, offset, HEADER_BYTES + length, crc), payload


def scan(data: bytes) -> Scan:
    """Find every whole frame in a segment, past whatever damage lies between them.

    Where a frame is expected and none is whole, the next magic that begins a whole one is
    where reading goes on. After the last whole frame a torn tail is what a kill or a power loss
    leaves behind, and trailing zeros are preallocated room; neither is damage.
    """
    frames: list[Frame] = []
    damage: list[tuple[int, int]] = []
    offset = 0
    while offset < len(data):
        parts = unpack_frame(data, offset)
        at = offset
        while parts is None:
            at = data.find(MAGIC, at + 1)
            if at < 0:
                rest = data[offset:].rstrip(b"\0")
                return Scan(tuple(frames), tuple(damage), len(rest))
            parts = unpack_frame(data, at)
        frame, _ = parts
        if at != offset:
            damage.append((offset, at))
        frames.append(frame)
        offset = frame.offset + frame.length
    return Scan(tuple(frames), tuple(damage), 0)


def is_unfinished(data: bytes) -> bool:
    """Return whether a segment without a whole frame is what a kill leaves of its first one.

    That is nothing, or the beginning of one frame, and zeros. A frame that is there from its
    beginning to its end with a wrong byte in it is another thing: it was finished once.
    """
    written = data.rstrip(b"\0")
    if len(written) < HEADER_BYTES:
        return MAGIC.startswith(written[: len(MAGIC)])
    magic, length, _, _ = _HEADER.unpack_from(data)
    whole = HEADER_BYTES + length
    return magic == MAGIC and len(written) < max(whole - _MAY_BE_ZEROS, HEADER_BYTES + 1)


def _crc(length: int, sequence: int, payload: bytes | bytearray | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_COVERED.pack(length, sequence)))
