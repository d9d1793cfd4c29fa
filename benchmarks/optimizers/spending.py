"""Presentations spent on codes that were shown before: policies, put to the test.

Under noise an image shown once has a score that is luck in part. A policy shows some codes of a
generation again, before the optimizer learns from it: each code then has the mean of its
scores. All is paid for in images, of which every contestant sees the same number, so that a
policy that shows a quarter again has a fifth fewer generations.

Knows optimizers by name and scores. Knows nothing of noise, units or images. Entered as::

    --add "leaders=benchmarks.optimizers.spending:Spending optimizer=snes sigma=3.0
           policy=leaders"
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from evolver.errors import ConfigError
from evolver.optimizers import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.types import Codes, Scores, Vector


class Policy(Protocol):
    """Which codes of a generation are shown again."""

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return rows to be shown once more; none when the optimizer is to be told.

        Parameters
        ----------
        shown : of each code of the generation the scores it has so far, at least one
        """
        ...


@dataclass(frozen=True, slots=True)
class Once:
    """Nothing is shown again."""

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return no row."""
        del shown
        return []


@dataclass(frozen=True, slots=True)
class Leaders:
    """A generation's leaders are shown again, each so many times."""

    share: float = 0.25
    times: int = 1

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return the leaders, if they were not shown again yet."""
        if sum(map(len, shown)) > len(shown):
            return []
        top = max(1, round(self.share * len(shown)))
        return [row for row in _best_first(shown)[:top] for _ in range(self.times)]


@dataclass(frozen=True, slots=True)
class Racing:
    """Successive halving: the better half again, of those the better half again, and so on."""

    rounds: int = 2

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return the better half of those that were shown most often."""
        most = max(map(len, shown))
        if most > self.rounds:
            return []
        running = [row for row in _best_first(shown) if len(shown[row]) == most]
        return running[: max(1, len(running) // 2)]


@dataclass(frozen=True, slots=True)
class First:
    """The first row, where RankSphere shows its base, is shown again."""

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return the first row, once."""
        return [0] if len(shown[0]) == 1 else []


@dataclass(slots=True)
class Growing:
    """All codes are shown as often as makes their ranks reliable.

    Of every generation the first few codes (any optimizer's are in no order) are shown twice at
    least; rho is the correlation of their first and second scores, within generations, over all
    of them with a half-life of some generations. By Spearman and Brown's formula the mean of r
    showings has the reliability r rho / (1 + (r - 1) rho): r is the least that reaches
    `reliable`, at most `most`.
    """

    reliable: float = 0.4
    most: int = 4
    pairs: int = 6
    half_life: float = 4.0
    repeats: int = field(default=1, init=False)
    _products: float = field(default=0.0, init=False)
    _squares: float = field(default=0.0, init=False)

    def again(self, shown: Sequence[Sequence[float]]) -> list[int]:
        """Return codes that lack showings; at a generation's end, think again how many."""
        missing: list[int] = []
        for row, scores in enumerate(shown):
            wanted = max(self.repeats, 2 if row < self.pairs else 1)
            missing += [row] * max(0, wanted - len(scores))
        if not missing:
            self._learn(shown)
        return missing

    def _learn(self, shown: Sequence[Sequence[float]]) -> None:
        pairs = np.array([scores[:2] for scores in shown if len(scores) > 1])
        off = pairs - pairs.mean(axis=0)
        fade = 0.5 ** (1 / self.half_life)
        self._products = fade * self._products + float((off[:, 0] * off[:, 1]).sum())
        self._squares = fade * self._squares + float((off * off).sum()) / 2
        rho = max(self._products / self._squares if self._squares > 0 else 1.0, 1e-3)
        least = self.reliable * (1 - rho) / (rho * (1 - self.reliable))
        self.repeats = int(np.clip(np.ceil(least - 1e-9), 1, self.most))


_POLICIES: dict[str, type[Any]] = {
    "once": Once,
    "leaders": Leaders,
    "racing": Racing,
    "first": First,
    "growing": Growing,
}


class Spending:
    """An optimizer by name, told the means of what its codes scored.

    Parameters
    ----------
    d, rng, popsize, initial : as every optimizer takes them
    optimizer : the name of the one within
    policy : once, leaders, racing, first or growing
    times_popsize : the population within, in units of `popsize`
    **options : of the policy where it has such a field, else of the optimizer
    """

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int,
        initial: Vector | None = None,
        optimizer: str = "snes",
        policy: str = "once",
        times_popsize: float = 1.0,
        **options: Any,  # noqa: ANN401  the policy's and the optimizer's
    ) -> None:
        if policy not in _POLICIES:
            known = ", ".join(_POLICIES)
            raise ConfigError(f"policy must be one of {known}; got {policy!r}")
        kind = _POLICIES[policy]
        names = [f.name for f in fields(kind) if f.init and f.name in options]
        own = {name: options.pop(name) for name in names}
        self._policy: Policy = kind(**own)
        self._inner: Any = load(
            optimizer,
            d,
            rng=rng,
            popsize=round(times_popsize * popsize),
            initial=initial,
            **options,
        )
        self._codes: Codes = np.zeros((0, d))
        self._shown: list[list[float]] = []
        self._rows: list[int] = []

    def ask(self) -> Codes:
        """Return a new generation, or codes of it that are to be shown again."""
        if not self._rows:
            self._codes = self._inner.ask()
            self._shown = [[] for _ in self._codes]
            self._rows = list(range(len(self._codes)))
        return self._codes[self._rows]

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Note what was shown; when nothing is to be shown again, tell the one within."""
        del codes
        for row, score in zip(self._rows, scores.tolist(), strict=True):
            self._shown[row].append(score)
        self._rows = self._policy.again(self._shown)
        if not self._rows:
            self._inner.tell(self._codes, np.array([fmean(s) for s in self._shown]))


def _best_first(shown: Sequence[Sequence[float]]) -> list[int]:
    """Return rows by their mean score, equal ones in their order."""
    return sorted(range(len(shown)), key=lambda row: -fmean(shown[row]))
