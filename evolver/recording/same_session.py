"""Whether two recordings hold the same session: all but when it was, and who answered.

Knows the reader. Times of the engine, events, budgets and provenance may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from evolver.recording.reader import Recording
    from evolver.recording.thread_data import ThreadData

_MOST = 5
_COLUMNS = (
    "block",
    "thread",
    "row",
    "is_reference",
    "repeat",
    "status",
    "reason",
    "on_ms",
    "off_ms",
    "generation",
    "form",
    "item",
    "size_deg",
    "x_deg",
    "y_deg",
    "commanded_ns",
    "onset_ns",
    "offset_ns",
)


def differences(recording: Recording, other: Recording) -> list[str]:
    """Return what differs between a session and another one, the first few; empty: nothing.

    Compared bit for bit are, of every generation that was scored, its codes, images, scores
    with their errors, optimizer's state and random state; every showing that was answered,
    with its attempt, status, reason, rig's times and response; and the references' scores.
    """
    return list(islice(_differences(recording, other), _MOST))


def _differences(recording: Recording, other: Recording) -> Iterator[str]:
    if recording.threads.names != other.threads.names:
        yield f"threads are {recording.threads.names} and {other.threads.names}"
        return
    for a, b in zip(recording.threads, other.threads, strict=True):
        yield from _of_thread(recording, other, a, b)
    yield from _of_showings(recording, other)
    committed = recording.blocks["committed_ns"] > 0
    blocks = recording.blocks["block"][committed].tolist()
    if blocks != other.blocks["block"][other.blocks["committed_ns"] > 0].tolist():
        yield "other blocks were committed"
        return
    ours, theirs = recording.reference_scores[committed], other.reference_scores
    if not _same(ours, theirs[other.blocks["committed_ns"] > 0]):
        yield "scores of references"


def _of_thread(
    recording: Recording, other: Recording, a: ThreadData, b: ThreadData
) -> Iterator[str]:
    for generation in np.unique(a.generation[np.isfinite(a.score)]).tolist():
        where = f"of {a.name}, generation {generation}"
        at, there = a.generation == generation, b.generation == generation
        for name in ("codes", "row", "score", "sem"):
            if not _same(getattr(a, name)[at], getattr(b, name)[there]):
                yield f"{name} {where}"
        images = recording.image_sha256[a.image_id[at]].tolist()
        if images != other.image_sha256[b.image_id[there]].tolist():
            yield f"images {where}"
        if a.has_state(generation) != b.has_state(generation):
            yield f"the optimizer's state {where}"
        elif a.has_state(generation):
            before, after = a.state(generation), b.state(generation)
            if before.keys() != after.keys() or not all(
                _same(value, after[name]) for name, value in before.items()
            ):
                yield f"the optimizer's state {where}"


def _of_showings(recording: Recording, other: Recording) -> Iterator[str]:
    ours, theirs = _rows(recording), _rows(other)
    if missing := sorted(ours.keys() - theirs.keys()):
        yield f"{len(missing)} showings are missing, from presentation {missing[0][0]} on"
    if more := sorted(theirs.keys() - ours.keys()):
        yield f"{len(more)} showings more, from presentation {more[0][0]} on"
    before, after = recording.presentations, other.presentations
    for key in sorted(ours.keys() & theirs.keys()):
        i, j = ours[key], theirs[key]
        where = f"of presentation {key[0]}, attempt {key[1]}"
        for name in _COLUMNS:
            if not _same(before[name][i], after[name][j]):
                yield f"{name} {where}"
        images = (before["image_id"][i], after["image_id"][j])
        if recording.image_sha256[images[0]] != other.image_sha256[images[1]]:
            yield f"the image {where}"
        response, again = recording.response(i), other.response(j)
        if response[1].keys() != again[1].keys() or not all(
            _same(values, again[1][name]) for name, values in response[1].items()
        ):
            yield f"the response {where}"


def _rows(recording: Recording) -> dict[tuple[int, int], int]:
    """Return (presentation, attempt) -> row, of those that were answered."""
    table = recording.presentations
    rows = np.flatnonzero(table["attempt"] > 0).tolist()
    return {(int(table["presentation"][i]), int(table["attempt"][i])): i for i in rows}


def _same(a: Any, b: Any) -> bool:  # noqa: ANN401  arrays, numbers, and what JSON holds
    if isinstance(a, dict):
        return a == b
    x: NDArray[Any] = np.asarray(a)
    return np.array_equal(x, b, equal_nan=x.dtype.kind == "f")
