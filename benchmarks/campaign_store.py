"""A campaign's folder and page, when there are thousands of runs.

Question
    How long do `plan`, `status` and `gather` take for 10,000 tasks (goal: each below 10 s), and
    how long does the page of 1,000 runs take to open, to sort and to filter in a browser (goal:
    below a second)?
Method
    A grid of search x unit x seed over a session file of the built-in network, whose results
    are drawn at random in the form that a run leaves: 30 generations and an image of 64 x 64
    pixels each. The commands are timed as a user starts them, imports included. Then headless
    Chromium opens the page; a change of the sorting, and a filter that leaves half of the runs,
    are timed in the page from the event until the second frame after it, by the page's own
    clock, so that layout and painting are in it.
Repeats
    Each command 3 times; every column sorted once; 10 filters.
Cost
    About 2 minutes, and 60 MB of a temporary folder.
Outputs
    A Markdown section on standard output. Needs playwright and Chromium.

Run by ``python -m benchmarks.campaign_store``.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer
from playwright.sync_api import sync_playwright

from evolver.campaign.plan import read_campaign
from evolver.campaign.store import Store, TaskMeta, TaskResult
from evolver.campaign.task import WeightDigests

_TASKS, _PAGE_RUNS, _GENERATIONS, _SIDE = 10_000, 1_000, 30, 64
_PER_SEED = 10  # tasks: searches x units
_SESSION = """
[session]
name = "base"
[presentation]
on_ms = 100
off_ms = 50
[[threads]]
name = "texture"
generator = "mini-texture"
[simulation]
units = ["mini:conv3:1"]
"""
_CAMPAIGN = """
[campaign]
name = "many"
session = "session.toml"
[[vary]]
name = "search"
key = "threads.texture.optimizer"
values = ["cholesky", "sep"]
[[vary]]
name = "neuron"
key = "simulation.units"
values = [
  ["mini:conv3:1"], ["mini:conv3:2"], ["mini:conv3:3"], ["mini:conv3:4"], ["mini:conv3:5"],
]
[[vary]]
key = "session.seed"
range = [1, {seeds}]
"""
_SORT = """async (column) => {
  const begun = performance.now(), sort = document.getElementById("sort");
  sort.value = column;
  sort.dispatchEvent(new Event("change"));
  document.body.offsetHeight;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - begun;
}"""
_FILTER = """async () => {
  const begun = performance.now();
  const remove = document.querySelector("#filters button");
  (remove || document.getElementById("add")).click();
  document.body.offsetHeight;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - begun;
}"""


def make(folder: Path, tasks: int) -> Path:
    """Write a campaign's files, and its folder as if all were done; return its file."""
    folder.mkdir()
    (folder / "session.toml").write_text(_SESSION, encoding="utf-8")
    file = folder / "many.toml"
    file.write_text(_CAMPAIGN.format(seeds=tasks // _PER_SEED), encoding="utf-8")
    plan = read_campaign(file, weights=WeightDigests())
    store = Store(folder / "out", make=True)
    store.keep_plan(plan)
    rng = np.random.default_rng(1)
    for task in plan.tasks:
        mean = np.cumsum(rng.random(_GENERATIONS))
        slope = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))
        arrays: dict[str, Any] = {
            "mean-0": mean,
            "sem-0": rng.random(_GENERATIONS),
            "best-0": mean + 2,
            "references-0": rng.random(_GENERATIONS),
            "image-0": (slope[..., None] * rng.random(3) * 2).astype(np.uint8),
        }
        meta = TaskMeta(
            task.digest, ("texture",), ("spikes/s",), (_GENERATIONS,), 900, 3.2, "0"
        )
        store.keep(TaskResult(meta, arrays))
    return file


def seconds(*words: str | Path) -> tuple[float, float]:
    """Return the median time of three runs of a command: on the wall, and of the processor."""
    wall: list[float] = []
    processor: list[float] = []
    for _ in range(3):
        begun, before = time.perf_counter(), os.times()
        command = [sys.executable, "-m", "evolver", "campaign", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        wall.append(time.perf_counter() - begun)
        processor.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return float(np.median(wall)), float(np.median(processor))


def in_browser(page_file: Path) -> dict[str, list[float]]:
    """Return milliseconds: to open, of each sort, of each filter."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.wait_for_selector("#table tbody tr")
        opened = float(
            page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        )
        columns = int(page.locator("#sort option").count())
        sorts = [float(page.evaluate(_SORT, column)) for column in range(columns)]
        filters = [float(page.evaluate(_FILTER)) for _ in range(10)]
        browser.close()
    return {"open": [opened], "sort": sorts, "filter": filters}


def main() -> None:
    """Measure, and print a section for RESULTS.md."""
    with tempfile.TemporaryDirectory(prefix="evolver-campaign-store-") as temporary:
        folder = Path(temporary)
        file = make(folder / "many", _TASKS)
        out = file.parent / "out"
        times = {
            "run --plan": seconds("run", file, "--out", out, "--plan"),
            "status": seconds("status", out),
            "gather": seconds("gather", out),
        }
        large = (out / "table.html").stat().st_size
        small = make(folder / "page", _PAGE_RUNS)
        seconds("gather", small.parent / "out")
        page = small.parent / "out" / "table.html"
        size = page.stat().st_size
        measured = in_browser(page)
    print("## Campaigns: thousands of runs in a folder and on a page\n")
    print(
        f"`python -m benchmarks.campaign_store`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}; load "
        f"{os.getloadavg()[0]:.1f}.\n"
    )
    print(f"| {_TASKS:,} tasks | s | of it processor time, s |\n|---|---:|---:|")
    for name, (wall, processor) in times.items():
        print(f"| `{name}` | {wall:.1f} | {processor:.1f} |")
    print(f"\n| page of {_PAGE_RUNS:,} runs | median, ms | worst, ms |\n|---|---:|---:|")
    for name, values in measured.items():
        print(f"| {name} | {np.median(values):.0f} | {max(values):.0f} |")
    print(f"\nThe page has {size / 1e6:.1f} MB, that of {_TASKS:,} runs {large / 1e6:.1f} MB.")


if __name__ == "__main__":
    typer.run(main)
