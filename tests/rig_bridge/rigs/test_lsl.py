"""LSL: real streams on this machine alone; and, without any, what a stream has told so far.

A window is checked against what was sent, sample by sample, and against a loop over it.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge.client import RigClient
from rig_bridge.errors import EndpointError
from rig_bridge.events import Responded, RigJoined
from rig_bridge.messages import ScreenInfo, Unit
from rig_bridge.rigs.combined import CombinedRig
from rig_bridge.rigs.lsl import streams
from rig_bridge.rigs.lsl.clock import Clocks, loopback_config
from rig_bridge.rigs.lsl.windows import (
    KnownEvents,
    RegularDecoder,
    SpikeDecoder,
    StreamReading,
    arrays_of,
)
from rig_bridge.server import EngineServer
from rig_bridge.trials import Presentation
from tests.limits import PATIENCE_S, wait_until
from tests.rig_bridge.samples import SESSION, request, showing
from tests.skips import NO_LSL
from tests.soak import further

WINDOW = (-100.0, 300.0)
EARLY_MS = 5000.0  # tests send what is to be before it is
TWO = (Unit(0, 0, "IT", "a"), Unit(1, 0, "IT", "b"))


def asked(number=1, block=0):
    return Presentation(
        block=block,
        attempt=1,
        presentation=number,
        sha256="a" * 64,
        on_ms=100.0,
        off_ms=100.0,
        size_deg=3.0,
        position_deg=(1.0, 0.0),
        window_ms=WINDOW,
    )


def expect(acquisition, onset_ns, *, number=1):
    acquisition.expect(asked(number), showing(asked(number), onset_ns))


# ---------------------------------------------------------------------------- without LSL


def regular(kind="counts", rate=1000.0, **changes):
    told = KnownEvents()
    reading = StreamReading(kind, **{"bin_ms": 10.0, **changes})
    return told, reading, RegularDecoder(told, reading, rate_hz=rate)


chunks = st.lists(st.integers(1, 80), min_size=1, max_size=10)


class TestWindows:
    @given(chunks, st.integers(0, 2**32 - 1))
    def test_counts_are_those_of_a_loop_however_the_stream_is_cut(self, sizes, seed):
        rng = np.random.default_rng(seed)
        told, reading, decoder = regular()
        n = sum(sizes)
        samples = rng.integers(0, 3, (n, 2)).astype(float)
        stamps = 50.0005 + np.arange(n) / 1000
        for part in np.split(np.arange(n), np.cumsum(sizes)[:-1]):
            decoder.feed(samples[part], stamps[part], now=math.inf)
        onset, window = 50.1, (-50.0, 100.0)
        whole = stamps[-1] - 0.002 >= onset + 0.1
        assert (told.known_to >= onset + 0.1) == whole
        arrays, reason = arrays_of(reading, told, onset, window, units=2)
        assert reason == ""
        expected = np.zeros((2, 15), int)
        for stamp, sample in zip(stamps, samples, strict=True):
            place = math.floor(((stamp - onset) * 1000 + 50) / 10)
            if 0 <= place < 15:
                expected[:, place] += sample.astype(int)
        np.testing.assert_array_equal(arrays["counts"], expected)
        np.testing.assert_allclose(arrays["edges_ms"], np.arange(-50, 101, 10))

    @given(chunks, st.integers(0, 2**32 - 1), st.sampled_from([-1.0, 1.0]))
    def test_spikes_are_crossings_however_the_stream_is_cut(self, sizes, seed, sign):
        rng = np.random.default_rng(seed)
        told, reading, decoder = regular("voltages", bin_ms=None, threshold=sign * 1.0)
        n = sum(sizes)
        samples, stamps = rng.normal(size=(n, 2)), 7 + np.arange(n) / 1000
        for part in np.split(np.arange(n), np.cumsum(sizes)[:-1]):
            decoder.feed(samples[part], stamps[part], now=math.inf)
        arrays, _ = arrays_of(reading, told, 7.0, (-1000.0, 1000.0), units=2)
        expected = [
            (i, u)
            for i in range(1, n)
            for u in range(2)
            if sign * samples[i, u] >= 1.0 > sign * samples[i - 1, u]
        ]
        assert arrays["units"].tolist() == [u for _, u in expected]
        np.testing.assert_allclose(arrays["times_ms"], [i for i, _ in expected], atol=1e-3)

    @given(st.integers(0, 399), st.integers(1, 300), st.integers(0, 300))
    def test_a_gap_is_a_loss_for_the_windows_it_touches_and_no_other(self, at, gap, start):
        told, _, decoder = regular()
        stamps = np.arange(0, 800) / 1000
        keep = (stamps < at / 1000) | (stamps >= (at + gap) / 1000)
        decoder.feed(np.ones((keep.sum(), 2)), stamps[keep], now=math.inf)
        first = 0 if at else min(gap, 799)
        reason = told.lost(start / 1000, (start + 100) / 1000)
        seen = gap >= 3 and at > 0  # below the jitter nothing can be said
        touched = seen and at - 1 < start + 100 and at + gap > start
        before = start < first
        assert reason.startswith("loss") == (touched or before)

    def test_what_cannot_be_read_is_a_loss_where_it_was(self):
        for kind, odd in (("counts", 0.5), ("counts", -1), ("counts", np.nan), ("counts", 1e9),
                          ("rates", np.inf)):  # fmt: skip
            told, _, decoder = regular(kind, bin_ms=10.0 if kind == "counts" else None)
            samples = np.ones((500, 2))
            samples[200, 1] = odd
            decoder.feed(samples, np.arange(500) / 1000, now=math.inf)
            assert told.lost(0.0, 0.199) == ""
            assert "cannot be read" in told.lost(0.15, 0.25)
            assert told.lost(0.201, 0.4) == ""

    def test_no_spike_is_made_up_where_a_voltage_was_missing(self):
        told, reading, decoder = regular("voltages", bin_ms=None, threshold=-1.0)
        decoder.feed(
            np.array([[-2.0], [np.nan], [-2.0], [0.0], [-2.0]]),
            np.arange(5) / 1000,
            now=math.inf,
        )
        decoder.feed(
            np.array([[-2.0], [-2.0]]), np.array([0.5, 0.501]), now=math.inf
        )  # after a gap
        arrays, _ = arrays_of(reading, told, 0.0, (0.0, 1000.0), units=1)
        assert arrays["times_ms"].tolist() == [4.0]

    def test_time_that_goes_back_or_is_no_number_is_a_loss(self):
        told, _, decoder = regular()
        decoder.feed(np.ones((100, 1)), np.arange(100) / 1000, now=math.inf)
        decoder.feed(np.ones((1, 1)), np.array([np.nan]), now=math.inf)
        decoder.feed(np.ones((100, 1)), 0.2 + np.arange(100) / 1000, now=math.inf)
        assert told.lost(0.2, 0.25) == ""
        assert "no number" in told.lost(0.095, 0.2)
        decoder.feed(np.ones((100, 1)), 0.1 + np.arange(100) / 1000, now=math.inf)
        assert "went back" in told.lost(0.2, 0.25)

    @pytest.mark.parametrize(
        ("wild", "cut"),
        [
            (wild, cut) if (wild, cut) in {(6.0, 7), (-0.5, 1000)} else further(wild, cut)
            for wild in (200_000.0, 6.0, -200_000.0, -0.5, math.nan)
            for cut in (1000, 7, 1)
        ],
    )
    def test_one_stamp_that_is_not_of_now_costs_its_window(self, wild, cut):
        """No more is lost, and no window is complete before its samples came."""
        told, reading, decoder = regular()
        stamps = 50.0005 + np.arange(10_000) / 1000
        sent = stamps.copy()
        sent[5000] += wild
        windows = [(50.1 + k / 10, 50.4 + k / 10) for k in range(95)]
        lost = set()
        around = min(1000, 200 * cut)
        cuts = np.arange(5000 - around, 5000 + around, cut)
        for part in np.split(np.arange(10_000), cuts):
            now = stamps[part[-1]] + 0.01 if len(part) else 0.0
            decoder.feed(np.ones((len(part), 1)), sent[part], now=now)
            assert told.known_to <= now
        for start, end in windows:
            if reason := told.lost(start, end):
                assert "time stamp" in reason
                lost.add(start)
            else:
                counted = arrays_of(reading, told, start, (0.0, 300.0), units=1)[0]["counts"]
                assert counted.sum() == 300
        # Between its neighbours, whose stamps are known.
        assert lost == {start for start, end in windows if start < 55.0015 and end > 54.9995}
        assert decoder.heard.unreadable == 1
        assert decoder.heard.summary.startswith("10000 samples came; 1 not readable, the first")

    @pytest.mark.parametrize("wild", [200_000.0, 0.2, -200_000.0, math.nan])
    @pytest.mark.parametrize("unit", [0.0, -1.0])
    def test_one_spike_or_heartbeat_that_is_not_of_now(self, wild, unit):
        """A heartbeat completes nothing, a spike costs the time in which it may have been."""
        told = KnownEvents()
        decoder = SpikeDecoder(told, StreamReading("spikes", heartbeats=True), units=2)
        told.begin(0.0)
        for k in range(1, 101):
            at = k / 10
            stamps = np.array([at - 0.05, at + wild if k == 50 else at - 0.02, at])
            decoder.feed(np.array([[1.0], [unit], [-1.0]]), stamps, now=at)
            assert told.known_to == at
        lost = [k for k in range(100) if told.lost(k / 10, (k + 1) / 10)]
        assert lost == ([49] if unit == 0 else [])
        assert decoder.heard.unreadable == 1

    def test_numbers_go_on_over_a_stamp_that_cannot_be_read(self):
        told = KnownEvents()
        decoder = SpikeDecoder(told, StreamReading("spikes", heartbeats=True), units=2)
        told.begin(0.0)
        decoder.feed(np.array([[-1, 1]], float), np.array([0.9]), now=1.0)
        decoder.feed(np.array([[0, 2]], float), np.array([math.nan]), now=2.0)
        decoder.feed(np.array([[-1, 3]], float), np.array([2.5]), now=3.0)
        assert told.lost(1.0, 1.1) == "loss: a time stamp that is no number"
        assert told.lost(2.1, 2.5) == ""
        decoder.feed(np.array([[0, 5]], float), np.array([math.nan]), now=4.0)
        assert "numbers are missing" in told.lost(2.6, 4.0) or "no number" in told.lost(2.6, 4)

    def test_a_chunk_of_samples_with_one_stamp_names_the_cause_and_the_setting(self):
        """256 Hz, 12 samples at once, 47 ms apart."""
        stamps = np.repeat(np.arange(200) * 12 / 256, 12)
        for jitter, said in ((2.0, True), (47.0, False)):
            told, _, decoder = regular(rate=256.0, jitter_ms=jitter)
            for k in range(200):
                part = slice(12 * k, 12 * k + 12)
                decoder.feed(np.ones((12, 1)), stamps[part], now=stamps[part][-1])
            reason = told.lost(3.0, 3.4)
            assert bool(reason) == said
        told, _, decoder = regular(rate=256.0)
        decoder.feed(np.ones((2400, 1)), stamps, now=math.inf)  # all of it in one piece
        assert told.lost(3.0, 3.4) == (
            "loss: a gap of 46.9 ms after 12 samples stamped at once: the stream is stamped in "
            "chunks; jitter_ms (--jitter-ms) is 2, set it to 47 or more"
        )
        assert "set it to 47" in decoder.advice

    def test_a_gap_of_the_data_names_the_setting_and_advises_nothing(self):
        told, _, decoder = regular()
        stamps = np.arange(100) / 1000
        decoder.feed(np.ones((100, 1)), np.where(stamps < 0.05, stamps, stamps + 0.1), now=9.0)
        assert told.lost(0.0, 0.2) == (
            "loss: a gap of 101.0 ms after 50 samples 1.0 ms apart; "
            "jitter_ms (--jitter-ms) is 2"
        )
        assert decoder.advice == ""

    def test_rates_are_averages(self):
        told, reading, decoder = regular(
            "rates", rate=100.0, bin_ms=None, rate_window_ms=(50.0, 150.0)
        )
        stamps = 0.005 + np.arange(40) / 100
        decoder.feed(np.stack([np.arange(40.0), np.full(40, 5.0)], 1), stamps, now=math.inf)
        arrays, reason = arrays_of(reading, told, 0.1, WINDOW, units=2)
        assert reason == ""
        expected = np.mean([i for i in range(40) if 0.15 <= i / 100 + 0.005 < 0.25])
        np.testing.assert_allclose(arrays["rates"], [expected, 5.0])
        _, reason = arrays_of(reading, told, 9.0, WINDOW, units=2)
        assert reason.startswith("loss")

    def test_too_many_counts_are_no_small_number(self):
        told, reading, decoder = regular()
        decoder.feed(np.full((500, 1), 60_000.0), np.arange(500) / 1000, now=math.inf)
        arrays, reason = arrays_of(reading, told, 0.1, WINDOW, units=1)
        assert reason.startswith("loss")
        assert not arrays["counts"].any()

    def test_nothing_is_lost_before_anything_came(self):
        told = KnownEvents()
        assert told.lost(0.0, 1.0) == ""
        assert told.known_to == -math.inf
        told.begin(0.5)
        assert "before what is kept" in told.lost(0.0, 1.0)

    def test_heartbeats_say_how_far_the_spikes_are_known(self):
        told = KnownEvents()
        decoder = SpikeDecoder(told, StreamReading("spikes", heartbeats=True), units=2)
        told.begin(0.0)
        decoder.feed(np.array([[0.0], [1.0], [-1.0]]), np.array([0.4, 0.5, 0.45]), now=math.inf)
        assert told.known_to == 0.45

    def test_spikes_that_come_too_late_are_counted(self):
        told = KnownEvents()
        told.begin(0.0)
        decoder = SpikeDecoder(told, StreamReading("spikes"), units=2)
        decoder.feed(np.array([[0.0], [1.0]]), np.array([0.4, 0.5]), now=math.inf)
        told.know(0.6)
        assert told.late == 0
        decoder.feed(np.array([[0.0], [1.0]]), np.array([0.55, 0.65]), now=math.inf)
        assert told.late == 1

    def test_a_number_that_is_missing_is_a_loss(self):
        told = KnownEvents()
        decoder = SpikeDecoder(told, StreamReading("spikes"), units=2)
        told.begin(0.0)
        decoder.feed(np.array([[0, 7], [1, 8]], float), np.array([0.1, 0.2]), now=math.inf)
        decoder.feed(np.array([[0, 9], [1, 11]], float), np.array([0.3, 0.4]), now=math.inf)
        assert told.lost(0.0, 0.3) == ""
        assert "numbers are missing" in told.lost(0.0, 0.35)

    @pytest.mark.parametrize("unit", [2.0, -2.0, 0.5, np.nan])
    def test_a_unit_that_nobody_knows_is_a_loss(self, unit):
        told = KnownEvents()
        decoder = SpikeDecoder(told, StreamReading("spikes"), units=2)
        told.begin(0.0)
        decoder.feed(np.array([[0.0], [unit]]), np.array([0.1, 0.2]), now=math.inf)
        assert told.lost(0.0, 0.2) == ""
        assert "not in the table" in told.lost(0.2, 0.3)

    def test_memory_is_bounded_and_what_was_dropped_is_a_loss(self):
        told = KnownEvents(most=1000)
        told.begin(0.0)
        for k in range(50):
            told.add(k + np.arange(100) / 1000, np.zeros(100, np.int64), np.ones(100))
            told.lose(k + 0.5, k + 0.6, "test")
        assert told._held <= 1000
        assert "before what is kept" in told.lost(30.0, 31.0)
        assert told.lost(45.0, 45.4) == ""
        for k in range(5000):
            told.lose(k, k + 0.1, "test")
        assert len(told._losses) <= 1000
        assert told.lost(20.0, 20.1)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"kind": "counts"},
            {"kind": "rates", "bin_ms": 1.0},
            {"kind": "spikes", "bin_ms": 0.0},
            {"kind": "voltages"},
            {"kind": "voltages", "threshold": 0.0},
            {"kind": "spikes", "threshold": 1.0},
            {"kind": "counts", "bin_ms": 1.0, "heartbeats": True},
            {"kind": "rates", "rate_window_ms": (1.0, 1.0)},
            {"kind": "spikes", "latency_ms": math.nan},
            {"kind": "spikes", "keep_s": 0.5},
        ],
    )
    def test_readings_that_do_not_go_together_are_refused(self, wrong):
        with pytest.raises(ValueError, match="got"):
            StreamReading(**wrong)


class TestClocks:
    def test_an_instant_is_found_on_the_other_clock(self):
        clocks = Clocks(lambda: 100.0, lambda: 5_000_000_000)
        assert clocks.at(4_900_000_000) == pytest.approx(99.9)

    def test_a_clock_that_is_set_is_noticed_and_one_that_is_slewed_is_not(self):
        now = {"local": 100.0, "unix": 5.0}
        clocks = Clocks(lambda: now["local"], lambda: round(now["unix"] * 1e9))
        for _ in range(50):
            now["local"] += 0.1
            now["unix"] += 0.1 + 4e-5
            assert not clocks.stepped_since(0.0)
        now["unix"] += 0.5
        assert clocks.stepped_since(now["local"] - 0.05)
        now["local"] += 10.0
        now["unix"] += 10.0
        assert not clocks.stepped_since(now["local"] - 0.1)


def test_a_configuration_names_this_machine_alone():
    assert "127.0.0.1" in loopback_config("a-1")
    with pytest.raises(ValueError, match="letters"):
        loopback_config("a}\n[x]")


def test_a_missing_pylsl_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(EndpointError, match=r"pip install 'evolver\[lsl\]'"):
        streams.MarkerOutlet("m")


# ---------------------------------------------------------------------------- real streams


@pytest.fixture(scope="module")
def pylsl(tmp_path_factory):
    """pylsl, whose streams are seen by this process and its children alone."""
    path = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    path.write_text(loopback_config(uuid.uuid4().hex))
    path.chmod(0o600)
    before = os.environ.get("LSLAPICFG")
    os.environ["LSLAPICFG"] = str(path)  # read once, at the first stream
    import pylsl as found

    outlet = found.StreamOutlet(found.StreamInfo("probe", "t", 1, 0.0, "int32", "probe"))
    if not found.resolve_byprop("name", "probe", 1, 20.0):
        pytest.skip(NO_LSL)
    del outlet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_TWIN_S", 0.01)
        yield found
    if before is None:
        del os.environ["LSLAPICFG"]
    else:
        os.environ["LSLAPICFG"] = before


def outlet(pylsl, name, channels, rate, kind="float32", labels=None):
    info = pylsl.StreamInfo(name, "test", channels, rate, kind, name)
    if labels:
        info.set_channel_labels(labels)
    return pylsl.StreamOutlet(info)


def until(acquisition, n=1):
    """Collect until there are n results."""
    found = []
    wait_until(lambda: len(found) >= n, step=lambda: found.extend(acquisition.collect()))
    assert len(found) == n
    return found


class Bare:
    """A display without a screen."""

    screen_info = ScreenInfo(800, 600, 60.0, 20.0)

    def __init__(self):
        self.done = []

    def prepare(self, images):
        self.done.append(("prepare", len(images)))

    def show(self, image, request):  # noqa: ARG002  there is no screen
        self.done.append(("show", request.presentation))
        at = time.time_ns() - 150_000_000
        return showing(request, at)

    def blank(self):
        self.done.append(("blank",))

    def close(self):
        self.done.append(("close",))


def test_a_recorder_gets_every_onset_at_its_time(pylsl):
    made = streams.MarkerOutlet("markers")
    bare = Bare()
    display = streams.MarkedDisplay(bare, made)
    (info,) = pylsl.resolve_byprop("name", "markers", 1, PATIENCE_S)
    assert (info.type(), info.channel_format()) == ("Markers", pylsl.cf_string)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(PATIENCE_S)
    display.prepare({"a": np.zeros((2, 2, 3), np.uint8)})
    wanted = []
    for number, block in ((5, 0), (6, 0), (7, 1)):
        one = display.show(np.zeros((2, 2, 3), np.uint8), asked(number, block))
        wanted.append((one, made.clocks.at(one.onset_ns), made.clocks.at(one.offset_ns)))
    display.blank()
    got = [inlet.pull_sample(PATIENCE_S) for _ in range(10)]
    said = [(json.loads(sample[0]), stamp) for sample, stamp in got]
    assert [s["event"] for s, _ in said] == [
        "block begin", "onset", "offset", "onset", "offset", "block end",
        "block begin", "onset", "offset", "block end",
    ]  # fmt: skip
    onsets = [(s, t) for s, t in said if s["event"] == "onset"]
    offsets = [(s, t) for s, t in said if s["event"] == "offset"]
    for (one, onset, offset), (on, on_at), (off, off_at) in zip(
        wanted, onsets, offsets, strict=True
    ):
        assert on_at == pytest.approx(onset, abs=0.003)
        assert off_at == pytest.approx(offset, abs=0.003)
        assert on["presentation"] == off["presentation"] == one.presentation
        assert (on["sha256"], on["attempt"], on["source"]) == ("a" * 64, 1, "flip")
        assert (off["status"], off["reason"]) == ("ok", "")
    display.close()
    done = [one[0] for one in bare.done]
    assert done == ["prepare", "show", "show", "show", "blank", "close"]


def test_counts_of_a_regular_stream_are_in_their_bins(pylsl):
    out = outlet(pylsl, "counts", 3, 100.0, labels=["a1", "a2", "b1"])
    acquisition = streams.LslAcquisition(
        "counts", StreamReading("counts", bin_ms=20.0, ahead_ms=EARLY_MS)
    )
    assert [u.label for u in acquisition.units] == ["a1", "a2", "b1"]
    assert acquisition.form == "counts"
    onset_ns = time.time_ns()
    onset = Clocks(pylsl.local_clock).at(onset_ns)
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 4, (60, 3))
    # From 145 ms before onset to 445 after it, each in the middle of half a bin.
    out.push_chunk(samples.astype(np.float32), onset + 0.445)
    expect(acquisition, onset_ns)
    (found,) = until(acquisition)
    assert (found.status, found.reason, found.onset_ns) == ("ok", "", None)
    expected = samples[5:45].reshape(20, 2, 3).sum(axis=1).T
    np.testing.assert_array_equal(found.arrays["counts"], expected)
    assert found.arrays["counts"].dtype == np.dtype("<u2")

    later_ns = onset_ns + 400_000_000  # its window is not over yet
    expect(acquisition, later_ns, number=2)
    assert acquisition.collect() == []
    out.push_chunk(np.ones((40, 3), np.float32), onset + 0.445 + 0.5)  # 100 ms are missing
    (found,) = until(acquisition)
    assert found.request.presentation == 2
    assert found.status == "aborted"
    assert "loss: a gap" in found.reason
    assert found.arrays["counts"].shape == (3, 20)
    acquisition.close()


def test_voltages_are_spikes_where_they_cross(pylsl):
    out = outlet(pylsl, "voltages", 2, 1000.0)
    acquisition = streams.LslAcquisition(
        "voltages", StreamReading("voltages", threshold=-50.0, ahead_ms=EARLY_MS)
    )
    onset_ns = time.time_ns()
    onset = Clocks(pylsl.local_clock).at(onset_ns)
    trace = np.zeros((600, 2), np.float32)
    trace[[250, 251, 252, 400], 0] = -80.0  # one spike of three samples, one of one
    trace[300, 1] = -51.0
    trace[20, 1] = trace[590, 1] = -90.0  # outside the window
    out.push_chunk(trace, onset + 0.399)  # sample 200 is at the onset
    expect(acquisition, onset_ns)
    (found,) = until(acquisition)
    assert found.reason == ""
    assert found.arrays["units"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.arrays["times_ms"], [50, 100, 200], atol=1.0)
    acquisition.close()


def test_spikes_with_heartbeats_and_numbers(pylsl):
    out = outlet(pylsl, "spikes", 2, 0.0, "int32")
    acquisition = streams.LslAcquisition(
        "spikes", StreamReading("spikes", heartbeats=True, ahead_ms=EARLY_MS), units=TWO
    )
    onset_ns = time.time_ns()
    onset = Clocks(pylsl.local_clock).at(onset_ns)
    numbers = iter(range(1000))

    def say(unit, ms):
        out.push_sample([unit, next(numbers)], onset + ms / 1000)

    expect(acquisition, onset_ns + 200_000_000, number=1)
    for unit, ms in ((0, 90), (1, 110), (0, 210), (-1, 220), (1, 499), (0, 510)):
        say(unit, ms)

    def nothing_yet():
        assert acquisition.collect() == []  # spikes came, no heartbeat after the window

    wait_until(lambda: acquisition._events._held, step=nothing_yet)
    say(-1, 520)
    (found,) = until(acquisition)
    assert found.status == "ok"
    assert found.arrays["units"].tolist() == [1, 0, 1]
    np.testing.assert_allclose(found.arrays["times_ms"], [-90, 10, 299], atol=1.0)

    next(numbers)  # a sample that never comes
    expect(acquisition, onset_ns + 700_000_000, number=2)
    say(-1, 1100)
    (found,) = until(acquisition)
    assert (found.status, found.reason.split(":")[0]) == ("aborted", "loss")
    acquisition.close()


def test_spikes_without_heartbeats_are_complete_after_their_latency(pylsl):
    out = outlet(pylsl, "bare", 1, 0.0, "int16")
    reading = StreamReading("spikes", latency_ms=50.0, bin_ms=100.0, ahead_ms=EARLY_MS)
    acquisition = streams.LslAcquisition("bare", reading, units=TWO)
    # The window begins after the stream was joined, and ends in a third of a second.
    onset_ns = time.time_ns() + 110_000_000
    onset = Clocks(pylsl.local_clock).at(onset_ns)
    expect(acquisition, onset_ns)
    out.push_sample([1], onset + 0.05)
    (found,) = until(acquisition)
    assert found.status == "ok"
    np.testing.assert_array_equal(found.arrays["counts"], [[0, 0, 0, 0], [0, 1, 0, 0]])
    assert pylsl.local_clock() >= onset + 0.35
    expect(acquisition, onset_ns - 60_000_000_000, number=2)
    (found,) = until(acquisition)
    assert "loss: the window began before" in found.reason
    acquisition.close()


CHILD = """
import sys, time
import numpy as np, pylsl
out = pylsl.StreamOutlet(pylsl.StreamInfo("mortal", "test", 1, 1000.0, "float32", "mortal"))
start, sent = pylsl.local_clock(), 0
while True:
    time.sleep(0.01)
    due = int((pylsl.local_clock() - start) * 1000)
    out.push_chunk(np.ones((due - sent, 1), np.float32), start + (due - 1) / 1000)
    sent = due
"""


@pytest.mark.usefixtures("pylsl")
def test_a_stream_that_dies_is_a_loss_until_it_is_back():
    start = lambda: subprocess.Popen([sys.executable, "-c", CHILD])  # noqa: E731
    child = start()
    try:
        reading = StreamReading("counts", bin_ms=100.0, jitter_ms=5.0)
        acquisition = streams.LslAcquisition("mortal", reading)

        def show(number):
            wait_until(  # something was read: the window may begin
                lambda: acquisition._events.known_from < math.inf, step=acquisition.collect
            )
            expect(acquisition, time.time_ns() + 110_000_000, number=number)

        show(1)
        (found,) = until(acquisition)
        assert found.status == "ok", found.reason
        assert abs(int(found.arrays["counts"].sum()) - 400) <= 5
        show(2)
        child.kill()
        child.wait(PATIENCE_S)
        (found,) = until(acquisition)
        assert (found.status, found.reason) == ("aborted", "loss: the stream went away")
        assert not acquisition.connected
        child = start()
        wait_until(lambda: acquisition.connected, step=acquisition.collect)
        wait_until(
            lambda: acquisition._events._losses[-1][1] < math.inf, step=acquisition.collect
        )
        show(3)
        (found,) = until(acquisition)
        assert found.status == "ok", found.reason
        acquisition.close()
    finally:
        child.kill()
        child.wait(PATIENCE_S)


def test_a_stream_that_stalls_is_a_loss_and_not_waited_for(pylsl):
    out = outlet(pylsl, "stalls", 1, 100.0)
    acquisition = streams.LslAcquisition(
        "stalls", StreamReading("counts", bin_ms=50.0, patience_s=0.1)
    )
    onset_ns = time.time_ns() - 350_000_000
    onset = Clocks(pylsl.local_clock).at(onset_ns)
    out.push_chunk(np.ones((40, 1), np.float32), onset + 0.1)
    expect(acquisition, onset_ns)
    (found,) = until(acquisition)
    assert (found.status, "did not reach" in found.reason) == ("aborted", True)
    acquisition.close()


def test_what_cannot_be_read_is_said_at_once(pylsl, monkeypatch):
    monkeypatch.setattr("rig_bridge.rigs.heard._LISTEN_S", 0.0)
    out = outlet(pylsl, "wild", 1, 100.0)
    acquisition = streams.LslAcquisition("wild", StreamReading("counts", bin_ms=50.0))
    out.push_chunk(np.ones((7, 1), np.float32), pylsl.local_clock() + 1000.0)
    said = []
    wait_until(
        lambda: said,
        step=lambda: (acquisition.collect(), said.extend(acquisition.notices())),
    )
    level, text = said[0]
    assert level == "warning"
    assert "LSL stream wild is not read in whole: 7 samples came, none readable" in text
    assert "s beyond now" in text
    acquisition.close()


def test_closing_ends_the_search_for_a_stream_that_is_gone(pylsl):
    out = outlet(pylsl, "gone", 1, 100.0)
    acquisition = streams.LslAcquisition("gone", StreamReading("counts", bin_ms=50.0))
    del out
    wait_until(lambda: not acquisition.connected, step=acquisition.collect)
    seeker = acquisition._seeker
    acquisition.close()
    assert not seeker.is_alive()


def test_a_block_over_the_wire(pylsl):
    """Engine, display, markers and stream at once: counts are those of the time on screen."""
    out = outlet(pylsl, "whole", 2, 1000.0)
    acquisition = streams.LslAcquisition(
        "whole", StreamReading("counts", bin_ms=100.0, jitter_ms=5.0)
    )
    rig = CombinedRig(
        streams.MarkedDisplay(Bare(), streams.MarkerOutlet("whole-markers")), acquisition
    )
    done = threading.Event()

    def stream():
        start, sent = pylsl.local_clock(), 0
        while not done.wait(0.01):
            due = int((pylsl.local_clock() - start) * 1000)
            samples = np.ones((due - sent, 2), np.float32) * (1, 2)
            out.push_chunk(samples, start + (due - 1) / 1000)
            sent = due

    found = {}
    with EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s") as server:
        hello = rig.hello("lsl", software="1")
        client = RigClient(server.endpoint, hello=hello, presenter=rig, identity="lsl")
        threads = [
            threading.Thread(target=stream),
            threading.Thread(target=client.run, kwargs={"stop": done.is_set}),
        ]
        for thread in threads:
            thread.start()
        try:
            attempt = 1
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline and len(found) < 3:
                for event in server.poll(0.05):
                    if isinstance(event, RigJoined):
                        server.show(request(block=0, attempt=1, presentations=(1, 2, 3)))
                    elif isinstance(event, Responded):
                        ok = {t.presentation: t for t in event.trials if t.status == "ok"}
                        again = [t.presentation for t in event.trials if t.status != "ok"]
                        assert all("loss" in t.reason for t in event.trials if t.status != "ok")
                        found |= ok
                        server.ack(0, [t.presentation for t in event.trials])
                        if again:  # shown before the stream was read
                            attempt += 1
                            known = dict.fromkeys(again, attempt - 1)
                            server.show(
                                request(
                                    block=0, attempt=attempt, presentations=again, known=known
                                )
                            )
        finally:
            done.set()
            for thread in threads:
                thread.join(PATIENCE_S)
            rig.close()
    assert set(found) == {1, 2, 3}
    for trial in found.values():
        counts = trial.arrays["counts"].sum(axis=1)
        assert abs(int(counts[0]) - 400) <= 5
        assert counts[1] == 2 * counts[0]


@pytest.mark.parametrize(
    ("name", "channels", "rate", "reading", "units", "said"),
    [
        ("w1", 1, 0.0, StreamReading("counts", bin_ms=10.0), None, "at a regular rate"),
        ("w2", 1, 100.0, StreamReading("spikes"), TWO, "at irregular times"),
        ("w3", 3, 0.0, StreamReading("spikes"), TWO, "fewer channels"),
        ("w4", 1, 0.0, StreamReading("spikes"), None, "units must be given"),
        ("w5", 3, 100.0, StreamReading("counts", bin_ms=10.0), TWO, "a unit a channel"),
    ],
)
def test_a_stream_that_is_not_what_was_said_is_refused(
    pylsl, name, channels, rate, reading, units, said
):
    out = outlet(pylsl, name, channels, rate)
    with pytest.raises(EndpointError, match=said):
        streams.LslAcquisition(name, reading, units=units)
    del out


def test_no_stream_two_streams_or_a_name_that_is_none_are_refused(pylsl, monkeypatch):
    monkeypatch.setattr(streams, "_TWIN_S", 1.0)
    reading = StreamReading("counts", bin_ms=10.0)
    there = outlet(pylsl, "somebody", 1, 100.0)
    with pytest.raises(EndpointError, match=r"found 0.*there: .*'somebody'.*LSLAPICFG"):
        streams.LslAcquisition("nobody", reading, timeout_s=0.3)
    del there
    with pytest.raises(EndpointError, match="without quotes"):
        streams.LslAcquisition("a' or 'b", reading)
    with pytest.raises(EndpointError, match="without quotes"):
        streams.MarkerOutlet("a'b")
    twins = [outlet(pylsl, "twin", 1, 100.0 + k) for k in range(2)]
    with pytest.raises(EndpointError, match="found 2"):
        streams.LslAcquisition("twin", reading)
    del twins
