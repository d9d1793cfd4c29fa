"""Each machine alone: every message in every state, and the rules they must keep."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from rig_bridge import messages as m
from rig_bridge.engine_link import EngineLink, SendToRig
from rig_bridge.errors import ProtocolError, RequestError, VersionError
from rig_bridge.events import BlockDone, Resent, Responded, RigInvalid, RigJoined, RigLost
from rig_bridge.rig_link import TRIALS_A_MESSAGE, Prepare, RigLink, SendToEngine, StopPresenting
from rig_bridge.trials import pack_results
from tests.rig_bridge.halves import ask, next_shown
from tests.rig_bridge.samples import (
    FROM_ENGINE,
    FROM_RIG,
    SESSION,
    hello,
    image,
    request,
    result,
    sha256,
)


def engine(**options) -> EngineLink:
    given = {"session": SESSION, "name": "test", "window_ms": (-100.0, 300.0), **options}
    return EngineLink(**given)


def joined(**options) -> EngineLink:
    link = engine(**options)
    link.received(b"A", hello(), (), 0.0)
    return link


def say(link: EngineLink, results, *, block=0, attempt=1, now=0.0, peer=b"A"):
    message, arrays = pack_results(results, block=block, attempt=attempt)
    return link.received(peer, message, arrays, now)


def sent(actions, kind):
    """Messages of one kind among the actions."""
    return [
        a.message
        for a in actions
        if isinstance(a, SendToRig | SendToEngine) and isinstance(a.message, kind)
    ]


def show_message(link_request) -> tuple[m.Show, tuple]:
    """The message an engine sends for a request."""
    link = joined()
    (action,) = link.show(link_request, 0.0)
    return action.message, action.arrays


def rig(**options) -> RigLink:
    link = RigLink(hello(), **options)
    link.connected(0.0)
    link.received(m.Welcome(SESSION, "test", (-100.0, 300.0)), (), 0.0)
    return link


def next_of(link: RigLink):
    link.verify()
    return link.next()


def present_all(link: RigLink, ok=lambda _: True) -> list:
    shown = []
    while (item := next_of(link)) is not None:
        p = item[1]
        link.presented(result(p.presentation, p.attempt, ok=ok(p)))
        shown.append((p.block, p.presentation, p.attempt))
    return shown


# ---------------------------------------------------------------- every message, every state


ENGINE_STATES = ("new", "queued", "joined", "waiting", "answered", "acked", "lost", "ended")


def engine_in(state):
    link = engine() if state in {"new", "queued"} else joined()
    if state in {"queued", "lost", "ended"}:
        link.show(request(), 0.0)
    if state in {"waiting", "answered", "acked"}:
        link.show(request(block=3, attempt=2, presentations=(40, 41)), 0.0)
    if state in {"answered", "acked"}:
        say(link, [result(40, 2), result(41, 2)], block=3, attempt=2)
    if state == "acked":
        link.ack(3, [40, 41])
    if state == "lost":
        link.lost("gone")
    if state == "ended":
        link.end("finished")
    return link


@pytest.mark.parametrize("state", ENGINE_STATES)
@pytest.mark.parametrize("peer", [b"A", b"B"])
def test_engine_takes_any_two_messages_in_any_state(state, peer):
    for first, second in itertools.product(FROM_RIG, repeat=2):
        link = engine_in(state)
        actions = []
        for kind in (first, second):
            message, arrays = FROM_RIG[kind]
            actions += link.received(peer, message, arrays, 1.0)
        actions += link.tick(100.0)
        delivered = [
            t.presentation for a in actions if isinstance(a, Responded) for t in a.trials
        ]
        assert len(delivered) == len(set(delivered))
        if state != "acked":
            assert not sent(actions, m.Ack)
        if state == "ended":
            assert not sent(actions, m.Show)


@pytest.mark.parametrize("state", ["new", "connected", "welcomed", "busy", "showing", "kept"])
def test_rig_takes_any_two_messages_in_any_state(state):
    def make() -> RigLink:
        if state == "new":
            return RigLink(hello())
        if state == "connected":
            link = RigLink(hello())
            link.connected(0.0)
            return link
        link = rig()
        if state in {"busy", "showing", "kept"}:
            link.received(
                *show_message(request(block=3, attempt=1, presentations=(40, 42))), 0.0
            )
        if state == "showing":
            next_of(link)
        if state == "kept":
            present_all(link)
        return link

    for first, second in itertools.product(FROM_ENGINE, repeat=2):
        link = make()
        on_screen = state == "showing"
        for kind in (first, second):
            message, arrays = FROM_ENGINE[kind]
            link.received(message, arrays, 1.0)
            link.tick(2.0)
            link.flush()
        if on_screen:
            link.presented(result(40, 1))
        link.received(m.Hold(SESSION, on=False), (), 2.0)
        present_all(link)
        link.flush()
        link.disconnected()
        link.tick(50.0)
        assert link.is_idle


# ---------------------------------------------------------------- the engine's half


def test_a_request_waits_for_a_rig_and_keeps_its_attempt():
    link = engine()
    assert link.show(request(attempt=4), 0.0) == []
    actions = link.received(b"A", hello(), (), 1.0)
    assert [type(a) for a in actions][:2] == [SendToRig, RigJoined]
    assert isinstance(actions[0].message, m.Welcome)
    assert [s.attempt for s in sent(actions, m.Show)] == [4]
    assert not [a for a in actions if isinstance(a, Resent)]


def test_results_are_handed_up_once_and_acknowledged_only_when_told():
    link = joined()
    link.show(request(), 0.0)
    first = say(link, [result(0), result(1)])
    assert [t.presentation for t in first[0].trials] == [0, 1]
    assert say(link, [result(1)]) == []  # again, not yet durable: neither event nor ack
    (ack,) = sent(link.ack(0, [0, 1]), m.Ack)
    assert [(a.presentation, a.attempt) for a in ack.presentations] == [(0, 1), (1, 1)]
    again = say(link, [result(1)])
    assert len(again) == 1
    assert [a.presentation for a in sent(again, m.Ack)[0].presentations] == [1]
    done = say(link, [result(2)])
    assert isinstance(done[1], BlockDone)


def test_nothing_is_acknowledged_that_was_not_handed_up():
    link = joined()
    link.show(request(), 0.0)
    with pytest.raises(RequestError, match="handed up"):
        link.ack(0, [0])


def test_a_hello_asks_again_for_the_unanswered_only_with_the_images_they_need():
    link = joined()
    link.show(request(presentations=(0, 1, 2, 3), images=2), 0.0)
    say(link, [result(0), result(2)])  # both of image 0
    actions = link.received(b"A", hello(), (), 5.0)
    (resent,) = [a for a in actions if isinstance(a, Resent)]
    assert resent == Resent(0, 2, (1, 3))
    (show,) = [a for a in actions if isinstance(a, SendToRig) and isinstance(a.message, m.Show)]
    assert show.message.attempt == 2
    assert [p.image for p in show.message.presentations] == [0, 0]
    assert [i.sha256 for i in show.message.images] == [sha256(image(1))]
    np.testing.assert_array_equal(show.arrays[0], image(1))


def test_silence_asks_again_and_any_word_puts_it_off():
    link = joined(answer_timeout_s=10.0)
    link.show(request(), 0.0)
    assert not sent(link.tick(9.0), m.Show)
    link.received(b"A", m.Notice("info", "a break"), (), 9.0)
    assert not sent(link.tick(18.0), m.Show)
    assert [s.attempt for s in sent(link.tick(19.5), m.Show)] == [2]
    assert not sent(link.tick(20.5), m.Show)


def test_done_with_answers_missing_asks_again_within_a_second_and_not_sooner():
    link = joined()
    link.show(request(), 0.0)
    say(link, [result(0)])
    link.received(b"A", m.Done(0, 1), (), 1.0)
    assert not sent(link.tick(1.5), m.Show)
    (show,) = sent(link.tick(2.0), m.Show)
    assert [p.presentation for p in show.presentations] == [1, 2]
    link.received(b"A", m.Done(0, 1), (), 2.1)  # an old one: attempt 2 is on its way
    assert not sent(link.tick(4.0), m.Show)


def test_an_aborted_presentation_is_asked_for_again_and_names_what_is_known():
    link = joined()
    link.show(request(), 0.0)
    say(link, [result(0, ok=False), result(1), result(2)])
    link.ack(0, [0, 1, 2])
    (show,) = sent(link.show(request(attempt=2, presentations=(0,)), 1.0), m.Show)
    assert show.presentations[0].known_attempt == 1
    assert len(sent(say(link, [result(0)]), m.Ack)) == 1  # the old one, once more
    (event, done) = say(link, [result(0, 2)], attempt=2)
    assert (event.trials[0].attempt, done) == (2, BlockDone(0, 2))


def test_a_resumed_engine_takes_what_the_rig_kept_and_not_what_it_has():
    link = joined()
    link.show(request(attempt=5, presentations=(0, 1), known={0: 2}), 0.0)
    assert say(link, [result(0, 2)], attempt=2) == []
    (event,) = say(link, [result(1, 2)], attempt=2)
    assert [(t.presentation, t.attempt) for t in event.trials] == [(1, 2)]


def test_an_attempt_the_rig_knows_and_the_journal_does_not_counts():
    link = joined()
    link.show(request(attempt=2), 0.0)
    events = say(link, [result(0, 3), result(1, 3), result(2, 3)], attempt=3)
    assert events[-1] == BlockDone(0, 3)
    with pytest.raises(RequestError, match="above 3"):
        link.show(request(attempt=3, presentations=(0,)), 0.0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"attempt": 1}, "attempt must be above 1"),
        ({"attempt": 2, "presentations": (1,)}, "asked for already"),
        ({"block": 1, "presentations": ()}, "presentations"),
        ({"block": 1, "presentations": (1, 1)}, "once"),
        ({"block": 1, "known": {0: 1}}, "known_attempt"),
        ({"block": 1, "presentations": range(1025)}, "presentations"),
    ],
)
def test_a_request_that_cannot_be_is_refused_at_once(wrong, match):
    link = joined()
    link.show(request(), 0.0)
    with pytest.raises(RequestError, match=match):
        link.show(request(**wrong), 0.0)
    assert link.unanswered == {0: (0, 1, 2)}


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (np.zeros((2, 2), np.uint8), "shape"),
        (np.zeros(2, np.uint8), "h, w, 3"),
        (np.zeros((2, 2, 4), np.uint8), "shape"),
        (np.zeros((2, 2, 3), np.float32), "dtype"),
        (np.zeros((4, 4, 3), np.uint8)[::2, ::2], "contiguous"),
        (np.zeros((0, 2, 3), np.uint8), ">= 1"),
    ],
)
def test_an_image_that_is_none_is_refused_at_once(pixels, match):
    good = request(presentations=(0,), images=1)
    wrong = dataclasses.replace(good, images=(pixels,))
    with pytest.raises(RequestError, match=match):
        joined().show(wrong, 0.0)


def test_a_second_rig_is_told_that_it_is_not_wanted_until_the_first_is_gone():
    link = joined()
    link.received(b"B", hello(name="rig B"), (), 1.0)
    assert say(link, [result(0)], peer=b"B") == []
    actions = link.received(b"A", m.Notice("info", "here"), (), 1.1)
    assert "another rig" in sent(actions, m.Refused)[0].reason
    assert actions[0].peer == b"B"
    link.lost("gone")
    assert sent(link.received(b"B", hello(), (), 2.0), m.Welcome)


def test_a_rig_that_cannot_record_the_window_is_refused():
    actions = engine().received(b"A", hello(window_ms=(-50.0, 500.0)), (), 0.0)
    assert "from -100.0 to 300.0 ms" in sent(actions, m.Refused)[0].reason


def test_another_version_is_refused_and_told_which_is_spoken():
    actions = engine().misread(b"A", VersionError("no", version=2), 0.0)
    assert actions[0].message == m.Refused(
        "this engine speaks protocol version 1, the rig 2", version=1
    )


@pytest.mark.parametrize("form", ["spikes", "counts", "rates"])
def test_units_that_the_hello_did_not_name_are_refused(form):
    link = engine()
    one = hello(units=(m.Unit(0, 0, "IT", "only"),))
    link.received(b"A", one, (), 0.0)
    link.show(request(presentations=(1,)), 0.0)
    to_rig, notice, invalid = say(link, [result(1, form=form)])
    told = to_rig.message
    assert (told.block, told.presentations, told.field) == (0, (1,), "units")
    assert told.value == ("unit 1" if form == "spikes" else "2 units")
    assert told.allowed == "those of the hello, 1 of them (0 to 0)"
    assert (notice.level, "units" in notice.text) == ("error", True)
    assert told.value in invalid.reason
    assert link.unanswered == {0: (1,)}


def test_a_form_that_the_hello_did_not_name_is_refused():
    link = engine()
    link.received(b"A", hello(capabilities=("rates",)), (), 0.0)
    link.show(request(), 0.0)
    to_rig, notice, _ = say(link, [result(0)])
    assert to_rig.message.field == "form"
    assert "form" in notice.text


@pytest.mark.parametrize("attempt", [2, 3, 1001, 2**31])
def test_an_attempt_that_was_never_asked_for_is_refused(attempt):
    link = joined()
    link.show(request(), 0.0)
    to_rig, notice, invalid = say(link, [result(0, attempt)], attempt=attempt)
    told = to_rig.message
    assert (told.block, told.presentations) == (0, (0,))
    assert (told.field, told.value) == ("attempt", str(attempt))
    assert told.allowed == "at most 1; the last of block 0 is 1"
    assert told.allowed in notice.text
    assert "attempt" in invalid.reason
    assert link.unanswered == {0: (0, 1, 2)}
    assert link.next_attempt(0) == 2  # a number that was not asked for uses up none


def test_an_attempt_of_the_block_under_which_this_was_never_asked_for_is_refused():
    link = joined()
    link.show(request(presentations=(0,)), 0.0)
    link.show(request(attempt=2, presentations=(1,)), 0.0)
    to_rig, *_ = say(link, [result(1, 2), result(0, 2)], attempt=2)
    told = to_rig.message
    assert (told.presentations, told.field, told.value) == ((0,), "attempt", "2")
    assert told.allowed == "at most 1, under which it was asked for last"
    assert link.unanswered == {0: (0, 1)}
    (event, _) = say(link, [result(1, 2), result(0, 1)], attempt=2)  # as it was asked
    assert [(t.presentation, t.attempt) for t in event.trials] == [(1, 2), (0, 1)]


def test_an_attempt_below_the_one_asked_for_last_is_taken():
    link = joined()
    link.show(request(presentations=(0,)), 0.0)
    assert sent(link.tick(31.0), m.Show)[0].attempt == 2
    (event, _) = say(link, [result(0, 1)], attempt=2, now=32.0)
    assert [(t.presentation, t.attempt) for t in event.trials] == [(0, 1)]


def test_an_attempt_far_above_what_an_engine_may_have_forgotten_is_refused():
    link = joined()
    link.show(request(attempt=2), 0.0)
    to_rig, *_ = say(link, [result(0, 1003)], attempt=1003)
    assert to_rig.message.allowed == "at most 1002; the last of block 0 is 2"


def test_a_rig_that_answers_wrongly_is_asked_less_and_less_often():
    """Unit 9999 of 64 was asked for 78 times in 100 s."""
    link = joined()
    link.show(request(presentations=(0,)), 0.0)
    wrong = {"units": np.array([9999], "<u4"), "times_ms": np.zeros(1, "<f4")}
    asked = 0
    for tenth in range(1000):
        now = tenth / 10
        asked += len(sent(link.tick(now), m.Show))
        attempt = link._answers.last_attempt(0)
        say(link, [result(0, attempt, arrays=wrong)], attempt=attempt, now=now)
        link.received(b"A", m.Done(0, attempt), (), now)
    assert asked < 10
    link.hold(True, 100.0)
    for tenth in range(1000):  # paused: not at all
        assert not sent(link.tick(100.0 + tenth / 10), m.Show)


def test_many_notices_are_summed_up():
    link = joined()
    said = []
    for i in range(6127):
        error = ProtocolError(f"garbage {i}")
        said += [a for a in link.misread(b"A", error, i / 1000) if isinstance(a, m.Notice)]
    assert [n.text for n in said[-1:]] == ["the rig sent what is no message: garbage 4"]
    (summary,) = [a for a in link.tick(11.0) if isinstance(a, m.Notice)]
    assert summary.level == "error"
    assert summary.text.startswith("and 6122 more in 11 s; the last: the rig sent")
    assert not [a for a in link.tick(40.0) if isinstance(a, m.Notice)]


def test_a_flood_of_hellos_is_not_answered():
    link = engine()
    welcomed = 0
    for i in range(900):
        peer = b"AB"[i % 2 : i % 2 + 1]
        welcomed += len(sent(link.received(peer, hello(), (), i / 100), m.Welcome))
        link.received(peer, m.Bye("lunch"), (), i / 100)
    assert welcomed == link.WELCOMES
    assert sent(link.received(b"A", hello(), (), 20.0), m.Welcome)


def test_a_result_that_the_engine_could_not_take_is_shown_again():
    link = rig()
    ask(link, request(presentations=(0,)))
    present_all(link)
    link.flush()
    wrong = {"field": "units", "value": "unit 9", "allowed": "0 to 1"}
    link.received(m.Invalid(block=0, presentations=(0,), **wrong), (), 1.0)
    assert link.kept == {}
    ask(link, request(attempt=2, presentations=(0,)), now=2.0)
    assert next_shown(link) == (0, 0, 2)


def test_a_lost_rig_is_reported_once_and_pings_stop():
    link = joined()
    assert sent(link.tick(1.0), m.Ping)
    assert link.lost("gone") == [RigLost("gone")]
    assert link.lost("gone") == []
    assert link.tick(50.0) == []


def test_bye_loses_the_rig():
    assert joined().received(b"A", m.Bye("lunch"), (), 0.0) == [
        RigLost("the rig said bye: lunch")
    ]


def test_after_the_end_every_hello_hears_of_it_and_nothing_can_be_shown():
    link = joined()
    assert sent(link.end("finished"), m.End) == [m.End("finished")]
    assert sent(link.received(b"A", hello(), (), 0.0), m.End)
    with pytest.raises(RequestError, match="after the end"):
        link.show(request(), 0.0)


def test_bytes_that_are_no_message_are_a_notice_from_the_rig_we_have_only():
    link = joined()
    to_rig, notice, invalid = link.misread(b"A", ProtocolError("garbage"), 0.0)
    assert notice.level == "error"
    assert (to_rig.message.field, to_rig.message.allowed) == ("", "garbage")
    assert invalid == RigInvalid("the rig sent what is no message: garbage")
    assert link.misread(b"B", ProtocolError("garbage"), 0.0) == []


# ---------------------------------------------------------------- the rig's half


def test_a_show_is_accepted_prepared_presented_and_done():
    link = rig()
    actions = link.received(*show_message(request()), 0.0)
    assert sent(actions, m.Accepted) == [m.Accepted(0, 1)]
    assert link.next() is None  # not before it is prepared
    (prepare,) = link.verify()
    assert isinstance(prepare, Prepare)
    assert set(prepare.images) == {sha256(image(0)), sha256(image(1))}
    pixels, first = next_of(link)
    np.testing.assert_array_equal(pixels, image(0))
    assert (first.presentation, first.window_ms) == (0, (-100.0, 300.0))
    assert next_of(link) is None  # one at a time
    link.presented(result(0))
    assert present_all(link) == [(0, 1, 1), (0, 2, 1)]
    response, done = (a.message for a in link.flush())
    assert [t.presentation for t in response.trials] == [0, 1, 2]
    assert done == m.Done(0, 1)
    assert link.flush() == []


def test_a_repeat_is_answered_from_what_was_kept_until_it_is_acknowledged():
    link = rig()
    link.received(*show_message(request()), 0.0)
    present_all(link)
    link.flush()
    link.received(m.Ack(0, (m.Acknowledged(0, 1),)), (), 0.0)
    assert set(link.kept) == {(0, 1), (0, 2)}
    actions = link.received(*show_message(request(attempt=2, presentations=(1, 2))), 0.0)
    (response,) = sent(actions, m.Response)
    assert [(t.presentation, t.attempt) for t in response.trials] == [(1, 1), (2, 1)]
    assert response.attempt == 2
    assert sent(actions, m.Done) == [m.Done(0, 2)]
    assert link.is_idle


def test_an_aborted_presentation_is_shown_again_even_when_its_ack_was_lost():
    link = rig()
    link.received(*show_message(request()), 0.0)
    present_all(link, ok=lambda _: False)
    link.flush()
    again = request(attempt=2, presentations=(0,), known={0: 1})
    link.received(*show_message(again), 0.0)
    assert present_all(link) == [(0, 0, 2)]


def test_a_late_ack_of_an_old_attempt_does_not_lose_the_new_one():
    link = rig()
    link.received(*show_message(request(attempt=2)), 0.0)
    present_all(link)
    link.received(m.Ack(0, (m.Acknowledged(0, 1),)), (), 0.0)
    assert (0, 0) in link.kept


def test_another_session_forgets_what_was_kept_and_queued():
    link = rig()
    link.received(*show_message(request()), 0.0)
    next_of(link)
    other = m.Welcome("ff" * 16, "another", (-100.0, 300.0))
    link.connected(1.0)
    link.received(other, (), 1.0)
    link.presented(result(0))  # was on screen all the while: belongs to nobody
    assert link.kept == {}
    assert next_of(link) is None
    assert link.flush() == []


def test_the_same_session_goes_on_after_a_reconnection():
    link = rig()
    link.received(*show_message(request()), 0.0)
    next_of(link)
    link.disconnected()
    link.presented(result(0))
    assert link.flush() == []
    assert link.connected(1.0)[0].message == hello()
    link.received(m.Welcome(SESSION, "test", (-100.0, 300.0)), (), 1.0)
    actions = link.received(*show_message(request(attempt=2)), 1.0)
    assert [t.presentation for t in sent(actions, m.Response)[0].trials] == [0]
    assert present_all(link) == [(0, 1, 2), (0, 2, 2)]


def test_hello_is_said_again_until_it_is_answered_and_after_a_silence():
    link = RigLink(hello(), hello_every_s=2.0, silence_s=5.0)
    assert link.tick(100.0) == []  # not connected
    link.connected(100.0)
    assert link.tick(101.9) == []
    assert sent(link.tick(102.0), m.Hello)
    link.received(m.Welcome(SESSION, "test", (-100.0, 300.0)), (), 103.0)
    link.received(m.Ping(SESSION), (), 107.0)
    assert link.tick(111.9) == []
    assert sent(link.tick(112.0), m.Hello)


def test_a_ping_of_another_session_brings_a_hello():
    assert sent(rig().received(m.Ping("ff"), (), 0.0), m.Hello)


def test_the_end_is_answered_with_bye():
    link = rig()
    link.received(*show_message(request()), 0.0)
    actions = link.received(m.End("finished"), (), 0.0)
    assert sent(actions, m.Bye)
    assert actions[-1] == StopPresenting("finished")
    assert next_of(link) is None


def test_a_welcome_of_another_version_stops_the_rig():
    (stop,) = RigLink(hello()).received(
        m.Welcome(SESSION, "x", (-1.0, 1.0), version=2), (), 0.0
    )
    assert stop.refused


def test_long_answers_are_several_messages_and_forms_do_not_mix():
    link = rig()
    n = TRIALS_A_MESSAGE + 3
    link.received(*show_message(request(presentations=range(n))), 0.0)
    while (item := next_of(link)) is not None:
        p = item[1].presentation
        link.presented(result(p, form="rates" if p == 2 else "spikes"))
    responses = sent(link.flush(), m.Response)
    assert [len(r.trials) for r in responses] == [2, 1, TRIALS_A_MESSAGE]
    assert [r.form for r in responses] == ["spikes", "rates", "spikes"]


def test_a_result_of_something_else_is_an_aborted_one_of_what_was_asked_for():
    link = rig()
    link.received(*show_message(request()), 0.0)
    with pytest.raises(ValueError, match="nothing is"):
        link.presented(result(0))
    next_of(link)
    link.presented(result(1))
    assert link.kept[0, 0].status == "aborted"
    assert "must be (0, 1)" in link.kept[0, 0].reason
    next_of(link)
    link.presented(result(1, 2))
    assert "must be (1, 1)" in link.kept[0, 1].reason


def test_leaving_sends_what_is_unsent_first():
    link = rig()
    link.received(*show_message(request(presentations=(0,), images=1)), 0.0)
    present_all(link)
    kinds = [type(a.message) for a in link.bye("stopped")]
    assert kinds == [m.Response, m.Done, m.Bye]
    link.disconnected()
    assert link.bye("stopped") == []


def test_an_old_request_that_comes_late_shows_nothing():
    link = rig()
    old = show_message(request())
    link.received(*old, 0.0)
    present_all(link)
    link.received(m.Ack(0, tuple(m.Acknowledged(p, 1) for p in range(3))), (), 0.0)
    link.received(*old, 0.0)
    assert link.is_idle


def test_what_is_on_screen_is_not_shown_again_when_it_is_asked_for_again():
    link = rig()
    link.received(*show_message(request()), 0.0)
    next_of(link)
    link.received(*show_message(request(attempt=2)), 0.0)
    link.presented(result(0, 1))
    assert present_all(link) == [(0, 1, 2), (0, 2, 2)]
