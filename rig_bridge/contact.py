"""What the people at a rig are told while no engine has it: why, and for how long.

Knows what happens to a connection, and the times it is given; no sockets, no clocks, no
messages.
"""

from __future__ import annotations

from enum import Enum, auto


class Happened(Enum):
    """What happened to a connection, or to the attempt at one."""

    MADE = auto()
    LOST = auto()
    NOBODY = auto()  # nothing listens there
    NO_HOST = auto()  # no machine has this name
    KEY_REFUSED = auto()  # the engine knows itself by its key, and does not know the rig's
    NO_HANDSHAKE = auto()  # the other side, whatever it is, does not go on


REFUSALS = (Happened.KEY_REFUSED, Happened.NO_HANDSHAKE)
"""After which ZeroMQ may try no more."""
_REFUSED_AFTER_S = 1.0  # an engine that ends meanwhile looks the same for a moment
_SAID_AFTER_S = (5.0, 20.0, 60.0)
_THEN_EVERY_S = 60.0


class Contact:
    """Says, now and then, why no engine has this rig.

    Parameters
    ----------
    endpoint : the engine's address
    keyed : whether the rig has a key
    now : seconds, as all other times
    """

    def __init__(self, endpoint: str, *, keyed: bool, now: float) -> None:
        self._endpoint, self._keyed = endpoint, keyed
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since = now
        self._last: Happened | None = None
        self._told: set[Happened | None] = set()
        self._said, self._next_s = False, _SAID_AFTER_S[0]

    def happened(self, what: Happened) -> None:
        """Take what happened to the connection."""
        if what is Happened.LOST:
            if self._last is Happened.MADE:
                self._last = None
            return  # after a refusal it says nothing new
        self._last = what

    def news(self, now: float, *, welcomed: bool) -> str:
        """Return what is to be said now; empty: nothing.

        Parameters
        ----------
        now : seconds
        welcomed : whether an engine has this rig
        """
        if welcomed:
            said = self._said
            self._begin(now)
            self._last = Happened.MADE
            return f"the engine at {self._endpoint} is there, and has this rig" if said else ""
        passed = now - self._since
        refused = self._last in REFUSALS and self._last not in self._told
        if passed < self._next_s and not (refused and passed >= _REFUSED_AFTER_S):
            return ""
        self._told.add(self._last)
        self._said = True
        while self._next_s <= passed:
            later = [after for after in _SAID_AFTER_S if after > self._next_s]
            self._next_s = later[0] if later else self._next_s + _THEN_EVERY_S
        if self._last is Happened.MADE:
            return (
                f"connected to {self._endpoint}, and no welcome for {passed:.0f} s: another "
                "rig may be connected, or what listens there is no engine, or is an engine "
                "older than this rig, which does not read what it says"
            )
        what = "not let in" if self._last in REFUSALS else "still no engine"
        return f"{what} at {self._endpoint}, {passed:.0f} s: {self._why()}"

    def _why(self) -> str:
        match self._last:
            case Happened.NOBODY:
                return "nothing listens there. Is 'evolver serve' running, at this address?"
            case Happened.NO_HOST:
                return "no machine of this name is known here"
            case Happened.KEY_REFUSED:
                return (
                    "the key is not listed there. 'evolver keys list' at the engine says which "
                    "are; 'evolver keys new NAME' makes one"
                )
            case Happened.NO_HANDSHAKE if self._keyed:
                return (
                    "what listens there does not take this key. The key file is of another "
                    "engine, or the engine has no keys (rig.keys in its session file)"
                )
            case Happened.NO_HANDSHAKE:
                return (
                    "what listens there closes the connection. The engine wants a key "
                    "(--key FILE), or it is no engine"
                )
            case _:
                return "nobody answers. Is the address right, and no firewall between?"
