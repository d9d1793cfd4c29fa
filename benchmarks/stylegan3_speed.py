"""What an image of StyleGAN3 costs on a processor, beside the plain operations it stands for.

Question
    Time an image at 256 pixels, configurations T and R, in the true architecture (T: channel
    base 32768, at most 512; R: twice both), as a ratio to the plain operations (zeros inserted
    and multiplied, whole rows filtered, every second sample thrown away: two passes along the
    axes where a filter allows it, as the original's own reference does), and how far the images
    are apart (goal: 1e-4 at most, and 5 times faster). And how much memory a generation of 40
    takes.
Method
    Random weights, float32, one process; the two contestants in turn, from the same styles.
    Wall-clock seconds, and the processor's, which other programs do not add to. The part that
    is convolutions alone (which both have) is timed by the same layers' `conv2d`. Memory is the
    most that a process of its own ever had (VmHWM), once with the weights in place and once
    after `render` of 40 codes.
Repeats
    3 of each contestant, after 1 of ours that is not counted; medians.
Cost
    About 5 minutes and 3 GB on one core that is free, and twice that with memory.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.stylegan3_speed``; ``--threads``, ``--repeats``, ``--kinds TR``,
``--batch 40`` (0 leaves memory out) and ``--chunk`` change what their names say.
"""
# pyright: basic

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import torch
import typer
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from benchmarks import stylegan3_reference as reference
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.stylegan3 import StyleGAN3, StyleGAN3Settings
from evolver.generators.stylegan3.settings import schedule

KINDS = {
    "T": StyleGAN3Settings(),
    "R": StyleGAN3Settings(
        conv_kernel=1, use_radial_filters=True, channel_base=65536, channel_max=1024
    ),
}


def timed(kind: str, repeats: int) -> tuple[dict[str, list[tuple[float, float]]], float, float]:
    """Return wall and processor seconds an image, by contestant; the difference; the spread."""
    config = KINDS[kind]
    tensors = reference.random_tensors(config, seed=0)
    net = StyleGAN3(config, tensors)
    taken: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": [], "convolutions": []}
    apart, spread = 0.0, 0.0
    with torch.inference_mode():
        for k in range(repeats + 1):
            z = torch.from_numpy(np.random.default_rng(k).standard_normal((1, config.z_dim)))
            ws = net.styles(z.float())
            image, seconds = _clocked(lambda ws=ws: net.draw(ws))
            if k == 0:
                continue
            taken["ours"].append(seconds)
            expected, seconds = _clocked(lambda ws=ws: reference.synthesis(config, tensors, ws))
            taken["plain"].append(seconds)
            taken["convolutions"].append(_clocked(lambda: _convolve(config))[1])
            apart = max(apart, float((image - expected).abs().max()))
            spread = float(expected.std())
    return taken, apart, spread


def _clocked(work):  # noqa: ANN001, ANN202  a thunk, and what it returns
    wall, processor = perf_counter(), process_time()
    value = work()
    return value, (perf_counter() - wall, process_time() - processor)


def _convolve(config: StyleGAN3Settings) -> None:
    """Do the layers' convolutions and nothing else, on zeros."""
    for layer in schedule(config).layers:
        x = torch.zeros(1, layer.in_channels, layer.in_size, layer.in_size)
        weight = torch.zeros(layer.out_channels, layer.in_channels, *[layer.kernel] * 2)
        F.conv2d(x, weight, padding=layer.kernel - 1)


def render_images(kind: str, batch: int, chunk: int) -> None:
    """Print the most memory this process had before and after rendering, MB."""
    config = KINDS[kind]
    net = StyleGAN3(config, reference.random_tensors(config, seed=0))
    generator = FrozenGenerator(
        "stylegan3", net, d=net.d, image_size=256, sha256="", device=torch.device("cpu"),
        chunk=chunk,
    )  # fmt: skip
    before = _peak()
    generator.render(np.random.default_rng(0).standard_normal((batch, net.d)))
    print(before, _peak())


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM"))


def main(
    *,
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="of which the median is taken")] = 3,
    kinds: Annotated[str, typer.Option(help="letters of configurations")] = "TR",
    batch: Annotated[int, typer.Option(min=0, help="codes rendered for memory")] = 40,
    chunk: Annotated[
        list[int] | None, typer.Option(min=1, help="images at once; may be repeated [1, 4]")
    ] = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Measure the speed of StyleGAN3 at 256 pixels, and print the section."""
    chunks = chunk or [1, 4]
    torch.set_num_threads(threads)
    if child:
        render_images(kinds, batch, chunks[0])
        return
    print("## StyleGAN3 at 256 pixels, on a processor\n")
    print(f"`python -m benchmarks.stylegan3_speed`, {datetime.now().astimezone().date()},")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, threads")
    print(f"used: {threads}; median of {repeats}, seconds an image:")
    print("wall clock (processor).\n")
    print("| | plain operations | ours | ratio | convolutions alone | images apart, of |")
    print("|---|---|---|---|---|---|")
    for kind in kinds:
        taken, apart, spread = timed(kind, repeats)
        wall, work = (
            {name: median(row[k] for row in rows) for name, rows in taken.items()}
            for k in (0, 1)
        )
        cells = {name: f"{wall[name]:.1f} ({work[name]:.1f})" for name in taken}
        ratio = f"{wall['plain'] / wall['ours']:.1f} ({work['plain'] / work['ours']:.1f})"
        print(f"| {kind} | {cells['plain']} | {cells['ours']} | {ratio} |", end="")
        print(f" {cells['convolutions']} | {apart:.0e}, {spread:.2f} |", flush=True)
    if not batch:
        return
    print(f"\n| {batch} images, T, chunk | peak, MB | before rendering, MB |")
    print("|---|---|---|")
    for size in chunks:
        command = [
            sys.executable,
            "-m",
            "benchmarks.stylegan3_speed",
            "--child",
            "--kinds",
            "T",
        ]
        command += ["--batch", str(batch), "--chunk", str(size)]
        command += ["--threads", str(threads)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        before, peak = run.stdout.split()
        print(f"| {size} | {peak} | {before} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
