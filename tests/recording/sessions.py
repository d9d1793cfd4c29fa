"""A small session as a journal, made up but plausible, for tests that need a recording.

Two threads evolve for a few generations beside reference images; the units' responses have a
latency, a peak and a Poisson count, and grow from generation to generation. One presentation is
aborted and shown again, one never gets a result. `make_records` gives the records, so that a
test can say what a file must hold without reading one.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from evolver.journal import JournalWriter
from evolver.journal.records import (
    JOURNAL_VERSION,
    Committed,
    CommittedThread,
    Event,
    ImagePixels,
    PackedArray,
    PlannedPresentation,
    Proposed,
    ProposedThread,
    Result,
    RigRecord,
    RunEnd,
    RunStart,
    Sent,
    ThreadInfo,
    TimeBudget,
    UnitInfo,
    WeightFile,
)
from evolver.responses import rates_in_window

WINDOW_MS = (-100.0, 300.0)
SCORE_WINDOW_MS = (50.0, 250.0)
START_NS = 1_800_000_000_000_000_000
SMALL = {"generations": 2, "popsize": 3, "image_size": 8}
REFERENCES = ("face", "gabor", "leaf")
ABORTED = 2  # the presentation that is aborted and shown again
MISSING = 4  # the presentation of the last block that never gets a result


def write_session(
    folder: Path,
    *,
    generations=3,
    popsize=6,
    d=8,
    image_size=32,
    n_units=4,
    seed=0,
    interrupted=False,
    form="spikes",
) -> Path:
    """Write the journal of a session and return its folder.

    `interrupted` leaves out the end: the last block is half shown, never committed, and there
    is no RunEnd.
    """
    records = make_records(
        generations=generations,
        popsize=popsize,
        d=d,
        image_size=image_size,
        n_units=n_units,
        seed=seed,
        interrupted=interrupted,
        form=form,
    )
    with JournalWriter(folder, segment_bytes=1 << 20) as journal:
        for record in records:
            journal.append(record)
            journal.sync()
    return folder


def make_records(
    *,
    generations=3,
    popsize=6,
    d=8,
    image_size=32,
    n_units=4,
    seed=0,
    interrupted=False,
    form="spikes",
) -> list:
    """Return the records of that session, in order."""
    rng = np.random.default_rng(seed)
    threads = tuple(
        ThreadInfo(
            name,
            "cholesky-cma",
            generator,
            d,
            popsize,
            image_size,
            hashlib.sha256(generator.encode()).hexdigest(),
            json.dumps({"sigma": 3.0}),
            json.dumps({"units": [0], "window_ms": SCORE_WINDOW_MS, "missing": "reshow"}),
        )
        for name, generator in (("texture", "mini-texture"), ("object", "mini-object"))
    )
    records = [
        RunStart(
            journal_version=JOURNAL_VERSION,
            session_id=f"{seed:032x}",
            name="made up",
            created="2027-01-15T08:00:00Z",
            seed=seed,
            mode="simulate",
            config='[session]\nname = "made up"\n',
            threads=threads,
            weights=(WeightFile("generator:texture", "mini-texture", "ab" * 32),),
            versions={"evolver": "0.1.0", "numpy": "2.0.0"},
            machine={"cpu": "an abacus"},
            window_ms=WINDOW_MS,
        ),
        RigRecord(
            START_NS,
            "simulated",
            "simulated 1",
            tuple(
                UnitInfo(1 + i // 2, i % 2, "IT" if i else "V4", f"unit {i}")
                for i in range(n_units)
            ),
            json.dumps({"display": {"width_px": 1920}}),
        ),
        Event(START_NS + 1, "info", "note", "the animal is awake"),
    ]
    references = [_picture(rng, image_size, -1.0) for _ in REFERENCES]
    records += [_image(picture) for picture in references]
    means = rng.normal(size=(2, d))
    number = 0
    for block in range(generations):
        last = block == generations - 1
        strength = (block + 1) / generations
        parts, pictures = [], []
        for k in range(2):
            codes = means[k] + rng.normal(size=(popsize, d)) / (1 + block)
            pictures.append([_picture(rng, image_size, strength) for _ in range(popsize)])
            records += [_image(picture) for picture in pictures[k]]
            parts.append(
                ProposedThread(
                    k,
                    block,
                    PackedArray.of(codes),
                    tuple(_digest(picture) for picture in pictures[k]),
                    {
                        "mean": PackedArray.of(means[k].copy()),
                        "sigma": 3.0 / (1 + block),
                        "n": block,
                    },
                    json.dumps(np.random.PCG64(block).state),
                )
            )
        planned, number = _plan(rng, popsize, number)
        records += [
            Proposed(
                block,
                START_NS + block * 10**10,
                tuple(parts),
                tuple(_digest(picture) for picture in references),
                REFERENCES,
                planned,
            ),
            Sent(
                block, 1, tuple(one.presentation for one in planned), START_NS + block * 10**10
            ),
        ]
        first = planned[0].presentation
        shown = [
            one
            for place, one in enumerate(planned)
            if not (last and (place == MISSING or (interrupted and place >= len(planned) // 2)))
        ]
        responses = {}
        for one in shown:
            drive = 0.3 if one.thread == -1 else strength * (1 + 0.2 * one.row / popsize)
            arrays = _response(rng, n_units, drive, form)
            aborted = one.presentation == ABORTED and block == 0
            records.append(_result(block, one, 1, arrays, form, aborted=aborted))
            if not aborted:
                responses[one.presentation] = arrays
        if block == 0:
            again = planned[ABORTED]
            arrays = _response(rng, n_units, strength, form)
            records += [
                Event(START_NS + 5, "warning", "reshow", f"presentation {first + ABORTED}"),
                Sent(block, 2, (again.presentation,), START_NS + 6),
                _result(block, again, 2, arrays, form, aborted=False),
            ]
            responses[again.presentation] = arrays
        if last and interrupted:
            return records
        records.append(_commit(block, planned, responses, popsize, n_units, form))
        means = means + 0.1
    records.append(RunEnd(START_NS + generations * 10**10, "finished"))
    return records


def _plan(rng, popsize, number):
    what = [(k, row) for k in range(2) for row in range(popsize)]
    what += [(-1, row) for row in range(len(REFERENCES))]
    order = rng.permutation(len(what))
    planned = tuple(
        PlannedPresentation(number + at, *what[place], 0, 100.0, 150.0)
        for at, place in enumerate(order)
    )
    return planned, number + len(planned)


def _picture(rng, size, strength):
    y, x = np.mgrid[:size, :size] / size
    waves = np.sin(2 * np.pi * (rng.uniform(1, 4) * x + rng.uniform(1, 4) * y))
    blob = np.exp(-20 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    grey = 127 + 50 * waves + 70 * strength * blob
    tint = rng.uniform(0.7, 1.0, 3)
    return np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8)


def _digest(picture):
    return hashlib.sha256(picture.tobytes()).hexdigest()


def _image(picture):
    return ImagePixels(_digest(picture), PackedArray.of(picture))


def _response(rng, n_units, drive, form):
    """Spikes of a unit with a latency, a peak and a tail over a baseline of 10 spikes/s."""
    grid = np.arange(*WINDOW_MS)
    units, times = [], []
    for unit in range(n_units):
        latency = 60 + 10 * unit
        bump = np.where(grid > latency, np.exp(-(grid - latency) / 80), 0)
        rate = 10 + 120 * drive * bump / (1 + unit / 2)
        at = np.repeat(grid, rng.poisson(rate / 1000))
        times.append(np.sort(at + rng.uniform(0, 1, len(at))))
        units.append(np.full(len(at), unit))
    spikes = {
        "units": np.concatenate(units).astype(np.uint32),
        "times_ms": np.concatenate(times).astype(np.float32),
    }
    # Rounding to float32 can carry a spike onto the window's end.
    keep = spikes["times_ms"] < WINDOW_MS[1]
    spikes = {name: array[keep] for name, array in spikes.items()}
    if form == "spikes":
        return spikes
    if form == "rates":
        return {"rates": rates_in_window("spikes", spikes, n_units, SCORE_WINDOW_MS)}
    edges = np.arange(WINDOW_MS[0], WINDOW_MS[1] + 1, 25)
    counts = [
        np.histogram(spikes["times_ms"][spikes["units"] == unit], edges)[0]
        for unit in range(n_units)
    ]
    return {"counts": np.array(counts, dtype=np.uint16), "edges_ms": edges}


def _result(block, planned, attempt, arrays, form, *, aborted):
    onset = 10**9 + 250 * 10**6 * (planned.presentation + 1000 * (attempt - 1))
    return Result(
        block=block,
        presentation=planned.presentation,
        attempt=attempt,
        status="aborted" if aborted else "ok",
        reason="fixation broken" if aborted else "",
        received_ns=START_NS + onset + 400 * 10**6,
        commanded_ns=onset - 8 * 10**6,
        onset_ns=onset,
        offset_ns=onset + 100 * 10**6,
        onset_source="simulated",
        form=form,
        arrays={name: PackedArray.of(array) for name, array in arrays.items()},
    )


def _commit(block, planned, responses, popsize, n_units, form):
    def score(thread, row):
        values = [
            rates_in_window(form, responses[one.presentation], n_units, SCORE_WINDOW_MS)[0]
            for one in planned
            if (one.thread, one.row) == (thread, row) and one.presentation in responses
        ]
        return np.mean(values) if values else np.nan

    parts = tuple(
        CommittedThread(
            k,
            block,
            PackedArray.of(np.array([score(k, row) for row in range(popsize)])),
            PackedArray.of(np.full(popsize, np.nan)),
        )
        for k in range(2)
    )
    seen = PackedArray.of(np.array([score(-1, row) for row in range(len(REFERENCES))]))
    budget = TimeBudget(
        propose=0.01,
        render=0.05,
        encode=0.002,
        send=0.003,
        wait=8.0,
        score=0.001,
        journal=0.004,
        blocked=0.001,
        total=8.07,
    )
    return Committed(block, START_NS + block * 10**10 + 9 * 10**9, parts, (seen, seen), budget)


def journal(folder, records):
    with JournalWriter(folder) as writer:
        for record in records:
            writer.append(record)
    return folder


def of(records, kind):
    return [record for record in records if isinstance(record, kind)]
