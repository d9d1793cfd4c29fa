"""Optimizers: propose latent codes, learn from their scores.

    load          an optimizer by its name, as session files give it
    CholeskyCMA   Cholesky CMA-ES, the field's work horse, with a factored covariance

    default_popsize    images a generation, by latent dimensions
    state_to_dict, state_from_dict    an optimizer's state as plain arrays and numbers, and back

This room knows arrays and the random generators handed to it. It knows nothing of images,
units, files or clocks, nor of what a score means.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError
from evolver.optimizers._state import state_from_dict, state_to_dict
from evolver.optimizers._strategy import default_popsize
from evolver.optimizers.cholesky import CholeskyCMA
from evolver.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from evolver.types import Optimizer

__all__ = [
    "BUILTIN",
    "CholeskyCMA",
    "default_popsize",
    "load",
    "state_from_dict",
    "state_to_dict",
]

BUILTIN = {"cholesky": "evolver.optimizers.cholesky:CholeskyCMA"}
"""Name in a session file -> module:class, imported when asked for."""

_COMMON = ("d", "rng", "popsize", "initial")


def load(
    name: str,
    d: int,
    *,
    rng: np.random.Generator,
    popsize: int | None = None,
    initial: ArrayLike | None = None,
    **options: Any,  # noqa: ANN401  each optimizer checks its own
) -> Optimizer:
    """Return a new optimizer of `d` latent dimensions.

    Parameters
    ----------
    name : a key of `BUILTIN`, or one that an installed distribution adds
    d, rng, popsize, initial : as every optimizer takes them
    **options : what this optimizer takes besides: `sigma`, `update_every`, ...

    Raises
    ------
    ConfigError
        No optimizer has this name, or this one has no such option; the message lists what
        there is.
    """
    kind = Registry("optimizer", BUILTIN).find(name)
    parameters = signature(kind).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        allowed = [p.name for p in parameters if p.name not in _COMMON]
        unknown = sorted(set(options) - set(allowed))
        if unknown:
            raise ConfigError(
                f"optimizer {name!r} takes the options {', '.join(allowed) or '(none)'}; found "
                f"{', '.join(unknown)}. Remove it, or correct its name"
            )
    return kind(d, rng=rng, popsize=popsize, initial=initial, **options)
