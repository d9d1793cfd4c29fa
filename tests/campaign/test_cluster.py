"""Campaigns on a Dask cluster: whatever dies, each task has one result, as it has alone."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import signal
import socket
import sys
import time
from types import SimpleNamespace

import dask_jobqueue as jobqueue
import pytest

from evolver import __version__
from evolver.campaign import cluster
from evolver.campaign.cluster import ClusterAddress, cluster_address, connected
from evolver.campaign.plan import read_campaign
from evolver.campaign.run import TaskEnd, run_plan
from evolver.campaign.store import Store, TaskMeta, TaskResult
from evolver.campaign.task import WeightDigests
from evolver.errors import ConfigError
from tests.campaign.files import CAMPAIGN, write
from tests.campaign.machines import free_port, machines
from tests.children import Command, evolver, kill
from tests.cli.running import run_here
from tests.limits import PATIENCE_S, wait_until

NUMBERS = ("seed", "first", "last", "last_sem", "best", "references", "change", "digest")


def table(folder):
    """Return a campaign's gathered table but for how long it took, row by row."""
    evolver("campaign", "gather", folder)
    with (folder / "table.csv").open(encoding="utf-8") as file:
        return [tuple(row[name] for name in NUMBERS) for row in csv.DictReader(file)]


def undisturbed(folder, tasks):
    """Run a campaign in a process of this machine; return its table."""
    plan = read_campaign(write(folder, CAMPAIGN.format(last=tasks)), weights=WeightDigests())
    store = Store(folder / "undisturbed", make=True)
    assert not any(outcome.failed for outcome in run_plan(plan, store, workers=1))
    return table(folder / "undisturbed")


def disturb(folder, tasks, *, workers, killed, seed):
    """Run it on a cluster while workers die at random moments, and then the scheduler."""
    file, out = folder / "campaign.toml", folder / "out"
    rng = random.Random(seed)
    with machines(folder, workers) as (head, hands, address):
        run = Command(("campaign", "run", file, "--out", out, "--cluster", address), os.environ)
        with run.stdout:
            victims = rng.sample(hands, killed)
            moments = sorted(rng.sample(range(1, tasks // 2), killed))
            for victim, moment in zip(victims, moments, strict=True):
                wait_until(lambda moment=moment: results(out) >= moment)
                time.sleep(rng.uniform(0, 0.3))  # anywhere within a task
                assert kill(victim)
            wait_until(lambda: results(out) > tasks // 2)
            assert kill(head)
            printed = run.stdout.read()
        assert run.wait(PATIENCE_S) == 2, printed
        assert "scheduler is gone" in printed
        assert "Traceback" not in printed
    landed = {path: path.stat().st_mtime_ns for path in out.glob("results/*/*.npz")}
    assert tasks // 2 < len(landed)
    with machines(folder, 2) as (_, _, address):
        printed = evolver("campaign", "run", file, "--out", out, "--cluster", address)
    assert f"{len(landed)} done before" in printed
    assert landed == {path: path.stat().st_mtime_ns for path in landed}
    assert len(list(out.glob("results/*/*"))) == results(out) == tasks
    return table(out)


def results(out):
    return len(list(out.glob("results/*/*.npz")))


@pytest.mark.soak
def test_workers_and_the_scheduler_die_and_the_table_is_the_undisturbed_one(tmp_path):
    expected = undisturbed(tmp_path, 6)
    assert len(expected) == 6
    assert disturb(tmp_path, 6, workers=3, killed=1, seed=1) == expected


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_three_of_four_workers_die_and_the_table_is_the_undisturbed_one(tmp_path, seed):
    expected = undisturbed(tmp_path, 24)
    assert disturb(tmp_path, 24, workers=4, killed=3, seed=seed) == expected


@pytest.mark.soak
def test_a_worker_that_is_not_fit_ends_the_run_and_is_named(tmp_path):
    file = write(tmp_path, CAMPAIGN.format(last=1))
    with machines(tmp_path, 1, threads="2") as (_, _, address):
        printed = evolver(
            "campaign", "run", file, "--out", tmp_path / "out", "--cluster", address, expect=2
        )
    assert "must compute with one thread" in " ".join(printed.split())
    assert results(tmp_path / "out") == 0


@pytest.fixture
def _fit(tmp_path, monkeypatch):
    """Stand for a worker that is fit."""
    state = SimpleNamespace(nthreads=1)
    one = SimpleNamespace(address="tcp://127.0.0.1:9", state=state)
    package = SimpleNamespace(get_worker=lambda: one)
    monkeypatch.setattr(cluster, "_needed", lambda _: package)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "plan.json").touch()


class Where:
    """Work that says where it was done."""

    digests = ("ab" * 32,)

    def run(self, due, store):
        assert list(due) == list(self.digests)
        assert store.folder.is_dir()
        return [TaskEnd("ran", os.getcwd())]


def on_worker(seen, **changes):
    values = {"folder": str(seen), "begun_in": str(seen), "version": __version__} | changes
    return cluster.run_on_worker(Where(), **values)


@pytest.mark.usefixtures("_fit")
def test_a_task_is_run_where_the_command_was_given(tmp_path):
    before = os.getcwd()
    assert on_worker(tmp_path) == [TaskEnd("ran", str(tmp_path))]
    assert os.getcwd() == before


@pytest.mark.usefixtures("_fit")
def test_what_has_landed_is_not_run_again(tmp_path):
    store = Store(tmp_path)
    store.path("ab" * 32).parent.mkdir(parents=True)
    store.path("ab" * 32).touch()  # damaged: nothing has landed
    assert on_worker(tmp_path) == [TaskEnd("ran", str(tmp_path))]
    meta = TaskMeta("ab" * 32, ("t",), ("spikes/s",), (1,), 1, 1.0, "0")
    store.keep(TaskResult(meta, {}))
    assert on_worker(tmp_path) == [TaskEnd("ab" * 32)]


@pytest.mark.usefixtures("_fit")
def test_a_worker_says_what_it_must_have(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"must have evolver 0\.0"):
        on_worker(tmp_path, version="0.0")
    for missing in ({"folder": str(tmp_path / "none")}, {"begun_in": str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match=r"must see .*none"):
            on_worker(tmp_path, **missing)
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(ConfigError, match="one thread"):
        on_worker(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp://192.168.1.7:8786", "another machine's, and without TLS"),
        ("tcp://node7:8786", "another machine's, and without TLS"),
        ("tcp://127.0.0.1", "must be the address of a Dask scheduler"),
        ("ucx://127.0.0.1:1", "must be the address of a Dask scheduler"),
        ("tcp://127.0.0.1:x", "must be the address of a Dask scheduler"),
        ("local", "must be the address of a Dask scheduler"),
        ("slurm", "must say how many jobs"),
        ("slurm:0", "must say how many jobs"),
    ],
)
def test_what_is_no_cluster_or_not_safe_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        cluster_address(text)


def test_what_is_safe_or_said_to_be_is_taken():
    for text in ("tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tcp://localhost:1", "tls://a:1"):
        assert cluster_address(text) == ClusterAddress(text)
    there = "tcp://192.168.1.7:8786"
    assert cluster_address(there, plain_network=True) == ClusterAddress(there)
    assert cluster_address("slurm:40") == ClusterAddress(jobs=40)


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run a command in this process that must be refused; return what it says, on one line."""

    def run(*arguments):
        printed = run_here(monkeypatch, capsys, "campaign", "run", *arguments, expect=2)
        assert "Traceback" not in printed
        return " ".join(printed.split())

    return run


@pytest.mark.soak
def test_an_address_that_cannot_be_spoken_to_is_said_with_where_tls_has_its_files(
    tmp_path, refused
):
    file = write(tmp_path, CAMPAIGN.format(last=1))
    where = ("--cluster", f"tls://127.0.0.1:{free_port()}", "--out", tmp_path / "out")
    printed = refused(file, *where)
    assert "no scheduler answers at tls://" in printed
    assert "distributed.comm.tls.ca-file" in printed


def test_a_server_that_takes_a_connection_and_says_nothing_is_no_scheduler(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "_ANSWER_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match="no scheduler answers at"),
            connected(cluster_address(address), tmp_path),
        ):
            pass


def test_what_is_asked_for_is_looked_at_before_anything_runs(tmp_path, refused):
    file = write(tmp_path, CAMPAIGN.format(last=1))
    for options, said in (
        (("--cluster", ""), "must be the address of a Dask scheduler"),
        (("--together", "fast", "--device", "banana"), "banana"),
    ):
        assert said in refused(file, *options)
    units = CAMPAIGN.format(last=1) + '[[vary]]\nkey = "simulation.units"\n'
    for unit, said in (("mini:conv4:520", "channels 0 to"), ("known:gabr:1", "gabor")):
        file = write(tmp_path, units + f'values = [["{unit}"]]\n')
        assert said in refused(file, "--plan")


@pytest.mark.skipif(sys.platform != "linux", reason="a shell")
@pytest.mark.soak
def test_a_slurm_that_takes_no_job_is_said(tmp_path, monkeypatch, refused):
    file = write(tmp_path, CAMPAIGN.format(last=1))
    (tmp_path / "bin").mkdir()
    refusing = tmp_path / "bin" / "sbatch"
    refusing.write_text("#!/bin/sh\necho 'no partition is up' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}{os.pathsep}{os.environ['PATH']}")
    usual, made = jobqueue.SLURMCluster, []

    def kept(*args, **options):
        made.append(usual(*args, **options))
        return made[-1]

    monkeypatch.setattr(jobqueue, "SLURMCluster", kept)
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # somebody else has it
            other.bind(("", 8787))  # Dask's own port for pages: no word of it
            other.listen()
        printed = refused(file, "--out", tmp_path / "out", "--cluster", "slurm:1")
    assert "sbatch says: no partition is up" in printed
    assert made[0].scheduler.http_server.address == "127.0.0.1"


SBATCH = """#!/bin/sh
test "$1" = --test-only && exit 0
# As Slurm does it: a copy of the script in a process of its own, with a job's environment.
for file; do :; done
cp "$file" {folder}/submitted.sh
SLURM_JOB_ID=$$ setsid sh {folder}/submitted.sh > {folder}/job.log 2>&1 &
echo $! >> {folder}/jobs
echo "Submitted batch job $!"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="setsid, and a shell")
def test_a_job_of_slurm_runs_its_script_as_it_is_submitted(tmp_path):
    file, out, commands = (
        write(tmp_path, CAMPAIGN.format(last=1)),
        tmp_path / "out",
        tmp_path / "bin",
    )
    commands.mkdir()
    for name, text in (("sbatch", SBATCH.format(folder=tmp_path)), ("scancel", "#!/bin/sh\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    try:
        evolver(
            "campaign", "run", file, "--out", out, "--cluster", "slurm:1",
            environment={**os.environ, "PATH": path},
        )  # fmt: skip
        submitted = (tmp_path / "submitted.sh").read_text()
        assert "#SBATCH --cpus-per-task=1" in submitted
        assert "tls://" in submitted
        assert (out / "slurm").stat().st_mode & 0o077 == 0
        assert results(out) == 1
    finally:
        for line in (tmp_path / "jobs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(line), signal.SIGKILL)
