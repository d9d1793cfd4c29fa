"""Experiments and populations as rows: numbers, texts, and empty cells with their reasons.

An undefined value is None; why it is stands in the row's `reasons`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, TypeAlias

from evolver.analysis.quantities import Quantity
from evolver.experiments.populations import (
    area_means,
    area_tests,
    attribution_courses,
    normalised_trajectories,
    success_shares,
    time_courses,
)
from evolver.table_files import finite_cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evolver.analysis.t_tests import TTest
    from evolver.analysis.thread_tests import ThreadTest
    from evolver.experiments.masks import UnitMask
    from evolver.experiments.populations import ExperimentPopulation
    from evolver.experiments.summary import ExperimentSummary, ThreadSummary

Cell: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns.

    Attributes
    ----------
    name : of its file
    meanings : column -> what it holds; columns are in this order
    rows : a cell a column each
    """

    name: str
    meanings: dict[str, str]
    rows: Sequence[tuple[Cell, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.meanings)


THREAD_COLUMNS = {
    "experiment": "its name in its source",
    "animal": "as the source says",
    "area": "of the unit",
    "unit": "as the source calls it",
    "date": "of the session",
    "thread": "as the source calls it",
    "generator": "whose codes evolved",
    "blocks": "that are kept",
    "dropped": "last blocks with too few images",
    "images": "with a response, in all kept blocks",
    "score_unit": "of first, last and highest",
    "valid": "whether the session counts in populations",
    "success": "whether responses rose",
    "p": "of that, by the rule",
    "p_error": "standard error of p, as it is counted in dealings",
    "dealings": "sessions dealt anew or drawn, for p; 0 by a published rule",
    "rule": "how p was found",
    "p_t": "of the t-test of late against early blocks (z where a source has means alone)",
    "first": "mean of the first block",
    "last": "mean of the last kept block",
    "highest": "highest mean of a block",
    "highest_block": "from 0",
    "ratio": "last over first",
    "time_constant": "blocks until a share of the rise",
    "response_latency_ms": "of the highest block's PSTH",
    "peak_latency_ms": "of the highest block's PSTH",
    "centre_ms": "centre of mass of the highest block's PSTH",
    "early_share": "of the rise, in the early window",
    "late_share": "of the rise, in the late window",
    "references_first": "references' mean beside the first block",
    "references_last": "references' mean beside the last kept block",
    "psth_mae": "mean absolute difference of the first two threads' PSTHs, over the scale",
    "psth_r": "their correlation",
    "init_difference": "first two blocks' mean, first thread less second",
    "init_p": "of that, images dealt anew to the threads, or sessions drawn of block means",
    "init_p_t": "of the published t-test (z where a source has means alone)",
    "end_difference": "last two blocks' mean, first thread less second",
    "end_p": "of that, as above",
    "end_p_t": "of the published t-test",
    "max_difference": "highest two blocks' mean of each, first thread less second",
    "max_p": "of that, as above, the highest picked again",
    "max_p_t": "of the published t-test",
    "image_pixel_r": "of the first two threads' best images",
    "image_ssim": "of the first two threads' best images",
    "source": "the file or folder",
    "reasons": "why cells are empty, and why the session is not valid",
}


MASK_COLUMNS = {
    "mask_n": "images with a response and their pixels, of which the mask is made",
    "mask_area": "share of the layer that the mask is, its mean",
    "mask_beyond": "features that rise with responses, t above 3",
    "mask_chance": "how many would, of pure noise",
    "mask_p": "of the positive part's mass, among responses dealt anew to images",
    "mask_explained": "of the positive part's squares, what three factors are",
    "mask_cosine": "of the first two threads' masks",
    "mask_iou": "of the first two threads' masks, sum of smaller over sum of larger values",
    "pooled_mask_n": "images of all threads together",
    "pooled_mask_area": "of the mask over all threads' images",
    "pooled_mask_p": "of the mask over all threads' images",
}
"""Beside `THREAD_COLUMNS`, where masks were asked for."""

_OF_MASKS = (
    *("mask_area", "mask_p", "mask_explained", "mask_cosine", "mask_iou"),
    *("pooled_mask_area", "pooled_mask_p"),
)
"""Those of `MASK_COLUMNS` that may be undefined; the others are counts."""
_OF_PSTHS, _OF_IMAGES = ("psth_mae", "psth_r"), ("image_pixel_r", "image_ssim")
_COMPARED = {"init": "init", "end": "end", "max": "highest"}
_OF_COMPARISONS = tuple(
    f"{at}_{what}" for at in _COMPARED for what in ("difference", "p", "p_t")
)


def thread_table(summaries: Sequence[ExperimentSummary]) -> Table:
    """Return a row for every thread of every experiment."""
    columns = dict(THREAD_COLUMNS)
    masks = any(summary.look is not None or summary.no_look for summary in summaries)
    if masks:
        last = {name: columns.pop(name) for name in ("source", "reasons")}
        columns |= MASK_COLUMNS | last
    rows: list[tuple[Cell, ...]] = []
    for summary in summaries:
        for k in range(len(summary.threads)):
            cells = _thread_cells(summary, k, masks=masks)
            rows.append(tuple(cells[name] for name in columns))
    return Table("experiments", columns, rows)


def similarity_table(summaries: Iterable[ExperimentSummary]) -> Table:
    """Return a row for every prototype of two threads, and every measure of how alike."""
    meanings = {
        "experiment": "its name",
        "first": "generator of the first thread",
        "second": "generator of the second thread",
        "prototype": "best image of the highest block, image of its mean code, or re-evolved",
        "measure": "of the pair; cnn_ is of the layer that masks were made in",
        "value": "of the measure",
        "reason": "why there is none",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            summary.experiment.id,
            *summary.generators[:2],
            pair.prototype,
            pair.measure,
            finite_cell(pair.value.value),
            pair.value.reason,
        )
        for summary in summaries
        for pair in summary.similarity
    ]
    return Table("image_similarity", meanings, rows)


def _thread_cells(summary: ExperimentSummary, k: int, *, masks: bool) -> dict[str, Cell]:
    one, experiment = summary.threads[k], summary.experiment
    thread, reasons = one.thread, list[str]()
    quantities = {**_quantities(one), **_pair_quantities(summary, k)}
    if masks:
        quantities |= _mask_quantities(summary, k)
    said: dict[str, list[str]] = {}
    for name, quantity in quantities.items():
        if not quantity.defined:
            said.setdefault(quantity.reason, []).append(name)
    if one.success.reason:
        said.setdefault(one.success.reason, []).append("success")
    reasons += [f"not valid: {reason}" for reason in summary.valid.reasons]
    if summary.unchecked:
        reasons.append(f"not checked: {summary.unchecked}")
    reasons += [f"{', '.join(names)}: {reason}" for reason, names in said.items()]
    return {
        "experiment": experiment.id,
        "animal": experiment.animal,
        "area": experiment.area,
        "unit": experiment.unit,
        "date": experiment.date,
        "thread": thread.name,
        "generator": thread.generator,
        "blocks": len(thread.course),
        "dropped": summary.dropped,
        "images": None if thread.images is None else int(thread.images.sum()),
        "score_unit": thread.score_unit,
        "valid": summary.valid.valid,
        "success": one.success.success if one.success.defined else None,
        "p": finite_cell(one.success.p),
        "p_error": finite_cell(one.success.p_error),
        "dealings": one.success.dealings if one.success.defined else None,
        "rule": one.success.rule,
        "p_t": finite_cell(one.success.p_t),
        "highest_block": one.highest_block if one.highest_block >= 0 else None,
        **{name: finite_cell(quantity.value) for name, quantity in quantities.items()},
        **(_mask_counts(summary, k) if masks else {}),
        "source": experiment.source,
        "reasons": "; ".join(reasons),
    }


def _quantities(one: ThreadSummary) -> dict[str, Quantity]:
    thread = one.thread
    references = [Quantity.undefined(thread.why_not("references"))] * 2
    if thread.references is not None and len(thread.references):
        ends = (float(thread.references.mean[0]), float(thread.references.mean[-1]))
        references = [
            Quantity(value)
            if isfinite(value)
            else Quantity.undefined("no reference in the block")
            for value in ends
        ]
    return {
        "first": one.first,
        "last": one.last,
        "highest": one.highest,
        "ratio": one.ratio,
        "time_constant": one.constant,
        "response_latency_ms": one.latencies.response,
        "peak_latency_ms": one.latencies.peak,
        "centre_ms": one.latencies.centre,
        "early_share": one.early,
        "late_share": one.late,
        "references_first": references[0],
        "references_last": references[1],
    }


def _pair_quantities(summary: ExperimentSummary, k: int) -> dict[str, Quantity]:
    """Return what is said of the first two threads, in the rows of both."""
    if k > 1:
        none = Quantity.undefined("of the first two threads")
        return dict.fromkeys((*_OF_PSTHS, *_OF_COMPARISONS, *_OF_IMAGES), none)
    difference = summary.difference
    found = {name: Quantity.undefined(summary.no_difference) for name in _OF_PSTHS}
    found |= {name: Quantity.undefined(summary.no_similarity) for name in _OF_IMAGES}
    found |= _compared(summary)
    if difference is not None:
        found |= {"psth_mae": Quantity(difference.mae), "psth_r": difference.correlation}
    for one in summary.similarity:
        if one.prototype == "best":
            found[f"image_{one.measure}"] = one.value
    return found


def _compared(summary: ExperimentSummary) -> dict[str, Quantity]:
    """Return the first two threads' differences and p at their start, end and highest."""
    tests = summary.comparison
    if tests is None:
        return dict.fromkeys(_OF_COMPARISONS, Quantity.undefined(summary.no_comparison))
    quantities: dict[str, Quantity] = {}
    for at, name in _COMPARED.items():
        test: ThreadTest = getattr(tests, name)
        values = (test.t_test.difference, test.p, test.t_test.p)
        for what, value in zip(("difference", "p", "p_t"), values, strict=True):
            quantities[f"{at}_{what}"] = Quantity(value, test.reason)
    return quantities


def _mask_quantities(summary: ExperimentSummary, k: int) -> dict[str, Quantity]:
    """Return what is said of where a thread's unit looks; of pairs, in the rows of both."""
    look = summary.look
    if look is None:
        return dict.fromkeys(_OF_MASKS, Quantity.undefined(f"no mask: {summary.no_look}"))
    thread = look.threads[k]
    found = dict.fromkeys(_OF_MASKS, Quantity.undefined(f"no mask: {thread.reason}"))
    if thread.mask is not None:
        found |= _of_mask("mask", thread.mask) | {"mask_explained": thread.mask.explained}
    pooled = Quantity.undefined(f"not pooled: {look.no_pooled}")
    found |= dict.fromkeys(("pooled_mask_area", "pooled_mask_p"), pooled)
    if look.pooled is not None:
        found |= _of_mask("pooled_mask", look.pooled)
    pair = Quantity.undefined("of the first two threads")
    found["mask_cosine"] = look.cosine if k < 2 else pair
    found["mask_iou"] = look.iou if k < 2 else pair
    return found


def _of_mask(name: str, mask: UnitMask) -> dict[str, Quantity]:
    return {f"{name}_area": mask.area, f"{name}_p": mask.p}


def _mask_counts(summary: ExperimentSummary, k: int) -> dict[str, Cell]:
    """Return how many images and features masks are of; none where there are no masks."""
    look = summary.look
    mask = None if look is None else look.threads[k].mask
    pooled = None if look is None else look.pooled
    return {
        "mask_n": None if mask is None else mask.n,
        "mask_beyond": None if mask is None else mask.beyond,
        "mask_chance": None if mask is None else finite_cell(mask.chance),
        "pooled_mask_n": None if pooled is None else pooled.n,
    }


def constant_table(summaries: Iterable[ExperimentSummary]) -> Table:
    """Return every variant of every thread's time constant."""
    meanings = {
        "experiment": "its name",
        "generator": "whose codes evolved",
        "curve": "block means, or those of a Gaussian process",
        "base": "what is subtracted first",
        "threshold": "share of the maximum",
        "statistic": "first block above it, or how many are below",
        "blocks": "the constant",
        "reason": "why there is none",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            summary.experiment.id,
            one.thread.generator,
            constant.curve,
            constant.base,
            constant.threshold,
            constant.statistic,
            finite_cell(constant.blocks.value),
            constant.blocks.reason,
        )
        for summary in summaries
        for one in summary.threads
        for constant in one.constants
    ]
    return Table("time_constants", meanings, rows)


def population_tables(population: ExperimentPopulation) -> list[Table]:
    """Return success rates, means, tests, courses, and the experiments that are left out."""
    return [
        _share_table(population),
        _mean_table(population),
        _test_table(population),
        _trajectory_table(population),
        _attribution_table(population),
        _time_bin_table(population),
        Table(
            "left_out",
            {"experiment": "its name", "reason": "why it is in no population"},
            population.left_out,
        ),
    ]


def _share_table(population: ExperimentPopulation) -> Table:
    meanings = {
        "area": "of the units",
        "generator": "or any, or both, of a session's",
        "successes": "sessions in which it succeeded",
        "n": "sessions with a verdict",
        "rate": "their share",
        "low": "of the interval",
        "high": "of the interval",
        "level": "of the interval",
        "interval": "wilson, or paper: between quantiles of Beta(k + 1, n + 1 - k)",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            one.area,
            one.what,
            one.share.k,
            one.share.n,
            finite_cell(one.share.value),
            finite_cell(one.share.low),
            finite_cell(one.share.high),
            one.share.level,
            population.settings.interval,
        )
        for one in success_shares(population)
    ]
    return Table("success_rates", meanings, rows)


def _mean_table(population: ExperimentPopulation) -> Table:
    meanings = {
        "measure": "as in the table of experiments; first, last, highest over the scale",
        "area": "of the units",
        "generator": "or both",
        "n": "experiments with a value",
        "mean": "over experiments",
        "sem": "its standard error",
    }
    rows: list[tuple[Cell, ...]] = [
        (one.measure, one.area, one.thread, one.n, finite_cell(one.mean), finite_cell(one.sem))
        for one in area_means(population)
    ]
    return Table("means", meanings, rows)


_TEST_COLUMNS = {
    "difference": "mean of the first less that of the second",
    "t": "Student's",
    "dof": "degrees of freedom",
    "n": "values of the first",
    "m": "values of the second",
    "p": "two-sided",
    "raw": "whether p is below 0.05",
    "fdr": "whether it still is, by the false discovery rate",
    "bonferroni": "whether it still is, by Bonferroni",
}


def _test_cells(test: TTest, raw: object, fdr: object, bonferroni: object) -> tuple[Cell, ...]:
    return (
        finite_cell(test.difference),
        finite_cell(test.t),
        test.dof,
        test.n,
        test.m,
        finite_cell(test.p),
        bool(raw),
        bool(fdr),
        bool(bonferroni),
    )


def _test_table(population: ExperimentPopulation) -> Table:
    meanings = {
        "measure": "tests of one are corrected together",
        "area": "or two areas",
        "first": "what is compared",
        "second": "with what",
        "paired": "whether over the same experiments",
        **_TEST_COLUMNS,
        "reason": "why there is no test",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            one.measure,
            one.area,
            one.first,
            one.second,
            one.paired,
            *_test_cells(one.test, one.raw, one.fdr, one.bonferroni),
            one.test.reason,
        )
        for one in area_tests(population)
    ]
    return Table("tests", meanings, rows)


def _thread_columns(population: ExperimentPopulation) -> dict[str, str]:
    return {
        f"{generator}_{what}": f"{meaning} of {generator}"
        for generator in population.generators
        for what, meaning in (("n", "experiments"), ("mean", "mean"), ("sem", "its error"))
    }


def _trajectory_table(population: ExperimentPopulation) -> Table:
    tests = _TEST_COLUMNS if len(population.generators) == 2 else {}
    meanings = {
        "area": "of the units",
        "block": "from 0",
        **_thread_columns(population),
        **tests,
    }
    rows: list[tuple[Cell, ...]] = []
    for found in normalised_trajectories(population):
        for i in range(len(found.means[0])):
            cells: list[Cell] = [found.area, i]
            for mean in found.means:
                cells += [int(mean.n[i]), finite_cell(mean.mean[i]), finite_cell(mean.sem[i])]
            if tests:
                m = found.marks
                cells += _test_cells(found.tests[i], m.raw[i], m.fdr[i], m.bonferroni[i])
            rows.append(tuple(cells))
    return Table("trajectories", meanings, rows)


def _attribution_table(population: ExperimentPopulation) -> Table:
    pair = len(population.generators) == 2
    meanings = {
        "area": "of the units",
        "from_ms": "after onset",
        "to_ms": "after onset",
        **_thread_columns(population),
        **(_TEST_COLUMNS if pair else {}),
    }
    rows: list[tuple[Cell, ...]] = []
    courses, edges = attribution_courses(population)
    for found in courses:
        for i in range(len(edges) - 1):
            cells: list[Cell] = [found.area, float(edges[i]), float(edges[i + 1])]
            for mean in found.means:
                cells += [int(mean.n[i]), finite_cell(mean.mean[i]), finite_cell(mean.sem[i])]
            if pair and found.tests:
                m = found.marks
                cells += _test_cells(found.tests[i], m.raw[i], m.fdr[i], m.bonferroni[i])
            elif pair:
                cells += [None] * len(_TEST_COLUMNS)
            rows.append(tuple(cells))
    return Table("attribution", meanings, rows)


def _time_bin_table(population: ExperimentPopulation) -> Table:
    """Return paired tests of every block and bin of time; none where there is one thread."""
    meanings = {
        "area": "of the units",
        "block": "from 0",
        "from_ms": "after onset",
        "to_ms": "after onset",
        **_TEST_COLUMNS,
    }
    rows: list[tuple[Cell, ...]] = []
    for found in time_courses(population):
        edges, m = found.edges_ms, found.marks
        for block, tests in enumerate(found.tests):
            for i, test in enumerate(tests):
                at = block * len(tests) + i
                rows.append((
                    found.area,
                    block,
                    float(edges[i]),
                    float(edges[i + 1]),
                    *_test_cells(test, m.raw[at], m.fdr[at], m.bonferroni[at]),
                ))
    return Table("time_bins", meanings, rows)
