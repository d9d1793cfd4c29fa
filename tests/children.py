"""Processes that begin in milliseconds, so that thousands of them can be killed.

A server that has imported everything forks them; nothing of the test's own process is in them.
"""

import multiprocessing
import signal

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "evolver.live.run",
    "evolver.setup.resume",
    "evolver.generators.mini",
    "scorers.cnn",
])


def child(target, *args):
    """Start a function of a module in a process of its own."""
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    return process


def pipe():
    """Return the two ends of a pipe, to receive and to send with."""
    return _CONTEXT.Pipe(duplex=False)


def kill(process):
    """Kill it with SIGKILL; return whether it was alive until then."""
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL
