"""The house's docstrings as numpydoc means them, for the reference.

The house writes ``codes : (n, d) float64, one a row``: shape and meaning in one sentence, with
the type in the signature. numpydoc reads what follows the colon as the type. So the sentence is
moved to the description, and the type comes from the signature. Lists of names with two spaces
before what they are become tables, and a name in backquotes leads to where it is explained.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMED = {"Parameters", "Other Parameters", "Attributes"}
_ERRORS = {"Raises", "Warns"}
_RESULTS = {"Returns", "Yields"}
_HEAD = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)
_ROW = re.compile(r"^( *)(\S+(?: \S+)*) {2,}(\S.*)$")
_NAME = re.compile(r"(?<![`\[\w])`([A-Za-z_][\w.]*)`(?![`\]\w])")


class HouseDocstrings(griffe.Extension):
    """Rewrites the docstrings of a package once it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite every docstring, and say which members the reference shows."""
        for thing in list(_walk(pkg)):
            private = thing.name.startswith("_") and thing.name != "__call__"
            thing.public = not private
            if thing.docstring:
                thing.docstring.value = _rewritten(thing.docstring.value, thing, pkg)
        for thing in list(_walk(pkg)):
            if isinstance(thing, griffe.Class):
                _fields_in_table(thing)
            if isinstance(thing, griffe.Module):
                _leave_to_their_modules(thing)


def _walk(thing: griffe.Object) -> Iterator[griffe.Object]:
    yield thing
    for member in thing.members.values():
        if isinstance(member, griffe.Object):
            yield from _walk(member)


def _leave_to_their_modules(module: griffe.Module) -> None:
    """Explain a name where it is defined, and not again in the room that hands it out."""
    for member in module.members.values():
        if isinstance(member, griffe.Alias):
            member.public = False


def _fields_in_table(cls: griffe.Class) -> None:
    """Show the fields of a class in one table: its docstring's, or else one that it gets."""
    text = cls.docstring.value if cls.docstring else ""
    sections = re.split(_HEAD, text)
    described = {
        name.strip()
        for section, body in zip(sections[1::2], sections[2::2], strict=True)
        if section in _NAMED
        for line in body.splitlines()
        for name in line.partition(" : ")[0].split(", ")
    }
    fields = [
        member
        for member in cls.members.values()
        if isinstance(member, griffe.Attribute)
        and "property" not in member.labels
        and not member.docstring
        and member.public
    ]
    if fields and cls.docstring and not described:
        table = "\n".join(f"{field.name}\n    {_comment(field)}".rstrip() for field in fields)
        cls.docstring.value = f"{text.rstrip()}\n\nAttributes\n----------\n{table}\n"
        described = {field.name for field in fields}
    for field in fields:
        if field.name in described:
            field.public = False


def _comment(field: griffe.Attribute) -> str:
    """Return what is written behind a field, on its line."""
    return field.source.partition("\n")[0].partition("  # ")[2].strip()


def _rewritten(text: str, thing: griffe.Object, package: griffe.Module) -> str:
    pieces = re.split(_HEAD, text)
    prose = _linked(pieces[0], thing, package)
    if isinstance(thing, griffe.Module):
        prose = _tables(prose, thing)
    parts = [prose]
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        body = _linked(body, thing, package)
        if name in _NAMED | _ERRORS | _RESULTS:
            items = _items(body)
            body = "\n" + "\n".join(_item(name, item, len(items), thing) for item in items)
            body += "\n\n"
        parts.append(f"{name}\n{'-' * len(name)}{body}")
    return "".join(parts)


def _items(body: str) -> list[str]:
    """Return the items of a section: a line, and the indented or empty lines below it."""
    items: list[str] = []
    for line in body.strip("\n").splitlines():
        if items and (not line or line.startswith(" ")):
            items[-1] += "\n" + line
        else:
            items.append(line)
    return [item.rstrip() for item in items]


def _item(section: str, item: str, count: int, thing: griffe.Object) -> str:
    first, _, rest = item.partition("\n")
    rest = re.sub(r"(?m)^ {4}", "", rest)
    name, colon, text = first.partition(" : ")
    if section in _RESULTS:
        returned = _returned(thing)
        if not returned:
            return item
        named = colon and count > 1 and name.isidentifier() and name != returned
        if named:
            head = f"{name} :"
        else:
            head = returned
            text = text if name == returned else f"{name}: {text}" if colon else first
    elif colon:
        head = name
    else:
        return item
    return head + "\n" + "\n".join(f"    {line}" for line in _joined(text, rest).splitlines())


def _joined(first: str, rest: str) -> str:
    """Return one text of two; where both are sentences of their own, a full stop parts them."""
    if rest[:1].isupper() and not first.endswith((".", ",", ":", ";")) and " " not in first:
        return f"{first}. {rest}"
    return f"{first}\n{rest}".strip()


def _returned(thing: griffe.Object) -> str:
    if isinstance(thing, griffe.Function):
        return str(thing.returns or "")
    if isinstance(thing, griffe.Attribute):
        return str(thing.annotation or "")
    return ""


def _tables(text: str, module: griffe.Module) -> str:
    """Write each paragraph of names, two spaces and what they are as a table."""
    paragraphs = re.split(r"\n{2,}", text)
    return "\n\n".join(_table(paragraph, module) for paragraph in paragraphs)


def _table(paragraph: str, module: griffe.Module) -> str:
    rows: list[list[str]] = []
    indent = -1
    for line in paragraph.splitlines():
        row = _ROW.match(line)
        if row and (indent < 0 or len(row[1]) == indent):
            indent = len(row[1])
            rows.append([row[2], row[3]])
        elif rows and len(line) - len(line.lstrip()) > indent:
            rows[-1][1] += " " + line.strip()
        else:
            return paragraph
    lines = [
        f"| {_names(names, module)} | {text.replace('|', chr(92) + '|')} |"
        for names, text in rows
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


def _names(names: str, module: griffe.Module) -> str:
    return ", ".join(
        f"[`{name}`][{path}]" if (path := _path(name, module, module.package)) else f"`{name}`"
        for name in names.replace("`", "").split(", ")
    )


def _linked(text: str, thing: griffe.Object, package: griffe.Module) -> str:
    """Make links of the names in backquotes that this package explains."""

    def link(match: re.Match[str]) -> str:
        path = _path(match[1], thing, package)
        return f"[`{match[1]}`][{path}]" if path and path != thing.path else match[0]

    return _NAME.sub(link, text)


def _path(name: str, thing: griffe.Object, package: griffe.Module) -> str:
    """Return where a name that is used beside an object is explained; "" for no such place."""
    first, dot, rest = name.partition(".")
    if isinstance(thing, griffe.Function) and first in {p.name for p in thing.parameters}:
        return ""
    if first == package.name:
        path = name
    else:
        member = thing.members.get(first)
        try:
            path = (member.path if member else thing.resolve(first)) + dot + rest
        except griffe.NameResolutionError:
            return ""
    inner = path.removeprefix(package.path).removeprefix(".")
    if not path.startswith(package.path) or "(" in path:
        return ""
    try:
        target = package[inner] if inner else package
        if isinstance(target, griffe.Alias):
            target = target.final_target
        if isinstance(target, griffe.Module) and not (dot or isinstance(thing, griffe.Module)):
            return ""  # a word like `weights` that is also a room's name
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return ""
    outside = target.path.partition(".")[0] != package.path
    if (
        outside
        or not target.docstring
        or any(p.startswith("_") for p in target.path.split("."))
    ):
        return ""
    return target.path
