"""The rigs in other languages that docs/examples holds, each run through a whole session."""

import shutil
import subprocess
from pathlib import Path

import pytest

from evolver import recording
from tests.limits import PATIENCE_S
from tests.live.sessions import small, write
from tests.live.test_live import Evolver, recorded
from tests.skips import NO_NODE

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_rig_in_node_runs_a_session(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip(NO_NODE)
    settings = small(
        tmp_path / "out",
        session={"generations": 2},
        presentation={"on_ms": 5.0, "off_ms": 5.0},
        fitness={"units": ("IT-2",)},
    )
    engine = Evolver("here", write(settings, tmp_path / "s.toml"))
    rig = None
    try:
        endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
        rig = subprocess.Popen(
            [node, EXAMPLES / "rig.mjs", endpoint],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        status, said = engine.end()
        assert status == 0, said
        assert rig.communicate(timeout=PATIENCE_S)[0] == "finished\n"
    finally:
        engine.kill()
        if rig is not None and rig.poll() is None:
            rig.kill()
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        assert [u["label"] for u in opened.units] == ["IT-0", "IT-1", "IT-2", "IT-3"]
        assert set(opened.presentations["status"].astype(str)) == {"ok"}
        assert sum(len(opened.spikes(i)[0]) for i in range(5))
