"""Evolution experiments, published and simulated, in one form; and what is measured on them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# scipy leaves the types of these open.

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from evolver import config, recording, seeds
from evolver.analysis.trajectories import trajectory
from evolver.config.tables import (
    Config,
    FitnessTable,
    PresentationTable,
    ReferencesTable,
    SessionTable,
    SimulationTable,
    ThreadTable,
)
from evolver.live import run_simulated
from scorers import networks

Area: TypeAlias = Literal["V1", "V4", "IT"]
AREAS: tuple[Area, ...] = ("V1", "V4", "IT")
LAYERS = {"V1": ("conv1", "conv2"), "V4": ("conv3", "conv4"), "IT": ("fc5", "fc6")}
THREADS = ("texture", "object")
IMAGES = (40, 27)  # a generation of each thread
RESPONSE_MS, BASELINE_MS = (50, 200), (0, 45)
_SMOOTHED_MS = 2.0  # as the published PSTHs are, found in single spikes of quiet sites

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One site's evolution; the first axis of every array is the thread."""

    area: str
    mean: Array  # (2, g) spikes/s in RESPONSE_MS, of each generation
    sem: Array  # (2, g)
    reference: Array  # (2, g) mean of the references shown with it
    psth: Array  # (2, g, 200) spikes/s in 1 ms from onset
    psth_sem: Array | None = None  # published: (2, g, 200)
    drives: tuple[tuple[Array, ...], ...] = ()  # simulated: (n,) a thread and generation
    reference_drives: Array | None = None  # 0: the references' median, 1: their 99 %


def published(path: Path) -> list[Experiment]:
    """Read the published experiments."""
    found: list[Experiment] = []
    with np.load(path, allow_pickle=False) as data:
        for meta in json.loads(str(data["meta"])):
            rows = data[f"{meta['id']}/trajectory"].astype(np.float64)
            psth = data[f"{meta['id']}/psth"].astype(np.float64)
            whole = np.isfinite(rows).all(axis=1)
            whole[-1] = False  # the last generation is often cut short
            columns = rows[whole].T
            found.append(
                Experiment(
                    meta["area"],
                    columns[[0, 3]],
                    (columns[[2, 5]] - columns[[1, 4]]) / 2,
                    columns[6:8],
                    psth[:, whole, 0],
                    psth[:, whole, 1],
                )
            )
    return found


def session(area: Area, number: int, *, generations: int, folder: Path) -> Config:
    """Return the session file of a simulated experiment."""
    layer = LAYERS[area][number % 2]
    channels = networks.load("mini").layers[layer].channels
    channel = seeds.stream(number, "benchmark neurons", area).integers(channels)
    threads = tuple(
        ThreadTable(name, f"mini-{name}", popsize=n)
        for name, n in zip(THREADS, IMAGES, strict=True)
    )
    return Config(
        session=SessionTable(
            f"{area}-{number}", seed=number + 1, generations=generations, folder=str(folder)
        ),
        presentation=PresentationTable(on_ms=100.0, off_ms=150.0, schedule="together"),
        threads=threads,
        fitness=FitnessTable(units=(0,), response_ms=(50.0, 200.0)),
        references=ReferencesTable(count=20),
        simulation=SimulationTable(units=(f"mini:{layer}:{channel}",), area=area),
    )


def simulated(job: tuple[Area, int, int]) -> Experiment:
    """Run one experiment: (area, number, generations)."""
    area, number, generations = job
    with tempfile.TemporaryDirectory() as folder:
        settings = session(area, number, generations=generations, folder=Path(folder))
        ended = run_simulated(settings, config.commented_session_file(settings))
        with recording.read(ended.recording) as opened:
            return _measured(area, opened, settings.simulation.units[0])


def _measured(area: str, opened: recording.Recording, unit: str) -> Experiment:
    import scorers

    shown = opened.presentations
    ok = np.flatnonzero(shown["status"] == "ok")
    rates = opened.rates(RESPONSE_MS)[ok, 0]
    blocks = int(shown["block"].max()) + 1
    thread, block = shown["thread"][ok], shown["block"][ok]
    drawn = [trajectory(rates[thread == k], block[thread == k], groups=blocks) for k in (0, 1)]
    reference = trajectory(rates[thread < 0], block[thread < 0], groups=blocks).mean
    psth = np.zeros((2, blocks, 200))
    for k in (0, 1):
        for b in range(blocks):
            rows = ok[(thread == k) & (block == b)]
            times = np.concatenate([opened.spikes(int(row))[1] for row in rows])
            counts = np.histogram(times, np.arange(201))[0]
            psth[k, b] = counts / len(rows) * 1000
    scorer = scorers.load(unit)
    quantiles = scorer.reference_quantiles
    median = quantiles["p50"]
    images = opened.images.stack(np.arange(len(opened.images)))
    drive = ((scorer.score(images) - median) / (quantiles["p99"] - median))[:, 0]
    seen = drive[shown["image_id"][ok]]
    return Experiment(
        area,
        np.array([t.mean for t in drawn]),
        np.array([t.sem for t in drawn]),
        np.array([reference, reference]),
        gaussian_filter1d(psth, _SMOOTHED_MS, axis=-1, truncate=3),
        drives=tuple(
            tuple(seen[(thread == k) & (block == b)] for b in range(blocks)) for k in (0, 1)
        ),
        reference_drives=drive[opened.image_is_reference],
    )


def measures(experiment: Experiment) -> dict[str, float]:
    """Return what is measured on one experiment, by name."""
    e = experiment
    out: dict[str, float] = {}
    base = np.median(e.psth[:, :, slice(*BASELINE_MS)].mean(axis=-1))
    out["baseline, spikes/s"] = float(base)
    for k, name in enumerate(THREADS):
        late = e.psth[k, -11:].mean(axis=0)
        peak = 50 + int(np.argmax(late[50:]))
        out[f"{name}: first generation, spikes/s"] = e.mean[k, 0]
        out[f"{name}: highest over first"] = e.mean[k].max() / e.mean[k, 0]
        out[f"{name}: sem over mean"] = float(np.median(e.sem[k] / e.mean[k]))
        out[f"{name}: highest of PSTH, spikes/s"] = late.max()
        out[f"{name}: time of peak, ms"] = peak
        out[f"{name}: width at half height, ms"] = float((late > (late[peak] + base) / 2).sum())
    out["references, spikes/s"] = float(np.median(e.reference))
    out["references, last 3 over first block"] = float(
        e.reference[:, -3:].mean() / max(e.reference[:, 0].mean(), 0.1)
    )
    return out


def quantiles(experiments: Sequence[Experiment]) -> dict[str, Array]:
    """Return the 10, 50 and 90 % of every measure."""
    rows = [measures(e) for e in experiments]
    return {
        name: np.nanpercentile([row[name] for row in rows], [10, 50, 90]) for name in rows[0]
    }
