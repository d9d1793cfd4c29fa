"""The page's figures, without a browser: what they draw, and that it can be seen."""

import msgspec
import numpy as np
import pytest

from evolver.colours import LIVE_DARK, LIVE_LIGHT, thread_colour
from evolver.journal import records as r
from evolver.monitor.figures import (
    BudgetFigure,
    PictureFigure,
    PsthFigure,
    RasterFigure,
    ScoreFigure,
    UnitsFigure,
    recolour,
)
from evolver.monitor.model import SessionModel, ThreadView
from evolver.monitor.page import header_html
from tests.monitor.sessions import GENERATIONS, make_session, with_threads

WINDOWS = {"response_ms": [50.0, 200.0], "baseline_ms": [0.0, 45.0]}


def scored(change=None):
    """Return a session's model; `change` may put another record in place of each."""
    records, _ = make_session("spikes", (-100.0, 300.0), 10, fitness=WINDOWS)
    model = SessionModel()
    model.feed(records if change is None else map(change, records))
    return model


def drawn(model):
    """Return every figure of a session's last generation."""
    psth, raster, units = PsthFigure(model.threads), RasterFigure(), UnitsFigure()
    scores, budget = ScoreFigure(model.threads), BudgetFigure()
    picture = PictureFigure(model.threads[0], 1)
    view = model.threads[0]
    psth.draw(model, GENERATIONS - 1, 1)
    raster.draw(model, 1)
    units.draw(model, view, view.scored[-1])
    scores.draw(model)
    budget.draw(model)
    picture.draw(model, view.scored[-1])
    return scores, picture, psth, raster, units, budget


@pytest.fixture(scope="module")
def usual():
    """A session and its figures, for whoever changes nothing but colours."""
    model = scored()
    return model, drawn(model)


def strips(figure):
    """Return the windows shaded in a figure over time."""
    glyphs = [(g.data_source.data, type(g.glyph).__name__) for g in figure.renderers]
    return [
        (float(x0), float(x1))
        for data, kind in glyphs
        if kind == "VStrip"
        for x0, x1 in zip(data["x0"], data["x1"], strict=True)
    ]


def bar(figure):
    """Return from when to when a figure says that the image was on."""
    (segment,) = [g for g in figure.renderers if type(g.glyph).__name__ == "Segment"]
    data = segment.data_source.data
    return list(zip(data["x0"], data["x1"], strict=True))


def test_windows_and_the_image_are_shown_where_time_is(usual):
    _, _, psth, raster, units, _ = usual[1]
    for shown in (psth.figure, raster.figure):
        assert strips(shown) == [(0.0, 45.0), (50.0, 200.0)]
    for shown in (psth.figure, raster.figure, units.figure):
        assert bar(shown) == [(0.0, 100.0)]
        assert (shown.x_range.start, shown.x_range.end) == (-100.0, 300.0)


def test_a_session_whose_images_stay_on_for_other_times_has_no_bar():
    def change(record):
        if not isinstance(record, r.Proposed):
            return record
        longer = record.presentations[0]
        longer = r.PlannedPresentation(
            longer.presentation, longer.thread, longer.row, longer.repeat, 200.0, 50.0
        )
        plan = (longer, *record.presentations[1:])
        return r.Proposed(
            record.block, record.time_ns, record.threads, (), (), plan
        )  # fmt: skip

    _, _, psth, *_ = drawn(scored(change))
    assert bar(psth.figure) == []


def test_no_legend_covers_data_and_what_is_counted_has_whole_numbers(usual):
    scores, _, psth, raster, units, budget = usual[1]
    for shown in (scores.figure, psth.figure, budget.figure):
        assert len(shown.legend) == 1
        assert shown.legend[0] in shown.above
        assert shown.legend[0] not in shown.center
    for axis in (
        scores.figure.xaxis,
        raster.figure.yaxis,
        units.figure.yaxis,
        budget.figure.xaxis,
    ):
        assert axis.ticker.min_interval == 1
    assert "spikes/s" in scores.figure.yaxis.axis_label
    assert "spikes/s" in psth.figure.yaxis.axis_label


def test_a_units_row_has_its_number_in_the_middle_and_its_colours_a_scale(usual):
    model, (*_, units, _) = usual
    (image,) = [g for g in units.figure.renderers if type(g.glyph).__name__ == "Image"]
    rows = image.data_source.data["dh"][0]
    assert (image.glyph.y, rows) == (-0.5, len(model.unit_labels))
    (scale,) = [m for m in units.figure.right if type(m).__name__ == "ColorBar"]
    assert scale.color_mapper is image.glyph.color_mapper
    assert scale.title == "spikes/s"
    rates = model.all_units(model.threads[0].scored[-1])
    assert scale.color_mapper.high == rates.max()


def contrast(one, other):
    """Return the contrast of two colours, 1 to 21, as WCAG 2 has it."""
    values = []
    for colour in (one, other):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        values.append(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return (max(values) + 0.05) / (min(values) + 0.05)


@pytest.mark.parametrize("colours", [LIVE_LIGHT, LIVE_DARK], ids=["light", "dark"])
def test_lines_of_the_first_generation_are_seen(usual, colours):
    _, _, psth, *_ = usual[1]
    recolour([psth.figure], colours)
    psth.recolour(colours)
    dashed = [g.glyph for g in psth.figure.renderers if "line_dash" in g.glyph.properties()]
    dashed = [glyph for glyph in dashed if glyph.line_dash]
    assert len(dashed) == 2  # the thread's, and the one that the legend explains
    for glyph in dashed:
        assert glyph.line_alpha == 1
        for behind in ("paper", "baseline", "response"):
            assert contrast(glyph.line_color, colours[behind]) > 3


def text_of(model):
    return header_html(model, LIVE_DARK, trouble=False)


def test_a_generation_without_a_score_is_no_number():
    """All its showings were aborted, or its journal is damaged: the one before is shown."""
    nothing = r.PackedArray.of(np.full(4, np.nan))

    def change(record, blocks):
        if not isinstance(record, r.Committed) or record.block not in blocks:
            return record
        part = r.CommittedThread(0, record.block, nothing, nothing)
        return r.Committed(
            record.block, record.time_ns, (part,), record.reference_scores, record.budget
        )  # fmt: skip

    usual = scored()
    last = scored(lambda record: change(record, {GENERATIONS - 1}))
    none = scored(lambda record: change(record, set(range(GENERATIONS))))
    before = f"{usual.threads[0].scored[-2].mean:.1f}"
    assert before in text_of(last)
    assert last.done == none.done == GENERATIONS
    assert "\N{EN DASH}" in text_of(none)
    for model in (last, none):
        assert "nan" not in text_of(model)
    figures = drawn(last)
    assert f"gen. {GENERATIONS - 2}: best" in figures[1].figure.title.text
    assert "nan" not in figures[1].figure.title.text


def test_no_cut_through_a_session_shows_nan():
    records, _ = make_session("spikes", (-100.0, 300.0), 10, fitness=WINDOWS)
    model = SessionModel()
    for record in records:
        model.feed([record])
        assert "nan" not in text_of(model)


def test_a_blocks_time_is_shown_by_what_the_rig_did(usual):
    *_, budget = usual[1]
    (data,) = {id(g.data_source): g.data_source.data for g in budget.figure.renderers}.values()
    for name, seconds in (("wait", 4.0), ("idle", 0.5), ("paused", 1.5), ("no_rig", 0.25)):
        assert data[name] == [seconds] * len(data["x"]), name
    labels = [item.label.value for item in budget.figure.legend[0].items]
    assert labels == [
        "on screen",
        "rig idle",
        "rendering, meanwhile",
        "paused",
        "no rig",
        "engine frozen",
    ]


def test_scores_are_drawn_in_the_unit_of_their_kind_with_the_windows_of_it():
    windows = {"kind": "late-early", "late_ms": [150.0, 250.0], "early_ms": [50.0, 100.0]}
    records, _ = make_session("spikes", (-100.0, 300.0), 10, fitness={**windows, "unit": "z"})
    model = SessionModel()
    model.feed(records)
    scores, picture, psth, *_ = drawn(model)
    assert scores.figure.yaxis.axis_label == "score (z)"
    assert picture.figure.title.text.endswith(" z")
    assert strips(psth.figure) == [(50.0, 100.0), (150.0, 250.0)]
    head = header_html(model, LIVE_LIGHT, trouble=False)
    assert f"{model.threads[0].name}, z" in head
    assert "spikes/s" not in head
    assert list(model.score_units) == ["z"]
    threads = [*model.threads, ThreadView("other", score_unit="cosine")]
    one, other = ScoreFigure(threads, [0]), ScoreFigure(threads, [1])
    assert other.figure.yaxis.axis_label == "score (cosine)"
    one.draw(model)
    assert len(one.figure.legend[0].items) == 2  # its thread, and the references


def test_the_scores_of_a_guided_search_say_that_they_are_of_both_arms():
    records, _ = make_session("spikes", (-100.0, 300.0), 10)
    start = next(record for record in records if isinstance(record, r.RunStart))
    (first, *rest) = start.threads
    threads = (msgspec.structs.replace(first, optimizer="guided"), *rest)
    guided = msgspec.structs.replace(start, threads=threads)
    model = SessionModel()
    model.feed([guided if record is start else record for record in records])
    assert f"{first.name} (both arms), spikes/s" in header_html(
        model, LIVE_LIGHT, trouble=False
    )
    scores, *_ = drawn(model)
    named = [item.label.value for item in scores.figure.legend[0].items]
    assert named[0] == f"{first.name} (both arms)"


def test_scores_that_have_no_zero_fill_their_axes():
    model = scored()
    rates = ScoreFigure(model.threads)
    rates.draw(model)
    assert rates.figure.y_range.start <= 0
    model.threads[0].score_unit = "cosine"
    cosines = ScoreFigure(model.threads)
    for generation in model.threads[0].scored:
        generation.mean, generation.sem = 0.96 + 0.01 * generation.number, 0.005
    cosines.draw(model)
    first, last = 0.955, 0.965 + 0.01 * (GENERATIONS - 1)
    limits = cosines.figure.y_range
    assert first - 0.1 * (last - first) < limits.start < first
    assert last < limits.end < last + 0.1 * (last - first)


def bars(figure):
    """Return the windows drawn as bars: from, to and colour, those taken off first."""
    return [
        (float(x0), float(x1), colour)
        for g in figure.renderers
        if type(g.glyph).__name__ == "HBar"
        for x0, x1, colour in zip(
            *(g.data_source.data[c] for c in ("x0", "x1", "color")), strict=True
        )
    ]


def test_windows_that_differ_are_bars_of_each_thread():
    records, _ = make_session("spikes", (-100.0, 300.0), 10)
    late = {"late_ms": [150.0, 250.0], "early_ms": [50.0, 100.0]}
    model = SessionModel()
    model.feed(with_threads(records, {"late": late, "rate": {"response_ms": [50.0, 200.0]}}))
    _, _, psth, raster, *_ = drawn(model)
    one, other = thread_colour(0), thread_colour(1)
    for shown in (psth.figure, raster.figure):
        assert strips(shown) == []
        assert bars(shown) == [(50, 100, one), (150, 250, one), (50, 200, other)]
    highest = max(
        max(g.data_source.data["y"], default=0)
        for g in psth.figure.renderers
        if type(g.glyph).__name__ == "Line" and np.isfinite(g.data_source.data["y"]).all()
    )
    lowest = min(
        min(g.data_source.data["y"], default=1)
        for g in psth.figure.renderers
        if type(g.glyph).__name__ == "HBar"
    )
    assert highest / psth.figure.y_range.end < lowest - 0.02


@pytest.mark.parametrize(
    ("fitness", "keys"),
    [
        (WINDOWS, ["baseline", "scored"]),
        ({"response_ms": [50.0, 200.0]}, ["scored"]),
        ({"late_ms": [150.0, 250.0], "early_ms": [50.0, 100.0]}, ["early", "scored"]),
    ],
)
def test_the_legend_has_the_windows_there_are_and_no_others(fitness, keys):
    records, _ = make_session("spikes", (-100.0, 300.0), 10, fitness=fitness)
    model = SessionModel()
    model.feed(records)
    _, _, psth, *_ = drawn(model)
    shown = [item.label["value"] for item in psth.figure.legend[0].items if item.visible]
    assert shown == ["a", "first", *keys]
    assert bars(psth.figure) == []
