"""Optimizers that a user adds on the command line: read, and refused where they cannot be.

Knows contestants, and what session files say of axes. Knows no world.
"""

from __future__ import annotations

import inspect
import math
import shlex
import tomllib
from typing import TYPE_CHECKING, Any, cast

from benchmarks.optimizers.contestants import AXES, USUAL, Contestant, Value
from benchmarks.optimizers.named import refuse_twins
from evolver.config.axes_table import METRIC
from evolver.errors import ConfigError, EvolverError
from evolver.optimizers.gradient import is_ascent
from evolver.setup.search_axes import axes_table

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIVEN = ("d", "rng", "initial", "axes")  # what every optimizer gets: no option is called so


def parse_contestant(text: str) -> Contestant:
    """Read ``[LABEL=]TARGET [OPTION=VALUE ...]``, as a user adds an optimizer.

    Values are read as TOML (numbers, true, false, "text", [1.0, 2.0]); a bare word is text.
    Numbers are finite, as the record of a run can hold them.

    Raises
    ------
    ConfigError
        The text has another form.
    """
    try:
        words = shlex.split(text)
        if not words:
            raise ValueError("it names no optimizer")
        first, *rest = words
        label, _, target = first.rpartition("=")
        options: list[tuple[str, Value]] = []
        for part in rest:
            name, equals, value = part.partition("=")
            if not (name.removeprefix(AXES).isidentifier() and equals):
                raise ValueError(f"{part!r} is no OPTION=VALUE")
            if name in _GIVEN:
                raise ValueError(f"every optimizer is given its {name}; it is no option")
            options.append((name, _value(value)))
    except ValueError as error:
        raise ConfigError(
            "an optimizer is added as [LABEL=]TARGET [OPTION=VALUE ...], as "
            f"'mine=my_lab.search:Mine sigma=2.0'; got {text!r}: {error}"
        ) from error
    return Contestant(label or target.rpartition(":")[2], target, tuple(options), added=True)


def _value(text: str) -> Value:
    try:
        value: object = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    plain = bool | int | float if isinstance(value, list) else bool | int | float | str
    if not all(isinstance(item, plain) for item in items):
        raise ValueError(f"{text!r} must be a number, true, false, a text or a list of numbers")
    if not all(math.isfinite(item) for item in items if isinstance(item, float)):
        raise ValueError(f"{text!r} must be finite")
    return cast("Value", value)


def refuse_twin_labels(contestants: Sequence[Contestant]) -> None:
    """Raise `ConfigError` where two have one label."""
    refuse_twins(
        [contestant.label for contestant in contestants],
        "every optimizer needs a label of its own",
        "Give one as LABEL=TARGET",
    )


def check_added(contestant: Contestant) -> None:
    """Refuse one that the user named by hand and that can take part in no world.

    Raises
    ------
    ConfigError
        It cannot be imported, its axes are not as in a session file, it is one of the user's
        own and takes none, or it climbs a slope.
    """
    label = contestant.label
    try:
        kind = None if contestant.target == USUAL else contestant.factory()
        if contestant.axes:
            axes_table({"source": METRIC, **contestant.axes}, "axes")
    except EvolverError as error:
        raise ConfigError(f"{label}: {error}") from error
    if contestant.axes and ":" in contestant.target and not _takes(kind, "axes"):
        named = ", ".join(f"{AXES}{name}" for name in contestant.axes)
        raise ConfigError(
            f"{label}: {contestant.target} must have a parameter axes, as it is given {named}; "
            "it has none. Write it, or leave them out"
        )
    if is_ascent(kind):
        raise ConfigError(
            f"{label}: an optimizer must learn from scores here; {contestant.target} climbs a "
            "slope, and a unit's noisy scores have none"
        )


def _takes(factory: Any, name: str) -> bool:  # noqa: ANN401  whatever the user names
    """Whether a call takes an argument of this name; also where that cannot be known."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(
        p.kind is p.VAR_KEYWORD
        or (p.name == name and p.kind in {p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD})
        for p in parameters
    )
