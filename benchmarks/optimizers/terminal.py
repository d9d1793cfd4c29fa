"""What a terminal shows of results: words and tables that fit its width.

Knows rich and what `page` returns. tables.md and page.html have the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.optimizers.page import Results, ResultTable

_GAP = 2  # between columns
_LONGEST, _HEAD = 30, 10  # of a cell, or of a head, before it goes on in the next line


def print_results(results: Results, console: Console) -> None:
    """Print what was run and, of each world, what to trust, the best image, and the cost."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style))

    say(results.opening)
    for world in results.worlds:
        console.print()
        say(world.title, "bold underline")
        for table in world.shortest:
            console.print()
            say(table.title, "bold")
            if table.note:
                say(table.note)
            for part in parts(table, console.width):
                console.print()
                console.print(part)
    if results.out:
        console.print()
        say("Left out", "bold")
        for label, why in results.out:
            say(f"{label}: {why}")


def parts(table: ResultTable, width: int) -> Iterator[Table]:
    """Yield a table in parts that fit a width, each with the first column and some others."""
    columns = list(zip(table.head, *table.rows, strict=True))
    widths = [_width(column) for column in columns]
    first, left = widths[0] + _GAP, list(range(1, len(columns)))
    while left:
        taken, room = [left.pop(0)], width - first
        room -= widths[taken[0]]
        while left and widths[left[0]] + _GAP <= room:
            room -= widths[left[0]] + _GAP
            taken.append(left.pop(0))
        part = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
        for k in (0, *taken):
            part.add_column(Text(table.head[k]), width=widths[k], overflow="fold")
        for row in table.rows:
            part.add_row(*(Text(row[k]) for k in (0, *taken)))
        yield part


def _width(column: tuple[str, ...]) -> int:
    """Return how wide a column is: for its longest cell, and any word of its head."""
    head, *cells = column
    longest = max((len(cell) for cell in cells), default=0)
    words = (len(word) for word in head.split())
    return max(min(longest, _LONGEST), min(len(head), _HEAD), *words)
