"""Whether an evolution through a fitted encoder climbs the unit that the encoder was fitted to.

Question
    Units answer, with noise, to images drawn once. How far does an evolution on what the
    encoder predicts drive the true unit, as a share of what an evolution on the unit does?
Method
    Units are drawn from one layer of the built-in network by a fixed seed. 1,000 images of
    `mini-texture`'s first codes are shown once, to units whose noise has the standard deviation
    of their responses to such images; 100 others are shown 20 times. Encoders of two kinds are
    fitted, by kernel ridge with cross-validated penalties: of the layers before the units' own,
    and of these and their own. CholeskyCMA at the generator's step searches on the encoder's
    file, through its address, and on the unit, without noise; the same seed draws both. What
    counts is the true unit's answer, less its mean over the images fitted: to the image that
    the encoder likes best of the last generation, and to that generation's mean code; divided
    by the answer to the image that the search on the unit likes best, and to its mean code.
Repeats
    By default 4 units x 1 seed x 40 generations.
Cost
    About 8 minutes on 2 busy cores.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.encoders``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import platform
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import scorers
from evolver import generators, seeds
from evolver.analysis.rank_tests import mean_interval
from evolver.generators.scale import code_scale
from evolver.optimizers import CholeskyCMA
from evolver.setup.fitted_encoders import AnsweredImages, fit_encoder
from scorers import networks
from scorers.encoder_file import write_encoder
from scorers.feature_pyramid import FeaturePyramid

if TYPE_CHECKING:
    from evolver.types import Generator, Vector
    from scorers.scorer import UnitScorer

TRAIN, TEST, REPEATS = 1000, 100, 20
BEFORE = ("conv1", "conv2", "conv3")
OWN = "conv4"


@dataclass(frozen=True, slots=True)
class Climb:
    """What the true unit answers, less its mean, at the end of a search on something."""

    best: float  # to the image that was searched with likes best of the last generation
    mean: float  # to the image of the last generation's mean code


def climb(
    generator: Generator, driver: UnitScorer, unit: UnitScorer, *, seed: int, generations: int
) -> Climb:
    """Search on a driver; return what the unit answers in the end."""
    rng = seeds.stream(seed, "encoders", unit.unit_names[0])
    sigma = code_scale(generator).step
    optimizer = CholeskyCMA(generator.d, sigma=sigma, rng=rng)
    best, mean = np.nan, np.zeros((1, generator.d))
    for _ in range(generations):
        codes = optimizer.ask()
        images = generator.render(codes)
        scores = driver.score(images)[:, 0]
        best = float(unit.score(images[[int(scores.argmax())]])[0, 0])
        mean = codes.mean(axis=0, keepdims=True)
        optimizer.tell(codes, scores)
    return Climb(best, float(unit.score(generator.render(mean))[0, 0]))


def fitted(
    folder: Path, units: list[str], layers: tuple[str, ...], name: str
) -> tuple[Path, Vector, Vector, list[str]]:
    """Fit units by layers; return the file, their correlations, their means and layers."""
    generator, unit = generators.load("mini-texture"), scorers.load(units)
    rng = seeds.stream(0, "encoders", "images")
    images = generator.render(generator.initial_codes(TRAIN + TEST, rng=rng))
    drives = unit.score(images)
    sd, noise = drives[:TRAIN].std(axis=0), rng.standard_normal((TRAIN + TEST, len(units)))
    noise[TRAIN:] /= np.sqrt(REPEATS)
    answers = drives + sd * noise
    fit = fit_encoder(
        FeaturePyramid(networks.load("mini"), layers),
        AnsweredImages(images[:TRAIN], answers[:TRAIN]),
        AnsweredImages(images[TRAIN:], answers[TRAIN:]),
        labels=units,
        rng=rng,
        quantity="activation",
    )
    path = folder / f"{name}.safetensors"
    write_encoder(path, fit.encoder)
    best = [layers[int(i)] for i in fit.assignment.best]
    return path, fit.assignment.r, drives[:TRAIN].mean(axis=0), best


def main(
    *,
    units: Annotated[int, typer.Option(min=2)] = 4,
    seeds_each: Annotated[int, typer.Option("--seeds", min=1, help="runs of each unit")] = 1,
    generations: Annotated[int, typer.Option(min=2)] = 40,
) -> None:
    """Fit, search, and print the section."""
    channels = networks.load("mini").layers[OWN].channels
    rng = seeds.stream(0, "encoders", OWN)
    drawn = [f"mini:{OWN}:{c}" for c in np.sort(rng.permutation(channels)[:units])]
    generator = generators.load("mini-texture")
    kinds = {
        f"{BEFORE[0]} to {BEFORE[-1]}": BEFORE,
        f"{BEFORE[0]} to {OWN}": (*BEFORE, OWN),
    }
    rows: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    facts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {
            kind: fitted(Path(folder), drawn, layers, f"encoder-{len(layers)}")
            for kind, layers in kinds.items()
        }
        for kind, (_, r, _, best) in files.items():
            chosen = ", ".join(f"{best.count(b)} by {b}" for b in dict.fromkeys(best))
            facts[kind] = f"{np.mean(r):.2f} ({r.min():.2f} to {r.max():.2f}) | {chosen}"
        for i, name in enumerate(drawn):
            unit = scorers.load(name)
            for seed in range(1, seeds_each + 1):
                own = climb(generator, unit, unit, seed=seed, generations=generations)
                for kind, (path, _, means, _) in files.items():
                    driver = scorers.load(f"encoder:{path}:{i}")
                    through = climb(generator, driver, unit, seed=seed, generations=generations)
                    base = float(means[i])
                    ratio = (
                        (through.best - base) / (own.best - base),
                        (through.mean - base) / (own.mean - base),
                    )
                    rows[kind].append(ratio)
                    print(f"{name} seed {seed}, {kind}: {ratio[0]:.2f}, {ratio[1]:.2f}")
    print(_section(rows, facts, units, seeds_each, generations))


def _section(
    rows: dict[str, list[tuple[float, float]]],
    facts: dict[str, str],
    units: int,
    seeds_each: int,
    generations: int,
) -> str:
    """Return the section for RESULTS.md."""
    processor = platform.processor() or platform.machine()
    command = (
        f"`python -m benchmarks.encoders --units {units} --seeds {seeds_each} --generations "
        f"{generations}`, {datetime.now().date()}, {processor}, {os.cpu_count()} cores."
    )
    what = (
        f"{units} units of mini:{OWN}, {seeds_each} seed each, mini-texture, Cholesky CMA-ES; "
        f"{TRAIN:,} images fitted. What the true unit answers, less its mean over these, as a "
        "share of what it does after a search on itself: mean, 95 % t interval over units, "
        "range."
    )
    lines = [
        "## Encoders: evolution through a fitted encoder against evolution on the unit",
        "",
        command,
        what,
        "",
        "| features | test r, mean (range) | best layers | best image | mean image |",
        "|---|---|---|---|---|",
    ]
    for kind, ratios in rows.items():
        each = np.array(ratios).reshape(units, seeds_each, 2).mean(axis=1)
        cells: list[str] = []
        for column in each.T:
            mean = mean_interval(column)
            cells.append(
                f"{column.mean():.2f}, {mean.low:.2f} to {mean.high:.2f} "
                f"({column.min():.2f} to {column.max():.2f})"
            )
        lines.append(f"| {kind} | {facts[kind]} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
