"""Units of large networks: what asking for them costs beside the network's own forward pass.

Question
    (1) How much longer does `score` take for 40 images than the network's own forward pass of
    the same 40, preprocessing included: for whole layers, for one unit, for a layer in the
    middle? (2) What is the process's memory at 4,096 units? (3) What does finding out what
    units see take, in forward passes?
Method
    Weights are random, of the published networks' shapes; time does not depend on their values.
    ResNet-50 and ViT-B/16 as transformers makes them, saved and loaded through ``hf:``, and
    CaffeNet from a file. Forward: preprocessing and one pass of 40 images under
    `inference_mode`. `score` makes passes of 8, and multiplies row by row on a processor so
    that a response does not depend on its company. The two alternate, on one thread, and times
    are CPU seconds: of several threads each waits for the last at every layer, five times as
    often for passes of 8, which on a machine that does something else measures that. Memory is
    this process's peak (VmHWM) at the end, libraries and weights in it.
Repeats
    5 rounds after one that is not counted; medians and their ratio.
Cost
    About 15 minutes on one core, 2 GB of memory; `--quick`, ResNet-50 only, 2 rounds.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.networks [--quick]``; needs the package transformers.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# safetensors and torch leave the types of these open.

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import re
import tempfile
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

import scorers
from benchmarks.optimizer_speed import machine_line
from scorers import networks
from scorers.networks.caffenet import caffenet
from scorers.networks.extent import extents

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.types import Images
    from scorers.networks.network import Network

IMAGES = 40


def saved(kind: str, folder: Path) -> str:
    """Save a network of published size with random weights; return its name."""
    transformers: Any = import_module("transformers")
    if kind == "ResNet-50":
        model = transformers.ResNetForImageClassification(transformers.ResNetConfig())
        processor = transformers.ConvNextImageProcessorPil(
            size={"shortest_edge": 224}, crop_pct=0.875
        )
    else:
        model = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000))
        processor = transformers.ViTImageProcessorPil(size={"height": 224, "width": 224})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"hf:{folder}"


def forward(network: Network, images: Images) -> None:
    """Do one pass of all images to the network's end, preprocessing included."""
    x = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    last = list(network.layers)[-1]
    with torch.inference_mode():
        network.outputs(x, {last: None})


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = process_time()
    work()
    return process_time() - start


def measured(kind: str, images: Images, rounds: int) -> str:
    """Print a network's rows; return what finding out what units see takes."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {}
        if kind == "CaffeNet":
            name, options["weights"] = "caffenet", Path(folder, "caffenet.safetensors")
            save_file(caffenet().state_dict(), Path(folder, "caffenet.safetensors"))
        else:
            name = saved(kind, Path(folder))
        network = networks.load(name, **options)
        layers = list(network.layers)
        deep, middle = layers[-1], layers[len(layers) // 2]
        asked = {
            "all of the last layer": f"{deep}:all",
            "one unit in the middle": f"{middle}:0",
            "4,096 at random in the middle": f"{middle}:random-4096@1",
        }
        for what, units in asked.items():
            scorer = scorers.load(f"{name}:{units}", networks={name: options})
            times = [
                (
                    seconds(partial(forward, network, images)),
                    seconds(partial(scorer.score, images)),
                )
                for _ in range(rounds + 1)
            ][1:]
            own, ratio = median(t[0] for t in times), median(t[1] / t[0] for t in times)
            print(f"| {kind} | {own:.2f} s | {what} | {ratio:.2f} |", flush=True)
        one = median(seconds(partial(forward, network, images[:1])) for _ in range(3))
        took = seconds(partial(extents, network, layers))
        return f"{kind} {took / one:.0f} ({len(layers)} layers)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Units of large networks.")
    parser.add_argument("--quick", action="store_true", help="ResNet-50 only, two rounds")
    quick = parser.parse_args().quick
    rounds = 2 if quick else 5
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 256, 256, 3), dtype=np.uint8)
    print("## Units of large networks: `score` of 40 images beside the network's own forward\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine_line()}.\n")
    print("| network | forward of 40 | units | `score` / forward |\n|---|---:|---|---:|")
    kinds = ["ResNet-50"] if quick else ["ResNet-50", "ViT-B/16", "CaffeNet"]
    passes = [measured(kind, images, rounds) for kind in kinds]
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(f"\nWhat units see, in passes of one image: {'; '.join(passes)}.")
    if peak is not None:
        print(f"Peak memory of the process: {int(peak[1]) / 1e6:.2f} GB.")


if __name__ == "__main__":
    main()
