"""Gradient ascent: Adam and SGD, for scorers that have a slope.

A generation is a batch of starts, each of which climbs by itself: `ask` shows where they are,
`tell` takes a step from there, up the slope that an `Objective` has at the codes told. Scores
are for the record alone. Knows arrays; whoever makes the objective knows images and networks,
and hands it over by `use`.

Adam: Kingma & Ba 2015 (ICLR), algorithm 1, its step turned uphill. SGD with momentum as torch
has it: v = mu v + g, code + lr v.

Along the basis of a generator's metric (lambda, V; `evolver.metric`), a step is of coordinates
w in place of the code z:

rotation   z = V w, as published (Neuro-ActMax-GAN-comparison's 'Hessian'): SGD is unchanged
           by it, Adam is not
scaled     z = V diag(s) w, s = lambda^(-1/2), a preconditioner: directions that change images
           little are gone along faster. The ratio of two s is clipped, and their root mean
           square is 1, so that a step of Adam is about as long as without

A start whose value is exactly 0, where a rectified unit has no slope, is drawn again, as
published ("while the score is exactly 0"). The value is the objective's, without noise: no
spikes in one showing are not yet a unit without a slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    Self,
    TypeVar,
    cast,
    runtime_checkable,
)

import numpy as np

from evolver.errors import ConfigError, DataError, OrderError
from evolver.optimizers.arguments import (
    between,
    check_numbers,
    check_state_arrays,
    population,
    rows_of,
    start_from,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.hessian import Basis, basis_again, make_basis, read_basis
from evolver.optimizers.states import array_of_text
from evolver.types import Codes, Matrix, Optimizer, Scores, Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BASES = ("none", "rotation", "scaled")
"""What the option `basis` may be."""
_EPSILON = 1e-8  # of Adam, torch's
_MOST_STEPS = 10_000
_MOST_CLIP = 1e3  # eigenvalues of a `Basis` reach 1e-6 of the largest
_FASTEST = 1e6  # lr


class Objective(Protocol):
    """What is climbed: a value and a slope at every code, without noise."""

    def climb(self, codes: Codes) -> tuple[Scores, Codes]:
        """Return values, (n,), and slopes, (n, d), float64, at codes, (n, d).

        A row's must not depend on the other rows.
        """
        ...

    def start(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return n codes, (n, d), from which to climb."""
        ...


@runtime_checkable
class NeedsObjective(Protocol):
    """An optimizer that climbs a slope, and is handed it before the first `tell`."""

    @property
    def objective(self) -> Objective | None:
        """What was handed over."""
        ...

    def use(self, objective: Objective) -> None:
        """Climb `objective` from now on."""
        ...


@runtime_checkable
class GoesOn(Protocol):
    """An optimizer that goes on with more than there is in a state."""

    def go_on_from(self, state: Any, *, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Return one of the same kind that goes on from `state`."""
        ...


OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


def go_on(optimizer: OptimizerT, state: Any, *, rng: np.random.Generator) -> OptimizerT:  # noqa: ANN401
    """Return an optimizer of the same kind that goes on from `state`, up the same slope.

    So does one with what its state leaves out: a set's codes, the axes of a search.
    """
    if isinstance(optimizer, GoesOn):
        again = cast("OptimizerT", optimizer.go_on_from(state, rng=rng))
    else:
        again = type(optimizer).from_state(state, rng=rng)
    if isinstance(optimizer, NeedsObjective) and isinstance(again, NeedsObjective):
        objective = optimizer.objective
        if objective is not None:
            again.use(objective)
    return again


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AscentState:
    """What the states of both have. The basis is read again, as `HessianCMA`'s."""

    generation: int  # generations scored
    popsize: int  # n, starts that climb
    codes: Codes  # (n, d) where they are
    lr: float
    steps: int  # from one showing to the next
    sigma: float  # spread of the starts about one code; 0 where a population was given
    kind: int  # index in `BASES`
    width: int  # k, directions climbed along
    clip: float
    source: Vector  # path of the metric and its part, text as numbers; empty if it was arrays
    digest: Vector  # (32,) sha256 of the basis; (0,) without one

    @property
    def given(self) -> Codes:
        """Nothing: the first population is where the starts are."""
        return self.codes[:0]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AdamState(AscentState):
    """All there is to know between generations."""

    beta1: float
    beta2: float
    first: Matrix  # (n, k) decaying mean of the slopes
    second: Matrix  # (n, k) and of their squares
    taken: Vector  # (n,) steps since the start was drawn


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SGDState(AscentState):
    """All there is to know between generations."""

    momentum: float
    velocity: Matrix  # (n, k); (n, 0) without momentum


StateT = TypeVar("StateT", bound=AscentState)


def adam_step(s: AdamState, rows: NDArray[np.intp], slopes: Matrix) -> tuple[AdamState, Matrix]:
    """Return the state after a step of some starts, and the moves of w, (m, k). Pure.

    Parameters
    ----------
    s : AdamState
    rows : (m,), which starts
    slopes : (m, k), of w
    """
    first, second, taken = s.first.copy(), s.second.copy(), s.taken.copy()
    first[rows] = s.beta1 * first[rows] + (1 - s.beta1) * slopes
    second[rows] = s.beta2 * second[rows] + (1 - s.beta2) * slopes**2
    taken[rows] += 1
    t = taken[rows, None]
    spread = np.sqrt(second[rows] / (1 - s.beta2**t)) + _EPSILON
    moves = s.lr * (first[rows] / (1 - s.beta1**t)) / spread
    return replace(s, first=first, second=second, taken=taken), moves


def sgd_step(s: SGDState, rows: NDArray[np.intp], slopes: Matrix) -> tuple[SGDState, Matrix]:
    """Return the state after a step of some starts, and the moves of w, (m, k). Pure."""
    if not s.velocity.shape[1]:
        return s, s.lr * slopes
    velocity = s.velocity.copy()
    velocity[rows] = s.momentum * velocity[rows] + slopes
    return replace(s, velocity=velocity), s.lr * velocity[rows]


class Ascent(AskTell[StateT]):
    """What both share: starts, the basis, restarts, and whose turn it is."""

    def __init__(self, state: StateT, basis: Basis | None, *, rng: np.random.Generator) -> None:
        super().__init__(state, rng=rng)
        self._along = _directions(state, basis)
        self._objective: Objective | None = None

    @classmethod
    def from_state(
        cls,
        state: StateT,
        *,
        rng: np.random.Generator,
        metric: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Go on from a `state`, at the beginning of a generation; `use` comes before `tell`.

        Parameters
        ----------
        state, rng : as every optimizer takes them
        metric : the arrays the search began with; not needed where it came from a file, which
            is read again

        Raises
        ------
        ConfigError
            The file of the metric cannot be read.
        DataError
            The state's arrays do not fit one another or are not finite, or the metric is not
            the one that the search began with.
        """
        cls._check(state)
        self = cls.__new__(cls)
        self._begin(state, rng)
        basis = None
        if state.kind:
            d, k = state.codes.shape[1], state.width
            basis = basis_again(state.source, state.digest, metric, d=d, k=k, name="metric")
        self._along = _directions(state, basis)
        self._objective = None
        return self

    @property
    def objective(self) -> Objective | None:
        """What is climbed; None until `use`."""
        return self._objective

    def use(self, objective: Objective) -> None:
        """Climb `objective` from now on; it is no part of the state."""
        self._objective = objective

    def _step(self, s: StateT, rows: NDArray[np.intp], slopes: Matrix) -> tuple[StateT, Matrix]:
        raise NotImplementedError

    def _renewed(self, s: StateT, rows: NDArray[np.intp]) -> StateT:
        """Return the state in which some starts have not moved yet."""
        raise NotImplementedError

    def _least(self) -> int:
        return 1  # each start learns by itself

    def _next(self) -> tuple[Codes, Codes]:
        codes = self._state.codes
        return codes, codes.copy()

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> StateT:
        """Step from the codes told; those that are not told stay, and are shown again."""
        del scores
        s, objective = self._state, self._objective
        if objective is None:
            raise OrderError(
                f"{type(self).__name__} climbs a slope, and has none: hand it an objective by "
                "use() before tell()"
            )
        at = np.array(self._asked)  # which may have been adopted
        at[rows] = codes
        dead = rows[:0]
        for k in range(s.steps):
            if not len(rows):
                break
            values, slopes = objective.climb(at[rows])
            if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
                raise DataError(
                    "values and slopes must be finite; at these codes, whose largest number "
                    f"is {np.abs(at[rows]).max():.3g}, they are not. Take a smaller lr than "
                    f"{s.lr:g}"
                )
            if k == 0:
                dead = rows[values == 0]
                rows, slopes = rows[values != 0], slopes[values != 0]
            s, moves = self._step(s, rows, _across(slopes, self._along))
            at[rows] += _back(moves, self._along)
        if not np.isfinite(at).all():
            raise DataError(
                f"codes must stay finite; a step of lr = {s.lr:g} has left some that are not. "
                "Take a smaller one"
            )
        # Drawn whether needed or not: the stream's position follows from the generations.
        fresh = objective.start(s.popsize, rng=self._rng)
        if s.sigma:
            fresh = fresh + s.sigma * self._rng.standard_normal(at.shape)
        at[dead] = fresh[dead]
        return replace(self._renewed(s, dead), generation=s.generation + 1, codes=at)

    @classmethod
    def _check(cls, state: StateT) -> None:
        d = state.codes.shape[1] if state.codes.ndim == 2 else 0
        shapes = {
            "codes": (rows_of(state.codes), d),
            "source": (rows_of(state.source),),
            "digest": (32 if state.kind else 0,),
        }
        check_state_arrays(state, shapes)
        bounds = {
            "generation": (0, np.inf),
            "popsize": (len(state.codes), len(state.codes)),
            "lr": (0, _FASTEST),
            "steps": (1, np.inf),
            "sigma": (0, np.inf),
            "kind": (0, len(BASES) - 1),
            "width": (1, d),
            "clip": (1, _MOST_CLIP),
        }
        check_numbers(state, bounds)


def is_ascent(kind: object) -> bool:
    """Whether it is a class of this file's."""
    return isinstance(kind, type) and issubclass(kind, Ascent)


class Adam(Ascent[AdamState]):
    """Adam, each code of a generation a climb of its own.

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator
    popsize : int >= 2, codes that climb side by side, the batch; as many as `initial` has, or
        4 + floor(3 log2 d), by default
    lr : float > 0, latent units. Published: 0.1 for DeePSim, 0.003 (and 0.001, 0.01) for BigGAN
    betas : decay of the mean of slopes and of their squares, each in [0, 1)
    steps : int >= 1, from one showing to the next
    basis : 'none'; or 'rotation' or 'scaled', along that of `metric` (see the top of this file)
    metric : path of a metric's file, or the pair (eigenvalues (m,), eigenvectors (d, m)), where
        there is a basis
    basis_part : 'nois' or 'clas', the half of BigGAN's code that the metric is of
    cutoff : directions to climb along; all that the metric has by default
    clip : 1 to 1000, of 'scaled': the largest ratio of two scales
    sigma : float >= 0, spread of the starts about `initial`, where that is one code
    initial : where the starts are, latent units. None: about zero. Shape (d,): about this code.
        Shape (m, d): at these codes, gone through in order, again from the first where m is
        less than `popsize`

    Raises
    ------
    ConfigError
        A setting is out of its range, or the metric cannot be read.
    DataError
        `initial` or the metric has the wrong shape or is not finite.
    """

    state_type: ClassVar = AdamState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        lr: float = 0.1,
        betas: Sequence[float] = (0.9, 0.999),
        steps: int = 1,
        basis: str = "none",
        metric: str | Path | tuple[ArrayLike, ArrayLike] | None = None,
        basis_part: str | None = None,
        cutoff: int | None = None,
        clip: float = 100.0,
        sigma: float = 1.0,
        initial: ArrayLike | None = None,
    ) -> None:
        fields = _start_fields(d, rng, popsize, initial, lr=lr, steps=steps, sigma=sigma)
        if not isinstance(betas, list | tuple) or len(betas) != 2:
            raise ConfigError(f"betas must be two numbers, as [0.9, 0.999]; got {betas!r}")
        beta1, beta2 = (_decay("betas", beta) for beta in betas)
        loaded, basis_fields = _basis_fields(d, basis, metric, basis_part, cutoff, clip)
        n: int = fields["popsize"]
        width: int = basis_fields["width"]
        state = AdamState(
            beta1=beta1,
            beta2=beta2,
            first=np.zeros((n, width)),
            second=np.zeros((n, width)),
            taken=np.zeros(n),
            **fields,
            **basis_fields,
        )
        super().__init__(state, loaded, rng=rng)

    def _step(
        self, s: AdamState, rows: NDArray[np.intp], slopes: Matrix
    ) -> tuple[AdamState, Matrix]:
        return adam_step(s, rows, slopes)

    def _renewed(self, s: AdamState, rows: NDArray[np.intp]) -> AdamState:
        first, second, taken = s.first.copy(), s.second.copy(), s.taken.copy()
        first[rows], second[rows], taken[rows] = 0, 0, 0
        return replace(s, first=first, second=second, taken=taken)

    @classmethod
    def _check(cls, state: AdamState) -> None:
        super()._check(state)
        n, k = len(state.codes), state.width
        check_state_arrays(state, {"first": (n, k), "second": (n, k), "taken": (n,)})
        check_numbers(state, {"beta1": (0, 1), "beta2": (0, 1)})


class SGD(Ascent[SGDState]):
    """Plain ascent, each code of a generation a climb of its own.

    Parameters
    ----------
    lr : float > 0, of the slope. Published: 0.01, 0.003 and 0.001, for BigGAN
    momentum : in [0, 1)
    d, rng, popsize, steps, basis, metric, basis_part, cutoff, clip, sigma, initial : as `Adam`
        takes them, and errors as there
    """

    state_type: ClassVar = SGDState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        lr: float = 0.01,
        momentum: float = 0.0,
        steps: int = 1,
        basis: str = "none",
        metric: str | Path | tuple[ArrayLike, ArrayLike] | None = None,
        basis_part: str | None = None,
        cutoff: int | None = None,
        clip: float = 100.0,
        sigma: float = 1.0,
        initial: ArrayLike | None = None,
    ) -> None:
        fields = _start_fields(d, rng, popsize, initial, lr=lr, steps=steps, sigma=sigma)
        momentum = _decay("momentum", momentum)
        loaded, basis_fields = _basis_fields(d, basis, metric, basis_part, cutoff, clip)
        width = basis_fields["width"] if momentum else 0
        state = SGDState(
            momentum=momentum,
            velocity=np.zeros((fields["popsize"], width)),
            **fields,
            **basis_fields,
        )
        super().__init__(state, loaded, rng=rng)

    def _step(
        self, s: SGDState, rows: NDArray[np.intp], slopes: Matrix
    ) -> tuple[SGDState, Matrix]:
        return sgd_step(s, rows, slopes)

    def _renewed(self, s: SGDState, rows: NDArray[np.intp]) -> SGDState:
        velocity = s.velocity.copy()
        velocity[rows] = 0
        return replace(s, velocity=velocity)

    @classmethod
    def _check(cls, state: SGDState) -> None:
        super()._check(state)
        width = state.width if state.momentum else 0
        check_state_arrays(state, {"velocity": (len(state.codes), width)})
        check_numbers(state, {"momentum": (0, 1)})


def _start_fields(
    d: int,
    rng: np.random.Generator,
    popsize: int | None,
    initial: ArrayLike | None,
    *,
    lr: float,
    steps: int,
    sigma: float,
) -> dict[str, Any]:
    """Return the fields of a new state that no basis changes; draw the starts."""
    d = whole("d", d, at_least=1)
    lr = between("lr", lr, 1e-150, _FASTEST, what="a number > 0")
    steps = whole("steps", steps, at_least=1, at_most=_MOST_STEPS)
    sigma = between("sigma", sigma, 0, 1e150, what="a number >= 0, latent units,")
    center, given = start_from(d, initial)
    n = population(d, popsize if popsize is not None else len(given) or None)
    if len(given):
        codes, sigma = given[np.arange(n) % len(given)], 0.0
    else:
        codes = center + sigma * rng.standard_normal((n, d))
    return {
        "generation": 0,
        "popsize": n,
        "codes": codes,
        "lr": lr,
        "steps": steps,
        "sigma": sigma,
    }


def _decay(name: str, value: object) -> float:
    return between(name, value, 0, 1 - 1e-12, what="in [0, 1)")


def _basis_fields(
    d: int,
    basis: str,
    metric: str | Path | tuple[ArrayLike, ArrayLike] | None,
    part: str | None,
    cutoff: int | None,
    clip: float,
) -> tuple[Basis | None, dict[str, Any]]:
    """Return the basis, and the fields of a state that say which it is."""
    clip = between("clip", clip, 1, _MOST_CLIP, what="a ratio")
    if basis not in BASES:
        raise ConfigError(f"basis must be one of {', '.join(BASES)}; got {basis!r}")
    fields = {"kind": BASES.index(basis), "clip": clip}
    if basis == "none":
        if metric is not None:
            raise ConfigError("metric must come with basis = 'rotation' or 'scaled'")
        nothing = np.zeros(0)
        return None, {**fields, "width": d, "source": nothing, "digest": nothing}
    if cutoff is not None:
        cutoff = whole("cutoff", cutoff, at_least=1, otherwise=" or left out (all)")
    path = ""
    if isinstance(metric, str | Path):
        path = f"{part or ''}:{metric}"
        loaded = read_basis(metric, d=d, cutoff=cutoff, part=part)
    elif isinstance(metric, tuple | list) and len(metric) == 2:
        loaded = make_basis(*metric, d=d, cutoff=cutoff)
    else:
        found = "none is given" if metric is None else f"got {type(metric).__name__}"
        raise ConfigError(
            f"basis = {basis!r} must come with a metric, a path of an npz file (or arrays, "
            f"eigenvalues, eigenvectors); {found}"
        )
    return loaded, {
        **fields,
        "width": len(loaded.values),
        "source": array_of_text(path),
        "digest": loaded.digest(),
    }


def _directions(s: AscentState, basis: Basis | None) -> Matrix | None:
    """Return what w is along, (k, d): of `scaled`, each direction times its scale."""
    if basis is None:
        return None
    if BASES[s.kind] == "rotation":
        return basis.vectors
    scale = np.minimum((basis.values / basis.values[0]) ** -0.5, s.clip)
    scale /= np.sqrt((scale * scale).mean())
    return scale[:, None] * basis.vectors


def _across(slopes: Codes, along: Matrix | None) -> Matrix:
    """Return slopes of w, (m, k), of slopes of the code, (m, d)."""
    return slopes if along is None else rows_times(slopes, along.T)


def _back(moves: Matrix, along: Matrix | None) -> Codes:
    """Return moves of the code, (m, d), of moves of w, (m, k)."""
    return moves if along is None else rows_times(moves, along)


def rows_times(rows: Matrix, matrix: Matrix) -> Matrix:
    """Multiply one row at a time: a library adds otherwise for another number of rows."""
    products = np.empty((len(rows), matrix.shape[1]))
    for i, row in enumerate(rows):
        products[i] = row.copy() @ matrix
    return products
