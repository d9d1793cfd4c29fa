"""How every figure looks: type, the canvas pictures are laid out on, and saving.

Knows matplotlib's objects. Knows nothing of sessions. Never pyplot, whose figures are global
state: a report may be drawn in a server, or in somebody's notebook.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

import textwrap
import warnings
import zlib
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from evolver.colours import INK, QUIET, RED

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.text import Text

    from evolver.report.evolution import ImageArray

P = ParamSpec("P")
R = TypeVar("R")

DPI = 200
SLIDE = (13.333, 7.5)
"""Width and height of a 16:9 slide, inches."""

LETTER = 0.56
"""Width of a letter in a text, of its size: a little more than they are on average."""

_BANNER = 10.5
"""Size of the letters of a banner, points."""

SCORES = "viridis"
RATES = "magma"

_RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so looks the same everywhere
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,  # names are names, also with a dollar in them
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run `draw` with the house's settings, and leave the caller's as they were."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_RC):
            return draw(*args, **kwargs)

    return inner


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """Mix `colour` with white; share 1 is the colour itself."""
    red, green, blue = (1 - share * (1 - c) for c in to_rgb(colour))
    return red, green, blue


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def inches(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Add axes whose lower left corner and size are given in inches."""
    w, h = figure.get_size_inches()
    return figure.add_axes((x / w, y / h, width / w, height / h))


def whole_ticks(most: int) -> MaxNLocator:
    """Return a locator of at most `most` round whole numbers, also where there is but one."""
    return MaxNLocator(nbins=most, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


class Canvas:
    """A whole figure as a sheet in inches, y upward, to lay pictures and words on."""

    def __init__(self, figure: Figure) -> None:
        self.width, self.height = (float(v) for v in figure.get_size_inches())
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(0, self.height)

    def picture(self, pixels: ImageArray, x: float, y: float, size: float) -> None:
        """Put an image into the square of side `size` whose lower left corner is (x, y)."""
        height, width = pixels.shape[:2]
        side = size / max(height, width)
        w, h = width * side, height * side
        x, y = x + (size - w) / 2, y + (size - h) / 2
        enlarged = size * DPI > max(height, width)
        image = AxesImage(
            self.axes,
            extent=(x, x + w, y, y + h),
            origin="upper",
            interpolation="bicubic" if enlarged else "hanning",
        )
        image.set_data(pixels)
        self.axes.add_image(image)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 11,
        colour: str = INK,
        bold: bool = False,
        align: str = "center",
        base: str = "baseline",
    ) -> Text:
        """Write `text` at (x, y)."""
        return self.axes.text(
            x,
            y,
            text,
            fontsize=size,
            color=colour,
            fontweight="bold" if bold else "normal",
            ha=align,
            va=base,
        )

    def heading(self, title: str, subtitle: str) -> None:
        """Write at the top what the figure is of, and its sample, as large as it fits."""
        room = (self.width - 0.5) * 72 / (LETTER * max(len(subtitle), 1))
        self.write(0.3, self.height - 0.42, title, size=15, bold=True, align="left")
        self.write(
            0.3, self.height - 0.7, subtitle, size=min(10, room), colour=QUIET, align="left"
        )

    def notes(self, *texts: str) -> None:
        """Write at the bottom what marks and bars are, each text from a line of its own."""
        letters = int((self.width - 0.5) * 72 / (LETTER * 8))
        lines = [line for text in texts for line in textwrap.wrap(text, letters)]
        for i, line in enumerate(reversed(lines)):
            self.write(0.3, 0.13 + 0.15 * i, line, size=8, colour=QUIET, align="left")


def banner(figure: Figure, text: str) -> None:
    """Put a red line above all of a figure, which grows by it: what must be read first."""
    width, height = (float(v) for v in figure.get_size_inches())
    letters = int((width - 0.4) * 72 / (LETTER * _BANNER))
    lines = textwrap.wrap(text, letters)
    taller = height + 0.14 + 0.19 * len(lines)
    for legend in figure.legends:  # its place is a share of the figure
        box = legend.get_bbox_to_anchor().transformed(figure.transFigure.inverted())
        legend.set_bbox_to_anchor((box.x0, box.y0 * height / taller, box.width, 0))
    for axes in figure.axes:
        x, y, w, h = axes.get_position(original=True).bounds
        axes.set_position((x, y * height / taller, w, h * height / taller))
    figure.set_size_inches(width, taller)
    strip = figure.add_axes((0, height / taller, 1, 1 - height / taller))
    strip.set_axis_off()
    strip.add_patch(Rectangle((0, 0), 1, 1, color=RED, transform=strip.transAxes))
    for i, line in enumerate(lines):
        strip.text(
            0.2 / width,
            1 - (0.07 + 0.19 * (i + 0.5)) / (taller - height),
            line,
            fontsize=_BANNER,
            fontweight="bold",
            color="white",
            va="center",
            transform=strip.transAxes,
        )


def spread(
    wanted: Iterable[float], *, gap: float, within: tuple[float, float] | None = None
) -> list[float]:
    """Move positions apart by at least `gap`, as little as that takes; order is kept.

    `within` are limits that lie half a `gap` outside the first and the last; where there is
    no room for all, the gap comes first, and they run over the lower one.
    """
    values = list(wanted)
    order = sorted(range(len(values)), key=values.__getitem__)
    groups: list[tuple[float, list[int]]] = []  # centre, members
    for i in order:
        centre, members = values[i], [i]
        while groups:
            before, others = groups[-1]
            if centre - before >= gap * (len(members) + len(others)) / 2:
                break
            groups.pop()
            total = len(members) + len(others)
            members = others + members
            centre = (before * len(others) + centre * (total - len(others))) / total
        groups.append((centre, members))
    placed = [0.0] * len(values)
    for centre, members in groups:
        for k, i in enumerate(members):
            placed[i] = centre + (k - (len(members) - 1) / 2) * gap
    if within is not None:
        low, high = within
        for k, i in enumerate(order):
            placed[i] = max(placed[i], low + (k + 0.5) * gap)
        for k, i in enumerate(reversed(order)):
            placed[i] = min(placed[i], high - (k + 0.5) * gap)
    return placed


@styled
def save(figure: Figure, path: Path) -> Path:
    """Write a PNG at slide resolution; the same figure gives the same bytes."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # a name in letters that the font has not is a row of boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.draw()
    size = canvas.get_width_height(physical=True)
    # Paper is opaque, so that three channels say as much as four, in two thirds of the time.
    # Figures are lines and flat areas: looking for runs alone takes half the time of looking
    # for repeats, and a twentieth more room.
    pixels = Image.frombytes("RGBA", size, bytes(canvas.buffer_rgba()))
    pixels.convert("RGB").save(path, "png", dpi=(DPI, DPI), compress_type=zlib.Z_RLE)
    return path
