"""Work done in processes of their own: what comes of one that fails, or is killed."""

import os
import sys

import pytest

from evolver.errors import ConfigError, RecordingError
from evolver.live import children
from evolver.live.children import check_in_child, fold_in_child, run_python
from tests import children as forked
from tests.interpreters import begin_by_fork

from .sessions import small, write

KILLED = """
import os, signal, sys
print("halfway", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.{})
"""


def test_a_child_that_a_signal_ended_is_said_so_with_what_it_printed():
    child = run_python(["-c", KILLED.format("SIGKILL")])
    assert child.failure == (
        "ended by SIGKILL, as a system does that is out of memory: halfway"
    )
    assert run_python(["-c", KILLED.format("SIGSEGV")]).failure == "ended by SIGSEGV: halfway"


def test_a_child_that_ends_well_has_its_output():
    child = run_python(["-c", "print('done')"])
    assert (child.status, child.output.strip()) == (0, "done")


def test_who_waits_for_a_child_can_do_something_meanwhile(tmp_path):
    seen = tmp_path / "seen"
    text = f"""
import pathlib, time
while not pathlib.Path({str(seen)!r}).exists():
    time.sleep(0.01)
print('x' * 1_000_000)
"""
    child = run_python(["-c", text], seen.touch)
    assert (child.status, len(child.output)) == (0, 1_000_001)


def test_an_interrupt_meanwhile_ends_the_child(tmp_path):
    text = f"""
import os, pathlib, time
pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
time.sleep(3600)
"""

    def interrupt():
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_python(["-c", text], interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.fixture
def killed(monkeypatch):
    monkeypatch.setattr(
        children, "run_python", lambda *_: run_python(["-c", KILLED.format("SIGKILL")])
    )


@pytest.mark.usefixtures("killed")
def test_what_a_killed_child_leaves_is_said_by_who_asked(tmp_path):
    with pytest.raises(RecordingError, match=r"SIGKILL.*halfway\nNothing is lost"):
        fold_in_child(tmp_path / "journal", tmp_path / "s.h5")
    with pytest.raises(ConfigError, match=r"s\.toml must name what can be loaded.*SIGKILL"):
        check_in_child(tmp_path / "s.toml")


def test_a_mistake_that_building_shows_comes_back_as_it_is(tmp_path):
    settings = small(tmp_path / "out", references={"source": "/no/such/folder"})
    receive, send = forked.pipe()
    process = forked.child(check_and_say, write(settings, tmp_path / "s.toml"), send)
    send.close()
    said = receive.recv()
    process.join()
    assert said.startswith("references.source: must be")
    assert sys.executable not in said


def check_and_say(file, said):
    """Say what a check raises, whose process begins in no time."""
    begin_by_fork()
    try:
        check_in_child(file)
    except ConfigError as exc:
        said.send(str(exc))
