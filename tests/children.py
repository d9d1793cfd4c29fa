"""Processes that begin in milliseconds, so that thousands of them can be killed.

A server that has imported everything forks them; nothing of the test's own process is in them.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

from tests.interpreters import begin_by_fork, run_program
from tests.limits import PATIENCE_S

DPI = 50
"""Resolution of figures that tested commands draw: a quarter of a user's."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "evolver.cli.app",
    "evolver.live.at_start",
    "evolver.live.engine",
    "evolver.live.run",
    "evolver.live.supervisor",
    "evolver.journal.recorder_process",
    "evolver.setup.resume",
    "evolver.setup.preflight",
    "evolver.recording.fold",
    "evolver.report.page",
    "evolver.monitor.server",
    "evolver.generators.mini",
    "array_api_compat.numpy",
    "evolver.cli.progress",
    "evolver.config.presets",
    "evolver.generators.initial",
    "evolver.live.replayed",
    "evolver.monitor.sources",
    "evolver.setup.replayed_rig",
    "rich.progress",
    "safetensors.numpy",
    "scorers.mini.scenes",
    "scorers.networks.by_name",
    "scorers.networks.encoder",
    "scorers.networks.mini",
    "scorers.quantiles",
    "scorers.scorer",
    "tests.frozen",
])


def begin_server():
    """Begin the server, so that it serves a pool of this process as well.

    A process has one: whoever asks first says what it imports, and a pool asks for less.
    """
    forkserver.ensure_running()


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


def fold(journal, recording):
    """Fold a journal as `evolver fold` does, but in this process."""
    from evolver.recording.fold import fold as fold_here
    from evolver.setup.recorded_activations import activations_of_text

    fold_here(journal, recording, overwrite=True, activations=activations_of_text)


def evolver(*arguments, expect=0, cwd=None, environment=os.environ):
    """Run `evolver ARGUMENTS` to its end; return all it printed.

    It must end with the status `expect`, and print no traceback.
    """
    command = Command(arguments, environment, cwd)
    with command.stdout:
        printed = command.stdout.read()
    assert command.wait(PATIENCE_S) == expect, printed
    assert "Traceback" not in printed
    return printed


class Command:
    """`evolver ARGUMENTS` in a process of its own, with the face of `subprocess.Popen`.

    `here FILE` is `tests.live.here`: a live session all in one process. `recorder JOURNAL
    SOCKET` is the recorder of `evolver.journal.recorder_process`. `impatient serve FILE`
    is `serve FILE` by a supervisor that ends silent processes after seconds. The interpreters
    that it starts begin as it does, see `tests.interpreters`; with `cold` before its arguments
    they begin as a user's do, and draw at full resolution. `python FILE` and `python -c CODE`
    are Python's own; that a program imports all that it uses is not tested by it. What is in
    PYTHONPATH, and in the folder it runs in, is found.

    It is what `python -m evolver` runs, without the seconds of importing; what it does without
    them, before anything is imported, is not tested by it. What it prints, and its errors, are
    in `stdout`.
    """

    def __init__(self, arguments, environment, cwd=None):
        receive, send = pipe()
        words = [str(one) for one in arguments]
        self._process = child(_evolver, words, dict(environment), cwd, send)
        send.close()
        self.stdout = os.fdopen(os.dup(receive.fileno()), encoding="utf-8")
        receive.close()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout):
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("evolver", timeout)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            # The server collects a dead process before it says so: there may be none any more.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _evolver(words, environment, cwd, output):
    if cwd is not None:
        os.chdir(cwd)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # however the tests were started
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = ["evolver", *words]
    import torch

    torch.set_num_threads(1)
    places = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = [place for place in places if place not in sys.path]
    if words[:1] == ["recorder"]:
        from evolver.journal.recorder_process import main as record

        del sys.argv[1]
        sys.exit(record())
    if words[:1] == ["cold"]:
        del words[0], sys.argv[1]
    else:
        from evolver.report import style

        style.DPI = DPI
        begin_by_fork()
    if words[:1] == ["python"]:
        sys.exit(run_program(*words[1:]))
    if words[:1] == ["here"]:
        from tests.live.here import main as run_here

        sys.exit(run_here(Path(words[1])))
    if words[:1] == ["impatient"]:
        from tests.live.impatient import lose_patience

        lose_patience()
        del sys.argv[1]
    from evolver.cli.app import main

    main()
