"""The two machines against each other, over a network that does its worst.

Messages are dropped, doubled and overtaken, connections break with or without either side
noticing, the rig is killed, the engine is killed and goes on from its journal. Pure Python, one
seed a run: time is a number, and every message goes through its bytes.
"""

from __future__ import annotations

import random

import pytest

from rig_bridge import codec
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.events import BlockDone, Resent, Responded
from rig_bridge.messages import Ack
from rig_bridge.rig_link import RigLink, SendToEngine, StopPresenting
from tests.rig_bridge.samples import SESSION, hello, request, result
from tests.soak import further, share

PEER = b"rig"
BLOCKS, PRESENTATIONS = 3, 7


class World:
    """Engine, rig, network, journal and screen, and what must hold of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.to_rig: list = []
        self.to_engine: list = []
        self.shown: list = []  # (block, presentation, attempt) as they were on screen
        self.durable: dict = {}  # (block, presentation, attempt) -> ok
        self.pending: list = []  # handed up, not durable yet
        self.attempts: dict = {}  # block -> last attempt the journal knows
        self.asks: dict = {}  # (block, presentation) -> times asked for by the engine's loop
        self.rig_kills = 0
        self.start_engine()
        self.start_rig()

    # -------------------------------------------------------------- either side, from nothing

    def start_engine(self) -> None:
        self.to_rig, self.to_engine, self.pending = [], [], []
        self.engine = EngineLink(
            session=SESSION, name="test", window_ms=(-100.0, 300.0), answer_timeout_s=10.0
        )
        self.handed_up: set = set()
        self.done: set = set()
        for block in list(self.attempts):
            self.ask(block, resumed=True)

    def start_rig(self) -> None:
        self.to_rig, self.to_engine = [], []
        self.rig = RigLink(hello())
        self.recording: list = []  # results that are still to come
        self.stopped = False
        self.rig_does(self.rig.connected(self.now))

    def ask(self, block: int, *, resumed: bool = False) -> None:
        """Ask for what has no good result in the journal, as an engine's loop does."""
        best = {}
        for b, p, attempt in self.durable:
            if b == block:
                best[p] = max(best.get(p, 0), attempt)
        missing = [
            p
            for p in range(PRESENTATIONS)
            if not (p in best and self.durable[block, p, best[p]])
        ]
        if not missing:
            self.done.add(block)
            return
        attempt = self.attempts.get(block, 0) + 1
        self.attempts[block] = attempt
        if not resumed:
            for p in missing:
                self.asks[block, p] = self.asks.get((block, p), 0) + 1
        self.engine_does(
            self.engine.show(request(block, attempt, missing, known=best), self.now)
        )

    # -------------------------------------------------------------- what the machines want

    def engine_does(self, actions) -> None:
        for action in actions:
            match action:
                case SendToRig(peer, message, arrays):
                    assert peer == PEER
                    if isinstance(message, Ack):
                        for a in message.presentations:
                            key = (message.block, a.presentation, a.attempt)
                            assert key in self.durable, "acknowledged before it was durable"
                    self.to_rig.append(codec.encode_message(message, arrays))
                case Responded(block, trials):
                    for t in trials:
                        key = (block, t.presentation, t.attempt)
                        assert key in self.shown, "a result of something that was never shown"
                        assert key not in self.durable, "handed up twice"
                        assert key not in self.handed_up, "handed up twice"
                        truth = result(t.presentation, t.attempt)
                        for name, array in truth.arrays.items():
                            assert array.tolist() == t.arrays[name].tolist(), "mislabelled"
                        self.handed_up.add(key)
                        self.pending.append((key, t.status == "ok"))
                case Resent(block, attempt, _):
                    assert attempt > self.attempts[block]
                    self.attempts[block] = attempt
                case BlockDone(block, attempt):
                    assert not self.engine.unanswered.get(block)
                    self.attempts[block] = max(self.attempts[block], attempt)
                case _:
                    pass

    def rig_does(self, actions) -> None:
        for action in actions:
            match action:
                case SendToEngine(message, arrays):
                    self.to_engine.append(codec.encode_message(message, arrays))
                case StopPresenting():
                    self.stopped = True
                case _:
                    pass

    # -------------------------------------------------------------- what can happen

    def deliver_to_rig(self, at: int = 0) -> None:
        if len(self.to_rig) > at:
            message, arrays = codec.decode_from_engine(self.to_rig.pop(at))
            self.rig_does(self.rig.received(message, arrays, self.now))

    def deliver_to_engine(self, at: int = 0) -> None:
        if len(self.to_engine) > at:
            message, arrays = codec.decode_from_rig(self.to_engine.pop(at))
            self.engine_does(self.engine.received(PEER, message, arrays, self.now))

    def present(self) -> None:
        self.rig_does(self.rig.verify(self.random.choice([0, 1, None])))
        shown = self.rig.next()
        if shown is not None:
            p = shown[1]
            ok = self.random.random() < 0.8
            self.shown.append((p.block, p.presentation, p.attempt))
            came = result(p.presentation, p.attempt, ok=ok)
            if self.random.random() < 0.5:
                self.rig.presented_for_later(self.now)
                self.recording.append((p.block, came))
            else:
                self.rig.presented(came)
                assert (p.block, p.presentation) in self.rig.kept

    def collect(self) -> None:
        if self.recording:
            at = self.random.randrange(len(self.recording))
            block, came = self.recording.pop(at)
            assert self.rig.collected(block, came) == [], "nobody waited for it"
            assert (block, came.presentation) in self.rig.kept

    def journal(self) -> None:
        """The disk catches up; then the loop acknowledges, and asks again for the aborted."""
        pending, self.pending = self.pending, []
        for key, ok in pending:
            self.durable[key] = ok
        for block in {key[0] for key, _ in pending}:
            mine = [key[1] for key, _ in pending if key[0] == block]
            self.engine_does(self.engine.ack(block, mine))
        for block in list(self.attempts):
            if block not in self.done and not self.engine.unanswered.get(block):
                self.ask(block)

    def new_block(self) -> None:
        block = len(self.attempts)
        if block < BLOCKS:
            self.ask(block)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.engine_does(self.engine.tick(self.now))
        self.rig_does(self.rig.tick(self.now))

    def reconnect(self) -> None:
        self.to_rig, self.to_engine = [], []
        self.rig_does(self.rig.disconnected())
        if self.random.random() < 0.5:
            self.engine_does(self.engine.lost("test"))
        self.rig_does(self.rig.connected(self.now))

    def kill_rig(self) -> None:
        self.rig_kills += 1
        self.start_rig()

    def kill_engine(self) -> None:
        self.start_engine()
        if self.random.random() < 0.5:  # else it hears of it by the silence
            self.rig_does(self.rig.disconnected())
            self.rig_does(self.rig.connected(self.now))

    def lose(self, queue: list) -> None:
        if queue:
            queue.pop(self.random.randrange(len(queue)))

    def double(self, queue: list) -> None:
        if queue:
            queue.insert(self.random.randrange(len(queue) + 1), self.random.choice(queue))

    def step(self, faults: dict) -> None:
        usual = {
            self.deliver_to_rig: 10,
            self.deliver_to_engine: 10,
            self.present: 6,
            self.collect: 4,
            lambda: self.rig_does(self.rig.flush()): 6,
            self.journal: 4,
            self.new_block: 1,
            lambda: self.tick(self.random.choice([0.0, 0.1, 1.0, 3.0])): 2,
        }
        rare = {
            lambda: self.lose(self.to_rig): faults.get("lose", 0),
            lambda: self.lose(self.to_engine): faults.get("lose", 0),
            lambda: self.double(self.to_rig): faults.get("double", 0),
            lambda: self.double(self.to_engine): faults.get("double", 0),
            lambda: self.deliver_to_rig(self.random.randrange(3)): faults.get("overtake", 0),
            lambda: self.deliver_to_engine(self.random.randrange(3)): faults.get("overtake", 0),
            self.reconnect: faults.get("reconnect", 0),
            self.kill_rig: faults.get("kill_rig", 0),
            self.kill_engine: faults.get("kill_engine", 0),
        }
        acts = usual | rare
        self.random.choices(list(acts), list(acts.values()))[0]()
        assert not self.stopped

    def heal(self) -> None:
        """No more faults: everything must come to its end by itself."""
        while len(self.attempts) < BLOCKS:
            self.new_block()
        for _ in range(2000):
            while self.to_rig or self.to_engine:
                self.deliver_to_rig()
                self.deliver_to_engine()
            self.present()
            self.collect()
            self.rig_does(self.rig.flush())
            while self.to_engine:
                self.deliver_to_engine()
            self.journal()
            if self.done == set(range(BLOCKS)) and not self.to_rig:
                return
            self.tick(0.5)
        raise AssertionError(f"never finished: {self.engine.unanswered}")

    def check(self) -> None:
        for block in range(BLOCKS):
            for p in range(PRESENTATIONS):
                mine = {a: ok for (b, q, a), ok in self.durable.items() if (b, q) == (block, p)}
                assert sum(mine.values()) == 1, "one good result each, and no more"
                assert mine[max(mine)], "nothing is asked for after the good one"
        assert len(self.shown) == len(set(self.shown)), "a label used twice"


FAULTS = {
    "none": {},
    "tcp": {"reconnect": 1},
    "kills": {"reconnect": 1, "kill_rig": 1, "kill_engine": 1},
    "lossy": {"lose": 2, "double": 2, "overtake": 2},
    "everything": {
        "lose": 1,
        "double": 1,
        "overtake": 1,
        "reconnect": 1,
        "kill_rig": 1,
        "kill_engine": 1,
    },
}


def play(seed: int, faults: dict) -> World:
    world = World(seed)
    for _ in range(world.random.randrange(20, 250)):
        world.step(faults)
    world.heal()
    world.check()
    return world


@pytest.mark.parametrize("name", FAULTS)
def test_every_presentation_is_answered_once_whatever_happens(name):
    for seed in range(10):
        play(seed, FAULTS[name])


@pytest.mark.parametrize("name", [further("none"), "tcp", "lossy"])
def test_nothing_is_shown_more_often_than_it_was_asked_for_while_the_rig_lives(name):
    for seed in range(1000, 1015):
        world = play(seed, FAULTS[name])
        counts: dict = {}
        for block, p, _ in world.shown:
            counts[block, p] = counts.get((block, p), 0) + 1
        assert counts == world.asks


def test_an_engine_that_dies_costs_no_presentation():
    faults = {"kill_engine": 2}
    for seed in range(2000, 2020):
        world = play(seed, faults)
        for block, p in {(b, q) for b, q, _ in world.shown}:
            shown = sum((b, q) == (block, p) for b, q, _ in world.shown)
            aborted = sum(
                not ok for (b, q, _), ok in world.durable.items() if (b, q) == (block, p)
            )
            assert shown == aborted + 1


@pytest.mark.soak
def test_a_long_night():
    for seed in range(10_000, 10_000 + share(30_000, 6_000)):
        play(seed, FAULTS["everything"])
