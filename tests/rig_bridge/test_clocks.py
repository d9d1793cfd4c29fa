"""Fitting one clock to another, against least squares done otherwise and against the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from rig_bridge.clocks import ClockFit, EarliestArrival, fit_line
from tests.soak import examples

EPOCH_NS = 1_790_000_000_000_000_000
MS = 1_000_000


def seen(rng, n, *, rate=1.0, offset_ns=0, noise_s=0.0, every_s=0.2, start_ns=EPOCH_NS):
    """Pairs of two clocks that differ as told: x counts from 5 s, y is the time of day."""
    x = 5_000_000_000 + np.cumsum(rng.uniform(0.5, 1.5, n) * every_s * 1e9).astype(np.int64)
    lag = np.rint((x - 5_000_000_000) * (rate - 1) + rng.normal(0, noise_s * 1e9, n))
    y = start_ns + offset_ns + x + lag.astype(np.int64)
    return x.tolist(), y.tolist()


def oracle(x, y, *, noise_s=1e-3, rate_sd=1e-4):
    """The same loss by a general optimizer: offset at the first pair and drift, seconds."""
    t = np.array([a - x[0] for a in x]) / 1e9
    lag = np.array([(b - y[0]) - (a - x[0]) for a, b in zip(x, y, strict=True)]) / 1e9
    start = np.array([np.median(lag), 0.0])
    residual = np.abs(lag - start[0])
    for _ in range(60):  # the scale is part of the definition
        scale = max(noise_s, 1.4826 * np.median(residual))
        k = 1.345

        def loss(p, scale=scale, k=k):
            z = np.abs(lag - p[0] - p[1] * 1e-4 * t) / scale
            huber = np.where(z <= k, z**2, 2 * k * z - k**2)
            return np.append(np.sqrt(huber), p[1] * 1e-4 / rate_sd)

        found = least_squares(loss, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
        start = found.x
        residual = np.abs(lag - start[0] - start[1] * 1e-4 * t)
    return start[0], start[1] * 1e-4


class TestLine:
    @given(
        st.integers(0, 2**32), st.integers(3, 60), st.floats(-2e-4, 2e-4), st.floats(0, 3e-3)
    )
    @examples(0.15)
    def test_as_a_general_optimizer_would(self, seed, n, drift, noise):
        rng = np.random.default_rng(seed)
        x, y = seen(rng, n, rate=1 + drift, noise_s=noise, every_s=1.0)
        line, _ = fit_line(x, y)
        offset, slope = oracle(x, y)
        for at in (x[0], x[-1]):
            expected = y[0] + (at - x[0]) + 1e9 * (offset + slope * (at - x[0]) / 1e9)
            assert abs(line.at(at) - expected) < 5_000  # ns; the noise is in milliseconds

    @given(st.integers(0, 2**32), st.floats(-1e-4, 1e-4), st.integers(-(10**15), 10**15))
    def test_good_pairs_are_met_exactly_once_the_rate_is_known(self, seed, drift, offset):
        x, y = seen(np.random.default_rng(seed), 100, rate=1 + drift, offset_ns=offset)
        line, residual = fit_line(x, y, noise_s=1e-9)
        assert residual.max_s < 1e-7
        assert line.rate == pytest.approx(1 + drift, abs=1e-9)

    @given(st.integers(0, 2**32), st.integers(-(10**12), 10**12))
    def test_the_inverse_is_one(self, seed, at):
        line, _ = fit_line(*seen(np.random.default_rng(seed), 30, rate=1.00005, noise_s=1e-3))
        assert abs(line.inverse(line.at(at)) - at) <= 1 + abs(at) * 1e-15

    def test_one_pair_gives_an_offset_and_no_rate(self):
        line, residual = fit_line([7], [EPOCH_NS])
        assert (line.at(1007), line.rate) == (EPOCH_NS + 1000, 1.0)
        assert (residual.rms_s, residual.pairs) == (0.0, 1)

    def test_a_tenth_of_wild_pairs_moves_nothing(self):
        rng = np.random.default_rng(3)
        x, y = seen(rng, 200, noise_s=1e-4)
        clean, _ = fit_line(x, y)
        wild = [b + (500 * MS if i % 10 == 3 else 0) for i, b in enumerate(y)]
        line, residual = fit_line(x, wild)
        assert abs(line.at(x[-1]) - clean.at(x[-1])) < 0.5 * MS
        assert residual.max_s == pytest.approx(0.5, abs=1e-3)

    @pytest.mark.parametrize("pair", [([], []), ([1], []), ([1, 2], [1])])
    def test_pairs_must_be_pairs(self, pair):
        with pytest.raises(ValueError, match="at least one"):
            fit_line(*pair)


class TestClockFit:
    def test_the_residual_is_that_of_the_pairs_and_the_alarm_above_its_threshold(self):
        rng = np.random.default_rng(1)
        x, y = seen(rng, 200, rate=1.00002, noise_s=1e-3)
        quiet, strict = ClockFit(alarm_s=2e-3), ClockFit(alarm_s=0.5e-3)
        for pair in zip(x, y, strict=True):
            quiet.add(*pair)
            strict.add(*pair)
        off = np.array([b - quiet.line.at(a) for a, b in zip(x, y, strict=True)]) / 1e9
        assert quiet.residual.rms_s == pytest.approx(np.sqrt((off**2).mean()), rel=1e-6)
        assert quiet.residual.max_s == pytest.approx(np.abs(off).max(), rel=1e-6)
        assert quiet.residual.rms_s == pytest.approx(1e-3, rel=0.2)
        assert (quiet.alarmed, strict.alarmed) == (False, True)

    @given(st.integers(0, 2**32), st.floats(0.03, 1e4), st.booleans())
    @examples(0.15)
    def test_a_step_is_found_after_as_many_pairs_as_confirm_it(self, seed, step_s, back):
        rng = np.random.default_rng(seed)
        x, y = seen(rng, 60, noise_s=1e-3)
        step = round(step_s * 1e9) * (-1 if back else 1)
        fit = ClockFit(step_s=0.01, confirm=4)
        moved = [
            fit.add(a, b + (step if i >= 40 else 0))
            for i, (a, b) in enumerate(zip(x, y, strict=True))
        ]
        assert [i for i, m in enumerate(moved) if m] == [43]
        assert fit.steps == 1
        assert abs(fit.line.at(x[-1]) - (y[-1] + step)) < 6 * MS
        assert fit.residual.pairs == 20

    def test_outliers_that_do_not_agree_are_no_step(self):
        rng = np.random.default_rng(5)
        x, y = seen(rng, 60, noise_s=1e-4)
        fit = ClockFit()
        for i, (a, b) in enumerate(zip(x, y, strict=True)):
            wild = 30 <= i < 40
            fit.add(a, b + (int(rng.integers(20, 2000)) * MS if wild else 0))
        assert (fit.steps, fit.outliers, fit.residual.pairs) == (0, 10, 50)
        assert fit.residual.max_s < 1e-3
        assert not fit.alarmed

    def test_a_rate_that_changes_slowly_is_followed(self):
        """A crystal that warms up: 20 millionths in an hour; a line over all would miss it."""
        x = np.arange(0, 3600, 2.0)
        y = x + 20e-6 / 3600 * x**2 / 2
        fit = ClockFit(span_s=120.0)
        for a, b in zip(
            (x * 1e9).astype(int).tolist(), (y * 1e9).astype(int).tolist(), strict=True
        ):
            fit.add(a, b)
        assert abs(fit.line.at(int(x[-1] * 1e9)) / 1e9 - y[-1]) < 20e-6
        assert fit.residual.pairs <= 256

    def test_forgotten_pairs_are_bounded(self):
        fit = ClockFit(pairs=10, span_s=5.0)
        for i in range(100):
            fit.add(i * 10**9, i * 10**9)
        assert fit.residual.pairs == 6
        fit.forget()
        assert (fit.line, fit.residual.pairs) == (None, 0)

    @pytest.mark.parametrize("wrong", [{"pairs": 0}, {"step_s": 0.0}, {"confirm": 1}])
    def test_numbers_out_of_range_are_refused(self, wrong):
        with pytest.raises(ValueError, match="must be above 0"):
            ClockFit(**wrong)


class TestEarliestArrival:
    @given(
        st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**8)), min_size=1),
        st.integers(-(10**18), 10**18),
    )
    def test_the_smallest_of_the_last_while(self, told, offset):
        """Against a scan over everything that is remembered."""
        arrival = EarliestArrival(span_s=3.0)
        all_of_them, x = [], 0
        y = offset
        for step, delay in told:
            x += step
            y = max(y, x + offset + delay)
            all_of_them.append((y, y - x))
            arrival.add(x, y)
            assert arrival.lag_ns == min(lag for when, lag in all_of_them if y - when <= 3e9)

    def test_nothing_is_known_before_the_first(self):
        arrival = EarliestArrival()
        assert arrival.lag_ns is None
        arrival.add(3, 10)
        assert arrival.lag_ns == 7
        arrival.forget()
        assert arrival.lag_ns is None
