"""`evolver lsl`: engine, rig and a stream on loopback as three programs, from end to end."""

import subprocess
import sys
import uuid

import numpy as np
import pytest
from typer.testing import CliRunner

from evolver import recording
from evolver.cli import app
from evolver.errors import ConfigError
from rig_bridge.errors import RigBridgeError
from rig_bridge.rigs.lsl.clock import loopback_config
from tests.live.sessions import small, write
from tests.live.test_live import ENVIRONMENT, Evolver, recorded

pytest.importorskip("pygame", reason="pygame is not installed")
pytest.importorskip("pylsl", reason="pylsl is not installed")
SCREEN = ("--width-cm", "40", "--distance-cm", "57.3", "--resolution", "800x600")
# Channel 0 counts 1 spike a ms, channel 1 counts 2.
SENDER = """
import time
import numpy as np, pylsl
info = pylsl.StreamInfo("array", "test", 2, 1000.0, "float32", "array")
info.set_channel_labels(["IT-1", "IT-2"])
out = pylsl.StreamOutlet(info)
start, sent = pylsl.local_clock(), 0
while True:
    time.sleep(0.01)
    due = int((pylsl.local_clock() - start) * 1000)
    out.push_chunk(np.ones((due - sent, 2), np.float32) * (1, 2), start + (due - 1) / 1000)
    sent = due
"""


@pytest.fixture
def loopback(monkeypatch, tmp_path):
    """Streams stay on this machine, and no window opens."""
    (tmp_path / "lsl.cfg").write_text(loopback_config(uuid.uuid4().hex))
    monkeypatch.setitem(ENVIRONMENT, "LSLAPICFG", str(tmp_path / "lsl.cfg"))
    monkeypatch.setitem(ENVIRONMENT, "SDL_VIDEODRIVER", "dummy")


@pytest.mark.usefixtures("loopback")
def test_a_session_with_a_stream_of_counts(tmp_path):
    settings = small(
        tmp_path / "out",
        session={"generations": 2},
        presentation={"on_ms": 50.0, "off_ms": 33.0},
        rig={"window_ms": (-50.0, 100.0)},
        fitness={
            "units": ("IT-2",),
            "response_ms": (0.0, 100.0),
            "baseline_ms": (-50.0, 0.0),
            "max_attempts": 100,
        },
        references={"count": 2},
    )
    sender = subprocess.Popen([sys.executable, "-c", SENDER], env=ENVIRONMENT)
    engine = Evolver("here", write(settings, tmp_path / "s.toml"))
    rig = None
    try:
        endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
        reading = ("--kind", "counts", "--bin-ms", 50, "--jitter-ms", 20, "--find-s", 30)
        rig = Evolver("lsl", "array", *SCREEN, *reading, "--endpoint", endpoint)
        rig.until("2 units of the LSL stream array")
        status, text = engine.end()
        assert status == 0, text
        status, text = rig.end()
        assert status == 0, text
        assert "the session is over: finished" in text
    finally:
        for process in (engine, rig):
            if process is not None:
                process.kill()
        sender.kill()
        sender.wait(60)
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        assert [u["label"] for u in opened.units] == ["IT-1", "IT-2"]
        ok = opened.presentations["status"].astype(str) == "ok"
        assert set(opened.presentations["form"][ok].astype(str)) == {"counts"}
        rates = opened.rates((0.0, 100.0))[np.flatnonzero(ok)]
        np.testing.assert_allclose(rates, [[1000.0, 2000.0]] * len(rates), rtol=0.1)
        for thread in opened.threads:
            assert np.isfinite(thread.score).all()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ((), "give --units FILE.csv, or --unit-count N"),
        (("--unit-count", "3", "--units", "a.csv"), "not both"),
        (("--units", "none.csv"), "must be a CSV file"),
        (("--kind", "counts"), "needs bin_ms"),
        (("--kind", "voltages"), "threshold must be given"),
        (("--kind", "rates", "--heartbeats"), "heartbeats are of a stream of spikes"),
    ],
)
def test_mistakes_are_named(wrong, text):
    done = CliRunner().invoke(app.app, ["lsl", "array", *SCREEN, *wrong])
    assert done.exit_code == 1
    assert isinstance(done.exception, (ConfigError, RigBridgeError))
    assert text in str(done.exception)


@pytest.mark.usefixtures("loopback")
def test_a_stream_that_is_not_there_is_named():
    rig = Evolver("lsl", "nobody", *SCREEN, "--unit-count", 2, "--find-s", 0.5)
    try:
        status, text = rig.end()
    finally:
        rig.kill()
    assert status != 0
    assert "there must be one LSL stream named 'nobody'" in " ".join(text.split())


def test_help():
    done = CliRunner().invoke(app.app, ["lsl", "--help"])
    assert done.exit_code == 0
    assert "STREAM" in done.stdout
