"""The folder rig against the other side as MATLAB would be it: a loop over folders."""

import shutil
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from rig_bridge.client import RigClient
from rig_bridge.events import Responded, RigJoined
from rig_bridge.messages import ScreenInfo
from rig_bridge.rigs import mat5_files
from rig_bridge.rigs.mat5_files import MatFileError
from rig_bridge.rigs.mat_files import read_rates
from rig_bridge.rigs.xdream_folder import XDreamFolder
from rig_bridge.server import EngineServer
from rig_bridge.trials import Presentation
from tests.limits import PATIENCE_S
from tests.rig_bridge.samples import SESSION, image, request, sha256

SCREEN = ScreenInfo(1024, 768, 60.0, 30.0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def rig(tmp_path):
    clock = Clock()
    made = XDreamFolder(
        tmp_path / "images", tmp_path / "responses", channels=3, display=SCREEN, clock=clock
    )
    made.clock = clock
    return made


def ask(rig, number, pixels, *, attempt=1, block=0):
    return rig.present(
        pixels,
        Presentation(
            block=block,
            attempt=attempt,
            presentation=number,
            sha256=sha256(pixels),
            on_ms=100.0,
            off_ms=100.0,
            size_deg=3.0,
            position_deg=(0, 0),
            window_ms=(0, 300),
        ),
    )


def hand_over(rig):
    assert rig.collect() == []
    rig.clock.now += 1.0
    assert rig.collect() == []


def answer(tmp_path, number, names, rates):
    cells = np.array(names, dtype=object)
    path = tmp_path / "responses" / f"block{number:03d}.mat"
    savemat(path.with_suffix(".tmp.mat"), {"stimulusID": cells, "tEvokedResp": np.array(rates)})
    path.with_suffix(".tmp.mat").rename(path)


def shown(tmp_path, number, pixels):
    """The name of an image in a request's folder."""
    folder = tmp_path / "images" / f"block{number:03d}"
    (path,) = folder.glob(f"*{sha256(pixels)[:16]}*.png")
    return path.stem


def aborts(rig):
    return {r.presentation: r.reason for _, r in rig.collect() if r.status == "aborted"}


def test_images_appear_all_at_once_and_answers_go_to_their_showings(rig, tmp_path):
    one, two = image(1), image(2)
    ask(rig, 10, one)
    ask(rig, 11, two)
    ask(rig, 12, one)  # shown twice
    assert not (tmp_path / "images" / "block000").exists()
    hand_over(rig)
    folder = tmp_path / "images" / "block000"
    names = sorted(p.stem for p in folder.glob("*.png"))
    assert len(names) == 2
    assert (folder / "repeats.txt").read_text() == "2\n"
    first = shown(tmp_path, 0, one)
    second = next(n for n in names if n != first)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / f"{first}.png")), one)
    answer(tmp_path, 0, [first, f"{second}.png", first], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    found = {r.presentation: r for _, r in rig.collect()}
    assert {n: r.arrays["rates"].tolist() for n, r in found.items()} == {
        10: [1, 2, 3],
        12: [7, 8, 9],
        11: [4, 5, 6],
    }
    assert rig.collect() == []


def test_rows_that_are_missing_or_not_numbers_are_aborted_showings(rig, tmp_path):
    ask(rig, 1, image(1))
    ask(rig, 2, image(2))
    hand_over(rig)
    answer(tmp_path, 0, [shown(tmp_path, 0, image(1))], [[1, np.nan, 3]])
    assert [(r.presentation, r.status) for _, r in rig.collect()] == [
        (1, "aborted"),
        (2, "aborted"),
    ]


def test_a_file_that_is_not_whole_yet_is_tried_again(rig, tmp_path):
    ask(rig, 1, image(1))
    hand_over(rig)
    answer(tmp_path, 0, [shown(tmp_path, 0, image(1))], [[1, 2, 3]])
    path = tmp_path / "responses" / "block000.mat"
    whole = path.read_bytes()
    for n in (0, 40, 200, len(whole) - 3):
        path.write_bytes(whole[:n])
        assert rig.collect() == []
    path.write_bytes(whole)
    assert len(rig.collect()) == 1


def restarted(tmp_path):
    clock = Clock()
    made = XDreamFolder(
        tmp_path / "images", tmp_path / "responses", channels=3, display=SCREEN, clock=clock
    )
    made.clock = clock
    return made


def folders(tmp_path):
    return sorted(p.name for p in (tmp_path / "images").iterdir())


def test_numbers_go_on_from_the_largest_in_either_folder(rig, tmp_path):
    ask(rig, 1, image(1))
    hand_over(rig)
    again = restarted(tmp_path)
    ask(again, 1, image(1), attempt=2)
    hand_over(again)
    assert folders(tmp_path) == ["block000", "block001"]
    answer(tmp_path, 1004, ["of another session"], [[42.0] * 3])
    again = restarted(tmp_path)
    ask(again, 1, image(1), attempt=3)
    hand_over(again)
    assert folders(tmp_path)[2:] == ["block1005"]
    (tmp_path / "responses" / "block1006.mat").touch()  # comes while the rig runs
    ask(again, 2, image(1))
    hand_over(again)
    assert folders(tmp_path)[2:] == ["block1005", "block1007"]


def test_what_a_crash_left_does_not_end_the_rig(rig, tmp_path):
    ask(rig, 1, image(1))  # and the process is killed: .block000.partial stays
    again = restarted(tmp_path)
    ask(again, 1, image(1), attempt=2)
    (tmp_path / "images" / ".block002.partial").mkdir()  # of a rig beside this one
    hand_over(again)
    assert folders(tmp_path) == [".block000.partial", ".block002.partial", "block001"]
    ask(again, 2, image(2))
    hand_over(again)
    assert "block003" in folders(tmp_path)


def test_a_number_that_was_taken_meanwhile_is_not_used(rig, tmp_path):
    ask(rig, 1, image(1))
    (tmp_path / "images" / "block000").mkdir()
    answer(tmp_path, 0, ["x"], [[42.0] * 3])
    hand_over(rig)
    answer(tmp_path, 1, [shown(tmp_path, 1, image(1))], [[1, 2, 3]])
    ((_, result),) = rig.collect()
    assert result.arrays["rates"].tolist() == [1, 2, 3]


def test_the_answer_of_the_same_session_yesterday_is_not_todays(rig, tmp_path):
    """The same seed asks for the same images in block 0; folders were emptied in between."""
    ask(rig, 1, image(1))
    hand_over(rig)
    yesterday = shown(tmp_path, 0, image(1))
    for path in (tmp_path / "images" / "block000").iterdir():
        path.unlink()
    (tmp_path / "images" / "block000").rmdir()
    today = restarted(tmp_path)
    ask(today, 1, image(1))
    hand_over(today)
    answer(tmp_path, 0, [yesterday], [[42.0] * 3])  # put back by a backup
    for _ in range(3):
        assert today.collect() == []
        today.clock.now += 60
    ((level, said),) = today.notices()
    assert level == "error"
    assert "block000.mat is of another request" in said
    assert yesterday in said
    answer(tmp_path, 0, [shown(tmp_path, 0, image(1))], [[1, 2, 3]])
    ((_, result),) = today.collect()
    assert result.arrays["rates"].tolist() == [1, 2, 3]
    assert today.notices() == []


def v73(path, names, rates, *, kind="cell"):
    """Write what MATLAB's save -v7.3 does: HDF5 behind a head, axes the other way round."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        cells = []
        for i, name in enumerate(names):
            codes = np.array([[ord(c)] for c in name], dtype="<u2")
            cell = refs.create_dataset(f"c{i}", data=codes)
            cell.attrs["MATLAB_class"] = np.bytes_("char")
            cells.append(cell.ref)
        ids = np.array([cells], dtype=h5py.ref_dtype)
        if kind == "char":
            ids = np.array([[ord(c) for c in name] for name in names], dtype="<u2").T
        made = file.create_dataset("stimulusID", data=ids)
        made.attrs["MATLAB_class"] = np.bytes_(kind)
        made = file.create_dataset("tEvokedResp", data=np.array(rates).T)
        made.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + b" " * 8)


@pytest.mark.parametrize("kind", ["cell", "char"])
def test_version_7_3_is_read_once_it_stands_still(rig, tmp_path, kind):
    ask(rig, 1, image(1))
    ask(rig, 2, image(2))
    hand_over(rig)
    names = [shown(tmp_path, 0, image(i)) + ".png" for i in (2, 1)]
    v73(tmp_path / "responses" / "block000.mat", names, [[4, 5, 6], [1, 2, 3]], kind=kind)
    assert rig.collect() == []  # HDF5 may hold zeros until it is closed
    rig.clock.now += 0.5
    found = {r.presentation: r.arrays["rates"].tolist() for _, r in rig.collect()}
    assert found == {1: [1, 2, 3], 2: [4, 5, 6]}
    assert rig.notices() == []


@pytest.mark.parametrize("axes", ["as it is", "the other way round", "with one more"])
def test_the_matrix_may_lie_on_its_side(rig, tmp_path, axes):
    ask(rig, 1, image(1))
    ask(rig, 2, image(2))
    hand_over(rig)
    rates = np.arange(6.0).reshape(2, 3)
    turned = {"as it is": rates, "the other way round": rates.T, "with one more": rates[None]}
    names = [rf"C:\stimuli\{shown(tmp_path, 0, image(i))}.PNG" for i in (1, 2)]
    answer(tmp_path, 0, names, turned[axes])
    found = {r.presentation: r.arrays["rates"].tolist() for _, r in rig.collect()}
    assert found == {1: [0, 1, 2], 2: [3, 4, 5]}


UNREADABLE = {
    "no MATLAB file": lambda path: path.write_text("nothing of the kind " * 100),
    "it is empty": lambda path: path.touch(),
    "not a regular file": lambda path: path.mkdir(),
    "must be 1 x 3": lambda path: savemat(
        path, {"stimulusID": np.array(["x"], object), "tEvokedResp": [[1.0, 2.0]]}
    ),
    "it holds answers": lambda path: savemat(path, {"answers": 1}),
    "real numbers; it is complex": lambda path: savemat(
        path, {"stimulusID": np.array(["x"], object), "tEvokedResp": [[1j, 2, 3]]}
    ),
    "one is numeric": lambda path: savemat(
        path, {"stimulusID": np.array([1.0, 2], object), "tEvokedResp": np.eye(3)}
    ),
    "must be a cell array": lambda path: v73(path, ["x"], [[1, 2, 3]], kind="string"),
}


@pytest.mark.parametrize("why", UNREADABLE)
def test_what_will_never_be_readable_is_said_once_and_not_waited_for(rig, tmp_path, why):
    ask(rig, 1, image(1))
    ask(rig, 2, image(2))
    hand_over(rig)
    UNREADABLE[why](tmp_path / "responses" / "block000.mat")
    assert rig.collect() == []
    rig.clock.now += 5.0
    assert rig.collect() == []  # it may still be written
    rig.clock.now += 5.0
    reasons = aborts(rig)
    assert list(reasons) == [1, 2]
    ((level, said),) = rig.notices()
    assert level == "error"
    assert said.startswith("block000.mat is no answer: ")
    if why not in {"no MATLAB file", "it is empty"}:
        assert why in said
    assert all(text.startswith("block000.mat: ") for text in reasons.values())
    assert rig.collect() == []
    assert rig.notices() == []


@pytest.mark.parametrize("made", ["link", "external", "virtual"])
def test_a_file_that_leads_to_others_is_not_followed(rig, tmp_path, made):
    ask(rig, 1, image(1))
    hand_over(rig)
    path, other = tmp_path / "responses" / "block000.mat", tmp_path / "other.h5"
    names = [shown(tmp_path, 0, image(1))]
    v73(other, names, [[42.0] * 3])
    v73(path, names, [[1, 2, 3]])
    with h5py.File(path, "r+") as file:
        del file["tEvokedResp"]
        if made == "link":
            file["tEvokedResp"] = h5py.ExternalLink(str(other), "tEvokedResp")
        elif made == "external":
            file.create_dataset("tEvokedResp", (3, 1), "<f8", external=str(tmp_path / "raw"))
        else:
            layout = h5py.VirtualLayout((3, 1), "<f8")
            layout[:] = h5py.VirtualSource(str(other), "tEvokedResp", (3, 1))
            file.create_virtual_dataset("tEvokedResp", layout)
    rig.collect()
    rig.clock.now += 10
    (reason,) = aborts(rig).values()
    assert "must be in the file itself" in reason


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "i8", ">f8"])
def test_versions_5_to_7_are_read_as_scipy_reads_them(tmp_path, dtype, compressed):
    path = tmp_path / "a.mat"
    rates = np.arange(6).reshape(2, 3).astype(dtype)
    others = {"notes": "ü", "deep": {"a": [1, 2]}, "s": np.eye(2)}
    names = {"cells": np.array(["one", "täo.png"], object), "char": np.array(["one", "täo"])}
    for stimuli in names.values():
        variables = {**others, "stimulusID": stimuli, "tEvokedResp": rates, "last": 1}
        savemat(path, variables, do_compression=compressed)
        found, numbers = read_rates(path, channels=3)
        assert found == ["one", "täo"]
        np.testing.assert_array_equal(numbers, loadmat(path)["tEvokedResp"])


def test_a_file_that_expands_beyond_all_bounds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mat5_files, "_LARGEST_VARIABLE", 1 << 20)
    names = np.array(["x"], object)
    rates = np.zeros((1, 1 << 20))  # 8 MiB in 8 kB
    savemat(
        tmp_path / "a.mat", {"stimulusID": names, "tEvokedResp": rates}, do_compression=True
    )
    with pytest.raises(MatFileError, match="tEvokedResp must be at most 1 MiB"):
        read_rates(tmp_path / "a.mat", channels=1 << 20)


def test_changed_bytes_end_in_our_error_or_in_a_table_of_the_right_shape(tmp_path):
    """Scipy's reader ended the process at such files."""
    path = tmp_path / "block000.mat"
    v73(path, ["one", "two"], [[1, 2, 3], [4, 5, 6]])
    sources = [path.read_bytes()]
    cells = np.array(["one", "two"], dtype=object)
    for compressed in (False, True):
        variables = {"stimulusID": cells, "tEvokedResp": np.ones((2, 3))}
        savemat(path, variables, do_compression=compressed)
        sources += [path.read_bytes()] * 2
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(400):
        content = bytearray(sources[i % len(sources)])
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(0, len(content))] = rng.integers(0, 256)
        whole = len(content) if rng.random() < 0.7 else rng.integers(1, len(content))
        path.write_bytes(content[:whole])
        try:
            names, rates = read_rates(path, channels=3)
        except MatFileError:
            refused += 1
        else:
            assert rates.shape == (len(names), 3)
    assert 100 < refused < 400


def test_a_folder_that_is_full_or_gone_aborts_showings_and_the_rig_goes_on(rig, tmp_path):
    ask(rig, 1, image(1))
    shutil.rmtree(tmp_path / "images")
    rig.clock.now += 1
    assert "cannot be handed over" in aborts(rig)[1]
    result = ask(rig, 2, image(2))
    assert result.status == "aborted"
    assert "cannot be written" in result.reason
    (tmp_path / "images").mkdir()
    ask(rig, 3, image(2))
    hand_over(rig)
    assert folders(tmp_path) == ["block000"]


def test_a_block_over_the_wire(tmp_path):
    rig = XDreamFolder(tmp_path / "i", tmp_path / "responses", channels=2, display=SCREEN)
    done = threading.Event()

    def other_side():
        seen: set[Path] = set()
        while not done.wait(0.02):
            for folder in set((tmp_path / "i").glob("block*")) - seen:
                seen.add(folder)
                names = [p.name for p in sorted(folder.glob("*.png"))]
                names *= int((folder / "repeats.txt").read_text())
                answer(tmp_path, int(folder.name[5:]), names, [[5.0, 6.0]] * len(names))

    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s") as server:
        client = RigClient(
            server.endpoint,
            hello=rig.hello("folder", software="1"),
            presenter=rig,
            identity="f",
            late_s=600.0,
        )
        threads = [
            threading.Thread(target=other_side),
            threading.Thread(target=client.run, kwargs={"stop": done.is_set}),
        ]
        for thread in threads:
            thread.start()
        try:
            found = {}
            deadline = time.monotonic() + PATIENCE_S
            while len(found) < 3 and time.monotonic() < deadline:
                for event in server.poll(0.05):
                    if isinstance(event, RigJoined):
                        server.show(request(block=0, attempt=1, presentations=(1, 2, 3)))
                    elif isinstance(event, Responded):
                        found |= {t.presentation: t for t in event.trials}
            assert len(found) == 3
            assert {t.status for t in found.values()} == {"ok"}
        finally:
            done.set()
            for thread in threads:
                thread.join(PATIENCE_S)
