"""Sessions of any form of response, window and bins, as records, for tests of the live page."""

import json

import numpy as np
from msgspec.structs import replace

from evolver.journal import records as r

ZERO_NS = 1_800_000_000 * 10**9
UNITS, IMAGES, GENERATIONS = 5, 4, 3


def make_session(form, window_ms, bin_ms, *, units=UNITS, seed=0, change=None, fitness=None):
    """Return a session's records and, by generation, its valid showings' raw responses.

    `change` may put another response in place of one: (number, form, arrays) -> (form, arrays).
    Every ninth showing is aborted and shown again at the end of its block.
    """
    rng = np.random.default_rng(seed)
    info = r.ThreadInfo(
        "a",
        "cholesky",
        "g",
        3,
        IMAGES,
        64,
        "0" * 64,
        "{}",
        json.dumps({"units": [1]} | (fitness or {})),
    )
    table = tuple(r.UnitInfo(i, 0, "IT", f"unit {i}") for i in range(units))
    session = [
        r.RunStart(
            2, "1" * 32, "made", "", 1, "live", "", (info,), (), {}, {}, tuple(window_ms)
        ),
        r.RigRecord(ZERO_NS, "rig", "1", table, "{}"),
    ]
    raw = {}
    number = 0
    for block in range(GENERATIONS):
        now = ZERO_NS + block * 10**10
        pixels = rng.integers(0, 256, (IMAGES, 64, 64, 3), np.uint8)
        digests = tuple(f"{block:032x}{i:032x}" for i in range(IMAGES))
        session += [
            r.ImagePixels(sha256, r.PackedArray.of(image))
            for sha256, image in zip(digests, pixels, strict=True)
        ]
        codes = r.PackedArray.of(rng.normal(size=(IMAGES, 3)))
        plan = tuple(
            r.PlannedPresentation(number + i, 0, i % IMAGES, i // IMAGES, 100.0, 50.0)
            for i in range(2 * IMAGES)
        )
        number += len(plan)
        thread = r.ProposedThread(0, block, codes, digests, {}, "{}")
        session.append(r.Proposed(block, now, (thread,), (), (), plan))
        asked = [(p, 1) for p in plan]
        for place, (p, attempt) in enumerate(asked):
            arrays = response(rng, form, window_ms, bin_ms, units)
            sent_form = form
            if change is not None:
                sent_form, arrays = change(p.presentation, form, arrays)
            aborted = attempt == 1 and p.presentation % 9 == 5
            if aborted:
                asked.append((p, 2))
            else:
                raw.setdefault(block, []).append((sent_form, arrays))
            packed = {name: r.PackedArray.of(array) for name, array in arrays.items()}
            session.append(
                r.Result(
                    block, p.presentation, attempt, "aborted" if aborted else "ok", "",
                    now + (place + 1) * 10**8, 0, 0, 0, "flip", sent_form, packed,
                )
            )  # fmt: skip
        scores = r.PackedArray.of(rng.normal(20.0, 5.0, IMAGES))
        part = r.CommittedThread(0, block, scores, scores)
        budget = r.TimeBudget(
            0.1, 0.2, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 4.3, 0.5, paused=1.5, no_rig=0.25
        )
        nothing = r.PackedArray.of(np.zeros(0))
        session.append(r.Committed(block, now + 9 * 10**9, (part,), (nothing,), budget))
        session.append(r.Event(now + 9 * 10**9 + 1, "info", "note", f"block {block}"))
    session.append(r.RunEnd(ZERO_NS + GENERATIONS * 10**10, "finished"))
    return session, raw


def with_threads(records, fitnesses):
    """Yield the records with a thread of each name and fitness, all scored as the first is."""
    numbers = range(len(fitnesses))
    for record in records:
        if isinstance(record, r.RunStart):
            threads = tuple(
                replace(record.threads[0], name=name, fitness=json.dumps({"units": [1]} | kind))
                for name, kind in fitnesses.items()
            )
        elif isinstance(record, (r.Proposed, r.Committed)):
            threads = tuple(replace(record.threads[0], thread=k) for k in numbers)
        else:
            yield record
            continue
        record = replace(record, threads=threads)
        if isinstance(record, r.Committed):
            record = replace(record, reference_scores=record.reference_scores * len(numbers))
        yield record


def response(rng, form, window_ms, bin_ms, units):
    """Return the arrays of one response."""
    if form == "rates":
        return {"rates": rng.uniform(1, 50, units)}
    n = int(rng.poisson(40))
    times = rng.uniform(*window_ms, n).astype("<f4")
    times = times[times < window_ms[1]]
    unit = rng.integers(0, units, len(times)).astype("<u4")
    if form == "spikes":
        return {"units": unit, "times_ms": times}
    edges = np.arange(window_ms[0], window_ms[1] + 1e-9, bin_ms)
    counts = [np.histogram(times[unit == u], edges)[0] for u in range(units)]
    return {"counts": np.array(counts, "<u2"), "edges_ms": edges}
