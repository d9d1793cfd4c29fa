"""Files that are in their place whole, or not at all."""

import os
import re
from pathlib import Path

import pytest

from evolver.whole_files import whole_file, whole_folder, write_whole


def test_a_file_is_in_its_place_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with whole_file(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()
        assert unfinished.suffix == ".txt"
    assert path.read_text() == "whole"

    def stopped():
        with whole_file(path) as other:
            other.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path, monkeypatch, links):
    if not links:  # as on exFAT

        def refused(_path, _target):
            raise PermissionError(1, "no links here")

        monkeypatch.setattr(Path, "hardlink_to", refused)
    path = tmp_path / "x.txt"
    with whole_file(path, overwrite=False) as unfinished:
        unfinished.write_text("first")
    assert path.read_text() == "first"

    def second():
        with whole_file(path, overwrite=False) as unfinished:
            unfinished.write_text("second")

    with pytest.raises(FileExistsError):
        second()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_rights_are_those_of_any_new_file(tmp_path):
    (tmp_path / "any").write_bytes(b"")
    write_whole(tmp_path / "x", b"x")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "any").stat().st_mode


def fill(folder, names, **how):
    with whole_folder(folder, **how) as made:
        for name in names:
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text("new")
        if "earlier" not in how:
            assert not (folder / names[0]).exists()


@pytest.mark.parametrize("mount", [False, True])
def test_a_folder_is_in_its_place_whole_or_not_at_all(tmp_path, monkeypatch, mount):
    folder = tmp_path / "new" / "f"
    if mount:  # nothing can take its place, and what is beside it is elsewhere
        folder.mkdir(parents=True)
        monkeypatch.setattr(Path, "is_mount", lambda path: path == folder)
    fill(folder, ["a", "b"])
    assert sorted(os.listdir(folder)) == ["a", "b"]
    with pytest.raises(OSError, match="not empty"):
        fill(folder, ["c"])
    assert sorted(os.listdir(folder)) == ["a", "b"]
    assert os.listdir(folder.parent) == ["f"]


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    (tmp_path / "f").mkdir()  # an empty one is as good as none

    def stopped():
        with whole_folder(tmp_path / "f") as made:
            (made / "a").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [path.name for path in tmp_path.rglob("*")] == ["f"]


def test_what_an_earlier_folder_had_goes_and_what_is_not_of_it_stays(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("old.png", "same.png", "notes.txt", "index.csv"):
        (folder / name).write_text("old")
    (folder / "sub.png").mkdir()
    earlier = re.compile(r".*\.png|index\.csv")
    fill(folder, ["index.csv", "same.png"], earlier=earlier, last="index.csv")
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert texts == {"index.csv": "new", "same.png": "new", "notes.txt": "old"}
    assert (folder / "sub.png").is_dir()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_that_is_replaced_is_as_private_as_it_was(tmp_path):
    path = tmp_path / "keys"
    path.write_bytes(b"before")
    path.chmod(0o600)
    write_whole(path, b"after")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == b"after"
