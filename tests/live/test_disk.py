"""The watchdog of the disk: once a level, and a pause only where somebody can resume."""

from evolver.config import WatchdogsTable
from evolver.live import disk
from evolver.live.disk import DISK_EVERY_S, DiskWatchdog, JournalDisk

TABLE = WatchdogsTable(disk_minutes=(30.0, 5.0))


def names(watchdog, *minutes):
    commands = [watchdog.judge(m) for m in minutes]
    return [None if command is None else command.name for command in commands]


def test_it_warns_then_pauses_each_once():
    watchdog = DiskWatchdog(TABLE)
    assert names(watchdog, None, 31, 29, 28, 4, 3) == [None, None, "note", None, "pause", None]
    assert names(watchdog, 10, 4, 100, 20) == [None, "pause", None, "note"]


def test_it_only_warns_where_nobody_could_resume_or_the_file_says_so():
    assert names(DiskWatchdog(WatchdogsTable(pause_on=())), 4) == ["note"]
    quiet = WatchdogsTable(pause_on=("aborts",))
    assert names(DiskWatchdog(quiet), 4) == ["note"]


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class Journal:
    folder = "/"
    durable_bytes = 1000


def test_a_session_that_keeps_its_journal_asks_at_its_own_pace(monkeypatch):
    clock, journal = Clock(), Journal()
    monkeypatch.setattr(disk, "disk_free_bytes", lambda _: 60_000)
    watched = JournalDisk(DiskWatchdog(TABLE), journal, clock)
    assert watched.commands() == ()
    clock.now = DISK_EVERY_S
    assert watched.commands() == ()  # nothing is written: it never fills
    clock.now, journal.durable_bytes = 60.0, 1000 + 3000  # 20 minutes at 3000 bytes a minute
    (command,) = watched.commands()
    assert (command.name, command.by) == ("note", "the watchdog 'disk'")
    assert "20 minutes" in command.text
    assert watched.commands() == ()
