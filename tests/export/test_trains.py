"""Each instant that a window holds is in the trains once, of the showing the rule names."""

from types import SimpleNamespace

import numpy as np
import pytest

from evolver.export import trains
from evolver.export.clock import SessionClock, session_clock
from tests.soak import further

KINDS = [("onset_ns", "<i8"), ("rig", "<i4"), ("status", "<U8"), ("form", "<U8")]


class Session:
    """Showings with a spike of one of two units every millisecond."""

    def __init__(self, onsets_ms, window_ms, bad=()):
        self.window_ms = window_ms
        self.units = np.zeros(2)
        self.presentations = np.zeros(len(onsets_ms), dtype=KINDS)
        self.presentations["onset_ns"] = np.array(onsets_ms) * 1_000_000
        self.presentations["status"] = [
            "aborted" if k in bad else "ok" for k in range(len(onsets_ms))
        ]
        self.presentations["form"] = "spikes"
        self.times = np.arange(window_ms[0] + 0.5, window_ms[1], 1).astype(np.float32)
        self.spike_offsets = np.arange(len(onsets_ms) + 1) * len(self.times)

    def spikes_between(self, start, stop):
        count = stop - start
        time_ms = np.tile(self.times, count)
        unit = (np.arange(len(time_ms)) % 3 == 0).astype(np.uint32)
        return np.arange(count + 1) * len(self.times), unit, time_ms


def expected(session):
    """Return (onset, time) of what is taken: of the last that began, or else of the next."""
    table = session.presentations
    start, end = session.window_ms
    good = np.flatnonzero(table["status"] == "ok")
    onsets = table["onset_ns"][good] / 1e6
    found = []
    for row, onset in zip(good, onsets, strict=True):
        for time in session.times.tolist():
            since = onset + time - onsets
            sees = (start <= since) & (since < end)
            begun = sees & (since >= 0)
            owner = onsets[begun].max() if begun.any() else onsets[sees].min()
            if owner == onset:
                found.append((row, time))
    return found


@pytest.mark.parametrize(
    ("window_ms", "bad"),
    [
        ((-100.0, 300.0), (1, 4)),
        ((50.0, 250.0), ()),
        further((-100.0, 300.0), ()),
        further((0.0, 200.0), ()),
        further((0.0, 200.0), (1, 4)),
        further((50.0, 250.0), (1, 4)),
    ],
)
def test_an_instant_is_taken_once(monkeypatch, window_ms, bad):
    monkeypatch.setattr(trains, "_AT_ONCE", 1000)  # so that there are several pieces
    monkeypatch.setattr(trains, "_HELD", 2000)
    rng = np.random.default_rng(int(window_ms[0]) + 200)
    for apart in (30, 150, 250, 390, 1000):
        onsets = 500 + np.cumsum(rng.integers(apart // 2, 2 * apart, 12))
        session = Session(rng.permutation(onsets), window_ms, bad)
        clock = SessionClock(0, np.zeros(2, dtype=np.int64))
        taken = trains.taken_windows(session, clock)
        rows = [
            (row, time)
            for row in range(len(onsets))
            for time in session.times.tolist()
            if taken.start_ms[row] <= time < taken.end_ms[row]
        ]
        assert rows == expected(session)
        counts = trains.count_taken(session, taken)
        made = np.concatenate([*trains.trains(session, taken, counts)])
        seconds = np.array([taken.onset_s[row] + time / 1e3 for row, time in rows])
        assert len(made) == len(rows) == counts.sum()
        np.testing.assert_array_equal(np.sort(made), np.sort(seconds))
        assert (np.diff(made[: counts[0]]) >= 0).all()
        assert (np.diff(made[counts[0] :]) >= 0).all()
        windows = trains.taken_seconds(taken, np.arange(len(onsets)))
        assert (np.diff(windows.ravel()) > 0).all()
        inside = np.searchsorted(windows[:, 0], seconds, side="right") - 1
        assert (seconds < windows[inside, 1]).all()
        covered = (windows[:, 1] - windows[:, 0]).sum()
        assert covered == pytest.approx(len(rows) * 1e-3, abs=0.51e-3 * 2 * len(onsets))


def test_windows_are_joined_where_they_meet():
    windows = np.array([[3.0, 4.0], [0.0, 1.0], [1.0, 2.0], [3.5, 3.7], [5.0, 6.0]])
    np.testing.assert_array_equal(
        trains.join_windows(windows), [[0.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    )
    assert trains.join_windows(np.zeros((0, 2))).shape == (0, 2)


CLOCK_KINDS = [*KINDS[:2], ("offset_ns", "<i8"), ("received_ns", "<i8")]
CREATED_NS = 1_700_000_000_000_000_000


def clock_of(rows, *, rigs=(("rig", CREATED_NS),), window_ms=(-100.0, 300.0), created=None):
    """Return the clock of a session of (rig, onset, offset, received), in ms."""
    table = np.zeros(len(rows), dtype=CLOCK_KINDS)
    for row, (rig, onset, offset, received) in zip(table, rows, strict=True):
        row["rig"], row["received_ns"] = rig, CREATED_NS + received * 1_000_000
        row["onset_ns"], row["offset_ns"] = onset * 1_000_000, offset * 1_000_000
    recording = SimpleNamespace(
        presentations=table,
        rigs=[{"name": name, "time_ns": since} for name, since in rigs],
        created="2023-11-14T22:13:20+00:00" if created is None else created,
        window_ms=window_ms,
        events=np.zeros(0, dtype=[("time_ns", "<i8")]),
        blocks=np.array([(CREATED_NS,)], dtype=[("time_ns", "<i8")]),
    )
    return table, session_clock(recording)


def test_a_rigs_quickest_answer_took_no_time_and_intervals_stay():
    table, clock = clock_of([(0, 50, 150, 1250), (0, 300, 400, 1440), (0, 600, 700, 1790)])
    assert clock.zero_ns == CREATED_NS
    offsets = clock.rig_seconds(table["offset_ns"], table["rig"])
    np.testing.assert_allclose(offsets, [1.19, 1.44, 1.74], rtol=1e-12)


def test_a_clock_that_ran_on_is_one_clock_and_another_is_another():
    rows = [(0, 50, 150, 1250), (1, 900, 1000, 2105), (2, 9050, 9150, 3000)]
    rigs = [("a", CREATED_NS), ("a", CREATED_NS), ("a", CREATED_NS)]
    _, clock = clock_of(rows, rigs=rigs)
    assert clock.shift_ns[0] == clock.shift_ns[1] == CREATED_NS + 1100 * 10**6
    assert clock.shift_ns[2] == CREATED_NS - 6150 * 10**6


def test_a_simulated_rig_in_a_hurry_begins_when_it_joined_and_nothing_is_before_zero():
    rows = [(0, 10, 110, 5), (0, 60_010, 60_110, 8)]
    table, clock = clock_of(rows)
    onset = clock.rig_seconds(table["onset_ns"], table["rig"])
    np.testing.assert_allclose(onset, [0.1, 60.1])  # the window's 100 ms before it
    assert clock.zero_ns == CREATED_NS - 100 * 10**6


def test_a_session_without_a_date_begins_with_its_first_block():
    _, clock = clock_of([], created="unknown")
    assert clock.zero_ns == CREATED_NS
    table, _ = clock_of([(0, 0, 0, 0)])
    assert np.isnan(clock.rig_seconds(table["onset_ns"], table["rig"])).all()
