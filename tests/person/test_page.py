"""The person's page in a real browser; the rig behind it is in the tests' process."""

import contextlib
import functools
import http.client
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from evolver.errors import ControlError
from evolver.person import server
from evolver.person.server import PersonPage
from evolver.seeds import stream
from rig_bridge.client import Standing
from rig_bridge.rigs.person.rig import PersonRig
from rig_bridge.trials import Presentation
from tests.browser import chromium, tab
from tests.limits import PATIENCE_S, wait_until
from tests.monitor.test_page import websocket_status
from tests.rig_bridge.samples import sha256
from tests.soak import further

pytestmark = pytest.mark.xdist_group("person")
HERE = Standing("aa", "monday", connected=True)
PIXELS = """image => {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [...pixels].filter((_, i) => i % 4 < 3);
}"""
BOXES = "all => all.map(i => i.getBoundingClientRect().toJSON())"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def own_tab(browser):
    with tab(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def other_tab(browser):
    with tab(browser) as opened:
        yield opened


@contextlib.contextmanager
def emptied(shown):
    """A tab that shows nothing before and after; its script must raise and log no error."""
    shown.set_viewport_size({"width": 1440, "height": 900})
    yield shown
    errors = list(shown.errors)
    shown.unroute_all()
    shown.goto("about:blank")
    shown.errors.clear()
    assert errors == []


@pytest.fixture
def page(own_tab):
    with emptied(own_tab) as shown:
        yield shown


@pytest.fixture
def other(other_tab):
    with emptied(other_tab) as shown:
        yield shown


class Served:
    """A rig that has an engine, on a page."""

    def __init__(self, mode="pick", **options):
        self.said, self._now = [], 0.0
        self.rig = PersonRig(
            mode,
            stream=functools.partial(stream, 1),
            clock=lambda: self._now,
            **{"tell": self.said.append, **options},
        )
        self.page = PersonPage(
            self.rig, address="127.0.0.1", port=0, token=None, tell=self.said.append
        )
        self.url, self.blocks = self.page.url, 0
        self.rig.stands(HERE)

    def show(self, images):
        """Open a grid of images; return its view."""
        for number, image in enumerate(images):
            asked = Presentation(
                block=self.blocks,
                attempt=1,
                presentation=number,
                sha256=sha256(image),
                on_ms=100.0,
                off_ms=100.0,
                size_deg=3.0,
                position_deg=(0, 0),
                window_ms=(0, 300),
            )
            self.rig.present(image, asked)
        self.blocks += 1
        self._now += 1.0
        assert self.rig.collect() == []
        return self.rig.view().grid

    def answer(self):
        """Wait for the answer; return the numbers by presentation."""
        results = []
        wait_until(lambda: results, step=lambda: results.extend(self.rig.collect()))
        return {r.presentation: r.arrays["rates"].tolist() for _, r in results}


@contextlib.contextmanager
def served(*arguments, **options):
    made = Served(*arguments, **options)
    with made.page:
        yield made


def pictures(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def marks(page):
    return page.locator(".tile .mark").all_inner_texts()


def opened(page, n):
    """Wait until a grid is on the page, and the rig knows."""
    page.locator(".tile").nth(n - 1).wait_for()
    wait_until(lambda: page.evaluate("drawn && appeared === drawn"), every_s=0.02)
    assert page.locator(".tile").count() == n


def test_what_a_person_sees_is_what_the_engine_sent(page):
    with served() as here:
        sent = pictures((9, 7), (9, 9), (4, 9))
        here.show(sent)
        page.goto(here.url)
        opened(page, 3)
        seen = [
            np.array(image.evaluate(PIXELS), np.uint8).tobytes()
            for image in page.locator("img").all()
        ]
        assert sorted(seen) == sorted(image.tobytes() for image in sent)
        page.locator(".tile").nth(1).click()
        page.locator(".tile.marked").wait_for()
        page.get_by_role("button", name="Send").click()
        answers = here.answer()
        (liked,) = (number for number, answer in answers.items() if answer[0])
        assert answers[liked][1] > 0
        assert seen[int(answers[liked][2])] == sent[liked].tobytes()
        page.get_by_text("The next images are being made").wait_for()


@pytest.mark.parametrize(
    ("mode", "size", "n"),
    [
        ("pick", (1440, 900), 40),
        further("rate", (1440, 900), 10),
        further("rank", (900, 700), 10),
        further("rate", (900, 700), 40),
    ],
)
def test_all_images_have_room_and_no_pixel_is_wider_than_another(browser, mode, size, n):
    viewport = dict(zip(("width", "height"), size, strict=True))
    question = "Which of these would you rather have on a wall, if you had one? " * 3
    with (
        served(mode, question=question if n == 40 else "") as here,
        tab(browser, viewport=viewport, device_scale_factor=1) as page,
    ):
        here.show(pictures(*[(64, 64)] * (n - 2), (32, 64), (64, 48)))
        page.goto(here.url)
        opened(page, n)
        boxes = page.eval_on_selector_all("img", BOXES)
        widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
        scales = {box["width"] / width for box, width in zip(boxes, widths, strict=True)}
        assert len(scales) == 1  # of all images, one scale
        (scale,) = scales
        assert scale == int(scale) >= 2
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= size[0] for box in boxes)
        header = page.locator("header").bounding_box()
        assert all(box["y"] >= header["y"] + header["height"] for box in boxes)
        bottom = page.locator("#keys").bounding_box()["y"]
        below = max(box["y"] + box["height"] for box in boxes) > bottom
        assert page.locator("#more").is_visible() == below  # never without a word
        assert below == (n == 40 and size == (900, 700))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in ("Clear", "Not now", "Send"):
            button = page.get_by_role("button", name=name).bounding_box()
            assert button["x"] + button["width"] <= size[0]
        before = boxes[0]["width"]
        page.keyboard.press("+")
        wider = page.locator("img").first.bounding_box()["width"]
        assert wider == before + before / scale
        page.keyboard.press("-")
        assert page.locator("img").first.bounding_box()["width"] == before


@pytest.mark.soak
def test_images_larger_than_their_place_are_reduced_and_smoothed(page):
    page.set_viewport_size({"width": 700, "height": 450})
    with served() as here:
        here.show(pictures(*[(220, 220)] * 12, (150, 150)))
        page.goto(here.url)
        opened(page, 13)
        sides = page.eval_on_selector_all(
            "img",
            "all => all.map(i => [i.naturalWidth, i.width, i.computedStyleMap()"
            ".get('image-rendering').value])",
        )
        assert {kind for _, _, kind in sides} == {"auto"}
        assert len({shown for _, shown, _ in sides}) == 1
        assert sides[0][1] < 220


def test_by_keyboard_alone(page):
    with served("rank") as here:
        here.show(pictures(*[(16, 16)] * 12))
        page.goto(here.url)
        opened(page, 12)
        columns = page.evaluate("columns")
        for key in ("ArrowRight", "ArrowRight", "Space", "ArrowDown", "Space", "ArrowLeft"):
            page.keyboard.press(key)
        page.keyboard.press("Space")
        wanted = [""] * 12
        wanted[1], wanted[1 + columns], wanted[columns] = "1", "2", "3"
        wait_until(lambda: marks(page) == wanted)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")  # taken back: who came after moves up
        wanted[1 + columns], wanted[columns] = "", "2"
        wait_until(lambda: marks(page) == wanted)
        page.keyboard.press("Escape")
        wait_until(lambda: not any(marks(page)))
        page.keyboard.press("Enter")
        page.get_by_text("Nothing is marked").wait_for()
        page.keyboard.press("Escape")  # which brings them back
        wait_until(lambda: marks(page) == wanted)
        page.get_by_text("Nothing is marked").wait_for(state="hidden")
        page.keyboard.press("Enter")
        answers = here.answer()
        by_place = {int(place): value for value, _, place in answers.values()}
        assert [by_place[k] for k in range(12)] == [
            11 if k == 1 else 10 if k == columns else 0 for k in range(12)
        ]


def test_stars_by_mouse_and_by_keyboard(page):
    with served("rate") as here:
        here.show(pictures(*[(16, 16)] * 5))
        page.goto(here.url)
        opened(page, 5)
        for place, stars in ((0, 3), (2, 5), (4, 1)):
            page.locator(".tile").nth(place).locator("span").nth(stars - 1).click()
        page.locator(".tile").nth(4).locator("span").nth(0).click()  # the same star: none
        page.locator(".tile").nth(3).click()
        page.keyboard.press("4")
        page.get_by_text("3 of 5 rated").wait_for()
        page.keyboard.press("Enter")
        answers = here.answer()
        assert sorted((int(p), v) for v, _, p in answers.values()) == [
            (0, 3), (1, 0), (2, 5), (3, 4), (4, 0),
        ]  # fmt: skip


def test_a_page_loaded_again_and_a_second_one_show_the_same(page, other):
    with served() as here:
        here.show(pictures(*[(8, 8)] * 6))
        page.goto(here.url)
        opened(page, 6)
        for place in (1, 4):
            page.locator(".tile").nth(place).click()
        wanted = ["", "✓", "", "", "✓", ""]
        wait_until(lambda: marks(page) == wanted)
        sources = page.eval_on_selector_all("img", "all => all.map(i => i.src)")
        page.reload()
        opened(page, 6)
        other.goto(here.url)
        opened(other, 6)
        for one in (page, other):
            assert marks(one) == wanted
            assert one.eval_on_selector_all("img", "all => all.map(i => i.src)") == sources
        other.locator(".tile").nth(0).click()
        wait_until(lambda: marks(page)[0] == "✓")
        page.keyboard.press("Enter")
        assert sum(answer[0] for answer in here.answer().values()) == 3
        for one in (page, other):
            one.get_by_text("The next images are being made").wait_for()


@pytest.mark.soak
def test_nobody_at_the_page_is_said_with_its_address(page):
    with served() as here:
        here.show(pictures((8, 8), (8, 8)))
        wait_until(lambda: any(f"images wait: {here.url}" in text for text in here.said))
        page.goto(here.url)
        opened(page, 2)
        page.goto("about:blank")
        wait_until(lambda: any(f"any more: {here.url}" in text for text in here.said))
        assert here.rig.view().grid is not None


def test_what_happens_to_the_session_is_said_on_the_page(page):
    with served(question="Which are <i>older</i>?") as here:
        page.goto(here.url)
        page.get_by_text("No images yet").wait_for()
        page.get_by_text("The session may be waiting to be confirmed").wait_for()
        here.show(pictures((8, 8), (8, 8)))
        opened(page, 2)
        assert page.locator("h1").inner_text() == "Which are <i>older</i>?"
        box = page.locator("img").first.bounding_box()
        here.rig.stands(Standing("aa", "monday", connected=True, held=True))
        page.get_by_text("The session pauses, or is about to end").wait_for()
        here.rig.stands(Standing("aa", "monday"))
        page.get_by_text("your answer is kept until it is back").wait_for()
        assert page.locator("img").first.bounding_box() == box  # nothing moves under a hand
        page.get_by_role("button", name="Not now").click()
        here.rig.news("nothing listens there")
        page.get_by_text("Waiting for an engine").wait_for()
        page.get_by_text("Nothing listens there").wait_for()
        here.rig.stands(Standing("aa", "monday", connected=True, held=True))
        page.get_by_text("The session is paused").wait_for()
        here.rig.over("finished")
        page.get_by_text("The session is over").wait_for()
        page.get_by_text("Finished").wait_for()


def test_who_does_not_answer_is_told_that_the_images_come_again(page):
    with served() as here:
        here.show(pictures((8, 8), (8, 8)))
        page.goto(here.url)
        opened(page, 2)
        text = "Nothing was sent of the images before"
        page.get_by_role("button", name="Not now").click()
        page.locator("#detail", has_text=text).wait_for()  # while they are made
        assert len(here.answer()) == 2
        here.show(pictures((8, 8), (8, 8)))
        opened(page, 2)
        said = page.locator("#banner", has_text=text)
        said.wait_for()
        page.locator(".tile").nth(0).click()
        said.wait_for(state="hidden")
        page.keyboard.press("Enter")
        page.get_by_text("The next images are being made").wait_for()
        assert text not in page.locator("#wait").inner_text()


@pytest.mark.soak
def test_a_question_of_ones_own_leaves_no_doubt_how_to_answer(page):
    with served("rank", question="Which are faces?") as here:
        here.show(pictures((8, 8), (8, 8)))
        page.goto(here.url)
        opened(page, 2)
        assert page.locator("h1").inner_text() == "Which are faces?"
        assert "the best one first · monday" in page.locator("#where").inner_text()


@pytest.mark.parametrize(("mode", "key"), [("rate", "4"), further("rank", "Space")])
def test_a_key_before_an_image_is_chosen_shows_which_one_it_is_for(page, mode, key):
    with served(mode) as here:
        here.show(pictures((8, 8), (8, 8)))
        page.goto(here.url)
        opened(page, 2)
        page.keyboard.press(key)
        said = page.get_by_text("No image was chosen")
        said.wait_for()
        assert here.rig.view().grid.marked == 0
        assert page.evaluate("document.activeElement === document.querySelector('.tile')")
        page.keyboard.press(key)
        page.get_by_text(f"1 of 2 {mode}").wait_for()
        assert not said.is_visible()
        assert here.rig.view().grid.marks == [4 if mode == "rate" else 1, 0]


def test_a_page_whose_program_is_gone_says_so(page):
    with served() as here:
        here.show(pictures((8, 8)))
        page.goto(here.url)
        opened(page, 1)
    page.get_by_text("what you click now is not marked").wait_for()
    page.errors.clear()  # what the lost connection left


@pytest.mark.soak
def test_a_tab_too_many_says_what_to_do_and_takes_the_next_place(page, other, monkeypatch):
    monkeypatch.setattr(server, "_MOST_TABS", 1)
    with served() as there:
        there.show(pictures((8, 8), (8, 8)))
        other.goto(there.url)
        opened(other, 2)
        page.goto(there.url)
        page.get_by_text("Too many tabs show this page").wait_for()
        other.goto("about:blank")
        opened(page, 2)


def test_an_image_that_did_not_come_is_asked_for_again_and_none_is_shown_before(page):
    with served() as here:
        missed = []

        def miss_once(route):
            if missed:
                route.continue_()
            else:
                missed.append(page.locator("#grid").is_visible())
                route.abort()

        page.route("**/1.png", miss_once)
        here.show(pictures((8, 8), (8, 8)))
        page.goto(here.url)
        opened(page, 2)
        assert missed == [False]
        assert page.locator("img").evaluate_all("all => all.every(i => i.naturalWidth === 8)")
        page.errors.clear()  # the image that was missed


@pytest.mark.soak
def test_dark_and_light(page):
    with served() as here:
        here.show(pictures((8, 8)))
        colours = []
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.goto(here.url)
            opened(page, 1)
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert colours == ["rgb(24, 24, 24)", "rgb(244, 244, 244)"]


# ---------------------------------------------------------------------- strangers


def status(url, path, **headers):
    host = url.removeprefix("http://").partition("/")[0]
    link = http.client.HTTPConnection(host, timeout=PATIENCE_S)
    link.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        link.putheader(name, value)
    link.endheaders()
    with contextlib.closing(link):
        return link.getresponse().status


def test_nothing_is_answered_under_another_name_than_the_pages_own():
    """A site whose name leads to this machine is not the page, whatever a browser thinks."""
    with served() as here:
        name = here.show(pictures((8, 8))).name
        host = here.url.removeprefix("http://").rstrip("/")
        paths = ("/", "/page.js", "/page.css", f"/image/{name}/0.png")
        for path in paths:
            assert status(here.url, path) == 200
            assert status(here.url, path, Host=host.replace("127.0.0.1", "localhost")) == 200
            assert status(here.url, path, Host="elsewhere.example") == 403
        for path in (f"/image/{name}/1.png", "/image/ab/0.png", "/../cli/app.py", "/server.py"):
            assert status(here.url, path) == 404
        for origin, expected in ((f"http://{host}", 101), ("http://elsewhere.example", 403)):
            assert websocket_status(host, {"Origin": origin}, path="/tab") == expected


NO_ORDERS = [
    "",
    "{",
    '{"do": "end", "grid": "x"}',
    '{"do": "mark", "grid": "x", "place": -1, "stars": 1}',
    '{"do": "mark", "grid": "x", "place": 0, "stars": 6}',
    '{"do": "mark", "grid": "x", "place": 0, "stars": 1, "more": 1}',
    '{"do": "send", "grid": 3}',
    '{"do": "clear", "grid": "' + "x" * 2000 + '"}',
]


def test_a_tab_that_sends_what_is_no_order_is_closed(page):
    with served() as here:
        here.show(pictures((8, 8)))
        page.goto(here.url)
        opened(page, 1)
        for message in NO_ORDERS:
            code = page.evaluate(
                """message => new Promise(done => {
                    const socket = new WebSocket(`ws://${location.host}/tab`);
                    socket.onopen = () => socket.send(message);
                    socket.onclose = event => done(event.code);
                })""",
                message,
            )
            assert code in (1008, 1009), message
        page.locator(".tile").click()  # others go on
        page.locator(".tile.marked").wait_for()


def test_other_addresses_need_the_token(page):
    with pytest.raises(ControlError, match="needs a token"):
        PersonPage(
            PersonRig("pick", stream=None), address="0.0.0.0", port=0, token=None, tell=print
        )
    rig = PersonRig("pick", stream=functools.partial(stream, 1))
    with PersonPage(rig, address="0.0.0.0", port=0, token="secret", tell=print) as shown:
        url = shown.url.replace("0.0.0.0", "127.0.0.1")
        entrance, _, token = url.partition("?token=")
        assert token == "secret"
        front = entrance.removesuffix("enter")
        for wrong in (front, f"{front}page.js", entrance, f"{entrance}?token=wrong"):
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(wrong)
            refused.value.close()
        host = front.removeprefix("http://").rstrip("/")
        assert websocket_status(host, {"Origin": front.rstrip("/")}, path="/tab") == 403
        page.goto(url)
        page.get_by_text("Waiting for an engine").wait_for()
        assert page.url == front


def test_a_port_that_is_taken_is_named():
    with served() as here:
        port = int(here.url.rpartition(":")[2].rstrip("/"))
        with pytest.raises(ControlError, match=f"cannot listen on 127.0.0.1:{port}"):
            PersonPage(here.rig, address="127.0.0.1", port=port, token=None, tell=print)
    assert not [thread for thread in threading.enumerate() if thread.name == "page"]
