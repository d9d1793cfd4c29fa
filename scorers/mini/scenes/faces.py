"""Faces: human-like, monkey-like, a smiley, a single eye, an owl-like bird.

Knows how a face is painted layer on layer on a rounded head, and the canvas. Knows nothing of
networks or files. Yaw moves the features over the head, as turning it would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from scorers.mini.scenes.canvas import (
    Colour,
    Factors,
    Field,
    cover,
    frame,
    lit,
    mix,
    place,
    turn,
)
from scorers.mini.scenes.outlines import ellipse, stroke
from scorers.mini.scenes.portable import arctan2, cos, exp, hypot, sin

Painted: TypeAlias = tuple[Colour, Field, tuple[Field, Field, Field]]
"""Albedo, signed distance of the outline, unit normals."""


def _colour(red: float, green: float, blue: float) -> Colour:
    return np.array([red, green, blue], np.float32).reshape(1, 1, 1, 3)


def _blend(f: Factors, own: Colour, name: str, share: float) -> Colour:
    """Return a natural colour, tinted by a factor's colour."""
    return (1 - share) * own + share * f.colour(name, dark=0.3)


def _dome(x: Field, y: Field, rx: float, ry: float) -> tuple[Field, Field, Field]:
    """Return the normals of an ellipsoid seen from the front."""
    a, b = x / rx, y / ry
    r = hypot(a, b)
    k = np.minimum(1, 0.97 / (r + 1e-6)) * 0.9
    a, b = a * k, b * k
    return a, b, np.sqrt(np.clip(1 - a * a - b * b, 0.02, 1))


def _looking(f: Factors, x: Field, y: Field) -> tuple[Field, Field]:
    """Return feature coordinates of a turned head."""
    depth = np.sqrt(np.clip(1.1 - x * x - 0.5 * y * y, 0.05, None))
    return x - f.between("yaw", -0.38, 0.38) * depth, y - f.between("pitch", -0.2, 0.2) * depth


def _eyes(
    f: Factors, albedo: Colour, x: Field, y: Field, *, apart: Field, size: Field, iris: Colour
) -> Colour:
    """Paint two eyes; the gaze is form_6 and form_7."""
    gaze_x, gaze_y = (
        f.between("form_6", -0.35, 0.35) * size,
        f.between("form_7", -0.2, 0.2) * size,
    )
    for side in (-1, 1):
        ex, ey = x - side * apart, y
        white = ellipse(ex, ey, size, size * f.between("form_5", 0.45, 0.85))
        ball = cover(white, _per(x))
        albedo = mix(albedo, _colour(0.97, 0.96, 0.94) + 0 * albedo, ball)
        pupil = hypot(ex - gaze_x, ey - gaze_y)
        albedo = mix(albedo, iris + 0 * albedo, ball * cover(pupil - 0.62 * size, _per(x)))
        albedo = mix(albedo, 0.03 + 0 * albedo, ball * cover(pupil - 0.33 * size, _per(x)))
        albedo = mix(albedo, 0.1 * albedo, 0.8 * cover(np.abs(white) - 0.02, _per(x)))
    return albedo


def _per(x: Field) -> Field:
    """Return the size of one object unit, in half canvases, from the coordinates themselves."""
    step = np.abs(x[:, 32:33, 36:37] - x[:, 32:33, 28:29]) + np.abs(
        x[:, 36:37, 32:33] - x[:, 28:29, 32:33]
    )
    return 0.25 / np.maximum(step, 0.02)


def _human(f: Factors, x: Field, y: Field) -> Painted:
    jaw = 1 - 0.22 * np.clip(y, 0, 1) * f.between("form_4", 0.2, 1.6)
    outline = ellipse(x / jaw, y, 0.68, 0.92)
    per = _per(x)
    light = f.between("ink_light", 0.42, 1.05)
    skin = _blend(f, _colour(0.93, 0.72, 0.58) * light[..., None], "ink", 0.12)
    hair = _blend(f, _colour(0.22, 0.14, 0.09), "second", 0.4) * 0.8
    albedo = skin + np.zeros((*x.shape, 3), np.float32)
    u, v = _looking(f, x, y)
    # Nose and cheeks as shading, then brows, eyes, mouth, and hair over all.
    nose = exp(-((u - 0.07) ** 2 / 0.004 + np.clip(np.abs(v - 0.12) - 0.1, 0, 1) ** 2 / 0.006))
    albedo = albedo * (1 - 0.3 * nose)[..., None]
    nostrils = np.minimum(hypot(u - 0.08, v - 0.3), hypot(u + 0.08, v - 0.3))
    albedo = albedo * (1 - 0.55 * cover(nostrils - 0.045, per))[..., None]
    tilt, brow_y = f.between("form_2", -0.09, 0.09), f.between("form_3", -0.36, -0.26)
    for side in (-1, 1):
        ends = (side * 0.14, brow_y + tilt, side * 0.42, brow_y - tilt)
        albedo = mix(albedo, hair + 0 * albedo, cover(stroke(u, v, ends) - 0.04, per))
    eye = f.between("form_1", 0.12, 0.17)
    apart = f.between("far_light", 0.25, 0.31)
    iris = _blend(f, _colour(0.3, 0.35, 0.35), "second", 0.6)
    albedo = _eyes(f, albedo, u, v + 0.12, apart=apart, size=eye, iris=iris)
    curve = f.between("form_0", -0.9, 1.1)
    open_ = f.between("form_5", 0.03, 0.085)
    bent = v - 0.52 + curve * (u * u - 0.03)
    mouth = ellipse(u, bent, 0.27, open_)
    lips = _colour(0.72, 0.25, 0.24) * light[..., None]
    albedo = mix(albedo, lips + 0 * albedo, cover(mouth, per))
    albedo = mix(
        albedo,
        0.25 * albedo,
        cover(np.abs(bent) - 0.012 + 9 * np.clip(np.abs(u) - 0.24, 0, 1), per),
    )
    line = -0.5 + 0.5 * f.between("form_7", 0.2, 1.1) * x * x
    fringe = np.minimum(np.maximum(v - line, -1), 0.58 - np.abs(x) + 0.12 * np.clip(-y, -1, 0))
    albedo = mix(albedo, hair + 0 * albedo, cover(fringe, per))
    volume = ellipse(x, y + 0.22, 0.8, 0.82) + np.clip(y - f.between("form_6", 0.0, 0.75), 0, 9)
    albedo = mix(hair + 0 * albedo, albedo, cover(outline, per))
    return albedo, np.minimum(outline, volume), _dome(x, y, 0.78, 0.98)


def _monkey(f: Factors, x: Field, y: Field) -> Painted:
    per = _per(x)
    fur = (
        _blend(f, _colour(0.42, 0.3, 0.2), "ink", 0.3)
        * f.between("ink_light", 0.6, 1.2)[..., None]
    )
    skin = _blend(f, _colour(0.86, 0.66, 0.55), "second", 0.25)
    head = ellipse(x, y + 0.05, 0.72, 0.78)
    ears = ellipse(np.abs(x) - 0.76, y + 0.1, f.between("form_1", 0.15, 0.26), 0.24)
    albedo = fur + np.zeros((*x.shape, 3), np.float32)
    albedo = (
        albedo * (1 + 0.12 * sin(26 * arctan2(y, x)) * np.clip(hypot(x, y), 0, 1))[..., None]
    )
    inner = ellipse(np.abs(x) - 0.76, y + 0.1, 0.1, 0.14)
    albedo = mix(albedo, 0.8 * skin + 0 * albedo, cover(inner, per) * (1 - cover(head, per)))
    u, v = _looking(f, x, y)
    discs = ellipse(np.abs(u) - 0.24, v + 0.16, f.between("form_2", 0.26, 0.34), 0.32)
    muzzle = ellipse(u, v - 0.36, f.between("form_3", 0.36, 0.5), 0.36)
    face = np.minimum(discs, muzzle)
    albedo = mix(albedo, skin + 0 * albedo, cover(face, per))
    albedo = albedo * (1 - 0.25 * exp(-(np.clip(np.abs(muzzle), 0, 1) ** 2) / 0.003))[..., None]
    nostrils = ellipse(np.abs(u) - 0.08, v - 0.2, 0.045, 0.06)
    albedo = mix(albedo, 0.15 * albedo, cover(nostrils, per))
    bent = v - 0.47 + f.between("form_0", -0.6, 0.6) * u * u
    gape = f.between("form_4", 0.01, 0.15)
    mouth = ellipse(u, bent, 0.27, gape + 0.015)
    albedo = mix(albedo, _colour(0.3, 0.08, 0.08) + 0 * albedo, cover(mouth, per))
    iris = _blend(f, _colour(0.45, 0.28, 0.1), "second", 0.2)
    size = f.between("form_5", 0.1, 0.14)
    albedo = _eyes(
        f, albedo, u, v + 0.14, apart=f.between("form_7", 0.18, 0.24), size=size, iris=iris
    )
    brow = np.abs(v + 0.33 - 0.25 * u * u) - 0.035 + 9 * np.clip(np.abs(u) - 0.42, 0, 1)
    albedo = mix(albedo, 0.45 * albedo, cover(brow, per))
    return albedo, np.minimum(head, ears), _dome(x, y, 0.85, 0.85)


def _smiley(f: Factors, x: Field, y: Field) -> Painted:
    per = _per(x)
    disc = hypot(x, y) - 0.85
    albedo = _blend(f, _colour(0.98, 0.85, 0.2), "ink", 0.4) + np.zeros(
        (*x.shape, 3), np.float32
    )
    dots = ellipse(
        np.abs(x) - f.between("form_1", 0.22, 0.36),
        y + 0.25,
        0.09,
        f.between("form_2", 0.08, 0.2),
    )
    curve = f.between("form_0", -1.2, 1.4)
    arc = np.abs(y - 0.35 + curve * (x * x - 0.12)) / hypot(np.ones_like(curve), 2 * curve * x)
    arc = arc - f.between("form_3", 0.04, 0.09) + 5 * np.clip(np.abs(x) - 0.48, 0, 1)
    rim = np.abs(disc + 0.04) - 0.035
    marks = np.minimum(np.minimum(dots, arc), rim)
    return mix(albedo, 0.08 + 0 * albedo, cover(marks, per)), disc, _dome(x, y, 1.1, 1.1)


def _eye(f: Factors, x: Field, y: Field) -> Painted:
    per = _per(x)
    lid = f.between("form_0", 0.38, 0.62)
    radius = (0.9 + lid * lid) / (2 * lid)
    opening = hypot(x, np.abs(y) + radius - lid) - radius
    albedo = _colour(0.96, 0.94, 0.92) + np.zeros((*x.shape, 3), np.float32)
    gx, gy = f.between("form_6", -0.3, 0.3), f.between("form_7", -0.12, 0.12)
    r, turned = hypot(x - gx, y - gy), arctan2(y - gy, x - gx)
    wide = f.between("form_1", 0.3, 0.44)
    iris = f.colour("second", dark=0.25)
    streaks = 1 + 0.22 * sin(17 * turned) * np.clip(r / wide, 0, 1)
    albedo = mix(albedo, iris * streaks[..., None], cover(r - wide, per))
    albedo = mix(albedo, 0.3 * albedo, cover(np.abs(r - wide) - 0.03, per))
    albedo = mix(
        albedo, 0.02 + 0 * albedo, cover(r - wide * f.between("form_2", 0.3, 0.65), per)
    )
    glint = hypot(x - gx + 0.12, y - gy + 0.13) - 0.07
    albedo = mix(albedo, 1 + 0 * albedo, cover(glint, per))
    skin = _blend(f, _colour(0.88, 0.66, 0.54), "ink", 0.4)
    shaded = skin * (1 - 0.5 * exp(-np.clip(opening, 0, 1) / 0.12))[..., None]
    albedo = mix(shaded, albedo, cover(opening, per))
    lashes = np.abs(opening) - 0.04 + 3 * np.clip(y - 0.05, 0, 1)
    albedo = mix(albedo, 0.08 + 0 * albedo, cover(lashes, per))
    brow = np.abs(y + 0.72 - 0.18 * x * x + f.between("form_3", -0.1, 0.1)) - 0.07
    albedo = mix(
        albedo, 0.2 * skin + 0 * albedo, cover(brow + 4 * np.clip(np.abs(x) - 0.75, 0, 1), per)
    )
    outline = ellipse(x, y + 0.12, 1.12, 0.9)
    return albedo, outline, _dome(x, y, 1.3, 1.2)


def _owl(f: Factors, x: Field, y: Field) -> Painted:
    per = _per(x)
    fur = _blend(f, _colour(0.5, 0.4, 0.3), "ink", 0.6)
    albedo = fur + np.zeros((*x.shape, 3), np.float32)
    albedo = albedo * (1 + 0.25 * sin(14 * x + 3 * f.raw("form_0")) * sin(12 * y))[..., None]
    u, v = _looking(f, x, y)
    apart = f.between("form_1", 0.3, 0.38)
    discs = hypot(np.abs(u) - apart, v + 0.15) - 0.4
    pale = _blend(f, _colour(0.9, 0.84, 0.72), "second", 0.3)
    rings = 1 + 0.15 * cos(40 * (discs + 0.4))
    albedo = mix(albedo, pale * rings[..., None], cover(discs, per))
    size = f.between("form_5", 0.16, 0.26)
    iris = _blend(f, _colour(0.98, 0.7, 0.1), "second", 0.25)
    r = hypot(np.abs(u) - apart * 0.95, v + 0.13)
    albedo = mix(albedo, iris + 0 * albedo, cover(r - size, per))
    albedo = mix(
        albedo, 0.03 + 0 * albedo, cover(r - size * f.between("form_2", 0.4, 0.8), per)
    )
    beak = np.maximum(np.abs(u) * 0.9 + (v - 0.42) * 0.42, -0.02 - (v - 0.05))
    albedo = mix(albedo, _colour(0.75, 0.6, 0.2) + 0 * albedo, cover(beak, per))
    head = ellipse(x, y, 0.8, 0.82)
    tufts = stroke(np.abs(x), y, (0.4, -0.6, f.between("form_3", 0.5, 0.7), -0.98)) - 0.1
    return albedo, np.minimum(head, tufts), _dome(x, y, 0.9, 0.9)


FACES: dict[str, Callable[[Factors, Field, Field], Painted]] = {
    "face-human": _human,
    "face-monkey": _monkey,
    "face-smiley": _smiley,
    "face-owl": _owl,
    "eye": _eye,
}


def draw(name: str, f: Factors) -> Colour:
    """Return the scene of one face, (n, 64, 64, 3)."""
    sx, sy, size = frame(f, least=0.62, most=0.98)
    angle = f.between("roll", -0.45, 0.45)
    x, y = turn(sx, sy, angle)
    albedo, outline, (nx, ny, nz) = FACES[name](f, x, y)
    nx, ny = turn(nx, ny, -angle)
    return place(f, lit(f, np.clip(albedo, 0, 1), (nx, ny, nz)), outline, size)
