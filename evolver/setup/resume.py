"""From a journal to a session that goes on where it was interrupted.

Every thread is put back to where it stood before its last generation was asked for, and that
generation is asked for again: on the same machine the codes come out the same bit for bit, and
so does everything after them. Where they do not (another processor, another library), the
recorded codes and images are what counts, the search goes on from them, and the session is
marked: nothing is rendered again and taken for what was shown.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from evolver.config.axes_table import FIRST_LAYER, METRIC
from evolver.config.set_table import IMAGE_FILES
from evolver.errors import ConfigError, RecordingError
from evolver.journal import records
from evolver.journal.history import History, Unfinished
from evolver.optimizers import state_from_dict
from evolver.optimizers.gradient import go_on
from evolver.session.block import HashedImage, RunningBlock
from evolver.session.fitness_state import FitnessState
from evolver.session.ports import Command, Earlier
from evolver.session.schedule import (
    REFERENCE,
    Block,
    Position,
    Proposal,
    Thread,
)
from evolver.session.to_records import fitness_state_of, result_of
from evolver.setup.references import References
from evolver.types import Generator
from rig_bridge.rigs.simulated import EarlierShowings

logger = logging.getLogger(__name__)


class _RecordedTarget(msgspec.Struct, frozen=True):
    """What of a recorded fitness is needed here."""

    target_sha256: str = ""


@dataclass(slots=True, eq=False)
class Restored:
    """A session as its journal has it."""

    history: History
    running: tuple[RunningBlock, ...]
    differing: list[str] = field(default_factory=list[str])  # threads whose codes came out new

    @classmethod
    def of(cls, history: History) -> Restored:
        """Take what a journal says.

        Raises
        ------
        RecordingError
            The session is finished: there is nothing to go on with.
        """
        if history.ended == "finished":
            raise RecordingError(
                f"the session {history.run_start.name!r} must have been interrupted to go on; "
                "it is finished. Begin another one"
            )
        blocks = tuple(_running(history, unfinished) for unfinished in history.unfinished)
        return cls(history, blocks)

    @property
    def session_id(self) -> str:
        """The session keeps it, so that a rig hands over what it has kept."""
        return self.history.run_start.session_id

    @property
    def mode(self) -> records.SessionMode:
        """Of the recording."""
        return self.history.run_start.mode

    @property
    def config_text(self) -> str:
        """The session file as it was when the session began."""
        return self.history.run_start.config

    @property
    def optimizers(self) -> Mapping[str, str]:
        """The optimizer that every thread was begun with, by the thread's name."""
        return {thread.name: thread.optimizer for thread in self.history.run_start.threads}

    @property
    def position(self) -> Position:
        """Where the session stands."""
        h = self.history
        return Position(
            next_block=h.next_block,
            next_presentation=h.next_presentation,
            generations=tuple(0 if last is None else last.generation + 1 for last in h.threads),
            last_was_threads=h.last_was_threads,
            pending=tuple(running.block for running in self.running),
        )

    @property
    def fitness_states(self) -> tuple[FitnessState | None, ...]:
        """What each thread's fitness had learnt with the last block that was committed."""
        for committed in reversed(self.history.committed):
            if states := committed.fitness_states:
                return tuple(None if s is None else fitness_state_of(s) for s in states)
        return (None,) * len(self.history.threads)

    @property
    def earlier(self) -> Earlier:
        """What the session has behind it."""
        h = self.history
        return Earlier(h.tally, h.answered, h.aborted, h.time.missed, begun=h.time.begun)

    @property
    def commands(self) -> tuple[Command, ...]:
        """What an operator or a watchdog had commanded, and nobody had taken back."""
        text, by = "as it was before the interruption", "the session"
        match self.history.held:
            case "pause" | "reference-only" as name:
                return (Command(name, text, by),)
            case _:
                return ()

    @property
    def recorded_images(self) -> Sequence[str]:
        """Digests of the pixels that the journal has already."""
        return tuple(self.history.images)

    @property
    def earlier_showings(self) -> EarlierShowings:
        """What a simulated rig has to know of before."""
        counts = Counter(
            result.presentation for running in self.running for result in running.results
        )
        return EarlierShowings(counts, tuple(self.history.seen))

    @property
    def loss(self) -> str:
        """What of the journal cannot be read, in a line; empty where nothing is lost."""
        return self.history.index.summary.loss

    def check_weights(self, generators: Sequence[Generator]) -> None:
        """Raise `ConfigError` unless the generators run on the weights they ran on before."""
        for info, generator in zip(self.history.run_start.threads, generators, strict=True):
            if generator.sha256 == info.weights_sha256:
                continue
            if info.generator == IMAGE_FILES:
                raise ConfigError(
                    f"set {info.name!r} must go on with the images it began with; those of its "
                    "folder are others now. Bring the old ones back"
                )
            raise ConfigError(
                f"thread {info.name!r} must go on with the weights it began with, sha256 "
                f"{info.weights_sha256}; {info.generator} now has {generator.sha256}. "
                "Bring the old file back"
            )

    def check_target(self, index: int, sha256: str) -> None:
        """Raise `ConfigError` unless a thread, by its number, has the target file it had."""
        info = self.history.run_start.threads[index]
        before = msgspec.json.decode(info.fitness, type=_RecordedTarget).target_sha256
        if sha256 != before:
            raise ConfigError(
                f"thread {info.name!r} must go on with the target it began with, sha256 "
                f"{before}; its file now has {sha256}. Bring the old file back"
            )

    def check_axes(self, index: int, axes: Sequence[records.AxesInfo]) -> None:
        """Raise `ConfigError` unless a thread, by its number, searches along the axes it had.

        Those of a file must be the same to the bit. Those that were computed again may differ
        by rounding, which the codes show (`WithinAxes.adopt`).
        """
        info = self.history.run_start.threads[index]
        for before, now in zip(records.axes_info(info.options), axes, strict=True):
            computed = now.source in {FIRST_LAYER, METRIC}
            if now.k != before.k or (now.sha256 != before.sha256 and not computed):
                raise ConfigError(
                    f"thread {info.name!r} must go on with the axes it began with, "
                    f"{before.text(info.d)}, sha256 {before.sha256}; {now.source} now has "
                    f"{now.text(info.d)}, sha256 {now.sha256}. Bring the old file back"
                )

    def check_sets(self, sets: Sequence[records.SetInfo]) -> None:
        """Raise `ConfigError` unless the sets, the last threads, are what they were."""
        threads = self.history.run_start.threads
        for info, now in zip(threads[len(threads) - len(sets) :], sets, strict=True):
            if records.set_info(info.options) != now:
                raise ConfigError(
                    f"set {info.name!r} must go on with the images it began with; its files "
                    "are others now. Bring the old ones back"
                )

    def check_rig(self, weights: Sequence[records.WeightFile]) -> None:
        """Raise `ConfigError` unless responses are made with what they were made with before.

        Parameters
        ----------
        weights : what the rig that joined says of the networks behind its responses
        """
        now = {(file.role, file.name): file.sha256 for file in weights}
        for file in self.history.run_start.weights:
            if file.role.startswith("generator:") or file.role == "activations":
                continue  # of which `check_weights` and the fold know more
            found = now.get((file.role, file.name), "none")
            if found != file.sha256:
                raise ConfigError(
                    f"the {file.role} {file.name!r} must go on with the weights it began with, "
                    f"sha256 {file.sha256}; it now has {found}. Bring the old file, or the old "
                    "version of evolver, back"
                )

    def references(self) -> References | None:
        """Return the reference images as they were shown; None where none were yet."""
        digests = self.history.references
        if not digests:
            return None
        pixels = tuple(np.asarray(self.history.pixels(sha256)) for sha256 in digests)
        return References(pixels, tuple(self.history.reference_labels))

    def thread(self, index: int, fresh: Thread) -> Thread:
        """Return thread number `index`, put where it stood; `fresh` if it was never asked.

        `fresh` is as the session file makes it. Its random stream is put where it stood, and
        its optimizer gives way to one that goes on from the recorded state.
        """
        last = self.history.threads[index]
        if last is None:
            return fresh
        kind = fresh.optimizer.state_type
        fresh.rng.bit_generator.state = json.loads(last.rng_state)
        state: Any = state_from_dict(kind, _numpy(last.optimizer_state))
        optimizer = go_on(fresh.optimizer, state, rng=fresh.rng)
        codes = np.asarray(last.codes.numpy(), dtype=np.float64)
        if not np.array_equal(optimizer.ask(), codes):
            self.differing.append(fresh.name)
            optimizer.adopt(codes)
        if last.committed is not None:
            scores = np.asarray(last.committed.scores.numpy(), dtype=np.float64)
            scored = np.flatnonzero(np.isfinite(scores))
            optimizer.tell(codes[scored], scores[scored])
        return replace(fresh, optimizer=optimizer)

    def record(
        self, time_ns: int, *, machine: Mapping[str, str], versions: Mapping[str, str]
    ) -> records.Resumed:
        """Return the record that says how the session went on; after `thread` of each."""
        changed = [
            f"{name} was {old!r}, is {new.get(name, 'missing')!r}"
            for old_values, new in (
                (self.history.run_start.machine, machine),
                (self.history.run_start.versions, versions),
            )
            for name, old in old_values.items()
            if new.get(name) != old
        ]
        parts = [f"codes of {name} came out otherwise" for name in self.differing] + changed
        if self.loss:
            parts.append("the journal is damaged")
        for part in parts:
            logger.warning("resumed: %s", part)
        return records.Resumed(
            time_ns=time_ns,
            bit_identical=not self.differing and not self.loss,
            reason="; ".join(parts),
            machine=dict(machine),
            versions=dict(versions),
        )


def _running(history: History, unfinished: Unfinished) -> RunningBlock:
    """Return a block that was interrupted, with every answer that had come."""
    plan = unfinished.proposed
    proposals = tuple(
        Proposal(
            thread=p.thread,
            generation=p.generation,
            codes=np.asarray(p.codes.numpy(), dtype=np.float64),
            state=None,
            rng_state=p.rng_state,
            items=p.items,
        )
        for p in plan.threads
    )
    has_references = any(p.thread == REFERENCE for p in plan.presentations)
    references = len(plan.references) if has_references else 0
    block = Block(plan.block, proposals, references, plan.presentations)
    running = RunningBlock(block, [], proposed_at=0.0, propose_s=0.0)
    running.images = {
        p.thread: tuple(
            HashedImage(np.asarray(history.pixels(sha256)), sha256) for sha256 in p.images
        )
        for p in plan.threads
    }
    running.recorded = True
    running.last_attempt = unfinished.last_attempt
    running.unanswered = unfinished.unanswered
    running.same_attempts = history.run_start.mode == "simulate"
    if (time := history.time.blocks.get(plan.block)) is not None:
        running.wait_s, running.timed, running.idle_s = time.wait_s, time.timed, time.idle_s
        running.frozen_s = time.fallen_s  # no watchdog blames the rig for it
    for record in unfinished.results:
        running.results.append(result_of(record))
        running.known[record.presentation] = max(
            record.attempt, running.known.get(record.presentation, 0)
        )
    return running


def _numpy(state: Mapping[str, records.PackedArray | int | float]) -> dict[str, Any]:
    return {
        name: value.numpy() if isinstance(value, records.PackedArray) else value
        for name, value in state.items()
    }
