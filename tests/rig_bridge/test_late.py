"""Results that come after the image has gone: what the rig's half knows of them meanwhile."""

from __future__ import annotations

import threading
import time

import pytest

from rig_bridge import messages as m
from rig_bridge.client import LatePresenter, RigClient
from rig_bridge.errors import RefusedError
from rig_bridge.events import BlockDone, Responded
from rig_bridge.rig_link import RigLink
from rig_bridge.server import EngineServer
from tests.limits import PATIENCE_S
from tests.rig_bridge.halves import (
    OTHER,
    ask,
    labels,
    next_shown,
    present_all,
    said,
    welcome,
    welcomed_rig,
)
from tests.rig_bridge.samples import SESSION, hello, request, result


def awaiting(**options) -> RigLink:
    """Presentations 0 and 1 of block 0 were shown, nothing has come of them; 2 waits."""
    link = welcomed_rig(**options)
    ask(link, request())
    for _ in range(2):
        next_shown(link)
        link.presented_for_later(0.0)
    return link


def test_the_next_image_is_shown_before_the_result_has_come():
    link = awaiting()
    assert (link.is_awaiting, link.kept, link.flush()) == (True, {}, [])
    assert next_shown(link) == (0, 2, 1)


def test_results_come_in_any_order_and_done_after_the_last():
    link = awaiting()
    assert present_all(link) == [(0, 2, 1)]
    actions = link.flush()
    assert (labels(actions), said(actions, m.Done)) == ([(2, 1)], [])
    assert link.collected(0, result(1)) == []
    actions = link.flush()
    assert (labels(actions), said(actions, m.Done)) == ([(1, 1)], [])
    assert (link.is_idle, link.is_awaiting) == (True, True)
    link.collected(0, result(0))
    actions = link.flush()
    assert (labels(actions), said(actions, m.Done)) == ([(0, 1)], [m.Done(0, 1)])
    assert set(link.kept) == {(0, 0), (0, 1), (0, 2)}
    assert not link.is_awaiting


def test_a_repeat_of_the_question_shows_nothing_twice_while_the_result_is_awaited():
    link = awaiting()
    actions = ask(link, request(attempt=2))
    assert said(actions, m.Accepted) == [m.Accepted(0, 2)]
    assert present_all(link) == [(0, 2, 2)]
    link.collected(0, result(0))
    link.collected(0, result(1))
    actions = link.flush()
    assert labels(actions) == [(2, 2), (0, 1), (1, 1)]
    assert said(actions, m.Done) == [m.Done(0, 2)]


def test_a_result_that_comes_while_the_connection_is_gone_is_kept():
    link = awaiting()
    link.disconnected()
    assert link.collected(0, result(0)) == []
    assert (link.flush(), set(link.kept)) == ([], {(0, 0)})
    link.connected(1.0)
    link.received(welcome(), (), 1.0)
    assert labels(ask(link, request(attempt=2), 1.0)) == [(0, 1)]


@pytest.mark.parametrize(
    "stranger",
    [(0, result(0, 2)), (0, result(7)), (3, result(0))],
    ids=["another attempt", "another presentation", "another block"],
)
def test_a_result_that_nobody_waits_for_is_dropped_and_named(stranger):
    link = awaiting()
    (notice,) = said(link.collected(*stranger), m.Notice)
    assert (notice.level, link.kept) == ("warning", {})
    link.collected(0, result(0))
    (notice,) = said(link.collected(0, result(0)), m.Notice)  # a second time
    assert "not waited for" in notice.text
    assert labels(link.flush()) == [(0, 1)]


@pytest.mark.parametrize("on_screen", [False, True])
def test_results_of_a_session_that_is_over_are_never_taken_for_one_of_the_next(on_screen):
    """Block, presentation and attempt of the two sessions are the same numbers."""
    link = awaiting()
    if on_screen:
        next_shown(link)
    link.connected(1.0)
    link.received(welcome(OTHER), (), 1.0)
    assert ask(link, request(), 1.0, OTHER)
    if on_screen:
        link.presented_for_later(1.0)
    assert next_shown(link) is None
    link.collected(0, result(0, ok=False))
    assert next_shown(link) is None
    link.collected(0, result(1, ok=False))
    if on_screen:
        assert next_shown(link) is None
        link.collected(0, result(2, ok=False))
    assert link.kept == {}
    assert present_all(link) == [(0, 0, 1), (0, 1, 1), (0, 2, 1)]
    assert {r.status for r in link.kept.values()} == {"ok"}


def test_a_result_that_never_comes_is_an_aborted_presentation():
    link = awaiting(late_s=30.0)
    link.collected(0, result(0))
    link.received(m.Ping(SESSION), (), 30.0)
    assert link.tick(30.2) == []  # the window's end counts too: 30.3
    (notice,) = said(link.tick(30.3), m.Notice)
    assert "presentation 1" in notice.text
    lost = link.kept[0, 1]
    assert (lost.status, lost.reason, lost.attempt) == ("aborted", "no result", 1)
    assert lost.onset_ns == lost.offset_ns == result(0).offset_ns
    assert labels(link.flush()) == [(0, 1), (1, 1)]
    assert said(link.collected(0, result(1)), m.Notice)  # too late now
    assert link.kept[0, 1] is lost


def test_a_session_that_is_over_is_not_waited_for_for_ever():
    link = awaiting(late_s=30.0)
    link.connected(1.0)
    link.received(welcome(OTHER), (), 1.0)
    ask(link, request(), 1.0, OTHER)
    assert next_shown(link) is None
    link.received(m.Ping(OTHER), (), 30.0)
    assert said(link.tick(30.3), m.Notice) == []  # it was no presentation of this session
    assert present_all(link) == [(0, 0, 1), (0, 1, 1), (0, 2, 1)]


@pytest.mark.parametrize("form", ["spikes", "counts", "rates"])
def test_an_aborted_presentation_without_a_response_can_be_said_in_every_form(form):
    link = RigLink(hello(capabilities=(form,)), late_s=1.0)
    link.connected(0.0)
    link.received(welcome(), (), 0.0)
    ask(link, request())
    next_shown(link)
    link.presented_for_later(0.0)
    link.tick(2.0)
    (response,) = said(link.flush(), m.Response)
    assert (response.form, response.trials[0].status) == (form, "aborted")


def test_nothing_can_come_later_of_what_is_not_on_screen():
    with pytest.raises(ValueError, match="on the screen"):
        welcomed_rig().presented_for_later(0.0)


class Late:
    """A presenter whose results come `behind` presentations later, the last ones when idle."""

    def __init__(self, behind: int) -> None:
        self.behind, self.pending, self.order = behind, [], []
        self.asked = 0

    def prepare(self, images) -> None:
        pass

    def present(self, image, request):  # noqa: ARG002
        self.asked = 0
        self.order.append(("shown", request.presentation))
        self.pending.append((request.block, result(request.presentation, request.attempt)))

    def collect(self):
        self.asked += 1
        # Asked once after each presentation and once before the next: a third time is idle.
        keep = self.behind if self.asked < 3 else 0
        ready = self.pending[: max(0, len(self.pending) - keep)]
        self.pending = self.pending[len(ready) :]
        self.order += [("collected", r.presentation) for _, r in ready]
        return ready

    def blank(self) -> None:
        pass


def serve(presenter, requests) -> tuple[list, list]:
    """A client in an OS thread until the blocks are done; its outcome and the events."""
    outcome: list = []
    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="test") as engine:
        client = RigClient(engine.endpoint, hello=hello(), presenter=presenter, identity="late")

        def run() -> None:
            try:
                outcome.append(client.run(idle_timeout_s=PATIENCE_S))
            except (RefusedError, TypeError) as exc:
                outcome.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        for each in requests:
            engine.show(each)
        events: list = []
        deadline = time.monotonic() + PATIENCE_S
        while sum(isinstance(e, BlockDone) for e in events) < len(requests):
            if time.monotonic() > deadline or outcome:
                break
            events += engine.poll(0.1)
        engine.end("enough")
        thread.join(PATIENCE_S)
    return outcome, events


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_a_presenter_may_hand_results_over_later(behind):
    presenter = Late(behind)
    assert isinstance(presenter, LatePresenter)
    requests = [request(1, presentations=range(5)), request(2, presentations=range(5, 9))]
    outcome, events = serve(presenter, requests)
    assert outcome == ["enough"]
    got = [
        (e.block, t.presentation) for e in events if isinstance(e, Responded) for t in e.trials
    ]
    assert got == [*((1, p) for p in range(5)), *((2, p) for p in range(5, 9))]
    shown = [p for what, p in presenter.order if what == "shown"]
    assert shown == list(range(9))
    if behind:  # the second image was on the screen before the first result was there
        assert presenter.order.index(("shown", 1)) < presenter.order.index(("collected", 0))


class Mute:
    """A presenter that owes a result and has no way to give it."""

    def prepare(self, images) -> None:
        pass

    def present(self, image, request) -> None:
        pass

    def blank(self) -> None:
        pass


def test_a_presenter_that_has_no_way_to_give_its_result_is_named():
    outcome, _ = serve(Mute(), [request()])
    assert isinstance(outcome[0], TypeError)
    assert "Mute" in str(outcome[0])
