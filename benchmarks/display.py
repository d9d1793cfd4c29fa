"""The stimulus display: how many frames it misses under a virtual screen.

Question: over 2,000 presentations, how many frames are dropped, and how even are the flips, of
our display and of a bare loop of pygame flips paced the same way, in one run?
Method: Xvfb, 800 x 600, paced at 60 Hz by the clock, since a virtual screen has no vertical
blank: what is measured is whether our work fits into a frame. Images of 256 x 256 scaled to 3
degrees, 2 frames on and 1 off, a new image every presentation. A frame is dropped where two
flips are more than 1.5 frames apart. On a real screen `StimulusDisplay.record` holds the same.
Repeats: 2,000 presentations, and as many frames of the bare loop as they have.
Cost: about 4 minutes.
Outputs: a Markdown section on standard output. Needs pygame and Xvfb.

    python -m benchmarks.display
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import typer

from rig_bridge.rigs.display.screen import Screen
from rig_bridge.rigs.display.stimulus_display import StimulusDisplay
from rig_bridge.trials import Presentation

_N, _ON, _OFF = 2000, 2, 1
_SCREEN = Screen(800, 600, 40.0, 57.3, 60.0)


def _bare(frames: int) -> list[int]:
    """Flip an empty window at the clock's pace; return the flips' times, ns."""
    import pygame

    window = pygame.display.set_mode((800, 600), pygame.DOUBLEBUF, vsync=1)
    flips: list[int] = []
    last = time.perf_counter()
    for _ in range(frames):
        window.fill((128, 128, 128))
        pygame.display.flip()
        left = last + 1 / 60 - time.perf_counter()
        if left > 0:
            time.sleep(left)
        last = time.perf_counter()
        flips.append(time.time_ns())
    return flips


def main() -> None:
    """Measure how many frames the stimulus display misses, and print the section."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        sys.exit("this benchmark needs Xvfb on the path")
    server = subprocess.Popen(
        [xvfb, "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    number = "" if server.stdout is None else server.stdout.readline().decode().strip()
    os.environ |= {"DISPLAY": f":{number}", "SDL_VIDEODRIVER": "x11"}
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(40)]
    display = StimulusDisplay(_SCREEN)
    frame = _SCREEN.frame_ms
    for i in range(_N):
        if i % 40 == 0:
            display.prepare({str(k): image for k, image in enumerate(images)})
        request = Presentation(
            block=0,
            attempt=1,
            presentation=i,
            sha256=str(i % 40),
            on_ms=_ON * frame,
            off_ms=_OFF * frame,
            size_deg=3.0,
            position_deg=(0.0, 0.0),
            window_ms=(-100.0, 300.0),
        )
        display.show(images[i % 40], request)
    record, dropped = list(display.record), display.dropped
    flips = [t for presentation in record for t in presentation.flips_ns]
    between = sum(_SCREEN.dropped([a.flips_ns[-1], b.flips_ns[0]]) for a, b in pairwise(record))
    bare = _bare(len(flips))
    display.close()
    server.terminate()
    ours, theirs = (np.diff(np.array(f)) / 1e6 / frame for f in (flips, bare))
    print("## The stimulus display under a virtual screen\n")
    print(
        f"`python -m benchmarks.display`, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()},"
    )
    print(
        f"{os.cpu_count()} cores, Xvfb; {_N} presentations of {_ON} + {_OFF} frames at 60 Hz.\n"
    )
    print("| | frames | dropped | flip to flip, frames: p50 | p99 | worst |")
    print("|---|---|---|---|---|---|")
    for name, gaps, lost in (
        ("within presentations", ours, dropped),
        ("a bare pygame loop", theirs, _SCREEN.dropped(bare)),
    ):
        p50, p99 = np.percentile(gaps, [50, 99])
        n = len(gaps) + 1
        print(f"| {name} | {n} | {lost} | {p50:.3f} | {p99:.3f} | {gaps.max():.2f} |")
    print(f"\nBetween presentations {between} frames were missed besides.")


if __name__ == "__main__":
    typer.run(main)
