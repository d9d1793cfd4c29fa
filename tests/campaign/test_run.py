"""Campaigns run: every task once, whatever dies meanwhile."""

from __future__ import annotations

import csv
import os
import signal
import sys
from functools import partial

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from evolver.campaign.gathered import gather_results
from evolver.campaign.plan import read_campaign
from evolver.campaign.run import run_plan
from evolver.campaign.store import Store, TaskResult
from evolver.campaign.table import MEASURES, rows, save_table
from evolver.campaign.task import WeightDigests, run_task
from evolver.cli.campaign import stoppable
from evolver.errors import ConfigError, RecordingError
from tests.campaign.files import CAMPAIGN, write
from tests.children import Command, evolver
from tests.cli.running import run_here
from tests.limits import PATIENCE_S, wait_until


def plan_of(folder, last):
    return read_campaign(write(folder, CAMPAIGN.format(last=last)), weights=WeightDigests())


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A campaign of three tasks that has run."""
    folder = tmp_path_factory.mktemp("campaign")
    plan = plan_of(folder, 3)
    store = Store(folder / "out", make=True)
    outcomes = run_plan(plan, store, workers=2)
    return folder, plan, store, outcomes


def same(one, other):
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(values, other.arrays[name])


def test_every_task_has_the_result_that_it_has_by_itself(campaign):
    _, plan, store, outcomes = campaign
    assert sorted(o.digest for o in outcomes) == sorted(t.digest for t in plan.tasks)
    assert not any(o.failed for o in outcomes)
    task = plan.tasks[1]
    same(store.result(task.digest), run_task(plan.config(task), task.digest))
    result = store.result(task.digest)
    assert result.arrays["mean-0"].shape == (2,)
    assert result.arrays["image-0"].shape == (64, 64, 3)
    assert result.meta.units == ("spikes/s",)


def test_what_is_there_is_not_run_again_and_a_longer_plan_runs_what_is_new(campaign):
    folder, plan, store, _ = campaign
    before = {t.digest: store.path(t.digest).stat().st_mtime_ns for t in plan.tasks}
    assert run_plan(plan, store, workers=1) == []
    longer = plan_of(folder, 4)
    (new,) = run_plan(longer, store, workers=1)
    assert new.digest not in before
    assert len(store.done()) == 4
    assert before == {d: store.path(d).stat().st_mtime_ns for d in before}


def test_a_table_has_a_row_a_task_and_thread(campaign, tmp_path):
    _, _, store, _ = campaign
    gathered = gather_results(store)
    save_table(gathered.columns, gathered.rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert len(gathered.rows) == len(read) == len(store.plan().tasks)
    assert list(read[0]) == ["seed", *MEASURES]
    first = store.result(read[0]["digest"])
    assert float(read[0]["first"]) == first.arrays["mean-0"][0]
    assert float(read[0]["best"]) == first.arrays["best-0"].max()
    # Of two generations the last is the second; the first is none of what it changed to.
    assert float(read[0]["last"]) == first.arrays["mean-0"][1]
    assert float(read[0]["change"]) == first.arrays["mean-0"][1] - first.arrays["mean-0"][0]
    save_table(gathered.columns, gathered.rows, tmp_path / "table.parquet")
    assert parquet.read_table(tmp_path / "table.parquet").to_pylist() == list(rows(store))
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        save_table(gathered.columns, gathered.rows, tmp_path / "table.xls")


def test_a_task_that_cannot_be_run_says_why_and_harms_no_other(tmp_path):
    text = CAMPAIGN.format(last=1)
    text += '[[vary]]\nkey = "simulation.view_deg"\nvalues = [8.0]\n'
    text += '[[vary]]\nkey = "references.source"\nvalues = ["nowhere", "builtin"]\n'
    plan = read_campaign(write(tmp_path, text), weights=WeightDigests())
    store = Store(tmp_path / "out", make=True)
    outcomes = {o.digest: o.failed for o in run_plan(plan, store, workers=2)}
    bad, good = plan.tasks
    assert "nowhere" in outcomes[bad.digest]
    assert "nowhere" in store.failed()[bad.digest]
    assert outcomes[good.digest] == ""
    assert store.done() == {good.digest}


def test_damaged_files_are_named_with_what_to_do(campaign, tmp_path):
    _, plan, store, _ = campaign
    other = Store(tmp_path / "other", make=True)
    other.keep_plan(plan)
    path = other.path(plan.tasks[0].digest)
    path.parent.mkdir(parents=True)
    whole = store.path(plan.tasks[0].digest).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"PK" + whole[2:200]):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="makes it again"):
            other.result(plan.tasks[0].digest)
        assert other.done() == {plan.tasks[0].digest}
        assert other.sound() == set()
    sound = store.result(plan.tasks[0].digest)
    for changed, said in (
        ({"image-0": np.zeros((3, 3), np.float32)}, "must be an image"),
        ({"mean-0": sound.arrays["mean-0"][:1]}, "a number of each generation"),
    ):
        other.keep(TaskResult(sound.meta, {**sound.arrays, **changed}))
        with pytest.raises(RecordingError, match=said):
            other.result(plan.tasks[0].digest)
        assert gather_results(other).damaged == 1
    written = (tmp_path / "other" / "plan.json").read_text()
    raw = msgspec.json.decode(written)
    bare = [{**task, "levels": {}} for task in raw["tasks"]]
    for broken in ("{", {**raw, "tasks": bare}, {**raw, "tasks": raw["tasks"] * 2}):
        text = broken if isinstance(broken, str) else msgspec.json.encode(broken).decode()
        (tmp_path / "other" / "plan.json").write_text(text)
        with pytest.raises(RecordingError, match=r"plan\.json"):
            other.plan()
    with pytest.raises(RecordingError, match="campaign run"):
        Store(tmp_path)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command of campaigns in this process."""
    return partial(run_here, monkeypatch, capsys, "campaign")


def test_what_is_damaged_or_of_another_task_is_said_and_made_again(campaign, tmp_path, run):
    folder, plan, store, _ = campaign
    first, second, third = (store.path(task.digest).read_bytes() for task in plan.tasks)
    other = Store(tmp_path / "other", make=True)
    for task, content in zip(plan.tasks, (second, first, third[:-30]), strict=True):
        other.path(task.digest).parent.mkdir(parents=True, exist_ok=True)
        other.path(task.digest).write_bytes(content)
    other.keep_plan(plan)
    with pytest.raises(RecordingError, match="the result of another task"):
        other.result(plan.tasks[0].digest)
    other.path(plan.tasks[2].digest).write_bytes(third)
    other.keep_failure(plan.tasks[1].digest, "the light\x1b[31m\nwent out")
    said = run("status", other.folder)
    assert "1 of 3 tasks done, 1 failed; 2 damaged, which a run makes again" in said
    assert "the light·[31m" in said
    plan_of(folder, 3)  # the file as it was: another test makes it longer
    said = run("run", folder / "campaign.toml", "--out", other.folder, "--plan")
    assert "3 tasks, 2 to run" in said
    said = run("gather", other.folder)
    assert "1 rows in" in said
    assert "2 of 3 tasks have no row: 1 failed, 2 are damaged, 0 are not done" in said
    other.path(plan.tasks[2].digest).write_bytes(third[:-30])
    printed = evolver("campaign", "run", folder / "campaign.toml", "--out", other.folder)
    assert "0 done before" in printed
    assert "3 of them are damaged, and are made again" in " ".join(printed.split())
    for task in plan.tasks:
        same(other.result(task.digest), store.result(task.digest))


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_ctrl_c_says_what_it_does_and_a_second_is_as_ever(tmp_path, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), stoppable(tmp_path / "[b]"):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    said = " ".join(capsys.readouterr().err.split())
    assert "[b]: the same command goes on from there" in said


def test_a_process_that_is_killed_costs_nothing_and_a_killed_run_goes_on(campaign, tmp_path):
    _, _, undisturbed, _ = campaign
    file = write(tmp_path, CAMPAIGN.format(last=3))
    out = tmp_path / "out"
    command = Command(("campaign", "run", file, "--out", out, "--workers", "2"), os.environ)
    with command.stdout:
        wait_until(lambda: len(working(command.pid)) == 2)
        workers = working(command.pid)
        os.kill(workers[0], signal.SIGKILL)
        printed = command.stdout.read()
    assert command.wait(PATIENCE_S) == 0, printed
    store = Store(out)
    assert len(store.done()) == 3
    for task in store.plan().tasks:
        same(store.result(task.digest), undisturbed.result(task.digest))

    again = tmp_path / "again"
    command = Command(("campaign", "run", file, "--out", again, "--workers", "2"), os.environ)
    with command.stdout:
        wait_until(lambda: len(working(command.pid)) == 2)
        workers = working(command.pid)
        os.kill(command.pid, signal.SIGKILL)
    command.wait(PATIENCE_S)
    wait_until(lambda: not any(alive(pid) for pid in workers))
    said = evolver("campaign", "status", again)
    assert "of 3 tasks done" in said
    evolver("campaign", "run", file, "--out", again, "--workers", "1")
    evolver("campaign", "gather", again)
    with (again / "table.csv").open(encoding="utf-8") as table:
        assert len(list(csv.DictReader(table))) == 3


def working(pid):
    """Return the processes of a run that take its tasks: forked of one that it began."""
    pids = [int(path) for path in os.listdir("/proc") if path.isdigit()]
    return [one for one in pids if parent_of(parent_of(one)) == pid and alive(one)]


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
