"""Runs tasks of any kind on the machines of a Dask cluster; `run` says which those are.

Each worker writes its results into the campaign's folder, which all machines share, so that
nothing that has landed depends on the scheduler, or on this process. Dask unpickles what comes
over its connections: whoever can reach a scheduler or a worker can run code there. So an
address is of this machine, or is spoken to with TLS, unless the user says that the network is
safe.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from evolver import __version__
from evolver.campaign.run import do_work
from evolver.errors import ConfigError, EvolverError

if TYPE_CHECKING:
    from evolver.campaign.kind import TaskT, Work
    from evolver.campaign.run import TaskEnd
    from evolver.campaign.store import Store

_ANSWER_S = 10
_FEWEST_AHEAD = 16  # tasks that wait at the scheduler
_AHEAD = 4  # for each worker
_LOOK_EVERY_S = 1.0
_MOST_JOBS = 10_000


class ClusterLostError(EvolverError):
    """The scheduler went away; what its workers had finished is in the campaign's folder."""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where tasks are run."""

    address: str = ""  # of a scheduler; empty: jobs of Slurm
    jobs: int = 0


def cluster_address(text: str, *, plain_network: bool = False) -> ClusterAddress:
    """Read what a user calls a cluster: an address, or ``slurm:JOBS``.

    Parameters
    ----------
    text : as it was typed
    plain_network : whether another machine may be spoken to without TLS

    Raises
    ------
    ConfigError
        It is neither, or another machine's and without TLS.
    """
    kind, _, number = text.partition(":")
    if kind == "slurm":
        if not number.isdecimal() or not 1 <= int(number) <= _MOST_JOBS:
            raise ConfigError(
                f"--cluster slurm:JOBS must say how many jobs, as slurm:40; got {text!r}"
            )
        return ClusterAddress(jobs=int(number))
    scheme, host = _scheme_and_host(text)
    if scheme not in {"tcp", "tls"} or not host:
        raise ConfigError(
            "--cluster must be the address of a Dask scheduler, as tcp://127.0.0.1:8786 or "
            f"tls://node1:8786, or slurm:JOBS; got {text!r}"
        )
    if scheme == "tcp" and not plain_network and not _is_here(host):
        raise ConfigError(
            f"{text} is another machine's, and without TLS anyone on the network between can "
            "run programs on both: start scheduler and workers with TLS and say tls://…, or "
            "give --plain-network if nobody else can reach that network"
        )
    return ClusterAddress(text)


def _scheme_and_host(text: str) -> tuple[str, str]:
    """Return an address's scheme and host, empty where it is no address with a port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is no number
        return "", ""
    return (parts.scheme, parts.hostname or "") if port else ("", "")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def connected(where: ClusterAddress, folder: Path) -> Generator[Cluster, None, None]:
    """Yield a cluster; jobs that were begun for it are ended behind it.

    Parameters
    ----------
    where : ClusterAddress
    folder : the campaign's, which all machines see at this path

    Raises
    ------
    ConfigError
        Its packages are missing, or it cannot be reached.
    """
    distributed = _needed("distributed")
    _silence()
    if where.jobs:
        with _slurm(where.jobs, folder) as jobs, distributed.Client(jobs) as client:
            yield Cluster(client)
        return
    try:
        client = _in_time(partial(distributed.Client, where.address, timeout=f"{_ANSWER_S}s"))
    except Exception as exc:  # whatever answers there, it is no scheduler
        hint = ""
        if where.address.startswith("tls:"):
            hint = (
                "; TLS takes its files from Dask's configuration, distributed.comm.tls.ca-file "
                "and distributed.comm.tls.client.cert and .key"
            )
        raise ConfigError(f"no scheduler answers at {where.address}: {exc}{hint}") from exc
    with client:
        yield Cluster(client)


def _in_time(connect: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return what connecting returns; a server that takes a connection may never speak.

    Raises
    ------
    TimeoutError
        It has not within twice the time that a scheduler has to answer.
    """
    made: Future[Any] = Future()

    def work() -> None:
        try:
            made.set_result(connect())
        except BaseException as exc:  # noqa: BLE001  for whoever waits
            made.set_exception(exc)

    Thread(target=work, daemon=True).start()
    try:
        return made.result(2 * _ANSWER_S)
    except FutureTimeoutError as exc:
        if made.done():
            raise
        raise TimeoutError("what listens there says nothing") from exc


def _silence() -> None:
    """Keep Dask's logs, with a traceback for each lost connection, off a user's terminal.

    What matters of them is raised here. Some of its loggers have levels of their own.
    """
    known = [
        name for name in logging.root.manager.loggerDict if name.startswith("distributed.")
    ]
    for name in ("distributed", *known):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _needed(package: str) -> Any:  # noqa: ANN401  packages without types
    try:
        return import_module(package)
    except ImportError as exc:
        raise ConfigError(
            f"a cluster needs the package {package}: pip install 'evolver[dask]'"
        ) from exc


def _slurm(jobs: int, folder: Path) -> Any:  # noqa: ANN401
    """Return a scheduler in this process, and submit jobs with a worker each."""
    dask, jobqueue = _needed("dask"), _needed("dask_jobqueue")
    kept = folder / "slurm"
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)  # has the key of the connections
    options: dict[str, Any] = {"cores": 1, "processes": 1}
    memory = dask.config.get("jobqueue.slurm.memory", None)
    cluster = jobqueue.SLURMCluster(
        n_workers=0,
        security=_needed("distributed").Security.temporary(),
        shared_temp_directory=str(kept),
        log_directory=str(kept),
        memory=memory or "4 GB",
        # Some HTTP is served all the same: to this machine alone, at a port that is free.
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        worker_extra_args=["--no-dashboard"],  # which would be open to the network
        **options,
    )
    try:
        _check_job(cluster.job_script(), kept)
        cluster.scale(jobs=jobs)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _check_job(script: str, folder: Path) -> None:
    """Ask Slurm whether it would take a job: Dask tries again and again, and says nothing."""
    file = folder / "tested.sh"
    file.write_text(script)
    try:
        asked = subprocess.run(
            ["sbatch", "--test-only", str(file)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ConfigError(
            f"Slurm's sbatch must take jobs here; it cannot be asked: {exc}"
        ) from exc
    if asked.returncode:
        raise ConfigError(
            f"Slurm must take the job {file}; sbatch says: "
            f"{(asked.stderr or asked.stdout).strip()[:300]}"
        )


class Cluster:
    """The machines that tasks are run on.

    Parameters
    ----------
    client : Dask's
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401
        self._client = client
        self._distributed = _needed("distributed")
        comm = _needed("distributed.comm")
        self._gone: tuple[type[Exception], ...] = (
            comm.CommClosedError,
            self._distributed.CancelledError,
        )

    def __call__(
        self,
        store: Store,
        waves: Sequence[Sequence[TaskT]],
        work: Callable[[Sequence[TaskT]], Work],
    ) -> Iterator[tuple[Sequence[TaskT], Sequence[TaskEnd] | None]]:
        """Run waves of tasks; yield each as it ends; None: its worker died, again and again.

        Raises
        ------
        ClusterLostError
            The scheduler went away.
        ConfigError
            A worker is not fit for this campaign.
        """
        folder = str(store.folder.resolve())
        waiting = iter(waves)
        pending: dict[Any, Sequence[TaskT]] = {}
        while True:
            while len(pending) < self._ahead() and (wave := next(waiting, None)) is not None:
                todo = work(wave)
                future = self._client.submit(
                    run_on_worker,
                    todo,
                    folder,
                    str(Path.cwd()),
                    __version__,
                    key=f"evolver-{uuid4()}",
                )
                pending[future] = wave
            if not pending:
                return
            for future in self._ended(list(pending)):
                yield pending.pop(future), self._outcome(future)

    def _ahead(self) -> int:
        self._check()
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except self._gone as exc:
            raise _lost() from exc
        return max(_FEWEST_AHEAD, _AHEAD * len(workers))

    def _ended(self, futures: list[Any]) -> list[Any]:
        """Wait for the first of them; return those that have ended."""
        while True:
            self._check()
            try:
                ended = self._distributed.wait(
                    futures, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED"
                )
                return list(ended.done)
            except TimeoutError:
                continue
            except self._gone as exc:
                raise _lost() from exc

    def _check(self) -> None:
        if self._client.status != "running":
            raise _lost()

    def _outcome(self, future: Any) -> Sequence[TaskEnd] | None:  # noqa: ANN401
        try:
            return future.result()
        except self._distributed.KilledWorker:
            return None
        except self._gone as exc:
            raise _lost() from exc


def _lost() -> ClusterLostError:
    return ClusterLostError(
        "the cluster's scheduler is gone. What was finished is in the campaign's folder: start "
        "a scheduler and this command again, and it goes on from there"
    )


def run_on_worker(work: Work, folder: str, begun_in: str, version: str) -> Sequence[TaskEnd]:
    """Do work and keep its results; in a worker.

    Parameters
    ----------
    work, folder : as `evolver.campaign.run.do_work` takes them
    begun_in : the folder in which the command was given, from where a session file's paths lead
    version : of the evolver that gave it

    Raises
    ------
    ConfigError
        The worker has another version, more than one thread, or does not see the folders.
    """
    worker = _needed("distributed").get_worker()
    where = f"the worker {worker.address}"
    if version != __version__:
        raise ConfigError(f"{where} must have evolver {version}; it has {__version__}")
    if worker.state.nthreads != 1 or os.environ.get("OMP_NUM_THREADS") != "1":
        raise ConfigError(
            f"{where} must compute with one thread, so that results do not depend on it: start "
            "it by 'dask worker --nthreads 1', with OMP_NUM_THREADS=1 where it has no nanny"
        )
    for path in (Path(folder) / "plan.json", Path(begun_in)):
        if not path.exists():
            raise ConfigError(
                f"{where} must see {path} at the same path as the machine that runs the "
                "campaign; it does not"
            )
    with chdir(begun_in):
        return do_work(work, folder)
