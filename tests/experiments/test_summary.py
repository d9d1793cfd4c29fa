"""One experiment's summary against loops over its arrays; what is undefined says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evolver.analysis.success_tests import success_of_means
from evolver.errors import DataError
from evolver.experiments import read_experiments
from evolver.experiments.experiment import Course, Psth
from evolver.experiments.plain_layout import read_plain
from evolver.experiments.summary import AnalysisSettings, summarise
from evolver.experiments.tables import THREAD_COLUMNS, constant_table, thread_table
from evolver.seeds import stream
from tests.experiments.made import archive, lab, plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def published(folder):
    arrays = archive(folder / "a.npz", lab(areas=("IT",), each=1))
    (one,) = read_experiments([folder / "a.npz"])
    return one, arrays["IT-0/trajectory"].astype(float), arrays["IT-0/psth"].astype(float)


@pytest.fixture(scope="module")
def own(folder):
    plain(folder / "mine")
    return read_plain(folder / "mine")


def test_numbers_are_those_of_the_arrays(published):
    one, columns, rates = published
    found = summarise(one)
    assert found.valid.valid
    assert found.scale.value == columns[:, [0, 3]].max()
    for k, thread in enumerate(found.threads):
        course = columns[:, 3 * k]
        assert thread.first.value == course[0]
        assert thread.last.value == course[-1]
        assert thread.highest.value == max(course)
        assert thread.ratio.value == pytest.approx(course[-1] / course[0])
        risen = course - course[0]
        above = [b for b in range(len(course)) if risen[b] > 0.8 * risen.max()]
        assert thread.constant.value == above[0]
        psth = rates[k, :, 0]
        peak = int(np.argmax([row[50:200].mean() for row in psth]))
        assert thread.psth_peak == peak
        difference = (psth[peak] - psth[0]).reshape(20, 10).mean(axis=1)
        shares = difference / difference.sum()
        assert thread.early.value == pytest.approx(shares[5:10].sum())
        assert thread.late.value == pytest.approx(shares[10:20].sum())
        assert thread.latencies.peak.value == 50 + int(np.argmax(psth[peak][50:])) + 0.5
        threshold = psth[:, :50].mean() + 2 * psth[:, :50].std()
        first = next(t for t in range(25, 200) if psth[peak][t] > threshold)
        assert thread.latencies.response.value == first + 0.5
        sem = (columns[:, 3 * k + 2] - columns[:, 3 * k + 1]) / 2
        name = ("fc6", "BigGAN_class")[k]
        rng = stream(0, "analyze", "shuffles", "IT-0", name)
        assert thread.success == success_of_means(course, sem, rng=rng)
    peaks = [
        rates[k, t.psth_peak, 0, 50:200] / found.scale.value
        for k, t in enumerate(found.threads)
    ]
    scale = max(rates[k, :, 0, 50:200].mean(axis=1).max() for k in (0, 1))
    mae = np.abs(peaks[0] - peaks[1]).mean() * found.scale.value / scale
    assert found.difference.mae == pytest.approx(mae)


def test_windows_are_options(published):
    one, _, rates = published
    settings = AnalysisSettings(
        response_ms=(100, 150), early_ms=(60, 80), bin_ms=20, threshold=0.5
    )
    thread = summarise(one, settings).threads[1]
    psth = rates[1, :, 0]
    peak = int(np.argmax([row[100:150].mean() for row in psth]))
    difference = (psth[peak] - psth[0]).reshape(10, 20).mean(axis=1)
    assert thread.early.value == pytest.approx(difference[3] / difference.sum())
    odd = summarise(one, replace(settings, early_ms=(65, 80))).threads[1]
    assert "must begin and end on bins" in odd.early.reason
    assert odd.late.defined
    cut = summarise(one, AnalysisSettings(window_ms=(0, 150))).threads[1]
    assert "a window must lie on edges" in cut.early.reason
    assert cut.success.success
    with pytest.raises(DataError, match="must end after it begins; got 50 to 20"):
        AnalysisSettings(early_ms=(50, 20))


def test_single_images_are_dealt_anew_and_published_habits_are_a_setting(own):
    found = summarise(own).threads[0].success
    assert (found.rule, found.dof, found.success) == ("shuffle", 46, True)
    paper = summarise(own, AnalysisSettings().as_published).threads[0].success
    assert (paper.rule, paper.p) == ("maxinit", found.p_t)
    assert summarise(own).threads[0].success == found  # whenever it is asked


def test_a_last_block_of_few_images_is_dropped(own):
    thread = own.threads[0]
    few = replace(thread.single, block=np.where(np.arange(240) >= 232, 18, thread.single.block))
    counts = np.bincount(few.block, minlength=20)
    assert counts[-1] == 4
    cut = replace(own, threads=(replace(thread, single=few, images=counts), own.threads[1]))
    found = summarise(cut)
    assert found.dropped == 1
    assert [len(t.thread.course) for t in found.threads] == [19, 19]
    assert all(t.thread.single.block.max() == 18 for t in found.threads)
    assert found.threads[1].last.value == own.threads[1].course.mean[18]
    assert summarise(own).dropped == 0


def test_images_of_two_threads_are_compared(own):
    values = {s.measure: s.value.value for s in summarise(own).similarity}
    a, b = (t.pictures["best"].ravel() / 255 for t in own.threads)
    assert values["pixel_r"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert set(values) == {"pixel_r", "ssim"}
    other = replace(own.threads[1], pictures={"best": np.zeros((12, 12, 3), np.uint8)})
    found = summarise(replace(own, threads=(own.threads[0], other)))
    assert "images have different sizes" in found.no_similarity


def test_what_is_absent_has_a_reason_in_the_table(own):
    bare = replace(
        own.threads[0],
        psth=None,
        single=None,
        references=None,
        images=None,
        pictures={},
        course=Course(own.threads[0].course.mean, np.full(20, np.nan)),
        score_unit="z",
    )
    found = summarise(replace(own, threads=(bare,)))
    table = thread_table([found])
    (row,) = table.rows
    cells = dict(zip(table.columns, row, strict=True))
    for name in ("success", "p", "ratio", "peak_latency_ms", "early_share", "psth_mae"):
        assert cells[name] is None
    assert cells["valid"] is True
    reasons = cells["reasons"]
    assert "z has no zero" in reasons
    assert "psth_mae, psth_r, image_pixel_r, image_ssim, init_difference, init_p," in reasons
    assert "max_p_t: the session has one thread" in reasons
    assert "success: responses of single images, or a mean and a sem" in reasons
    assert "not checked: jumps of the baseline" in reasons
    assert cells["first"] == own.threads[0].course.mean[0]
    assert found.scale.reason == "scores are no rates"


def cells_of(summary, k=0):
    table = thread_table([summary])
    return dict(zip(table.columns, table.rows[k], strict=True))


def test_two_threads_are_compared_at_start_end_and_highest(own, published):
    cells = cells_of(summarise(own), 1)
    first, second = (t.single for t in own.threads)
    for at, start in (("init", 0), ("end", 18)):
        pairs = [
            of.response[(of.block >= start) & (of.block < start + 2)] for of in (first, second)
        ]
        assert cells[f"{at}_difference"] == pytest.approx(pairs[0].mean() - pairs[1].mean())
        assert cells[f"{at}_p_t"] == pytest.approx(stats.ttest_ind(*pairs).pvalue)
    assert cells["max_p"] < 0.01
    assert cells["init_p"] > 0.1
    thread_a, thread_b = published[0].threads
    cells = cells_of(summarise(published[0]))
    difference = thread_a.course.mean[:2].mean() - thread_b.course.mean[:2].mean()
    error = np.sqrt(sum((t.course.sem[:2] ** 2).sum() for t in (thread_a, thread_b))) / 2
    assert cells["init_difference"] == pytest.approx(difference)
    assert cells["init_p_t"] == pytest.approx(2 * stats.norm.sf(abs(difference / error)))
    other = replace(own.threads[1], score_unit="z")
    mixed = summarise(replace(own, threads=(own.threads[0], other)))
    assert mixed.no_comparison == "scores are in spikes/s and in z"


def test_a_baseline_that_jumps_is_not_valid(published):
    one, _, _ = published
    jumped = []
    for thread in one.threads:
        mean = thread.psth.mean.copy()
        mean[9:, :45] += 40
        jumped.append(replace(thread, psth=Psth(mean, thread.psth.sem, thread.psth.edges_ms)))
    found = summarise(replace(one, threads=tuple(jumped)))
    assert found.valid.reasons == ("the baseline jumps before block 9",)
    assert summarise(
        replace(one, threads=tuple(jumped)), AnalysisSettings(robust_sds=1e9)
    ).valid.valid
    short = summarise(one, AnalysisSettings(fewest_blocks=30))
    assert short.valid.reasons == ("16 blocks; 30 are needed",)


def test_tables_have_a_cell_for_every_column(published, own):
    summaries = [summarise(published[0]), summarise(own)]
    table = thread_table(summaries)
    assert table.columns == tuple(THREAD_COLUMNS)
    assert [len(row) for row in table.rows] == [len(table.columns)] * 4
    constants = constant_table(summaries)
    assert len(constants.rows) == 4 * 24
    by = {(row[0], row[1], *row[2:6]): row[6] for row in constants.rows}
    own_first = by["mine", "one-gan", "means", "first", 0.8, "first_above"]
    assert own_first == summaries[1].threads[0].constant.value
