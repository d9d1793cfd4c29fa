"""The figure of walks between images: a row a space that was walked in, rendered step by step.

Knows images, shares and matplotlib's objects; renders nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.colours import QUIET
from evolver.errors import DataError
from evolver.report.style import Canvas, new_figure, styled
from evolver.report.words import number, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from evolver.report.evolution import ImageArray

WALK_LABELS = {
    "true": ("true", "latents, on a path"),
    "decoded": ("decoded", "latents, on a path"),
    "responses": ("responses", "on a path, then decoded"),
    "encodings": ("encodings", "of the true row, decoded"),
}
"""What the rows of a `Walk` are called at the left, and what lies below it."""
_SIDE, _GAP, _LEFT, _TOP, _BOTTOM = 1.15, 0.08, 2.0, 1.3, 0.55
_LETTERS = 26


@styled
def draw_walk(
    images: Mapping[str, Sequence[ImageArray]],
    shares: ArrayLike,
    *,
    title: str,
    subtitle: str,
    notes: str = "",
) -> Figure:
    """Draw the images of a walk, a row of them for each row of the walk.

    Parameters
    ----------
    images : by row, as `Walk.rows` names them: s images each, (h, w, 3) uint8, rendered
        from the row's latents
    shares : (s,) of the walk, which stand above the columns
    title, subtitle : at the top
    notes : at the bottom

    Raises
    ------
    DataError
        There is no row, or one has another number of images than there are shares.
    """
    steps = np.asarray(shares, dtype=np.float64)
    counts = {name: len(row) for name, row in images.items()}
    if not counts or set(counts.values()) != {len(steps)}:
        raise DataError(f"each row must have {len(steps)} images, one a share; got {counts}")
    pitch = _SIDE + _GAP
    width = max(_LEFT + len(steps) * pitch + 0.2, 7.5)
    figure = new_figure(width, _TOP + len(images) * pitch + (_BOTTOM if notes else 0.15))
    sheet = Canvas(figure)
    sheet.heading(title, subtitle)
    top = sheet.height - _TOP
    for i, share in enumerate(steps):
        x = _LEFT + i * pitch + _SIDE / 2
        sheet.write(x, top + 0.08, number(float(share)), size=9, colour=QUIET)
    for k, (name, row) in enumerate(images.items()):
        y = top - (k + 1) * pitch + _GAP
        head, below = WALK_LABELS.get(name, (name, ""))
        at, middle = _LEFT - 0.15, y + _SIDE / 2
        sheet.write(at, middle + 0.03, shorten(head, 18), size=11, bold=True, align="right")
        sheet.write(
            at, middle - 0.15, shorten(below, _LETTERS), size=8, colour=QUIET, align="right"
        )
        for i, image in enumerate(row):
            sheet.picture(image, _LEFT + i * pitch, y, _SIDE)
    if notes:
        sheet.notes(notes)
    return figure
