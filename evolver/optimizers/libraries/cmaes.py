"""cmaes (CyberAgent): CMA-ES, sep-CMA-ES and the natural evolution strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.errors import ConfigError
from evolver.optimizers.libraries.engine import (
    Beginning,
    complete,
    import_library,
    quiet,
    ranked_losses,
)
from evolver.optimizers.libraries.replay import ReplayedOptimizer
from evolver.types import Codes, Scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ALGORITHMS = ("CMA", "SepCMA", "XNES")


class CmaesEngine:
    """An optimizer of cmaes, fed with ranks."""

    def __init__(self, begin: Beginning) -> None:
        cmaes = import_library("cmaes", "cmaes")
        name = begin.settings["algorithm"]
        if name not in _ALGORITHMS:
            raise ConfigError(
                f"algorithm must be one of {', '.join(_ALGORITHMS)}; got {name!r}"
            )
        with quiet():
            self._es = getattr(cmaes, name)(
                mean=begin.start.copy(),
                sigma=begin.sigma,
                population_size=begin.popsize,
                seed=begin.seed % 2**32,
            )
        self._popsize = begin.popsize

    def ask(self) -> Codes:
        """Return the next codes, (n, d)."""
        with quiet():
            return np.array([self._es.ask() for _ in range(self._popsize)])

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores of `rows` of `codes`."""
        rows, losses = complete(rows, ranked_losses(scores), self._popsize)
        with quiet():
            self._es.tell(list(zip(codes[rows], losses.tolist(), strict=True)))


class Cmaes(ReplayedOptimizer):
    """An optimizer of the library cmaes: 'CMA', 'SepCMA', 'XNES'.

    Only the ranks of scores reach it, and lost codes are made up for, as in `PyCMA`; so are
    the parameters, but for `algorithm`. Extra `cmaes`.
    """

    _engine = CmaesEngine

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 2.0,
        initial: ArrayLike | None = None,
        algorithm: str = "SepCMA",
    ) -> None:
        self._make(d, rng, popsize, sigma, initial, {"algorithm": algorithm})
