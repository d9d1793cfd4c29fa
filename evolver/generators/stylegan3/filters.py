"""The low-pass filters between layers, from their cutoffs (Karras et al. 2021, appendix C).

Knows arrays only. A trained network brings its filters along; these make one from nothing.
"""
# pyright: reportUnknownVariableType=false, reportArgumentType=false
# scipy's stubs know neither what its windows return nor that firwin's may be a tuple.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin
from scipy.signal.windows import kaiser
from scipy.special import j1


def lowpass(
    taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool
) -> NDArray[np.float64]:
    """Return a filter of unit sum, (taps,), or (taps, taps) when radial.

    Parameters
    ----------
    taps : its length, samples
    cutoff : where it has fallen to a half, cycles across the unit square
    half_width : of the transition, likewise
    rate : samples across the unit square
    radial : the same in all directions: a jinc under a Kaiser window along either axis;
        otherwise a Kaiser-windowed sinc along one axis
    """
    width = 2 * half_width
    attenuation = 2.285 * (taps - 1) * np.pi * width / (rate / 2) + 7.95
    window = kaiser(taps, _kaiser_beta(attenuation))
    if not radial:
        return np.asarray(
            firwin(taps, cutoff, window=("kaiser", _kaiser_beta(attenuation)), fs=rate)
        )
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(*np.meshgrid(x, x))
    r = np.maximum(
        r, 1e-9 / rate
    )  # an odd filter has its middle at 0, where the limit is smooth
    response = j1(2 * np.pi * cutoff * r) / (np.pi * r) * np.outer(window, window)
    return np.asarray(response / response.sum())


def _kaiser_beta(attenuation: float) -> float:
    """Return the window's shape for an attenuation in dB (Kaiser 1974)."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0
