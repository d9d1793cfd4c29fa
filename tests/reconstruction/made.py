"""Recordings of stimulus sets with known truth: responses linear in codes, Gaussian noise.

Channels of V1 tell from `LATENCIES["V1"]` on, those of IT later, those of "out" nothing. What
went in is kept beside the file, for tests to work out from it what should be found.
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

WINDOW = (-100.0, 300.0)
BIN = 5.0  # ms
EDGES = np.arange(WINDOW[0], WINDOW[1] + 1, BIN)
LATENCIES = {"V1": 40.0, "IT": 90.0, "out": np.inf}
ZERO_NS = 1_700_000_000_000_000_000
BASE, GAIN = 400.0, 20.0  # counts in a bin: so many that rounding them is nothing
SHA256 = "ab" * 32
_PER_BLOCK = 80


@dataclass
class PlantedSet:
    """A set to be shown."""

    name: str
    role: str
    n: int
    repeats: int = 1
    generator: str = "lab:net"
    sha256: str = SHA256
    options: dict = field(default_factory=dict)
    codes: np.ndarray | None = None
    told: np.ndarray | None = None  # what responses are linear in; the codes if not given


@dataclass
class PlantedRecording:
    """What went into a recording."""

    path: Path
    areas: list[str]
    weights: np.ndarray  # (d, c), spikes/s for each latent unit once a channel tells
    noise: float  # sd of a bin's rate, spikes/s
    codes: dict[str, np.ndarray]
    showings: list[tuple[str, int, bool, dict[str, np.ndarray]]]  # set, item, ok, arrays


def planted(
    folder: Path,
    sets: list[PlantedSet],
    *,
    d: int = 5,
    each: int = 4,
    noise: float = 30.0,
    form: str = "counts",
    abort: float = 0.05,
    seed: int = 0,
    weights: float = 1.0,
    config: str = "# a session\n",
    evolving: bool = False,
) -> PlantedRecording:
    """Write a recording into a folder.

    `noise` is in counts of a bin, `weights` scales what channels tell, `each` is channels an
    area, `evolving` adds a thread that is no set.
    """
    rng = np.random.default_rng(seed)
    areas = [area for area in LATENCIES for _ in range(each)]
    tells = np.array([LATENCIES[area] for area in areas])
    told = {one.name: one.told for one in sets}
    widths = {one.told.shape[1] for one in sets if one.told is not None} or {d}
    w = weights * rng.standard_normal((*widths, len(areas))) * np.isfinite(tells)
    share = np.clip((EDGES[1:] - tells[:, None]) / BIN, 0, 1)
    codes, pixels = {}, {}
    for one in sets:
        drawn = rng.standard_normal((one.n, d)) if one.codes is None else one.codes
        codes[one.name] = drawn.astype(np.float32).astype(np.float64)
        pixels[one.name] = rng.integers(0, 255, (one.n, 12, 12, 3), dtype=np.uint8)
    shows = [
        (k, item, repeat)
        for k, one in enumerate(sets)
        for item in range(one.n)
        for repeat in range(one.repeats)
    ]
    shows = [shows[i] for i in rng.permutation(len(shows))]
    path = folder / "session.h5"
    hertz = 1000 / BIN
    made = PlantedRecording(path, areas, w * GAIN * hertz, noise * hertz, codes, [])
    with JournalWriter(folder / "journal") as out:
        out.append(_start(sets, d, config, evolving=evolving))
        units = tuple(r.UnitInfo(i, 0, area, f"net:{area}:{i}") for i, area in enumerate(areas))
        out.append(r.RigRecord(ZERO_NS, "simulated", "rig 1", units, "{}"))
        for one in sets:
            for image in pixels[one.name]:
                out.append(r.ImagePixels(_digest(image), r.PackedArray.of(image)))
        for block in range(-(-len(shows) // _PER_BLOCK)):
            part = shows[block * _PER_BLOCK : (block + 1) * _PER_BLOCK]
            planned = _propose(out, block, part, sets, codes, pixels)
            for p, (k, item, _) in zip(planned, part, strict=True):
                name = sets[k].name
                drive = codes[name] if told[name] is None else told[name]
                rate = BASE + GAIN * share * (drive[item] @ w)[:, None]
                arrays = _response(rng, rate, noise, form)
                ok = bool(rng.random() >= abort)
                made.showings.append((name, item, ok, arrays))
                out.append(_result(block, p, arrays, form, ok=ok))
            _commit(out, block, part)
        out.append(r.RunEnd(ZERO_NS + 10**12, "finished"))
    fold(folder / "journal", path, compress_images="none")
    return made


def optimum(made: PlantedRecording, bins: int, repeats: int) -> np.ndarray:
    """Return r of each latent that the best linear decoder of single showings has, (d,).

    Tested on means over `repeats`; bins that tell wholly are averaged over `bins`.
    """
    tell = np.flatnonzero(made.weights.any(axis=0))
    w = made.weights[:, tell]
    noise = made.noise**2 / bins * np.eye(len(tell))
    back = np.linalg.solve(w.T @ w + noise, w.T)  # (c, d)
    told = back.T @ w.T
    spread = back.T @ (w.T @ w + noise / repeats) @ back
    return np.diag(told) / np.sqrt(np.diag(spread))


def _start(sets, d, config, *, evolving):
    threads = [
        r.ThreadInfo(
            one.name,
            "fixed",
            one.generator,
            d,
            1,
            12,
            one.sha256,
            json.dumps({
                "set": {
                    "role": one.role,
                    "source": "codes",
                    "items": one.n,
                    "images": one.n,
                    "repeats": one.repeats,
                    "blocks": 1,
                    "seed": 1,
                    "codes_sha256": "",
                },
                "generator": one.options,
            }),
            json.dumps({"units": [0], "weights": [1.0]}),
        )
        for one in sets
    ]
    if evolving:
        threads.append(
            r.ThreadInfo("texture", "cholesky", "mini-texture", d, 2, 12, SHA256, "{}", "{}")
        )
    return r.RunStart(
        r.JOURNAL_VERSION,
        "cd" * 16,
        "planted",
        "2026-01-02T03:04:05Z",
        7,
        "simulate",
        config,
        tuple(threads),
        (),
        {"evolver": "0.1.0"},
        {"cpu": "one"},
        WINDOW,
    )


def _propose(out, block, part, sets, codes, pixels):
    """Write a block's codes and plans; return the plans, in the order of `part`."""
    rows = {k: [show for show in part if show[0] == k] for k in range(len(sets))}
    threads = tuple(
        r.ProposedThread(
            k,
            block,
            r.PackedArray.of(np.stack([codes[sets[k].name][item] for _, item, _ in mine])),
            tuple(_digest(pixels[sets[k].name][item]) for _, item, _ in mine),
            {},
            "{}",
            tuple(r.PlannedItem(item, repeat, item) for _, item, repeat in mine),
        )
        for k, mine in rows.items()
        if mine
    )
    planned = tuple(
        r.PlannedPresentation(
            presentation=block * _PER_BLOCK + i,
            thread=k,
            row=rows[k].index((k, item, repeat)),
            repeat=repeat,
            on_ms=100.0,
            off_ms=50.0,
        )
        for i, (k, item, repeat) in enumerate(part)
    )
    out.append(r.Proposed(block, ZERO_NS + block, threads, (), (), planned))
    out.append(r.Sent(block, 1, tuple(p.presentation for p in planned), ZERO_NS + block))
    return planned


def _response(rng, rate, noise, form):
    """Return a response whose expected counts in bins are `rate`, (c, 80)."""
    if form == "spikes":
        counts = rng.poisson(np.clip(rate / BASE, 0, None))
        unit, at = np.nonzero(counts)
        repeated = np.repeat(np.arange(len(unit)), counts[unit, at])
        times = EDGES[at[repeated]] + rng.uniform(0, 0.99 * BIN, len(repeated))
        return {
            "units": unit[repeated].astype(np.uint32),
            "times_ms": times.astype(np.float32),
        }
    values = rate + noise * rng.standard_normal(rate.shape)
    if form == "rates":
        return {"rates": values[:, 40:60].mean(axis=1) * 1000 / BIN}
    return {"counts": values.round().clip(0, 65535).astype(np.uint16), "edges_ms": EDGES}


def _result(block, planned, arrays, form, *, ok):
    onset = 10**9 + 150 * 10**6 * planned.presentation
    return r.Result(
        block=block,
        presentation=planned.presentation,
        attempt=1,
        status="ok" if ok else "aborted",
        reason="" if ok else "fixation broken",
        received_ns=ZERO_NS + onset,
        commanded_ns=onset,
        onset_ns=onset,
        offset_ns=onset + 100 * 10**6,
        onset_source="simulated",
        form=form,
        arrays={name: r.PackedArray.of(array) for name, array in arrays.items()},
    )


def _commit(out, block, part):
    counts = {k: sum(show[0] == k for show in part) for k, _, _ in part}
    threads = tuple(
        r.CommittedThread(
            k,
            block,
            r.PackedArray.of(np.ones(n)),
            r.PackedArray.of(np.full(n, np.nan)),
        )
        for k, n in sorted(counts.items())
    )
    budget = r.TimeBudget(
        propose=0.01, render=0.01, encode=0.01, send=0.01, wait=1.0, score=0.01,
        journal=0.01, blocked=0.01, total=1.1,
    )  # fmt: skip
    none = r.PackedArray.of(np.zeros(0))
    scores = tuple(none for _ in counts)
    out.append(r.Committed(block, ZERO_NS + block + 1, threads, scores, budget))


def _digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()
