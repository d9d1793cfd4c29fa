"""A plan from the command line: killed and gone on with, nothing twice, all written down."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.optimizers import contestants, plan
from benchmarks.optimizers.__main__ import main
from benchmarks.optimizers.run import Group, play
from benchmarks.optimizers.outcomes import Store
from evolver.errors import ConfigError
from tests.limits import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]
COMMAND = [
    *(sys.executable, "-m", "benchmarks.optimizers", "quick", "--no-cost"),
    *("--only", "cholesky", "--add", "fixed=tests.benchmarks.made:Fixed"),
    *("--generator", "mini-texture", "--unit", "mini:fc5:3"),
    *("--noise", "0,0.2,poisson-20", "--generations", "2", "--popsize", "8"),
]


def start(folder):
    return subprocess.Popen(
        [*COMMAND, "--workers", "2", "--out", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_killed_run_is_gone_on_with_and_finds_what_it_would_have_found(tmp_path):
    results = tmp_path / "runs.jsonl"
    process = start(tmp_path)
    children = []

    def two_results():
        nonlocal children
        assert process.poll() is None, process.stdout.read()
        children = psutil.Process(process.pid).children(recursive=True) or children
        return results.exists() and results.read_bytes().count(b"\n") >= 2

    wait_until(two_results)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert gone
    assert not alive, "a worker outlived its parent"
    content = results.read_bytes()
    # As a kill in the middle of a line would leave it.
    results.write_bytes(content + content[:50])

    assert main([*COMMAND[3:], "--workers", "1", "--out", str(tmp_path)]) == 0
    assert results.read_bytes().startswith(content)
    found = Store(results).outcomes
    assert len(found) == 6
    for outcome in found.values():
        target = {"cholesky": "cholesky", "fixed": "tests.benchmarks.made:Fixed"}
        one = contestants.Contestant(
            outcome.spec.optimizer,
            target[outcome.spec.optimizer],
            tuple(outcome.spec.options.items()),
        )
        (again,) = play(Group((outcome.spec,), (one,), "cpu"))
        assert again.curve.generation_best == outcome.curve.generation_best
        assert again.curve.mean_image == outcome.curve.mean_image
        assert again.best_matched == outcome.best_matched

    with (tmp_path / "generations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2
    assert {row["evaluations"] for row in rows} == {"8", "16"}
    assert len({(row["run"], row["generation"]) for row in rows}) == 12
    assert {row["layer"] for row in rows} == {"fc5"}


def test_what_is_there_is_not_run_again(tmp_path, capsys):
    arguments = [*COMMAND[3:], "--workers", "1", "--out", str(tmp_path), "--noise", "0"]
    assert main(arguments) == 0
    content = (tmp_path / "runs.jsonl").read_bytes()
    said = capsys.readouterr().out
    assert main(arguments) == 0
    assert (tmp_path / "runs.jsonl").read_bytes() == content
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quick", "--noise", "0,loud"], "noise must be"),
        (["quick", "--only", "nobody"], "must be one of cholesky"),
        (["quick", "--add", "no_such_module:Mine"], "must be importable"),
        (["quick", "--add", "cholesky sigma=2.0"], "comes twice"),
        (["quick", "--unit", "mini:fc5:9999"], "channels 0 to 255"),
        (["quick", "--generator", "no-such"], "generator must be one of"),
        (["slow"], "preset must be"),
        (["quick", "--device", "cuda:7"], "device must be"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert message in said
    assert not list(tmp_path.iterdir())


def test_presets_are_what_they_say():
    published = plan.preset("published", unit_set="held-apart", device="cpu")
    assert (published.generations, published.seeds, published.start) == (75, 5, "zeros")
    assert published.noises == ("0", "0.2", "0.5")
    standard = plan.preset("standard", unit_set="training", device="cuda:0")
    assert [w.generator for w in standard.worlds] == ["mini-texture", "upconv/1"]
    quick = plan.preset("quick", unit_set="training", device="cpu")
    assert [w.generator for w in quick.worlds] == ["mini-texture", "upconv/8"]
    assert not set(quick.units) & set(published.units)
    few = plan.preset("standard", unit_set="training", device="cpu", per_layer=1)
    assert set(few.units) < set(standard.units)
    assert len(standard.units) == 2 * len(few.units)
    for one in (published, standard, quick):
        assert one.contestants[0].label == contestants.BASELINE


def test_a_plan_nobody_can_take_part_in_is_refused():
    quick = plan.preset("quick", unit_set="training", device="cpu")
    lonely = plan.replace(
        quick, contestants=(contestants.Contestant("a", "cholesky", library="no-such"),)
    )
    with pytest.raises(ConfigError, match="no-such is not installed"):
        plan.spell_out(lonely)
