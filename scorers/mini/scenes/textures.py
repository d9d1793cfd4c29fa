"""Textures: gratings, patterns and noise that fill the canvas.

Knows the canvas and, for those made of many random parts, a random stream derived from the
factors themselves, so that equal factors still give the equal image. Knows nothing of networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from scorers.mini.scenes.canvas import (
    PIXEL_X,
    PIXEL_Y,
    SIZE,
    Colour,
    Factors,
    Field,
    ground,
    mix,
    turn,
)
from scorers.mini.scenes.portable import arctan2, cos, exp, hypot, inverse_power, sin, tanh

Texture: TypeAlias = Callable[[Factors], Field | Colour]
"""factors to a share of ink, (n, 64, 64), or to colours, (n, 64, 64, 3)."""

ORIENTATIONS = (0, 45, 90, 135)
"""Degrees; how far a grating's bars are turned from vertical, clockwise."""


def _streams(f: Factors) -> list[np.random.Generator]:
    """Return one random stream an image, seeded by its factors."""
    digests = [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in f.values]
    return [
        np.random.Generator(np.random.PCG64(int.from_bytes(d[:16], "little"))) for d in digests
    ]


def _placed(f: Factors, *, pitch: tuple[float, float]) -> tuple[Field, Field]:
    """Return pattern coordinates: turned, bent a little, scaled to a period of 2 pi."""
    x, y = turn(
        PIXEL_X - 0.2 * f.raw("x"), PIXEL_Y - 0.2 * f.raw("y"), f.between("roll", -1.6, 1.6)
    )
    bend = 0.06 * np.clip(f.raw("warp_0"), -2, 2)
    scale = f.between("size", pitch[1], pitch[0]) * np.pi  # large size: few periods
    return (x + bend * sin(3 * y)) * scale, y * scale


def _edge(wave: Field, f: Factors) -> Field:
    """Turn a wave in -1 to 1 into a share of ink, with edges from soft to hard."""
    return 0.5 + 0.5 * tanh(f.between("relief", 1, 8) * wave)


def _grating(angle: int, pitch: tuple[float, float]) -> Texture:
    def texture(f: Factors) -> Field:
        turned = np.deg2rad(angle + f.between("roll", -16, 16)).astype(np.float32)
        across = PIXEL_X * cos(turned) + PIXEL_Y * sin(turned)
        cycles = f.between("size", pitch[1], pitch[0]) * np.pi
        return 0.5 + 0.5 * sin(cycles * across + f.between("stripe_phase", 0, 2 * np.pi))

    return texture


def _square(f: Factors) -> Field:
    x, _ = _placed(f, pitch=(1.5, 8))
    return 0.5 + 0.5 * tanh(
        12 * (sin(x + f.raw("stripe_phase")) - f.between("form_0", -0.6, 0.6))
    )


def _plaid(f: Factors) -> Field:
    x, y = _placed(f, pitch=(1.5, 7))
    return 0.5 + 0.25 * (sin(x) + sin(y * f.between("form_0", 0.6, 1.6)))


def _checker(f: Factors) -> Field:
    x, y = _placed(f, pitch=(1.2, 6))
    return _edge(2 * sin(x) * sin(y * f.between("form_0", 0.7, 1.4)), f)


def _concentric(f: Factors) -> Field:
    x, y = _placed(f, pitch=(1.5, 7))
    return _edge(
        sin(hypot(x, y * f.between("form_0", 0.7, 1.4)) + f.between("stripe_phase", 0, 6.28)),
        f,
    )


def _radial(f: Factors) -> Field:
    x, y = _placed(f, pitch=(2, 3))
    arms = np.rint(f.between("size", 2.6, 9.4))
    return _edge(sin(arms * arctan2(y, x)), f)


def _spiral(f: Factors) -> Field:
    x, y = _placed(f, pitch=(1.5, 6))
    arms = np.rint(f.between("form_0", 0.6, 4.4)) * np.where(f.raw("form_1") > 0, 1, -1)
    return _edge(sin(hypot(x, y) + arms * arctan2(y, x)), f)


def _hexagons(f: Factors) -> Field:
    x, y = _placed(f, pitch=(2, 6))
    waves = cos(x) + cos(0.5 * x + 0.866 * y) + cos(0.5 * x - 0.866 * y)
    return _edge(waves - f.between("form_0", -0.8, 0.8), f)


def _gabor(f: Factors) -> Field:
    x, y = _placed(f, pitch=(2, 7))
    near = exp(-(x * x + (y * f.between("form_0", 0.6, 1.2)) ** 2) / f.between("form_1", 4, 30))
    return 0.5 + 0.5 * near * sin(x + f.between("stripe_phase", 0, 6.28))


def _bar(f: Factors) -> Field:
    x, y = turn(
        PIXEL_X - 0.3 * f.raw("x"), PIXEL_Y - 0.3 * f.raw("y"), f.between("roll", -1.6, 1.6)
    )
    distance = np.maximum(
        np.abs(x) - f.between("size", 0.05, 0.25), np.abs(y) - f.between("form_0", 0.4, 1.5)
    )
    return np.clip(0.5 - distance * SIZE / 2, 0, 1)


def _edges(f: Factors) -> Field:
    x, y = turn(
        PIXEL_X - 0.3 * f.raw("x"), PIXEL_Y - 0.3 * f.raw("y"), f.between("roll", -3.1, 3.1)
    )
    bent = x + 0.5 * np.clip(f.raw("form_0"), -2, 2) * y * y
    return 0.5 + 0.5 * tanh(bent * f.between("relief", 2, 30))


def _dots(f: Factors) -> Field:
    share: list[Field] = []
    for rng in _streams(f):
        count = int(rng.integers(8, 60))
        radius = rng.uniform(0.04, 0.16) * np.ones(count)
        px, py = rng.uniform(-1.05, 1.05, (2, count, 1, 1))
        nearest = (hypot(PIXEL_X - px, PIXEL_Y - py) - radius[:, None, None]).min(axis=0)
        share.append(np.clip(0.5 - nearest * SIZE / 2, 0, 1))
    return np.stack(share).astype(np.float32)


def _blobs(f: Factors) -> Field:
    share: list[Field] = []
    for rng in _streams(f):
        count = int(rng.integers(4, 14))
        px, py = rng.uniform(-1, 1, (2, count, 1, 1))
        width = rng.uniform(0.08, 0.35, (count, 1, 1))
        sign = np.where(rng.random((count, 1, 1)) < 0.5, -1, 1)
        share.append(
            (sign * exp(-((PIXEL_X - px) ** 2 + (PIXEL_Y - py) ** 2) / width**2)).sum(axis=0)
        )
    return 0.5 + 0.5 * tanh(1.5 * np.stack(share).astype(np.float32))


def _palette(f: Factors, rng: np.random.Generator, row: int, count: int) -> Colour:
    """Return (count, 3) colours around those of the factors."""
    own = np.stack([f.colour(name)[row, 0, 0] for name in ("ink", "second", "ground", "far")])
    picked = own[rng.integers(4, size=count)] + rng.normal(0, 0.12, (count, 3))
    return np.clip(picked * rng.uniform(0.55, 1.25, (count, 1)), 0, 1).astype(np.float32)


def _dead_leaves(f: Factors) -> Colour:
    """Discs of power-law sizes, each over the last (Lee, Mumford & Huang 2001)."""
    scenes: list[Field] = []
    for row, rng in enumerate(_streams(f)):
        count = 90
        radius = 0.07 * inverse_power(1 - rng.random(count), tenths=6)
        px, py = rng.uniform(-1.2, 1.2, (2, count))
        colours = _palette(f, rng, row, count)
        scene = np.tile(colours[0], (SIZE, SIZE, 1))
        for k in np.argsort(-radius):
            inside = np.clip(
                0.5 - (hypot(PIXEL_X[0] - px[k], PIXEL_Y[0] - py[k]) - radius[k]) * SIZE / 2,
                0,
                1,
            )
            scene += (colours[k] - scene) * inside[..., None].astype(np.float32)
        scenes.append(scene)
    return np.stack(scenes)


def _patches(f: Factors) -> Colour:
    """Rectangles, as in a Mondrian."""
    scenes: list[Field] = []
    for row, rng in enumerate(_streams(f)):
        count = int(rng.integers(8, 30))
        colours = _palette(f, rng, row, count)
        scene = np.tile(colours[0], (SIZE, SIZE, 1))
        for k in range(1, count):
            x, y = rng.integers(-10, SIZE, 2)
            wide, high = rng.integers(6, 36, 2)
            scene[max(y, 0) : y + high, max(x, 0) : x + wide] = colours[k]
        scenes.append(scene)
    return np.stack(scenes)


def _cells(f: Factors) -> Colour:
    """Cells around random seeds (Voronoi), with dark borders."""
    scenes: list[Field] = []
    for row, rng in enumerate(_streams(f)):
        count = int(rng.integers(10, 45))
        px, py = rng.uniform(-1.1, 1.1, (2, count, 1, 1))
        away = hypot(PIXEL_X - px, PIXEL_Y - py)
        first, second = np.partition(away, 1, axis=0)[:2]
        scene = _palette(f, rng, row, count)[away.argmin(axis=0)]
        scenes.append(scene * np.clip((second - first) * 14, 0.15, 1)[..., None])
    return np.stack(scenes).astype(np.float32)


def _noise(slope: float, *, colour: bool) -> Texture:
    """Noise whose amplitude falls with spatial frequency as 1 / f**slope, slope in tenths."""
    freq = hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    freq[0, 0] = 1
    amplitude = inverse_power(freq, tenths=round(10 * slope))
    amplitude[0, 0] = 0

    def texture(f: Factors) -> Field | Colour:
        planes = 3 if colour else 1
        white = np.stack([rng.standard_normal((planes, SIZE, SIZE)) for rng in _streams(f)])
        waves = np.fft.rfft2(white)
        # Part by part: a product of complex numbers is rounded as the processor has it.
        waves.real *= amplitude
        waves.imag *= amplitude
        shaped = np.fft.irfft2(waves, s=(SIZE, SIZE))
        shaped /= shaped.std(axis=(2, 3), keepdims=True)
        shaped = shaped * f.between("relief", 0.5, 1.3)[:, None]
        share = (0.5 + 0.5 * tanh(0.8 * shaped)).astype(np.float32)
        if not colour:
            return share[:, 0]
        # Correlated channels, as in photographs: mostly light, some colour.
        share = 0.65 * share[:, :1] + 0.35 * share
        base = 0.5 * (f.colour("ink") + f.colour("ground"))
        return np.clip(base + 1.1 * (np.moveaxis(share, 1, -1) - 0.5), 0, 1)

    return texture


_SMOOTH = _noise(1.6, colour=False)
_SOFTER = _noise(2.4, colour=False)


def _marble(f: Factors) -> Field:
    x, _ = _placed(f, pitch=(1.5, 5))
    return 0.5 + 0.5 * sin(x + f.between("form_0", 2, 9) * np.asarray(_SMOOTH(f)))


def _contours(f: Factors) -> Field:
    return _edge(sin(f.between("size", 5, 16) * np.asarray(_SOFTER(f))), f)


TEXTURES: dict[str, Texture] = {
    **{f"grating-coarse-{a}": _grating(a, (1.5, 4)) for a in ORIENTATIONS},
    **{f"grating-fine-{a}": _grating(a, (5, 12)) for a in ORIENTATIONS},
    "grating-square": _square,
    "plaid": _plaid,
    "checkerboard": _checker,
    "concentric": _concentric,
    "radial": _radial,
    "spiral": _spiral,
    "hexagons": _hexagons,
    "gabor": _gabor,
    "bar": _bar,
    "edge": _edges,
    "dots": _dots,
    "blobs": _blobs,
    "dead-leaves": _dead_leaves,
    "patches": _patches,
    "cells": _cells,
    "noise-rough": _noise(0.5, colour=False),
    "noise-natural": _noise(1.0, colour=True),
    "noise-smooth": _noise(1.6, colour=True),
    "marble": _marble,
    "contours": _contours,
}


def draw(name: str, f: Factors) -> Colour:
    """Return the scene of one texture, (n, 64, 64, 3)."""
    drawn = TEXTURES[name](f)
    if drawn.ndim == 4:
        return drawn
    back = ground(f) if name in {"bar", "dots", "blobs"} else f.colour("ground")
    return mix(back, f.colour("ink"), drawn)
