"""`evolver compare statistics`: the images that evolutions ended with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    DoneTasks,
    Fresh,
    check_out,
    do_tasks,
    print_rows,
    progress_bar,
)
from evolver.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evolver.comparisons.last_generations import LastGenerations
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome
    from evolver.types import Scores


def compare_statistics(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="recordings, or folders that hold some"),
    ],
    size: Annotated[
        int | None,
        typer.Option(
            min=4, max=4096, help="pixels a side that images are brought to; the smallest's"
        ),
    ] = None,
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "statistics.png"
    ),
) -> None:
    """Measure the images that evolutions ended with: luminance, contrast, spectrum.

    As published, of every image of the last generations: mean luminance, RMS contrast, radial
    power and its slope, power by orientation; means with their standard error over images,
    tests between two generators over sessions, each the mean of its images, in pairs where
    sessions have a thread of both. May be stopped and given again: it goes on.
    """
    from evolver.comparisons import last_generations as room
    from evolver.comparisons.tasks import TaskOutcome, comparison_task

    check_out(out)
    sources, side = room.sessions_in(room.find_recordings(places), size=size)
    tasks = [
        comparison_task(
            "statistics", {"session": s.identity[0], "size": side}, {"file": s.identity}
        )
        for s in sources
    ]
    path_of = {task.digest: s.path for task, s in zip(tasks, sources, strict=True)}

    def act(due: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        with progress_bar("recordings", len(due)) as update:
            for ended, task in enumerate(due):
                yield TaskOutcome(*room.measure_recording(path_of[task.digest], side))
                update(ended + 1, len(due))

    done = do_tasks("statistics", [tasks], act, out=out, fresh=fresh)
    measured = [(path_of[t.digest], own) for t in tasks if (own := done.kept.outcome(t))]
    done.check_enough(any(own.names for _, own in measured))
    found = room.join_recordings([(path, own.arrays, own.names) for path, own in measured])
    _write(found, side, done)


def _write(found: Sequence[LastGenerations], side: int, done: DoneTasks) -> None:
    from evolver.comparisons import last_generations as room
    from evolver.comparisons.image_figures import draw_statistics

    print_rows(
        ("generator", "sessions", "images", *(f"{m}, mean ± sem" for m in room.MEASURES)),
        (
            (
                one.generator,
                str(len(one.sessions)),
                str(len(one.session)),
                *(_mean_and_sem(getattr(one.statistics, m)) for m in room.MEASURES),
            )
            for one in found
        ),
    )
    tests = room.compare_measures(found[0], found[1]) if len(found) > 1 else []
    for each in tests:
        kind = "signed-rank, pairs of sessions" if each.paired else "rank-sum, sessions apart"
        first = found[0].generator
        console.print(f"{each.measure}, {first} above: {each.test} ({kind})", markup=False)
    columns = "session", "thread", "generation", "image", "size"
    done.write(
        draw_statistics(found, tests),
        ("generator", *columns, *room.MEASURES, "red", "green", "blue"),
        (row for one in found for row in _rows(one, side)),
    )


def _rows(found: LastGenerations, side: int) -> Iterator[tuple[object, ...]]:
    """Yield a row for every image; a thread, a generation, an image as its file counts them."""
    from evolver.comparisons.last_generations import MEASURES

    numbers = [getattr(found.statistics, m).tolist() for m in MEASURES]
    sessions: list[int] = found.session.tolist()
    places: list[list[int]] = found.places.tolist()
    colours: list[list[float]] = found.statistics.rgb.tolist()
    for i, k in enumerate(sessions):
        values = (n[i] for n in numbers)
        yield found.generator, found.sessions[k], *places[i], side, *values, *colours[i]


def _mean_and_sem(values: Scores) -> str:
    kept = values[np.isfinite(values)]
    if len(kept) < 2:
        return f"{kept[0]:.3g}" if len(kept) else "none"
    return f"{kept.mean():.3g} ± {kept.std(ddof=1) / np.sqrt(len(kept)):.2g}"
