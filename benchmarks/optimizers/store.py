"""Results on disk: one line of JSON a finished run, appended whole or not at all.

Knows a file of lines. Knows nothing of how runs are made. A run is found by a digest of all its
numbers depend on, so a plan takes from the file the runs it asks for, whoever asked first: an
optimizer added later costs only its own runs.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from evolver.errors import RecordingError

FORMAT = 1
"""Of the line; part of every key, so that older lines are not read as newer ones."""


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
    best_matched: float = 0.0  # clean score of the best code, rescaled to the common norm
    mean_matched: float = 0.0  # of the last mean code, rescaled
    best_norm: float = 0.0  # of the best code, latent units; these three are 0 where it failed

    @property
    def best(self) -> float:
        """Clean score of the best image."""
        return self.curve.best[-1]

    @property
    def mean_image(self) -> float:
        """Clean score of the final mean image."""
        return self.curve.mean_image[-1]


class Store:
    """The file of one output folder; one process writes it at a time.

    Parameters
    ----------
    path : made where it is missing. A line that was cut short by a kill is taken away

    Raises
    ------
    RecordingError
        A line in the middle cannot be read: the file is not one of ours, or was edited.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.outcomes: dict[str, RunOutcome] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        decoder = msgspec.json.Decoder(RunOutcome)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                outcome = decoder.decode(line)
            except msgspec.DecodeError as error:
                raise RecordingError(
                    f"every line of {path} must be a run; line {number} is not: {error}. "
                    "Name another folder with --out, or take the line away"
                ) from error
            self.outcomes[outcome.key] = outcome

    def append(self, outcomes: list[RunOutcome]) -> None:
        """Add finished runs; on the disk when this returns."""
        lines = b"".join(msgspec.json.encode(outcome) + b"\n" for outcome in outcomes)
        with self._path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self.outcomes.update((outcome.key, outcome) for outcome in outcomes)
