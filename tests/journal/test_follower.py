"""A journal read while it is written."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evolver.journal.follower import Follower
from evolver.journal.reader import segment_name
from evolver.journal.records import Event, ImagePixels, PackedArray
from evolver.journal.writer import JournalWriter
from tests.soak import examples


def event(number):
    return Event(number, "info", "e", "x" * (number % 50))


def taken(follower, **options):
    return [r.time_ns for _, r in follower.poll(**options)]


def test_it_hands_out_what_came_since(tmp_path):
    follower = Follower(tmp_path / "journal")
    assert taken(follower) == []  # there is none yet
    with JournalWriter(tmp_path / "journal", segment_bytes=4096) as journal:
        for number in range(300):
            journal.append(event(number))
            if number % 7 == 0:
                journal.sync()
                found = taken(follower)
                assert found[-1] == number
                assert taken(follower) == []
        journal.sync()
        assert taken(follower) == list(range(295, 300))
    assert taken(Follower(tmp_path / "journal")) == list(range(300))


def test_a_record_longer_than_a_read(tmp_path):
    pixels = PackedArray.of(np.zeros((1500, 1500, 3), np.uint8))
    with JournalWriter(tmp_path / "journal") as journal:
        for record in (event(0), ImagePixels("0" * 64, pixels), event(1)):
            journal.append(record)
        journal.sync()
        kinds = [type(r) for _, r in Follower(tmp_path / "journal").poll()]
    assert kinds == [Event, ImagePixels, Event]


@examples(0.4)
@given(st.data())
def test_a_tail_that_grows_byte_by_byte(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("j")
    with JournalWriter(folder / "whole") as journal:
        for number in range(12):
            journal.append(event(number))
        journal.sync()
    whole = (folder / "whole" / segment_name(0)).read_bytes()
    (folder / "part").mkdir()
    path = folder / "part" / segment_name(0)
    follower, found, at = Follower(folder / "part"), [], 0
    while at < len(whole):
        at = min(len(whole), at + data.draw(st.integers(1, 200)))
        path.write_bytes(whole[:at] + bytes(64))  # room that was reserved
        found += taken(follower)
    assert found == list(range(12))


def test_what_a_writer_cut_back_and_wrote_again_comes_once(tmp_path):
    from evolver.journal import frames
    from evolver.journal.records import encode_record

    path = tmp_path / segment_name(0)
    one, two, other = (
        frames.pack_frame(i, encode_record(event(n))) for i, n in ((0, 0), (1, 1), (1, 1))
    )
    path.write_bytes(one + two)
    follower = Follower(tmp_path)
    assert taken(follower) == [0, 1]
    path.write_bytes(one)  # the second was not durable
    assert taken(follower) == []
    (tmp_path / segment_name(1)).write_bytes(
        other + frames.pack_frame(2, encode_record(event(2)))
    )
    assert taken(follower) == [2]


def test_little_at_a_time(tmp_path):
    with JournalWriter(tmp_path / "journal", segment_bytes=4096) as journal:
        for number in range(200):
            journal.append(event(number))
        journal.sync()
    follower, found = Follower(tmp_path / "journal"), []
    while part := taken(follower, at_most=1):
        found += part
    assert found == list(range(200))
