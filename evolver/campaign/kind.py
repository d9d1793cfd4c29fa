"""What the engine asks of a kind of campaign: tasks, and what a process does with some of them.

Simulated sessions are one kind (`plan`, `task`, `together`), the comparison of optimizers in
`benchmarks/optimizers` another. Plans, stores, processes and clusters know no more than this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from evolver.campaign.run import TaskEnd
    from evolver.campaign.store import Store

SESSIONS = "sessions"
"""The kind that session files make, as plan.json calls it."""


class AnyTask(Protocol):
    """What has one result."""

    @property
    def digest(self) -> str:
        """Of all that its numbers depend on; 64 hexadecimal digits."""
        ...

    @property
    def levels(self) -> Mapping[str, str]:
        """What it is called: a text in each of its plan's columns."""
        ...


TaskT = TypeVar("TaskT", bound=AnyTask)


class AnyPlan(Protocol):
    """Tasks that belong together."""

    @property
    def kind(self) -> str:
        """What makes them and can read their results."""
        ...

    @property
    def name(self) -> str:
        """The campaign's."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What is varied."""
        ...

    @property
    def tasks(self) -> Sequence[AnyTask]:
        """All of them."""
        ...


class Work(Protocol):
    """One or several tasks that a process does together: a value that is pickled to it."""

    @property
    def digests(self) -> tuple[str, ...]:
        """Of its tasks."""
        ...

    def run(self, due: Collection[str], store: Store) -> Sequence[TaskEnd]:
        """Do tasks, and keep each one's result, or why it failed, as soon as it is there.

        Parameters
        ----------
        due : those of its digests that have no result; the others are not to be done
        store : where to
        """
        ...
