"""evosax: distribution-based algorithms on jax, in float32."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.errors import ConfigError
from evolver.optimizers.libraries.engine import Beginning, complete, import_library, quiet
from evolver.optimizers.libraries.replay import ReplayedOptimizer
from evolver.types import Codes, Scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LARGEST32 = 3e38


@lru_cache(maxsize=32)
def _compiled(kind: Any, popsize: int, d: int) -> Any:  # noqa: ANN401  evosax has no types
    """Return the algorithm, which holds no state: jax compiles for each object anew."""
    return kind(population_size=popsize, solution=np.zeros(d, np.float32))


class EvosaxEngine:
    """A distribution-based algorithm of evosax, in float32, fed with the scores themselves."""

    def __init__(self, begin: Beginning) -> None:
        with quiet():
            self._jax = import_library("jax", "evosax")
            algorithms = import_library("evosax.algorithms.distribution_based", "evosax")
        name = begin.settings["algorithm"]
        kinds = algorithms.distribution_based_algorithms
        if name not in kinds:
            raise ConfigError(
                f"algorithm must be one of {', '.join(sorted(kinds))}; got {name!r}"
            )
        self._popsize = begin.popsize
        with quiet():
            first = self._jax.numpy.asarray(begin.start, dtype="float32")
            self._es = _compiled(kinds[name], begin.popsize, len(begin.start))
            params = self._es.default_params
            if hasattr(params, "std_init"):
                params = params.replace(std_init=begin.sigma)
            self._params = params
            self._key = self._jax.random.key(begin.seed % 2**32)
            self._state = self._es.init(self._next_key(), first, params)

    def _next_key(self) -> Any:  # noqa: ANN401  jax's, which may not be installed
        self._key, key = self._jax.random.split(self._key)
        return key

    def ask(self) -> Codes:
        """Return the next codes, (n, d)."""
        with quiet():
            codes, self._state = self._es.ask(self._next_key(), self._state, self._params)
        return np.array(codes, dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores of `rows` of `codes`."""
        losses = np.clip(-scores, -_LARGEST32, _LARGEST32)
        rows, losses = complete(rows, losses, self._popsize)
        population, fitness = codes[rows].astype(np.float32), losses.astype(np.float32)
        with quiet():
            self._state, _ = self._es.tell(
                self._next_key(), population, fitness, self._state, self._params
            )


class Evosax(ReplayedOptimizer):
    """A distribution-based algorithm of evosax, by its name there; float32, on jax.

    The scores themselves reach it, as float32, and lost codes are made up for as in `PyCMA`;
    so are the parameters, but for `algorithm`; `sigma` is its `std_init`, where it has one.
    Extra `evosax`.
    """

    _engine = EvosaxEngine

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 2.0,
        initial: ArrayLike | None = None,
        algorithm: str = "Sep_CMA_ES",
    ) -> None:
        self._make(d, rng, popsize, sigma, initial, {"algorithm": algorithm})
