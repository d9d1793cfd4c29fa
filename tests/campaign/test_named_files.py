"""A task is due again where a file that its session names has changed."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evolver import config
from evolver.campaign.named_files import FileDigests
from evolver.campaign.plan import read_campaign, task_digest
from evolver.campaign.task import WeightDigests
from tests.campaign.files import CAMPAIGN, SESSION, write

SETS = """
[[sets]]
name = "codes"
generator = "mini-object"
codes = "file:codes.npz"
count = 2
[[sets]]
name = "files"
images = "pictures"
"""


def picture(path, grey):
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("codes.npz", codes=np.ones((2, 128)))
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        picture(tmp_path / "pictures" / name, 90)
    return tmp_path


def due(folder):
    plan = read_campaign(
        write(folder, CAMPAIGN.format(last=1), SESSION + SETS), weights=WeightDigests()
    )
    return {task.digest for task in plan.tasks}


def test_a_task_is_due_again_where_a_file_changed(folder):
    seen = [due(folder)]
    assert due(folder) == seen[0]
    os.utime("codes.npz", (1, 1))  # the same, written again
    (folder / "pictures" / ".b.png").write_bytes(b"of a system")
    assert due(folder) == seen[0]
    for change in (
        lambda: np.savez("codes.npz", codes=np.zeros((2, 128))),
        lambda: picture(folder / "pictures" / "a.png", 91),
        lambda: (folder / "pictures" / "b.png").rename(folder / "pictures" / "c.png"),
        lambda: picture(folder / "pictures" / "d.png", 91),
        (folder / "codes.npz").unlink,
    ):
        change()
        now = due(folder)
        assert not any(now & before for before in seen)
        seen.append(now)


@pytest.mark.usefixtures("folder")
def test_files_of_threads_references_and_targets_have_digests_too():
    np.save("target.npy", np.ones(1))
    text = SESSION.replace("[references]", '[references]\nsource = "pictures"')
    text = text.replace("[[threads]]", '[[threads]]\ninitial = "decoded:codes.npz:5"')
    text += '[fitness]\nkind = "target"\nunits = [0]\n'
    text += 'distance = "squared-error"\ntarget = "target.npy"\n'
    settings = config.parse_session_file(text)
    digests = FileDigests()
    found = digests(settings)
    name = "codes of thread texture"
    assert set(found) == {name, "references", "target of texture"}
    assert len(set(found.values())) == 3
    np.savez("codes.npz", codes=np.zeros((2, 128)))
    assert digests(settings) == found  # read once
    again = FileDigests()(settings)
    assert again[name] != found[name]
    assert task_digest(settings, again) != task_digest(settings, found)


@pytest.mark.usefixtures("folder")
def test_files_that_optimizers_search_along_have_digests_too():
    options = """
optimizer = "composite"
[threads.optimizer_options]
parts = [
  { slice = [0, 64], optimizer = "hessian", options = { basis = "one.npz" } },
  { slice = [64, 128], optimizer = "sep", axes = { source = "two.npz", k = 2 } },
]
"""
    Path("one.npz").write_bytes(b"one")
    Path("two.npz").write_bytes(b"two")
    text = SESSION.replace("\n[references]", f"{options}\n[references]", 1)
    settings = config.parse_session_file(text)
    found = FileDigests()(settings)
    assert set(found) == {"basis 0 of thread texture", "source 1 of thread texture"}
    Path("two.npz").write_bytes(b"three")
    again = FileDigests()(settings)
    assert again["basis 0 of thread texture"] == found["basis 0 of thread texture"]
    assert again["source 1 of thread texture"] != found["source 1 of thread texture"]


@pytest.mark.usefixtures("folder")
def test_a_session_without_files_has_no_digest_of_one():
    assert FileDigests()(config.parse_session_file(SESSION)) == {}
