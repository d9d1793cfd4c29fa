"""Outlines: letters and flat shapes, inflated like cushions and lit.

Knows signed distances in the plane and the canvas. Knows nothing of networks or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from scorers.mini.scenes.canvas import (
    Colour,
    Factors,
    Field,
    frame,
    grain,
    lit,
    mix,
    place,
    relief,
    turn,
)
from scorers.mini.scenes.portable import arctan2, cos, hypot, sin

Outline: TypeAlias = Callable[[Factors, Field, Field], Field]
"""(factors, x, y) to signed distance, negative inside, object units of about 1."""

LETTERS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "A": ((-0.6, 0.8, 0, -0.8), (0, -0.8, 0.6, 0.8), (-0.35, 0.25, 0.35, 0.25)),
    "E": (
        (-0.45, -0.8, -0.45, 0.8),
        (-0.45, -0.8, 0.5, -0.8),
        (-0.45, 0, 0.35, 0),
        (-0.45, 0.8, 0.5, 0.8),
    ),
    "H": ((-0.5, -0.8, -0.5, 0.8), (0.5, -0.8, 0.5, 0.8), (-0.5, 0, 0.5, 0)),
    "K": ((-0.45, -0.8, -0.45, 0.8), (-0.4, 0.05, 0.5, -0.8), (-0.2, -0.1, 0.55, 0.8)),
    "T": ((-0.65, -0.75, 0.65, -0.75), (0, -0.75, 0, 0.8)),
    "X": ((-0.55, -0.8, 0.55, 0.8), (0.55, -0.8, -0.55, 0.8)),
}
"""Strokes of each letter: (x0, y0, x1, y1), y downwards."""


def stroke(
    x: Field, y: Field, ends: tuple[float | Field, float | Field, float | Field, float | Field]
) -> Field:
    """Return the distance to a line segment (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = ends
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    return hypot(x - x0 - t * dx, y - y0 - t * dy)


def ellipse(x: Field, y: Field, rx: float | Field, ry: float | Field) -> Field:
    """Return nearly the distance to an ellipse about the origin (exact in sign)."""
    k = hypot(x / rx, y / ry)
    steep = hypot(x / (rx * rx), y / (ry * ry))
    return k * (k - 1) / (steep + 1e-6)


def _letter(name: str) -> Outline:
    strokes = LETTERS[name]

    def outline(f: Factors, x: Field, y: Field) -> Field:
        wide = f.between("form_0", 0.75, 1.15)
        thick = f.between("form_1", 0.12, 0.22)
        lines = [stroke(x / wide, y, ends) for ends in strokes]
        return np.minimum.reduce(lines) * np.minimum(wide, 1) - thick

    return outline


def _star(f: Factors, x: Field, y: Field) -> Field:
    wedge = np.pi / 5
    angle = arctan2(x, -y)
    angle = np.abs((angle + wedge) % (2 * wedge) - wedge)
    radius = hypot(x, y)
    px, py = radius * sin(angle), radius * cos(angle)
    inner = f.between("form_0", 0.34, 0.55)
    ax, ay = (
        inner * math.sin(wedge),
        inner * math.cos(wedge),
    )  # edge from the tip (0, 0.95) to here
    ex, ey = ax, ay - 0.95
    side = (px * -ey + (py - 0.95) * ex) / hypot(ex, ey)
    return side - 0.03


def _ring(f: Factors, x: Field, y: Field) -> Field:
    return np.abs(ellipse(x, y, 0.68, 0.68 * f.between("form_1", 0.6, 1))) - f.between(
        "form_0", 0.09, 0.22
    )


def _cross(f: Factors, x: Field, y: Field) -> Field:
    arm = f.between("form_0", 0.16, 0.3)
    a, b = np.abs(x), np.abs(y)
    box1 = np.maximum(a - 0.85, b - arm)
    return np.minimum(box1, np.maximum(a - arm, b - 0.85))


def _heart(f: Factors, x: Field, y: Field) -> Field:
    # A square standing on its corner, with a half disc on each upper side.
    a, b = np.abs(x) * f.between("form_0", 0.9, 1.15) / 1.55, (0.9 - y) / 1.55
    lobe = hypot(a - 0.25, b - 0.75) - 0.3536
    along = 0.5 * np.clip(a + b, 0, None)
    side = hypot(a - along, b - along) * np.sign(a - b)
    side = np.where(side > 0, side, -np.minimum(-side, hypot(a, b - 1)))
    return np.where(a + b > 1, lobe, side) * 1.55


def _crescent(f: Factors, x: Field, y: Field) -> Field:
    bite = hypot(x - f.between("form_0", 0.3, 0.5), y) - 0.68
    return np.maximum(hypot(x, y) - 0.85, -bite)


def _arrow(f: Factors, x: Field, y: Field) -> Field:
    b = np.abs(y)
    shaft = np.maximum(b - f.between("form_0", 0.12, 0.24), np.abs(x + 0.3) - 0.6)
    head = np.maximum((x - 0.9) * 0.64 + b * 0.77, 0.1 - x)
    return np.minimum(shaft, head)


def _leaf(f: Factors, x: Field, y: Field) -> Field:
    bulge = f.between("form_0", 0.28, 0.55)
    radius = (0.81 + bulge * bulge) / (
        2 * bulge
    )  # two arcs through the leaf's tips at y = ±0.9
    blade = hypot(np.abs(x) + radius - bulge, y) - radius
    return np.minimum(blade, stroke(x, y, (0, 0.8, 0, 1.05)) - 0.045)


def _flower(f: Factors, x: Field, y: Field) -> Field:
    petals = cos(5 * arctan2(y, x) + 0.6 * f.raw("form_2"))
    return (hypot(x, y) - 0.64 - f.between("form_0", 0.12, 0.28) * petals) * 0.75


def _hand(f: Factors, x: Field, y: Field) -> Field:
    palm = ellipse(x, y - 0.35, 0.42, 0.46)
    spread = f.between("form_0", 0.08, 0.3)
    parts = [palm, stroke(x, y, (0, 0.5, 0, 1.0)) - 0.24]
    for k, length in enumerate((0.62, 0.78, 0.82, 0.7)):
        reach = length * f.between(f"form_{k + 1}", 0.65, 1.05)
        base = (k - 1.5) * 0.21
        tip = base + (k - 1.5) * spread
        parts.append(stroke(x, y, (base, 0.1, tip, 0.05 - reach)) - 0.1)
    thumb = f.between("form_5", 0.1, 0.5)
    parts.append(stroke(x, y, (-0.3, 0.5, -0.8, thumb)) - 0.115)
    return np.minimum.reduce(parts)


def _fish(f: Factors, x: Field, y: Field) -> Field:
    body = ellipse(x + 0.15, y, 0.68, f.between("form_0", 0.28, 0.45))
    fork = np.abs(y) - (x - 0.35) * f.between("form_1", 0.6, 1.1)
    tail = np.maximum(np.maximum(fork * 0.75, x - 0.92 + 0.25 * (0.4 - np.abs(y))), 0.3 - x)
    fin = np.maximum(stroke(x, y, (-0.2, -0.3, 0.1, -0.5)) - 0.11, -1)
    return np.minimum(np.minimum(body, tail), fin)


def _plant(f: Factors, x: Field, y: Field) -> Field:
    """Three generations of branches, with a leaf at each tip."""
    spread, shrink = f.between("form_0", 0.35, 0.85), f.between("form_1", 0.55, 0.75)
    lean = 0.25 * np.clip(f.raw("form_2"), -2, 2)
    zero = np.zeros_like(spread)
    tips = [(zero, zero + 0.95, lean, zero + 0.75)]
    best = np.full_like(x, 9)
    thick = 0.085
    for level in range(4):
        grown: list[tuple[Field, Field, Field, Field]] = []
        for x0, y0, angle, reach in tips:
            x1, y1 = x0 + reach * sin(angle), y0 - reach * cos(angle)
            best = np.minimum(best, stroke(x, y, (x0, y0, x1, y1)) - thick)
            if level == 3:
                best = np.minimum(best, hypot(x - x1, y - y1) - f.between("form_3", 0.05, 0.15))
            else:
                skew = 0.1 * np.clip(f.raw(f"form_{4 + level}"), -2, 2)
                grown += [(x1, y1, angle + s * spread + skew, reach * shrink) for s in (-1, 1)]
        tips, thick = grown, thick * 0.72
    return best


OUTLINES: dict[str, Outline] = {
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "leaf": _leaf,
    "flower": _flower,
    "hand": _hand,
    "fish": _fish,
    "plant": _plant,
    **{f"letter-{name}": _letter(name) for name in LETTERS},
}
_UPRIGHT = {
    "plant": 0.2,
    "fish": 0.5,
    "hand": 0.6,
    **{f"letter-{name}": 0.45 for name in LETTERS},
}
_WARM = {"hand": (0.85, 0.62, 0.5), "plant": (0.4, 0.6, 0.25), "leaf": (0.35, 0.65, 0.3)}


def draw(name: str, f: Factors) -> Colour:
    """Return the scene of one outline, (n, 64, 64, 3)."""
    most = _UPRIGHT.get(name, 0.7)
    sx, sy, size = frame(f, least=0.6 if name in {"plant", "hand"} else 0.5)
    x, y = turn(sx, sy, f.between("roll", -most, most))
    x = x / f.between("yaw", 0.72, 1.12)  # foreshortening
    distance = OUTLINES[name](f, x, y)
    share = grain(f, x, y)
    ink = f.colour("ink", dark=0.3)
    if name in _WARM:
        ink = 0.45 * ink + 0.55 * np.array(_WARM[name], np.float32)
    albedo = mix(ink, f.colour("second"), share)
    if name == "flower":
        albedo = mix(albedo, f.colour("second"), np.clip((0.28 - hypot(x, y)) * 14, 0, 1))
    elif name == "leaf":
        veins = np.minimum(np.abs(x), np.abs((y + np.abs(x) * 0.9) % 0.3 - 0.15) + 0.02)
        albedo = albedo * (1 - 0.45 * np.clip(1 - veins / 0.05, 0, 1))[..., None]
    elif name == "fish":
        eye = hypot(x + 0.58, y + 0.1)
        albedo = mix(albedo, np.float32(0.97) + 0 * albedo, np.clip((0.12 - eye) * 20, 0, 1))
        albedo = albedo * np.clip((eye - 0.05) * 20, 0.05, 1)[..., None]
    normal = relief(distance, f.between("relief", 0.12, 0.4), size)
    return place(f, lit(f, albedo, normal), distance, size)
