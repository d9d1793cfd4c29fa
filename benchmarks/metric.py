"""A generator's metric: what Lanczos saves, and what a search along it gains.

Question
    (1) How much CPU time does Lanczos take for the k leading directions of mini-texture's
    metric, as a ratio to forming all of it, and how far are its eigenvalues off? (2) Does
    Hessian-aware CMA-ES, with the metric of `evolver metric compute`, find images that drive
    units harder than Cholesky CMA-ES does?
Method
    (1) One point, pixel distance; the dense route makes its 256 products some at a time, which
    a batch makes cheaper a product. Both routes alternate. (2) `benchmarks.optimizers` on
    mini-texture: units of the built-in network, 40 generations of 28 images, runs paired; a
    unit's score is 0 at the median and 1 at the 99th percentile of reference images. The
    metric is the mean over 10 points, of the distance named in the label (of layer conv3 of
    the same network whose other units are driven: a metric that knows something of them), as
    are the k directions and the exponent p; sigma is that with which the first steps are as
    long as Cholesky's of sigma = 3.0.
Repeats
    (1) 3 rounds, medians. (2) 6 units held apart, 1 of each layer, one seed, with and without
    noise; a 95 % bootstrap interval over units. No setting was tuned.
Cost
    About 6 minutes on two cores; --quick, which is no measurement, 2. Finished runs are kept.
Outputs
    A Markdown section on standard output; every run and the metrics in --out.

Run by ``python -m benchmarks.metric``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import hashlib
import platform
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.optimizers import campaign, plan
from benchmarks.optimizers.contestants import BASELINE, Contestant, find_contestants
from benchmarks.optimizers.statistics import tabulate
from benchmarks.optimizers.tables import compared
from benchmarks.optimizers.worlds import MINI, UnitSet, draw_units
from evolver import generators, metric
from evolver.analysis.spectra import matching_sigma
from evolver.campaign.store import Store
from evolver.cli.metric import draw_points
from evolver.metric import products
from evolver.metric.average import average
from scorers import distances

if TYPE_CHECKING:
    from evolver.types import Matrix, Vector

OUT = Path(__file__).parent / "out" / "metric"
_ROUNDS, _POINTS, _GENERATIONS = 3, 10, 40
_SETTINGS = (  # distance, directions, exponent
    ("mse", 256, 0.2),
    ("mse", 64, 0.2),
    ("mse", 64, 0.4),
    ("mini:conv3", 64, 0.2),
)
_STEP = 3.0  # Cholesky's sigma


def cost() -> None:
    """Print the table of question (1)."""
    generator = generators.load("mini-texture")
    code = draw_points(generator, 1, seed=0, norm=None)[0]
    print("| k | Lanczos, CPU s | dense, CPU s | ratio | largest relative error of a value |")
    print("|---|---|---|---|---|")
    for k in (8, 16, 32, 64):
        rounds: list[tuple[float, float]] = []
        off = 0.0
        for _ in range(_ROUNDS):
            begun = process_time()
            values: Vector = products.directions(generator, code, k=k)[0]
            between = process_time()
            h: Matrix = products.dense(generator, code)
            known = np.linalg.eigvalsh(h)[::-1][:k]
            rounds.append((between - begun, process_time() - between))
            off = float(np.abs(values / known - 1).max())
        lanczos, dense = np.median(np.array(rounds), axis=0)
        print(f"| {k} | {lanczos:.2f} | {dense:.2f} | {lanczos / dense:.2f} | {off:.0e} |")


def contestants(out: Path) -> tuple[Contestant, ...]:
    """Compute the metrics, or take them as they are on the disk; return who is compared."""
    generator = generators.load("mini-texture")
    codes = draw_points(generator, _POINTS, seed=0, norm=None)
    entered: list[Contestant] = []
    for name, k, exponent in _SETTINGS:
        whole = average(
            generator,
            codes,
            k=generator.d,
            distance=distances.load_distance(name),
            folder=out / f"points-{name.replace(':', '-')}",
            seed=0,
        )
        path = out / f"{name.replace(':', '-')}.npz"
        metric.write_metric(whole, path)
        # Runs are kept by their options: the name changes when the metric does.
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        path = path.replace(out / f"{path.stem}-{digest}.npz")
        kept = metric.read_metric(path, leading=k)
        sigma = matching_sigma(kept.eigenvalues, d=kept.d, step=_STEP, exponent=exponent)
        options = {
            "basis": str(path),
            "cutoff": k,
            "exponent": exponent,
            "sigma": float(f"{sigma:.4g}"),
        }
        label = f"{name}, k = {k}, p = {exponent:g}"
        entered.append(Contestant(label, "hessian", tuple(options.items())))
    return (*find_contestants([BASELINE]), *entered)


def search(out: Path, unit_set: str, *, generations: int, workers: int | None) -> None:
    """Print the table of question (2)."""
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    chosen = plan.Plan(
        preset="metric",
        worlds=(MINI,),
        unit_set=unit_set,
        units=tuple(draw_units(unit_set, 1)),
        contestants=contestants(out),
        noises=("0", "0.2"),
        seeds=1,
        generations=generations,
    )
    due = plan.spell_out(chosen)
    store = Store(out, make=True)
    outcomes = campaign.run_plan(chosen, due, store, workers=workers, console=console)
    for outcome in outcomes:
        if outcome.failed:
            console.print(f"{outcome.spec.optimizer}: {outcome.failed}", markup=False)
    (scores,) = tabulate(outcomes).values()
    print("| noise | metric | best image, ratio to Cholesky | at one norm | norm of best |")
    print("|---|---|---|---|---|")
    for noise, table in scores.items():
        best = table.comparisons("best", to=BASELINE)
        matched = table.comparisons("best_matched", to=BASELINE)
        for label in table.labels:
            norms = [
                o.best_norm
                for o in outcomes
                if (o.spec.optimizer, o.spec.noise) == (label, noise)
            ]
            print(
                f"| {noise} | {label} | {compared(best[label])} | {compared(matched[label])} | "
                f"{np.mean(norms):.0f} |"
            )


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="a few generations; proves nothing")
    ] = False,
    units: Annotated[UnitSet, typer.Option(help="set of units")] = "held-apart",
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; one a core by default")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of runs and metrics")] = OUT,
) -> None:
    """Measure what a generator's metric costs and gains, and print the section."""
    print("## The metric of a generator: Lanczos beside all of it, and a search along it\n")
    print(f"`python -m benchmarks.metric`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, one core a process; mini-texture, 256 dimensions.\n")
    cost()
    print(f"\nUnits: {units}.\n")
    search(out, units, generations=3 if quick else _GENERATIONS, workers=workers)


if __name__ == "__main__":
    typer.run(main)
