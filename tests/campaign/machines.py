"""A Dask cluster of processes of this machine, for tests."""

import contextlib
import os
import socket

from tests.children import child, kill
from tests.interpreters import begin_by_fork
from tests.limits import wait_until


def free_port():
    with socket.socket() as anywhere:
        anywhere.bind(("127.0.0.1", 0))
        return anywhere.getsockname()[1]


def scheduler(port):
    from distributed.cli import dask_scheduler

    dask_scheduler.main(["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"])


def worker(address, folder, threads):
    from distributed.cli import dask_worker

    os.environ["OMP_NUM_THREADS"] = "1"
    begin_by_fork()  # what folds each task's journal
    options = ["--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--nthreads", threads]
    dask_worker.main([address, *options, "--local-directory", folder])


@contextlib.contextmanager
def machines(folder, n, threads="1"):
    """Yield a scheduler's process, its workers', and its address; end what is left of them."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes = [child(scheduler, port)]
    try:
        wait_until(lambda: listens(port))
        processes += [child(worker, address, str(folder), threads) for _ in range(n)]
        yield processes[0], processes[1:], address
    finally:
        for process in processes:
            kill(process)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
