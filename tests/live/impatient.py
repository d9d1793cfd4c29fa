"""A supervisor that waits seconds for a process that answers nothing."""

from functools import partial

from evolver.live import supervisor
from evolver.live.child_process import Patience


def lose_patience():
    """Have every supervisor of this process be so."""
    patience = Patience(silent_s=8.0, busy_s=4.0, stuck_s=8.0)
    supervisor.Supervisor = partial(supervisor.Supervisor, patience=patience)
