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
        self.slept = 0.0

    def sleep(self, seconds):
        self.slept += seconds


class OneFold:
    """Folds in this process; a process for each of a thousand sessions would take hours."""

    def __call__(self, journal, out):
        fold(journal, out, overwrite=True)


def ten_generations(folder):
    return small(
        folder,
        session={"generations": 10},
        references={"count": 2},
    )


def run(folder, disk, monkeypatch):
    """Run the session on a disk; return how it ended, and the seconds it waited."""
    monkeypatch.setattr(room, "JournalWriter", partial(JournalWriter, files=disk))
    monkeypatch.setattr(room, "fold_in_child", OneFold())
    settings, clock = ten_generations(folder), Impatient()
    ended = run_simulated(
        settings, config.commented_session_file(settings), Watching().console, clock=clock
    )
    return ended, clock.slept


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed session's recording, and the storage calls that it made."""
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        ended, slept = run(tmp_path_factory.mktemp("whole"), disk, patch)
    assert slept == 0
    return ended.recording, list(disk.calls)


def check(whole, places, tmp_path, monkeypatch, caplog):
    """Fail the calls at these places, one session each; return how many had to wait."""
    reference, calls = whole
    waited = 0
    for at in places:
        for how in HOWS:
            if how in {"short", "torn"} and calls[at] != "pwrite":
                continue
            folder = tmp_path / f"{at}-{how}"
            caplog.clear()  # an error that is kept keeps its session, with its generators
            try:
                ended, slept = run(folder, FaultyDisk([at], how), monkeypatch)
            except RecordingError:
                assert calls[at] in BEFORE_THE_FIRST_IMAGE, (at, how)
                continue
            waited += slept > 0
            assert same(reference, ended.recording) == (0, True), (at, how)
    return waited


def test_storage_calls_may_fail_anywhere_in_a_session(whole, tmp_path, monkeypatch, caplog):
    _, calls = whole
    first = {calls.index(name) for name in set(calls)}
    check(
        whole, sorted(first | {len(calls) // 2, len(calls) - 1}), tmp_path, monkeypatch, caplog
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_storage_call_of_ten_generations_may_fail(whole, tmp_path, monkeypatch, caplog):
    _, calls = whole
    step = share(1, 6)
    assert check(whole, range(0, len(calls), step), tmp_path, monkeypatch, caplog) > 10
