"""Text of anybody's, without what a terminal, a file or a page would take for a command.

Knows text alone.
"""


def plain(text: str) -> str:
    """Return a text with a dot for every character that cannot be printed; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def one_line(text: str) -> str:
    """Return a text in one line, single spaces between its words, that any file holds."""
    return plain(" ".join(text.split()))
