"""The recorder: its worker, its barrier, its errors. Threads are waited for, never slept."""

import threading

import pytest

from evolver.errors import OrderError, RecordingError
from evolver.journal import JournalIndex, JournalWriter, Recorder, frames, read_journal
from evolver.journal.records import Event
from tests.journal.disks import Disk, FaultyDisk
from tests.limits import PATIENCE_S

HOUR = 3600.0


def note(number):
    return Event(number, "info", "note", "")


def texts(folder):
    return [record.time_ns for _, record in read_journal(folder)]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def test_after_a_barrier_everything_submitted_is_there(tmp_path):
    with Recorder(JournalWriter(tmp_path)) as recorder:
        for number in range(200):
            recorder.submit(note(number))
        recorder.barrier()
        assert texts(tmp_path) == list(range(200))
        recorder.barrier()  # with nothing new, at once
        recorder.submit(note(200))
    assert texts(tmp_path) == list(range(201))  # closing is a barrier too


def test_a_burst_shares_one_sync_and_a_barrier_does_not_wait_for_the_interval(tmp_path):
    disk = Disk()
    with Recorder(JournalWriter(tmp_path, files=disk), sync_interval_s=HOUR) as recorder:
        for number in range(500):
            recorder.submit(note(number))
        recorder.barrier()
        # The first goes at once, whatever came with it; the barrier takes the rest.
        assert disk.calls.count("fdatasync") <= 2


def test_a_record_is_durable_when_its_callback_comes(tmp_path):
    seen = []
    done = threading.Event()

    def told():
        seen.append(len(texts(tmp_path)))
        done.set()

    with Recorder(JournalWriter(tmp_path, files=Disk())) as recorder:
        recorder.submit(note(0), told)  # no barrier: the worker syncs by itself
        assert done.wait(PATIENCE_S)
    assert seen == [1]


def test_callbacks_come_once_each_in_order(tmp_path):
    order = []
    with Recorder(JournalWriter(tmp_path, files=Disk())) as recorder:
        for number in range(50):
            recorder.submit(note(number), lambda number=number: order.append(number))
    assert order == list(range(50))


def test_a_storage_error_is_kept_until_retry_and_nothing_is_lost(tmp_path):
    disk = FaultyDisk(how="torn")
    with Recorder(JournalWriter(tmp_path, files=disk)) as recorder:
        recorder.submit(note(0))
        recorder.barrier()
        disk.at = set(range(100_000))
        told = threading.Event()
        recorder.submit(note(1), told.set)
        with pytest.raises(RecordingError, match=r"free some space.*are kept"):
            recorder.barrier()
        with pytest.raises(RecordingError, match="cannot be written for now"):
            recorder.submit(note(99))
        assert isinstance(recorder.error, RecordingError)
        recorder.retry()  # too early
        with pytest.raises(RecordingError, match="cannot be written for now"):
            recorder.barrier()
        assert not told.is_set()
        disk.at = set()
        recorder.retry()
        recorder.submit(note(2))
        recorder.barrier()
        assert recorder.error is None
        assert told.wait(PATIENCE_S)
    assert texts(tmp_path) == [0, 1, 2]


def test_closing_on_a_broken_disk_says_so_and_ends_the_worker(tmp_path):
    disk = FaultyDisk(how="EIO")
    recorder = Recorder(JournalWriter(tmp_path, files=disk))
    recorder.submit(note(0))
    recorder.barrier()
    disk.at = set(range(100_000))
    recorder.submit(note(1))
    with pytest.raises(RecordingError, match="cannot write"):
        recorder.close()
    recorder.close()
    disk.at = set()
    with JournalWriter(tmp_path, resume=True) as journal:  # the folder is free again
        assert journal.next_sequence == 1


def test_closing_tries_once_more_what_a_fault_held_up(tmp_path):
    disk = FaultyDisk(how="torn")
    told = []
    with Recorder(JournalWriter(tmp_path, files=disk)) as recorder:
        disk.at = set(range(100_000))
        recorder.submit(note(0), lambda: told.append(0))
        with pytest.raises(RecordingError):
            recorder.barrier()
        disk.at = set()
    assert told == [0]
    assert texts(tmp_path) == [0]


def test_a_closed_recorder_takes_nothing(tmp_path):
    recorder = Recorder(JournalWriter(tmp_path, files=Disk()))
    recorder.close()
    recorder.close()
    for call in (lambda: recorder.submit(note(0)), recorder.barrier):
        with pytest.raises(OrderError, match="closed"):
            call()


class Gate(Disk):
    """A disk whose sync waits until it is let."""

    def __init__(self):
        super().__init__()
        self.reached, self.open = threading.Event(), threading.Event()

    def before(self, name, _args):
        if name == "fdatasync":
            self.reached.set()
            assert self.open.wait(PATIENCE_S)


def test_submitting_goes_on_while_the_disk_works_until_the_queue_is_full(tmp_path):
    gate = Gate()
    with Recorder(JournalWriter(tmp_path, files=gate), queue_bytes=1000) as recorder:
        recorder.submit(note(0))
        assert gate.reached.wait(PATIENCE_S)
        recorder.submit(note(1))  # returns: the worker alone waits for the disk
        finished = threading.Event()

        def flood():
            for number in range(2, 100):
                recorder.submit(note(number))
            finished.set()

        flooding = threading.Thread(target=flood)
        flooding.start()
        assert not finished.is_set()  # 98 records do not fit, and the disk does not move
        gate.open.set()
        flooding.join(PATIENCE_S)
        assert finished.is_set()
        recorder.barrier()
    assert texts(tmp_path) == list(range(100))


def test_records_of_many_threads_are_all_kept_in_each_ones_order(tmp_path):
    with Recorder(JournalWriter(tmp_path, files=Disk()), queue_bytes=5000) as recorder:

        def work(k):
            for number in range(100):
                recorder.submit(note(1000 * k + number))
                if number % 10 == 0:
                    recorder.barrier()

        workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(PATIENCE_S)
    found = texts(tmp_path)
    assert len(found) == 400
    for k in range(4):
        assert [n for n in found if n // 1000 == k] == [1000 * k + i for i in range(100)]


def test_a_record_that_is_too_long_goes_back_to_who_submitted_it(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "MAX_PAYLOAD_BYTES", 100)
    with Recorder(JournalWriter(tmp_path, files=Disk())) as recorder:
        with pytest.raises(RecordingError, match="at most 100 bytes"):
            recorder.submit(Event(0, "info", "note", "x" * 200))
        recorder.submit(note(1))
        recorder.barrier()
    assert texts(tmp_path) == [1]


def test_a_callback_that_raises_is_heard_of(tmp_path):
    with Recorder(JournalWriter(tmp_path, files=Disk())) as recorder:
        done = threading.Event()

        def bad():
            done.set()
            raise ValueError("told badly")

        recorder.submit(note(0), bad)
        assert done.wait(PATIENCE_S)

        def go_on():
            while True:
                recorder.submit(note(1))
                recorder.barrier()

        with pytest.raises(RecordingError, match="told badly"):
            go_on()
        recorder.retry()
        recorder.barrier()
    assert JournalIndex(tmp_path).summary.first == 0


def test_busy_seconds_are_the_clocks_and_are_taken_once(tmp_path):
    ticks = iter(range(10_000))
    lock = threading.Lock()

    def clock():
        with lock:
            return float(next(ticks))

    with Recorder(
        JournalWriter(tmp_path, files=Disk()), clock=clock, sync_interval_s=0
    ) as recorder:
        recorder.submit(note(0))
        recorder.barrier()
        first = recorder.take_busy_seconds()
        assert first >= 2.0  # one tick or more of encoding, and of writing
        assert recorder.take_busy_seconds() == 0.0
