"""Message numbers: what is missing, what came twice, what was started anew.

Numbers and sample indices; no sockets, no clocks. The acquisition numbers its messages from one
on when it starts, and a gap is the only sign that some were lost. Where in sample time the
lost ones were is known from their neighbours. A message that comes late, out of its order,
fills the gap it left.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["new", "duplicate", "restart"]

_REMEMBERED = 4096
_MOST_MISSING = 1000  # of one gap, of which each may still come; more never do
_MOST_GAPS = 256


@dataclass(slots=True, eq=False)
class Gap:
    """Messages that did not come, somewhere from sample `low` to sample `high`."""

    low: int
    high: int
    missing: set[int]
    count: int  # missing when it was found


class MessageSequence:
    """Follows the numbers of one acquisition."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._recent: OrderedDict[int, int] = OrderedDict()  # number: fingerprint
        self._low = 0  # sample time of the last message in order
        self.gaps: list[Gap] = []
        self.lost = 0  # messages, over all acquisitions

    def take(self, number: int, fingerprint: int, low: int | None, high: int | None) -> Verdict:
        """Take a message's number; say what it is.

        Parameters
        ----------
        number : of the message
        fingerprint : of its bytes; a second message of the same number and other bytes is of
            another acquisition
        low, high : its first and last sample; None where it has no time

        Returns
        -------
        ``restart``: it belongs to another acquisition; all that was known is forgotten, and
        this message is its first
        """
        expected = number if self._next is None else self._next
        if number < expected and not self._fill(number):
            if self._recent.get(number) == fingerprint:
                return "duplicate"
            self.forget()
            self.take(number, fingerprint, low, high)
            return "restart"
        if number > expected:
            self._open_gap(expected, number, self._low if high is None else high)
        if number >= expected:
            self._next = number + 1
            if low is not None:
                self._low = low
        self._recent[number] = fingerprint
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return "new"

    def forget(self) -> None:
        """Start anew; the next message is the first."""
        self._next = None
        self._recent.clear()
        self.gaps.clear()
        self._low = 0

    def prune(self, before: int) -> None:
        """Forget gaps that lie before a sample."""
        self.gaps = [gap for gap in self.gaps if gap.high >= before]

    def _fill(self, number: int) -> bool:
        for gap in self.gaps:
            if number in gap.missing:
                gap.missing.discard(number)
                self.lost -= 1
                if not gap.missing:
                    self.gaps.remove(gap)
                return True
        return False

    def _open_gap(self, first: int, after: int, high: int) -> None:
        count = after - first
        self.lost += count
        missing = set(range(first, after)) if count <= _MOST_MISSING else {-1}
        if len(self.gaps) >= _MOST_GAPS:  # one that covers all of them, and never closes
            low = min(gap.low for gap in self.gaps)
            count += sum(gap.count for gap in self.gaps)
            self.gaps = []
            missing = {-1}
        else:
            low = self._low
        self.gaps.append(Gap(min(low, high), max(low, high), missing, count))
