"""Another fitness for a recorded session: what is changed, checked as a session file is.

Knows fitness tables and what a recording holds of its own; nothing of how scores are made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np

from evolver.config.fitness_table import FitnessTable, fitness_contradictions, unused_given
from evolver.config.mistakes import Mistakes, SeveralMistakesError
from evolver.config.validation import collect
from evolver.errors import ConfigError, DataError
from evolver.journal.records import RigRecord
from evolver.recording import Recording, ThreadData
from evolver.session.fitness import Fitness, Target
from evolver.setup.targets import build_target

_KEYS = FitnessTable.__struct_fields__


@dataclass(frozen=True, slots=True, eq=False)
class OtherFitness:
    """A fitness for every thread of a recording, those that nothing was said of as recorded.

    Attributes
    ----------
    tables, targets : a thread each
    changed : numbers of the threads of which something was said
    """

    tables: tuple[FitnessTable, ...]
    targets: tuple[Target | None, ...]
    changed: tuple[int, ...]

    def resolve(self, rig: RigRecord) -> list[Fitness]:
        """Return a fitness a thread for the units of a rig that joined.

        Raises
        ------
        ConfigError
            The rig has no such unit, or a target is of another number of units.
        """
        labels = [unit.label for unit in rig.units]
        fitnesses: list[Fitness] = []
        for table, target in zip(self.tables, self.targets, strict=True):
            fitness = Fitness.resolve(table, labels, key="fitness", target=target)
            n = 0 if target is None else len(target.values)
            if n and n != len(fitness.units):
                raise ConfigError(
                    f"fitness.units: must be as many as the target has numbers, {n}; found "
                    f"{len(fitness.units)}. Name another target"
                )
            fitnesses.append(fitness)
        return fitnesses


def read_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Return keys of a fitness that were given one by one, as KEY=VALUE.

    A value is as in a session file; a text may stand without its quotes, and a single unit
    without its brackets.

    Raises
    ------
    ConfigError
        One is of another form.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise ConfigError(
                "--fitness must be KEY=VALUE, as kind=late-early or late_ms=[150,250], or a "
                f"file whose name ends in .toml; got {text!r}"
            )
        try:
            changes[key] = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            changes[key] = value
        if key in {"units", "others"} and not isinstance(changes[key], list):
            changes[key] = [changes[key]]
    return changes


def read_fitness_tables(text: str, source: str) -> dict[str, dict[str, Any]]:
    """Return the fitness tables of a session file, or of a file with nothing else in it.

    Parameters
    ----------
    text : TOML
    source : its name, for messages

    Returns
    -------
    thread's name -> its own table; "" -> that of all others, where the file has one

    Raises
    ------
    ConfigError
        It is no TOML, or has no such table.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{source} is not valid TOML: {str(exc)[:300]}") from exc
    tables: dict[str, dict[str, Any]] = {}
    if isinstance(raw.get("fitness"), dict):
        tables[""] = raw["fitness"]
    threads = raw.get("threads")
    for thread in cast("list[object]", threads) if isinstance(threads, list) else []:
        if isinstance(thread, dict):
            own = cast("dict[str, Any]", thread)
            if isinstance(own.get("fitness"), dict):
                tables[str(own.get("name", ""))] = own["fitness"]
    if not tables:
        raise ConfigError(
            f"{source} must have a [fitness] table, as a session file has; it has none"
        )
    return tables


def other_fitness(
    recording: Recording,
    changes: Mapping[str, Any],
    *,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    threads: Sequence[str] = (),
) -> OtherFitness:
    """Return a recording's fitnesses with what was said of them changed.

    Parameters
    ----------
    recording : open
    changes : keys of a fitness, and their values as TOML has them
    tables : as `read_fitness_tables` returns them: in place of the recorded ones, before
        `changes`
    threads : names of those that are scored otherwise; all, without any

    Raises
    ------
    ConfigError
        There is no such thread or key, a value contradicts another or what was recorded, or a
        target cannot be read; all of it is named.
    """
    tables = tables or {}
    names = recording.threads.evolving.names
    if not names:
        raise ConfigError(
            "another fitness needs a thread that evolves, whose search it would have turned; "
            f"this session showed the sets {', '.join(recording.threads.names)} alone"
        )
    if unknown := sorted({*threads, *tables} - {*names, ""}):
        raise ConfigError(
            f"a thread must be one of {', '.join(names)}; got {', '.join(unknown)}"
        )
    mistakes = Mistakes()
    made: list[tuple[FitnessTable, Target | None]] = []
    changed: list[int] = []
    for k, thread in enumerate(recording.threads):
        own = tables.get(thread.name, tables.get(""))
        given = dict(changes) if own is None else {**own, **changes}
        if not given or thread.is_set or (threads and thread.name not in threads):
            made.append((_recorded_table(thread), _recorded_target(thread)))
            continue
        changed.append(k)
        base = _base(thread) if own is None else {}
        pair = _changed(recording, thread, base, given, mistakes)
        if pair is not None:
            made.append(pair)
    if mistakes.found:
        raise SeveralMistakesError("this fitness", mistakes.found)
    return OtherFitness(
        tuple(table for table, _ in made), tuple(target for _, target in made), tuple(changed)
    )


def _base(thread: ThreadData) -> dict[str, Any]:
    """Return the recorded keys of a thread's fitness, units by their rows."""
    return {key: value for key, value in thread.fitness.items() if key in _KEYS}


def _recorded_table(thread: ThreadData) -> FitnessTable:
    try:
        return msgspec.convert(_base(thread), FitnessTable)
    except msgspec.ValidationError as exc:
        raise ConfigError(
            f"the fitness of thread {thread.name!r} cannot be read from the recording: {exc}"
        ) from exc


def _recorded_target(thread: ThreadData) -> Target | None:
    said = thread.fitness
    if said.get("kind") != "target" or "target_values" not in said:
        return None
    values = np.array(said["target_values"], dtype=np.float64)
    return Target(values, said.get("target_reference"), str(said.get("target_sha256", "")))


def _changed(
    recording: Recording,
    thread: ThreadData,
    base: dict[str, Any],
    given: dict[str, Any],
    mistakes: Mistakes,
) -> tuple[FitnessTable, Target | None] | None:
    """Return a thread's fitness with its keys changed; None where something is wrong."""
    if "units" in given and "weights" not in given:
        base = {key: value for key, value in base.items() if key != "weights"}
    raw = {**base, **given}
    problems: list[str] = []
    collect(raw, FitnessTable, "fitness", problems)
    table = None
    if not problems:
        table = msgspec.convert(raw, FitnessTable)
        problems += unused_given(given, table, "fitness")
        references = int((recording.reference_image_id >= 0).any(axis=0).sum())
        problems += fitness_contradictions(
            table, recording.window_ms, "fitness", references=references
        )
        problems += _of_rates(recording, table, _recorded_table(thread))
    for problem in problems:
        if not mistakes.has(key := problem.partition(": ")[0]):
            mistakes.add(key, problem)
    if table is None or problems:
        return None
    if "target" not in given and base.get("target") is not None:
        return table, _recorded_target(thread)
    try:
        return table, build_target(table, _reference_labels(recording))
    except (ConfigError, DataError) as exc:
        if not mistakes.has("fitness.target"):
            mistakes.add("fitness.target", f"fitness.target: {exc}", exc)
        return None


def _of_rates(recording: Recording, table: FitnessTable, before: FitnessTable) -> list[str]:
    """Return what asks of rates for a time, which they do not have."""
    if not (recording.presentations["form"] == "rates").any():
        return []
    if table.kind == "late-early":
        return [
            "fitness.kind: must not be 'late-early': the rig sent rates, which have no time"
        ]
    recorded = before.windows()
    return [
        f"fitness.{name}: must be as recorded, "
        f"{list(recorded[name]) if name in recorded else 'none'}: the rig sent rates, counted "
        f"in a window of its own choosing; found {list(value)}"
        for name, value in table.windows().items()
        if recorded.get(name) != value
    ]


def _reference_labels(recording: Recording) -> list[str]:
    """Return the labels of the session's references, in their order."""
    ids = recording.reference_image_id
    full = ids[(ids >= 0).all(axis=1)] if ids.size else ids
    return [str(recording.image_labels[i]) for i in full[0]] if len(full) else []
