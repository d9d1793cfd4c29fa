"""What a session's numbers depend on: machine, versions, weights; and its first records.

Knows the parts of a session and the records that say what they were. Knows nothing of when the
records are written.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from evolver.journal import records
from evolver.session.fitness_record import fitness_text
from evolver.session.schedule import Session
from evolver.setup.build import Parts

_VERSIONS_OF = ("evolver", "numpy", "torch", "pyzmq", "msgpack", "msgspec", "h5py", "pillow")


def run_start(
    parts: Parts,
    session: Session,
    *,
    text: str,
    session_id: str,
    created: str,
    mode: records.SessionMode,
    weights: Sequence[records.WeightFile] = (),
) -> records.RunStart:
    """Return the record of everything that was decided before the first image.

    Parameters
    ----------
    parts, session : what the session file was made into
    text : the session file as it was
    session_id, created, mode : of the session; `created` is ISO 8601
    weights : weight files besides the generators'
    """
    config = parts.config
    evolving = len(config.threads)
    threads = tuple(
        records.ThreadInfo(
            name=table.name,
            optimizer=table.optimizer,
            generator=table.generator,
            d=generator.d,
            popsize=thread.optimizer.popsize,
            image_size=generator.image_size,
            weights_sha256=generator.sha256,
            options=json.dumps({
                "optimizer": options,
                "generator": table.generator_options,
                "initial": table.initial,
                "device": table.device,
                **_set_options(parts, i - evolving),
                **_axes_options(parts, i),
            }),
            fitness=fitness_text(config.fitness_of(i), thread.fitness),
        )
        for i, (table, options, generator, thread) in enumerate(
            zip(
                config.all_threads,
                parts.optimizer_options,
                parts.generators,
                session.threads,
                strict=True,
            )
        )
    )
    files = [
        records.WeightFile(f"generator:{table.name}", table.generator, generator.sha256)
        for table, generator in zip(config.all_threads, parts.generators, strict=True)
    ]
    files += [
        records.WeightFile("activations", address, sha256)
        for address, sha256 in parts.recorded.items()
    ]
    return records.RunStart(
        journal_version=records.JOURNAL_VERSION,
        session_id=session_id,
        name=config.session.name,
        created=created,
        seed=config.session.seed,
        mode=mode,
        config=text,
        threads=threads,
        weights=(*files, *weights),
        versions=versions(),
        machine=machine(),
        window_ms=config.rig.window_ms,
    )


def _set_options(parts: Parts, j: int) -> dict[str, Any]:
    """Return what is recorded of set j; nothing where it is negative: a thread that evolves."""
    if j < 0:
        return {}
    info: dict[str, Any] = msgspec.to_builtins(parts.sets[j].info)
    if info["around"] is None:  # as in records of before
        del info["around"]
    return {"set": info}


def _axes_options(parts: Parts, i: int) -> dict[str, Any]:
    """Return what is recorded of the axes of thread i; nothing of one that has none."""
    axes = parts.axes[i] if i < len(parts.axes) else ()
    return {"axes": msgspec.to_builtins(axes)} if axes else {}


def machine() -> dict[str, str]:
    """Return what the arithmetic of a session depends on: processor, threads, instructions."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
        "torch_capability": str(torch.backends.cpu.get_cpu_capability()),
    }


def versions() -> dict[str, str]:
    """Return the version of every package that a session's numbers depend on."""
    installed: dict[str, str] = {}
    for name in _VERSIONS_OF:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:  # e.g. torch built from source
            installed[name] = "unknown"
    return installed


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
