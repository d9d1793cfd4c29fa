"""Messages that were damaged on the way, by the hundred thousand, through both halves.

Whatever comes in is a message that keeps the protocol or a `ProtocolError`, and neither half
raises anything, whatever it is told and whatever its clock does; what they hold stays bounded.
The full soak takes a million messages.
"""

from __future__ import annotations

import math
import random
import tracemalloc

import msgpack
import pytest

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.errors import ProtocolError
from rig_bridge.rig_link import Prepare, RigLink, SendToEngine, StopPresenting
from tests.rig_bridge.halves import joined_engine, welcomed_rig
from tests.rig_bridge.samples import FROM_ENGINE, FROM_RIG, request, result
from tests.soak import share

ENGINE_SIDE = [
    [bytes(f) for f in codec.encode_message(*sample)] for sample in FROM_ENGINE.values()
]
RIG_SIDE = [[bytes(f) for f in codec.encode_message(*sample)] for sample in FROM_RIG.values()]
ODD = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    2**53,
    2**64 - 1,
    0.5,
    math.nan,
    math.inf,
    "",
    "ff",
    "x" * 3000,
    [],
    {},
    b"x",
]
JUMPS = [0.0, 0.0, 0.001, 0.5, 3.0, 100.0, 1e6, 1e12]  # stalls, and leaps of a clock


def flipped(frames: list[bytes], rng: random.Random) -> list[bytes]:
    """Some bits changed."""
    at = rng.randrange(len(frames))
    frame = bytearray(frames[at])
    for _ in range(rng.randint(1, 4)):
        if frame:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
    return [*frames[:at], bytes(frame), *frames[at + 1 :]]


def cut(frames: list[bytes], rng: random.Random) -> list[bytes]:
    """A frame shortened, lengthened, left out, doubled or moved."""
    at, frames = rng.randrange(len(frames)), list(frames)
    match rng.randrange(5):
        case 0:
            frames[at] = frames[at][: rng.randint(0, len(frames[at]))]
        case 1:
            frames[at] += rng.randbytes(rng.randint(1, 40))
        case 2:
            del frames[at]
        case 3:
            frames.insert(at, frames[at])
        case _:
            frames.append(frames.pop(at))
    return frames


def reworded(frames: list[bytes], rng: random.Random) -> list[bytes]:
    """A value somewhere in the header replaced by another, or a key taken out or added."""
    raw = msgpack.unpackb(frames[0])
    place = raw
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return frames
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and rng.random() < 0.8:
            place = place[key]
            continue
        break
    match rng.randrange(4):
        case 0 if isinstance(place, dict):
            del place[key]
        case 1 if isinstance(place, dict):
            place[f"{key}x"] = place[key]
        case _:
            place[key] = rng.choice(ODD)
    return [msgpack.packb(raw), *frames[1:]]


def valid(frames: list[bytes], rng: random.Random) -> list[bytes]:  # noqa: ARG001
    """As it was: what follows must find a link that still works."""
    return frames


def noise(frames: list[bytes], rng: random.Random) -> list[bytes]:  # noqa: ARG001
    """Bytes."""
    return [rng.randbytes(rng.randint(0, 60)) for _ in range(rng.randint(0, 3))]


MUTATIONS = [valid, flipped, flipped, cut, reworded, reworded, noise]


class Pair:
    """One half of each kind; both are told whatever comes out of the mutations."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.read = {"engine": 0, "rig": 0}
        self.engine: EngineLink = joined_engine()
        self.rig: RigLink = welcomed_rig()
        self.engine.show(request(3, 2, (40, 41)), 0.0)

    def message(self) -> None:
        rng = self.rng
        self.now += rng.choice(JUMPS)
        if rng.random() < 0.5:
            self.to_engine(rng.choice(MUTATIONS)(rng.choice(RIG_SIDE), rng))
        else:
            self.to_rig(rng.choice(MUTATIONS)(rng.choice(ENGINE_SIDE), rng))

    def to_engine(self, frames: list[bytes]) -> None:
        peer = self.rng.choice([b"A", b"A", b"A", b"B"])
        try:
            message, arrays = codec.decode_from_rig(frames)
        except ProtocolError as error:
            actions = self.engine.misread(peer, error, self.now)
        else:
            self.read["engine"] += 1
            actions = self.engine.received(peer, message, arrays, self.now)
        actions += self.engine.tick(self.now)
        for action in actions:
            if isinstance(action, SendToRig):
                codec.encode_message(action.message, action.arrays)

    def to_rig(self, frames: list[bytes]) -> None:
        rig, rng = self.rig, self.rng
        try:
            message, arrays = codec.decode_from_engine(frames)
        except ProtocolError as error:
            actions = rig.notice("error", str(error))
        else:
            self.read["rig"] += 1
            actions = rig.received(message, arrays, self.now)
        actions += [*rig.tick(self.now), *rig.verify(rng.choice([0, 1, None]))]
        shown = rig.next() if rng.random() < 0.7 else None
        if shown is not None:
            p = shown[1]
            if rng.random() < 0.3:
                rig.presented_for_later(self.now)
                if rng.random() < 0.9:
                    actions += rig.collected(p.block, result(p.presentation, p.attempt))
            else:
                rig.presented(result(p.presentation, p.attempt))
        actions += rig.flush()
        for action in actions:
            assert isinstance(action, SendToEngine | Prepare | StopPresenting)
            if isinstance(action, SendToEngine):
                codec.encode_message(action.message, action.arrays)


def play(messages: int, seed: int, *, each: int = 20_000) -> tuple[int, dict]:
    """Return the peak of memory in bytes, and how many messages got through on either side."""
    read = {"engine": 0, "rig": 0}
    tracemalloc.start()
    try:
        for start in range(0, messages, each):
            pair = Pair(seed + start)
            for _ in range(min(each, messages - start)):
                pair.message()
            for side, count in pair.read.items():
                read[side] += count
        return tracemalloc.get_traced_memory()[1], read
    finally:
        tracemalloc.stop()


def check(messages: int, seed: int) -> None:
    peak, read = play(messages, seed)
    assert min(read.values()) > messages / 50, "too few got through to try the links"
    assert peak < 32 * 2**20


def test_damaged_messages_raise_nothing_and_hold_no_memory():
    check(2_500, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_damaged_messages():
    check(share(1_000_000, 200_000), seed=1_000_000)


def test_quick_and_strict_reader_agree_on_every_mutation():
    """The quick one believes nothing that the strict one refuses, and reads it the same."""
    rng = random.Random(2)
    agreed = 0
    for _ in range(3000):
        engine = rng.random() < 0.5
        frames = rng.choice(MUTATIONS)(rng.choice(ENGINE_SIDE if engine else RIG_SIDE), rng)
        if not frames:
            continue
        reader = codec._FROM_ENGINE if engine else codec._FROM_RIG
        kinds = m.FromEngine if engine else m.FromRig
        quick = codec._quick_message(frames[0], reader)
        if quick is not None:
            agreed += 1
            assert codec._typed(codec._read(frames[0]), kinds) == quick
    assert agreed > 500
