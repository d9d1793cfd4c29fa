"""Open Ephys over real sockets, against the emulator and everything it can do wrong."""

import threading
import time

import msgspec
import numpy as np
import pytest
import zmq

from rig_bridge.errors import EndpointError
from rig_bridge.messages import ScreenInfo
from rig_bridge.rigs.combined import CombinedRig
from rig_bridge.rigs.open_ephys.client import OpenEphys
from rig_bridge.rigs.open_ephys.emulator import Emulation, Emulator
from rig_bridge.rigs.open_ephys.format import Spike, Ttl, heartbeat
from rig_bridge.rigs.open_ephys.lamp import Lamp, ask_fault, drives
from rig_bridge.rigs.open_ephys.units import UnitTable
from rig_bridge.rigs.sampled.windows import WindowTiming
from rig_bridge.trials import Presentation
from tests.limits import PATIENCE_MS, wait_until
from tests.rig_bridge.samples import showing
from tests.soak import further

WINDOW = (-50.0, 150.0)
HOST = "127.0.0.1"
ELECTRODES = 4
PIXELS = np.full((16, 16, 3), 200, np.uint8)


class Witnessed(Emulation):
    """An emulation that remembers what it made, run by run, before any fault."""

    def __init__(self, **options):
        super().__init__(np.random.default_rng(5), electrodes=ELECTRODES, **options)
        self.runs = [[]]

    def _encode(self, message, payload, now_ms):
        self.runs[-1].append(message)
        return super()._encode(message, payload, now_ms)

    def fault(self, fault, count=1):
        super().fault(fault, count)
        if fault == "restart":
            self.runs.append([])

    def expected(self):
        """Of every onset that the photodiode saw, the spikes around it: sets of (unit, ms)."""
        for run in self.runs:
            spikes = [
                (s.sample, int(s.electrode[10:]) - 1) for s in run if isinstance(s, Spike)
            ]
            for edge in [t.sample for t in run if isinstance(t, Ttl) and t.state]:
                low, high = (edge + round(ms * 30) for ms in WINDOW)
                yield sorted(
                    (u, float(np.float32((s - edge) / 30)))
                    for s, u in spikes
                    if low <= s < high
                )


class Screen:
    """A display without a window: waits, and says when."""

    screen_info = ScreenInfo(800, 600, 60.0, 20.0)

    def __init__(self, frame):
        self.frame = frame

    def prepare(self, images):
        pass

    def show(self, image, asked):  # noqa: ARG002
        onset = time.time_ns()
        self.frame()
        time.sleep(asked.on_ms / 1000)
        offset = time.time_ns()
        time.sleep(asked.off_ms / 1000)
        return showing(asked, onset, on_ns=offset - onset)

    def blank(self):
        pass

    def close(self):
        pass


class Setup:
    """An emulator, and a rig that shows and records."""

    def __init__(self, emulation, emulator, **timing):
        self.emulation, self.emulator = emulation, emulator
        lamp = Lamp(HOST, emulator.port, electrodes=ELECTRODES)
        self.acquisition = OpenEphys(
            HOST,
            emulator.port,
            units=UnitTable.electrodes(ELECTRODES),
            timing=WindowTiming(**{"stall_s": 20.0, "match_ms": 25.0, **timing}),
        )
        self.rig = CombinedRig(lamp.watch(Screen(lamp.frame)), self.acquisition)
        self.shown, self.results = 0, {}
        self.until(lambda: self.acquisition.health.has_samples)
        rate = emulation.rate_hz
        begin = emulation.sample
        self.until(lambda: emulation.sample > begin + 0.2 * rate)

    def until(self, condition):
        wait_until(condition, or_say=lambda: self.acquisition.health)

    def show(self, n=1):
        for _ in range(n):
            asked = Presentation(
                block=0,
                attempt=1,
                presentation=self.shown,
                sha256="a",
                on_ms=60.0,
                off_ms=60.0,
                size_deg=3.0,
                position_deg=(0.0, 0.0),
                window_ms=WINDOW,
            )
            assert self.rig.present(PIXELS, asked) is None
            self.shown += 1
            self.collect()

    def collect(self):
        for block, result in self.rig.collect():
            assert block == 0
            assert result.presentation not in self.results  # each once
            self.results[result.presentation] = result

    def finish(self, *before):
        """Wait for the results; check that what is ok is whole. Return statuses."""

        def all_of_them():
            self.collect()
            return len(self.results) == self.shown

        self.until(all_of_them)
        true = [w for one in (self.emulation, *before) for w in one.expected()]
        for result in self.results.values():
            if result.status == "ok":
                found = zip(
                    result.arrays["units"].tolist(),
                    result.arrays["times_ms"].tolist(),
                    strict=True,
                )
                assert sorted(found) in true
                assert result.onset_source == "photodiode"
            else:
                assert result.reason
        return [self.results[i].status for i in range(self.shown)]

    def finish_with(self, whole, *before, since=0):
        """Finish, showing more until so many from `since` on are whole; return statuses.

        A thread that the machine did not run for long makes an edge late, which is an aborted
        presentation and not a wrong one: a busy machine needs more of them.
        """
        statuses = self.finish(*before)

        def enough():
            return statuses[since:].count("ok") >= whole

        def show_more():
            self.show(2)
            statuses[:] = self.finish(*before)

        wait_until(enough, step=show_more, or_say=lambda: self.results[self.shown - 1].reason)
        return statuses

    @property
    def losses(self):
        return [i for i, r in sorted(self.results.items()) if "loss" in r.reason]

    @property
    def tally(self):
        return self.acquisition.health.tally


@pytest.fixture
def setup():
    made = []
    emulation = Witnessed()
    with Emulator(emulation) as emulator:

        def build(**timing):
            made.append(Setup(emulation, emulator, **timing))
            return made[-1]

        yield build
        for one in made:
            one.rig.close()


def test_every_presentation_is_whole_and_seen_by_the_photodiode(setup):
    s = setup()
    s.show(8)
    s.finish_with(6)
    assert s.losses == []
    health = s.acquisition.health
    assert (health.answers, health.malformed) == (True, 0)
    assert health.clocks.matched >= 6
    assert health.clocks.residual.rms_s < 0.05
    assert (health.tally.lost, health.tally.duplicates, health.tally.restarts) == (0, 0, 0)
    onsets = [s.results[i].onset_ns for i in range(s.shown)]
    assert onsets == sorted(onsets)


@pytest.mark.parametrize("fault", [further("drop"), "malform"])
def test_what_is_dropped_on_the_way_is_a_loss(setup, fault):
    s = setup()
    s.show(3)
    assert ask_fault(HOST, s.emulator.port, fault, 3) == "message correctly parsed"
    s.show(4)
    s.finish_with(3)
    assert s.losses
    assert set(s.losses) <= {2, 3, 4}
    assert s.tally.lost == 3
    assert s.acquisition.health.malformed == (3 if fault == "malform" else 0)


@pytest.mark.parametrize("fault", ["duplicate", "reorder"])
def test_what_comes_twice_or_out_of_order_is_put_right(setup, fault):
    s = setup()
    s.show(3)
    s.emulation.fault(fault, 40)
    s.show(4)
    s.finish()
    assert s.losses == []
    assert s.tally.lost == 0
    assert s.tally.duplicates == (40 if fault == "duplicate" else 0)


def test_a_stall_aborts_what_was_shown_and_is_got_over(setup):
    s = setup(stall_s=1.0)
    s.show(3)
    ask_fault(HOST, s.emulator.port, "stall", 1200)
    s.show(3)
    s.until(lambda: s.tally.stalls >= 1)
    s.show(4)
    s.finish_with(1, since=6)
    assert {3, 4, 5} <= set(s.losses)


def test_a_restart_aborts_what_was_shown_and_is_got_over(setup):
    s = setup()
    s.show(3)
    ask_fault(HOST, s.emulator.port, "restart")
    s.until(lambda: s.tally.restarts == 1)
    s.show(3)
    s.finish_with(1, since=3)
    assert 2 in s.losses
    assert s.tally.lost == 0


def test_a_program_that_dies_and_comes_back_is_heard_again():
    first = Witnessed()
    with Emulator(first) as emulator:
        port = emulator.port
        s = Setup(first, emulator, stall_s=1.0)
        s.show(2)
    s.show(2)  # to nobody
    second = Witnessed()
    try:
        with Emulator(second, port=port) as emulator:
            s.until(lambda: second.sample > 0.5 * second.rate_hz)
            s.until(lambda: s.tally.restarts == 1 or s.tally.jumps)
            s.emulation, s.emulator = second, emulator
            s.show(3)
            s.finish_with(1, first, since=4)
            assert {2, 3} <= set(s.losses)
    finally:
        s.rig.close()


def test_nobody_there_is_a_loss_that_says_so():
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port(f"tcp://{HOST}")
        acquisition = OpenEphys(
            HOST, port, units=UnitTable.electrodes(2), timing=WindowTiming(stall_s=0.2)
        )
        asked = Presentation(
            block=0,
            attempt=1,
            presentation=0,
            sha256="a",
            on_ms=1.0,
            off_ms=1.0,
            size_deg=3.0,
            position_deg=(0.0, 0.0),
            window_ms=WINDOW,
        )
        now = time.time_ns()
        acquisition.expect(asked, showing(asked, now, on_ns=0))
        found = []
        wait_until(lambda: found, step=lambda: found.extend(acquisition.collect()))
        assert found[0].reason.startswith("loss: nothing came of the acquisition")
        assert not acquisition.health.answers
        acquisition.close()


def test_hostile_bytes_are_counted_and_harm_nothing():
    rng = np.random.default_rng(8)
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port(f"tcp://{HOST}")
        acquisition = OpenEphys(HOST, port, units=UnitTable.electrodes(2))

        def send():
            for _ in range(100):
                frames = [
                    rng.bytes(int(rng.integers(0, 50))) for _ in range(rng.integers(1, 6))
                ]
                socket.send_multipart(frames)
            acquisition.collect()

        wait_until(lambda: acquisition.health.malformed >= 500, step=send)
        acquisition.close()


def test_an_acquisition_that_was_closed_says_so():
    acquisition = OpenEphys(HOST, 9, units=UnitTable.electrodes(1))
    acquisition.close()
    with pytest.raises(EndpointError, match="receiving from Open Ephys ended"):
        acquisition.collect()


@pytest.mark.parametrize(("host", "port"), [("no host", 5556), (HOST, 99_999)])
def test_an_address_that_is_none_is_named(host, port):
    with pytest.raises(EndpointError, match="must be"):
        OpenEphys(host, port, units=UnitTable.electrodes(1))


def test_heartbeats_go_on_while_an_image_is_on_the_screen():
    """The clock that the receiver is given runs fast, so that nothing waits for seconds."""
    with Emulator(Witnessed()) as emulator:
        acquisition = OpenEphys(
            HOST,
            emulator.port,
            units=UnitTable.electrodes(1),
            clock=lambda: time.monotonic() * 20,
        )
        wait_until(lambda: emulator.heartbeats >= 5)  # the rig's thread does nothing
        assert acquisition.health.answers
        acquisition.close()


class TestEmulator:
    def say(self, port, text):
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(f"tcp://{HOST}:{port + 1}")
            socket.send(text)
            assert socket.poll(PATIENCE_MS)
            return socket.recv()

    def test_it_answers_whatever_it_is_told(self):
        with Emulator(Witnessed()) as emulator:
            assert self.say(emulator.port, heartbeat("t", "u")) == b"heartbeat received"
            for text in (b"", b"\xff", b"[1]", b"[" * 50_000, b'{"type":"fault","count":"x"}'):
                assert self.say(emulator.port, text) in {
                    b"JSON message could not be read",
                    b"not understood",
                }
            light = {"type": "event", "event": {"event_id": 1}, "drives": ["x"]}
            said = self.say(emulator.port, msgspec.json.encode(light))
            assert said == b"JSON message could not be read"
            assert self.say(emulator.port, heartbeat("t", "u")) == b"heartbeat received"
            assert emulator.lights == 0

    def test_ports_that_are_taken_are_named(self):
        with (
            Emulator(Witnessed()) as emulator,
            pytest.raises(EndpointError, match="needs port"),
        ):
            Emulator(Witnessed(), port=emulator.port)

    def test_two_at_once_have_ports_of_their_own(self):
        with Emulator(Witnessed()) as one, Emulator(Witnessed()) as other:
            assert abs(one.port - other.port) > 1

    @pytest.mark.soak
    def test_neurons_fire_at_their_rates(self):
        """Poisson, at the baseline and 80 spikes/s above it, 50 ms after light."""
        emulation = Emulation(np.random.default_rng(1), electrodes=2, baseline_hz=10.0)
        for k in range(200):
            emulation.light(3000 + 6000 * k, 100.0, np.array([0.0, 1.0]))
        sent = [emulation.advance(301, now_ms=0) for _ in range(4200)]
        heard = [msgspec.json.decode(f[1]) for buffer in sent for f in buffer]
        spikes = [h["spike"] for h in heard if h["type"] == "spike"]
        for electrode, expected in (("Electrode 1", 10.0), ("Electrode 2", 90.0)):
            at = np.array([s["sample_num"] for s in spikes if s["electrode"] == electrode])
            at = at[(at >= 4500) & (at < 4500 + 6000 * 199)]
            inside = ((at - 4500) % 6000) < 3000
            assert inside.sum() / (199 * 0.1) == pytest.approx(expected, rel=0.15)
            assert (~inside).sum() / (199 * 0.1) == pytest.approx(10.0, rel=0.25)

    def test_images_differ_to_its_neurons(self):
        rng = np.random.default_rng(2)
        one, other = (rng.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(2))
        assert drives(one, 5).shape == (5,)
        assert (drives(one, 5) >= 0).all()
        assert not np.allclose(drives(one, 5), drives(other, 5))
        np.testing.assert_array_equal(drives(one, 5), drives(one.copy(), 5))
        grey = np.full((64, 64, 3), 127.5).astype(np.uint8)
        np.testing.assert_allclose(drives(grey, 5), 0.5, atol=0.1)


def test_no_thread_is_left(setup):
    before = {t.name for t in threading.enumerate()}
    assert "open ephys" not in before
    s = setup()
    s.acquisition.close()
    assert "open ephys" not in {t.name for t in threading.enumerate()}
