"""What a GPU gains: generators, the scorer, batches of populations; and whether pixels agree.

Question
    (1) How many times more images a second does each generator draw on the GPU than on this
    machine's processor, bytes on the host included, and how far is that from the matrix
    products its layers are, on the same GPU? (2) Are its images the processor's? (3) What
    share of a generation of 40 images (ask, render, score, tell) is the network's?
Method
    Weights are random, of the published networks' shapes; time does not depend on their
    values. `FrozenGenerator.render` of 40 codes in passes of 40 (StyleGAN3: 8, PGGAN: 4)
    against the same call on the processor in passes of its default size, in one process; GPU
    work is waited for before a clock is read. Floor: as in `generators_speed`, one product
    a layer. (2) Shares of bytes that differ between processor and GPU, and the largest
    difference in grey levels, of the built-in generators (trained weights), with torch's own
    setting for convolutions (TF32) and without. (3) `mini-texture` with units of the built-in
    network.
Repeats
    5 rounds after one that is not counted; medians.
Cost
    About two minutes on a GPU; most of it are the processor's rounds.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.gpu`` on a machine with a CUDA device.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

import scorers
from benchmarks import stylegan3_reference
from benchmarks.generators_speed import made, products
from benchmarks.optimizer_speed import machine_line
from benchmarks.stylegan3_speed import KINDS
from evolver import generators, optimizers
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.stylegan3 import StyleGAN3

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES, ROUNDS = 40, 5
PASSES = {
    "deepsim-fc6": (8, 40),
    "biggan-deep-256": (4, 40),
    "pggan": (1, 4),
    "stylegan3-T": (8, 8),
}
"""Generator -> images a pass on the processor and on the GPU."""


def network(name: str, chunk: int, device: str = "cpu") -> FrozenGenerator:
    """Return a generator with random weights of the published shapes.

    StyleGAN3 lays out its tensors where they are; the others are on the processor.
    """
    if not name.startswith("stylegan3"):
        return made(name, chunk)
    settings = KINDS[name[-1]]
    tensors = stylegan3_reference.random_tensors(settings, seed=0)
    net = StyleGAN3(settings, {key: value.to(device) for key, value in tensors.items()})
    return FrozenGenerator(
        name,
        net,
        d=net.d,
        image_size=256,
        sha256="0" * 64,
        device=torch.device(device),
        chunk=chunk,
    )


def seconds(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median time of a call, s; the GPU's work is waited for."""
    times: list[float] = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        began = perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(perf_counter() - began)
    return float(np.median(times[1:]))


def on_gpu(generator: FrozenGenerator, chunk: int) -> FrozenGenerator:
    """Return the same network on the GPU."""
    if generator.name.startswith("stylegan3"):
        return network(generator.name, chunk, "cuda")
    return FrozenGenerator(
        generator.name,
        generator._net,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        d=generator.d,
        image_size=generator.image_size,
        sha256=generator.sha256,
        device=torch.device("cuda"),
        chunk=chunk,
    )


def speeds() -> None:
    """Print images a second of each generator, on both, and the floor."""
    print("| generator | processor, images/s | GPU, images/s | times | products / time |")
    print("|---|---|---|---|---|")
    for name, (small, large) in PASSES.items():
        generator = network(name, small)
        codes = np.random.default_rng(0).standard_normal((IMAGES, generator.d))
        few = codes[: max(small, 4)]
        slow = seconds(lambda g=generator, few=few: g.render(few), 1) / len(few)
        floor_share = "-"
        floor: list[Callable[[], object]] = []
        if not name.startswith("stylegan3"):
            torch.set_default_device("cuda")
            with torch.inference_mode():
                net = generator._net.to("cuda")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                floor = products(net, generator.d, large)
            torch.set_default_device("cpu")
        fast = on_gpu(generator, large)
        quick = seconds(lambda g=fast, codes=codes: g.render(codes)) / IMAGES
        if floor:
            least = seconds(lambda floor=floor: [product() for product in floor]) / large
            floor_share = f"{least / quick:.2f}"
        print(
            f"| {name} | {1 / slow:.1f} | {1 / quick:.0f} | {slow / quick:.0f} "
            f"| {floor_share} |",
            flush=True,
        )
        del generator, fast, floor
        torch.cuda.empty_cache()


def agreement() -> None:
    """Print how far a GPU's bytes lie from the processor's."""
    print("\n| generator | convolutions | bytes that differ | largest difference, levels |")
    print("|---|---|---|---|")
    for name in ("mini-texture", "mini-object"):
        there = generators.load(name)
        codes = there.initial_codes(IMAGES, rng=np.random.default_rng(1))
        codes = codes + np.random.default_rng(2).standard_normal(codes.shape)
        expected = there.render(codes).astype(int)
        for tf32 in (True, False):
            torch.backends.cudnn.allow_tf32 = tf32
            images = generators.load(name, device="cuda").render(codes).astype(int)
            apart = np.abs(images - expected)
            kind = "TF32" if tf32 else "float32"
            print(f"| {name} | {kind} | {np.mean(apart > 0):.2%} | {apart.max()} |")
    torch.backends.cudnn.allow_tf32 = True


def generation() -> None:
    """Print what a generation is made of."""
    print("\n| device | ask, ms | render, ms | score, ms | tell, ms |")
    print("|---|---|---|---|---|")
    for device in ("cpu", "cuda"):
        generator = generators.load("mini-texture", device=device)
        scorer = scorers.load("mini:conv4:52", device=device)
        optimizer = optimizers.load(
            "cholesky", generator.d, rng=np.random.default_rng(0), popsize=IMAGES
        )
        parts: list[list[float]] = []
        for _ in range(20):
            clock = [perf_counter()]
            codes = optimizer.ask()
            clock.append(perf_counter())
            images = generator.render(codes)
            clock.append(perf_counter())
            scores = scorer.score(images)[:, 0]
            clock.append(perf_counter())
            optimizer.tell(codes, scores)
            clock.append(perf_counter())
            parts.append(list(np.diff(clock)))
        ms = 1000 * np.median(np.array(parts[5:]), axis=0)
        print(f"| {device} | " + " | ".join(f"{value:.2f}" for value in ms) + " |")


def main() -> None:
    """Measure, and print the section."""
    if not torch.cuda.is_available():
        sys.exit("a CUDA device must be there; torch sees none. Run this on a machine with one")
    print("## A GPU beside this machine's processor\n")
    print(f"`python -m benchmarks.gpu`, {datetime.now(UTC):%Y-%m-%d}, on")
    print(f"{torch.cuda.get_device_name()} and {machine_line()};")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; 40 images a call.\n")
    agreement()
    generation()
    print()
    speeds()


if __name__ == "__main__":
    main()
