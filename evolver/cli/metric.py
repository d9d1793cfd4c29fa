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
Weights = Annotated[Path | None, typer.Option(help="the generator's weight file")]
Device = Annotated[str, typer.Option(help="torch device: 'cpu', 'cuda', 'cuda:1'")]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="an option of the generator; several allowed"),
]
BasisPart = Annotated[
    str | None, typer.Option(help="'nois' or 'clas', of a file that has one for each")
]


@app.command()
def compute(
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
    codes = draw(made, points, seed=seed, norm=norm)
    kept = folder or out.with_name(f"{out.name}.points")
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    ) as bar:
        task = bar.add_task("points", total=points)
        found = average(
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
    metric.write_metric(found, out)
    console.print(f"metric: {out}\npoints: {kept} (may be removed)")
    _say(found)


@app.command()
def show(
    file: MetricFile,
    *,
    cutoff: Annotated[
        int | None, typer.Option(min=1, help="directions the search has; all by default")
    ] = None,
    exponent: Annotated[float, typer.Option(min=0, max=10, help="of the search")] = 0.4,
    part: BasisPart = None,
) -> None:
    """Say what a metric is of, and which step size makes a search along it begin as others."""
    found = metric.read_metric(file, leading=cutoff, part=part)
    _say(found)
    sigma = matching_sigma(found, step=_STEP, exponent=exponent)
    console.print(
        f"with exponent = {exponent:g} and cutoff = {len(found.eigenvalues)}, sigma = "
        f"{sigma:.3g} makes first steps as long as those of sigma = {_STEP:g} in all "
        f"{found.d} dimensions"
    )


@app.command()
def plot(
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

    found = metric.read_metric(file, part=part)
    said = found.provenance
    name = generator or (said.generator if said else "")
    if not name:
        raise ConfigError(f"{file} does not say which generator it is of; add --generator")
    settings = _options(option) or (said.options if said else {})
    made = generators.load(name, weights=weights, device=device, **settings)
    remedy = "Name its --weights"
    metric.check_generator(said, file, generator=made.name, sha256=made.sha256, remedy=remedy)
    first, last = (said.first, said.last) if said else (0, made.d)
    if found.d != last - first or last > made.d:
        raise ConfigError(
            f"{file} must be a metric of {name}'s {made.d} dimensions; it is of {found.d}"
        )
    code = draw(made, 1, seed=seed, norm=said.norm if said else None)[0]
    far = reach or float(np.linalg.norm(code[first:last])) / 2 or 1.0
    steps = np.linspace(-far, far, images) if images > 1 else np.zeros(1)
    shown = metric_figure.ranks(len(found.eigenvalues), axes)
    rows: list[Any] = []
    for rank in shown:
        codes = np.repeat(code[None], images, axis=0)
        codes[:, first:last] += steps[:, None] * found.eigenvectors[:, rank - 1]
        rows.append(made.render(codes))
    drawn = metric_figure.figure(
        found.eigenvalues,
        rows,
        shown=shown,
        steps=[round(float(step), 6) for step in steps],
        title=f"{name}{f', {said.part}' if said and said.part else ''}: image metric",
        subtitle=_subtitle(found),
    )
    target = out or file.with_suffix(".png")
    try:
        style.save(drawn, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error}") from error
    console.print(f"figure: {target}")


def draw(generator: Generator, n: int, *, seed: int, norm: float | None) -> Codes:
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


def matching_sigma(found: metric.Metric, *, step: float, exponent: float) -> float:
    """Return the sigma of `HessianCMA` whose first steps are as long as an isotropic search's.

    A step is sigma * sum over axes of z lambda^-exponent, z standard normal; of all d
    dimensions alike, with `step` for sigma, it has the mean square step^2 d.
    """
    values = np.maximum(found.eigenvalues, 1e-6 * found.eigenvalues[0])
    return float(step * np.sqrt(found.d / np.sum(values ** (-2 * exponent))))


def _say(found: metric.Metric) -> None:
    from evolver.report.metric_figure import participation

    said, values = found.provenance, found.eigenvalues
    if said is None:
        console.print("of a generator it does not name (a file in a public layout)")
    else:
        part = f", {said.part}" if said.part else ""
        console.print(f"generator: {escape(said.generator)}{part}")
        console.print(f"  weights sha256 {said.weights_sha256}")
        console.print(f"distance:  {escape(said.distance)}")
        length = "" if said.norm is None else f", of length {said.norm:g}"
        drawn = "" if said.seed is None else f", seed {said.seed}"
        console.print(f"points:    {said.points}{length}{drawn} ({said.solver})")
    console.print(
        f"axes:      {len(values)} of {found.d}; eigenvalues {values[0]:.3g} to "
        f"{values[-1]:.3g}; {participation(values):.1f} share it"
    )


def _subtitle(found: metric.Metric) -> str:
    if found.provenance is None:
        return f"{len(found.eigenvalues)} of {found.d} axes"
    said = found.provenance
    n = f"{said.points} point{'' if said.points == 1 else 's'}"
    return f"distance {said.distance}, {n}, {len(found.eigenvalues)} of {found.d} axes"


def _dimensions(generator: Generator, part: str) -> int:
    parts: dict[str, tuple[int, int]] = getattr(generator, "parts", {})
    first, last = parts.get(part, (0, generator.d))
    return last - first


def _options(given: Sequence[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE as a session file would; a bare word is text."""
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ConfigError(f"an option must be NAME=VALUE, as chunk=4; got {text!r}")
        try:
            found[name] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found
