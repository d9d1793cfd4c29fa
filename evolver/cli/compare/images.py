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
    print_rows,
    write_csv,
)
from evolver.cli.terminal import check_can_write, console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.analysis.image_statistics import ImageStatistics
    from evolver.types import Matrix


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
            metavar="NETWORK:LAYER", help="as torchvision:inception_v3:avgpool, for an FID"
        ),
    ] = "mini:fc6",
    classes: Annotated[
        str,
        typer.Option(
            metavar="NETWORK:LAYER", help="logits, for the inception score; '' for none"
        ),
    ] = "mini:logits",
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option(help="table, a CSV file")] = Path("sets.csv"),
) -> None:
    """Say how far sets of images are from natural ones, and what their pixels are like.

    Frechet distance of a network's features beside its floor, natural images from other natural
    ones of sets of the same size; inception score with ten splits; luminance, contrast, slope
    of the spectrum. The embedded network's features are no Inception's: an FID needs
    --features torchvision:inception_v3:avgpool, and the extra 'torchvision'.
    """
    import scorers
    from evolver.analysis.image_statistics import image_statistics
    from evolver.analysis.rank_tests import mean_interval
    from evolver.comparisons import sets as room
    from evolver.comparisons.sources import image_set

    check_can_write(out.resolve().parent, "Name another file with --out")
    names = image_sets or [*EMBEDDED, "pink", "white"]
    if natural in names:
        raise ConfigError(
            f"--natural must be another set than those compared with it; {natural} is both, "
            "and would share images. Its distance from itself is the floor"
        )
    networks = networks_in(session_file)
    featurer = scorers.load([f"{features}:all"], networks=networks)
    classifier = scorers.load([f"{classes}:all"], networks=networks) if classes else None
    side = max(next(iter(featurer.networks.values())).preprocessing.uncut_size)
    values: dict[str, Matrix] = {}
    logits: dict[str, Matrix] = {}
    pixels: dict[str, ImageStatistics] = {}
    for name in names:
        with console.status(f"{name}: {n} images …"):
            images = image_set(name, n, size=side, seed=seed, device=device)
            values[name] = featurer.score(images)
            if classifier is not None:
                logits[name] = classifier.score(images)
            pixels[name] = image_statistics(images)
    with console.status(f"{natural}: {2 * n} images …"):
        others = image_set(natural, 2 * n, size=side, seed=seed, device=device)
        natural_values = featurer.score(others)
    found = room.set_distances(
        values, natural_values, seed=seed, logits=logits if classifier is not None else None
    )
    heads = (
        "set",
        "n",
        "distance",
        "floor",
        "inception score",
        "luminance",
        "contrast",
        "slope",
    )
    rows = [
        (
            s.name,
            s.distance.n,
            s.distance.value,
            s.floor.value,
            s.score.mean if s.score is not None else float("nan"),
            mean_interval(pixels[s.name].luminance).mean,
            mean_interval(pixels[s.name].contrast).mean,
            mean_interval(pixels[s.name].slope[np.isfinite(pixels[s.name].slope)]).mean,
        )
        for s in found
    ]
    print_rows(heads, ((a, k, *(f"{x:.3g}" for x in rest)) for a, k, *rest in rows))
    console.print(f"features: {features}; natural: {natural}, two halves of {found[0].floor.m}")
    write_csv(out, heads, rows)
    console.print(f"table:  {out}")
