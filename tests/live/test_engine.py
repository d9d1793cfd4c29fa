"""An engine's start: it waits for the recorder, whose disk may be full."""

import errno
import threading

import pytest

from evolver.errors import RecordingError
from evolver.journal.recorder_client import RemoteRecorder
from evolver.journal.recorder_process import RecorderProcess
from evolver.journal.records import Event
from evolver.journal.storage import OsFileSystem
from evolver.journal.writer import read_journal
from evolver.live import engine
from evolver.live.console import Console, KeptCommands
from evolver.live.run import LOADING
from evolver.session.ports import Command
from tests.limits import wait_until


class Disk(OsFileSystem):
    """One that is full or not."""

    full = False

    def pwrite(self, fd, data, offset):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().pwrite(fd, data, offset)


@pytest.fixture
def full(tmp_path, tmp_path_factory):
    """An address of a recorder whose disk refused what an engine before handed over."""
    address, disk = tmp_path_factory.mktemp("s") / "r.sock", Disk()
    served = RecorderProcess(tmp_path / "journal", address, files=disk)
    worker = threading.Thread(target=served.run)
    worker.start()
    fallen = RemoteRecorder(address)
    fallen.submit(Event(1, "info", "first", ""))
    fallen.barrier()
    disk.full = True
    fallen.submit(Event(2, "info", "second", ""))
    wait_until(lambda: fallen.error is not None)
    with pytest.raises(RecordingError):
        fallen.close()
    yield address, disk
    disk.full = False
    served.end()
    worker.join()


def test_an_engine_waits_until_the_disk_has_room_again(full, tmp_path, monkeypatch):
    """It says why, once however often it tries, and keeps what was ordered meanwhile."""
    monkeypatch.setattr(engine, "_ORDERS_EVERY_S", 0.001)
    address, disk = full
    said, ordered, asked = [], [Command("pause")], []

    def on_wait(text, _=0):
        said.append(text)

    def orders():
        asked.append(len(said))
        disk.full = len(asked) < 35  # three tries and a half
        taken = tuple(ordered)
        ordered.clear()
        return taken

    commands = KeptCommands(orders)
    recorder = RemoteRecorder(address)
    engine.attach(recorder, commands, Console(on_wait=on_wait))
    recorder.close()
    refused, loading = said
    assert "No space left on device" in refused
    assert loading == LOADING
    assert [command.name for command in commands()] == ["pause"]
    names = [record.name for _, record in read_journal(tmp_path / "journal")]
    assert names[:2] == ["first", "second"]


def test_an_engine_that_waits_for_the_disk_can_be_ended(full):
    address, _ = full
    recorder = RemoteRecorder(address)
    with pytest.raises(RecordingError, match="No space left on device"):
        engine.attach(recorder, KeptCommands(lambda: [Command("stop")]), Console())
    with pytest.raises(RecordingError):
        recorder.close()
