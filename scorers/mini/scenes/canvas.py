"""The canvas every scene is drawn on: coordinates, factors, colours, light, compositing.

Knows arrays of float32 and what each factor means. Knows nothing of classes, networks or files.

A scene is a deterministic function of (class, factors). Factors are standard normal numbers, so
that a network can be taught the mapping by regression and any normal draw is a valid scene;
those with a bounded meaning pass through the normal distribution function, so that far-out
values saturate and never break a scene.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorers.mini.scenes.portable import cos, exp, normal_share, sin, tanh

Field: TypeAlias = NDArray[np.floating[Any]]
"""(n, 64, 64) over pixels, or (n, 1, 1) one number an image, unless said otherwise.

float32 throughout, for speed; numpy's types cannot say so, as a product with a Python number is
float64 to them.
"""
Colour: TypeAlias = NDArray[np.floating[Any]]
"""(n, 1, 1, 3) or (n, 64, 64, 3) float32, square roots of linear light, about 0 to 1."""

SIZE = 64
"""Height and width of a scene, pixels."""

FACTORS: tuple[str, ...] = (
    *("x", "y", "size", "roll", "pitch", "yaw"),
    *("ink_a", "ink_b", "ink_light", "second_a", "second_b", "second_light"),
    *("ground_a", "ground_b", "ground_light", "far_a", "far_b", "far_light"),
    *("slope_x", "slope_y", "light_x", "light_y", "ambient", "gloss", "halo", "relief"),
    *(f"form_{k}" for k in range(8)),
    *(f"warp_{k}" for k in range(8)),
    *(f"field_{k}" for k in range(16)),
    *("stripe", "stripe_angle", "stripe_pitch", "stripe_phase", "grain_a", "grain_b"),
)
"""What each of the 64 columns of a factor array means."""
_COLUMN = {name: k for k, name in enumerate(FACTORS)}

_AXIS = ((np.arange(SIZE, dtype=np.float32) + 0.5) / (SIZE / 2) - 1).astype(np.float32)
PIXEL_Y, PIXEL_X = _AXIS[None, :, None], _AXIS[None, None, :]
"""Pixel centres, -1 (top, left) to 1 (bottom, right): (1, 64, 1) and (1, 1, 64)."""

# The smooth field: products of cosines, (down, across), the smoothest 16 after the constant.
_WAVES = sorted(
    ((i, j) for i in range(6) for j in range(6) if i + j),
    key=lambda p: (p[0] ** 2 + p[1] ** 2, p),
)[:16]
# Libraries' float64 cosines differ by 1e-16; none of these is that near to a change in float32.
_COSINES = [
    np.cos(k * (_AXIS.astype(np.float64) + 1) * np.pi / 2).astype(np.float32) for k in range(6)
]


class Factors:
    """Named access to a (n, 64) array of factors, one (n, 1, 1) column at a time."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values
        self._columns = values.astype(np.float32)
        self._shares = normal_share(self._columns)

    def __len__(self) -> int:
        return len(self.values)

    def raw(self, name: str) -> Field:
        """Return the factor as it is, (n, 1, 1)."""
        return self._columns[:, _COLUMN[name], None, None]

    def between(self, name: str, low: float, high: float) -> Field:
        """Return the factor mapped from standard normal to uniform over low to high."""
        share = self._shares[:, _COLUMN[name], None, None]
        return np.float32(low) + np.float32(high - low) * share

    def colour(self, name: str, *, dark: float = 0.12, bright: float = 0.92) -> Colour:
        """Return the colour made of NAME_a, NAME_b (hue and saturation) and NAME_light."""
        a, b = self.raw(f"{name}_a"), self.raw(f"{name}_b")
        reach = np.sqrt(1 + a * a + b * b)
        light = self.between(f"{name}_light", dark, bright)
        red = light * (1 + 0.8 * a / reach)
        green = light * (1 + 0.5 * (-0.5 * a + 0.87 * b) / reach)
        blue = light * (1 + 0.8 * (-0.5 * a - 0.87 * b) / reach)
        return np.clip(np.stack([red, green, blue], axis=-1), 0.02, 1).astype(np.float32)


def frame(f: Factors, *, least: float = 0.5, most: float = 0.92) -> tuple[Field, Field, Field]:
    """Return object coordinates (x, y), each (n, 64, 64), and the object's size, (n, 1, 1).

    Moved, scaled and bent by the warp factors, but not turned: what turning means (in the
    plane, or in space) belongs to the kind of object.
    """
    size = f.between("size", least, most)
    x = (PIXEL_X - f.between("x", -0.25, 0.25)) / size
    y = (PIXEL_Y - f.between("y", -0.25, 0.25)) / size
    w = [0.05 * np.clip(f.raw(f"warp_{k}"), -2.5, 2.5) for k in range(8)]
    bent_x = x + w[0] * sin(2 * y) + w[1] * cos(2 * y) + w[2] * sin(4 * y) + w[3] * x * y
    bent_y = y + w[4] * sin(2 * x) + w[5] * cos(2 * x) + w[6] * sin(4 * x) + w[7] * x * y
    return bent_x, bent_y, size


def turn(x: Field, y: Field, angle: Field) -> tuple[Field, Field]:
    """Rotate coordinates by an angle, radians."""
    c, s = cos(angle), sin(angle)
    return c * x + s * y, c * y - s * x


def cover(distance: Field, size: Field) -> Field:
    """Turn a signed distance in object units into the share of each pixel that is covered."""
    return np.clip(0.5 - distance * size * (SIZE / 2), 0, 1)


def mix(a: Colour, b: Colour, share: Field) -> Colour:
    """Blend from a (share 0) to b (share 1), pixel by pixel."""
    return a + (b - a) * share[..., None]


def ground(f: Factors) -> Colour:
    """Return the background: two colours blended by a slope and a smooth random field."""
    # Row by row of waves and in this order, never as a matrix product, which adds in another
    # order on another processor and for another number of scenes.
    across = [np.zeros((len(f), 1, SIZE), np.float32) for _ in _COSINES]
    for k, (i, j) in enumerate(_WAVES):
        across[i] += f.raw(f"field_{k}") * (_COSINES[j] / np.float32(np.sqrt(i * i + j * j)))
    smooth = sum(wave[:, None] * row for wave, row in zip(_COSINES, across, strict=True))
    slope = f.raw("slope_x") * PIXEL_X + f.raw("slope_y") * PIXEL_Y
    share = 0.5 + 0.5 * tanh(0.8 * slope + 0.6 * smooth)
    return mix(f.colour("ground"), f.colour("far"), share)


def grain(f: Factors, x: Field, y: Field) -> Field:
    """Return the share of second colour that a striped surface shows, (n, 64, 64)."""
    angle = f.between("stripe_angle", 0, np.pi)
    across = cos(angle) * x + sin(angle) * y
    wave = cos(f.between("stripe_pitch", 6, 16) * across + 2 * f.raw("stripe_phase"))
    wave = tanh(2.5 * wave) * 0.5 + 0.5
    return np.clip(f.between("stripe", -1.2, 0.9), 0, 1) * wave


def lit(f: Factors, albedo: Colour, normal: tuple[Field, Field, Field]) -> Colour:
    """Shade a surface, given its unit normals (x right, y down, z towards the viewer)."""
    lx, ly = 0.9 * tanh(f.raw("light_x")), 0.7 * tanh(f.raw("light_y")) - 0.35
    scale = 1 / np.sqrt(lx * lx + ly * ly + 0.6)
    lx, ly, lz = lx * scale, ly * scale, np.sqrt(np.float32(0.6)) * scale
    nx, ny, nz = normal
    facing = nx * lx + ny * ly + nz * lz
    ambient = f.between("ambient", 0.12, 0.55)
    shade = ambient + (1 - ambient) * np.clip(facing, 0, 1)
    mirror = np.clip(2 * facing * nz - lz, 0, 1)  # reflection of the light at the viewer
    mirror = mirror**2 * mirror  # a library's 12th power is not the same everywhere
    mirror = (mirror**2) ** 2
    shine = np.clip(f.between("gloss", -0.4, 0.8), 0, 1) * mirror
    light = albedo**2 * shade[..., None] * 1.15 + shine[..., None]
    return np.sqrt(np.clip(light, 0, 1))


def relief(distance: Field, bevel: Field, size: Field) -> tuple[Field, Field, Field]:
    """Return the normals of a flat shape inflated like a cushion, `bevel` object units high."""
    inside = np.clip(1 + distance / bevel, 0, 1)
    height = bevel * size * np.sqrt(np.clip(1 - inside**2, 0, 1) + 1e-4) * (SIZE / 2)
    dy, dx = np.gradient(height, axis=(1, 2))
    scale = 1 / np.sqrt(dx * dx + dy * dy + 1)
    return -dx * scale, -dy * scale, scale


def place(f: Factors, surface: Colour, distance: Field, size: Field) -> Colour:
    """Put a surface on its background, with a soft dark halo that sets it off."""
    dim = f.between("halo", 0, 0.6) * exp(-np.clip(distance, 0, 4) / 0.22)
    return mix(ground(f) * (1 - dim[..., None]), surface, cover(distance, size))


def to_bytes(colour: Colour) -> NDArray[np.uint8]:
    """Round to 8-bit sRGB, half to even; the square-root scale stands in for sRGB's curve."""
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)
