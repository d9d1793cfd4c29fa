"""Python processes that a tested process starts, begun by a fork of one that has imported.

A session has its check, engine, recorder, page and fold in interpreters of their own, each of
which imports for seconds. `begin_by_fork` has the process that calls it begin them otherwise:
a process forked from it, before it has threads, files or a session, forks them, and they become
the caller's own children, with the pid, the descriptors, the environment and the exit status
that `subprocess` would give them. They are killed, stopped and waited for as the others are.

So is the server that a pool's processes are forked of: it, too, is an interpreter that imports.

What an interpreter does before its imports are over is not tested by it: see `cold` in
`tests.children.Command`.
"""

import contextlib
import ctypes
import gc
import json
import multiprocessing.util
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings

_LONGEST = 1 << 18  # bytes: arguments and environment
_MOST_FDS = 64
_ABOVE = 512  # no descriptor that a process is to have has such a number
_SET_CHILD_SUBREAPER = 36  # of prctl


def begin_by_fork():
    """Have `python -m MODULE` and servers of pools, started from now on, begin by a fork.

    To be called while it has one thread, and no descriptors that its children must not have.
    """
    # What is orphaned below it becomes its child, not that of the system's first process.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        here.close()
        _serve(there)
    there.close()

    class Popen(_Popen):
        server = _Server(here)

    subprocess.Popen = Popen
    spawned = multiprocessing.util.spawnv_passfds

    def spawn(path, arguments, fds):
        if "multiprocessing.forkserver" not in arguments[-1]:
            return spawned(path, arguments, fds)
        return Popen.server.fork(arguments[-2:], numbers=[0, 1, 2, *fds])

    multiprocessing.util.spawnv_passfds = spawn


class _Server:
    """The process that forks, from the side of whoever asks it."""

    def __init__(self, requests):
        self._requests, self._one_at_a_time = requests, threading.Lock()

    def fork(self, arguments, *, numbers, fds=None, environment=None, folder=None, alone=False):
        """Begin what `python ARGUMENTS` would; return its pid.

        Its descriptors are to have these numbers, and are `fds`, or have them already.
        """
        wanted = {
            "arguments": [os.fspath(one) for one in arguments],
            "environment": dict(os.environ if environment is None else environment),
            "folder": os.fspath(folder or os.getcwd()),
            "numbers": numbers,
            "session": alone,
        }
        with self._one_at_a_time:
            socket.send_fds(self._requests, [json.dumps(wanted).encode()], fds or numbers)
            return int(self._requests.recv(100))


class _Popen(subprocess.Popen):
    """`subprocess.Popen`, which has `python -m MODULE` forked."""

    server: _Server

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more
    ):
        if isinstance(args, str) or list(args[:2]) != [sys.executable, "-m"]:
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more
            )
            return
        ours = more[3:9]
        theirs = (ours[0], ours[3], ours[5])
        fds = [number if fd == -1 else fd for number, fd in enumerate(theirs)]
        self.pid = self.server.fork(
            args[1:],
            numbers=[0, 1, 2, *pass_fds],
            fds=[*fds, *pass_fds],
            environment=env,
            folder=cwd,
            alone=more[-2],  # start_new_session
        )
        self._child_created = True
        self._close_pipe_fds(*ours)


def _serve(requests):
    """Fork a process for each request, until whoever asks has gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept = requests.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, _ABOVE)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.close(nowhere)
    gc.freeze()  # see `tests.frozen`
    while True:
        message, fds, _, _ = socket.recv_fds(requests, _LONGEST, _MOST_FDS)
        if not message:
            os._exit(0)
        between = os.fork()
        if between == 0:
            parent = os.getpid()
            if os.fork():
                os._exit(0)  # by which the other becomes the child of whoever asked
            while os.getppid() == parent:
                time.sleep(0.0005)
            _become(requests, json.loads(message), fds)
        os.waitpid(between, 0)
        for fd in fds:
            os.close(fd)


def _become(requests, wanted, fds):
    """Be the process that is wanted, to its end."""
    requests.send(str(os.getpid()).encode())
    requests.close()
    for place, fd in enumerate(fds):
        os.dup2(fd, _ABOVE + place)
        os.close(fd)
    for place, number in enumerate(wanted["numbers"]):
        os.dup2(_ABOVE + place, number)
        os.close(_ABOVE + place)
    if wanted["session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    buffered = not os.environ.get("PYTHONUNBUFFERED")
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=not buffered)
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    warnings.filterwarnings("ignore", "'evolver.* found in sys.modules", RuntimeWarning)
    os._exit(run_program(*wanted["arguments"]))


def run_program(first, *arguments):
    """Run `python FILE`, `python -m MODULE` or `python -c CODE`; return its exit status."""
    if first == "-m":
        sys.argv = list(arguments)
        return _status(lambda: runpy.run_module(arguments[0], None, "__main__", alter_sys=True))
    if first != "-c":
        sys.argv = [first, *arguments]
        sys.path.insert(0, os.path.dirname(first))
        return _status(lambda: runpy.run_path(first, run_name="__main__"))
    code, *rest = arguments
    sys.argv = ["-c", *rest]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    return _status(lambda: exec(compile(code, "<string>", "exec"), main.__dict__))


def _status(run):
    """Call `run`, and return the exit status of an interpreter that did nothing else."""
    status = 0
    try:
        run()
        threading._shutdown()
    except SystemExit as exc:
        status = exc.code
        threading._shutdown()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001  an interpreter prints whatever it was
        traceback.print_exc()
        status = 1
    if status is not None and not isinstance(status, int):
        sys.stderr.write(f"{status}\n")
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return (status or 0) & 0xFF
