"""`evolver campaign`: many simulated sessions that differ in a few keys of one session file."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import check_can_write, console, error_console
from evolver.errors import ConfigError, RecordingError
from evolver.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Generator

    from evolver.campaign.store import PlanFile

app = typer.Typer(
    no_args_is_help=True, help="Many simulated sessions: a grid over keys of a session file."
)

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="a campaign's, as 'campaign run' made it")
]
_SHOWN = 20  # levels a factor, and failures


@app.command("run")
def run_campaign(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="the campaign's file")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="results; campaigns/NAME without it"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="processes; one a core without it")
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
        typer.Option(help="let --cluster be another machine without TLS: anyone may listen"),
    ] = False,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="say what would be run, and run nothing")
    ] = False,
    keep_recordings: Annotated[
        bool, typer.Option(help="keep every session's recording, some megabytes each")
    ] = False,
    together: Annotated[
        Literal["session", "fast"] | None,
        typer.Option(
            help="advance many tasks at once: 'session', each with the numbers that it has by "
            "itself; 'fast', the same but for rounding. No recordings"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="with --together fast: cpu, cuda or cuda:1")
    ] = "cpu",
    tasks_at_once: Annotated[
        int, typer.Option(min=1, max=100_000, help="with --together: in each process")
    ] = 32,
    images_at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="with --together: in a pass; 64 on a processor, else 4096",
        ),
    ] = None,
) -> None:
    """Run every task of a campaign that has no result yet.

    May be interrupted at any time and run again: what is there is not run again, and a file
    that was changed runs what is new. A task's digest is of its session file and of the weights
    of its generators and networks.
    """
    from evolver.campaign.cluster import cluster_address, connected
    from evolver.campaign.plan import read_campaign
    from evolver.campaign.progress import TaskProgress
    from evolver.campaign.run import run_plan
    from evolver.campaign.store import Store
    from evolver.campaign.table import MEASURES
    from evolver.campaign.task import WeightDigests
    from evolver.campaign.together import Together, run_together
    from evolver.weights.read import chosen_device

    where = None if cluster is None else cluster_address(cluster, plain_network=plain_network)
    if where and workers:
        raise ConfigError("--workers is for this machine; a cluster has the workers it has")
    if together is not None and where:
        raise ConfigError("--together is for this machine; leave out --cluster, or --together")
    if together is not None and keep_recordings:
        raise ConfigError("tasks that advance together leave no recordings to keep")
    if together != "fast" and device != "cpu":
        raise ConfigError(f"--device {device} is for --together fast; sessions are on the cpu")
    chosen_device(device)
    how = Together(together or "session", device, tasks_at_once, images_at_once)
    with console.status("reading the plan …"):
        plan = read_campaign(file, weights=WeightDigests(how.tag), taken=MEASURES)
    folder = out or Path("campaigns") / plan.name
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out must name a folder; {folder} is a file")
    if plan_only:
        done = Store(folder).sound() if (folder / "plan.json").is_file() else set[str]()
        due = [task for task in plan.tasks if task.digest not in done]
        console.print(
            f"{_tasks(len(plan.tasks))}, {len(due):,} to run; results in {escape(str(folder))}"
        )
        for factor in plan.factors:
            shown = ", ".join(factor.labels[:_SHOWN])
            more = len(factor.labels) - _SHOWN
            console.print(
                escape(f"  {factor.name}: {shown}" + (f" and {more} more" if more > 0 else ""))
            )
        return
    check_can_write(folder.resolve().parent, "Name another folder with --out")
    with _written():
        store = Store(folder, make=True)
    planned = {task.digest for task in plan.tasks}
    sound = store.sound()
    there = len(sound & planned)
    total = len(plan.tasks) - there
    damaged = len(store.done() & planned) - there
    console.print(
        f"{_tasks(len(plan.tasks))}, {there:,} done before; results in {escape(str(folder))}"
        + (f"; {damaged:,} of them are damaged, and are made again" if damaged else "")
    )
    report = TaskProgress(console, total)
    if together is not None:
        with _written(), stoppable(folder):
            outcomes = run_together(
                plan, store, how, workers=workers, report=report, done=sound
            )
    else:
        to = connected(where, folder.resolve()) if where else nullcontext()
        with _written(), stoppable(folder), to as elsewhere:
            outcomes = run_plan(
                plan,
                store,
                workers=workers,
                keep_recordings=keep_recordings,
                report=report,
                done=sound,
                cluster=elsewhere,
            )
    failures = [outcome for outcome in outcomes if outcome.failed]
    for why, n in Counter(why for outcome in outcomes for why in outcome.apart).items():
        console.print(escape(f"{_tasks(n)} could not be batched with the others: {why}"))
    levels = {task.digest: task.levels for task in plan.tasks}
    for outcome in failures[:_SHOWN]:
        of = ", ".join(f"{name} {level}" for name, level in levels[outcome.digest].items())
        text = f"failed: {outcome.digest[:12]} ({of})  {outcome.failed}"
        console.print(escape(plain(text)))
    if failures:
        console.print(
            f"{_tasks(len(failures))} failed; why is in {escape(str(folder / 'failed'))}"
        )
        raise typer.Exit(1)
    console.print(f"every task is done; 'evolver campaign gather {escape(str(folder))}'")


@app.command("status")
def show_status(folder: Folder) -> None:
    """Say how far a campaign is; also while it runs, from another terminal."""
    from evolver.campaign.store import Store

    store = Store(folder)
    plan = store.plan()
    done = store.sound()
    damaged = store.done() - done
    digests = {task.digest for task in plan.tasks}
    failed = {digest: why for digest, why in store.failed().items() if digest in digests}
    console.print(
        f"{escape(plan.name)}: {len(done & digests):,} of {len(digests):,} tasks done, "
        f"{len(failed):,} failed"
        + (f"; {len(done - digests):,} results of earlier plans" if done - digests else "")
        + (f"; {len(damaged & digests):,} damaged, which a run makes again" if damaged else "")
    )
    for name in plan.factors:
        console.print(_levels(plan, name, done))
    for digest, why in list(failed.items())[:_SHOWN]:
        first = (why.splitlines() or [""])[0]
        console.print(escape(plain(f"failed: {digest[:12]}  {first}")))


@app.command("gather")
def gather(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=".csv or .parquet; FOLDER/table.csv without it"),
    ] = None,
) -> None:
    """Write all results as one table, a row a task and thread, and as one page to look at."""
    from evolver.campaign.gathered import gather_results
    from evolver.campaign.page import write_page
    from evolver.campaign.store import Store
    from evolver.campaign.table import save_table
    from evolver.whole_files import write_whole

    store = Store(folder)
    path = out or folder / "table.csv"
    check_can_write(path.resolve().parent, "Name another file with --out")
    gathered = gather_results(store)
    page = path.with_suffix(".html")
    with _written():
        save_table(gathered.columns, gathered.rows, path)
        write_whole(page, write_page(gathered).encode())
    console.print(f"{len(gathered.rows):,} rows in {escape(str(path))}")
    left = len(gathered.plan.tasks) - gathered.done
    if left:
        console.print(
            f"{left:,} of {_tasks(len(gathered.plan.tasks))} have no row: "
            f"{gathered.failed:,} failed, {gathered.damaged:,} are damaged, "
            f"{max(left - gathered.failed - gathered.damaged, 0):,} are not done; "
            "'evolver campaign run' does them"
        )
    console.print(f"open {escape(str(page))} in a browser")


def _tasks(n: int) -> str:
    return f"{n:,} {'task' if n == 1 else 'tasks'}"


@contextmanager
def _written() -> Generator[None, None, None]:
    """Turn what a disk says into a message."""
    try:
        yield
    except OSError as exc:
        raise RecordingError(
            f"the campaign's files cannot be written: {exc}. What is there stays; mend that, "
            "and give the command again"
        ) from exc


@contextmanager
def stoppable(folder: Path) -> Generator[None, None, None]:
    """Say at a Ctrl-C what it does, for tasks that are being run may take a while to end."""

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        error_console.print(
            "stopping, when the tasks that are being run have ended; Ctrl-C again does not "
            f"wait for them. What is done stays in {escape(str(folder))}: the same command "
            "goes on from there"
        )
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _levels(plan: PlanFile, name: str, done: set[str]) -> Table:
    table = Table(name, "done", "of", box=None, pad_edge=False)
    total, ended = Counter[str](), Counter[str]()
    for task in plan.tasks:
        total[task.levels[name]] += 1
        ended[task.levels[name]] += task.digest in done
    for level, n in list(total.items())[:_SHOWN]:
        table.add_row(escape(level), str(ended[level]), str(n))
    if len(total) > _SHOWN:
        table.add_row(f"and {len(total) - _SHOWN} more", "", "")
    return table
