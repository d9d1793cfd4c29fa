"""Endurance: six hours' worth of blocks at speed, with the live page open in a browser.

Question
    Does any process of a session grow over six hours? Is the file complete, and the page alive?
Method
    `evolver serve` with two threads, references and 64 units, the simulated rig at the speed of
    the machine, and headless Chromium with the live page open. 1,350 generations of 64
    presentations of 250 ms are six hours. Resident memory of every process is read every 2 s;
    its growth is the slope of a straight line, by least squares, through the second half of
    the readings, times that half's length: a process that has levelled off has none. In the
    tab, the intervals between animation frames are kept.
Repeats
    One session.
Cost
    10 to 20 minutes on 2 cores; ``--generations 60`` to see that it runs.
Outputs
    A Markdown section on standard output. Needs playwright and Chromium.

Run by ``python -m benchmarks.endurance``.
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
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import psutil
import typer
from playwright.sync_api import Page, sync_playwright

from evolver import config, recording
from evolver.config import presets

_UNITS, _EVERY_S = 64, 2.0
_FRAMES = """
() => {
  window.gaps = [];
  let last = performance.now();
  const look = (now) => {
    window.gaps.push(now - last);
    last = now;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
"""
_NAMES = {
    "engine": "evolver.live.engine",
    "recorder": "evolver.journal.recorder_process",
    "page": "monitor",
}


def _session(folder: Path, generations: int) -> Path:
    settings = presets.demo_session(
        folder=folder / "out", generations=generations, speed=float("inf"), unit=None, seed=2
    )
    units = tuple(f"mini:conv4:{i}" for i in range(_UNITS))
    simulation = msgspec.structs.replace(settings.simulation, units=units)
    settings = msgspec.structs.replace(settings, simulation=simulation)
    file = folder / "session.toml"
    file.write_text(config.commented_session_file(settings), encoding="utf-8")
    return file


def _sizes(supervisor: psutil.Process, rig: psutil.Process) -> dict[str, float]:
    """Return the resident memory of each process, MB."""
    sizes = {"supervisor": supervisor.memory_info().rss / 1e6}
    for child in supervisor.children():
        line = " ".join(child.cmdline())
        for name, sign in _NAMES.items():
            if sign in line:
                sizes[name] = child.memory_info().rss / 1e6
    sizes["rig"] = rig.memory_info().rss / 1e6
    return sizes


def _watch(
    serve: subprocess.Popen[str], rig: subprocess.Popen[str], page: Page
) -> dict[str, list[tuple[float, float]]]:
    """Return (seconds, MB) readings of every process until the session ends."""
    readings: dict[str, list[tuple[float, float]]] = defaultdict(list)
    began = time.monotonic()
    supervisor, simulated = psutil.Process(serve.pid), psutil.Process(rig.pid)
    while serve.poll() is None:
        try:
            for name, size in _sizes(supervisor, simulated).items():
                if size:  # else it has ended, and nobody has asked how
                    readings[name].append((time.monotonic() - began, size))
        except psutil.NoSuchProcess:
            pass  # the end
        page.wait_for_timeout(_EVERY_S * 1000)
    return readings


def main(
    *,
    generations: Annotated[int, typer.Option(min=1, help="1350 are six hours")] = 1350,
) -> None:
    """Run six hours of blocks at speed, and print the section."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("this benchmark needs Chromium on the path")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as p:
        folder = Path(temporary)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        environment = {**os.environ, "EVOLVER_RUNTIME": str(runtime), "OMP_NUM_THREADS": "1"}
        file = _session(folder, generations)
        command = [sys.executable, "-m", "evolver"]
        serve = subprocess.Popen(
            [*command, "serve", str(file), "--yes", "--no-report"],
            stdout=(log := (folder / "serve.log").open("w")),
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        endpoint = address = None
        while not (endpoint and address):
            if serve.poll() is not None:
                sys.exit((folder / "serve.log").read_text())
            time.sleep(0.2)
            log_text = (folder / "serve.log").read_text()
            endpoint = re.search(r"tcp://\S+\d", log_text)
            address = re.search(r"http://\S+", log_text)
        rig = subprocess.Popen(
            [*command, "rig", str(file), "--endpoint", endpoint.group()],
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        browser = p.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(address.group())
        page.evaluate(_FRAMES)
        readings = _watch(serve, rig, page)
        gaps = np.array(page.evaluate("() => window.gaps"))
        browser.close()
        rig.wait()
        log.close()
        (file,) = (folder / "out").glob("*/session.h5")
        with recording.read(file) as opened:
            complete = opened.complete
            done = [thread.generations for thread in opened.threads]
            presentations = len(opened.presentations)
            real = float(
                (opened.presentations["on_ms"] + opened.presentations["off_ms"]).sum() / 3.6e6
            )
    print("## Endurance: a long session's worth of blocks at speed\n")
    print(f"`python -m benchmarks.endurance`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {done} generations, {presentations}")
    print(f"presentations, {_UNITS} units: {real:.1f} hours of showing in")
    print(f"{readings['engine'][-1][0] / 60:.0f} minutes, the page open in Chromium.\n")
    print(f"The file is {'complete' if complete else 'NOT COMPLETE'}. In the tab, between two")
    print(
        f"frames: p50 {np.percentile(gaps, 50):.0f} ms, p99 {np.percentile(gaps, 99):.0f} ms, "
        f"longest {gaps.max():.0f} ms.\n"
    )
    print(
        "| resident memory, MB | at a quarter | half | the end | growth over the second half |"
    )
    print("|---|---|---|---|---|")
    for name, rows in readings.items():
        at, size = np.array(rows).T
        half = slice(len(at) // 2, None)
        slope = float(np.polynomial.Polynomial.fit(at[half], size[half], 1).convert().coef[1])
        growth = slope * float(at[-1] - at[len(at) // 2])
        print(
            f"| {name} | {size[len(at) // 4]:.0f} | {size[len(at) // 2]:.0f} | "
            f"{size[-1]:.0f} | {growth:+.1f} ({growth / size[-1]:+.1%}) |"
        )


if __name__ == "__main__":
    typer.run(main)
