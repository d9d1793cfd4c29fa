"""`evolver compare sets`: how far sets of images are from natural ones."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import nan
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
    SeedOption,
    check_out,
    do_tasks,
    once,
    print_rows,
    progress_bar,
)
from evolver.cli.terminal import console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evolver.analysis.image_statistics import ImageStatistics
    from evolver.comparisons.sets import Detector, Features, MeasuredSet, SetDistance
    from evolver.comparisons.sources import ImageBatch
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome

_PIXELS = ("luminance", "contrast", "slope")
_COLUMNS = (
    "set", "n", "natural", "features", "features_weights", "classes", "detector", "seed",
    "device", "distance", "floor", "inception score", *_PIXELS, "with an object",
    "with an object, low", "with an object, high", "surest object",
)  # fmt: skip
_SHORT = ("set", "distance", "floor", "IS", "lum.", "contrast", "slope", "objects", "surest")


def compare_image_sets(
    image_sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="IMAGES",
            help=f"{CHOSEN_IMAGES}; several allowed; mini-texture, mini-object, pink and "
            "white without it",
        ),
    ] = None,
    natural: Annotated[str, typer.Option(help="what they are compared with")] = "scenes",
    n: Annotated[
        int, typer.Option("-n", min=2, max=1_000_000, help="images a set; published 50,000")
    ] = 2000,
    features: Annotated[
        str,
        typer.Option(
            metavar="fid|NETWORK:LAYER",
            help="'fid': those that an FID is of, and its logits; or a layer's",
        ),
    ] = "mini:fc6",
    classes: Annotated[
        str,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="logits, for the inception score, beside a layer's features; '' for none",
        ),
    ] = "mini:logits",
    fid_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="of --features fid, where not the folder's"),
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="sees objects: image (h, w, 3) uint8 to boxes (k, ...) and confidences (k,)",
        ),
    ] = "",
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "sets.png"
    ),
) -> None:
    """Say how far sets of images are from natural ones, and what their pixels are like.

    Frechet distance of a network's features beside its floor, natural images from other natural
    ones of sets of the same size; inception score with ten splits; luminance, contrast, slope
    of the spectrum. The embedded network's features are no Inception's: an FID, comparable with
    published ones, needs --features fid, and the extra 'fid'. May be stopped and given again:
    it goes on.
    """
    check_out(out)
    names = once(image_sets or [*EMBEDDED, "pink", "white"])
    if _place(natural) in map(_place, names):
        raise ConfigError(
            f"--natural must be another set than those compared with it; {natural} is both, "
            "and would share images. Its distance from itself is the floor"
        )
    measure = _features(features, classes, fid_weights, session_file, device)
    measuring = _Measuring(
        measure,
        "" if features == "fid" else classes,
        *_detector(detector),
        detector,
        natural,
        _batches([natural, *names], natural, n, measure.side, seed, device),
        seed,
        device,
    )
    done = do_tasks("sets", measuring.waves(), measuring.act, out=out, fresh=fresh)
    _write(measuring, n, done)


def _place(name: str) -> str:
    """Return what a set is, whatever its folder is called."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _features(
    features: str,
    classes: str,
    fid_weights: Path | None,
    session_file: Path | None,
    device: str,
) -> Features:
    from evolver.comparisons.inception import load_inception
    from evolver.comparisons.sets import LayerFeatures

    if features == "fid":
        return load_inception(weights=fid_weights, device=device)
    if fid_weights is not None:
        raise ConfigError(f"--fid-weights is for --features fid; the features are {features}")
    return LayerFeatures(features, classes, networks=networks_in(session_file))


def _detector(text: str) -> tuple[Detector | None, str]:
    """Return what sees objects, and the digest of the file that it is written in."""
    from evolver.lab_code import find_attribute
    from evolver.weights.file_bytes import digest_of

    if not text:
        return None, ""
    sees: Detector = find_attribute("detector", text)
    if not callable(sees):
        raise ConfigError(f"detector {text} must be callable; it is {type(sees).__name__}")
    try:
        source = inspect.getsourcefile(inspect.unwrap(sees))
    except TypeError:  # an instance, or what another language made
        source = None
    return sees, digest_of(Path(source)) if source else ""


def _batches(
    names: Sequence[str], natural: str, n: int, side: int, seed: int, device: str
) -> dict[str, list[ImageBatch]]:
    """Return the images of each set, twice as many natural ones."""
    from evolver.comparisons.sources import image_batches

    with console.status("looking at the images …"):
        return {
            name: image_batches(
                name, 2 * n if name == natural else n, size=side, seed=seed, device=device
            )
            for name in names
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Measuring:
    """What is measured.

    Attributes
    ----------
    features : what sets are compared by
    classes : the layer of logits beside them
    detector : sees objects, or None
    detector_digest, detector_name : of it
    natural : the set that others are compared with
    batches : of every set, by name, the natural one first: without it nothing is known
    seed, device : of what is drawn
    """

    features: Features
    classes: str
    detector: Detector | None
    detector_digest: str
    detector_name: str
    natural: str
    batches: Mapping[str, list[ImageBatch]]
    seed: int
    device: str

    def waves(self) -> list[list[ComparisonTask]]:
        """Return a task for each batch, those of a set in a wave."""
        return [[task for task, _ in self.tasks(name)] for name in self.batches]

    def tasks(self, name: str) -> list[tuple[ComparisonTask, ImageBatch]]:
        """Return the tasks of a set, each with its images."""
        from evolver.comparisons.tasks import comparison_task

        inputs = {
            "features": (self.features.name, self.features.side, self.features.sha256),
            "detector": (self.detector_name, self.detector_digest),
            "device": self.device,
        }
        return [
            (
                comparison_task(
                    "sets", {"set": name, "batch": i}, {**inputs, "images": batch.digest}
                ),
                batch,
            )
            for i, batch in enumerate(self.batches[name])
        ]

    def act(self, tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        """Measure batches of one set."""
        from evolver.comparisons.sets import EXAMPLES, measure_batch
        from evolver.comparisons.tasks import TaskOutcome

        name = tasks[0].levels["set"]
        batch_of = {task.digest: batch for task, batch in self.tasks(name)}
        total = sum(len(batch_of[task.digest].names) for task in tasks)
        ended = 0
        with progress_bar(name, total) as update:
            for task in tasks:
                batch = batch_of[task.digest]
                shown = EXAMPLES if task.levels["batch"] == "0" else 0
                yield TaskOutcome(
                    measure_batch(
                        batch.make(), self.features, detector=self.detector, examples=shown
                    )
                )
                ended += len(batch.names)
                update(ended, total)

    def measured(self, done: DoneTasks) -> dict[str, MeasuredSet]:
        """Return the sets of which all is measured, by name."""
        from evolver.comparisons.sets import join_batches

        whole: dict[str, MeasuredSet] = {}
        for name in self.batches:
            outcomes = done.kept.outcomes([task for task, _ in self.tasks(name)])
            if len(outcomes) == len(self.batches[name]):
                whole[name] = join_batches([outcome.arrays for outcome in outcomes])
        return whole


def _write(measuring: _Measuring, n: int, done: DoneTasks) -> None:
    """Print and write what there is; of a command that was stopped, sets that are through."""
    from evolver.comparisons.image_figures import draw_sets
    from evolver.comparisons.sets import set_distances

    whole = measuring.measured(done)
    done.check_enough(measuring.natural in whole and len(whole) > 1)
    reference = whole.pop(measuring.natural)
    found = set_distances(whole, reference, seed=measuring.seed)
    everything = {**whole, measuring.natural: reference}
    distances = {s.name: s for s in found}
    rows = [_row(measuring, name, own, distances.get(name)) for name, own in everything.items()]
    _print(rows, detected=measuring.detector is not None)
    halves = f"two halves of {found[0].floor.m}"
    how = f"features: {measuring.features.name}; natural: {measuring.natural}, {halves}"
    console.print(f"n = {n} images a set; IS: inception score; {how}", markup=False)
    for s in found:
        if s.score is not None and s.score.reason:
            console.print(f"{s.name}: no inception score: {s.score.reason}", markup=False)
    done.write(draw_sets(found, everything, what=how), _COLUMNS, rows)


def _row(
    measuring: _Measuring, name: str, own: MeasuredSet, distance: SetDistance | None
) -> list[object]:
    """Return what the table says of a set; natural images have no distance."""
    from evolver.analysis.success_rates import share

    row: list[object] = [
        name, len(own.features), measuring.natural, measuring.features.name,
        measuring.features.sha256[:12], measuring.classes, measuring.detector_name,
        measuring.seed, measuring.device,
    ]  # fmt: skip
    if distance is None:
        row += [nan, nan, nan]
    else:
        score = nan if distance.score is None else distance.score.mean
        row += [distance.distance.value, distance.floor.value, score]
    row += _pixel_means(own.pixels)
    if own.objects is None:
        return [*row, nan, nan, nan, nan]
    seen = int((own.objects.boxes > 0).sum())
    part = share(seen, len(own.objects.boxes), level=0.95)
    surest = float(own.objects.confidence.mean())
    return [*row, own.objects.detected, part.low, part.high, surest]


def _print(rows: Sequence[Sequence[object]], *, detected: bool) -> None:
    """Print the sets' numbers, as short as they are to fit."""
    first = _COLUMNS.index("distance")
    low = _COLUMNS.index("with an object, low")
    shown = [0, *range(first, low), low + 2] if detected else [0, *range(first, low - 1)]
    print_rows(
        _SHORT[: len(shown)],
        ((str(row[0]), *(_short(row[k]) for k in shown[1:])) for row in rows),
        numbers=True,
    )
    for row in rows if detected else ():
        seen, least, most = (_short(row[k]) for k in range(low - 1, low + 2))
        console.print(
            f"{row[0]}: with an object {seen} ({least} to {most}, Wilson's 95 %)", markup=False
        )


def _short(value: object) -> str:
    """Return a number in seven letters, or a dash."""
    if not isinstance(value, float):
        return str(value)
    return "-" if np.isnan(value) else f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.3f}"


def _pixel_means(pixels: ImageStatistics) -> list[float]:
    values = (getattr(pixels, name) for name in _PIXELS)
    return [float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else nan for v in values]
