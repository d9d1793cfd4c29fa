"""One of a session's processes, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from evolver.clock import time_text
from evolver.live import pipe
from evolver.live.control import ChildStatus

logger = logging.getLogger(__name__)

_KEPT_BYTES = 4096
KEPT_FALLS = 5
"""Falls whose times are remembered, to tell a bad day from a process that cannot run."""
_WITHIN_S = 600.0
_BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session's processes may answer nothing before they are ended and restarted.

    Parameters
    ----------
    noticed_s : one that runs, seconds, before people are told
    silent_s : one that runs
    starting_s : one that was just started and loads
    closed_s : an engine that has closed its pipe
    busy_s : an engine whose loop asks for no orders; the operator is told
    stuck_s : the same; it is ended
    abort_s : an engine whose loop does not take an abort
    """

    noticed_s: float = 5.0
    silent_s: float = 30.0
    starting_s: float = 300.0
    closed_s: float = 10.0
    busy_s: float = 60.0
    stuck_s: float = 300.0
    abort_s: float = 5.0


class Printed:
    """What a process prints, taken without waiting for it; its beginning is kept.

    Parameters
    ----------
    fd : of the pipe that it prints to, which is made non-blocking
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self.closed = False
        self.beginning = b""

    def read(self) -> None:
        """Take what has come, so that the pipe has room again."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.closed = not data
        self.beginning = (self.beginning + data)[:_KEPT_BYTES]


@dataclass(slots=True, eq=False)
class Child:
    """One process, and what there is to know of it.

    Parameters
    ----------
    name, command, log : of the process; it prints to its log
    speaks : in "frames" both ways, or "text" that it prints, or "" not at all
    pass_fds : descriptors that it inherits
    """

    name: str
    command: list[str]
    log: Path
    speaks: Literal["frames", "text", ""] = ""
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    reader: pipe.Reader | None = None  # the engine's messages
    writer: pipe.Writer | None = None
    printed: Printed | None = None
    restarts: int = 0
    recent: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT_FALLS))
    excused: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT_FALLS))
    start_at: float = 0.0  # seconds, monotonic; not before then
    wanted: bool = True  # to be running
    spoke: bool = False  # it is past its beginning, which may take minutes
    silent_s: float = 0.0  # that it has answered nothing, while we listened
    silent_since_ns: int = 0  # engine clock; where that is long enough to be said
    ended_for: str = ""  # why it was ended, where that was our doing

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def start(self, *options: str) -> None:
        """Start it, with `options` after its command; no reading or writing of it waits.

        Raises
        ------
        OSError
            The system cannot start it.
        """
        self.spoke, self.silent_s, self.ended_for = False, 0.0, ""
        with self._open_log() as log:
            self.process = subprocess.Popen(
                [*self.command, *options],
                stdin=subprocess.PIPE if self.speaks == "frames" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.speaks else log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the supervisor's to understand
                pass_fds=self.pass_fds,
            )
        if self.process.stdout is None:
            return
        if self.process.stdin is None:
            self.printed = Printed(self.process.stdout.fileno())
        else:
            self.writer = pipe.Writer(self.process.stdin.fileno())
            self.reader = pipe.Reader(self.process.stdout.fileno())

    def _open_log(self) -> BinaryIO:
        try:
            return self.log.open("ab")
        except OSError as exc:  # its folder may be gone
            logger.warning("the %s runs without its log: %s", self.name, exc)
            return Path(os.devnull).open("ab")

    def close_pipes(self) -> None:
        """Close our ends of its pipes."""
        self.reader = self.writer = self.printed = None
        if self.process is not None:
            for end in (self.process.stdin, self.process.stdout):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    def fall(self, now: float, *, excused: bool = False) -> bool:
        """Take one more fall into account; return whether it is started again, at `start_at`.

        A process that fell `KEPT_FALLS` times within 600 s is not. A fall by SIGABRT is no
        verdict on the process: a library ended it over what came from outside. Nor is a full
        disk. It is started again however many of these there are, later and later, up to 10 s
        after the fall.

        Parameters
        ----------
        now : seconds, monotonic
        excused : it ended by SIGABRT, or found its disk full
        """
        falls = self.excused if excused else self.recent
        falls.append(now)
        lately = sum(now - at < _WITHIN_S for at in falls)
        self.wanted = excused or lately < KEPT_FALLS
        if self.wanted:
            self.start_at = now + _BACKOFF_S[lately - 1]
            self.restarts += 1
        return self.wanted

    def limit_s(self, patience: Patience) -> float:
        """Return how long it may answer nothing now."""
        if self.speaks == "frames" and self.reader is None:
            return patience.closed_s
        return patience.silent_s if self.spoke else patience.starting_s

    def silence(self, patience: Patience, now_ns: int) -> str:
        """Return that it answers nothing and since when, for people; '' where it answers.

        Parameters
        ----------
        patience : Patience
        now_ns : engine clock
        """
        if not self.running or not self.spoke or self.silent_s < patience.noticed_s:
            self.silent_since_ns = 0
            return ""
        if not self.silent_since_ns:
            self.silent_since_ns = now_ns - round(self.silent_s * 1e9)
        return (
            f"the {self.name} has answered nothing since {time_text(self.silent_since_ns)}; "
            f"after {self.limit_s(patience):g} s of that it is started again"
        )

    def end(self, why: str) -> None:
        """End it, as it does not by itself; does not wait until it has ended."""
        if self.running and self.process is not None and not self.ended_for:
            self.ended_for = why
            self.process.kill()

    def status(self, *, over: bool = False) -> ChildStatus:
        """Return what an operator may want to know.

        Parameters
        ----------
        over : the session is, so that nothing is started again
        """
        down = "restarting" if self.wanted and not over else "ended"
        state = "running" if self.running else down
        pid = self.process.pid if self.process is not None else 0
        return ChildStatus(self.name, pid, state, self.restarts, _memory_mb(pid))


def _memory_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
