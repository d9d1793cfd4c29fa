"""What stands in for a lost first record, so that all the others can still be read.

Knows records and a session file's text; knows no files. What the session was called, what drove
which generator and what was asked of the rig stood in the first record. The session file, which
lies beside a journal, says most of it again; how many threads there were and how large their
generations are follows from what they proposed. Nothing here is good enough to go on with a
session: it is for reading what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from evolver.config.tables import Config, ThreadTable, parse_session_file
from evolver.errors import ConfigError, RecordingError
from evolver.journal.records import (
    JOURNAL_VERSION,
    AnyRecord,
    ImagePixels,
    Proposed,
    ProposedThread,
    Result,
    RigRecord,
    RunStart,
    ThreadInfo,
)

UNKNOWN = "unknown"
_WINDOW_STEP_MS = 10.0
_NO_WINDOW_MS = (0.0, 1.0)


@dataclass(slots=True)
class _Findings:
    """What the other records say of what the first one said."""

    proposed: dict[int, ProposedThread] = field(default_factory=dict[int, ProposedThread])
    sizes: dict[str, int] = field(default_factory=dict[str, int])  # digest -> pixels a side
    time_ns: int = 0  # the first of all
    first_ms: float = np.inf
    last_ms: float = -np.inf


def stand_in_start(records: Iterable[tuple[int, AnyRecord]], session_file: str) -> RunStart:
    """Return a first record that fits the others.

    Parameters
    ----------
    records : all that are left, with their sequences
    session_file : text of the session file, which may be empty, or of another session

    Returns
    -------
    RunStart; what nobody can tell any more is "unknown", empty or 0
    """
    findings = _Findings()
    for _, record in records:
        _take(findings, record)
    n_threads = max(findings.proposed, default=-1) + 1
    config = _config(session_file, n_threads)
    return RunStart(
        journal_version=JOURNAL_VERSION,
        session_id="",
        name=UNKNOWN if config is None else config.session.name,
        created=datetime.fromtimestamp(findings.time_ns / 1e9, tz=UTC).isoformat(
            timespec="milliseconds"
        ),
        seed=0 if config is None else config.session.seed,
        mode="live",
        config=session_file,
        threads=tuple(
            _thread(findings, k, None if config is None else config.all_threads[k])
            for k in range(n_threads)
        ),
        weights=(),
        versions={},
        machine={},
        window_ms=_window(findings) if config is None else config.rig.window_ms,
    )


def _take(findings: _Findings, record: AnyRecord) -> None:
    match record:
        case ImagePixels():
            findings.sizes[record.sha256] = record.pixels.shape[0] if record.pixels.shape else 0
        case Proposed():
            findings.time_ns = findings.time_ns or record.time_ns
            for part in record.threads:
                findings.proposed.setdefault(part.thread, part)
        case RigRecord():
            findings.time_ns = findings.time_ns or record.time_ns
        case Result():
            _take_times(findings, record)
        case _:
            pass


def _take_times(findings: _Findings, record: Result) -> None:
    packed = record.arrays.get("times_ms" if record.form == "spikes" else "edges_ms")
    if packed is None:
        return
    try:
        times = packed.numpy().astype(np.float64)
    except RecordingError:
        return  # malformed; whoever reads the response says so
    times = times[np.isfinite(times)]
    if times.size:
        findings.first_ms = min(findings.first_ms, float(times.min()))
        findings.last_ms = max(findings.last_ms, float(times.max()))


def _window(findings: _Findings) -> tuple[float, float]:
    """Return the smallest window, in steps of 10 ms, that holds every spike and bin."""
    if findings.first_ms > findings.last_ms:
        return _NO_WINDOW_MS
    step = _WINDOW_STEP_MS
    start = step * float(np.floor(findings.first_ms / step))
    return start, max(step * float(np.ceil(findings.last_ms / step)), start + step)


def _config(session_file: str, n_threads: int) -> Config | None:
    try:
        config = parse_session_file(session_file)
    except ConfigError:
        return None
    return config if len(config.all_threads) >= n_threads else None


def _thread(findings: _Findings, k: int, table: ThreadTable | None) -> ThreadInfo:
    part = findings.proposed.get(k)
    images = () if part is None else part.images
    shape = (0, 0) if part is None else part.codes.shape
    return ThreadInfo(
        name=f"thread {k}" if table is None else table.name,
        optimizer=UNKNOWN if table is None else table.optimizer,
        generator=UNKNOWN if table is None else table.generator,
        d=shape[1] if len(shape) == 2 else 0,
        popsize=len(images),
        image_size=next((findings.sizes[name] for name in images if name in findings.sizes), 0),
        weights_sha256="",
        options="{}",
        fitness="{}",
    )
