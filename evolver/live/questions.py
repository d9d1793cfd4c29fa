"""Questions whose answers may be long in coming, asked by workers of their own.

Who needs the answers reads the last one and never waits: a folder on a server that is gone, a
socket of a process that is frozen, hold up a worker and nobody else.
"""

from __future__ import annotations

import http.client
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from evolver.errors import RecordingError
from evolver.journal.recorder_protocol import RecorderStatus, recorder_status

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_WITHIN_S = 5.0


class Repeated(Generic[_T]):
    """Asks one question again and again.

    Parameters
    ----------
    name : of the worker
    question : returns None where there is no answer; must not raise
    every_s : between an answer and the next question
    """

    def __init__(self, name: str, question: Callable[[], _T | None], every_s: float) -> None:
        self._question, self._every_s = question, every_s
        self._closed = threading.Event()
        self._latest: tuple[int, _T | None] = (0, None)
        self._taken = 0
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def latest(self) -> _T | None:
        """The last answer; None before the first."""
        return self._latest[1]

    def take(self) -> _T | None:
        """Return the last answer if it was not taken before."""
        number, answer = self._latest
        if number == self._taken:
            return None
        self._taken = number
        return answer

    def close(self) -> None:
        """Ask no more; does not wait for a question that is being asked."""
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.is_set():
            answer = self._question()
            if answer is not None:
                self._latest = (self._latest[0] + 1, answer)
            self._closed.wait(self._every_s)


def ask_recorder(address: str) -> RecorderStatus | None:
    """Return how a recorder is doing; None where it does not say."""
    try:
        return recorder_status(address, timeout_s=_WITHIN_S)
    except (RecordingError, msgspec.MsgspecError) as exc:
        logger.info("%s", exc)  # it is starting
        return None


def ask_page(address: str) -> bool | None:
    """Return True where a live page answers; None where it does not."""
    if not address:
        return None
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_WITHIN_S)
    try:
        link.request("GET", "/metadata")
        link.getresponse().read()
    except (OSError, http.client.HTTPException) as exc:
        logger.info("no page answers at %s: %s", address, exc)
        return None
    else:
        return True
    finally:
        link.close()


class Places:
    """Whether folders are still where they were when they were first seen.

    A process that writes goes on writing into a folder that was moved or deleted, and notices
    nothing before its next file.

    Parameters
    ----------
    *paths : of folders; one that is not there yet is waited for
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._held: dict[Path, int] = {}

    def look(self) -> str:
        """Return what happened to the first that is not in its place; '' where all are."""
        for path in self._paths:
            try:
                held = self._held.get(path)
                if held is None:
                    self._held[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                elif not os.path.samestat(path.stat(), os.fstat(held)):
                    return f"{path} {_fate(held)}, and another is in its place"
            except OSError as exc:
                if (held := self._held.get(path)) is not None:
                    return f"{path} {_fate(held)} ({exc.strerror})"
        return ""

    def close(self) -> None:
        """Let the folders go."""
        while self._held:
            os.close(self._held.popitem()[1])


def _fate(held: int) -> str:
    """Return what became of a folder that is open and not in its place."""
    try:
        now = str(Path(f"/proc/self/fd/{held}").readlink())
    except OSError:
        return "was moved or deleted"
    return "was deleted" if now.endswith(" (deleted)") else f"was moved to {now}"
