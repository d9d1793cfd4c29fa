"""`evolver compare`, each command at its smallest: a figure, a table of every run, words."""

import csv
import re
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evolver.analysis.image_statistics import image_statistics
from evolver.cli.compare import invert
from evolver.comparisons import inversion
from evolver.comparisons.inversion import invert_batch, invert_images
from evolver.comparisons.sources import image_set, load_source
from evolver.recording import read
from evolver.recording.fold import fold
from evolver.session_folder import RECORDING
from tests.cli.running import run_here
from tests.recording.sessions import write_session
from tests.soak import further


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


COLUMNS = {
    "invert": "generator weights images image file seed steps rate device pearson",
    "maximise": "network layer generator weights method metric confined_to_px unit repeat seed "
    "steps batch repeats units device images largest_drive share",
    "align": "layers d seed steps sigma start cholesky adam",
    "linearity": "generator weights part k network layer direction column unit n seed metric "
    "device r2 lambda",
    "sets": "set n natural features features_weights classes detector seed device distance",
    "statistics": "generator session thread generation image size luminance contrast slope",
}
"""What a row must say, so that it can be made again."""


@pytest.fixture(params=["once", further("again")])
def kept(run, request):
    """Run a command; in a soak again, which says the same of what the first has kept."""

    def kept(command, *options, out):
        said = run(command, *options, "--out", out)
        table = Path(out).with_suffix(".csv")
        content = table.read_bytes()
        assert set(COLUMNS[command].split()) <= set(rows(table)[0])
        if request.param == "again":
            again = run(command, *options, "--out", out)
            (n,) = re.findall(r"(\d+) of \1 tasks were done before", again)
            assert int(n) == len(list(Path(out).with_suffix(".tasks").glob("results/*/*.npz")))
            assert table.read_bytes() == content
        return said

    return kept


def test_invert(kept):
    said = kept("invert", "-n", 3, "--steps", 2, out="i.png")
    assert "signed-rank, mini-texture above mini-object: p = " in said
    table = rows("i.csv")
    assert [r["generator"] for r in table] == ["mini-texture"] * 3 + ["mini-object"] * 3
    images = image_set("scenes", 3, size=64, seed=1)
    texture = invert_images(load_source("mini-texture", device="cpu"), images, seed=1, steps=2)
    np.testing.assert_allclose([float(r["pearson"]) for r in table[:3]], texture.pearson)
    assert drawn("i.png")


def test_maximise(run, kept):
    options = ("--layer", "mini:conv2", "--units", 2, "--repeats", 2, "--batch", 1)
    said = kept("maximise", *options, "--steps", 2, "--method", "adam", out="m.png")
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


def test_align(kept):
    options = ("--depth", 0, "--depth", 1, "--dimension", 2, "-n", 2, "--steps", 3)
    said = kept("align", *options, out="alignment.png")
    assert "(n = 2, too few)" in said
    table = rows("alignment.csv")
    assert [(r["layers"], r["seed"]) for r in table] == [
        ("0", "40"),
        ("0", "41"),
        ("1", "40"),
        ("1", "41"),
    ]
    assert all(float(r["start"]) < float(r["adam"]) <= 0 for r in table)
    assert drawn("alignment.png")


def test_linearity(kept):
    layers = ("--layer", "mini:conv2", "--layer", "mini:conv3")
    said = kept("linearity", *layers, "-n", 30, "--units", 3, out="l.png")
    assert "Spearman" in said
    parts = {(r["generator"], r["part"]) for r in rows("l.csv")}
    own = {("mini-object", part) for part in ("all", "class", "noise")}
    assert parts == own | {("mini-texture", "all")}
    assert drawn("l.png")


def test_sets(run, kept):
    detector = "tests.comparisons.test_sets:bright"
    options = ("--set", "mini-object", "--set", "white", "--natural", "scenes")
    said = kept("sets", "-n", 12, *options, "--detector", detector, out="sets.png")
    assert "floor" in said
    assert "white: with an object 1 (0.758 to 1, Wilson's 95 %)" in said
    near, far, natural = rows("sets.csv")
    assert float(near["distance"]) < float(far["distance"])
    assert near["floor"] == far["floor"]
    assert [near["n"], natural["n"]] == ["12", "24"]
    assert float(far["with an object"]) == 1  # noise is as bright as grey
    assert drawn("sets.png")
    wrong = run("sets", "-n", 4, *options, "--detector", "nowhere:f", expect=2)
    assert "must be importable" in " ".join(wrong.split())


def test_statistics(kept, tmp_path):
    for seed in range(2):
        journal = write_session(tmp_path / f"s{seed}" / "journal", seed=seed)
        fold(journal, journal.parent / RECORDING)
    said = kept("statistics", "s0", "s1", out="s.png")
    assert said.count("signed-rank, pairs of sessions") == 3
    table = rows("s.csv")
    assert len(table) == 2 * 2 * 6
    with read(table[-1]["session"]) as opened:
        thread = opened.threads[int(table[-1]["thread"])]
        assert thread.generator == table[-1]["generator"]
        image = opened.images[int(table[-1]["image"])]
        expected = image_statistics(image[None]).luminance[0]
    assert float(table[-1]["luminance"]) == pytest.approx(expected)
    assert {len({r["session"] for r in table if r["generator"] == g}) for g in
            {r["generator"] for r in table}} == {2}  # fmt: skip
    assert drawn("s.png")


class Stopping:
    """Calls a function as often as it may; then as a Ctrl-C."""

    def __init__(self, function, calls):
        self.function, self.left, self.calls = function, calls, 0

    def __call__(self, *args, **kwargs):
        if not self.left:
            raise KeyboardInterrupt
        self.left, self.calls = self.left - 1, self.calls + 1
        return self.function(*args, **kwargs)


@pytest.mark.soak
def test_what_is_stopped_writes_what_is_there_and_goes_on(run, monkeypatch):
    def stopping(calls):
        monkeypatch.setattr(inversion, "invert_batch", act := Stopping(invert_batch, calls))
        return act

    options = ("invert", "-n", 3, "--steps", 1, "--out", "[b]i.png")
    stopping(0)
    said = run(*options, expect=130)
    assert "stopped: 0 of 2 tasks are done" in said
    assert not list(Path().glob("*.png"))
    stopping(1)
    said = run(*options, expect=130)
    assert "stopped: 1 of 2 tasks are done, and kept in [b]i.tasks" in said
    assert "figure of what is done: [b]i-partial.png" in said
    assert [r["generator"] for r in rows("[b]i-partial.csv")] == ["mini-texture"] * 3
    assert drawn("[b]i-partial.png")
    act = stopping(9)
    said = run(*options)
    assert "1 of 2 tasks were done before" in said
    assert "figure: [b]i.png" in said
    assert act.calls == 1
    assert sorted(map(str, Path().glob("*.*g"))) == ["[b]i.png"]  # nothing of the part is left
    whole = rows("[b]i.csv")
    act = stopping(9)
    run(*options, "--fresh")
    assert act.calls == 2
    assert rows("[b]i.csv") == whole
    run(*options, "--rate", "0.1")
    assert act.calls == 4
    assert rows("[b]i.csv") != whole


def test_the_bar_moves_with_each_step(monkeypatch):
    told = []

    @contextmanager
    def bar(what, total):
        yield lambda done, of: told.append((what, total, done, of))

    monkeypatch.setattr(invert, "progress_bar", bar)
    monkeypatch.setattr(inversion, "batches_of", lambda *_: [range(2), range(2, 3)])
    g = load_source("mini-texture")
    images = image_set("white", 3, size=64, seed=1)
    how = {"seed": 1, "steps": 2, "rate": 0.1, "device": "cpu"}
    work = invert._Inverting([g], images, list("abc"), "white", how)
    assert len(list(work.act(work.waves()[0]))) == 2
    assert {(what, total, of) for what, total, _, of in told} == {("mini-texture", 3, 3)}
    expected = [0, 2 / 3, 4 / 3, 2, 2 + 1 / 3, 2 + 2 / 3]
    np.testing.assert_allclose([done for *_, done, _ in told], expected)


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
    assert "at most 100" in run("invert", "--rate", "inf", expect=2)
    assert "PNG file" in run("invert", "--out", "figure.pdf", expect=2)
    assert "is both" in run("sets", "-n", 4, "--set", "scenes", expect=2)
    assert "nowhere" in run("invert", "--images", "nowhere", "-n", 2, expect=2)
