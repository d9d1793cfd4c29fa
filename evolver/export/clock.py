"""The session's clock: every rig's times in seconds since one instant.

A rig stamps what it shows with a clock of its own, whose zero means nothing to others. Between
showings of one rig its nanoseconds are exact; between a rig's clock and the engine's there is,
in a recording, only when answers came. So each clock is moved by a constant, and nothing else
is done to it: intervals stay what the rig measured.

The constant is the one with which the quickest answer took no time. It errs by that answer's
delay, in milliseconds, and by nothing that differs from showing to showing. A simulated rig in
a hurry may show an hour in a second; its first showing is put to where the rig had joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from evolver.recording import Recording

_SAME_CLOCK_NS = 1_000_000_000
"""Two sessions of a rig's clock that are nearer than this are one clock that ran on."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class SessionClock:
    """Where time is zero, and how far each rig's clock is from it."""

    zero_ns: int
    """Engine clock; whole milliseconds. No time of the recording is before it."""
    shift_ns: NDArray[np.int64]
    """(rigs + 1,) engine clock less rig clock; last of results whose rig is unknown."""

    @property
    def start(self) -> datetime:
        """The instant that is zero."""
        return _EPOCH + timedelta(milliseconds=self.zero_ns // 1_000_000)

    def engine_seconds(self, time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return times of the engine's clock in seconds."""
        return (time_ns - self.zero_ns) / 1e9

    def rig_seconds(
        self, time_ns: NDArray[np.int64], rig: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Return times of rigs' clocks in seconds; NaN where a rig left a time out (0)."""
        seconds = (time_ns + (self.shift_ns[rig] - self.zero_ns)) / 1e9
        return np.where(time_ns == 0, np.nan, seconds)


def session_clock(recording: Recording) -> SessionClock:
    """Return the clock of a recording's session; see this file's head."""
    table = recording.presentations
    created = _created_ns(recording)
    joined = [(str(rig["name"]), int(rig["time_ns"])) for rig in recording.rigs]
    shifts: list[int] = []
    for number, (_, since) in enumerate([*joined, ("", created)]):
        of_rig = table["rig"] == (number if number < len(joined) else -1)
        shifts.append(_shift(table[of_rig & (table["onset_ns"] != 0)], since))
    for number, (name, _) in enumerate(joined):
        for earlier in range(number):
            apart = abs(shifts[number] - shifts[earlier])
            if joined[earlier][0] == name and apart < _SAME_CLOCK_NS:
                shifts[number] = shifts[earlier]
                break
    shift = np.array(shifts, dtype=np.int64)
    shown = table["onset_ns"] != 0
    begun = table["onset_ns"] + shift[table["rig"]] + int(recording.window_ms[0] * 1e6)
    earliest = [created, *recording.events["time_ns"], *begun[shown]]
    zero = int(min(earliest))
    return SessionClock(zero - zero % 1_000_000, shift)


def _shift(shown: NDArray[np.void], joined_ns: int) -> int:
    """Return engine clock less rig clock, of a rig's showings."""
    if not len(shown):
        return 0
    end = np.where(shown["offset_ns"] != 0, shown["offset_ns"], shown["onset_ns"])
    quickest = int((shown["received_ns"] - end).min())
    # No rig shows before it has joined, unless its clock runs faster than the engine's.
    return max(quickest, joined_ns - int(shown["onset_ns"].min()))


def _created_ns(recording: Recording) -> int:
    """Return when the session began, engine clock; the first thing known where it is lost."""
    try:
        created = datetime.fromisoformat(recording.created)
    except ValueError:
        known = [*recording.blocks["time_ns"], *recording.events["time_ns"]]
        return int(min(known, default=0))
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return (created - _EPOCH) // timedelta(microseconds=1) * 1000
