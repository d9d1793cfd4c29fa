"""pycma: the reference implementation of CMA-ES (Hansen)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Generator, Mapping

    from numpy.typing import ArrayLike, NDArray


class PyCMAEngine:
    """`cma.CMAEvolutionStrategy`, fed with ranks."""

    def __init__(self, begin: Beginning) -> None:
        self._cma = import_library("cma", "pycma")
        own = {"popsize": begin.popsize, "seed": begin.seed % (2**31) or 1, "verbose": -9}
        known = set(self._cma.CMAOptions())
        unknown = sorted(set(begin.settings) - (known - set(own)))
        if unknown:
            raise ConfigError(
                f"pycma has no option {', '.join(unknown)} that may be set here; "
                "cma.CMAOptions() lists them"
            )
        # It seeds numpy's global stream, which is nobody's here: left as it was found.
        self._stream: Any = None
        with self._library_stream(), quiet():
            self._es = self._cma.CMAEvolutionStrategy(
                begin.start.copy(), begin.sigma, own | dict(begin.settings)
            )
        self._popsize = begin.popsize

    @contextlib.contextmanager
    def _library_stream(self) -> Generator[None]:
        theirs = np.random.get_state()  # noqa: NPY002  the stream that pycma draws from
        if self._stream is not None:
            np.random.set_state(self._stream)  # noqa: NPY002
        try:
            yield
        finally:
            self._stream = np.random.get_state()  # noqa: NPY002
            np.random.set_state(theirs)  # noqa: NPY002

    def ask(self) -> Codes:
        """Return the next codes, (n, d)."""
        with self._library_stream(), quiet():
            return np.array(self._es.ask(), dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores of `rows` of `codes`."""
        rows, losses = complete(rows, ranked_losses(scores), self._popsize)
        with self._library_stream(), quiet():
            self._es.tell(list(codes[rows]), list(losses))


class PyCMA(ReplayedOptimizer):
    """pycma's `CMAEvolutionStrategy`, the reference implementation of CMA-ES.

    Only the ranks of scores reach it. A population from which codes were lost is told with
    repeats of those that were scored in their place.

    Parameters
    ----------
    d : int >= 2, latent dimensions
    rng : numpy.random.Generator, of which one seed is drawn, here
    popsize : int >= 4, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, first step size, latent units
    initial : where the search starts, latent units. None: at zero. Shape (d,): at this code.
        Shape (m, d): these codes are the first population; the library starts from their
        mean, weighted by rank
    diagonal : a diagonal covariance: at 4096 dimensions a generation costs milliseconds, and
        with a full one there are eigendecompositions of many seconds
    options : further options of `cma.CMAOptions`

    Raises
    ------
    ConfigError
        A setting is out of its range or unknown, or cma is not installed (extra `pycma`).
    DataError
        `initial` has the wrong shape or is not finite.
    """

    _engine = PyCMAEngine

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        sigma: float = 2.0,
        initial: ArrayLike | None = None,
        diagonal: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        settings = {"CMA_diagonal": bool(diagonal)} | dict(options or {})
        self._make(d, rng, popsize, sigma, initial, settings)
