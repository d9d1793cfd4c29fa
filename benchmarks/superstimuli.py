"""Whether the loop finds super-stimuli: images that drive a unit harder than any reference.

Question
    (1) Without noise: for what share of units does the best image of a 75-generation
    evolution on `mini-texture` beat the best of 5,000 rendered reference images?
    (2) With Poisson spikes, one presentation an image: for what share is the clean score of
    the final generation's mean image above that of the first generation's?
Method
    Units are drawn by a fixed seed, an equal number from each named layer (of a convolution,
    the centre of the map). CholeskyCMA at its default settings (sigma 3, from zeros, n = 28),
    driven by `evolver.session.schedule.Session`, rendered to uint8 as for a screen. Clean
    scores are the unit's own activation. Reference images are those of the built-in world,
    the same 5,000 for all. Ratios between evolved and reference are of activations above the
    references' median:
    (best evolved - median) / (best reference - median). Spikes: 60 spikes/s at the references'
    99th percentile, baseline 5, gain noise 0.3, counted 50 to 200 ms less 0 to 45 ms.
Repeats
    By default 24 units (6 layers) x 2 seeds, each with and without noise.
Cost
    About 5 minutes on 2 cores.
Outputs
    A Markdown section for RESULTS.md on standard output; a row a run in out/superstimuli.csv.

Run by ``python -m benchmarks.superstimuli``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import scorers
from evolver import generators, seeds
from evolver.config.tables import FitnessTable
from evolver.optimizers import CholeskyCMA
from evolver.session.fitness import Fitness
from evolver.session.schedule import Block, Session, Thread
from evolver.table_files import table_bytes
from evolver.whole_files import write_whole
from rig_bridge.forms import Form
from rig_bridge.trials import Array, TrialResult
from scorers import mini, networks
from scorers.neuron import NeuronConfig, SpikingPopulation

GENERATIONS, REFERENCES = 75, 5000
WINDOW_MS, ON_MS = (-100.0, 300.0), 100.0
OUT = Path(__file__).parent / "out"


@dataclass(frozen=True, slots=True)
class Run:
    """One evolution's outcome; activations of its unit."""

    unit: str
    layer: str
    seed: int
    noise: str  # "none", "poisson"
    best_evolved: float
    best_reference: float
    median_reference: float
    first_mean: float  # of the first generation's mean image
    final_mean: float
    norm: float  # of the final mean code

    @property
    def ratio(self) -> float:
        """How far above the references' median, in units of the best reference's height."""
        span = self.best_reference - self.median_reference
        return (self.best_evolved - self.median_reference) / span


def draw_units(per_layer: int) -> list[str]:
    """Return unit names, `per_layer` of each layer, by a fixed seed."""
    layers = networks.load("mini").layers
    names: list[str] = []
    for layer, shape in layers.items():
        rng = seeds.stream(0, "superstimuli", layer)
        chosen = np.sort(rng.permutation(shape.channels)[:per_layer])
        names += [f"mini:{layer}:{channel}" for channel in chosen]
    return names


@cache
def references() -> NDArray[np.uint8]:
    """Return the 5,000 reference images."""
    return mini.reference_images(REFERENCES, seed=12345)


def evolve(
    unit: str, seed: int, respond: Callable[[Block, NDArray[np.float64]], list[TrialResult]]
) -> tuple[float, float, float, float]:
    """Return one evolution's best, first mean's and final mean's clean score, and its norm."""
    generator, scorer = generators.load("mini-texture"), scorers.load(unit)
    rng = seeds.stream(seed, "optimizer", unit)
    table = FitnessTable(baseline_ms=(0.0, 45.0))
    thread = Thread(
        "texture",
        CholeskyCMA(generator.d, rng=rng),
        Fitness.resolve(table, (unit,), key="fitness"),
        rng,
    )
    session = Session(
        [thread],
        references=0,
        repeats=1,
        generations=GENERATIONS,
        on_ms=ON_MS,
        off_ms=ON_MS,
        order=partial(seeds.stream, seed, "order"),
    )
    best, means = -np.inf, list[float]()
    codes = np.zeros((1, generator.d))
    while not session.finished:
        block = session.propose()
        codes = block.proposals[0].codes
        images = generator.render(np.concatenate([codes, codes.mean(axis=0, keepdims=True)]))
        clean = scorer.score(images)[:, 0]
        best = max(best, float(clean[:-1].max()))
        means.append(float(clean[-1]))
        session.commit(block.index, respond(block, clean[:-1]))
    return best, means[0], means[-1], float(np.linalg.norm(codes.mean(axis=0)))


def _result(presentation: int, form: Form, arrays: dict[str, Array]) -> TrialResult:
    return TrialResult(
        presentation=presentation,
        attempt=1,
        status="ok",
        reason="",
        commanded_ns=0,
        onset_ns=0,
        offset_ns=0,
        onset_source="simulated",
        form=form,
        arrays=arrays,
    )


def noise_free(block: Block, clean: NDArray[np.float64]) -> list[TrialResult]:
    """Answer with the activation itself."""
    return [
        _result(p.presentation, "rates", {"rates": clean[[p.row]]}) for p in block.presentations
    ]


def poisson(population: SpikingPopulation) -> Callable[..., list[TrialResult]]:
    """Return what answers with one presentation's spikes."""

    def respond(block: Block, clean: NDArray[np.float64]) -> list[TrialResult]:
        answers: list[TrialResult] = []
        for p in block.presentations:
            units, times = population.spikes(
                clean[[p.row]],
                presentation=p.presentation,
                showing=1,
                on_ms=ON_MS,
                window_ms=WINDOW_MS,
            )
            arrays = {"units": units, "times_ms": times}
            answers.append(_result(p.presentation, "spikes", arrays))
        return answers

    return respond


def run_unit(job: tuple[str, int, str]) -> Run:
    """Run one unit, seed and noise."""
    unit, seed, noise = job
    scorer = scorers.load(unit)
    reference = scorer.score(references())[:, 0]
    respond = noise_free
    if noise == "poisson":
        stream = partial(seeds.stream, seed, "simulation", unit)
        quantiles = scorer.reference_quantiles
        respond = poisson(SpikingPopulation(quantiles, NeuronConfig(), stream))
    best, first, final, norm = evolve(unit, seed, respond)
    return Run(
        unit=unit,
        layer=unit.split(":")[1],
        seed=seed,
        noise=noise,
        best_evolved=best,
        best_reference=float(reference.max()),
        median_reference=float(np.median(reference)),
        first_mean=first,
        final_mean=final,
        norm=norm,
    )


_HEADER = (
    "| layer | runs | best beats the best reference | evolved / best reference (range) | "
    "with Poisson spikes, final mean image beats the first's | code norm, median |"
)


def table(runs: list[Run]) -> str:
    """Return the section for RESULTS.md."""
    layers = list(dict.fromkeys(r.layer for r in runs))
    clean = [r for r in runs if r.noise == "none"]
    noisy = [r for r in runs if r.noise == "poisson"]
    units, seeds_ = {r.unit for r in runs}, {r.seed for r in runs}
    lines = [
        "## Super-stimuli: mini-texture and CholeskyCMA against 5,000 reference images",
        "",
        f"`python -m benchmarks.superstimuli`, {datetime.now().date()},",
        f"{_machine()}; {len(units)} units x {len(seeds_)} seeds, {GENERATIONS} generations.",
        "",
        _HEADER,
        "|---|---|---|---|---|---|",
    ]
    for layer in [*layers, "all"]:
        a = [r for r in clean if layer in {r.layer, "all"}]
        b = [r for r in noisy if layer in {r.layer, "all"}]
        ratios = [r.ratio for r in a]
        wins = sum(r.best_evolved > r.best_reference for r in a)
        gains = sum(r.final_mean > r.first_mean for r in b)
        lines.append(
            f"| {layer} | {len(a)} | {wins / len(a):.0%} | {np.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) | {gains / len(b):.0%} | "
            f"{np.median([r.norm for r in a]):.0f} |"
        )
    by_unit = sum(
        all(r.best_evolved > r.best_reference for r in clean if r.unit == unit)
        for unit in units
    )
    lines += ["", f"Units that beat it under every seed: {by_unit / len(units):.0%}."]
    return "\n".join(lines)


def _machine() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, CPU"


def main(
    *,
    units: Annotated[int, typer.Option(min=1, help="of each layer")] = 4,
    seeds_each: Annotated[int, typer.Option("--seeds", min=1, help="runs of each unit")] = 2,
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes; one a core by default")
    ] = None,
) -> None:
    """Run every unit, seed and noise, and print the table."""
    jobs = [
        (unit, seed, noise)
        for unit in draw_units(units)
        for seed in range(1, seeds_each + 1)
        for noise in ("none", "poisson")
    ]
    runs: list[Run] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in pool.map(run_unit, jobs):
            runs.append(done)
            print(f"\r{len(runs)}/{len(jobs)} {done.unit}      ", end="", flush=True)
    print("\r" + " " * 60 + "\r" + table(runs))
    rows = ([*asdict(r).values(), r.ratio] for r in runs)
    write_whole(
        OUT / "superstimuli.csv", table_bytes(".csv", [*asdict(runs[0]), "ratio"], rows)
    )


if __name__ == "__main__":
    typer.run(main)
