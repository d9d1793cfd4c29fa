"""`evolver compare invert | align | linearity`: a generator's codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    CHOSEN_IMAGES,
    EMBEDDED,
    LAYERS,
    Device,
    Generators,
    SeedOption,
    check_out,
    metric_files,
    once,
    print_rows,
    progress_bar,
    write_figure,
)
from evolver.cli.terminal import console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.comparisons.inversion import Inversions


def compare_inversions(
    generator: Generators = None,
    images: Annotated[str, typer.Option(help=CHOSEN_IMAGES)] = "scenes",
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="images")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="of Adam")] = 401,
    rate: Annotated[float, typer.Option(min=0, help="of Adam, latent units")] = 2e-3,
    seed: SeedOption = 1,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "inversion.png"
    ),
) -> None:
    """Draw given images through each generator by descent on pixels, and say which is nearer.

    As published: codes from N(0, 1), Adam at 0.002, 401 steps, Pearson correlation over pixels,
    signed-rank test between two generators.
    """
    from evolver.analysis.rank_tests import mean_interval, signed_rank
    from evolver.comparisons.figures import draw_inversions
    from evolver.comparisons.inversion import invert_images
    from evolver.comparisons.sources import image_set, load_source

    check_out(out)
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    sizes = sorted({g.image_size for g in loaded})
    if len(sizes) > 1:
        raise ConfigError(f"generators must draw images of one size; these draw {sizes}")
    originals = image_set(images, n, size=sizes[0], seed=seed, device=device)
    results: list[Inversions] = []
    for g in loaded:
        with progress_bar(g.name, n) as update:
            results.append(
                invert_images(g, originals, seed=seed, steps=steps, rate=rate, progress=update)
            )
    print_rows(
        ("generator", "Pearson r, mean (95 %)", "at the start", "pixel RMSE"),
        (
            (
                r.generator,
                mean_interval(r.pearson[np.isfinite(r.pearson)]),
                mean_interval(r.at_start[np.isfinite(r.at_start)]),
                mean_interval(r.rmse),
            )
            for r in results
        ),
    )
    if len(results) == 2:
        first, second = results
        both = np.isfinite(first.pearson) & np.isfinite(second.pearson)
        test = signed_rank(first.pearson[both], second.pearson[both])
        console.print(f"signed-rank, {first.generator} above {second.generator}: {test}")
    how = f"Adam {rate:g}, {steps} steps, from N(0, 1)"
    write_figure(
        out,
        draw_inversions(originals, results, what=images, how=how),
        ("generator", "image", "pearson", "pearson_at_start", "rmse"),
        (
            (r.generator, i, r.pearson[i], r.at_start[i], r.rmse[i])
            for r in results
            for i in range(n)
        ),
    )


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
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "alignment.png"
    ),
) -> None:
    """Search through random invertible flows, of more and more layers and dimensions.

    The published toy: RealNVP with random weights, depths 0 to 64, dimensions 2 to 256 and ten
    seeds without options; Cholesky CMA-ES at 0.5 and Adam at 0.1 from one start.
    """
    from evolver.analysis.rank_tests import mean_interval
    from evolver.comparisons import alignment as room
    from evolver.comparisons.figures import draw_alignment

    check_out(out)
    depths, dimensions = once(depth or room.DEPTHS), once(dimension or room.DIMENSIONS)
    with progress_bar("flows", len(depths) * len(dimensions) * n) as update:
        runs = room.run_alignment(
            depths,
            dimensions,
            range(room.SEEDS[0], room.SEEDS[0] + n),
            steps=steps,
            sigma=sigma,
            progress=update,
        )
    print_rows(
        ("layers", "d", "start", *(f"{m}, final value, mean (95 %)" for m in room.METHODS)),
        (
            (
                layers,
                d,
                f"{runs.start[i, j].mean():.3g}",
                *(mean_interval(runs.final[m][i, j]) for m in room.METHODS),
            )
            for i, layers in enumerate(depths)
            for j, d in enumerate(dimensions)
        ),
    )
    write_figure(
        out,
        draw_alignment(runs),
        ("layers", "d", "seed", "start", *room.METHODS),
        (
            (
                depths[i],
                dimensions[j],
                runs.seeds[k],
                runs.start[i, j, k],
                *(runs.final[m][i, j, k] for m in room.METHODS),
            )
            for i in range(len(depths))
            for j in range(len(dimensions))
            for k in range(n)
        ),
    )


def compare_linearity(
    generator: Generators = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="several allowed, the first nearest to the image; conv2, conv3, conv4, fc5 "
            "and fc6 of mini without it",
        ),
    ] = None,
    n: Annotated[
        int, typer.Option("-n", min=20, max=1_000_000, help="images; published 5,000")
    ] = 1000,
    units: Annotated[int, typer.Option(min=1, max=10_000, help="of each layer")] = 96,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="GENERATOR=FILE.npz", help="for its first and last directions"),
    ] = None,
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "linearity.png"
    ),
) -> None:
    """Say how linear units are in a generator's code, and its code in units, layer by layer.

    As published: ridge with its penalty chosen by cross-validation, a fifth of the images held
    out by the seed 42; all of the code, its class and noise, directions of its metric.
    """
    import scorers
    from evolver import seeds
    from evolver.analysis.linear_maps import depth_trend
    from evolver.comparisons import linearity as room
    from evolver.comparisons import maximisation
    from evolver.comparisons.figures import draw_linearity
    from evolver.comparisons.sources import load_source
    from evolver.metric import read_metric
    from scorers.units import parse_layer

    check_out(out)
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    paths = metric_files(metric or (), (g.name for g in loaded))
    metrics = {name: read_metric(path) for name, path in paths.items()}
    for g in loaded:
        of = metrics.get(g.name)
        if of is None:
            continue
        made_for = g.name if of.provenance is None else of.provenance.generator
        if of.d != g.d or made_for != g.name:
            raise ConfigError(
                f"the metric of {g.name} must be its own, of {g.d} dimensions; "
                f"{paths[g.name]} is of {made_for} and {of.d} dimensions"
            )
    networks = networks_in(session_file)
    named = [parse_layer(text) for text in once(layer or LAYERS)]
    addresses: list[str] = []
    for network_name, layer_name in named:
        probe = scorers.load([f"{network_name}:{layer_name}:0"], networks=networks)
        addresses += maximisation.drawn_units(
            probe.networks[network_name], layer_name, units, name=network_name, seed=seed
        )
    scorer = scorers.load(addresses, networks=networks)
    layer_of = np.array([":".join(name.split(":")[:2]) for name in addresses])
    found: dict[str, list[list[room.Linearity]]] = {}
    for g in loaded:
        axes = metrics[g.name].eigenvectors if g.name in metrics else None
        codes = g.initial_codes(n, rng=seeds.stream(seed, "linearity", g.name))
        with console.status(f"{g.name}: {n} images …"):
            responses = scorer.score(g.render(codes))
        parts = room.code_parts(g, metric=axes, seed=seed)
        found[g.name] = [
            room.linearity(codes, responses[:, layer_of == f"{name}:{part}"], parts)
            for name, part in named
        ]
    layers = [name for _, name in named]
    print_rows(
        ("generator", "part", "k", "direction", *layers),
        (
            (
                name,
                by_layer[0][p].part,
                by_layer[0][p].k,
                direction,
                *(f"{getattr(of_layer[p], which).mean:.3f}" for of_layer in by_layer),
            )
            for name, by_layer in found.items()
            for p in range(len(by_layer[0]))
            for direction, which in (("to units", "to_units"), ("to code", "to_codes"))
        ),
    )
    fitted = n - -(-n // 5)
    how = f"n = {fitted} images fitted, {n - fitted} held out"
    members = [np.flatnonzero(layer_of == f"{a}:{b}").tolist() for a, b in named]
    counts = ", ".join(str(len(own)) for own in members)
    console.print(f"mean R²; {how}; units of each layer: {counts}")
    for name, by_layer in found.items() if len(layers) > 1 else ():
        trend = depth_trend(
            range(len(layers)),
            [of_layer[0].to_units.r2 for of_layer in by_layer],
            rng=seeds.stream(seed, "depth"),
        )
        console.print(
            f"{name}: units from the code against depth, Spearman {trend.rho:+.2f} "
            f"({trend.low:+.2f} to {trend.high:+.2f}, 95 %), {trend.n} units"
        )
    write_figure(
        out,
        draw_linearity(
            layers,
            found,
            how=f"{how}; units of each layer: {counts}",
        ),
        ("generator", "part", "k", "layer", "direction", "column", "unit", "r2", "lambda"),
        (
            (name, one.part, one.k, layers[i], direction, column, unit, r2, held.penalty)
            for name, by_layer in found.items()
            for i, of_layer in enumerate(by_layer)
            for one in of_layer
            for direction, held in (("to units", one.to_units), ("to code", one.to_codes))
            for column, (unit, r2) in enumerate(
                zip(
                    [addresses[k] for k in members[i]]
                    if direction == "to units"
                    else [""] * one.k,
                    held.r2,
                    strict=True,
                )
            )
        ),
    )
