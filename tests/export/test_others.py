"""MAT-files, Parquet tables, images and animations hold what the recording says."""

import csv
import hashlib
import json

import h5py
import mat73
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from evolver import recording as rec
from evolver.errors import DataError
from evolver.export.animation import export_animation
from evolver.export.image_files import COLUMNS, export_images
from evolver.export.matlab import export_matlab
from evolver.export.parquet import export_parquet
from evolver.journal.records import ImagePixels, Proposed
from tests.export import recordings as r
from tests.soak import further

CASES = {
    "two rigs": {"change": r.two_rigs},
    "counts": {"form": "counts", "interrupted": True},
    "rates": {"form": "rates", "change": r.two_rigs},
    "nothing shown": {"change": r.nothing_shown},
    "lost images": {"change": r.lost_images},
}


@pytest.fixture(
    scope="module",
    params=[
        further(name) if name in {"counts", "rates", "nothing shown"} else name
        for name in CASES
    ],
)
def recording(request, tmp_path_factory):
    with rec.read(r.made(tmp_path_factory.mktemp("session"), **CASES[request.param])) as opened:
        yield opened


# -- MATLAB


def characters(file, name):
    """Return a matrix of characters as texts, as MATLAB's `cellstr` does."""
    dataset = file[name]
    assert dataset.attrs["MATLAB_class"] == b"char"
    if "MATLAB_empty" in dataset.attrs:
        return [""] * int(dataset[0])
    rows = np.ascontiguousarray(dataset[()].T)
    return [row.tobytes().decode("utf-16-le").rstrip(" ") for row in rows]


def cells(found):
    """Return a column of cells, of which mat73 makes a list of lists."""
    return [one[0] if isinstance(one, list) else one for one in found or []]


@pytest.fixture(scope="module")
def mat(recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("mat") / "x.mat"
    export_matlab(recording, path)
    return path


def test_a_mat_file_is_read_by_others(recording, mat):
    found = mat73.loadmat(mat)
    assert found["session"]["name"] == recording.name
    assert found["session"]["session_file"] == recording.config
    assert found["session"]["seed"] == recording.seed
    table = recording.presentations
    if not len(table):
        assert found["presentations"]["onset_ns"] is None
        assert cells(found["threads"]["thread"])[0]["codes"] is None
        return
    shown = found["presentations"]
    for name in ("presentation", "block", "on_ms", "onset_ns", "is_reference", "generation"):
        np.testing.assert_array_equal(shown[name], table[name])
        assert shown[name].dtype == table[name].dtype
    for name in ("image", "thread", "rig"):
        original = "image_id" if name == "image" else name
        np.testing.assert_array_equal(shown[name], table[original] + 1)
    np.testing.assert_array_equal(found["psth"]["counts"], recording.psth[:])
    for thread, one in zip(recording.threads, cells(found["threads"]["thread"]), strict=True):
        assert one["name"] == thread.name
        np.testing.assert_array_equal(one["codes"], thread.codes)
        np.testing.assert_array_equal(one["score"], thread.score)
        rows = recording.rigs[0]["units"][thread.fitness.get("units", [])]
        np.testing.assert_array_equal(np.ravel(one["scored_unit"]), rows + 1.0)
        np.testing.assert_array_equal(one["image"], thread.image_id + 1)
    offsets, unit, time_ms = recording.all_spikes()
    if len(unit):
        spikes = found["spikes"]
        np.testing.assert_array_equal(spikes["unit"], unit + 1)
        np.testing.assert_array_equal(spikes["time_ms"], time_ms)
        first = np.searchsorted(spikes["presentation_row"], np.arange(1, len(offsets) + 1))
        np.testing.assert_array_equal(first, offsets)
    else:
        assert found["spikes"]["unit"] is None
    (pixels,) = cells(found["images"]["pixels"])
    for place, image in enumerate(pixels["image"]):
        if recording.images.is_lost(int(image) - 1):
            assert not pixels["pixels"][..., place].any()
        else:
            np.testing.assert_array_equal(
                pixels["pixels"][..., place], recording.images[int(image) - 1]
            )
    for values in (cells(found["counts"]["bins"]), [found["rates"]]):
        for one in values:
            rows = one["presentation_row"]
            key = "counts" if "counts" in one else "rates"
            for place, row in enumerate([] if rows is None else rows):
                form, arrays = recording.response(int(row) - 1)
                assert form == key
                np.testing.assert_array_equal(one[key][place], arrays[key])


def test_a_mat_files_texts_and_header_are_matlabs_own(recording, mat, tmp_path):
    head = mat.read_bytes()[:512]
    assert head.startswith(b"MATLAB 7.3 MAT-file, Platform: ")
    assert head[124:128] == b"\x00\x02IM"
    with h5py.File(mat) as file:
        assert file.userblock_size == 512
        for name in ("status", "reason", "onset_source"):
            texts = characters(file, f"presentations/{name}")
            assert texts == list(recording.presentations[name])
        assert characters(file, "units/area") == list(recording.units["area"])
        assert characters(file, "units/label") == list(recording.units["label"])
        parts = []
        file.visititems(lambda _, part: parts.append(part))
        named = [part for part in parts if part.name != "/#refs#"]
        assert all("MATLAB_class" in part.attrs for part in named)
    export_matlab(recording, tmp_path / "y.mat")
    assert (tmp_path / "y.mat").read_bytes() == mat.read_bytes()


# -- Parquet


def test_parquet_tables_are_the_recordings(recording, tmp_path):
    written = export_parquet(recording, tmp_path / "p")
    tables = {
        name: parquet.read_table(tmp_path / "p" / f"{name}.parquet").to_pydict()
        for name in written
    }
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert names == {f"{name}.parquet" for name in written} | {"session.json"}
    for name in ("presentations", "units", "blocks", "events", "sent"):
        table = getattr(recording, name)
        assert (name in tables) == bool(len(table))
        for column in table.dtype.names if len(table) else ():
            np.testing.assert_array_equal(tables[name][column], table[column])
    if "codes" in tables:
        codes = tables["codes"]
        for number, thread in enumerate(recording.threads):
            rows = np.flatnonzero(np.array(codes["thread"]) == number)
            np.testing.assert_array_equal([codes["code"][k] for k in rows], thread.codes)
            np.testing.assert_array_equal([codes["score"][k] for k in rows], thread.score)
            assert {codes["thread_name"][k] for k in rows} == {thread.name}
    offsets, unit, time_ms = recording.all_spikes()
    assert ("spikes" in tables) == bool(len(unit))
    if len(unit):
        np.testing.assert_array_equal(tables["spikes"]["unit"], unit)
        np.testing.assert_array_equal(np.float32(tables["spikes"]["time_ms"]), time_ms)
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        np.testing.assert_array_equal(tables["spikes"]["presentation_row"], rows)
    for name, key in (("counts", "count"), ("rates", "rate")):
        if name in tables:
            found = tables[name]
            rows = np.flatnonzero(recording.presentations["form"] == name)
            expected = np.concatenate([recording.response(k)[1][name].ravel() for k in rows])
            np.testing.assert_array_equal(found[key], expected)
            assert sorted(set(found["presentation_row"])) == rows.tolist()


def test_every_column_says_what_it_is_and_a_file_beside_of_what_session(recording, tmp_path):
    written = export_parquet(recording, tmp_path / "p")
    about = json.loads((tmp_path / "p" / "session.json").read_text("utf-8"))
    assert {name: table["rows"] for name, table in about["tables"].items()} == written
    assert about["session_id"] == recording.session_id
    assert about["name"] == recording.name
    assert about["window_ms"] == list(recording.window_ms)
    assert about["warnings"] == recording.warnings
    threads = [(t.name, "spikes/s") for t in recording.threads]
    assert [(t["name"], t["score_unit"]) for t in about["threads"]] == threads
    assert about["settings"]["presentation"]["size_deg"] == 3.0, "which the file left out"
    lost = [recording.images.is_lost(k) for k in range(len(recording.images))]
    assert about["images_without_pixels"] == sum(lost)
    for name in written:
        schema = parquet.read_schema(tmp_path / "p" / f"{name}.parquet")
        for field in schema:
            told = {key.decode(): value.decode() for key, value in field.metadata.items()}
            assert told == about["tables"][name]["columns"][field.name]
            assert told["meaning"]
            assert "/" not in told["meaning"], "which would be a path in HDF5"
            if field.name.endswith(("_ms", "_ns")):
                assert told["unit"] == field.name[-2:]
        assert schema.metadata[b"session_id"].decode() == recording.session_id
    if "codes" in written:
        assert about["tables"]["codes"]["columns"]["score"]["unit"] == "spikes/s"


# -- images


def test_every_image_is_a_file_and_the_index_says_whose(recording, tmp_path):
    count = export_images(recording, tmp_path / "png")
    with (tmp_path / "png" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = recording.images
    kept = [k for k in range(len(images)) if not images.is_lost(k)]
    assert count == len(kept) == len(list((tmp_path / "png").glob("*.png")))
    assert {int(row["image_id"]) for row in rows} == set(range(len(images)))
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert bool(row["file"]) == (int(row["image_id"]) in kept)
        if row["file"]:
            with Image.open(tmp_path / "png" / row["file"]) as image:
                pixels = np.array(image)
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["sha256"]
        if row["thread"]:
            thread = recording.threads[row["thread"]]
            (at,) = np.flatnonzero(
                (thread.generation == int(row["generation"])) & (thread.row == int(row["row"]))
            )
            assert thread.image_id[at] == int(row["image_id"])
            score = float(row["score"] or "nan")
            np.testing.assert_array_equal(score, thread.score[at])
        else:
            assert row["is_reference"] == "1"
    assert sum(bool(row["thread"]) for row in rows) == sum(
        len(thread.codes) for thread in recording.threads
    )


# -- animations


@pytest.mark.parametrize("ending", ["webp", "png", "gif"])
def test_an_animation_has_the_best_image_of_each_generation(recording, tmp_path, ending):
    thread = recording.threads["object"]
    path = tmp_path / f"x.{ending}"
    if not np.isfinite(thread.score).any():
        with pytest.raises(DataError, match="must have a generation with scores"):
            export_animation(recording, thread, path)
        return
    best = export_animation(recording, thread, path, seconds=0.1, scale=2)
    count = len(best.image_ids)
    scored = np.unique(thread.generation[np.isfinite(thread.score)])
    assert count == len(scored)
    assert best.omitted == ()
    for generation in scored:
        score = thread.score[thread.generation == generation]
        lost = [
            recording.images.is_lost(int(k))
            for k in thread.image_id[thread.generation == generation]
        ]
        better = np.nanmax(score) > np.nanmax(score[~np.array(lost)])
        assert (generation in best.replaced) == better
    with Image.open(path) as animation:
        assert animation.n_frames == count
        for frame, generation in enumerate(scored):
            animation.seek(frame)
            at = (thread.generation == generation) & np.array([
                not recording.images.is_lost(int(k)) for k in thread.image_id
            ])
            best = np.flatnonzero(at)[np.nanargmax(thread.score[at])]
            pixels = recording.images[int(thread.image_id[best])]
            if ending != "gif":
                shown = np.array(animation.convert("RGB"))[::2, ::2]
                np.testing.assert_array_equal(shown, pixels)


def test_an_animation_of_another_kind_is_refused(recording, tmp_path):
    with pytest.raises(DataError, match=r"must be called \.webp, \.png, \.gif; got x\.mp4"):
        export_animation(recording, recording.threads[0], tmp_path / "x.mp4")


@pytest.mark.soak
def test_another_sessions_images_do_not_stay_among_the_new(tmp_path):
    folder = tmp_path / "png"
    with rec.read(r.made(tmp_path / "long", generations=3, image_size=8)) as longer:
        export_images(longer, folder)
        export_parquet(longer, tmp_path / "p")
    (folder / "notes.txt").write_text("of a person")
    with rec.read(r.made(tmp_path / "short", r.nothing_shown)) as shorter:
        with pytest.raises(OSError, match="not empty"):
            export_images(shorter, folder)
        assert len(list(folder.glob("*.png"))) > 10
        export_images(shorter, folder, overwrite=True)
        assert {path.name for path in folder.iterdir()} == {"index.csv", "notes.txt"}
        written = export_parquet(shorter, tmp_path / "p", overwrite=True)
    assert {path.stem for path in (tmp_path / "p").glob("*.parquet")} == set(written)


@pytest.mark.soak
def test_generations_without_their_images_are_told(tmp_path):
    def lose(records):
        proposed = [record for record in records if isinstance(record, Proposed)]
        gone = {
            sha256
            for block in proposed
            for part in block.threads
            if part.generation == 1
            for sha256 in part.images
        }
        return [r for r in records if not (isinstance(r, ImagePixels) and r.sha256 in gone)]

    with rec.read(r.made(tmp_path, lose)) as recording:
        thread = recording.threads["object"]
        best = export_animation(recording, thread, tmp_path / "x.png")
    assert best.omitted == (1,)
    assert len(best.image_ids) == thread.generations - 1
