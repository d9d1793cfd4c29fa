"""Images at places of their own: seen there, here as over the network, or by no rig at all."""

import dataclasses
import threading

import numpy as np
import pytest

from evolver import config, recording
from evolver.errors import ConfigError, RecordingError
from evolver.experiments.mapping import read_mapping
from evolver.live import Console, run_live, run_simulated
from evolver.live.replayed import run_replay
from evolver.recording.fold import fold
from evolver.recording.same_session import differences
from evolver.session.ports import Command
from evolver.setup.nearest_images import NearestImages
from evolver.setup.replayed_rig import ReplayedRig, answered_images
from evolver.setup.simulated_rig import ScreenView, build_population, build_rig
from rig_bridge.client import RigClient
from rig_bridge.errors import RefusedError
from rig_bridge.messages import ScreenInfo
from rig_bridge.trials import Presentation
from tests.cli.running import run_here

FILE = """
[session]
name = "places"
folder = "{folder}"
[presentation]
on_ms = 100
off_ms = 50
size_deg = 3.0
position_deg = [0.5, -0.5]
[references]
count = 1
[rig]
endpoint = "tcp://127.0.0.1:*"
[simulation]
units = ["mini:conv4:61:3:4", "mini:conv3:106:5:2"]
speed = inf
abort_rate = 0.1
{more}
[[sets]]
name = "plain"
images = "builtin"
count = 2
[[sets]]
name = "grid"
images = "builtin"
count = 2
[sets.grid]
columns = 2
rows = 2
span_deg = [2.0, 3.0]
sizes_deg = [1.0, 2.5]
"""
QUIET = 'view_deg = 8.0\nspikes = "none"'


def session(folder, more="view_deg = 8.0"):
    text = FILE.format(folder=folder, more=more)
    return config.parse_session_file(text), text


def test_each_image_is_seen_at_its_own_place(tmp_path):
    settings, text = session(tmp_path, QUIET)
    population = build_population(settings)
    usual = ScreenView(8.0, 3.0, (0.5, -0.5))
    with recording.read(run_simulated(settings, text, fold=fold).recording) as opened:
        table = opened.presentations
        ok = np.flatnonzero(table["status"] == "ok")
        assert len(ok) >= 2 + 16
        rates = opened.rates()
        for row in ok:
            size, x, y = (table[name][row] for name in ("size_deg", "x_deg", "y_deg"))
            view = ScreenView(8.0, size, (x, y)) if size else usual
            seen = view.of(opened.images[table["image_id"][row]], 128)
            drive = population.scorer.score(seen[None])
            expected = population.neurons.expected_rates(drive, (50.0, 200.0), on_ms=100.0)
            np.testing.assert_allclose(rates[row], expected[0])
        assert set(table["size_deg"][ok]) == {0.0, 1.0, 2.5}
        grid = table["size_deg"][ok] > 0
        assert len(np.unique(rates[ok][grid, 0].round(6))) > 8  # and it matters where
        mapping = read_mapping(opened)
        assert mapping.text.endswith("2 images at 2 x 2 places, 2 sizes; the rig's own window")
        for row, rate in zip(ok[grid], mapping.rates, strict=True):
            np.testing.assert_array_equal(rate, rates[row])
        np.testing.assert_allclose(
            mapping.showings.rows_deg[mapping.showings.row], table["y_deg"][ok][grid]
        )
        np.testing.assert_allclose(
            mapping.showings.columns_deg[mapping.showings.column], table["x_deg"][ok][grid]
        )
        with pytest.raises(ConfigError, match="leave --response and --baseline out"):
            read_mapping(opened, window_ms=(50.0, 200.0))


class NetworkRig:
    """The simulated rig in a thread of its own; `says` what is different of its screen."""

    def __init__(self, settings, **says):
        self.settings, self.says = settings, says
        self.gone, self.ended = threading.Event(), []

    def start(self, endpoint):
        population = build_population(self.settings)
        rig = build_rig(population, self.settings, speed=np.inf)
        screen = {"background_grey": 128, "places": True, **self.says}
        hello = rig.hello(
            "simulated rig",
            software="test",
            display=ScreenInfo(1920, 1080, 60.0, 40.0, **screen),
        )
        client = RigClient(endpoint, hello=hello, presenter=rig, identity="rig")
        self.thread = threading.Thread(target=self.run, args=(client,))
        self.thread.start()

    def run(self, client):
        try:
            self.ended.append(client.run(stop=self.gone.is_set))
        except RefusedError as exc:
            self.ended.append(exc)

    def end(self):
        self.gone.set()
        self.thread.join(60)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    settings, text = session(tmp_path_factory.mktemp("simulated"))
    return run_simulated(settings, text, fold=fold).recording


@pytest.mark.soak
def test_over_the_network_it_is_the_same_session(simulated, tmp_path):
    settings, text = session(tmp_path / "b")
    rig = NetworkRig(settings)
    try:
        there = run_live(settings, text, Console(on_endpoint=rig.start)).recording
    finally:
        rig.end()
    with recording.read(simulated) as first, recording.read(there) as second:
        unlike = differences(first, second)
    assert not [text for text in unlike if "spike" in text or "response" in text], unlike
    with recording.read(simulated) as first, recording.read(there) as second:
        np.testing.assert_array_equal(first.spike_offsets, second.spike_offsets)
        for one, other in zip(first.all_spikes(), second.all_spikes(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_rig_that_heeds_no_places_is_refused_and_both_sides_are_told(tmp_path):
    settings, text = session(tmp_path / "out")
    rig, waits = NetworkRig(settings, places=False), []
    console = Console(
        on_endpoint=rig.start,
        on_wait=lambda text, *_: waits.append(text),
        commands=lambda: [Command("stop")] if rig.ended else [],
    )
    try:
        with pytest.raises(Exception, match="before a rig joined"):
            run_live(settings, text, console)
    finally:
        rig.end()
    (refused,) = rig.ended
    assert "does not state that it heeds those of each presentation" in str(refused)
    assert any("rig 'simulated rig' was refused" in text for text in waits)
    assert not (tmp_path / "out").exists()


def test_units_that_see_an_image_alone_are_not_shown_places(tmp_path, monkeypatch, capsys):
    settings, text = session(tmp_path / "out", more="")
    with pytest.raises(ConfigError, match=r"simulation\.view_deg: must say .* \(grid\)"):
        run_simulated(settings, text)
    assert not (tmp_path / "out").exists()
    # A lab's own rig may show them: the file is right.
    file = tmp_path / "s.toml"
    file.write_text(text)
    printed = run_here(monkeypatch, capsys, "config", "check", file)
    assert "note: with the simulated rig it would not run: simulation.view_deg" in " ".join(
        printed.split()
    )


def test_a_recording_answers_with_what_was_shown_at_the_place(simulated, tmp_path):
    assert run_replay(simulated, out=tmp_path / "b").differences == []
    with recording.read(simulated) as opened:
        rig = ReplayedRig(
            opened, sha256="0" * 64, nearest=NearestImages(opened, answered_images(opened))
        )
        table = opened.presentations
        (row, *_) = np.flatnonzero((table["size_deg"] == 2.5) & (table["status"] == "ok"))
        shown = table[row]
        pixels = opened.images[shown["image_id"]]
        asked = Presentation(
            block=99,
            attempt=1,
            presentation=9999,
            sha256=str(opened.image_sha256[shown["image_id"]]),
            on_ms=100.0,
            off_ms=50.0,
            size_deg=float(shown["size_deg"]),
            position_deg=(float(shown["x_deg"]), float(shown["y_deg"])),
            window_ms=(-100.0, 300.0),
        )
        result, _ = rig.answer(pixels, asked)
        assert (result.answer, result.answer_of) == ("recorded", shown["presentation"])
        # Elsewhere it was not shown; the same number in another grid is another showing.
        elsewhere = dataclasses.replace(asked, position_deg=(1.0, 1.0))
        for other in (
            elsewhere,
            dataclasses.replace(elsewhere, presentation=int(shown["presentation"])),
        ):
            with pytest.raises(RecordingError, match=r"2\.5 degrees at \(1\.0, 1\.0\)"):
                rig.answer(pixels, other)
        # What the session showed at its own place answers wherever another session has that.
        (row, *_) = np.flatnonzero((table["size_deg"] == 0) & (table["status"] == "ok"))
        image = table["image_id"][row]
        plain = dataclasses.replace(elsewhere, sha256=str(opened.image_sha256[image]))
        result, _ = rig.answer(opened.images[image], plain)
        answered = table[table["presentation"] == result.answer_of][0]
        assert (answered["image_id"], answered["size_deg"]) == (image, 0)
