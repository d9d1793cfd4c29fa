"""From the levels of an image to those of a monitor: its gamma, or a photometer's table.

Images are in sRGB, in which a level stands for so much light. A monitor that makes another
amount of it is sent other levels. Knows numbers and tables; no window.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError

_LARGEST_FILE = 1 << 20
_FEWEST = 3  # measured levels
_COLUMNS = (("level", "luminance"), ("level", "red", "green", "blue"))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What level a monitor is sent for each level of an image.

    Parameters
    ----------
    text : where it comes from, for the record
    levels : (3, 256) uint8; red, green, blue
    """

    text: str
    levels: NDArray[np.uint8]


def srgb_light() -> NDArray[np.float64]:
    """Return the light of each level in sRGB (IEC 61966-2-1), (256,) from 0 to 1."""
    level: NDArray[np.float64] = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def calibrate_by_gamma(gamma: float) -> Calibration:
    """Return the calibration of a monitor whose light is level ** gamma; 1: a linear one.

    Raises
    ------
    EndpointError
        The gamma is none.
    """
    if not 0.2 <= gamma <= 5:
        raise EndpointError(f"a monitor's gamma must be from 0.2 to 5; got {gamma:g}")
    row = np.round(255 * srgb_light() ** (1 / gamma)).astype(np.uint8)
    return Calibration(f"gamma {gamma:g}", np.stack([row] * 3))


def calibrate_by_table(path: Path) -> Calibration:
    """Return the calibration of a monitor that was measured.

    Parameters
    ----------
    path : CSV file with a header: level,luminance of greys; or level,red,green,blue, each gun's
        own. Levels from 0 to 255, both there, in any unit of light; in between it is
        interpolated

    Raises
    ------
    EndpointError
        The file cannot be read, or is not such a table; the text says why.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode("utf-8-sig")
    except OSError as exc:
        raise EndpointError(f"the table {path} cannot be read; {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise EndpointError(f"the table {path} must be a text file in UTF-8") from exc
    if len(content) > _LARGEST_FILE:
        raise EndpointError(f"the table {path} must be at most {_LARGEST_FILE >> 20} MiB large")
    measured = _measured(text, path)
    target = srgb_light()
    rows = [_row(measured[:, 0], light, target, path) for light in measured[:, 1:].T]
    levels = np.stack(rows if len(rows) == 3 else rows * 3)
    digest = hashlib.sha256(content).hexdigest()
    return Calibration(f"table {path.name[:100]}, sha256 {digest}", levels)


def _measured(text: str, path: Path) -> NDArray[np.float64]:
    """Return levels and light, (n, 2) or (n, 4), by level."""
    rows = [row for row in csv.reader(text.splitlines()) if row]
    head = tuple(name.strip().lower() for name in rows[0]) if rows else ()
    if head not in _COLUMNS:
        raise EndpointError(
            f"the table {path} must begin with 'level,luminance' or 'level,red,green,blue'; it "
            f"begins with {','.join(head)[:100]!r}"
        )
    try:
        table = np.array([[float(cell) for cell in row] for row in rows[1:]], dtype=np.float64)
    except ValueError as exc:
        raise EndpointError(
            f"the table {path} must hold numbers, {len(head)} a line: {exc}"
        ) from exc
    if table.ndim != 2 or table.shape[1] != len(head) or len(table) < _FEWEST:
        raise EndpointError(
            f"the table {path} must have at least {_FEWEST} lines of {len(head)} numbers"
        )
    table = table[np.argsort(table[:, 0])]
    levels = table[:, 0]
    if (levels[0], levels[-1]) != (0, 255) or (np.diff(levels) <= 0).any():
        raise EndpointError(
            f"the table {path} must have each level once, 0 and 255 among them; it has "
            f"{levels[0]:g} to {levels[-1]:g}"
        )
    if not np.isfinite(table).all() or (table < 0).any():
        raise EndpointError(f"the table {path} must hold finite numbers, none below 0")
    return table


def _row(
    levels: NDArray[np.float64],
    light: NDArray[np.float64],
    target: NDArray[np.float64],
    path: Path,
) -> NDArray[np.uint8]:
    """Return the level whose share of the light, from darkest to brightest, is wanted."""
    if light[-1] <= light[0] or (np.diff(light) < -0.02 * (light[-1] - light[0])).any():
        raise EndpointError(f"the table {path} must rise: more light for a higher level")
    every = np.interp(np.arange(256), levels, np.maximum.accumulate(light))
    share = (every - every[0]) / (every[-1] - every[0])
    nearest = np.abs(share[None] - target[:, None]).argmin(axis=1)
    return nearest.astype(np.uint8)
