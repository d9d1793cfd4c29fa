"""What a live session does before its first image, as a file in its folder.

There is no journal yet that the live page could follow. Written by the engine, whole each time;
a page that is not written is no reason to end a session.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from evolver.session_folder import BEFORE
from evolver.setup.preflight import Check

logger = logging.getLogger(__name__)


class BeforeFirstImage:
    """Keeps the file of a session's folder.

    Parameters
    ----------
    folder : the session's
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / BEFORE
        self._waiting, self._checks, self._needed = "", (), False

    def wait(self, text: str) -> None:
        """Say what the session waits for; empty: for nothing, it goes on."""
        self._waiting = text
        self._needed = self._needed and bool(text)
        self._write()

    def check(self, checks: Sequence[Check], needed: bool) -> None:  # noqa: FBT001  a console's
        """Say what was checked, and whether an operator has to confirm it."""
        self._checks, self._needed = tuple(checks), needed
        self._waiting = "waiting for the operator to confirm" if needed else ""
        self._write()

    def _write(self) -> None:
        state = {"waiting": self._waiting, "checks": self._checks, "to_confirm": self._needed}
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(msgspec.json.encode(state))
            os.replace(beside, self._path)
        except OSError as exc:
            logger.warning("the live page is not told what is checked: %s", exc)
