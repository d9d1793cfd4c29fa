"""The rig that a lab copies runs a whole session, as it is."""

import subprocess
import sys
from pathlib import Path

import rig_bridge.rigs.template as template
from evolver import recording
from tests.limits import PATIENCE_S
from tests.live.sessions import small, write
from tests.live.test_live import Evolver, recorded


def test_the_template_runs_a_session(tmp_path):
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
            [sys.executable, "-m", "rig_bridge.rigs.template", endpoint],
            stdout=subprocess.PIPE,
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
        assert [u["label"] for u in opened.units] == [u.label for u in template.UNITS]
        assert len(opened.spikes(0)[0])


def test_it_is_short_enough_to_copy():
    lines = Path(template.__file__).read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("UNITS"))
    assert len(lines) - first <= 65
