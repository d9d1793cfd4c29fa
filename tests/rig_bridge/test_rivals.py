"""Two rigs want one session: who is let in, and what the engine hears of it."""

from __future__ import annotations

import pytest

from rig_bridge import messages as m
from rig_bridge.engine_link import SendToRig
from rig_bridge.events import EngineWoke, RigJoined, RigLost
from tests.rig_bridge.halves import joined_engine, said
from tests.rig_bridge.samples import FROM_RIG, hello, request


def rivalled():
    """A is here, B has asked to join at 10.0 and waits."""
    link = joined_engine(rival_wait_s=7.0)
    link.show(request(), 0.0)
    actions = link.received(b"B", hello(name="rig B"), (), 10.0)
    return link, actions


def to(actions, peer) -> list:
    return [a.message for a in actions if isinstance(a, SendToRig) and a.peer == peer]


def notices(actions) -> list:
    return [a for a in actions if isinstance(a, m.Notice)]


def test_a_second_rig_waits_and_the_engine_hears_of_it():
    link, actions = rivalled()
    (notice,) = notices(actions)
    assert notice.level == "warning"
    assert "rig B" in notice.text
    assert "rig A" in notice.text
    assert to(actions, b"B") == []
    assert [type(message) for message in to(actions, b"A")] == [m.Ping]
    assert link.received(b"B", hello(name="rig B"), (), 12.0) == []  # it says so again
    assert (link.peer, link.hello.name) == (b"A", "rig A")


@pytest.mark.parametrize("kind", sorted(set(FROM_RIG) - {"bye"}))
def test_any_word_of_the_first_refuses_the_second(kind):
    link, _ = rivalled()
    actions = link.received(b"A", *FROM_RIG[kind], 10.5)
    assert [type(message) for message in to(actions, b"B")] == [m.Refused]
    assert any("rig B" in n.text and "refused" in n.text for n in notices(actions))
    assert link.peer == b"A"
    again = link.received(b"A", m.Notice("info", "still here"), (), 10.6)
    assert to(again, b"B") == []


@pytest.mark.parametrize("how", ["connection", "bye"])
def test_the_second_takes_the_place_of_a_first_that_is_gone(how):
    link, _ = rivalled()
    actions = (
        link.lost("the connection is gone")
        if how == "connection"
        else link.received(b"A", m.Bye("lunch"), (), 10.5)
    )
    assert isinstance(actions[0], RigLost)
    assert [type(message) for message in to(actions, b"B")] == [m.Welcome, m.Show]
    assert [a.hello.name for a in actions if isinstance(a, RigJoined)] == ["rig B"]
    assert (link.peer, link.unanswered) == (b"B", {0: (0, 1, 2)})


def test_a_first_that_is_reachable_and_silent_keeps_its_place():
    link, _ = rivalled()
    assert to(link.tick(16.9), b"B") == []
    assert [type(message) for message in to(link.tick(17.0), b"B")] == [m.Refused]
    assert link.peer == b"A"
    assert to(link.tick(18.0), b"B") == []


def test_an_engine_that_did_not_listen_welcomes_its_rig_once_and_blames_nobody():
    """Frozen for 42 s: the rig said hello every two seconds, and all of it comes at once."""
    link = joined_engine(answer_timeout_s=30.0)
    link.show(request(), 0.0)
    actions = link.woke(42.0, 42.0)
    assert actions == [EngineWoke(42.0)]
    assert not said(link.tick(42.0), m.Show)  # the rig's silence was ours
    for k in range(21):
        actions += link.received(b"A", hello(), (), 42.0 + k / 100)
    assert len(said(actions, m.Welcome)) == len(said(actions, m.Show)) == 1
    assert notices(actions) == []
    assert len([a for a in actions if isinstance(a, RigJoined)]) == 1
    assert said(link.received(b"A", hello(), (), 44.0), m.Welcome)  # the first one was lost
    assert said(link.tick(42.0 + 32.0 + 2.0), m.Show)


def test_words_of_the_rigs_connection_before_are_no_second_rig():
    """ZeroMQ calls what is left of a connection otherwise once its rig has come back."""
    link = joined_engine()
    link.woke(14.0, 14.0)
    left_over = link.received(b"\0old", link.hello, (), 14.1)
    assert left_over == []
    other = link.received(b"\0new", hello(name="rig B"), (), 14.2)
    assert any("waits for a sign" in notice.text for notice in notices(other))
    late = joined_engine()
    assert notices(late.received(b"\0old", late.hello, (), 14.1))


def test_two_programs_of_one_identity_are_still_seen_after_that():
    link = joined_engine()
    link.woke(42.0, 42.0)
    said_so = [
        notice
        for k in range(30)
        for notice in notices(link.received(b"A", hello(), (), 42.0 + k / 2))
    ]
    assert any("do two programs use one identity?" in notice.text for notice in said_so)


def test_a_second_rig_has_its_wait_after_the_engine_woke_not_before():
    link, _ = rivalled()
    link.woke(42.0, 52.0)
    assert to(link.tick(52.0), b"B") == []
    assert [type(message) for message in to(link.tick(59.0), b"B")] == [m.Refused]


def test_hellos_of_the_waiting_do_not_put_off_its_refusal():
    link, _ = rivalled()
    for now in (12.0, 14.0, 16.0):
        link.received(b"B", hello(name="rig B"), (), now)
    assert said(link.tick(17.0), m.Refused)


def test_a_third_rig_is_refused_at_once_and_the_second_goes_on_waiting():
    link, _ = rivalled()
    actions = link.received(b"C", hello(name="rig C"), (), 11.0)
    assert [type(message) for message in to(actions, b"C")] == [m.Refused]
    assert to(link.lost("gone"), b"B")


def test_a_second_rig_that_leaves_is_forgotten():
    link, _ = rivalled()
    assert link.received(b"B", m.Bye("never mind"), (), 11.0) == []
    assert link.lost("gone") == [RigLost("gone")]


def test_one_identity_used_by_two_programs_is_an_error_that_is_named():
    link = joined_engine()
    found = []
    for k in range(1, 6):
        found += notices(link.received(b"A", hello(), (), 0.2 * k))
    assert [n.level for n in found] == ["error"]
    assert "identity" in found[0].text


def test_a_rig_that_says_hello_again_as_it_should_is_not_suspected():
    link = joined_engine()
    for k in range(1, 50):
        assert notices(link.received(b"A", hello(), (), 2.0 * k)) == []
