"""Several optimizers on one code, each on a part of it, or parts held fixed.

BigGAN's code is noise beside a class embedding: one optimizer with its own step size for each
half, or a class held while the noise evolves. Row i of a population is row i of every part's;
each part is told the scores of the whole images.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError
from evolver.optimizers.arguments import (
    population,
    whole,
)
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.by_name import COMMON, find_optimizer, load_optimizer
from evolver.optimizers.gradient import NeedsObjective, go_on
from evolver.optimizers.states import (
    StateDict,
    all_taken,
    array_of_text,
    state_from_dict,
    take_prefixed,
    text_of_array,
    with_prefix,
)
from evolver.optimizers.within_axes import (
    SearchAxes,
    WithinAxes,
    WithinAxesState,
    is_within_axes,
)
from evolver.registry import did_you_mean
from evolver.types import Codes, Optimizer, Scores, Vector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

_KEYS = ("slice", "optimizer", "options", "value", "axes")


@dataclass(frozen=True, slots=True, eq=False)
class PartState:
    """A stretch of the code, and what drives it."""

    stop: int  # it ends before this dimension, and begins where the one before it ends
    optimizer: str  # its name; empty for a part held fixed
    value: Vector  # (stop - start,) of a part held fixed, latent units; else (0,)
    state: Any  # the optimizer's; None for a part held fixed


@dataclass(frozen=True, slots=True, eq=False)
class CompositeState:
    """All there is to know between generations; `Composite.from_state` goes on from it."""

    d: int
    popsize: int
    parts: tuple[PartState, ...]

    def to_dict(self) -> StateDict:
        """Return one dictionary of it all; the names of part i begin with ``part{i}_``."""
        out: StateDict = {"d": self.d, "popsize": self.popsize, "parts": len(self.parts)}
        for i, part in enumerate(self.parts):
            out[f"part{i}_stop"] = part.stop
            out[f"part{i}_optimizer"] = array_of_text(part.optimizer)
            out[f"part{i}_value"] = part.value.copy()
            if part.optimizer:
                out |= with_prefix(f"part{i}_state_", part.state)
        return out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made a dictionary of.

        Raises
        ------
        DataError
            Names are missing or unknown, or a value is not of its kind.
        """
        with all_taken(cls, values) as left:
            d, popsize, count = (int(left.pop(name)) for name in ("d", "popsize", "parts"))
            parts = tuple(_part_of(left, f"part{i}_") for i in range(count))
        return cls(d, popsize, parts)


def _part_of(left: dict[str, Any], prefix: str) -> PartState:
    """Take one part's values out of `left`."""
    name = text_of_array(np.atleast_1d(left.pop(f"{prefix}optimizer")))
    stop, value = int(left.pop(f"{prefix}stop")), left.pop(f"{prefix}value")
    plain = take_prefixed(f"{prefix}state_", left)
    state: Any = None
    if name:
        within = is_within_axes(plain)
        kind = WithinAxesState if within else find_optimizer(name).state_type
        state = state_from_dict(kind, plain)
    return PartState(stop, name, np.array(value, dtype=np.float64), state)


class Composite(AskTell[Any]):
    """Optimizers on stretches of the code, side by side.

    In a session file::

        optimizer = "composite"
        [threads.optimizer_options]
        parts = [
          { slice = [0, 128], optimizer = "cholesky", options = { sigma = 0.3 } },
          { slice = [128, 256] },  # held at where it starts
        ]

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator; all parts draw from it, in their order
    popsize : int >= 2, codes a generation; 4 + floor(3 log2 d) by default, the same for
        every part
    initial : where the search starts, latent units, as every optimizer takes it: each part
        has its own stretch of it
    parts : dictionaries, one for each stretch of the code, which they cover without gap or
        overlap. `slice`: [first, stop]. `optimizer` and `options`: as a session file names
        one. `axes`: `SearchAxes` of the stretch, along which its optimizer is to search. A
        part without `optimizer` is held fixed, at `value` (a number, or one for each
        of its dimensions), or at its stretch of `initial`, in which all rows must agree

    Raises
    ------
    ConfigError
        The parts do not cover the code, a key or name is unknown, a part's options are out of
        range, or parts ask for different numbers of codes.
    DataError
        `initial` or a `value` has the wrong shape or is not finite.
    """

    state_type: ClassVar = CompositeState

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        initial: ArrayLike | None = None,
        parts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        d = whole("d", d, at_least=1)
        n = population(d, popsize)
        stops = _layout(parts, d)
        begin = None if initial is None else np.array(initial, dtype=np.float64)
        if begin is not None:
            if begin.ndim not in {1, 2} or begin.shape[-1] != d or not begin.size:
                raise DataError(
                    f"initial must have shape ({d},) or (m, {d}), m >= 1; got {begin.shape}"
                )
            check_codes(np.atleast_2d(begin), d=d)
        drivers: list[Optimizer | Vector] = []
        for i, (part, (first, stop)) in enumerate(
            zip(parts, pairwise([0, *stops]), strict=True)
        ):
            own = None if begin is None else begin[..., first:stop]
            if not part.get("optimizer"):
                drivers.append(_held(i, part, stop - first, own))
                continue
            try:
                drivers.append(
                    load_optimizer(
                        part["optimizer"],
                        stop - first,
                        rng=rng,
                        popsize=n,
                        initial=own,
                        axes=part.get("axes"),
                        **part.get("options", {}),
                    )
                )
            except ConfigError as exc:
                raise ConfigError(f"parts[{i}]: {exc}") from exc
            if getattr(find_optimizer(part["optimizer"]), "popsize_varies", False):
                raise ConfigError(
                    f"parts[{i}] must ask for equally many codes in every generation, as the "
                    f"others do; {part['optimizer']!r} does not, so that it can be no part. "
                    "Let it search the whole code"
                )
            if isinstance(drivers[-1], NeedsObjective):
                raise ConfigError(
                    f"parts[{i}] must learn from scores; {part['optimizer']!r} climbs a slope, "
                    "which is of whole codes: let it have all of them"
                )
        names = [str(part.get("optimizer") or "") for part in parts]
        self._set(d, n, stops, names, drivers, rng)
        self._rehearse()

    def _set(
        self,
        d: int,
        n: int,
        stops: Sequence[int],
        names: Sequence[str],
        drivers: list[Optimizer | Vector],
        rng: np.random.Generator,
    ) -> None:
        self._begin(None, rng)
        self._d, self._popsize, self._names = d, n, tuple(names)
        self._spans = [slice(*span) for span in pairwise([0, *stops])]
        self._drivers = drivers

    @classmethod
    def from_state(cls, state: CompositeState, *, rng: np.random.Generator) -> Self:
        """Go on from a `state`, at the beginning of a generation; as every optimizer does.

        One with axes in a part goes on by `go_on_from`: a state does not hold them.
        """
        return cls._again(state, [None] * len(state.parts), rng)

    def go_on_from(self, state: CompositeState, *, rng: np.random.Generator) -> Self:
        """Go on from a `state` of this very composite, along the axes of its parts."""
        like = [None if isinstance(d, np.ndarray) else d for d in self._drivers]
        names = [part.optimizer for part in state.parts]
        if names != list(self._names):
            raise DataError(
                f"the parts of the state must be those of the composite, {self._names}; they "
                f"are {names}"
            )
        return self._again(state, like, rng)

    @classmethod
    def _again(
        cls,
        state: CompositeState,
        like: Sequence[Optimizer | None],
        rng: np.random.Generator,
    ) -> Self:
        """Go on from a `state`; each part as one of `like` does, or as any of its kind."""
        stops = [part.stop for part in state.parts]
        edges = [0, *stops]
        if not stops or stops[-1] != state.d or any(a >= b for a, b in pairwise(edges)):
            raise DataError(
                f"the parts of the state must cover 0 to {state.d} in order; they end at "
                f"{stops}. Pass a state as it was saved"
            )
        drivers: list[Optimizer | Vector] = []
        for i, (part, (first, stop), before) in enumerate(
            zip(state.parts, pairwise(edges), like, strict=True)
        ):
            if part.optimizer:
                driver = _driver(part, before, rng)
                drivers.append(driver)
                width = driver.d
            else:
                drivers.append(part.value)
                width = len(part.value) if np.isfinite(part.value).all() else -1
            if width != stop - first:
                raise DataError(
                    f"part {i} of the state must have {stop - first} finite dimensions; it has "
                    f"{max(width, 0)}. Pass a state as it was saved"
                )
        self = cls.__new__(cls)
        names = [part.optimizer for part in state.parts]
        self._set(state.d, state.popsize, stops, names, drivers, rng)
        return self

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._d

    @property
    def popsize(self) -> int:
        """Codes drawn by one `ask`; a given first population has its own number."""
        return self._popsize

    @property
    def state(self) -> CompositeState:
        """What `from_state` needs. `ask` leaves it as it is; `tell` replaces it."""
        return CompositeState(
            self._d,
            self._popsize,
            tuple(
                PartState(span.stop, name, driver, None)
                if isinstance(driver, np.ndarray)
                else PartState(span.stop, name, np.zeros(0), driver.state)
                for span, name, driver in zip(
                    self._spans, self._names, self._drivers, strict=True
                )
            ),
        )

    def _next(self) -> tuple[Codes, Codes]:
        asked = [
            driver if isinstance(driver, np.ndarray) else driver.ask()
            for driver in self._drivers
        ]
        rows = {len(a) for a in asked if a.ndim == 2}
        if len(rows) != 1:
            raise ConfigError(
                "the parts of a composite must ask for equally many codes; they ask for "
                f"{[len(a) for a in asked if a.ndim == 2]}. A sphere needs base = false"
            )
        codes = np.empty((rows.pop(), self._d))
        for span, a in zip(self._spans, asked, strict=True):
            codes[:, span] = a
        return codes, codes.copy()

    def adopt(self, codes: ArrayLike) -> None:
        """Take `codes` for what the last `ask` returned, in every part; as `AskTell.adopt`."""
        super().adopt(codes)
        taken = np.asarray(self._asked)
        for span, driver in zip(self._spans, self._drivers, strict=True):
            if not isinstance(driver, np.ndarray):
                driver.adopt(taken[:, span])

    def _least(self) -> int:
        return 1  # the parts say what they need

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401
        del rows
        # On copies, so that where one part refuses, none has learnt.
        drivers = [
            driver if isinstance(driver, np.ndarray) else copy.copy(driver)
            for driver in self._drivers
        ]
        for span, driver in zip(self._spans, drivers, strict=True):
            if not isinstance(driver, np.ndarray):
                driver.tell(codes[:, span], scores)
        self._drivers = drivers

    def _rehearse(self) -> None:
        """Raise `ConfigError` now, not in a session, where parts ask for different numbers."""
        twin = copy.deepcopy(self)
        for _ in range(2):
            codes = twin.ask()
            twin.tell(codes, np.arange(len(codes), dtype=np.float64))


def _driver(part: PartState, before: Optimizer | None, rng: np.random.Generator) -> Optimizer:
    """Return what goes on from a part's state, with what `before` holds beside its own."""
    if before is not None:
        return go_on(before, part.state, rng=rng)
    if isinstance(part.state, WithinAxesState):
        return WithinAxes.from_state(part.state, rng=rng)  # says what is missing
    return find_optimizer(part.optimizer).from_state(part.state, rng=rng)


def _layout(parts: Sequence[Mapping[str, Any]], d: int) -> list[int]:
    """Return where each part ends; raise `ConfigError` unless they cover 0 to `d` in order."""
    form = "{ slice = [first, stop], optimizer = NAME, options = { ... } }"
    if not isinstance(parts, list | tuple) or not parts:
        raise ConfigError(
            f"parts must be a list of {form}, one for each stretch of the code, from 0 to {d}"
        )
    at = 0
    stops: list[int] = []
    for i, part in enumerate(parts):
        unknown = sorted(set(part) - set(_KEYS)) if isinstance(part, dict) else [repr(part)]
        if unknown or "slice" not in part:
            near = did_you_mean(unknown[0], _KEYS) if unknown else "."
            raise ConfigError(
                f"parts[{i}] must be {form}, or {{ slice, value }} to be held fixed; found "
                f"{', '.join(unknown) or 'no slice'}{near.rstrip('.')}"
            )
        span: Any = part["slice"]
        stop = _stop(span, at, d)
        if stop is None:
            raise ConfigError(
                f"slice of parts[{i}] must be [{at}, stop] with stop from {at + 1} to {d}: the "
                f"parts cover the code in order, without gap or overlap; got {span!r}"
            )
        if part.get("optimizer") and "value" in part:
            raise ConfigError(f"parts[{i}] must have an optimizer or a value; it has both")
        if not part.get("optimizer") and part.get("options"):
            raise ConfigError(f"parts[{i}] has options and no optimizer to take them")
        if not part.get("optimizer") and part.get("axes") is not None:
            raise ConfigError(f"parts[{i}] has axes and no optimizer to search along them")
        if not isinstance(part.get("axes"), SearchAxes | None):
            raise ConfigError(f"axes of parts[{i}] must be made by make_axes")
        ours = sorted(set(part.get("options", {})) & set(COMMON))
        if ours:
            raise ConfigError(
                f"options of parts[{i}] must leave {', '.join(COMMON)} to the composite; found "
                f"{', '.join(ours)}"
            )
        at = stop
        stops.append(at)
    if at != d:
        raise ConfigError(f"parts must cover the code up to {d}; they end at {at}")
    if not any(part.get("optimizer") for part in parts):
        raise ConfigError("parts must have an optimizer in one of them; all are held fixed")
    return stops


def _stop(span: Any, first: int, d: int) -> int | None:  # noqa: ANN401  from a file
    """Return where [first, stop] ends, or None if it is not that."""
    match span:
        case [int(begin), int(stop)] if begin == first and first < stop <= d:
            return stop
        case _:
            return None


def _held(i: int, part: Mapping[str, Any], width: int, own: Codes | None) -> Vector:
    """Return the values that a fixed part is held at, (width,)."""
    if "value" in part:
        value = np.array(part["value"], dtype=np.float64)
        if value.shape not in {(), (width,)} or not np.isfinite(value).all():
            raise DataError(
                f"value of parts[{i}] must be a number, or {width} of them, finite; got shape "
                f"{value.shape}"
            )
        return np.broadcast_to(value, (width,)).copy()
    if own is None:
        return np.zeros(width)
    rows = np.atleast_2d(own)
    if (rows != rows[0]).any():
        raise ConfigError(
            f"parts[{i}] is to be held fixed where it starts, but the codes of the first "
            "population differ there. Give it a value"
        )
    return rows[0].copy()
