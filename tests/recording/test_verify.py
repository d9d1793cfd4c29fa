"""Damage and changes of a recording, which verifying and reading find."""

import re
import shutil
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from evolver.errors import RecordingError
from evolver.journal import JournalWriter
from evolver.journal.records import (
    Committed,
    Proposed,
)
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.recording.verify import verify, verify_file
from tests.recording.sessions import (
    SMALL,
    journal,
    make_records,
    write_session,
)
from tests.soak import further

GOLDEN = Path(__file__).parents[1] / "golden"


def change(path, value):
    def do(file):
        data = file[path][()]
        data[(0,) * data.ndim] = value(data[(0,) * data.ndim])
        file[path][...] = data

    return do


def altered(recording, folder, *changes):
    """Return a copy of a recording after changes to the open file."""
    out = Path(shutil.copy(recording, folder))
    with h5py.File(out, "r+") as file:
        for apply in changes:
            apply(file)
    return out


def rename(file):
    names = file["units/label"].asstr()[()]
    file["units/label"][...] = names[::-1]


def lose_last(name):
    def do(file):
        for column, dataset in list(file[name].items()):
            data = dataset[:-1]
            del file[name][column]
            file[name].create_dataset(column, data=data)

    return do


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (change("spikes/time_ms", lambda x: x + 1), "response of presentation"),
        further(change("spikes/unit", lambda x: (x + 1) % 4), "response of presentation"),
        further(change("presentations/onset_ns", lambda x: x + 1), "onset_ns of presentation"),
        (change("presentations/image_id", lambda x: (x + 1) % 5), "plan of presentation"),
        further(change("presentations/row", lambda x: x + 1), "plan of presentation"),
        (change("threads/0/codes", lambda x: x + 1), "codes of thread 0"),
        (change("threads/1/score", lambda x: x + 1), "scores of thread 1"),
        further(change("threads/0/image_id", lambda x: x + 1), "images of thread 0"),
        (change("threads/0/states/000001/mean", lambda x: x + 1), "optimizer's state"),
        (change("references/scores", lambda x: x + 1), "reference scores of block 0"),
        (change("blocks/total", lambda x: x + 1), "block 0 differs"),
        (change("images/pixels", lambda _: 0), "image 0 decodes to other pixels"),
        (change("events/time_ns", lambda x: x + 1), "event 'note' differs"),
        (rename, "units of rig"),
        (lose_last("presentations"), "not in the file"),
        (lambda file: file.attrs.modify("name", "another"), "name differs"),
        further(lambda file: file.attrs.modify("seed", 5), "seed"),
        further(lambda file: file.attrs.modify("end_reason", "no"), "session's end"),
        (lambda file: file.attrs.modify("journal_records", 5), "made from 5 records"),
    ],
)
def test_verify_finds_a_file_that_differs_from_its_journal(folded, tmp_path, damage, says):
    out = altered(folded / "plain.h5", tmp_path, damage, forget_checksums)
    with pytest.raises(RecordingError, match=says):
        verify(out, folded / "journal")


@pytest.mark.parametrize(
    "damage",
    [
        change("spikes/time_ms", lambda x: x + 1),
        rename,
        lambda file: file.attrs.modify("seed", 5),
    ],
)
def test_a_file_that_was_changed_differs_from_its_checksums(folded, tmp_path, damage):
    """Whatever the journal says."""
    out = altered(folded / "plain.h5", tmp_path, damage)
    with pytest.raises(RecordingError, match="must h"):
        verify_file(out)


def forget_checksums(file):
    """Make it a file of an older maker."""
    del file["attributes"]

    def forget(_, part):
        part.attrs.pop("crc32", None)

    file.visititems(forget)


def flipped(data, bits):
    data = bytearray(data)
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def everything(path):
    """All that a file's datasets hold."""
    with h5py.File(path) as file:
        datasets = []
        file.visititems(
            lambda _, part: datasets.append(part) if isinstance(part, h5py.Dataset) else None
        )
        return {one.name: one[()].tobytes() for one in datasets if one.dtype.kind != "O"}


@pytest.mark.parametrize("count", [4, further(90)])
def test_no_flipped_bit_changes_data_unsaid(made, count):
    """Beside those of HDF5, no structure of a file nor any of its values is taken on trust."""
    out = made / "recording.h5"
    whole = out.read_bytes()
    with h5py.File(out) as file:  # where values lie by themselves, and chunks
        places = []

        def lie(_, part):
            if isinstance(part, h5py.Dataset):
                own = part.id
                if part.chunks:
                    chunks = [own.get_chunk_info(k) for k in range(own.get_num_chunks())]
                    places.extend((part.name, c.byte_offset, c.size) for c in chunks)
                elif part.size:
                    places.append((part.name, own.get_offset(), own.get_storage_size()))

        file.visititems(lie)
    good = everything(out)
    rng = np.random.default_rng(3)
    chosen = [places[i] for i in rng.choice(len(places), count, replace=False)]
    for name, offset, size in chosen:
        assert offset is not None, name
        out.write_bytes(flipped(whole, [8 * (offset + int(rng.integers(size)))]))
        with pytest.raises(RecordingError, match=r"must (hold|have)"):
            verify_file(out)
    for bit in rng.integers(8 * len(whole), size=count):
        out.write_bytes(flipped(whole, [int(bit)]))
        try:
            verify_file(out)
        except RecordingError:
            continue
        assert everything(out) == good, f"bit {bit}"


def test_whoever_reads_damage_is_told_at_once(tmp_path):
    write_session(tmp_path / "journal", **SMALL)
    out = tmp_path / "recording.h5"
    fold(tmp_path / "journal", out)
    with h5py.File(out, "r+") as file:
        for name in ("presentations/onset_ns", "blocks/total", "threads/0/score"):
            file[name][0] = file[name][0] + 1
        label = file["units/label"][()]
        file["units/label"][...] = label[::-1]
        place = file["spikes/time_ms"].id.get_chunk_info(0)
        file["threads/1"].attrs["generator"] = "another"
    with pytest.raises(RecordingError, match=r"/threads/1 .* attribute 'generator' differs"):
        read(out)
    with h5py.File(out, "r+") as file:
        file["threads/1"].attrs["generator"] = "mini-object"
        file.attrs["a lab's own"] = "is not looked at"
    out.write_bytes(flipped(out.read_bytes(), [8 * (place.byte_offset + 3)]))
    with read(out) as recording:
        for look in (
            lambda: recording.presentations,
            lambda: recording.blocks,
            lambda: recording.threads,
            lambda: recording.units,
            lambda: recording.spikes(0),
            lambda: recording.all_spikes(),
        ):
            with pytest.raises(
                RecordingError, match=r"must hold at /.* what was written there"
            ):
                look()
        assert len(recording.events) == 2


def test_a_file_of_an_older_maker_is_verified_by_its_images(made):
    counted = verify_file(GOLDEN / "recording-v1.h5")
    assert (counted.datasets, counted.images) == (0, 11)
    assert verify_file(made / "recording.h5").datasets > 80


@pytest.mark.parametrize(
    ("more", "changes", "said"),
    [
        (Proposed, {"presentations": ()}, "generation 0 of thread 0 is not in the file"),
        (Committed, {}, "block 0 is not in the file"),
    ],
)
def test_verify_says_what_of_a_longer_journal_is_missed(tmp_path, more, changes, said):
    records = make_records(**SMALL)
    fold(journal(tmp_path / "journal", records[:2]), tmp_path / "recording.h5")
    with JournalWriter(tmp_path / "journal", resume=True) as writer:
        record = next(record for record in records if isinstance(record, more))
        writer.append(msgspec.structs.replace(record, **changes))
    with pytest.raises(RecordingError, match=said):
        verify(tmp_path / "recording.h5", tmp_path / "journal")


def test_what_is_not_a_recording_is_refused_with_what_to_do(tmp_path, made):
    with pytest.raises(RecordingError, match="evolver fold"):
        read(made / "journal")
    (tmp_path / "session.h5").touch()
    file = re.escape(str(tmp_path / "session.h5"))
    with pytest.raises(RecordingError, match=rf"a session's folder\. .* {file}: give"):
        read(tmp_path)
    with pytest.raises(RecordingError, match="no file"):
        read(tmp_path / "nothing.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(RecordingError, match="must be an HDF5 file"):
        read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RecordingError, match="not an evolver recording"):
        read(tmp_path / "other.h5")
    with h5py.File(made / "recording.h5", "r+") as file:
        file.attrs["schema_version"] = 2
    with pytest.raises(RecordingError, match="has version 2"):
        read(made / "recording.h5")


def test_a_recording_that_lost_a_part_says_which(made):
    with h5py.File(made / "recording.h5", "r+") as file:
        del file["spikes/unit"]
        del file["units"]
    with read(made / "recording.h5") as recording:
        with pytest.raises(RecordingError, match="/spikes/unit"):
            recording.spikes(0)
        with pytest.raises(RecordingError, match="/units"):
            _ = recording.units


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.pop("threads/0/codes"),
        lambda file: file.pop("psth"),
        lambda file: _linked(file, "threads/0/codes", h5py.ExternalLink("other.h5", "/codes")),
        lambda file: _linked(file, "config", h5py.SoftLink("/events/text")),
        lambda file: file.pop("attributes"),
    ],
    ids=["gone", "a group gone", "external", "soft", "the list"],
)
def test_verify_misses_what_was_written_and_is_not_there(folded, tmp_path, change):
    out = altered(folded / "recording.h5", tmp_path, change)
    with pytest.raises(RecordingError, match="must h"):
        verify_file(out)


def _linked(file, name, link):
    del file[name]
    file[name] = link
