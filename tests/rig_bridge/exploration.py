"""Every interleaving of the two real state machines, breadth first, for two blocks of two.

A state is both halves, what is on its way between them, what is on the engine's disk, and how
many faults have happened. From every state every possible event is tried: the head of either
queue arrives, the rig takes an image onto the screen or off it, sends what it has, the session
commits what it was handed and acknowledges it, the engine learns that a connection is gone, a
timeout passes. Faults are a message lost, doubled or put last, a pause, a connection that ends,
a restart of either side, a timeout that comes early: at most so many of them in one history,
which makes the states finite. States that are equal but for their history are visited once.

Checked in each: no presentation is committed twice, nothing is acknowledged that is not on
disk, the rig shows nothing while it is told to hold. From each something can happen until all
four are committed and the rig keeps nothing; then no more can.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from rig_bridge import messages as m
from rig_bridge.delivery import Answers
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.events import Responded
from rig_bridge.rig_link import RigLink, SendToEngine, StopPresenting
from rig_bridge.trials import ShowRequest, TrialResult
from tests.rig_bridge.halves import new_engine
from tests.rig_bridge.samples import hello, request, result

BLOCKS = {0: (0, 1), 1: (2, 3)}
BLOCK_OF = {p: block for block, both in BLOCKS.items() for p in both}
LONG_S = 1000.0  # longer than every timeout
TIMES = {"_message_at", "_pinged", "_hellos", "_last_ns", "_hello_at"}
NOT_STATE = {"hello", "_hello", "_welcome", "welcome", "_answer_timeout_s", "_ping_every_s",
             "_rival_wait_s", "_hello_every_s", "_silence_s", "_late_s"}  # fmt: skip
PROMPT = ("commit", "acknowledge", "flush", "engine_learns", "connect")
HELLO = hello()


@dataclass
class World:
    """Both halves, and everything between and around them."""

    engine: EngineLink
    rig: RigLink
    to_rig: list = field(default_factory=list)  # (message, arrays)
    to_engine: list = field(default_factory=list)  # (peer, message, arrays)
    connected: bool = False
    gone: bytes = b""  # of which the engine has not learnt yet
    incarnation: int = 0  # of the rig
    attempts: dict = field(default_factory=dict)  # on disk: block -> the last asked for
    committed: dict = field(default_factory=dict)  # on disk: presentation -> attempt
    handed: tuple = ()  # to the session, not on disk
    unacknowledged: tuple = ()  # on disk
    held: bool = False
    faults: int = 0

    @property
    def peer(self) -> bytes:
        return b"rig%d" % self.incarnation

    # ------------------------------------------------------------------ what links want

    def engine_does(self, actions) -> None:
        for action in actions:
            if isinstance(action, SendToRig):
                if isinstance(action.message, m.Ack):
                    for a in action.message.presentations:
                        assert self.committed.get(a.presentation) == a.attempt, "ack too early"
                # A ping changes nothing but times.
                heard = self.connected and action.peer == self.peer
                if heard and not isinstance(action.message, m.Ping):
                    self.to_rig.append((action.message, action.arrays))
            elif isinstance(action, Responded):
                for t in action.trials:
                    pending = {p for p, _ in self.handed}
                    assert t.presentation not in pending | self.committed.keys(), "twice"
                    self.handed += ((t.presentation, t.attempt),)

    def rig_does(self, actions) -> None:
        for action in actions:
            assert not isinstance(action, StopPresenting), action.reason
            if isinstance(action, SendToEngine) and self.connected:
                self.to_engine.append((self.peer, action.message, action.arrays))

    def ask(self, block: int, *, resumed: bool) -> None:
        wanted = [p for p in BLOCKS[block] if p not in self.committed]
        if not wanted:
            return
        attempt = self.attempts.get(block, 0) + 1 if resumed else 1
        self.attempts[block] = attempt
        asked = request(block=block, attempt=attempt, presentations=wanted)
        self.engine_does(self.engine.show(asked, 0.0))

    # ------------------------------------------------------------------ what may happen

    def connect(self) -> None:
        self.connected = True
        self.rig_does(self.rig.connected(0.0))

    def lose_connection(self) -> None:
        self.connected, self.gone = False, self.gone or self.peer
        self.to_rig.clear()
        self.to_engine.clear()
        self.rig_does(self.rig.disconnected())

    def engine_learns(self) -> None:
        gone, self.gone = self.gone, b""
        if gone == self.engine.peer:
            self.engine_does(self.engine.lost("gone"))

    def restart_rig(self) -> None:
        if self.connected:
            self.lose_connection()
        self.incarnation += 1
        self.rig = RigLink(HELLO)

    def restart_engine(self) -> None:
        if self.connected:
            self.lose_connection()
        self.gone = b""
        self.handed, self.unacknowledged = (), ()
        self.engine = new_engine()
        if self.held:
            self.engine.hold(True, 0.0)
        for block in BLOCKS:
            self.ask(block, resumed=True)

    def deliver_to_rig(self) -> None:
        message, arrays = self.to_rig.pop(0)
        self.rig_does(self.rig.received(message, arrays, 0.0))
        self.rig_does(self.rig.verify())

    def deliver_to_engine(self) -> None:
        peer, message, arrays = self.to_engine.pop(0)
        if isinstance(message, m.Hello) and self.gone and peer == self.gone:
            self.gone = b""  # its own place again: the server forgets that it was gone
        self.engine_does(self.engine.received(peer, message, arrays, 0.0))

    def take_image(self) -> None:
        assert self.rig.next() is not None

    def end_image(self) -> None:
        shown = self.rig._showing
        self.rig.presented(result(shown.presentation, shown.attempt))

    def flush(self) -> None:
        self.rig_does(self.rig.flush())

    def commit(self) -> None:
        (presentation, attempt), *rest = self.handed
        assert presentation not in self.committed, "committed twice"
        self.committed[presentation] = attempt
        self.handed = tuple(rest)
        self.unacknowledged += (presentation,)

    def acknowledge(self) -> None:
        presentation, *rest = self.unacknowledged
        self.unacknowledged = tuple(rest)
        self.engine_does(self.engine.ack(BLOCK_OF[presentation], [presentation]))

    def time_passes(self) -> None:
        self.engine_does(self.engine.tick(LONG_S))
        self.engine._message_at = self.engine._pinged = 0.0
        self.rig_does(self.rig.tick(LONG_S))
        self.rig._message_at = min(self.rig._message_at, 0.0)
        self.rig._hello_at = 0.0 if self.connected else float("inf")

    def hold(self, on: bool) -> None:  # noqa: FBT001  the state wanted
        self.held = on
        self.engine_does(self.engine.hold(on, 0.0))

    def events(self):
        """Names of what happens by itself, and of faults."""
        rig = self.rig
        own = []
        if not self.connected:
            own.append("connect")
        if self.gone:
            own.append("engine_learns")
        if self.to_rig:
            own.append("deliver_to_rig")
        if self.to_engine:
            own.append("deliver_to_engine")
        if rig._showing is not None:
            own.append("end_image")
        elif rig.is_ready and not rig.held and not rig._abandoned_awaited:
            own.append("take_image")
        else:
            assert rig.next() is None
        if rig.has_unsent:
            own.append("flush")
        if self.handed:
            own.append("commit")
        if self.unacknowledged:
            own.append("acknowledge")
        if self.held:
            own.append("go_on")
        faults = ["restart_rig", "restart_engine"]
        if self.connected:
            faults.append("lose_connection")
        if not self.held:
            faults.append("pause")
        if own and not self.gone and self.connected:
            faults.append("time_passes")  # early
        for name, queue in (("rig", self.to_rig), ("engine", self.to_engine)):
            if queue:
                faults += [f"lose_{name}", f"double_{name}"]
            if len(queue) > 1:
                faults.append(f"last_{name}")
        return own, faults

    def happen(self, event: str) -> None:
        kind, _, which = event.partition("_")
        if kind in {"lose", "double", "last"} and which in {"rig", "engine"}:
            queue = self.to_rig if which == "rig" else self.to_engine
            if kind == "double":
                queue.insert(1, queue[0])
            else:
                head = queue.pop(0)
                if kind == "last":
                    queue.append(head)
        elif event in {"pause", "go_on"}:
            self.hold(event == "pause")
        else:
            getattr(self, event)()

    @property
    def is_over(self) -> bool:
        """Whether all is on disk and acknowledged, and the rig keeps nothing."""
        return len(self.committed) == len(BLOCK_OF) and not self.rig.kept

    # ------------------------------------------------------------------ as a value

    def copied(self) -> World:
        new = copy.copy(self)
        new.engine, new.rig = _copied(self.engine), _copied(self.rig)
        new.to_rig, new.to_engine = list(self.to_rig), list(self.to_engine)
        new.attempts, new.committed = dict(self.attempts), dict(self.committed)
        return new

    def key(self):
        return (
            _frozen_link(self.engine),
            _frozen_link(self.rig),
            tuple(_said(message) for message, _ in self.to_rig),
            tuple((peer, _said(message)) for peer, message, _ in self.to_engine),
            self.connected, self.gone, self.incarnation,
            tuple(sorted(self.attempts.items())), tuple(sorted(self.committed.items())),
            self.handed, self.unacknowledged, self.held, self.faults,
        )  # fmt: skip


def _copied(link):
    new = object.__new__(type(link))
    for name, value in vars(link).items():
        if name == "_open":
            value = [type(o)(o.request, dict(o.unanswered), o.sent, o.due) for o in value]
        elif name == "_answers":
            value = _copied_answers(value)
        elif isinstance(value, dict | list | set | deque):
            value = copy.copy(value)
        setattr(new, name, value)
    return new


def _copied_answers(answers: Answers) -> Answers:
    new = Answers()
    new._late, new._begin = set(answers._late), answers._begin
    for number, block in answers._blocks.items():
        new._blocks[number] = type(block)(
            block.attempt, block.first, dict(block.delivered), dict(block.safe)
        )
    return new


def _said(message):
    """A message as a value; what is the same in all of its kind left out."""
    match message:
        case m.Hello() | m.Welcome():
            return type(message).__name__
        case m.Response():
            return message.block, message.attempt, message.trials
        case m.Show():
            return message.block, message.attempt, message.presentations
    return message


def _frozen_link(link):
    return tuple(
        (name, _frozen(value))
        for name, value in vars(link).items()
        if name not in NOT_STATE and name not in TIMES
    )


def _frozen(value):
    if isinstance(value, TrialResult):
        return value.presentation, value.attempt, value.status
    if isinstance(value, ShowRequest):
        return value.block, value.attempt, value.presentations
    if isinstance(value, np.ndarray):
        return None  # its digest is its key
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list | tuple | deque):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, set):
        return frozenset(value)
    if type(value).__name__ == "_Open":
        request_, unanswered = _frozen(value.request), frozenset(value.unanswered.values())
        return request_, unanswered, value.sent, value.due is None
    if isinstance(value, Answers):
        return tuple(
            (
                number,
                block.attempt,
                block.first > 1,
                _frozen(block.delivered),
                _frozen(block.safe),
            )
            for number, block in sorted(value._blocks.items())
        )
    if type(value).__name__ == "_Rival":
        return value.peer
    return value


def first() -> World:
    world = World(new_engine(), RigLink(HELLO))
    for block in BLOCKS:
        world.ask(block, resumed=False)
    return world


@dataclass
class Explored:
    """What was found."""

    states: int = 0
    transitions: int = 0
    ends: int = 0
    faults: Counter = field(default_factory=Counter)  # kinds tried
    deepest: int = 0


def explore(most_faults: int, *, prompt: bool = False, kinds=None) -> Explored:
    """Visit every state that at most so many faults lead to.

    Parameters
    ----------
    most_faults : in one history
    prompt : what concerns one side alone (sending what it has, committing, acknowledging)
        happens before anything else but a fault: fewer states, and what a session that is
        slow to commit would bring about is not among them
    kinds : names of faults that may happen; None: all
    """
    found = Explored()
    start = first()
    seen = {hash_of(start)}
    layer = [start]
    while layer:
        found.deepest += 1
        following = []
        for world in layer:
            found.states += 1
            own, faults = world.events()
            if not own:
                if world.is_over:
                    found.ends += 1
                else:
                    own = ["time_passes"]  # nothing else can: a timeout helps
            if world.faults < most_faults:
                allowed = [f for f in faults if kinds is None or f in kinds]
            else:
                allowed = []
            if prompt:
                own = [event for event in own if event in PROMPT][:1] or own
            for event in own + allowed:
                new = world.copied()
                if event in allowed and event not in own:
                    new.faults += 1
                    found.faults[event] += 1
                new.happen(event)
                found.transitions += 1
                assert max(new.attempts.values()) < 20, "asked for again and again"
                digest = hash_of(new)
                if digest not in seen:
                    seen.add(digest)
                    following.append(new)
        layer = following
    return found


def hash_of(world: World) -> int:
    """64 bits: two of a million states are taken for one with a chance of 3e-8."""
    return hash(world.key())
