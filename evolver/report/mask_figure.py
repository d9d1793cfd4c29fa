"""The figure of where an experiment's unit looks: each thread's images, masked, re-evolved.

Knows an `ExperimentSummary` with its `ExperimentLook` and matplotlib's objects; computes
nothing but positions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle

from evolver.colours import QUIET, UNMEASURED, thread_colour
from evolver.experiments.masks import NOISE_P
from evolver.report.style import SCORES, Canvas, new_figure, styled
from evolver.report.words import count, number, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from evolver.experiments.masks import ExperimentLook, MaskGrid, ThreadLook, UnitMask
    from evolver.experiments.summary import ExperimentSummary

_SIDE, _PITCH, _LEFT, _TOP = 1.45, 1.6, 2.3, 1.3
_HEADS = ("best image", "where it looks", "mask", "three factors", "mean code", "re-evolved")
_LETTERS = 30


@styled
def draw_masks(summary: ExperimentSummary) -> Figure | None:
    """Draw where the unit of an experiment looks, a row a thread, and one of both together.

    None where that is not known.
    """
    look = summary.look
    if look is None:
        return None
    rows = len(look.threads) + (look.pooled is not None)
    width = _LEFT + len(_HEADS) * _PITCH + 0.2
    figure = new_figure(width, _TOP + rows * _PITCH + 0.6)
    sheet = Canvas(figure)
    sheet.heading(
        f"Where the unit looks: {shorten(summary.experiment.id, 60)}", _compared(look)
    )
    top = sheet.height - _TOP
    for i, head in enumerate(_HEADS):
        x = _LEFT + i * _PITCH + _SIDE / 2
        sheet.write(x, top + 0.08, head, size=9, colour=QUIET)
    for k, thread in enumerate(look.threads):
        y = top - (k + 1) * _PITCH + (_PITCH - _SIDE)
        name = summary.threads[k].thread.generator
        _label(sheet, y, shorten(name, 18), thread_colour(k), thread.mask, thread.reason)
        _thread_row(sheet, y, look.grid, thread)
    if look.pooled is not None:
        y = top - rows * _PITCH + (_PITCH - _SIDE)
        _label(sheet, y, "all threads", QUIET, look.pooled, look.pooled.reason)
        best = next((t.best for t in look.threads if t.best is not None), None)
        size = (64, 64) if best is None else (best.shape[0], best.shape[1])
        _mask_cells(sheet, y, look.grid, look.pooled, size)
    sheet.notes(
        f"Responses correlated with every feature of {look.grid.layer}; features with t above "
        "3, in three nonnegative factors, whose maps add up to the mask. p: of the weight of "
        f"those features among responses dealt anew to images, {_dealings(look)}; a mask is "
        f"like one of noise where it is above {NOISE_P:g}.{_re_evolved(look)}"
    )
    return figure


def _dealings(look: ExperimentLook) -> str:
    masks = [thread.mask for thread in look.threads if thread.mask is not None]
    dealings = max((mask.dealings for mask in masks), default=0)
    return f"{dealings} times, so never below {1 / (1 + dealings):.2g}"


def _re_evolved(look: ExperimentLook) -> str:
    words = look.re_evolved_words
    return (
        f" {words[0].upper()}{words[1:]}: what drives those features farthest." if words else ""
    )


def _compared(look: ExperimentLook) -> str:
    if look.cosine.defined and look.iou.defined:
        return (
            f"{look.grid.layer}; masks of the first two threads: cosine "
            f"{look.cosine.value:.2f}, soft IoU {look.iou.value:.2f}"
        )
    return f"{look.grid.layer}; masks are not compared: {look.cosine.reason}"


def _label(
    sheet: Canvas, y: float, name: str, colour: str, mask: UnitMask | None, reason: str
) -> None:
    """Write a row's name, and its numbers or why there are none."""
    sheet.write(0.3, y + _SIDE - 0.2, name, size=11.5, colour=colour, bold=True, align="left")
    lines: list[str] = []
    if mask is not None:
        lines.append(count(mask.n, "image"))
    if mask is None or reason:
        words, line = reason.split(), ""
        for word in words:
            if len(line) + len(word) >= _LETTERS:
                lines.append(line)
                line = ""
            line = f"{line} {word}".strip()
        lines.append(line)
    else:
        lines += [
            f"{mask.beyond:,} of {mask.tested:,} features",
            f"({number(mask.chance)} of noise)",
            *([mask.p_words] if mask.p_words else []),
            f"mask {100 * mask.area.value:.0f} % of the image",
        ]
    for i, line in enumerate(lines[:6]):
        sheet.write(
            0.3, y + _SIDE - 0.42 - 0.18 * i, line, size=8.5, colour=QUIET, align="left"
        )


def _thread_row(sheet: Canvas, y: float, grid: MaskGrid, thread: ThreadLook) -> None:
    _cell(sheet, 0, y, thread.best)
    if thread.mask is None or thread.mask.reason:
        for column in (1, 2, 3):
            _cell(sheet, column, y, None)
    else:
        masked = None if thread.best is None else grid.on_grey(thread.best, thread.mask.mask)
        _cell(sheet, 1, y, masked)
        size = (64, 64) if thread.best is None else (thread.best.shape[0], thread.best.shape[1])
        _mask_cells(sheet, y, grid, thread.mask, size)
    _cell(sheet, 4, y, thread.mean_code)
    _cell(sheet, 5, y, thread.re_evolved)


def _mask_cells(
    sheet: Canvas, y: float, grid: MaskGrid, mask: UnitMask, size: tuple[int, int]
) -> None:
    if mask.reason:
        _cell(sheet, 2, y, None)
        _cell(sheet, 3, y, None)
        return
    colours = cast("Any", mpl.colormaps)[SCORES]
    large = grid.at_size(mask.mask, *size)
    _cell(sheet, 2, y, _bytes(np.asarray(colours(large))[..., :3]))
    parts = np.stack([grid.at_size(part, *size) for part in np.moveaxis(mask.maps, 2, 0)], 2)
    _cell(sheet, 3, y, _bytes(_three_colours(parts)))


def _three_colours(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return three maps as red, green and blue, (h, w, 3), over the largest of all."""
    padded = np.zeros((*parts.shape[:2], 3))
    padded[..., : parts.shape[2]] = parts[..., :3]
    return padded / (padded.max() or 1)


def _bytes(pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def _cell(sheet: Canvas, column: int, y: float, image: NDArray[np.uint8] | None) -> None:
    x = _LEFT + column * _PITCH
    if image is None:
        sheet.axes.add_patch(Rectangle((x, y), _SIDE, _SIDE, color=UNMEASURED, lw=0))
        sheet.write(x + _SIDE / 2, y + _SIDE / 2, "none", size=8.5, colour=QUIET, base="center")
        return
    sheet.picture(image, x, y, _SIDE)
