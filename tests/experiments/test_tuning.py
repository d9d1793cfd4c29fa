"""Axes from the plain layout to their rows, and how often shapes come among successes."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from evolver.errors import DataError
from evolver.experiments.axis_summaries import axis_summaries
from evolver.experiments.experiment import AxisTrials, TuningTrials
from evolver.experiments.plain_layout import read_plain
from evolver.experiments.populations import population_of
from evolver.experiments.summary import AnalysisSettings, summarise
from evolver.experiments.tuning_populations import PEAK_BINS, axis_groups, peak_shares
from evolver.experiments.tuning_tables import AXIS_COLUMNS, axis_table, tuning_tables
from evolver.report.style import save
from evolver.report.tuning_figures import (
    draw_experiment_tuning,
    draw_tuning_peaks,
    draw_tuning_shapes,
)
from tests.experiments.made import STEPS, axes, plain

SETTINGS = AnalysisSettings(shuffles=99, alpha=0.02, robust_sds=1000)


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three sessions: the first thread rises and has bells; the second does not, and slopes."""
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(3)
    for i in range(3):
        bells = axes(rng, (0.05, -0.08), without_origin={1})
        slopes = axes(rng, (0.5, 0.45), half="", height=20)
        slopes[1]["tuning/-1/response"][:] = rng.normal(9, 2, 9 * 8)  # not tuned
        plain(
            folder / f"s{i}",
            blocks=16,
            pictures=False,
            seed=i,
            gains=(0.8, 0.0),
            tuned=(bells, slopes),
        )
    return [folder / f"s{i}" for i in range(3)]


@pytest.fixture(scope="module")
def summaries(folders):
    return [summarise(read_plain(folder), SETTINGS) for folder in folders]


def test_an_axis_is_what_was_written(folders):
    arrays = np.load(folders[0] / "arrays.npz")
    first, second = read_plain(folders[0]).threads
    axis = first.tuning.axes[1]
    assert (axis.name, axis.half, axis.eigenvector) == ("class-1", "class", 1)
    np.testing.assert_array_equal(axis.step, arrays["0/tuning/class-1/step"])
    np.testing.assert_array_equal(axis.response, arrays["0/tuning/class-1/response"])
    assert [axis.half for axis in second.tuning.axes] == ["", ""]
    at_0 = arrays["0/tuning/class-0/response"][arrays["0/tuning/class-0/step"] == 0]
    np.testing.assert_array_equal(first.tuning.origin, at_0)
    assert len(at_0) == 8


def test_an_axis_has_its_own_trials_of_the_evolved_code_before_the_threads(folders):
    thread = read_plain(folders[0]).threads[0]
    step, response = np.repeat(STEPS[STEPS != 0], 2), np.arange(16.0)
    own = AxisTrials("a", "", -1, step, response, origin=np.full(5, 7.0))
    lending = AxisTrials("b", "", -1, np.zeros(3), np.full(3, 4.0))
    borrowing = AxisTrials("c", "", -1, step, response)
    thread = replace(thread, tuning=TuningTrials((own, lending, borrowing)))
    of = axis_summaries("s", thread, shape="range", seed=0)
    middles = [one.tuning.means[one.tuning.steps == 0].item() for one in of]
    assert middles == [7, 4, 4]
    assert [(one.trials, one.borrowed) for one in of] == [(21, 5), (3, 0), (19, 3)]


def test_angles_are_counted_apart_and_each_group_has_bins_of_its_own(summaries):
    """A circle's 90 degrees beside steps of 0.4 would leave these one bin."""
    first = summaries[0].threads[0]
    bell = first.axes[0].axis
    circle = replace(
        bell, name="circle", step=bell.step * 225, family="circles", step_unit="degrees"
    )
    thread = replace(first.thread, tuning=TuningTrials((bell, circle)))
    both = axis_summaries("s", thread, shape="range", seed=0)
    mixed = replace(
        summaries[0],
        threads=(replace(first, thread=thread, axes=both), summaries[0].threads[1]),
    )
    population = population_of([mixed, *summaries[1:]], SETTINGS)
    groups = [group for group in axis_groups(population) if group.generator == "one-gan"]
    assert [group.label for group in groups] == ["one-gan, class", "one-gan, class, circles"]
    assert [group.shown for group in groups] == [5, 1]
    edges = [row.edges for row in peak_shares(population)][:2]
    assert [edge[-1] for edge in edges] == pytest.approx([0.4, 90])
    peaks = rows_of(tuning_tables(population)[1])
    assert {(row["family"], row["step_unit"]) for row in peaks} == {
        ("", "latent units"),
        ("circles", "degrees"),
    }
    row = rows_of(axis_table([mixed]))[1]
    assert (row["axis"], row["family"], row["step_unit"]) == ("circle", "circles", "degrees")
    assert row["peak"] == pytest.approx(225 * rows_of(axis_table([mixed]))[0]["peak"], abs=9)
    panel = draw_experiment_tuning(mixed).axes[2]
    assert panel.get_xlabel() == "angle (\N{DEGREE SIGN})"
    assert panel.get_xticks().tolist() == [-90, 0, 90]


def test_trials_shown_at_the_origin_are_borrowed_before_those_of_other_axes():
    step = np.repeat(STEPS[STEPS != 0], 2)
    axis = AxisTrials("a", "", -1, step, np.ones(16))
    other = AxisTrials("b", "", -1, np.zeros(3), np.full(3, 4.0))
    assert TuningTrials((axis, other)).origin.tolist() == [4, 4, 4]
    assert TuningTrials((axis, other), np.full(2, 7.0)).origin.tolist() == [7, 7]
    assert TuningTrials((axis,)).origin.tolist() == []


def test_a_row_is_the_tuning_of_trials_with_those_that_are_borrowed(folders, summaries):
    arrays = np.load(folders[0] / "arrays.npz")
    row = rows_of(axis_table(summaries))[1]
    assert tuple(row) == tuple(AXIS_COLUMNS)
    assert (row["axis"], row["generator"], row["success"]) == ("class-1", "one-gan", True)
    step, response = (arrays[f"0/tuning/class-1/{part}"] for part in ("step", "response"))
    lent = arrays["0/tuning/class-0/response"][arrays["0/tuning/class-0/step"] == 0]
    assert (row["steps"], row["trials"], row["borrowed"]) == (9, 72, 8)
    groups = [response[step == at] for at in STEPS if at != 0] + [lent]
    theirs = stats.f_oneway(*groups)
    assert (row["f"], row["p"]) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert row["tuned"] is True
    assert row["bell"] is True
    assert row["monotonic"] is False
    assert row["peak"] == pytest.approx(-0.08, abs=0.05)
    assert row["gaussian_centre"] == pytest.approx(-0.08, abs=0.03)
    x, y = np.append(step, np.zeros(8)), np.append(response, lent)
    assert row["line_r2"] == pytest.approx(stats.linregress(x, y).rvalue ** 2)
    within = sum(((of - of.mean()) ** 2).sum() for of in groups) / (72 - 9)
    explainable = 1 - within / y.var(ddof=1)
    assert row["explainable"] == pytest.approx(explainable)
    assert row["gaussian_explained"] == pytest.approx(row["gaussian_r2"] / explainable)
    assert row["reasons"] == ""


def test_an_axis_is_fitted_alike_beside_whatever_else(folders, summaries):
    again = summarise(read_plain(folders[0]), SETTINGS).threads[0].axes[0].tuning
    np.testing.assert_array_equal(
        again.curve.mean, summaries[0].threads[0].axes[0].tuning.curve.mean
    )


def test_what_is_undefined_has_its_reason(summaries):
    thread = summaries[0].threads[0].thread
    lone = AxisTrials("a", "", -1, np.zeros(6), np.arange(6.0))
    thread = replace(thread, tuning=TuningTrials((lone,)))
    axes_of = axis_summaries("s", thread, shape="range", seed=0)
    summary = replace(summaries[0], threads=(replace(summaries[0].threads[0], axes=axes_of),))
    (row,) = rows_of(axis_table([summary]))
    assert [row[name] for name in ("p", "tuned", "bell", "peak", "eigenvector")] == [None] * 5
    assert "p, explainable: 6 trials of 1 steps; two steps" in row["reasons"]
    assert "1 steps; four are needed" in row["reasons"]
    assert row["best_step"] == 0


def test_shapes_of_successes_are_compared_with_those_of_others(summaries):
    population = population_of(summaries, SETTINGS)
    assert len(population.members) == 3
    groups = {group.label: group for group in axis_groups(population)}
    assert set(groups) == {"one-gan, class", "other-gan"}
    bells, slopes = groups["one-gan, class"], groups["other-gan"]
    assert (bells.shown, len(bells.successes), len(bells.others)) == (6, 6, 0)
    assert (slopes.shown, len(slopes.successes), len(slopes.others)) == (6, 0, 3)
    shapes, peaks = (rows_of(table) for table in tuning_tables(population))
    by = {(row["generator"], row["shape"]): row for row in shapes}
    assert (by["one-gan", "bell"]["successes_k"], by["one-gan", "bell"]["successes_n"]) == (
        6,
        6,
    )
    assert by["one-gan", "bell"]["others_n"] == 0
    assert by["one-gan", "bell"]["p"] is None
    assert by["one-gan", "bell"]["reason"]
    assert (by["other-gan", "monotonic"]["others_k"], by["other-gan", "bell"]["others_k"]) == (
        3,
        0,
    )
    of = [row for row in peaks if (row["generator"], row["of"]) == ("one-gan", "successes")]
    assert len(of) == PEAK_BINS
    assert of[PEAK_BINS // 2]["from"] < 0 < of[PEAK_BINS // 2]["to"]
    assert sum(row["k"] for row in of) == 6
    assert sum(row["k"] for row in of if row["from"] < 0.1 and row["to"] > -0.14) == 6


def test_two_shares_are_compared_by_their_z(summaries):
    """Threads change places in one session, so that both kinds are of one generator."""
    first, second = summaries[0].threads
    failed = replace(first, success=second.success)
    mixed = [replace(summaries[0], threads=(failed, second)), *summaries[1:]]
    group = axis_groups(population_of(mixed, SETTINGS))[0]
    assert (len(group.successes), len(group.others)) == (4, 2)
    shapes = rows_of(tuning_tables(population_of(mixed, SETTINGS))[0])
    monotonic = shapes[1]
    assert (monotonic["successes_k"], monotonic["others_k"]) == (0, 0)
    assert monotonic["reason"] == "none of both are"
    sloping = replace(failed, axes=(second.axes[0], second.axes[0]))
    sloping = replace(
        sloping, axes=tuple(replace(a, axis=first.axes[0].axis) for a in sloping.axes)
    )
    mixed[0] = replace(mixed[0], threads=(sloping, second))
    bell = rows_of(tuning_tables(population_of(mixed, SETTINGS))[0])[0]
    common = 4 / 6
    z = 1 / sqrt(common * (1 - common) * (1 / 4 + 1 / 2))
    assert bell["z"] == pytest.approx(z)
    assert bell["p"] == pytest.approx(2 * stats.norm.sf(z))


def test_figures_are_drawn_and_absent_without_axes(summaries, tmp_path):
    population = population_of(summaries, SETTINGS)
    for draw in (draw_tuning_shapes, draw_tuning_peaks):
        assert save(draw(population), tmp_path / "a.png").stat().st_size > 10_000
    figure = draw_experiment_tuning(summaries[0])
    assert len(figure.axes) == 1 + 4
    titles = [one.get_title(loc="left") for one in figure.axes[1:]]
    assert titles == ["class 0", "class 1", "axis 0", "axis 1"]
    texts = [text.get_text() for text in figure.axes[4].texts]
    assert any(text.endswith("not tuned") for text in texts)


def test_no_axes_no_figures_and_empty_tables(tmp_path):
    plain(tmp_path / "bare", blocks=16, pictures=False)
    summary = summarise(read_plain(tmp_path / "bare"), SETTINGS)
    population = population_of([summary], SETTINGS)
    assert summary.threads[0].axes == ()
    assert summary.experiment.threads[0].why_not("tuning") == "the folder does not hold it"
    assert draw_experiment_tuning(summary) is None
    assert draw_tuning_shapes(population) is draw_tuning_peaks(population) is None
    assert [len(t.rows) for t in (axis_table([summary]), *tuning_tables(population))] == [0] * 3
    assert peak_shares(population) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda _, a: a.pop("0/tuning/class-0/step"),
            "step must be there: experiment.json names",
        ),
        (
            lambda _, a: a.update({"0/tuning/class-9/step": np.zeros(2)}),
            "unknown: 0/tuning/class-9",
        ),
        (lambda _, a: a["0/tuning/class-0/step"].__setitem__(0, np.nan), "must be finite"),
        (
            lambda _, a: a.update({"0/tuning/class-0/response": np.zeros(3)}),
            "vectors of one length",
        ),
        (
            lambda _, a: a.update({
                f"0/tuning/class-0/{part}": np.arange(600.0) for part in ("step", "response")
            }),
            "at most 500 different steps; it has 600",
        ),
        (lambda said, _: said[0]["axes"].append(said[0]["axes"][0]), "each of another name"),
        (lambda said, _: said[0]["axes"][0].update(name="a/b"), "an axis must be called by"),
        (lambda said, _: said[0]["axes"][0].update(eigenvector=-2), "`int` >= 0"),
        (lambda _, a: a.update({"1/tuning/origin": np.zeros(2)}), "of no use without axes"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, text):
    tuned = axes(np.random.default_rng(0), (0.0,))
    plain(tmp_path / "s", blocks=5, images=2, pictures=False, tuned=(tuned, ([], {})))
    description = json.loads((tmp_path / "s" / "experiment.json").read_text())
    arrays = dict(np.load(tmp_path / "s" / "arrays.npz"))
    change(description["threads"], arrays)
    (tmp_path / "s" / "experiment.json").write_text(json.dumps(description))
    np.savez(tmp_path / "s" / "arrays.npz", **arrays)
    with pytest.raises(DataError, match=text):
        read_plain(tmp_path / "s")
