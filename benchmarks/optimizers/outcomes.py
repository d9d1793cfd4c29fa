"""What came of runs: as values, and as results of a campaign's tasks.

Knows results. Knows nothing of how runs are made, or of folders. A run is found by a digest of
all its numbers depend on, so a plan takes from a folder the runs it asks for, whoever asked
first: an optimizer added later costs only its own runs.
"""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from evolver.campaign.store import AnyResult, Facts
from evolver.errors import DataError

FORMAT = 2
"""Of a result; part of every key, so that older ones are not read as newer ones."""
CODES = ("best", "mean_image", "pick", "repeats")
"""Of every run: the best code by clean scores; the last generation's mean; the one whose noisy
score was highest; and of those with the highest noisy scores, the best by repeats of each."""
FORMS = ("", "_matched", "_contrast")
"""How a code is scored: as it is, at the common norm, and at the common image contrast."""
MEASURES = tuple(code + form for form in FORMS for code in CODES)
"""Names of a run's final scores."""


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run, and all that its numbers depend on."""

    world: str
    generator: str
    norm: float  # latent units
    unit: str
    networks: str  # digest of the generator's and the scorer's weights
    noise: str  # "0.2", "poisson-20"
    seed: int
    optimizer: str  # label
    target: str
    options: dict[str, bool | int | float | str | list[float]]
    code: str  # digest of the optimizer's code
    generations: int
    popsize: int
    start: str  # "drawn", "zeros"
    at_norm: bool  # whether all codes were rescaled to `norm` before they were rendered
    device: str  # "cpu", "cuda": their sums differ in the last bits

    @property
    def key(self) -> str:
        """Digest, 64 hexadecimal digits."""
        text = msgspec.json.encode((FORMAT, self), order="deterministic")
        return hashlib.sha256(text).hexdigest()


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number a generation of each."""

    evaluations: list[int] = msgspec.field(default_factory=list[int])  # codes scored so far
    best: list[float] = msgspec.field(
        default_factory=list[float]
    )  # largest clean score of all codes so far
    generation_best: list[float] = msgspec.field(
        default_factory=list[float]
    )  # of this generation's codes
    generation_mean: list[float] = msgspec.field(default_factory=list[float])
    mean_image: list[float] = msgspec.field(
        default_factory=list[float]
    )  # clean score of the generation's mean code
    norm: list[float] = msgspec.field(
        default_factory=list[float]
    )  # mean over the generation's codes, latent units
    mean_norm: list[float] = msgspec.field(default_factory=list[float])  # of its mean code
    seconds: list[float] = msgspec.field(
        default_factory=list[float]
    )  # CPU seconds of ask + tell


class RunOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished run."""

    key: str
    spec: Spec
    failed: str  # what the optimizer raised, and when; "" for nothing
    curve: Curve
    finals: dict[str, float]  # clean score of each of `MEASURES`; none where it failed
    best_norm: float = 0.0  # of the best code, latent units; 0 where it failed

    @property
    def best(self) -> float:
        """Clean score of the best image."""
        return self.curve.best[-1]


class RunFacts(Facts, frozen=True):
    """What a run's result says beside its curve."""

    spec: Spec
    failed: str
    finals: dict[str, float]
    best_norm: float


def as_result(outcome: RunOutcome) -> AnyResult[RunFacts]:
    """Return a run as a campaign keeps it: its curve is one array, a row each of `Curve`'s."""
    rows = [getattr(outcome.curve, name) for name in Curve.__struct_fields__]
    facts = RunFacts(
        outcome.key,
        outcome.spec,
        outcome.failed,
        outcome.finals,
        outcome.best_norm,
    )
    return AnyResult(facts, {"curve": np.array(rows, dtype=np.float64)})


def as_outcome(result: AnyResult[RunFacts]) -> RunOutcome:
    """Return a run of what a campaign kept, number for number.

    Raises
    ------
    DataError
        It is not all that is said of a run.
    """
    facts = result.meta
    kept = result.arrays.get("curve")
    names = Curve.__struct_fields__
    if kept is None or kept.ndim != 2 or len(kept) != len(names) or kept.dtype != np.float64:
        raise DataError(f"a run's curve must have {len(names)} rows of numbers")
    if not facts.failed and not (kept.shape[1] and facts.finals.keys() >= {*MEASURES}):
        raise DataError("a run that did not fail must have a generation, and its final scores")
    evaluations, *rows = kept.tolist()
    curve = Curve([int(n) for n in evaluations], *rows)
    return RunOutcome(
        facts.digest,
        facts.spec,
        facts.failed,
        curve,
        facts.finals,
        facts.best_norm,
    )
