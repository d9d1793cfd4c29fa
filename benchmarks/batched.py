"""What a batch of populations gains over a loop over them.

Question
    How many times more generations a second do 32 populations at d = 256 make as one batch
    (`evolver.optimizers.batched`) than one after the other in a Python loop, on a CPU?
Method
    One process, torch on one thread (the batch draws ahead in a thread of its own, as it
    always does). In each round the loop (ask + tell of 32 optimizers with all their checks,
    float64) and each kind of batch make one generation in turn, so that what disturbs one
    disturbs the others. Time is taken as it passes, which gains from a second core that is
    free, and as CPU time of all threads, which does not. The last two columns are how many
    times the loop's throughput that is. Every search is told the first coordinate of its
    codes. `exact` batches are float64 and draw each population's own stream, so that their
    codes are those of the loop; `fast` ones are float32 and draw on the device.
Repeats
    75 rounds after 5 that are not counted; medians, and the median of the rounds' ratios.
Cost
    About 15 s and 0.3 GB on two cores; 5 s more where there is a GPU.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.batched``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from datetime import datetime
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.optimizer_speed import machine_line
from evolver.optimizers import batched, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.optimizers.batched import Batched

WARM_UP = 5
NAMES = ("cholesky", "sep", "snes", "sphere", "rank-sphere", "genetic", "random")


def streams(populations: int) -> list[np.random.Generator]:
    """Return one random generator for each population."""
    return [np.random.default_rng(seed) for seed in range(populations)]


def loop(name: str, d: int, populations: int) -> Callable[[], None]:
    """Return what makes one generation of every population, one after the other."""
    options: dict[str, Any] = {"base": False} if name == "sphere" else {}
    alone = [load(name, d, rng=rng, **options) for rng in streams(populations)]

    def generation() -> None:
        for optimizer in alone:
            codes = optimizer.ask()
            optimizer.tell(codes, codes[:, 0].copy())

    return generation


def batch(name: str, d: int, populations: int, kind: str, device: str) -> Callable[[], None]:
    """Return what makes one generation of every population at once."""
    exact = kind == "exact"
    together: Batched = batched(
        name,
        d,
        rngs=streams(populations),
        dtype="float64" if exact else "float32",
        device=device,
        exact=exact,
    )

    def generation() -> None:
        together.tell(together.ask()[:, :, 0])
        if device != "cpu":
            torch.cuda.synchronize()

    return generation


def measure_rounds(
    name: str, d: int, populations: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of every round, those that passed and those of CPU, by contestant."""
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    everyone = {"loop": loop(name, d, populations)} | {
        f"{kind}, {device}": batch(name, d, populations, kind, device)
        for device in devices
        for kind in ("exact", "fast")
    }
    seconds: dict[str, list[tuple[float, float]]] = {label: [] for label in everyone}
    for _ in range(WARM_UP + rounds):
        for label, generation in everyone.items():
            start, cpu = perf_counter(), process_time()
            generation()
            seconds[label].append((perf_counter() - start, process_time() - cpu))
    return {label: taken[WARM_UP:] for label, taken in seconds.items()}


def main(
    *,
    populations: Annotated[int, typer.Option(min=1, help="in the batch and the loop")] = 32,
    d: Annotated[int, typer.Option("--d", min=1, help="latent dimensions")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="that are measured")] = 75,
) -> None:
    """Measure batches of populations against a loop over them, and print the section."""
    torch.set_num_threads(1)
    print(f"## Batches: {populations} populations at d = {d}\n")
    print(f"`python -m benchmarks.batched`, {datetime.now().astimezone().date()},")
    print(f"{machine_line()}, torch {torch.__version__}; {rounds} rounds.\n")
    print("| optimizer | run as | a generation of all, ms | CPU, ms | of the loop's | CPU |")
    print("|---|---|---|---|---|---|")
    for name in NAMES:
        seconds = measure_rounds(name, d, populations, rounds)
        for label, taken in seconds.items():
            wall, cpu = 1e3 * np.median(taken, axis=0)
            gain = np.median(np.array(seconds["loop"]) / np.array(taken), axis=0)
            print(
                f"| {name} | {label} | {wall:.2f} | {cpu:.2f} | {gain[0]:.1f} | {gain[1]:.1f} |"
            )


if __name__ == "__main__":
    typer.run(main)
