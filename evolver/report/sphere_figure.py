"""Spheres about an evolved code in a report: the mean response to each image, and the images.

Knows the recording's reader and matplotlib's objects.

Wang & Ponce, Tuning landscapes of the ventral stream, Cell Reports 2022.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib's annotations leave keyword arguments open.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver.analysis.trajectories import trajectory
from evolver.colours import INK, QUIET, thread_colour
from evolver.config.set_table import MOST_AXES
from evolver.errors import RecordingError
from evolver.recording.set_rows import images_of_rows
from evolver.report import words
from evolver.report.evolution import fitness_of, picture_of, unit_label
from evolver.report.style import Canvas, inches, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from evolver.journal.records import AroundInfo
    from evolver.recording import Recording
    from evolver.report.pictures import ImageArray
    from evolver.types import Vector

_MAP, _LEFT, _GAP, _IMAGES, _A_ROW = 3.0, 0.95, 0.3, 3.0, 5
_PITCH, _HEAD, _FOOT = 4.35, 0.35, 0.6
_LARGEST_SPHERE = 101  # steps each way


@dataclass(frozen=True, slots=True, eq=False)
class SphereMap:
    """Mean responses to the images of one sphere.

    Attributes
    ----------
    name : of the set
    first, second : its axes
    steps : (n,) degrees, the same along both
    mean : (n, n) in `unit`, along the second axis by row and the first by column, both
        ascending; NaN where an image has no response
    images : pictures at spaced steps along both, rows as those of `mean`
    thread : that evolved the code in the middle
    code : "mean" or "best"
    unit, watched : of the responses, in words
    """

    name: str
    first: str
    second: str
    steps: Vector
    mean: NDArray[np.float64]
    images: tuple[tuple[ImageArray, ...], ...]
    thread: str
    code: str
    unit: str
    watched: str


def read_spheres(recording: Recording) -> tuple[SphereMap, ...]:
    """Return every sphere of a recording's sets, a pair of axes each.

    Raises
    ------
    RecordingError
        Where a set's options contradict each other, or its rows.
    """
    maps: list[SphereMap] = []
    for k, thread in enumerate(recording.threads):
        info = thread.set_info
        if info is None or info.around is None or info.around.kind != "sphere":
            continue
        maps += _maps(recording, k, info.around)
    return tuple(maps)


def _maps(recording: Recording, k: int, around: AroundInfo) -> list[SphereMap]:
    thread, fitness = recording.threads[k], fitness_of(recording.threads[k])
    pair = np.asarray(around.axis, dtype=np.int64)
    places = np.asarray([around.step, around.second_step], dtype=np.float64)
    steps = np.unique(places)
    image = images_of_rows(recording, k)
    n = len(pair)
    fits = places.shape == (2, n) and 3 <= len(steps) <= _LARGEST_SPHERE
    if not fits or image.max(initial=-1) >= n or len(around.axes) > MOST_AXES:
        raise RecordingError(
            f"set {thread.name!r} must say where on its spheres each of its "
            f"{int(image.max(initial=-1)) + 1} images lies; it does of {n}, at {len(steps)} "
            f"angles on {len(around.axes)} spheres"
        )
    shown = image >= 0
    scores = np.asarray(thread.score, dtype=np.float64)[shown]
    means = trajectory(scores, image[shown], groups=n).mean
    ids = np.full(n, -1, dtype=np.int64)
    ids[image[shown]] = np.asarray(thread.image_id, dtype=np.int64)[shown]
    columns, rows = np.searchsorted(steps, places)
    maps: list[SphereMap] = []
    for number, name in enumerate(around.axes):
        of = (pair == number) | (pair < 0)  # the evolved code is in the middle of all
        mean = np.full((len(steps), len(steps)), np.nan)
        at = np.full((len(steps), len(steps)), -1, dtype=np.int64)
        mean[rows[of], columns[of]] = means[of]
        at[rows[of], columns[of]] = ids[of]
        first, _, second = name.partition(" and ")
        maps.append(
            SphereMap(
                name=thread.name,
                first=first,
                second=second,
                steps=steps,
                mean=mean,
                images=_pictures(recording, at),
                thread=around.thread,
                code=around.code,
                unit=fitness.unit,
                watched=unit_label(fitness, recording.units),
            )
        )
    return maps


def _pictures(
    recording: Recording, ids: NDArray[np.int64]
) -> tuple[tuple[ImageArray, ...], ...]:
    """Return images at spaced steps of a sphere, the middle one among them."""
    n = len(ids)
    spaced = sorted({round(i * (n - 1) / (_A_ROW - 1)) for i in range(_A_ROW)})
    blank = np.full((1, 1, 3), 128, dtype=np.uint8)
    return tuple(
        tuple(
            blank
            if (image := int(ids[row, column])) < 0
            else picture_of(recording, image, label="", score=np.nan, sem=np.nan).pixels
            for column in spaced
        )
        for row in spaced
    )


@styled
def draw_spheres(maps: Sequence[SphereMap]) -> Figure:
    """Draw a row a sphere: the map of mean responses, and images at spaced angles.

    Maps of one set are on one scale.
    """
    names = list(dict.fromkeys(sphere.name for sphere in maps))
    width = _LEFT + _MAP + 1.35 + _GAP + _IMAGES + 0.3
    figure = new_figure(width, len(maps) * _PITCH + 0.1)
    sheet = Canvas(figure)
    for r, sphere in enumerate(maps):
        colour = thread_colour(names.index(sphere.name))
        bottom = sheet.height - (r + 1) * _PITCH + _FOOT
        top = bottom + _MAP
        axes = inches(figure, _LEFT, bottom, _MAP, _MAP)
        bar = inches(figure, _LEFT + _MAP + 0.15, bottom, 0.16, _MAP)
        _draw_map(axes, bar, sphere, _scale([m for m in maps if m.name == sphere.name]))
        title = f"{words.shorten(sphere.name, 24)}: {sphere.first}, {sphere.second}"
        sheet.write(_LEFT, top + _HEAD, title, size=13, colour=colour, bold=True, align="left")
        x = _LEFT + _MAP + 1.35 + _GAP
        cell = _IMAGES / len(sphere.images)
        for i, row in enumerate(sphere.images):
            for j, pixels in enumerate(row):
                sheet.picture(pixels, x + j * cell, bottom + i * cell, 0.94 * cell)
        sheet.write(x, top + 0.1, "images at these angles", size=10, colour=QUIET, align="left")
    return figure


def _scale(maps: Sequence[SphereMap]) -> tuple[float, float]:
    """Return the smallest and the largest mean of maps."""
    values = np.concatenate([sphere.mean.ravel() for sphere in maps])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_map(axes: Axes, bar: Axes, sphere: SphereMap, scale: tuple[float, float]) -> None:
    last = float(sphere.steps[-1])
    half = last / (len(sphere.steps) - 1)  # of a step
    image = axes.imshow(
        np.ma.masked_invalid(sphere.mean),
        origin="lower",
        extent=(-last - half, last + half, -last - half, last + half),
        cmap="viridis",
        vmin=scale[0],
        vmax=scale[1],
    )
    axes.set_facecolor("#c8c8c8")
    axes.plot([0], [0], "o", ms=9, mfc="none", mec="white", mew=1.6)
    if np.isfinite(sphere.mean).any():
        row, column = np.unravel_index(np.nanargmax(sphere.mean), sphere.mean.shape)
        x, y = sphere.steps[column], sphere.steps[row]
        axes.plot([x], [y], "D", ms=6, mfc="none", mec="white", mew=1.6)
    ticks = [-last, -last / 2, 0, last / 2, last]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.tick_params(labelsize=9)
    axes.set_xlabel(f"towards {sphere.first} (\N{DEGREE SIGN})", fontsize=10)
    axes.set_ylabel(f"towards {sphere.second} (\N{DEGREE SIGN})", fontsize=10, labelpad=1)
    colours = bar.figure.colorbar(image, cax=bar)
    colours.ax.tick_params(labelsize=9, color=INK)
    colours.set_label(words.in_unit("mean response", sphere.unit), fontsize=10)


def spheres_caption(maps: Sequence[SphereMap]) -> str:
    """Return the words below the figure."""
    middle = {"mean": "the mean code of its last generation", "best": "its best image's code"}
    centres = words.joined(sorted({f"{middle.get(m.code, m.code)} ({m.thread})" for m in maps}))
    watched = words.joined(sorted({m.watched for m in maps}))
    return (
        f"Mean response of {watched} to images on spheres about what another session evolved: "
        f"{centres}, in the middle (ring). Angles lead from it towards two axes, at the code's "
        "norm; towards the upper and lower ends, where all directions meet, images are alike. "
        "Diamond: the largest mean, which noise has a part in. Right, images at spaced angles."
    )
