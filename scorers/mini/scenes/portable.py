"""Sines, exponentials and the like that give the same numbers on every processor.

numpy and the libraries under it choose their kernels by processor, and sines of different
kernels differ in the last bit; so do matrix products, with the shape of their operands besides.
What is here is made of single sums, products, quotients and roots, element by element, which
IEEE 754 leaves no choice: scenes are the same wherever they are drawn, alone or in company.

Knows arrays, float32 unless said otherwise: error at most 3e-7, of arguments up to 1e4 in
size. Knows nothing of scenes. The method is the customary one, of Cephes (Moshier 1989): an
argument is brought near zero by subtracting a multiple in parts whose products are exact, and a
polynomial, fitted for its largest error, does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]
"""float32, of any shape; numpy's types cannot say so."""

# pi and log 2 in parts: those before the last have so few digits that multiples are exact.
_PI = (3.140625, 9.67502593994140625e-4, 1.50995799e-7)
_LOG2 = (0.693359375, -2.12194440e-4)
_SINE = (-1.66666570e-1, 8.33301541e-3, -1.98064786e-4, 2.59975110e-6)
_EXP = (0.50000001, 0.16666518, 0.0416662, 0.00836895, 0.00139506)
_ATAN = (
    *(-0.33332987, 0.19990396, -0.14185971, 0.10573918),
    *(-0.07366677, 0.04112153, -0.01513234, 0.0026222),
)
# The normal distribution function by a ratio of polynomials, highest power first (Hart 1968,
# algorithm 5666, as West 2005 gives it).
_ABOVE = (
    *(3.52624965998911e-2, 0.700383064443688, 6.37396220353165, 33.912866078383),
    *(112.079291497871, 221.213596169931, 220.206867912376),
)
_BELOW = (
    *(8.83883476483184e-2, 1.75566716318264, 16.064177579207, 86.7807322029461),
    *(296.564248779674, 637.333633378831, 793.826512519948, 440.413735824752),
)


def sin(x: Field) -> Field:
    """Return the sine of x, radians."""
    return _wave(x, 0.0)


def cos(x: Field) -> Field:
    """Return the cosine of x, radians."""
    return _wave(x, 0.5)


def exp(x: Field) -> Field:
    """Return e to the power x; where that exceeds float32's range, the range's end."""
    x = np.clip(x, np.float32(-87), np.float32(88), dtype=np.float32)
    powers = np.rint(x * np.float32(1 / np.log(2)))
    x = _less(x, powers, _LOG2)
    y = _polynomial(x, _EXP)
    y *= x * x
    y += x
    y += np.float32(1)
    # Two to an integer power is float32's exponent field.
    bits = powers.astype(np.int32)
    bits += 127
    bits <<= 23
    y *= bits.view(np.float32)
    return y


def tanh(x: Field) -> Field:
    """Return the hyperbolic tangent of x."""
    y = exp(np.float32(2) * np.clip(x, np.float32(-10), np.float32(10), dtype=np.float32))
    y += np.float32(1)
    np.divide(np.float32(-2), y, out=y)
    y += np.float32(1)
    return y


def hypot(x: Field, y: Field) -> Field:
    """Return the length of (x, y), of whichever type they are."""
    return np.sqrt(x * x + y * y)


def arctan2(y: Field, x: Field) -> Field:
    """Return the angle of the point (x, y), radians, -pi to pi; 0 at the origin."""
    wide, high = np.abs(x), np.abs(y)
    ratio = np.minimum(wide, high) / np.maximum(np.maximum(wide, high), np.float32(1e-30))
    square = ratio * ratio
    angle = _polynomial(square, _ATAN)
    angle *= square
    angle *= ratio
    angle += ratio
    angle = np.where(high > wide, np.float32(np.pi / 2) - angle, angle)
    angle = np.where(x < 0, np.float32(np.pi) - angle, angle)
    return np.copysign(angle, y)


def inverse_power(x: Field, *, tenths: int) -> Field:
    """Return x to the power -tenths / 10, x float64, 1e-16 to 1, good to 1e-14 of itself.

    Newton's method for the fifth root, from below and so often that the least x arrives.
    """
    root = np.ones_like(x)
    for _ in range(50):
        square = root * root
        root = root * (6 - x * (square * square * root)) / 5
    root = np.sqrt(root)
    power = root
    for _ in range(tenths - 1):
        power = power * root
    return power


def normal_share(x: Field) -> Field:
    """Return the share of standard normal numbers below x."""
    z = np.minimum(np.abs(x.astype(np.float64)), 14.0)
    above, below = (_polynomial(z, part[::-1]) for part in (_ABOVE, _BELOW))
    # Beyond 7 the ratio gives way to a continued fraction.
    tail = z + 0.65
    for k in (4, 3, 2, 1):
        tail = z + k / tail
    density = _small_exp(-0.5 * z * z)
    share = density * np.where(z < 7, above / below, 1 / (tail * 2.506628274631))
    return np.where(x > 0, 1 - share, share).astype(np.float32)


def _small_exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return e to the power x, -100 <= x <= 0, float64, good to 1e-12 of itself."""
    x = x / 1024
    y = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6)))))
    for _ in range(10):
        y = y * y
    return y


def _wave(x: Field, turn: float) -> Field:
    """Return sin(x + pi turn), of turn 0 or a half."""
    x = np.asarray(x, dtype=np.float32)
    half_turns = x * np.float32(1 / np.pi)
    half_turns += np.float32(turn)
    np.rint(half_turns, out=half_turns)
    odd = half_turns.astype(np.int32)
    odd <<= 31  # the parity, as float32's sign
    half_turns -= np.float32(turn)
    x = _less(x, half_turns, _PI)
    square = x * x
    y = _polynomial(square, _SINE)
    y *= square
    y *= x
    y += x
    signed = y.view(np.int32)
    signed ^= odd
    return y


def _less(x: Field, multiples: Field, parts: Sequence[float]) -> Field:
    """Return x - multiples * sum(parts), part by part."""
    product = multiples * np.float32(parts[0])
    rest = x - product
    for part in parts[1:]:
        np.multiply(multiples, np.float32(part), out=product)
        rest -= product
    return rest


def _polynomial(x: Field, coefficients: Sequence[float]) -> Field:
    """Return sum_k coefficients[k] x^k, in the type of x."""
    kind = x.dtype.type
    y = x * kind(coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        y += kind(coefficient)
        y *= x
    y += kind(coefficients[0])
    return y
