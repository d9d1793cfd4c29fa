"""`evolver compare`, each command at its smallest: a figure, a table of every run, words."""

import csv
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evolver.comparisons.inversion import invert_images
from evolver.comparisons.sources import image_set, load_source
from evolver.recording.fold import fold
from evolver.session_folder import RECORDING
from tests.cli.running import run_here
from tests.recording.sessions import write_session


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch, capsys, "compare")


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def drawn(path):
    """Whether something is drawn: a figure of one colour is none."""
    return np.asarray(Image.open(path).convert("L")).std() > 1


def test_invert(run):
    said = run("invert", "-n", 3, "--steps", 2, "--out", "i.png")
    assert "signed-rank, mini-texture above mini-object: p = " in said
    table = rows("i.csv")
    assert [r["generator"] for r in table] == ["mini-texture"] * 3 + ["mini-object"] * 3
    images = image_set("scenes", 3, size=64, seed=1)
    texture = invert_images(load_source("mini-texture", device="cpu"), images, seed=1, steps=2)
    np.testing.assert_allclose([float(r["pearson"]) for r in table[:3]], texture.pearson)
    assert drawn("i.png")


def test_maximise(run):
    options = ("--layer", "mini:conv2", "--units", 2, "--repeats", 2, "--batch", 1)
    said = run("maximise", *options, "--steps", 2, "--method", "adam", "--out", "m.png")
    assert "rank-sum" in said
    table = rows("m.csv")
    assert len(table) == 2 * 2 * 2
    by_unit = {}
    for row in table:
        by_unit.setdefault(row["unit"], []).append(float(row["share"]))
    assert all(max(shares) == 1 for shares in by_unit.values())
    assert drawn("m.png")
    run("maximise", *options, "--steps", 1, "--confined", "--out", "c.png")
    assert {row["confined_to_px"] for row in rows("c.csv")} == {"11"}
    assert "sgd:0.01" in run("maximise", *options, "--method", "sgd", expect=2)
    wrong = run("maximise", *options, "--method", "adam+scaled", expect=2)
    assert "--metric mini-texture=FILE.npz" in " ".join(wrong.split())


def test_align(run):
    run("align", "--depth", 0, "--depth", 1, "--dimension", 2, "-n", 2, "--steps", 3)
    table = rows("alignment.csv")
    assert [(r["layers"], r["seed"]) for r in table] == [
        ("0", "40"),
        ("0", "41"),
        ("1", "40"),
        ("1", "41"),
    ]
    assert all(float(r["start"]) < float(r["adam"]) <= 0 for r in table)
    assert drawn("alignment.png")


def test_linearity(run):
    layers = ("--layer", "mini:conv2", "--layer", "mini:conv3")
    said = run("linearity", *layers, "-n", 30, "--units", 3, "--out", "l.png")
    assert "Spearman" in said
    parts = {(r["generator"], r["part"]) for r in rows("l.csv")}
    own = {("mini-object", part) for part in ("all", "class", "noise")}
    assert parts == own | {("mini-texture", "all")}
    assert drawn("l.png")


def test_sets(run):
    detector = "tests.comparisons.test_sets:bright"
    options = ("--set", "mini-object", "--set", "white", "--natural", "scenes")
    said = run("sets", "-n", 12, *options, "--detector", detector)
    assert "floor" in said
    near, far, natural = rows("sets.csv")
    assert float(near["distance"]) < float(far["distance"])
    assert near["floor"] == far["floor"]
    assert [near["n"], natural["n"]] == ["12", "24"]
    assert float(far["with an object"]) == 1  # noise is as bright as grey
    assert drawn("sets.png")
    wrong = run("sets", "-n", 4, *options, "--detector", "nowhere:f", expect=2)
    assert "must be importable" in " ".join(wrong.split())


def test_statistics(run, tmp_path):
    for seed in range(2):
        journal = write_session(tmp_path / f"s{seed}" / "journal", seed=seed)
        fold(journal, journal.parent / RECORDING)
    said = run("statistics", "s0", "s1", "--out", "s.png")
    assert said.count("signed-rank, pairs of sessions") == 3
    table = rows("s.csv")
    assert len(table) == 2 * 2 * 6
    assert {len({r["session"] for r in table if r["generator"] == g}) for g in
            {r["generator"] for r in table}} == {2}  # fmt: skip
    assert drawn("s.png")


def test_an_option_given_twice_says_no_more(run):
    layers = ("--layer", "mini:conv2", "--layer", "mini:conv2", "--generator", "mini-object")
    said = run("linearity", *layers, "-n", 30, "--units", 3)
    assert "24 images fitted, 6 held out; units of each layer: 3" in said
    units = [r["unit"] for r in rows("linearity.csv") if r["direction"] == "to units"]
    assert len(units) == 3 * 3
    assert all(unit.startswith("mini:conv2:") for unit in units)


def test_a_metric_is_its_generators_own(run):
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((128, 128)))[0]
    np.savez("object.npz", eigenvalues=np.ones(128), eigenvectors=axes, eigv_avg=np.ones(128),
             eigvect_avg=axes)  # fmt: skip
    options = ("linearity", "-n", 30, "--units", 3, "--layer", "mini:conv2")
    wrong = run(*options, "--metric", "mini-texture=object.npz", expect=2)
    assert "of 256 dimensions" in " ".join(wrong.split())
    misspelt = run(*options, "--metric", "mini-objet=object.npz", expect=2)
    assert "mini-texture, mini-object" in " ".join(misspelt.split())
    run(*options, "--metric", "mini-object=object.npz")
    parts = {r["part"] for r in rows("linearity.csv") if r["generator"] == "mini-object"}
    assert {"first 64", "last 64"} <= parts


def test_mistakes_are_said(run, tmp_path):
    (tmp_path / "x.csv").mkdir()
    assert "it is a folder" in " ".join(run("align", "--out", "x.png", expect=2).split())
    (tmp_path / "good").mkdir()
    same = run("sets", "-n", 4, "--set", "./good", "--natural", "good", expect=2)
    assert "is both" in " ".join(same.split())
    (tmp_path / "empty").mkdir()
    assert "--keep-recordings" in run("statistics", "empty", expect=2)
    assert "fid-weights" in run("sets", "-n", 4, "--fid-weights", "a.pth", expect=2)
    assert "PNG file" in run("invert", "--out", "figure.pdf", expect=2)
    assert "is both" in run("sets", "-n", 4, "--set", "scenes", expect=2)
    assert "nowhere" in run("invert", "--images", "nowhere", "-n", 2, expect=2)
