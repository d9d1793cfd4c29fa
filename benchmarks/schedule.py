"""The schedule: how long a rig is idle because the engine computes.

Question
    Two threads whose images take half a block's showing to render: what share of the session is
    the rig idle, in each schedule? (Goal: at most 1 % where another thread, or enough
    references, can be shown meanwhile; `together` is the naive schedule beside it.)
Method
    Live sessions over a real socket with the simulated rig in a process of its own, in real
    time (on 40, off 60 ms). The generators are the built-in ones, slowed by sleeping until a
    generation has taken half the time that a block of it, or of both, is shown. Idle is read
    from the rig's own clock in the recording: of each onset, how much later it came than the
    onset before it and its on and off times, less the median of that (what the rig itself
    takes between any two showings), summed over the time of the session. The session's own
    figure, by the engine's clock, stands beside it.
Repeats
    One session of 6 generations a schedule.
Cost
    About 2 minutes.
Outputs
    A Markdown section on standard output.

Run by ``python -m benchmarks.schedule``.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer

from evolver import config, generators, recording
from evolver.live import Console, run_live
from evolver.types import Codes, Generator, Images

_ON_MS, _OFF_MS = 40.0, 60.0
_POPSIZE = 24
_REFERENCES = 30
_GENERATIONS = 6


class _Slow:
    """A generator that takes its time."""

    def __init__(self, inner: Generator, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the generator has
        return getattr(self._inner, name)

    def render(self, codes: Codes) -> Images:
        """Render, and wait until `seconds` are over."""
        began = time.monotonic()
        images = self._inner.render(codes)
        time.sleep(max(0.0, self._seconds - (time.monotonic() - began)))
        return images


def _session(folder: Path, schedule: str) -> config.Config:
    settings = config.Config(
        session=config.SessionTable(
            schedule, seed=1, generations=_GENERATIONS, folder=str(folder)
        ),
        presentation=config.PresentationTable(on_ms=_ON_MS, off_ms=_OFF_MS, schedule=schedule),  # pyright: ignore[reportArgumentType]
        threads=(
            config.ThreadTable("texture", "mini-texture", popsize=_POPSIZE),
            config.ThreadTable("object", "mini-object", popsize=_POPSIZE),
        ),
        references=config.ReferencesTable(count=_REFERENCES),
        rig=config.RigTable(endpoint="tcp://127.0.0.1:*"),
        simulation=config.SimulationTable(units=("mini:conv4:52",), abort_rate=0.0),
    )
    return config.parse_session_file(config.commented_session_file(settings))


def _run(folder: Path, schedule: str) -> tuple[float, float, float]:
    """Return the rig's idle share, the engine's idea of it, and the seconds of rendering."""
    settings = _session(folder, schedule)
    text = config.commented_session_file(settings)
    file = folder / f"{schedule}.toml"
    file.write_text(text, encoding="utf-8")
    shown = {"together": 2 * _POPSIZE + _REFERENCES, "references": 2 * _POPSIZE}.get(
        schedule, _POPSIZE + _REFERENCES
    )
    seconds = shown * (_ON_MS + _OFF_MS) / 1000 / 2

    fast = generators.load

    def slow(name: str, **options: Any) -> Generator:  # noqa: ANN401  as `load` takes them
        return _Slow(fast(name, **options), seconds)  # pyright: ignore[reportReturnType]

    children: list[subprocess.Popen[bytes]] = []

    def start_rig(endpoint: str) -> None:
        command = [sys.executable, "-m", "evolver", "rig", str(file), "--endpoint", endpoint]
        children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    generators.load = slow
    try:
        ended = run_live(settings, text, Console(on_endpoint=start_rig))
    finally:
        generators.load = fast
        for child in children:
            child.terminate()
            child.wait()
    with recording.read(ended.recording) as opened:
        p, blocks = opened.presentations, opened.blocks
        onset = np.sort(p["onset_ns"]) / 1e9
        gaps = np.diff(onset) - (_ON_MS + _OFF_MS) / 1000
        late = np.maximum(gaps - np.median(gaps), 0.0)
        span = float(onset[-1] - onset[0])
        idle = float(late[late > _ON_MS / 1000].sum())  # less is the rig's own unevenness
        return idle / span, float(blocks["idle"].sum()) / span, seconds


def main() -> None:
    """Measure how long the rig is idle under each schedule, and print the section."""
    print("## The schedule: how long the rig is idle\n")
    print(
        f"`python -m benchmarks.schedule`, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()},"
    )
    print(f"{os.cpu_count()} cores; 2 threads of {_POPSIZE} images, {_REFERENCES} references,")
    print(f"{_ON_MS + _OFF_MS:.0f} ms a showing, {_GENERATIONS} generations, in real time.\n")
    print("| schedule | a generation takes to render | rig idle, its clock | engine's clock |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for schedule in ("together", "references", "alternate"):
            idle, engine, seconds = _run(Path(folder), schedule)
            print(
                f"| {schedule} | {seconds:.1f} s | {idle:.2%} | {np.round(engine * 100, 2)}% |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
