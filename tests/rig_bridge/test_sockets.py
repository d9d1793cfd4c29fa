"""Engine and rig over real TCP, the rig in a process of its own, killed and restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from rig_bridge import codec
from rig_bridge import messages as m
from rig_bridge.client import RigClient
from rig_bridge.errors import EndpointError, ProtocolError, RefusedError, RequestError
from rig_bridge.events import (
    BlockDone,
    EngineWoke,
    Resent,
    Responded,
    RigInvalid,
    RigJoined,
    RigLost,
)
from rig_bridge.messages import PresentationRequest
from rig_bridge.server import EngineServer
from rig_bridge.sockets import MAX_FRAME_BYTES, check_bound, check_free, parse_endpoint
from rig_bridge.trials import Presentation, ShowRequest
from tests.children import Command
from tests.limits import PATIENCE_MS, PATIENCE_S, wait_until
from tests.rig_bridge.rig_process import make_rig
from tests.rig_bridge.samples import SESSION, hello, result, sha256
from tests.skips import NO_FREEZING
from tests.soak import further

PROGRAM = Path(__file__).with_name("rig_process.py")


def server(endpoint="tcp://127.0.0.1:*", **options) -> EngineServer:
    return EngineServer(endpoint, **{"session": SESSION, "name": "test", **options})


@contextlib.contextmanager
def rig(endpoint: str, identity: str = "rig-1", *options: str):
    """A rig process; warnings are errors in it too."""
    words = ("python", PROGRAM, endpoint, identity, PATIENCE_S, *options)
    process = Command(words, os.environ)
    with process.stdout:
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_S)


def block(number=0, *, attempt=1, presentations=range(12), on_ms=100.0, size=32, known=None):
    rng = np.random.default_rng(number)
    images = tuple(rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(4))
    return ShowRequest(
        block=number,
        attempt=attempt,
        images=images,
        sha256=tuple(sha256(i) for i in images),
        presentations=tuple(
            PresentationRequest(
                presentation=p,
                image=p % 4,
                on_ms=on_ms,
                off_ms=100.0,
                known_attempt=(known or {}).get(p, 0),
            )
            for p in presentations
        ),
        size_deg=3.0,
        position_deg=(0.0, 0.0),
    )


def gather(engine: EngineServer, until, *, ack=True) -> list:
    """Poll until an event satisfies `until`; return all events."""
    events: list = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for event in engine.poll(1.0):
            events.append(event)
            if isinstance(event, Responded) and ack:
                engine.ack(event.block, [t.presentation for t in event.trials])
        if any(until(event) for event in events):
            return events
    raise AssertionError(f"did not happen; got {events}")


def is_(kind):
    return lambda event: isinstance(event, kind)


def trials(events) -> list:
    return [t for e in events if isinstance(e, Responded) for t in e.trials]


def test_a_block_is_shown_answered_and_ended():
    with server() as engine, rig(engine.endpoint) as process:
        engine.show(block())
        events = gather(engine, is_(BlockDone))
        assert isinstance(events[0], RigJoined)
        assert engine.hello == events[0].hello
        assert [t.presentation for t in trials(events)] == list(range(12))
        for t in trials(events):
            assert t.status == "ok"
            assert (t.arrays["units"].dtype, t.arrays["times_ms"].dtype) == ("<u4", "<f4")
            assert (t.arrays["times_ms"] >= -100).all()
            assert (t.arrays["times_ms"] <= 300).all()
        assert engine.bytes_sent > 4 * 32 * 32 * 3
        assert engine.encode_seconds > 0
        assert 0 < engine.last_send_seconds <= engine.send_seconds
        engine.end("finished")
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == "ended: finished\n"


def test_what_goes_over_tcp_is_what_the_rig_does_in_this_process():
    with server() as engine, rig(engine.endpoint):
        request = block()
        engine.show(request)
        over_tcp = trials(gather(engine, is_(BlockDone)))
    here = make_rig(speed=float("inf"))
    here.prepare(dict(zip(request.sha256, request.images, strict=True)))
    for t, p in zip(over_tcp, request.presentations, strict=True):
        asked = Presentation(
            block=0,
            attempt=1,
            presentation=p.presentation,
            sha256=request.sha256[p.image],
            on_ms=p.on_ms,
            off_ms=p.off_ms,
            size_deg=3.0,
            position_deg=(0.0, 0.0),
            window_ms=(-100.0, 300.0),
        )
        local = here.present(request.images[p.image], asked)
        assert (t.onset_ns, t.offset_ns) == (local.onset_ns, local.offset_ns)
        for name, array in local.arrays.items():
            np.testing.assert_array_equal(t.arrays[name], array)


def test_aborted_presentations_are_shown_again():
    with server() as engine, rig(engine.endpoint, "rig-1", "--abort-rate", "0.4"):
        missing, known, attempt = list(range(40)), {}, 0
        rounds = 0
        while missing:
            rounds += 1
            attempt += 1
            engine.show(block(presentations=missing, attempt=attempt))
            got = trials(gather(engine, is_(BlockDone)))
            assert sorted(t.presentation for t in got) == missing
            assert all(t.attempt > known.get(t.presentation, 0) for t in got)
            known |= {t.presentation: t.attempt for t in got}
            aborted = [t for t in got if t.status == "aborted"]
            for t in aborted:
                shown_ms = (t.offset_ns - t.onset_ns) / 1e6
                assert t.reason
                assert shown_ms < 100
                assert (t.arrays["times_ms"] <= shown_ms + 1e-3).all()
            missing = sorted(t.presentation for t in aborted)
        assert rounds > 1


def test_a_rig_killed_in_the_middle_takes_its_place_again():
    with server() as engine:
        engine.show(block(presentations=range(30)))
        # Slow enough to be killed in the middle: 30 presentations of 40 ms.
        with rig(engine.endpoint, "rig-1", "--speed", "5") as first:
            events = gather(engine, is_(Responded))
            first.kill()
            first.wait(PATIENCE_S)
            events += gather(engine, is_(RigLost))
        before = len(trials(events))
        assert 0 < before < 30
        with rig(engine.endpoint):
            events += gather(engine, is_(BlockDone))
        assert sorted(t.presentation for t in trials(events)) == list(range(30))
        (resent,) = [e for e in events if isinstance(e, Resent)]
        assert (resent.attempt, len(resent.presentations)) == (2, 30 - before)


def test_an_engine_that_comes_back_gets_what_the_rig_kept():
    with server() as engine:
        endpoint = engine.endpoint
        process_stack = contextlib.ExitStack()
        process_stack.enter_context(rig(endpoint))
        with process_stack:
            engine.show(block())
            lost = trials(gather(engine, is_(BlockDone), ack=False))
            engine.close()  # as if it died: nothing of it was durable
            with server(endpoint) as again:
                again.show(block(attempt=2))
                events = gather(again, is_(BlockDone))
                kept = trials(events)
                assert [t.attempt for t in kept] == [1] * 12  # not shown a second time
                for a, b in zip(lost, kept, strict=True):
                    assert (a.presentation, a.onset_ns) == (b.presentation, b.onset_ns)
                    np.testing.assert_array_equal(a.arrays["times_ms"], b.arrays["times_ms"])


def test_a_rig_of_another_version_is_refused_before_any_image():
    with server() as engine, rig(engine.endpoint, "rig-1", "--version", "2") as process:
        engine.show(block())
        (notice,) = gather(engine, is_(m.Notice))
        assert "version" in notice.text
        assert process.wait(PATIENCE_S) == 3
        assert "speaks protocol version 1, the rig 2" in process.stdout.read()
        assert engine.bytes_sent < 1000


@pytest.mark.parametrize("identity", ["rig-1", further("rig-2")])
def test_a_second_rig_is_told_that_it_is_not_wanted(identity):
    now = [0.0]
    with server(clock=lambda: now[0]) as engine, rig(engine.endpoint) as first:
        gather(engine, is_(RigJoined))
        with rig(engine.endpoint, identity) as second:
            gather(engine, is_(m.Notice))
            now[0] += 7.0  # the first is idle: it says nothing, and its connection lives
            gather(engine, is_(m.Notice))
            assert second.wait(PATIENCE_S) == 3
            assert "another rig" in second.stdout.read()
        engine.show(block())
        gather(engine, is_(BlockDone))
        first.kill()
        first.wait(PATIENCE_S)
        with rig(engine.endpoint, identity):  # now its place is free
            gather(engine, is_(RigJoined))


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason=NO_FREEZING)
def test_a_second_rig_takes_the_place_of_one_that_is_frozen():
    """Its connection is open and its program hangs: the heartbeats tell."""
    with server(clock=lambda: 0.0) as engine, rig(engine.endpoint) as first:
        gather(engine, is_(RigJoined))
        engine.show(block())
        gather(engine, is_(BlockDone))
        wait_until(lambda: engine._guard.beats, step=lambda: engine.poll(0.0))
        first.send_signal(signal.SIGSTOP)
        with rig(engine.endpoint):
            events = gather(engine, is_(RigJoined))
            assert [type(e) for e in events] == [m.Notice, RigLost, RigJoined]
            engine.show(block(1))
            gather(engine, is_(BlockDone))


@contextlib.contextmanager
def dealer(endpoint: str, identity: bytes = b"raw"):
    """A bare socket, to say what no client of ours would."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IDENTITY, identity)
        socket.connect(endpoint)
        yield socket


def say_hello(socket, engine: EngineServer) -> None:
    socket.send_multipart(codec.encode_message(hello()))
    gather(engine, is_(RigJoined))
    assert socket.poll(PATIENCE_MS)
    welcome, _ = codec.decode_from_engine(socket.recv_multipart())
    assert isinstance(welcome, m.Welcome)


def test_garbage_is_noticed_and_the_session_goes_on():
    with server() as engine, dealer(engine.endpoint) as socket:
        say_hello(socket, engine)
        for frames in ([b""], [b"\xc1"], [b"x" * 70_000], [b"\x80"] * 2000):
            socket.send_multipart(frames)
            notice, invalid = gather(engine, is_(m.Notice))
            assert notice.level == "error"
            assert isinstance(invalid, RigInvalid)
        engine.show(block())
        socket.send_multipart(codec.encode_message(m.Accepted(0, 1)))
        gather(engine, is_(m.Accepted))


def test_a_frame_beyond_the_limit_ends_the_connection_and_not_the_engine():
    with server() as engine, dealer(engine.endpoint) as socket:
        say_hello(socket, engine)
        socket.send_multipart([
            codec.encode_message(m.Done(0, 1))[0],
            bytes(MAX_FRAME_BYTES + 1),
        ])
        gather(engine, is_(RigLost))
        say_hello(socket, engine)


def test_an_engine_that_did_not_listen_says_for_how_long(monkeypatch):
    """Stopped, or asleep with its machine: the clock that timeouts go by may not know."""
    slept = [0.0]
    monkeypatch.setattr("rig_bridge.server.asleep_s", lambda: slept[0])
    with server(clock=lambda: 0.0) as engine, dealer(engine.endpoint) as socket:
        slept[0] = 3600.0
        assert [
            e for e in engine.poll(0.0) if isinstance(e, EngineWoke)
        ] == []  # its first look
        say_hello(socket, engine)
        slept[0] += 42.0
        (woke,) = [e for e in engine.poll(0.0) if isinstance(e, EngineWoke)]
        assert woke.seconds >= 42.0
        assert not [e for e in engine.poll(0.0) if isinstance(e, EngineWoke)]


def test_a_frozen_rig_is_asked_again():
    """Connected, welcomed, and silent: an application that hangs while its sockets live."""
    now = [0.0]
    with (
        server(answer_timeout_s=30.0, clock=lambda: now[0]) as engine,
        dealer(engine.endpoint) as socket,
    ):
        say_hello(socket, engine)
        engine.show(block())
        assert not [e for e in engine.poll(0.0) if isinstance(e, Resent)]
        now[0] = 31.0
        (resent,) = [e for e in engine.poll(0.0) if isinstance(e, Resent)]
        assert (resent.block, resent.attempt) == (0, 2)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:*", "tcp://*:5765", "tcp://10.1.2.3:5765", "tcp://[::]:5765"],
)
def test_only_loopback_is_bound(endpoint):
    with pytest.raises(EndpointError, match=r"loopback addresses only.*evolver keys new"):
        server(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "udp://127.0.0.1:1",
        "",
        "tcp://127.0.0.1:5;0.0.0.0:6",  # a local address, for ZeroMQ
        "tcp://*:5573@localhost",
        "tcp://127.0.0.1:99999",  # bound 34463
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:5765/",
        "tcp://127.0.0.1:5765 ",
        "TCP://127.0.0.1:5765",
        "tcp://[127.0.0.1]:5765",
        "tcp://[::1%eth0]:5765",
        "tcp://::1:5765",
        "tcp://127.0.0.1:\uff15\uff17",
        "ipc://",
        "ipc://@hidden",  # an abstract address: anyone may connect
        "ipc://a;b",
    ],
)
def test_what_zeromq_might_understand_in_another_way_is_no_address(endpoint):
    with pytest.raises(EndpointError, match=r"must be tcp://HOST:PORT"):
        server(endpoint)


def test_a_socket_that_is_elsewhere_than_asked_for_is_closed():
    check_bound("tcp://127.0.0.1:*", "tcp://127.0.0.1:40000")
    check_bound("tcp://localhost:5765", "tcp://127.0.0.1:5765")
    check_bound("tcp://*:5765", "tcp://0.0.0.0:5765")
    check_bound("ipc:///tmp/a", "ipc:///tmp/a")
    for asked, bound in (
        ("tcp://127.0.0.1:5765", "tcp://127.0.0.1:5766"),
        ("tcp://localhost:5765", "tcp://0.0.0.0:5765"),  # a name that says another thing
        ("tcp://127.0.0.1:5765", "tcp://[::]:5765"),
        ("ipc:///tmp/a", "ipc:///tmp/b"),
    ):
        with pytest.raises(EndpointError, match="must be where it was asked to be"):
            check_bound(asked, bound)


@pytest.mark.parametrize("given", ["tcp://127.0.0.1:*", "tcp://localhost:*"])
def test_addresses_of_this_machine_are_bound(given):
    with server(given) as engine:
        assert parse_endpoint(engine.endpoint).is_loopback


def test_a_taken_port_is_named():
    with server() as engine, pytest.raises(EndpointError, match="Is another session running"):
        server(engine.endpoint)


def test_impossible_requests_are_refused_before_a_rig_is_there():
    with server() as engine:
        with pytest.raises(RequestError, match="presentations"):
            engine.show(block(presentations=()))
        with pytest.raises(ProtocolError, match="window"):
            server(window_ms=(300.0, -100.0))


class Recorder:
    """A presenter that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list = []

    def prepare(self, images) -> None:
        self.calls.append(("prepare", len(images)))

    def present(self, image, request):
        self.calls.append(("present", request.presentation, image.shape))
        return result(request.presentation, request.attempt)

    def blank(self) -> None:
        self.calls.append(("blank",))


def run_client(endpoint, presenter, *, tell=print, **options):
    """A client in an OS thread of this process; returns (thread, outcomes)."""
    outcomes: list = []
    client = RigClient(endpoint, hello=hello(), presenter=presenter, identity="here", tell=tell)

    def target() -> None:
        try:
            outcomes.append(client.run(**options))
        except RefusedError as exc:
            outcomes.append(exc)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, outcomes


def test_the_presenter_is_prepared_once_a_request_and_blanks_at_the_end():
    presenter = Recorder()
    with server() as engine:
        thread, outcomes = run_client(engine.endpoint, presenter)
        engine.show(block(presentations=range(3)))
        gather(engine, is_(BlockDone))
        engine.end("enough")
        thread.join(PATIENCE_S)
    assert outcomes == ["enough"]
    assert presenter.calls == [
        ("prepare", 3),
        ("present", 0, (32, 32, 3)),
        ("present", 1, (32, 32, 3)),
        ("present", 2, (32, 32, 3)),
        ("blank",),
    ]


class Broken(Recorder):
    """A presenter that shows one image, and then none."""

    def present(self, image, request):
        if self.calls and self.calls[-1][0] == "present":
            raise ValueError("no screen")
        return super().present(image, request)


def test_a_presenter_that_fails_says_why_on_both_sides_once():
    told = []
    with server() as engine:
        thread, outcomes = run_client(engine.endpoint, Broken(), tell=told.append)
        engine.show(block(presentations=range(5)))
        events = gather(engine, is_(BlockDone))
        engine.end("enough")
        thread.join(PATIENCE_S)
    assert outcomes == ["enough"]
    statuses = {t.presentation: t.status for t in trials(events)}
    assert statuses == {0: "ok", 1: "aborted", 2: "aborted", 3: "aborted", 4: "aborted"}
    why = "the presenter failed: ValueError: no screen"
    assert {t.reason for t in trials(events)} == {"", why}
    notices = [e for e in events if isinstance(e, m.Notice)]
    assert [(notice.level, notice.text) for notice in notices] == [("error", why)]
    assert told == [why]


def test_a_rig_that_is_stopped_says_bye():
    stop = threading.Event()
    with server() as engine:
        thread, outcomes = run_client(engine.endpoint, Recorder(), stop=stop.is_set)
        gather(engine, is_(RigJoined))
        stop.set()
        events = gather(engine, is_(RigLost))
        thread.join(PATIENCE_S)
    assert events[-1].reason == "the rig said bye: stopped"
    assert outcomes == ["stopped"]


def test_a_rig_without_an_engine_leaves_when_told_to():
    presenter = Recorder()
    with server() as engine:
        endpoint = engine.endpoint
    times = iter(range(10_000))
    client = RigClient(
        endpoint, hello=hello(), presenter=presenter, identity="x", clock=lambda: next(times)
    )
    assert "no engine" in client.run(idle_timeout_s=30.0)
    assert presenter.calls == [("blank",)]


@pytest.mark.parametrize("identity", ["", "\x00a", "x" * 256])
def test_identities_that_cannot_be_used_are_refused(identity):
    with pytest.raises(EndpointError, match="identity"):
        RigClient("tcp://127.0.0.1:1", hello=hello(), presenter=Recorder(), identity=identity)


def test_an_address_that_is_none_is_refused():
    client = RigClient("nowhere", hello=hello(), presenter=Recorder(), identity="x")
    with pytest.raises(EndpointError, match="nowhere"):
        client.run()


def test_an_address_that_is_in_use_has_one_text_for_who_looks_and_who_listens():
    with server() as first:
        with pytest.raises(EndpointError) as looked:
            check_free(first.endpoint)
        with pytest.raises(EndpointError) as listened:
            server(first.endpoint)
        endpoint = first.endpoint
    assert str(looked.value) == str(listened.value)
    assert f"{endpoint} must be free to listen at; it is in use. Is another" in str(
        looked.value
    )
    check_free(endpoint)
    check_free(endpoint)  # looking leaves it free


def test_an_address_of_another_machine_is_said_so():
    with pytest.raises(EndpointError, match="this machine has no such address"):
        check_free("tcp://198.51.100.7:5571")
