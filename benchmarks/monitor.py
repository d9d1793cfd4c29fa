"""The live page: from a result on the disk to pixels on the screen.

Question
    How long from the moment a result is durable in the journal until a browser shows it, after
    six hours of session? (Goal: p99 below 500 ms.) And does the page's process keep its size?
Method
    A journal with 400 blocks of 60 presentations and 64 units is written first. Then `evolver
    monitor` is started on it, headless Chromium opens the page, and results are written and
    synced one by one at the pace of a rig (one every 150 ms), with a whole block's records
    every 60 of them. In the browser, a loop on requestAnimationFrame notes when the number of
    presentations that the page shows has reached each value; both clocks are the machine's.
Repeats
    300 results.
Cost
    About 1.5 minutes.
Outputs
    A Markdown section on standard output. Needs playwright and Chromium.

Run by ``python -m benchmarks.monitor``.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import typer
from playwright.sync_api import sync_playwright

from evolver.journal import records as r
from evolver.journal.writer import JournalWriter

_BLOCKS, _IMAGES, _SHOWN, _UNITS = 400, 30, 60, 64
_RESULTS, _EVERY_S = 300, 0.15
_RNG = np.random.default_rng(1)
_BUDGET = r.TimeBudget(
    propose=0,
    render=0.1,
    encode=0,
    send=0,
    wait=9,
    score=0,
    journal=0,
    blocked=0,
    total=9,
    idle=0,
)

_WATCH = """
() => {
  window.seen = [];
  const deep = (root) => {
    for (const element of root.querySelectorAll('*')) {
      if (element.shadowRoot) {
        const found = deep(element.shadowRoot);
        if (found) return found;
      }
    }
    const found = /(\\d+) presentations/.exec(root.textContent || '');
    return found ? Number(found[1]) : null;
  };
  let last = -1;
  const look = () => {
    const n = deep(document);
    if (n !== null && n !== last) { last = n; window.seen.push([n, Date.now()]); }
    requestAnimationFrame(look);
  };
  look();
}
"""


def _start() -> Iterator[r.AnyRecord]:
    thread = r.ThreadInfo(
        "a", "cholesky", "g", 8, _IMAGES, 64, "0" * 64, "{}", '{"units": [0], "weights": [1.0]}'
    )
    yield r.RunStart(
        2, "0" * 32, "long", "", 1, "live", "", (thread,), (), {}, {}, (-100.0, 300.0)
    )
    units = tuple(r.UnitInfo(i, 0, "IT", f"unit {i}") for i in range(_UNITS))
    yield r.RigRecord(0, "rig", "", units, "{}")


def _proposed(block: int) -> Iterator[r.AnyRecord]:
    digests = tuple(f"{block:032}{i:032}" for i in range(_IMAGES))
    for digest in digests:
        pixels = _RNG.integers(0, 256, (64, 64, 3), np.uint8)
        yield r.ImagePixels(digest, r.PackedArray.of(pixels))
    codes = r.PackedArray.of(np.zeros((_IMAGES, 8)))
    plan = tuple(
        r.PlannedPresentation(
            presentation=block * _SHOWN + i,
            thread=0,
            row=i % _IMAGES,
            repeat=i // _IMAGES,
            on_ms=100.0,
            off_ms=50.0,
        )
        for i in range(_SHOWN)
    )
    thread = r.ProposedThread(0, block, codes, digests, {}, "{}")
    yield r.Proposed(block, time.time_ns(), (thread,), (), (), plan)


def _result(number: int) -> r.Result:
    k = int(_RNG.poisson(200))
    spikes = {
        "units": r.PackedArray.of(_RNG.integers(0, _UNITS, k).astype("<u4")),
        "times_ms": r.PackedArray.of(np.sort(_RNG.uniform(-100, 300, k)).astype("<f4")),
    }
    at = time.time_ns()
    return r.Result(
        block=number // _SHOWN,
        presentation=number,
        attempt=1,
        status="ok",
        reason="",
        received_ns=at,
        commanded_ns=at,
        onset_ns=at,
        offset_ns=at,
        onset_source="flip",
        form="spikes",
        arrays=spikes,
    )


def _committed(block: int) -> r.Committed:
    scores = r.PackedArray.of(_RNG.normal(20 + block / 20, 5, _IMAGES))
    told = r.CommittedThread(0, block, scores, scores)
    nothing = r.PackedArray.of(np.zeros(0))
    return r.Committed(block, time.time_ns(), (told,), (nothing,), _BUDGET)


def main() -> None:
    """Measure how late the live page is, and print the section."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("this benchmark needs Chromium on the path")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        journal = JournalWriter(Path(folder) / "journal")
        for record in _start():
            journal.append(record)
        for block in range(_BLOCKS):
            for record in _proposed(block):
                journal.append(record)
            for i in range(_SHOWN):
                journal.append(_result(block * _SHOWN + i))
            journal.append(_committed(block))
            journal.sync()
        page_process = subprocess.Popen(
            [sys.executable, "-m", "evolver", "monitor", folder],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = "" if page_process.stdout is None else page_process.stdout.readline()
        address = re.search(r"http\S+", line)
        if address is None:
            sys.exit(f"the page did not start: {line}")
        browser = p.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(address.group())
        first = _BLOCKS * _SHOWN
        opened = time.monotonic()
        page.get_by_text(f"{first} presentations").wait_for(timeout=120_000)
        caught_up = time.monotonic() - opened
        page.evaluate(_WATCH)
        server = psutil.Process(page_process.pid)
        before = server.memory_info().rss
        written: dict[int, float] = {}
        for i in range(_RESULTS):
            number = first + i
            if number % _SHOWN == 0:
                if i:
                    journal.append(_committed(number // _SHOWN - 1))
                for record in _proposed(number // _SHOWN):
                    journal.append(record)
            journal.append(_result(number))
            journal.sync()
            written[number + 1] = time.time() * 1000
            page.wait_for_timeout(_EVERY_S * 1000)
        page.wait_for_timeout(2000)
        seen = [(int(n), float(at)) for n, at in page.evaluate("() => window.seen")]
        after = server.memory_info().rss
        browser.close()
        page_process.terminate()
        page_process.wait()
        journal.close()
    late = [min(at for m, at in seen if m >= n) - t for n, t in written.items()]
    p50, p99 = np.percentile(late, [50, 99])
    print("## The live page: from a result on the disk to pixels\n")
    print(
        f"`python -m benchmarks.monitor`, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()},"
    )
    print(f"{os.cpu_count()} cores, headless Chromium; after {_BLOCKS} blocks of {_SHOWN}")
    print(f"presentations, {_UNITS} units ({_BLOCKS * _SHOWN} presentations).\n")
    print(f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {max(late):.0f} ms; {_RESULTS} results.")
    print(
        f"Opening the page on that session took {caught_up:.1f} s until it had caught up; its"
    )
    print(f"process had {before / 1e6:.0f} MB then and {after / 1e6:.0f} MB at the end.")


if __name__ == "__main__":
    typer.run(main)
