"""`evolver analyze` on a few made-up experiments: tables, figures, a page, and what is odd."""

import csv
import os
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evolver.cli.analyze import remove_analysis
from evolver.report.population_figures import POPULATION_FIGURES
from tests.cli.running import run_here
from tests.experiments.made import archive, lab, plain
from tests.report.sessions import write


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return partial(run_here, monkeypatch, capsys, "analyze")


@pytest.fixture
def few_figures(monkeypatch):
    """Of populations only similarity is drawn; one test draws all, others look elsewhere."""
    for name in POPULATION_FIGURES.keys() - {"similarity"}:
        monkeypatch.delitem(POPULATION_FIGURES, name)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_lab_becomes_tables_figures_and_a_page(run, tmp_path):
    archive(tmp_path / "lab.npz", lab(areas=("V4", "IT"), each=1))
    said = run("lab.npz", "--out", "out", "--parquet")
    assert "2 experiments; " in said
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "open out/analysis.html in a browser" in said
    table = rows("out/experiments.csv")
    assert len(table) == 4
    assert {row["experiment"] for row in table} == {"V4-0", "IT-0"}
    assert {row["valid"] for row in table} <= {"True", "False"}
    assert all(float(row["p"]) <= 1 for row in table)
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert pyarrow.read_table("out/experiments.parquet").num_rows == 4
    figures = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert figures == [
        "activation.png",
        "attribution.png",
        "success_rates.png",
        "time_courses.png",
        "trajectories.png",
    ]
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    remove_analysis(tmp_path / "copy")  # nothing there
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    remove_analysis(tmp_path / "copy")  # all that is written is known as an analysis' own
    assert len(written) > 12
    assert not [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    own = sorted((tmp_path / "out" / "experiments").iterdir())
    assert len(own) == 2
    assert all(np.asarray(Image.open(path).convert("L")).std() > 1 for path in own[:1])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("few_figures")
def test_a_broken_file_is_named_and_stops_nothing(run, tmp_path):
    def damage(_, arrays):
        arrays.pop("IT-0/psth")

    archive(tmp_path / "lab.npz", lab(areas=("IT",), each=2), damage=damage)
    archive(tmp_path / "more.npz", lab(areas=("IT",), each=2), seed=1)
    (tmp_path / "broken.h5").write_text("no recording")
    said = run(
        "broken.h5", "lab.npz", "more.npz", "--out", "out", "--no-experiment-figures", expect=1
    )
    assert "2 could not be read:" in said
    assert "lab.npz, IT-0: " in said
    found = {row["experiment"] for row in rows("out/experiments.csv")}
    assert found == {"IT-1", "IT-0", "IT-1 (2)"}  # one name, two experiments
    assert "<b>broken.h5</b>" in (tmp_path / "out" / "analysis.html").read_text()


def test_nothing_is_written_where_nothing_can_be_read(run, tmp_path):
    (tmp_path / "broken.h5").write_text("no recording")
    said = run("broken.h5", "--out", "out", expect=2)
    assert "none of these files could be read" in said
    assert not (tmp_path / "out").exists()
    assert "there is none of that name" in run("nothing.h5", "--out", "out", expect=2)


def test_a_run_that_breaks_off_leaves_what_was_there(run, tmp_path, monkeypatch):
    archive(tmp_path / "lab.npz", lab(areas=("IT",), each=2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiments.csv").write_text("of before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evolver.report.style.save", full)
    said = run("lab.npz", "--out", "out", expect=2)
    assert "No space left on device" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["experiments.csv"]
    assert (tmp_path / "out" / "experiments.csv").read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab.npz", "out"]


@pytest.mark.usefixtures("few_figures")
def test_options_reach_the_numbers_and_wrong_ones_are_refused(run, tmp_path):
    plain(tmp_path / "mine", blocks=16)
    quick = ("--out", "out", "--no-experiment-figures")
    run("mine", *quick, "--paper", "--alpha", 0.05, "--early", 60, 80)
    first = rows("out/experiments.csv")
    assert {row["rule"] for row in first} == {"maxinit"}
    (tmp_path / "out" / "experiments").mkdir(exist_ok=True)
    for old in (
        "means.parquet",
        "experiments/0007-gone.png",
        "experiments/mine.png",
        "notes.csv",
    ):
        (tmp_path / "out" / old).write_text("of before")
    run("mine", *quick, "--paper", "--rule", "shuffle", "--last-pair", "all", "--among", "all")
    again = rows("out/experiments.csv")
    assert {row["rule"] for row in again} == {"shuffle"}
    assert again[0]["early_share"] != first[0]["early_share"]
    assert not (tmp_path / "out" / "means.parquet").exists()  # an earlier analysis' own
    assert not (tmp_path / "out" / "experiments" / "0007-gone.png").exists()
    assert (tmp_path / "out" / "experiments" / "mine.png").exists()  # a user's
    assert (tmp_path / "out" / "notes.csv").exists()
    assert (tmp_path / "out" / "figures" / "similarity.png").exists()
    for width in ("1e-9", "0", "nan"):
        said = " ".join(run("mine", *quick, "--bin", width, expect=2).split())
        assert "bins of time must have 0.1 ms at least" in said
    assert "must end after it begins" in run("mine", *quick, "--late", 200, 100, expect=2)
    assert "alpha must lie" in run("mine", *quick, "--alpha", 2, expect=2)
    assert "must name one or two" in run("mine", *quick, "--generators", "a,b,c", expect=2)


@pytest.mark.usefixtures("few_figures")
def test_masks_are_tables_pictures_and_on_the_page(run, tmp_path):
    truth = write(tmp_path, generations=5, popsizes=(8, 6))
    plain(tmp_path / "mine", blocks=16)
    said = run(
        truth.path, "mine", "--out", "out", "--no-experiment-figures", "--attribution",
        "mini:conv2", "--re-evolve", "none",
    )  # fmt: skip
    assert "open out/analysis.html" in said
    table = {(row["experiment"], row["thread"]): row for row in rows("out/experiments.csv")}
    name = next(experiment for experiment, _ in table if experiment != "mine")
    first = table[name, "texture"]
    assert int(first["mask_n"]) == sum(
        np.isfinite(truth.scores[0, block]).sum() for block in range(5)
    )
    assert 0 < float(first["mask_p"]) <= 1
    assert (0 < float(first["mask_area"]) < 1) or "no mask" in first["reasons"]
    assert int(first["pooled_mask_n"]) > int(first["mask_n"])
    other = table["mine", "thread 0"]
    assert other["mask_n"] == other["mask_cosine"] == ""
    assert "no mask: of plain layout no images are read" in other["reasons"]
    pairs = {(row["prototype"], row["measure"]) for row in rows("out/image_similarity.csv")}
    assert ("best", "cnn_cosine") in pairs
    masks = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    stem = masks[-1].removesuffix(".png")  # the figure
    alpha = Image.open(tmp_path / "out" / "masks" / masks[0])
    assert masks[0] in {f"{stem}-{name}-mask.png" for name in ("object", "texture")}
    assert (alpha.mode, alpha.size) == ("RGBA", (16, 16))
    assert alpha.getextrema()[3][1] > 100
    page = (tmp_path / "out" / "analysis.html").read_text()
    assert f"masks/{stem}.png" in page
    assert "where it looks" in page


def test_masks_need_a_layer_with_places(run, tmp_path):
    plain(tmp_path / "mine", blocks=16)
    ask = ("mine", "--out", "out", "--attribution")
    assert "must be a layer with places" in run(*ask, "mini:fc6", expect=2)
    assert "as mini:conv3" in run(*ask, "mini", expect=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_figures")
def test_copies_killed_sessions_and_odd_ones_are_named_and_stop_nothing(
    run, tmp_path, monkeypatch
):
    truth = write(tmp_path, generations=5, popsizes=(8, 6))
    place = tmp_path / "lab"
    place.mkdir()
    shutil.copy(truth.path, place / "monday.h5")
    shutil.copy(truth.path, place / "tuesday.h5")
    os.link(place / "monday.h5", place / "wednesday.h5")
    plain(place / "mine", blocks=16, pictures=False)
    shutil.copytree(place / "mine", place / "mine-again")
    plain(place / "other", blocks=16, pictures=False, seed=1, id="mine")  # its own numbers
    plain(place / "odd", blocks=16, pictures=False, seed=2)
    journal = place / "killed" / "journal"
    journal.mkdir(parents=True)
    (journal / "segment-000000.evj").write_bytes(b"")

    from evolver.experiments import summary

    honest = summary.kept_part

    def breaks(experiment, settings):
        if experiment.id == "odd":
            raise OverflowError("too large a number")
        return honest(experiment, settings)

    monkeypatch.setattr(summary, "kept_part", breaks)
    told = " ".join(run("lab", "--out", "out", "--no-experiment-figures", expect=1).split())
    assert "sessions that are there again, and count once: 3" in told
    names = [row["experiment"] for row in rows("out/experiments.csv")]
    assert len(names) == 6  # two threads each
    assert {"mine", "mine (2)"} < set(names)
    left = {row["experiment"]: row["reason"] for row in rows("out/left_out.csv")}
    assert {"lab/tuesday.h5", "lab/wednesday.h5", "lab/mine-again"} < set(left)
    assert "lab/monday.h5" in left["lab/tuesday.h5"]
    assert "lab/mine" in left["lab/mine-again"]
    assert "lab/wednesday.h5" in (tmp_path / "out" / "analysis.html").read_text()
    assert "evolver fold lab/killed" in told
    assert "lab/odd: it cannot be analysed: OverflowError: too large a number" in told
    assert "2 could not be read" in told
    told = " ".join(run("lab/killed", "--out", "none", expect=2).split())
    assert "evolver fold lab/killed" in told
    told = " ".join(
        run("lab/mine", "--out", "none", "--generators", "foo,bar", expect=2).split()
    )
    assert "none has foo and bar" in told
    assert "one-gan and other-gan" in told
    assert not (tmp_path / "none").exists()
