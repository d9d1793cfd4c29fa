"""The recorder in a process of its own: killed, restarted, refused by its disk."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from evolver.errors import OrderError, RecordingError
from evolver.journal import frames, recorder_process
from evolver.journal import recorder_protocol as wire
from evolver.journal.recorder_client import RemoteRecorder
from evolver.journal.recorder_process import RecorderProcess
from evolver.journal.recorder_protocol import recorder_status
from evolver.journal.records import Event, ImagePixels, PackedArray, encode_record
from evolver.journal.storage import OsFileSystem
from evolver.journal.writer import read_journal
from tests.children import Command
from tests.limits import PATIENCE_S, wait_until
from tests.soak import further


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


def connect(address, **options):
    """Return an engine's end, which waits for a recorder as long as a test may."""
    return RemoteRecorder(address, **{"patience_s": PATIENCE_S, **options})


class Process:
    """A recorder's process: an interpreter of its own where `options` are a `Popen`'s."""

    def __init__(self, journal, address, *extra, **options):
        words = [str(journal), str(address), *extra]
        if options:
            command = [sys.executable, "-m", "evolver.journal.recorder_process", *words]
            self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)
        else:
            self.process = Command(["recorder", *words], os.environ)
            self.process.stdout.close()  # nobody reads what it says

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path, address):
    started = []

    def begin(*extra, **options):
        started.append(Process(tmp_path / "journal", address, *extra, **options))
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait(PATIENCE_S)


def test_what_is_handed_over_is_in_the_journal_in_order(tmp_path, address, start):
    process = start()
    told = []
    recorder = connect(address)
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
    recorder = connect(address)
    pixels = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), np.uint8)
    for number in range(5):
        recorder.submit(ImagePixels(f"{number:064}", PackedArray.of(pixels)))
    recorder.barrier()
    found = [r for _, r in read_journal(tmp_path / "journal")]
    assert len(found) == 5
    np.testing.assert_array_equal(found[4].pixels.numpy(), pixels)
    recorder.close()


def test_an_engine_may_come_before_its_recorder(tmp_path, address, start):
    recorder = connect(address)
    recorder.submit(event(0))
    start()
    recorder.barrier()
    assert numbers(tmp_path / "journal") == [0]
    recorder.close()


@pytest.mark.parametrize("seed", [0, further(1), further(2)])
def test_a_recorder_that_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path, address, start, seed
):
    rng = np.random.default_rng(seed)
    recorder = connect(address)
    acknowledged = []
    number = 0
    for _ in range(4):
        process = start()
        began = time.monotonic()
        until = began + 0.3 * float(rng.random())  # some die before they listen
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
        "from evolver.journal.records import Event\n"
        "from evolver.journal.recorder_client import RemoteRecorder\n"
        f"r = RemoteRecorder({str(address)!r})\n"
        f"for i in range({n}): r.submit(Event(i, 'info', 'e', str(i)))\n"
        "r.barrier()\n"
        f"for i in range({n}, {2 * n}): r.submit(Event(i, 'info', 'e', str(i)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = Command(["python", "-c", code], os.environ)
    with process.stdout:
        assert process.wait(PATIENCE_S) == -signal.SIGKILL, process.stdout.read()


def test_an_engine_that_dies_leaves_all_it_handed_over_and_the_next_goes_on(
    tmp_path, address, start
):
    process = start()
    hand_over_and_die(address, 50)
    second = connect(address)
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
    recorder = connect(address)
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
    recorder = connect(address)
    recorder.submit(event(0))
    recorder.barrier()
    for number in range(1, 100):
        recorder.submit(event(number))
    recorder.barrier()
    os.close(theirs)
    recorder.submit(event(100))  # the engine's last words are waited for
    recorder.barrier()
    recorder.close()
    assert process.process.wait(PATIENCE_S) == 0
    assert numbers(tmp_path / "journal") == list(range(101))


def test_a_second_writer_of_the_journal_is_refused(tmp_path, address, start):
    start()
    recorder = connect(address)
    recorder.submit(event(0))
    recorder.barrier()
    other = Process(tmp_path / "journal", address.with_name("other.sock"))
    assert other.process.wait(PATIENCE_S) != 0
    recorder.close()


def test_what_the_disk_refuses_is_said_and_tried_again(tmp_path, address):
    """The process's object in this one, its disk made to refuse."""

    class Full(OsFileSystem):
        full = False

        def pwrite(self, fd, data, offset):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().pwrite(fd, data, offset)

    files = Full()
    served = RecorderProcess(tmp_path / "journal", address, files=files)
    worker = threading.Thread(target=served.run)
    worker.start()
    recorder = connect(address)
    try:
        recorder.submit(event(0))
        recorder.barrier()
        files.full = True
        recorder.submit(event(1))
        with pytest.raises(RecordingError, match="No space left"):
            recorder.barrier()
        with pytest.raises(RecordingError, match="written once that is mended"):
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
        worker.join(PATIENCE_S)


def test_a_recorder_that_cannot_be_reached_is_an_error_until_it_can(address, tmp_path, start):
    recorder = RemoteRecorder(address, patience_s=0.1)
    recorder.submit(event(0))
    with pytest.raises(RecordingError, match="no recorder at"):
        recorder.barrier()
    start()
    wait_until(lambda: settled(recorder))
    assert numbers(tmp_path / "journal") == [0]
    recorder.close()


def test_a_recorder_that_is_told_to_end_and_started_again_takes_each_record_once(
    tmp_path, address, start
):
    recorder = connect(address)
    for number in range(0, 10, 2):
        process = start()
        recorder.submit(event(number))
        recorder.barrier()
        assert process.end() == 0
        recorder.submit(event(number + 1))
    start()
    recorder.barrier()
    records = [r for _, r in read_journal(tmp_path / "journal")]
    assert [r.time_ns for r in records] == list(range(10))  # nobody died
    recorder.close()


def test_an_engine_that_dies_before_the_first_record_leaves_the_journal_empty(
    tmp_path, address, start
):
    """The first record says what the session is: nothing may come before it."""
    start()
    hand_over_and_die(address, 0)
    hand_over_and_die(address, 1)
    journal = tmp_path / "journal"
    wait_until(lambda: [r.name for _, r in read_journal(journal)][-1:] == ["engine_died"])
    assert [r.name for _, r in read_journal(journal)] == ["e", "engine_died"]


def test_an_engines_death_is_in_the_journal_before_another_comes(tmp_path, address, start):
    start()
    before = time.time_ns()
    hand_over_and_die(address, 5)
    journal = tmp_path / "journal"
    wait_until(lambda: [r for _, r in read_journal(journal)][-1].name == "engine_died")
    died = [r for _, r in read_journal(journal)][-1]
    assert before < died.time_ns < time.time_ns()
    assert died.level == "error"


def test_an_engine_whose_children_hold_its_socket_is_dead_all_the_same(
    tmp_path, address, start
):
    start()
    code = (
        "import os, sys, time\n"
        "from evolver.journal.records import Event\n"
        "from evolver.journal.recorder_client import RemoteRecorder\n"
        f"r = RemoteRecorder({str(address)!r})\n"
        "r.submit(Event(1, 'info', 'e', ''))\n"
        "r.barrier()\n"
        "pid = os.fork()\n"
        "if pid: print(pid, flush=True); os._exit(0)\n"
        "os.close(1); time.sleep(600)\n"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, check=True
    )
    try:
        journal = tmp_path / "journal"
        wait_until(lambda: [r.name for _, r in read_journal(journal)] == ["e", "engine_died"])
    finally:
        os.kill(int(said.stdout), signal.SIGKILL)


def test_an_engine_that_another_has_replaced_must_end(tmp_path, address, start):
    process = start()
    first = connect(address)
    first.submit(event(0))
    first.barrier()
    second = connect(address)
    second.attach()
    wait_until(lambda: first.error is not None)
    for call in (first.barrier, first.close, lambda: first.submit(event(99))):
        with pytest.raises((RecordingError, OrderError), match=r"must end|closed"):
            call()
    first.retry()  # mends nothing
    assert "must end" in str(first.error)
    second.submit(event(1))
    second.barrier()
    second.close()
    assert process.end() == 0
    found = [(r.name, r.time_ns) for _, r in read_journal(tmp_path / "journal")]
    assert [name for name, _ in found] == ["e", "engine_died", "e"]


def test_records_of_another_in_between_are_noticed_after_a_restart(tmp_path, address, start):
    """The journal was written to while neither recorder ran: numbers alone would not tell."""
    from evolver.journal import JournalWriter

    process = start()
    recorder = connect(address)
    recorder.submit(event(0))
    recorder.barrier()
    process.end()
    with JournalWriter(tmp_path / "journal", resume=True) as journal:
        journal.append(event(7, "foreign"))
    recorder.submit(event(1))
    start()
    with pytest.raises(RecordingError, match="Something else wrote to it"):
        recorder.barrier()
    assert [r.time_ns for _, r in read_journal(tmp_path / "journal")] == [0, 7]
    with pytest.raises(RecordingError):
        recorder.close()


def test_a_journal_that_lost_acknowledged_records_is_noticed(tmp_path, address, start):
    process = start()
    recorder = connect(address)
    for number in range(3):
        recorder.submit(event(number))
    recorder.barrier()
    process.end()
    for segment in (tmp_path / "journal").glob("*.evj"):
        segment.unlink()
    recorder.submit(event(3))
    start()
    with pytest.raises(RecordingError, match="lost records"):
        recorder.barrier()
    with pytest.raises(RecordingError):
        recorder.close()


def test_it_says_how_it_is_doing(address, start):
    with pytest.raises(RecordingError, match="no recorder answers"):
        recorder_status(str(address))
    process = start()
    recorder = connect(address)
    recorder.attach()
    empty = recorder.status()
    assert (empty.records, empty.written_bytes, empty.minutes_left) == (0, 0, None)
    for number in range(100):
        recorder.submit(event(number))
    recorder.barrier()
    said = recorder_status(str(address))  # anyone may ask
    # The first record may stand in the file twice, and is counted once.
    frames_of = [frames.pack_frame(k, encode_record(event(k))) for k in range(100)]
    assert said.pid == process.process.pid
    assert (said.records, said.written_bytes) == (100, len(b"".join(frames_of)))
    assert (said.waiting_records, said.waiting_bytes, said.error) == (0, 0, "")
    assert said.engine
    assert said.busy_seconds > 0
    assert said.free_bytes > 0
    assert said.minutes_left == pytest.approx(said.free_bytes / said.bytes_per_minute)
    recorder.close()
    wait_until(lambda: not recorder_status(str(address)).engine)


def test_a_frozen_recorder_holds_up_who_waits_and_nobody_else(tmp_path, address, start):
    process = start()
    recorder = RemoteRecorder(address, patience_s=0.3)
    wait_until(lambda: attached(recorder))
    process.process.send_signal(signal.SIGSTOP)
    try:
        pixels = PackedArray.of(np.zeros((1024, 1024, 3), np.uint8))
        for number in range(10):  # far more than the socket takes
            recorder.submit(ImagePixels(f"{number:064}", pixels))
        with pytest.raises(RecordingError, match=r"has not answered|no recorder"):
            recorder.barrier()
    finally:
        process.process.send_signal(signal.SIGCONT)
    wait_until(lambda: settled(recorder))
    found = [r.sha256 for _, r in read_journal(tmp_path / "journal")]
    assert found == [f"{number:064}" for number in range(10)]
    recorder.close()


def test_nothing_is_called_durable_twice_when_an_engine_comes_back(tmp_path, address):
    """The worker's words for records that a welcome has already counted come after it."""
    late = []

    class Late(RecorderProcess):
        def _is_durable(self, engine, number):
            if number <= 2:
                late.append((engine, number))  # and the worker goes on
            else:
                super()._is_durable(engine, number)

    served = Late(tmp_path / "journal", address)
    worker = threading.Thread(target=served.run)
    worker.start()
    payload, links = encode_record(event(0)), contextlib.ExitStack()

    def hello(place):
        link = links.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        link.connect(str(address))
        link.settimeout(PATIENCE_S)
        link.sendall(wire.pack_message(wire.HELLO, place, b"e" * wire.NAME_BYTES))
        return link, wire.receive(link)[:2]

    try:
        first, said = hello(wire.NO_PLACE)
        assert said == (wire.WELCOME, 0)
        for number in range(2):
            first.sendall(wire.pack_message(wire.RECORD, number, payload))
        first.sendall(wire.pack_message(wire.FLUSH))
        again, said = hello(0)
        assert said == (wire.WELCOME, 2)
        assert wire.receive(again)[:2] == (wire.DURABLE, 2)
        wait_until(lambda: len(late) == 2)
        for engine, number in late:
            RecorderProcess._is_durable(served, engine, number)
        again.sendall(wire.pack_message(wire.RECORD, 2, payload))
        assert wire.receive(again)[:2] == (wire.DURABLE, 3)
        assert late[0][0].durable == 3
    finally:
        served.end()
        worker.join(PATIENCE_S)
        links.close()


def attached(recorder):
    """Attach to a recorder that may still be starting; return whether it answered in time."""
    try:
        recorder.attach()
    except RecordingError:
        recorder.retry()
        return False
    return True


def settled(recorder):
    recorder.retry()
    try:
        recorder.barrier()
    except RecordingError:
        return False
    return True


def test_an_engine_frozen_in_the_middle_of_a_record_holds_up_nobody(tmp_path, address, start):
    process = start()
    wait_until(address.exists)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as frozen:
        wait_until(lambda: frozen.connect_ex(str(address)) == 0)
        frozen.sendall(wire.pack_message(wire.HELLO, wire.NO_PLACE, b"f" * wire.NAME_BYTES))
        assert wire.receive(frozen)[0] == wire.WELCOME
        frozen.sendall(wire.HEAD.pack(1000, wire.RECORD, 0) + b"half")
        recorder = connect(address)
        recorder.submit(event(0))
        recorder.barrier()
        recorder.close()
        assert numbers(tmp_path / "journal") == [0]
    assert process.end() == 0


def test_a_full_queue_waits_for_room_and_loses_nothing(tmp_path, address, start):
    recorder = connect(address, queue_bytes=10_000)
    worker = threading.Thread(
        target=lambda: [recorder.submit(event(number)) for number in range(2000)]
    )
    worker.start()
    worker.join(0.05)
    assert worker.is_alive()  # there is no recorder yet, and no room
    start()
    worker.join(PATIENCE_S)
    recorder.barrier()
    assert numbers(tmp_path / "journal") == list(range(2000))
    recorder.close()


def test_a_callback_that_raises_is_heard_of(address, start):
    start()
    recorder = connect(address)

    def bad():
        raise ValueError("told badly")

    recorder.submit(event(0), bad)
    wait_until(lambda: recorder.error is not None)
    with pytest.raises(RecordingError, match="told badly"):
        recorder.submit(event(1))
    recorder.retry()
    recorder.barrier()
    recorder.close()


def test_a_folder_that_others_may_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(RecordingError, match="owner alone"):
        RecorderProcess(tmp_path / "journal", tmp_path / "open" / "r.sock")


def test_an_address_that_is_too_long_is_refused_and_frees_the_journal(tmp_path, address):
    with pytest.raises(RecordingError, match="shorter path"):
        RecorderProcess(tmp_path / "journal", address.with_name("x" * 200))
    RecorderProcess(tmp_path / "journal", address)._close()


def test_a_stranger_is_sent_away_and_harms_nothing(tmp_path, address, start):
    start()
    recorder = connect(address)
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


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 4), (errno.EDQUOT, 4), (errno.EIO, 1)]
)
def test_a_recorder_says_by_its_status_that_the_disk_is_full(
    tmp_path, address, monkeypatch, number, status
):
    def refuse(_files, _path):
        raise OSError(number, "no")

    monkeypatch.setattr(OsFileSystem, "lock", refuse)
    monkeypatch.setattr("sys.argv", ["recorder", str(tmp_path / "journal"), str(address)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert recorder_process.main() == status
