"""Live sessions: engine and rig are processes of their own, a real socket between them."""

import os
import re
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from evolver import config, recording
from evolver.live import run_live, run_simulated
from rig_bridge.auth import new_rig
from rig_bridge.errors import EndpointError
from tests import children
from tests.limits import PATIENCE_S, wait_until
from tests.soak import further, share

from .sessions import small, write
from .test_simulate import Watching

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Evolver:
    """A command of the command line in a process of its own, its output read line by line."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = children.Command(arguments, ENVIRONMENT)
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Return the first match in a line to come; fail if the process ends before."""
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} never came:\n{''.join(self.lines)}")

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and all output."""
        self.lines += self.process.stdout
        self.process.stdout.close()
        return self.process.wait(timeout=PATIENCE_S), "".join(self.lines)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdout.close()
        self.process.wait(timeout=PATIENCE_S)


@pytest.fixture
def start():
    started: list[Evolver] = []

    def begin(*arguments: str | Path) -> Evolver:
        started.append(Evolver(*arguments))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def start_live(start, file: Path) -> tuple[Evolver, Evolver, str]:
    """Start an engine and a rig that has found it."""
    engine = start("here", file)
    endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
    return engine, start("rig", file, "--endpoint", endpoint), endpoint


def recorded(folder: Path) -> Path:
    (session,) = [p for p in folder.iterdir() if p.is_dir()]
    return session / "session.h5"


def test_a_live_session_with_keys_records_what_a_simulation_of_the_same_file_does(
    tmp_path, start
):
    """A rig that has no key knocks meanwhile, and is not let in."""
    new_rig(tmp_path / "keys", "setup", tmp_path / "setup.key")
    live, offline = tmp_path / "live", tmp_path / "offline"
    settings = small(live, rig={"keys": str(tmp_path / "keys")})
    file = write(settings, tmp_path / "s.toml")
    engine = start("here", file)
    endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
    stranger = start("rig", file, "--endpoint", endpoint)
    rig = start("rig", file, "--endpoint", endpoint, "--key", tmp_path / "setup.key")
    status, said = engine.end()
    assert status == 0, said
    assert "finished" in said
    assert rig.end()[0] == 0
    assert stranger.process.poll() is None  # it still knocks
    same = small(offline)
    ended = run_simulated(same, config.commented_session_file(same), Watching().console)
    with recording.read(recorded(live)) as a, recording.read(ended.recording) as b:
        assert a.complete
        assert a.mode == "live"
        assert b.mode == "simulate"
        for x, y in zip(a.threads, b.threads, strict=True):
            np.testing.assert_array_equal(x.codes, y.codes)
            np.testing.assert_array_equal(x.score, y.score)
        key = ["presentation", "attempt"]
        for i, j in zip(
            np.argsort(a.presentations, order=key),
            np.argsort(b.presentations, order=key),
            strict=True,
        ):
            for one, other in zip(a.spikes(i), b.spikes(j), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.soak
def test_a_rig_that_is_killed_and_started_again_loses_nothing(tmp_path, start):
    settings = small(tmp_path / "out", simulation={"speed": 50.0})
    file = write(settings, tmp_path / "s.toml")
    engine, rig, endpoint = start_live(start, file)
    engine.until("generation +1/3")
    rig.process.send_signal(signal.SIGKILL)
    rig.kill()
    second = start("rig", file, "--endpoint", endpoint)
    status, said = engine.end()
    assert status == 0, said
    assert second.end()[0] == 0
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        shown = opened.presentations
        valid = shown["presentation"][shown["status"].astype(str) == "ok"]
        assert len(set(valid)) == len(valid)  # each counted once
        for thread in opened.threads:
            assert np.isfinite(thread.score).all()


@pytest.mark.soak
def test_ctrl_c_ends_a_session_and_keeps_everything(tmp_path, start):
    settings = small(tmp_path / "out", session={"generations": 500}, simulation={"speed": 5.0})
    engine, rig, _ = start_live(start, write(settings, tmp_path / "s.toml"))
    engine.until("generation +1/500")
    engine.process.send_signal(signal.SIGINT)
    status, said = engine.end()
    assert status == 0, said
    assert "stopped by operator" in said
    rig.end()
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        assert opened.end_reason == "stopped by operator"
        assert len(opened.presentations) >= 15


def test_waiting_for_a_rig_can_be_given_up(tmp_path, start):
    engine = start("here", write(small(tmp_path / "out"), tmp_path / "s.toml"))
    engine.until("waiting for the rig")
    engine.process.send_signal(signal.SIGINT)
    status, said = engine.end()
    assert status == 2
    assert "nothing was shown or recorded" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken_is_said_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        settings = small(tmp_path / "out", rig={"endpoint": endpoint})
        with pytest.raises(EndpointError, match=f"{endpoint} must be free to listen at"):
            run_live(settings, config.commented_session_file(settings))


def kill_and_fold(tmp_path, start, monkeypatch, delay_s: float) -> tuple[int, int]:
    """Kill an engine `delay_s` after its first results; compare its record with what it acked.

    The rig is in this process, a real one behind a real socket, and we listen to what it is
    told. Returns (acknowledged presentations, presentations in the folded file).
    """
    import threading

    from evolver.setup.simulated_rig import build_population, build_rig
    from rig_bridge import client, codec
    from rig_bridge.messages import Ack

    acknowledged: set[tuple[int, int]] = set()
    decode = codec.decode_from_engine

    def listening(frames):
        message, arrays = decode(frames)
        if isinstance(message, Ack):
            acknowledged.update((p.presentation, p.attempt) for p in message.presentations)
        return message, arrays

    monkeypatch.setattr(client.codec, "decode_from_engine", listening)
    folder = tmp_path / f"out-{delay_s:.4f}"
    settings = small(folder, session={"generations": 500}, simulation={"speed": 50.0})
    engine = start("here", write(settings, tmp_path / "s.toml"))
    endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
    presenter = build_rig(build_population(settings), settings, speed=50.0)
    rig = client.RigClient(
        endpoint,
        hello=presenter.hello("rig", software="test"),
        presenter=presenter,
        identity="rig",
    )
    gone = threading.Event()
    thread = threading.Thread(target=rig.run, kwargs={"stop": gone.is_set})
    thread.start()
    try:
        engine.until("→")
        wait_until(lambda: acknowledged)
        gone.wait(delay_s)
        engine.process.send_signal(signal.SIGKILL)
    finally:
        gone.set()
        thread.join(PATIENCE_S)
        engine.kill()
    (session,) = folder.iterdir()
    status, said = start("fold", session / "journal").end()
    assert status == 0, said
    with recording.read(session / "session.h5") as opened:
        assert not opened.complete
        kept = opened.presentations[opened.presentations["status"].astype(str) != "missing"]
        have = {
            (int(p), int(a)) for p, a in zip(kept["presentation"], kept["attempt"], strict=True)
        }
    assert acknowledged <= have, f"lost: {sorted(acknowledged - have)}"
    return len(acknowledged), len(have)


@pytest.mark.parametrize("delay_s", [further(0.0), 0.137, further(0.61)])
def test_kill_9_loses_no_acknowledged_presentation(tmp_path, start, monkeypatch, delay_s):
    acknowledged, _ = kill_and_fold(tmp_path, start, monkeypatch, delay_s)
    assert acknowledged > 0


@pytest.mark.soak
def test_a_hundred_kills_lose_no_acknowledged_presentation(tmp_path, start, monkeypatch):
    rng = np.random.default_rng(20261121)
    total = 0
    kills = share(100, 10)
    for _ in range(kills):
        acknowledged, _ = kill_and_fold(tmp_path, start, monkeypatch, float(rng.random()) * 2)
        total += acknowledged
    assert total > 10 * kills
