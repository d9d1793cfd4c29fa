"""`evolver units` and `evolver rf`, as a person meets them."""

import tomllib
from functools import partial

import numpy as np
import pytest
from PIL import Image

import scorers
from evolver.setup.simulated_rig import ScreenView
from scorers import quantiles, receptive_field
from tests.cli.running import run_here

SESSION = """
[session]
name = "own"

[presentation]
on_ms = 100
off_ms = 50

[[threads]]
name = "texture"
generator = "mini-texture"

[simulation]
units = ["plain:head:0"]
networks = { plain = { module = "tests.scorers.made_networks:Plain", size = 32 } }
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(quantiles, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.chdir(tmp_path)

    return partial(run_here, monkeypatch, capsys)


def rows(text, first):
    """Return the words of the line that begins with a word."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [first]]
    return line.split()


def test_units_of_the_builtin_network(run):
    text = run("units", "mini")
    assert "mini: 7 layers, input 64 x 64 rgb" in text
    assert rows(text, "conv3") == ["conv3", "128", "8", "x", "8", "19", "px", "8", "px"]
    assert rows(text, "fc6") == ["fc6", "256", "-", "all", "-"]
    assert "an address: mini:logits:0" in text
    only = run("units", "mini", "--layers", "conv", "--no-extent")
    assert rows(only, "conv3") == ["conv3", "128", "8", "x", "8", "-", "-"]
    assert "fc6" not in only
    assert "must have a layer with 'x'" in run("units", "mini", "--layers", "x", expect=2)


def test_units_of_a_network_of_ones_own(run, tmp_path):
    (tmp_path / "s.toml").write_text(SESSION)
    text = run("units", "plain", "--session", "s.toml")
    assert "plain: 5 layers, input 32 x 32 rgb" in text
    assert rows(text, "two")[-4:] == ["7", "px", "2", "px"]
    assert "network must be one of" in run("units", "plain", expect=2)
    assert "torchvision" in run("units", "torchvision:resnet50", expect=2)


def test_receptive_fields_are_drawn_and_said(run, tmp_path):
    text = run("rf", "mini:conv3:5:1:6", "mini:conv4:52", "-n", "6", "--out", "fields.png")
    words = rows(text, "mini:conv3:5:1:6")
    assert words[1] == "19"
    assert abs(float(words[2].rstrip(",")) - 9) < 4  # row
    assert abs(float(words[3]) - 49) < 4  # column
    with Image.open(tmp_path / "fields.png") as opened:
        drawn = np.asarray(opened.convert("RGB")).astype(int)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 200  # maps, in many colours
    assert "at most 36" in run("rf", "mini:fc5:all", expect=2)
    assert "NETWORK:LAYER:CHANNEL" in run("rf", "mini", expect=2)


def test_receptive_fields_by_covering_and_of_a_generators_images(run, tmp_path):
    (tmp_path / "s.toml").write_text(SESSION)
    text = run("rf", "plain:one:2", "-n", "2", "--occlusion", "--session", "s.toml")
    assert (tmp_path / "rf.png").exists()
    assert rows(text, "plain:one:2:8:8")[1] != "sees"
    run("rf", "mini:conv1:3", "-n", "2", "--generator", "mini-object", "--out", "g.png")
    assert (tmp_path / "g.png").exists()


def test_a_field_is_in_pixels_of_its_own_network_whatever_stands_beside_it(run, tmp_path):
    (tmp_path / "s.toml").write_text(SESSION.replace("size = 32", "size = 96"))
    rf = partial(run, "rf", "-n", "4", "--session", "s.toml")
    alone = rows(rf("mini:conv3:5"), "mini:conv3:5:4:4")
    both = rf("plain:two:2", "mini:conv3:5")
    assert rows(both, "mini:conv3:5:4:4") == alone
    assert both.index("plain:two:2") < both.index("mini:conv3:5")


def test_images_of_a_session_are_put_where_the_units_look(run):
    """The lines go into a session file, and its images cover what the gradient found."""
    units = ["mini:conv3:5:1:6", "mini:conv3:5:2:5"]
    text = run("rf", *units, "-n", "6", "--view-deg", "8", "--occlusion", expect=2)
    assert "--view-deg needs fields in pixels" in text
    text = run("rf", *units, "-n", "6", "--view-deg", "8")
    said = tomllib.loads(text.partition("these fields:")[2])
    assert said["simulation"] == {"view_deg": 8}
    place = said["presentation"]
    view = ScreenView(8.0, place["size_deg"], tuple(place["position_deg"]))
    seen = view.of(np.full((64, 64, 3), 255, np.uint8), 128)[..., 0] == 255
    noise = receptive_field.uniform_noise(6, height=64, width=64, rng=np.random.default_rng(1))
    fields = receptive_field.gradient_maps(scorers.load(units), noise).max(axis=0) > 0
    for axis in (0, 1):
        shown = np.flatnonzero(seen.any(axis=axis))[[0, -1]] * 64 / len(seen)
        wanted = np.flatnonzero(fields.any(axis=axis))[[0, -1]]
        assert shown[0] <= wanted[0] + 1
        assert shown[1] >= wanted[1] - 1
        assert shown[1] - shown[0] < 40  # and not the whole screen


def test_an_address_is_no_network(run):
    assert "'evolver units mini' lists its layers" in run("units", "mini:convv3", expect=2)
