"""A journal, read: which records are there, what was cut, and any one of them by its number.

Knows segments and frames; knows nothing of what a session is, but that its first record, the
*head*, says what all the others are about: it stands in every segment, and a journal that has
records and no head is damaged, never empty. Opens files for reading only, so that a journal can
be read while it is being written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evolver.errors import DamagedJournalError, RecordingError
from evolver.journal import frames
from evolver.journal.frames import Frame
from evolver.journal.records import AnyRecord, decode_record

SEGMENT_PATTERN = "segment-*.evj"
_NAMED = 5  # lost spans named in a line
HEAD = 0
"""Sequence of the record that says what session it is."""


def segment_name(number: int) -> str:
    """Return the file name of a journal's `number`-th segment."""
    return f"segment-{number:06d}.evj"


def segment_paths(folder: Path) -> list[Path]:
    """Return a journal's segments in the order they were begun; none if there is no journal."""
    return sorted(path for path in folder.glob(SEGMENT_PATTERN) if path.is_file())


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """What a journal holds, and what of it could not be read."""

    folder: Path
    segments: int
    records: int
    first: int  # sequence of the first record; -1 if there is none
    last: int
    heads: int  # times the first record can be read; it stands in every segment
    duplicates: int  # of other records, written again after a failed sync, as it should be
    torn_bytes: int  # cut from the ends of segments; expected after a kill or a power loss
    damage: tuple[tuple[str, int, int], ...]  # segment, first byte, one past the last
    missing: tuple[tuple[int, int], ...]  # first and last sequence of each gap
    conflicts: tuple[int, ...]  # sequences that two different records claim

    @property
    def loss(self) -> str:
        """What was finished once and cannot be read, in a line; empty where nothing is lost."""
        spans = [f"records {first} to {last}" for first, last in self.missing]
        if not spans and self.damage:  # nobody can tell the last records by their numbers
            spans = [f"{name} from byte {start} to {end}" for name, start, end in self.damage]
        if not spans:
            return ""
        more = f" and {len(spans) - _NAMED} more" if len(spans) > _NAMED else ""
        return (
            f"{', '.join(spans[:_NAMED])}{more} of the journal cannot be read; what they held "
            "is missing from the recording"
        )

    def describe(self) -> str:
        """Return what a person should know of it, in a few lines."""
        lines = [f"{self.records} records in {self.segments} segments of {self.folder}"]
        if not self.heads and (self.records or self.torn_bytes):
            lines.append("DAMAGE: the record that says what session it is cannot be read")
        if self.duplicates:
            lines.append(f"{self.duplicates} records stand twice, written again after a fault")
        if self.torn_bytes:
            lines.append(f"{self.torn_bytes} bytes of unfinished records were cut")
        lines += [
            f"DAMAGE: {name} cannot be read from byte {start} to {end}"
            for name, start, end in self.damage
        ]
        lines += [f"MISSING: records {first} to {last}" for first, last in self.missing]
        lines += [f"CONFLICT: two different records {number}" for number in self.conflicts]
        return "\n".join(lines)


class JournalIndex:
    """Every readable record of a journal, by sequence number.

    Parameters
    ----------
    folder : Path of a journal; its segments are scanned once, here

    Raises
    ------
    RecordingError
        There is no journal, or a segment cannot be read from the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = segment_paths(folder)
        if not self._paths:
            what = "does not exist"
            if folder.exists():
                what = "holds none" if folder.is_dir() else "is no folder"
            raise RecordingError(
                f"a journal is a folder with files named {SEGMENT_PATTERN}; {folder} {what}. "
                "Give a session's folder, or the journal in it"
            )
        self._places: dict[int, tuple[int, Frame]] = {}
        duplicates, torn, heads = 0, 0, 0
        self._unfinished = True  # every segment is as a kill leaves its first frame
        damage: list[tuple[str, int, int]] = []
        conflicts: set[int] = set()
        for number, path in enumerate(self._paths):
            data = _read(path)
            content = frames.scan(data)
            if not content.frames:
                self._unfinished = self._unfinished and frames.is_unfinished(data)
            torn += content.torn
            damage += [(path.name, start, end) for start, end in content.damage]
            for frame in content.frames:
                earlier = self._places.get(frame.sequence)
                heads += frame.sequence == HEAD
                if earlier is not None:
                    duplicates += frame.sequence != HEAD
                    if (earlier[1].crc32, earlier[1].length) != (frame.crc32, frame.length):
                        conflicts.add(frame.sequence)
                # The later one was written because the earlier was not known to be durable.
                self._places[frame.sequence] = (number, frame)
        self.sequences: tuple[int, ...] = tuple(sorted(self._places))
        self.summary = JournalSummary(
            folder=folder,
            segments=len(self._paths),
            records=len(self.sequences),
            first=self.sequences[0] if self.sequences else -1,
            last=self.sequences[-1] if self.sequences else -1,
            heads=heads,
            duplicates=duplicates,
            torn_bytes=torn,
            damage=tuple(damage),
            missing=_gaps(self.sequences),
            conflicts=tuple(sorted(conflicts)),
        )

    def has_begun(self) -> bool:
        """Return whether there is a head; without one, no record was ever finished.

        Raises
        ------
        DamagedJournalError
            There was a head, and it cannot be read.
        """
        if HEAD in self._places:
            return True
        if not self.sequences and self._unfinished:
            return False
        raise DamagedJournalError(
            f"the first record of the journal in {self.summary.folder} says what session it "
            "is, and cannot be read: the journal is damaged. No session can go on from it, and "
            "none may begin in it. Keep the folder as it is; 'evolver fold' salvages what is "
            f"there, and a new session gets a folder of its own.\n{self.summary.describe()}"
        )

    def frame(self, sequence: int) -> bytes:
        """Return the bytes of one frame, header included, as they are on the disk now."""
        number, frame = self._places[sequence]
        try:
            with self._paths[number].open("rb") as file:
                file.seek(frame.offset)
                return file.read(frame.length)
        except OSError as exc:
            raise RecordingError(f"cannot read {self._paths[number]}: {exc}") from exc

    def record(self, sequence: int) -> AnyRecord:
        """Return one record.

        Raises
        ------
        RecordingError
            Its bytes changed since the scan, or it is of a later version.
        """
        return self.decode(self.frame(sequence), sequence)

    def decode(self, frame: bytes, sequence: int) -> AnyRecord:
        """Return the record in the bytes that `frame` gave.

        Raises
        ------
        RecordingError
            As `record`.
        """
        parts = frames.unpack_frame(frame)
        if parts is None:
            number, _ = self._places[sequence]
            raise RecordingError(
                f"record {sequence} of {self._paths[number]} changed on the disk while it was "
                "being read; check the disk, then read the journal again"
            )
        try:
            return decode_record(bytes(parts[1]))
        except RecordingError as exc:
            raise RecordingError(
                f"record {sequence} of {self.summary.folder} is whole but is not one this "
                f"version of evolver knows; use the version that wrote it ({exc})"
            ) from exc

    def __iter__(self) -> Iterator[tuple[int, AnyRecord]]:
        """Yield every (sequence, record) in order, reading one at a time."""
        for sequence in self.sequences:
            yield sequence, self.record(sequence)


def read_journal(folder: Path) -> Iterator[tuple[int, AnyRecord]]:
    """Yield (sequence, record) of a journal in order; see `JournalIndex` for what was cut.

    Sequences rise by one except where records were lost to damage. A record that was written
    twice comes once.
    """
    yield from JournalIndex(folder)


def _read(path: Path) -> bytes:
    try:
        return _read_written(path)
    except OSError as exc:
        raise RecordingError(
            f"cannot read the journal segment {path}: {exc}. Copy the folder to another disk "
            "and read it there"
        ) from exc


def _read_written(path: Path) -> bytes:
    """Return a file's bytes without the room at its end that was reserved and never written.

    A writer that was killed leaves megabytes of it, zeros that need not be read. Where the file
    system cannot tell, they are.
    """
    with path.open("rb") as file:
        fd = file.fileno()
        end = size = os.fstat(fd).st_size
        if hasattr(os, "SEEK_DATA"):
            end = at = 0
            while at < size:
                try:
                    at = end = os.lseek(fd, os.lseek(fd, at, os.SEEK_DATA), os.SEEK_HOLE)
                except OSError as exc:
                    if exc.errno == errno.ENXIO:  # nothing but room from here on
                        break
                    if exc.errno != errno.EINVAL:
                        raise
                    end = at = size  # this file system cannot tell
            os.lseek(fd, 0, os.SEEK_SET)
        return file.read(end)


def _gaps(sequences: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    gaps: list[tuple[int, int]] = []
    expected = 0
    for sequence in sequences:
        if sequence > expected:
            gaps.append((expected, sequence - 1))
        expected = sequence + 1
    return tuple(gaps)
