"""Make the built-in weights again: ``python -m scorers.mini.train --seed 1 --out DIR``.

The composition: arguments, files, clock and log. Each stage writes its file when it ends, and a
later stage reads what an earlier one wrote, so that a run cut short goes on with ``--only``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from evolver.weights.read import fill, read_weights
from scorers.mini import scenes
from scorers.mini.network import MiniCNN
from scorers.mini.train import cnn, data, figures, objects, texture

_log = logging.getLogger("scorers.mini.train")
STAGES = {"cnn": 2, "texture": 1, "object": 1}
"""Threads each is trained with unless told otherwise: the last two can run side by side."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything: scenes rendered, batches trained, images measured on."""

    scenes: int
    cnn_steps: int
    texture_steps: int
    object_steps: int
    held_out: int
    calibrated: int


FULL = Effort(60_000, 2_000, 1_100, 1_750, 2_000, 5_000)
QUICK = Effort(130, 3, 2, 2, 64, 64)


def _save(net: torch.nn.Module, path: Path) -> None:
    """Write weights as float16, and round those of `net` to what was written."""
    halves = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    path.write_bytes(save(halves))
    net.load_state_dict({name: value.float() for name, value in halves.items()})


def _stage(stage: str, out: Path, *, seed: int, effort: Effort) -> dict[str, object]:
    """Train one stage, write its file, and return its figures."""
    if stage == "cnn":
        world = data.make(effort.scenes, seed=seed, name="cnn")
        net = cnn.train(world, steps=effort.cnn_steps, seed=seed)
        _save(net, out / "cnn.safetensors")
        figures.calibrate(net, out / "calibration.safetensors", n=effort.calibrated)
        return figures.of_cnn(net, out, seed=seed, n=effort.held_out)
    net = MiniCNN(len(scenes.CLASSES))
    fill(net, read_weights(out / "cnn.safetensors")[0], path=out / "cnn.safetensors")
    net.eval().requires_grad_(False)
    if stage == "texture":
        world = data.make(effort.scenes, seed=seed, name="cnn")
        generator = texture.train(net, world, steps=effort.texture_steps, seed=seed)
        _save(generator, out / "texture.safetensors")
        return figures.of_texture(net, generator, out, seed=seed, n=effort.held_out)
    world = data.make(effort.scenes, seed=seed, name="objects", classes=scenes.OBJECTS)
    drawer = objects.train(net, world, steps=effort.object_steps, seed=seed)
    _save(drawer, out / "object.safetensors")
    return figures.of_object(net, drawer, out, seed=seed, n=effort.held_out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, draw the sheets; log the digests to be pinned."""
    parser = argparse.ArgumentParser(prog="python -m scorers.mini.train", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides everything (default 1)")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for weights, figures, sheets"
    )
    parser.add_argument(
        "--only",
        choices=STAGES,
        help="this stage alone; texture and object read OUT/cnn.safetensors",
    )
    parser.add_argument(
        "--threads", type=int, help="CPU threads (default: 2 for cnn, 1 for texture and object)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of an hour: a smoke test"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    effort = QUICK if chosen.quick else FULL
    for stage in STAGES if chosen.only is None else (chosen.only,):
        started = time.monotonic()
        threads = chosen.threads or STAGES[stage]
        torch.set_num_threads(threads)
        figures_of_stage = _stage(stage, chosen.out, seed=chosen.seed, effort=effort)
        figures_of_stage["minutes"] = round((time.monotonic() - started) / 60, 2)
        kept = chosen.out / "figures.json"
        figures_so_far: dict[str, object] = (
            json.loads(kept.read_text()) if kept.exists() else {}
        )
        figures_so_far[stage] = figures_of_stage | {
            "seed": chosen.seed,
            "threads": threads,
            "torch": torch.__version__,
        }
        kept.write_text(json.dumps(figures_so_far, indent=2) + "\n")
        _log.info(
            "%s: %s",
            stage,
            {k: v for k, v in figures_of_stage.items() if k != "accuracy_by_class"},
        )
    for file in sorted(chosen.out.glob("*.safetensors")):
        content = file.read_bytes()
        _log.info(
            "%s  %s  %d bytes", hashlib.sha256(content).hexdigest(), file.name, len(content)
        )


if __name__ == "__main__":
    main()
