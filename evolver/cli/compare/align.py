"""`evolver compare align`: searches through random flows, a toy of alignment."""

from __future__ import annotations

from itertools import product
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    DoneTasks,
    Fresh,
    check_out,
    do_tasks,
    once,
    print_rows,
    progress_bar,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evolver.comparisons.alignment import AlignmentRuns
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome


def compare_alignment(
    depth: Annotated[
        list[int] | None, typer.Option(min=0, max=1024, help="layers; several allowed")
    ] = None,
    dimension: Annotated[
        list[int] | None, typer.Option(min=2, max=4096, help="even; several allowed")
    ] = None,
    n: Annotated[
        int, typer.Option("-n", min=1, max=10_000, help="flows of each, seeds from 40 on")
    ] = 10,
    steps: Annotated[int, typer.Option(min=1, help="of both methods")] = 100,
    sigma: Annotated[float, typer.Option(min=1e-6, help="width of the score")] = 1.0,
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "alignment.png"
    ),
) -> None:
    """Search through random invertible flows, of more and more layers and dimensions.

    The published toy: RealNVP with random weights, depths 0 to 64, dimensions 2 to 256 and ten
    seeds without options; Cholesky CMA-ES at 0.5 and Adam at 0.1 from one start. May be stopped
    and given again: it goes on.
    """
    from evolver.comparisons import alignment as room
    from evolver.comparisons.tasks import TaskOutcome, comparison_task

    check_out(out)
    room.check_dimensions(dimension or ())
    depths, dimensions = once(depth or room.DEPTHS), once(dimension or room.DIMENSIONS)
    seeds = range(room.SEEDS[0], room.SEEDS[0] + n)
    flows = {
        flow: comparison_task(
            "align",
            dict(zip(("layers", "d", "seed"), flow, strict=True)),
            {"steps": steps, "sigma": sigma},
        )
        for flow in product(depths, dimensions, seeds)
    }

    def act(tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        with progress_bar("flows", len(tasks)) as update:
            for ended, task in enumerate(tasks):
                layers, d, seed = (int(level) for level in task.levels.values())
                reached = room.search_flow(layers, d, seed, steps=steps, sigma=sigma)
                yield TaskOutcome({name: np.array([x]) for name, x in reached.items()})
                update(ended + 1, len(tasks))

    done = do_tasks("align", [list(flows.values())], act, out=out, fresh=fresh)

    def reached(layers: int, d: int, seed: int) -> dict[str, float]:
        outcome = done.kept.outcome(flows[layers, d, seed])
        if outcome is None:
            return dict.fromkeys(("start", *room.METHODS), nan)
        return {name: float(array[0]) for name, array in outcome.arrays.items()}

    runs = room.run_alignment(depths, dimensions, seeds, steps=steps, search=reached)
    _write(runs, sigma, done)


def _write(runs: AlignmentRuns, sigma: float, done: DoneTasks) -> None:
    from evolver.comparisons.alignment import METHODS
    from evolver.comparisons.figures import draw_alignment

    ended = np.isfinite(runs.start)
    done.check_enough(ended.any())
    _print(runs)
    done.write(
        draw_alignment(runs),
        ("layers", "d", "seed", "steps", "sigma", "start", *METHODS),
        (
            (
                runs.depths[i],
                runs.dimensions[j],
                runs.seeds[k],
                runs.steps,
                sigma,
                runs.start[i, j, k],
                *(runs.final[m][i, j, k] for m in METHODS),
            )
            for i, j, k in np.argwhere(ended).tolist()
        ),
    )


def _print(runs: AlignmentRuns) -> None:
    from evolver.analysis.rank_tests import mean_interval
    from evolver.comparisons.alignment import METHODS

    print_rows(
        ("layers", "d", "start", *(f"{m}, mean (95 %)" for m in METHODS)),
        (
            (
                layers,
                d,
                f"{runs.start[i, j][own].mean():.3g}",
                *(
                    mean_interval(runs.final[m][i, j][own], within=(-np.inf, 0))
                    for m in METHODS
                ),
            )
            for i, layers in enumerate(runs.depths)
            for j, d in enumerate(runs.dimensions)
            if (own := np.isfinite(runs.start[i, j])).any()
        ),
    )
