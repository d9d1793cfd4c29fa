"""The page of an analysis: every experiment with its images and courses, and what all say.

Knows summaries, populations and the template; the statistics are computed before. The page's
script sorts, filters and draws. It loads nothing, and what it shows of files is text, never
markup; figures of single experiments are linked, as they lie beside it.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from evolver import __version__
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables, thread_colour
from evolver.experiments.populations import NO_AREA, area_means, area_tests, success_shares
from evolver.experiments.tuning_populations import shape_shares
from evolver.report.words import NONE, count, interval_words, joined, number, p_value, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.analysis.quantities import Quantity
    from evolver.analysis.success_rates import CountedShare
    from evolver.experiments.masks import ExperimentLook, UnitMask
    from evolver.experiments.populations import AreaMean, ExperimentPopulation
    from evolver.experiments.summary import ExperimentSummary, ThreadSummary

_SIDE, _QUALITY = 128, 88
_DIGITS = 5
_MOST_NAMED = 8  # recordings
_LEVELS = ("yes", "no", "no verdict")
_THREAD_COLUMNS = (
    ("p", "of the success test"),
    ("first", "mean of the first block"),
    ("last", "mean of the last kept block"),
    ("last/first", "their ratio"),
    ("blocks to rise", "time constant"),
    ("latency", "of the highest block's response, ms"),
    ("peak", "of the highest block's PSTH, ms"),
    ("early", "share of the rise in the early window"),
    ("late", "share of the rise in the late window"),
)


@dataclass(frozen=True, slots=True)
class PopulationFigure:
    """A figure of the populations.

    Attributes
    ----------
    title : what it is headed
    path : the PNG; None where there is nothing to draw
    """

    title: str
    path: Path | None


def write_analysis_page(
    summaries: Sequence[ExperimentSummary],
    population: ExperimentPopulation,
    *,
    figures: Sequence[PopulationFigure],
    links: Sequence[Mapping[str, str]],
    unread: Sequence[tuple[str, str]],
) -> str:
    """Return the page's text.

    Parameters
    ----------
    summaries : of every experiment
    population : of those that count
    figures : of the populations, held by the page
    links : what each experiment's figures show, and where they lie, relative to the page
    unread : what could not be read, and why
    """
    environment = Environment(
        loader=PackageLoader("evolver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("analysis.html.j2").render(
        title=count(len(summaries), "experiment"),
        lead=_lead(summaries, population),
        method=_method(population),
        left_out=population.left_out,
        unread=unread,
        shares=_share_rows(population),
        interval=interval_words(population.settings.interval, population.settings.level),
        means=_mean_rows(population),
        tests=_test_rows(population),
        shapes=_shape_rows(population),
        generators=population.generators,
        figures=[
            (figure.title, base64.b64encode(figure.path.read_bytes()).decode("ascii"))
            for figure in figures
            if figure.path is not None
        ],
        absent=[figure.title for figure in figures if figure.path is None],
        data=_as_script(_data(summaries, population, links)),
        version=__version__,
        light=css_variables(PAGE_LIGHT),
        dark=css_variables(PAGE_DARK),
    )


def _lead(summaries: Sequence[ExperimentSummary], population: ExperimentPopulation) -> str:
    readers = {one.experiment.reader for one in summaries}
    animals = {one.experiment.animal for one in summaries if one.experiment.animal}
    text = f"{count(len(summaries), 'experiment')} from {', '.join(sorted(readers))}"
    if animals:
        text += f", of {count(len(animals), 'animal')}"
    names = " and ".join(population.generators)
    text += _steps(summaries)
    text += f". {len(population.members)} of them, of {names}, are brought together by area"
    if not population.left_out:
        return f"{text}; none is left out."
    return f"{text}; {len(population.left_out)} are left out, and listed below."


def _steps(summaries: Sequence[ExperimentSummary]) -> str:
    """Name the recordings that tuning is from, where these are not the evolutions' own."""
    sources = {
        Path(source)
        for one in summaries
        for thread in one.experiment.threads
        if thread.tuning is not None
        for source in thread.tuning.sources
    }
    if not sources:
        return ""
    named = sorted(f"{path.parent.name}/{path.name}" for path in sources)
    more = len(named) - _MOST_NAMED
    text = joined(named[:_MOST_NAMED] + ([f"{more} more"] if more > 0 else []))
    return f"; tuning is from {count(len(named), 'recording')} of steps beside them, {text}"


def _method(population: ExperimentPopulation) -> str:
    """Say how everything was found."""
    s = population.settings
    how = {
        "shuffle": "images are dealt anew to blocks, or sessions without a change drawn from "
        "published block means, and the highest blocks picked again in each",
        "maxinit": "the published t-test of the highest two blocks against the first two, "
        "which also calls noise a success more often than it says",
        "endinit": "the published t-test of the last two blocks against the first two",
        "maxend": "the published t-test of the highest two blocks against the last two",
    }[s.rule]
    among = {"any": "in any thread", "both": "in both threads", "all": ""}[s.among]
    whose = {"steps": "all steps", "levels": "its block means"}[s.baseline_sd]
    means = f"with a success {among}" if among else "that are valid"
    return (
        f"Success: p < {s.alpha:g}; {how}. {_statistic(population)}"
        f"Valid: {s.fewest_blocks} blocks or more, and no step of the baseline "
        f"({window(s.baseline_ms)}) beyond {s.robust_sds:g} robust standard deviations of "
        f"{whose}. Means are over experiments {means}; first and last "
        "are means of a block over the experiment's highest block mean. Blocks to rise: the "
        f"first block above {s.threshold:g} of the rise. Early and late: shares of the rise of "
        f"the PSTH from the first to the highest block in {window(s.early_ms)} and "
        f"{window(s.late_ms)}, each thread over its own successes; bins of {s.bin_ms:g} ms "
        f"in {window(s.window_ms)}; the highest block is that of {window(s.response_ms)}."
    )


def _statistic(population: ExperimentPopulation) -> str:
    """Say which blocks are compared, by what, and how sure p is."""
    s = population.settings
    if s.rule != "shuffle":
        return ""
    last = (
        "of n blocks the last is never used (the pair is n \N{MINUS SIGN} 3 and n "
        "\N{MINUS SIGN} 2 where it is the highest)"
        if s.last_pair == "paper"
        else "the pair is the last two where the last block is the highest"
    )
    dealings = [
        thread.success.dealings
        for member in population.members
        for thread in member.threads
        if thread.success.dealings
    ]
    counted = ""
    if dealings:
        counted = (
            f"p is the share of {min(dealings):,} to {max(dealings):,} dealings whose t is as "
            "large, more of them where p is near alpha; its error is in experiments.csv. "
        )
    return (
        "The statistic is t (z of published block means) of the two blocks from the highest "
        f"on against the first two; {last}. {counted}"
    )


def _share_rows(population: ExperimentPopulation) -> list[tuple[str, ...]]:
    return [
        (
            one.area,
            one.what,
            f"{one.share.k}/{one.share.n}",
            f"{one.share.value:.2f}",
            f"{one.share.low:.2f} to {one.share.high:.2f}",
        )
        for one in success_shares(population)
    ]


_SHOWN_MEASURES = {
    "first": "first block",
    "last": "last block",
    "ratio": "last/first",
    "time_constant": "blocks to rise",
    "peak_latency_ms": "peak (ms)",
    "early_share": "early share",
    "late_share": "late share",
}


def _mean_rows(population: ExperimentPopulation) -> list[tuple[str, ...]]:
    means = {(one.measure, one.area, one.thread): one for one in area_means(population)}
    return [
        (
            area,
            name,
            *(
                _mean_text(one)
                for measure in _SHOWN_MEASURES
                if (one := means[measure, area, name])
            ),
        )
        for area in population.areas
        for name in population.generators
    ]


def _mean_text(one: AreaMean) -> str:
    digits = 1 if one.measure in {"time_constant", "peak_latency_ms"} else 2
    if not one.n:
        return f"{NONE} (0)"
    sem = f" \N{PLUS-MINUS SIGN} {one.sem:.{digits}f}" if one.n > 1 else ""
    return f"{one.mean:.{digits}f}{sem} ({one.n})"


def _test_rows(population: ExperimentPopulation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in area_tests(population):
        if one.measure not in _SHOWN_MEASURES:
            continue
        passed = [
            text
            for text, yes in (
                ("raw", one.raw),
                ("false discovery rate", one.fdr),
                ("Bonferroni", one.bonferroni),
            )
            if yes
        ]
        sizes = f"{one.test.n}" if one.paired else f"{one.test.n} and {one.test.m}"
        rows.append((
            _SHOWN_MEASURES[one.measure],
            one.area,
            "paired t" if one.paired else "unpaired t",
            sizes,
            number(one.test.difference),
            one.test.reason or p_value(one.test.p),
            ", ".join(passed) or "not significant",
        ))
    return rows


def _shape_rows(population: ExperimentPopulation) -> list[tuple[str, ...]]:
    return [
        (
            row.group.label,
            row.shape,
            *(_share_text(share) for share in (row.test.first, row.test.second)),
            number(row.test.z),
            row.test.reason or p_value(row.test.p),
        )
        for row in shape_shares(population)
    ]


def _share_text(share: CountedShare) -> str:
    if not share.n:
        return NONE
    return f"{share.k}/{share.n} = {share.value:.2f} ({share.low:.2f} to {share.high:.2f})"


def _as_script(data: dict[str, Any]) -> str:
    """Return JSON that no HTML parser takes for markup."""
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")


def _data(
    summaries: Sequence[ExperimentSummary],
    population: ExperimentPopulation,
    links: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    experiments = [one.experiment for one in summaries]
    columns = [
        _text("experiment", "its name in its source", [one.id for one in experiments]),
        _level("area", "of the unit", [one.area or NO_AREA for one in experiments]),
        _level("animal", "", [one.animal or "unknown" for one in experiments]),
        _text("unit", "as the source calls it", [one.unit for one in experiments]),
        _text("date", "of the session", [one.date for one in experiments]),
        _number("blocks", "that are kept", [one.blocks for one in experiments]),
        _level(
            "counts",
            "whether it is valid and of the generators that are compared",
            _counting(summaries, population),
        ),
    ]
    for name in population.generators:
        threads = [_thread_of(one, name) for one in summaries]
        columns.append(
            _level(f"{name} success", "whether responses rose", map(_verdict, threads), _LEVELS)
        )
        values = [_values(one) for one in threads]
        columns += [
            _number(f"{name} {column}", meaning, [row[i] for row in values])
            for i, (column, meaning) in enumerate(_THREAD_COLUMNS)
        ]
        columns[-len(_THREAD_COLUMNS)]["probability"] = True
        if any(one is not None and one.axes for one in threads):
            columns += [
                _number(f"{name} axes", "with trials along them", map(_axis_count, threads)),
                _number(
                    f"{name} tuned axes",
                    "along which responses differ, analysis of variance",
                    map(_tuned_count, threads),
                ),
            ]
    if len(population.generators) == 2:
        differences = [one.difference for one in summaries]
        mae = [None if d is None else d.mae for d in differences]
        columns.append(_number("PSTHs apart", "mean absolute difference over the scale", mae))
        columns += _comparison_columns(summaries)
        for measure, title in (("pixel_r", "pixel r"), ("ssim", "SSIM")):
            values = [_alike(one, measure) for one in summaries]
            if any(value is not None for value in values):
                columns.append(_number(title, "of the threads' best images", values))
    columns += _mask_columns(summaries, population)
    return {
        "columns": columns,
        "threads": [
            [_thread(k, one, s.look) for k, one in enumerate(s.threads)] for s in summaries
        ],
        "notes": [_notes(one) for one in summaries],
        "links": [[[what, quote(link)] for what, link in of.items()] for of in links],
    }


def _comparison_columns(summaries: Sequence[ExperimentSummary]) -> list[dict[str, Any]]:
    """Return the first two threads' differences, and p, at start, end and highest."""
    columns: list[dict[str, Any]] = []
    tests = [one.comparison for one in summaries]
    for at, of in (("start", "init"), ("end", "end"), ("highest", "highest")):
        mine = [None if one is None else getattr(one, of) for one in tests]
        differences = [None if one is None else one.t_test.difference for one in mine]
        title = f"first thread less second, two blocks at the {at}"
        columns.append(_number(f"apart at {at}", title, differences))
        ps = _number(
            f"p at {at}",
            "of that: images dealt anew to the threads, or sessions drawn of one course",
            [None if one is None else one.p for one in mine],
        )
        columns.append({**ps, "probability": True})
    return columns


def _text(name: str, title: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "title": title, "kind": "text", "letters": 40, "values": values}


def _number(name: str, title: str, values: Iterable[float | None]) -> dict[str, Any]:
    rounded = [None if v is None else _rounded(v) for v in values]
    return {"name": name, "title": title, "kind": "number", "values": rounded}


def _level(name: str, title: str, values: Any, levels: Sequence[str] = ()) -> dict[str, Any]:  # noqa: ANN401  any iterable of texts
    texts = list(values)
    order = list(levels) or sorted(set(texts))
    numbers = [order.index(text) for text in texts]
    return {"name": name, "title": title, "kind": "level", "levels": order, "values": numbers}


def _counting(
    summaries: Sequence[ExperimentSummary], population: ExperimentPopulation
) -> list[str]:
    members = {id(member.summary) for member in population.members}
    return ["yes" if id(one) in members else "no" for one in summaries]


def _thread_of(summary: ExperimentSummary, generator: str) -> ThreadSummary | None:
    return next((t for t in summary.threads if t.thread.generator == generator), None)


def _verdict(one: ThreadSummary | None) -> str:
    if one is None or not one.success.defined:
        return _LEVELS[2]
    return _LEVELS[0] if one.success.success else _LEVELS[1]


def _values(one: ThreadSummary | None) -> list[float | None]:
    if one is None:
        return [None] * len(_THREAD_COLUMNS)
    quantities: tuple[Quantity, ...] = (
        one.first, one.last, one.ratio, one.constant, one.latencies.response,
        one.latencies.peak, one.early, one.late,
    )  # fmt: skip
    return [one.success.p, *(quantity.value for quantity in quantities)]


def _axis_count(one: ThreadSummary | None) -> float | None:
    return len(one.axes) if one is not None and one.axes else None


def _tuned_count(one: ThreadSummary | None) -> float | None:
    if one is None or not one.axes:
        return None
    return sum(axis.tuning.anova.tuned for axis in one.axes)


def _alike(summary: ExperimentSummary, measure: str) -> float | None:
    for one in summary.similarity:
        if (one.prototype, one.measure) == ("best", measure) and one.value.defined:
            return one.value.value
    return None


def _mask_columns(
    summaries: Sequence[ExperimentSummary], population: ExperimentPopulation
) -> list[dict[str, Any]]:
    """Return columns of where units look; none where that was not asked for."""
    looks = [one.look for one in summaries]
    if not any(look is not None for look in looks):
        return []
    columns: list[dict[str, Any]] = []
    for name in population.generators:
        masks = [_mask_of(one, name) for one in summaries]
        p = [None if mask is None else mask.p.value for mask in masks]
        columns.append(_number(f"{name} mask p", "of responses dealt anew to images", p))
        columns[-1]["probability"] = True
        areas = [None if mask is None else mask.area.value for mask in masks]
        columns.append(_number(f"{name} mask area", "which share of the image it is", areas))
    for title, meaning, values in (
        (
            "mask cosine",
            "of the first two threads' masks",
            [look and look.cosine for look in looks],
        ),
        (
            "mask IoU",
            "of the first two threads' masks, soft",
            [look and look.iou for look in looks],
        ),
    ):
        columns.append(
            _number(title, meaning, [None if v is None else v.value for v in values])
        )
    return columns


def _mask_of(summary: ExperimentSummary, generator: str) -> UnitMask | None:
    if summary.look is None:
        return None
    for one, thread in zip(summary.threads, summary.look.threads, strict=True):
        if one.thread.generator == generator:
            return thread.mask
    return None


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [_rounded(float(value)) for value in values]


def _thread(k: int, one: ThreadSummary, look: ExperimentLook | None) -> dict[str, Any]:
    thread = one.thread
    references = thread.references
    return {
        "name": thread.generator,
        "colour": thread_colour(k),
        "unit": thread.score_unit,
        "mean": _listed(thread.course.mean),
        "sem": _listed(thread.course.sem),
        "references": [] if references is None else _listed(references.mean),
        "images": [_small(image) for image in thread.pictures.values()],
        "looks": [] if look is None else _looks(look, k),
        "verdict": one.success.reason
        or f"{'success' if one.success.success else 'no success'}, {p_value(one.success.p)}",
    }


def _looks(look: ExperimentLook, k: int) -> list[dict[str, str]]:
    """Return what is drawn of where a thread's unit looks, each with its caption."""
    thread = look.threads[k]
    images: list[tuple[str, NDArray[np.uint8]]] = []
    if thread.best is not None and thread.mask is not None and not thread.mask.reason:
        words = ", ".join(t for t in ("where it looks", thread.mask.p_words) if t)
        images.append((words, look.grid.on_grey(thread.best, thread.mask.mask)))
    if thread.mean_code is not None:
        images.append(("mean code", thread.mean_code))
    if thread.re_evolved is not None:
        images.append((look.re_evolved_words or "re-evolved", thread.re_evolved))
    return [{"caption": caption, "jpeg": _small(image)} for caption, image in images]


def _small(image: NDArray[np.uint8]) -> str:
    """Return an image as a JPEG of at most `_SIDE` pixels a side, in base64."""
    made = Image.fromarray(image)
    made.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    made.save(file, "JPEG", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _notes(summary: ExperimentSummary) -> list[str]:
    notes = list(summary.valid.reasons)
    if summary.unchecked:
        notes.append(f"not checked: {summary.unchecked}")
    if summary.dropped:
        notes.append(f"the last {count(summary.dropped, 'block')} had too few images")
    if summary.no_look:
        notes.append(f"no masks: {summary.no_look}")
    if summary.look is not None:
        reasons = {t.reason for t in summary.look.threads if t.reason}
        reasons |= {t.no_drawing for t in summary.look.threads if t.no_drawing}
        notes += sorted(reasons)
    return notes
