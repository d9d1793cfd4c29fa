"""What an acquisition heard and could not use, counted and said at once.

Counts, names and times that it is handed; knows no system's messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_SAY_EVERY_S = 10.0
_LISTEN_S = 1.0  # before it is said first, so that the count says something
_MOST_NAMES = 20


@dataclass(slots=True, eq=False)
class Heard:
    """What came, what could not be read, and who else spoke.

    Parameters
    ----------
    what : the plural of what comes: messages, samples
    """

    what: str
    count: int = 0
    unreadable: int = 0
    first: str = ""  # why the first that could not be read could not
    others: dict[str, int] = field(default_factory=dict[str, int])  # of other streams, by name
    _said: tuple[int, int] = (0, 0)
    _next_s: float | None = None

    def take(self, count: int = 1) -> None:
        """Take the news that so many came, of whatever kind."""
        self.count += count

    def refuse(self, reason: str, count: int = 1) -> None:
        """Take the news that so many of those that came cannot be read, and why."""
        self.unreadable += count
        self.first = self.first or reason

    def other(self, name: str) -> None:
        """Take the news that one of those that came is of another stream."""
        if name in self.others or len(self.others) < _MOST_NAMES:
            self.others[name] = self.others.get(name, 0) + 1

    @property
    def summary(self) -> str:
        """One line: how many came, how many of no use, why, and of whom else; '' of nothing."""
        if not self.count:
            return ""
        useless = self.unreadable + sum(self.others.values())
        readable = "none readable" if self.unreadable == self.count else "none of use"
        parts = [f"{self.count} {self.what} came"]
        if useless >= self.count:
            parts[0] += f", {readable}"
        if self.unreadable:
            begin = "" if self.unreadable == self.count else f"{self.unreadable} not readable, "
            parts.append(f"{begin}the first: {self.first}")
        if self.others:
            names = ", ".join(repr(name) for name in sorted(self.others)[:5])
            parts.append(f"of other streams: {names}")
        return "; ".join(parts)

    def news(self, now_s: float) -> str:
        """Return the summary where more is of no use than was said, every 10 s at most; or ''.

        Other streams are news once a name: they may go on beside the one that is read.
        """
        found = self.unreadable, len(self.others)
        if found == self._said:
            return ""
        if self._next_s is None:
            self._next_s = now_s + _LISTEN_S
        if now_s < self._next_s:
            return ""
        self._said, self._next_s = found, now_s + _SAY_EVERY_S
        return self.summary
