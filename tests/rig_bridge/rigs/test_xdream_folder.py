"""The folder rig against the other side as MATLAB would be it: a loop over folders."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rig_bridge.client import RigClient
from rig_bridge.events import Responded, RigJoined
from rig_bridge.messages import ScreenInfo
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
    rig.present(
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
    first = next(n for n in names if n.endswith(sha256(one)[:16]))
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
    name = f"b0000_{sha256(image(1))[:16]}"
    answer(tmp_path, 0, [name], [[1, np.nan, 3]])
    assert [(r.presentation, r.status) for _, r in rig.collect()] == [
        (1, "aborted"),
        (2, "aborted"),
    ]


def test_a_file_that_is_not_whole_yet_is_tried_again(rig, tmp_path):
    ask(rig, 1, image(1))
    hand_over(rig)
    name = f"b0000_{sha256(image(1))[:16]}"
    answer(tmp_path, 0, [name], [[1, 2, 3]])
    path = tmp_path / "responses" / "block000.mat"
    whole = path.read_bytes()
    for n in (0, 40, 200, len(whole) - 3):
        path.write_bytes(whole[:n])
        assert rig.collect() == []
    path.write_bytes(whole)
    assert len(rig.collect()) == 1


def test_numbers_go_on_after_a_restart(rig, tmp_path):
    ask(rig, 1, image(1))
    hand_over(rig)
    again = XDreamFolder(
        tmp_path / "images", tmp_path / "responses", channels=3, display=SCREEN, clock=Clock()
    )
    again.clock = again._clock
    ask(again, 1, image(1), attempt=2)
    hand_over(again)
    assert (tmp_path / "images" / "block001").is_dir()


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
