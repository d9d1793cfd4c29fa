"""Text of anybody's, without what a terminal, a file or a page would take for a command.

Knows text alone.
"""

from __future__ import annotations

from math import isfinite


def plain(text: str) -> str:
    """Return a text with a dot for every character that cannot be printed; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def one_line(text: str) -> str:
    """Return a text in one line, single spaces between its words, that any file holds."""
    return plain(" ".join(text.split()))


def is_number_in_quotes(value: object) -> bool:
    """Return whether a value is a text that reads as a number: quoted by mistake, perhaps."""
    if not isinstance(value, str):
        return False
    try:
        return isfinite(float(value))
    except ValueError:
        return False
