"""An image is compared with its digest after `accepted` and before it is shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge import messages as m
from rig_bridge.rig_link import Prepare, RigLink, SendToEngine
from tests.rig_bridge.halves import (
    ask,
    labels,
    next_shown,
    present_all,
    said,
    show_message,
    welcomed_rig,
)
from tests.rig_bridge.samples import image, request, result, sha256


def wrong(link: RigLink, asked, *, which=0) -> list:
    """A request comes with the pixels of one image changed on the way."""
    message, arrays = show_message(asked)
    pixels = list(arrays)
    pixels[which] = pixels[which] ^ 1
    return link.received(message, tuple(pixels), 0.0)


def prepared(actions) -> list:
    return [sha for a in actions if isinstance(a, Prepare) for sha in a.images]


def test_accepted_is_said_before_any_digest_is_compared():
    link = welcomed_rig()
    actions = wrong(link, request())
    assert [a.message for a in actions] == [m.Accepted(0, 1)]
    assert (link.is_ready, link.next()) == (False, None)


def test_a_wrong_image_is_never_shown_and_its_presentations_are_aborted():
    link = welcomed_rig()
    wrong(link, request(presentations=(0, 1, 2)))  # 0 and 2 are of the wrong image
    actions = link.verify()
    (notice,) = said(actions, m.Notice)
    assert (notice.level, sha256(image(0)) in notice.text) == ("error", True)
    assert prepared(actions) == [sha256(image(1))]
    assert present_all(link) == [(0, 1, 1)]
    assert {p: r.reason for (_, p), r in link.kept.items()} == {
        0: "digest",
        1: "",
        2: "digest",
    }
    actions = link.flush()
    assert sorted(labels(actions)) == [(0, 1), (1, 1), (2, 1)]
    assert said(actions, m.Done) == [m.Done(0, 1)]


def test_a_wrong_image_is_shown_when_it_comes_again_and_is_right():
    link = welcomed_rig()
    wrong(link, request(presentations=(0,), images=1))
    link.verify()
    assert labels(link.flush()) == [(0, 1)]
    ask(link, request(attempt=2, presentations=(0,), images=1, known={0: 1}))
    link.verify()
    pixels, asked = link.next()
    assert asked.attempt == 2
    np.testing.assert_array_equal(pixels, image(0))


def test_times_of_what_was_not_shown_do_not_go_back():
    link = welcomed_rig()
    ask(link, request(block=1, presentations=(10,)))
    present_all(link)
    wrong(link, request(block=2, presentations=(20,), images=1))
    link.verify()
    aborted = link.kept[2, 20]
    assert aborted.commanded_ns == aborted.onset_ns == aborted.offset_ns
    assert aborted.onset_ns == result(10).offset_ns


def test_images_of_the_next_block_are_compared_while_this_one_is_shown():
    link = welcomed_rig()
    ask(link, request(block=1, presentations=(10, 11)))
    assert len(prepared(link.verify())) == 2
    ask(link, request(block=2, presentations=(20, 21)))
    assert link.is_ready
    assert link.verify(at_most=1) == []
    assert link.next()[1].presentation == 10
    link.presented(result(10))
    assert len(prepared(link.verify(at_most=1))) == 2
    assert present_all(link) == [(1, 11, 1), (2, 20, 1), (2, 21, 1)]


def test_an_image_that_another_block_has_brought_is_neither_compared_nor_prepared_again():
    link = welcomed_rig()
    first = request(block=1, presentations=(10,), images=1)
    ask(link, first)
    assert prepared(link.verify()) == [sha256(image(7))]
    ask(link, dataclasses.replace(first, block=2))
    assert link.is_ready
    assert link.verify() == []


def test_another_session_forgets_what_was_not_compared():
    link = welcomed_rig()
    wrong(link, request())
    link.received(m.Welcome("ff", "other", (-100.0, 300.0)), (), 1.0)
    assert link.verify() == []
    assert link.kept == {}


@pytest.mark.parametrize("form", ["spikes", "counts", "rates"])
@given(st.sets(st.integers(0, 3)), st.lists(st.sampled_from([0, 1, None]), max_size=8))
def test_only_images_with_their_digest_are_ever_handed_out(form, bad, verifying):
    link = welcomed_rig()
    link._hello = m.Hello(**{
        **{f: getattr(link._hello, f) for f in ("name", "software", "units", "display")},
        "capabilities": (form,),
        "window_ms": link._hello.window_ms,
    })
    message, arrays = show_message(request(presentations=range(8), images=4))
    pixels = tuple(a ^ 1 if k in bad else a for k, a in enumerate(arrays))
    link.received(message, pixels, 0.0)
    actions: list = []
    for at_most in [*verifying, *[None] * 8]:
        actions += link.verify(at_most)
        item = link.next()
        if item is not None:
            assert sha256(item[0]) == item[1].sha256
            link.presented(result(item[1].presentation, form=form))
    assert not {sha256(arrays[k]) for k in bad} & set(prepared(actions))
    aborted = {p for (_, p), r in link.kept.items() if r.reason == "digest"}
    assert aborted == {p for p in range(8) if p % 4 in bad}
    assert len(link.kept) == 8
    assert all(isinstance(a, SendToEngine | Prepare) for a in link.flush())
    assert next_shown(link) is None
