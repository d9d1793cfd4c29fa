"""`evolver encode`: a recording to an encoder that predicts, a table and a figure."""

import csv
import shutil
from collections import defaultdict
from contextlib import suppress
from functools import partial

import h5py
import msgspec
import numpy as np
import pytest
from PIL import Image

import scorers
from evolver import config, recording
from evolver.analysis.decoding_responses import split_half_reliability
from evolver.errors import DataError
from evolver.live import run as live_run
from evolver.live.replayed import ReplayedRig
from evolver.setup.nearest_images import NearestImages
from evolver.setup.recorded_answers import recorded_answers
from evolver.setup.replay_encoders import simulated_encoder
from rig_bridge.trials import Presentation
from scorers import quantiles
from scorers.encoder_file import read_encoder
from tests import children
from tests.cli.running import run_here
from tests.live.sessions import small

UNITS = ("known:colour:2", "known:energy:4", "known:colour:5")


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Fold in a process that begins in no time; measure what scales units of few images."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(live_run, "fold_in_child", children.fold)
        patch.setattr(quantiles, "IMAGES", 16)
        patch.setattr(quantiles, "user_cache_path", lambda name: folder / name)
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A session without noise, some of its showings aborted and two of each image."""
    settings = small(
        tmp_path_factory.mktemp("recorded"),
        session={"generations": 4},
        presentation={"repeats": 2},
        simulation={"units": UNITS, "spikes": "none"},
    )
    thread = config.ThreadTable("texture", "mini-texture", "random", popsize=28)
    settings = msgspec.structs.replace(settings, threads=(thread,))
    settings = msgspec.structs.replace(
        settings, fitness=msgspec.structs.replace(settings.fitness, baseline_ms=None)
    )
    return live_run.run_simulated(settings, config.commented_session_file(settings)).recording


SETS = """
[session]
name = "sets"
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 50
set_showings = 30
[references]
count = 2
[simulation]
units = ["known:colour:2", "known:energy:4", "known:colour:5"]
spikes = "poisson"
view_deg = 10.0
speed = inf
[[sets]]
name = "train"
role = "train"
generator = "mini-texture"
count = 40
[[sets]]
name = "test"
role = "test"
generator = "mini-texture"
count = 12
repeats = 4
seed = 9
[[sets]]
name = "field"
generator = "mini-texture"
count = 1
[sets.grid]
columns = 3
rows = 3
"""


@pytest.fixture(scope="module")
def of_sets(tmp_path_factory):
    """A session of stimulus sets alone: to fit, to test, and one at several places."""
    text = SETS.format(folder=tmp_path_factory.mktemp("sets"))
    return live_run.run_simulated(config.parse_session_file(text), text).recording


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch, capsys)


@pytest.fixture(scope="module")
def encoded(recorded, tmp_path_factory):
    """Run once; what it printed, and the folder."""
    folder = tmp_path_factory.mktemp("encoded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        patch.setattr("evolver.report.style.DPI", children.DPI)
        patch.setattr(
            "sys.argv",
            ["evolver", "encode", str(recorded), "--network", "known", "--layers",
             "gabor, energy,colour", "--out", "it.safetensors", "--test", "0.3"],
        )  # fmt: skip
        from evolver.cli import app
        from evolver.cli.terminal import console

        with console.capture() as printed, suppress(SystemExit):
            app.main()
    return printed.get(), folder


def test_answers_are_the_mean_over_an_images_showings(recorded):
    with recording.read(recorded) as opened:
        found = recorded_answers([opened], window_ms=(50.0, 200.0))
        rates, table = opened.rates((50.0, 200.0)), opened.presentations
        by_image = defaultdict(list)
        for row in np.flatnonzero(table["status"].astype(str) == "ok"):
            by_image[int(table["image_id"][row])].append(rates[row])
        assert len(by_image) == len(found.showings)
        for i, (image, rows) in enumerate(by_image.items()):
            np.testing.assert_array_equal(found.answers.images[i], opened.images[image])
            np.testing.assert_allclose(found.answers.responses[i], np.mean(rows, axis=0))
            assert found.showings[i] == len(rows)
        counted = found.showings.sum() + sum(found.left_out.values())
        assert counted == len(table)
        assert set(found.left_out) == {"aborted or missing"}
        twice = recorded_answers([opened, opened], window_ms=(50.0, 200.0))
        np.testing.assert_array_equal(twice.showings, 2 * found.showings)


def test_recordings_of_other_units_are_not_joined(recorded, tmp_path):
    other = tmp_path / "other.h5"
    shutil.copy(recorded, other)
    with h5py.File(other, "r+") as file:
        file["units/area"][1] = "V1"
        del file["units/area"].attrs["crc32"]
    with (
        recording.read(recorded) as one,
        recording.read(other) as two,
        pytest.raises(DataError, match="same units"),
    ):
        recorded_answers([one, two], window_ms=(50.0, 200.0))


def test_units_are_predicted_by_their_own_layers(encoded):
    printed, folder = encoded
    encoder = read_encoder(folder / "it.safetensors")
    assert encoder.facts.labels == tuple(f"{unit}:2:2" for unit in UNITS)
    with (folder / "it.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(encoder.facts.labels)
    for unit, (row, layer) in enumerate(zip(rows, ["colour", "energy", "colour"], strict=True)):
        assert row["layer"] == layer
        assert unit in encoder.layers[layer].units
        r = float(row["r"])
        assert (
            r
            == float(row[f"r_{layer}"])
            == max(float(row[f"r_{name}"]) for name in ("gabor", "energy", "colour"))
        )
        assert r > 0.5
        assert float(row["p"]) < 1e-3
        assert encoder.r[unit] == pytest.approx(r, abs=1e-6)
    with Image.open(folder / "it.png") as figure:
        assert figure.size == (620, 250)  # a quarter of a user's
        assert np.asarray(figure.convert("L")).std() > 5
    assert "2 of 3" in printed
    assert "an address: encoder:it.safetensors:0" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_test_sets_are_left_out_and_their_repeats_make_a_ceiling(of_sets, run, tmp_path):
    (tmp_path / "layout.csv").write_text(
        "label,array,row,column\nknown:colour:2:2:2,IT 1,1,1\nknown:energy:4:2:2,IT 2,8,8\n"
    )
    said = run("encode", of_sets, "--network", "known", "--layers", "energy,colour",
               "--out", "it.safetensors", "--layout", "layout.csv",
               "--area", "colours=known:colour")  # fmt: skip
    assert "12 of test sets left out, 3 units" in said
    assert "9 of sets at several places" in said
    assert "r/ceiling" in said
    assert "arrays: it.electrodes.png" in said
    assert "rows and columns of layout.csv are taken to count from 1" in said
    assert "without a place: 1 unit" in said
    areas = ("colours", "simulated IT", "colours")
    assert read_encoder(tmp_path / "it.safetensors").facts.areas == areas
    with recording.read(of_sets) as opened:
        found = recorded_answers([opened], window_ms=(50.0, 200.0))
    assert found.of_test.sum() == 12
    assert set(found.showings[found.of_test]) == {4}
    for i in range(len(found.showings)):
        np.testing.assert_allclose(
            found.each[found.image == i].mean(axis=0), found.answers.responses[i]
        )
    tested = found.of_test[found.image]
    repeated = split_half_reliability(
        found.each[tested], found.image[tested], rng=np.random.default_rng(0)
    )
    with (tmp_path / "it.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert "nan" not in (tmp_path / "it.csv").read_text()
    for row, area, most in zip(rows, areas, repeated.ceiling, strict=True):
        assert row["area"] == area
        ratio = float(row["r_over_ceiling"] or "nan")
        assert ratio == pytest.approx(float(row["r"]) / most, nan_ok=True)
    assert np.isfinite(repeated.ceiling).any()
    with Image.open(tmp_path / "it.electrodes.png") as figure:
        assert np.asarray(figure.convert("L")).std() > 5


def test_what_is_encoded_is_listed(encoded, run, monkeypatch):
    monkeypatch.chdir(encoded[1])
    listed = run("units", "encoder:it.safetensors")
    assert "3 units, spikes/s by known" in listed
    assert "known:energy:4:2:2" in listed
    assert "colour" in run("units", "encoder:it.safetensors", "--layers", "col")
    assert "must have a unit of a layer" in run(
        "units", "encoder:it.safetensors", "--layers", "conv", expect=2
    )


def test_an_encoder_answers_in_a_replay(recorded, encoded):
    """The scored unit of the recording, in whose place a unit of the encoder stands."""
    address = f"encoder:{encoded[1] / 'it.safetensors'}:1"
    with recording.read(recorded) as opened:
        rig = ReplayedRig(opened, sha256="0" * 64, nearest=NearestImages(opened, []))
        encoder = simulated_encoder(opened, rig.hello, [address])
        image = opened.images[5]
    assert encoder.digests == {address: scorers.load(address).sha256}
    asked = Presentation(
        block=0, attempt=1, presentation=7, sha256="ab" * 32, on_ms=100.0, off_ms=50.0,
        size_deg=3.0, position_deg=(0.0, 0.0), window_ms=(-100.0, 300.0),
    )  # fmt: skip
    encoder.prepare({asked.sha256: image})
    assert encoder.present(image, asked).ok


def test_what_cannot_be_encoded_is_said(recorded, run):
    arguments = "encode", recorded, "--network", "known", "--layers", "colour"
    for out in ("a:b.safetensors", "it.pt"):
        assert "no colon" in run(*arguments, "--out", out, expect=2)
    said = run(*arguments, "--out", "it.safetensors", "--area", "IT=fc5", expect=2)
    assert "--area IT=fc5 must be how a unit's label begins" in said
    said = run("encode", recorded, "--network", "known", "--layers", "conv",
               "--out", "it.safetensors", expect=2)  # fmt: skip
    assert "none called 'conv'" in said


def test_damaged_images_are_not_fitted_and_the_test_is_not_of_others(of_sets, run, tmp_path):
    damaged = tmp_path / "damaged.h5"
    with h5py.File(of_sets) as file:
        pixels = file["images/pixels"].id
        chunks = [pixels.get_chunk_info(k) for k in range(pixels.get_num_chunks())]
    options = ("--network", "known", "--layers", "gabor", "--out", "it.safetensors")
    for hurt, status, said in (
        ([0], 2, "of all 48 showings of them the pixels are lost"),
        ([1], 1, "could not be used, as pixels of the recordings are damaged"),
        ([0, 1], 2, "must have showings of readable images"),
    ):
        content = bytearray(of_sets.read_bytes())
        for k in hurt:
            content[chunks[k].byte_offset + chunks[k].size // 2] ^= 1
        damaged.write_bytes(content)
        assert said in " ".join(run("encode", damaged, *options, expect=status).split())
        assert (tmp_path / "it.safetensors").exists() == (status == 1 or 1 in hurt)
