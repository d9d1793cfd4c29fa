"""`evolver geometry`: a generator's metric computed, drawn, and described.

Composition: names to generators and distances, seeds to points; prints, and draws progress.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape

from evolver import metric, seeds
from evolver.cli.terminal import console, error_console
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.types import Codes, Generator

app = typer.Typer(
    help="The metric a generator gives its codes, for the optimizer 'hessian'.",
    no_args_is_help=True,
)
_DIRECTIONS = 64
_STEP = 3.0  # latent units: what 'show' compares steps with

MetricFile = Annotated[
    Path, typer.Argument(metavar="FILE.npz", help="of 'compute', or in a public layout")
]
WeightsOption = Annotated[Path | None, typer.Option(help="the generator's weight file")]
DeviceOption = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
GeneratorOption = Annotated[
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
    weights: WeightsOption = None,
    option: GeneratorOption = None,
    device: DeviceOption = "cpu",
    folder: Annotated[
        Path | None, typer.Option(help="of finished points; OUT.npz.points by default")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a file that is there")] = False,
) -> None:
    """Compute the leading directions along which a generator's images change.

    What is finished is kept point by point: interrupted, the same command goes on; with more
    points, it computes those that are missing.
    """
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from evolver import generators
    from evolver.metric.average import average
    from scorers import distances

    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already; name another file, or add --overwrite")
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"{out} must be in a folder that is there; it is not")
    settings = _options(option)
    made = generators.load(generator, weights=weights, device=device, **settings)
    apart = distances.load(distance, device=device)
    codes = draw_codes(made, points, seed=seed, norm=norm)
    kept = folder or out.with_name(f"{out.name}.points")
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    ) as bar:
        task = bar.add_task("points", total=points)
        average_metric = average(
            made,
            codes,
            k=directions or min(_DIRECTIONS, _dimensions(made, part)),
            distance=apart,
            part=part,
            folder=kept,
            progress=lambda done, _: bar.update(task, completed=done),
            seed=seed,
            norm=norm,
            options=settings,
        )
    metric.write(average_metric, out)
    console.print(f"metric: {out}\npoints: {kept} (may be removed)")
    _print_metric(average_metric)


@app.command("show")
def describe_metric(
    file: MetricFile,
    *,
    cutoff: Annotated[
        int | None, typer.Option(min=1, help="directions the search has; all by default")
    ] = None,
    exponent: Annotated[float, typer.Option(min=0, max=10, help="of the search")] = 0.4,
    part: BasisPart = None,
) -> None:
    """Say what a metric is of, and which step size makes a search along it begin as others."""
    latent_metric = metric.read(file, leading=cutoff, part=part)
    _print_metric(latent_metric)
    sigma = matching_sigma(latent_metric, step=_STEP, exponent=exponent)
    console.print(
        f"with exponent = {exponent:g} and cutoff = {len(latent_metric.eigenvalues)}, sigma = "
        f"{sigma:.3g} makes first steps as long as those of sigma = {_STEP:g} in all "
        f"{latent_metric.d} dimensions"
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
    weights: WeightsOption = None,
    option: GeneratorOption = None,
    device: DeviceOption = "cpu",
    part: BasisPart = None,
) -> None:
    """Draw the spectrum, and images along axes from the first to the last."""
    from evolver import generators
    from evolver.report import metric_figure, style

    latent_metric = metric.read(file, part=part)
    provenance = latent_metric.provenance
    name = generator or (provenance.generator if provenance else "")
    if not name:
        raise ConfigError(f"{file} does not say which generator it is of; add --generator")
    settings = _options(option) or (provenance.options if provenance else {})
    made = generators.load(name, weights=weights, device=device, **settings)
    remedy = "Name its --weights"
    metric.check_generator(
        provenance, file, generator=made.name, sha256=made.sha256, remedy=remedy
    )
    first, last = (provenance.first, provenance.last) if provenance else (0, made.d)
    if latent_metric.d != last - first or last > made.d:
        raise ConfigError(
            f"{file} must be a metric of {name}'s {made.d} dimensions; it is of "
            f"{latent_metric.d}"
        )
    code = draw_codes(made, 1, seed=seed, norm=provenance.norm if provenance else None)[0]
    far = reach or float(np.linalg.norm(code[first:last])) / 2 or 1.0
    steps = np.linspace(-far, far, images) if images > 1 else np.zeros(1)
    of_part = f", {provenance.part}" if provenance and provenance.part else ""
    axis_ranks = metric_figure.ranks(len(latent_metric.eigenvalues), axes)
    rows: list[Any] = []
    for rank in axis_ranks:
        codes = np.repeat(code[None], images, axis=0)
        codes[:, first:last] += steps[:, None] * latent_metric.eigenvectors[:, rank - 1]
        rows.append(made.render(codes))
    drawn = metric_figure.figure(
        latent_metric.eigenvalues,
        rows,
        shown=axis_ranks,
        steps=[round(float(step), 6) for step in steps],
        title=f"{name}{of_part}: image metric",
        subtitle=_subtitle(latent_metric),
    )
    target = out or file.with_suffix(".png")
    try:
        style.save(drawn, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error}") from error
    console.print(f"figure: {target}")


def draw_codes(generator: Generator, n: int, *, seed: int, norm: float | None) -> Codes:
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


def matching_sigma(latent_metric: metric.Metric, *, step: float, exponent: float) -> float:
    """Return the sigma of `HessianCMA` whose first steps are as long as an isotropic search's.

    A step is sigma * sum over axes of z lambda^-exponent, z standard normal; of all d
    dimensions alike, with `step` for sigma, it has the mean square step^2 d.
    """
    values = np.maximum(latent_metric.eigenvalues, 1e-6 * latent_metric.eigenvalues[0])
    return float(step * np.sqrt(latent_metric.d / np.sum(values ** (-2 * exponent))))


def _print_metric(latent_metric: metric.Metric) -> None:
    from evolver.report.metric_figure import participation

    provenance, values = latent_metric.provenance, latent_metric.eigenvalues
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
        f"axes:      {len(values)} of {latent_metric.d}; eigenvalues {values[0]:.3g} to "
        f"{values[-1]:.3g}; {participation(values):.1f} share it"
    )


def _subtitle(latent_metric: metric.Metric) -> str:
    provenance = latent_metric.provenance
    axes = f"{len(latent_metric.eigenvalues)} of {latent_metric.d} axes"
    if provenance is None:
        return axes
    n = f"{provenance.points} point{'' if provenance.points == 1 else 's'}"
    return f"distance {provenance.distance}, {n}, {axes}"


def _dimensions(generator: Generator, part: str) -> int:
    parts: dict[str, tuple[int, int]] = getattr(generator, "parts", {})
    first, last = parts.get(part, (0, generator.d))
    return last - first


def _options(given: Sequence[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE as a session file would; a bare word is text."""
    options: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ConfigError(f"an option must be NAME=VALUE, as chunk=4; got {text!r}")
        try:
            options[name] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            options[name] = value
    return options
