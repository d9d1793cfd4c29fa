"""What is made of a journal that is cut off, damaged, or odd."""

import msgspec
import numpy as np
import pytest

from evolver.errors import RecordingError
from evolver.journal import frames
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
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.report.tables import describe
from tests.journal.test_writer import damage_heads
from tests.live.sessions import small, write
from tests.recording.sessions import (
    SCORE_WINDOW_MS,
    SMALL,
    WINDOW_MS,
    journal,
    make_records,
    of,
)
from tests.soak import further


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
