"""Follows a journal while somebody else writes it.

Reads only. What is not whole yet is not there yet; what was written twice comes once; a segment
that its writer cut back is read again from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evolver.journal import frames
from evolver.journal.reader import segment_paths
from evolver.journal.records import AnyRecord, decode_record

_CHUNK = 4 << 20


class Follower:
    """Hands out a journal's records as they come.

    Parameters
    ----------
    journal : its folder, which may not exist yet
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self._done: dict[Path, int] = {}  # bytes of each segment that were read
        self._next = 0  # sequence

    def poll(self, *, at_most: int = 64 << 20) -> Iterator[tuple[int, AnyRecord]]:
        """Yield (sequence, record) of all that came since the last call, in order.

        Parameters
        ----------
        at_most : bytes to read in one call; the rest comes with the next
        """
        paths = segment_paths(self.journal) if self.journal.is_dir() else []
        read = 0
        for number, path in enumerate(paths):
            last = number == len(paths) - 1
            offset = self._done.get(path, 0)
            if offset < 0:
                continue  # read to its end, and a later one was begun
            while read < at_most:
                data = _read(path, offset, _CHUNK)
                used = 0
                while True:
                    found = frames.unpack_frame(data, used)
                    if found is None:
                        break
                    frame, payload = found
                    used += frame.length
                    if frame.sequence >= self._next:
                        self._next = frame.sequence + 1
                        yield frame.sequence, decode_record(bytes(payload))
                if not used and (long := _length(data)) > len(data):
                    data = _read(path, offset, long)  # one frame longer than a chunk
                    if found := frames.unpack_frame(data):
                        used = found[0].length
                        if found[0].sequence >= self._next:
                            self._next = found[0].sequence + 1
                            yield found[0].sequence, decode_record(bytes(found[1]))
                offset += used
                read += used
                self._done[path] = offset
                if not used:
                    break
            if not last and read < at_most:
                self._done[path] = -1


def _length(data: bytes) -> int:
    """Return how long the frame at the beginning of `data` says it is; 0 if there is none."""
    if len(data) < frames.HEADER_BYTES or data[:4] != frames.MAGIC:
        return 0
    length = int.from_bytes(data[4:8], "little")
    return 0 if length > frames.MAX_PAYLOAD_BYTES else length + frames.HEADER_BYTES


def _read(path: Path, offset: int, n: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(n)
    except OSError:
        return b""
