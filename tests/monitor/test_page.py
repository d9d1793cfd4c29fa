"""The page in a real browser, while a session is written and after it."""

import http.client
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from evolver import config, recording
from evolver.errors import ControlError
from evolver.journal import JournalWriter
from evolver.journal.records import Committed
from evolver.live import Console, run_simulated
from evolver.live.waiting import WaitingFile
from evolver.monitor.before import BeforeView
from evolver.monitor.entrance import page_address
from evolver.monitor.server import make_server
from evolver.monitor.sources import before_first_image
from evolver.recording.fold import fold
from evolver.session_folder import SILENT
from evolver.setup.preflight import Check
from tests.browser import chromium, tab
from tests.children import Command
from tests.limits import PATIENCE_S, wait_until
from tests.live.sessions import small, write
from tests.monitor.sessions import GENERATIONS, make_session, with_threads
from tests.soak import further

SMALL = (900, 700)  # as pixels are drawn by the processor

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


class Monitor:
    def __init__(self, what, *options, verbose=False):
        arguments = [*(["--verbose"] if verbose else []), "monitor", what, *options]
        self.process = Command(arguments, os.environ)
        self.printed, found = "", None
        while found is None:
            line = self.process.stdout.readline()
            assert line, self.printed
            self.printed += line
            found = re.search(r"live page: (\S+)", line)
        self.url = found.group(1)

    def close(self):
        if self.process.stdout.closed:
            return
        self.process.send_signal(signal.SIGTERM)
        with self.process.stdout:
            self.printed += self.process.stdout.read()
        assert self.process.wait(PATIENCE_S) == 0, self.printed
        assert "Traceback" not in self.printed


@pytest.fixture
def monitor():
    started = []

    def begin(what, *options, **how):
        started.append(Monitor(what, *options, **how))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def page(browser):
    with tab(browser, viewport=dict(zip(("width", "height"), SMALL, strict=True))) as opened:
        yield opened


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    settings = small(tmp_path_factory.mktemp("page"), session={"generations": 3})
    return run_simulated(settings, config.commented_session_file(settings))


def values(page):
    page.locator(".value").first.wait_for()
    return page.locator(".value").all_inner_texts()


def until(page, pattern):
    page.locator(".value", has_text=re.compile(pattern)).first.wait_for()


def last_means(path):
    with recording.read(path) as opened:
        return [
            f"{np.nanmean(t.score[t.generation == t.generations - 1]):.1f}"
            for t in opened.threads
        ]


@pytest.mark.parametrize(
    ("what", "size"), [("recording", SMALL), further("folder", (1440, 900))]
)
def test_a_finished_session_is_shown_and_played_back_until_it_is_gone(
    ended, monitor, page, what, size
):
    """What stands there was true once: a session that is over is not running."""
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    shown = monitor(ended.recording if what == "recording" else ended.folder)
    page.goto(shown.url)
    until(page, "3 / 3")
    assert values(page)[1:3] == last_means(ended.recording)
    assert page.locator(".state").inner_text() == "finished"
    assert "reshow" in page.content() or page.get_by_text("reshow").count()
    assert_nothing_is_cut(page, width)
    check_playback(page)
    shown.close()
    page.locator(".state", has_text="no connection to the session").wait_for()
    page.errors.clear()  # what the lost connection left


def check_playback(page):
    """Play the session, and go back by hand: other images are seen then."""
    page.get_by_role("button", name="follow").click()
    page.locator(".bk-active", has_text="follow").wait_for(state="detached")
    page.get_by_role("button", name="▶ play").click()
    page.get_by_role("button", name="▶ play").wait_for()  # it has come to the end
    slider = page.locator(".noUi-handle").first
    slider.focus()
    is_drawn(page)
    before = page.screenshot()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    wait_until(lambda: page.screenshot() != before, every_s=0.1)


def is_drawn(page):
    """Wait until all of it is laid out and drawn."""
    wait_until(lambda: page.screenshot() == page.screenshot(), every_s=0.1)


@pytest.mark.soak
def test_a_session_is_shown_while_it_is_written(tmp_path, monitor, page):
    """The session waits half way until the page has caught up, then ends."""
    folder, go_on = [], threading.Event()
    seen = []

    def on_progress(progress):
        seen.append(progress.generation)
        if progress.generation == 2:
            go_on.wait(PATIENCE_S)

    console = Console(on_start=folder.append, on_progress=on_progress)
    settings = small(tmp_path, session={"generations": 4})
    session = threading.Thread(
        target=run_simulated, args=(settings, config.commented_session_file(settings), console)
    )
    session.start()
    try:
        while not folder:
            session.join(0.05)
        page.goto(monitor(folder[0]).url)
        until(page, "2 / 4")
        assert page.locator(".state").inner_text() == "running"
    finally:
        go_on.set()
        session.join(PATIENCE_S)
    until(page, "4 / 4")
    page.locator(".state", has_text="finished").wait_for()
    assert values(page)[1:3] == last_means(folder[0] / "session.h5")


@pytest.mark.soak
@pytest.mark.parametrize("finished", [False, True])
def test_what_cannot_be_drawn_is_said(tmp_path, monitor, page, finished):
    records, _ = make_session("counts", (-100.0, 300.0), 25)
    with JournalWriter(tmp_path / "journal") as journal:
        for record in records if finished else records[:-1]:
            journal.append(record)
    if finished:
        fold(tmp_path / "journal", tmp_path / "recording.h5")
    page.goto(monitor(tmp_path / "recording.h5" if finished else tmp_path).url)
    until(page, "^3")
    check_what_cannot_be_drawn(page)
    assert page.locator(".state").inner_text() == ("finished" if finished else "running")


def check_what_cannot_be_drawn(page):
    text = page.locator(".notes").inner_text()
    assert "no raster" in text
    assert "25 ms bins from -100 to 300 ms" in text


def test_a_session_is_shown_from_before_its_first_image_to_its_end(tmp_path, monitor, page):
    """The engine says what it waits for; a folder's session file says whose it is."""
    settings = small(tmp_path, session={"name": "tuesday-it"})
    write(settings, tmp_path / "session.toml")
    checks = (
        Check("unit", "good", "texture climbs unit 3"),
        Check("clock", "bad", "it is <1970 & early"),
    )
    before = WaitingFile(tmp_path)
    before.wait("waiting for the rig: tcp://127.0.0.1:5571", time.time_ns() - 42 * 10**9)
    page.goto(monitor(tmp_path).url)
    state = page.locator(".state")
    page.get_by_text("tuesday-it").wait_for()
    seen = state.inner_text()
    assert re.fullmatch(r"waiting for the rig: tcp://127\.0\.0\.1:5571 \(no rig for .*\)", seen)
    wait_until(lambda: state.inner_text() != seen, every_s=0.1)  # it counts while nothing comes
    assert "3 generations of texture: mini-texture" in page.locator(".before").inner_text()
    before.check(checks, True)
    page.locator(".confirm").wait_for()
    assert "evolver ctl confirm" in page.locator(".confirm").inner_text()
    rows = page.locator(".check").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        [check.verdict, check.name, check.text] for check in checks
    ]
    assert state.inner_text() == "waiting for the operator to confirm"
    before.wait("")  # confirmed
    page.locator(".confirm").wait_for(state="detached")
    records, _ = make_session("counts", (-100.0, 300.0), 25)
    half = 1 + max(
        i for i, x in enumerate(records) if isinstance(x, Committed) and x.block == 1
    )
    with JournalWriter(tmp_path / "journal") as journal:
        for record in records[:half]:
            journal.append(record)
        journal.sync()
        until(page, "^2")
        check_what_cannot_be_drawn(page)
        page.locator(".before").wait_for(state="detached")
        assert state.inner_text() == "running"
        before.wait("the engine is started again")
        page.locator(".state", has_text="the engine is started again").wait_for()
        WaitingFile(tmp_path, SILENT).wait("the recorder has answered nothing")
        page.locator(".state", has_text="the recorder has answered nothing").wait_for()
        WaitingFile(tmp_path, SILENT).remove()
        page.locator(".state", has_text="the engine is started again").wait_for()
        assert page.locator(".before").count() == 0
        before.wait("")
        for record in records[half:]:
            journal.append(record)
    until(page, "^3")
    page.locator(".state", has_text="finished").wait_for()
    fold(tmp_path / "journal", tmp_path / "session.h5")
    assert values(page)[1:2] == last_means(tmp_path / "session.h5")


@pytest.mark.parametrize("content", [b"", b"\xff{", b'{"checks": 3}'])
def test_a_folder_that_says_nothing_is_waited_for_all_the_same(tmp_path, content):
    (tmp_path / "waiting.json").write_bytes(content)
    (tmp_path / "session.toml").write_bytes(content)
    assert before_first_image(tmp_path) == BeforeView(tmp_path.name)


def test_a_page_that_cannot_be_told_ends_no_session(tmp_path):
    before = WaitingFile(tmp_path / "gone")
    before.check((), True)
    before.wait("")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("width", "height"), [SMALL, (1440, 900)])
@pytest.mark.soak
def test_threads_of_other_scales_are_beside_each_other_not_over(
    monitor, page, tmp_path, width, height
):
    names = ("late", "like-a-reference", "silence", "a-name-of-very-many-letters-indeed")
    kinds = [
        {"kind": "late-early", "late_ms": [150, 250], "early_ms": [50, 100], "unit": "z"},
        {"kind": "target", "unit": "correlation"},
        {"unit": "spikes/s, minimised"},
        {"kind": "target", "unit": "(spikes/s)², minimised"},
    ]
    records, _ = make_session("spikes", (-100.0, 300.0), 10)
    with JournalWriter(tmp_path / "journal") as journal:
        for record in with_threads(records, dict(zip(names, kinds, strict=True))):
            journal.append(record)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(monitor(tmp_path).url)
    until(page, str(GENERATIONS))
    assert_nothing_is_cut(page, width)


_TITLES = """() => {
  const context = document.createElement('canvas').getContext('2d');
  const found = [];
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type !== 'Figure') continue;
    const title = model.title;
    context.font = `${title.text_font_style} ${title.text_font_size} ${title.text_font}`;
    found.push([model.inner_width, title.text, ...title.text.split('\\n').map(
      line => context.measureText(line).width)]);
  }
  return found;
}"""


def assert_nothing_is_cut(page, width):
    page.locator(".bk-Figure").nth(6).wait_for()
    is_drawn(page)
    boxes = [
        box.bounding_box()
        for kind in (".bk-Figure", ".bk-Div", ".bk-Button", ".bk-Select", ".bk-Slider")
        for box in page.locator(kind).all()
        if box.is_visible()
    ]
    assert len(boxes) > 10
    for box in boxes:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    figures = [box.bounding_box() for box in page.locator(".bk-Figure").all()]
    assert min(box["width"] for box in figures) >= 280  # a title has room
    for i, one in enumerate(figures):
        for other in figures[:i]:
            apart = (
                one["x"] >= other["x"] + other["width"] - 1
                or other["x"] >= one["x"] + one["width"] - 1
                or one["y"] >= other["y"] + other["height"] - 1
                or other["y"] >= one["y"] + one["height"] - 1
            )
            assert apart
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    titles = page.evaluate(_TITLES)
    assert len(titles) == len(figures)
    for frame, text, *lines in titles:
        assert max(lines) <= frame, text


def websocket_status(host, headers, path="/ws"):
    """Return what a server answers who asks it for the page's WebSocket."""
    link = http.client.HTTPConnection(host, timeout=PATIENCE_S)
    wanted = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    link.request("GET", path, headers=wanted | headers)
    status = link.getresponse().status
    link.close()
    return status


def check_colours(page, background):
    """The page's document has come, which it does by the WebSocket, and is of these colours."""
    page.locator(".state", has_text="waiting for the first image").wait_for()
    seen = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert seen == background


def test_other_addresses_need_the_token_and_a_page_is_dark_or_light(tmp_path, monitor, page):
    """The page is there for whoever has the address; its session has not begun."""
    server = monitor(tmp_path, "--address", "0.0.0.0", verbose=True)
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    entrance, _, token = url.partition("?token=")
    front = entrance.removesuffix("enter")
    assert len(token) > 20
    for wrong in (front, entrance, f"{entrance}?token=wrong", f"{front}?token={token}"):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(wrong)
        refused.value.close()
    page.emulate_media(color_scheme="dark")
    page.goto(url)
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    check_colours(page, "rgb(20, 24, 29)")
    assert page.url == front  # nobody reads the token off a screen
    page.emulate_media(color_scheme="light")
    page.reload()
    check_colours(page, "rgb(255, 255, 255)")
    host = front.removeprefix("http://").rstrip("/")
    cookie = "; ".join(f"{c['name']}={c['value']}" for c in page.context.cookies())
    for headers in (
        {"Origin": front.rstrip("/")},
        {"Origin": front.rstrip("/"), "Cookie": cookie.replace(token, "wrong")},
        {"Origin": "http://elsewhere.example", "Cookie": cookie},
    ):
        assert websocket_status(host, headers) == 403
    page.goto("about:blank")
    server.close()
    assert "302 GET /enter from " in server.printed
    assert server.printed.count(token) == 1  # where it is said, and in no line of the log


@pytest.mark.soak
def test_two_pages_behind_tokens_leave_each_other_alone(tmp_path, monitor, page):
    urls = [
        monitor(tmp_path, "--address", "0.0.0.0").url.replace("0.0.0.0", "127.0.0.1")
        for _ in range(2)
    ]
    for url in (*urls, urls[0].partition("enter")[0]):
        page.goto(url)
        page.locator(".state", has_text="waiting for the first image").wait_for()


@pytest.mark.parametrize(
    ("address", "token", "url"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8000/"),
        ("::1", None, "http://[::1]:8000/"),
        ("0.0.0.0", "abc", "http://0.0.0.0:8000/enter?token=abc"),
    ],
)
def test_a_browser_can_open_what_is_printed(address, token, url):
    assert page_address(address, 8000, token) == url


def test_an_address_without_a_token_is_refused(ended):
    from evolver.monitor.sources import FileSource

    with pytest.raises(ControlError, match="needs a token"):
        make_server(FileSource(ended.recording), address="0.0.0.0", port=0, token=None)


def test_a_foreign_pages_websocket_is_refused(ended, monitor):
    url = monitor(ended.recording).url
    with urllib.request.urlopen(url) as answer:
        token = re.search(r'"token":"([^"]+)"', answer.read().decode()).group(1)
    host = url.removeprefix("http://").rstrip("/")
    answers = [
        websocket_status(host, {"Sec-WebSocket-Protocol": f"bokeh, {token}", "Origin": origin})
        for origin in (f"http://{host}", "http://elsewhere.example")
    ]
    assert answers == [101, 403]
