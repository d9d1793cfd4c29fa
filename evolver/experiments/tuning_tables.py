"""Tuning along latent axes as rows: each axis, how often shapes come, and where curves peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolver.experiments.tables import Table
from evolver.experiments.tuning_populations import OTHERS, SUCCESSES, peak_shares, shape_shares
from evolver.table_files import finite_cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evolver.analysis.success_rates import CountedShare
    from evolver.experiments.axis_summaries import AxisSummary
    from evolver.experiments.populations import ExperimentPopulation
    from evolver.experiments.summary import ExperimentSummary, ThreadSummary
    from evolver.experiments.tables import Cell

AXIS_COLUMNS = {
    "experiment": "its name in its source",
    "animal": "as the source says",
    "area": "of the unit",
    "unit": "as the source calls it",
    "thread": "as the source calls it",
    "generator": "whose codes evolved",
    "success": "whether the thread's responses rose",
    "axis": "its name in the source",
    "half": "of the code, that it lies in",
    "eigenvector": "its number in the generator's metric, from 0",
    "family": "circles, components; empty: straight steps along eigenvectors, or unknown",
    "step_unit": "of steps, peaks and fits",
    "steps": "different ones",
    "trials": "with a response",
    "borrowed": "of these, trials of the evolved code that another axis or none has",
    "response_unit": "of the responses",
    "f": "of the analysis of variance of trials over steps",
    "p": "of that",
    "tuned": "p below 0.01",
    "explainable": "share of the trials' variance that is not within steps",
    "gaussian_r2": "over trials",
    "gaussian_explained": "r2 over the explainable share",
    "gaussian_amplitude": "of the fit",
    "gaussian_centre": "of the fit, in step_unit",
    "gaussian_sd": "of the fit, in step_unit",
    "gaussian_base": "of the fit",
    "line_r2": "over trials",
    "line_explained": "r2 over the explainable share",
    "line_slope": "of the fit, in response_unit a step_unit",
    "line_intercept": "of the fit",
    "process_r2": "of the Gaussian process, over trials",
    "process_explained": "r2 over the explainable share",
    "process_length": "of its covariance, in step_unit",
    "best": "the fit of the largest r2",
    "monotonic": "the process's curve",
    "unimodal": "the process's curve",
    "bell": "the process's curve: unimodal with an inner peak",
    "peak": "where that curve is highest, in step_unit",
    "best_step": "the step of the largest mean, in step_unit",
    "reasons": "why cells are empty",
}


def axis_table(summaries: Iterable[ExperimentSummary]) -> Table:
    """Return a row for every axis of every thread."""
    rows: list[tuple[Cell, ...]] = []
    for summary in summaries:
        for thread in summary.threads:
            for axis in thread.axes:
                unit = axis.axis.response_unit or thread.thread.score_unit
                cells = {**_thread_cells(summary, thread), **_axis_cells(axis)}
                cells["response_unit"] = unit
                rows.append(tuple(cells[name] for name in AXIS_COLUMNS))
    return Table("tuning", AXIS_COLUMNS, rows)


def _thread_cells(summary: ExperimentSummary, thread: ThreadSummary) -> dict[str, Cell]:
    experiment, success = summary.experiment, thread.success
    return {
        "experiment": experiment.id,
        "animal": experiment.animal,
        "area": experiment.area,
        "unit": experiment.unit,
        "thread": thread.thread.name,
        "generator": thread.thread.generator,
        "success": success.success if success.defined else None,
    }


def _axis_cells(axis: AxisSummary) -> dict[str, Cell]:
    tuning = axis.tuning
    anova, shape = tuning.anova, tuning.shape
    fits = {"gaussian": tuning.gaussian, "line": tuning.line, "process": tuning.process}
    quantities = {"explainable": tuning.explainable, "peak": tuning.peak}
    quantities["best_step"] = tuning.best_step
    for name, fit in fits.items():
        quantities[f"{name}_r2"], quantities[f"{name}_explained"] = fit.r2, fit.explained
    lacking: dict[str, list[str]] = {}
    if anova.reason:
        lacking[anova.reason] = ["p"]
    if shape.reason:
        lacking.setdefault(shape.reason, []).append("shape")
    for name, quantity in quantities.items():
        if not quantity.defined:
            lacking.setdefault(quantity.reason, []).append(name)
    parameters = {
        f"{name}_{parameter}": finite_cell(fit.parameters.get(parameter, float("nan")))
        for name, fit in fits.items()
        for parameter in _PARAMETERS[name]
    }
    return {
        "axis": axis.axis.name,
        "half": axis.axis.half,
        "family": axis.axis.family,
        "step_unit": axis.axis.step_unit,
        "eigenvector": axis.axis.eigenvector if axis.axis.eigenvector >= 0 else None,
        "steps": len(tuning.steps),
        "trials": axis.trials,
        "borrowed": axis.borrowed,
        "f": finite_cell(anova.f),
        "p": finite_cell(anova.p),
        "tuned": None if anova.reason else anova.tuned,
        "best": tuning.best,
        **parameters,
        **{name: finite_cell(quantity.value) for name, quantity in quantities.items()},
        **{
            name: None if shape.reason else getattr(shape, name)
            for name in ("monotonic", "unimodal", "bell")
        },
        "reasons": "; ".join(f"{', '.join(names)}: {why}" for why, names in lacking.items()),
    }


_PARAMETERS = {
    "gaussian": ("amplitude", "centre", "sd", "base"),
    "line": ("slope", "intercept"),
    "process": ("length",),
}


def tuning_tables(population: ExperimentPopulation) -> list[Table]:
    """Return how often shapes come and where curves peak, successes against others."""
    return [_shape_table(population), _peak_table(population)]


_SHARE = {
    "k": "so many",
    "n": "of so many",
    "share": "k / n",
    "low": "of its interval",
    "high": "of its interval, Wilson's, 95 %",
}


def _share_cells(share: CountedShare) -> tuple[Cell, ...]:
    return (
        share.k,
        share.n,
        finite_cell(share.value),
        finite_cell(share.low),
        finite_cell(share.high),
    )


def _shape_table(population: ExperimentPopulation) -> Table:
    meanings = {
        "generator": "whose codes evolved",
        "half": "of the code",
        "family": "of the axes, as in tuning",
        "axes": "with trials, tuned or not",
        "shape": "of tuned axes",
        **{f"{of}_{name}": text for of in (SUCCESSES, OTHERS) for name, text in _SHARE.items()},
        "z": "of the two shares' difference",
        "p": "of that, two-sided",
        "reason": "why there is none",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            row.group.generator,
            row.group.half,
            row.group.family,
            row.group.shown,
            row.shape,
            *_share_cells(row.test.first),
            *_share_cells(row.test.second),
            finite_cell(row.test.z),
            finite_cell(row.test.p),
            row.test.reason,
        )
        for row in shape_shares(population)
    ]
    return Table("tuning_shapes", meanings, rows)


def _peak_table(population: ExperimentPopulation) -> Table:
    meanings = {
        "generator": "whose codes evolved",
        "half": "of the code",
        "family": "of the axes, as in tuning",
        "of": "threads that succeeded, or others",
        "from": "of the bin, in step_unit",
        "to": "of the bin, in step_unit",
        "step_unit": "latent units or degrees",
        **_SHARE,
    }
    rows: list[tuple[Cell, ...]] = []
    for row in peak_shares(population):
        for name, shares in ((SUCCESSES, row.successes), (OTHERS, row.others)):
            for i, share in enumerate(shares):
                group = row.group
                rows.append((
                    group.generator,
                    group.half,
                    group.family,
                    name,
                    float(row.edges[i]),
                    float(row.edges[i + 1]),
                    group.step_unit,
                    *_share_cells(share),
                ))
    return Table("tuning_peaks", meanings, rows)
