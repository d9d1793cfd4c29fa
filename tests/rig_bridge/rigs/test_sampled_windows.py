"""Windows around onsets, whatever happens to the messages: ok means all of it, or not ok.

The oracle is a scan over everything that the emulation made before anything was done to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig_bridge.rigs.open_ephys.emulator import Emulation
from rig_bridge.rigs.open_ephys.format import Data, Spike, Ttl, decode_plugin, encode_plugin
from rig_bridge.rigs.open_ephys.translate import to_sampled
from rig_bridge.rigs.open_ephys.units import UnitTable
from rig_bridge.rigs.sampled.sequence import MessageSequence
from rig_bridge.rigs.sampled.windows import Windows, WindowTiming
from rig_bridge.trials import Presentation
from tests.rig_bridge.samples import showing
from tests.soak import examples, further

EPOCH_NS = 1_790_000_000_000_000_000
RATE = 30_000.0
WINDOW = (-100.0, 300.0)
BUFFER_S = 0.010
ON_S, OFF_S = 0.1, 0.1


@dataclass
class Arrival:
    """A message on its way: when it comes, and its frames."""

    time_s: float
    frames: list[bytes]


@dataclass
class World:
    """What happened, and what was sent of it."""

    arrivals: list[Arrival] = field(default_factory=list)
    shown: list[tuple[float, tuple]] = field(default_factory=list)  # (known at, what)
    edges: list[int] = field(default_factory=list)  # true sample of each onset

    @cached_property
    def spikes(self):
        made = [decode_plugin(a.frames) for a in self.arrivals]
        return sorted(
            (m.sample, int(m.electrode.split()[-1]) - 1) for m in made if isinstance(m, Spike)
        )

    def expected(self, presentation):
        edge = self.edges[presentation]
        low, high = (edge + round(ms * RATE / 1000) for ms in WINDOW)
        inside = [(s, u) for s, u in self.spikes if low <= s < high]
        return [(u, np.float32((s - edge) * 1000 / RATE)) for s, u in inside]


def show(number, onset_s, *, status="ok"):
    asked = Presentation(
        block=0,
        attempt=1,
        presentation=number,
        sha256="a",
        on_ms=100.0,
        off_ms=100.0,
        size_deg=3.0,
        position_deg=(0.0, 0.0),
        window_ms=WINDOW,
    )
    onset = EPOCH_NS + round(onset_s * 1e9)
    return asked, showing(asked, onset, status=status)


def take(windows, message, header, at_s, *, electrodes=6):
    units = UnitTable.electrodes(electrodes)
    arrived_ns = EPOCH_NS + round(at_s * 1e9)
    windows.take(to_sampled(message, header, units=units, arrived_ns=arrived_ns, now_s=at_s))


def world(seed=1, n=12, **how):
    """Return what happened, as a value of the caller's own."""
    made = _world(seed, n, **how)
    return World(list(made.arrivals), list(made.shown), list(made.edges))


@cache
def _world(seed, n, *, channels=1, drift=0.0, jitter_s=0.001, light_s=0.008, lead_s=1.0):
    """n images of 100 ms, 100 ms apart, seen by 6 electrodes; samples run by the true time."""
    rng = np.random.default_rng(seed)
    rate = RATE * (1 + drift)  # in true time
    emulation = Emulation(rng, electrodes=6, channels=channels, rate_hz=RATE)
    made = World()
    lights = []
    for i in range(n):
        onset = lead_s + i * (ON_S + OFF_S) + rng.uniform(0, 0.01)
        seen = onset + light_s + rng.normal(0, jitter_s)
        made.edges.append(round(seen * rate))
        lights.append((seen, made.edges[-1]))
        made.shown.append((onset + ON_S + OFF_S - 0.01, show(i, onset)))
    end = lead_s + n * (ON_S + OFF_S) + 0.8
    buffer = round(BUFFER_S * RATE)
    while emulation.sample < end * rate:
        now = (emulation.sample + buffer) / rate
        while lights and lights[0][0] < now:
            emulation.light(lights.pop(0)[1], 100.0, rng.uniform(0, 1, 6))
        sent = emulation.advance(buffer, now_ms=round(now * 1000))
        made.arrivals += [
            Arrival(now + 0.002 + rng.exponential(0.001) * (k == 0), frames)
            for k, frames in enumerate(sent)
        ]
    for before, after in pairwise(made.arrivals):
        after.time_s = max(after.time_s, before.time_s)
    return made


def run(made: World, arrivals=None, *, timing=WindowTiming(), patience_s=0.0):  # noqa: B008
    """Let messages and onsets come in their order; return what was recorded, and by what."""
    windows = Windows(timing)
    events = [(a.time_s, 0, a) for a in (made.arrivals if arrivals is None else arrivals)]
    events += [(at, 1, shown) for at, shown in made.shown]
    recorded, last = [], 0.0
    for at, kind, what in sorted(events, key=lambda e: e[:2]):
        if kind:
            windows.expect(*what, at)
        else:
            take(windows, decode_plugin(what.frames), what.frames[1], at)
        recorded += windows.collect(at)
        last = at
    recorded += windows.collect(last + patience_s)
    return recorded, windows


def check(made: World, recorded):
    """Each presentation once; what is ok is all of what there was, to the sample."""
    numbers = [r.request.presentation for r in recorded]
    assert len(set(numbers)) == len(numbers)
    for r in recorded:
        if r.status == "ok":
            number = r.request.presentation
            found = zip(r.arrays["units"].tolist(), r.arrays["times_ms"], strict=True)
            assert sorted(found) == sorted(made.expected(number)), number
            assert r.reason == ""
            assert abs(r.onset_ns - r.showing.onset_ns) < 15_000_000
    return {r.request.presentation: r for r in recorded}


@given(
    st.integers(0, 2**32),
    st.sampled_from([0, 1, 3]),
    st.floats(-1e-4, 1e-4),
    st.floats(0.0, 0.04),
)
@examples(0.07)
def test_every_window_is_whole_where_nothing_happens(seed, channels, drift, light_s):
    made = world(seed, channels=channels, drift=drift, light_s=light_s)
    timing = WindowTiming(rate_hz=RATE)
    recorded, windows = run(made, timing=timing)
    found = check(made, recorded)
    assert set(found) == set(range(12))
    assert {r.status for r in recorded} == {"ok"}
    assert windows.clocks.matched == 12
    assert not windows.clocks.alarmed
    assert windows.tally.lost == windows.tally.duplicates == windows.tally.restarts == 0


@given(st.data())
@examples(0.15)
def test_ok_is_whole_whatever_is_dropped_doubled_or_late(data):
    made = world(data.draw(st.sampled_from([3, 5, 13])))
    n = len(made.arrivals)
    places = st.sets(st.integers(0, n - 1), max_size=12)
    dropped, doubled = data.draw(places), data.draw(places)
    late = data.draw(st.dictionaries(st.integers(20, n - 1), st.integers(1, 30), max_size=8))
    order = sorted(range(n), key=lambda i: i + late.get(i, 0) + 0.5 * (i in late))
    arrivals, now = [], 0.0
    for i in order:
        now = max(now, made.arrivals[i].time_s)
        if i not in dropped:
            arrivals += [Arrival(now, made.arrivals[i].frames)] * (1 + (i in doubled))
    recorded, windows = run(made, arrivals, timing=WindowTiming(rate_hz=RATE), patience_s=30.0)
    found = check(made, recorded)
    assert set(found) == set(range(12))
    last = max(i for i in range(n) if i not in dropped)
    first = min(i for i in range(n) if i not in dropped)
    inside = len([i for i in dropped if first < i < last])
    assert windows.tally.lost == inside
    assert windows.tally.duplicates == len(doubled - dropped)
    for number, r in found.items():
        edge = made.edges[number]
        for i in dropped:
            message = decode_plugin(made.arrivals[i].frames)
            sample = message.sample
            if edge - 0.1 * RATE <= sample < edge + 0.3 * RATE and first < i < last:
                assert r.status == "aborted"
                assert "loss" in r.reason


def test_a_gap_aborts_what_it_touches_and_nothing_else():
    made = world(3)
    edge = made.edges[5]
    at = next(
        i
        for i, a in enumerate(made.arrivals)
        if isinstance(m := decode_plugin(a.frames), Spike) and m.sample > edge + 0.17 * RATE
    )
    arrivals = made.arrivals[:at] + made.arrivals[at + 1 :]
    found = check(made, run(made, arrivals)[0])
    lost = {number for number, r in found.items() if r.status == "aborted"}
    assert lost == {5, 6}  # 6 begins before, 4 ends before; both by more than the margin
    assert found[5].reason == "loss: 1 messages of the acquisition are missing"
    assert len(found[5].arrays["times_ms"]) == len(made.expected(5)) - 1  # what there is


def test_late_messages_fill_the_gap_they_left():
    made = world(4)
    arrivals = list(made.arrivals)
    for i in range(100, len(arrivals) - 1, 50):
        first, second = arrivals[i], arrivals[i + 1]
        arrivals[i] = Arrival(second.time_s, second.frames)
        arrivals[i + 1] = Arrival(second.time_s, first.frames)
    recorded, windows = run(made, arrivals)
    check(made, recorded)
    assert {r.status for r in recorded} == {"ok"}
    assert windows.tally.lost == 0


def joined(first: World, second: World, gap_s: float) -> World:
    """One acquisition, then another that counts from the beginning again."""
    shift = first.arrivals[-1].time_s + gap_s
    n = len(first.shown)
    return World(
        first.arrivals + [Arrival(a.time_s + shift, a.frames) for a in second.arrivals],
        first.shown
        + [
            (at + shift, show(n + i, (s.onset_ns - EPOCH_NS) / 1e9 + shift))
            for i, (at, (_, s)) in enumerate(second.shown)
        ],
        first.edges + second.edges,
    )


@pytest.mark.parametrize("gap_s", [0.05, further(1.0), 60.0])
def test_a_restart_aborts_what_waits_and_goes_on(gap_s):
    first, second = world(5, 6), world(6, 6, lead_s=0.4)
    cut = next(
        i for i, a in enumerate(first.arrivals) if a.time_s > first.shown[5][0] - 0.05
    )  # while the last image is on the screen
    first.arrivals = first.arrivals[:cut]
    both = joined(first, second, gap_s)
    recorded, windows = run(both)
    by_number = {r.request.presentation: r for r in recorded}
    assert set(by_number) == set(range(12))
    reasons = {n: r.reason for n, r in by_number.items() if r.status == "aborted"}
    assert all("loss" in reason for reason in reasons.values())
    assert {4, 5} <= set(reasons) <= {3, 4, 5, 6}
    first_part = World(first.arrivals, edges=first.edges)
    second_part = World(second.arrivals, edges=[0] * 6 + second.edges)
    check(first_part, [r for n, r in by_number.items() if n < 6])
    check(second_part, [r for n, r in by_number.items() if n >= 6])
    assert windows.tally.restarts == 1


@pytest.mark.parametrize("line", [0, None])
@pytest.mark.parametrize("pause_s", [1.0, *map(further, (0.15, 0.2, 0.4, 3.0))])
def test_an_acquisition_that_stood_still_mislabels_nothing(pause_s, line):
    """Samples go on where they stopped: an edge may lie where another's was expected."""
    made = world(7, 30)
    stop_s = made.shown[8][0]
    true = [a for a in made.arrivals if a.time_s <= stop_s]
    later = [Arrival(a.time_s + pause_s, a.frames) for a in made.arrivals[len(true) :]]
    shown = []
    for i, (at, (_, s)) in enumerate(made.shown):  # what comes later is seen later
        onset_s = (s.onset_ns - EPOCH_NS) / 1e9
        moved = 0.0 if onset_s < stop_s - 0.02 else pause_s
        shown.append((at + moved, show(i, onset_s + moved)))
    dark = np.arange(stop_s + 0.01, stop_s + pause_s - 0.2, 0.2)  # nothing was recorded
    shown += [(at + 0.19, show(100 + i, float(at))) for i, at in enumerate(dark)]
    both = World(true + later, sorted(shown, key=lambda e: e[0]), made.edges)
    timing = WindowTiming(photodiode_line=line, settle_ms=20.0)
    recorded, windows = run(both, timing=timing, patience_s=10.0)
    in_the_dark = [r for r in recorded if r.request.presentation >= 100]
    assert len(in_the_dark) == len(dark)
    assert {r.status for r in in_the_dark} <= {"aborted"}
    others = [r for r in recorded if r.request.presentation < 100]
    if line is None:
        assert all(is_about_right(both, r) for r in others if r.status == "ok")
    else:
        check(both, others)
    assert len([r for r in others if r.status == "ok"]) >= 20  # it goes on by itself
    assert windows.clocks.given_up <= 2


def is_about_right(made: World, recorded) -> bool:
    """Whether the spikes are those of the image, moved by at most 20 ms all together."""
    edge = made.edges[recorded.request.presentation]
    true = [(u, (s - edge) * 1000 / RATE) for s, u in made.spikes if abs(s - edge) < RATE]
    found = list(
        zip(recorded.arrays["units"].tolist(), recorded.arrays["times_ms"], strict=True)
    )
    unit, at = found[len(found) // 2]
    shifts = [t - at for u, t in true if u == unit and abs(t - at) <= 20]
    return any(
        all(any(u == v and abs(t + shift - w) < 0.01 for v, w in true) for u, t in found)
        for shift in shifts
    )


def test_a_stall_aborts_by_itself_after_a_while():
    made = world(8, 4)
    arrivals = [a for a in made.arrivals if a.time_s < made.shown[2][0]]
    recorded, windows = run(made, arrivals, timing=WindowTiming(stall_s=0.5))
    waiting = 4 - len(recorded)
    assert waiting >= 1
    assert windows.collect(made.shown[-1][0] + 0.3) == []
    given_up = windows.collect(made.shown[-1][0] + 5.0)
    assert len(given_up) == waiting
    assert {r.status for r in given_up} == {"aborted"}
    assert all(r.reason.startswith("loss: it stalled") for r in given_up)


def test_what_was_held_back_for_too_long_is_not_believed():
    """All of it comes in the end, in one piece; nobody knows what happened meanwhile."""
    made = world(18, 6)
    stop_s = made.shown[5][0]
    arrivals = [
        Arrival(a.time_s if a.time_s <= stop_s else max(a.time_s, stop_s + 1.5), a.frames)
        for a in made.arrivals
    ]
    found = check(made, run(made, arrivals, timing=WindowTiming(stall_s=1.0))[0])
    assert found[5].reason.startswith("loss: the acquisition stalled for 1.5")
    assert found[2].status == "ok"
    found = check(made, run(made, arrivals, timing=WindowTiming(stall_s=1.6))[0])
    assert found[5].status == "ok"


def test_nothing_at_all_is_a_loss_too():
    windows = Windows(WindowTiming(stall_s=1.0))
    windows.expect(*show(0, 1.0), 1.2)
    assert windows.collect(2.1) == []
    (lost,) = windows.collect(2.3)
    assert lost.reason.startswith("loss: nothing came of the acquisition")


def test_a_window_from_before_the_first_message_is_a_loss():
    made = world(9, 6)
    late = [a for a in made.arrivals if a.time_s > made.shown[1][0]]
    found = check(made, run(made, late)[0])
    assert all("loss" in found[i].reason for i in (0, 1))
    assert found[4].status == found[5].status == "ok"


def test_samples_that_the_hardware_lost_are_a_loss():
    """The numbers of the messages are complete, the samples are not."""
    made = world(10, 8)
    edge = made.edges[4]
    arrivals = []
    for a in made.arrivals:
        m = decode_plugin(a.frames)
        if isinstance(m, Data) and m.sample < edge + 3000 <= m.sample + m.samples:
            short = a.frames[1].replace(b'"num_samples":300', b'"num_samples":200')
            a = Arrival(a.time_s, [a.frames[0], short, a.frames[2][:800]])
        arrivals.append(a)
    found = check(made, run(made, arrivals)[0])
    assert found[4].reason == "loss: samples are missing"
    assert found[1].status == found[7].status == "ok"


def test_an_image_without_an_edge_is_shown_again():
    made = world(11, 10)
    edge = made.edges[6]
    arrivals = []
    for a in made.arrivals:
        m = decode_plugin(a.frames)
        if isinstance(m, Ttl) and m.sample == edge:  # another line went up
            a = Arrival(a.time_s, [a.frames[0], a.frames[1], b"\x04" + a.frames[2][1:]])
        arrivals.append(a)
    recorded, windows = run(made, arrivals)
    found = check(made, recorded)
    assert {n for n, r in found.items() if r.status != "ok"} == {6}
    assert found[6].reason == "no edge of the photodiode"
    assert windows.tally.other_lines == {4: 1}


def test_a_flickering_screen_has_one_edge_an_image():
    made = world(12, 8)
    sent = []
    for a in made.arrivals:
        m = decode_plugin(a.frames)
        copies = 5 if isinstance(m, Ttl) and m.state else 1  # every 10 ms
        sent += [
            (a.time_s + 0.01 * k, replace(m, sample=m.sample + 300 * k), a.frames)
            for k in range(copies)
        ]
    arrivals = []
    for number, (at, m, frames) in enumerate(sorted(sent, key=lambda one: one[0]), 1):
        payload = frames[2][2:] if isinstance(m, Ttl) else frames[2]
        made_again = encode_plugin(replace(m, number=number), payload, node=1, now_ms=0)
        arrivals.append(Arrival(at, made_again))
    recorded, windows = run(made, arrivals)
    check(made, recorded)
    assert {r.status for r in recorded} == {"ok"}
    assert windows.tally.edges == 40


def test_before_there_is_a_fit_two_edges_are_too_many():
    """Somebody opens the door: the nearer edge is not the image's."""
    made = world(17, 6, light_s=0.04)
    arrivals, number = [], 0
    for a in made.arrivals:
        m = decode_plugin(a.frames)
        if isinstance(m, Ttl) and m.state and m.sample == made.edges[0]:
            number += 1
            door = replace(m, number=number, sample=m.sample - 900)
            frames = encode_plugin(door, bytes(8), node=1, now_ms=0)
            arrivals.append(Arrival(a.time_s, frames))
        number += 1
        again = replace(m, number=number)
        payload = a.frames[2][2:] if isinstance(m, Ttl) else a.frames[2]
        arrivals.append(Arrival(a.time_s, encode_plugin(again, payload, node=1, now_ms=0)))
    found = check(made, run(made, arrivals)[0])
    assert found[0].reason == "no edge of the photodiode"
    assert {found[i].status for i in range(1, 6)} == {"ok"}


def test_an_image_that_was_broken_off_is_reported_at_once():
    made = world(13, 4)
    at, (asked, shown) = made.shown[3]
    broken_off = msgspec.structs.replace(shown, status="aborted", reason="fixation broken")
    made.shown[3] = (at, (asked, broken_off))
    windows = Windows(WindowTiming())
    for a in made.arrivals:
        if a.time_s > at:
            break
        take(windows, decode_plugin(a.frames), a.frames[1], a.time_s)
    windows.expect(*made.shown[3][1], at)
    (found,) = windows.collect(at)
    assert (found.status, found.reason) == ("aborted", "fixation broken")
    assert len(found.arrays["times_ms"])
    assert found.arrays["times_ms"].max() < 200


def test_without_a_photodiode_onsets_are_as_good_as_arrivals():
    made = world(14, 12, light_s=0.0)
    recorded, windows = run(made, timing=WindowTiming(photodiode_line=None))
    assert {r.status for r in recorded} == {"ok"}
    assert {r.onset_ns for r in recorded} == {None}
    assert all(is_about_right(made, r) for r in recorded)
    assert windows.clocks.matched == 0


def stamped(arrival, sample):
    """The message, saying that it is of another sample."""
    m = decode_plugin(arrival.frames)
    header = arrival.frames[1].replace(
        f'"sample_num":{m.sample}'.encode(), f'"sample_num":{sample}'.encode()
    )
    return Arrival(arrival.time_s, [arrival.frames[0], header, arrival.frames[2]])


@pytest.mark.parametrize(
    ("kind", "ahead_s"),
    [further(Data, 200_000.0), (Data, 1.9), further(Data, 0.15), (Data, None),
     (Spike, 200_000.0), further(Spike, 0.5), further(Ttl, 200_000.0), (Ttl, -3.0)],
)  # fmt: skip
def test_one_wild_stamp_costs_its_window_and_completes_nothing(kind, ahead_s):
    """However far ahead: nothing after it is lost, and nothing handed over early."""
    made = world(15, 20, lead_s=3.5)
    at = next(
        i
        for i, a in enumerate(made.arrivals)
        if a.time_s > made.shown[9][0] and isinstance(decode_plugin(a.frames), kind)
    )
    true = decode_plugin(made.arrivals[at].frames).sample
    wild = 0 if ahead_s is None else round(true + ahead_s * RATE)
    arrivals = list(made.arrivals)
    arrivals[at] = stamped(arrivals[at], wild)
    recorded, windows = run(made, arrivals, timing=WindowTiming(rate_hz=RATE), patience_s=9.0)
    found = check(made, recorded)
    assert set(found) == set(range(20))
    lost = {n for n, r in found.items() if r.status != "ok"}
    edge = {n for n, s in enumerate(made.edges) if s - 0.2 * RATE < true < s + 0.4 * RATE}
    assert lost
    assert lost <= edge
    assert "time stamp" in found[min(lost)].reason
    assert (windows.tally.wild, windows.tally.jumps, windows.tally.restarts) == (1, 0, 0)


def test_a_wild_stamp_makes_no_gap_of_the_message_lost_beside_it():
    made = world(15, 30)
    at = next(i for i, a in enumerate(made.arrivals) if a.time_s > made.shown[9][0])
    arrivals = list(made.arrivals)
    arrivals[at] = stamped(arrivals[at], 2**40)
    del arrivals[at + 1]
    found = check(made, run(made, arrivals, timing=WindowTiming(rate_hz=RATE))[0])
    assert 1 <= len([r for r in found.values() if r.status != "ok"]) <= 4
    assert {found[n].status for n in (*range(7), *range(14, 30))} == {"ok"}


@pytest.mark.parametrize("leap_s", [-3.0, 1e5])
def test_a_sample_clock_that_was_set_is_followed(leap_s):
    """Three messages in a row say the same: what waits is lost, what comes is not."""
    made = world(15, 20, lead_s=3.5)
    at = next(i for i, a in enumerate(made.arrivals) if a.time_s > made.shown[9][0])
    leap = round(leap_s * RATE)
    after = [stamped(a, decode_plugin(a.frames).sample + leap) for a in made.arrivals[at:]]
    both = World(made.arrivals[:at] + after, made.shown)
    recorded, windows = run(both, timing=WindowTiming(rate_hz=RATE), patience_s=9.0)
    before = World(made.arrivals[:at], edges=made.edges)
    moved = World(after, edges=[edge + leap for edge in made.edges])
    found = check(before, [r for r in recorded if r.request.presentation <= 9])
    found |= check(moved, [r for r in recorded if r.request.presentation > 9])
    assert windows.tally.jumps == 1
    assert {found[n].status for n in (*range(7), *range(15, 20))} == {"ok"}
    assert any("sample clock jumped" in r.reason for r in found.values())


def test_a_first_stamp_that_is_wild_is_left_behind():
    made = world(15, 12)
    arrivals = [stamped(made.arrivals[0], 2**50), *made.arrivals[1:]]
    found = check(made, run(made, arrivals, timing=WindowTiming(rate_hz=RATE))[0])
    assert {found[n].status for n in range(2, 12)} == {"ok"}


def test_what_was_heard_and_is_of_no_use_is_in_the_reason():
    windows = Windows(WindowTiming(stream="probe", stall_s=1.0))
    for number in range(1, 4):
        take(windows, Spike(number, "another", "Electrode 1", 0, 10), b"a", 1.0 + number / 10)
    windows.misread("no message: it has 1 frame")
    windows.expect(*show(0, 1.0), 1.2)
    assert windows.heard.news(1.3) == ""
    said = windows.heard.news(2.3)
    assert said == (
        "4 messages came, none of use; 1 not readable, the first: no message: it has 1 frame; "
        "of other streams: 'another'"
    )
    assert windows.heard.news(20.0) == ""  # nothing more
    (lost,) = windows.collect(20.0)
    assert lost.reason.startswith("loss: nothing came of the acquisition")
    assert said in lost.reason


def test_other_streams_and_other_sources_are_counted_and_kept_out():
    made = world(16, 4)
    windows = Windows(WindowTiming(stream="emulated"))
    strange = Spike(1, "another", "Electrode 1", 0, 10)
    take(windows, strange, b"a", 0.0, electrodes=3)
    take(windows, Spike(2, "emulated", "Electrode 6", 1, 10), b"b", 0.0, electrodes=3)
    assert windows.heard.others == {"another": 1}
    assert windows.tally.other_sources == {"Electrode 6:1": 1}
    assert windows.tally.spikes == 0
    assert made.spikes


class TestSequence:
    @given(st.integers(0, 2**32), st.integers(2, 400))
    @examples(0.6)
    def test_missing_is_what_did_not_come(self, seed, n):
        rng = np.random.default_rng(seed)
        come = np.flatnonzero(rng.random(n) > 0.2) + 1
        come = come[
            np.argsort(
                come + rng.integers(0, 5, len(come)) * (rng.random(len(come)) < 0.2),
                kind="stable",
            )
        ]
        sequence = MessageSequence()
        first = None
        for number in come.tolist():
            if first is not None and number < first:
                continue  # before the first that was heard: of another acquisition, it seems
            first = number if first is None else first
            assert sequence.take(number, number, number * 10, number * 10) == "new"
        heard = {c for c in come.tolist() if first is not None and c >= first}
        missing = set(range(min(heard), max(heard))) - heard if heard else set()
        assert sequence.lost == len(missing)
        assert set().union(*(gap.missing for gap in sequence.gaps), set()) == missing
        for gap in sequence.gaps:
            for number in gap.missing:
                assert gap.low <= number * 10 <= gap.high

    def test_the_same_number_with_other_bytes_is_a_restart(self):
        sequence = MessageSequence()
        assert [sequence.take(i, 7, i, i) for i in (1, 2, 3)] == ["new"] * 3
        assert sequence.take(2, 7, 2, 2) == "duplicate"
        assert sequence.take(1, 8, 1, 1) == "restart"
        assert sequence.take(2, 8, 2, 2) == "new"
        assert sequence.gaps == []

    def test_memory_is_bounded_whatever_comes(self):
        rng = np.random.default_rng(2)
        sequence = MessageSequence()
        number = 0
        for _ in range(5000):
            number += int(rng.integers(1, 5000))
            sequence.take(number, number, number, number)
        assert len(sequence.gaps) <= 256
        assert sum(len(gap.missing) for gap in sequence.gaps) <= 256 * 1000
        assert min(gap.low for gap in sequence.gaps) < 10_000  # nothing is forgotten
