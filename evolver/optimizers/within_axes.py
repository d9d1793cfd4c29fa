"""Any optimizer, among codes that differ along a few axes of latent space.

A generator answers to some directions of its codes and hardly to others: of DeePSim's 4096, 500
hold 99.9 % of its image metric. Codes are x = o + (s u) V, with V the axes, k orthonormal rows,
s a scale for each (all 1, unless they are asked to be stretched), and o the part that all codes
have in common, across the axes. The optimizer within searches u, in k dimensions, and knows of
nothing else: it is the same algorithm on the function f(o + (s u) V).

o is what the start has outside of the axes (of a population, its mean has), or zero. So the
codes of a given population are shown as their parts along the axes beside the mean's part
across them, and not as they are.

Scales, where they are not equal, are lambda^-p (Wang & Ponce 2021, as in `hessian`), brought to
a root mean square of 1: a step size stays what it is without them.

The axes are never part of a state, which has their digest: they are large and do not change.
Whoever goes on hands them over again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from inspect import signature
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from array_api_compat import array_namespace

from evolver.errors import ConfigError, DataError
from evolver.optimizers.arguments import (
    between,
    check_state_arrays,
    start_from,
    whole,
)
from evolver.optimizers.ask_tell import AskTell, DrawSource, Functions
from evolver.optimizers.by_name import REGISTRY, find_optimizer
from evolver.optimizers.gradient import NeedsObjective, Objective, go_on, is_ascent, rows_times
from evolver.optimizers.ranks import default_popsize
from evolver.optimizers.states import (
    StateDict,
    all_taken,
    array_of_text,
    state_from_dict,
    take_prefixed,
    text_of_array,
    with_prefix,
)
from evolver.types import Codes, Matrix, Optimizer, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

_FLOOR = 1e-6  # of the largest eigenvalue; smaller ones are stretched no further
_ROUNDED = 1e-3  # how far axes of a file of float32, or less, may be from orthonormal
_EXACT = 1e-10  # axes nearer to orthonormal than this are left as they are
_OUTSIDE = 1e-5  # of a code's norm: recorded codes are float32
_NOTHING = 1e-9  # of a code's norm: a part along the axes that is rounding
_SAME = 1e-6  # of a code's norm: what axes that were computed again may move it by


@dataclass(frozen=True, slots=True, eq=False)
class SearchAxes:
    """Directions of latent space along which to search; `make_axes` makes them."""

    vectors: Matrix  # (k, d), orthonormal rows, leading first
    scales: Vector  # (k,) > 0: how far a step of 1 goes along each, latent units
    sha256: str  # of both, as they came, 64 hexadecimal digits
    forth: Matrix  # (k, d): from coordinates along the axes to codes
    back: Matrix  # (d, k): from codes to coordinates
    keeps_outside: bool = True  # what the start has outside of the axes; else dropped
    computed: bool = False  # from a generator's weights, so that they can be computed again

    @property
    def k(self) -> int:
        """Dimensions of the search."""
        return self.vectors.shape[0]

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self.vectors.shape[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing of it can change, and it is large."""
        return self


def make_axes(
    vectors: ArrayLike,
    *,
    values: ArrayLike | None = None,
    exponent: float = 0.0,
    keeps_outside: bool = True,
    computed: bool = False,
) -> SearchAxes:
    """Return axes to search along.

    Parameters
    ----------
    vectors : shape (k, d), one a row, orthonormal (to 1e-3: those of a file in float32 are
        brought to it)
    values : shape (k,), eigenvalues of the image metric along them; needed for `exponent`
    exponent : p >= 0; 0: all axes alike. Else their scales are values^-p
    keeps_outside : whether codes keep what the start has outside of the axes
    computed : whether they can be computed again

    Raises
    ------
    ConfigError
        `exponent` is out of its range, or needs values.
    DataError
        Shapes do not fit, a value is not finite, or the vectors are not orthonormal.
    """
    rows = np.array(vectors, dtype=np.float64, order="C")
    if rows.ndim != 2 or not 1 <= rows.shape[0] <= rows.shape[1]:
        raise DataError(
            "axes must be (k, d), one a row, and at most as many as dimensions; got shape "
            f"{rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise DataError("axes must be finite; they hold a value that is not")
    exponent = between("scale", exponent, 0, 10, what="a number")
    scales = np.ones(len(rows))
    if exponent:
        scales = _stretched(values, exponent, len(rows))
    sha = hashlib.sha256(rows.tobytes())
    sha.update(scales.tobytes())
    with np.errstate(over="ignore", invalid="ignore"):
        off = float(np.abs(rows @ rows.T - np.eye(len(rows))).max())
    if not off <= _ROUNDED:
        raise DataError(
            f"axes must be orthonormal rows; they miss it by {off:.2g}. Take the columns of "
            "numpy.linalg.eigh, turned"
        )
    if off > _EXACT:
        q, r = np.linalg.qr(rows.T)
        rows = np.ascontiguousarray((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T)
    equal = not exponent  # then all are one array: they are large
    forth = rows if equal else scales[:, None] * rows
    back = rows.T if equal else (rows / scales[:, None]).T
    for array in (rows, scales, forth, back):
        array.setflags(write=False)
    return SearchAxes(
        rows,
        scales,
        sha.hexdigest(),
        forth,
        back,
        keeps_outside=keeps_outside,
        computed=computed,
    )


def _stretched(values: ArrayLike | None, exponent: float, k: int) -> Vector:
    """Return values^-p, (k,), of root mean square 1."""
    if values is None:
        raise ConfigError(
            "scale must be 0 for axes that come without eigenvalues: nothing says how far to "
            "stretch them"
        )
    given = np.array(values, dtype=np.float64)
    if given.shape != (k,) or not np.isfinite(given).all() or given.max() <= 0:
        raise DataError(
            f"eigenvalues of axes must be finite, of shape ({k},) and the largest positive; "
            f"got shape {given.shape}"
        )
    scales = np.maximum(given / given.max(), _FLOOR) ** -exponent
    return scales / np.sqrt((scales * scales).mean())


@dataclass(frozen=True, slots=True, eq=False)
class WithinAxesState:
    """All there is to know between generations, but the axes themselves."""

    optimizer: str  # name of the one within
    axes: str  # sha256 of the axes
    origin: Vector  # (d,) o, across the axes, latent units
    inner: Any  # the state of the one within, in k dimensions

    @property
    def popsize(self) -> int:
        """Codes drawn a generation."""
        return self.inner.popsize

    @property
    def given(self) -> Matrix:
        """The caller's first population while it is due, (m, k) along the axes."""
        return getattr(self.inner, "given", np.zeros((0, 0)))

    def to_dict(self) -> StateDict:
        """Return one dictionary of it all; names of the one within begin with ``inner_``."""
        return {
            "optimizer": array_of_text(self.optimizer),
            "axes": array_of_text(self.axes),
            "origin": self.origin.copy(),
            **with_prefix("inner_", self.inner),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made a dictionary of.

        Raises
        ------
        DataError
            Names are missing or unknown, or a value is not of its kind.
        """
        with all_taken(cls, values) as left:
            name, axes = (text_of_array(np.atleast_1d(left.pop(n))) for n in _TEXTS)
            origin = np.array(left.pop("origin"), dtype=np.float64)
            plain = take_prefixed("inner_", left)
        kind = find_optimizer(name).state_type
        return cls(name, axes, origin, state_from_dict(kind, plain))


_TEXTS = ("optimizer", "axes")


def is_within_axes(values: Mapping[str, Any]) -> bool:
    """Return whether a state, as a dictionary, is a `WithinAxesState`'s."""
    return {*_TEXTS, "origin"} <= set(values)


class WithinAxes(AskTell[Any]):
    """An optimizer among codes that differ along a few axes; `within_axes` makes one.

    `ask` and `tell` are those of the one within, which draws its numbers and learns from the
    very codes it asked for, along the axes: what it does is the same bit for bit as by itself.
    A code that was adopted is read back along them.
    """

    state_type: ClassVar = WithinAxesState

    def __init__(
        self,
        name: str,
        inner: Optimizer,
        axes: SearchAxes,
        origin: Vector,
        *,
        rng: np.random.Generator,
    ) -> None:
        self._begin(None, rng)
        self._name, self._inner, self._axes, self._origin = name, inner, axes, origin
        self._along: Codes = np.zeros((0, axes.k))  # what the one within asked for, (n, k)
        self._computed_again = False
        self.popsize_varies = getattr(inner, "popsize_varies", False)

    @classmethod
    def from_state(
        cls,
        state: WithinAxesState,
        *,
        rng: np.random.Generator,
        axes: SearchAxes | None = None,
    ) -> Self:
        """Go on from a `state`, at the beginning of a generation.

        Parameters
        ----------
        state, rng : as every optimizer takes them
        axes : those that the search began with

        Raises
        ------
        DataError
            The axes are not given, or are others; or the state's arrays do not fit one another
            or are not finite.
        """
        if axes is None:
            raise DataError(
                "the axes of this search are not part of its state: pass them again, "
                "from_state(state, rng=rng, axes=axes)"
            )
        inner: Optimizer = find_optimizer(state.optimizer).from_state(state.inner, rng=rng)
        return cls._again(state, axes, inner, rng)

    @classmethod
    def _again(
        cls,
        state: WithinAxesState,
        axes: SearchAxes,
        inner: Optimizer,
        rng: np.random.Generator,
    ) -> Self:
        if state.axes != axes.sha256 and not axes.computed:
            raise DataError(
                f"the axes must be those that the search began with, sha256 {state.axes}; "
                f"these have {axes.sha256}. Bring the old file back"
            )
        check_state_arrays(state, {"origin": (axes.d,)})
        if inner.d != axes.k:
            raise DataError(
                f"the state must be of a search along {axes.k} axes; it is of one along "
                f"{inner.d}. Pass a state as it was saved"
            )
        self = cls(state.optimizer, inner, axes, state.origin, rng=rng)
        self._computed_again = state.axes != axes.sha256
        return self

    def go_on_from(self, state: WithinAxesState, *, rng: np.random.Generator) -> Self:
        """Go on from a `state`, along the same axes."""
        inner = go_on(self._inner, state.inner, rng=rng)
        return self._again(state, self._axes, inner, rng)

    @property
    def axes(self) -> SearchAxes:
        """Along which it searches."""
        return self._axes

    @property
    def inner(self) -> Optimizer:
        """The optimizer within, of k dimensions."""
        return self._inner

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._axes.d

    @property
    def popsize(self) -> int:
        """Codes drawn by one `ask`; a given first population has its own number."""
        return self._inner.popsize

    @property
    def state(self) -> WithinAxesState:
        """What `from_state` needs besides the axes. `tell` replaces it."""
        return WithinAxesState(self._name, self._axes.sha256, self._origin, self._inner.state)

    def _next(self) -> tuple[Codes, Codes]:
        self._along = self._inner.ask()
        self.notice = getattr(self._inner, "notice", "")
        codes = self._along @ self._axes.forth
        codes += self._origin
        return codes, codes.copy()

    def adopt(self, codes: ArrayLike) -> None:
        """Take `codes` for what the last `ask` returned; as `AskTell.adopt`.

        Raises
        ------
        OrderError, DataError
            As `AskTell.adopt`; or a code does not lie along the axes. Nothing is adopted.
        """
        asked = self._asked
        super().adopt(codes)
        taken = np.asarray(self._asked)
        try:
            along = self._read_back(np.asarray(asked), taken)
            self._inner.adopt(along)
        except DataError:
            self._asked = asked
            raise
        self._along = along

    def _read_back(self, asked: Codes, taken: Codes) -> Codes:
        """Return the codes taken, along the axes; as they were asked for where they are."""
        changed = (taken != asked).any(axis=1)
        along = self._along.copy()
        along[changed] = (taken[changed] - self._origin) @ self._axes.back
        missed = np.linalg.norm(along @ self._axes.forth + self._origin - taken, axis=1)
        norms = np.linalg.norm(taken, axis=1)
        if (missed > _OUTSIDE * norms + np.finfo(float).tiny).any():
            raise DataError(
                "codes must lie along the axes of the search, beside what all have outside of "
                f"them; row {int(missed.argmax())} is {missed.max():.3g} latent units away"
            )
        if self._computed_again:
            moved = np.linalg.norm(taken - asked, axis=1)
            if (moved > _SAME * norms).any():
                raise DataError(
                    "the axes must be those that the search began with; they were computed "
                    f"again, and lead {moved.max():.3g} latent units away from its codes. "
                    "Bring back the file that had them, in the cache of this user"
                )
        return along

    def _least(self) -> int:
        return 1  # the one within says what it needs

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401
        del codes  # which the one within asked for in its own coordinates
        self._inner.tell(self._along[rows], scores)

    def head(self, s: WithinAxesState) -> Any:  # noqa: ANN401
        """Return codes that are asked for before those that are drawn, or None."""
        along = self._pure.head(s.inner)
        if along is None:
            return None
        xp = array_namespace(along, s.origin)
        forth = xp.asarray(self._axes.forth.copy(), dtype=along.dtype, device=along.device)
        return along @ forth + s.origin[..., None, :]

    def passed_over(self, s: WithinAxesState, rows: NDArray[np.intp]) -> int:
        """Return how many of the rows told are of the head and not learnt from."""
        return self._pure.passed_over(s.inner, rows)

    def functions(self, asarray: Callable[[Any], Any]) -> Functions[WithinAxesState]:
        """Return the pure functions of the one within, along the axes as `asarray` makes them.

        Their `update` reads codes back along the axes, so that it learns from what was asked
        for but for rounding.
        """
        pure = self._pure.functions(asarray)
        # Copies: some libraries warn of arrays that cannot be written to.
        forth, back = asarray(self._axes.forth.copy()), asarray(self._axes.back.copy())

        def draws(s: WithinAxesState, rng: DrawSource) -> tuple[Any, ...]:
            return pure.draws(s.inner, rng)

        def sample(s: WithinAxesState, *drawn: Any) -> Any:  # noqa: ANN401
            due = s.given.shape[0]
            return (s.given if due else pure.sample(s.inner, *drawn)) @ forth + s.origin

        def learn(s: WithinAxesState, codes: Any, scores: Any) -> WithinAxesState:  # noqa: ANN401
            return replace(s, inner=pure.update(s.inner, (codes - s.origin) @ back, scores))

        return Functions(draws, sample, learn)

    @property
    def _pure(self) -> AskTell[Any]:
        if not isinstance(self._inner, AskTell):
            raise ConfigError(f"optimizer {self._name!r} is no pure function of a state")
        return cast("AskTell[Any]", self._inner)


class _Along:
    """What is climbed, as a function of coordinates along the axes."""

    def __init__(self, whole_codes: Objective, forth: Matrix, back: Matrix, o: Vector) -> None:
        self._whole, self._forth, self._back, self._origin = whole_codes, forth, back, o

    def climb(self, codes: Codes) -> tuple[Scores, Codes]:
        """Return values, (n,), and slopes, (n, k), at coordinates, (n, k)."""
        values, slopes = self._whole.climb(rows_times(codes, self._forth) + self._origin)
        return values, rows_times(slopes, self._forth.T)

    def start(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return the parts along the axes of n codes from which to climb, (n, k)."""
        return rows_times(self._whole.start(n, rng=rng) - self._origin, self._back)


class AscentWithinAxes(WithinAxes):
    """One that climbs a slope, which it is handed of whole codes."""

    _objective: Objective | None = None  # until `use`

    @property
    def objective(self) -> Objective | None:
        """What is climbed, of whole codes; None until `use`."""
        return self._objective

    def use(self, objective: Objective) -> None:
        """Climb `objective` from now on."""
        self._objective = objective
        if isinstance(self._inner, NeedsObjective):
            self._inner.use(_Along(objective, self._axes.forth, self._axes.back, self._origin))


def within_axes(
    name: str,
    d: int,
    /,
    *,
    rng: np.random.Generator,
    axes: SearchAxes,
    popsize: int | None = None,
    initial: ArrayLike | None = None,
    **options: Any,  # noqa: ANN401  the optimizer within checks its own
) -> WithinAxes:
    """Return a new optimizer that searches along `axes`.

    Parameters
    ----------
    name : of the optimizer within; any but `hessian`, which has axes of its own, and
        `composite`, whose parts may have some
    d, rng, popsize, initial : as every optimizer takes them, of whole codes. The population is
        by default as large as without axes
    axes : SearchAxes
    **options : of the optimizer within; lengths are those of steps and codes along the axes.
        `radius` is the norm of the part along them, by default that of whole codes without axes

    Raises
    ------
    ConfigError
        No optimizer has this name, it cannot search along axes, or an option is wrong.
    DataError
        `initial` or the axes are of other dimensions, or `initial` has nothing along the axes
        where the search needs a direction.
    """
    d = whole("d", d, at_least=1)
    if axes.d != d:
        raise DataError(f"axes must be of codes of {d} dimensions; they are of {axes.d}")
    kind = find_optimizer(name)
    taken = signature(kind).parameters
    _check_can_be_within(name, kind, options)
    origin, along = _start(axes, d, initial)
    if "radius" in taken:
        _check_direction(initial, along, axes)
        usual = getattr(kind, "usual_radius", None)
        if options.get("radius") is None and usual is not None:
            options = {**options, "radius": usual * sqrt(d)}
    # As large as without axes: an image costs the same. An ascent's is what it is given.
    given = along is not None and along.ndim == 2
    follows = getattr(kind, "popsize_follows_d", True) and not (is_ascent(kind) and given)
    if popsize is None and follows:
        popsize = default_popsize(d)
    try:
        inner = REGISTRY.make(
            name, kind, axes.k, rng=rng, popsize=popsize, initial=along, options=options
        )
    except ConfigError as error:
        if not str(error).startswith("d must"):
            raise
        raise ConfigError(
            f"axes must be as many as {name!r} needs dimensions; of {axes.k}: {error}"
        ) from error
    wrapper = AscentWithinAxes if is_ascent(kind) else WithinAxes
    return wrapper(name, inner, axes, origin, rng=rng)


def _check_can_be_within(name: str, kind: Any, options: Mapping[str, Any]) -> None:  # noqa: ANN401
    if name == "composite":
        raise ConfigError(
            "axes must be those of a composite's parts: parts = [{ slice, optimizer, axes }]; "
            "the whole of its code has none"
        )
    has_basis = "basis" in signature(kind).parameters
    if has_basis and (not is_ascent(kind) or options.get("basis", "none") != "none"):
        raise ConfigError(
            f"axes must not come with a basis, which is axes too; {name!r} has one. Leave out "
            "either"
        )


def _start(
    axes: SearchAxes, d: int, initial: ArrayLike | None
) -> tuple[Vector, NDArray[np.float64] | None]:
    """Return what all codes have outside of the axes, (d,), and the start along them.

    The start is None where there is none, (k,) of one code, (m, k) of a population.
    """
    if initial is None:
        return np.zeros(d), None
    mean, given = start_from(d, initial)
    along = (given if len(given) else mean) @ axes.back
    if not axes.keeps_outside:
        return np.zeros(d), along
    outside = mean - (mean @ axes.vectors.T) @ axes.vectors
    outside -= (outside @ axes.vectors.T) @ axes.vectors  # what rounding has left
    return outside, along


def _check_direction(
    initial: ArrayLike | None, along: NDArray[np.float64] | None, axes: SearchAxes
) -> None:
    """Raise `DataError` where a search on a sphere would begin in a direction of rounding."""
    if initial is None or along is None:
        return
    parts = np.linalg.norm(np.atleast_2d(along) * axes.scales, axis=1)
    norms = np.linalg.norm(np.atleast_2d(np.asarray(initial, dtype=np.float64)), axis=1)
    lost = np.flatnonzero((parts <= _NOTHING * norms) & (norms > 0))
    if lost.size:
        raise DataError(
            "initial must have a part along the axes, for a search on a sphere; row(s) "
            f"{lost[:5].tolist()} lie across them. Start elsewhere, or take more axes"
        )
