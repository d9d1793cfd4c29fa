"""Whoever watches a session and may command it; by default nobody.

Values only: nothing of terminals, pipes or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolver.session.ports import Commands, Progress
from evolver.setup.preflight import Check


def _ignore(*_: object) -> None:
    pass


def _confirmed() -> bool:
    return True


def _no_commands() -> tuple[()]:
    return ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Console:
    """Where a session's news go, and where its commands come from.

    Parameters
    ----------
    on_wait : told what the session waits for; '' when it goes on
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

    on_wait: Callable[[str], None] = _ignore
    on_endpoint: Callable[[str], None] = _ignore
    on_checks: Callable[[Sequence[Check], bool], None] = _ignore
    on_start: Callable[[Path], None] = _ignore
    on_progress: Callable[[Progress], None] = _ignore
    on_event: Callable[[str], None] = _ignore
    commands: Commands = _no_commands
    confirmed: Callable[[], bool] = _confirmed
    can_resume: bool = False
