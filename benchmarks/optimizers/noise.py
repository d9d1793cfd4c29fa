"""Response noise: from a clean score to what an optimizer is told.

Knows arrays of standard normal draws. Knows nothing of units, images or optimizers: equal draws
give paired noise to whoever is scored.
"""

# pyright: reportUnknownMemberType=false
# scipy's distributions are not annotated.

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from evolver.analysis.trajectories import FloatArray
from evolver.errors import ConfigError

WINDOW_S = 0.15
"""Seconds in which spikes are counted."""

_FORM = re.compile(r"(?:poisson-)?\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Noise:
    """One kind and level of noise."""

    kind: Literal["multiplicative", "poisson"]
    level: float  # standard deviation >= 0; or spikes/s > 0 where the clean score is 1

    @classmethod
    def parse(cls, name: str) -> Noise:
        """Read "0", "0.2" (multiplicative) or "poisson-20" (spikes/s).

        Raises
        ------
        ConfigError
            The name has another form.
        """
        if _FORM.fullmatch(name) is None or name in {"poisson-0", "poisson-0.0"}:
            raise ConfigError(
                "noise must be a standard deviation, as 0 or 0.2, or poisson-RATE with a rate "
                f"above 0 in spikes/s, as poisson-20; got {name!r}"
            )
        kind, _, level = name.rpartition("-")
        return cls("poisson" if kind else "multiplicative", float(level))

    def __str__(self) -> str:
        return f"poisson-{self.level:g}" if self.kind == "poisson" else f"{self.level:g}"

    @property
    def words(self) -> str:
        """What a table's head says."""
        if self.kind == "poisson":
            return f"Poisson, {self.level:g} spikes/s"
        return f"noise {self.level:g}" if self.level else "no noise"

    def spoil(self, clean: FloatArray, draws: FloatArray) -> FloatArray:
        """Return noisy scores, (n,).

        Parameters
        ----------
        clean : (n,)
        draws : (n,) standard normal. Counts are the Poisson quantiles at the draws' own
            quantiles, so that equal draws are paired here too

        Returns
        -------
        ndarray of float64, (n,); of counts, spikes/s
        """
        if self.kind == "multiplicative":
            return clean * np.maximum(0.0, 1.0 + self.level * draws)
        expected = self.level * WINDOW_S * np.maximum(0.0, clean)
        # A draw beyond 8 standard deviations has quantile 1 in float64, and no count.
        quantile = np.clip(stats.norm.cdf(draws), 1e-12, 1 - 1e-12)
        return np.asarray(stats.poisson.ppf(quantile, expected), dtype=np.float64) / WINDOW_S
