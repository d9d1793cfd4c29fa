"""`evolver compare invert`: how well generators draw given images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    CHOSEN_IMAGES,
    EMBEDDED,
    Device,
    DoneTasks,
    Fresh,
    Generators,
    SeedOption,
    check_out,
    do_tasks,
    once,
    print_rows,
    progress_bar,
)
from evolver.cli.terminal import console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evolver.comparisons.inversion import Inversions
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome
    from evolver.types import Generator, Images

_LARGEST_RATE = 100.0
_COLUMNS = (
    "generator", "weights", "images", "image", "file", "seed", "steps", "rate", "device",
    "pearson", "pearson_at_start", "rmse",
)  # fmt: skip


def compare_inversions(
    generator: Generators = None,
    images: Annotated[str, typer.Option(help=CHOSEN_IMAGES)] = "scenes",
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="images")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="of Adam")] = 401,
    rate: Annotated[float, typer.Option(help="of Adam, latent units")] = 2e-3,
    seed: SeedOption = 1,
    device: Device = "cpu",
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "inversion.png"
    ),
) -> None:
    """Draw given images through each generator by descent on pixels, and say which is nearer.

    As published: codes from N(0, 1), Adam at 0.002, 401 steps, Pearson correlation over pixels,
    signed-rank test between two generators. May be stopped and given again: it goes on.
    """
    from evolver.comparisons.sources import image_batches, load_source

    check_out(out)
    if not 0 < rate <= _LARGEST_RATE:
        raise ConfigError(
            f"--rate must be above 0, and at most {_LARGEST_RATE:g} latent units; got {rate:g}"
        )
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    sizes = sorted({g.image_size for g in loaded})
    if len(sizes) > 1:
        raise ConfigError(f"generators must draw images of one size; these draw {sizes}")
    batches = image_batches(images, n, size=sizes[0], seed=seed, device=device)
    inverting = _Inverting(
        loaded,
        np.concatenate([batch.make() for batch in batches]),
        [name for batch in batches for name in batch.names],
        images,
        {"seed": seed, "steps": steps, "rate": rate, "device": device},
    )
    done = do_tasks("invert", inverting.waves(), inverting.act, out=out, fresh=fresh)
    _write(inverting, done)


@dataclass(frozen=True, slots=True, eq=False)
class _Inverting:
    """What is to be drawn, by whom and how.

    Attributes
    ----------
    generators : of one size
    originals : (n, h, h, 3) uint8
    files : what each of them is called
    what : the set that they are of
    how : seed, steps, rate, device
    """

    generators: Sequence[Generator]
    originals: Images
    files: Sequence[str]
    what: str
    how: dict[str, int | float | str]

    def waves(self) -> list[list[ComparisonTask]]:
        """Return a task for each batch of images, those of a generator in a wave."""
        return [[task for task, _ in self.tasks(g)] for g in self.generators]

    def tasks(self, g: Generator) -> list[tuple[ComparisonTask, range]]:
        """Return the tasks of a generator, each with the numbers of its images."""
        from evolver.comparisons.inversion import batches_of
        from evolver.comparisons.tasks import array_digest, comparison_task

        return [
            (
                comparison_task(
                    "invert",
                    {"generator": g.name, "images": f"{numbers[0]}-{numbers[-1]}"},
                    {
                        "weights": g.sha256,
                        "pixels": array_digest(self.originals[list(numbers)]),
                        **self.how,
                    },
                ),
                numbers,
            )
            for numbers in batches_of(g, len(self.originals))
        ]

    def act(self, tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        """Do tasks of one generator."""
        from evolver.comparisons.inversion import invert_batch
        from evolver.comparisons.tasks import TaskOutcome

        (g,) = (g for g in self.generators if g.name == tasks[0].levels["generator"])
        numbers_of = {task.digest: numbers for task, numbers in self.tasks(g)}
        seed, steps, rate = (self.how[name] for name in ("seed", "steps", "rate"))
        total = sum(len(numbers_of[task.digest]) for task in tasks)
        ended = 0
        with progress_bar(g.name, total) as update:
            for task in tasks:
                numbers = numbers_of[task.digest]

                def step_taken(step: int, before: int = ended, k: int = len(numbers)) -> None:
                    update(before + k * step / (int(steps) + 1), total)

                batch = invert_batch(
                    g,
                    self.originals[list(numbers)],
                    numbers,
                    seed=int(seed),
                    steps=int(steps),
                    rate=float(rate),
                    progress=step_taken,
                )
                ended += len(numbers)
                yield TaskOutcome(batch.arrays())

    def results(self, done: DoneTasks) -> list[tuple[list[int], Inversions]]:
        """Return what was drawn by each generator that drew any, and of which images."""
        from evolver.comparisons.inversion import join_inversions

        found: list[tuple[list[int], Inversions]] = []
        for g in self.generators:
            outcomes = [(k, done.kept.outcome(task)) for task, k in self.tasks(g)]
            parts = [(k, outcome.arrays) for k, outcome in outcomes if outcome is not None]
            if parts:
                numbers = [i for k, _ in parts for i in k]
                found.append((numbers, join_inversions(g.name, [own for _, own in parts])))
        return found


def _write(inverting: _Inverting, done: DoneTasks) -> None:
    """Print and write what there is; the figure has the images that all generators drew."""
    from evolver.comparisons.figures import draw_inversions
    from evolver.comparisons.inversion import take_inversions

    found = inverting.results(done)
    numbers_of = [numbers for numbers, _ in found]
    drawn = range(len(inverting.originals)) if found else ()
    both = [i for i in drawn if all(i in numbers for numbers in numbers_of)]
    done.check_enough(both)
    results = [take_inversions(own, [numbers.index(i) for i in both]) for numbers, own in found]
    _print(results)
    how = "Adam {rate:g}, {steps} steps, from N(0, 1)".format(**inverting.how)
    weights = {g.name: g.sha256[:12] for g in inverting.generators}
    settings = tuple(inverting.how[name] for name in ("seed", "steps", "rate", "device"))
    done.write(
        draw_inversions(inverting.originals[both], results, what=inverting.what, how=how),
        _COLUMNS,
        (
            (
                own.generator,
                weights[own.generator],
                inverting.what,
                i,
                inverting.files[i],
                *settings,
                own.pearson[k],
                own.at_start[k],
                own.rmse[k],
            )
            for numbers, own in found
            for k, i in enumerate(numbers)
        ),
    )


def _print(results: Sequence[Inversions]) -> None:
    from evolver.analysis.rank_tests import mean_interval, signed_rank
    from evolver.comparisons.figures import PEARSON

    print_rows(
        ("generator", "Pearson r (95 %)", "at the start", "pixel RMSE"),
        (
            (
                r.generator,
                mean_interval(r.pearson[np.isfinite(r.pearson)], within=PEARSON),
                mean_interval(r.at_start[np.isfinite(r.at_start)], within=PEARSON),
                mean_interval(r.rmse, within=(0, 1)),
            )
            for r in results
        ),
    )
    for r in results:
        stayed = int((r.pearson == r.at_start).sum())
        if stayed:
            console.print(
                f"{r.generator}: {stayed} of {len(r.pearson)} images came no nearer than "
                "where they began: another --rate, or more --steps",
                markup=False,
            )
    if len(results) == 2:
        first, second = results
        both = np.isfinite(first.pearson) & np.isfinite(second.pearson)
        test = signed_rank(first.pearson[both], second.pearson[both])
        names = f"{first.generator} above {second.generator}"
        console.print(f"signed-rank, {names}: {test}", markup=False)
