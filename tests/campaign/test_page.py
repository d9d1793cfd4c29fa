"""A campaign's page: numbers are those of the analysis; a browser sorts, filters, compares."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

from evolver.analysis.across_runs import mean_course, mean_intervals
from evolver.campaign.gathered import gather_results
from evolver.campaign.page import write_page
from evolver.campaign.store import TaskMeta, TaskResult
from tests.browser import chromium, tab
from tests.campaign.synthetic import GENERATIONS, made

SEEDS = 15


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    return gather_results(made(tmp_path_factory.mktemp("campaign"), seeds=SEEDS, missing=2))


@pytest.fixture(scope="module")
def text(gathered):
    return write_page(gathered)


@pytest.fixture(scope="module")
def address(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_what_is_not_done_is_said_and_what_is_failed(gathered, text):
    assert (gathered.done, len(gathered.rows)) == (4 * SEEDS - 2, 4 * SEEDS - 2)
    assert "58 of 60 planned runs are done. Varied" in text
    assert "http" not in text.replace("http-equiv", "").replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_courses_and_comparisons_are_those_of_the_analysis(gathered, text):
    (summary,) = data_of(text)["by_unit"]
    rows = gathered.rows
    by = {(r["search"], r["cell"], r["seed"]): float(r["last"]) for r in rows}
    differences = [
        by["diagonal", cell, seed] - last
        for (search, cell, seed), last in by.items()
        if search == "</script>" and ("diagonal", cell, seed) in by
    ]
    assert len(differences) == 2 * SEEDS - 2
    (pair,) = summary["factors"][0]["pairs"]
    expected = mean_intervals(np.array([differences]), resamples=2000)[0]
    assert pair["n"] == len(differences)
    assert pair["differences"][0] == pytest.approx([
        expected.value,
        expected.low,
        expected.high,
    ])
    assert expected.value == pytest.approx(2.0)
    course = summary["factors"][1]["courses"][1]
    cell = [row["cell"] == "mini:conv3:2" for row in rows]
    mine = mean_course(gathered.courses["mean"][cell])
    assert course["n"] == sum(cell)
    assert gathered.generations == list(range(GENERATIONS))
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(floats(course[name]), getattr(mine, name), rtol=1e-6)
    assert len(summary["factors"][2]["pairs"]) == SEEDS - 1  # each with the first


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_two_threads_and_two_units_of_score_are_kept_apart(tmp_path):
    store = made(tmp_path, seeds=3)
    (task, *_) = store.plan().tasks
    one = store.result(task.digest)
    two = {name: np.concatenate([values, values]) for name, values in one.arrays.items()}
    arrays = {**one.arrays, **{name.replace("-0", "-1"): two[name] for name in two}}
    del arrays["image-1"]
    meta = TaskMeta(
        task.digest, ("texture", "object"), ("spikes/s", "z"), (6, 12), 60, 1.0, "0"
    )
    store.keep(TaskResult(meta, arrays))
    found = gather_results(store)
    assert found.generations == list(range(12))
    assert np.isnan(found.courses["mean"][0, 6:]).all()
    assert found.tiles[1] is None
    data = data_of(write_page(found))
    assert [one["unit"] for one in data["by_unit"]] == ["spikes/s", "z"]
    assert data["tiles"]["at"][:3] == [0, -1, 1]
    assert [data["columns"][c]["name"] for c in data["factors"]][-1] == "thread"
    assert data["by_unit"][1]["factors"][0]["pairs"] == []


@pytest.mark.soak
def test_a_campaign_without_results_has_a_page_too(tmp_path, browser):
    page = tmp_path / "page.html"
    page.write_text(
        write_page(gather_results(made(tmp_path, seeds=1, missing=4))), encoding="utf-8"
    )
    with tab(browser) as opened:
        opened.goto(page.as_uri())
        assert opened.locator("#matching").inner_text() == "0 of 0 runs"
        assert "no runs" in opened.locator("#where").inner_text()


def column(page, name):
    names = [text.strip() for text in page.locator("#table thead th").all_inner_texts()]
    at = names.index(name) + 1
    return page.locator(f"#table tbody td:nth-child({at})").all_inner_texts()


def test_runs_are_sorted_filtered_and_paged(browser, address):
    with tab(browser) as page:
        page.goto(address)
        lasts = [float(text) for text in column(page, "last")]
        assert lasts == sorted(lasts, reverse=True)
        assert len(lasts) == 50
        shown = page.locator(".tile > span:last-child").all_inner_texts()
        assert [float(text) for text in shown][:50] == lasts
        page.get_by_role("button", name="On", exact=True).click()
        assert len(column(page, "last")) == 8
        page.get_by_role("button", name="seed", exact=True).click()
        assert column(page, "seed")[:5] == ["1", "1", "1", "1", "2"]
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("seed")
        page.locator("#filter-column").select_option("search")
        page.locator("#filter-level").select_option("diagonal")
        page.get_by_role("button", name="Add filter").click()
        page.locator("#filter-column").select_option("first")
        page.locator("#filter-value").fill("nothing")
        page.get_by_role("button", name="Add filter").click()
        assert "Give a number" in page.locator("#filter-value").evaluate(
            "one => one.validationMessage"
        )
        page.locator("#filter-column").select_option("last")
        page.locator("#filter-value").fill("12")
        page.locator("#filter-value").press("Enter")
        assert set(column(page, "search")) == {"diagonal"}
        assert all(float(text) >= 12 for text in column(page, "last"))
        n = len(column(page, "last"))
        assert page.locator("#matching").inner_text() == f"{n} of 58 runs"
        assert page.locator(".tile").count() == n > 0
        page.get_by_role("button", name="Remove filter: last at least 12").click()
        assert page.locator("#matching").inner_text() == "28 of 58 runs"


@pytest.mark.soak
def test_two_runs_are_side_by_side_from_the_keyboard_alone(browser, address, gathered):
    with tab(browser, color_scheme="dark", viewport={"width": 640, "height": 900}) as page:
        page.goto(address)
        page.locator(".tile").first.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        picked = page.locator(".tile[aria-pressed=true]").all()
        assert [one.get_attribute("data-mark") for one in picked] == ["A", "B"]
        rows = [gathered.rows[int(one.get_attribute("data-row"))] for one in picked]
        table = page.locator("#differs tr").all_inner_texts()
        said = {line.split("\t")[0]: line.split("\t")[1:] for line in table[1:]}
        for name in ("search", "cell", "seed"):
            texts = [str(row[name]) for row in rows]
            assert said.get(name) == (texts if texts[0] != texts[1] else None)
        assert page.locator("#two-chart polyline").count() == 6
        assert page.locator("#run-b .picture").is_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == 640  # nothing wider than a narrow window
        page.keyboard.press("Enter")  # the same run again: no longer picked
        assert page.locator("#run-b").is_hidden()


def test_curves_and_comparisons_follow_what_is_chosen(browser, address):
    with tab(browser) as page:
        page.goto(address)
        assert page.locator("#legend li").all_inner_texts() == [
            "</script> (n = 30)",
            "diagonal (n = 28)",
        ]
        assert page.locator("#curves polygon").count() == 2
        row = page.locator("#pairs tbody tr").inner_text().split("\t")
        assert row[0] == "diagonal less </script>"
        assert row[1:4] == ["2.0 spikes/s", "2.0 to 2.0", "28"]
        page.locator("#curve-factor").select_option("seed")
        assert page.locator("#curves polyline").count() == SEEDS
        assert page.locator("#curves polygon").count() == 0
        page.locator("#pair-factor").select_option("cell")
        page.locator("#pair-measure").select_option("change")
        assert "mini:conv3:2 less mini:conv3:1" in page.locator("#pairs tbody").inner_text()
