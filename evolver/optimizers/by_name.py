"""Optimizers by name, as session files give it.

Knows names and import paths; loads nothing until a name is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolver.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from evolver.optimizers.within_axes import SearchAxes
    from evolver.types import Optimizer

BUILTIN = {
    "cholesky": "evolver.optimizers.cholesky:CholeskyCMA",
    "sphere": "evolver.optimizers.sphere:SphereCMA",
    "rank-sphere": "evolver.optimizers.rank_sphere:RankSphere",
    "sep": "evolver.optimizers.sep:SepCMA",
    "snes": "evolver.optimizers.snes:SNES",
    "hessian": "evolver.optimizers.hessian:HessianCMA",
    "genetic": "evolver.optimizers.genetic:Genetic",
    "random": "evolver.optimizers.random_search:RandomSearch",
    "adam": "evolver.optimizers.gradient:Adam",
    "sgd": "evolver.optimizers.gradient:SGD",
    "guided": "evolver.optimizers.guided:Guided",
    "composite": "evolver.optimizers.composite:Composite",
    "pycma": "evolver.optimizers.libraries.pycma:PyCMA",
    "cmaes": "evolver.optimizers.libraries.cmaes:Cmaes",
    "nevergrad": "evolver.optimizers.libraries.nevergrad:Nevergrad",
    "evosax": "evolver.optimizers.libraries.evosax:Evosax",
}
"""Name in a session file -> module:class, imported when asked for."""

EXPERIMENTAL = ("guided",)
"""Those that have not gained what they were made for; a session says so before it begins."""

COMMON = ("d", "rng", "popsize", "initial")
"""What every optimizer takes, and no option is called."""

REGISTRY = Registry("optimizer", BUILTIN, COMMON)
"""The optimizers that a session file can name."""


def load_optimizer(
    name: str,
    d: int,
    /,
    *,
    rng: np.random.Generator,
    popsize: int | None = None,
    initial: ArrayLike | None = None,
    axes: SearchAxes | None = None,
    **options: Any,  # noqa: ANN401  each optimizer checks its own
) -> Optimizer:
    """Return a new optimizer of `d` latent dimensions.

    Parameters
    ----------
    name : a key of `BUILTIN`, or one that an installed distribution adds
    d, rng, popsize, initial : as every optimizer takes them
    axes : along which it is to search (`evolver.optimizers.within_axes`); None: anywhere
    **options : what this optimizer takes besides: `sigma`, `update_every`, ...

    Raises
    ------
    ConfigError
        No optimizer has this name, or this one has no such option; the message lists what
        there is.
    """
    if axes is not None:
        from evolver.optimizers.within_axes import within_axes  # which needs this file

        return within_axes(
            name, d, rng=rng, axes=axes, popsize=popsize, initial=initial, **options
        )
    kind = find_optimizer(name)
    return REGISTRY.make(
        name, kind, d, rng=rng, popsize=popsize, initial=initial, options=options
    )


def find_optimizer(name: str) -> Any:  # noqa: ANN401  a class that is an `Optimizer`
    """Return the class of the optimizer called `name`; raise `ConfigError` if none is."""
    return REGISTRY.find(name)
