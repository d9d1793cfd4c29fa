"""One clock in terms of another: an online fit of offset and rate from pairs of times.

Knows pairs of nanoseconds that it is handed; reads no clock, and does not know what is timed.
Two kinds of evidence. Events that both clocks saw (an image's flip and its photodiode's edge)
scatter to both sides of the truth: `ClockFit`. Messages that say what one clock was at and are
late by an unknown delay scatter to one side only: `EarliestArrival`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HUBER = 1.345  # of the scale: 95 % efficient for Gaussian noise (Huber & Ronchetti 2009)
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Line:
    """y = y0 + (x - x0) * rate, all of it in nanoseconds."""

    x0_ns: int
    y0_ns: float  # relative to `y_base_ns`, so that float64 holds parts of a nanosecond
    y_base_ns: int
    rate: float

    def at(self, x_ns: int) -> int:
        """Return y at x, to the nanosecond."""
        passed = x_ns - self.x0_ns
        # The rate differs from 1 by little: only the difference goes through a float.
        return self.y_base_ns + passed + round(self.y0_ns + passed * (self.rate - 1.0))

    def inverse(self, y_ns: int) -> int:
        """Return x at y, to the nanosecond."""
        passed = (y_ns - self.y_base_ns) - self.y0_ns
        return self.x0_ns + round(passed / self.rate)


@dataclass(frozen=True, slots=True)
class Residual:
    """What the line leaves unexplained, seconds, over the pairs it was fitted to."""

    rms_s: float
    max_s: float
    pairs: int


def fit_line(
    x_ns: Sequence[int],
    y_ns: Sequence[int],
    *,
    noise_s: float = 1e-3,
    rate_sd: float = 1e-4,
) -> tuple[Line, Residual]:
    """Fit a line to pairs of times, robustly.

    Minimizes the Huber loss of the residuals, in units of their scale, plus
    ((rate - 1) / rate_sd)^2 / 2, what is known of crystals before anything is seen: one pair
    gives an offset, a few seconds of pairs do not give a wild rate. The scale is the larger of
    `noise_s` and the residuals' own (1.4826 times the median absolute one). Iteratively
    re-weighted least squares, Huber & Ronchetti 2009, section 7.8.

    Parameters
    ----------
    x_ns, y_ns : (n,) integers, the same events on the two clocks; at least one
    noise_s : scatter to be expected of a pair, seconds
    rate_sd : standard deviation of clocks' rates around 1

    Raises
    ------
    ValueError
        There is no pair, or the two differ in number.
    """
    if not x_ns or len(x_ns) != len(y_ns):
        raise ValueError(
            f"a line needs one x for every y, at least one; got {len(x_ns)} and {len(y_ns)}"
        )
    x_base, y_base = x_ns[len(x_ns) // 2], y_ns[len(y_ns) // 2]
    x = np.array([value - x_base for value in x_ns], dtype=np.float64) / 1e9
    # What is fitted is y - x, whose slope is rate - 1: small numbers keep their digits.
    lag = (
        np.array(
            [(b - y_base) - (a - x_base) for a, b in zip(x_ns, y_ns, strict=True)],
            dtype=np.float64,
        )
        / 1e9
    )
    offset, drift = float(np.median(lag)), 0.0
    for _ in range(_ROUNDS):
        residual = lag - offset - drift * x
        scale = max(noise_s, 1.4826 * float(np.median(np.abs(residual))))
        weight = _HUBER * scale / np.maximum(np.abs(residual), _HUBER * scale)
        before = offset, drift
        offset, drift = _ridge(x, lag, weight / scale**2, rate_sd)
        if abs(offset - before[0]) < 1e-12 and abs(drift - before[1]) < 1e-15:
            break
    residual = lag - offset - drift * x
    spread = Residual(
        float(np.sqrt(np.mean(residual**2))), float(np.abs(residual).max()), len(x)
    )
    return Line(x_base, offset * 1e9, y_base, 1.0 + drift), spread


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], sd: float
) -> tuple[float, float]:
    """Return offset and slope of the weighted least squares with a prior on the slope."""
    total = float(weight.sum())
    x_mean, y_mean = float(weight @ x) / total, float(weight @ y) / total
    dx = x - x_mean
    slope = float((weight * dx) @ (y - y_mean)) / (float((weight * dx) @ dx) + 1 / sd**2)
    return y_mean - slope * x_mean, slope


class ClockFit:
    """A line that follows two clocks: it forgets, and it notices when one of them jumps.

    A pair further than `step_s` from the line is set aside. If the next ones are where the line
    is, it was an outlier. If `confirm` in a row are off by the same, a clock was set, or stood
    still: the line is fitted anew to them alone, and `steps` counts it.

    Parameters
    ----------
    pairs : remembered at most; older ones are forgotten
    span_s : pairs older than this, by x, are forgotten too
    step_s : what a good pair never differs by, seconds
    confirm : pairs in a row that make a step
    alarm_s : `alarmed` above this rms residual, seconds

    Raises
    ------
    ValueError
        A number is not above 0.
    """

    def __init__(
        self,
        *,
        pairs: int = 256,
        span_s: float = 300.0,
        step_s: float = 0.010,
        confirm: int = 4,
        alarm_s: float = 0.005,
    ) -> None:
        if not (pairs >= 1 and span_s > 0 and step_s > 0 and confirm >= 2 and alarm_s > 0):
            raise ValueError(
                "pairs, span_s, step_s and alarm_s must be above 0, confirm at least 2; got "
                f"{pairs}, {span_s}, {step_s}, {alarm_s}, {confirm}"
            )
        self._span_ns = round(span_s * 1e9)
        self._step_ns, self._confirm, self._alarm_s = step_s * 1e9, confirm, alarm_s
        self._pairs: deque[tuple[int, int]] = deque(maxlen=pairs)
        self._suspects: list[tuple[int, int]] = []
        self.line: Line | None = None
        self.residual = Residual(0.0, 0.0, 0)
        self.steps = 0
        self.outliers = 0

    def add(self, x_ns: int, y_ns: int) -> bool:
        """Take a pair of times, in the order of x; return whether it made a step certain."""
        if self.line is not None and abs(y_ns - self.line.at(x_ns)) > self._step_ns:
            return self._suspect(x_ns, y_ns)
        self.outliers += len(self._suspects)
        self._suspects.clear()
        self._pairs.append((x_ns, y_ns))
        while x_ns - self._pairs[0][0] > self._span_ns:
            self._pairs.popleft()
        self._fit()
        return False

    @property
    def alarmed(self) -> bool:
        """Whether the rms residual is above what was allowed, or a step is in the air."""
        return self.residual.rms_s > self._alarm_s or len(self._suspects) >= 2

    def forget(self) -> None:
        """Start anew: one of the clocks is another one now."""
        self._pairs.clear()
        self._suspects.clear()
        self.line, self.residual = None, Residual(0.0, 0.0, 0)

    def _suspect(self, x_ns: int, y_ns: int) -> bool:
        line = self.line
        if line is None:
            return False
        self._suspects.append((x_ns, y_ns))
        if len(self._suspects) < self._confirm:
            return False
        off = [y - line.at(x) for x, y in self._suspects]
        if max(off) - min(off) > self._step_ns:  # they do not agree: no step
            self._suspects.pop(0)
            self.outliers += 1
            return False
        self._pairs.clear()
        self._pairs.extend(self._suspects)
        self._suspects.clear()
        self._fit()
        self.steps += 1
        return True

    def _fit(self) -> None:
        x, y = zip(*self._pairs, strict=True)
        self.line, self.residual = fit_line(x, y)


class EarliestArrival:
    """Two clocks from messages that are late by an unknown delay, never early.

    A message says that clock x was at `x_ns`, and arrives at `y_ns` on clock y. The smallest
    y - x of the last while is their offset plus the shortest delay. Rates are taken as equal,
    which a `span_s` of 10 s and crystals good to 50 millionths make good to half a
    millisecond.

    Parameters
    ----------
    span_s : messages older than this, by y, are forgotten
    """

    def __init__(self, *, span_s: float = 10.0) -> None:
        self._span_ns = round(span_s * 1e9)
        # Candidates for the minimum, now or once those before are forgotten: both rise.
        self._rising: deque[tuple[int, int]] = deque()  # (y, y - x)

    def add(self, x_ns: int, y_ns: int) -> None:
        """Take a message; in the order of y."""
        lag = y_ns - x_ns
        while self._rising and self._rising[-1][1] >= lag:
            self._rising.pop()
        self._rising.append((y_ns, lag))
        while y_ns - self._rising[0][0] > self._span_ns:
            self._rising.popleft()

    @property
    def lag_ns(self) -> int | None:
        """The smallest y - x, ns; None before the first message."""
        return self._rising[0][1] if self._rising else None

    def forget(self) -> None:
        """Start anew: one of the clocks is another one now."""
        self._rising.clear()
