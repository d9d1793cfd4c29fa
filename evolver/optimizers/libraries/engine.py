"""What is asked of every other library's search, and what all of them are prepared with.

Scores are maximised here and losses minimised there: the sign is turned in the engines of this
room and nowhere else. Engines know nothing of turns, states or resuming.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.stats import rankdata  # pyright: ignore[reportUnknownVariableType]

from evolver.errors import ConfigError
from evolver.types import Codes, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """What an engine is made of.

    Attributes
    ----------
    start : ndarray of float64, shape (d,), where the search starts, latent units
    sigma : float > 0, first step size, latent units
    popsize : int, codes a generation
    seed : int, of the library's random stream
    settings : what else the library is given
    """

    start: Vector
    sigma: float
    popsize: int
    seed: int
    settings: Mapping[str, Any]


class Engine(Protocol):
    """One search of another library."""

    def __init__(self, begin: Beginning) -> None:
        """Make the search; raise `ConfigError` where the library is missing."""
        ...

    def ask(self) -> Codes:
        """Return the next codes, (n, d) float64."""
        ...

    def tell(self, codes: Codes, rows: NDArray[np.intp], scores: Scores) -> None:
        """Learn from the scores, (m,), of `rows`, (m,), of `codes`, (n, d), those asked for."""
        ...


def import_library(module: str, extra: str) -> Any:  # noqa: ANN401  most have no types
    """Import a library of an extra.

    Raises
    ------
    ConfigError
        It is not installed; the message says how to install it.
    """
    # Importing nevergrad draws from numpy's global stream, which is the caller's.
    stream = np.random.get_state()  # noqa: NPY002
    try:
        return import_module(module)
    except ImportError as exc:
        raise ConfigError(
            f"this optimizer needs {module}, which is not installed: {exc}. "
            f"Install it: pip install 'evolver[{extra}]'"
        ) from exc
    finally:
        np.random.set_state(stream)  # noqa: NPY002


@contextmanager
def quiet() -> Generator[None]:
    """Keep a library's warnings out of a session, where they would be errors."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def ranked_losses(scores: Scores) -> Scores:
    """Return the rank of each score, 0 for the best, (n,); equal ones share their mean rank."""
    return rankdata(-scores) - 1


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
