"""Whole sessions of `docs/examples/person.toml`: engine, rig and browser as programs."""

import base64
import hashlib
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from evolver import recording
from tests.browser import chromium, tab
from tests.limits import wait_until
from tests.live.test_live import ENVIRONMENT, Evolver, recorded
from tests.live.test_serve import ctl
from tests.live.test_serve import status as session_status

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "person.toml"
pytestmark = pytest.mark.xdist_group("person")
# What a person sees of each image: its pixels, from the page.
LOOK = """all => all.map(image => {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return btoa(String.fromCharCode(...pixels.filter((_, i) => i % 4 < 3)));
})"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def start(monkeypatch):
    """Commands with a folder of control sockets of their own; a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="ev", dir="/tmp") as runtime:
        Path(runtime).chmod(0o700)
        monkeypatch.setenv("EVOLVER_RUNTIME", runtime)
        monkeypatch.setitem(ENVIRONMENT, "EVOLVER_RUNTIME", runtime)
        started = []

        def begin(*arguments):
            started.append(Evolver(*arguments))
            return started[-1]

        yield begin
        for one in started:
            one.kill()


def session_file(folder):
    """The example, shorter, at an address of its own."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in (
        ("generations = 30", f'generations = 3\nfolder = "{folder / "out"}"'),
        ("popsize = 14", "popsize = 8"),
        ("[rig]", '[rig]\nendpoint = "tcp://127.0.0.1:*"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    file = folder / "person.toml"
    file.write_text(text, encoding="utf-8")
    return file


class Judge:
    """Somebody who likes red, and remembers every answer."""

    def __init__(self, page, said):
        self.page, self.said, self.redness = page, said, []

    def look(self, block):
        """Wait for the images of a block; return them, by place."""
        there = f"view && view.answered === {block} && drawn && appeared === drawn"
        wait_until(lambda: self.page.evaluate(there), every_s=0.05)
        seen = self.page.locator("#grid img").evaluate_all(LOOK)
        pixels = [np.frombuffer(base64.b64decode(one), np.uint8) for one in seen]
        self.digests = [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]
        colours = np.array([one.reshape(-1, 3).mean(axis=0) for one in pixels])
        self.red = colours[:, 0] - colours[:, 1:].mean(axis=1)
        self.best = [int(place) for place in np.argsort(-self.red)[:4]]

    def mark(self, places):
        for place in places:
            self.page.locator(".tile").nth(place).click()
            self.page.locator(".tile.marked").nth(0).wait_for()

    def remember(self, block):
        """Keep what is answered: by digest, the number and the place."""
        n = len(self.digests)
        for place, digest in enumerate(self.digests):
            liked = place in self.best
            value = n - 1 - self.best.index(place) if liked else 0
            self.said[block, digest] = (value, place)
        self.redness.append(dict(zip(self.digests, self.red, strict=True)))


def test_who_likes_red_gets_red_whatever_happens_meanwhile(tmp_path, start, browser):
    """A page that is loaded again, a second one, and an engine that is killed lose nothing."""
    engine = start("serve", session_file(tmp_path), "--no-page", "--no-report")
    endpoint = engine.until(r"waiting for the rig: (\S+)").group(1)
    rig = start("person", "--mode", "rank", "--endpoint", endpoint)
    url = rig.until(r"page: (\S+)").group(1)
    said = {}
    with tab(browser) as page, tab(browser) as other:
        page.goto(url)
        page.get_by_text("The session may be waiting to be confirmed").wait_for()
        engine.until("confirm with  evolver ctl confirm")
        assert "confirmed" in ctl("confirm")
        judge = Judge(page, said)
        judge.look(0)
        judge.mark(judge.best)
        judge.remember(0)
        page.keyboard.press("Enter")
        judge.look(1)
        judge.mark(judge.best[:2])
        page.reload()
        (process,) = [c.pid for c in session_status().children if c.name == "engine"]
        os.kill(process, signal.SIGKILL)
        rig.until("the engine is gone; the images stay on the page")
        before = judge.digests
        judge.look(1)
        assert judge.digests == before
        other.goto(url)
        other.locator(".tile.marked").nth(1).wait_for()
        other.locator(".tile").nth(judge.best[2]).click()
        other.locator(".tile.marked").nth(2).wait_for()
        judge.mark(judge.best[3:])
        judge.remember(1)
        page.locator(".tile.marked").nth(3).wait_for()
        page.get_by_role("button", name="Send").click()  # whether the engine is back or not
        judge.look(2)
        judge.mark(judge.best)
        judge.remember(2)
        page.keyboard.press("Enter")
        page.get_by_text("The session is over").wait_for()
        other.get_by_text("The session is over").wait_for()
    status, text = rig.end()
    assert status == 0, text
    assert "the session is over: finished" in text
    status, text = engine.end()
    assert status == 0, text
    with recording.read(recorded(tmp_path / "out")) as opened:
        assert opened.complete
        table, digests = opened.presentations, opened.image_sha256
        assert len(table) == len(said) == 30
        for row, shown in enumerate(table):
            form, arrays = opened.response(row)
            value, seconds, place = arrays["rates"]
            assert form == "rates"
            assert (value, place) == said[shown["block"], digests[shown["image_id"]]]
            assert (seconds > 0) == (value > 0)
            assert 0 < shown["commanded_ns"] <= shown["onset_ns"]
            assert shown["onset_ns"] + seconds * 1e9 <= shown["offset_ns"] + 1e3
        (thread,) = opened.threads
        np.testing.assert_array_equal(
            thread.score,
            [
                said[g, digests[i]][0]
                for g, i in zip(thread.generation, thread.image_id, strict=True)
            ],
        )
        evolved = digests[~opened.image_is_reference]
        means = [np.mean([r[d] for d in r if d in evolved]) for r in judge.redness]
        assert means[0] < means[1] < means[2]
        names = set(opened.events["name"])
        assert not names & {"watchdog", "resent", "unscorable", "invalid"}, opened.events
        assert "a person is to rank images" in opened.events["text"]


def test_who_stops_the_rig_leaves_the_session_waiting(start, browser):
    rig = start("person", "--endpoint", "tcp://127.0.0.1:9")
    url = rig.until(r"page: (\S+)").group(1)
    with tab(browser) as page:
        page.goto(url)
        page.get_by_text("Waiting for an engine").wait_for()
        rig.process.send_signal(signal.SIGINT)
        page.get_by_text("It was ended here").wait_for()
    status, text = rig.end()
    assert status == 0, text
    assert "stopped here; a session that is not over waits for its rig" in text
    assert "Traceback" not in text
