"""What the tests of each room cost: processor time, theirs and of all processes they begin.

`make cost` runs them with this as a plugin, which writes a line a test, a line a fixture that
several tests share and a line a worker's collection to `build/cost/`; then it prints the sums,
and `python -m tests.cost ROOM …` the dearest tests of rooms. What a test makes that others find
made (an import, the server that forks processes) is that test's. The time of a process whose
parent ended before it is lost.
"""

import collections
import json
import os
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("EVOLVER_COST", "build/cost"))
_DEAREST = 100
_TICKS = os.sysconf("SC_CLK_TCK")


def _of_descendants(process):
    """Return the seconds of a process's living descendants, and of what they waited for."""
    total = 0.0
    for task in _read_all(Path(f"/proc/{process}/task").glob("*/children")):
        for child in task.split():
            stat = _read(Path(f"/proc/{child}/stat"))
            if stat:
                times = stat.rpartition(")")[2].split()[11:15]
                total += sum(map(int, times)) / _TICKS + _of_descendants(child)
    return total


def _read(path):
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def _read_all(paths):
    try:
        return [_read(path) for path in paths]
    except OSError:
        return []


def spent():
    """Return the seconds of processor time of this process and of all that it began."""
    waited_for = os.times()
    return (
        time.process_time()
        + waited_for.children_user
        + waited_for.children_system
        + _of_descendants(os.getpid())
    )


class _Ledger:
    """The lines of one worker; what is measured within something else is not counted there."""

    def __init__(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self._file = FOLDER / f"{worker}.jsonl"
        self._file.write_text("")
        self._within = [0.0]

    def measured(self, kind, name):
        before = spent()
        self._within.append(0.0)
        try:
            yield
        finally:
            whole = spent() - before
            own = whole - self._within.pop()
            self._within[-1] += whole
            with self._file.open("a") as lines:
                lines.write(json.dumps([kind, name, own]) + "\n")


_ledger = None


def pytest_configure(config):
    global _ledger
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        _ledger = _Ledger()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    if _ledger is None:
        return (yield)
    measuring = _ledger.measured("collection", "all")
    next(measuring)
    try:
        return (yield)
    finally:
        next(measuring, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if _ledger is None:
        return (yield)
    measuring = _ledger.measured("test", item.nodeid)
    next(measuring)
    try:
        return (yield)
    finally:
        next(measuring, None)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    if _ledger is None or fixturedef.scope == "function":
        return (yield)
    name = f"{request.node.nodeid or 'tests'}::{fixturedef.argname}"
    measuring = _ledger.measured("fixture", name)
    next(measuring)
    try:
        return (yield)
    finally:
        next(measuring, None)


def _room(name):
    parts = Path(name.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 else "tests"


def main(rooms):
    """Print what each room cost, and what cost most in those that are named."""
    files = sorted(FOLDER.glob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    seconds, tests = collections.Counter(), collections.Counter()
    for kind, name, cost in lines:
        room = "collection" if kind == "collection" else _room(name)
        seconds[room] += cost
        tests[room] += kind == "test"
    text = [
        f"{cost:8.1f} s  {room}, {tests[room]} tests" for room, cost in seconds.most_common()
    ]
    text.append(f"{seconds.total():8.1f} s  of {len(files)} workers")
    for wanted in rooms:
        text += ["", wanted]
        of_room = [
            line for line in lines if line[0] != "collection" and _room(line[1]) == wanted
        ]
        for kind, name, cost in sorted(of_room, key=lambda line: -line[2])[:_DEAREST]:
            text.append(f"{cost:8.2f} s  {kind} {name.partition('/')[2]:.200}")
    sys.stdout.write("\n".join(text) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
