"""The person's rig without a page: what is asked at once, what is marked, what is answered."""

import contextlib
import functools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolver.seeds import stream
from rig_bridge.client import RigClient, Standing
from rig_bridge.events import Responded, RigJoined
from rig_bridge.messages import Notice, ScreenInfo
from rig_bridge.rigs.person.grid import UNITS, Grid
from rig_bridge.rigs.person.orders import Again, Appeared, Clear, Mark, Restore, Send
from rig_bridge.rigs.person.rig import PersonRig
from rig_bridge.server import EngineServer
from rig_bridge.trials import Presentation
from tests.limits import PATIENCE_S, wait_until
from tests.rig_bridge.samples import SESSION, image, request, sha256

SCREEN = ScreenInfo(1024, 768, 60.0, 30.0)
S = 1_000_000_000
HERE = Standing("aa", "monday", connected=True)


def asked(number, *, block=0, attempt=1):
    return Presentation(
        block=block,
        attempt=attempt,
        presentation=number,
        sha256=sha256(image(number)),
        on_ms=100.0,
        off_ms=100.0,
        size_deg=3.0,
        position_deg=(0, 0),
        window_ms=(0, 300),
    )


def grid(mode, n=6):
    pictures = [image(k) for k in range(n)]
    return Grid("g", mode, pictures, [asked(k) for k in range(n)], opened_ns=5 * S)


# ---------------------------------------------------------------------- one grid

marks = st.tuples(st.just("mark"), st.integers(0, 7), st.integers(0, 5))
others = st.tuples(st.sampled_from(["clear", "restore"]), st.just(0), st.just(0))


@given(st.sampled_from(["pick", "rank", "rate"]), st.lists(marks | others, max_size=40))
def test_the_answer_is_what_the_orders_left(mode, orders):
    """Held to a list of (place, stars, time), in the order in which marks were made."""
    judged, left, taken = grid(mode), [], []
    judged.appear(6 * S)
    judged.appear(9 * S)  # in a second tab: the first time counts
    for i, (what, place, stars) in enumerate(orders):
        now_ns = (10 + i) * S
        if what == "mark":
            changed = judged.mark(place, stars, now_ns)
            had = next((one[1] for one in left if one[0] == place), 0)
            allowed = place < 6 and (mode == "rate" or stars <= 1)
            assert changed == (allowed and stars != had)
            if not changed:
                continue
            taken = []
            if stars == 0:
                left = [one for one in left if one[0] != place]
            elif had:
                left = [(p, stars, now_ns) if p == place else (p, s, t) for p, s, t in left]
            else:
                left.append((place, stars, now_ns))
        elif what == "clear":
            assert judged.clear() == bool(left)
            if left:
                left, taken = [], left
        else:
            assert judged.restore() == bool(taken)
            if taken:
                left, taken = taken, []
    results = judged.send(100 * S)
    assert [r.presentation for r in results] == list(range(6))
    places = [place for place, _, _ in left]
    for place, result in enumerate(results):
        stars, at_ns = next(((s, t) for p, s, t in left if p == place), (0, 6 * S))
        if mode == "rank":  # how many it was liked better than
            better = places[: places.index(place) + 1] if stars else range(6)
            stars = 6 - len(better)
        assert result.arrays["rates"].tolist() == [stars, (at_ns - 6 * S) / 1e9, place]
        assert (result.commanded_ns, result.onset_ns, result.offset_ns) == (
            5 * S,
            6 * S,
            100 * S,
        )
        assert result.ok


def test_a_grid_that_no_page_said_it_has_is_timed_from_its_opening():
    judged = grid("pick")
    judged.mark(2, 1, 7 * S)
    assert {r.onset_ns for r in judged.send(8 * S)} == {5 * S}


@pytest.mark.parametrize(("mode", "shown"), [("pick", [0, 1, 1]), ("rank", [0, 2, 1])])
def test_what_a_page_draws(mode, shown):
    judged = grid(mode, 3)
    judged.mark(2, 1, 0)
    judged.mark(1, 1, 0)
    view = judged.view()
    assert (view.marks, view.marked, view.can_restore) == (shown, 2, False)
    assert view.sizes == [(2, 3)] * 3
    judged.clear()
    assert judged.view().can_restore


# ---------------------------------------------------------------------- blocks and pages


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def rig():
    clock, said = Clock(), []
    made = PersonRig(
        "pick",
        stream=functools.partial(stream, 1),
        question="Which are faces?",
        tell=said.append,
        clock=clock,
        now_ns=lambda: int(clock.now * S),
    )
    made.clock, made.said = clock, said
    made.stands(HERE)
    return made


def present(rig, numbers, *, block=0, attempt=1):
    for number in numbers:
        assert rig.present(image(number), asked(number, block=block, attempt=attempt)) is None


def opened(rig, *, seen=True):
    """Let time pass until the next grid is open, and on a page; return it."""
    assert rig.collect() == []
    rig.clock.now += 1.0
    assert rig.collect() == []
    if seen:
        rig.apply(Appeared(rig.view().grid.name))
    return rig.view().grid


def pixels(rig):
    view = rig.view().grid
    return [rig.image(view.name, place).tobytes() for place in range(len(view.sizes))]


def test_a_block_is_one_page_and_its_answer_goes_to_the_right_images(rig):
    assert rig.view().phase == "no images yet"  # it may be waiting to be confirmed
    present(rig, range(12))
    assert rig.view().phase == "making"
    view = opened(rig, seen=False)
    assert rig.view().phase == "grid"
    seen = pixels(rig)
    assert sorted(seen) == sorted(image(k).tobytes() for k in range(12))
    assert seen != [image(k).tobytes() for k in range(12)]  # places say nothing of the order
    rig.apply(Appeared(view.name))
    rig.clock.now += 4.0
    liked = [seen.index(image(k).tobytes()) for k in (3, 8)]
    for place in liked:
        assert rig.apply(Mark(view.name, place, 1))
    assert rig.apply(Send(view.name))
    results = {r.presentation: r.arrays["rates"] for _, r in rig.collect()}
    assert {k for k, rates in results.items() if rates[0]} == {3, 8}
    assert [results[3][1], results[0][1]] == [4.0, 0.0]
    assert [results[3][2], results[8][2]] == liked
    assert rig.view().phase == "making"
    assert rig.said[-1] == "block 0: 2 of 12 picked, after 4 s"
    assert len(UNITS) == len(results[3])


def test_places_follow_from_the_seed_and_differ_between_blocks_and_showings():
    def order(seed, block, attempt):
        made = PersonRig("pick", stream=functools.partial(stream, seed), clock=Clock())
        present(made, range(20), block=block, attempt=attempt)
        made._clock.now += 1
        made.collect()
        return pixels(made)

    orders = [
        order(*which) for which in ((1, 0, 1), (1, 0, 1), (2, 0, 1), (1, 1, 1), (1, 0, 2))
    ]
    assert orders[0] == orders[1]
    assert len({tuple(one) for one in orders}) == 4


def test_nothing_is_opened_before_all_of_it_is_here(rig):
    present(rig, (1, 2))
    rig.clock.now += 0.1
    rig.collect()
    present(rig, (3,))
    rig.clock.now += 0.15
    rig.collect()
    assert rig.view().grid is None
    rig.stands(Standing("aa", "monday", connected=True, held=True))  # in the middle of it
    rig.clock.now += 60
    rig.collect()
    assert rig.view().phase == "paused"
    rig.stands(HERE)
    rig.collect()  # what waited comes only now
    present(rig, (4, 5))
    assert len(opened(rig).sizes) == 5


def test_two_blocks_are_two_pages_in_their_order(rig):
    present(rig, (1, 2, 3))
    present(rig, (4, 5), block=1)
    rig.collect()  # at once: the first is complete where the second has begun
    first = rig.view().grid
    assert (first.block, len(first.sizes)) == (0, 3)
    rig.apply(Appeared(first.name))
    rig.apply(Send(first.name, nothing=True))
    assert [block for block, _ in rig.collect()] == [0, 0, 0]
    second = opened(rig)
    assert (second.block, len(second.sizes)) == (1, 2)
    assert second.name != first.name


def test_an_answer_without_a_mark_is_a_slip_unless_it_is_said(rig):
    present(rig, (1, 2))
    view = opened(rig)
    assert not rig.apply(Send(view.name))
    assert rig.view().grid is not None
    assert rig.apply(Send(view.name, nothing=True))
    assert [r.arrays["rates"][0] for _, r in rig.collect()] == [0, 0]


def test_images_that_nobody_has_seen_are_not_judged(rig):
    present(rig, (1, 2))
    view = opened(rig, seen=False)
    assert not rig.apply(Mark(view.name, 0, 1))
    assert not rig.apply(Send(view.name, nothing=True))
    rig.apply(Appeared(view.name))
    assert rig.apply(Mark(view.name, 0, 1))
    assert rig.apply(Send(view.name))


def test_not_now_is_aborted_and_shown_again(rig):
    present(rig, (1, 2, 3))
    view = opened(rig)
    rig.apply(Mark(view.name, 0, 1))
    assert rig.apply(Again(view.name))
    results = [r for _, r in rig.collect()]
    assert {r.status for r in results} == {"aborted"}
    assert {r.reason for r in results} == {"the person asked to see these again"}
    present(rig, (1, 2, 3), attempt=2)
    again = opened(rig)
    assert (again.marked, rig.view().answered) == (0, 0)


def test_orders_of_a_grid_that_is_gone_change_nothing(rig):
    """A second tab that was slow: what it says is about images that are answered."""
    present(rig, (1, 2))
    gone = opened(rig).name
    rig.apply(Send(gone, nothing=True))
    rig.collect()
    present(rig, (3, 4), block=1)
    view = opened(rig)
    for order in (
        Mark(gone, 0, 1),
        Clear(gone),
        Restore(gone),
        Again(gone),
        Send(gone, nothing=True),
    ):
        assert not rig.apply(order)
    assert rig.view().grid == view
    assert rig.image(gone, 0) is None
    assert rig.image(view.name, 2) is None
    assert not rig.apply(Mark(view.name, 2, 1))
    assert not rig.apply(Mark(view.name, 1, 2))


def test_another_session_takes_the_place_of_what_is_on_the_page(rig):
    present(rig, (1, 2))
    present(rig, (3,), block=1)
    opened(rig)
    rig.stands(Standing("aa", "monday"))
    assert rig.view().phase == "grid"  # the engine is gone: it may come back
    assert rig.said[-1] == "the engine is gone; the images stay on the page"
    rig.stands(Standing("bb", "tuesday", connected=True))
    results = rig.collect()
    assert [(b, r.presentation) for b, r in results if b == 1] == [(1, 3)]
    assert {r.reason for _, r in results} == {"the session is over"}
    assert rig.view().phase == "no images yet"


def test_the_record_is_told_once_a_session_how_images_are_judged(rig):
    assert rig.notices() == [("info", "a person is to pick images, asked 'Which are faces?'")]
    assert rig.notices() == []
    rig.stands(Standing("bb", "tuesday", connected=True))
    assert len(rig.notices()) == 1


def test_what_is_over_says_why(rig):
    present(rig, (1, 2))
    opened(rig)
    rig.over("finished")
    rig.blank()
    view = rig.view()
    assert (view.phase, view.news, view.grid) == ("over", "finished", None)


# ---------------------------------------------------------------------- over a socket


@contextlib.contextmanager
def client(rig, endpoint):
    done = threading.Event()
    made = RigClient(
        endpoint,
        hello=rig.hello("person", software="1", display=SCREEN),
        presenter=rig,
        identity="person",
        late_s=math.inf,
        tell=rig.news,
    )
    thread = threading.Thread(target=made.run, kwargs={"stop": done.is_set})
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE_S)


def heard(server, kind, until):
    """Poll a server until its events of a kind are enough; return them."""
    events = []
    wait_until(
        lambda: until(events),
        step=lambda: events.extend(e for e in server.poll(0.02) if isinstance(e, kind)),
    )
    return events


def person():
    return PersonRig("pick", stream=functools.partial(stream, 1))


def on_the_page(rig, server):
    wait_until(lambda: rig.view().grid is not None, step=lambda: server.poll(0.02))
    rig.apply(Appeared(rig.view().grid.name))
    return rig.view().grid


def test_while_a_person_thinks_requests_are_repeated_engines_restarted_and_marks_kept():
    rig = person()
    with contextlib.ExitStack() as stack:
        first = EngineServer(
            "tcp://127.0.0.1:*", session=SESSION, name="s", answer_timeout_s=0.2
        )
        stack.callback(first.close)
        endpoint = first.endpoint
        first.show(request(block=0, presentations=(1, 2, 3)))
        stack.enter_context(client(rig, endpoint))
        view = on_the_page(rig, first)
        rig.apply(Mark(view.name, 1, 1))
        wait_until(
            lambda: first.next_attempt(0) > 4, step=lambda: first.poll(0.02)
        )  # asked again
        assert rig.view().grid.marks == [0, 1, 0]
        first.close()
        wait_until(lambda: not rig.view().connected)
        rig.apply(Mark(view.name, 2, 1))
        second = EngineServer(endpoint, session=SESSION, name="s")
        stack.callback(second.close)
        second.show(request(block=0, attempt=9, presentations=(1, 2, 3)))
        wait_until(lambda: rig.view().connected, step=lambda: second.poll(0.02))
        assert rig.view().grid.name == view.name
        rig.apply(Send(view.name))
        events = heard(second, Responded, lambda e: sum(len(r.trials) for r in e) >= 3)
        trials = [trial for event in events for trial in event.trials]
        assert sorted(t.arrays["rates"][0] for t in trials) == [0, 1, 1]
        assert all(t.ok and t.attempt == 1 for t in trials)


def test_the_images_of_a_session_that_is_gone_make_way_for_the_next_one():
    rig = person()
    with contextlib.ExitStack() as stack:
        first = EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s")
        stack.callback(first.close)
        endpoint = first.endpoint
        first.show(request(block=0, presentations=(1, 2, 3)))
        stack.enter_context(client(rig, endpoint))
        gone = on_the_page(rig, first).name
        first.close()
        second = EngineServer(endpoint, session="ab" * 16, name="another")
        stack.callback(second.close)
        second.show(request(block=0, presentations=(7, 8)))
        wait_until(
            lambda: (grid := rig.view().grid) is not None and grid.name != gone,
            step=lambda: second.poll(0.02),
        )
        view = rig.view()
        assert (view.session, len(view.grid.sizes)) == ("another", 2)
        rig.apply(Appeared(view.grid.name))
        rig.apply(Send(view.grid.name, nothing=True))
        (event,) = heard(second, Responded, lambda e: bool(e))
        assert {t.presentation for t in event.trials} == {7, 8}


def test_a_pause_leaves_the_page_and_keeps_the_next_one_back():
    rig = person()
    with contextlib.ExitStack() as stack:
        server = EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s")
        stack.callback(server.close)
        server.show(request(block=0, presentations=(1, 2)))
        stack.enter_context(client(rig, server.endpoint))
        view = on_the_page(rig, server)
        server.hold(on=True)
        wait_until(lambda: rig.view().held, step=lambda: server.poll(0.02))
        server.show(request(block=1, presentations=(3, 4)))
        rig.apply(Send(view.name, nothing=True))
        heard(server, Responded, lambda e: bool(e))
        assert rig.view().phase == "paused"
        server.hold(on=False)
        assert on_the_page(rig, server).block == 1


def test_the_engine_hears_what_is_asked():
    rig = PersonRig("rank", stream=functools.partial(stream, 1), question="Older?")
    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s") as server:
        with client(rig, server.endpoint):
            events = heard(
                server, RigJoined | Notice, lambda e: any(isinstance(x, Notice) for x in e)
            )
        assert events[0].hello.capabilities == ("rates",)
        assert [u.label for u in events[0].hello.units] == ["person", "seconds", "place"]
        assert events[-1].text == "a person is to rank images, asked 'Older?'"
    assert rig.view().phase == "over"
