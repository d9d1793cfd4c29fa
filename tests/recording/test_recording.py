"""From a journal to the file and back: against expectations made from the records by hand."""

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from evolver.errors import DataError, RecordingError
from evolver.journal import JournalWriter, frames
from evolver.journal.records import (
    Committed,
    ImagePixels,
    PackedArray,
    Proposed,
    Result,
    RigRecord,
    RunStart,
    UnitInfo,
    encode_record,
)
from evolver.journal.survey import survey
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.recording.verify import verify, verify_file
from evolver.report.tables import describe
from evolver.responses import rates_in_window
from tests.journal.test_writer import damage_heads
from tests.live.sessions import small, write
from tests.recording.sessions import (
    MISSING,
    REFERENCES,
    SCORE_WINDOW_MS,
    WINDOW_MS,
    make_records,
    write_session,
)
from tests.soak import further

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = {"generations": 2, "popsize": 3, "image_size": 8}


def journal(folder, records):
    with JournalWriter(folder) as writer:
        for record in records:
            writer.append(record)
    return folder


def of(records, kind):
    return [record for record in records if isinstance(record, kind)]


@pytest.fixture(scope="module", params=["spikes", further("counts"), "rates"])
def session(request, tmp_path_factory):
    """The records of a session and its recording."""
    folder = tmp_path_factory.mktemp("session")
    records = make_records(form=request.param)
    report = fold(journal(folder / "journal", records), folder / "recording.h5")
    with read(folder / "recording.h5") as recording:
        yield records, recording, report


def test_the_session_is_named(session):
    records, recording, report = session
    start = records[0]
    assert (recording.name, recording.session_id, recording.seed, recording.mode) == (
        "made up",
        "0" * 32,
        0,
        "simulate",
    )
    assert recording.created == start.created
    assert recording.config == start.config
    assert recording.versions == start.versions
    assert recording.machine == start.machine
    assert recording.weights == [
        {"role": "generator:texture", "name": "mini-texture", "sha256": "ab" * 32}
    ]
    assert recording.window_ms == WINDOW_MS
    assert recording.complete
    assert recording.end_reason == "finished"
    assert recording.warnings == []
    assert recording.units["label"].tolist() == ["unit 0", "unit 1", "unit 2", "unit 3"]
    assert recording.units["area"].tolist() == ["V4", "IT", "IT", "IT"]
    assert recording.rigs[0]["info"] == {"display": {"width_px": 1920}}
    assert recording.attrs["journal_records"] == len(records)
    assert (report.presentations, report.missing, report.complete) == (46, 1, True)
    assert report.shown == len(of(records, Result))


def test_every_code_state_and_score_is_there(session):
    records, recording, _ = session
    proposed, committed = of(records, Proposed), of(records, Committed)
    for k, thread in enumerate(recording.threads):
        codes = np.concatenate([record.threads[k].codes.numpy() for record in proposed])
        np.testing.assert_array_equal(thread.codes, codes.astype(np.float32))
        assert thread.codes.dtype == np.float32
        assert not thread.codes_exact
        assert thread.generation.tolist() == [g for g in range(3) for _ in range(6)]
        assert thread.row.tolist() == [*range(6)] * 3
        assert thread.generations == 3
        scores = np.concatenate([record.threads[k].scores.numpy() for record in committed])
        np.testing.assert_array_equal(thread.score, scores)
        digests = [sha256 for record in proposed for sha256 in record.threads[k].images]
        assert recording.image_sha256[thread.image_id].tolist() == digests
        for g, record in enumerate(proposed):
            state = thread.state(g)
            part = record.threads[k]
            mean = part.optimizer_state["mean"].numpy()
            np.testing.assert_array_equal(state.pop("mean"), mean, strict=True)
            assert state.pop("rng_state") == json.loads(part.rng_state)
            assert state == {"sigma": 3.0 / (1 + g), "n": g}
            assert {key: type(value) for key, value in state.items()} == {
                "sigma": float,
                "n": int,
            }
        with pytest.raises(RecordingError, match=r"generations \[0, 1, 2\]; got 3"):
            thread.state(3)
        assert thread.fitness["missing"] == "reshow"
        assert thread.options == {"sigma": 3.0}
    assert [thread.name for thread in recording.threads] == ["texture", "object"]
    assert (
        np.isnan(recording.threads[0].score).sum()
        + np.isnan(recording.threads[1].score).sum()
        + np.isnan(recording.reference_scores[:, 0]).sum()
        == 1
    )  # the missing one


def test_every_image_is_there_bit_for_bit(session):
    records, recording, _ = session
    pixels = {record.sha256: record.pixels.numpy() for record in of(records, ImagePixels)}
    assert len(recording.images) == len(pixels)
    for sha256, image in zip(recording.image_sha256, recording.images, strict=True):
        np.testing.assert_array_equal(image, pixels[sha256], strict=True)
    assert recording.image_labels[recording.image_is_reference].tolist() == list(REFERENCES)
    assert recording.images.stack([0, 2]).shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(recording.images[-1], recording.images[38])
    with pytest.raises(IndexError, match="0 to 38"):
        recording.images[39]


def test_every_presentation_is_there_in_the_order_planned(session):
    records, recording, _ = session
    plans = {one.presentation: one for r in of(records, Proposed) for one in r.presentations}
    results = {(one.presentation, one.attempt): one for one in of(records, Result)}
    table = recording.presentations
    keys = list(zip(table["presentation"].tolist(), table["attempt"].tolist(), strict=True))
    assert keys == sorted(keys)
    assert {key for key in keys if key[1]} == set(results)
    for key, row in zip(keys, table, strict=True):
        plan = plans[key[0]]
        for name in ("thread", "row", "repeat", "on_ms", "off_ms"):
            assert row[name] == getattr(plan, name)
        assert row["is_reference"] == (plan.thread == -1)
        assert row["generation"] == (-1 if plan.thread == -1 else row["block"])
        if key[1]:
            for name in ("status", "reason", "commanded_ns", "onset_ns", "offset_ns",
                         "onset_source", "received_ns", "block", "form"):  # fmt: skip
                assert row[name] == getattr(results[key], name)
    assert table["status"].tolist().count("aborted") == 1
    assert table["attempt"][table["presentation"] == 2].tolist() == [1, 2]
    (missing,) = np.flatnonzero(table["status"] == "missing")
    assert table["presentation"][missing] == 30 + MISSING
    assert table["form"][missing] == ""
    assert recording.response(missing) == ("", {})


def test_every_response_is_there(session):
    records, recording, _ = session
    rates = recording.rates(SCORE_WINDOW_MS)
    table = recording.presentations
    results = {(one.presentation, one.attempt): one for one in of(records, Result)}
    offsets, unit, time_ms = recording.all_spikes()
    for row, one in enumerate(table):
        if one["status"] == "missing":
            assert np.isnan(rates[row]).all()
            assert not recording.psth_valid[row]
            continue
        result = results[one["presentation"], one["attempt"]]
        sent = {name: array.numpy() for name, array in result.arrays.items()}
        form, got = recording.response(row)
        assert form == result.form
        for name, array in sent.items():
            np.testing.assert_array_equal(got[name], array)
        expected = rates_in_window(form, sent, 4, SCORE_WINDOW_MS)
        np.testing.assert_allclose(rates[row], expected)
        psth = recording.psth[row]
        edges = recording.psth_edges_ms
        if form == "spikes":
            span = slice(offsets[row], offsets[row + 1])
            np.testing.assert_array_equal(unit[span], sent["units"])
            np.testing.assert_array_equal(time_ms[span], sent["times_ms"])
            for u in range(4):
                mine = sent["times_ms"][sent["units"] == u].astype(float)
                np.testing.assert_array_equal(psth[u], np.histogram(mine, edges)[0])
        elif form == "counts":
            np.testing.assert_array_equal(psth, sent["counts"])
            np.testing.assert_array_equal(edges, sent["edges_ms"])
        else:
            assert psth.shape == (4, 0)
    assert recording.psth.dtype == np.uint8
    with pytest.raises(IndexError, match="rows are from 0 to 45"):
        recording.spikes(46)


def test_a_baseline_is_taken_away_where_there_is_one(session):
    _, recording, _ = session
    if "rates" in recording.presentations["form"]:
        with pytest.raises(DataError, match="baseline needs spikes or counts"):
            recording.rates((50.0, 250.0), baseline_ms=(-100.0, 0.0))
        return
    net = recording.rates((50.0, 250.0), baseline_ms=(-100.0, 0.0))
    np.testing.assert_allclose(
        net, recording.rates((50.0, 250.0)) - recording.rates((-100.0, 0.0))
    )
    with pytest.raises(DataError):
        recording.rates((50.0, 350.0))


def test_blocks_references_and_events_are_there(session):
    records, recording, _ = session
    committed = of(records, Committed)
    blocks = recording.blocks
    assert blocks["block"].tolist() == [0, 1, 2]
    assert blocks["time_ns"].tolist() == [one.time_ns for one in of(records, Proposed)]
    assert blocks["committed_ns"].tolist() == [one.time_ns for one in committed]
    assert blocks["attempts"].tolist() == [2, 1, 1]
    assert blocks["wait"].tolist() == [8.0] * 3
    for b, one in enumerate(committed):
        for k, scores in enumerate(one.reference_scores):
            np.testing.assert_array_equal(recording.reference_scores[b, k], scores.numpy())
    labels = recording.image_labels[recording.reference_image_id]
    assert labels.tolist() == [list(REFERENCES)] * 3
    assert recording.events["name"].tolist() == ["note", "reshow"]
    assert recording.sent["presentations"].tolist() == [15, 1, 15, 15]


def test_folding_twice_gives_the_same_bytes(tmp_path):
    write_session(tmp_path / "journal")
    fold(tmp_path / "journal", tmp_path / "a.h5")
    fold(tmp_path / "journal", tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_images_may_be_left_raw(tmp_path):
    write_session(tmp_path / "journal", **SMALL)
    fold(tmp_path / "journal", tmp_path / "webp.h5")
    fold(tmp_path / "journal", tmp_path / "raw.h5", compress_images="none")
    fold(tmp_path / "journal", tmp_path / "png.h5", compress_images="png")
    with (
        read(tmp_path / "webp.h5") as webp,
        read(tmp_path / "raw.h5") as raw,
        read(tmp_path / "png.h5") as png,
    ):
        np.testing.assert_array_equal(webp.images.stack(range(5)), raw.images.stack(range(5)))
        np.testing.assert_array_equal(png.images.stack(range(5)), raw.images.stack(range(5)))
    with h5py.File(tmp_path / "png.h5") as file:
        assert file["images/encoding"][0] == 3
        start, end = file["images/offsets"][:2]
        assert file["images/pixels"][start:end].tobytes().startswith(b"\x89PNG")
    with read(tmp_path / "raw.h5") as raw, h5py.File(tmp_path / "raw.h5") as file:
        assert file["images/pixels"].shape == (len(raw.images) * 8 * 8 * 3,)


def test_a_session_that_was_cut_off_keeps_what_came(tmp_path):
    records = make_records(interrupted=True)
    fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    with read(tmp_path / "recording.h5") as recording:
        assert not recording.complete
        assert recording.end_reason == ""
        status = recording.presentations["status"].tolist()
        assert len(status) - status.count("missing") == len(of(records, Result))
        assert recording.blocks["committed_ns"][2] == 0
        assert np.isnan(recording.blocks["total"][2])
        assert np.isnan(recording.threads[0].score[12:]).all()
        assert np.isfinite(recording.threads[0].score[:12]).all()
        assert np.isnan(recording.reference_scores[2]).all()


FEW = 1000
OF_BLOCKS = (ImagePixels, Proposed, Result, Committed)


def some_places(records, every):
    """Return the last of the kinds that blocks are made of, or of all, and some others."""
    kinds = [type(record) for record in records]
    last = {kind: n for n, kind in enumerate(kinds) if every < FEW or kind in OF_BLOCKS}
    others = range(every, len(records), every)
    first = map(kinds.index, kinds) if every == 1 else ()
    return sorted({*first, *last.values(), *others} - {0})


EVERY = pytest.mark.parametrize("every", [FEW, *map(further, (20, 1))])


@EVERY
@pytest.mark.parametrize("form", ["spikes", further("counts")])
def test_a_journal_may_end_after_any_record(tmp_path, form, every):
    records = make_records(**SMALL, form=form)
    for n in (*some_places(records, every), len(records)):
        fold(journal(tmp_path / str(n), records[:n]), tmp_path / f"{n}.h5")
        with read(tmp_path / f"{n}.h5") as recording:
            shown = recording.presentations["status"] != "missing"
            assert shown.sum() == len(of(records[:n], Result))
            assert recording.rates(SCORE_WINDOW_MS).shape == (len(shown), len(recording.units))


@EVERY
def test_any_record_may_be_lost_to_damage(tmp_path, every):
    records = make_records(**SMALL)
    for lost in some_places(records, every):
        folder = tmp_path / str(lost)
        folder.mkdir()
        (folder / "segment-000000.evj").write_bytes(
            b"".join(
                frames.pack_frame(n, encode_record(record))
                for n, record in enumerate(records)
                if n != lost
            )
        )
        report = fold(folder, tmp_path / f"{lost}.h5")
        if lost < len(records) - 1:
            assert any("missing" in line for line in report.warnings)
        with read(tmp_path / f"{lost}.h5") as recording:
            assert recording.attrs["journal_missing"] == (lost < len(records) - 1)
            left = [
                one for n, one in enumerate(records) if n != lost and isinstance(one, Result)
            ]
            assert (recording.presentations["status"] != "missing").sum() == len(left)
            if isinstance(records[lost], ImagePixels):
                at = recording.image_sha256.tolist().index(records[lost].sha256)
                with pytest.raises(RecordingError, match="are lost"):
                    recording.images[at]


@pytest.mark.parametrize(
    ("form", "how"),
    [
        case if i == j == 2 else further(*case)
        for i, form in enumerate(("rates", "counts", "spikes"))
        for j, how in enumerate(("never", "unreadable", "with its session file"))
        for case in [(form, how)]
    ],
)
def test_without_its_first_record_a_journal_is_salvaged(tmp_path, how, form):
    records = make_records(**SMALL, form=form)
    config = small(tmp_path, rig={"window_ms": (-100.0, 400.0)})
    if how == "never":
        journal(tmp_path / "journal", records[1:])
    else:
        journal(tmp_path / "journal", records)
        damage_heads(tmp_path / "journal")
    if how == "with its session file":
        write(config, tmp_path / "session.toml")
    report = fold(tmp_path / "journal", tmp_path / "recording.h5")
    assert "first record" in report.warnings[0]
    fold(journal(tmp_path / "whole", records), tmp_path / "whole.h5")
    with read(tmp_path / "recording.h5") as left, read(tmp_path / "whole.h5") as whole:
        assert left.salvaged
        assert not whole.salvaged
        assert left.presentations.tolist() == whole.presentations.tolist()
        assert left.blocks.tolist() == whole.blocks.tolist()
        assert left.image_sha256.tolist() == whole.image_sha256.tolist()
        np.testing.assert_array_equal(
            left.rates((50.0, 250.0)), whole.rates((50.0, 250.0)), strict=True
        )
        for one, other in zip(left.threads, whole.threads, strict=True):
            np.testing.assert_array_equal(one.codes, other.codes, strict=True)
            np.testing.assert_array_equal(one.score, other.score)
            assert (one.d, one.popsize, one.image_size) == (8, 3, 8)
        if how == "with its session file":
            assert (left.name, left.seed, left.window_ms) == ("small", 5, (-100.0, 400.0))
            assert left.threads[0].generator == "mini-texture"
        else:
            assert (left.name, left.threads[1].generator) == ("unknown", "unknown")
            assert left.window_ms == {"rates": (0.0, 1.0)}.get(form, WINDOW_MS)
        assert [section.title for section in describe(left)]


def test_a_journal_with_no_whole_record_says_so(tmp_path):
    (tmp_path / "segment-000000.evj").write_bytes(frames.pack_frame(0, bytes(50))[:-1])
    with pytest.raises(RecordingError, match="nothing to fold"):
        fold(tmp_path, tmp_path / "recording.h5")


def test_a_journal_of_another_version_says_so(tmp_path):
    start = msgspec.structs.replace(make_records(**SMALL)[0], journal_version=3)
    with pytest.raises(RecordingError, match="has version 3"):
        fold(journal(tmp_path / "journal", [start]), tmp_path / "recording.h5")


def test_a_rig_that_comes_back_with_other_units_mixes_none_of_them_up(tmp_path):
    start = make_records(**SMALL)[0]
    a, b, c = (UnitInfo(channel, 0, "IT", "") for channel in (1, 2, 3))

    def answer(number, units, times):
        arrays = {
            "units": PackedArray.of(np.array(units, np.uint32)),
            "times_ms": PackedArray.of(np.array(times, np.float32)),
        }
        return Result(
            block=0,
            presentation=number,
            attempt=1,
            status="ok",
            reason="",
            received_ns=0,
            commanded_ns=0,
            onset_ns=0,
            offset_ns=0,
            onset_source="flip",
            form="spikes",
            arrays=arrays,
        )

    records = [
        start,
        RigRecord(1, "rig", "1", (a, b), "{}"),
        answer(0, [0, 1, 1], [10, 20, 30]),
        RigRecord(2, "rig", "1", (c, b), "{}"),
        answer(1, [0, 1], [10, 20]),
    ]
    report = fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    assert len(report.warnings) == 2  # two results whose plan never came
    with read(tmp_path / "recording.h5") as recording:
        assert recording.units["channel"].tolist() == [1, 2, 3]
        assert recording.presentations["rig"].tolist() == [0, 1]
        assert recording.spikes(0)[0].tolist() == [0, 1, 1]
        assert recording.spikes(1)[0].tolist() == [2, 1]
        np.testing.assert_array_equal(
            recording.rates((0.0, 100.0)), [[10, 20, np.nan], [np.nan, 10, 10]]
        )
        assert recording.psth[:].sum(axis=2).tolist() == [[1, 2, 0], [0, 1, 1]]


def test_a_malformed_response_is_left_out_with_a_warning_and_its_times_are_kept(tmp_path):
    records = make_records(**SMALL)
    at = next(n for n, record in enumerate(records) if isinstance(record, Result))
    records[at] = msgspec.structs.replace(
        records[at], arrays={"units": PackedArray.of(np.zeros(3, np.uint32))}
    )
    report = fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    assert any("malformed" in line for line in report.warnings)
    with read(tmp_path / "recording.h5") as recording:
        row = recording.presentations[0]
        assert (row["form"], row["onset_ns"]) == ("", records[at].onset_ns)
        assert np.isnan(recording.rates(SCORE_WINDOW_MS)[0]).all()


def test_a_result_that_came_twice_is_kept_once(tmp_path):
    records = make_records(**SMALL)
    at = next(n for n, record in enumerate(records) if isinstance(record, Result))
    records.insert(at + 1, records[at])
    report = fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    assert report.shown == len(of(records, Result)) - 1
    assert any("more than one result" in line for line in report.warnings)


def test_texts_hdf5_cannot_hold_do_not_stop_a_fold(tmp_path):
    records = make_records(**SMALL)
    records[0] = msgspec.structs.replace(records[0], config="a\0b ü 猫" + "x" * 100_000)
    fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    with read(tmp_path / "recording.h5") as recording:
        assert recording.config.startswith("a\ufffdb ü 猫x")
        assert len(recording.config) == 7 + 100_000


# -- what is refused


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A journal, its recording, and one whose images lie as they are; nobody changes them."""
    folder = tmp_path_factory.mktemp("folded")
    write_session(folder / "journal", **SMALL)
    fold(folder / "journal", folder / "recording.h5")
    fold(folder / "journal", folder / "plain.h5", compress_images="none")
    verify(folder / "plain.h5", folder / "journal")
    return folder


@pytest.fixture
def made(folded, tmp_path):
    """A journal and its recording, closed."""
    shutil.copytree(folded / "journal", tmp_path / "journal")
    shutil.copy(folded / "recording.h5", tmp_path)
    return tmp_path


def test_a_file_is_not_replaced_unless_asked(made):
    before = (made / "recording.h5").read_bytes()
    with pytest.raises(RecordingError, match="exists"):
        fold(made / "journal", made / "recording.h5")
    assert (made / "recording.h5").read_bytes() == before
    fold(made / "journal", made / "recording.h5", overwrite=True)
    assert sorted(path.name for path in made.iterdir()) == ["journal", "recording.h5"]


def test_a_folder_that_is_not_there_is_refused(made):
    with pytest.raises(RecordingError, match="must be written in"):
        fold(made / "journal", made / "nowhere" / "recording.h5")


def change(path, value):
    def do(file):
        data = file[path][()]
        data[(0,) * data.ndim] = value(data[(0,) * data.ndim])
        file[path][...] = data

    return do


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
    out = Path(shutil.copy(folded / "plain.h5", tmp_path))
    with h5py.File(out, "r+") as file:
        damage(file)
        forget_checksums(file)
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
    out = Path(shutil.copy(folded / "plain.h5", tmp_path))
    with h5py.File(out, "r+") as file:
        damage(file)
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


def test_what_is_read_is_named_in_a_line(session):
    _, recording, _ = session
    for thing in (recording, recording.threads, recording.threads[0], recording.images):
        assert len(repr(thing)) < 300
        assert "\n" not in repr(thing)
    assert "'texture'" in repr(recording.threads)


def test_threads_are_found_by_number_and_by_name(session):
    _, recording, _ = session
    threads = recording.threads
    assert threads["object"] is threads[1] is threads[-1]
    assert [thread.name for thread in threads] == list(threads.names) == ["texture", "object"]
    assert threads[:1] == (threads[0],)
    with pytest.raises(KeyError, match="'texture', 'object'"):
        threads["face"]


def test_rates_are_those_of_any_window(session):
    records, recording, _ = session
    np.testing.assert_array_equal(recording.rates(), recording.rates(WINDOW_MS))
    if "spikes" not in recording.presentations["form"]:
        return
    odd = (37.3, 111.9)
    got = recording.rates(odd)
    first = of(records, Result)[0]
    sent = {name: array.numpy() for name, array in first.arrays.items()}
    row = recording.presentations["presentation"].tolist().index(first.presentation)
    np.testing.assert_allclose(got[row], rates_in_window("spikes", sent, 4, odd))


def test_tables_are_dataframes_where_there_is_pandas(session, monkeypatch):
    _, recording, _ = session
    for name in ("presentations", "units", "blocks", "sent", "events"):
        frame, table = recording.dataframe(name), getattr(recording, name)
        assert list(frame.columns) == list(table.dtype.names)
        for column in frame.columns:
            assert frame[column].tolist() == pytest.approx(table[column].tolist(), nan_ok=True)
    assert (recording.dataframe().status == "ok").sum() == 44
    with pytest.raises(DataError, match="'presentations', 'blocks'"):
        recording.dataframe("images")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"evolver\[pandas\]"):
        recording.dataframe()


def test_every_dataset_says_what_it_is_and_in_which_unit(session):
    _, recording, _ = session
    said = {}
    with h5py.File(recording.path) as file:
        file.visititems(
            lambda name, part: (
                said.update({name: (part.attrs["meaning"], part.attrs["unit"])})
                if isinstance(part, h5py.Dataset)
                else None
            )
        )
        assert len(said) > 80
    assert all(meaning for meaning, _ in said.values())
    assert said["presentations/onset_ns"] == (b"rig clock, ns; 0 where no result came", b"ns")
    assert said["spikes/time_ms"][1] == b"ms"
    assert said["blocks/idle"][1] == b"s"


def test_a_fold_that_went_wrong_leaves_nothing(tmp_path, monkeypatch):
    write_session(tmp_path / "journal", **SMALL)

    def wrong(path, _journal, **_):
        raise RecordingError(f"{path.name} differs")

    monkeypatch.setattr("evolver.recording.fold.verify", wrong)
    with pytest.raises(RecordingError, match="differs"):
        fold(tmp_path / "journal", tmp_path / "recording.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_a_journal_that_grows_while_it_is_folded_is_folded_as_far_as_it_was_read(
    tmp_path, monkeypatch
):
    """Whatever records come between the fold's reading and its check's."""
    records = make_records(**SMALL)
    n = next(i for i, record in enumerate(records) if isinstance(record, RigRecord))

    def grow_and_verify(path, folder, **kwargs):
        with JournalWriter(folder, resume=True) as writer:
            for record in records[n:]:
                writer.append(record)
        verify(path, folder, **kwargs)

    monkeypatch.setattr("evolver.recording.fold.verify", grow_and_verify)
    report = fold(journal(tmp_path / "journal", records[:n]), tmp_path / "recording.h5")
    assert report.journal.records == n
    monkeypatch.undo()
    with pytest.raises(
        RecordingError, match=r"made from 1 records.* rig .* is not in the file"
    ):
        verify(tmp_path / "recording.h5", tmp_path / "journal")  # no longer all of it
    fold(tmp_path / "journal", tmp_path / "recording.h5", overwrite=True)
    verify(tmp_path / "recording.h5", tmp_path / "journal")


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


@pytest.mark.parametrize("after", [Result, *map(further, (ImagePixels, Proposed))])
def test_a_journal_may_grow_from_any_record_on_while_it_is_folded(tmp_path, monkeypatch, after):
    records = make_records(**SMALL)
    n = 1 + next(i for i, record in enumerate(records) if isinstance(record, after))

    def grow_and_survey(index, text):
        content = survey(index, text)
        with JournalWriter(tmp_path / "journal", resume=True) as writer:
            for record in records[n:]:
                writer.append(record)
        return content

    monkeypatch.setattr("evolver.recording.fold.survey", grow_and_survey)
    report = fold(journal(tmp_path / "journal", records[:n]), tmp_path / "recording.h5")
    assert report.journal.records == n
    assert report.shown == len(of(records[:n], Result))


def test_what_is_not_a_recording_is_refused_with_what_to_do(tmp_path, made):
    with pytest.raises(RecordingError, match="evolver fold"):
        read(made / "journal")
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


def test_importing_the_room_loads_neither_h5py_nor_pillow():
    code = (
        "import sys, evolver.recording, evolver.journal.records, evolver.journal.recorder\n"
        "assert not {'h5py', 'PIL', 'torch'} & set(sys.modules), 'loaded'\n"
        "evolver.recording.read\n"
        "assert 'h5py' in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_run_start_alone_is_a_recording(tmp_path):
    records = make_records(**SMALL)[:1]
    assert isinstance(records[0], RunStart)
    fold(journal(tmp_path / "journal", records), tmp_path / "recording.h5")
    with read(tmp_path / "recording.h5") as recording:
        assert (
            len(recording.presentations) == len(recording.units) == len(recording.images) == 0
        )
        assert recording.threads[0].codes.shape == (0, 8)
        assert recording.psth.shape == (0, 0, 0)
        assert recording.rates(SCORE_WINDOW_MS).shape == (0, 0)


def test_a_file_of_schema_version_1_stays_readable():
    """Made once, by version 0.1.0, by `write_session(..., seed=7)` and `fold`; never again."""
    with read(GOLDEN / "recording-v1.h5") as recording:
        assert recording.attrs["schema_version"] == 1
        assert (recording.name, recording.seed, recording.complete) == ("made up", 7, True)
        assert recording.units["label"].tolist() == ["unit 0", "unit 1"]
        assert [thread.name for thread in recording.threads] == ["texture", "object"]
        assert [thread.codes.shape for thread in recording.threads] == [(4, 3), (4, 3)]
        for sha256, image in zip(recording.image_sha256, recording.images, strict=True):
            assert hashlib.sha256(image.tobytes()).hexdigest() == sha256
        table = recording.presentations
        assert table["status"].tolist().count("ok") == 13
        assert table["status"].tolist().count("aborted") == 1
        assert table["status"].tolist().count("missing") == 1
        assert len(recording.all_spikes()[1]) == 228
        rates = recording.rates(SCORE_WINDOW_MS)
        for k, thread in enumerate(recording.threads):
            for n, score in enumerate(thread.score):
                shown = (
                    (table["thread"] == k)
                    & (table["generation"] == thread.generation[n])
                    & (table["row"] == thread.row[n])
                    & (table["status"] == "ok")
                )
                np.testing.assert_array_equal(
                    score, rates[shown, 0].mean() if shown.any() else np.nan
                )
        assert recording.threads[0].state(1)["sigma"] == 1.5
    verify(GOLDEN / "recording-v1.h5", GOLDEN / "journal-v1")


def test_a_journal_of_version_1_can_still_be_folded(tmp_path):
    fold(GOLDEN / "journal-v1", tmp_path / "recording.h5")
    with read(tmp_path / "recording.h5") as new, read(GOLDEN / "recording-v1.h5") as old:
        assert new.presentations.tolist() == old.presentations.tolist()
        np.testing.assert_array_equal(new.psth[:], old.psth[:])
        assert new.attrs["journal_sha256"] == old.attrs["journal_sha256"]


def test_the_golden_journal_folds_to_the_golden_recording(tmp_path):
    """Every dataset and attribute of the old file, as it was; later versions may add some."""
    fold(GOLDEN / "journal-v1", tmp_path / "recording.h5")
    compared = []
    with (
        h5py.File(tmp_path / "recording.h5") as new,
        h5py.File(GOLDEN / "recording-v1.h5") as old,
    ):

        def compare(name, part):
            if isinstance(part, h5py.Dataset):
                np.testing.assert_array_equal(new[name][()], part[()], err_msg=name)
                compared.append(name)
            for key in part.attrs.keys() - {"columns", "meaning"}:
                np.testing.assert_array_equal(new[name].attrs[key], part.attrs[key])

        old.visititems(compare)
        for key in old.attrs.keys() - {"software"}:
            assert np.array_equal(new.attrs[key], old.attrs[key]), key
    assert len(compared) > 80


def test_the_format_text_tells_the_truth():
    text = (GOLDEN.parents[1] / "docs" / "FILE_FORMAT.md").read_text()
    shown = bytes.fromhex(text.split("```hex\n")[1].split("```")[0])
    assert shown == (GOLDEN / "frame-v1.evj").read_bytes()
    snippet = text.split("```python\n")[1].split("```")[0]
    names = {}
    path = GOLDEN / "recording-v1.h5"
    exec(snippet.replace('"session.h5"', repr(str(path))), names)
    with read(path) as recording:
        good = recording.presentations["status"] == "ok"
        np.testing.assert_allclose(names["psth"], recording.psth[:][good].mean(axis=0))
        np.testing.assert_array_equal(names["time_ms"], recording.spikes(names["row"])[1])
        image = recording.images[int(names["image"])]
        np.testing.assert_array_equal(np.asarray(names["pixels"].convert("RGB")), image)
    with h5py.File(path) as file:
        for name in file:
            assert f"/{name}" in text
        for name in file.attrs:
            assert f"`{name}`" in text
        for table in ("units", "presentations", "blocks", "sent", "events"):
            for column in file[table]:
                assert column in text


def test_where_there_are_no_modes_and_no_syncs_of_folders_a_fold_is_made(tmp_path, monkeypatch):
    write_session(tmp_path / "journal", **SMALL)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "no modes here")

    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no syncs here")
        real(fd)

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "fsync", fsync)
    assert fold(tmp_path / "journal", tmp_path / "s.h5").complete
    with read(tmp_path / "s.h5") as opened:
        assert opened.complete


def test_a_place_that_cannot_be_written_is_said_before_the_journal_is_read(tmp_path):
    with pytest.raises(RecordingError, match="name another file with --out"):
        fold(tmp_path / "no journal", Path("/proc/s.h5"))


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
    out = Path(shutil.copy(folded / "recording.h5", tmp_path))
    with h5py.File(out, "r+") as file:
        change(file)
    with pytest.raises(RecordingError, match="must h"):
        verify_file(out)


def _linked(file, name, link):
    del file[name]
    file[name] = link
