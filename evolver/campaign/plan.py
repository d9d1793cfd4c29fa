"""A campaign's file (TOML): which keys of a session file take which values, and the tasks.

Knows session files as plain values, and digests of weights as texts that are handed in. Runs
nothing, and touches no file but the two that it reads.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from evolver import seeds
from evolver.campaign.kind import SESSIONS
from evolver.config.mistakes import Mistakes
from evolver.config.tables import Config, Name, Seed, read_values, session_file_text
from evolver.config.validation import collect
from evolver.errors import ConfigError

FORMAT = 1
"""Of a result; part of every digest, so that older results are not taken for newer ones."""
MOST_TASKS = 1_000_000

Values: TypeAlias = dict[str, Any]
"""Dotted key of a session file to the value that a task gives it."""
_UNRELATED = ("name", "folder")
"""Keys of [session] that no number depends on."""
_LONGEST_LABEL = 100
_MOST_COMPARED = 2000  # values
_STEP = re.compile(r"[A-Za-z0-9_-]+")


class CampaignTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What this campaign is."""

    name: Name
    session: Annotated[
        str, Meta(pattern=r"^[^\x00-\x1f\x7f]+$", title="the path of a session file")
    ]
    """The session file whose keys are varied; relative to the campaign's file."""
    design: Literal["grid", "random"] = "grid"
    """Every combination of values; or so many combinations drawn by a seed."""
    tasks: Annotated[int, Meta(ge=1, le=MOST_TASKS)] | None = None
    """How many a random design draws, all different."""
    seed: Seed = 1
    """Of that draw."""


class VaryTable(Struct, frozen=True, forbid_unknown_fields=True):
    """One key, or several that change together, and the values."""

    key: str | None = None
    keys: tuple[str, ...] | None = None
    values: tuple[object, ...] | None = None
    range: tuple[int, int] | None = None
    """Whole numbers, both ends in it; in place of `values`."""
    labels: tuple[str, ...] | None = None
    """What the values are called in tables; without them, by themselves."""
    name: Name | None = None
    """The column of tables; without one, the key's last word."""


class CampaignFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole campaign's file."""

    campaign: CampaignTable
    vary: tuple[VaryTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Factor:
    """What a campaign varies: one column of its tables."""

    name: str
    keys: tuple[str, ...]
    levels: tuple[tuple[object, ...], ...]  # a value for each key
    labels: tuple[str, ...]  # one a level


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One simulated session of a campaign."""

    digest: str
    levels: dict[str, str]  # factor's name to its level's label
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A campaign, spelled out."""

    name: str
    base: dict[str, Any]  # the session file's values
    factors: tuple[Factor, ...]
    tasks: tuple[Task, ...]

    kind = SESSIONS

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what is varied, as tables call it."""
        return tuple(factor.name for factor in self.factors)

    def config(self, task: Task) -> Config:
        """Return a task's session file."""
        return _config(self.base, task.values)


def read_campaign(
    path: Path,
    *,
    weights: Callable[[Config], Mapping[str, str]],
    taken: Sequence[str] = (),
) -> Plan:
    """Read a campaign's file and the session file that it names.

    Parameters
    ----------
    path : of the campaign's file
    weights : the digests of all weights that a session's numbers come from, by what they are of
    taken : names that nothing varied may have, of tables' other columns

    Raises
    ------
    ConfigError
        naming every mistake in either file, or the first combination of values that no session
        can have
    """
    text = session_file_text(path, what="campaign's file")
    raw = _toml(text, path)
    if "session" in raw and "campaign" not in raw:
        raise ConfigError(
            f"{path} must be a campaign's file; it is a session file, which 'evolver simulate' "
            "runs, and which a campaign's file names"
        )
    problems: list[str] = []
    collect(raw, CampaignFile, "", problems)
    mistakes = Mistakes()
    for problem in problems:
        mistakes.add(problem.partition(": ")[0], problem)
    mistakes.raise_any(str(path))
    file = msgspec.convert(raw, CampaignFile)
    factors: list[Factor] = []
    for i, row in enumerate(file.vary):
        with mistakes.at(f"vary[{i}]"):
            factors.append(_factor(row))
    mistakes.raise_any(str(path))
    names = [factor.name for factor in factors]
    for name in names:
        if name in taken:
            raise ConfigError(
                f"{path}: a [[vary]] must not be called {name!r}, which is a column of every "
                "table; give it another name"
            )
        if names.count(name) > 1:
            raise ConfigError(
                f'{path}: two [[vary]] are called {name!r}; give one another name = "..."'
            )
    session = path.parent / Path(file.campaign.session).expanduser()
    base = _toml(session_file_text(session), session)
    read_values(base, source=str(session))
    chosen = _combinations(file.campaign, factors)
    return spell_out(file.campaign.name, base, factors, chosen, weights=weights)


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as exc:
        raise ConfigError(f"{path} is not valid TOML: {str(exc)[:300]}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{path}: its values lie too deep in one another") from exc


def spell_out(
    name: str,
    base: dict[str, Any],
    factors: Sequence[Factor],
    combinations: Iterator[tuple[int, ...]],
    *,
    weights: Callable[[Config], Mapping[str, str]],
) -> Plan:
    """Return the tasks of combinations, each the number of a level of every factor."""
    tasks: dict[str, Task] = {}
    for numbers in combinations:
        levels: dict[str, str] = {}
        values: Values = {}
        for factor, number in zip(factors, numbers, strict=True):
            levels[factor.name] = factor.labels[number]
            values |= dict(zip(factor.keys, factor.levels[number], strict=True))
        try:
            config = _config(base, values)
            digest = task_digest(config, weights(config))
        except ConfigError as exc:
            said = ", ".join(f"{k} = {v}" for k, v in levels.items()) or "the session file"
            raise ConfigError(f"no session can have {said}: {exc}") from exc
        task = Task(digest, levels, values)
        tasks.setdefault(task.digest, task)
    return Plan(name, base, tuple(factors), tuple(tasks.values()))


def task_digest(config: Config, weights: Mapping[str, str]) -> str:
    """Return the digest of all that a session's numbers depend on, 64 hexadecimal digits."""
    values = cast("dict[str, Any]", msgspec.to_builtins(config))
    session = {k: v for k, v in values["session"].items() if k not in _UNRELATED}
    related = {**values, "session": session, "rig": {"window_ms": values["rig"]["window_ms"]}}
    for table in ("watchdogs", "subject", "device", "experimenter"):
        del related[table]
    text = msgspec.json.encode((FORMAT, related, dict(weights)), order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _factor(row: VaryTable) -> Factor:
    if (row.key is None) == (row.keys is None):
        raise ConfigError("must have a key, or keys that change together")
    keys = (row.key,) if row.key is not None else cast("tuple[str, ...]", row.keys)
    if (row.values is None) == (row.range is None):
        raise ConfigError("must have values, or a range")
    values = row.values or ()
    if row.range is not None:
        first, last = row.range
        if last < first or last - first >= MOST_TASKS:
            raise ConfigError(
                f"range must run upwards, as [1, 100], over at most {MOST_TASKS:,} numbers; "
                f"found {list(row.range)}"
            )
        values = tuple(range(first, last + 1))
    if not values or not keys:
        raise ConfigError("must have at least one key and one value")
    levels: list[tuple[object, ...]] = [(value,) for value in values]
    if row.keys is not None:
        levels = [
            tuple(cast("list[object]", value)) if isinstance(value, list) else (value,)
            for value in values
        ]
    for level in levels:
        if len(level) != len(keys):
            raise ConfigError(
                f"each of values must be a list of {len(keys)}, one a key; found {list(level)}"
            )
    labels = row.labels
    if labels is None:
        labels = tuple(" ".join(_label(value) for value in level) for level in levels)
    for level in levels:
        if not all(map(_is_finite, level)):
            raise ConfigError(f"values must be finite; found {list(level)}")
    for label in labels:
        if not label.isprintable() or len(label) > _LONGEST_LABEL:
            raise ConfigError(
                f"a label must be at most {_LONGEST_LABEL} letters that are printed; found "
                f"{label[:_LONGEST_LABEL]!r}"
            )
    unrelated = [key for key in keys if key in {f"session.{name}" for name in _UNRELATED}]
    if unrelated:
        raise ConfigError(
            f"{unrelated[0]} changes no number of a session, so that tasks would be the same "
            "one; vary session.seed for repeats"
        )
    if (
        row.range is None
        and len(levels) < _MOST_COMPARED
        and any(level == other for i, level in enumerate(levels) for other in levels[:i])
    ):
        raise ConfigError("values must differ from one another; two are equal")
    if len(labels) != len(levels) or len(set(labels)) != len(labels):
        raise ConfigError(
            f"must have a label of its own for each of {len(levels)} values; found "
            f"{list(labels)[:8]}"
        )
    return Factor(row.name or _last_word(keys[0]), keys, tuple(levels), labels)


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, cast("dict[str, object]", value).values()))
    if isinstance(value, list):
        return all(map(_is_finite, cast("list[object]", value)))
    return not isinstance(value, float) or math.isfinite(value)


def _label(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_label, cast("list[object]", value)))
    return msgspec.json.encode(value).decode()


def _last_word(key: str) -> str:
    return _STEP.findall(key)[-1] if _STEP.findall(key) else key


def _combinations(
    campaign: CampaignTable, factors: Sequence[Factor]
) -> Iterator[tuple[int, ...]]:
    """Yield the number of a level of every factor, for each task."""
    sizes = [len(factor.levels) for factor in factors]
    total = 1
    for size in sizes:
        total *= size
    if campaign.design == "grid":
        if campaign.tasks is not None:
            raise ConfigError("campaign.tasks: is for a random design; a grid has them all")
        if total > MOST_TASKS:
            raise ConfigError(
                f"a grid must have at most {MOST_TASKS:,} tasks; it has {total:,}"
            )
        yield from itertools.product(*(range(size) for size in sizes))
        return
    if campaign.tasks is None or campaign.tasks > total:
        raise ConfigError(
            f"campaign.tasks: must be 1 to {total:,}, the combinations that there are; found "
            f"{campaign.tasks}"
        )
    rng = seeds.stream(campaign.seed, "campaign")
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < campaign.tasks:
        drawn[tuple(int(rng.integers(size)) for size in sizes)] = None
    yield from drawn


def _config(base: dict[str, Any], values: Values) -> Config:
    changed = base
    for key, value in values.items():
        changed = _with(changed, _path(key), value, key)
    return read_values(changed, source="a task's session file")


@cache
def _path(key: str) -> tuple[str, ...]:
    """Read a dotted key; a thread is named by its name, or by its number from 0."""
    steps = tuple(key.replace("[", ".").replace("]", "").split("."))
    if not all(_STEP.fullmatch(step) for step in steps):
        raise ConfigError(
            f"a key must be dotted, as session.seed or threads.texture.optimizer; got {key!r}"
        )
    return steps


def _with(table: Any, path: tuple[str, ...], value: Any, key: str) -> Any:  # noqa: ANN401  of TOML
    """Return a copy of a TOML value in which the one at `path` is another."""
    if not path:
        return value
    step, *rest = path
    if isinstance(table, list):
        rows = cast("list[dict[str, Any]]", table)
        names = [str(row["name"]) if "name" in row else "" for row in rows]
        numbers = [i for i, name in enumerate(names) if step in {name, str(i)}]
        if len(numbers) != 1:
            raise ConfigError(
                f"{key}: there must be one {step!r} in the session file's list; its names are "
                f"{', '.join(names)}"
            )
        (i,) = numbers
        return [*rows[:i], _with(rows[i], tuple(rest), value, key), *rows[i + 1 :]]
    if not isinstance(table, dict):
        raise ConfigError(f"{key}: {step!r} must be in a table; found {table!r}")
    inner = cast("dict[str, Any]", table)
    return {**inner, step: _with(inner.get(step, {}), tuple(rest), value, key)}
