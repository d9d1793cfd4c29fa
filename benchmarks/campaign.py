"""What tasks of a campaign gain by advancing together, and how near that is to the products.

Question
    How many times faster are 256 evolutions (`mini-texture`, 128 units of the built-in network,
    2 seeds, 30 generations of 28 images, no noise) with `campaign run --together fast` on two
    cores than the same runs one by one in a plain render, score, step loop? Where does the time
    go, and how far is it from what the networks' products alone take? Does cost grow linearly
    with units, seeds and generations, and does memory stay over 2,000 generations?
Method
    The units are spread evenly over the layers of the network but the last, at their usual
    place. The plain loop is the public calls: `render`, `score`, expected rates, `tell`, timed
    for a few generations; one process, torch on one thread, and then on as many as there are
    cores. In each round the plain loop runs an evolution of a unit of each layer, and then the
    campaign its part of all evolutions in processes as a user has it. Both with start-up: the
    plain loop's is one interpreter with its imports and one loading of networks, for all
    evolutions; the campaign's is one interpreter, the plan, its processes and files. Besides
    the time that passes, the processor time of all processes is taken, which does not depend
    on who else uses the machine but for caches and shared cores. The products are recorded from
    a pass (convolutions and linear layers, with their inputs) and made again with nothing else.
    Equality: in float64 the same runs by both ways, the largest difference of a generation's
    mean score over the largest score; in float32 a Kolmogorov-Smirnov test between the last
    generations' means of both ways over seeds of one unit.
Repeats
    Rounds as asked for; ratios are of sums over them.
Cost
    About 12 minutes and 2 GB on two cores that are free; several times that where others use
    them.
Outputs
    A Markdown section for RESULTS.md on standard output, and a figure,
    docs/images/campaign-cost.png.

Run by ``python -m benchmarks.campaign``; ``--device cuda`` for a GPU.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import psutil
import torch
import typer
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

import scorers
from benchmarks.optimizer_speed import machine_line
from evolver import generators
from evolver.campaign.fast_drives import FastNetworks
from evolver.campaign.plan import Plan, read_campaign
from evolver.campaign.store import Store
from evolver.campaign.task import WeightDigests
from evolver.campaign.together import run_together
from evolver.campaign.wave import Together, Waves
from evolver.config.tables import Config
from evolver.setup.build import build_parts
from evolver.setup.simulated_rig import build_population

LAYERS = ("conv1", "conv2", "conv3", "conv4", "fc5", "fc6")
UNITS = 128
POPSIZE = 28
PLAIN = 6
"""Generations that the plain loop is timed for; one costs as much as another."""
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "campaign-cost.png"

SESSION = """
[session]
name = "base"
generations = {generations}
[presentation]
on_ms = 100
off_ms = 50
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = {popsize}
[references]
count = 0
[simulation]
units = ["mini:conv1:0"]
spikes = "none"
abort_rate = 0.0
"""
CAMPAIGN = """
[campaign]
name = "benchmark"
session = "session.toml"
[[vary]]
key = "session.seed"
range = [1, {seeds}]
[[vary]]
key = "simulation.units"
values = [{units}]
"""


def units_of(layers: Sequence[str], n: int) -> list[str]:
    """Return n units, spread evenly over layers."""
    return [f"mini:{layers[i % len(layers)]}:{i // len(layers)}" for i in range(n)]


def plan_of(
    folder: Path, units: Sequence[str], *, seeds: int, generations: int, popsize: int = POPSIZE
) -> Plan:
    """Write a campaign's files and read them."""
    session = SESSION.format(generations=generations, popsize=popsize)
    (folder / "session.toml").write_text(session, encoding="utf-8")
    values = ", ".join(f'["{unit}"]' for unit in units)
    file = folder / "campaign.toml"
    file.write_text(CAMPAIGN.format(seeds=seeds, units=values), encoding="utf-8")
    return read_campaign(file, weights=WeightDigests("benchmark"))


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds that passed, and of processors."""

    wall: float
    cpu: float

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.wall + other.wall, self.cpu + other.cpu)


def timed(act: Callable[[], object]) -> Taken:
    """Return what an action takes, in this process and those that it starts."""

    def cpu() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        going = [child.cpu_times() for child in psutil.Process().children()]  # they fork others
        return process_time() + ended.ru_utime + ended.ru_stime + sum(sum(t[:4]) for t in going)

    start, before = perf_counter(), cpu()
    act()
    return Taken(perf_counter() - start, cpu() - before)


# ---------------------------------------------------------------------- both ways


def plain_loop(
    config: Config, *, dtype: torch.dtype | None = None
) -> Callable[[int], list[float]]:
    """Return what renders, scores and steps one evolution, with all that it needs loaded.

    It is called with a number of generations, and returns the mean score of each.

    Parameters
    ----------
    config : of a task
    dtype : of the networks; None: `render` and `score`, as everybody calls them
    """
    generator: Any = generators.load(config.threads[0].generator)
    scorer = scorers.load(list(config.simulation.units))
    if dtype is not None:
        generator.convert(dtype)
        for network in scorer.networks.values():
            convert: Any = getattr(network, "convert")  # noqa: B009
            convert(dtype)
    neurons = build_population(config).neurons
    (optimizer,) = build_parts(config).optimizers
    window_ms, on_ms = config.fitness.response_ms, config.presentation.on_ms

    def drives_of(codes: Any) -> Any:  # noqa: ANN401
        if dtype is None:
            return scorer.score(generator.render(codes))
        with torch.inference_mode():
            images = generator.synthesize(torch.as_tensor(codes).to(dtype))
            return scorer.responses(images.mul(255).round().div(255)).double().numpy()

    def run(generations: int) -> list[float]:
        means: list[float] = []
        for _ in range(generations):
            codes = optimizer.ask()
            rates = neurons.expected_rates(drives_of(codes), window_ms, on_ms=on_ms)
            optimizer.tell(codes, rates[:, 0])
            means.append(float(rates[:, 0].mean()))
        return means

    return run


def together_here(
    plan: Plan, how: Together, *, networks: FastNetworks | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Run a plan in this process; return the mean score of each generation, by digest."""
    waves = Waves(how, networks=networks)
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(Path(temporary), make=True)
        for first in range(0, len(plan.tasks), how.tasks):
            part = plan.tasks[first : first + how.tasks]
            ends = waves.run([(task.digest, plan.config(task)) for task in part], store)
            if any(ends.values()):
                sys.exit(f"a task failed: {ends}")
        return {t.digest: store.result(t.digest).arrays["mean-0"] for t in plan.tasks}


def measure_ratio(
    folder: Path, *, rounds: int, generations: int, evolutions: int, how: Together
) -> None:
    """Print how many times faster the campaign is."""
    cores = os.cpu_count() or 1
    sums: dict[str, Taken] = {}
    runs: dict[str, float] = {}
    started: dict[str, Taken] = {}
    interpreter = timed(
        lambda: subprocess.run([sys.executable, "-c", "import benchmarks.campaign"], check=True)
    )
    plans: list[Plan] = []

    def write_plan() -> None:
        units = units_of(LAYERS, UNITS)
        plans.append(plan_of(folder, units, seeds=2, generations=generations))

    planned = timed(write_plan)
    (plan,) = plans

    def add(name: str, n: float, act: Callable[[], object]) -> None:
        sums[name] = sums.get(name, Taken(0, 0)) + timed(act)
        runs[name] = runs.get(name, 0) + n

    per_round = evolutions // rounds
    for i in range(rounds):
        for threads in (1, cores):
            torch.set_num_threads(threads)
            name = f"plain loop, {threads} thread{'s' * (threads > 1)}"
            for task in plan.tasks[i * per_round :][: len(LAYERS)]:  # a unit of each layer
                loaded: list[Callable[[int], object]] = []
                loading = timed(lambda t=task, to=loaded: to.append(plain_loop(plan.config(t))))
                started.setdefault(name, interpreter + loading)
                add(name, PLAIN / generations, lambda run=loaded[0]: run(PLAIN))
        torch.set_num_threads(1)
        tasks = plan.tasks[i * per_round : (i + 1) * per_round]
        part = Plan(plan.name, plan.base, plan.factors, tasks)
        store = Store(folder / f"round-{i}", make=True)

        def run(part: Plan = part, store: Store = store) -> None:
            if any(end.failed for end in run_together(part, store, how)):
                sys.exit("a task failed")

        name = f"together, {how.arithmetic}, {how.device}"
        started.setdefault(name, interpreter + planned)
        add(name, len(tasks), run)
    print(
        f"{evolutions} of {len(plan.tasks)} evolutions ({UNITS} units x 2 seeds) of "
        f"{generations} generations of {POPSIZE} images; {rounds} rounds. All of it is what so "
        "many take, start-up included on both sides. By processor time: a core each.\n"
    )
    print(
        "| run as | evolutions run | s each | CPU s each | start-up, s | all of it, s | "
        f"times 1 thread's | times {cores} threads' | by CPU time, times 1 thread's |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    whole: dict[str, Taken] = {}
    for name, taken in sums.items():
        # A campaign starts its processes once in a round; here they are among what they did.
        share = evolutions / runs[name]
        rest = Taken(taken.wall * share, taken.cpu * share)
        whole[name] = rest + started[name]
    names = list(whole)  # one thread, as many as there are cores if that is more, the campaign
    base, most = whole[names[0]], whole[names[-2]]
    for name, taken in sums.items():
        used = cores if name.startswith("together") else 1
        n, all_of_it = runs[name], whole[name]
        print(
            f"| {name} | {n:.3g} | {taken.wall / n:.2f} | {taken.cpu / n:.2f} | "
            f"{started[name].wall:.1f} | {all_of_it.wall:.0f} | "
            f"{base.wall / all_of_it.wall:.1f} | {most.wall / all_of_it.wall:.1f} | "
            f"{base.cpu / all_of_it.cpu * used:.1f} |",
            flush=True,
        )
    print()


# ---------------------------------------------------------------------- where time goes


class _Products(TorchFunctionMode):
    """Keeps the convolutions and linear layers that are called, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], object]] = []

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func in {
            F.conv2d,
            F.conv_transpose2d,
            F.linear,
            torch.conv2d,
            torch.conv_transpose2d,
        }:
            self.calls.append(lambda: func(*args, **kwargs))
        return func(*args, **kwargs)


class _KeptWays(FastNetworks):
    """Remembers the ways that it has handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_out: dict[int, Any] = {}

    def ways(self, evolution: Any) -> list[Any]:  # noqa: ANN401
        """Return the ways of an evolution's threads."""
        found = super().ways(evolution)
        self.handed_out |= {id(way): way for way in found}
        return found


def parts_of(way: Any, z: torch.Tensor) -> dict[str, float]:  # noqa: ANN401
    """Return the processor seconds of an image: rendered, scored, and the products alone."""

    def each(act: Callable[[], object]) -> float:
        return timed(lambda: [act() for _ in range(3)]).cpu / 3 / len(z)

    with torch.inference_mode():
        x = way.pixels(z)
        with _Products() as products:
            way.outputs(way.pixels(z))
        return {
            "pixels": each(lambda: way.pixels(z)),
            "outputs": each(lambda: way.outputs(x)),
            "products": each(lambda: [call() for call in products.calls]),
        }


def measure_parts(folder: Path, *, rounds: int) -> None:
    """Print what rendering, scoring and the rest take of an image, and the products alone."""
    print(
        "| units | render, us | score, us | update and all else, us | products alone, us | "
        "distance | the plain loop, us | times, a core each |"
    )
    print("|---|---|---|---|---|---|---|---|")
    generations, tasks = 10, 8
    z = torch.randn(56, 256, generator=torch.Generator().manual_seed(1))
    for layer in LAYERS:
        plan = plan_of(folder, units_of((layer,), tasks), seeds=1, generations=generations)
        networks = _KeptWays()
        seconds: dict[str, list[float]] = {}

        def add(name: str, value: float, seconds: dict[str, list[float]] = seconds) -> None:
            seconds.setdefault(name, []).append(value)

        def whole(plan: Plan = plan, networks: FastNetworks = networks) -> None:
            together_here(plan, Together("fast"), networks=networks)

        whole()
        (way,) = networks.handed_out.values()
        run_plain = plain_loop(plan.config(plan.tasks[0]))
        for _ in range(rounds):
            add("all", timed(whole).cpu / (tasks * generations * POPSIZE))
            add("plain", timed(lambda run=run_plain: run(PLAIN)).cpu / (PLAIN * POPSIZE))
            for name, value in parts_of(way, z).items():
                add(name, value)
        us = {name: 1e6 * float(np.median(values)) for name, values in seconds.items()}
        rest = us["all"] - us["pixels"] - us["outputs"]
        print(
            f"| {layer} | {us['pixels']:.0f} | {us['outputs']:.0f} | {rest:.0f} | "
            f"{us['products']:.0f} | {us['all'] / us['products']:.2f} | {us['plain']:.0f} | "
            f"{us['plain'] / us['all']:.1f} |",
            flush=True,
        )
    print()


# ---------------------------------------------------------------------- is it the same


def measure_equality(folder: Path, *, generations: int, seeds: int) -> None:
    """Print how far both ways are from one another."""
    plan = plan_of(folder, units_of(LAYERS, len(LAYERS)), seeds=1, generations=generations)
    networks = FastNetworks(dtype=torch.float64)
    fast = together_here(plan, Together("fast"), networks=networks)
    worst = 0.0
    for task in plan.tasks:
        means = np.array(plain_loop(plan.config(task), dtype=torch.float64)(generations))
        worst = max(worst, float(np.abs(means - fast[task.digest]).max() / np.abs(means).max()))
    print(f"float64, {len(plan.tasks)} units, {generations} generations: largest relative "
          f"difference of a generation's mean {worst:.1e}.\n")  # fmt: skip
    plan = plan_of(folder, ["mini:fc6:3"], seeds=seeds, generations=10)
    fast = together_here(plan, Together("fast"))
    last = np.array([fast[task.digest][-1] for task in plan.tasks])
    alone = np.array([plain_loop(plan.config(task))(10)[-1] for task in plan.tasks])
    test: Any = import_module("scipy.stats").ks_2samp(last, alone)
    print(f"float32, mini:fc6:3, {seeds} seeds, 10 generations, mean of the last: "
          f"{last.mean():.2f} together, {alone.mean():.2f} in the plain loop, sd over seeds "
          f"{alone.std():.2f}; Kolmogorov-Smirnov D = {test.statistic:.3f}, "
          f"p = {test.pvalue:.2f}; same seed, median difference "
          f"{np.median(np.abs(last - alone)):.3f}.\n")  # fmt: skip


# ---------------------------------------------------------------------- how it grows


def measure_growth(folder: Path) -> None:
    """Draw cost against units, seeds and generations."""
    from matplotlib.figure import Figure

    usual = {"units": 8, "seeds": 2, "generations": 4}
    steps = {"units": (8, 16, 32, 64), "seeds": (1, 2, 4, 8), "generations": (4, 8, 16, 32)}
    figure: Any = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    networks = FastNetworks()
    fits: list[str] = []
    for axis, (name, values) in zip(axes, steps.items(), strict=True):
        taken: list[float] = []
        for value in values:
            asked = usual | {name: value}
            plan = plan_of(
                folder,
                units_of(("conv3",), asked["units"]),
                seeds=asked["seeds"],
                generations=asked["generations"],
            )
            taken.append(
                min(
                    timed(
                        lambda p=plan: together_here(p, Together("fast"), networks=networks)
                    ).cpu
                    for _ in range(2)
                )
            )
        slope, start = np.polyfit(values, taken, 1)
        residual = np.array(taken) - (slope * np.array(values) + start)
        r2 = 1 - residual.var() / np.var(taken)
        fits.append(f"{name} {slope:.3f} s each from {start:.2f} s (R2 {r2:.4f})")
        axis.plot(values, taken, "o")
        axis.plot([0, values[-1]], [start, start + slope * values[-1]], lw=1)
        axis.set_xlabel(name)
        axis.set_xlim(0)
        axis.set_ylim(0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("processor time, s")
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=150)
    print(f"Cost, of {usual} and one of them varied (conv3): {'; '.join(fits)}.\n")


def measure_memory(folder: Path, *, generations: int) -> None:
    """Print the memory of a wave while it runs."""
    units = units_of(("conv1",), 2)
    plan = plan_of(folder, units, seeds=2, generations=generations, popsize=4)
    sizes: list[float] = []
    over = threading.Event()

    def watch() -> None:
        page = resource.getpagesize()
        while not over.wait(0.5):
            resident = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            sizes.append(resident * page / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    together_here(plan, Together("fast"))
    over.set()
    watcher.join()
    at = [sizes[int(share * (len(sizes) - 1))] for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    print(f"Memory, a wave of {len(plan.tasks)} tasks of 4 images, {generations} generations: "
          f"{', '.join(f'{size:.0f}' for size in at)} MiB resident at 10, 25, 50, 75 and 100 % "
          f"of the time; highest {max(sizes):.0f} MiB.\n")  # fmt: skip


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="of the whole comparison")] = 2,
    generations: Annotated[int, typer.Option(min=1)] = 30,
    evolutions: Annotated[
        int, typer.Option(min=12, max=2 * UNITS, help="of the whole that are run")
    ] = 2 * UNITS,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")] = "cpu",
    only: Annotated[str, typer.Option(help="ratio, parts, equality, growth or memory")] = "",
    seeds: Annotated[int, typer.Option(min=4, help="of the test in distribution")] = 32,
    memory_generations: Annotated[int, typer.Option(min=1)] = 2000,
) -> None:
    """Measure a campaign together against a plain loop, and print the section."""
    torch.set_num_threads(1)
    print("## Campaigns: tasks that advance together\n")
    print(f"`python -m benchmarks.campaign`, {datetime.now().astimezone().date()},")
    print(f"{machine_line()}, torch {torch.__version__}.\n")
    measures: dict[str, Callable[[Path], None]] = {
        "ratio": lambda folder: measure_ratio(
            folder,
            rounds=rounds,
            generations=generations,
            evolutions=evolutions,
            how=Together("fast", device),
        ),
        "parts": lambda folder: measure_parts(folder, rounds=rounds),
        "equality": lambda folder: measure_equality(
            folder, generations=generations, seeds=seeds
        ),
        "growth": measure_growth,
        "memory": lambda folder: measure_memory(folder, generations=memory_generations),
    }
    for name, measure in measures.items():
        if only in {"", name}:
            with tempfile.TemporaryDirectory() as temporary:
                measure(Path(temporary))


if __name__ == "__main__":
    typer.run(main)
