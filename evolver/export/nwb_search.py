# pyright: basic, reportAttributeAccessIssue=false, reportInvalidTypeForm=false
# pynwb and hdmf make their classes as they are imported; no checker sees what is in them.
"""What was learnt, for an NWB file: codes, scores, states, blocks, activations.

Knows a recording, its clock and pynwb.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from pynwb import ProcessingModule

from evolver.export.clock import SessionClock
from evolver.export.nwb_columns import Streams, column, object_name, ragged, table, utf8
from evolver.export.nwb_words import (
    ACTIVATIONS,
    FITNESS_STATES,
    score_units,
    state_words,
    two_clocks,
)
from evolver.export.session_facts import score_unit
from evolver.recording import Recording, ThreadData
from evolver.recording import schema as s


def add_threads(misc: ProcessingModule, recording: Recording, streams: Streams) -> None:
    """Add each thread's codes and scores, and its states."""
    names: list[str] = []
    for thread in recording.threads:
        names.append(object_name(thread.name, names))
        unit = utf8(score_unit(thread.fitness))
        columns = [
            column("generation", "from 0", thread.generation),
            column("row", "row within the generation", thread.row),
            column("image_id", "id in stimulus/images", thread.image_id),
            column("score", f"told to the optimizer, {unit}; NaN: none", thread.score),
            column("sem", f"standard error of the score over repeats, {unit}", thread.sem),
            column("code", "what the generator was given, latent units", thread.codes),
        ]
        if len(thread.codes):
            what = f"codes of thread {utf8(thread.name)} in the order proposed"
            misc.add(table(f"{names[-1]}_codes", what, columns, rows=len(thread.codes)))
            if (states := _states(names[-1], thread, streams)) is not None:
                misc.add(states)
        if thread.fitness_states and len(recording.blocks):
            columns = [
                column(name, FITNESS_STATES[name], values)
                for name, values in thread.fitness_states.items()
            ]
            what = "what the thread's fitness had learnt with each block, a row a block"
            name = f"{names[-1]}_fitness_states"
            misc.add(table(name, what, columns, rows=len(recording.blocks)))


def _states(name: str, thread: ThreadData, streams: Streams) -> DynamicTable | None:
    """Return the optimizer's states as a table, a row a generation; None without any."""
    generations = [int(g) for g in np.unique(thread.generation) if thread.has_state(int(g))]
    state = lru_cache(maxsize=1)(thread.state)  # its columns are written in turn
    shapes: dict[str, list[tuple[int, ...]]] = {}
    kinds: dict[str, np.dtype[Any]] = {}
    for generation in generations:
        for key, value in state(generation).items():
            if key != s.STATE_RNG and not isinstance(value, str):
                shapes.setdefault(key, []).append(np.shape(value))
                kinds[key] = np.asarray(value).dtype
    columns: list[Any] = []
    for key, found in shapes.items():
        if len(found) == len(generations):
            what = state_words(key, shapes)
            columns += _state_column(key, what, kinds[key], found, state, generations, streams)
    if not columns:
        return None
    what = f"{utf8(thread.optimizer)}'s state before each generation was asked for"
    return table(f"{name}_states", what, columns, ids=np.array(generations))


def _state_column(
    key: str,
    what: str,
    dtype: np.dtype[Any],
    shapes: list[tuple[int, ...]],
    state: Callable[[int], dict[str, Any]],
    generations: list[int],
    streams: Streams,
) -> tuple[Any, ...]:
    called = f"{key}_" if hasattr(DynamicTable, key) else key
    if len(set(shapes)) == 1:
        if 0 in shapes[0]:
            return ()
        pieces = (np.asarray(state(g)[key])[None] for g in generations)
        data = streams.new((len(generations), *shapes[0]), dtype, pieces)
        return (column(called, what, data),)
    # Of lengths that change: all rows of all, or all numbers of all.
    rests = {shape[1:] for shape in shapes}
    rest = next(iter(rests)) if len(rests) == 1 and 0 not in next(iter(rests)) else ()
    lengths = [int(np.prod(shape)) // int(np.prod(rest)) for shape in shapes]
    if not sum(lengths):
        return ()
    pieces = (
        piece for g in generations if len(piece := np.reshape(state(g)[key], (-1, *rest)))
    )
    data = streams.new((sum(lengths), *rest), dtype, pieces)
    return ragged(called, what, data, np.cumsum(lengths))


def add_blocks(misc: ProcessingModule, recording: Recording, clock: SessionClock) -> None:
    """Add blocks, what their time went to, and references' scores in them."""
    blocks = recording.blocks
    if not len(blocks):
        return
    never = blocks["committed_ns"] == 0
    committed = clock.engine_seconds(blocks["committed_ns"])
    proposed = clock.engine_seconds(blocks["time_ns"])
    columns = [
        column("proposed_time", "when it was proposed, session's clock, s", proposed),
        column(
            "committed_time",
            "when it was committed, session's clock, s; NaN: never",
            np.where(never, np.nan, committed),
        ),
        *(
            column(known.name, known.meaning, blocks[known.name].copy())
            for known in s.BLOCK_COLUMNS
            if known.unit != "ns"
        ),
    ]
    if 0 not in recording.reference_scores.shape:
        unit = utf8(score_units(recording))
        what = f"(threads, references) as each thread counts it, {unit}; NaN: missing"
        columns.append(column("reference_scores", what, recording.reference_scores))
        what = "(references,) id in stimulus/images; -1: fewer"
        columns.append(column("reference_image_ids", what, recording.reference_image_id))
    what = "what was presented between two updates, and what its time went to"
    what += two_clocks(recording)
    misc.add(table("blocks", what, columns, rows=len(blocks)))


def add_activations(misc: ProcessingModule, recording: Recording, streams: Streams) -> None:
    """Add what networks' units answer to each image, where a session asked for it."""
    activations = recording.activations
    if activations is None or 0 in activations.values.shape:
        return
    what = "what networks' units answer to each image"
    values = column("values", ACTIVATIONS, streams.rows(activations.values))
    rows = len(activations.values)
    misc.add(table("activations", what, [values], rows=rows))
    units = column("address", "NETWORK:LAYER:CHANNEL", activations.units)
    misc.add(
        table("activation_units", "of the activations", [units], rows=len(activations.units))
    )
