"""Figures: drawn for every odd session, not blank, and without touching anybody's settings."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from evolver.colours import thread_colour
from evolver.report import figures, pictures
from evolver.report.style import DPI, save, spread
from tests.report.synthetic import evolution
from tests.soak import further

DRAW = {
    "scores": figures.scores,
    "psth": figures.psth,
    "budget": figures.budget,
    "film": pictures.film,
    "finals": pictures.finals,
    "summary": pictures.summary,
}
ODD = {
    "usual": {},
    "one generation, one thread, no references": {
        "threads": 1,
        "generations": 1,
        "references": 0,
        "means": False,
    },
    "four threads": {"threads": 4, "generations": 5},
    "silent": {"silent": True, "generations": 3},
    "dropped scores, own fitnesses": {"dropped": True, "one_fitness": False, "generations": 7},
    "scores of two units": {
        "threads": 3,
        "one_fitness": False,
        "units": ("cosine", "z", "cosine"),
    },
    "one unit that is long": {"threads": 1, "units": ("(spikes/s)², minimised",)},
    "four scales": {
        "threads": 4,
        "one_fitness": False,
        "generations": 6,
        "units": (
            "z, minimised",
            "(spikes/s)², minimised",
            "correlation",
            "spikes/s, minimised",
        ),
        "scales": ((0.05, -1), (-400, 0), (0.0005, 0.95), (-1, 0)),
        "names": ("one-high", "like-a-reference", "silence", "late-less-early"),
    },
    "three scales, two threads of one": {
        "threads": 4,
        "one_fitness": False,
        "generations": 6,
        "units": ("cosine", "(spikes/s)²", "cosine", "z"),
        "scales": ((0.0005, 0.95), (400, 0), (0.0005, 0.95), (0.05, -1)),
    },
    "large numbers": {"threads": 1, "units": ("(spikes/s)²",), "scales": ((-4000, 0),)},
    "four fitnesses of one scale, all low": {
        "threads": 4,
        "one_fitness": False,
        "scales": ((0.01, 0),) * 4,
    },
    "no spikes": {"spikes": False, "generations": 2},
    "large images": {"size": 256, "generations": 2},
}
ALIKE = {
    "usual",  # tests/report/test_page.py draws it
    "large images",
    "four threads",
    "scores of two units",
    "one unit that is long",
    "three scales, two threads of one",
    "large numbers",
    "four fitnesses of one scale, all low",
}
CASES = [further(case) if case in ALIKE else case for case in ODD]


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Draw at a quarter of the resolution: what is tested does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evolver.report.style.DPI", DPI // 4)
        yield


@cache
def odd(case):
    """Return an odd session; figures only read it."""
    return evolution(**ODD[case])


@cache
def drawn(case, name):
    """Return a figure of an odd session, which several tests look at."""
    return DRAW[name](odd(case))


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("case", CASES)
def test_what_is_drawn_lies_inside_the_limits(case, name):
    """Stairs, lines and dots: a limit that was set too early cuts them off."""
    for axes in drawn(case, name).axes:
        limits = axes.dataLim
        if np.isfinite(limits.get_points()).all():
            low, high = sorted(axes.get_ylim())
            slack = 1e-6 * max(1.0, abs(high))
            assert low - slack <= limits.y0, (axes.get_title(), limits, axes.get_ylim())
            assert limits.y1 <= high + slack, (axes.get_title(), limits, axes.get_ylim())


def written(figure):
    """Return the texts of a figure that are drawn, and the box of each in pixels."""
    figure.draw_without_rendering()
    unseen = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks():
                if not min(low, high) <= tick.get_loc() <= max(low, high):
                    unseen |= {tick.label1, tick.label2}
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text not in unseen and text.get_visible() and text.get_text().strip()
    ]


LONG = (
    "6 units (correlation to reference:0), mini:conv4:10:4:4 (simulated, channel 1) (contrast "
    "with 3 others (mean), z), 3 units (squared-error to targets.csv, minimised) and "
    "mini:conv4:52:4:4 (simulated, channel 0) (late-early, z, minimised)"
)


@pytest.mark.parametrize(
    ("case", "subtitle"),
    [
        *((case, "") for case in ODD if case not in ALIKE),
        ("four scales", f"{LONG}, {LONG}"),
        *(further(case, "") for case in ODD if case in ALIKE),
        *(further(case, LONG) for case in ODD),
        *(further(case, f"{LONG}, {LONG}") for case in ODD if case != "four scales"),
    ],
)
def test_no_text_is_over_another_and_none_is_cut(case, subtitle):
    if subtitle:
        looked_at = [pictures.summary(odd(case), subtitle=subtitle)]
    else:
        looked_at = [drawn(case, "summary"), drawn(case, "scores")]
    written_on = [written(figure) for figure in looked_at]
    for figure, texts in zip(looked_at, written_on, strict=True):
        width, height = figure.bbox.width, figure.bbox.height
        for i, (text, box) in enumerate(texts):
            assert min(box.x0, box.y0) >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
            for other, its in texts[:i]:
                across = min(box.x1, its.x1) - max(box.x0, its.x0)
                up = min(box.y1, its.y1) - max(box.y0, its.y0)
                assert min(across, up) <= 1, (text, other)
    said = " ".join(text for text, _ in written_on[0])
    assert set(LONG.split()) <= set(said.split()) or not subtitle


@pytest.mark.parametrize("case", CASES)
def test_every_figure_of_every_odd_session_shows_something(tmp_path, case):
    for name in DRAW:
        if name == "psth" and not figures.has_psth(odd(case)):
            continue
        path = save(drawn(case, name), tmp_path / f"{name}.png")
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=float)
        assert pixels.std() > 5, name
        # Nothing runs over the figure's edge: the outermost pixels are paper.
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (border == 255).all(), name


def test_scores_are_drawn_in_their_unit_each_on_axes_of_its_own():
    made = evolution(threads=3, one_fitness=False, units=("cosine", "z", "cosine"))
    cosine, z = figures.scores(made).axes
    assert (cosine.get_title("left"), z.get_title("left")) == ("score (cosine)", "score (z)")
    assert [len([x for x in a.lines if len(x.get_xdata()) > 20]) for a in (cosine, z)] == [4, 2]
    assert (cosine.get_xlabel(), z.get_xlabel()) == ("", "generation")
    assert not [a for a in pictures.film(made).axes if "score" in a.get_ylabel()]
    alone = evolution(threads=2, units=("z", "z"))
    assert [a.get_ylabel() for a in figures.scores(alone).axes] == ["score (z), mean ± sem"]
    (bar,) = [a for a in pictures.film(alone).axes if "z" in a.get_ylabel()]
    assert bar.get_ylabel() == "score of best image (z)"


def test_an_image_is_in_the_strip_as_it_was_shown(tmp_path):
    made = evolution(threads=1, generations=1, means=False)
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 200
    red[:4] = (0, 0, 250)  # blue above: upside down would show
    object.__setattr__(made.threads[0].best[0], "pixels", red)
    with Image.open(save(pictures.film(made), tmp_path / "film.png")) as image:
        pixels = np.asarray(image.convert("RGB"))
    blue = np.argwhere((pixels == (0, 0, 250)).all(axis=2))
    rest = np.argwhere((pixels == (200, 0, 0)).all(axis=2))
    assert len(blue) > 200
    assert len(rest) > 200
    assert blue[:, 0].max() < rest[:, 0].min()


def test_the_same_evolution_gives_the_same_bytes(tmp_path):
    made = [
        save(figures.scores(evolution(generations=4)), tmp_path / f"{i}.png").read_bytes()
        for i in range(2)
    ]
    assert made[0] == made[1]


def test_settings_of_matplotlib_are_left_as_they_were(tmp_path):
    before = dict(mpl.rcParams)
    save(pictures.summary(evolution(generations=2)), tmp_path / "summary.png")
    assert dict(mpl.rcParams) == before


def test_inspect_loads_no_matplotlib_and_a_report_neither_pyplot_nor_torch():
    code = (
        "import sys, evolver.report.tables; "
        "bad = {'matplotlib'} & set(sys.modules); "
        "import evolver.report.page; "
        "bad |= {'matplotlib.pyplot', 'torch'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_score_axis_reaches_zero_and_the_heat_maps_share_their_scale():
    made = evolution(generations=4)
    low, high = figures.scores(made).axes[0].get_ylim()
    assert low <= 0 < high
    drawn = [
        m
        for a in figures.psth(made).axes
        for m in a.collections
        if m.get_cmap().name == "magma"
    ]
    scales = {(m.norm.vmin, m.norm.vmax) for m in drawn if m.get_array().size > 100}
    assert scales == {(0.0, max(float(t.psth.max()) for t in made.threads))}


def test_scores_that_have_no_zero_fill_their_axes():
    axes = drawn("four scales", "scores").axes
    assert [a.get_title("left") for a in axes] == [
        "score (z, minimised)",
        "score, (spikes/s)², minimised",
        "score (correlation)",
        "score (spikes/s, minimised)",
    ]
    low, high = axes[2].get_ylim()
    assert 0.9 < low < high < 1
    shown = axes[2].dataLim.height
    assert shown > 0.8 * (high - low)
    assert axes[1].yaxis.get_major_formatter()(-12500, 0) == "\N{MINUS SIGN}12.5k"


def test_colours_of_threads_differ():
    assert len({thread_colour(k) for k in range(6)}) == 6


@given(
    wanted=st.lists(st.floats(-100, 100), max_size=8),
    gap=st.floats(0.1, 20),
)
def test_spread_keeps_the_order_and_the_gap(wanted, gap):
    placed = spread(wanted, gap=gap)
    inside = np.array(spread(wanted, gap=gap, within=(-100, 100)))
    assert (inside <= 100 - gap / 2 + 1e-6).all()
    if len(wanted) * gap <= 200:
        assert (inside >= -100 + gap / 2 - 1e-6).all()
    assert (np.diff(inside[np.argsort(wanted, kind="stable")]) >= gap * (1 - 1e-6)).all()
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= gap * (1 - 1e-6)).all()
    if (np.diff(np.sort(wanted)) >= gap * 1.001).all():
        assert placed == pytest.approx(wanted)


def test_pauses_and_a_lost_rig_are_in_the_rigs_time_where_there_were_any():
    usual = evolution(generations=4)
    paused = evolution(generations=4)
    paused.budget["paused"] = np.array([0.0, 30.0, 0.0, 0.0])
    paused.budget["no_rig"] = np.array([0.0, 0.0, np.nan, 12.0])

    def names(one):
        return [text.get_text() for text in figures.budget(one).legends[0].get_texts()]

    assert set(names(paused)) - set(names(usual)) == {"paused", "no rig"}
    rig = figures.budget(paused).axes[0]
    assert rig.get_ylim()[1] > 30.0
