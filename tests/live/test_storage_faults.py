"""Every storage call of a session may fail: it waits, goes on, and nothing is lost."""

from functools import partial

import pytest

from evolver import config
from evolver.clock import SystemClock
from evolver.errors import RecordingError
from evolver.journal.writer import JournalWriter
from evolver.live import run as room
from evolver.live import run_simulated
from evolver.recording.fold import fold
from tests.journal.disks import Disk, FaultyDisk
from tests.soak import share

from .sessions import small
from .test_resume import same
from .test_simulate import Watching

HOWS = ("EIO", "ENOSPC", "short", "torn")
BEFORE_THE_FIRST_IMAGE = {"make_folder", "lock"}


class Impatient(SystemClock):
    """A clock that does not wait for a person to make room on the disk."""

    def __init__(self):
        super().__init__()
        self.slept = 0.0

    def sleep(self, seconds):
        self.slept += seconds


class OneFold:
    """Folds in this process; a process for each of a thousand sessions would take hours."""

    def __call__(self, journal, out):
        fold(journal, out, overwrite=True)


def run(folder, disk, monkeypatch, generations):
    """Run a session on a disk; return how it ended, and the seconds it waited."""
    monkeypatch.setattr(room, "JournalWriter", partial(JournalWriter, files=disk))
    monkeypatch.setattr(room, "fold_in_child", OneFold())
    session = {"generations": generations}
    settings, clock = small(folder, session=session, references={"count": 2}), Impatient()
    ended = run_simulated(
        settings, config.commented_session_file(settings), Watching().console, clock=clock
    )
    return ended, clock.slept


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Fail calls of a session, one session each; return how many had to wait.

    `places` are the calls to fail, of all that an undisturbed session makes; each in every way
    or, where `hows` is said, in one of so many, another one at the next place.
    """

    def check_at(places, generations, hows=None):
        disk, waited = Disk(), 0
        whole, slept = run(tmp_path / "whole", disk, monkeypatch, generations)
        assert slept == 0
        calls = list(disk.calls)
        for at in places(calls):
            fitting = HOWS if calls[at] == "pwrite" else HOWS[:2]
            for how in fitting if hows is None else fitting[at % hows :: hows]:
                folder = tmp_path / f"{at}-{how}"
                try:
                    ended, slept = run(folder, FaultyDisk([at], how), monkeypatch, generations)
                except RecordingError:
                    assert calls[at] in BEFORE_THE_FIRST_IMAGE, (at, how)
                    continue
                waited += slept > 0
                assert same(whole.recording, ended.recording) == (0, True), (at, how)
        return waited

    return check_at


def one_of_each(calls):
    first = {calls.index(name) for name in set(calls)}
    return sorted(first | {len(calls) // 2, len(calls) - 1})


def test_storage_calls_may_fail_anywhere_in_a_session(check):
    """Each call in one of the ways that it may fail; a soak has them all."""
    check(one_of_each, generations=1, hows=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_storage_call_of_ten_generations_may_fail(check):
    assert check(lambda calls: range(0, len(calls), share(1, 6)), generations=10) > 10
