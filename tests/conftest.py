"""What holds for every test: where hypothesis looks, and which tests may be skipped."""

import contextlib
import functools
import gc
import importlib
import io
import logging
import os
import sys
from pathlib import Path

import pytest
import typer.main
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests import children
from tests.skips import is_allowed

ROOT = Path(__file__).parents[1]

# However pytest was started: workers and the processes of the tests read what the first of them
# has compiled, asserts with it, and each has one core, as by `make pytest`.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.set_threshold(50_000)  # as `evolver.garbage` has it
# A command line is made of its functions once, and not before each command.
typer.main.get_command = functools.cache(typer.main.get_command)

# Work is bounded, by the number of examples; time is not: a machine may be slow, or busy. So
# there is no deadline, and no health check that measures time. The examples of a test are the
# same in every run, and a red run means that the code has changed, not that luck has; more of
# them are for `make soak`, and new ones each time for `make soak-full`.
WITHOUT_CLOCK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
SAME = {**WITHOUT_CLOCK, "derandomize": True, "database": None}
settings.register_profile("same", **SAME, max_examples=15)
settings.register_profile("more", **SAME, max_examples=200)
settings.register_profile("new", **WITHOUT_CLOCK, max_examples=1000, print_blob=True)
settings.load_profile("same")


def pytest_configure(config):
    """Without a profile of its own, no example is made of the numbers in the sources.

    Which modules a worker has loaded would decide over them, and to parse all takes it seconds.
    """
    if config.getoption("--hypothesis-profile") is None:
        providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(autouse=True, scope="session")
def quick_fold():
    """Sessions of the tests' own process are folded in it, which has imported already.

    Those of commands and of the guides' Python are folded as a user's are.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evolver.live.run.fold_in_child", children.fold)
        yield


@pytest.fixture
def logged():
    """A stream of what evolver logs while a test runs.

    In the place of pytest's own, which walks through the loggers of all libraries, thousands,
    six times a test: a fiftieth of the suite's time.
    """
    stream, log = io.StringIO(), logging.getLogger("evolver")
    handler, level = logging.StreamHandler(stream), log.level
    log.addHandler(handler)
    log.setLevel(logging.WARNING)  # libraries change the level of all that have none
    yield stream
    log.setLevel(level)
    log.removeHandler(handler)


def _unlisted(name, report):
    """Turn a skip that `tests/skips.py` does not list into a failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not is_allowed(name, reason):
        report.outcome = "failed"
        report.longrepr = (
            f"{name} was skipped, and must be listed in tests/skips.py under its reason to be: "
            f"{reason}. Install what is missing, or list it"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Workers compile different files of tests, and read what the others have compiled.

    All of them import all files in the same order otherwise, and in a new clone each compiles
    each. What cannot be imported is said by the collection that follows.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    names = [".".join(path.with_suffix("").parts) for path in files]
    first = len(names) * int(worker["workerid"][2:]) // worker["workercount"]
    for name in names[first:] + names[:first]:
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


def pytest_collection_finish():
    """Collections of garbage pass over thousands of tests and all that they import."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What a fixture makes for a module is made once: one worker runs all tests that use it.

    A fixture with parameters makes several things, which may be made by several workers. And
    what takes seconds to import, and compiles what it runs, is one's.
    """
    for item in items:
        if "evosax" in item.nodeid.lower():  # by which jax is
            item.add_marker(pytest.mark.xdist_group("jax"))
        fixtures = item._fixtureinfo.name2fixturedefs
        shared = [name for name, made in fixtures.items() if made[-1].scope == "module"]
        if shared and item.get_closest_marker("xdist_group") is None:
            indices = item.callspec.indices if hasattr(item, "callspec") else {}
            made = "-".join(str(indices[name]) for name in shared if name in indices)
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}{made}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    _unlisted(getattr(item, "originalname", item.name), report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _unlisted(collector.name, report)
    return report
