"""What a live session waits for, before its first image and later, as a file in its folder.

The journal, which the live page follows, does not say it, or is not there yet. Written by the
engine, and by the supervisor where no engine runs; whole each time. Of a process that answers
nothing the supervisor writes into a file of its own, for an engine that was frozen goes on and
writes. A page that is not told is no reason to end a session.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evolver.session_folder import WAITING
from evolver.setup.preflight import Check

logger = logging.getLogger(__name__)


class WaitingFile:
    """Keeps the file of a session's folder.

    Parameters
    ----------
    folder : the session's
    name : of the file in it
    """

    def __init__(self, folder: Path, name: str = WAITING) -> None:
        self._path = folder / name
        self._waiting, self._checks, self._needed = "", (), False
        self._no_rig_since_ns = 0

    def wait(self, text: str, no_rig_since_ns: int = 0) -> None:
        """Say what the session waits for, as a console hears it; empty: for nothing."""
        self._waiting, self._no_rig_since_ns = text, no_rig_since_ns
        self._needed = self._needed and bool(text)
        self._write()

    def check(self, checks: Sequence[Check], needed: bool) -> None:  # noqa: FBT001  a console's
        """Say what was checked, and whether an operator has to confirm it."""
        self._checks, self._needed = tuple(checks), needed
        self._waiting = "waiting for the operator to confirm" if needed else ""
        self._no_rig_since_ns = 0
        self._write()

    def remove(self) -> None:
        """Have the file say nothing any more, not even what an earlier run left in it."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as exc:
            logger.warning("the live page is told what is not so any more: %s", exc)

    def _write(self) -> None:
        state = {
            "waiting": self._waiting,
            "no_rig_since_ns": self._no_rig_since_ns,
            "checks": self._checks,
            "to_confirm": self._needed,
        }
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(msgspec.json.encode(state))
            os.replace(beside, self._path)
        except OSError as exc:
            logger.warning("the live page is not told what is checked: %s", exc)
