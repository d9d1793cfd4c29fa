"""`evolver metric`: a generator's metric computed, drawn, and described.

Composition: names to generators and distances, seeds to points; prints, and draws progress.
"""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape

from evolver import metric, seeds
from evolver.analysis.spectra import matching_sigma, participation, spaced_ranks
from evolver.cli.terminal import check_can_write, console, error_console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Generator as Yields

    from evolver.types import Codes, Generator, Vector

app = typer.Typer(
    help="The metric a generator gives its codes, for the optimizer 'hessian'.",
    no_args_is_help=True,
)
_DIRECTIONS = 64

MetricFile = Annotated[
    Path, typer.Argument(metavar="FILE.npz", help="of 'compute', or in a public layout")
]
Weights = Annotated[Path | None, typer.Option(help="the generator's weight file")]
Device = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="an option of the generator; several allowed"),
]
BasisPart = Annotated[
    str | None, typer.Option(help="'nois' or 'clas', of a file that has one for each")
]


@app.command("compute")
def compute_metric(
    generator: Annotated[str, typer.Argument(metavar="GENERATOR", help="as mini-texture")],
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="file to write")],
    *,
    distance: Annotated[
        str, typer.Option(help="mse; NETWORK:LAYER, as mini:conv3; lpips-squeeze, -alex, -vgg")
    ] = "mse",
    points: Annotated[int, typer.Option(min=1, help="codes to average over")] = 10,
    directions: Annotated[
        int | None, typer.Option("-k", "--directions", min=1, help=f"{_DIRECTIONS} by default")
    ] = None,
    part: Annotated[str, typer.Option(help="of the code, as 'noise'; all by default")] = "",
    norm: Annotated[
        float | None,
        typer.Option(min=1e-6, help="length of the codes; as an evolution starts by default"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the codes")] = 0,
    weights: Weights = None,
    option: Option = None,
    device: Device = "cpu",
    folder: Annotated[
        Path | None, typer.Option(help="of finished points; OUT.npz.points by default")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a file that is there")] = False,
) -> None:
    """Compute the leading directions along which a generator's images change.

    What is finished is kept point by point: interrupted, the same command goes on; with more
    points, it computes those that are missing.
    """
    from evolver import generators
    from evolver.metric.average import average
    from scorers import distances

    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already; name another file, or add --overwrite")
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"{out} must be in a folder that is there; it is not")
    check_can_write(out.resolve().parent, "Name another file as OUT.npz")
    settings = _options(option)
    renderer = generators.load(generator, weights=weights, device=device, **settings)
    compared = distances.load_distance(distance, device=device)
    codes = draw_points(renderer, points, seed=seed, norm=norm)
    finished_points = folder or out.with_name(f"{out.name}.points")
    check_can_write(finished_points, "Name another folder for the finished points")
    with _points_bar(points) as update:
        computed = average(
            renderer,
            codes,
            k=directions or min(_DIRECTIONS, _dimensions(renderer, part)),
            distance=compared,
            part=part,
            folder=finished_points,
            progress=update,
            seed=seed,
            norm=norm,
            options=settings,
        )
    metric.write_metric(computed, out)
    console.print(f"metric: {out}\npoints: {finished_points} (may be removed)")
    _describe(computed)


@contextmanager
def _points_bar(points: int) -> Yields[Callable[[int, int], None]]:
    """Draw how many points are finished, where there is a terminal to draw it in."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    ) as bar:
        task = bar.add_task("points", total=points)
        yield lambda done, _: bar.update(task, completed=done)


@app.command("show")
def show_metric(
    file: MetricFile,
    *,
    cutoff: Annotated[
        int | None, typer.Option(min=1, help="directions the search has; all by default")
    ] = None,
    exponent: Annotated[float, typer.Option(min=0, max=10, help="of the search")] = 0.4,
    step: Annotated[
        float,
        typer.Option(
            min=1e-6,
            help="sigma of the search in all dimensions that steps are compared with: 3 is "
            "DeePSim's; 'evolver config check' says a generator's",
        ),
    ] = 3.0,
    part: BasisPart = None,
) -> None:
    """Say what a metric is of, and which step size makes a search along it begin as others."""
    leading = metric.read_metric(file, leading=cutoff, part=part)
    _describe(leading)
    axes = len(leading.eigenvalues)
    sigma = matching_sigma(leading.eigenvalues, d=leading.d, step=step, exponent=exponent)
    console.print(
        f"with exponent = {exponent:g} and cutoff = {axes}, sigma = {sigma:.3g} makes first "
        f"steps as long as those of sigma = {step:g} in all {leading.d} dimensions"
    )


@app.command("plot")
def plot_metric(
    file: MetricFile,
    *,
    out: Annotated[Path | None, typer.Option(help="PNG; beside FILE by default")] = None,
    axes: Annotated[int, typer.Option(min=1, max=40, help="rows of images")] = 8,
    images: Annotated[int, typer.Option(min=1, max=25, help="images a row")] = 7,
    reach: Annotated[
        float | None,
        typer.Option(min=0, help="latent step of the last image; half the code by default"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the code in the middle")] = 0,
    generator: Annotated[str, typer.Option(help="where the file does not say")] = "",
    weights: Weights = None,
    option: Option = None,
    device: Device = "cpu",
    part: BasisPart = None,
) -> None:
    """Draw the spectrum, and images along axes from the first to the last."""
    from evolver import generators
    from evolver.report import metric_figure, style

    target = out or file.with_suffix(".png")
    check_can_write(target.resolve().parent, "Name another file with --out")
    spectrum = metric.read_metric(file, part=part)
    provenance = spectrum.provenance
    name = generator or (provenance.generator if provenance else "")
    if not name:
        raise ConfigError(f"{file} does not say which generator it is of; add --generator")
    settings = _options(option) or (provenance.options if provenance else {})
    renderer = generators.load(name, weights=weights, device=device, **settings)
    remedy = "Name its --weights"
    metric.check_generator(
        provenance, file, generator=renderer.name, sha256=renderer.sha256, remedy=remedy
    )
    first, last = (provenance.first, provenance.last) if provenance else (0, renderer.d)
    if spectrum.d != last - first or last > renderer.d:
        raise ConfigError(
            f"{file} must be a metric of {name}'s {renderer.d} dimensions; it "
            f"is of {spectrum.d}"
        )
    code = draw_points(renderer, 1, seed=seed, norm=provenance.norm if provenance else None)[0]
    far = reach or float(np.linalg.norm(code[first:last])) / 2 or 1.0
    steps = np.linspace(-far, far, images) if images > 1 else np.zeros(1)
    ranks = spaced_ranks(len(spectrum.eigenvalues), axes)
    rows = [
        renderer.render(_along(code, spectrum.eigenvectors[:, rank - 1], steps, first))
        for rank in ranks
    ]
    part_name = f", {provenance.part}" if provenance and provenance.part else ""
    figure = metric_figure.draw_metric(
        spectrum.eigenvalues,
        rows,
        axes_ranks=ranks,
        steps=[round(float(step), 6) for step in steps],
        title=f"{name}{part_name}: image metric",
        subtitle=_subtitle(spectrum),
    )
    try:
        style.save(figure, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error}") from error
    console.print(f"figure: {target}")


def _along(code: Vector, axis: Vector, steps: Vector, first: int) -> Codes:
    """Return codes, (steps, d), along an axis of the dimensions from `first` on."""
    codes = np.repeat(code[None], len(steps), axis=0)
    codes[:, first : first + len(axis)] += steps[:, None] * axis
    return codes


def draw_points(generator: Generator, n: int, *, seed: int, norm: float | None) -> Codes:
    """Return codes, (n, d), as an evolution starts with, each from a stream of its own.

    Raises
    ------
    ConfigError
        They have no length that could be made `norm`.
    """
    codes = np.concatenate([
        generator.initial_codes(1, rng=seeds.stream(seed, "geometry", i)) for i in range(n)
    ])
    if norm is None:
        return codes
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    if not lengths.all():
        raise ConfigError(
            f"norm can be given where codes have a length; {generator.name} starts at zero"
        )
    return codes * (norm / lengths)


def _describe(described: metric.Metric) -> None:
    """Print what a metric is of."""
    provenance, values = described.provenance, described.eigenvalues
    if provenance is None:
        console.print("of a generator it does not name (a file in a public layout)")
    else:
        part = f", {provenance.part}" if provenance.part else ""
        console.print(f"generator: {escape(provenance.generator)}{part}")
        console.print(f"  weights sha256 {provenance.weights_sha256}")
        console.print(f"distance:  {escape(provenance.distance)}")
        length = "" if provenance.norm is None else f", of length {provenance.norm:g}"
        drawn = "" if provenance.seed is None else f", seed {provenance.seed}"
        console.print(f"points:    {provenance.points}{length}{drawn} ({provenance.solver})")
    console.print(
        f"axes:      {len(values)} of {described.d}; eigenvalues {values[0]:.3g} to "
        f"{values[-1]:.3g}; {participation(values):.1f} share it"
    )


def _subtitle(described: metric.Metric) -> str:
    axes = f"{len(described.eigenvalues)} of {described.d} axes"
    provenance = described.provenance
    if provenance is None:
        return axes
    n = f"{provenance.points} point{'' if provenance.points == 1 else 's'}"
    return f"distance {provenance.distance}, {n}, {axes}"


def _dimensions(generator: Generator, part: str) -> int:
    parts: dict[str, tuple[int, int]] = getattr(generator, "parts", {})
    first, last = parts.get(part, (0, generator.d))
    return last - first


def _options(texts: Sequence[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE as a session file would; a bare word is text."""
    options: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ConfigError(f"an option must be NAME=VALUE, as chunk=4; got {text!r}")
        try:
            options[name] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            options[name] = value
    return options
