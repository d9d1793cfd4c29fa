"""One group of paired runs of one unit, generation by generation, rendered as one batch.

Knows stages, contestants and noise. Knows nothing of files, other units or statistics. What a
run finds does not depend on which others are in its group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.optimizers.named import own_failures
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.outcomes import CODES, MEASURES, Curve, RunOutcome, Spec
from benchmarks.optimizers.worlds import Stage, World, at_norm
from evolver import seeds
from evolver.checks import check_codes
from evolver.errors import DataError
from evolver.lab_code import error_text

if TYPE_CHECKING:
    from benchmarks.optimizers.contestants import AskAndTell, Contestant
    from evolver.types import Codes, Matrix, Vector


LEADERS, REPEATS = 10, 10
"""When a run ends, so many codes with the highest noisy scores are shown so many times more."""
RUNS_TOGETHER = 48
"""Runs in a group, but that what is paired is not divided: an interrupted one begins anew."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one world and unit, to be played together."""

    specs: tuple[Spec, ...]
    contestants: tuple[Contestant, ...]  # one a spec
    device: str


@lru_cache(maxsize=8)
def _stage(world: World, unit: str, device: str) -> Stage:
    return Stage(world, unit, device=device)


def stage_of(spec: Spec, device: str) -> Stage:
    """Return what a run's codes are scored by; kept for the next run."""
    return _stage(World(spec.world, spec.generator, spec.norm), spec.unit, device)


def play(group: Group) -> list[RunOutcome]:
    """Play a group's runs to their end; one outcome a spec, in their order."""
    stage = stage_of(group.specs[0], group.device)
    runs = [
        _Run(spec, contestant, stage)
        for spec, contestant in zip(group.specs, group.contestants, strict=True)
    ]
    while due := [run for run in runs if run.due]:
        asked = [run.ask() for run in due]
        _score(runs, due, asked, lambda codes: stage.clean(codes)[None])
        for run in due:
            run.tell()
    _score(runs, runs, [run.finals for run in runs], partial(_in_forms, stage=stage))
    return [run.outcome() for run in runs]


def _in_forms(codes: Codes, *, stage: Stage) -> Matrix:
    """Score codes, (n, d), in each of `FORMS`: (forms, n)."""
    forms = (codes, at_norm(codes, stage.world.norm), stage.at_contrast(codes))
    return np.stack([stage.clean(form) for form in forms])


def _score(
    runs: Sequence[_Run],
    due: Sequence[_Run],
    codes: Sequence[Codes],
    scored: Callable[[Codes], Matrix],
) -> None:
    """Score the codes of those that are due, in one batch; each has its scores, (forms, n).

    Whose codes cannot be drawn or scored fails alone; the others' scores are those that they
    have in any company. Where nobody of the group is left, it is raised: it may be the
    generator or the unit that cannot.
    """
    with np.errstate(all="ignore"):  # what is too large to be drawn is said by who draws it
        try:
            scores = scored(np.concatenate(codes))
            if scores.shape[1] != sum(map(len, codes)):
                raise DataError("a unit must answer every image once")
        except Exception:
            for run, own in zip(due, codes, strict=True):
                try:
                    run.scores = scored(own)
                except Exception as error:  # noqa: BLE001  said of whose codes they were
                    run.fail("drawing and scoring", error)
            if all(run.failed for run in runs):
                raise
            return
    ends = np.cumsum([len(own) for own in codes])[:-1]
    for run, own in zip(due, np.split(scores, ends, axis=1), strict=True):
        run.scores = own


@dataclass(slots=True)
class _Run:
    """One optimizer, its noise, and what came of it."""

    spec: Spec
    contestant: Contestant
    stage: Stage
    curve: Curve = field(default_factory=Curve)
    failed: str = ""
    left: int = 0  # codes still to be scored
    scores: Matrix = field(default_factory=lambda: np.zeros((1, 0)))  # clean, of what it asked
    best_code: Vector = field(default_factory=lambda: np.zeros(0))
    mean_code: Vector = field(default_factory=lambda: np.zeros(0))
    leaders: list[tuple[float, float, Vector]] = field(
        default_factory=list[tuple[float, float, "Vector"]]
    )  # noisy score, clean score and code of those with the highest noisy scores, best first
    _optimizer: AskAndTell | None = None
    _codes: Codes = field(default_factory=lambda: np.zeros((0, 0)))
    _generation: set[bytes] = field(default_factory=set[bytes])  # its codes
    _whole: bool = True  # whether all codes of this generation are within the budget
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        spec, d = self.spec, self.stage.d
        self.left = spec.generations * spec.popsize
        self.best_code = self.mean_code = np.zeros(d)
        names = (spec.world, spec.unit)
        # The same numbers for all: two settings of one optimizer differ by the settings only.
        rng = seeds.stream(spec.seed, "optimizer", *names)
        with own_failures(partial(self.fail, "being made")):  # anybody's code: it fails alone
            self._optimizer = self.contestant.make(
                d,
                rng=rng,
                popsize=spec.popsize,
                initial=self.stage.start(spec.seed) if spec.start == "drawn" else None,
                norm=spec.norm,
                generations=spec.generations,
                axes=self.stage.axes(named) if (named := self.contestant.axes) else None,
            )

    @property
    def due(self) -> bool:
        """Whether there is a generation to come."""
        return not self.failed and self.left > 0

    def ask(self) -> Codes:
        """Return what is to be scored: a generation's codes and their mean; none on failure."""
        codes = np.zeros((0, self.stage.d))
        with own_failures(partial(self.fail, "ask()")):
            start = process_time()
            asked = self._optimizer.ask() if self._optimizer is not None else codes
            self._seconds = process_time() - start
            codes = _as_codes(asked, d=self.stage.d)
        if self.failed:
            return np.zeros((0, self.stage.d))
        self._whole = len(codes) <= self.left
        # A copy: the optimizer may go on with its array.
        self._codes = codes[: self.left].copy()
        rows = {row.tobytes() for row in self._codes}
        if not rows <= self._generation:  # else codes of this generation are shown again
            self._generation = rows
            self.mean_code = self._codes.mean(axis=0)
        asked = np.concatenate([self._codes, self.mean_code[None]])
        return at_norm(asked, self.spec.norm) if self.spec.at_norm else asked

    def tell(self) -> None:
        """Take the clean scores of what `ask` returned."""
        if self.failed:
            return
        clean = self.scores[0]
        if (strange := np.flatnonzero(~np.isfinite(clean))).size:
            first = np.concatenate([self._codes, self.mean_code[None]])[strange[0]]
            error = DataError(
                f"they must be finite; the unit gave {clean[strange[0]]} to the image of a "
                f"code whose largest number is {np.abs(first).max():.3g}"
            )
            self.fail("clean scores", error)
            return
        scores, n = clean[:-1], len(self._codes)
        spec, curve = self.spec, self.curve
        generation = len(curve.best)
        top = int(np.argmax(scores))
        if not curve.best or scores[top] > curve.best[-1]:
            self.best_code = self._codes[top]
        self.left -= n
        draws = seeds.stream(spec.seed, "noise", spec.world, spec.unit, generation)
        noisy = Noise.parse(spec.noise).spoil(scores, draws.standard_normal(n))
        self._note_leaders(scores, noisy)
        if self._whole:
            with own_failures(partial(self.fail, "tell()")):
                start = process_time()
                if self._optimizer is not None:
                    self._optimizer.tell(self._codes.copy(), noisy)
                self._seconds += process_time() - start
        curve.evaluations.append(spec.generations * spec.popsize - self.left)
        curve.best.append(max([float(scores[top]), *curve.best[-1:]]))
        curve.generation_best.append(float(scores[top]))
        curve.generation_mean.append(float(scores.mean()))
        curve.mean_image.append(float(clean[-1]))
        with np.errstate(over="ignore"):
            curve.norm.append(float(np.linalg.norm(self._codes, axis=1).mean()))
            curve.mean_norm.append(float(np.linalg.norm(self.mean_code)))
        curve.seconds.append(self._seconds)

    def _note_leaders(self, clean: Vector, noisy: Vector) -> None:
        """Keep the codes with the highest noisy scores; of equal ones those that came first."""
        top = np.argsort(-noisy, kind="stable")[:LEADERS]
        own = [(float(noisy[i]), float(clean[i]), self._codes[i]) for i in top]
        ranked = sorted([*self.leaders, *own], key=lambda leader: -leader[0])
        self.leaders = ranked[:LEADERS]

    @property
    def finals(self) -> Codes:
        """The codes of `outcomes.CODES`, (4, d); zeros where there is none."""
        if self.failed or not self.leaders:
            return np.zeros((len(CODES), self.stage.d))
        pick = self.leaders[0][2]
        codes = np.stack([self.best_code, self.mean_code, pick, self._best_by_repeats()])
        return at_norm(codes, self.spec.norm) if self.spec.at_norm else codes

    def _best_by_repeats(self) -> Vector:
        """Show each leader some times more; return the one with the highest mean."""
        spec = self.spec
        clean = np.array([score for _, score, _ in self.leaders])
        draws = seeds.stream(spec.seed, "repeats", spec.world, spec.unit)
        noise = Noise.parse(spec.noise)
        shown = [
            noise.spoil(clean, draw[: len(clean)])
            for draw in draws.standard_normal((REPEATS, LEADERS))
        ]
        return self.leaders[int(np.argmax(np.mean(shown, axis=0)))][2]

    def outcome(self) -> RunOutcome:
        """Return what came of it, its scores being those of `finals`."""
        finals: dict[str, float] = {}
        with np.errstate(all="ignore"):
            norm = float(np.linalg.norm(self.best_code))
        if not self.failed:
            finals = dict(zip(MEASURES, self.scores.ravel().tolist(), strict=True))
            numbers = {**finals, "norm of the best code": norm}
            for name, number in numbers.items():
                if not np.isfinite(number):  # no file of results would hold it
                    self.fail("final scores", DataError(f"{name} must be finite; got {number}"))
                    break
        if self.failed:
            return RunOutcome(self.spec.key, self.spec, self.failed, self.curve, {})
        return RunOutcome(self.spec.key, self.spec, "", self.curve, finals, norm)

    def fail(self, where: str, error: BaseException) -> None:
        """Note what ended it, and where; what came first counts."""
        generation = len(self.curve.best)
        self.failed = self.failed or f"{where}, generation {generation}: {error_text(error)}"


def _as_codes(asked: object, *, d: int) -> Codes:
    """Return what an optimizer asked for as codes, (n, d).

    Raises
    ------
    ValueError
        It is none; complex numbers without an imaginary part are real ones.
    """
    codes = np.asarray(asked)
    if np.iscomplexobj(codes):
        if np.imag(codes).any():
            raise DataError("codes must be real numbers; these have imaginary parts")
        codes = np.real(codes)
    codes = codes.astype(np.float64, copy=False)
    check_codes(codes, d=d)
    if not len(codes):
        raise ValueError("ask() must return at least one code; it returned none")
    return codes


def groups(due: Sequence[tuple[Spec, Contestant]], device: str) -> list[Group]:
    """Put runs into groups: those of one unit advance together, in full passes.

    What is paired stays together, so that it is timed together; a group has as few runs as
    there are pairs, or up to `RUNS_TOGETHER`.
    """
    paired: dict[tuple[str, ...], list[tuple[Spec, Contestant]]] = {}
    for spec, contestant in due:
        key = (spec.world, spec.unit, str(spec.seed), spec.noise)
        paired.setdefault(key, []).append((spec, contestant))
    filled: dict[tuple[str, ...], list[list[tuple[Spec, Contestant]]]] = {}
    for (world, unit, *_), runs in paired.items():
        of_unit = filled.setdefault((world, unit), [[]])
        if of_unit[-1] and len(of_unit[-1]) + len(runs) > RUNS_TOGETHER:
            of_unit.append([])
        of_unit[-1] += runs
    return [
        Group(tuple(s for s, _ in runs), tuple(c for _, c in runs), device)
        for of_unit in filled.values()
        for runs in of_unit
    ]
