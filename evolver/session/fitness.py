"""From responses to one score an image: declarative, and pure.

Knows what a session file says of fitness, and the arrays a rig answers with. Knows nothing of
optimizers, images, files or clocks. A score is the weighted sum over units of the response rate
less the baseline rate, averaged over the image's valid showings; larger is better.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evolver.config.mistakes import Mistakes
from evolver.config.tables import FitnessTable
from evolver.errors import ConfigError, DataError
from evolver.responses import rates_in_window
from evolver.types import Scores, Vector
from rig_bridge.forms import Form

LARGEST_SCORE = 1e100
"""So that means, and squares of differences, are numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitness:
    """A session file's fitness, its units found in the rig's table."""

    units: NDArray[np.intp]  # (k,) rows of the rig's unit table
    weights: Vector  # (k,)
    n_units: int  # rows of that table
    response_ms: tuple[float, float]
    baseline_ms: tuple[float, float] | None
    missing: Literal["reshow", "drop", "fail"]
    max_attempts: int

    @classmethod
    def resolve(cls, table: FitnessTable, labels: Sequence[str], *, key: str) -> Fitness:
        """Return the fitness of `table` for a rig whose units are called `labels`.

        Parameters
        ----------
        table : what the session file says
        labels : one a unit, in the order of the rig's table
        key : the table's place in the session file, for messages, as "threads[1].fitness"

        Raises
        ------
        ConfigError
            A unit is not in the rig's table; the message says what is.
        """
        mistakes = Mistakes()
        units: list[int] = []
        for i, unit in enumerate(table.units):
            with mistakes.at(f"{key}.units[{i}]"):
                units.append(_row(unit, labels))
        mistakes.raise_any("the session file")
        if len(set(units)) != len(units):
            raise ConfigError(
                f"{key}.units: must name each unit once; found {list(table.units)}, which are "
                f"the rows {units} of the rig's unit table"
            )
        k = len(units)
        weights = [1.0 / k] * k if table.weights is None else list(table.weights)
        return cls(
            units=np.array(units, dtype=np.intp),
            weights=np.array(weights, dtype=np.float64),
            n_units=len(labels),
            response_ms=table.response_ms,
            baseline_ms=table.baseline_ms,
            missing=table.missing,
            max_attempts=table.max_attempts,
        )

    def score(self, form: Form, arrays: Mapping[str, NDArray[Any]]) -> float:
        """Return the score of one showing.

        Parameters
        ----------
        form, arrays : as `rig_bridge.forms.FORMS` lists them. Rates have no time in them:
            the windows have no effect, and nothing is subtracted

        Raises
        ------
        DataError
            The arrays are not a response of the rig's units, do not have these windows, or give
            no number that could be learnt from.
        """
        rates = rates_in_window(form, arrays, self.n_units, self.response_ms)
        if self.baseline_ms is not None and form != "rates":
            rates = rates - rates_in_window(form, arrays, self.n_units, self.baseline_ms)
        with np.errstate(over="ignore", invalid="ignore"):
            score = float(rates[self.units] @ self.weights)
        if not abs(score) <= LARGEST_SCORE:
            largest = float(np.abs(rates[self.units]).max())
            raise DataError(
                f"a score must be finite and at most {LARGEST_SCORE:g} in size; got {score:g} "
                f"(rates of the scored units up to {largest:g})"
            )
        return score


def _row(unit: int | str, labels: Sequence[str]) -> int:
    """Return the row of a rig's unit table that a session file means."""
    if isinstance(unit, int):
        if 0 <= unit < len(labels):
            return unit
        raise ConfigError(
            f"must be 0 to {len(labels) - 1}, a row of the rig's unit table; found {unit}. Its "
            f"labels are {_short(labels)}"
        )
    places = [i for i, label in enumerate(labels) if label == unit]
    if len(places) == 1:
        return places[0]
    near = difflib.get_close_matches(unit, labels, n=1, cutoff=0.8)
    hint = f" (did you mean {near[0]!r}?)" if near and not places else ""
    what = "several units" if places else "no unit"
    raise ConfigError(
        f"must name one of the rig's {len(labels)} units, by index or label; found {unit!r}, "
        f"which names {what}{hint}. Its labels are {_short(labels)}"
    )


def mean_and_sem(values: Sequence[Sequence[float]]) -> tuple[Scores, Scores]:
    """Return mean and standard error over each image's showings.

    Parameters
    ----------
    values : one sequence of scores an image; empty where no showing was valid

    Returns
    -------
    mean, sem : two ndarrays of float64, shape (n,). The mean is NaN for an image without a
        valid showing, and its sem for one with fewer than two
    """
    mean, sem = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for i, showings in enumerate(values):
        if len(showings) > 0:
            mean[i] = np.mean(showings)
        if len(showings) > 1:
            sem[i] = np.std(showings, ddof=1) / np.sqrt(len(showings))
    return mean, sem


def _short(labels: Sequence[str]) -> str:
    first = ", ".join(repr(label) for label in labels[:8])
    return first if len(labels) <= 8 else f"{first} and {len(labels) - 8} more"
