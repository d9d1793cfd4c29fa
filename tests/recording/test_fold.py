"""From a journal to the file: its places, its bytes, and the files of older versions."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from evolver.errors import RecordingError
from evolver.journal import JournalWriter
from evolver.journal.records import (
    ImagePixels,
    Proposed,
    Result,
    RigRecord,
)
from evolver.journal.survey import survey
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.recording.verify import verify
from tests.recording.sessions import (
    SCORE_WINDOW_MS,
    SMALL,
    journal,
    make_records,
    of,
    write_session,
)
from tests.soak import further

GOLDEN = Path(__file__).parents[1] / "golden"


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


def test_importing_the_room_loads_neither_h5py_nor_pillow():
    code = (
        "import sys, evolver.recording, evolver.journal.records, evolver.journal.recorder\n"
        "assert not {'h5py', 'PIL', 'torch'} & set(sys.modules), 'loaded'\n"
        "evolver.recording.read\n"
        "assert 'h5py' in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


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
