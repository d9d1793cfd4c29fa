"""The engine, with tasks of another kind than sessions: whoever dies, and whoever else runs."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evolver.campaign import run, scratch
from evolver.campaign.claims import claimed
from evolver.campaign.run import DIED_TWICE, TaskEnd, done_here, run_waves
from evolver.campaign.scratch import clear_scratch, scratch_folder
from evolver.campaign.store import AnyResult, Facts, Store
from tests.children import child, kill


@dataclass(frozen=True)
class Number:
    digest: str
    levels: dict


@dataclass(frozen=True)
class Digits:
    """Each task's result is its digest's first number; 13 ends its process, 7 is refused.

    5 leaves its process in another folder.
    """

    digests: tuple

    def run(self, due, store):
        ends = []
        for digest in due:
            number = int(digest[:2], 16)
            if number == 13:
                os._exit(1)
            if number == 5:
                os.chdir(tempfile.gettempdir())
            if number == 7:
                ends.append(TaskEnd(digest, store.keep_failure(digest, ValueError("seven"))))
                continue
            store.keep(AnyResult(Facts(digest), {"number": np.array([number])}))
            ends.append(TaskEnd(digest))
        return ends


@dataclass(frozen=True)
class Numbers:
    """A plan of such tasks."""

    tasks: tuple

    kind, name, columns = "numbers", "few", ("number",)


def made(folder, *numbers):
    """Return a campaign's folder with a plan of numbers."""
    store = Store(folder, make=True)
    store.keep_plan(Numbers(tuple(task(number) for number in numbers)))
    assert [t.levels for t in store.plan().tasks] == [{"number": str(n)} for n in numbers]
    return store


def task(number):
    return Number(f"{number:02x}" * 32, {"number": str(number)})


def digits(wave):
    return Digits(tuple(task.digest for task in wave))


def test_who_ends_its_process_costs_those_beside_it_nothing(tmp_path):
    store, ended = made(tmp_path, 1, 13, 2, 3, 7, 4), []
    waves = [[task(n) for n in wave] for wave in ((1, 13, 2), (3, 7), (4,))]
    ends = run_waves(store, waves, digits, workers=2, report=ended.append)
    assert ended == ends
    said = {int(end.digest[:2], 16): end.failed for end in ends}
    assert said == {1: "", 2: "", 3: "", 4: "", 7: "ValueError: seven", 13: DIED_TWICE}
    assert len(ends) == 6
    assert store.failed().keys() == {task(7).digest, task(13).digest}
    for number in (1, 2, 3, 4):
        result = store.read(task(number).digest, Facts)
        np.testing.assert_array_equal(result.arrays["number"], [number])


def test_results_land_in_their_folder_whatever_folder_the_work_goes_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = made(Path("here"), 5, 1)
    ends = run_waves(store, [[task(5)], [task(1)]], digits, workers=1)
    assert {end.failed for end in ends} == {""}
    assert store.sound() == {task(5).digest, task(1).digest}


def test_why_a_task_failed_is_kept_with_its_traceback_whatever_its_words(tmp_path):
    store = made(tmp_path, 7)
    try:
        raise ValueError("of a name that is no text: \udc80")
    except ValueError as error:
        short = store.keep_failure(task(7).digest, error)
    assert short == "ValueError: of a name that is no text: ·"
    kept = (tmp_path / "failed" / f"{task(7).digest}.txt").read_text()
    first, _, traceback, *_ = kept.splitlines()
    assert first == short
    assert traceback.startswith("Traceback")
    assert 'raise ValueError("of a name that is no text' in kept
    assert store.failed().keys() == {task(7).digest}


def hold(folder, connection, lands):
    """Have task 1 as another run has it, and do it, or not."""
    store = Store(folder)
    with claimed(folder, [task(1).digest]) as mine:
        connection.send(mine)
        connection.recv()
        if lands:
            digits([task(1)]).run(mine, store)


@pytest.mark.parametrize("how", ["lands", "gives up", "dies"])
def test_what_another_run_has_is_left_to_it_and_done_here_only_where_it_does_not_land(
    how, tmp_path, monkeypatch
):
    store = made(tmp_path, 1, 2, 3)
    receiver, sender = pipe_both()
    other = child(hold, tmp_path, sender, how == "lands")
    assert receiver.recv() == (task(1).digest,)
    written, looked = {}, []

    def look(_):
        """Let the other run go on once this one waits for it."""
        looked.append(store.done())
        if other.is_alive():
            if how == "dies":
                kill(other)
            else:
                receiver.send("go on")
            other.join()
        written.update({p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/*")})

    monkeypatch.setattr(run.time, "sleep", look)
    ends = run_waves(store, [[task(1), task(2)], [task(3)]], digits, elsewhere=done_here)
    assert looked[0] == {task(2).digest, task(3).digest}
    assert sorted(ends, key=lambda end: end.digest) == [
        TaskEnd(task(n).digest) for n in (1, 2, 3)
    ]
    assert store.sound() == {task(n).digest for n in (1, 2, 3)}
    assert (store.path(task(1).digest) in written) == (how == "lands")
    assert (
        written.items()
        <= {p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/*")}.items()
    )


def pipe_both():
    """Return two ends, each to send and to receive with."""
    return multiprocessing.get_context("forkserver").Pipe()


def in_scratch(temporary, connection):
    tempfile.tempdir = temporary
    with scratch_folder() as folder:
        (folder / "large").write_bytes(bytes(1000))
        connection.send(folder)
        connection.recv()


def test_what_killed_processes_left_is_taken_away_and_what_others_use_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_YOUNG_S", -1.0)
    folders, processes, connections = [], [], []
    for _ in range(2):
        receiver, sender = pipe_both()
        processes.append(child(in_scratch, str(tmp_path), sender))
        folders.append(receiver.recv())
        connections.append(receiver)
    (tmp_path / "evolver-task-of-somebody").mkdir()
    kill(processes[0])
    assert folders[0].is_dir()
    clear_scratch.cache_clear()
    with scratch_folder() as folder:
        assert list(folder.iterdir()) == []
        assert not folders[0].parent.exists()
        assert (folders[1] / "large").is_file()
    assert not folder.exists()
    connections[1].send("go on")
    processes[1].join()
    assert [path.name for path in tmp_path.iterdir()] == ["evolver-task-of-somebody"]
