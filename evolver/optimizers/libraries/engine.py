# pyright: basic
# ruff: noqa: ANN401
# The libraries driven here have no types, or none that are installed everywhere.
"""Ask/tell objects of other libraries, brought to one form.

Knows how pycma, cmaes, nevergrad and evosax are made, seeded, asked and told; each is imported
when one of its engines is made. Scores are maximised here and losses minimised there: the sign
is turned in this file and nowhere else. Knows nothing of turns, states or resuming.
"""

from __future__ import annotations

import contextlib
import warnings
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_CMAES = ("CMA", "SepCMA", "XNES")
_LARGEST32 = 3e38


class Engine(Protocol):
    """One search of another library."""

    def __init__(
        self,
        start: Vector,
        *,
        sigma: float,
        popsize: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        """Begin at `start`, (d,); raise `ConfigError` where the library is missing."""
        ...

    def ask(self) -> Codes:
        """Return the next codes, (n, d) float64."""
        ...

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores, (m,), of `rows`, (m,), of `codes`, (n, d), those asked for."""
        ...


def _library(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as exc:
        raise ConfigError(
            f"this optimizer needs {module}, which is not installed: {exc}. "
            f"Install it: pip install 'evolver[{extra}]'"
        ) from exc


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a library's warnings, of which the recording knows nothing, from being errors."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def ranked_losses(scores: Scores) -> Scores:
    """Return the rank of each score, 0 for the best, (n,); equal ones share their mean rank."""
    ascending = np.sort(-scores)
    below = np.searchsorted(ascending, -scores, side="left")
    upto = np.searchsorted(ascending, -scores, side="right")
    return (below + upto - 1) / 2


def complete(rows: NDArray[np.intp], losses: Scores, n: int) -> tuple[NDArray[np.intp], Scores]:
    """Return `n` rows and losses, for a library that learns from whole populations only.

    In the place of codes that were lost come repeats of those that were scored, spread evenly
    over their ranks: each keeps about the weight that it has among those scored alone.
    """
    lost = n - len(rows)
    order = np.argsort(losses, kind="stable")
    again = order[
        np.floor((np.arange(lost) + 0.5) * len(rows) / max(lost, 1)).astype(int) % len(rows)
    ]
    return np.concatenate([rows, rows[again]]), np.concatenate([losses, losses[again]])


class PyCMAEngine:
    """`cma.CMAEvolutionStrategy`, fed with ranks."""

    def __init__(
        self,
        start: Vector,
        *,
        sigma: float,
        popsize: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        self._cma = _library("cma", "pycma")
        own = {"popsize": popsize, "seed": seed % (2**31) or 1, "verbose": -9}
        known = set(self._cma.CMAOptions())
        unknown = sorted(set(settings) - (known - set(own)))
        if unknown:
            raise ConfigError(
                f"pycma has no option {', '.join(unknown)} that may be set here; "
                "cma.CMAOptions() lists them"
            )
        # It seeds numpy's global stream, which is nobody's here: left as it was found.
        self._stream: Any = None
        with self._own_stream(), _quiet():
            self._es = self._cma.CMAEvolutionStrategy(start.copy(), sigma, own | dict(settings))
        self._popsize = popsize

    @contextlib.contextmanager
    def _own_stream(self) -> Iterator[None]:
        theirs = np.random.get_state()  # noqa: NPY002  the stream that pycma draws from
        if self._stream is not None:
            np.random.set_state(self._stream)  # noqa: NPY002
        try:
            yield
        finally:
            self._stream = np.random.get_state()  # noqa: NPY002
            np.random.set_state(theirs)  # noqa: NPY002

    def ask(self) -> Codes:
        with self._own_stream(), _quiet():
            return np.array(self._es.ask(), dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        rows, losses = complete(rows, ranked_losses(scores), self._popsize)
        with self._own_stream(), _quiet():
            self._es.tell(list(codes[rows]), list(losses))


class CmaesEngine:
    """An optimizer of cmaes, fed with ranks."""

    def __init__(
        self,
        start: Vector,
        *,
        sigma: float,
        popsize: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        library = _library("cmaes", "cmaes")
        name = settings["algorithm"]
        if name not in _CMAES:
            raise ConfigError(f"algorithm must be one of {', '.join(_CMAES)}; got {name!r}")
        with _quiet():
            self._es = getattr(library, name)(
                mean=start.copy(), sigma=sigma, population_size=popsize, seed=seed % 2**32
            )
        self._popsize = popsize

    def ask(self) -> Codes:
        with _quiet():
            return np.array([self._es.ask() for _ in range(self._popsize)])

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        rows, losses = complete(rows, ranked_losses(scores), self._popsize)
        with _quiet():
            self._es.tell(list(zip(codes[rows], losses.tolist(), strict=True)))


class NevergradEngine:
    """An optimizer of nevergrad's registry, fed with the scores themselves."""

    def __init__(
        self,
        start: Vector,
        *,
        sigma: float,
        popsize: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        with _quiet():
            ng = _library("nevergrad", "nevergrad")
        name = settings["algorithm"]
        if name not in ng.optimizers.registry:
            raise ConfigError(
                f"algorithm must be one of nevergrad.optimizers.registry; got {name!r}"
            )
        with _quiet():
            space = ng.p.Array(init=start.copy()).set_mutation(sigma=sigma)
            space.random_state = np.random.RandomState(seed % 2**32)
            self._es = ng.optimizers.registry[name](
                space, budget=settings["budget"], num_workers=popsize
            )
        self._popsize = popsize
        self._candidates: list[Any] = []

    def ask(self) -> Codes:
        with _quiet():
            self._candidates = [self._es.ask() for _ in range(self._popsize)]
        return np.array([c.value for c in self._candidates], dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        for row in rows:
            own = self._candidates[row].value
            if not np.allclose(own, codes[row], rtol=1e-6, atol=1e-6):
                raise DataError(
                    "nevergrad can be told of its own codes alone, and those to adopt are "
                    "others. Go on with the version of nevergrad that the session began with"
                )
        with _quiet():
            for row, score in zip(rows, scores, strict=True):
                self._es.tell(self._candidates[row], -float(score))


@lru_cache(maxsize=32)
def _compiled(kind: Any, popsize: int, d: int) -> Any:
    """Return the algorithm, which holds no state: jax compiles for each object anew."""
    return kind(population_size=popsize, solution=np.zeros(d, np.float32))


class EvosaxEngine:
    """A distribution-based algorithm of evosax, in float32, fed with the scores themselves."""

    def __init__(
        self,
        start: Vector,
        *,
        sigma: float,
        popsize: int,
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        with _quiet():
            self._jax = _library("jax", "evosax")
            library = _library("evosax.algorithms.distribution_based", "evosax")
        name = settings["algorithm"]
        kinds = library.distribution_based_algorithms
        if name not in kinds:
            raise ConfigError(
                f"algorithm must be one of {', '.join(sorted(kinds))}; got {name!r}"
            )
        self._kind, self._popsize = name, popsize
        with _quiet():
            first = self._jax.numpy.asarray(start, dtype="float32")
            self._es = _compiled(kinds[name], popsize, len(start))
            params = self._es.default_params
            if hasattr(params, "std_init"):
                params = params.replace(std_init=sigma)
            self._params = params
            self._key = self._jax.random.key(seed % 2**32)
            self._state = self._es.init(self._next_key(), first, params)

    def _next_key(self) -> Any:
        self._key, key = self._jax.random.split(self._key)
        return key

    def ask(self) -> Codes:
        with _quiet():
            codes, self._state = self._es.ask(self._next_key(), self._state, self._params)
        return np.array(codes, dtype=np.float64)

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        losses = np.clip(-scores, -_LARGEST32, _LARGEST32)
        rows, losses = complete(rows, losses, self._popsize)
        population, fitness = codes[rows].astype(np.float32), losses.astype(np.float32)
        with _quiet():
            self._state, _ = self._es.tell(
                self._next_key(), population, fitness, self._state, self._params
            )
