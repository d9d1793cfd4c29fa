"""`evolver compare`: the published comparisons of generators, each a figure and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import check_can_write, console, error_console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from evolver.analysis.image_statistics import ImageStatistics
    from evolver.analysis.rank_tests import RankTest
    from evolver.comparisons.inversion import Inversions
    from evolver.types import Matrix

app = typer.Typer(
    no_args_is_help=True,
    help="The published comparisons of generators: inversion, maximisation, and others.",
)

Generators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator",
        metavar="NAME[=WEIGHTS]",
        help="several allowed; mini-texture and mini-object without it",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="of all that is drawn at random")]
Device = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
_LAYERS = ("mini:conv2", "mini:conv3", "mini:conv4", "mini:fc5", "mini:fc6")
_EXAMPLES = 3  # images of a layer in the figure
_EMBEDDED = ("mini-texture", "mini-object")
_CHOSEN_IMAGES = (
    "'scenes' (the built-in world), 'white', 'pink', a folder, or a generator's: NAME or "
    "NAME@CODES, as deepsim-fc6@normal:4"
)


@app.command("invert")
def compare_inversions(
    generator: Generators = None,
    images: Annotated[str, typer.Option(help=_CHOSEN_IMAGES)] = "scenes",
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

    _check_out(out)
    loaded = [load_source(text, device=device) for text in generator or _EMBEDDED]
    sizes = sorted({g.image_size for g in loaded})
    if len(sizes) > 1:
        raise ConfigError(f"generators must draw images of one size; these draw {sizes}")
    originals = image_set(images, n, size=sizes[0], seed=seed, device=device)
    results: list[Inversions] = []
    for g in loaded:
        with _bar(g.name, n) as update:
            results.append(
                invert_images(g, originals, seed=seed, steps=steps, rate=rate, progress=update)
            )
    _print_rows(
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
    _write(
        out,
        draw_inversions(originals, results, what=images, how=how),
        ("generator", "image", "pearson", "pearson_at_start", "rmse"),
        (
            (r.generator, i, r.pearson[i], r.at_start[i], r.rmse[i])
            for r in results
            for i in range(n)
        ),
    )


@app.command("maximise")
def compare_maximisation(
    generator: Generators = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="several allowed; conv2, conv3, conv4, fc5 and fc6 of mini without it",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="adam[:LR], sgd:LR, adam+rotation, adam+scaled, sgd+scaled:LR, "
            "cholesky[:SIGMA]; several allowed; adam without it"
        ),
    ] = None,
    units: Annotated[int, typer.Option(min=1, max=1000, help="of each layer")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="or generations of cholesky")] = 100,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="runs a unit")] = 10,
    batch: Annotated[
        int, typer.Option(min=1, max=1000, help="codes of a run that climb side by side")
    ] = 4,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="GENERATOR=FILE.npz", help="for the methods along a basis"),
    ] = None,
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "maximisation.png"
    ),
) -> None:
    """Drive units of layers through each generator by each method, and say how far.

    As published: the centre units of random channels, 100 steps, 10 repeats; the largest drive
    of a run; rank-sum over the runs of a layer, each as a share of its unit's largest, and
    signed-rank over units.
    """
    import scorers
    from evolver.analysis.rank_tests import mean_interval, rank_sum, signed_rank
    from evolver.comparisons import maximisation as room
    from evolver.comparisons.figures import LayerPanel, draw_maximisation
    from evolver.comparisons.sources import load_source
    from scorers.units import parse_layer

    _check_out(out)
    if units * repeats * batch < 2:
        raise ConfigError("there must be two codes at least: more units, repeats or batch")
    loaded = [load_source(text, device=device) for text in generator or _EMBEDDED]
    metrics = _named_files(metric or ())
    methods = [room.parse_method(text) for text in method or ("adam",)]
    networks = networks_in(session_file)
    panels: list[LayerPanel] = []
    table: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    for text in layer or _LAYERS:
        network_name, layer_name = parse_layer(text)
        probe = scorers.load([f"{network_name}:{layer_name}:0"], networks=networks)
        network = probe.networks[network_name]
        addresses = room.drawn_units(network, layer_name, units, name=network_name, seed=seed)
        scorer = scorers.load(addresses, networks=networks)
        runs: list[room.Maximised] = []
        for g in loaded:
            for how in methods:
                with _bar(f"{layer_name}, {g.name}, {how}", steps) as update:
                    run = room.maximise(
                        g,
                        scorer,
                        how,
                        layer=layer_name,
                        seed=seed,
                        steps=steps,
                        repeats=repeats,
                        batch=batch,
                        metric=metrics.get(g.name),
                        progress=update,
                    )
                runs.append(run)
        shares = dict(
            zip(
                [(run.generator, run.method) for run in runs],
                room.relative_scores(runs),
                strict=True,
            )
        )
        tests: dict[str, RankTest] = {}
        for how in methods:
            if len(loaded) > 1:
                a, b = (shares[g.name, str(how)] for g in loaded[:2])
                kept = np.isfinite(a).all(axis=1)
                tests[str(how)] = rank_sum(a[kept].ravel(), b[kept].ravel())
                paired = signed_rank(a[kept].mean(axis=1), b[kept].mean(axis=1))
                rows.append((layer_name, how, tests[str(how)], paired))
        examples = {
            g.name: g.render(
                np.stack([
                    unit[values.argmax()]
                    for unit, values in zip(run.codes, run.best, strict=True)
                ])[:_EXAMPLES]
            )
            for g, run in zip(loaded, runs[:: len(methods)], strict=True)
        }
        panels.append(LayerPanel(layer_name, shares, tests, examples))
        for run in runs:
            share = shares[run.generator, run.method]
            table.extend(
                (layer_name, run.generator, run.method, unit, r, run.images, best, part)
                for unit, bests, parts in zip(run.units, run.best, share, strict=True)
                for r, (best, part) in enumerate(zip(bests, parts, strict=True))
            )
    _print_rows(
        ("layer", "generator", "method", "share of the unit's largest, mean over units (95 %)"),
        (
            (p.layer, *key, mean_interval(s[np.isfinite(s).all(axis=1)].mean(axis=1)))
            for p in panels
            for key, s in p.scores.items()
        ),
    )
    if rows:
        names = f"{loaded[0].name} above {loaded[1].name}"
        _print_rows(("layer", "method", f"{names}: rank-sum, runs", "signed-rank, units"), rows)
    how_text = (
        f"n = {units} units a layer, runs a unit: {repeats}; {steps} steps, batch {batch}"
    )
    _write(
        out,
        draw_maximisation(panels, how=how_text),
        ("layer", "generator", "method", "unit", "repeat", "images", "largest_drive", "share"),
        table,
    )


@app.command("align")
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

    _check_out(out)
    depths, dimensions = tuple(depth or room.DEPTHS), tuple(dimension or room.DIMENSIONS)
    with _bar("flows", len(depths) * len(dimensions) * n) as update:
        runs = room.run_alignment(
            depths,
            dimensions,
            range(room.SEEDS[0], room.SEEDS[0] + n),
            steps=steps,
            sigma=sigma,
            progress=update,
        )
    _print_rows(
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
    _write(
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


@app.command("linearity")
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

    _check_out(out)
    loaded = [load_source(text, device=device) for text in generator or _EMBEDDED]
    metrics = _named_files(metric or ())
    networks = networks_in(session_file)
    named = [parse_layer(text) for text in layer or _LAYERS]
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
        axes = read_metric(Path(metrics[g.name])).eigenvectors if g.name in metrics else None
        codes = g.initial_codes(n, rng=seeds.stream(seed, "linearity", g.name))
        with console.status(f"{g.name}: {n} images …"):
            responses = scorer.score(g.render(codes))
        parts = room.code_parts(g, metric=axes, seed=seed)
        found[g.name] = [
            room.linearity(codes, responses[:, layer_of == f"{name}:{part}"], parts)
            for name, part in named
        ]
    layers = [name for _, name in named]
    _print_rows(
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
    for name, by_layer in found.items():
        trend = depth_trend(
            range(len(layers)),
            [of_layer[0].to_units.r2 for of_layer in by_layer],
            rng=seeds.stream(seed, "depth"),
        )
        console.print(
            f"{name}: units from the code against depth, Spearman {trend.rho:+.2f} "
            f"({trend.low:+.2f} to {trend.high:+.2f}), {trend.n} units"
        )
    _write(
        out,
        draw_linearity(layers, found, how=f"n = {n} images, {units} units a layer at most"),
        ("generator", "part", "k", "layer", "direction", "column", "r2", "lambda"),
        (
            (name, one.part, one.k, layers[i], direction, column, r2, held.penalty)
            for name, by_layer in found.items()
            for i, of_layer in enumerate(by_layer)
            for one in of_layer
            for direction, held in (("to units", one.to_units), ("to code", one.to_codes))
            for column, r2 in enumerate(held.r2)
        ),
    )


@app.command("sets")
def compare_image_sets(
    image_sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="IMAGES",
            help=f"{_CHOSEN_IMAGES}; several allowed; mini-texture, mini-object, pink and "
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
    names = image_sets or [*_EMBEDDED, "pink", "white"]
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
    _print_rows(heads, ((a, k, *(f"{x:.3g}" for x in rest)) for a, k, *rest in rows))
    console.print(f"features: {features}; natural: {natural}, two halves of {found[0].floor.m}")
    _write_table(out, heads, rows)
    console.print(f"table:  {out}")


def _named_files(texts: Sequence[str]) -> dict[str, str]:
    """Read NAME=FILE."""
    named: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"a metric must be GENERATOR=FILE.npz; got {text!r}")
        named[name] = path
    return named


def _check_out(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out must name a PNG file, as comparison.png; got {out}")
    check_can_write(out.resolve().parent, "Name another file with --out")


def _print_rows(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(escape(head), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


def _write(
    out: Path, figure: Figure, heads: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Write the figure, and the numbers behind it as CSV."""
    from evolver.report.style import save

    table = out.with_suffix(".csv")
    try:
        save(figure, out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error}") from error
    _write_table(table, heads, rows)
    console.print(f"figure: {out}\ntable:  {table}")


def _write_table(file: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from evolver.whole_files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    try:
        write_whole(file, text.getvalue().encode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error


@contextmanager
def _bar(what: str, total: int) -> Generator[Callable[[int, int], None]]:
    """Draw how much is finished, where there is a terminal to draw it in."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    ) as bar:
        task = bar.add_task(escape(what), total=total)
        yield lambda done, of: bar.update(task, completed=done, total=of)
