"""Drawing no more of an image than a unit sees: what it gains, and what it changes.

Question
    The comparison of optimizers (`benchmarks.optimizers`) spends its time on drawing images and
    scoring them. How much less is a unit's part of an image than all of it, and are the scores
    the same?
Method
    A unit of each layer of the built-in network, in each world. Three ways alternate: whole
    images in the generator's own layout, eight in a pass; whole images in the layout that the
    comparison uses; and what the comparison does. CPU time; the quickest of the rounds.
Repeats, cost
    3 rounds of 64 images; about two minutes.
Outputs
    Milliseconds an image, ratios to the first, and the largest difference between scores, in
    parts of the range of scores, as a Markdown section for RESULTS.md.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import platform
from datetime import UTC, datetime
from time import process_time
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.optimizers import full_rank, upconv
from benchmarks.optimizers.worlds import (
    MINI,
    Stage,
    World,
    at_norm,
    full_world,
    scorer_of,
    upconv_world,
)
from evolver import generators
from evolver.row_products import row_by_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.types import Codes, Vector

_LAYERS = ("conv2", "conv3", "conv4", "fc6")
_CHUNK = 8


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="of each way")] = 3,
    images: Annotated[int, typer.Option(min=8, help="of a round")] = 64,
    width: Annotated[int, typer.Option(help="the seeded generators have 1/WIDTH")] = 8,
) -> None:
    """Measure what drawing only what a unit sees gains, and print the section."""
    print("## Drawing what a unit sees\n")
    print(f"`python -m benchmarks.unit_sight`, {datetime.now(UTC):%Y-%m-%d}, ", end="")
    print(f"{platform.machine()}, one core; CPU time.\n")
    head = ("world", "unit", "drawn", "whole, ms", "whole, quick layout", "as compared")
    print(f"| {' | '.join((*head, 'largest difference'))} |\n|{'---|' * (len(head) + 1)}")
    for world in (MINI, upconv_world(width), full_world(width)):
        for layer in _LAYERS:
            print(_row(world, f"mini:{layer}:5", rounds, images), flush=True)


def _row(world: World, unit: str, rounds: int, images: int) -> str:
    """Measure one unit in one world; return its row."""
    plain = _plain(world, unit)
    whole, part = (Stage(world, unit, device="cpu", whole=w) for w in (True, False))
    rng = np.random.default_rng(0)
    codes = at_norm(rng.standard_normal((images, part.d)), world.norm)
    ways: list[Callable[[Codes], Vector]] = [plain, whole.clean, part.clean]
    taken = [np.inf] * len(ways)
    scores: list[Vector] = [np.zeros(0)] * len(ways)
    for _ in range(rounds):
        for i, way in enumerate(ways):
            start = process_time()
            scores[i] = way(codes)
            taken[i] = min(taken[i], (process_time() - start) / images)
    apart = np.abs(scores[2] - scores[1]).max() / np.ptp(scores[1])
    drawn = part.seen.drawn
    shape = "all" if drawn is None else " x ".join(map(str, drawn.shape))
    ratios = " | ".join(f"{t / taken[0]:.2f}" for t in taken[1:])
    return (
        f"| {world.name} | {unit} | {shape} | {taken[0] * 1e3:.2f} | {ratios} | {apart:.0e} |"
    )


def _plain(world: World, unit: str) -> Callable[[Codes], Vector]:
    """Return what scores whole images in the generator's own layout."""
    generator: Any
    if (width := upconv.width_of(world.generator)) is not None:
        generator = upconv.load_upconv(width, device="cpu")
    elif (width := full_rank.width_of(world.generator)) is not None:
        generator = full_rank.load_full_rank(width, device="cpu")
    else:
        generator = generators.load(world.generator, device="cpu")
    scorer: Any = scorer_of(unit, "cpu")

    @torch.inference_mode()
    def scores(codes: Codes) -> Vector:
        told: list[Vector] = []
        for first in range(0, len(codes), _CHUNK):
            z = torch.as_tensor(codes[first : first + _CHUNK].astype(np.float32))
            with row_by_row(torch.device("cpu"), _CHUNK):
                pixels = generator.synthesize(z).mul(255).round_().div_(255)
                told.append(scorer.responses(pixels)[:, 0].double().numpy())
        return np.concatenate(told)

    return scores


if __name__ == "__main__":
    typer.run(main)
