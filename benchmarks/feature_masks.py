"""Whether masks of feature attribution lie where a unit looks, and what noise looks like.

Question
    Of units whose extent in the image is known: which share of a mask's mass lies in the
    extent, against the share of the image that the extent is; how well do the two overlap; and
    what are mask and p of responses dealt anew to the images?
Method
    Units of mini:conv2, conv3 and conv4, channel and place drawn by a fixed seed (places off
    the border), each in a simulated session of its own: two threads, mini-texture and
    mini-object, Cholesky CMA-ES, spikes with their noise. Masks through a layer of the same
    network, of each thread and of both; sizes of image pixels. Extents are exact, from the
    network. Overlap is the sum of the smaller over that of the larger of mask and extent.
Repeats
    3 units a layer, 20 dealings of each session's responses.
Cost
    About 6 minutes of one core.
Outputs
    A Markdown section for RESULTS.md on standard output; a row a mask in
    out/feature_masks.csv; with --figure, a picture of a unit of each layer.

Run by ``python -m benchmarks.feature_masks``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import platform
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer
from numpy.typing import NDArray

from evolver import config, recording, seeds
from evolver.analysis.image_similarity import zoomed_mask
from evolver.analysis.spatial_attribution import (
    FeatureAttribution,
    feature_attribution,
    mass_inside,
    soft_iou,
)
from evolver.live import run_simulated
from evolver.report.style import SCORES, Canvas, new_figure, save, styled
from evolver.table_files import table_bytes
from evolver.whole_files import write_whole
from evolver.windows import Window
from scorers import networks
from scorers.layer_maps import LayerMaps, load_layer_maps

if TYPE_CHECKING:
    from scorers.networks.network import Local

_LAYERS = ("conv2", "conv3", "conv4")
_SIZE = 64
_SESSION = """
[session]
name = "masks"
seed = {seed}
generations = {generations}
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 150
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 20
[[threads]]
name = "object"
generator = "mini-object"
popsize = 20
[references]
count = 2
[simulation]
units = ["{unit}"]
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured of one mask."""

    unit: str
    extent_px: int
    images_of: str
    dealt: bool
    n: int
    beyond: int
    chance: float
    p: float
    inside: float
    area: float
    iou: float
    peak: bool


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A unit's session."""

    unit: str
    field: Window
    best: list[NDArray[np.uint8]]
    found: list[FeatureAttribution]
    dealt: FeatureAttribution


def main(
    layer: Annotated[str, typer.Option(help="that masks are made in")] = "mini:conv3",
    units: Annotated[int, typer.Option(help="of each layer")] = 3,
    generations: int = 20,
    dealings: int = 20,
    figure: Annotated[Path | None, typer.Option(help="a PNG file")] = None,
) -> None:
    """Measure, and print a section."""
    maps = load_layer_maps(layer)
    rows: list[Row] = []
    drawn: list[Seen] = []
    for name in _LAYERS:
        for unit, field in _units(name, units):
            seen = _measure(maps, unit, field, generations, dealings, rows)
            print(unit, [f"{row.inside:.2f}" for row in rows[-3 - dealings :][:3]], flush=True)
            if not drawn or drawn[-1].unit.split(":")[1] != name:
                drawn.append(seen)
    out = Path(__file__).parent / "out" / "feature_masks.csv"
    cells = (list(asdict(row).values()) for row in rows)
    write_whole(out, table_bytes(".csv", list(asdict(rows[0])), cells))
    _print(rows, layer, generations)
    if figure is not None:
        save(draw(drawn, maps), figure)


def _units(layer: str, n: int) -> list[tuple[str, Window]]:
    network = networks.load("mini")
    local = cast("Local", getattr(network, "local"))  # noqa: B009  of this network alone
    rng = seeds.stream(1, "feature masks", layer)
    height, width = network.layers[layer].grid
    found: list[tuple[str, Window]] = []
    for _ in range(n):
        channel = int(rng.integers(network.layers[layer].channels))
        row = int(rng.integers(height // 4, height - height // 4))
        column = int(rng.integers(width // 4, width - width // 4))
        field = local.field(layer, row, column)
        found.append((f"mini:{layer}:{channel}:{row}:{column}", field))
    return found


def _measure(
    maps: LayerMaps, unit: str, field: Window, generations: int, dealings: int, rows: list[Row]
) -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        text = _SESSION.format(seed=1, generations=generations, unit=unit, folder=folder)
        ended = run_simulated(config.parse_session_file(text), text)
        with recording.read(ended.recording) as opened:
            parts: list[NDArray[np.float32]] = []
            scores: list[NDArray[np.float64]] = []
            best: list[NDArray[np.uint8]] = []
            for thread in opened.threads:
                kept = np.flatnonzero(np.isfinite(thread.score))
                images = [opened.images[int(i)] for i in thread.image_id[kept]]
                parts.append(np.concatenate(list(maps.parts(images))))
                scores.append(thread.score[kept])
                best.append(images[int(np.argmax(scores[-1]))])
    parts.append(np.concatenate(parts))
    scores.append(np.concatenate(scores))
    names = ("texture", "object", "both")
    found = [feature_attribution(f, y) for f, y in zip(parts, scores, strict=True)]
    rows += [
        _row(unit, field, name, attribution, maps, dealt=False)
        for name, attribution in zip(names, found, strict=True)
    ]
    rng = seeds.stream(1, "dealings", unit)
    dealt = found[-1]
    for _ in range(dealings):
        dealt = feature_attribution(parts[0], rng.permutation(scores[0]), rng=rng)
        rows.append(_row(unit, field, names[0], dealt, maps, dealt=True))
    return Seen(unit, field, best, found, dealt)


def _row(
    unit: str, field: Window, name: str, a: FeatureAttribution, maps: LayerMaps, *, dealt: bool
) -> Row:
    inside = iou = float("nan")
    peak = False
    region = _region(field)
    if not a.reason:
        mask = _large(a, maps)
        inside, iou = mass_inside(mask, region).value, soft_iou(mask, region).value
        peak = bool(region.ravel()[mask.argmax()])
    share = float(region.mean())
    size = max(field.shape)
    return Row(unit, size, name, dealt, a.n, a.beyond, a.chance, a.p, inside, share, iou, peak)


def _region(field: Window) -> NDArray[np.float64]:
    region = np.zeros((_SIZE, _SIZE))
    region[field.top : field.bottom, field.left : field.right] = 1
    return region


def _large(a: FeatureAttribution, maps: LayerMaps) -> NDArray[np.float64]:
    rows, columns = maps.centres
    return zoomed_mask(a.mask, _SIZE, _SIZE, rows=rows, columns=columns)


def _print(rows: list[Row], layer: str, generations: int) -> None:
    today = datetime.now().astimezone().date().isoformat()
    print(
        "\n## Masks of feature attribution, beside what units see\n\n"
        f"{today}, {platform.machine()},"
    )
    print(
        f"`python -m benchmarks.feature_masks`: masks through {layer}, "
        f"{generations} generations\n"
    )
    print(
        "| unit of | sees | images of | mass in its extent | chance | overlap "
        "| highest inside | p |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for name in _LAYERS:
        own = [row for row in rows if row.unit.startswith(f"mini:{name}:")]
        for images in ("texture", "object", "both", "dealt"):
            these = [
                r
                for r in own
                if r.dealt == (images == "dealt") and images in {r.images_of, "dealt"}
            ]
            defined = [r for r in these if np.isfinite(r.inside)]
            if not defined:
                continue
            mass, area, iou = (
                np.mean([getattr(r, k) for r in defined]) for k in ("inside", "area", "iou")
            )
            peak = sum(r.peak for r in defined)
            p = np.array([r.p for r in these])
            text = (
                f"{(p <= 0.05).mean():.0%} <= 0.05"
                if images == "dealt"
                else f"{np.median(p):.2g}"
            )
            print(
                f"| {name} | {own[0].extent_px} px | {images} | {mass:.2f} | {area:.2f} "
                f"| {iou:.2f} | {peak} of {len(defined)} | {text} |"
            )  # fmt: skip


@styled
def draw(seen: list[Seen], maps: LayerMaps):  # noqa: ANN201  a figure
    """Draw, a row a unit, images and masks with what the unit sees outlined."""
    import matplotlib as mpl
    from matplotlib.patches import Rectangle

    side, pitch, left, top = 1.45, 1.6, 1.9, 1.25
    figure = new_figure(left + 5 * pitch + 0.2, top + len(seen) * pitch + 0.5)
    sheet = Canvas(figure)
    sheet.heading(
        "Masks beside what units see",
        f"simulated units of the built-in network; masks through {maps.name}",
    )
    heads = ("best texture", "its mask", "best object", "its mask", "responses dealt")
    for i, head in enumerate(heads):
        sheet.write(left + i * pitch + side / 2, sheet.height - top + 0.08, head, size=9)
    for k, one in enumerate(seen):
        y = sheet.height - top - (k + 1) * pitch + (pitch - side)
        sheet.write(
            0.3,
            y + side - 0.3,
            one.unit.removeprefix("mini:"),
            size=10,
            bold=True,
            align="left",
        )
        sheet.write(
            0.3, y + side - 0.52, f"sees {max(one.field.shape)} px", size=8.5, align="left"
        )
        cells = (one.best[0], one.found[0], one.best[1], one.found[1], one.dealt)
        for i, cell in enumerate(cells):
            x = left + i * pitch
            if isinstance(cell, FeatureAttribution):
                mask = np.zeros((_SIZE, _SIZE)) if cell.reason else _large(cell, maps)
                sheet.picture(
                    np.rint(255 * mpl.colormaps[SCORES](mask)[..., :3]).astype(np.uint8),
                    x,
                    y,
                    side,
                )
                sheet.write(
                    x + 0.05,
                    y + 0.06,
                    f"p = {cell.p:.2g}",
                    size=7.5,
                    colour="white",
                    align="left",
                )
            else:
                sheet.picture(cell, x, y, side)
            f, scale = one.field, side / _SIZE
            corner = (x + f.left * scale, y + side - f.bottom * scale)
            sheet.axes.add_patch(
                Rectangle(
                    corner,
                    (f.right - f.left) * scale,
                    (f.bottom - f.top) * scale,
                    fill=False,
                    ec="white",
                    lw=1.4,
                    zorder=5,
                )
            )
    sheet.notes(
        "White: what the unit sees of the image, exactly. Right: the texture thread's "
        "responses dealt anew to its images; no unit is there to be found."
    )
    return figure


if __name__ == "__main__":
    typer.run(main)
