"""Optimizers: propose latent codes, learn from their scores.

    load          an optimizer by its name, as session files give it
    CholeskyCMA   Cholesky CMA-ES, the field's work horse, with a factored covariance
    SphereCMA     a search on a shell of codes of one norm
    SepCMA        separable CMA-ES, a diagonal covariance
    HessianCMA    Cholesky CMA-ES along the directions that change images
    RankSphere    our own: every rank weighs, and the angle follows the noise
    Genetic       XDream's genetic algorithm
    RandomSearch  the control
    Composite     optimizers on parts of the code, or parts held fixed

    batched       many populations of one optimizer at once, on torch

    default_popsize    images a generation, by latent dimensions
    state_to_dict, state_from_dict    an optimizer's state as plain arrays and numbers, and back

This room knows arrays and the random generators handed to it. It knows nothing of images,
units or clocks, nor of what a score means.
"""

from evolver.optimizers.batched import batched
from evolver.optimizers.by_name import BUILTIN, find, load
from evolver.optimizers.cholesky import CholeskyCMA
from evolver.optimizers.composite import Composite
from evolver.optimizers.genetic import Genetic
from evolver.optimizers.hessian import HessianCMA
from evolver.optimizers.random_search import RandomSearch
from evolver.optimizers.rank_sphere import RankSphere
from evolver.optimizers.ranks import default_popsize
from evolver.optimizers.sep import SepCMA
from evolver.optimizers.sphere import SphereCMA
from evolver.optimizers.states import state_from_dict, state_to_dict

__all__ = [
    "BUILTIN",
    "CholeskyCMA",
    "Composite",
    "Genetic",
    "HessianCMA",
    "RandomSearch",
    "RankSphere",
    "SepCMA",
    "SphereCMA",
    "batched",
    "default_popsize",
    "find",
    "load",
    "state_from_dict",
    "state_to_dict",
]
