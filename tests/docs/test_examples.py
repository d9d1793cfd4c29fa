"""The rigs in other languages that docs/examples holds, each run through a whole session."""

import contextlib
import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from evolver import recording
from rig_bridge.events import Responded
from rig_bridge.messages import Accepted, Notice
from rig_bridge.server import EngineServer
from tests.limits import PATIENCE_S, wait_until
from tests.live.sessions import small, write
from tests.live.test_live import Evolver, recorded
from tests.rig_bridge.samples import SESSION, request
from tests.skips import NO_NODE

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@contextlib.contextmanager
def node_rig(endpoint):
    """The rig in Node.js, running until the block is over."""
    node = shutil.which("node")
    if node is None:
        pytest.skip(NO_NODE)
    process = subprocess.Popen(
        [node, EXAMPLES / "rig.mjs", endpoint],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(server, kind, *, most=1):
    """Events of the server until so many of a kind came; those of the kind."""
    found = []
    wait_until(
        lambda: len(found) >= most,
        step=lambda: found.extend(e for e in server.poll(0.05) if isinstance(e, kind)),
    )
    return found


def test_the_rig_in_node_keeps_the_rules():
    """Holds, never shows an image of another digest, and sends again what it kept."""
    with contextlib.ExitStack() as stack:
        server = EngineServer("tcp://127.0.0.1:*", session=SESSION, name="s")
        stack.callback(lambda: server.close())
        endpoint = server.endpoint
        rig = stack.enter_context(node_rig(endpoint))
        server.hold(on=True)
        asked = request(block=0, presentations=(1, 2))
        server.show(dataclasses.replace(asked, sha256=(asked.sha256[0], "0" * 64)))
        until(server, Accepted)
        assert not [e for e in server.poll(0.3) if isinstance(e, Responded)]
        server.hold(on=False)
        events = until(server, Responded | Notice, most=3)
        assert [e.level for e in events if isinstance(e, Notice)] == ["error"]
        results = [t for e in events if isinstance(e, Responded) for t in e.trials]
        assert {(t.presentation, t.status, t.reason) for t in results} == {
            (1, "aborted", "digest"),
            (2, "ok", ""),
        }
        server.ack(0, [1])
        server.close()  # an engine that dies before it acknowledged the other
        server = EngineServer(endpoint, session=SESSION, name="s")
        server.show(request(block=0, attempt=2, presentations=(2,)))
        (again,) = until(server, Responded)
        (kept,) = (t for t in results if t.presentation == 2)
        assert again.trials[0].attempt == 1
        assert again.trials[0].onset_ns == kept.onset_ns
        server.end("finished")
        assert rig.communicate(timeout=PATIENCE_S)[0] == "finished\n"


def test_the_rig_in_node_runs_a_session(tmp_path):
    if shutil.which("node") is None:
        pytest.skip(NO_NODE)
    settings = small(
        tmp_path / "out",
        session={"generations": 1},
        presentation={"on_ms": 5.0, "off_ms": 5.0},
        fitness={"units": ("IT-2",)},
    )
    engine = Evolver("here", write(settings, tmp_path / "s.toml"))
    try:
        endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
        with node_rig(endpoint) as rig:
            status, said = engine.end()
            assert status == 0, said
            assert rig.communicate(timeout=PATIENCE_S)[0] == "finished\n"
    finally:
        engine.kill()
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        assert [u["label"] for u in opened.units] == ["IT-0", "IT-1", "IT-2", "IT-3"]
        assert set(opened.presentations["status"].astype(str)) == {"ok"}
        assert sum(len(opened.spikes(i)[0]) for i in range(5))
