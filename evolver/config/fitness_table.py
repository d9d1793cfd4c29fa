"""What a session file says of fitness: its keys, which kind uses which, what contradicts what.

Knows keys and values; knows nothing of responses. What becomes of them is in
`evolver/session/fitness.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, cast

from msgspec import Meta, Struct

Millis: TypeAlias = Annotated[float, Meta(ge=-10_000, le=10_000)]
Weight: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
WindowMs: TypeAlias = tuple[Millis, Millis]

FitnessKind: TypeAlias = Literal["rate", "late-early", "target", "contrast"]
FitnessDistance: TypeAlias = Literal["cosine", "correlation", "squared-error"]

BEST = "best"
"""As a target: each unit's own best so far."""
REFERENCE_PREFIX = "reference:"
"""What a target begins with that is one of the references."""

_USED: dict[FitnessKind, tuple[str, ...]] = {
    "rate": ("weights", "response_ms", "baseline_ms"),
    "late-early": ("weights", "late_ms", "early_ms"),
    "target": ("target", "distance", "response_ms", "baseline_ms"),
    "contrast": ("others", "others_weight", "others_by", "response_ms", "baseline_ms"),
}
_SPECIFIC = {name for used in _USED.values() for name in used}
_LEAST_UNITS = {"cosine": 2, "correlation": 3, "squared-error": 1}


class FitnessTable(Struct, frozen=True, forbid_unknown_fields=True):
    """From the units' responses to an image's score, which is better the larger it is."""

    units: Annotated[
        tuple[int | str, ...],
        Meta(min_length=1, description="index in the rig's unit table, or the unit's label"),
    ] = (0,)
    weights: Annotated[
        tuple[Weight, ...] | None,
        Meta(description="one a unit; without it the units are averaged"),
    ] = None
    kind: Annotated[
        FitnessKind,
        Meta(
            description="'rate': sum of weight * (response - baseline); 'late-early': the same "
            "of a late window less an early one; 'target': how near the units' responses "
            "together come to others; 'contrast': the units high while others stay low"
        ),
    ] = "rate"
    response_ms: Annotated[
        WindowMs, Meta(description="spikes counted for the response, from image onset")
    ] = (50.0, 200.0)
    baseline_ms: Annotated[
        WindowMs | None, Meta(description="rate subtracted from it; without it nothing is")
    ] = None
    late_ms: Annotated[WindowMs, Meta(description="'late-early': the window that counts")] = (
        150.0,
        250.0,
    )
    early_ms: Annotated[WindowMs, Meta(description="'late-early': whose rate is taken off")] = (
        50.0,
        100.0,
    )
    target: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="'target': a file of one number a unit (.npy, .npz, .csv); "
            "'reference:LABEL' or 'reference:INDEX', the mean response to that image so far; "
            "or 'best', each unit's best response so far",
        ),
    ] = None
    distance: Annotated[
        FitnessDistance,
        Meta(
            description="'target': 'cosine' or 'correlation' of the two, or minus the mean "
            "'squared-error'"
        ),
    ] = "cosine"
    others: Annotated[
        tuple[int | str, ...], Meta(description="'contrast': the units that are to stay low")
    ] = ()
    others_weight: Annotated[
        float,
        Meta(gt=0, le=1e6, description="'contrast': how much the others count against units"),
    ] = 1.0
    others_by: Annotated[
        Literal["mean", "max"],
        Meta(description="'contrast': the others' mean response, or that of the strongest"),
    ] = "mean"
    response_unit: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=24,
            pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]+$",
            title="1 to 24 letters that are printed",
            description="what the rig counts responses in, for axes and tables: spikes/s, or "
            "as a person answers, marks",
        ),
    ] = "spikes/s"
    normalise: Annotated[
        Literal["none", "references"],
        Meta(
            description="each unit's response as it is; or by its mean and standard deviation "
            "over the references shown so far (z)"
        ),
    ] = "none"
    reference_blocks: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="blocks of references shown before the first generation, where scores "
            "are made with responses to them",
        ),
    ] = 3
    minimise: Annotated[
        bool, Meta(description="turn the sign of the score: evolve what the kind says is low")
    ] = False
    missing: Annotated[
        Literal["reshow", "drop", "fail"],
        Meta(
            description=(
                "an aborted showing: 'reshow' it, 'drop' it (its image is scored by its other "
                "showings, or left out and the rest re-weighted), or 'fail'"
            )
        ),
    ] = "reshow"
    max_attempts: Annotated[
        int,
        Meta(ge=1, le=100, description="'reshow' gives up and drops after so many showings"),
    ] = 3

    @property
    def scored(self) -> tuple[int | str, ...]:
        """Every unit that a score is made of."""
        return (*self.units, *self.others) if self.kind == "contrast" else self.units

    @property
    def needs_references(self) -> bool:
        """Whether scores are made with the responses to references."""
        return self.normalise == "references" or self.reference is not None

    @property
    def reference(self) -> str | None:
        """Label or index of the reference that is the target; None where none is."""
        if self.kind != "target" or self.target is None:
            return None
        if not self.target.startswith(REFERENCE_PREFIX):
            return None
        return self.target.removeprefix(REFERENCE_PREFIX)

    @property
    def target_file(self) -> str | None:
        """The file that the target is in; None where it is in none."""
        if self.kind != "target" or self.target in {None, BEST} or self.reference is not None:
            return None
        return self.target

    @property
    def score_unit(self) -> str:
        """What scores are counted in, for axes and tables."""
        plain = "z" if self.normalise == "references" else self.response_unit
        unit = plain
        if self.kind == "target":
            square = "z²" if plain == "z" else f"({plain})²"
            unit = square if self.distance == "squared-error" else self.distance
        return f"{unit}, minimised" if self.minimise else unit

    def unused_keys(self) -> frozenset[str]:
        """Return the keys that say nothing here, because another kind needs them."""
        unused = _SPECIFIC - set(_USED[self.kind])
        return frozenset(unused if self.needs_references else {*unused, "reference_blocks"})

    def windows(self) -> dict[str, WindowMs]:
        """Return the windows that count, by their keys."""
        named = {
            "response_ms": self.response_ms,
            "baseline_ms": self.baseline_ms,
            "late_ms": self.late_ms,
            "early_ms": self.early_ms,
        }
        unused = self.unused_keys()
        return {k: w for k, w in named.items() if w is not None and k not in unused}


def unused_given(raw: object, fitness: FitnessTable, key: str) -> list[str]:
    """Return what is wrong with keys that a session file gives and its kind does not use.

    Parameters
    ----------
    raw : the table as the file has it
    fitness : the values in it
    key : its place in the file
    """
    if not isinstance(raw, Mapping):
        return []
    given = cast("Mapping[str, object]", raw)
    problems: list[str] = []
    for name in [n for n in given if n in fitness.unused_keys()]:
        if name == "reference_blocks":
            problems.append(
                f"{key}.{name}: must be left out where scores need no references; it goes with "
                f"normalise = 'references' or target = '{REFERENCE_PREFIX}...'"
            )
            continue
        kinds = " or ".join(f"'{kind}'" for kind, used in _USED.items() if name in used)
        problems.append(
            f"{key}.{name}: must be left out with kind = {fitness.kind!r}, which does not use "
            f"it; kind = {kinds} does"
        )
    return problems


def fitness_contradictions(
    fitness: FitnessTable, window: WindowMs, key: str, *, references: int
) -> list[str]:
    """Return what no single key of a fitness shows to be wrong.

    Parameters
    ----------
    fitness, key : the table, and its place in the session file
    window : rig.window_ms
    references : images a block
    """
    problems = [
        *_weights_problems(fitness, key),
        *_window_problems(fitness, window, key),
        *_unit_problems(fitness, key),
    ]
    if fitness.kind == "target":
        problems += _target_problems(fitness, key)
    if fitness.needs_references and not references:
        name = "normalise" if fitness.normalise == "references" else "target"
        problems.append(
            f"{key}.{name}: must not need references where references.count is 0; found "
            f"{getattr(fitness, name)!r}"
        )
    return problems


def _weights_problems(fitness: FitnessTable, key: str) -> list[str]:
    problems: list[str] = []
    if fitness.weights is not None:
        if len(fitness.weights) != len(fitness.units):
            problems.append(
                f"{key}.weights: must have one number a unit, {len(fitness.units)}; "
                f"found {len(fitness.weights)}"
            )
        if not any(fitness.weights):
            problems.append(f"{key}.weights: must not all be 0; found {list(fitness.weights)}")
    return problems


def _window_problems(fitness: FitnessTable, window: WindowMs, key: str) -> list[str]:
    problems: list[str] = []
    for name, value in fitness.windows().items():
        if not value[0] < value[1]:
            problems.append(f"{key}.{name}: must start before it ends; found {list(value)}")
        elif not (window[0] <= value[0] and value[1] <= window[1]):
            problems.append(
                f"{key}.{name}: must lie inside rig.window_ms, {list(window)}, the spikes that "
                f"are recorded; found {list(value)}"
            )
    return problems


def _unit_problems(fitness: FitnessTable, key: str) -> list[str]:
    problems: list[str] = []
    named = {"units": fitness.units}
    if fitness.kind == "contrast":
        named["others"] = fitness.others
        if not fitness.others:
            problems.append(
                f"{key}.others: is missing; kind = 'contrast' needs the units that are to stay "
                "low, a list of at least 1"
            )
        if both := [unit for unit in fitness.others if unit in fitness.units]:
            problems.append(f"{key}.others: must be other units than units; found {both}")
    for name, units in named.items():
        if len(set(units)) != len(units):
            problems.append(f"{key}.{name}: must name each unit once; found {list(units)}")
        problems.extend(
            f"{key}.{name}: an index must be at least 0; found {unit}"
            for unit in units
            if isinstance(unit, int) and unit < 0
        )
    return problems


def _target_problems(fitness: FitnessTable, key: str) -> list[str]:
    problems: list[str] = []
    if fitness.target is None:
        problems.append(
            f"{key}.target: is missing; kind = 'target' needs a file of one number a unit, "
            f"'{REFERENCE_PREFIX}LABEL', '{REFERENCE_PREFIX}INDEX' or '{BEST}'"
        )
    least = _LEAST_UNITS[fitness.distance]
    if len(fitness.units) < least:
        problems.append(
            f"{key}.distance: {fitness.distance!r} must have at least {least} units; found "
            f"{len(fitness.units)}. 'squared-error' does with one"
        )
    return problems
