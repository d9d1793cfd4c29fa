"""Sizes and positions of single presentations: where they go, and to whom they do not."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.errors import ProtocolError, RequestError
from rig_bridge.events import RigJoined
from rig_bridge.rig_link import RigLink
from rig_bridge.trials import Presentation
from tests.rig_bridge.halves import answer, new_engine, said, welcome
from tests.rig_bridge.samples import FROM_ENGINE, FROM_RIG, placed_request, request, result

HEEDS = FROM_RIG["hello_places"][0]
IGNORES = FROM_RIG["hello"][0]
# Of `placed_request`, whose third presentation has the request's own.
PLACES = {0: (1.0, (4.0, -2.5)), 1: (3.0, (-3.0, 0.0)), 2: (3.0, (-1.5, 0.5))}


def place(shown: Presentation) -> tuple[float, tuple[float, float]]:
    return shown.size_deg, shown.position_deg


def asked_of(hello: m.Hello, **options):
    link = new_engine(**options)
    return link, link.received(b"A", hello, (), 0.0)


def rig_with(show: m.Show, arrays) -> RigLink:
    link = RigLink(HEEDS)
    link.connected(0.0)
    link.received(welcome(), (), 0.0)
    link.received(show, arrays, 0.0)
    return link


def shown_places(link: RigLink) -> dict[int, tuple[float, tuple[float, float]]]:
    """Presentation to its size and position, of all that the rig shows now."""
    link.verify()
    places = {}
    while (item := link.next()) is not None:
        places[item[1].presentation] = place(item[1])
        link.presented(result(item[1].presentation, item[1].attempt))
    return places


def test_a_session_with_places_has_no_rig_that_does_not_heed_them():
    link, actions = asked_of(IGNORES, places=True)
    (refused,) = said(actions, m.Refused)
    assert "display.places" in refused.reason
    assert link.peer is None
    (notice,) = [a for a in actions if isinstance(a, m.Notice)]
    assert "'rig A' was refused" in notice.text
    assert [type(a) for a in link.received(b"B", HEEDS, (), 1.0)][1:] == [RigJoined]
    # Nor one that takes the first one's place in the middle of the session.
    link.lost("gone")
    assert said(link.received(b"C", IGNORES, (), 2.0), m.Refused)
    assert link.peer is None


@pytest.mark.parametrize("hello", [IGNORES, HEEDS])
def test_a_session_without_places_has_either(hello):
    link, actions = asked_of(hello)
    assert said(actions, m.Welcome)
    with pytest.raises(RequestError, match="places=True"):
        link.show(placed_request(), 0.0)
    assert link.show(request(), 0.0)


def test_each_is_asked_for_at_its_own_place_and_the_others_at_the_requests():
    link, _ = asked_of(HEEDS, places=True)
    (action,) = link.show(placed_request(), 0.0)
    sent = codec.decode_from_engine(codec.encode_message(action.message, action.arrays))
    assert shown_places(rig_with(*sent)) == PLACES
    asked = placed_request()
    for p in asked.presentations:
        shown = asked.for_presenter(p, window_ms=(-100.0, 300.0))
        assert place(shown) == PLACES[p.presentation]


def test_what_is_asked_for_again_keeps_its_place():
    link, _ = asked_of(HEEDS, places=True)
    (first,) = link.show(placed_request(), 0.0)
    answer(link, [result(0)])
    link.lost("gone")
    again = said(link.received(b"B", HEEDS, (), 5.0), m.Show)[0]
    assert [p.presentation for p in again.presentations] == [1, 2]
    pixels = [i.sha256 for i in first.message.images]
    arrays = [first.arrays[pixels.index(i.sha256)] for i in again.images]
    expected = {n: at for n, at in PLACES.items() if n > 0}
    assert shown_places(rig_with(again, arrays)) == expected  # of a program started anew
    # Of one that still had them waiting, under the attempt before.
    waiting = rig_with(first.message, first.arrays)
    waiting.received(again, arrays, 5.0)
    assert shown_places(waiting) == PLACES


def test_an_aborted_one_is_shown_again_at_its_place():
    link, _ = asked_of(HEEDS, places=True)
    link.show(placed_request(), 0.0)
    answer(link, [result(0, ok=False), result(1), result(2)])
    once_more = placed_request(attempt=2)
    once_more = dataclasses.replace(once_more, presentations=once_more.presentations[:1])
    (action,) = link.show(once_more, 1.0)
    (asked,) = action.message.presentations
    assert (asked.size_deg, asked.position_deg, asked.known_attempt) == (1.0, (4.0, -2.5), 1)


degrees = st.floats(-180, 180)


@given(
    size=st.none() | st.floats(0, 180, exclude_min=True),
    position=st.none() | st.tuples(degrees, degrees),
)
def test_places_come_back_as_they_were(size, position):
    message, arrays = FROM_ENGINE["show"]
    own = msgspec.structs.replace(
        message.presentations[0], size_deg=size, position_deg=position
    )
    sent = msgspec.structs.replace(message, presentations=(own,))
    back, _ = codec.decode_from_engine(codec.encode_message(sent, arrays))
    assert back.presentations == (own,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_deg": 0.0},
        {"size_deg": 180.5},
        {"size_deg": float("nan")},
        {"position_deg": (181.0, 0.0)},
        {"position_deg": (float("inf"), 0.0)},
    ],
)
def test_places_that_are_none_are_refused_at_once(wrong):
    asked = request()
    first = msgspec.structs.replace(asked.presentations[0], **wrong)
    link, _ = asked_of(HEEDS, places=True)
    with pytest.raises(RequestError):
        link.show(dataclasses.replace(asked, presentations=(first,)), 0.0)


def test_a_place_of_less_than_two_numbers_does_not_get_through():
    header = dict(zip(("message", "arrays"), FROM_ENGINE["show_places"], strict=True))
    frames = [bytes(f) for f in codec.encode_message(**header)]
    with pytest.raises(ProtocolError):
        codec.decode_from_engine([
            frames[0].replace(b"\xacposition_deg\x92", b"\xacposition_deg\x91", 1),
            *frames[1:],
        ])
