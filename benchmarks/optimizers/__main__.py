"""The command line: ``python -m benchmarks.optimizers``."""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy, torch and jax read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import multiprocessing
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks.optimizers import campaign, page, plan, terminal
from benchmarks.optimizers.added import check_added, parse_contestant, refuse_twin_labels
from benchmarks.optimizers.cost import Cost
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.outcomes import RunOutcome
from benchmarks.optimizers.worlds import UnitSet, own_world, refuse_twin_worlds
from evolver.campaign.cluster import ClusterAddress, cluster_address, connected
from evolver.campaign.store import Store
from evolver.cli.terminal import lost_output, steady_streams
from evolver.errors import ConfigError, DataError, EvolverError, RecordingError
from evolver.report.words import count

OUT = Path(__file__).parents[1] / "out" / "optimizers"


app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says other than the preset does."""

    units: UnitSet
    per_layer: int | None
    unit: Sequence[str]
    only: str
    add: Sequence[str]
    generator: Sequence[str]
    norm: float | None
    noise: str
    seeds: int | None
    generations: int | None
    popsize: int | None
    start: Literal["drawn", "zeros"] | None
    at_norm: bool
    device: str
    looks: int | None
    within: float | None


@app.command(epilog="Interrupted runs are continued by the same command.")
def compare(
    context: typer.Context,
    preset: Annotated[str, typer.Argument(help="quick, standard or published")] = "quick",
    *,
    units: Annotated[UnitSet, typer.Option(help="set of units")] = "held-apart",
    per_layer: Annotated[int | None, typer.Option(min=1, help="units of each layer")] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="this unit instead; may be repeated: mini:fc5:3, or module:factory@ARGUMENT",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="these optimizers only, with commas; and cholesky"),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'[LABEL=]module:Class [OPTION=VALUE ...]'",
            help="enter an optimizer, or a known one with other options; usual: what a "
            "session gets that names none",
        ),
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="instead of the preset's: a name, upconv/8, upconv-full/8, foreign, "
            "module:factory",
        ),
    ] = None,
    norm: Annotated[float | None, typer.Option(help="common norm of --generator")] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="LEVELS", help="with commas: 0,0.2,poisson-20")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="runs of every unit, noise and optimizer")
    ] = None,
    generations: Annotated[int | None, typer.Option(min=1, help="populations a run")] = None,
    popsize: Annotated[int | None, typer.Option(min=2, help="images a generation")] = None,
    looks: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, help="stop what is settled, looked at so often; 1: run everything"
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1.0, help="differences of this part are as good as none: 0.05"
        ),
    ] = None,
    start: Annotated[
        Literal["drawn", "zeros"] | None, typer.Option(help="where runs start")
    ] = None,
    at_norm: Annotated[
        bool, typer.Option("--at-norm", help="render all codes at the common norm")
    ] = False,
    device: Annotated[str, typer.Option(help="torch device of generator and units")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; one a core by default")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="run on a Dask cluster: tcp://127.0.0.1:8786, tls://HOST:PORT, slurm:JOBS",
        ),
    ] = None,
    plain_network: Annotated[
        bool,
        typer.Option(
            "--plain-network",
            help="let --cluster be another machine without TLS: anyone may listen",
        ),
    ] = False,
    no_cost: Annotated[
        bool, typer.Option("--no-cost", help="do not measure seconds and memory")
    ] = False,
    out: Annotated[Path, typer.Option(help="folder of runs, tables and page")] = OUT,
) -> None:
    """Find out which optimizer to trust at which noise."""
    choices = Choices(
        units=units,
        per_layer=per_layer,
        unit=unit or (),
        only=_listed(only, "--only"),
        add=add or (),
        generator=generator or (),
        norm=norm,
        noise=_listed(noise, "--noise"),
        seeds=seeds,
        generations=generations,
        popsize=popsize,
        start=start,
        at_norm=at_norm,
        device=device,
        looks=looks,
        within=within,
    )
    where = None if cluster is None else cluster_address(cluster, plain_network=plain_network)
    if where and workers:
        raise ConfigError("--workers is for this machine; a cluster has the workers it has")
    arguments: list[str] = context.obj
    chosen = _plan(preset, choices)
    try:
        results, outcomes = _run(
            chosen, arguments, out.absolute(), workers=workers, where=where, cost=not no_cost
        )
    except OSError as error:
        raise RecordingError(
            f"A file cannot be written or read: {error}. Results go to {out}: runs that are "
            "finished are kept there, and the same command goes on from them"
        ) from error
    terminal.print_results(results, Console(highlight=False))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"\nevery table, and how to read it: {out / 'tables.md'}", markup=False)
    console.print(f"with figures: {out / 'page.html'}", markup=False)
    _say_failed(outcomes, console)


def _run(
    chosen: plan.Plan,
    arguments: list[str],
    out: Path,
    *,
    workers: int | None,
    where: ClusterAddress | None,
    cost: bool,
) -> tuple[page.Results, list[RunOutcome]]:
    """Run a plan, and write its tables and page; return what they say, and the runs."""
    console = Console(stderr=True)
    due = plan.spell_out(chosen)
    for world, label, reason in due.skipped:
        console.print(f"{world}: {label} is left out: {reason}", style="yellow", markup=False)
    try:
        store = Store(out, make=True)
    except OSError as error:
        raise ConfigError(
            f"--out must be a folder, or a place for one; {str(out)!r} cannot be made: "
            f"{error.strerror}"
        ) from error

    def write(
        outcomes: list[RunOutcome], costs: list[Cost], look: int | None = None
    ) -> page.Results:
        command = _command(arguments)
        return page.write_results(
            chosen, due, outcomes, costs, out, command=command, after_look=look
        )

    def so_far(look: int, outcomes: list[RunOutcome]) -> None:
        write(outcomes, [], look)
        console.print(f"so far: {out / 'page.html'}", highlight=False, markup=False)

    to = connected(where, out.resolve()) if where else nullcontext()
    with to as elsewhere:
        outcomes = campaign.run_plan(
            chosen,
            due,
            store,
            workers=workers or _workers(chosen.device),
            console=console,
            cluster=elsewhere,
            so_far=so_far,
        )
    costs = campaign.costs(chosen, due, console=console) if cost else []
    return write(outcomes, costs), outcomes


def _say_failed(outcomes: Sequence[RunOutcome], console: Console) -> None:
    """Say how many runs failed.

    Raises
    ------
    DataError
        All did.
    """
    failed = sum(1 for outcome in outcomes if outcome.failed)
    if failed == len(outcomes):
        raise DataError(f"No run succeeded of {failed:,}: the reasons stand under 'Left out'")
    if failed:
        console.print(
            f"{failed:,} of {count(len(outcomes), 'run')} failed: the reasons stand under "
            "'Left out'",
            style="yellow",
            markup=False,
        )


def _listed(text: str | None, option: str) -> str:
    if text is not None and not text.strip():
        raise ConfigError(
            f"{option} must name at least one; got {text!r}. Leave it out for all"
        )
    return text or ""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(words, obj=words, prog_name="python -m benchmarks.optimizers")
    except EvolverError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on from the runs that are finished.")
        return 130
    except SystemExit as ended:
        if ended.code == 130:
            console.print(
                "Interrupted. The same command goes on from the runs that are finished."
            )
        return int(ended.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    """End as at a Ctrl-C, which reaches the processes of a pool by itself."""
    for child in multiprocessing.active_children():
        child.terminate()
    raise KeyboardInterrupt


def _command(arguments: list[str]) -> str:
    """Return the command line, without the place results go to."""
    words = list(arguments)
    if "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    words = [word for word in words if not word.startswith("--out=")]
    return shlex.join(["python", "-m", "benchmarks.optimizers", *words])


def _workers(device: str) -> int:
    cores = os.cpu_count() or 1
    return cores if device == "cpu" else min(cores, 8)


def _plan(preset: str, choices: Choices) -> plan.Plan:
    """Return the preset's plan with what the command line says otherwise."""
    chosen = plan.preset(
        preset, unit_set=choices.units, device=choices.device, per_layer=choices.per_layer
    )
    if choices.only:
        chosen = plan.only(chosen, tuple(choices.only.split(",")))
    added = [parse_contestant(text) for text in choices.add]
    for contestant in added:
        check_added(contestant)
    chosen = replace(chosen, contestants=(*chosen.contestants, *added))
    refuse_twin_labels(chosen.contestants)
    if choices.norm is not None and not choices.generator:
        raise ConfigError("--norm is that of --generator: name one, as mini-texture")
    if choices.generator:
        named = dict.fromkeys(choices.generator)
        chosen = replace(
            chosen, worlds=tuple(own_world(name, norm=choices.norm) for name in named)
        )
        refuse_twin_worlds(chosen.worlds)
    if choices.unit:
        chosen = replace(chosen, unit_set="named", units=tuple(dict.fromkeys(choices.unit)))
    if choices.noise:
        noises = (str(Noise.parse(name)) for name in choices.noise.split(","))
        chosen = replace(chosen, noises=tuple(dict.fromkeys(noises)))
    return replace(
        chosen,
        generations=choices.generations or chosen.generations,
        popsize=choices.popsize or chosen.popsize,
        seeds=choices.seeds or chosen.seeds,
        start=choices.start or chosen.start,
        at_norm=choices.at_norm,
        looks=choices.looks or chosen.looks,
        within=choices.within or chosen.within,
    )


if __name__ == "__main__":
    steady_streams()
    status = main()
    if not status and (why := lost_output()):
        Console(stderr=True).print(f"not all was printed: {why}", style="red", markup=False)
        status = 1
    sys.exit(status)
