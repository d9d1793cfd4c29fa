"""What a generation of CholeskyCMA costs, beside the recursion it replaces.

Question
    Time and memory of ask + tell at d = 4096, n = 40, one thread, float64, as a ratio to the
    dense recursion (A and its inverse stored, written as its equations are), and to drawing
    the generation's random numbers alone.
Method
    One process, one thread. Every generation does, in turn: the draw alone (a stream of its
    own), ask + tell of CholeskyCMA, ask + tell of the dense recursion, the two from equal
    streams and told equal scores, so that what disturbs one disturbs the others and their
    codes can be compared. Scores (the first coordinate plus noise) are made outside the
    timed parts. A covariance update falls on every tenth generation, which is where the mean
    leaves the median. Memory is that of a second, untimed run of CholeskyCMA alone, under
    tracemalloc.
Repeats
    75 generations (an evolution of the field's usual length), after 2 that are not counted.
Cost
    About 15 s and 0.7 GB (the dense recursion's) on one core.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.cholesky_speed``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy reads these when it is imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import platform
import tracemalloc
from datetime import datetime
from math import exp, log, sqrt
from pathlib import Path
from time import perf_counter

import numpy as np

from evolver.optimizers import CholeskyCMA, state_to_dict
from evolver.types import Codes, Scores

D, N, EVERY, SIGMA = 4096, 40, 10, 3.0
WARM_UP = 2


class Dense:
    """The recursion with A and its inverse stored, as its equations are written."""

    def __init__(self, rng: np.random.Generator) -> None:
        mu = N // 2
        weights = np.array([log(N / 2 + 0.5) - log(i) for i in range(1, mu + 1)])
        self.w = weights / weights.sum()
        self.mu_eff = 1 / float((self.w**2).sum())
        self.c_c, self.c_1 = 4 / (D + 4), 2 / (D + sqrt(2)) ** 2
        self.c_s = sqrt(self.mu_eff) / (sqrt(self.mu_eff) + sqrt(D))
        self.d_s = 1 + self.c_s + 2 * max(0.0, sqrt((self.mu_eff - 1) / (D + 1)) - 1)
        self.chi = sqrt(D) * (1 - 1 / (4 * D) + 1 / (21 * D**2))
        self.m, self.p_s, self.p_c = np.zeros(D), np.zeros(D), np.zeros(D)
        self.a, self.inverse = np.eye(D), np.eye(D)
        self.sigma, self.generation, self.rng = SIGMA, 0, rng

    def ask(self) -> Codes:
        """Draw the next codes, (n, d)."""
        self.z = self.rng.standard_normal((N, D))
        return self.m + self.sigma * (self.z @ self.a)

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn from all of them."""
        best = np.argsort(-scores)[: len(self.w)]
        self.m, z_w = self.w @ codes[best], self.w @ self.z[best]
        gain_s = sqrt(self.c_s * (2 - self.c_s) * self.mu_eff)
        gain_c = sqrt(self.c_c * (2 - self.c_c) * self.mu_eff)
        self.p_s = (1 - self.c_s) * self.p_s + gain_s * z_w
        self.p_c = (1 - self.c_c) * self.p_c + gain_c * (z_w @ self.a)
        length = float(np.linalg.norm(self.p_s))
        self.sigma *= exp(self.c_s / self.d_s * (length / self.chi - 1))
        self.generation += 1
        if self.generation % EVERY == 0:
            v = self.p_c @ self.inverse
            squared, keep = float(v @ v), sqrt(1 - self.c_1)
            root = sqrt(1 + squared * self.c_1 / (1 - self.c_1))
            self.a = keep * self.a + keep / squared * (root - 1) * np.outer(v, self.p_c)
            shrink = (1 - 1 / root) / (keep * squared)
            self.inverse = self.inverse / keep - shrink * np.outer(self.inverse @ v, v)


def timed(generations: int) -> tuple[dict[str, list[float]], float]:
    """Return seconds per generation of each contestant, and the largest difference of codes."""
    draws, noise = np.random.default_rng(1), np.random.default_rng(2)
    ours = CholeskyCMA(D, rng=np.random.default_rng(0), sigma=SIGMA, update_every=EVERY)
    dense = Dense(np.random.default_rng(0))
    seconds: dict[str, list[float]] = {"draw": [], "factored": [], "dense": []}
    apart = 0.0
    for _ in range(WARM_UP + generations):
        jitter = noise.standard_normal(N)
        start = perf_counter()
        draws.standard_normal((N, D))
        seconds["draw"].append(perf_counter() - start)

        start = perf_counter()
        codes = ours.ask()
        asked = perf_counter() - start
        scores = codes[:, 0] + jitter
        start = perf_counter()
        ours.tell(codes, scores)
        seconds["factored"].append(asked + perf_counter() - start)

        start = perf_counter()
        reference = dense.ask()
        asked = perf_counter() - start
        start = perf_counter()
        dense.tell(reference, scores)
        seconds["dense"].append(asked + perf_counter() - start)
        apart = max(apart, float(np.abs(codes - reference).max() / np.abs(reference).max()))
    return {name: taken[WARM_UP:] for name, taken in seconds.items()}, apart


def memory(generations: int) -> tuple[int, int]:
    """Return the bytes of the last state's arrays, and the peak of a whole run."""
    tracemalloc.start()
    optimizer = CholeskyCMA(D, rng=np.random.default_rng(0), sigma=SIGMA, update_every=EVERY)
    for _ in range(generations):
        codes = optimizer.ask()
        optimizer.tell(codes, codes[:, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    values = state_to_dict(optimizer.state).values()
    return sum(v.nbytes for v in values if isinstance(v, np.ndarray)), peak


def machine() -> str:
    """Name the processor, the operating system and numpy's version."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, numpy {np.__version__}"


def main() -> None:
    """Measure, and print the section."""
    parser = argparse.ArgumentParser(description="Speed of CholeskyCMA at d = 4096, n = 40.")
    parser.add_argument("--generations", type=int, default=75, help="at least 30")
    generations = max(30, parser.parse_args().generations)
    seconds, apart = timed(generations)
    held, peak = memory(generations)
    median = {name: float(np.median(taken)) for name, taken in seconds.items()}
    mean = {name: float(np.mean(taken)) for name, taken in seconds.items()}
    print("## Cholesky CMA-ES: ask + tell at d = 4096, n = 40, one thread\n")
    print(f"`python -m benchmarks.cholesky_speed`, {datetime.now().astimezone().date()},")
    print(f"{machine()}; {generations} generations in one run, update every {EVERY}th.\n")
    print("| a generation | median, ms | mean, ms | worst, ms |\n|---|---|---|---|")
    names = {
        "dense": "dense recursion, numpy",
        "factored": "CholeskyCMA",
        "draw": "drawing its random numbers alone",
    }
    for name, label in names.items():
        figures = (median[name], mean[name], max(seconds[name]))
        print(f"| {label} | " + " | ".join(f"{1e3 * figure:.2f}" for figure in figures) + " |")
    print("\n| CholeskyCMA, ratio to | of medians | of means |\n|---|---|---|")
    for name, label in (("dense", "the dense recursion"), ("draw", "the draw alone")):
        of_median = median["factored"] / median[name]
        of_mean = mean["factored"] / mean[name]
        print(f"| {label} | {of_median:.3f} | {of_mean:.3f} |")
    print(f"\nThe codes of the two differ by at most {apart:.1e} of their largest. State")
    print(f"{held / 1e6:.2f} MB, peak memory {peak / 1e6:.1f} MB; the dense recursion holds")
    print("268 MB in A and its inverse.")


if __name__ == "__main__":
    main()
