"""What the loop needs of the world: a rig, a recorder, commands, watchdogs.

Protocols and values only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from evolver.journal import records
from evolver.journal.rig_time import Missed
from evolver.journal.tally import ShowingTally
from evolver.session.schedule import Block, Outcome
from rig_bridge.events import RigEvent
from rig_bridge.trials import ShowRequest, TrialResult


class RigPort(Protocol):
    """What shows images and answers with responses."""

    @property
    def encode_seconds(self) -> float:
        """Time spent turning requests into frames since the beginning."""
        ...

    @property
    def send_seconds(self) -> float:
        """Time spent handing frames over since the beginning."""
        ...

    @property
    def connected(self) -> bool:
        """Whether there is a rig now, as far as is known."""
        ...

    def next_attempt(self, block: int) -> int:
        """Return the attempt number that the next `show` of this block must have."""
        ...

    def show(self, request: ShowRequest) -> None:
        """Ask for presentations; returns at once."""
        ...

    def hold(self, on: bool) -> None:  # noqa: FBT001  it is the state that is wanted
        """Show nothing more after the presentation under way, until told to go on."""
        ...

    def poll(self, timeout_s: float) -> list[RigEvent]:
        """Return what happened; wait at most `timeout_s` for it."""
        ...

    def ack(self, block: int, presentations: Sequence[int]) -> None:
        """Say that these results are on disk, so that the rig may forget them."""
        ...


class RecorderPort(Protocol):
    """Where records go."""

    def submit(
        self, record: records.AnyRecord, on_durable: Callable[[], None] | None = None
    ) -> None:
        """Take a record; returns at once. `on_durable` is called from another OS thread."""
        ...

    def barrier(self) -> None:
        """Return when everything submitted is on disk."""
        ...

    def retry(self) -> None:
        """Forget a storage error and write again what it held up."""
        ...

    def take_busy_seconds(self) -> float:
        """Return the time spent writing and syncing since this was last asked."""
        ...


CommandName: TypeAlias = Literal["pause", "resume", "stop", "abort", "reference-only", "note"]


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator, or a rule of the session file, wants of a session.

    pause: show nothing more after the presentation under way. resume: go on; also after
    reference-only. stop: end after the presentation under way. abort: end at once.
    reference-only: nothing but reference images after the blocks that are on their way.
    note: keep a text in the record.
    """

    name: CommandName
    text: str = ""  # the note; why
    by: str = "operator"


Commands: TypeAlias = Callable[[], Sequence[Command]]
"""Asked often; returns what was commanded since it was last asked."""


EndReason: TypeAlias = Literal["finished", "stopped by operator", "aborted by operator"]
ENDED_BY: dict[str, EndReason] = {
    "stop": "stopped by operator",
    "abort": "aborted by operator",
}
"""Why a session ended, by the command that ended it."""

HELD_STATES = ("stopping", "paused", "reference-only")
"""Words in a session's state for what holds until an operator says otherwise."""


def held_text(text: str, state: str) -> str:
    """Return what a session waits for, and with it what holds whatever it waits for.

    Parameters
    ----------
    text : what it waits for
    state : its state as `Progress` says it
    """
    held = [word for word in state.split(", ") if word in HELD_STATES]
    return ", ".join([text, *(word for word in held if not text.startswith(word))])


WAITING_FOR_DISK = "waiting for the disk"
"""The state of a session whose records are refused."""


class Progress(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",  # so that it can travel among other messages as it is
    tag="progress",
):
    """What a person watching wants to know: made by the loop, sent and shown as it is."""

    generation: int  # committed by every thread: a count, not the number of the last
    generations: int
    shown: int  # presentations answered in the block under way
    planned: int  # presentations in it
    aborted: int  # in the session, also before it was interrupted; so all the sums that follow
    presentations: int  # answered
    elapsed_s: float  # since the first image, all of it; not from an end to 'evolver resume'
    idle_s: float  # of it: the rig had nothing to show, for want of the engine
    idle_share: float  # of the time in which it could have shown something
    paused_s: float  # of it: paused
    no_rig_s: float  # of it: there was no rig
    frozen_s: float  # of it: this engine stood still
    pace: float | None  # showings a second of late (`ShowingTally.pace`)
    left_s: float | None  # to the end (`ShowingTally.left_s`)
    state: str  # "running", or "paused", "reference-only", "no rig for 0:42" and the like
    committed: records.Committed | None = None  # a block just committed, as it is recorded
    event: str = ""  # what happened besides
    event_ns: int = 0  # when, engine clock


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """What a session that goes on has behind it.

    Parameters
    ----------
    tally : of its committed blocks
    answered, aborted : presentations, every attempt
    missed : time that no block has yet; those under way have theirs
    begun : something was shown
    """

    tally: ShowingTally = field(default_factory=ShowingTally)
    answered: int = 0
    aborted: int = 0
    missed: Missed = field(default_factory=Missed)
    begun: bool = False


class WatchdogsPort(Protocol):
    """Looks at results and scores and warns when something is wrong; never waits or raises."""

    def answered(
        self, block: Block, results: Sequence[TrialResult], time_ns: int
    ) -> Sequence[Command | str]:
        """Take results and when they came, ns; return warnings, or commands by rule."""
        ...

    def invalid(self, reason: str) -> Sequence[Command | str]:
        """Take the news that the rig sent what cannot be taken; return the same."""
        ...

    def woke(self) -> None:
        """Take the news that this engine stood still: what comes next says less than usual."""
        ...

    def committed(
        self, block: Block, outcome: Outcome, budget: records.TimeBudget
    ) -> Sequence[Command | str]:
        """Take a scored block; return the same."""
        ...

    def summary(self) -> Sequence[str]:
        """Return what is worth keeping of the whole session."""
        ...
