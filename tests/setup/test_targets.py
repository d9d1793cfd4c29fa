"""What a fitness compares with: read once, with care, and known by its digest."""

import hashlib
import os

import numpy as np
import pytest

from evolver import config
from evolver.config.fitness_table import FitnessTable
from evolver.errors import ConfigError, DataError
from evolver.journal.writer import read_journal
from evolver.live import resume_simulated, run_simulated
from evolver.setup.build import build_parts
from evolver.setup.targets import build_target
from tests.live.sessions import small
from tests.live.test_resume import cut

VALUES = np.array([1.5, 0.25, 30.0])
LABELS = ("face", "tree", "face", "7")


def table(place, units=3, **others):
    return FitnessTable(tuple(range(units)), kind="target", target=str(place), **others)


def written(folder):
    """Return files that hold the same target."""
    paths = [folder / name for name in ("a.npy", "b.npz", "c.npz", "d.csv", "e.csv")]
    np.save(paths[0], VALUES)
    np.savez(paths[1], anything=VALUES)
    np.savez_compressed(paths[2], other=np.zeros(7), target=VALUES)
    paths[3].write_text("1.5, 0.25, 30\n")
    paths[4].write_text("\ufeff1.5\n0.25\n3e1\n", encoding="utf-8")
    return paths


def test_every_file_gives_the_same_target_and_its_own_digest(tmp_path):
    for path in written(tmp_path):
        target = build_target(table(path), ())
        np.testing.assert_array_equal(target.values, VALUES)
        assert target.values.dtype == np.float64
        assert target.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1, 2", "must hold one number a unit, 3; it holds 2"),
        (b"1, 2, x", "numbers alone"),
        (b"1, 2, nan", "finite"),
        (b"1, 2, 1e50", "at most 1e+40"),
        (b"\xff\xfe", "numbers alone"),
        (b"0 0 0", "must not be all 0"),
    ],
)
def test_a_list_that_is_no_target_is_refused(tmp_path, content, said):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        build_target(table(path), ())
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_arrays_that_are_no_target_are_refused(tmp_path):
    for name, array, said in (
        ("a.npy", np.zeros(4), "shape (3,)"),
        ("b.npy", np.array([1, "x", None], dtype=object), "must hold numbers"),
        ("c.npy", np.array(["a", "b", "c"]), "must hold numbers"),
    ):
        np.save(tmp_path / name, array)
        with pytest.raises(DataError) as caught:
            build_target(table(tmp_path / name), ())
        assert said in str(caught.value)
    np.savez(tmp_path / "d.npz", a=VALUES, b=VALUES)
    with pytest.raises(DataError, match="one array, or one called 'target'"):
        build_target(table(tmp_path / "d.npz"), ())
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="must be a file that numpy writes"):
        build_target(table(tmp_path / "e.npz"), ())


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for place in (tmp_path / "pipe.csv", tmp_path, tmp_path / "nothing.npy", "/dev/zero"):
        with pytest.raises(DataError, match="cannot be read"):
            build_target(table(place), ())
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataError, match="cannot be read"):
        build_target(table(tmp_path / "large.csv"), ())


def test_a_constant_target_has_no_correlation(tmp_path):
    (tmp_path / "t.csv").write_text("2 2 2")
    with pytest.raises(DataError, match="no correlation with 2 for each of 3"):
        build_target(table(tmp_path / "t.csv", distance="correlation"), ())
    assert build_target(table(tmp_path / "t.csv", distance="cosine"), ()) is not None


@pytest.mark.parametrize(("name", "row"), [("tree", 1), ("1", 1), ("0", 0), ("7", 3), ("3", 3)])
def test_a_reference_is_found_by_label_or_index(name, row):
    assert build_target(table(f"reference:{name}"), LABELS).reference == row


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("face", "indices [0, 2]: name one by its index"),
        ("tre", "did you mean 'tree'"),
        ("4", "index, 0 to 3; found '4'"),
        ("-1", "index, 0 to 3; found '-1'"),
    ],
)
def test_a_reference_that_is_none_is_refused(name, said):
    with pytest.raises(ConfigError) as caught:
        build_target(table(f"reference:{name}"), LABELS)
    assert said in str(caught.value)


def test_the_best_and_other_kinds_need_nothing_from_outside():
    assert build_target(table("best"), ()) is None
    assert build_target(FitnessTable(), ()) is None


def session(folder, place, **others):
    fitness = {"units": (0, 1), "kind": "target", "target": str(place), "baseline_ms": None}
    return small(
        folder,
        session={"generations": 2},
        references={"count": 2},
        fitness={**fitness, **others},
    )


def test_a_mistake_is_said_once_under_its_key(tmp_path):
    with pytest.raises(ConfigError) as caught:
        build_parts(session(tmp_path, "reference:nobody"))
    assert str(caught.value).startswith("fitness.target: must name a reference")
    with pytest.raises(ConfigError, match=r"^fitness\.target: .*nothing\.npy cannot be read"):
        build_parts(session(tmp_path, tmp_path / "nothing.npy"))


def test_a_form_that_cannot_be_scored_is_refused_before_the_first_image(tmp_path):
    settings = small(
        tmp_path / "out",
        fitness={"kind": "late-early", "baseline_ms": None},
        simulation={"spikes": "none"},
    )
    text = config.commented_session_file(settings)
    with pytest.raises(
        ConfigError, match=r"fitness\.kind: 'late-early' must have responses as"
    ):
        run_simulated(settings, text)
    assert not (tmp_path / "out").exists()


def test_a_session_goes_on_with_the_target_that_it_began_with_and_no_other(tmp_path):
    place = tmp_path / "target.csv"
    place.write_text("30, 5")
    settings = session(tmp_path / "out", place)
    ended = run_simulated(settings, config.commented_session_file(settings))
    records = [record for _, record in read_journal(ended.folder / "journal")]
    cut(records[: len(records) // 2], tmp_path / "cut")
    place.write_text("5, 30")
    with pytest.raises(ConfigError, match="must go on with the target it began with, sha256"):
        resume_simulated(tmp_path / "cut")
    place.write_text("30, 5")
    assert resume_simulated(tmp_path / "cut").reason == "finished"
