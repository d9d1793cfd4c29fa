"""An arm beside a blind search, led by a model fitted to what was shown: put to the test.

The blind arm is an optimizer along axes, with its own population, base and steps, of which the
other arm changes nothing. The guided arm has a base of its own. In its turns the model
proposes candidates, uphill of the base within some distance; base and candidates are repeated
in one block, and the base moves to the best of them only where it wins by more than the
standard error of the difference: one noisy win moves nothing. How often the guided arm has its
turn, and how many candidates it shows, goes up with each win and down with each loss, from one
candidate every fourth generation (3 % of the images) to eight in every one. Where the blind
population's mean score passes the guided base's, the base begins anew at that population's
mean: it is never left behind.

The model is anything that predicts; here a Gaussian process of the codes along the axes with a
squared-exponential kernel, its width and noise by leave-one-out errors, and, as a model that
is wrong, the same one fitted to shuffled scores.

Knows optimizers by name, axes and scores. Knows nothing of noise, units or images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import pdist, squareform

from evolver.errors import ConfigError
from evolver.optimizers.within_axes import within_axes

if TYPE_CHECKING:
    from evolver.optimizers.within_axes import SearchAxes
    from evolver.types import Codes, Matrix, Scores, Vector

MODELS = ("gp", "shuffled")
_REMEMBERED = 500  # codes the model is fitted to, the latest
_LEAST = 60  # codes before it is asked
_WIDTHS, _NOISES = (0.5, 1.0, 2.0), (0.1, 1.0, 10.0)  # of the median distance; of the variance
_STEPS = 30  # uphill, to the end of a proposal
_LEVELS = ((4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8))  # generations a turn, candidates


@dataclass(frozen=True, slots=True, eq=False)
class GaussianProcess:
    """Predicts a score, up to a shift and a scale, from codes along axes."""

    codes: Matrix  # (m, k)
    weights: Vector  # (m,)
    width: float  # of the kernel, latent units

    @classmethod
    def fit(cls, codes: Matrix, scores: Vector) -> GaussianProcess:
        """Fit by the width and noise whose leave-one-out errors are smallest.

        Parameters
        ----------
        codes, scores : (m, k) and (m,), m > 2

        The errors are those of Rasmussen & Williams (2006), eq. 5.12.
        """
        y = (scores - scores.mean()) / max(scores.std(), 1e-12)
        pairs = np.asarray(pdist(codes, "sqeuclidean"), np.float64)
        squared = np.asarray(squareform(pairs), np.float64)
        usual = float(np.median(pairs)) ** 0.5
        identity = np.eye(len(y))
        fits: list[tuple[float, float, Vector]] = []
        for factor in _WIDTHS:
            kernel: Matrix = np.exp(-squared / (2 * (factor * usual) ** 2))
            for noise in _NOISES:
                precision = np.asarray(np.linalg.inv(kernel + noise * identity), np.float64)
                weights = precision @ y
                left_out = float(np.square(weights / np.diag(precision)).mean())
                fits.append((left_out, factor * usual, weights))
        _, width, weights = min(fits, key=lambda fit: fit[0])
        return cls(codes, weights, width)

    def slope(self, code: Vector) -> Vector:
        """Return how the prediction rises at a code, (k,)."""
        away = self.codes - code
        near = np.exp(-np.square(away).sum(axis=1) / (2 * self.width**2))
        return (self.weights * near) @ away / self.width**2

    def uphill(self, base: Vector, distance: float) -> Vector:
        """Return the end of a path uphill from `base`, so far away from it at most, (k,)."""
        code = base.copy()
        for _ in range(_STEPS):
            slope = self.slope(code)
            length = float(np.linalg.norm(slope))
            if length == 0:
                break
            code = code + slope * (2 * distance / _STEPS / length)
            off = code - base
            code = base + off * min(1.0, distance / max(float(np.linalg.norm(off)), 1e-12))
        return code


class Guided:
    """A blind search along axes, with a guided arm beside it.

    Parameters
    ----------
    d, rng, popsize, initial : as every optimizer takes them
    axes : along which both arms search
    optimizer : the blind arm's, by name
    model : gp or shuffled
    repeats : how often base and candidates are shown in a block
    **options : of the optimizer
    """

    def __init__(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int,
        axes: SearchAxes,
        initial: Vector | None = None,
        optimizer: str = "snes",
        model: str = "gp",
        repeats: int = 2,
        **options: Any,  # noqa: ANN401  the optimizer's own
    ) -> None:
        if model not in MODELS:
            raise ConfigError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
        self._model, self._repeats = model, repeats
        # Its own numbers: those of the blind arm are what they are without it.
        self._rng = rng.spawn(1)[0]
        self._blind = within_axes(
            optimizer, d, rng=rng, axes=axes, popsize=popsize, initial=initial, **options
        )
        self._axes = axes
        self._along: Codes = np.zeros((0, axes.k))  # all that was shown, the latest
        self._scores: Scores = np.zeros(0)
        self._origin = self._blind.state.origin  # which never changes
        self._base: Vector | None = None
        self._base_score = -np.inf
        self.level, self._reach, self._generation = 0, 0.5, 0
        self._population: Codes = np.zeros((0, d))
        self._trials: list[tuple[Vector, float]] = []  # candidates along axes, their reach

    def ask(self) -> Codes:
        """Return the blind arm's generation and, in its turns, what the guided arm shows."""
        self._population = self._blind.ask()
        along = (self._population - self._origin) @ self._axes.back
        every, n = _LEVELS[self.level]
        self._trials = []
        if len(self._scores) < _LEAST or self._generation % every:
            return self._population
        base = along.mean(axis=0) if self._base is None else self._base
        self._base = base
        spread = float(np.linalg.norm(along - along.mean(axis=0), axis=1).mean())
        model = self._fitted()
        reaches = self._reach * 2.0 ** (np.arange(n) - n // 2)
        self._trials = [(model.uphill(base, r * spread), float(r)) for r in reaches]
        block = np.stack([base, *(code for code, _ in self._trials)])
        shown = np.repeat(block, self._repeats, axis=0) @ self._axes.forth + self._origin
        return np.concatenate([self._population, shown])

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Tell the blind arm of its own codes, and judge the guided arm's."""
        n = len(self._population)
        self._remember(codes, scores)
        self._blind.tell(codes[:n], scores[:n])
        self._generation += 1
        if self._trials:
            self._judge(scores[n:].reshape(-1, self._repeats))
        if self._base is not None and scores[:n].mean() > self._base_score:
            blind = (codes[:n] - self._origin) @ self._axes.back
            self._base, self._base_score = blind.mean(axis=0), float(scores[:n].mean())

    def _judge(self, shown: Matrix) -> None:
        """Move the base to the best candidate where it wins; the arm's share follows."""
        means = shown.mean(axis=1)
        within = float(shown.var(axis=1, ddof=1).mean()) if self._repeats > 1 else 0.0
        error = (2 * within / self._repeats) ** 0.5
        top = 1 + int(np.argmax(means[1:]))
        self._base_score = float(means[0])
        if means[top] - means[0] > error:
            code, reach = self._trials[top - 1]
            self._base, self._base_score = code, float(means[top])
            self._reach = min(max(reach, 0.05), 4.0)
            self.level = min(self.level + 1, len(_LEVELS) - 1)
        else:
            self._reach = max(self._reach / 1.3, 0.05)
            self.level = max(self.level - 1, 0)

    def _remember(self, codes: Codes, scores: Scores) -> None:
        along = (codes - self._origin) @ self._axes.back
        self._along = np.concatenate([self._along, along])[-_REMEMBERED:]
        self._scores = np.concatenate([self._scores, scores])[-_REMEMBERED:]

    def _fitted(self) -> GaussianProcess:
        scores = self._scores
        if self._model == "shuffled":
            scores = self._rng.permutation(scores)
        return GaussianProcess.fit(self._along, scores)
