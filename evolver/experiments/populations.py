"""What `evolver.analysis` says of many experiments of one kind, area by area.

One kind: the same two generators (or the one). Experiments that do not count are named with the
reason. A mean over experiments is over those that have the value, and says how many.

Wang & Ponce, Nature Neuroscience 2026.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evolver.analysis.populations import padded_courses, population_mean
from evolver.analysis.success_rates import CountedShare, share
from evolver.analysis.t_tests import Marks, TTest, marks, t_test, t_tests
from evolver.analysis.temporal_attribution import compare_attributions, shares_of
from evolver.analysis.time_bins import time_binned
from evolver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evolver.analysis.temporal_attribution import Attribution
    from evolver.analysis.trajectories import FloatArray, Trajectory
    from evolver.experiments.copies import SessionCopy
    from evolver.experiments.summary import AnalysisSettings, ExperimentSummary, ThreadSummary
    from evolver.types import Matrix, Vector

_KNOWN_AREAS = ("V1", "V2", "V4", "IT")
NO_AREA = "no area"
MeasureOf: TypeAlias = Callable[["CountedExperiment", int], float]
"""Of a member and the number of its thread; NaN where undefined."""


@dataclass(frozen=True, slots=True, eq=False)
class CountedExperiment:
    """An experiment that counts, its threads in the population's order."""

    summary: ExperimentSummary
    threads: tuple[ThreadSummary, ...]

    @property
    def area(self) -> str:
        """Of its unit."""
        return self.summary.experiment.area or NO_AREA

    @property
    def succeeded(self) -> int:
        """How many of its threads did."""
        return sum(one.success.success for one in self.threads)


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentPopulation:
    """Experiments of one kind.

    Attributes
    ----------
    generators : one or two, whose threads are compared
    members : experiments that count
    left_out : (id, reason) of the others; (file or folder, reason) of copies
    settings : that they were analysed with
    """

    generators: tuple[str, ...]
    members: tuple[CountedExperiment, ...]
    left_out: tuple[tuple[str, str], ...]
    settings: AnalysisSettings

    @property
    def areas(self) -> tuple[str, ...]:
        """V1, V2, V4, IT as far as there are any, then others by name."""
        found = {member.area for member in self.members}
        known = [area for area in _KNOWN_AREAS if area in found]
        return (*known, *sorted(found - set(known)))

    def of(self, area: str, *, chosen: bool = True) -> list[CountedExperiment]:
        """Return an area's members; `chosen`, those with the successes that settings ask."""
        needed = {"any": 1, "both": len(self.generators), "all": 0}[self.settings.among]
        return [
            member
            for member in self.members
            if member.area == area and (not chosen or member.succeeded >= needed)
        ]


@dataclass(frozen=True, slots=True)
class AreaShare:
    """A success rate.

    Attributes
    ----------
    what : a generator, "any" or "both"
    """

    area: str
    what: str
    share: CountedShare


@dataclass(frozen=True, slots=True)
class AreaMean:
    """A mean over an area's experiments; `thread` is a generator, or both where of a pair."""

    measure: str
    area: str
    thread: str
    n: int
    mean: float
    sem: float


@dataclass(frozen=True, slots=True)
class AreaTest:
    """A test over experiments; marks are among the tests of its `measure`.

    Attributes
    ----------
    area : where; of two areas both, "V1 - IT"
    first, second : what is compared
    paired : whether of pairs
    raw, fdr, bonferroni : whether it is significant, by three rules
    """

    measure: str
    area: str
    first: str
    second: str
    paired: bool
    test: TTest
    raw: bool
    fdr: bool
    bonferroni: bool


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """Something of an area over columns: blocks, or bins of time.

    Attributes
    ----------
    values : of each thread (e, k), NaN where there is none
    means : of each thread, over experiments
    tests, marks : between two threads, of each column; empty where there is one thread
    """

    area: str
    values: tuple[Matrix, ...]
    means: tuple[Trajectory, ...]
    tests: tuple[TTest, ...]
    marks: Marks

    @property
    def n(self) -> tuple[int, ...]:
        """Experiments of each thread that have any value."""
        return tuple(int(np.isfinite(v).any(axis=1).sum()) for v in self.values)


@dataclass(frozen=True, slots=True, eq=False)
class TimeCourses:
    """Rates of an area over blocks and time, over each experiment's scale.

    Attributes
    ----------
    edges_ms : (k + 1,) of the bins
    values : of each thread (e, b, k), NaN where there is none
    tests : (b, k) between two threads, paired; empty where there is one thread
    marks : of all of them together, flattened
    left_out : experiments whose PSTHs have other bins, or none
    """

    area: str
    edges_ms: Vector
    values: tuple[FloatArray, ...]
    tests: tuple[tuple[TTest, ...], ...]
    marks: Marks
    left_out: int


def population_of(
    summaries: Iterable[ExperimentSummary],
    settings: AnalysisSettings,
    *,
    generators: tuple[str, ...] | None = None,
    copies: Iterable[SessionCopy] = (),
) -> ExperimentPopulation:
    """Return the experiments that count.

    Parameters
    ----------
    summaries : of all experiments
    settings : that they were analysed with
    generators : one or two; those of most experiments if not given
    copies : of sessions among the summaries; they are left out
    """
    given = list(summaries)
    wanted = generators or _usual_generators(given)
    members: list[CountedExperiment] = []
    left_out: list[tuple[str, str]] = []
    for summary in given:
        threads = _in_order(summary, wanted)
        reasons = list(summary.valid.reasons)
        if threads is None:
            own = " and ".join(summary.generators)
            reasons.insert(0, f"its generators are {own}, not {' and '.join(wanted)}")
        elif not summary.scale.defined:
            reasons.append(summary.scale.reason)
        elif not all(one.thread.is_rate for one in threads):
            reasons.append("a thread's scores are no rates")
        if reasons or threads is None:
            left_out.append((summary.experiment.id, "; ".join(reasons)))
        else:
            members.append(CountedExperiment(summary, threads))
    left_out += [(copy.where, copy.reason) for copy in copies]
    return ExperimentPopulation(wanted, tuple(members), tuple(left_out), settings)


def check_generators(summaries: Sequence[ExperimentSummary], wanted: tuple[str, ...]) -> None:
    """Raise `DataError` where no experiment has threads of all the wanted generators."""
    if any(_in_order(summary, wanted) is not None for summary in summaries):
        return
    kinds = sorted({" and ".join(summary.generators) for summary in summaries})
    raise DataError(
        f"generators must be those of a session; none has {' and '.join(wanted)}. There are "
        f"sessions of {'; of '.join(kinds[:8])}"
    )


def _usual_generators(summaries: Sequence[ExperimentSummary]) -> tuple[str, ...]:
    """Return what most experiments compare; of pairs in both orders, the commoner order."""
    orders = Counter(summary.generators[:2] for summary in summaries)
    if not orders:
        return ()
    kinds: Counter[frozenset[str]] = Counter()
    for order, n in orders.items():
        kinds[frozenset(order)] += n
    kind = kinds.most_common(1)[0][0]
    return max((order for order in orders if frozenset(order) == kind), key=orders.__getitem__)


def _in_order(
    summary: ExperimentSummary, wanted: tuple[str, ...]
) -> tuple[ThreadSummary, ...] | None:
    """Return a thread of each generator; None where there is none of one."""
    left = list(summary.threads)
    found: list[ThreadSummary] = []
    for generator in wanted:
        mine = next((one for one in left if one.thread.generator == generator), None)
        if mine is None:
            return None
        found.append(mine)
        left.remove(mine)
    return tuple(found) if found else None


def success_shares(population: ExperimentPopulation) -> list[AreaShare]:
    """Return, by area, the share of successes of each generator, of any and of both."""
    settings = population.settings
    found: list[AreaShare] = []
    for area in population.areas:
        members = population.of(area, chosen=False)
        flags = {
            generator: [
                one.threads[k].success.success
                for one in members
                if one.threads[k].success.defined
            ]
            for k, generator in enumerate(population.generators)
        }
        if len(population.generators) == 2:
            judged = [one for one in members if all(t.success.defined for t in one.threads)]
            flags["any"] = [one.succeeded > 0 for one in judged]
            flags["both"] = [one.succeeded == 2 for one in judged]
        for what, of in flags.items():
            counted = share(sum(of), len(of), level=settings.level, interval=settings.interval)
            found.append(AreaShare(area, what, counted))
    return found


def _scaled(member: CountedExperiment, value: float) -> float:
    return value / member.summary.scale.value


MEASURES: dict[str, MeasureOf] = {
    "first": lambda m, k: _scaled(m, m.threads[k].first.value),
    "last": lambda m, k: _scaled(m, m.threads[k].last.value),
    "highest": lambda m, k: _scaled(m, m.threads[k].highest.value),
    "ratio": lambda m, k: m.threads[k].ratio.value,
    "time_constant": lambda m, k: m.threads[k].constant.value,
    "response_latency_ms": lambda m, k: m.threads[k].latencies.response.value,
    "peak_latency_ms": lambda m, k: m.threads[k].latencies.peak.value,
    "centre_ms": lambda m, k: m.threads[k].latencies.centre.value,
}
"""Of an experiment's thread. first, last and highest: block means over the experiment's highest
block mean; ratio: last over first; time_constant: in blocks; latencies of the highest block."""
SHARES: dict[str, MeasureOf] = {
    "early_share": lambda m, k: m.threads[k].early.value,
    "late_share": lambda m, k: m.threads[k].late.value,
}
"""Parts of a rise, each thread over its own successes."""


def measured(members: Sequence[CountedExperiment], value: MeasureOf, k: int) -> Vector:
    """Return a measure of thread k of each member, (e,)."""
    return np.array([value(member, k) for member in members], dtype=np.float64)


def share_values(population: ExperimentPopulation, area: str, measure: str, k: int) -> Vector:
    """Return a part of the rise of an area's successes of thread k, (e,)."""
    members = [
        one for one in population.of(area, chosen=False) if one.threads[k].success.success
    ]
    return measured(members, SHARES[measure], k)


def area_means(population: ExperimentPopulation) -> list[AreaMean]:
    """Return every measure's mean over each area's experiments."""
    found: list[AreaMean] = []

    def add(measure: str, area: str, thread: str, values: Vector) -> None:
        mean = population_mean(values[:, None], error=population.settings.error)
        n = int(mean.n[0])
        found.append(
            AreaMean(measure, area, thread, n, float(mean.mean[0]), float(mean.sem[0]))
        )

    for area in population.areas:
        members = population.of(area)
        for k, generator in enumerate(population.generators):
            for measure, value in MEASURES.items():
                add(measure, area, generator, measured(members, value, k))
            for measure in SHARES:
                values = share_values(population, area, measure, k)
                add(measure, area, generator, values)
        if len(population.generators) == 2:
            both = " and ".join(population.generators)
            differences = [one.summary.difference for one in members]
            mae = [float("nan") if d is None else d.mae for d in differences]
            add("psth_mae", area, both, np.array(mae, dtype=np.float64))
    return found


def area_tests(population: ExperimentPopulation) -> list[AreaTest]:
    """Return tests between threads in each area, and of time constants between areas.

    Measures of `MEASURES` are paired over experiments, shares of a rise are not. The three
    marks are corrected for the tests of one measure.
    """
    rows: list[tuple[str, str, str, str, bool, TTest]] = []
    areas, names = population.areas, population.generators
    if len(names) == 2:
        for measure, value in MEASURES.items():
            for area in areas:
                members = population.of(area)
                both = [measured(members, value, k) for k in (0, 1)]
                test = t_test(both[0], both[1], paired=True)
                rows.append((measure, area, names[0], names[1], True, test))
        for measure in SHARES:
            for area in areas:
                both = [share_values(population, area, measure, k) for k in (0, 1)]
                test = t_test(both[0], both[1], paired=False)
                rows.append((measure, area, names[0], names[1], False, test))
    value = MEASURES["time_constant"]
    for k, name in enumerate(names):
        for i, one in enumerate(areas):
            for other in areas[i + 1 :]:
                test = t_test(
                    measured(population.of(one), value, k),
                    measured(population.of(other), value, k),
                    paired=False,
                )
                where = f"{one} - {other}"
                rows.append(("time_constant between areas", where, name, name, False, test))
    found: list[AreaTest] = []
    for measure in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == measure]
        marked = marks([row[5].p for row in mine])
        found += [
            AreaTest(*row, bool(marked.raw[i]), bool(marked.fdr[i]), bool(marked.bonferroni[i]))
            for i, row in enumerate(mine)
        ]
    return found


def normalised_trajectories(population: ExperimentPopulation) -> list[Courses]:
    """Return each area's block means over the experiments' scales, without padding.

    An experiment's blocks end where it ended: later columns are of the others.
    """
    found: list[Courses] = []
    for area in population.areas:
        members = population.of(area)
        if not members:
            continue
        blocks = max(one.summary.experiment.blocks for one in members)
        values = tuple(
            padded_courses(
                [
                    one.threads[k].thread.course.mean / one.summary.scale.value
                    for one in members
                ],
                blocks=blocks,
            ).data
            for k in range(len(population.generators))
        )
        found.append(_courses(area, values, population, paired=True))
    return found


def _courses(
    area: str,
    values: tuple[Matrix, ...],
    population: ExperimentPopulation,
    *,
    paired: bool,
    tests: Sequence[TTest] | None = None,
) -> Courses:
    means = tuple(population_mean(v, error=population.settings.error) for v in values)
    if tests is None:
        tests = t_tests(values[0], values[1], paired=paired) if len(values) == 2 else []
    return Courses(area, values, means, tuple(tests), marks([test.p for test in tests]))


def attribution_courses(population: ExperimentPopulation) -> tuple[list[Courses], Vector]:
    """Return each area's shares of the rise in bins of time, and the bins' edges, ms.

    Each thread over its own successes. Experiments whose bins differ from those of most are
    left out.
    """
    of: dict[str, list[list[Attribution]]] = {}
    for area in population.areas:
        of[area] = [
            [
                found
                for one in population.of(area, chosen=False)
                if one.threads[k].success.success
                and (found := one.threads[k].attribution) is not None
                and not found.reason
            ]
            for k in range(len(population.generators))
        ]
    counted = Counter(
        found.edges_ms.tobytes() for lists in of.values() for some in lists for found in some
    )
    if not counted:
        return [], np.zeros(0)
    usual = counted.most_common(1)[0][0]
    found_courses: list[Courses] = []
    for area, lists in of.items():
        kept = [[one for one in some if one.edges_ms.tobytes() == usual] for some in lists]
        bins = len(np.frombuffer(usual)) - 1
        values = tuple(shares_of(some) if some else np.zeros((0, bins)) for some in kept)
        tests = compare_attributions(kept[0], kept[1]) if len(kept) == 2 and all(kept) else []
        found_courses.append(_courses(area, values, population, paired=False, tests=tests))
    return found_courses, np.frombuffer(usual).copy()


def time_courses(
    population: ExperimentPopulation, *, width_ms: float | None = None
) -> list[TimeCourses]:
    """Return each area's rates over blocks and bins of time, over the experiments' scales.

    Parameters
    ----------
    population : whose settings say how wide bins are
    width_ms : another width; 0 for the bins there are
    """
    width = population.settings.bin_ms if width_ms is None else width_ms
    binned: dict[str, list[tuple[FloatArray, ...] | None]] = {}
    edges_of: list[bytes] = []
    for area in population.areas:
        binned[area] = []
        for member in population.of(area):
            rates = _binned(member, width)
            binned[area].append(None if rates is None else rates[0])
            edges_of.append(b"" if rates is None else rates[1].tobytes())
    usual = Counter(key for key in edges_of if key).most_common(1)
    if not usual:
        return []
    edges = np.frombuffer(usual[0][0]).copy()
    found: list[TimeCourses] = []
    keys = iter(edges_of)
    for area, rates in binned.items():
        same = [one for one in rates if next(keys) == usual[0][0] and one is not None]
        if not same:
            continue
        blocks = max(len(thread) for one in same for thread in one)
        stacks: list[FloatArray] = []
        for k in range(len(population.generators)):
            stack = np.full((len(same), blocks, len(edges) - 1), np.nan)
            for row, one in zip(stack, same, strict=True):
                row[: len(one[k])] = one[k]
            stacks.append(stack)
        tests: tuple[tuple[TTest, ...], ...] = ()
        if len(stacks) == 2 and width:
            tests = tuple(
                tuple(t_tests(stacks[0][:, b], stacks[1][:, b], paired=True))
                for b in range(blocks)
            )
        marked = marks([test.p for row in tests for test in row])
        left_out = len(rates) - len(same)
        found.append(TimeCourses(area, edges, tuple(stacks), tests, marked, left_out))
    return found


def _binned(
    member: CountedExperiment, width: float
) -> tuple[tuple[FloatArray, ...], Vector] | None:
    """Return each thread's rates over the scale, (b, k), and the edges; None without PSTHs."""
    rates: list[FloatArray] = []
    edges: Vector | None = None
    for one in member.threads:
        psth = one.thread.psth
        if psth is None:
            return None
        values, wide = psth.mean, psth.edges_ms
        if width:
            try:
                values, wide = time_binned(psth.mean, width, edges_ms=psth.edges_ms)
            except DataError:
                return None
        if edges is not None and not np.array_equal(edges, wide):
            return None
        edges = wide
        rates.append(np.asarray(values / member.summary.scale.value, dtype=np.float64))
    return None if edges is None else (tuple(rates), edges)
