"""Sessions written record by record and folded, with what went into them kept beside.

The truth is plain Python: lists of showings with their spikes. Tests compute from it what the
report should say, by loops and without the reader.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evolver.journal import JournalWriter
from evolver.journal import records as r
from evolver.recording.fold import fold
from tests.report.synthetic import patch

WINDOW = (-100.0, 300.0)
ZERO_NS = 1_700_000_000_000_000_000
FITNESS = {
    "units": [1],
    "weights": [1.0],
    "response_ms": [50.0, 200.0],
    "baseline_ms": None,
    "missing": "drop",
    "max_attempts": 3,
}


@dataclass
class Showing:
    """One showing of one image and all that came back."""

    block: int
    thread: int  # -1 for a reference
    row: int
    ok: bool
    spikes: list[tuple[int, float]]  # unit, ms after onset


@dataclass
class Truth:
    """What went into a recording."""

    path: Path
    showings: list[Showing] = field(default_factory=list)
    codes: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    pixels: dict[tuple[int, int, int], np.ndarray] = field(default_factory=dict)
    scores: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    reference_pixels: list[np.ndarray] = field(default_factory=list)
    reference_scores: list[list[list[float]]] = field(default_factory=list)  # [b][thread][r]


def rate(spikes, unit, start, end):
    return sum(u == unit and start <= t < end for u, t in spikes) / (end - start) * 1000


def score(spikes, fitness):
    total = 0.0
    for unit, weight in zip(fitness["units"], fitness["weights"], strict=True):
        total += weight * rate(spikes, unit, *fitness["response_ms"])
        if fitness["baseline_ms"] is not None:
            total -= weight * rate(spikes, unit, *fitness["baseline_ms"])
    return total


def mean(values):
    return sum(values) / len(values) if values else float("nan")


def sem(values):
    n = len(values)
    if n < 2:
        return float("nan")
    m = mean(values)
    return (sum((v - m) ** 2 for v in values) / (n - 1) / n) ** 0.5


def write(
    folder,
    *,
    generations=6,
    popsizes=(8, 6),
    references=3,
    repeats=1,
    units=3,
    fitnesses=None,
    form="spikes",
    image_size=16,
    d=5,
    abort=0.1,
    peak_hz=80.0,
    interrupted=False,
    name="session",
    config="# a session\n",
    thread_names=("texture", "object", "third", "fourth"),
    events=(),
    seed=0,
    optimizer="cholesky",
    options="{}",
    more=None,
):
    """Write a session's journal into `folder`, fold it, and return its `Truth`.

    `more` has images that a thread shows besides in a generation, by (thread, generation).
    """
    rng = np.random.default_rng(seed)
    fitnesses = [FITNESS] * len(popsizes) if fitnesses is None else fitnesses
    truth = Truth(folder / "session.h5")
    more = {} if more is None else more
    journal = folder / "journal"
    with JournalWriter(journal) as out:
        search = (optimizer, options)
        start = _start(name, config, popsizes, thread_names, fitnesses, d, image_size, *search)
        out.append(start)
        unit_table = tuple(r.UnitInfo(u, 0, "IT", f"unit{u}") for u in range(units))
        out.append(r.RigRecord(ZERO_NS, "simulated", "rig 1", unit_table, "{}"))
        references_sha = []
        for i in range(references):
            truth.reference_pixels.append(patch(rng, image_size, 0.6, i, coloured=True))
            references_sha.append(_image(out, truth.reference_pixels[-1]))
        number = 0
        for block in range(generations):
            last = interrupted and block == generations - 1
            now = ZERO_NS + block * 3_000_000_000
            plans, parts = [], []
            sizes = [n + more.get((k, block), 0) for k, n in enumerate(popsizes)]
            for k, n in enumerate(sizes):
                codes = rng.normal(size=(n, d)) + 0.5 * block
                truth.codes[k, block] = codes.astype(np.float32)
                shas = []
                for i in range(n):
                    share = (block + 1) / generations
                    pixels = patch(rng, image_size, share, k + 0.1 * i, coloured=k == 0)
                    truth.pixels[k, block, i] = pixels
                    shas.append(_image(out, pixels))
                parts.append(
                    r.ProposedThread(
                        k, block, r.PackedArray.of(codes), tuple(shas), {"sigma": 1.0}, "{}"
                    )
                )
                plans += [(k, i, j) for i in range(n) for j in range(repeats)]
            plans += [(-1, i, j) for i in range(references) for j in range(repeats)]
            rng.shuffle(plans)
            planned = tuple(
                r.PlannedPresentation(
                    presentation=number + i,
                    thread=int(k),
                    row=int(row),
                    repeat=int(j),
                    on_ms=100.0,
                    off_ms=50.0,
                )
                for i, (k, row, j) in enumerate(plans)
            )
            number += len(plans)
            labels = tuple(f"reference {i}" for i in range(references))
            out.append(
                r.Proposed(block, now, tuple(parts), tuple(references_sha), labels, planned)
            )
            out.append(r.Sent(block, 1, tuple(p.presentation for p in planned), now))
            shown = planned[: len(planned) // 2] if last else planned
            values: dict[tuple[int, int], list[list[tuple[int, float]]]] = {}
            for p in shown:
                drive = peak_hz * (0.15 if p.thread < 0 else (block + 1) / generations)
                spikes = _spikes(rng, units, drive, 6.0 if peak_hz else 0.0)
                ok = bool(rng.random() >= abort)
                truth.showings.append(Showing(block, p.thread, p.row, ok, spikes))
                out.append(_result(block, p, ok, spikes, form, units, now))
                if ok:
                    values.setdefault((p.thread, p.row), []).append(spikes)
            if last:
                break
            committed = []
            for k, n in enumerate(sizes):
                all_scores = [
                    [score(s, fitnesses[k]) for s in values.get((k, i), [])] for i in range(n)
                ]
                truth.scores[k, block] = [mean(v) for v in all_scores]
                committed.append(
                    r.CommittedThread(
                        k,
                        block,
                        r.PackedArray.of(np.array(truth.scores[k, block])),
                        r.PackedArray.of(np.array([sem(v) for v in all_scores])),
                    )
                )
            truth.reference_scores.append([
                [
                    mean([score(s, fitness) for s in values.get((-1, i), [])])
                    for i in range(references)
                ]
                for fitness in fitnesses
            ])
            arrays = tuple(r.PackedArray.of(np.array(s)) for s in truth.reference_scores[-1])
            budget = r.TimeBudget(
                propose=0.001,
                render=0.03,
                encode=0.002,
                send=0.001,
                wait=2.5,
                score=0.004,
                journal=0.006,
                blocked=0.002,
                total=2.545,
            )
            out.append(
                r.Committed(block, now + 2_545_000_000, tuple(committed), arrays, budget)
            )
        for level, what, text in events:
            out.append(r.Event(ZERO_NS, level, what, text))
        if not interrupted:
            out.append(r.RunEnd(ZERO_NS + generations * 3_000_000_000, "finished"))
    fold(journal, truth.path)
    return truth


def _start(name, config, popsizes, thread_names, fitnesses, d, image_size, optimizer, options):
    threads = tuple(
        r.ThreadInfo(
            thread_names[k],
            optimizer,
            f"mini-{k}",
            d,
            n,
            image_size,
            str(k) * 64,
            options,
            json.dumps(fitnesses[k]),
        )
        for k, n in enumerate(popsizes)
    )
    return r.RunStart(
        r.JOURNAL_VERSION,
        "ab" * 16,
        name,
        "2026-01-02T03:04:05Z",
        7,
        "simulate",
        config,
        threads,
        tuple(
            r.WeightFile(f"generator:{t.name}", t.generator, t.weights_sha256) for t in threads
        ),
        {"evolver": "0.1.0", "numpy": "2.0"},
        {"cpu": "one"},
        WINDOW,
    )


def _image(out, pixels):
    sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    out.append(r.ImagePixels(sha256, r.PackedArray.of(pixels)))
    return sha256


def _spikes(rng, units, drive, base):
    """Spikes of all units, exact in float32; unit 1 is the driven one."""
    found = []
    for unit in range(units):
        n = rng.poisson(base * 0.4)
        found += [(unit, float(t)) for t in rng.uniform(*WINDOW, n).astype(np.float32)]
        n = rng.poisson((drive if unit == 1 else drive / 4) * 0.15)
        found += [(unit, float(t)) for t in rng.normal(110, 30, n).astype(np.float32)]
    return [(u, t) for u, t in found if WINDOW[0] <= t < WINDOW[1]]


EDGES = np.arange(-100, 301, 25.0)


def _result(block, planned, ok, spikes, form, units, now):
    if form == "spikes":
        arrays = {
            "units": np.array([u for u, _ in spikes], dtype=np.uint32),
            "times_ms": np.array([t for _, t in spikes], dtype=np.float32),
        }
    elif form == "counts":
        counts = [
            np.histogram([t for u, t in spikes if u == v], EDGES)[0] for v in range(units)
        ]
        arrays = {"counts": np.array(counts, dtype=np.uint16), "edges_ms": EDGES}
    else:
        arrays = {"rates": np.array([rate(spikes, u, 50, 200) for u in range(units)])}
    return r.Result(
        block=block,
        presentation=planned.presentation,
        attempt=1,
        status="ok" if ok else "aborted",
        reason="" if ok else "fixation",
        received_ns=now + 1_000_000,
        commanded_ns=0,
        onset_ns=5,
        offset_ns=100_000_005,
        onset_source="simulated",
        form=form,
        arrays={key: r.PackedArray.of(value) for key, value in arrays.items()},
    )
