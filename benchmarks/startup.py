"""Start-up: what importing the package costs a script or a shell.

Question: how long does ``python -c "import evolver"`` take, as a ratio of ``python -c pass``,
and does it load torch? (Goals: under 0.3 s; it must not, or this fails.) The same of
``evolver --version``.

Method: each in a new interpreter, the sides alternating; medians of `--rounds`, 20.

Outputs: a Markdown section on standard output. Cost: about 15 s.

    python -m benchmarks.startup
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import numpy as np
import typer

_SIDES = {
    "python -c pass": ["-c", "pass"],
    "import evolver": ["-c", "import evolver"],
    "evolver --version": ["-m", "evolver", "--version"],
}


def main(
    rounds: Annotated[int, typer.Option(help="how often each is begun", min=1)] = 20,
) -> None:
    """Measure what importing the package costs, and print the section."""
    took: dict[str, list[float]] = {name: [] for name in _SIDES}
    for _ in range(rounds):
        for name, arguments in _SIDES.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - began)
    code = "import evolver, sys; sys.exit('torch' in sys.modules)"
    if subprocess.run([sys.executable, "-c", code], check=False).returncode:
        raise SystemExit("`import evolver` must not load torch; it does, or it failed")
    base = float(np.median(took["python -c pass"]))
    print("## Start-up\n")
    print(f"`python -m benchmarks.startup`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, {os.cpu_count()} cores; medians of {rounds}.")
    print("`import evolver` does not load torch.\n")
    print("| | s | ratio |")
    print("|---|---|---|")
    for name, times in took.items():
        median = float(np.median(times))
        print(f"| `{name}` | {median:.3f} | {median / base:.2f} |")


if __name__ == "__main__":
    typer.run(main)
