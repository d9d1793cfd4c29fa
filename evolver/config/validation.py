"""Checks a tree of plain values against msgspec structs, and writes one out with its comments.

Where msgspec stops at the first mistake, `collect` names them all. Knows struct definitions and
their `Meta`; knows nothing of sessions.
"""

from __future__ import annotations

import difflib
import math
import textwrap
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Protocol, cast, runtime_checkable

import msgspec
from msgspec import Struct, inspect

from evolver.plain_text import is_number_in_quotes

_TOML_NAMES = {
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}


@runtime_checkable
class HasUnusedKeys(Protocol):
    """A table of which some keys say nothing, by what its others say."""

    def unused_keys(self) -> frozenset[str]:
        """Return those keys."""
        ...


def collect(
    raw: object, struct: type[Struct], key: str, problems: list[str], *, example: str = ""
) -> None:
    """Append to `problems` every mistake in `raw` against `struct`.

    Parameters
    ----------
    raw : what the TOML reader gave
    struct : what it should fit
    key : dotted key of `raw` in its file, '' at the top
    problems : list of str, appended to: 'KEY: must be ALLOWED; found WHAT'
    example : what it may be, as in a file, for who wrote no table
    """
    if not isinstance(raw, dict):
        problems.append(f"{key}: must be {_a_table(example)}; found {_quoted(raw)}")
        return
    table = cast("dict[str, object]", raw)
    fields, types = _fields(struct)
    for name in table:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problems.append(
                f"{_join(key, name)}: is not a key here{hint}; allowed: {', '.join(fields)}"
            )
    for name, f in fields.items():
        if name in table:
            _check(table[name], f.type, types[name], _join(key, name), problems)
        elif f.required:
            problems.append(f"{_join(key, name)}: is missing; must be {_allowed(f.type)}")


@cache
def _fields(struct: type[Struct]) -> tuple[dict[str, inspect.Field], dict[str, object]]:
    """Return a struct's fields and their annotations, by name in files.

    Kept: to find them takes longer than all else that is done with a session file, and a
    campaign reads thousands.
    """
    info = cast("inspect.StructType", inspect.type_info(struct))
    return (
        {f.encode_name: f for f in info.fields},
        {f.encode_name: f.type for f in msgspec.structs.fields(struct)},
    )


def _check(
    value: object, type_: inspect.Type, annotation: object, key: str, problems: list[str]
) -> None:
    """Append every mistake in `value`; `type_` describes what `annotation` is."""
    bare = _bare(type_)
    if isinstance(bare, inspect.StructType):
        collect(value, bare.cls, key, problems)
        return
    if isinstance(bare, inspect.UnionType):
        structs = [t for t in map(_bare, bare.types) if isinstance(t, inspect.StructType)]
        if structs:
            collect(value, structs[0].cls, key, problems, example=_example(type_))
            return
    rows = _as_list(value)
    if isinstance(bare, inspect.VarTupleType) and rows is not None:
        item = _bare(bare.item_type)
        if isinstance(item, inspect.StructType):
            if not (bare.min_length or 0) <= len(rows) <= (bare.max_length or math.inf):
                problems.append(f"{key}: must be {_allowed(type_)}; found {len(rows)}")
            for i, row in enumerate(rows):
                collect(row, item.cls, f"{key}[{i}]", problems)
            return
    if _has_nul(value):
        problems.append(f"{key}: must be without NUL characters; found {_quoted(value)}")
    elif _has_nan(value) and _as_list(value) is not None:
        problems.append(f"{key}: must be without nan; found {_quoted(value)}")
    elif _has_nan(value) or not _converts(value, annotation):
        problems.append(f"{key}: must be {_allowed(type_)}; found {_quoted(value)}")


def _converts(value: object, annotation: object) -> bool:
    try:
        msgspec.convert(value, annotation)  # pyright: ignore[reportCallIssue, reportArgumentType]
    except msgspec.ValidationError:
        return False
    return True


def _has_nan(value: object) -> bool:
    """Return whether a number is NaN, which lies within any bounds."""
    rows = _as_list(value)
    if rows is not None:
        return any(map(_has_nan, rows))
    return isinstance(value, float) and math.isnan(value)


def _has_nul(value: object) -> bool:
    """Return whether a text has a NUL character, which no file's name may have."""
    rows = _as_list(value)
    if rows is not None:
        return any(map(_has_nul, rows))
    if isinstance(value, dict):
        return any(map(_has_nul, cast("dict[str, object]", value).values()))
    return isinstance(value, str) and "\0" in value


def _as_list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _bare(type_: inspect.Type) -> inspect.Type:
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_


def _meta(type_: inspect.Type, key: str) -> str:
    """Return what the `Meta` around `type_` says under `key`: 'description' or 'title'."""
    while isinstance(type_, inspect.Metadata):
        extra = cast("dict[str, object]", type_.extra_json_schema or {})
        if key in extra:
            return str(extra[key])
        type_ = type_.type
    return ""


def _allowed(type_: inspect.Type) -> str:
    """Return what a value of `type_` may be, in words."""
    bare = _bare(type_)
    if isinstance(bare, inspect.IntType | inspect.FloatType):
        kind = "a whole number" if isinstance(bare, inspect.IntType) else "a number"
        bounds = [
            words.format(limit)
            for words, limit in (
                ("at least {}", bare.ge),
                ("above {}", bare.gt),
                ("at most {}", bare.le),
                ("below {}", bare.lt),
            )
            if limit is not None
        ]
        return " ".join([kind, " and ".join(bounds)]).strip()
    if isinstance(bare, inspect.LiteralType):
        return "one of " + ", ".join(repr(v) for v in bare.values)
    if isinstance(bare, inspect.StrType):
        words = _meta(type_, "title")
        if words:
            return f"a text: {words}"
        return "a text that is not empty" if bare.min_length else "a text"
    if isinstance(bare, inspect.TupleType):
        kinds = ", ".join(_allowed(t) for t in bare.item_types)
        return f"a list of {len(bare.item_types)}: [{kinds}]"
    if isinstance(bare, inspect.VarTupleType):
        least = f"at least {bare.min_length} " if bare.min_length else ""
        item = _bare(bare.item_type)
        if isinstance(item, inspect.StructType):
            most = f", at most {bare.max_length}" if bare.max_length else ""
            return f"{least}[[table]]{most}".strip()
        return f"a list of {least}({_allowed(bare.item_type)})"
    if isinstance(bare, inspect.UnionType):
        kinds = [t for t in bare.types if not isinstance(_bare(t), inspect.NoneType)]
        each = [text for t in kinds for text in _allowed_in_union(t)]
        return " or ".join(dict.fromkeys(each))
    if isinstance(bare, inspect.BoolType):
        return "true or false"
    if isinstance(bare, inspect.DateType):
        return "a day, such as 2026-11-21"
    if isinstance(bare, inspect.AnyType | inspect.CustomType):
        return "any value"
    return _a_table(_example(type_))


def _a_table(example: str) -> str:
    return f"a table, as {example}" if example else "a table"


def _example(type_: inspect.Type) -> str:
    """Return the first of the examples in the `Meta` around `type_`; empty without any."""
    while isinstance(type_, inspect.Metadata):
        extra = cast("dict[str, list[str]]", type_.extra_json_schema or {})
        if "examples" in extra:
            return extra["examples"][0]
        type_ = type_.type
    return ""


def _allowed_in_union(type_: inspect.Type) -> list[str]:
    """Return what one kind of several may be: of a list of so many, an item and how many."""
    bare = _bare(type_)
    if (
        isinstance(bare, inspect.VarTupleType)
        and bare.min_length == bare.max_length
        and bare.min_length
    ):
        return [_allowed(bare.item_type), f"a list of {bare.min_length}"]
    return [_allowed(type_)]


def _quoted(value: object) -> str:
    kind = next((words for t, words in _TOML_NAMES.items() if type(value) is t), "")
    text = repr(cast("object", value))
    if len(text) > 60:
        text = text[:57] + "..."
    if is_number_in_quotes(cast("object", value)):
        kind += " in quotes"
    return f"{text} ({kind})" if kind else text


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def commented_fields(value: Struct) -> str:
    """Return TOML text of `value`: a table a struct, a comment above every key."""
    fields, _ = _fields(type(value))
    lines: list[str] = []
    for f in fields.values():
        inner = getattr(value, f.name)
        rows = cast("tuple[Struct, ...]", inner if isinstance(inner, tuple) else (inner,))
        header = f"[[{f.encode_name}]]" if isinstance(inner, tuple) else f"[{f.encode_name}]"
        for row in rows:
            doc = " ".join((type(row).__doc__ or "").split())
            lines += ["", *_wrap(doc), header]
            lines += _table(row, f.encode_name)
    return "\n".join(lines) + "\n"


def _table(row: Struct, key: str) -> list[str]:
    lines: list[str] = []
    nested: list[str] = []
    fields, _ = _fields(type(row))
    unused = row.unused_keys() if isinstance(row, HasUnusedKeys) else frozenset[str]()
    for f in fields.values():
        inner = getattr(row, f.name)
        if isinstance(inner, Struct):
            nested += ["", f"[{key}.{f.encode_name}]", *_table(inner, f"{key}.{f.encode_name}")]
            continue
        allowed = _allowed(f.type)
        lines += _wrap(f"{_meta(f.type, 'description')} ({allowed})")
        if inner is None:
            lines.append(f"# {f.encode_name} =")
        else:
            mark = "# " if f.encode_name in unused else ""
            lines.append(f"{mark}{f.encode_name} = {toml_value(inner)}")
    return lines + nested


@cache
def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 92, initial_indent="# ", subsequent_indent="#   ")


def toml_value(value: object) -> str:
    """Return a value as a session file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        if not table:
            return "{}"
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in table.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(v) for v in cast("list[object]", value)) + "]"
    return repr(value)
