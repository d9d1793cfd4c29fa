"""Sets of fixed images, from the session file to the recording, and on after a fall."""

import re

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from evolver import config, recording
from evolver.cli import app
from evolver.errors import ConfigError
from evolver.journal.records import Result, Sent
from evolver.journal.writer import read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.live.replayed import run_replay
from evolver.recording.replay import replayed_records
from evolver.report.page import write_report
from evolver.setup.other_fitness import other_fitness
from tests.children import DPI
from tests.soak import further

from .sessions import unfolded
from .test_resume import check_cuts, cut, places
from .test_simulate import Watching

ALONE = """
[session]
name = "sets"
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 50
set_showings = 20
[references]
count = 2
[simulation]
units = ["mini:conv4:52"]
view_deg = 10.0
speed = inf
[[sets]]
name = "train"
role = "train"
generator = "mini-texture"
count = 24
[[sets]]
name = "test"
role = "test"
generator = "mini-texture"
count = 4
repeats = 5
[[sets]]
name = "field"
images = "{images}"
[sets.grid]
columns = 3
rows = 2
sizes_deg = [1.0, 2.0]
"""
BESIDE = """
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 6
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for k, name in enumerate(["left", "right"]):
        pixels = np.full((16, 24, 3), 40 + 60 * k, dtype=np.uint8)
        pixels[:, : 8 + 8 * k] = 200
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def begun(tmp_path, images, *more, fold=None):
    text = ALONE.format(folder=tmp_path / "out", images=images) + "".join(more)
    text = text.replace("[session]", "[session]\ngenerations = 3") if more else text
    return run_simulated(config.parse_session_file(text), text, Watching().console, fold=fold)


@pytest.fixture(scope="module", params=[further("alone"), "beside"])
def ended(request, images, tmp_path_factory):
    """A session of sets beside a thread; of sets alone, `test_sets_around` has one."""
    more = [BESIDE] if request.param == "beside" else []
    return begun(tmp_path_factory.mktemp(request.param), images, *more)


def test_each_item_is_shown_as_often_as_asked_at_its_place(ended):
    with recording.read(ended.recording) as opened:
        evolving = len(opened.threads.evolving)
        assert opened.threads.sets.names == ("train", "test", "field")
        table = opened.presentations[opened.presentations["status"] == "ok"]
        for k, (items, times) in enumerate([(24, 1), (4, 5), (24, 1)], start=evolving):
            rows = table[table["thread"] == k]
            showings = np.unique(rows[["item", "repeat"]])
            assert len(showings) == len(rows) == items * times
            info = opened.threads[k].set_info
            assert (info.items, info.repeats) == (items, times)
            joined = dict(
                zip(
                    zip(opened.threads[k].generation, opened.threads[k].row, strict=True),
                    opened.threads[k].image_id,
                    strict=True,
                )
            )
            for row in rows:
                assert row["image_id"] == joined[row["generation"], row["row"]]
        field = opened.threads["field"]
        assert field.set_info.labels == ("left", "right")
        assert field.generator == "images"
        rows = table[table["thread"] == evolving + 2]
        for row in rows:
            image, place = divmod(row["item"], 12)
            assert field.set_info.places[place] == (
                row["x_deg"],
                row["y_deg"],
                row["size_deg"],
            )
            assert opened.images[row["image_id"]].shape == (16, 24, 3)
            assert opened.images[row["image_id"]][0, 10, 0] == (40 if image == 0 else 200)
        others = table[table["thread"] < evolving]
        assert (others["item"] == -1).all()
        assert (others["size_deg"] == 0).all()


def test_its_file_is_verified_and_says_it_as_records_again(ended):
    assert CliRunner().invoke(app.app, ["verify", str(ended.recording)]).exit_code == 0
    written = [record for _, record in read_journal(ended.folder / "journal")]
    with recording.read(ended.recording) as opened:
        again = list(replayed_records(opened))

    def items(records):
        return [
            (record.block, part.thread, part.generation, part.items)
            for record in records
            for part in getattr(record, "threads", ())
            if hasattr(part, "items") and part.items
        ]

    assert items(again) == items(written) != []


def test_cut_anywhere_it_goes_on_bit_for_bit(ended, tmp_path):
    """Several shares of a set may be under way at once, each with a part of its answers."""
    records = [record for _, record in read_journal(ended.folder / "journal")]
    with recording.read(ended.recording) as opened:
        kind = Result if opened.threads.evolving else Sent
    middle = [i for i, record in enumerate(records) if isinstance(record, kind)]
    check_cuts(ended, records, [middle[len(middle) // 2] + 1], tmp_path)


@pytest.mark.soak
def test_cut_after_every_sort_of_record_it_goes_on_bit_for_bit(ended, tmp_path):
    records = [record for _, record in read_journal(ended.folder / "journal")]
    check_cuts(ended, records, places(records), tmp_path)


@pytest.mark.soak
def test_replayed_it_is_the_same_session(ended, tmp_path):
    assert run_replay(ended.recording, out=tmp_path).differences == []


@pytest.mark.soak
def test_its_report_shows_what_drove_the_units(ended, tmp_path, monkeypatch):
    monkeypatch.setattr("evolver.report.style.DPI", DPI)
    with recording.read(ended.recording) as opened:
        page = write_report(opened, tmp_path).read_text(encoding="utf-8")
        alone = not opened.threads.evolving
    assert "Images of the sets" in page
    assert "24 of 24" in page
    assert ("Images over generations" in page) != alone
    assert (tmp_path / "summary.png").exists() != alone


def test_it_goes_on_with_the_images_it_began_with_or_not_at_all(images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = begun(tmp_path, folder, fold=unfolded)
    records = [record for _, record in read_journal(whole.folder / "journal")]
    cut(records[: len(records) // 2], tmp_path / "cut")
    (folder / "left.png").write_bytes((folder / "right.png").read_bytes())
    with pytest.raises(ConfigError, match=r"field.*must go on with the images"):
        resume_simulated(tmp_path / "cut", Watching().console)


WRONG = [
    (
        'generator = "mini-texture"\ncount = 24',
        "count = 24",
        r"sets\[0\]\.generator: is missing",
    ),
    ("count = 24", "", r"sets\[0\]\.count: is missing; must say how many codes"),
    ('name = "test"', 'name = "train"', r"sets\[1\]\.name: must differ .*sets\[0\]"),
    (
        'images = "{images}"',
        'images = "nowhere"',
        r"sets\[2\]\.images: must be 'builtin' or a f",
    ),
    (
        'images = "{images}"',
        'images = "{images}"\ncount = 3',
        r"sets\[2\]\.count: must be at most the number of PNG and JPEG files.*2; found 3",
    ),
    (
        'images = "{images}"',
        'images = "{images}"\ngenerator = "mini-object"',
        r"sets\[2\]\.generator: must be left out beside sets\[2\]\.images",
    ),
    (
        'generator = "mini-texture"\ncount = 24',
        'generator = "mini-textur"\ncount = 24',
        "mini-",
    ),
    ("count = 24", 'count = 24\ncodes = "file:nowhere.npz"', "nowhere.npz"),
    ("repeats = 5", "repeats = 10000\ncount = 30", "at most 200,000 showings"),
    ("columns = 3", "columns = 0", r"sets\[2\]\.grid\.columns: must be a whole number"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_key(old, new, message, images, tmp_path):
    text = ALONE.replace(old, new).format(folder=tmp_path, images=images)
    if "repeats = 10000" in text:
        text = text.replace("count = 4\n", "")
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app.app, ["config", "check", str(file)], env={"COLUMNS": "300"})
    assert result.exit_code == 2, result.output
    assert "\n" in result.output
    assert re.search(message, result.output), result.output


def test_what_is_of_evolution_leaves_sets_out(ended):
    with recording.read(ended.recording) as opened:
        if opened.threads.evolving:
            assert other_fitness(opened, {"response_ms": [70.0, 150.0]}).changed == (0,)
        else:
            with pytest.raises(ConfigError, match=r"thread that evolves.*train, test, field"):
                other_fitness(opened, {"response_ms": [70.0, 150.0]})


def test_an_nwb_file_says_which_item_was_where(ended, tmp_path):
    done = CliRunner().invoke(
        app.app, ["export", "nwb", str(ended.recording), "--out", str(tmp_path / "s.nwb")]
    )
    assert done.exit_code == 0, done.output
    with h5py.File(tmp_path / "s.nwb") as file, recording.read(ended.recording) as opened:
        trials = file["intervals/trials"]
        rows = np.argsort(trials["presentation"][:] * 1000 + trials["attempt"][:])
        for name in ("item", "size_deg", "x_deg", "y_deg"):
            np.testing.assert_array_equal(trials[name][:][rows], opened.presentations[name])
