"""`evolver open-ephys`: engine, rig and emulator as three programs, from end to end."""

import re
import signal
import socket
import threading

import numpy as np
import pytest
from typer.testing import CliRunner

from evolver import recording
from evolver.cli import app
from evolver.errors import ConfigError
from rig_bridge.errors import RigBridgeError
from tests.live.sessions import small, write
from tests.live.test_live import ENVIRONMENT, Evolver, recorded

SCREEN = ("--width-cm", "40", "--distance-cm", "57.3", "--resolution", "800x600")


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "SDL_VIDEODRIVER", "dummy")
    started = []

    def begin(*arguments):
        started.append(Evolver(*arguments))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def free_port():
    """Return a port that is free, as is the next one."""
    while True:
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def refused(*arguments):
    """Return what a command says of its arguments, which are wrong."""
    done = CliRunner().invoke(app.app, [str(a) for a in arguments])
    assert done.exit_code == 1
    assert isinstance(done.exception, (ConfigError, RigBridgeError))
    return str(done.exception)


def drop_until(enough, port):
    """Tell the emulator to drop messages, until that has hit something."""
    while not enough.wait(0.3):
        fault = ["open-ephys-emulator", "--port", str(port), "--fault", "drop:3"]
        assert "correctly" in CliRunner().invoke(app.app, fault).stdout


def test_a_session_with_lost_messages_shows_again_and_loses_nothing(tmp_path, start):
    settings = small(
        tmp_path / "out",
        session={"generations": 2},
        presentation={"on_ms": 67.0, "off_ms": 33.0},
        fitness={"units": ("Electrode 3",), "max_attempts": 100},
        references={"count": 2},
    )
    port = free_port()
    emulator = start("open-ephys-emulator", "--port", port, "--electrodes", 4)
    emulator.until("emulating Open Ephys")
    engine = start("here", write(settings, tmp_path / "s.toml"))
    endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
    options = ("--electrodes", 4, "--endpoint", endpoint, "--port", port, "--emulated")
    rig = start("open-ephys", *SCREEN, *options)
    rig.until("samples come")
    engine.until("generation +1/2")
    enough = threading.Event()
    thread = threading.Thread(target=drop_until, args=(enough, port))
    thread.start()
    rig.until(r"aborted so far: \d+; the last: loss: \d+ messages? of the acquisition")
    enough.set()
    thread.join()
    status, said = engine.end()
    assert status == 0, said
    status, said = rig.end()
    assert status == 0, said
    assert "the session is over: finished" in said
    assert re.search(r"\d messages were lost", said)
    assert re.search(r"clocks: residual \d+\.\d\d ms rms", said)
    emulator.process.send_signal(signal.SIGINT)
    status, said = emulator.end()
    assert status == 0, said
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        shown = opened.presentations
        ok = shown["status"].astype(str) == "ok"
        reasons = shown["reason"].astype(str)[~ok]
        assert any("loss" in reason for reason in reasons)
        planned = np.unique(shown["presentation"])
        # Each that was lost was shown again, and counted once.
        assert sorted(shown["presentation"][ok]) == planned.tolist()
        assert (shown["attempt"][ok] > 1).any()
        assert set(shown["onset_source"][ok].astype(str)) == {"photodiode"}
        assert [u["label"] for u in opened.units] == [f"Electrode {i}" for i in range(1, 5)]
        assert all(len(opened.spikes(i)[0]) for i in np.flatnonzero(ok))
        for thread in opened.threads:
            assert np.isfinite(thread.score).all()
            assert len(thread.score) == 2 * {"texture": 6, "object": 5}[thread.name]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--photodiode-px", "0"), "needs its square"),
        (("--units", "none.csv"), "must be a CSV file"),
        (("--electrode-name", "E"), "must have {} in it"),
        (("--resolution", "big"), "must be like 1920x1080"),
    ],
)
def test_mistakes_are_named(wrong, said):
    assert said in refused("open-ephys", *SCREEN, *wrong)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("explode", "must be one of"),
        ("drop:x", "whole number"),
        ("drop", "no emulator answers"),
    ],
)
def test_faults_that_cannot_be_are_named(fault, said, monkeypatch):
    monkeypatch.setattr("rig_bridge.rigs.open_ephys.lamp._ANSWER_MS", 100)
    assert said in refused("open-ephys-emulator", "--port", free_port(), "--fault", fault)


@pytest.mark.parametrize("name", ["open-ephys", "open-ephys-emulator"])
def test_help(name):
    done = CliRunner().invoke(app.app, [name, "--help"])
    assert done.exit_code == 0
    assert "photodiode" in done.stdout
