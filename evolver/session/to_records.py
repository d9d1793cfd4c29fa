"""Everything that makes a record of the journal from the values of a session, and back.

Values only. Each function is the one place where two types that hold the same meet: what the
loop or the rig knows, and the record with its own tag and format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from evolver.journal import records
from evolver.journal.records import PackedArray
from evolver.optimizers import state_to_dict
from evolver.session.block import HashedImage, RunningBlock
from evolver.session.fitness_state import FitnessState
from evolver.session.schedule import Outcome
from rig_bridge.messages import Hello
from rig_bridge.trials import SHOWING_FIELDS, TrialResult


def joined_record(hello: Hello, time_ns: int) -> records.RigRecord:
    """Return the record of a rig that joined, with everything in its hello."""
    return records.RigRecord(
        time_ns=time_ns,
        name=hello.name,
        software=hello.software,
        units=tuple(
            records.UnitInfo(unit.channel, unit.unit, unit.area, unit.label)
            for unit in hello.units
        ),
        info=json.dumps(msgspec.to_builtins(hello)),
    )


def image_record(image: HashedImage) -> records.ImagePixels:
    """Return the record of an image's pixels."""
    return records.ImagePixels(image.sha256, PackedArray.of(image.pixels))


def proposed_record(
    running: RunningBlock,
    references: Sequence[HashedImage],
    labels: Sequence[str],
    *,
    time_ns: int,
) -> records.Proposed:
    """Return a block's record, before any of it is shown.

    Parameters
    ----------
    running : the block, its images rendered
    references, labels : of the session; left out where the block has none
    time_ns : when it was proposed
    """
    block = running.block
    with_references = block.references > 0
    return records.Proposed(
        block=block.index,
        time_ns=time_ns,
        threads=tuple(
            records.ProposedThread(
                thread=p.thread,
                generation=p.generation,
                codes=PackedArray.of(p.codes),
                images=tuple(image.sha256 for image in running.images[p.thread]),
                optimizer_state=_state_record(state_to_dict(p.state)),
                rng_state=p.rng_state,
                items=p.items,
            )
            for p in block.proposals
        ),
        references=tuple(image.sha256 for image in references) if with_references else (),
        reference_labels=tuple(labels) if with_references else (),
        presentations=block.presentations,
    )


def sent_record(
    block: int, attempt: int, presentations: Sequence[int], time_ns: int
) -> records.Sent:
    """Return the record of a request that leaves for the rig."""
    return records.Sent(block, attempt, tuple(presentations), time_ns)


def result_record(block: int, result: TrialResult, received_ns: int) -> records.Result:
    """Return the record of one result, everything that came from the rig."""
    return records.Result(
        **{name: getattr(result, name) for name in SHOWING_FIELDS},
        block=block,
        received_ns=received_ns,
        form=result.form,
        arrays={name: PackedArray.of(array) for name, array in result.arrays.items()},
    )


def result_of(record: records.Result) -> TrialResult:
    """Return the result that was recorded: the inverse of `result_record`."""
    return TrialResult(
        **{name: getattr(record, name) for name in SHOWING_FIELDS},
        form=record.form,
        arrays={name: array.numpy() for name, array in record.arrays.items()},
    )


def committed_record(
    outcome: Outcome, budget: records.TimeBudget, time_ns: int
) -> records.Committed:
    """Return the record of a block that was scored and learnt from."""
    states = outcome.fitness_states
    return records.Committed(
        block=outcome.block,
        time_ns=time_ns,
        threads=tuple(
            records.CommittedThread(
                t.thread, t.generation, PackedArray.of(t.scores), PackedArray.of(t.sem)
            )
            for t in outcome.threads
        ),
        reference_scores=tuple(PackedArray.of(scores) for scores in outcome.reference_scores),
        budget=budget,
        fitness_states=tuple(map(_fitness_record, states)) if any(states) else (),
    )


def _fitness_record(state: FitnessState | None) -> records.FitnessStateRecord | None:
    if state is None:
        return None
    return records.FitnessStateRecord(
        blocks=state.blocks,
        showings=state.showings,
        mean=PackedArray.of(state.mean),
        squares=PackedArray.of(state.squares),
        target_showings=state.target_showings,
        target=PackedArray.of(state.target),
    )


def fitness_state_of(record: records.FitnessStateRecord) -> FitnessState:
    """Return the state that was recorded."""
    return FitnessState(
        blocks=record.blocks,
        showings=record.showings,
        mean=np.asarray(record.mean.numpy(), dtype=np.float64),
        squares=np.asarray(record.squares.numpy(), dtype=np.float64),
        target_showings=record.target_showings,
        target=np.asarray(record.target.numpy(), dtype=np.float64),
    )


def event_record(time_ns: int, level: str, name: str, text: str) -> records.Event:
    """Return an event's record; an unknown level counts as a warning."""
    match level:
        case "info" | "error":
            return records.Event(time_ns, level, name, text)
        case _:
            return records.Event(time_ns, "warning", name, text)


def _state_record(
    state: Mapping[str, NDArray[np.float64] | int | float],
) -> dict[str, PackedArray | int | float]:
    return {
        name: PackedArray.of(value) if isinstance(value, np.ndarray) else value
        for name, value in state.items()
    }
