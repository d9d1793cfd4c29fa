"""The command line: ``python -m benchmarks.optimizers``."""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy, torch and jax read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.optimizers import campaign, contestants, page, plan
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.store import Store
from benchmarks.optimizers.worlds import HELD_APART, TRAINING, own_world
from evolver.errors import EvolverError

OUT = Path(__file__).parents[1] / "out" / "optimizers"


def main(arguments: list[str] | None = None) -> int:
    """Run a plan, and write its tables and page; return the exit status."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        chosen = _plan(options)
        due = plan.spell_out(chosen)
        for world, label, reason in due.skipped:
            console.print(
                f"{world}: {label} is left out: {reason}", style="yellow", markup=False
            )
        store = Store(options.out / "runs.jsonl")
        workers = options.workers or _workers(chosen.device)
        outcomes = campaign.run(
            due, store, device=chosen.device, workers=workers, console=console
        )
        costs = [] if options.no_cost else campaign.costs(chosen, due, console=console)
        text = page.write(
            chosen, due, outcomes, costs, options.out, command=_command(arguments)
        )
    except EvolverError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on from the runs that are finished.")
        return 130
    print(text)
    return 0


def _command(arguments: list[str] | None) -> str:
    """Return the command line, without the place results go to."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    words = [word for word in words if not word.startswith("--out=")]
    return shlex.join(["python", "-m", "benchmarks.optimizers", *words])


def _workers(device: str) -> int:
    cores = os.cpu_count() or 1
    return cores if device == "cpu" else min(cores, 8)


def _plan(options: argparse.Namespace) -> plan.Plan:
    """Return the preset's plan with what the command line says otherwise."""
    chosen = plan.preset(
        options.preset,
        unit_set=options.units,
        device=options.device,
        per_layer=options.per_layer,
    )
    if options.only:
        chosen = plan.only(chosen, tuple(options.only.split(",")))
    added = [contestants.parse(text) for text in options.add]
    for one in added:
        contestants.check(one)
    chosen = replace(chosen, contestants=(*chosen.contestants, *added))
    contestants.refuse_twins(chosen.contestants)
    if options.generator:
        chosen = replace(
            chosen,
            worlds=tuple(own_world(g, norm=options.norm) for g in options.generator),
        )
    if options.unit:
        chosen = replace(chosen, unit_set="named", units=tuple(options.unit))
    if options.noise:
        noises = tuple(str(Noise.parse(name)) for name in options.noise.split(","))
        chosen = replace(chosen, noises=noises)
    for name in ("generations", "popsize", "seeds"):
        value = getattr(options, name)
        if value is not None:
            chosen = replace(chosen, **{name: value})
    if options.start:
        chosen = replace(chosen, start=options.start)
    return replace(chosen, at_norm=options.at_norm)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.optimizers",
        description="Which optimizer to trust at which noise.",
        epilog="Interrupted runs are continued by the same command.",
    )
    add = parser.add_argument
    add("preset", nargs="?", default="quick", help="quick (default), standard or published")
    add("--units", choices=(TRAINING, HELD_APART), default=HELD_APART, help="set of units")
    add("--per-layer", type=_positive, metavar="N", help="units of each layer")
    add(
        "--unit",
        action="append",
        metavar="NAME",
        help="this unit instead; may be repeated: mini:fc5:3, or module:factory@ARGUMENT",
    )
    add("--only", metavar="LABELS", help="these optimizers only, with commas; and cholesky")
    add(
        "--add",
        action="append",
        default=[],
        metavar="'[LABEL=]module:Class [OPTION=VALUE ...]'",
        help="enter an optimizer, or a known one with other options",
    )
    add(
        "--generator",
        action="append",
        metavar="NAME",
        help="a generator's name, upconv/WIDTH or module:factory instead of the preset's",
    )
    add("--norm", type=float, help="common code norm of --generator")
    add("--noise", metavar="LEVELS", help="with commas: 0,0.2,poisson-20")
    add("--seeds", type=_positive, help="runs of every unit, noise and optimizer")
    add("--generations", type=_positive, help="populations a run")
    add("--popsize", type=_positive, help="images a generation")
    add("--start", choices=("drawn", "zeros"), help="where runs start")
    add("--at-norm", action="store_true", help="render all codes at the common norm")
    add("--device", default="cpu", help="torch device of generator and units")
    add("--workers", type=_positive, help="processes (default: one a core)")
    add("--no-cost", action="store_true", help="do not measure seconds and memory")
    add("--out", type=Path, default=OUT, help=f"folder (default {OUT.name})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
