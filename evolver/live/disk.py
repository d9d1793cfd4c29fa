"""The watchdog of the disk: how long it has room at the present pace.

Beside the others, which look at responses, because how full a disk is is known to whoever keeps
the journal: the recorder's process, or the session's own where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from evolver.clock import Clock
from evolver.config.tables import WatchdogsTable
from evolver.journal.storage import disk_free_bytes
from evolver.journal.writer import JournalWriter
from evolver.session.ports import Command

DISK_EVERY_S = 5.0
"""How often the disk is looked at, seconds."""


class DiskWatchdog:
    """Warns below the first number of minutes left, and pauses or warns below the second.

    Parameters
    ----------
    table : the session file's [watchdogs]
    """

    def __init__(self, table: WatchdogsTable) -> None:
        self._warn, self._pause = table.disk_minutes
        self._may_pause = "disk" in table.pause_on
        self._level = 0

    def judge(self, minutes_left: float | None) -> Command | None:
        """Return what to command; None where all is well, or was said before.

        Parameters
        ----------
        minutes_left : until the disk is full; None while nothing is written
        """
        before = self._level
        if minutes_left is None or minutes_left >= self._warn:
            self._level = 0
            return None
        self._level = 1 if minutes_left >= self._pause else 2
        if self._level <= before:
            return None
        name = "pause" if self._level == 2 and self._may_pause else "note"
        text = f"the disk has room for {minutes_left:.0f} minutes more at this pace"
        return Command(name, text, by="the watchdog 'disk'")


class JournalDisk:
    """Asks a `DiskWatchdog` every few seconds, for a session that keeps its journal itself.

    Parameters
    ----------
    watchdog : DiskWatchdog
    journal : of which the folder and the bytes written count
    clock : Clock
    """

    def __init__(self, watchdog: DiskWatchdog, journal: JournalWriter, clock: Clock) -> None:
        self._watchdog, self._journal, self._clock = watchdog, journal, clock
        self._began = self._asked = clock.monotonic()
        self._bytes = journal.durable_bytes

    def commands(self) -> Sequence[Command]:
        """Return what the watchdog commands, if anything."""
        now = self._clock.monotonic()
        if now - self._asked < DISK_EVERY_S:
            return ()
        self._asked = now
        written = self._journal.durable_bytes - self._bytes
        if written <= 0:
            return ()
        free = disk_free_bytes(self._journal.folder)
        command = self._watchdog.judge(free / written * (now - self._began) / 60)
        return () if command is None else (command,)
