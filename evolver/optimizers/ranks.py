"""Constants of CMA-ES that depend only on the problem's size, and weights by rank.

Knows dimensions, population sizes and ranks. Knows nothing of codes, of draws, or of what a
score means: only the order of the scores, and which of them are equal, gets past this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import floor, log, log2, sqrt
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from evolver.types import Vector


def default_popsize(d: int) -> int:
    """Images a generation, 4 + floor(3 log2 d): 40 at 4096, 31 at 512, 28 at 256."""
    return 4 + floor(3 * log2(d))


@lru_cache(maxsize=256)
def log_weights(n: int, parents: float | None = None) -> Vector:
    """Weights of ranks 1 to n, best first, shape (n,), sum 1; zero for all but `parents`.

    Hansen's logarithmic weights, ln(parents + 1/2) - ln(rank), over the better half (n / 2
    parents) by default; one code alone is its own parent. The array is shared between callers
    and cannot be written to.
    """
    most = n / 2 if parents is None else parents
    count = max(1, min(n, floor(most)))
    weights = np.zeros(n)
    raw = log(most + 0.5) - np.log(np.arange(1, count + 1))
    weights[:count] = raw / raw.sum() if count > 1 else 1.0
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=256)
def _summed_weights(n: int, parents: float | None) -> Vector:
    """Return the sums of the best 0, 1, ... n weights, shape (n + 1,)."""
    return np.concatenate([np.zeros(1), np.cumsum(log_weights(n, parents))])


def rank_weights(scores: Any, parents: float | None = None) -> Any:  # noqa: ANN401  any array-API library
    """Weight of each score by its rank, shape (n,), sum 1; larger scores weigh more.

    Equal scores share: each gets the mean weight of the ranks they hold together. The order
    of the rows therefore never steers a search, and a generation in which every score is the
    same (a silent unit) weighs all its codes alike.

    Parameters
    ----------
    scores : array of float, shape (n,), finite; numpy, torch or any array-API library
    parents : ranks that weigh anything; the better half by default
    """
    xp = array_namespace(scores)
    n = int(scores.shape[0])
    summed = xp.asarray(_summed_weights(n, parents), dtype=scores.dtype, device=scores.device)
    ascending = xp.sort(scores)
    better = n - xp.searchsorted(ascending, scores, side="right")
    not_worse = n - xp.searchsorted(ascending, scores, side="left")
    return (xp.take(summed, not_worse) - xp.take(summed, better)) / (not_worse - better)


@dataclass(frozen=True, slots=True)
class Strategy:
    """Learning rates for `d` dimensions and `n` images a generation."""

    c_s: float  # step-size path
    d_s: float  # damping of the step size
    c_c: float  # covariance path
    c_1: float  # rank-one update of the covariance
    c_mu: float  # rank-mu update of the covariance
    chi: float  # expected length of a standard normal vector

    @classmethod
    @lru_cache(maxsize=256)
    def cholesky(cls, d: int, n: int) -> Strategy:
        """Rates of Cholesky CMA-ES (Suttorp, Hansen & Igel 2009) as the field runs it."""
        mu_eff = 1 / float((log_weights(n) ** 2).sum())
        c_s = sqrt(mu_eff) / (sqrt(mu_eff) + sqrt(d))
        return cls(
            c_s=c_s,
            d_s=1 + c_s + 2 * max(0.0, sqrt(max(0.0, mu_eff - 1) / (d + 1)) - 1),
            c_c=4 / (d + 4),
            c_1=2 / (d + sqrt(2)) ** 2,
            c_mu=0.0,
            chi=expected_length(d),
        )

    @classmethod
    @lru_cache(maxsize=256)
    def separable(cls, d: int, n: int) -> Strategy:
        """Rates of sep-CMA-ES (Ros & Hansen 2008): the full matrix's, times (d + 2) / 3."""
        mu_eff = 1 / float((log_weights(n) ** 2).sum())
        full = 2 / mu_eff / (d + sqrt(2)) ** 2 + (1 - 1 / mu_eff) * min(
            1.0, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff)
        )
        c_cov = min(1.0, (d + 2) / 3 * full)
        c_s = (mu_eff + 2) / (d + mu_eff + 3)
        return cls(
            c_s=c_s,
            d_s=1 + c_s + 2 * max(0.0, sqrt(max(0.0, mu_eff - 1) / (d + 1)) - 1),
            c_c=4 / (d + 4),
            c_1=c_cov / mu_eff,
            c_mu=c_cov * (1 - 1 / mu_eff),
            chi=expected_length(d),
        )


def expected_length(d: int) -> float:
    """Length of a standard normal vector of `d` dimensions, on average."""
    return sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
