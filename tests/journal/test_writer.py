"""The journal: what was acknowledged is there, whatever the disk and the process do."""

import errno
import fcntl
import os
import shutil
import signal
import stat
import struct
import zlib
from pathlib import Path

import msgpack
import numpy as np
import pytest

from evolver.errors import DamagedJournalError, OrderError, RecordingError
from evolver.journal import JournalIndex, JournalWriter, frames, read_journal
from evolver.journal.history import find_history, read_history
from evolver.journal.reader import segment_paths
from evolver.journal.records import Event, Result
from evolver.journal.storage import OsFileSystem, disk_free_bytes
from evolver.journal.writer import is_locked
from evolver.recording import read
from evolver.recording.fold import fold
from tests import children
from tests.journal import mortal
from tests.journal.disks import Disk, FaultyDisk, ForgetfulDisk
from tests.recording.sessions import make_records
from tests.skips import NO_HOLES
from tests.soak import further, share

GOLDEN = Path(__file__).parents[1] / "golden"


def note(number, length=20):
    return Event(number, "info", "note", "x" * length)


def numbers(folder):
    """time_ns of every event, in order; they are made equal to the sequence."""
    found = list(read_journal(folder))
    assert [sequence for sequence, _ in found] == [record.time_ns for _, record in found]
    return [sequence for sequence, _ in found]


def write(folder, n, **options):
    with JournalWriter(folder, **options) as journal:
        for number in range(n):
            assert journal.append(note(number)) == number
        journal.sync()


def test_a_frame_is_what_the_format_says():
    record = Event(1_800_000_000_000_000_000, "info", "note", "the animal is awake")
    payload = msgpack.packb({
        "kind": "event",
        "time_ns": 1_800_000_000_000_000_000,
        "level": "info",
        "name": "note",
        "text": "the animal is awake",
    })
    covered = struct.pack("<IQ", len(payload), 7)
    by_hand = b"EVJ1" + covered + struct.pack("<I", zlib.crc32(covered + payload)) + payload
    committed = (GOLDEN / "frame-v1.evj").read_bytes()
    assert committed == by_hand
    frame, body = frames.unpack_frame(committed)
    assert (frame.sequence, frame.length, bytes(body)) == (7, len(by_hand), payload)
    assert frames.pack_frame(7, payload) == committed
    from evolver.journal.records import decode_record

    assert decode_record(payload) == record


def test_what_was_appended_comes_back_in_order_over_segments(tmp_path):
    write(tmp_path, 100, segment_bytes=1000)
    assert numbers(tmp_path) == list(range(100))
    assert len(list(tmp_path.glob("segment-*.evj"))) > 5
    assert not any(path.stat().st_size > 1000 for path in tmp_path.glob("segment-*.evj"))


def test_nothing_is_acknowledged_before_it_is_synced(tmp_path):
    journal = JournalWriter(tmp_path)
    journal.append(note(0))
    assert journal.durable_records == 0
    journal.sync()
    assert journal.durable_records == 1
    assert numbers(tmp_path) == [0]  # read while it is open: preallocated zeros are cut
    journal.close()
    journal.close()
    with pytest.raises(OrderError, match="closed"):
        journal.append(note(1))


def test_a_record_larger_than_a_segment_gets_one_of_its_own(tmp_path):
    with JournalWriter(tmp_path, segment_bytes=500) as journal:
        for number in range(6):
            journal.append(note(number, 2000 if number % 2 else 10))
    assert numbers(tmp_path) == list(range(6))


def test_a_folder_has_one_writer_and_a_journal_is_not_written_over(tmp_path):
    with JournalWriter(tmp_path) as journal:
        with pytest.raises(RecordingError, match="another process is writing"):
            JournalWriter(tmp_path, resume=True)
        journal.append(note(0))
    with pytest.raises(RecordingError, match="already holds a journal"):
        JournalWriter(tmp_path)
    with JournalWriter(tmp_path, resume=True) as journal:
        assert journal.append(note(1)) == 1
    assert numbers(tmp_path) == [0, 1]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingError, match="cannot write a journal"):
        JournalWriter(tmp_path / "file" / "journal")


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_where_there_is_no_journal_reading_says_so(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="segment-"):
        next(read_journal(tmp_path / folder))


def test_cut_at_any_byte_the_whole_records_before_it_are_read(tmp_path):
    write(tmp_path, 8)
    path = next(tmp_path.glob("segment-*.evj"))
    data = path.read_bytes()
    ends = [frame.offset + frame.length for frame in frames.scan(data).frames[:8]]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        index = JournalIndex(tmp_path)
        whole = sum(end <= cut for end in ends)
        assert index.sequences == tuple(range(whole))
        assert not index.summary.missing + index.summary.conflicts
        path.write_bytes(data[:cut] + bytes(64))  # and in preallocated room
        assert JournalIndex(tmp_path).sequences == tuple(range(whole))
    with JournalWriter(tmp_path, resume=True) as journal:  # the last cut is none at all
        assert journal.next_sequence == 8


def test_a_flipped_bit_takes_one_record_and_is_reported(tmp_path):
    write(tmp_path, 6)
    path = next(tmp_path.glob("segment-*.evj"))
    data = path.read_bytes()
    spans = [(f.offset, f.offset + f.length) for f in frames.scan(data).frames[:6]]
    assert frames.scan(data).frames[6].sequence == 0  # the first record, again
    for at in range(spans[1][0], spans[-1][1]):
        hit = next(i for i, (start, end) in enumerate(spans) if start <= at < end)
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        summary = JournalIndex(tmp_path).summary
        assert numbers(tmp_path) == [n for n in range(6) if n != hit]
        if hit < 5:  # nobody can tell by its number that the last record is missing
            assert summary.missing == ((hit, hit),)
            assert "MISSING" in summary.describe()
        assert summary.damage == ((path.name, *spans[hit]),)


def first_numbers(folder):
    """Sequences of each segment's first two frames."""
    return [
        [frame.sequence for frame in frames.scan(path.read_bytes()).frames[:2]]
        for path in segment_paths(folder)
    ]


def test_the_first_record_stands_in_every_segment_and_twice_in_the_first(tmp_path):
    write(tmp_path, 60, segment_bytes=1000)
    begins = first_numbers(tmp_path)
    assert len(begins) > 5
    assert all(first == 0 for first, _ in begins)
    with JournalWriter(tmp_path, resume=True) as journal:
        journal.append(note(60))
    assert first_numbers(tmp_path)[-1] == [0, 60]
    assert numbers(tmp_path) == list(range(61))
    assert JournalIndex(tmp_path).summary.duplicates == 0
    with JournalWriter(tmp_path / "long") as journal:
        for number in range(40):
            journal.append(note(number, 1000))
            journal.sync()
        (path,) = segment_paths(tmp_path / "long")  # as a kill would leave it
        content = frames.scan(path.read_bytes())
    heads = [frame.offset for frame in content.frames if frame.sequence == 0]
    assert heads[0] == 0
    assert len(heads) == 2
    assert 4096 < heads[1] < 3 * 4096


@pytest.mark.parametrize("n", [1, 6])
def test_a_flipped_bit_in_the_first_record_loses_nothing(tmp_path, n):
    write(tmp_path, n)
    (path,) = segment_paths(tmp_path)
    data = path.read_bytes()
    for at in range(frames.scan(data).frames[0].length):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        index = JournalIndex(tmp_path)
        assert index.has_begun()
        assert numbers(tmp_path) == list(range(n))
        assert index.summary.damage[0][1] == 0
        with JournalWriter(tmp_path, resume=True) as journal:
            assert journal.next_sequence == n


def damage_heads(folder):
    """Flip a bit in the first record, wherever it stands."""
    for path in segment_paths(folder):
        data = bytearray(path.read_bytes())
        for frame in frames.scan(bytes(data)).frames:
            if frame.sequence == 0:
                data[frame.offset + frame.length // 2] ^= 4
        path.write_bytes(data)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_a_journal_without_its_first_record_is_damaged_and_never_empty(tmp_path, n):
    write(tmp_path, n, segment_bytes=1000)
    damage_heads(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for read_it in (
        lambda: JournalIndex(tmp_path).has_begun(),
        lambda: find_history(tmp_path),
        lambda: read_history(tmp_path),
        lambda: JournalWriter(tmp_path, resume=True),
    ):
        with pytest.raises(DamagedJournalError, match="evolver fold"):
            read_it()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert numbers(tmp_path) == list(range(1, n))


def test_cut_within_its_first_record_a_journal_never_began(tmp_path):
    """What a kill leaves: nothing was acknowledged, and a recorder goes on."""
    write(tmp_path, 1)
    (path,) = segment_paths(tmp_path)
    data = path.read_bytes()[: frames.scan(path.read_bytes()).frames[0].length]
    for room in (0, 5000):
        for cut in range(len(data) - 64):
            path.write_bytes(data[:cut] + bytes(room))
            assert not JournalIndex(tmp_path).has_begun()
            assert find_history(tmp_path) is None
    with JournalWriter(tmp_path, resume=True) as journal:
        assert journal.append(note(0)) == 0
    assert numbers(tmp_path) == [0]


def test_a_journal_that_begins_with_something_else_is_no_session_to_go_on_with(tmp_path):
    write(tmp_path, 3)
    with pytest.raises(DamagedJournalError, match=r"that of .* is Event"):
        find_history(tmp_path)


def test_noise_never_stops_the_reader(tmp_path):
    rng = np.random.default_rng(5)
    write(tmp_path, 20)
    path = next(tmp_path.glob("segment-*.evj"))
    data = bytearray(path.read_bytes())
    for _ in range(300):
        noisy = data.copy()
        start = int(rng.integers(len(data)))
        stop = int(rng.integers(start, len(data)))
        noisy[start:stop] = rng.bytes(int(rng.integers(0, 200)))
        path.write_bytes(noisy)
        assert set(numbers(tmp_path)) <= set(range(20))


def test_two_records_with_one_number_are_reported(tmp_path):
    write(tmp_path, 2)
    other = frames.pack_frame(1, b"\x80")
    (tmp_path / "segment-000009.evj").write_bytes(other)
    assert JournalIndex(tmp_path).summary.conflicts == (1,)


def session_of_faults(folder, disk, *, again=7):
    """Write 12 records, syncing each, going on after every refusal; return the refusals."""
    refusals = 0
    for _ in range(again):
        try:
            journal = JournalWriter(folder, files=disk, segment_bytes=200, resume=True)
            break
        except RecordingError:
            refusals += 1
    for number in range(12):
        journal.append(note(number))
        for _ in range(again):
            try:
                journal.sync()
                break
            except RecordingError:
                refusals += 1
                # What was acknowledged before is there while the disk refuses.
                if journal.durable_records:
                    assert set(range(journal.durable_records)) <= set(numbers(folder))
        assert journal.durable_records == number + 1
        assert numbers(folder) == list(range(number + 1))
    journal.close()
    return refusals


@pytest.mark.parametrize("how", [further("EIO"), "ENOSPC", "short", further("torn")])
def test_any_storage_call_may_fail_and_nothing_is_lost(tmp_path, how):
    disk = Disk()
    session_of_faults(tmp_path / "clean", disk)
    assert {"create", "preallocate", "pwrite", "fdatasync", "sync_folder"} <= set(disk.calls)
    for at in range(len(disk.calls)):
        session_of_faults(tmp_path / str(at), FaultyDisk([at], how))
        assert numbers(tmp_path / str(at)) == list(range(12))


@pytest.mark.parametrize("how", [further("EIO"), further("ENOSPC"), "torn"])
def test_several_storage_calls_in_a_row_may_fail(tmp_path, how):
    refused = 0
    for at in range(0, 60, 4):
        for run in (2, 3, 5):
            folder = tmp_path / f"{at}-{run}"
            refused += session_of_faults(folder, FaultyDisk(range(at, at + run), how))
            assert numbers(folder) == list(range(12))
    assert refused > 10  # or this test would prove nothing


def test_after_a_failed_sync_its_descriptor_is_never_used_again(tmp_path):
    used = []

    class Watching(Disk):
        def before(self, name, args):
            if name in {"pwrite", "truncate", "fdatasync"}:
                used.append((name, args[0]))
            if name == "fdatasync" and len(used) == 2:
                raise OSError(5, "injected")

        def create(self, path):
            # Descriptors must differ for the test to tell them apart.
            fd = self._disk.create(path)
            moved = os.dup2(fd, 200 + int(path.stem[-3:]))
            os.close(fd)
            return moved

    with JournalWriter(tmp_path, files=Watching()) as journal:
        journal.append(note(0))
        journal.sync()
    assert {fd for name, fd in used[2:] if name != "truncate"} == {201}
    assert [fd for _, fd in used].count(200) == 2  # one write, one sync
    assert JournalIndex(tmp_path).sequences == (0,)


def test_a_full_disk_is_waited_out(tmp_path):
    disk = FaultyDisk()
    with JournalWriter(tmp_path, files=disk) as journal:
        journal.append(note(0))
        journal.sync()
        disk.at, disk.how = set(range(10_000)), "torn"
        journal.append(note(1))
        for _ in range(3):
            with pytest.raises(RecordingError, match="free some space"):
                journal.sync()
        assert numbers(tmp_path) == [0]
        *_, last = sorted(tmp_path.glob("segment-*.evj"))
        torn = frames.scan(last.read_bytes()).torn
        assert torn > 0  # cutting fails too on this disk: a reader has to
        disk.at = set()
        journal.sync()
        assert numbers(tmp_path) == [0, 1]


def test_what_a_failed_write_left_is_cut_off_at_once(tmp_path):
    disk = FaultyDisk(how="torn")
    with JournalWriter(tmp_path, files=disk) as journal:
        journal.append(note(0))
        journal.sync()
        journal.append(note(1))
        disk.at = {len(disk.calls)}  # the write alone
        with pytest.raises(RecordingError, match="free some space"):
            journal.sync()
        (path,) = tmp_path.glob("segment-*.evj")
        (frame,) = frames.scan(path.read_bytes()).frames
        assert path.stat().st_size == frame.length  # torn bytes and reserved room are gone
        journal.sync()
    assert numbers(tmp_path) == [0, 1]
    assert len(list(tmp_path.glob("segment-*.evj"))) == 1  # the same segment went on


def lose_power(folder, target, seed):
    rng = np.random.default_rng(seed)
    disk = ForgetfulDisk()
    journal = JournalWriter(folder, files=disk, segment_bytes=400)
    for number in range(int(rng.integers(1, 40))):
        journal.append(note(number, int(rng.integers(0, 150))))
        if rng.random() < 0.4:
            journal.sync()
    acknowledged = journal.durable_records
    if rng.random() < 0.7 and acknowledged < journal.next_sequence:
        # Lose it within the last sync: everything is written, nothing of it acknowledged.
        disk.fdatasync = lambda _fd: (_ for _ in ()).throw(OSError(5, "power"))
        with pytest.raises(RecordingError):
            journal.sync()
    disk.lose(target, rng)
    journal._closed = True
    journal._drop_segment()
    os.close(journal._lock)
    if acknowledged:
        found = JournalIndex(target).sequences
        assert set(range(acknowledged)) <= set(found)
        with JournalWriter(target, files=Disk(), segment_bytes=400, resume=True) as resumed:
            resumed.append(note(resumed.next_sequence))
        after = JournalIndex(target).sequences
        assert set(found) < set(after)


def test_a_power_loss_takes_nothing_that_was_acknowledged(tmp_path):
    for seed in range(60):
        lose_power(tmp_path / str(seed), tmp_path / "after", seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_power_losses(tmp_path):
    for seed in range(1000, 1000 + share(1500, 1000)):
        lose_power(tmp_path / str(seed), tmp_path / "after", seed)


def kill_a_writer(folder, rng, *, at_a_call):
    """Run a writer and kill it; return the last sequence it acknowledged, and if it died."""
    receive, send = children.pipe()
    process = children.child(
        mortal.write, folder, int(rng.integers(4, 120)) if at_a_call else -1, send
    )
    send.close()
    last = -1
    try:
        for _ in range(1_000_000 if at_a_call else int(rng.integers(0, 60))):
            last = receive.recv()
        for _ in range(int(rng.integers(0, 200_000))):
            pass  # some moment between two acknowledgements
        process.kill()
        while True:
            last = receive.recv()
    except EOFError:
        process.join()
    receive.close()
    assert process.exitcode in {0, -signal.SIGKILL}
    return last, process.exitcode != 0


def check_kills(tmp_path, kills, seed):
    rng = np.random.default_rng(seed)
    records = make_records(generations=20)
    folder, fresh, done, number = tmp_path / "0", 0, 0, 0
    while done < kills:
        number += 1
        acknowledged, killed = kill_a_writer(folder, rng, at_a_call=number % 2 == 0)
        done += killed
        if not list(folder.glob("segment-*.evj")):  # it was killed before it began
            assert acknowledged == -1
            continue
        index = JournalIndex(folder)
        assert not index.summary.missing + index.summary.conflicts
        assert index.summary.last >= acknowledged
        assert [record for _, record in index] == records[: index.summary.records]
        if acknowledged >= 0:
            fold(folder, tmp_path / "recording.h5", overwrite=True)
            with read(tmp_path / "recording.h5") as recording:
                table = recording.presentations
                got = set(
                    zip(table["presentation"].tolist(), table["attempt"].tolist(), strict=True)
                )
            expected = {
                (record.presentation, record.attempt)
                for record in records[: acknowledged + 1]
                if isinstance(record, Result)
            }
            assert expected <= got
            fresh += bool(expected)
        if index.summary.last > len(records) - 200:
            folder = tmp_path / str(number)  # begin another session
    assert fresh > kills // 3  # or this test would prove nothing


def test_kills_take_nothing_that_was_acknowledged(tmp_path):
    check_kills(tmp_path, 2, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thousands_of_kills(tmp_path):
    check_kills(tmp_path, share(3000, 600), seed=2)


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason=NO_HOLES)
def test_room_that_was_never_written_is_not_read(tmp_path):
    with JournalWriter(tmp_path / "a", segment_bytes=8 << 20) as journal:
        for number in range(5):
            journal.append(note(number))
        journal.sync()
        (segment,) = (tmp_path / "a").glob("segment-*.evj")
        shutil.copytree(tmp_path / "a", tmp_path / "sparse")
        size = segment.stat().st_size
        assert size == 8 << 20
    sparse = tmp_path / "sparse" / segment.name
    data = sparse.read_bytes().rstrip(b"\0")
    sparse.write_bytes(data)
    with sparse.open("r+b") as file:
        file.seek(1 << 20)  # past a hole, as a frame that came through and those before did not
        file.write(data)
        file.truncate(1 << 40)  # a terabyte that is not there
    index = JournalIndex(tmp_path / "sparse")
    assert index.sequences == (0, 1, 2, 3, 4)
    assert (index.summary.duplicates, index.summary.heads) == (4, 2)


def test_free_space_is_that_of_the_nearest_folder_there_is(tmp_path):
    assert disk_free_bytes(tmp_path / "not" / "yet") > 0


def test_folders_are_made_with_their_parents(tmp_path):
    OsFileSystem().make_folder(tmp_path / "a" / "b")
    OsFileSystem().make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def refuse_folders(monkeypatch, number):
    """Have the system refuse to sync a folder; return how often all was synced."""
    synced = []
    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    return synced


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_where_a_folder_cannot_be_synced_everything_is(tmp_path, monkeypatch, number):
    synced = refuse_folders(monkeypatch, number)
    with JournalWriter(tmp_path / "new" / "journal") as journal:
        journal.append(note(0))
    with JournalWriter(tmp_path / "new" / "journal", resume=True) as journal:
        journal.append(note(1))
    assert numbers(tmp_path / "new" / "journal") == [0, 1]
    assert len(synced) == 5  # two folders; a segment; what is resumed, and a segment


def test_a_folder_that_the_disk_refuses_is_no_such(tmp_path, monkeypatch):
    synced = refuse_folders(monkeypatch, errno.EIO)
    with pytest.raises(RecordingError, match="Input/output error"):
        JournalWriter(tmp_path / "journal")
    assert not synced


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_where_nothing_can_be_locked_that_is_what_is_said(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RecordingError, match="must be where files can be locked"):
        JournalWriter(tmp_path)
    assert not is_locked(tmp_path)


def test_whether_another_process_writes_can_be_asked(tmp_path):
    assert not is_locked(tmp_path)
    with JournalWriter(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
