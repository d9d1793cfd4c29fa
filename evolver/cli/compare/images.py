"""`evolver compare sets | statistics`: images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    CHOSEN_IMAGES,
    EMBEDDED,
    Device,
    SeedOption,
    check_out,
    once,
    print_rows,
    progress_bar,
    write_figure,
)
from evolver.cli.terminal import console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evolver.analysis.image_statistics import ImageStatistics
    from evolver.comparisons.last_generations import LastGenerations
    from evolver.types import Scores


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
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "sets.png"
    ),
) -> None:
    """Say how far sets of images are from natural ones, and what their pixels are like.

    Frechet distance of a network's features beside its floor, natural images from other natural
    ones of sets of the same size; inception score with ten splits; luminance, contrast, slope
    of the spectrum. The embedded network's features are no Inception's: an FID, comparable with
    published ones, needs --features fid, and the extra 'fid'.
    """
    from evolver.comparisons import sets as room
    from evolver.comparisons.image_figures import draw_sets
    from evolver.comparisons.inception import load_inception
    from evolver.comparisons.sources import image_batches
    from evolver.lab_modules import find_attribute

    check_out(out)
    names = once(image_sets or [*EMBEDDED, "pink", "white"])
    if _place(natural) in map(_place, names):
        raise ConfigError(
            f"--natural must be another set than those compared with it; {natural} is both, "
            "and would share images. Its distance from itself is the floor"
        )
    if features == "fid":
        measure: room.Features = load_inception(weights=fid_weights, device=device)
    elif fid_weights is not None:
        raise ConfigError(f"--fid-weights is for --features fid; the features are {features}")
    else:
        measure = room.LayerFeatures(features, classes, networks=networks_in(session_file))

    sees: room.Detector | None = find_attribute("detector", detector) if detector else None
    if detector and not callable(sees):
        raise ConfigError(f"detector {detector} must be callable; it is {type(sees).__name__}")

    def measured(name: str, count: int) -> room.MeasuredSet:
        batches = image_batches(name, count, size=measure.side, seed=seed, device=device)
        with progress_bar(name, count) as update:
            return room.measure_set(
                batches, measure, detector=sees, progress=lambda done: update(done, count)
            )

    sets = {name: measured(name, n) for name in names}
    reference = measured(natural, 2 * n)
    found = room.set_distances(sets, reference, seed=seed)
    heads = ["set", "n", "distance", "floor", "inception score", *_PIXELS]
    rows: list[list[object]] = [
        [
            s.name,
            s.distance.n,
            s.distance.value,
            s.floor.value,
            s.score.mean if s.score is not None else float("nan"),
            *_pixel_means(sets[s.name].pixels),
        ]
        for s in found
    ]
    nothing = float("nan")
    rows.append([natural, 2 * n, nothing, nothing, nothing, *_pixel_means(reference.pixels)])
    everything = {**sets, natural: reference}
    if sees is not None:
        heads += ["with an object", "surest object"]
        for row, own in zip(rows, everything.values(), strict=True):
            if own.objects is not None:
                row += [own.objects.detected, float(own.objects.confidence.mean())]
    short = ["set", "distance", "floor", "IS", "lum.", "contrast", "slope", "objects", "surest"]
    print_rows(
        short[: len(heads) - 1],
        ((str(name), *(_short(x) for x in rest)) for name, _, *rest in rows),
        numbers=True,
    )
    how = f"features: {measure.name}; natural: {natural}, two halves of {found[0].floor.m}"
    console.print(f"n = {n} images a set; IS: inception score; {how}")
    for s in found:
        if s.score is not None and s.score.reason:
            console.print(f"{s.name}: no inception score: {s.score.reason}")
    write_figure(out, draw_sets(found, everything, what=how), heads, rows)


def _place(name: str) -> str:
    """Return what a set is, whatever its folder is called."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _short(value: object) -> str:
    """Return a number in seven letters, or a dash."""
    if not isinstance(value, float):
        return str(value)
    return "-" if np.isnan(value) else f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.3f}"


_PIXELS = ("luminance", "contrast", "slope")


def _pixel_means(pixels: ImageStatistics) -> list[float]:
    values = (getattr(pixels, name) for name in _PIXELS)
    return [float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else np.nan for v in values]


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
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "statistics.png"
    ),
) -> None:
    """Measure the images that evolutions ended with: luminance, contrast, spectrum.

    As published, of every image of the last generations: mean luminance, RMS contrast, radial
    power and its slope, power by orientation; means with their standard error over images,
    tests between two generators over sessions, each the mean of its images, in pairs where
    sessions have a thread of both.
    """
    from evolver.comparisons import last_generations as room
    from evolver.comparisons.image_figures import draw_statistics

    check_out(out)
    paths = room.find_recordings(places)
    with progress_bar("recordings", len(paths)) as update:
        found = room.read_last_generations(paths, size=size, progress=update)
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
        console.print(f"{each.measure}, {found[0].generator} above: {each.test} ({kind})")
    write_figure(
        out,
        draw_statistics(found, tests),
        ("generator", "session", "image", *room.MEASURES, "red", "green", "blue"),
        (row for one in found for row in _image_rows(one)),
    )


def _image_rows(found: LastGenerations) -> Iterator[tuple[object, ...]]:
    from evolver.comparisons import last_generations as room

    numbers = [getattr(found.statistics, m).tolist() for m in room.MEASURES]
    sessions: list[int] = found.session.tolist()
    colours: list[list[float]] = found.statistics.rgb.tolist()
    for i, k in enumerate(sessions):
        yield found.generator, found.sessions[k], i, *(n[i] for n in numbers), *colours[i]


def _mean_and_sem(values: Scores) -> str:
    kept = values[np.isfinite(values)]
    if len(kept) < 2:
        return f"{kept[0]:.3g}" if len(kept) else "none"
    return f"{kept.mean():.3g} ± {kept.std(ddof=1) / np.sqrt(len(kept)):.2g}"
