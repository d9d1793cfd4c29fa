"""`evolver rf SESSION.h5`, on a session whose units look at known parts of the screen."""

from __future__ import annotations

import csv
import datetime
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evolver import config
from evolver.live import run_simulated
from evolver.recording.fold import fold
from tests.cli.running import run_here
from tests.soak import further

# Of 64 pixels, which are 8 degrees, conv4 sees 35 about the middle of a square of 8. What a
# channel likes need not lie in the middle of what it sees; it lies there in every square.
UNIT, OTHER = "mini:conv4:61:3:4", "mini:conv4:61:4:2"
TRUE = {UNIT: (0.5, 0.5), OTHER: (-1.5, -0.5)}
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
    fits = {row["label"]: row for row in table(tmp_path / "maps.fits.csv")}
    assert list(fits) == [*TRUE, BLIND]
    numbers = [[float(fits[unit][f"{axis}_deg"]) for axis in "xy"] for unit in TRUE]
    apart = np.subtract(*numbers)
    np.testing.assert_allclose(apart, np.subtract(*TRUE.values()), atol=APART)
    for unit, (x, y) in zip(TRUE, numbers, strict=True):
        fit = fits[unit]
        assert fit["field"] == "yes"
        assert float(fit["p"]) < 0.01
        assert float(fit["x_deg_low"]) <= x <= float(fit["x_deg_high"])
        assert f"{x:+.2f} (" in text
        assert f"{y:+.2f} (" in text
        rates = {size: float(fit[f"rate_at_{size}"]) for size in ("1.25", "1.75")}
        assert fit["size_preferred_deg"] == max(rates, key=rates.__getitem__)
    assert fits[BLIND]["reason"].startswith("no field: places differ no more")
    assert {fits[BLIND][f"{of}_deg{end}"] for of in "xy" for end in ("", "_low")} == {""}
    assert "mapping: 420 showings of 7 images at 6 x 5 places, 2 sizes; 50 to 200 ms" in text
    assert " ms less 0 to 40 ms" in text
    assert "2 of 3 with a field (p < 0.01; of as many without one, 0.03 would" in text
    lines = text.splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith("unit "))
    rows_of_units = lines[begin + 1 :][: 2 * len(fits)]
    assert max(map(len, rows_of_units)) <= 80
    labels = "".join(line[: lines[begin].index("p ")].strip() for line in rows_of_units)
    assert labels == "".join(fits)  # each whole, on two lines where it is long
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


@pytest.mark.parametrize("unit", [UNIT, further(OTHER)])
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


def test_why_there_is_no_map_is_said_whole(recorded, run, monkeypatch):
    monkeypatch.setattr("evolver.analysis.receptive_fields._FEWEST_SHOWINGS", 500)
    text = " ".join(run("rf", recorded, "--bootstraps", "0", "--csv", "few.csv").split())
    names = ", ".join([*TRUE, BLIND])
    assert f"none: {names}: a field needs 500 showings or more; there are 420" in text
    reasons = {row["reason"] for row in table(Path("few.fits.csv"))}
    assert reasons == {"a field needs 500 showings or more; there are 420"}


def test_nothing_that_is_inspected_is_cut(recorded, run):
    assert "\N{HORIZONTAL ELLIPSIS}" not in run("inspect", recorded)


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
