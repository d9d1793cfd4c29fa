"""Which lines and branches the tests ran, by room: `python -m tests.coverage`.

Reads what `make coverage` has measured. A room is a package, with the sub-packages that are not
named for themselves; a line and each way out of a branch count one.
"""

import json
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

MEASURED = Path("build/coverage/coverage.json")
# How deep a room is: `rig_bridge/rigs` is one, and `rig_bridge` the rest of it.
DEPTH = 2


def room_of(file: str) -> str:
    """Return the room of a source file."""
    return "/".join(PurePosixPath(file).parent.parts[:DEPTH])


def table(files: dict) -> list[tuple[str, int, int, float]]:
    """Return (room, lines, branches, percent of both that ran), a row a room, and the whole."""
    rooms: dict[str, Counter] = {}
    for file, found in files.items():
        for room in (room_of(file), "all"):
            rooms.setdefault(room, Counter()).update(found["summary"])
    rows = []
    for room in (*sorted(set(rooms) - {"all"}), "all"):
        n = rooms[room]
        there = n["num_statements"] + n["num_branches"]
        ran = n["covered_lines"] + n["covered_branches"]
        percent = 100 * ran / there if there else 100.0
        rows.append((room, n["num_statements"], n["num_branches"], percent))
    return rows


def main() -> int:
    """Print the table, in the format of a page of docs."""
    rows = table(json.loads(MEASURED.read_text(encoding="utf-8"))["files"])
    lines = ["| room | lines | branches | run |", "|---|---:|---:|---:|"]
    lines += [f"| `{room}` | {n:,} | {m:,} | {percent:.1f} % |" for room, n, m, percent in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
