"""Every message in every state of both halves, and the reaction that docs/PROTOCOL.md asks for.

A reaction is what goes out and what is handed up, in order, then the state that is left: for
the engine, presentations that are unanswered; for the rig, presentations that wait and results
that are kept. Tables, so that a change of behaviour is a change of a line somebody reads.
"""

from __future__ import annotations

import pytest

from rig_bridge import messages as m
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.rig_link import Prepare, RigLink, SendToEngine
from rig_bridge.trials import pack_results
from tests.rig_bridge.halves import (
    OTHER,
    answer,
    ask,
    joined_engine,
    new_engine,
    next_shown,
    present_all,
    show_message,
    welcome,
    welcomed_rig,
)
from tests.rig_bridge.samples import SESSION, hello, request, result


def asked(attempt=1, known=None):
    """The request of every state: presentations 0 and 1 of block 0."""
    return request(attempt=attempt, presentations=(0, 1), known=known)


def words(actions) -> str:
    """Actions in one line: messages to a peer, messages, events."""
    said = []
    for a in actions:
        name = type(getattr(a, "message", a)).__name__.lower()
        if isinstance(a, SendToRig):
            said.append(f"{a.peer.decode()}<{name}")
        elif isinstance(a, SendToEngine):
            said.append(f"<{name}")
        elif isinstance(a, Prepare):
            said.append("prepare")
        else:
            said.append(f"{name}:{a.level}" if isinstance(a, m.Notice) else name)
    return " ".join(said)


# ---------------------------------------------------------------- the engine


def engine_in(state: str) -> EngineLink:
    link = new_engine() if state in {"new", "queued"} else joined_engine()
    if state not in {"new", "joined"}:
        link.show(asked(), 0.0)
    if state in {"half", "answered", "acked"}:
        answer(link, [result(0)])
    if state in {"answered", "acked"}:
        answer(link, [result(1)])
    if state == "acked":
        link.ack(0, [0, 1])
    if state == "rivalled":
        link.received(b"B", hello(name="rig B"), (), 0.0)
    if state == "lost":
        link.lost("gone")
    if state == "ended":
        link.end("finished")
    return link


TO_ENGINE = {
    "hello": (hello(), ()),
    "hello of a narrow window": (hello(window_ms=(-1.0, 1.0)), ()),
    "accepted": (m.Accepted(0, 1), ()),
    "response": pack_results([result(0), result(1)], block=0, attempt=1),
    "response of another block": pack_results([result(0)], block=9, attempt=1),
    "response of an impossible attempt": pack_results([result(0, 9999)], block=0, attempt=9999),
    "done": (m.Done(0, 1), ()),
    "notice": (m.Notice("info", "a break"), ()),
    "bye": (m.Bye("lunch"), ()),
}

ENGINE = {
    "new": {
        "hello": "A<welcome rigjoined | 0",
        "hello of a narrow window": "A<refused notice:warning | 0",
        "accepted": "| 0",
        "response": "| 0",
        "response of another block": "| 0",
        "response of an impossible attempt": "| 0",
        "done": "| 0",
        "notice": "| 0",
        "bye": "| 0",
    },
    "queued": {
        "hello": "A<welcome rigjoined A<show | 2",
        "hello of a narrow window": "A<refused notice:warning | 2",
        "accepted": "| 2",
        "response": "| 2",
        "response of another block": "| 2",
        "response of an impossible attempt": "| 2",
        "done": "| 2",
        "notice": "| 2",
        "bye": "| 2",
    },
    "joined": {
        "hello": "A<welcome rigjoined | 0",
        "hello of a narrow window": "A<refused notice:warning | 0",
        "accepted": "accepted | 0",
        "response": "| 0",
        "response of another block": "| 0",
        "response of an impossible attempt": "| 0",
        "done": "| 0",
        "notice": "notice:info | 0",
        "bye": "riglost | 0",
    },
    "waiting": {
        "hello": "A<welcome rigjoined resent A<show | 2",
        "hello of a narrow window": "A<refused notice:warning | 2",
        "accepted": "accepted | 2",
        "response": "responded blockdone | 0",
        "response of another block": "| 2",
        "response of an impossible attempt": "A<invalid notice:error riginvalid | 2",
        "done": "| 2",
        "notice": "notice:info | 2",
        "bye": "riglost | 2",
    },
    "half": {
        "hello": "A<welcome rigjoined resent A<show | 1",
        "hello of a narrow window": "A<refused notice:warning | 1",
        "accepted": "accepted | 1",
        "response": "responded blockdone | 0",
        "response of another block": "| 1",
        "response of an impossible attempt": "A<invalid notice:error riginvalid | 1",
        "done": "| 1",
        "notice": "notice:info | 1",
        "bye": "riglost | 1",
    },
    "answered": {
        "hello": "A<welcome rigjoined | 0",
        "hello of a narrow window": "A<refused notice:warning | 0",
        "accepted": "accepted | 0",
        "response": "| 0",
        "response of another block": "| 0",
        "response of an impossible attempt": "A<invalid notice:error riginvalid | 0",
        "done": "| 0",
        "notice": "notice:info | 0",
        "bye": "riglost | 0",
    },
    "acked": {
        "hello": "A<welcome rigjoined | 0",
        "hello of a narrow window": "A<refused notice:warning | 0",
        "accepted": "accepted | 0",
        "response": "A<ack | 0",
        "response of another block": "| 0",
        "response of an impossible attempt": "A<invalid notice:error riginvalid | 0",
        "done": "| 0",
        "notice": "notice:info | 0",
        "bye": "riglost | 0",
    },
    "rivalled": {
        "hello": "B<refused notice:warning A<welcome rigjoined resent A<show | 2",
        "hello of a narrow window": "A<refused notice:warning | 2",
        "accepted": "B<refused notice:warning accepted | 2",
        "response": "B<refused notice:warning responded blockdone | 0",
        "response of another block": "B<refused notice:warning | 2",
        "response of an impossible attempt": (
            "B<refused notice:warning A<invalid notice:error riginvalid | 2"
        ),
        "done": "B<refused notice:warning | 2",
        "notice": "B<refused notice:warning notice:info | 2",
        "bye": "riglost B<welcome rigjoined resent B<show | 2",
    },
    "lost": {
        "hello": "A<welcome rigjoined resent A<show | 2",
        "hello of a narrow window": "A<refused notice:warning | 2",
        "accepted": "| 2",
        "response": "| 2",
        "response of another block": "| 2",
        "response of an impossible attempt": "| 2",
        "done": "| 2",
        "notice": "| 2",
        "bye": "| 2",
    },
    "ended": {
        "hello": "A<end | 0",
        "hello of a narrow window": "A<end | 0",
        "accepted": "accepted | 0",
        "response": "| 0",
        "response of another block": "| 0",
        "response of an impossible attempt": "A<invalid notice:error riginvalid | 0",
        "done": "| 0",
        "notice": "notice:info | 0",
        "bye": "riglost | 0",
    },
}


@pytest.mark.parametrize("state", ENGINE)
def test_the_engine_reacts_as_the_table_says(state):
    def reaction(message):
        link = engine_in(state)
        actions = link.received(b"A", *message, 0.5)
        left = sum(len(p) for p in link.unanswered.values())
        return f"{words(actions)} | {left}".strip()

    assert {name: reaction(message) for name, message in TO_ENGINE.items()} == ENGINE[state]


@pytest.mark.parametrize("state", ENGINE)
def test_a_stranger_is_not_heard_in_any_state(state):
    for name, message in TO_ENGINE.items():
        if "hello" not in name:
            link = engine_in(state)
            before = link.unanswered
            assert link.received(b"C", *message, 0.5) == [], name
            assert link.unanswered == before, name


# ---------------------------------------------------------------- the rig


def rig_in(state: str) -> RigLink:
    if state in {"new", "connected"}:
        link = RigLink(hello())
        if state == "connected":
            link.connected(0.0)
        return link
    link = welcomed_rig()
    if state == "welcomed":
        return link
    ask(link, asked())
    if state == "unverified":
        return link
    link.verify()
    if state in {"showing", "awaiting", "abandoned"}:
        next_shown(link)
    if state == "awaiting":
        link.presented_for_later(0.0)
    if state == "abandoned":
        link.received(welcome(OTHER), (), 0.0)
    if state in {"kept", "acked"}:
        present_all(link)
        link.flush()
    if state == "acked":
        link.received(m.Ack(0, (m.Acknowledged(0, 1), m.Acknowledged(1, 1))), (), 0.0)
    if state == "disconnected":
        link.disconnected()
    return link


TO_RIG = {
    "welcome": (welcome(), ()),
    "welcome of another session": (welcome(OTHER), ()),
    "welcome of another version": (m.Welcome(SESSION, "x", (-1.0, 1.0), version=2), ()),
    "refused": (m.Refused("no"), ()),
    "show again": show_message(asked(1)),
    "show of the next attempt": show_message(asked(2)),
    "show of what is known": show_message(asked(2, {0: 1, 1: 1})),
    "show of another session": show_message(asked(1), OTHER),
    "ack": (m.Ack(0, (m.Acknowledged(0, 1),)), ()),
    "ack of another block": (m.Ack(9, (m.Acknowledged(0, 1),)), ()),
    "ping": (m.Ping(SESSION), ()),
    "ping of another session": (m.Ping(OTHER), ()),
    "end": (m.End("finished"), ()),
}

RIG = {
    "new": {
        "welcome": "| 0 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 0",
        "refused": "stoppresenting | 0 0",
        "show again": "| 0 0",
        "show of the next attempt": "| 0 0",
        "show of what is known": "| 0 0",
        "show of another session": "| 0 0",
        "ack": "| 0 0",
        "ack of another block": "| 0 0",
        "ping": "| 0 0",
        "ping of another session": "| 0 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "connected": {
        "welcome": "| 0 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 0",
        "refused": "stoppresenting | 0 0",
        "show again": "| 0 0",
        "show of the next attempt": "| 0 0",
        "show of what is known": "| 0 0",
        "show of another session": "| 0 0",
        "ack": "| 0 0",
        "ack of another block": "| 0 0",
        "ping": "| 0 0",
        "ping of another session": "| 0 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "welcomed": {
        "welcome": "| 0 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 0",
        "refused": "stoppresenting | 0 0",
        "show again": "<accepted | 2 0",
        "show of the next attempt": "<accepted | 2 0",
        "show of what is known": "<accepted | 2 0",
        "show of another session": "| 0 0",
        "ack": "| 0 0",
        "ack of another block": "| 0 0",
        "ping": "| 0 0",
        "ping of another session": "<hello | 0 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "unverified": {
        "welcome": "| 2 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 2 0",
        "refused": "stoppresenting | 2 0",
        "show again": "<accepted | 2 0",
        "show of the next attempt": "<accepted | 2 0",
        "show of what is known": "<accepted | 2 0",
        "show of another session": "| 2 0",
        "ack": "| 2 0",
        "ack of another block": "| 2 0",
        "ping": "| 2 0",
        "ping of another session": "<hello | 2 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "ready": {
        "welcome": "| 2 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 2 0",
        "refused": "stoppresenting | 2 0",
        "show again": "<accepted | 2 0",
        "show of the next attempt": "<accepted | 2 0",
        "show of what is known": "<accepted | 2 0",
        "show of another session": "| 2 0",
        "ack": "| 2 0",
        "ack of another block": "| 2 0",
        "ping": "| 2 0",
        "ping of another session": "<hello | 2 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "showing": {
        "welcome": "| 1 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 1 0",
        "refused": "stoppresenting | 1 0",
        "show again": "<accepted | 1 0",
        "show of the next attempt": "<accepted | 1 0",
        "show of what is known": "<accepted | 1 0",
        "show of another session": "| 1 0",
        "ack": "| 1 0",
        "ack of another block": "| 1 0",
        "ping": "| 1 0",
        "ping of another session": "<hello | 1 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "awaiting": {
        "welcome": "| 1 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 1 0",
        "refused": "stoppresenting | 1 0",
        "show again": "<accepted | 1 0",
        "show of the next attempt": "<accepted | 1 0",
        "show of what is known": "<accepted | 1 0",
        "show of another session": "| 1 0",
        "ack": "| 1 0",
        "ack of another block": "| 1 0",
        "ping": "| 1 0",
        "ping of another session": "<hello | 1 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "kept": {
        "welcome": "| 0 2",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 2",
        "refused": "stoppresenting | 0 2",
        "show again": "<accepted <response <done | 0 2",
        "show of the next attempt": "<accepted <response <done | 0 2",
        "show of what is known": "<accepted | 2 0",
        "show of another session": "| 0 2",
        "ack": "| 0 1",
        "ack of another block": "| 0 2",
        "ping": "| 0 2",
        "ping of another session": "<hello | 0 2",
        "end": "<bye stoppresenting | 0 0",
    },
    "acked": {
        "welcome": "| 0 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 0",
        "refused": "stoppresenting | 0 0",
        "show again": "<accepted | 0 0",
        "show of the next attempt": "<accepted | 2 0",
        "show of what is known": "<accepted | 2 0",
        "show of another session": "| 0 0",
        "ack": "| 0 0",
        "ack of another block": "| 0 0",
        "ping": "| 0 0",
        "ping of another session": "<hello | 0 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "disconnected": {
        "welcome": "| 2 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 2 0",
        "refused": "stoppresenting | 2 0",
        "show again": "| 2 0",
        "show of the next attempt": "| 2 0",
        "show of what is known": "| 2 0",
        "show of another session": "| 2 0",
        "ack": "| 2 0",
        "ack of another block": "| 2 0",
        "ping": "| 2 0",
        "ping of another session": "| 2 0",
        "end": "<bye stoppresenting | 0 0",
    },
    "abandoned": {
        "welcome": "| 0 0",
        "welcome of another session": "| 0 0",
        "welcome of another version": "stoppresenting | 0 0",
        "refused": "stoppresenting | 0 0",
        "show again": "| 0 0",
        "show of the next attempt": "| 0 0",
        "show of what is known": "| 0 0",
        "show of another session": "<accepted | 2 0",
        "ack": "| 0 0",
        "ack of another block": "| 0 0",
        "ping": "<hello | 0 0",
        "ping of another session": "| 0 0",
        "end": "<bye stoppresenting | 0 0",
    },
}


@pytest.mark.parametrize("state", RIG)
def test_the_rig_reacts_as_the_table_says(state):
    def reaction(message):
        link = rig_in(state)
        actions = link.received(*message, 0.5)
        return f"{words(actions)} | {len(link._queue)} {len(link.kept)}".strip()

    assert {name: reaction(message) for name, message in TO_RIG.items()} == RIG[state]


def test_the_tables_hold_every_message():
    engine = {type(message) for message, _ in TO_ENGINE.values()}
    rig = {type(message) for message, _ in TO_RIG.values()}
    assert engine == set(m.FromRig.__args__)
    assert {kind.__name__ for kind in rig} == KINDS


KINDS = {"Welcome", "Refused", "Show", "Ack", "Ping", "End"}


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("jump", [31.0, 1e5, 1e12])
def test_a_clock_that_leaps_asks_once_and_no_more(jump):
    link = engine_in("waiting")
    assert words(link.tick(jump)) == "A<ping resent A<show"
    assert words(link.tick(jump)) == ""


@pytest.mark.parametrize("jump", [5.0, 1e5, 1e12])
def test_a_clock_that_leaps_makes_a_rig_say_hello_once(jump):
    link = rig_in("ready")
    assert words(link.tick(jump)) == "<hello"
    assert words(link.tick(jump)) == ""
    assert next_shown(link) == (0, 0, 1)


@pytest.mark.parametrize("state", ENGINE)
def test_an_engine_whose_clock_stands_still_does_nothing(state):
    link = engine_in(state)
    assert [words(link.tick(0.0)) for _ in range(5)] == [""] * 5


@pytest.mark.parametrize("state", RIG)
def test_a_rig_whose_clock_stands_still_does_nothing(state):
    link = rig_in(state)
    assert [words(link.tick(0.0)) for _ in range(5)] == [""] * 5
