"""How a thread searches, in words: its optimizer and the options it has, in one line.

The same before a session (`evolver config check`) and of a recording (`evolver inspect`). Knows
names and options; knows nothing of what they stand for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from evolver.config.validation import toml_value

GUIDED = "guided"
"""The optimizer that shows, in some generations, a second arm's images beside its search's."""
_Source = Callable[[str], str]
"""Where an option comes from that the file leaves out, by its name."""


def search_text(
    optimizer: str,
    options: Mapping[str, Any],
    *,
    chosen_for: str = "",
    given: Mapping[str, Any] | None = None,
    source: _Source | None = None,
) -> str:
    """Say which optimizer searches, with which options; of a composite, part by part.

    Parameters
    ----------
    optimizer : its name
    options : that it was made with
    chosen_for : the generator, where the session file names no optimizer; else empty
    given : options as the session file has them, where those that it leaves out are to be
        marked with their source
    source : where such an option comes from, by its name
    """
    name = optimizer
    if chosen_for:
        name += f" (chosen for {chosen_for}, as the file names no optimizer)"
    parts = _parts_of(options) if optimizer == "composite" else []
    if parts:
        before = [] if given is None else _parts_of(given)
        said: list[str] = []
        for i, part in enumerate(parts):
            of_file = _options_of(before[i] if i < len(before) else {})
            said.append(_part_text(part, None if given is None else of_file, source))
        others = {key: value for key, value in options.items() if key != "parts"}
        return "; ".join([f"{name} of {said[0]}", *said[1:], *_said(others, given, source)])
    return ", ".join([name, *_said(options, given, source)])


def _parts_of(options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a composite's parts; none where they are not as they should be."""
    rows = options.get("parts")
    parts = cast("list[Any]", rows) if isinstance(rows, list) else []
    return parts if all(isinstance(part, dict) for part in parts) else []


def _options_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    options = part.get("options", {})
    return cast("dict[str, Any]", options) if isinstance(options, dict) else {}


def _part_text(
    part: Mapping[str, Any], given: Mapping[str, Any] | None, source: _Source | None
) -> str:
    """Say what drives a stretch of the code, or where it is held."""
    match part.get("slice"):
        case [int(first), int(stop)]:
            place = f"dimensions {first} to {stop}"
        case other:
            place = f"slice {toml_value(other)}"
    if not part.get("optimizer"):
        match part.get("value"):
            case None:
                return f"{place} held where they begin"
            case [*_]:
                return f"{place} held at the file's values"
            case value:
                return f"{place} held at {toml_value(value)}"
    along = ["along axes"] if "axes" in part else []
    said = _said(_options_of(part), given, source)
    return ", ".join([str(part["optimizer"]), place, *along, *said])


def _said(
    options: Mapping[str, Any], given: Mapping[str, Any] | None, source: _Source | None
) -> list[str]:
    """Return each option as a session file has it, with its source where the file has none."""
    return [
        f"{key} = {toml_value(value)}"
        + ("" if given is None or source is None or key in given else f" (from {source(key)})")
        for key, value in options.items()
    ]


def threads_without_optimizer(text: str) -> frozenset[str]:
    """Return the names of the threads for which a session file names no optimizer.

    None of a text that is no session file: a recording may come from anywhere.

    Parameters
    ----------
    text : TOML
    """
    try:
        threads = tomllib.loads(text).get("threads")
    except (ValueError, RecursionError):
        return frozenset()
    rows = cast("Sequence[object]", threads) if isinstance(threads, list) else ()
    tables = [cast("dict[str, object]", row) for row in rows if isinstance(row, dict)]
    return frozenset(
        str(table["name"]) for table in tables if "name" in table and not table.get("optimizer")
    )
