"""From responses to one score an image: declarative, and pure.

Knows what a session file says of fitness, and the arrays a rig answers with. Knows nothing of
optimizers, images, files or clocks. Each showing's response is a number for every unit; its
score is made of those by the fitness's kind, and averaged over the image's valid showings;
larger is better. What a kind needs of earlier responses is handed in (`FitnessState`): all
images of a generation are scored with the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evolver.config.fitness_table import FitnessDistance, FitnessKind, FitnessTable
from evolver.config.mistakes import Mistakes
from evolver.errors import ConfigError, DataError
from evolver.responses import TimeWindow, rates_in_window
from evolver.session.fitness_state import FitnessState
from evolver.types import Scores, Vector
from rig_bridge.forms import FORMS, Form

LARGEST_SCORE = 1e100
"""So that means, and squares of differences, are numbers."""
LARGEST_RESPONSE = 1e40
"""Where responses are squared, or divided by their spread: no score is beyond the largest."""
_REFERENCE = -1  # thread number of a reference image
_LEAST_NORM = 2  # showings that have a spread
_CONSTANT = 1e-12  # of a vector's length: what is left of one whose numbers are all the same


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What responses are compared with.

    Attributes
    ----------
    values : (k,) of a file, in the units of a response; empty where the session makes them
    reference : the row of the reference image that it is; None: of none
    sha256 : of the file; empty without one
    """

    values: Vector
    reference: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fitness:
    """A session file's fitness, its units found in the rig's table."""

    units: NDArray[np.intp]  # (k,) rows of the rig's unit table
    weights: Vector  # (k,)
    n_units: int  # rows of that table
    window_ms: TimeWindow  # whose rate counts
    less_ms: TimeWindow | None  # whose rate is taken off
    missing: Literal["reshow", "drop", "fail"]
    max_attempts: int
    kind: FitnessKind = "rate"
    others: NDArray[np.intp]  # (m,) rows that are to stay low
    others_weight: float = 1.0
    others_by: Literal["mean", "max"] = "mean"
    distance: FitnessDistance = "cosine"
    target: Target | None = None
    normalised: bool = False  # by the references so far
    reference_blocks: int = 0  # shown before the first generation
    sign: float = 1.0
    unit: str = "spikes/s"

    @classmethod
    def resolve(
        cls,
        table: FitnessTable,
        labels: Sequence[str],
        *,
        key: str,
        target: Target | None = None,
    ) -> Fitness:
        """Return the fitness of `table` for a rig whose units are called `labels`.

        Parameters
        ----------
        table : what the session file says
        labels : one a unit, in the order of the rig's table
        key : the table's place in the session file, for messages, as "threads[1].fitness"
        target : of a file, or the references' row, where the table names such

        Raises
        ------
        ConfigError
            A unit is not in the rig's table; the message says what is.
        """
        units = _rows(table.units, labels, f"{key}.units")
        is_contrast = table.kind == "contrast"
        others = _rows(table.others, labels, f"{key}.others") if is_contrast else []
        if both := set(units) & set(others):
            raise ConfigError(
                f"{key}.others: must be other units than units; both name the rows "
                f"{sorted(both)} of the rig's unit table"
            )
        k = len(units)
        weights = [1.0 / k] * k if table.weights is None else list(table.weights)
        late = table.kind == "late-early"
        if table.kind == "target" and target is None:
            target = Target(np.zeros(0))
        return cls(
            units=np.array(units, dtype=np.intp),
            weights=np.array(weights, dtype=np.float64),
            n_units=len(labels),
            window_ms=table.late_ms if late else table.response_ms,
            less_ms=table.early_ms if late else table.baseline_ms,
            missing=table.missing,
            max_attempts=table.max_attempts,
            kind=table.kind,
            others=np.array(others, dtype=np.intp),
            others_weight=table.others_weight,
            others_by=table.others_by,
            distance=table.distance,
            target=target if table.kind == "target" else None,
            normalised=table.normalise == "references",
            reference_blocks=table.reference_blocks if table.needs_references else 0,
            sign=-1.0 if table.minimise else 1.0,
            unit=table.score_unit,
        )

    # ------------------------------------------------------------------ what it is

    @property
    def forms(self) -> tuple[Form, ...]:
        """Of response, that it can score: rates have no time to tell late from early."""
        return tuple(form for form in FORMS if self._scores_form(form))

    def _scores_form(self, form: str) -> bool:
        return form in FORMS and (form != "rates" or self.kind != "late-early")

    @property
    def learns(self) -> bool:
        """Whether scores are made with earlier responses."""
        return self.normalised or (self.target is not None and not len(self.target.values))

    @property
    def looks_at_all(self) -> bool:
        """Whether it learns from every thread's images, and not from the references alone."""
        return self.learns and self.target is not None and self._is_best(self.target)

    @staticmethod
    def _is_best(target: Target) -> bool:
        return not len(target.values) and target.reference is None

    def check_forms(self, forms: Sequence[Form], key: str) -> None:
        """Raise `ConfigError` unless a rig that answers in `forms` can be scored."""
        if set(forms).isdisjoint(self.forms):
            raise ConfigError(
                f"{key}.kind: {self.kind!r} must have responses as "
                f"{' or '.join(self.forms)}; the rig sends {', '.join(forms)}, which have no "
                "time in them. Use another kind, or a rig that sends spikes"
            )

    def description(self) -> str:
        """Say in words how a score is made."""
        k = len(self.units)
        units = "1 unit" if k == 1 else f"{k} units"
        window = _window(self.window_ms)
        less = "" if self.less_ms is None else f" less that of {_window(self.less_ms)}"
        match self.kind:
            case "rate" | "late-early":
                text = f"rate of {units} in {window}{less}"
            case "contrast":
                m = len(self.others)
                text = (
                    f"mean rate of {units} in {window}{less}, minus {self.others_weight:g} "
                    f"times the {self.others_by} of {m} other{'s' if m != 1 else ''}"
                )
            case "target":
                text = (
                    f"{self.distance} of {units} in {window}{less} with {self._target_text()}"
                )
        if self.normalised:
            text += ", each unit by its mean and sd over the references so far"
        return f"{text}; in {self.unit}"

    def _target_text(self) -> str:
        if self.target is None or self._is_best(self.target):
            return "each unit's best response so far"
        if self.target.reference is not None:
            return f"the mean response so far to reference {self.target.reference}"
        return f"the target of a file, sha256 {self.target.sha256[:12]}…"

    # ------------------------------------------------------------------ a showing

    def response(self, form: Form, arrays: Mapping[str, NDArray[Any]]) -> Vector:
        """Return the units' responses in one showing, (k + m,) spikes/s: units, then others.

        Parameters
        ----------
        form, arrays : as `rig_bridge.forms.FORMS` lists them. Rates have no time in them:
            the windows have no effect, and nothing is subtracted

        Raises
        ------
        DataError
            The arrays are not a response of the rig's units, do not have these windows, or are
            too large to be learnt from.
        """
        if not self._scores_form(form):
            raise DataError(
                f"{self.kind!r} must have responses as {' or '.join(self.forms)}, which have "
                f"time in them; got {form}"
            )
        rates = rates_in_window(form, arrays, self.n_units, self.window_ms)
        if self.less_ms is not None and form != "rates":
            rates = rates - rates_in_window(form, arrays, self.n_units, self.less_ms)
        if self.kind == "rate" and not self.learns:
            return rates[self.units]
        values = rates[np.concatenate([self.units, self.others])]
        if not (np.abs(values) <= LARGEST_RESPONSE).all():
            raise DataError(
                f"a response that is compared must be at most {LARGEST_RESPONSE:g} spikes/s; "
                f"got up to {np.abs(values).max():g}"
            )
        return values

    def score(
        self,
        form: Form,
        arrays: Mapping[str, NDArray[Any]],
        state: FitnessState | None = None,
    ) -> float:
        """Return the score of one showing, in `unit`.

        Parameters
        ----------
        form, arrays : as `response` takes them
        state : what was learnt from the session, where it `learns`

        Raises
        ------
        DataError
            As `response`; or they give no number that could be learnt from.
        """
        return self.score_of(self.response(form, arrays), state)

    def score_of(self, values: Vector, state: FitnessState | None = None) -> float:
        """Return the score of what `response` returned."""
        k = len(self.units)
        target = self._target_values(state)
        if self.normalised and state is not None:
            sd = state.sd(self._one_spike)
            target = (target - state.mean[:k]) / sd[:k] if len(target) else target
            values = (values - state.mean) / sd
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind == "target":
                score = _nearness(values, target, self.distance)
            elif self.kind == "contrast":
                others = values[k:].mean() if self.others_by == "mean" else values[k:].max()
                score = float(values[:k].mean() - self.others_weight * others)
            else:
                score = float(values @ self.weights)
        if not abs(score) <= LARGEST_SCORE:
            largest = float(np.abs(values).max())
            raise DataError(
                f"a score must be finite and at most {LARGEST_SCORE:g} in size; got {score:g} "
                f"(rates of the scored units up to {largest:g})"
            )
        return self.sign * score

    def _target_values(self, state: FitnessState | None) -> Vector:
        """Return the target's values: the file's, or what the session has made of it."""
        if self.target is None:
            return np.zeros(0)
        if len(self.target.values) or state is None:
            return self.target.values
        return state.target

    def fault(self, form: Form, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Return why a showing cannot be scored, whatever is learnt; empty where it can."""
        try:
            values = self.response(form, arrays)
            if not self.learns:
                self.score_of(values)
        except DataError as exc:
            return str(exc)
        return ""

    def level_of(self, values: Vector) -> float:
        """Return the weighted response itself, spikes/s, in which a recording's drift shows."""
        return float(values[: len(self.units)] @ self.weights)

    @property
    def _one_spike(self) -> float:
        """What one spike in one showing adds to a rate, spikes/s."""
        windows = [self.window_ms] if self.less_ms is None else [self.window_ms, self.less_ms]
        return 1000 / min(end - start for start, end in windows)

    # ------------------------------------------------------------------ what is learnt

    def follow(
        self, state: FitnessState, shown: Sequence[tuple[int, int, Vector]]
    ) -> FitnessState:
        """Return what is known after one more committed block.

        Parameters
        ----------
        state : what was known before
        shown : (thread, row, response) of the block's valid showings, in the order in which
            they were asked for; thread -1 is a reference, and row its number
        """
        state = replace(state, blocks=state.blocks + 1)
        if self.normalised:
            state = state.with_norm([v for thread, _, v in shown if thread == _REFERENCE])
        if self.target is None or len(self.target.values):
            return state
        k, image = len(self.units), self.target.reference
        if image is not None:
            wanted = (_REFERENCE, image)
            return state.with_image([v[:k] for *at, v in shown if tuple(at) == wanted])
        images: dict[tuple[int, int], list[Vector]] = {}
        for thread, row, values in shown:
            images.setdefault((thread, row), []).append(values[:k])
        return state.with_best([np.stack(rows).mean(axis=0) for rows in images.values()])

    def is_ready(self, state: FitnessState) -> bool:
        """Return whether enough is known to score a generation."""
        if self.normalised and state.showings < _LEAST_NORM:
            return False
        made_here = self.target is not None and not len(self.target.values)
        return not made_here or state.target_showings > 0

    def needs_text(self, state: FitnessState) -> str:
        """Say what scores are made with, from now on."""
        parts: list[str] = []
        if self.normalised:
            parts.append(
                f"units are normalised by the references, {state.showings} showings so far"
            )
        if self.target is not None and not len(self.target.values):
            n = state.target_showings
            what = "images" if self._is_best(self.target) else "showings"
            parts.append(f"the target is {self._target_text()}, {n} {what}")
        return "; ".join(parts)


def _nearness(values: Vector, target: Vector, distance: FitnessDistance) -> float:
    """Return how near a response is to a target; 0 where a direction is not defined."""
    if distance == "squared-error":
        return -float(((values - target) ** 2).mean())
    if distance == "correlation":
        values, target = _centred(values), _centred(target)
    lengths = np.sqrt((values * values).sum()) * np.sqrt((target * target).sum())
    if lengths == 0:
        return 0.0
    return float(np.clip((values * target).sum() / lengths, -1.0, 1.0))


def _centred(values: Vector) -> Vector:
    """Return a vector less its mean; zeros where all its numbers are the same."""
    centred = values - values.mean()
    constant = np.abs(centred).max() <= _CONSTANT * np.abs(values).max()
    return np.zeros_like(values) if constant else centred


def _rows(units: Sequence[int | str], labels: Sequence[str], key: str) -> list[int]:
    """Return the rows of a rig's unit table that a session file means, each once."""
    mistakes = Mistakes()
    rows: list[int] = []
    for i, unit in enumerate(units):
        with mistakes.at(f"{key}[{i}]"):
            rows.append(_row(unit, labels))
    mistakes.raise_any("the session file")
    if len(set(rows)) != len(rows):
        raise ConfigError(
            f"{key}: must name each unit once; found {list(units)}, which are "
            f"the rows {rows} of the rig's unit table"
        )
    return rows


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
        if len(showings) == 1:
            mean[i] = showings[0]
        elif len(showings) > 1:
            mean[i] = np.mean(showings)
            sem[i] = np.std(showings, ddof=1) / np.sqrt(len(showings))
    return mean, sem


def _short(labels: Sequence[str]) -> str:
    first = ", ".join(repr(label) for label in labels[:8])
    return first if len(labels) <= 8 else f"{first} and {len(labels) - 8} more"


def _window(window_ms: TimeWindow) -> str:
    return f"{window_ms[0]:g} to {window_ms[1]:g} ms"
