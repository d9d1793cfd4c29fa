"""The journal: what being safe costs, as a share of the time a generation is on the screen.

Question
    What share of its time does the journal take in the demo (goal: at most 1 %)? And how far is
    it from the disk's own limit?
Method
    (1) The demo's session over a real socket with its simulated rig, in a folder of its own.
    Records are encoded on the loop's thread and handed to the recorder's, which writes and
    syncs them while the loop goes on. Three figures, each of a generation:

    - busy: the recording's `/blocks/journal`: encoding on the loop's thread, writing and
      syncing on the recorder's, by the wall clock, so with the time the disk or the
      interpreter's lock was waited for. It counts from one commit to the next, not by block;
    - waiting: `/blocks/blocked`: the loop stood at a barrier, before it showed or learnt;
    - held up: waiting, and encoding besides. No column has encoding alone: the same records are
      encoded again here, and timed.

    Busy and held up overlap: they must not be added. Blocks overlap as well, so a generation's
    time is from its first proposal to the next generation's; and at real time, the sum of the
    on and off times of all its presentations, which is what they take at 1/25 of the demo's
    pace.
    (2) The journal's frames are written again, in the same batches of one sync a block, by bare
    pwrite + fdatasync on the same disk, alternating with `JournalWriter` doing the same. A
    batch is its frames' packing, write and sync, against write and sync of bytes that are
    ready; the whole has opening, reserving room and closing besides.
Repeats
    60 generations; 15 rounds of (2).
Cost
    About 80 s; with ``--quick`` a few seconds, to see that it runs.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.journal``.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from evolver import config, recording
from evolver.config import presets
from evolver.journal import frames
from evolver.journal.reader import JournalIndex
from evolver.journal.records import Committed, encode_record
from evolver.journal.storage import OsFileSystem
from evolver.journal.writer import JournalWriter
from evolver.live import Console, run_live

_SPEED = 25.0


def _demo(folder: Path, generations: int) -> Path:
    """Run the demo's session; return its folder."""
    settings = presets.demo_session(
        folder=folder, generations=generations, speed=_SPEED, unit=None, seed=1
    )
    text = config.commented_session_file(settings)
    file = folder / "demo.toml"
    file.write_text(text, encoding="utf-8")
    children: list[subprocess.Popen[bytes]] = []

    def start_rig(endpoint: str) -> None:
        command = [sys.executable, "-m", "evolver", "rig", str(file), "--endpoint", endpoint]
        children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    try:
        return run_live(settings, text, Console(on_endpoint=start_rig)).folder
    finally:
        for child in children:
            child.terminate()
            child.wait()


@dataclass(frozen=True, slots=True, eq=False)
class Generations:
    """What each generation of a session took: arrays of (generations,) float64, seconds."""

    busy: np.ndarray
    waiting: np.ndarray
    pace: np.ndarray  # its time as it was run
    real: np.ndarray  # its presentations' time on a rig


def by_generation(blocks: np.ndarray, presentations: np.ndarray, n: int) -> Generations:
    """Sum a recording's blocks and presentations over generations.

    Parameters
    ----------
    blocks, presentations : the recording's tables, rows in order; as many blocks in every
        generation
    n : generations
    """
    times = blocks["time_ns"].reshape(n, -1)
    end = int(blocks["committed_ns"].max())
    on = np.zeros(len(blocks))
    presentations = presentations[presentations["attempt"] > 0]
    np.add.at(
        on, presentations["block"], (presentations["on_ms"] + presentations["off_ms"]) / 1000
    )
    return Generations(
        busy=blocks["journal"].reshape(n, -1).sum(axis=1),
        waiting=blocks["blocked"].reshape(n, -1).sum(axis=1),
        pace=np.diff(times[:, 0], append=end) / 1e9,
        real=on.reshape(n, -1).sum(axis=1),
    )


def _batches(journal: Path) -> tuple[list[list[bytes]], np.ndarray]:
    """Return payloads in batches that end with a commit, and the seconds to encode each."""
    batches: list[list[bytes]] = [[]]
    seconds: list[float] = [0.0]
    for _, record in JournalIndex(journal):
        began = time.perf_counter()
        payload = encode_record(record)
        seconds[-1] += time.perf_counter() - began
        batches[-1].append(bytes(payload))
        if isinstance(record, Committed):
            batches.append([])
            seconds.append(0.0)
    return batches[:-1], np.array(seconds[:-1])


def _bare(path: Path, batches: list[list[bytes]]) -> tuple[float, list[float]]:
    """Write the batches as the disk would have them at best; return seconds, and of each."""
    ready = [b"".join(frames.pack_frame(0, payload) for payload in batch) for batch in batches]
    disk = OsFileSystem()
    took: list[float] = []
    began = time.perf_counter()
    fd = disk.create(path)
    disk.preallocate(fd, sum(map(len, ready)))
    at = 0
    for data in ready:
        started = time.perf_counter()
        at += disk.pwrite(fd, data, at)
        disk.fdatasync(fd)
        took.append(time.perf_counter() - started)
    disk.close(fd)
    return time.perf_counter() - began, took


def _journal(path: Path, batches: list[list[bytes]]) -> tuple[float, list[float]]:
    took: list[float] = []
    began = time.perf_counter()
    with JournalWriter(path) as journal:
        for batch in batches:
            started = time.perf_counter()
            for payload in batch:
                journal.append_payload(payload)
            journal.sync()
            took.append(time.perf_counter() - started)
    return time.perf_counter() - began, took


def _row(name: str, seconds: np.ndarray, g: Generations) -> str:
    p50, p99 = np.percentile(1e3 * seconds, [50, 99])
    shares = [
        f"{seconds.sum() / span.sum():.3%} | {np.percentile(seconds / span, 50):.3%} | "
        f"{np.percentile(seconds / span, 99):.3%}"
        for span in (g.pace, g.real)
    ]
    ms = f"{1e3 * seconds.mean():.1f} | {p50:.1f} | {p99:.1f}"
    return f"| {name} | {ms} | {' | '.join(shares)} |"


def main(
    *,
    generations: Annotated[int, typer.Option(min=1, help="of the demo")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="of writing the same again")] = 15,
    quick: Annotated[bool, typer.Option("--quick", help="3 generations, 2 rounds")] = False,
) -> None:
    """Measure what the journal costs a block of the demo, and print the section."""
    n, rounds = (3, 2) if quick else (generations, rounds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = _demo(Path(temporary), n)
        with recording.read(folder / "session.h5") as opened:
            g = by_generation(opened.blocks, opened.presentations, n)
        batches, encoding = _batches(folder / "journal")
        bare: list[tuple[float, list[float]]] = []
        ours: list[tuple[float, list[float]]] = []
        for number in range(rounds):
            bare.append(_bare(Path(temporary) / f"bare-{number}", batches))
            ours.append(_journal(Path(temporary) / f"journal-{number}", batches))
    encoding = encoding.reshape(n, -1).sum(axis=1)
    size = sum(len(p) for batch in batches for p in batch) / n
    print("## The journal: its share of a generation's time in the demo\n")
    print(f"`python -m benchmarks.journal`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()};")
    print(f"{n} generations of two threads with references, {size / 1e3:.0f} kB each;")
    print(f"a generation takes {g.pace.mean():.2f} s at the demo's pace,")
    print(f"{g.real.mean():.1f} s at real time.\n")
    print("| a generation | ms: mean | p50 | p99 | demo's pace: mean | p50 | p99 ", end="")
    print("| real time: mean | p50 | p99 |\n|---|---|---|---|---|---|---|---|---|---|")
    print(_row("busy, on either thread", g.busy, g))
    print(_row("the loop waits", g.waiting, g))
    print(_row("the loop is held up (waits, encodes)", g.waiting + encoding, g))
    print(f"\nThe same bytes again, {rounds} rounds by turns, on the same disk:\n")
    print("| ms | pwrite + fdatasync | JournalWriter | ratio |\n|---|---|---|---|")
    for name, at in (("p50", 50), ("p99", 99)):
        limit, mine = (
            1e3 * np.percentile([t for _, took in side for t in took], at)
            for side in (bare, ours)
        )
        print(f"| a block, {name} | {limit:.2f} | {mine:.2f} | {mine / limit:.2f} |")
    limit, mine = (1e3 * np.median([whole for whole, _ in side]) for side in (bare, ours))
    print(f"| the whole, median | {limit:.1f} | {mine:.1f} | {mine / limit:.2f} |")


if __name__ == "__main__":
    typer.run(main)
