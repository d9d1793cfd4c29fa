"""Sessions from a session file to a finished recording: processes, sockets, folders, clocks.

    run_live           a session against a rig over the network, in this process
    run_simulated      a session against the simulated rig of its file, in this process
    resume_simulated   goes on with one that was interrupted
    Console, Ended     who watches and commands, and how it ended

`supervisor` runs a live session as processes that outlive one another; `engine` is one of them.
All of them run a session by `run.run_session`.
"""

from evolver.live.children import fold_in_child
from evolver.live.console import Console
from evolver.live.run import Ended, resume_simulated, run_live, run_simulated

__all__ = [
    "Console",
    "Ended",
    "fold_in_child",
    "resume_simulated",
    "run_live",
    "run_simulated",
]
