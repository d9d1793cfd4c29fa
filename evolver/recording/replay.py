"""A recording as the records of its session, for what reads a session while it runs.

Knows the reader and the records. What the file says is what the records say; what only a
resumed session needs (optimizers' states) is left out, and so are pixels, which a file gives
when it is asked for them. The file has no order of records. Here they stand in the order of
their times, as far as that can be: a clock that was set back puts no result outside its block,
and no generation before the scores of the one it was made from.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from evolver.journal.records import (
    JOURNAL_VERSION,
    AnyRecord,
    Committed,
    CommittedThread,
    Event,
    FitnessStateRecord,
    PackedArray,
    PlannedItem,
    PlannedPresentation,
    Proposed,
    ProposedThread,
    Result,
    RigRecord,
    RunEnd,
    RunStart,
    SessionMode,
    ThreadInfo,
    TimeBudget,
    UnitInfo,
    WeightFile,
)
from evolver.recording import schema as s
from evolver.recording.reader import Recording
from evolver.recording.thread_data import ThreadData
from evolver.responses import Form

_LAST = 2**63 - 1
_PLAN, _RESULT, _COMMIT, _EVENT = range(4)


def replayed_records(recording: Recording) -> Iterator[AnyRecord]:
    """Yield the records that a recording was made from, as far as it holds them.

    Parameters
    ----------
    recording : open; read while the records are taken

    Yields
    ------
    AnyRecord
        RunStart first, RunEnd last if the session came to its end. No ImagePixels and no Sent;
        no Resumed, which the file has among the events.
    """
    yield _run_start(recording)
    rigs = deque(_rigs(recording))
    rig = recording.presentations["rig"]
    if rigs:
        yield rigs.popleft()
    joined = 1
    content = _Blocks(recording)
    for _, block, kind, row in sorted(_order(recording)):
        if kind == _PLAN:
            yield content.proposed(block)
        elif kind == _RESULT:
            while joined <= rig[row]:
                yield rigs.popleft()
                joined += 1
            yield content.result(row)
        elif kind == _COMMIT:
            yield content.committed(block)
        else:
            yield _event(recording.events[row])
    yield from rigs  # of which no answer came
    if recording.complete:
        yield RunEnd(int(recording.attrs[s.A_END_NS]), recording.end_reason)


def recorded_results(recording: Recording) -> Callable[[int], Result]:
    """Return what makes the record of the result in a row of `Recording.presentations`.

    Its units are counted as the rig does that sent it.
    """
    return _Blocks(recording).result


def _order(recording: Recording) -> Iterator[tuple[int, int, int, int]]:
    """Yield what comes when: time in ns, row of the table of blocks, kind, row of its table."""
    table, blocks = recording.presentations, recording.blocks
    answered = np.flatnonzero(table["attempt"] > 0)
    planned = set(table["block"][np.isfinite(table["on_ms"])].tolist())
    places = np.searchsorted(blocks["block"], table["block"])
    begun: dict[int, int] = {}
    over: dict[int, int] = {}
    scored: dict[int, int] = {}  # thread -> when its last generation was
    sets = [k for k, thread in enumerate(recording.threads) if thread.is_set]
    latest = 0
    for place, row in enumerate(blocks):
        threads = np.unique(table["thread"][table["block"] == row["block"]])
        threads = threads[~np.isin(threads, sets)]  # whose next share waited for nothing
        latest = max([latest, int(row["time_ns"]), *(scored.get(int(k), 0) for k in threads)])
        begun[place], over[place] = latest, _LAST
        if int(row["block"]) in planned:
            yield latest, place, _PLAN, 0
        if row["committed_ns"] > 0 or np.isfinite(row["total"]):
            over[place] = max(latest, int(row["committed_ns"]))
            yield over[place], place, _COMMIT, 0
            scored |= {int(k): over[place] for k in threads if k >= 0}
    for row in answered:
        place, time_ns = int(places[row]), int(table["received_ns"][row])
        if place in begun:
            time_ns = min(max(time_ns, begun[place]), over[place])
        yield time_ns, place, _RESULT, int(row)
    latest = 0
    for row, event in enumerate(recording.events):
        latest = max(latest, int(event["time_ns"]))
        yield latest, len(blocks), _EVENT, row


def _run_start(recording: Recording) -> RunStart:
    return RunStart(
        journal_version=JOURNAL_VERSION,
        session_id=recording.session_id,
        name=recording.name,
        created=recording.created,
        seed=recording.seed,
        mode=cast("SessionMode", recording.mode),
        config=recording.config,
        threads=tuple(
            ThreadInfo(
                name=thread.name,
                optimizer=thread.optimizer,
                generator=thread.generator,
                d=int(thread.d),
                popsize=int(thread.popsize),
                image_size=int(thread.image_size),
                weights_sha256=thread.weights_sha256,
                options=json.dumps(thread.options),
                fitness=json.dumps(thread.fitness),
            )
            for thread in recording.threads
        ),
        weights=tuple(WeightFile(**file) for file in recording.weights),
        versions=recording.versions,
        machine=recording.machine,
        window_ms=recording.window_ms,
    )


def _rigs(recording: Recording) -> Iterator[RigRecord]:
    for rig in recording.rigs:
        units = tuple(
            UnitInfo(
                int(unit["channel"]), int(unit["unit"]), str(unit["area"]), str(unit["label"])
            )
            for unit in recording.units[rig[s.RIG_UNITS]]
        )
        yield RigRecord(
            time_ns=int(rig[s.RIG_TIME_NS]),
            name=str(rig[s.RIG_NAME]),
            software=str(rig[s.RIG_SOFTWARE]),
            units=units,
            info=json.dumps(rig[s.RIG_INFO]),
        )


def _event(row: np.void) -> Event:
    level = cast("Literal['info', 'warning', 'error']", str(row["level"]))
    return Event(int(row["time_ns"]), level, str(row["name"]), str(row["text"]))


def _items(thread: ThreadData, showings: NDArray[Any]) -> tuple[PlannedItem, ...]:
    """Return the items of a set's generation, a row of its codes each.

    Parameters
    ----------
    thread : the set
    showings : rows of the table of presentations that show this generation
    """
    _, first = np.unique(showings["row"], return_index=True)
    rows = showings[first]
    return tuple(
        PlannedItem(
            item=int(row["item"]),
            repeat=int(row["repeat"]),
            image=image,
            **{name: float(row[name]) for name in s.PLACE_COLUMNS},
        )
        for row, image in zip(rows, thread.images_of_items(rows["item"]).tolist(), strict=True)
    )


class _Blocks:
    """Makes the records of blocks and of their results."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._threads = recording.threads
        self._table, self._blocks = recording.presentations, recording.blocks
        self._sha256, self._labels = recording.image_sha256, recording.image_labels
        self._scores = recording.reference_scores
        self._reference_ids = recording.reference_image_id
        # A row without a planned time has no plan: it was lost.
        self._planned = np.flatnonzero(np.isfinite(self._table["on_ms"]))
        self._block_of_plan = self._table["block"][self._planned]
        u = len(recording.units)
        self._own: list[NDArray[np.intp]] = []  # a rig each: row of the unit table -> its unit
        self._rows: list[NDArray[np.intp]] = []  # and back
        for rig in recording.rigs:
            rows = np.asarray(rig[s.RIG_UNITS], dtype=np.intp)
            own = np.zeros(u, np.intp)
            own[rows] = np.arange(len(rows))
            self._own.append(own)
            self._rows.append(rows)

    def proposed(self, place: int) -> Proposed:
        """Return the plan of the block in row `place` of the table of blocks."""
        block = self._blocks[place]
        rows = self._planned[self._block_of_plan == block["block"]]
        ids = self._reference_ids[place]
        references = ids[ids >= 0]
        return Proposed(
            block=int(block["block"]),
            time_ns=int(block["time_ns"]),
            threads=tuple(self._generations(rows)),
            references=tuple(str(sha256) for sha256 in self._sha256[references]),
            reference_labels=tuple(str(label) for label in self._labels[references]),
            presentations=tuple(self._plans(rows)),
        )

    def _plans(self, rows: NDArray[np.intp]) -> Iterator[PlannedPresentation]:
        _, first = np.unique(self._table["presentation"][rows], return_index=True)
        for row in self._table[rows[first]]:
            yield PlannedPresentation(
                int(row["presentation"]),
                int(row["thread"]),
                int(row["row"]),
                int(row["repeat"]),
                float(row["on_ms"]),
                float(row["off_ms"]),
            )

    def _generations(self, rows: NDArray[np.intp]) -> Iterator[ProposedThread]:
        for k, generation in self._generations_in(rows):
            thread = self._threads[k]
            at = np.flatnonzero(thread.generation == generation)
            shown = rows[
                (self._table["thread"][rows] == k)
                & (self._table["generation"][rows] == generation)
            ]
            yield ProposedThread(
                thread=k,
                generation=generation,
                codes=PackedArray.of(thread.codes[at].astype(np.float64)),
                images=tuple(str(sha256) for sha256 in self._sha256[thread.image_id[at]]),
                optimizer_state={},
                rng_state="",
                items=_items(thread, self._table[shown]) if thread.is_set else (),
            )

    def _generations_in(self, rows: NDArray[np.intp]) -> list[tuple[int, int]]:
        """Return the (thread, generation) of every generation that some rows show."""
        evolved = rows[self._table["generation"][rows] >= 0]
        threads = self._table["thread"][evolved].tolist()
        generations = self._table["generation"][evolved].tolist()
        return sorted(set(zip(threads, generations, strict=True)))

    def result(self, row: int) -> Result:
        """Return the result in a row of the table of presentations."""
        values = self._table[row]
        form, arrays = self._response(row)
        return Result(
            block=int(values["block"]),
            presentation=int(values["presentation"]),
            attempt=int(values["attempt"]),
            status=cast("Literal['ok', 'aborted']", str(values["status"])),
            reason=str(values["reason"]),
            received_ns=int(values["received_ns"]),
            commanded_ns=int(values["commanded_ns"]),
            onset_ns=int(values["onset_ns"]),
            offset_ns=int(values["offset_ns"]),
            onset_source=str(values["onset_source"]),
            form=form,
            arrays={name: PackedArray.of(array) for name, array in arrays.items()},
            answer=str(values["answer"]),
            answer_of=int(values["answer_of"]),
            answer_distance=float(values["answer_distance"]),
        )

    def _response(self, row: int) -> tuple[Form, dict[str, NDArray[Any]]]:
        """Return a response with the units counted as its rig does.

        Where the file has none, because what came was malformed, nothing came here either.
        """
        form, arrays = self._recording.response(row)
        rig = int(self._table["rig"][row])
        if form == "spikes":
            return "spikes", {
                "units": self._own[rig][arrays["units"]].astype(np.uint32),
                "times_ms": arrays["times_ms"],
            }
        if form == "counts":
            counts = arrays["counts"][self._rows[rig]]
            return "counts", {"counts": counts, "edges_ms": arrays["edges_ms"]}
        if form == "rates":
            return "rates", {"rates": arrays["rates"][self._rows[rig]]}
        return "spikes", {}

    def committed(self, place: int) -> Committed:
        """Return the scores of the block in row `place` of the table of blocks."""
        block = self._blocks[place]
        rows = self._planned[self._block_of_plan == block["block"]]
        scores = self._scores[place]
        scores = scores[:, (self._reference_ids[place] >= 0) | np.isfinite(scores).any(axis=0)]
        return Committed(
            block=int(block["block"]),
            time_ns=int(block["committed_ns"]),
            threads=tuple(
                CommittedThread(k, generation, PackedArray.of(score), PackedArray.of(sem))
                for k, generation, score, sem in self._thread_scores(rows)
            ),
            reference_scores=tuple(PackedArray.of(row) for row in scores),
            fitness_states=self._fitness_states(place),
            budget=TimeBudget(
                **{name: float(block[name]) for name in s.BUDGET_NAMES},
                shown=int(block["shown"]),
            ),
        )

    def _fitness_states(self, place: int) -> tuple[FitnessStateRecord | None, ...]:
        states: list[FitnessStateRecord | None] = []
        for thread in self._threads:
            table = thread.fitness_states
            if not table or table["blocks"][place] < 0:
                states.append(None)
                continue
            values: dict[str, Any] = {n: int(table[n][place]) for n in s.FITNESS_NUMBERS}
            for name in s.FITNESS_ARRAYS:
                row = table[name][place]
                # What was not there yet has no numbers in its row.
                values[name] = PackedArray.of(row[np.isfinite(row)])
            states.append(FitnessStateRecord(**values))
        return tuple(states) if any(states) else ()

    def _thread_scores(
        self, rows: NDArray[np.intp]
    ) -> Iterator[tuple[int, int, NDArray[np.float64], NDArray[np.float64]]]:
        for k, generation in self._generations_in(rows):
            thread = self._threads[k]
            at = np.flatnonzero(thread.generation == generation)
            yield k, generation, thread.score[at], thread.sem[at]
