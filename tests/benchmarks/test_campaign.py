"""A plan from the command line: killed and gone on with, nothing twice, all written down."""

import csv
import io
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from rich.console import Console

from benchmarks.optimizers import campaign, contestants, plan
from benchmarks.optimizers.__main__ import main
from benchmarks.optimizers.added import check_added, parse_contestant
from benchmarks.optimizers.outcomes import RunFacts, as_outcome, as_result
from benchmarks.optimizers.page_text import settings
from benchmarks.optimizers.run import Group, play
from benchmarks.optimizers.worlds import MINI, own_world
from evolver.campaign.gathered import gather_results
from evolver.campaign.run import done_here
from evolver.campaign.store import Store
from evolver.errors import ConfigError
from evolver.generators.scale import code_scale
from evolver.numpy_files import archive_bytes
from tests.benchmarks.made import Fixed, Flat
from tests.campaign.machines import machines
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


def results(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("results/*/*.npz")}


@pytest.mark.soak
def test_a_killed_run_is_gone_on_with_and_finds_what_it_would_have_found(tmp_path):
    process = start(tmp_path)
    children = []

    def two_results():
        nonlocal children
        assert process.poll() is None, process.stdout.read()
        children = psutil.Process(process.pid).children(recursive=True) or children
        return len(results(tmp_path)) >= 2

    wait_until(two_results)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert gone
    assert not alive, "a worker outlived its parent"
    landed = results(tmp_path)
    damaged = max(landed)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    del landed[damaged]

    assert main([*COMMAND[3:], "--workers", "1", "--out", str(tmp_path)]) == 0
    assert landed.items() <= results(tmp_path).items()
    store = Store(tmp_path)
    planned = store.plan()
    assert planned.factors == ("world", "unit", "noise", "seed", "optimizer")
    assert store.sound() == {task.digest for task in planned.tasks}
    assert len(planned.tasks) == 6
    for task in planned.tasks:
        outcome = as_outcome(store.read(task.digest, RunFacts))
        assert (outcome.spec.optimizer, outcome.spec.noise) == (
            task.levels["optimizer"],
            task.levels["noise"],
        )
        target = {"cholesky": "cholesky", "fixed": "tests.benchmarks.made:Fixed"}
        one = contestants.Contestant(
            outcome.spec.optimizer,
            target[outcome.spec.optimizer],
            tuple(outcome.spec.options.items()),
        )
        (again,) = play(Group((outcome.spec,), (one,), "cpu"))
        assert again.curve.generation_best == outcome.curve.generation_best
        assert again.curve.mean_image == outcome.curve.mean_image
        assert again.finals == outcome.finals
    with pytest.raises(ConfigError, match="it holds runs of optimizers"):
        gather_results(store)

    with (tmp_path / "generations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2
    assert {row["evaluations"] for row in rows} == {"8", "16"}
    assert len({(row["run"], row["generation"]) for row in rows}) == 12
    assert {row["layer"] for row in rows} == {"fc5"}


def test_who_is_told_to_end_says_so(monkeypatch, tmp_path, capsys):
    """As a Ctrl-C: a batch system sends SIGTERM before it kills."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        campaign, "run_plan", lambda *_, **__: signal.raise_signal(signal.SIGTERM)
    )
    assert main([*COMMAND[3:], "--out", str(tmp_path)]) == 130
    assert "The same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.soak
def test_a_run_that_is_told_to_end_ends_and_leaves_nothing(tmp_path):
    process = start(tmp_path)

    def working():
        assert process.poll() is None, process.stdout.read()
        return results(tmp_path)

    wait_until(working)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)
    if process.returncode != 0:  # unless it was done before
        assert process.returncode == 130
        assert "Interrupted. The same command goes on" in said
    assert "leaked" not in said


@pytest.mark.soak  # tests/campaign/test_run.py asks it of any tasks
def test_what_is_there_is_not_run_again(tmp_path, capsys):
    arguments = [*COMMAND[3:], "--workers", "1", "--out", str(tmp_path), "--noise", "0"]
    assert main(arguments) == 0
    landed = results(tmp_path)
    said = capsys.readouterr().out
    assert main(arguments) == 0
    assert results(tmp_path) == landed
    printed = capsys.readouterr()
    assert printed.out == said
    assert "2 runs, 2 done before" in printed.err


@pytest.mark.soak
def test_runs_on_a_cluster_are_those_of_this_machine(tmp_path, capsys):
    one = [*COMMAND[3:], "--noise", "0.2", "--generations", "1"]
    assert main([*one, "--workers", "1", "--out", str(tmp_path / "here")]) == 0
    said = capsys.readouterr().out
    with machines(tmp_path, 1) as (_, _, address):
        assert main([*one, "--cluster", address, "--out", str(tmp_path / "there")]) == 0
    there = capsys.readouterr().out
    assert said == there
    runs = [(tmp_path / name / "runs.csv").read_bytes() for name in ("here", "there")]
    assert runs[0] == runs[1]
    assert runs[0].count(b"\n") == 3


class Ends(Fixed):
    """Takes its process with it."""

    def ask(self):
        os._exit(1)


@pytest.mark.soak
def test_who_ends_the_process_is_said_to_have_and_the_others_are_run(tmp_path):
    ends = contestants.Contestant("ends", "tests.benchmarks.test_campaign:Ends")
    fixed = contestants.Contestant("fixed", "tests.benchmarks.made:Fixed")
    chosen = replace(
        plan.preset("quick", unit_set="training", device="cpu"),
        worlds=(MINI,), units=("mini:fc5:3",), noises=("0",), contestants=(fixed, ends),
        generations=1, popsize=4,
    )  # fmt: skip
    due, store = plan.spell_out(chosen), Store(tmp_path, make=True)
    console = Console(file=io.StringIO())
    run, lost = campaign.run_plan(chosen, due, store, workers=1, console=console)
    assert (run.spec.optimizer, run.failed) == ("fixed", "")
    assert "its process died" in lost.failed
    assert store.failed().keys() == {lost.key}
    assert store.done() == {run.key}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quick", "--noise", "0,loud"], "noise must be"),
        (["quick", "--only", "nobody"], "must be one of cholesky"),
        (["quick", "--only", "choleski"], "got choleski; did you mean 'cholesky'?"),
        (["quick", "--generator", "minitexture"], "; did you mean 'mini-texture'?"),
        (["quik"], "got 'quik'; did you mean 'quick'?"),
        (["quick", "--add", "no_such_module:Mine"], "must be importable"),
        (["quick", "--add", "cholesky sigma=2.0"], "comes twice"),
        (["quick", "--unit", "mini:fc5:9999"], "channels 0 to 255"),
        (["quick", "--generator", "no-such"], "one of upconv/8 and upconv-full/8"),
        (["quick", "--generator", "mini-texture", "--norm", "-8"], "above 0, the length"),
        (["quick", "--generator", "mini-texture", "--norm", "nan"], "above 0, the length"),
        (["quick", "--generator", "mini-texture", "--norm", "inf"], "above 0, the length"),
        (["quick", "--generator", "mini-texture", "--norm", "0"], "above 0, the length"),
        (["quick", "--norm", "8"], "--norm is that of --generator"),
        (["quick", "--generator", "a:x", "--generator", "b:x"], "x comes twice"),
        (["slow"], "preset must be"),
        (["quick", "--device", "cuda:7"], "device must be"),
        (["quick", "--noise", ""], "--noise must name at least one; got ''"),
        (["quick", "--only", " "], "--only must name at least one; got ' '"),
        (["quick", "--add", "sep sigma=nan"], "must be finite"),
        (["quick", "--add", "tests.benchmarks.made:Fixed axes.k=3"], "a parameter axes"),
        (["quick", "--unit", "tests.benchmarks.made:odd@quits"], "SystemExit: 4"),
        (["quick", "--cluster", "local"], "must be the address of a Dask scheduler"),
        (
            ["quick", "--cluster", "tls://a:1", "--workers", "2"],
            "--workers is for this machine",
        ),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert message in said
    assert not list(tmp_path.iterdir())


FLAT = (
    *("quick", "--generator", "tests.benchmarks.made:flat", "--norm", "1"),
    *("--noise", "0", "--generations", "2", "--popsize", "8", "--no-cost"),
)


@pytest.fixture
def here(monkeypatch):
    """Run everything in this process."""
    run_waves = campaign.run_waves
    monkeypatch.setattr(
        campaign,
        "run_waves",
        lambda *arguments, **options: run_waves(
            *arguments, **{**options, "elsewhere": done_here}
        ),
    )


@pytest.mark.usefixtures("here")
def test_what_failed_and_who_was_driven_nowhere_is_said_everywhere(tmp_path, capsys):
    units = ["brightness@red", "odd@less-0"]
    named = [word for unit in units for word in ("--unit", f"tests.benchmarks.made:{unit}")]
    breaks = "tests.benchmarks.made:Breaks"
    arguments = [*FLAT, *named, "--only", "cholesky", "--add", breaks, "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    left_out = (
        "unit tests.benchmarks.made:odd@less-0: no score of it counts: nobody drove it above "
        "the references' median, which is 0; the best was \N{MINUS SIGN}2.00 in flat"
    )
    assert left_out in " ".join(printed.out.split())
    assert f"\n- {left_out}\n" in (tmp_path / "tables.md").read_text(encoding="utf-8")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<td>unit tests.benchmarks.made:odd@less-0</td><td>no score of it counts" in page
    last = printed.err.splitlines()[-1]
    assert last == "2 of 4 runs failed: the reasons stand under 'Left out'"
    assert "Breaks: 2 runs failed" in printed.out


@pytest.mark.usefixtures("here")
def test_where_no_run_succeeds_the_command_fails(tmp_path, capsys):
    unit = ("--unit", "tests.benchmarks.made:odd@nan-0")
    assert main([*FLAT, *unit, "--only", "cholesky", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "cholesky: 1 run failed" in printed.out
    assert "No run succeeded of 1: the reasons stand under 'Left out'" in " ".join(
        printed.err.split()
    )


def test_a_folder_that_cannot_be_one_is_said(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    unit = ("--unit", "tests.benchmarks.made:brightness@red")
    for place in (file, file / "within"):
        assert main([*FLAT, *unit, "--out", str(place)]) == 2
        assert "--out must be a folder" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_full_disk_leaves_results_and_no_part_of_a_file(tmp_path, capsys):
    arguments = [
        *(*FLAT, "--unit", "tests.benchmarks.made:brightness@red", "--only", "cholesky"),
        *("--out", str(tmp_path)),
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # results are smaller
    try:
        assert main(arguments) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = " ".join(capsys.readouterr().err.split())
    assert "A file cannot be written or read:" in printed
    assert "runs that are finished are kept there" in printed
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if name.startswith(".") or name.endswith(".png")]
    assert len(results(tmp_path)) == 1
    assert main(arguments) == 0
    assert "1 runs, 1 done before" in capsys.readouterr().err


def flat_plan():
    fixed = contestants.Contestant("fixed", "tests.benchmarks.made:Fixed")
    quick = plan.preset("quick", unit_set="training", device="cpu")
    chosen = replace(
        quick, worlds=(own_world("tests.benchmarks.made:flat", norm=1.0),), noises=("0",),
        units=("tests.benchmarks.made:brightness@red",), generations=1, popsize=4,
        contestants=(fixed, replace(fixed, label="twin")),
    )  # fmt: skip
    return chosen, plan.spell_out(chosen)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("damage", ["facts", "curve", "finals"])
def test_a_result_that_cannot_be_read_back_is_made_again(damage, tmp_path):
    chosen, due = flat_plan()
    store = Store(tmp_path, make=True)
    console = Console(file=io.StringIO())
    first, other = campaign.run_plan(chosen, due, store, workers=1, console=console)
    landed = results(tmp_path)
    kept = store.read(first.key, RunFacts)
    meta = msgspec.to_builtins(kept.meta)
    if damage == "facts":
        meta["finals"]["best"] = None  # as a number that is not finite is written
    elif damage == "finals":
        del meta["finals"]["best"]
    arrays = {"curve": kept.arrays["curve"][1:] if damage == "curve" else kept.arrays["curve"]}
    content = np.frombuffer(msgspec.json.encode(meta), dtype=np.uint8)
    store.path(first.key).write_bytes(archive_bytes({"meta": content, **arrays}))
    assert store.has(first.key)
    again = campaign.run_plan(chosen, due, store, workers=1, console=console)
    assert [o.finals for o in again] == [first.finals, other.finals]
    assert [o.curve.best for o in again] == [first.curve.best, other.curve.best]
    assert as_outcome(store.read(first.key, RunFacts)).finals == first.finals
    path = store.path(other.key)
    assert results(tmp_path)[path] == landed[path]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("how", ["quit", "raise", "wide"])
def test_a_unit_that_fails_is_said_of_every_run_and_tried_again(how, tmp_path):
    chosen, _ = flat_plan()
    chosen = replace(chosen, units=(f"tests.benchmarks.made:odd@{how}-0",))
    due, store = plan.spell_out(chosen), Store(tmp_path, make=True)
    runs = campaign.run_plan(chosen, due, store, workers=1, console=Console(file=io.StringIO()))
    why = {
        "quit": "SystemExit: 4",
        "raise": "ArithmeticError: too bright",
        "wide": "DataError: .*odd@wide-0 must give numbers of shape .*, 1.; it gives float64",
    }[how]
    assert all(re.match(why, run.failed) for run in runs)
    assert len(runs) == 2
    assert store.failed().keys() == {run.key for run in runs}


@pytest.mark.usefixtures("here")
def test_a_result_that_never_can_be_is_left_out_by_name(tmp_path, monkeypatch):
    def broken(outcome):
        if outcome.spec.optimizer == "twin":
            outcome.finals["best"] = float("nan")
        return as_result(outcome)

    monkeypatch.setattr(campaign, "as_result", broken)
    chosen, due = flat_plan()
    store, console = Store(tmp_path, make=True), Console(file=io.StringIO())
    for _ in range(2):
        fine, lost = campaign.run_plan(chosen, due, store, workers=1, console=console)
        assert fine.failed == ""
        assert lost.spec.optimizer == "twin"
        assert lost.failed.startswith("its result cannot be read back: ")
        assert "Expected `float`, got `null`" in lost.failed


SPENDING = "benchmarks.optimizers.spending:Spending"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("x=snes sigmaa=3.0", "x: optimizer 'snes' takes the options sigma, eta_mu"),
        ("x=snes sigma=-1", "x: sigma must be a number > 0"),
        ("x=snes sigma=nan", "'nan' must be finite"),
        ("x=snes rng=3", "every optimizer is given its rng"),
        ("x=snes sigma={a=1}", "must be a number, true, false, a text"),
        ("x=hessian axes.k=3", "x: axes must not come with a basis"),
        ("x=snes axes.q=3", "x: axes.q: is not a key here"),
        ("x=snes axes.source=none.npz", "there is none called 'none.npz'"),
        ("x=adam", "must learn from scores here"),
        (f"x={SPENDING} policy=nope", "x: policy must be one of once"),
        (f"x={SPENDING} optimizer=snez", "did you mean 'snes'?"),
        (f"x={SPENDING} sigmaa=3.0", "x: optimizer 'snes' takes the options sigma"),
        ("x=tests.benchmarks.made:Fixed extra=many", "with extra = 'many' it failed"),
    ],
)
def test_an_option_that_cannot_be_is_said_before_anything_is_run(
    added, message, tmp_path, capsys
):
    small = [*COMMAND[3:], "--workers", "1", "--out", str(tmp_path)]
    assert main([*small, "--add", added]) == 2
    assert message in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


class Flatland(Fixed):
    """Cannot be made in many dimensions."""

    def __init__(self, d, **options):
        if d > 2:
            raise ValueError("two dimensions at most")
        super().__init__(d, **options)


def test_who_cannot_take_part_in_one_world_is_left_out_there():
    bases = [
        "cholesky sigma=3.0",
        "few=snes axes.source=first-layer axes.k=3",
        f"flat={__name__}:Flatland",
    ]
    chosen = replace(
        plan.preset("quick", unit_set="training", device="cpu"),
        worlds=(MINI, own_world("tests.benchmarks.made:flat", norm=2.0)),
        units=("tests.benchmarks.made:brightness@red",),
        noises=("0",),
        contestants=tuple(parse_contestant(text) for text in bases),
    )
    due = plan.spell_out(chosen)
    assert {(world, label) for world, label, _ in due.skipped} == {
        ("flat", "few"), (MINI.name, "flat")
    }  # fmt: skip
    reasons = {label: reason for _, label, reason in due.skipped}
    assert "flat has no first linear layer" in reasons["few"]
    assert reasons["flat"] == "it cannot be made: ValueError: two dimensions at most"
    assert due.axes == {(MINI.name, "few"): 3}
    lonely = replace(chosen, worlds=(MINI,))
    with pytest.raises(ConfigError, match="flat: it cannot be made: ValueError: two dim"):
        plan.spell_out(lonely)


def test_usual_is_what_a_session_gets_in_each_world():
    texts = ["cholesky sigma=3.0", "usual", "own=usual sigma=4.0", "snes-8=snes sigma=8.0"]
    chosen = replace(
        plan.preset("quick", unit_set="training", device="cpu"),
        worlds=(MINI, own_world("tests.benchmarks.made:flat", norm=2.0)),
        units=("tests.benchmarks.made:brightness@red",),
        noises=("0",),
        contestants=tuple(parse_contestant(text) for text in texts),
    )
    for contestant in chosen.contestants:
        check_added(contestant)
    due = plan.spell_out(chosen)
    made = {(s.world, s.optimizer): (s.target, s.options, s.code) for s, _ in due.runs}
    step = code_scale(Flat()).step
    assert made[MINI.name, "usual"][:2] == ("snes", {"sigma": 8.0})
    assert made["flat", "usual"][:2] == ("cholesky", {"sigma": step})
    assert made["flat", "own"][:2] == ("cholesky", {"sigma": 4.0})
    assert made[MINI.name, "usual"] == made[MINI.name, "snes-8"]
    rows = {label: options for label, _, options, _ in settings(chosen, due)}
    assert rows["usual"] == f"mini-texture: snes, sigma = 8.0; flat: cholesky, sigma = {step}"
    assert rows["snes-8"] == "sigma = 8.0"


def test_settings_are_numbers_of_their_worlds():
    chosen = replace(
        plan.preset("quick", unit_set="training", device="cpu"),
        worlds=(MINI, own_world("tests.benchmarks.made:flat", norm=2.0)),
        units=("tests.benchmarks.made:brightness@red",),
        noises=("0",),
        contestants=(
            *contestants.find_contestants(["cholesky", "random", "sphere-exp"]),
            parse_contestant("along=snes sigma=5.0 axes.k=16"),
        ),
    )
    rows = {label: cells for label, *cells in settings(chosen, plan.spell_out(chosen))}
    d = chosen.worlds[1].norm / Flat().d ** 0.5
    assert rows["random"][1] == f"mini-texture: sigma = 9.375; flat: sigma = {d:.4g}"
    assert "radius = 150.0, generations = 8" in rows["sphere-exp"][1]
    assert rows["along"][1:] == [
        "sigma = 5.0, axes.k = 16", "16 of 256 dimensions, metric (mini-texture)"
    ]  # fmt: skip


def test_axes_of_a_generator_that_has_none_are_left_out():
    along = parse_contestant("along=snes sigma=1.0 axes.energy=0.9")
    (cholesky,) = contestants.find_contestants(["cholesky"])
    for factory, reason in (("rough", "has none. Write it"), ("broken", "KeyError: 'lost'")):
        chosen = replace(
            plan.preset("quick", unit_set="training", device="cpu"),
            worlds=(own_world(f"tests.benchmarks.made:{factory}", norm=2.0),),
            units=("tests.benchmarks.made:brightness@red",),
            noises=("0",),
            contestants=(cholesky, along),
        )
        due = plan.spell_out(chosen)
        assert [spec.optimizer for spec, _ in due.runs] == ["cholesky"]
        ((world, label, said),) = due.skipped
        assert (world, label) == (factory, "along")
        assert reason in said
    with pytest.raises(ConfigError, match="before 'mini:fc5:3' a generator must have"):
        plan.spell_out(
            replace(
                chosen,
                worlds=(own_world("tests.benchmarks.made:rough"),),
                units=("mini:fc5:3",),
            )
        )


def test_presets_are_what_they_say():
    published = plan.preset("published", unit_set="held-apart", device="cpu")
    assert (published.generations, published.seeds, published.start) == (75, 5, "zeros")
    assert published.noises == ("0", "0.2", "0.5")
    standard = plan.preset("standard", unit_set="training", device="cuda:0")
    assert [w.generator for w in standard.worlds] == [
        "mini-texture", "upconv/1", "upconv-full/1", "mini-texture"
    ]  # fmt: skip
    quick = plan.preset("quick", unit_set="training", device="cpu")
    assert [w.generator for w in quick.worlds] == ["mini-texture", "upconv/8"]
    assert not set(quick.units) & set(published.units)
    few = plan.preset("standard", unit_set="training", device="cpu", per_layer=1)
    assert set(few.units) < set(standard.units)
    assert len(standard.units) == 5 * len(few.units)
    for one in (published, standard, quick):
        assert one.contestants[0].label == contestants.BASELINE


def test_a_plan_nobody_can_take_part_in_is_refused():
    quick = plan.preset("quick", unit_set="training", device="cpu")
    lonely = plan.replace(
        quick, contestants=(contestants.Contestant("a", "cholesky", library="no-such"),)
    )
    with pytest.raises(ConfigError, match="no-such is not installed"):
        plan.spell_out(lonely)
