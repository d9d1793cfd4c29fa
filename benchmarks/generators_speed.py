"""What 40 images cost: DeePSim beside its own matrix products, and memory by chunk.

Question
    (1) How long do 40 images of DeePSim fc6 take, as a ratio to the matrix products that its
    layers are (the floor: no padding, no activation, no bytes)? (2) How much memory do 40
    images take, of each generator, at its own chunk and at others?
Method
    Weights are random, of the published networks' shapes: neither time nor memory depends on
    their values. (1) Layer by layer, one product of the layer's size at the chunk's number of
    images: for a transposed convolution (channels out times taps) x (channels in) by (channels
    in) x (pixels in); for a convolution (channels out) x (channels in times taps) by that x
    (pixels out); the passes a generation has, added up. Rendering and floor alternate. (2) A
    process of its own for each: its peak while it draws 40 images, less its size when the
    network was there and had drawn nothing. Linux tells a peak from a given moment on.
Repeats
    (1) 7 rounds, medians. (2) One run each.
Cost
    About 10 minutes, most of it BigGAN and PGGAN; ``--quick`` leaves them out.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.generators_speed``; OMP_NUM_THREADS says how many cores.
"""
# pyright: basic, reportCallIssue=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false
# torch types the attributes of a Module as Tensor or Module, whatever they are.

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from evolver.generators.frozen import FrozenGenerator

if TYPE_CHECKING:
    from collections.abc import Callable

_IMAGES, _ROUNDS = 40, 7
_MEASURED = (
    ("deepsim-fc6", (1, 8, 20, 40)),
    ("deepsim-norm1", (8, 40)),
    ("biggan-deep-256", (1, 4, 8)),
    ("pggan", (1, 2)),
)
_SLOW = ("biggan-deep-256", "pggan")


def made(name: str, chunk: int) -> FrozenGenerator:
    """Return a generator with random weights of the published shapes."""
    torch.manual_seed(0)
    net, d, size = _net(name)
    return FrozenGenerator(
        name,
        net.to(memory_format=torch.channels_last),
        d=d,
        image_size=size,
        sha256="0" * 64,
        device=torch.device("cpu"),
        chunk=chunk,
    )


def _net(name: str) -> tuple[nn.Module, int, int]:
    if name.startswith("deepsim-"):
        from evolver.generators.deepsim import DeepSimNet

        net = DeepSimNet(name.removeprefix("deepsim-"))
        return net, net.d, net.image_size
    if name == "pggan":
        from evolver.generators.pggan import PgganNet

        net = PgganNet(512, [512, 512, 512, 512, 256, 128, 64, 32, 16])
        return net, net.d, net.image_size
    from pytorch_pretrained_biggan import BigGAN, BigGANConfig

    from evolver.generators.biggan import BigGanNet

    up = [(False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8)]
    up += [(True, 8, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 2)]
    up += [(False, 2, 2), (True, 2, 1)]
    model = BigGAN(BigGANConfig(output_dim=256, layers=up, attention_layer_position=8))
    nn.init.ones_(model.generator.bn.weight)
    nn.init.zeros_(model.generator.bn.bias)
    model.eval()
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
            nn.init.normal_(module.weight, std=0.01)  # or it would draw no numbers
    return BigGanNet(model, 0.7), 256, 256


def products(net: nn.Module, d: int, chunk: int) -> list[Callable[[], Any]]:
    """Return the matrix products that a network's layers are, for `chunk` images."""
    multiplications: list[Callable[[], Any]] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        x = inputs[0]
        if isinstance(module, nn.Linear):
            rows, inner, columns = chunk, module.in_features, module.out_features
        elif isinstance(module, nn.ConvTranspose2d) and module.stride[0] > 1:
            taps = module.kernel_size[0] ** 2
            rows, inner = module.out_channels * taps, module.in_channels
            columns = chunk * x.shape[2] * x.shape[3]
        else:
            taps = module.kernel_size[0] ** 2
            rows, inner = module.out_channels, module.in_channels * taps
            columns = chunk * out.shape[2] * out.shape[3]
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        multiplications.append(lambda: a @ b)

    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(note) for m in net.modules() if isinstance(m, kinds)]
    net(torch.zeros(1, d))
    for hook in hooks:
        hook.remove()
    return multiplications


def _timed(call: Callable[[], Any]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


def _speed(chunk: int) -> tuple[float, float]:
    """Return medians, seconds: of rendering, and of the floor."""
    generator = made("deepsim-fc6", chunk)
    codes = np.random.default_rng(0).standard_normal((_IMAGES, generator.d))
    with torch.inference_mode():
        floor = products(generator._net, generator.d, chunk)  # noqa: SLF001  its layers
    passes = -(-_IMAGES // chunk)

    @torch.inference_mode()
    def multiply() -> None:
        for _ in range(passes):
            for product in floor:
                product()

    generator.render(codes)
    multiply()
    rounds = [
        (_timed(lambda: generator.render(codes)), _timed(multiply)) for _ in range(_ROUNDS)
    ]
    rendered, floored = np.median(np.array(rounds), axis=0)
    return float(rendered), float(floored)


def _memory(name: str, chunk: int) -> None:
    """Print MB taken by 40 images, and seconds; run in a process of its own."""
    generator = made(name, chunk)
    codes = np.random.default_rng(0).standard_normal((_IMAGES, generator.d))
    _peak_mb()
    before = _peak_mb()
    took = _timed(lambda: generator.render(codes))
    print(f"{_peak_mb() - before:.0f} {took:.2f}")


def _peak_mb() -> float:
    """Return the process's largest size since the last call, or its size now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(peak.split()[1]) / 1e3


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="DeePSim alone")] = False,
    one: Annotated[tuple[str, int] | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure what a generation of images costs, and print the section."""
    if one:
        _memory(*one)
        return
    print("## Generators: time and memory of 40 images\n")
    print(f"`python -m benchmarks.generators_speed`, {datetime.now(UTC):%Y-%m-%d},")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} used;")
    print(f"float32, torch {torch.__version__}; medians of {_ROUNDS} rounds.\n")
    print("| deepsim-fc6 | 40 images, s | its matrix products, s | ratio |")
    print("|---|---|---|---|")
    for chunk in (8, 20, 40):
        rendered, floor = _speed(chunk)
        print(f"| chunk {chunk} | {rendered:.2f} | {floor:.2f} | {rendered / floor:.2f} |")
    print("\n| generator | chunk | MB taken by 40 images | s |")
    print("|---|---|---|---|")
    for name, chunks in _MEASURED:
        if quick and name in _SLOW:
            continue
        for chunk in chunks:
            command = [sys.executable, "-m", "benchmarks.generators_speed"]
            done = subprocess.run(
                [*command, "--one", name, str(chunk)],
                check=True,
                capture_output=True,
                text=True,
            )
            taken, took = done.stdout.split()
            print(f"| {name} | {chunk} | {taken} | {took} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
