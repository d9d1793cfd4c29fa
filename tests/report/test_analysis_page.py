"""An analysis' page in a real browser, and figures of odd populations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evolver.analysis import feature_attribution
from evolver.experiments import read_experiments
from evolver.experiments.masks import ExperimentLook, MaskGrid, ThreadLook, UnitMask
from evolver.experiments.populations import population_of
from evolver.experiments.summary import AnalysisSettings, summarise, with_look
from evolver.report.analysis_page import PopulationFigure, write_analysis_page
from evolver.report.experiment_figure import draw_experiment
from evolver.report.mask_figure import draw_masks
from evolver.report.population_figures import POPULATION_FIGURES
from evolver.report.style import save
from tests.browser import chromium, tab
from tests.experiments.made import archive, lab, plain
from tests.soak import further

SETTINGS = AnalysisSettings(shuffles=99, alpha=0.02)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    archive(folder / "a.npz", [*lab(each=2), {"id": "</script><b>", "area": "IT"}])
    plain(folder / "mine", blocks=16)
    found = [summarise(one, SETTINGS) for one in read_experiments([folder])]
    return [with_look(found[0], "its images <are> not read"), *found[1:-1], looked(found[-1])]


def looked(summary):
    """A summary of two threads, the first with a mask and all images, the second with none."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 3, 4, 5))
    silent = feature_attribution(features, np.ones(40))
    found = feature_attribution(features, features[:, 0, 1, 2])
    images = rng.integers(0, 255, (3, 24, 24, 3), dtype=np.uint8)
    centres = np.linspace(0.1, 0.9, 4), np.linspace(0.1, 0.9, 5)
    none = "the session's gan had <other> weights"
    look = ExperimentLook(
        grid=MaskGrid("net:layer", *centres),
        threads=(
            ThreadLook(UnitMask.of(found, dealings=99), "", *images, ""),
            ThreadLook(UnitMask.of(silent, dealings=99), "", images[1], None, None, none),
        ),
        pooled=UnitMask.of(found, dealings=99),
        no_pooled="",
        similarity=(),
        re_evolution="fourier",
    )
    return with_look(summary, look)


@pytest.fixture(scope="module")
def address(summaries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    population = population_of(summaries, SETTINGS)
    title, draw = POPULATION_FIGURES["success_rates"]
    path = save(draw(population), folder / "a.png")
    text = write_analysis_page(
        summaries,
        population,
        figures=[PopulationFigure(title, path), PopulationFigure("Images", None)],
        links=[
            {"figure with PSTHs": f"experiments/{i}.png"}
            | ({"figure with masks": "masks/mine.png"} if one.look else {})
            for i, one in enumerate(summaries)
        ],
        unread=[("broken.h5", "it is <broken>")],
    )
    assert "http" not in text.replace("http-equiv", "").replace(
        "http://www.w3.org/2000/svg", ""
    )
    (folder / "page.html").write_text(text, encoding="utf-8")
    return (folder / "page.html").as_uri()


def column(page, name):
    heads = [text.strip() for text in page.locator("#table thead th").all_inner_texts()]
    at = heads.index(name) + 1
    return page.locator(f"#table tbody td:nth-child({at})").all_inner_texts()


def test_experiments_are_sorted_filtered_and_side_by_side(summaries, address):
    with chromium() as browser, tab(browser) as page:
        page.goto(address)
        names = [one.experiment.id for one in summaries]
        assert column(page, "experiment") == sorted(names)
        assert "it is <broken>" in page.locator(".banner").inner_text()
        page.get_by_role("button", name="DeePSim last", exact=True).click()
        lasts = [float(text) for text in column(page, "DeePSim last") if text != "\u2013"]
        assert lasts == sorted(lasts, reverse=True)
        assert len(lasts) == len(names) - 1  # of the other generators there is none
        assert column(page, "experiment")[-1] == "mine"
        assert page.locator("#table .thumbs img").count() == 2
        page.locator("#filter-column").select_option("area")
        page.locator("#filter-level").select_option("IT")
        page.get_by_role("button", name="Add filter").click()
        n = sum(one.experiment.area == "IT" for one in summaries)
        assert page.locator("#matching").inner_text() == f"{n} of {len(names)} experiments"
        page.get_by_role("button", name="Pick mine").click()
        page.get_by_role("button", name="Pick </script><b>").click()
        cards = page.locator("#cards .one")
        assert cards.locator("h3").all_inner_texts() == ["mine", "</script><b>"]
        assert cards.first.locator("svg polygon").count() == 2
        assert cards.first.locator(".thumbs img").count() == 2
        assert cards.last.locator(".looks img").count() == 0
        assert cards.first.locator("img").first.evaluate("one => one.naturalWidth") == 24
        links = [one.get_attribute("href") for one in cards.first.locator("a").all()]
        assert links == [f"experiments/{names.index('mine')}.png", "masks/mine.png"]
        captions = cards.first.locator(".looks figcaption").all_inner_texts()
        assert captions == [
            "where it looks, p \N{LESS-THAN OR EQUAL TO} 0.01",
            "mean code",
            "re-evolved in Fourier pixels",
        ]
        notes = cards.first.inner_text()
        assert "all responses are the same" in notes
        assert "had <other> weights" in notes
        assert set(column(page, "mask cosine")) == {"\u2013"}
        page.get_by_role("button", name="Remove mine").click()
        assert cards.count() == 1
        page.set_viewport_size({"width": 640, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == 640


def bare(summary):
    """A summary of an experiment without PSTHs, references and images."""
    threads = tuple(
        replace(t.thread, psth=None, references=None, pictures={}, absent={"psth": "no spikes"})
        for t in summary.threads
    )
    return summarise(replace(summary.experiment, threads=threads), SETTINGS)


def of_one_thread(summary):
    return replace(summary, threads=summary.threads[:1])


def nobody_rose(summary):
    return summarise(summary.experiment, replace(SETTINGS, alpha=1e-9))


WITHOUT = {"similarity", "tuning_shapes", "tuning_peaks"}
OF_TIME = {"time_courses", "attribution"}


@pytest.mark.parametrize(
    ("odd", "n", "absent"),
    [
        pytest.param(
            lambda one: nobody_rose(bare(one)),
            1,
            WITHOUT | OF_TIME,
            id="one experiment, no psth, none rose",
        ),
        further(of_one_thread, 2, WITHOUT),
        further(bare, 4, WITHOUT | OF_TIME),
        further(lambda one: one, 1, WITHOUT),
        further(nobody_rose, 3, WITHOUT | OF_TIME),
    ],
)
def test_figures_of_odd_populations_are_drawn_or_left_out(summaries, tmp_path, odd, n, absent):
    population = population_of([odd(one) for one in summaries[:n]], SETTINGS)
    left_out = set()
    for name, (_, draw) in POPULATION_FIGURES.items():
        figure = draw(population)
        if figure is None:
            left_out.add(name)
        else:
            save(figure, tmp_path / f"{name}.png")
    assert left_out == absent


def test_an_experiments_figure_says_what_it_lacks(summaries, tmp_path):
    figure = draw_experiment(bare(summaries[0]))
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert texts.count("no PSTH:\nno spikes") == 2
    save(figure, tmp_path / "bare.png")
    drawn = draw_experiment(summaries[-1])
    assert sum(len(axes.images) for axes in drawn.axes) == 2
    assert np.isfinite(drawn.get_size_inches()).all()


def test_a_figure_of_masks_has_what_there_is(summaries, tmp_path):
    assert draw_masks(summaries[0]) is None
    figure = draw_masks(summaries[-1])
    save(figure, tmp_path / "masks.png")
    (sheet,) = figure.axes
    texts = " ".join(text.get_text() for text in sheet.texts)
    assert "masks are not compared: a thread has no mask: all responses are the same" in texts
    assert "1 of 18 features" in texts
    assert len(sheet.images) == 6 + 1 + 2  # a thread's, the other's best image, pooled
    assert texts.count("none") >= 5


def test_a_page_says_what_its_numbers_are_of(summaries):
    population = population_of(summaries, SETTINGS)
    text = write_analysis_page(
        summaries, population, figures=[], links=[{} for _ in summaries], unread=[]
    )
    assert "90 % interval, Wilson&#39;s" in text
    assert "t (z of published block means) of the two blocks from the highest on" in text
    assert "dealings whose t is as large" in text
    published = population_of(summaries, SETTINGS.as_published)
    text = write_analysis_page(
        summaries, published, figures=[], links=[{} for _ in summaries], unread=[]
    )
    assert "90 % interval, as published, of a Beta distribution" in text
    assert "dealings" not in text
    whole = [one for one in summaries if one.valid.valid][:1]
    only = population_of(whole, SETTINGS)
    assert only.left_out == ()
    text = write_analysis_page(whole, only, figures=[], links=[{}], unread=[])
    assert "none is left out" in text
    assert "listed below" not in text


def test_masks_like_those_of_noise_say_so():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40, 3, 4, 5))
    noise = UnitMask.of(feature_attribution(features, rng.normal(size=40)), dealings=99)
    assert noise.p.value > 0.05
    assert noise.p_words == f"p = {noise.p.value:.2g}: like noise"
    look = UnitMask.of(feature_attribution(features, features[:, 0, 1, 2]), dealings=99)
    assert look.p_words == "p \N{LESS-THAN OR EQUAL TO} 0.01"


def test_figures_of_sessions_that_do_not_count_keep_their_caption(summaries):
    left_out = next(one for one in summaries if not one.valid.valid)
    texts = " ".join(
        text.get_text() for axes in draw_experiment(left_out).axes for text in axes.texts
    )
    assert "maps in bins of 5 ms" in texts
    assert f"not in populations: {left_out.valid.reasons[0][:20]}" in texts
