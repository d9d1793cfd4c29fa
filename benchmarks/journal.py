"""The journal: what being safe costs, as a share of the time a block is on the screen.

Question
    What share of a block's time does the journal take in the demo (goal: at most 1 %)? And how
    far is it from the disk's own limit?
Method
    (1) The demo's session over a real socket with its simulated rig, in a folder of its own.
    The recorder works on a thread of its own while the loop goes on; every block's record says
    how long that thread was busy (`journal`: encoding, writing, syncing) and how long the loop
    had to wait for it (`blocked`). Both are divided by the block's time on the rig: at the
    demo's pace, 25 times real time, and at real time, where the same work is spread over 25
    times as long. (2) The journal's segments are written again, frame by frame in the same
    batches of one sync a generation, by bare pwrite + fdatasync on the same disk, alternating
    with `JournalWriter` doing the same: the ratio is what framing and bookkeeping cost.
Repeats
    20 generations; 15 rounds of (2).
Cost
    About 30 s.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.journal``.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from evolver import config, presets, recording
from evolver.daemon import Watcher, run_live
from evolver.recording import frames
from evolver.recording.index import JournalIndex
from evolver.recording.journal import JournalWriter
from evolver.recording.records import Committed, encode

_SPEED = 25.0


def _demo(folder: Path, generations: int) -> Path:
    """Run the demo's session; return its folder."""
    settings = presets.demo(
        folder=folder, generations=generations, speed=_SPEED, unit=None, seed=1
    )
    text = config.commented(settings)
    file = folder / "demo.toml"
    file.write_text(text, encoding="utf-8")
    children: list[subprocess.Popen[bytes]] = []

    def start_rig(endpoint: str) -> None:
        command = [sys.executable, "-m", "evolver", "rig", str(file), "--endpoint", endpoint]
        children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    watcher = Watcher(lambda: False, lambda _: None, lambda _: None, lambda _: None)
    try:
        return run_live(settings, text, watcher, on_endpoint=start_rig).folder
    finally:
        for child in children:
            child.terminate()
            child.wait()


def _batches(journal: Path) -> list[list[bytes]]:
    """Return the journal's payloads, in batches that end with a commit."""
    batches: list[list[bytes]] = [[]]
    for _, record in JournalIndex(journal):
        batches[-1].append(encode(record))
        if isinstance(record, Committed):
            batches.append([])
    return [batch for batch in batches if batch]


def _bare(path: Path, batches: list[list[bytes]]) -> float:
    """Write the batches as the disk would have them at best; return seconds."""
    ready = [b"".join(frames.pack(0, payload) for payload in batch) for batch in batches]
    began = time.perf_counter()
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(fd, 0, sum(map(len, ready)))
    at = 0
    for data in ready:
        at += os.pwrite(fd, data, at)
        os.fdatasync(fd)
    os.close(fd)
    return time.perf_counter() - began


def _journal(path: Path, batches: list[list[bytes]]) -> float:
    began = time.perf_counter()
    with JournalWriter(path) as journal:
        for batch in batches:
            for payload in batch:
                journal.append_payload(payload)
            journal.sync()
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print the section."""
    parser = argparse.ArgumentParser(description="What the journal costs a block of the demo.")
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = _demo(Path(temporary), options.generations)
        with recording.read(folder / "session.h5") as opened:
            blocks = opened.blocks
            shown = opened.presentations
            on = float((shown["on_ms"] + shown["off_ms"])[shown["attempt"] > 0].sum()) / 1000
        batches = _batches(folder / "journal")
        bare: list[float] = []
        ours: list[float] = []
        for number in range(options.rounds):
            bare.append(_bare(Path(temporary) / f"bare-{number}", batches))
            ours.append(_journal(Path(temporary) / f"journal-{number}", batches))
    busy, blocked = blocks["journal"], blocks["blocked"]
    n = options.generations
    span = (blocks["committed_ns"].max() - blocks["time_ns"].min()) / 1e9
    size = sum(len(p) for batch in batches for p in batch) / n
    print("## The journal: its share of a block's time in the demo\n")
    print(f"`python -m benchmarks.journal`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()};")
    print(f"{n} generations of two threads with references, {size / 1e3:.0f} kB each.\n")
    print("| a generation | ms | of its time at the demo's pace | at real time |")
    print("|---|---|---|---|")
    for name, values in (
        ("the recorder's thread is busy", busy),
        ("the loop waits for it", blocked),
    ):
        total = float(values.sum())
        print(f"| {name} | {total / n * 1e3:.1f} | {total / span:.2%} | {total / on:.3%} |")
    worst = np.sort(blocked)[-1]
    print(f"\nA generation takes {span / n:.2f} s at the demo's pace, {on / n:.1f} s at real")
    print(
        f"time. The longest wait of one block was {worst * 1e3:.1f} ms. Writing the same bytes"
    )
    print("in the same batches, against bare pwrite + fdatasync on the same disk:")
    print(f"{np.median(ours) / np.median(bare):.2f} of medians.")


if __name__ == "__main__":
    main()
