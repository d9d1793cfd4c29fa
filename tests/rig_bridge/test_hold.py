"""A session pauses: the rig shows nothing more, and nothing is asked for again meanwhile."""

from __future__ import annotations

from rig_bridge import messages as m
from tests.rig_bridge.halves import (
    OTHER,
    ask,
    joined_engine,
    new_engine,
    said,
    welcome,
    welcomed_rig,
)
from tests.rig_bridge.samples import SESSION, hello, request, result


def test_what_waits_goes_on_waiting_until_the_hold_is_over():
    link = welcomed_rig()
    ask(link, request(block=0, attempt=1, presentations=(1, 2)))
    link.verify()
    _, first = link.next()
    link.received(m.Hold(SESSION, on=True), (), 1.0)
    link.presented(result(first.presentation, 1))  # what was on the screen is answered
    assert link.next() is None
    assert not link.is_idle
    assert said(link.flush(), m.Response)
    link.received(m.Hold(SESSION, on=False), (), 2.0)
    assert link.next()[1].presentation == 2


def test_a_hold_of_another_session_is_not_this_rigs():
    link = welcomed_rig()
    ask(link, request(block=0, attempt=1, presentations=(1,)))
    link.verify()
    link.received(m.Hold(OTHER, on=True), (), 1.0)
    assert link.next() is not None


def test_a_welcome_ends_a_hold():
    link = welcomed_rig()
    ask(link, request(block=0, attempt=1, presentations=(1,)))
    link.verify()
    link.received(m.Hold(SESSION, on=True), (), 1.0)
    link.received(welcome(), (), 2.0)
    assert link.next() is not None


def test_the_engine_asks_for_nothing_again_while_it_holds():
    link = joined_engine(answer_timeout_s=10.0)
    link.show(request(block=0, attempt=1, presentations=(1,)), 0.0)
    (sent,) = link.hold(True, 1.0)
    assert sent.message == m.Hold(SESSION, on=True)
    assert not said(link.tick(500.0), m.Show)
    link.hold(False, 501.0)
    assert not said(link.tick(505.0), m.Show)
    assert said(link.tick(512.0), m.Show)  # the timeout counts from where it went on


def test_a_rig_that_comes_back_is_told_of_the_hold_after_its_welcome():
    link = new_engine()
    assert link.hold(True, 0.0) == []
    actions = link.received(b"A", hello(), (), 1.0)
    kinds = [type(a.message) for a in actions if hasattr(a, "message")]
    assert kinds == [m.Welcome, m.Hold]
