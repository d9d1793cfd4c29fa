"""Optimizers: propose latent codes, learn from their scores.

    load          an optimizer by its name, as session files give it
    CholeskyCMA   Cholesky CMA-ES, the field's work horse, with a factored covariance
    SphereCMA     a search among codes of one norm
    SepCMA        separable CMA-ES, a diagonal covariance
    SNES          separable natural evolution strategies, all ranks and a step a dimension
    HessianCMA    Cholesky CMA-ES along the directions that change images
    RankSphere    our own: every rank weighs, and the angle follows the noise
    Genetic       XDream's genetic algorithm
    RandomSearch  the control
    Adam, SGD     gradient ascent, where a scorer has a slope
    Guided        experimental: a blind search, and proposals of a fitted model beside it
    Composite     optimizers on parts of the code, or parts held fixed

    within_axes   any of them along a few directions of latent space: `load(..., axes=...)`
    batched       many populations of one optimizer at once, on torch
    libraries     pycma, cmaes, nevergrad and evosax, by their names in `load`

    default_popsize    images a generation, by latent dimensions
    state_to_dict, state_from_dict    an optimizer's state as plain arrays and numbers, and back

What they share: `ask_tell` (whose turn it is), `arguments` and `states` (checks and plain
dictionaries), `ranks` (constants, and weights by rank), `low_rank` (the factored covariance),
`sphere_geometry` (codes of one norm), `by_name`.

This room knows arrays and the random generators handed to it. It knows nothing of images,
units, files or clocks, nor of what a score means: scores are maximised, and only their ranks
matter, where a file does not say otherwise. What is climbed by its slope is handed in, as a
function of codes. An algorithm's `sample` and `update` are pure, written against the array API
and free of branches on array values, so that they run, and can be batched, on other array
libraries than numpy; `gradient`, whose slopes come from outside, is numpy's.
"""

from evolver.optimizers.batched import batched
from evolver.optimizers.by_name import BUILTIN
from evolver.optimizers.by_name import find_optimizer as find
from evolver.optimizers.by_name import load_optimizer as load
from evolver.optimizers.cholesky import CholeskyCMA
from evolver.optimizers.composite import Composite
from evolver.optimizers.genetic import Genetic
from evolver.optimizers.gradient import SGD, Adam
from evolver.optimizers.guided import Guided
from evolver.optimizers.hessian import HessianCMA
from evolver.optimizers.random_search import RandomSearch
from evolver.optimizers.rank_sphere import RankSphere
from evolver.optimizers.ranks import default_popsize
from evolver.optimizers.sep import SepCMA
from evolver.optimizers.snes import SNES
from evolver.optimizers.sphere import SphereCMA
from evolver.optimizers.states import state_from_dict, state_to_dict

__all__ = [
    "BUILTIN",
    "SGD",
    "SNES",
    "Adam",
    "CholeskyCMA",
    "Composite",
    "Genetic",
    "Guided",
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
