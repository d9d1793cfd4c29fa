"""`evolver rf SESSION.h5`, on a session whose units look at known parts of the screen."""

from __future__ import annotations

import csv
import datetime
import re
import tomllib
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evolver import config
from evolver.live import run_simulated
from evolver.recording.fold import fold
from tests.cli.running import run_here

# Of 64 pixels, which are 8 degrees, conv4 sees 35 about the middle of a square of 8. What a
# channel likes need not lie in the middle of what it sees; it lies there in every square.
TRUE = {"mini:conv4:61:3:4": (0.5, 0.5), "mini:conv4:61:4:2": (-1.5, -0.5)}
WITHIN, APART = 1.0, 0.5  # degrees: of a field 4.4 wide, and of the way from one to the other
BLIND = "mini:conv2:63:0:15"  # sees 1.4 degrees in the corner, where no image is
FILE = """
[session]
name = "mapped"
generations = 3
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 50
size_deg = 3.0
[references]
count = 0
[simulation]
units = ["mini:conv4:61:3:4", "mini:conv4:61:4:2", "mini:conv2:63:0:15"]
view_deg = 8.0
abort_rate = 0.05
[simulation.neuron]
baseline_hz = 5.0
peak_hz = 150.0
untuned = 0.0
adaptation = 0.0
silent = 0.0
[fitness]
units = [0]
baseline_ms = [0, 40]
[[threads]]
name = "texture"
generator = "mini-texture"
popsize = 3
optimizer = "random"
[[sets]]
name = "mapping"
images = "builtin"
count = 7
[sets.grid]
columns = 6
rows = 5
span_deg = [5.0, 4.0]
center_deg = [0.0, 0.0]
sizes_deg = [1.25, 1.75]
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    text = FILE.format(folder=tmp_path_factory.mktemp("mapped"))
    return run_simulated(config.parse_session_file(text), text, fold=fold).recording


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch, capsys)


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_fields_are_where_the_units_look_and_the_blind_one_has_none(recorded, run, tmp_path):
    rf = partial(run, "rf", recorded, "--bootstraps", "30")
    text = rf("--csv", "maps.csv")
    numbers = {
        unit: [float(x) for x in re.findall(r"([+-]\d+\.\d\d) \(", line)]
        for unit in TRUE
        for line in text.splitlines()
        if line.startswith(f"…{unit[-11:]} ") and "deg" not in line
    }
    apart = np.subtract(*numbers.values())
    np.testing.assert_allclose(apart, np.subtract(*TRUE.values()), atol=APART)
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("…")}
    assert "mapping: 420 showings of 7 images at 6 x 5 places, 2 sizes; 50 to 200 ms" in text
    assert " ms less 0 to 40 ms" in text
    assert "2 of 3 with a field (p < 0.01; of as many without one, 0.03 would" in text
    assert "no field" in lines["…nv2:63:0:15"]
    with Image.open(tmp_path / "rf.png") as drawn:
        assert drawn.size[0] > 400  # commands of tests draw at 50 dpi
    rows = table(tmp_path / "maps.csv")
    assert len(rows) == 3 * 30 * 3  # of each size, and of both together
    both = [row for row in rows if not row["size_deg"]]
    assert sum(int(row["showings"]) for row in rows) == 2 * sum(
        int(row["showings"]) for row in both
    )
    for unit, (x, y) in TRUE.items():
        own = [row for row in both if row["label"] == unit]
        best = max(own, key=lambda row: float(row["rate"]))
        assert np.hypot(float(best["x_deg"]) - x, float(best["y_deg"]) - y) < 1.5


@pytest.mark.parametrize("unit", TRUE)
def test_a_centre_goes_into_the_next_session_file(recorded, run, tmp_path, unit):
    file = tmp_path / "next.toml"
    before = (
        "# of M12\n[presentation]  # how\non_ms = 100\nsize_deg = 3.0  # wide\noff_ms = 50\n"
    )
    file.write_bytes(b"\xef\xbb\xbf" + before.encode())
    text = run("rf", recorded, "--units", unit, "--bootstraps", "0", "--write", file)
    assert f"of {unit}" in text
    content = file.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf# of M12\n[presentation]  # how\n")
    place = tomllib.loads(content.decode("utf-8-sig"))["presentation"]
    assert np.hypot(*np.subtract(place["position_deg"], TRUE[unit])) < WITHIN
    assert 1 < place["size_deg"] < 6
    assert abs(place["mapped"] - datetime.datetime.now().astimezone().date()).days <= 1
    assert f"size_deg = {place['size_deg']}  # wide\n" in content.decode("utf-8-sig")


def test_what_cannot_be_written_is_not(recorded, run, tmp_path):
    file = tmp_path / "next.toml"
    file.write_text("[presentation]\non_ms = 1\n")
    rf = partial(run, "rf", recorded, "--bootstraps", "0", "--write", file, expect=2)
    assert "0 of 1 have one (none). " in " ".join(rf("--units", BLIND).split())
    assert "2 of 3 have one" in rf()
    assert "must name recorded units" in rf("--units", "conv4")
    file.write_text("presentation = { on_ms = 1 }\n")
    assert "was left as it is" in " ".join(rf("--units", "0").split())
    assert file.read_text() == "presentation = { on_ms = 1 }\n"


def test_options_of_the_other_kind_are_refused(recorded, run, tmp_path):
    assert "--occlusion is for units of networks" in run(
        "rf", recorded, "--occlusion", expect=2
    )
    assert "--write is for a recording" in run(
        "rf", "mini:conv1:3", "--write", "x.toml", expect=2
    )
    assert "one recording is read at a time" in run("rf", recorded, "mini:conv1:3", expect=2)
    assert "one of 'mapping'; got 'texture'" in " ".join(
        run("rf", recorded, "--set", "texture", expect=2).split()
    )
    assert not (tmp_path / "x.toml").exists()
