"""nevergrad: the optimizers of its registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.optimizers.arguments import whole
from evolver.optimizers.libraries.engine import Beginning, import_library, quiet
from evolver.optimizers.libraries.replay import ReplayedOptimizer
from evolver.types import Codes, Scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class NevergradEngine:
    """An optimizer of nevergrad's registry, fed with the scores themselves."""

    def __init__(self, begin: Beginning) -> None:
        with quiet():
            ng = import_library("nevergrad", "nevergrad")
        name = begin.settings["algorithm"]
        if name not in ng.optimizers.registry:
            raise ConfigError(
                f"algorithm must be one of nevergrad.optimizers.registry; got {name!r}"
            )
        with quiet():
            space = ng.p.Array(init=begin.start.copy()).set_mutation(sigma=begin.sigma)
            space.random_state = np.random.RandomState(begin.seed % 2**32)
            self._es = ng.optimizers.registry[name](
                space, budget=begin.settings["budget"], num_workers=begin.popsize
            )
        self._popsize = begin.popsize
        self._candidates: list[Any] = []

    def ask(self) -> Codes:
        """Return the next codes, (n, d)."""
        with quiet():
            self._candidates = [self._es.ask() for _ in range(self._popsize)]
        return np.array([c.value for c in self._candidates], dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores of `rows` of `codes`."""
        for row in rows:
            own = self._candidates[row].value
            if not np.allclose(own, codes[row], rtol=1e-6, atol=1e-6):
                raise DataError(
                    "nevergrad can be told of its own codes alone, and those to adopt are "
                    "others. Go on with the version of nevergrad that the session began with"
                )
        with quiet():
            for row, score in zip(rows, scores, strict=True):
                self._es.tell(self._candidates[row], -float(score))


class Nevergrad(ReplayedOptimizer):
    """An optimizer of nevergrad, by its name in `nevergrad.optimizers.registry`.

    The scores themselves reach it, of the codes that were scored and of no others. Parameters
    as `PyCMA`, but for `algorithm` and `budget`, codes of the whole run, after which some of
    its optimizers schedule themselves. Extra `nevergrad`.
    """

    _engine = NevergradEngine

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 2.0,
        initial: ArrayLike | None = None,
        algorithm: str = "DiagonalCMA",
        budget: int = 3000,
    ) -> None:
        settings = {"algorithm": algorithm, "budget": whole("budget", budget, at_least=1)}
        self._make(d, rng, popsize, sigma, initial, settings)
