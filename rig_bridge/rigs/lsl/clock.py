"""Lab Streaming Layer: the library, its configuration for one machine, its clock and ours.

Knows pylsl (the extra `lsl`), imported when a stream is opened; nothing of what streams say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from rig_bridge.errors import EndpointError
from rig_bridge.steady import unix_ns

_NAME = re.compile(r"[^'\"<>&]{1,200}")
_STEP_S = 0.002  # of the computer's clock, against the LSL clock
_DRIFT = 5e-4  # faster than a clock is ever slewed


def loopback_config(session: str) -> str:
    """Return a liblsl configuration file for streams that stay on this machine.

    To be named by the environment variable LSLAPICFG before a program's first stream.

    Parameters
    ----------
    session : only streams of the same session see each other
    """
    if not re.fullmatch(r"[\w-]{1,64}", session):
        raise ValueError(f"a session must be 1 to 64 letters, digits, _ and -; got {session!r}")
    return (
        "[lab]\nKnownPeers = {127.0.0.1}\n"
        f"SessionID = {session}\n"
        "[multicast]\nResolveScope = machine\n[ports]\nIPv6 = disable\n[log]\nlevel = -3\n"
    )


class Clocks:
    """Instants of this machine's unix clock, on its LSL clock.

    Parameters
    ----------
    local_clock : the LSL clock, s
    time_ns : the unix clock, ns
    """

    def __init__(
        self, local_clock: Callable[[], float], time_ns: Callable[[], int] = unix_ns
    ) -> None:
        self._local_clock, self._time_ns = local_clock, time_ns
        self._pair = self._read()
        self._stepped_at = -math.inf

    def now(self) -> float:
        """Return the LSL clock, s; notice whether the unix clock was set meanwhile."""
        local, ns = self._read()
        elapsed = local - self._pair[0]
        if abs(elapsed - (ns - self._pair[1]) / 1e9) > _STEP_S + _DRIFT * elapsed:
            self._stepped_at = local
        self._pair = local, ns
        return local

    def at(self, ns: int) -> float:
        """Return the LSL time of an instant of the unix clock that is not long ago, s."""
        local, now_ns = self._read()
        return local - (now_ns - ns) / 1e9

    def stepped_since(self, local: float) -> bool:
        """Return whether the unix clock was set since an LSL time."""
        self.now()
        return self._stepped_at >= local

    def _read(self) -> tuple[float, int]:
        """Read both clocks at once: the closest of three readings."""
        best = (math.inf, 0.0, 0)
        for _ in range(3):
            before = self._local_clock()
            ns = self._time_ns()
            after = self._local_clock()
            best = min(best, (after - before, (before + after) / 2, ns))
        return best[1], best[2]


def load_pylsl() -> Any:  # noqa: ANN401  a module without types
    """Return pylsl.

    Raises
    ------
    EndpointError
        It, or the library it needs, is not installed.
    """
    try:
        import pylsl  # pyright: ignore[reportMissingTypeStubs]
    except (ImportError, RuntimeError) as exc:  # RuntimeError: liblsl itself is missing
        raise EndpointError(
            f"LSL streams need pylsl, which is not installed ({exc}): "
            "pip install 'evolver[lsl]'"
        ) from exc
    return pylsl


def check_name(name: str) -> None:
    """Raise `EndpointError` unless a stream may have this name."""
    if _NAME.fullmatch(name) is None:
        raise EndpointError(
            f"a stream's name must be 1 to 200 characters without quotes; got {name!r}"
        )
