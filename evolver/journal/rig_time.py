"""What the rig's time goes to, second by second.

Values only; whoever owns it hands in the time. `RigTime` is the loop's own account.
`RecordedTime` makes the same account of a session's records, so that a session that goes on has
what no committed block holds: what passed between the last commits and an engine's fall, and
until there was an engine again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from evolver.journal.records import (
    AnyRecord,
    Committed,
    Event,
    Proposed,
    Result,
    Resumed,
    RigRecord,
    RunEnd,
    Sent,
)

RigState: TypeAlias = Literal["starting", "showing", "idle", "paused", "no rig", "frozen"]
"""starting: nothing was shown yet, and that time is nobody's; no rig: whatever else is so;
frozen: the engine stood still, whatever the rig did, where there was one and no pause."""

RESTARTED = "engine_restarted"
"""Name of the event that says when an engine, started again by the supervisor of the one
before, was ready for a rig; it comes next after `Resumed`. Without it an operator has gone on
with a session that had ended, and what passed in between is nobody's time."""

FROZEN = "frozen"
"""Name of the event of an engine that stood still until then, and is there again."""

_STILLS_KEPT = 16


def _zeros() -> dict[RigState, float]:
    return dict.fromkeys(get_args(RigState), 0.0)


@dataclass(slots=True, eq=False)
class RigTime:
    """Seconds by what the rig did; each of them to one thing.

    A time before the last one that was handed in counts as that one.

    Attributes
    ----------
    state : what it does now
    """

    state: RigState = "starting"
    _stills: deque[tuple[float, float]] = field(
        default_factory=lambda: deque[tuple[float, float]](maxlen=_STILLS_KEPT)
    )
    _since: float = 0.0
    _totals: dict[RigState, float] = field(default_factory=_zeros)
    _claimed: dict[RigState, float] = field(default_factory=_zeros)

    def enter(self, state: RigState, now: float) -> None:
        """Count what passed to the state until now, and what is to come to this one."""
        now = max(now, self._since)
        self._totals[self.state] += now - self._since
        self.state, self._since = state, now

    def stand_still(self, now: float) -> float:
        """Count what passed to an engine that stood still, where nothing else kept the rig.

        Returns
        -------
        float: the seconds that were counted so
        """
        passed = max(0.0, now - self._since)
        self._stills.append((self._since, self._since + passed))
        if self.state not in {"showing", "idle"}:
            self.enter(self.state, now)
            return 0.0
        self._totals["frozen"] += passed
        self.skip(max(now, self._since))
        return passed

    def still_s(self, begin: float, end: float) -> float:
        """Return how much of a recent span of time the engine stood still."""
        return sum(max(0.0, min(end, e) - max(begin, b)) for b, e in self._stills)

    def passed_s(self, now: float) -> float:
        """Return the seconds since a time was last handed in."""
        return now - self._since

    def skip(self, now: float) -> None:
        """Count what passed to nothing; the time goes on from here, be it earlier or later."""
        self._since = now

    def total(self, state: RigState, now: float) -> float:
        """Return the seconds in a state, up to now."""
        self.enter(self.state, now)
        return self._totals[state]

    def unclaimed(self, state: RigState, now: float) -> float:
        """Return the seconds in a state that were not claimed yet."""
        return self.total(state, now) - self._claimed[state]

    def claim(self, state: RigState, now: float) -> float:
        """Return the seconds in a state that were not claimed before."""
        seconds = self.unclaimed(state, now)
        self._claimed[state] += seconds
        return seconds


@dataclass(slots=True, eq=False)
class BlockTime:
    """What a block that is not committed has of the rig's time, as its budget would say it.

    Attributes
    ----------
    wait_s, timed : how long the rig was showing it, and so many showings in that time
    fallen_s : of it, between the last answer and an engine's fall: whether the rig was slow or
        the engine stood still, no record says
    idle_s : how long the rig had nothing to show for want of it
    in_flight : presentations that were asked for and are not answered
    asked : presentation -> attempt under which it was asked for last
    """

    wait_s: float = 0.0
    timed: int = 0
    fallen_s: float = 0.0
    idle_s: float = 0.0
    in_flight: set[int] = field(default_factory=set[int])
    asked: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class Missed:
    """Seconds that no block has, committed or under way: the next one committed takes them."""

    idle_s: float = 0.0
    paused_s: float = 0.0
    no_rig_s: float = 0.0
    frozen_s: float = 0.0


class RecordedTime:
    """The rig's time that no committed block has, from a session's records in their order.

    Until an engine's fall, time is counted as its loop counted it: by what was asked for and
    answered, and by the events of pauses and of the rig; what passed before an engine said that
    it had stood still (`FROZEN`), since the last record, counts as that. A fall is where the
    recorder says so (`engine_died`), or the last record. From there on the rig has nothing new
    to show: idle, unless it was paused or there was no rig. From when the next engine was ready
    for a rig (`RESTARTED`) until the rig was back there was no rig. What passed before a
    `Resumed` that this event does not follow (a night) is not counted. A disk that refuses
    records leaves none: that time counts as what it broke into.

    Attributes
    ----------
    begun : something was shown
    blocks : those that were asked for and not committed, by number
    gone_ns : since when there is no rig; 0: there is one, as far as was recorded
    """

    def __init__(self) -> None:
        self.begun = False
        self.blocks: dict[int, BlockTime] = {}
        self._time = RigTime()
        self._now_s = 0.0  # of the last record that says when it was
        self._missed_idle_s = 0.0  # from before the engine that runs
        self._paused = False
        self.gone_ns = 0
        self._down = False  # there is no engine
        self._resumed_s: float | None = None  # one went on then; whose, the next record says

    @property
    def missed(self) -> Missed:
        """What the next block to be committed takes, whichever it is."""
        time, now_s = self._time, self._now_s
        return Missed(
            self._missed_idle_s + time.unclaimed("idle", now_s),
            time.unclaimed("paused", now_s),
            time.unclaimed("no rig", now_s),
            time.unclaimed("frozen", now_s),
        )

    def take(self, record: AnyRecord) -> None:
        """Take the next record."""
        if self._resumed_s is not None:
            self._go_on(self._resumed_s, record)
        match record:
            case Sent():
                self._at(record.time_ns)
                self._take_sent(record)
            case Result():
                self._at(record.received_ns)
                self._take_result(record)
            case Committed():
                self._at(record.time_ns)
                self.blocks.pop(record.block, None)
                self._missed_idle_s = 0.0
                self._time.claim("paused", self._now_s)
                self._time.claim("no rig", self._now_s)
                self._time.claim("frozen", self._now_s)
            case Event():
                self._take_event(record)
            case Resumed():
                self.fall()
                self._resumed_s = record.time_ns / 1e9
            case RigRecord():
                self._at(record.time_ns)
                self.gone_ns = 0
            case RunEnd(time_ns, reason):
                self._at(time_ns)
                self.fall()
                # Whoever resumes a session that was stopped wants it to go on.
                self._paused = self._paused and reason.startswith("error")
            case Proposed():
                self._at(record.time_ns)
            case _:
                return
        self._time.enter(self._state, self._now_s)

    def _at(self, time_ns: int) -> None:
        """Count up to a record's time; not while there is no engine."""
        if not self._down:
            self._now_s = max(self._now_s, time_ns / 1e9)
            self._time.enter(self._time.state, self._now_s)

    def _take_sent(self, record: Sent) -> None:
        block = self.blocks.setdefault(record.block, BlockTime())
        if record.presentations:
            self.begun = True
            block.idle_s += self._time.claim("idle", self._now_s)
        block.in_flight.update(record.presentations)
        block.asked |= dict.fromkeys(record.presentations, record.attempt)

    def _take_result(self, record: Result) -> None:
        block = self.blocks.get(record.block)
        if block is None:
            return  # of one that is over
        block.wait_s += self._time.claim("showing", self._now_s)
        block.timed += record.attempt >= block.asked.get(record.presentation, 1)
        block.in_flight.discard(record.presentation)

    def _take_event(self, record: Event) -> None:
        if record.name == RESTARTED:
            return  # `_go_on` has taken it
        if record.name == FROZEN and not self._down:  # nothing is recorded by who stands still
            self._now_s = max(self._now_s, record.time_ns / 1e9)
            self._time.stand_still(self._now_s)
        self._at(record.time_ns)
        match record.name:
            case "pause" | "stop":
                self._paused = True
            case "resume" | "reference_only":
                self._paused = False
            case "rig_lost":
                self.gone_ns = self.gone_ns or record.time_ns
            case "rig_joined":
                self.gone_ns = 0
            case "engine_died":
                self.fall()
            case _:
                pass

    def _go_on(self, resumed_s: float, following: AnyRecord) -> None:
        """There is an engine again, and a rig, since `resumed_s`."""
        self._resumed_s, self._down = None, False
        if isinstance(following, Event) and following.name == RESTARTED:
            self._at(following.time_ns)
            self._time.enter("no rig" if self.begun else "starting", self._now_s)
            self._now_s = max(self._now_s, resumed_s)
        else:
            self._now_s = resumed_s
            self._time.skip(resumed_s)
        self.gone_ns = 0
        self._time.enter(self._state, self._now_s)
        self._missed_idle_s += self._time.claim("idle", self._now_s)

    def fall(self) -> None:
        """There is no engine after the last record; what was being shown is asked for again."""
        self._down = True
        shown_s = self._time.claim("showing", self._now_s)
        for number in sorted(self.blocks):
            block = self.blocks[number]
            if block.in_flight:
                block.wait_s += shown_s
                block.fallen_s += shown_s
                shown_s = 0.0
                block.in_flight.clear()
        self._time.enter(self._state, self._now_s)

    @property
    def _state(self) -> RigState:
        if not self.begun:
            return "starting"
        if self.gone_ns:
            return "no rig"
        if self._paused:
            return "paused"
        return "showing" if any(b.in_flight for b in self.blocks.values()) else "idle"
