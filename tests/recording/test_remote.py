"""The recorder in a process of its own: killed, restarted, refused by its disk."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from evolver.errors import OrderError, RecordingError
from evolver.recording.journal import read_journal
from evolver.recording.process import RecorderProcess
from evolver.recording.records import Array, Event, ImagePixels
from evolver.recording.remote import RemoteRecorder


@pytest.fixture
def address(tmp_path_factory):
    return tmp_path_factory.mktemp("s") / "r.sock"


def event(number, engine="e"):
    return Event(number, "info", engine, str(number))


def numbers(journal):
    """Return the numbers of the events of engine "e" in a journal, in order."""
    return [
        r.time_ns for _, r in read_journal(journal) if isinstance(r, Event) and r.name == "e"
    ]


class Process:
    """A recorder's process."""

    def __init__(self, journal, address, *extra, **options):
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "evolver.recording.process",
                str(journal),
                str(address),
                *extra,
            ],
            stderr=subprocess.DEVNULL,
            **options,
        )

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path, address):
    started = []

    def begin(*extra, **options):
        started.append(Process(tmp_path / "journal", address, *extra, **options))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()


def test_what_is_handed_over_is_in_the_journal_in_order(tmp_path, address, start):
    process = start()
    told = []
    recorder = RemoteRecorder(address)
    for number in range(200):
        recorder.submit(event(number), lambda number=number: told.append(number))
    recorder.barrier()
    assert told == list(range(200))
    assert numbers(tmp_path / "journal") == list(range(200))
    assert recorder.take_busy_seconds() > 0
    recorder.close()
    recorder.close()
    with pytest.raises(OrderError):
        recorder.submit(event(0))
    assert process.end() == 0
    names = [r.name for _, r in read_journal(tmp_path / "journal")]
    assert "engine_died" not in names


def test_large_records_pass(tmp_path, address, start):
    start()
    recorder = RemoteRecorder(address)
    pixels = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), np.uint8)
    for number in range(5):
        recorder.submit(ImagePixels(f"{number:064}", Array.of(pixels)))
    recorder.barrier()
    found = [r for _, r in read_journal(tmp_path / "journal")]
    assert len(found) == 5
    np.testing.assert_array_equal(found[4].pixels.numpy(), pixels)
    recorder.close()


def test_an_engine_may_come_before_its_recorder(tmp_path, address, start):
    recorder = RemoteRecorder(address)
    recorder.submit(event(0))
    start()
    recorder.barrier()
    assert numbers(tmp_path / "journal") == [0]
    recorder.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_recorder_that_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path, address, start, seed
):
    rng = np.random.default_rng(seed)
    recorder = RemoteRecorder(address)
    acknowledged = []
    number = 0
    for _ in range(4):
        process = start()
        began = time.monotonic()
        until = began + 0.25 + 0.3 * float(rng.random())  # some die before they listen
        while time.monotonic() < until:
            recorder.submit(event(number), lambda n=number: acknowledged.append(n))
            number += 1
            threading.Event().wait(0.001)
        process.end(signal.SIGKILL)
        before = list(acknowledged)
        assert before == list(range(len(before)))
        if (tmp_path / "journal").exists() and before:
            assert set(before) <= set(numbers(tmp_path / "journal"))
    start()
    recorder.barrier()
    assert acknowledged == list(range(number))
    assert numbers(tmp_path / "journal") == list(range(number))
    recorder.close()


def hand_over_and_die(address, n):
    """In a process of its own: hand over n records and be killed."""
    code = (
        "import os, signal, sys\n"
        "from evolver.recording.records import Event\n"
        "from evolver.recording.remote import RemoteRecorder\n"
        f"r = RemoteRecorder({str(address)!r})\n"
        f"for i in range({n}): r.submit(Event(i, 'info', 'e', str(i)))\n"
        "r.barrier()\n"
        f"for i in range({n}, {2 * n}): r.submit(Event(i, 'info', 'e', str(i)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)


def test_an_engine_that_dies_leaves_all_it_handed_over_and_the_next_goes_on(
    tmp_path, address, start
):
    process = start()
    hand_over_and_die(address, 50)
    second = RemoteRecorder(address)
    second.submit(event(1000))
    second.barrier()
    second.close()
    assert process.end() == 0
    records = [r for _, r in read_journal(tmp_path / "journal")]
    found = [r.time_ns for r in records if r.name == "e"]
    assert found[:50] == list(range(50))
    assert found[-1] == 1000
    died = [i for i, r in enumerate(records) if r.name == "engine_died"]
    assert len(died) == 1
    assert records[died[0] + 1].time_ns == 1000


def test_an_interrupt_from_the_keyboard_is_not_for_it(tmp_path, address, start):
    process = start()
    recorder = RemoteRecorder(address)
    recorder.submit(event(0))
    recorder.barrier()
    process.process.send_signal(signal.SIGINT)
    process.process.send_signal(signal.SIGHUP)
    recorder.submit(event(1))
    recorder.barrier()
    assert process.process.poll() is None
    assert numbers(tmp_path / "journal") == [0, 1]
    recorder.close()


def test_it_ends_after_its_supervisor_with_everything_written(tmp_path, address, start):
    mine, theirs = os.pipe()
    process = start("--parent", str(mine), pass_fds=(mine,))
    os.close(mine)
    recorder = RemoteRecorder(address)
    recorder.submit(event(0))
    recorder.barrier()
    for number in range(1, 100):
        recorder.submit(event(number))
    recorder.barrier()
    os.close(theirs)
    recorder.submit(event(100))  # the engine's last words are waited for
    recorder.barrier()
    recorder.close()
    assert process.process.wait(30) == 0
    assert numbers(tmp_path / "journal") == list(range(101))


def test_a_second_writer_of_the_journal_is_refused(tmp_path, address, start):
    start()
    recorder = RemoteRecorder(address)
    recorder.submit(event(0))
    recorder.barrier()
    other = Process(tmp_path / "journal", address.with_name("other.sock"))
    assert other.process.wait(30) != 0
    recorder.close()


def test_what_the_disk_refuses_is_said_and_tried_again(tmp_path, address):
    """The process's object in this one, its disk made to refuse."""
    import errno

    from evolver.recording import process as module
    from evolver.recording.storage import OsFileSystem

    class Full(OsFileSystem):
        full = False

        def pwrite(self, fd, data, offset):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().pwrite(fd, data, offset)

    files = Full()
    served = RecorderProcess.__new__(RecorderProcess)
    writer = module.JournalWriter

    def on_this_disk(folder, *, resume=False):
        return writer(folder, resume=resume, files=files)

    module.JournalWriter = on_this_disk
    try:
        served.__init__(tmp_path / "journal", address)
    finally:
        module.JournalWriter = writer
    worker = threading.Thread(target=served.run)
    worker.start()
    recorder = RemoteRecorder(address)
    try:
        recorder.submit(event(0))
        recorder.barrier()
        files.full = True
        recorder.submit(event(1))
        with pytest.raises(RecordingError, match="No space left"):
            recorder.barrier()
        with pytest.raises(RecordingError, match="call retry"):
            recorder.submit(event(2))
        recorder.retry()
        with pytest.raises(RecordingError, match="No space left"):
            recorder.barrier()
        files.full = False
        recorder.retry()
        recorder.submit(event(2))
        recorder.barrier()
        assert numbers(tmp_path / "journal") == [0, 1, 2]
    finally:
        files.full = False
        recorder.close()
        served.end()
        worker.join(30)


def test_a_recorder_that_cannot_be_reached_is_an_error_until_it_can(address, tmp_path, start):
    recorder = RemoteRecorder(address, patience_s=0.1)
    recorder.submit(event(0))
    with pytest.raises(RecordingError, match="no recorder at"):
        recorder.barrier()
    start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        recorder.retry()
        try:
            recorder.barrier()
            break
        except RecordingError:
            continue
    assert numbers(tmp_path / "journal") == [0]
    recorder.close()


def test_a_stranger_is_sent_away_and_harms_nothing(tmp_path, address, start):
    import socket

    start()
    recorder = RemoteRecorder(address)
    recorder.submit(event(0))
    recorder.barrier()
    for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\x00\x00\x01x", b"\xff" * 5):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(str(address))
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    recorder.submit(event(1))
    recorder.barrier()
    assert numbers(tmp_path / "journal") == [0, 1]
    recorder.close()
