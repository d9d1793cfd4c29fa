"""A session file with some values changed, and every other letter of it as it was.

Knows text: comments, order, spaces and line ends stay. What a change did is read back as TOML
and compared: where a file says a thing in a way that is not known here, nothing is changed.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(r"\s*\[")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')


def with_values(
    text: str, table: str, values: Mapping[str, str], *, source: str = "the session file"
) -> str:
    """Return a session file's text with values of one table in place of those it has, or none.

    Parameters
    ----------
    text : TOML
    table : its name, as "presentation"; it is there
    values : by key, as TOML writes them
    source : the file, for messages

    Raises
    ------
    ConfigError
        The text is no TOML, or has the table in a way that cannot be changed by lines; the
        message says the lines to write by hand.
    """
    try:
        before = tomllib.loads(text)
    except ValueError as exc:
        raise ConfigError(f"{source} is not valid TOML: {str(exc)[:300]}") from exc
    lines = text.splitlines(keepends=True)
    end = "\r\n" if any(line.endswith("\r\n") for line in lines) else "\n"
    name = re.compile(rf"\s*\[\s*(?:{table}|\"{table}\"|'{table}')\s*\]\s*(?:#.*)?$")
    changed: str | None = None
    first = next((i for i, line in enumerate(lines) if name.match(line)), None)
    if first is not None:
        last = next(
            (i for i in range(first + 1, len(lines)) if _HEADER.match(lines[i])), len(lines)
        )
        inside = lines[first + 1 : last]
        for key, value in values.items():
            inside = _with_value(inside, key, value, end)
        head = lines[first] if lines[first].endswith("\n") else lines[first] + end
        changed = "".join([*lines[:first], head, *inside, *lines[last:]])
    if changed is None or not _is_only(before, changed, table, values):
        wanted = "\n".join(f"{key} = {value}" for key, value in values.items())
        raise ConfigError(
            f"{source} must have a table [{table}] with a line for each key, to be changed "
            f"here; it is written otherwise, and was left as it is. Write into it:\n{wanted}"
        )
    return changed


def _with_value(lines: list[str], key: str, value: str, end: str) -> list[str]:
    """Return a table's lines with one value changed, or added.

    After a comment that has the key, as in files that say what could be there; or else after
    the last key.
    """
    start = re.compile(rf"(\s*(?:{key}|\"{key}\"|'{key}')\s*=\s*)")
    for i, line in enumerate(lines):
        if (begin := start.match(line)) is None:
            continue
        stop = i
        while _depth("".join(lines[i : stop + 1])) > 0 and stop + 1 < len(lines):
            stop += 1
        if any("#" in _STRING.sub("", part) for part in lines[i:stop]):
            return lines  # a comment would be lost: it is changed by hand
        tail = lines[stop] if stop > i else line[begin.end() :]
        return [*lines[:i], begin[1] + value + _after(tail) + end, *lines[stop + 1 :]]
    keys = [i for i, line in enumerate(lines) if line.strip() and line.strip()[0] != "#"]
    shown = re.compile(rf"\s*#\s*{key}\s*=")
    hints = [i for i, line in enumerate(lines) if shown.match(line)]
    at = hints[0] + 1 if hints else keys[-1] + 1 if keys else 0
    before = lines[:at]
    if before and not before[-1].endswith("\n"):
        before = [*before[:-1], before[-1] + end]
    return [*before, f"{key} = {value}{end}", *lines[at:]]


def _bare(text: str) -> str:
    """Return text without strings and comments, of the same length but for the comments."""
    kept = _STRING.sub(lambda found: "x" * len(found[0]), text)
    return re.sub(r"#[^\n]*", "", kept)


def _depth(text: str) -> int:
    bare = _bare(text)
    return bare.count("[") - bare.count("]")


def _after(line: str) -> str:
    """Return a line's comment, with the spaces before it."""
    line = line.rstrip("\r\n")
    plain = _STRING.sub(lambda found: "x" * len(found[0]), line)
    at = plain.find("#")
    if at < 0:
        return ""
    spaces = len(plain[:at]) - len(plain[:at].rstrip())
    return line[at - spaces :]


def _is_only(
    before: dict[str, Any], changed: str, table: str, values: Mapping[str, str]
) -> bool:
    """Return whether a change did what was wanted, and nothing else."""
    try:
        after = tomllib.loads(changed)
        wanted = tomllib.loads("\n".join(f"{key} = {value}" for key, value in values.items()))
    except ValueError:
        return False
    return after == {**before, table: {**before.get(table, {}), **wanted}}
