"""What the engine hears of its rig: values, handed up by `EngineServer.poll`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from rig_bridge.messages import Accepted, Hello, Notice
from rig_bridge.trials import TrialResult


@dataclass(frozen=True, slots=True)
class RigJoined:
    """A rig said hello and was welcomed; who answers from here on."""

    hello: Hello


@dataclass(frozen=True, slots=True, eq=False)
class Responded:
    """Results, each handed up once; `EngineLink.ack` them when they are durable."""

    block: int
    trials: tuple[TrialResult, ...]


@dataclass(frozen=True, slots=True)
class BlockDone:
    """Everything asked of a block is answered; `attempt` is the last one that was sent."""

    block: int
    attempt: int


@dataclass(frozen=True, slots=True)
class RigLost:
    """No rig: what is unanswered waits for the next hello."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resent:
    """What was unanswered was asked for again, under a new attempt number."""

    block: int
    attempt: int
    presentations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RigInvalid:
    """The rig sent what cannot be taken: no message at all, or an impossible response."""

    reason: str


FROZEN_S = 5.0
"""An engine that has not listened for so long says so, and blames its rig for nothing."""


@dataclass(frozen=True, slots=True)
class EngineWoke:
    """The engine itself did not listen for so long: no rig is to blame for what follows."""

    seconds: float


RigEvent: TypeAlias = (
    RigJoined
    | Accepted
    | Responded
    | BlockDone
    | RigLost
    | Resent
    | RigInvalid
    | EngineWoke
    | Notice
)
"""`Accepted` (the rig has a request, complete) and `Notice` are handed up as they came."""
