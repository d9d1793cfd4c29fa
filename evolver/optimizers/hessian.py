"""Hessian-aware CMA-ES: Cholesky CMA-ES along the directions that change images.

Wang & Ponce 2021 (ICLR), "A geometric analysis of deep generative image models and its
applications": with the eigenbasis (lambda, V) of the generator's image metric, cut to its k
leading directions, A begins as A_0 = diag(lambda^-p) V' in place of I. Codes are
x_i = x_0 + u_i A_0, and u is searched by the recursion of `cholesky` in k dimensions: the two
are the same, as A = B A_0 for the k x k matrix B that starts at I.

The one optimizer of this room that reads a file: its basis.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from evolver import metric
from evolver.errors import ConfigError, DataError
from evolver.optimizers import cholesky
from evolver.optimizers.arguments import (
    between,
    check_state_arrays,
    population,
    rows_of,
    start_from,
    whole,
)
from evolver.optimizers.ask_tell import AskTell, DrawSource, Functions
from evolver.optimizers.ranks import Strategy, rank_weights
from evolver.optimizers.states import array_of_text, text_of_array
from evolver.types import Codes, Matrix, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

_FLOOR = 1e-6  # of the largest eigenvalue; smaller and negative ones are raised to it


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Directions of latent space and how far to go along each, largest eigenvalue first."""

    values: Vector  # (k,) eigenvalues, descending, > 0
    vectors: Matrix  # (k, d) eigenvectors, one a row, orthonormal

    def digest(self) -> Vector:
        """Return the sha256 of both arrays, (32,) bytes as float64."""
        sha = hashlib.sha256(self.values.tobytes())
        sha.update(self.vectors.tobytes())
        return np.frombuffer(sha.digest(), dtype=np.uint8).astype(np.float64)


def make_basis(values: ArrayLike, vectors: ArrayLike, *, d: int, cutoff: int | None) -> Basis:
    """Return the `cutoff` leading directions of an eigendecomposition, in any order.

    Parameters
    ----------
    values : shape (m,), eigenvalues; negative ones, and those below 1e-6 of the largest, are
        raised to 1e-6 of the largest
    vectors : shape (d, m), eigenvectors, one a column, orthonormal
    d : latent dimensions
    cutoff : directions to keep; all by default

    Raises
    ------
    DataError, ConfigError
        As `evolver.metric.file.make_metric`.
    """
    return _basis(metric.make_metric(values, vectors, d=d, leading=cutoff))


def read_basis(
    path: str | Path, *, d: int, cutoff: int | None, part: str | None = None
) -> Basis:
    """Read a basis from a file, as `evolver.metric.read_metric` reads metrics.

    Raises
    ------
    DataError, ConfigError
        As `evolver.metric.read_metric`.
    """
    return _basis(metric.read_metric(path, d=d, leading=cutoff, part=part))


def basis_again(
    source: Vector,
    digest: Vector,
    given: tuple[ArrayLike, ArrayLike] | None,
    *,
    d: int,
    k: int,
    name: str,
) -> Basis:
    """Return the basis that a search began with, of which its state has no more than a digest.

    Parameters
    ----------
    source, digest : as a state has them
    given : the arrays, where it came as arrays
    d, k : dimensions of codes, and of the basis
    name : what it is called as an argument of ``from_state``

    Raises
    ------
    DataError
        It came as arrays and is not given, or has changed.
    """
    part, _, path = text_of_array(source).partition(":")
    if given is not None:
        loaded = make_basis(*given, d=d, cutoff=k)
    elif path:
        loaded = read_basis(path, d=d, cutoff=k, part=part or None)
    else:
        raise DataError(
            f"the {name} of this search came as arrays, and is not part of its state: pass "
            f"them again, from_state(state, rng=rng, {name}=(eigenvalues, eigenvectors))"
        )
    if not np.array_equal(loaded.digest(), digest):
        raise DataError(
            f"the {name} must be the one the search began with; {path or 'what was passed'} "
            "has changed. Bring the old one back"
        )
    return loaded


def _basis(leading: metric.Metric) -> Basis:
    values = np.maximum(leading.eigenvalues, _FLOOR * leading.eigenvalues[0])
    return Basis(values, np.ascontiguousarray(leading.eigenvectors.T))


@dataclass(frozen=True, slots=True, eq=False)
class HessianState(cholesky.CholeskyState):
    """A `CholeskyState` in u, k dimensions, and where it stands in the d dimensions of codes.

    `given` is (m, d) and holds codes; `mean`, the paths and A are of u. The basis itself,
    which never changes and can be large, is not part of it: `from_state` reads it again.
    """

    origin: Vector  # (d,) x_0, latent units
    exponent: float  # p
    source: Vector  # path of the basis and its part, text as numbers; empty if it was arrays
    digest: Vector  # (32,) sha256 of the basis


def sample(s: HessianState, z: Codes, forth: Matrix) -> Codes:
    """Turn standard normal draws, (n, k), into codes x_0 + (m + sigma z B) A_0. Pure."""
    codes = cholesky.sample(s, z) @ forth
    codes += s.origin
    return codes


def update(
    s: HessianState, codes: Codes, scores: Scores, k: Strategy, back: Matrix
) -> HessianState:
    """Return the state one generation on. Pure; as `cholesky.update`, with codes (n, d)."""
    weights = rank_weights(scores)
    mean = weights @ codes
    if s.given.shape[0]:
        return replace(s, generation=s.generation + 1, origin=mean, given=s.given[:0])
    return cholesky.moved(s, (mean - s.origin) @ back, weights, k)


class HessianCMA(AskTell[HessianState]):
    """Ask and tell around `sample` and `update`; owns the random generator.

    `ask` and `tell` take turns. Each `ask` draws once, by ``rng.standard_normal((n, k))`` and
    nothing else, so the position of the random stream follows from the number of generations.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    basis : path of a metric's file, which 'evolver metric compute' writes (`evolver.metric`
        lists the public layouts, which are read too), or the pair (eigenvalues (m,),
        eigenvectors (d, m), one a column), in any order
    basis_part : 'nois' or 'clas', the half of BigGAN's code that the basis is of
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default
    sigma : float > 0, first step size. In use: 0.2 for BigGAN (k = 256, p = 1/2.5), 0.8 for
        fc6 (k = 500 or 800, p = 1/5)
    cutoff : k, directions to search; all that the basis has by default
    exponent : p >= 0; 0 searches all k directions alike
    initial : where the search starts, latent units. None: at zero. Shape (d,): at this code;
        the first population is drawn around it. Shape (m, d): these codes are the first
        population, as they are and in this order; from their mean, weighted by rank, the
        search goes on along the basis
    update_every : int >= 1, generations from one covariance update to the next; None or 0 for
        a search whose covariance stays that of the basis

    Raises
    ------
    ConfigError
        A setting is out of its range, or the basis cannot be read.
    DataError
        `initial` or the basis has the wrong shape or is not finite.
    """

    state_type: ClassVar = HessianState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        basis: str | Path | tuple[ArrayLike, ArrayLike] | None = None,
        basis_part: str | None = None,
        popsize: int | None = None,
        sigma: float = 0.2,
        cutoff: int | None = None,
        exponent: float = 0.4,
        initial: ArrayLike | None = None,
        update_every: int | None = 10,
    ) -> None:
        d = whole("d", d, at_least=1)
        if cutoff is not None:
            cutoff = whole("cutoff", cutoff, at_least=1, otherwise=" or left out (all)")
        exponent = between("exponent", exponent, 0, 10, what="a number")
        origin, given = start_from(d, initial)
        path = ""
        if isinstance(basis, str | Path):
            path = f"{basis_part or ''}:{basis}"
            loaded = read_basis(basis, d=d, cutoff=cutoff, part=basis_part)
        elif isinstance(basis, tuple | list) and len(basis) == 2:
            loaded = make_basis(*basis, d=d, cutoff=cutoff)
        else:
            raise ConfigError(
                "basis must be the path of an npz file, or the arrays (eigenvalues, "
                f"eigenvectors); got {'nothing' if basis is None else type(basis).__name__}"
            )
        k = len(loaded.values)
        popsize = population(d, popsize)
        fields = cholesky.new_fields(
            k, np.zeros(k), popsize=popsize, sigma=sigma, update_every=update_every
        )
        state = HessianState(
            given=given,
            origin=origin,
            exponent=exponent,
            source=array_of_text(path),
            digest=loaded.digest(),
            **fields,
        )
        super().__init__(state, rng=rng)
        self._use(loaded)

    @classmethod
    def from_state(
        cls,
        state: HessianState,
        *,
        rng: np.random.Generator,
        basis: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Go on from a `state`, at the beginning of a generation.

        Parameters
        ----------
        state, rng : as every optimizer takes them
        basis : the arrays the search began with; not needed where it came from a file, which
            is read again

        Raises
        ------
        ConfigError
            The file of the basis cannot be read.
        DataError
            The state's arrays do not fit one another or are not finite, or the basis is not
            the one that the search began with.
        """
        cls._check(state)
        loaded = basis_again(
            state.source,
            state.digest,
            basis,
            d=len(state.origin),
            k=len(state.mean),
            name="basis",
        )
        self = cls.__new__(cls)
        self._begin(state, rng)
        self._use(loaded)
        return self

    def _use(self, basis: Basis) -> None:
        scale = basis.values**-self._state.exponent
        self._forth: Matrix = scale[:, None] * basis.vectors  # (k, d) A_0
        self._back: Matrix = (basis.vectors / scale[:, None]).T  # (d, k), A_0 A_0^+ = I

    def draws(self, s: HessianState, rng: DrawSource) -> tuple[Codes]:
        """Draw z, standard normal, (n, k)."""
        return (rng.standard_normal((s.popsize, s.mean.shape[0])),)

    def sample(self, s: HessianState, *draws: Codes) -> Codes:
        """Turn draws into codes, (n, d). Pure."""
        (z,) = draws
        return sample(s, z, self._forth)

    def update(self, s: HessianState, codes: Codes, scores: Scores) -> HessianState:
        """Return the state one generation on. Pure."""
        k = Strategy.cholesky(s.mean.shape[0], s.popsize)
        return update(s, codes, scores, k, self._back)

    def functions(self, asarray: Callable[[Any], Any]) -> Functions[HessianState]:
        """Return the pure functions, on the basis as `asarray` makes it."""
        forth, back = asarray(self._forth), asarray(self._back)

        def with_basis(s: HessianState, z: Any) -> Any:  # noqa: ANN401
            return sample(s, z, forth)

        def learn(s: HessianState, codes: Any, scores: Any) -> HessianState:  # noqa: ANN401
            k = Strategy.cholesky(s.mean.shape[0], s.popsize)
            return update(s, codes, scores, k, back)

        return Functions(self.draws, with_basis, learn)

    def _check_after(self, before: HessianState, after: HessianState) -> None:
        cholesky.check_step(before, after)

    @classmethod
    def _check(cls, state: HessianState) -> None:
        d = rows_of(state.origin)
        shapes = {
            "origin": (d,),
            "given": (rows_of(state.given), d),
            "source": (rows_of(state.source),),
            "digest": (32,),
        }
        check_state_arrays(state, shapes)
        cholesky.check_core(state)
