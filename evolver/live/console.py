"""Whoever watches a session and may command it; by default nobody.

Values only: nothing of terminals, pipes or processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evolver.session.ports import Command, Commands, Progress
from evolver.setup.preflight import Check


def _ignore(*_: object) -> None:
    pass


def _confirmed() -> bool:
    return True


def _no_commands() -> tuple[()]:
    return ()


class OnWait(Protocol):
    """Told what a session waits for."""

    def __call__(self, text: str, no_rig_since_ns: int = 0, /) -> None:
        """Take it."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Console:
    """Where a session's news go, and where its commands come from.

    Parameters
    ----------
    on_wait : told what the session waits for; '' when it goes on. Where it is a rig, also since
        when there is none, ns on the engine's clock
    on_endpoint : told the address that a rig must connect to, once it can
    on_checks : handed the pre-flight checks, and whether they are still to be confirmed
    on_start : told the session's folder
    on_progress : told of every change after that
    on_event : told what happened to the session's processes
    commands : asked often for what an operator wants
    confirmed : asked whether an operator has seen the checks
    can_resume : whether an operator can resume a session that a watchdog paused. Where nobody
        can, watchdogs warn and pause nothing
    """

    on_wait: OnWait = _ignore
    on_endpoint: Callable[[str], None] = _ignore
    on_checks: Callable[[Sequence[Check], bool], None] = _ignore
    on_start: Callable[[Path], None] = _ignore
    on_progress: Callable[[Progress], None] = _ignore
    on_event: Callable[[str], None] = _ignore
    commands: Commands = _no_commands
    confirmed: Callable[[], bool] = _confirmed
    can_resume: bool = False


class KeptCommands:
    """Commands, of which none is lost that comes while a session cannot obey it yet.

    Parameters
    ----------
    commands : where they come from
    first : obeyed before them

    Attributes
    ----------
    last : the command to stop that `end_wanted` returned
    """

    def __init__(self, commands: Commands, first: Sequence[Command] = ()) -> None:
        self._commands = commands
        self._kept = deque(first)
        self.last: Command | None = None

    def __call__(self) -> Sequence[Command]:
        """Return what was commanded and not returned yet."""
        kept = (*self._kept, *self._commands())
        self._kept.clear()
        return kept

    def end_wanted(self) -> Command | None:
        """Return the command to stop, if there was one; the others are kept."""
        for command in self._commands():
            if command.name in {"stop", "abort"}:
                self.last = command
                return command
            self._kept.append(command)
        return None
