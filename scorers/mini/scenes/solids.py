"""Solids: objects in space, found by marching parallel rays through signed distances.

Knows geometry and the canvas. Knows nothing of classes as a whole, networks or files. The
method is sphere tracing (Hart 1996): a step as long as the distance to the surface never passes
it. The least distance met along a ray says how far a pixel is from the outline, which smooths
the edge.
"""

from __future__ import annotations

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
)
from scorers.mini.scenes.portable import cos, sin

Solid: TypeAlias = Callable[[Factors, Field, Field, Field], Field]
"""(factors, x, y, z) to signed distance, negative inside, object units of about 1."""

_STEPS, _FAR = 18, 1.7


def _norm(*axes: Field) -> Field:
    total = axes[0] * axes[0]
    for a in axes[1:]:
        total = total + a * a
    return np.sqrt(total)


def _least(a: Field, b: Field, blend: float) -> Field:
    """Smooth union: the smaller of two distances, rounded over `blend`."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def _sphere(f: Factors, x: Field, y: Field, z: Field) -> Field:
    del f
    return _norm(x, y, z) - 0.85


def _egg(f: Factors, x: Field, y: Field, z: Field) -> Field:
    girth = f.between("form_0", 0.5, 0.72) * (1 + 0.25 * np.clip(y, -1, 1))
    return (_norm(x / girth, y / 0.95, z / girth) - 1) * 0.45


def _cube(f: Factors, x: Field, y: Field, z: Field) -> Field:
    a = [np.abs(x) - f.between("form_0", 0.5, 0.62), np.abs(y) - f.between("form_1", 0.5, 0.62)]
    a.append(np.abs(z) - 0.56)
    outside = _norm(*(np.clip(b, 0, None) for b in a))
    return outside + np.minimum(np.maximum(np.maximum(a[0], a[1]), a[2]), 0) - 0.05


def _cylinder(f: Factors, x: Field, y: Field, z: Field) -> Field:
    side = _norm(x, z) - f.between("form_0", 0.35, 0.55)
    cap = np.abs(y) - f.between("form_1", 0.55, 0.8)
    return (
        _norm(np.clip(side, 0, None), np.clip(cap, 0, None))
        + np.minimum(np.maximum(side, cap), 0)
        - 0.03
    )


def _cone(f: Factors, x: Field, y: Field, z: Field) -> Field:
    radius = f.between("form_0", 0.5, 0.72)
    slant = 1 / np.sqrt(radius * radius + 2.4)
    side = (_norm(x, z) * 1.55 - radius * (y + 0.85)) * slant
    return np.maximum(side, y - 0.7) - 0.03


def _torus(f: Factors, x: Field, y: Field, z: Field) -> Field:
    return _norm(_norm(x, y) - 0.62, z) - f.between("form_0", 0.16, 0.32)


def _gem(f: Factors, x: Field, y: Field, z: Field) -> Field:
    tall = f.between("form_0", 0.75, 1.0)
    return (np.abs(x) + np.abs(y) / tall + np.abs(z) - 0.92) * 0.56


def _capsule(f: Factors, x: Field, y: Field, z: Field) -> Field:
    half = f.between("form_0", 0.4, 0.65)
    waist = f.between("form_1", 0.0, 0.16) * cos(3.2 * y)  # a dumbbell, when large
    return (_norm(x, y - np.clip(y, -half, half), z) - 0.3 + waist) * 0.8


def _jack(f: Factors, x: Field, y: Field, z: Field) -> Field:
    thick = f.between("form_0", 0.1, 0.2)
    rods = [
        _norm(a, b, c - np.clip(c, -0.75, 0.75))
        for a, b, c in ((x, y, z), (y, z, x), (z, x, y))
    ]
    return _least(_least(rods[0], rods[1], 0.1), rods[2], 0.1) - thick


def _knob(f: Factors, x: Field, y: Field, z: Field) -> Field:
    waves = (
        sin(4 * x + f.raw("form_0"))
        * sin(4 * y + f.raw("form_1"))
        * sin(4 * z + f.raw("form_2"))
    )
    return (_norm(x, y, z) - 0.68 - 0.2 * waves) * 0.65


def _mushroom(f: Factors, x: Field, y: Field, z: Field) -> Field:
    wide = f.between("form_0", 0.62, 0.9)
    dome = np.maximum((_norm(x / wide, (y + 0.05) / 0.62, z / wide) - 1) * 0.55, y + 0.02)
    stalk = _norm(x, y - np.clip(y, 0, 0.75), z) - f.between("form_1", 0.14, 0.28)
    return _least(dome, stalk, 0.08)


def _bottle(f: Factors, x: Field, y: Field, z: Field) -> Field:
    body, neck = f.between("form_0", 0.32, 0.48), f.between("form_1", 0.1, 0.2)
    t = np.clip((y + 0.35) / 0.35, 0, 1)
    radius = neck + (body - neck) * t * t * (3 - 2 * t)
    return np.maximum((_norm(x, z) - radius) * 0.7, np.abs(y) - 0.88) - 0.03


SOLIDS: dict[str, Solid] = {
    "sphere": _sphere,
    "egg": _egg,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "gem": _gem,
    "capsule": _capsule,
    "jack": _jack,
    "knob": _knob,
    "mushroom": _mushroom,
    "bottle": _bottle,
}


def draw(name: str, f: Factors) -> Colour:
    """Return the scene of one solid, (n, 64, 64, 3)."""
    solid = SOLIDS[name]
    sx, sy, size = frame(f, least=0.55)
    # Pose: roll in the picture plane, then pitch and yaw out of it; moderate, as photographed.
    angles = (
        f.between("roll", -0.7, 0.7),
        f.between("pitch", -0.25, 1.0),
        f.between("yaw", -1.0, 1.0),
    )
    (cr, cp, cy), (sr, sp, sw) = [cos(a) for a in angles], [sin(a) for a in angles]
    # Rows of the rotation: object axes in view coordinates (x right, y down, z to the viewer).
    rows = (
        (cr * cy - sr * sp * sw, sr * cy + cr * sp * sw, -cp * sw),
        (-sr * cp, cr * cp, sp),
        (cr * sw + sr * sp * cy, sr * sw - cr * sp * cy, cp * cy),
    )

    def distance(z: Field) -> Field:
        return solid(f, *(r[0] * sx + r[1] * sy + r[2] * z for r in rows))

    z = np.full_like(sx, _FAR)
    nearest = np.full_like(sx, 9)
    for _ in range(_STEPS):
        d = distance(z)
        nearest = np.minimum(nearest, d)
        z = np.maximum(z - d, -_FAR)
    e = np.float32(0.02)
    point = [r[0] * sx + r[1] * sy + r[2] * z for r in rows]
    here = solid(f, *point)
    slopes = [
        solid(f, *(p + e * (k == axis) for k, p in enumerate(point))) - here
        for axis in range(3)
    ]
    length = 1 / (_norm(*slopes) + 1e-6)
    normal = [sum(rows[k][axis] * slopes[k] for k in range(3)) * length for axis in range(3)]
    share = grain(f, point[0] + 0.5 * point[2], point[1])
    albedo = mix(f.colour("ink", dark=0.3), f.colour("second"), share)
    surface = lit(f, albedo, (normal[0], normal[1], normal[2]))
    hit = np.where(nearest < 0.012, nearest - 0.02, nearest)
    return place(f, surface, hit, size)
