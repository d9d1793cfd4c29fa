"""A search with a guided arm beside it: proposals of a model that is fitted to what was shown.

Experimental: it loses nothing (a wrong model included), and has gained nothing so far; the
figures are in `docs/optimizer-notes.md`.

The blind arm is any optimizer, with its own population, mean and steps, of which the guided arm
changes nothing: its codes are those it asks for alone, bit for bit. The guided arm has a base
of its own. In its turns the model proposes candidates, uphill of the base within some distance;
base and candidates are repeated in one block, and the base moves to the best of them only where
it wins by more than the standard error of the difference: one noisy win moves nothing. How
often the guided arm has its turn, and how many candidates it shows, goes up with each win and
down with each loss, from one candidate every fourth generation to eight in every one. Where the
blind population's mean score passes the base's, the base begins anew at that population's mean:
it is never left behind.

Knows optimizers by name, codes and scores. Knows nothing of axes: along which both arms search
(`within_axes`) is the session file's to say, and in fewer dimensions a model learns more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from evolver.errors import ConfigError, DataError
from evolver.lab_code import OWN_FAILURES, error_text, find_attribute
from evolver.optimizers.arguments import check_numbers, check_state_arrays, whole
from evolver.optimizers.ask_tell import AskTell
from evolver.optimizers.by_name import REGISTRY, find_optimizer, load_optimizer
from evolver.optimizers.gradient import is_ascent
from evolver.optimizers.score_model import GaussianScores
from evolver.optimizers.states import (
    StateDict,
    all_taken,
    array_of_text,
    state_from_dict,
    take_prefixed,
    text_of_array,
    with_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from evolver.optimizers.score_model import ScoreModel
    from evolver.types import Codes, Matrix, Optimizer, Scores, Vector

_REMEMBERED = 500  # codes the model is fitted to, the latest
_LEAST = 60  # codes before it is asked
_LEVELS = ((4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8))  # generations a turn, candidates
_NEAREST, _FARTHEST = 0.05, 4.0  # of the reach
_WITHIN = ("composite", "guided")  # what the blind arm cannot be
_MOST_REPEATS = 10
_ROUNDED = 1.001  # of a distance: what rounding may add
_OWN = ("optimizer", "model", "repeats")  # options that are not the blind arm's
_TEXTS = ("optimizer", "model")
_NUMBERS = ("generation", "repeats", "level", "base_score", "reach")


@dataclass(frozen=True, slots=True, eq=False)
class GuidedState:
    """All there is to know between generations; `Guided.from_state` goes on from it."""

    optimizer: str  # name of the blind arm's
    model: str  # what proposes, as `Guided` takes it
    inner: Any  # the blind arm's state
    generation: int  # generations learnt from
    repeats: int  # showings of base and candidates in a block
    level: int  # of the guided arm's share: a row of what it may show
    base: Vector  # (d,) where the guided arm stands, latent units; (0,) before its first turn
    base_score: float  # the mean of its last showings
    reach: float  # of a candidate, in mean distances of the blind population from its mean
    shown: Codes  # (m, d) what was told last, m up to 500
    scores: Scores  # (m,) of it

    @property
    def popsize(self) -> int:
        """Codes the blind arm draws a generation; the guided arm's come on top."""
        return self.inner.popsize

    @property
    def given(self) -> Matrix:
        """The caller's first population while it is due, (m, d)."""
        return getattr(self.inner, "given", np.zeros((0, self.shown.shape[1])))

    def to_dict(self) -> StateDict:
        """Return one dictionary of it all; names of the blind arm's begin with ``inner_``."""
        return {
            **{name: array_of_text(getattr(self, name)) for name in _TEXTS},
            **{name: getattr(self, name) for name in _NUMBERS},
            "base": self.base.copy(),
            "shown": self.shown.copy(),
            "scores": self.scores.copy(),
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
            name, model = (text_of_array(np.atleast_1d(left.pop(n))) for n in _TEXTS)
            generation, repeats, level = (int(left.pop(n)) for n in _NUMBERS[:3])
            base_score, reach = (float(left.pop(n)) for n in _NUMBERS[3:])
            base, shown, scores = (
                np.array(left.pop(n), dtype=np.float64) for n in ("base", "shown", "scores")
            )
            plain = take_prefixed("inner_", left)
        inner = state_from_dict(find_optimizer(name).state_type, plain)
        numbers = generation, repeats, level, base, base_score, reach
        return cls(name, model, inner, *numbers, shown, scores)


def find_model(name: str) -> type[ScoreModel]:
    """Return the model that a session file names; raise `ConfigError` where there is none."""
    if name == "gp":
        return GaussianScores
    if ":" not in str(name):
        raise ConfigError(
            f"model must be 'gp', or 'module:Class', one of your own; got {name!r}"
        )
    model = find_attribute("model", name)
    lacks = [part for part in ("fit", "uphill") if not callable(getattr(model, part, None))]
    if lacks or not isinstance(model, type):
        why = f"it has no {' and no '.join(lacks)}" if lacks else "it is none"
        raise ConfigError(
            f"model {name!r} must be a class with the methods fit and uphill, as "
            f"evolver.optimizers.score_model.ScoreModel says; {why}"
        )
    return model


def _try_out(name: str, d: int) -> None:
    """Have a model propose a code, of random ones; raise `ConfigError` where it cannot."""
    codes = np.random.default_rng(0).standard_normal((_LEAST, d))
    try:
        _proposed(find_model(name).fit(codes.copy(), codes[:, 0].copy()), codes[0], [1.0])
    except ConfigError:
        raise
    except OWN_FAILURES as error:
        raise ConfigError(
            f"model {name!r} must be a class with a classmethod fit(codes, scores) that "
            "returns a fitted one, and uphill(base, distance), as "
            "evolver.optimizers.score_model.ScoreModel says; tried on "
            f"{_LEAST} random codes, ({_LEAST}, {d}), it fails: {error_text(error)}"
        ) from error


def _proposed(model: ScoreModel, base: Vector, distances: Sequence[float]) -> Codes:
    """Return a fitted model's candidate for each distance, (n, d).

    Raises
    ------
    DataError
        One is no code, or too far away. What the model itself raises is passed on.
    """
    found: list[Vector] = []
    for distance in distances:
        code = np.asarray(model.uphill(base.copy(), distance))
        if code.shape != base.shape or code.dtype.kind not in "fiu":
            raise DataError(
                f"uphill() must return a code, numbers of shape {base.shape}; it returns "
                f"{code.dtype} of shape {code.shape}"
            )
        found.append(code.astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            away = float(np.linalg.norm(found[-1] - base))
        if not away <= _ROUNDED * distance:
            raise DataError(
                f"uphill() must return a finite code at most {distance:.4g} from base; its is "
                f"{away:.4g} away"
            )
    return np.stack(found)


class Guided(AskTell[Any]):
    """A blind search, and a guided arm beside it.

    In a session file, along axes::

        optimizer = "guided"
        axes = { source = "metric", k = 128 }
        optimizer_options = { optimizer = "snes", sigma = 5.0 }

    Parameters
    ----------
    d : int >= 1, latent dimensions
    rng : numpy.random.Generator, from which the blind arm alone draws
    popsize : int >= 2, codes the blind arm draws a generation; 4 + floor(3 log2 d) by default.
        In its turns the guided arm shows 4 to 18 more
    initial : where the blind arm starts, as every optimizer takes it
    optimizer : the blind arm's name: any but an ascent, a search among codes of one norm (a
        model's proposals have others), a composite and this one
    model : what proposes: "gp", a Gaussian process, or "module:Class", a `ScoreModel` of your
        own, which is tried on random codes first. One that raises later, or proposes no code or
        one that is too far from the base, misses its turn, and `notice` says so
    repeats : int, 2 to 10, how often base and candidates are shown in a block
    **options : of the blind arm's optimizer

    Raises
    ------
    ConfigError
        The blind arm cannot be made, there is no such model or it proposes nothing, or
        `repeats` is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """

    state_type: ClassVar = GuidedState
    keeps_codes: ClassVar = True
    popsize_varies = True

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int | None = None,
        initial: ArrayLike | None = None,
        optimizer: str = "snes",
        model: str = "gp",
        repeats: int = 2,
        **options: Any,  # noqa: ANN401  the blind arm's own
    ) -> None:
        d = whole("d", d, at_least=1)
        repeats = whole("repeats", repeats, at_least=2, at_most=_MOST_REPEATS)
        kind = find_optimizer(optimizer)
        if optimizer in _WITHIN or is_ascent(kind) or "radius" in signature(kind).parameters:
            raise ConfigError(
                "optimizer must be one that learns from scores, of codes of any norm: no "
                f"ascent, no sphere, and none of {', '.join(_WITHIN)}; got {optimizer!r}"
            )
        REGISTRY.check_options("guided", kind, options, also=_OWN)
        if model != "gp":
            _try_out(model, d)
        inner: Optimizer = load_optimizer(
            optimizer, d, rng=rng, popsize=popsize, initial=initial, **options
        )
        state = GuidedState(
            optimizer=optimizer,
            model=model,
            inner=inner.state,
            generation=0,
            repeats=repeats,
            level=0,
            base=np.zeros(0),
            base_score=float(np.finfo(np.float64).min),
            reach=0.5,
            shown=np.zeros((0, d)),
            scores=np.zeros(0),
        )
        self._set(state, inner, rng)

    def _set(self, state: GuidedState, inner: Optimizer, rng: np.random.Generator) -> None:
        self._begin(state, rng)
        self._inner = inner
        self._model = find_model(state.model)
        self._reaches = np.zeros(0)  # of the candidates asked for, in their order
        self._blind = 0  # rows asked for that are the blind arm's

    @classmethod
    def from_state(cls, state: GuidedState, *, rng: np.random.Generator) -> Self:
        """Go on from a `state`, at the beginning of a generation; as every optimizer does."""
        inner: Optimizer = find_optimizer(state.optimizer).from_state(state.inner, rng=rng)
        d, m = inner.d, len(state.scores)
        at = (d,) if len(state.base) else (0,)
        check_state_arrays(state, {"base": at, "shown": (m, d), "scores": (m,)})
        check_numbers(
            state,
            {
                "generation": (0, np.inf),
                "repeats": (2, _MOST_REPEATS),
                "level": (0, len(_LEVELS) - 1),
                "reach": (_NEAREST, _FARTHEST),
            },
        )
        self = cls.__new__(cls)
        self._set(state, inner, rng)
        return self

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._inner.d

    def _next(self) -> tuple[Codes, Codes]:
        s: GuidedState = self._state
        blind = self._inner.ask()
        self._blind = len(blind)
        every, n = _LEVELS[s.level]
        self._reaches = np.zeros(0)
        self.notice = ""
        if len(s.scores) < _LEAST or s.generation % every:
            return blind, blind.copy()
        base = s.base if len(s.base) else blind.mean(axis=0)
        spread = float(np.linalg.norm(blind - blind.mean(axis=0), axis=1).mean())
        reaches = np.asarray(s.reach * 2.0 ** (np.arange(n) - n // 2), np.float64)
        candidates = self._proposals(base, spread * reaches)
        if candidates is None:
            return blind, blind.copy()
        self._reaches = reaches
        block = np.repeat(np.concatenate([base[None], candidates]), s.repeats, axis=0)
        codes = np.concatenate([blind, block])
        return codes, codes.copy()

    def _proposals(self, base: Vector, distances: Vector) -> Codes | None:
        """Return a candidate for each distance, (n, d); None where the model has none."""
        s: GuidedState = self._state
        try:
            model = self._model.fit(s.shown.copy(), s.scores.copy())
            return _proposed(model, base, distances.tolist())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  no session ends by it
            self.notice = (
                f"the guided arm misses its turns: model {s.model!r} fails, {error_text(error)}"
            )
            return None

    def adopt(self, codes: ArrayLike) -> None:
        """Take `codes` for what the last `ask` returned, in both arms; as `AskTell.adopt`."""
        super().adopt(codes)
        self._inner.adopt(np.asarray(self._asked)[: self._blind])

    def _least(self) -> int:
        return 1  # the blind arm says what it needs

    def _learn(self, codes: Codes, scores: Scores, rows: NDArray[np.intp]) -> GuidedState:
        s: GuidedState = self._state
        blind = rows < self._blind
        if not blind.any():
            raise DataError(
                "codes must have at least some of the blind arm's; all that were told are the "
                "guided arm's. Tell the others too, or ask again"
            )
        self._inner.tell(codes[blind], scores[blind])
        after = replace(
            s,
            inner=self._inner.state,
            generation=s.generation + 1,
            shown=np.concatenate([s.shown, codes])[-_REMEMBERED:],
            scores=np.concatenate([s.scores, scores])[-_REMEMBERED:],
        )
        if len(self._reaches):
            after = self._judged(after, scores[~blind], rows[~blind] - self._blind)
        mean_score = float(scores[blind].mean())
        if len(after.base) and mean_score > after.base_score:
            after = replace(after, base=codes[blind].mean(axis=0), base_score=mean_score)
        return after

    def _judged(self, s: GuidedState, scores: Scores, rows: NDArray[np.intp]) -> GuidedState:
        """Move the base to the best candidate where it wins; the arm's share follows.

        Parameters
        ----------
        s : the state so far
        scores, rows : what was told of the block, and where it stands in it
        """
        asked = np.asarray(self._asked)[self._blind :: s.repeats]
        shown = [scores[rows // s.repeats == i] for i in range(len(asked))]
        base = asked[0].copy()
        if not len(shown[0]) or not any(map(len, shown[1:])):
            return replace(s, base=base)  # lost showings: nothing can be said
        means = [float(of.mean()) if len(of) else -np.inf for of in shown]
        twice = [float(of.var(ddof=1)) for of in shown if len(of) > 1]
        error = (2 * float(np.mean(twice)) / s.repeats) ** 0.5 if twice else np.inf
        top = 1 + int(np.argmax(means[1:]))
        if means[top] - means[0] > error:
            reach = float(np.clip(self._reaches[top - 1], _NEAREST, _FARTHEST))
            level = min(s.level + 1, len(_LEVELS) - 1)
            return replace(
                s, base=asked[top].copy(), base_score=means[top], reach=reach, level=level
            )
        reach = max(s.reach / 1.3, _NEAREST)
        level = max(s.level - 1, 0)
        return replace(s, base=base, base_score=means[0], reach=reach, level=level)
