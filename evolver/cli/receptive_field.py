"""`evolver rf`: where units look, those of networks and recorded ones; figure and table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from evolver import seeds
from evolver.cli.mapped_fields import MappingOptions, draw_mapped_fields
from evolver.cli.terminal import check_can_write, console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.report.field_figure import FieldMap
    from evolver.types import Images
    from scorers.scorer import UnitScorer

_MOST = 36  # units of a figure
_RECORDINGS = (".h5", ".hdf5")
_OF_NETWORKS = ("session_file", "images", "generator", "occlusion", "view_deg")
_OF_RECORDINGS = (
    "mapped_set", "chosen", "response", "baseline", "alpha", "bootstraps", "csv", "write",
)  # fmt: skip
_OCCLUSION_STEPS = 12


def draw_receptive_fields(
    context: typer.Context,
    units: Annotated[
        list[str],
        typer.Argument(
            metavar="UNIT...|SESSION.h5",
            help="addresses, as mini:conv3:10 or more; or a recording whose session mapped "
            "fields on a grid of places",
        ),
    ],
    out: Annotated[Path, typer.Option(help="figure to write, a PNG file")] = Path("rf.png"),
    session_file: NetworksFile = None,
    images: Annotated[
        int, typer.Option("-n", "--images", min=1, max=100_000, help="the map is their mean")
    ] = 200,
    generator: Annotated[
        str | None,
        typer.Option(help="draws the images; without one they are noise, black to white"),
    ] = None,
    occlusion: Annotated[
        bool,
        typer.Option(
            "--occlusion", help="by covering a patch in turn, in place of the gradient; slow"
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="of the images; of a recording, of what is dealt anew")
    ] = 1,
    view_deg: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=180,
            help="say where a session puts its images so that they fill the units' fields, on "
            "a screen of which the network sees so many degrees",
        ),
    ] = None,
    mapped_set: Annotated[
        str, typer.Option("--set", metavar="NAME", help="recordings: the set with the grid")
    ] = "",
    chosen: Annotated[
        str,
        typer.Option(
            "--units", metavar="UNIT,UNIT", help="recordings: rows or labels; without it all"
        ),
    ] = "",
    response: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="recordings: window that counts, ms"),
    ] = None,
    baseline: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="recordings: window that is taken off, ms"),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="recordings: a field's p is below it")
    ] = 0.01,
    bootstraps: Annotated[
        int, typer.Option(min=0, max=10_000, help="recordings: for the intervals")
    ] = 200,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="recordings: write the maps, and a row a unit beside them, FILE.fits.csv",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="NEXT.toml",
            help="recordings: put the field's place and today into the next session's file",
        ),
    ] = None,
) -> None:
    """Draw where units look: map, and the Gaussian that fits it.

    Of units of networks, in an image, by the gradient: the mean over images of how strongly the
    unit depends on each pixel. Sizes are pixels of each unit's own network's input.

    Of a recording, on the screen: mean rates by place, and by size, of a set that was shown on
    a grid. That places matter at all is tested by dealing showings anew; without that there
    is no field. The ellipse is two standard deviations wide to each side.
    """
    recordings = [text for text in units if text.endswith(_RECORDINGS)]
    if recordings:
        if len(units) > 1:
            raise ConfigError(f"one recording is read at a time; got {' '.join(units)}")
        _check_given(context, _OF_NETWORKS, "units of networks")
        options = MappingOptions(
            name=mapped_set, units=chosen, window_ms=response, baseline_ms=baseline,
            alpha=alpha, bootstraps=bootstraps, seed=seed, out=out, csv=csv, write=write,
        )  # fmt: skip
        draw_mapped_fields(Path(units[0]), options)
        return
    _check_given(context, _OF_RECORDINGS, "a recording, a file that ends in .h5")
    import scorers
    from evolver.report.field_figure import draw_fields
    from evolver.report.style import save

    if occlusion and view_deg is not None:
        raise ConfigError(
            "--view-deg needs fields in pixels, as the gradient gives them; leave out "
            "--occlusion, whose maps are of patches"
        )
    check_can_write(out.resolve().parent, "Name another file with --out")
    with console.status("loading the network …"):
        scorer = scorers.load(units, networks=networks_in(session_file))
    if len(scorer.unit_names) > _MOST:
        raise ConfigError(f"at most {_MOST} units are drawn; got {len(scorer.unit_names)}")
    maps: list[FieldMap] = []
    with console.status(f"looking with {images} images …"):
        for alone in scorer.by_network():  # each in pixels of its own input
            shown = _images(images, _side(alone), generator, seed)
            maps += _maps(alone, shown, occlusion=occlusion)
    order = {name: i for i, name in enumerate(scorer.unit_names)}
    maps.sort(key=lambda unit: order[unit.name])
    how = "covering patches" if occlusion else "gradient"
    what = generator or "noise"
    title = "Receptive fields" if len(maps) > 1 else f"Receptive field of {maps[0].name}"
    save(draw_fields(maps, title=title, subtitle=f"{how}, {images} images ({what})"), out)
    console.print(_table(maps))
    console.print(f"figure: {out}")
    if view_deg is not None:
        console.print(_placed(maps, view_deg), highlight=False)


def _check_given(context: typer.Context, names: Sequence[str], of: str) -> None:
    """Raise `ConfigError` where one of some options was given, which are for something else."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"{parameter.opts[0]} is for {of}")


def _placed(maps: Sequence[FieldMap], view_deg: float) -> str:
    """Return the lines of a session file whose images fill the square around all fields."""
    from scorers.receptive_field import box_around

    boxes = [unit.box for unit in maps if unit.box is not None]
    shapes = {unit.field.shape for unit in maps}
    if not boxes or len(shapes) > 1:
        raise ConfigError(
            "--view-deg needs units that see something, of networks with inputs of one size; "
            f"got {len(boxes)} of {len(maps)} that see something, and "
            f"{len(shapes)} sizes of inputs"
        )
    ((height, width),) = shapes
    box = box_around(boxes, height=height, width=width)
    degrees = view_deg / width
    right = (box.left + box.side / 2 - width / 2) * degrees
    up = (height / 2 - box.top - box.side / 2) * degrees
    return "\n".join((
        "into these tables of a session file, for images that fill these fields:",
        "",
        r"\[presentation]",
        f"size_deg = {box.side * degrees:.4g}",
        f"position_deg = [{right:.4g}, {up:.4g}]",
        "",
        r"\[simulation]",
        f"view_deg = {view_deg:g}",
    ))


def _side(scorer: UnitScorer) -> int:
    """Return the side of images that the scorer's one network does not resize."""
    (network,) = scorer.networks.values()
    return max(network.preprocessing.uncut_size)


def _images(n: int, side: int, generator: str | None, seed: int) -> Images:
    from scorers.receptive_field import uniform_noise

    rng = seeds.stream(seed, "receptive field")
    if generator is None:
        return uniform_noise(n, height=side, width=side, rng=rng)
    from evolver import generators

    drawing = generators.load(generator)
    return drawing.render(drawing.initial_codes(n, rng=rng))


def _maps(scorer: UnitScorer, images: Images, *, occlusion: bool) -> list[FieldMap]:
    from evolver.gaussian_fields import fit_gaussian
    from evolver.report.field_figure import FieldMap
    from scorers import receptive_field as rf

    if occlusion:
        patch = max(1, images.shape[1] // 8)
        stride = max(1, images.shape[1] // _OCCLUSION_STEPS)
        fields = np.abs(rf.occlusion_maps(scorer.score, images, patch=patch, stride=stride))
    else:
        fields = np.nan_to_num(rf.gradient_maps(scorer, images))
    maps: list[FieldMap] = []
    for name, field in zip(scorer.unit_names, fields, strict=True):
        fit = fit_gaussian(field)
        if fit is not None and max(fit.sd_row, fit.sd_column) > min(field.shape):
            fit = None  # wider than the image: it says nothing of where the unit looks
        maps.append(FieldMap(name, field, rf.box_of(field), fit))
    return maps


def _table(maps: Sequence[FieldMap]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("unit", overflow="fold")
    for head in ("box", "centre", "sd", "r²"):
        table.add_column(head, justify="right", no_wrap=True)
    for unit in maps:
        if unit.box is None:
            table.add_row(escape(unit.name), "sees nothing", "-", "-", "-")
            continue
        fit = unit.gaussian
        centre = sd = r2 = "-"
        if fit is not None:
            centre = f"{fit.row:.1f}, {fit.column:.1f}"
            sd, r2 = f"{fit.sd_row:.1f}, {fit.sd_column:.1f}", f"{fit.r2:.2f}"
        table.add_row(escape(unit.name), str(unit.box.side), centre, sd, r2)
    return table
