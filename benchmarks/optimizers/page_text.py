"""What the page and the tables say in words: what was run, and how to read it."""

from __future__ import annotations

import platform
from datetime import datetime
from typing import TYPE_CHECKING

import torch

from benchmarks.optimizers.contestants import AXES, USUAL
from benchmarks.optimizers.figures import MOST_RATIO
from benchmarks.optimizers.intervals import MEDIANS
from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.run import LEADERS, REPEATS
from benchmarks.optimizers.statistics import FEWEST_UNITS
from benchmarks.optimizers.tables import DIFFERENCE
from benchmarks.optimizers.worlds import usual_axes
from evolver.analysis.across_runs import FEWEST, RESAMPLES
from evolver.report.words import count, joined

if TYPE_CHECKING:
    from benchmarks.optimizers.contestants import Value
    from benchmarks.optimizers.plan import Due, Plan


NOTES = (
    (
        "A clean score is a unit's activation: 0 at the median, 1 at the 99th percentile of "
        "5,000 reference images. Optimizers learn from noisy scores and are judged by clean "
        "ones."
    ),
    (
        "Ratio: the geometric mean over pairs of a unit and a seed. Where a score of a pair is "
        f"not above 0, no ratio means anything: {DIFFERENCE} is then the mean "
        "difference, in units of the scale. In brackets, its interval, at 95 % where nothing "
        f"else is said; there is none with fewer than {FEWEST} units."
    ),
    (
        "Interval: an expanded percentile bootstrap over units (Hesterberg, Am. Stat. 69, "
        f"2015). {RESAMPLES:,} times ({MEDIANS:,} for medians), of u units u are drawn with "
        "replacement, each with all its seeds, and the mean is taken over all pairs drawn: of "
        "ratios, of their logarithms. The ends are the quantiles q and 1 \N{MINUS SIGN} q of "
        "these means, where q is the standard normal's probability below "
        "\N{MINUS SIGN}t\N{SQUARE ROOT}(u / (u \N{MINUS SIGN} 1)) and t Student's quantile of "
        "(1 + level) / 2 at u \N{MINUS SIGN} 1 degrees of freedom. runs.csv has all it needs: "
        "a pair are rows of one world, noise, unit and seed."
    ),
    (
        "Pairs: how many. Resolves: half of the interval as it is printed (of a ratio, the "
        "square root of its upper end over its lower, less 1), from the narrowest of a column "
        "to the widest: about the smallest true difference that is told from none in every "
        "second comparison (one 1.4 times as large, in four of five). What is smaller was not "
        "looked for."
    ),
    (
        "Of the best: the mean over pairs, each unit in parts of the largest clean score that "
        "any optimizer, seed and noise reached on it, the published form. A newcomer that does "
        "better moves its scale; it does not move ratios."
    ),
    (
        "Many optimizers on few units: the one that leads was picked for leading, which "
        "flatters it. Tune on the training units, and judge on those held apart."
    ),
    (
        "Code norm alone raises scores: compare the tables at the common norm before saying "
        "that one searches better than another."
    ),
)


def ratios_caption(level: float) -> str:
    """Say what is drawn: ratios, with intervals of this level."""
    return (
        "Clean scores as ratios to Cholesky's under the same noise, with intervals over units "
        f"at {100 * level:g} %. Filled, of the best image; open, of the final mean image. "
        "Where a score of a pair is not above 0, a ratio means nothing, and there is no "
        f"circle: after {DIFFERENCE}, in its place, the mean difference of the best image, in "
        "units of the scale (that of the mean image is in its table). Before an arrow, a ratio "
        f"beyond {MOST_RATIO:g}: no axis goes farther, and intervals that do end at its edge."
    )


def settled_note(within: float, units: int) -> str:
    """Say what the table of verdicts says, and why it says nothing of so few units."""
    part = f"{100 * within:g} %"
    few = ""
    if units < FEWEST_UNITS:
        few = f". This run has {count(units, 'unit')}, and settles nothing"
    return (
        "By the best image, against Cholesky and against the one that leads (pairs): ahead or "
        f"behind by more than {part}, alike within {part}, or open, where the interval reaches "
        f"over an edge. Nothing is settled or told apart on fewer than {FEWEST_UNITS} units, "
        "however clear it looks, as the ends of a bootstrap of so few are not to be relied on: "
        f"a cell then says how many they are{few}."
    )


COST_NOTE = (
    "CPU time of ask + tell of one generation. Each optimizer has a process of its own, in "
    "which its generations alternate with Cholesky's: ratios are to Cholesky's beside it, not "
    "to its own row, where it runs beside itself and is as far from 1 as chance brings it. "
    "Peak memory: what Python and numpy hold at most over a dozen generations, or what the "
    "process grows by, whichever is more; the code of libraries is not counted"
)
COST_CAPTION = (
    "What a generation costs against what it gains: CPU time as a ratio to Cholesky's beside "
    "it, the best image as a ratio to Cholesky's. Cholesky itself runs beside itself, and is "
    "as far from 1 as chance brings it."
)
CONTRAST_NOTE = (
    "Each code as long as gives its whole image the common RMS contrast: what nine of ten "
    "first codes exceed at the common norm."
)
CURVES_CAPTION = (
    "Means over units and seeds. Clean scores in parts of the unit's largest; below, the norm "
    "of each generation's mean code, latent units. Of searches that are the same, only the one "
    "drawn last is seen."
)


REPEATS_NOTE = (
    f"Of the {LEADERS} images with the highest noisy scores, the best by the mean of {REPEATS} "
    "more presentations of each."
)
REACH_NOTE = (
    "Of the best image so far, by clean scores: median over pairs, and the share that never "
    "get there. Cholesky's own score may have been reached before."
)


def settings(plan: Plan, due: Due) -> list[list[str]]:
    """Return one row an optimizer: its label, target and options, and where it searches."""
    norms = {world.name: world.norm for world in plan.worlds}
    made: dict[str, dict[tuple[str, str], list[str]]] = {}  # label -> how -> worlds
    for world, contestant in dict.fromkeys((spec.world, c) for spec, c in due.runs):
        d, popsize = due.sizes[world]
        options = contestant.options_in(
            due.axes.get((world, contestant.label), d),
            popsize=popsize,
            norm=norms[world],
            generations=plan.generations,
        )
        axes = {f"{AXES}{name}": value for name, value in contestant.axes.items()}
        words = [f"{name} = {_short(value)}" for name, value in (options | axes).items()]
        made.setdefault(contestant.label, {}).setdefault(
            (contestant.target, ", ".join(words)), []
        ).append(world)
    rows: list[list[str]] = []
    for c in plan.contestants:
        along = [
            f"{due.axes[name, c.label]} of {count(d, 'dimension')}, "
            f"{c.axes.get('source', usual_axes(d))} ({name})"
            for name, (d, _) in due.sizes.items()
            if (name, c.label) in due.axes
        ]
        parts: list[str] = []
        for (target, options), worlds in made.get(c.label, {}).items():
            words = ", ".join(filter(None, (target if c.target == USUAL else "", options)))
            one = len(made[c.label]) == 1 and c.target != USUAL
            parts.append(words if one else f"{joined(worlds)}: {words}")
        if not parts:  # it took no part
            parts = [", ".join(f"{name} = {value}" for name, value in c.options)]
        rows.append([c.label, c.target, "; ".join(parts), joined(along) if c.axes else "all"])
    return rows


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) and value % 1 else str(value)


SETTINGS_HEAD = ("optimizer", "target", "options", "along")
SETTINGS_NOTE = (
    "What each optimizer was made with, lengths in latent units, and along how many axes of "
    "what it searched."
)


def byline(plan: Plan) -> str:
    """Say when and where."""
    machine = torch.cuda.get_device_name() if plan.device.startswith("cuda") else "CPU"
    name = platform.processor() or platform.machine()
    return f"{datetime.now().date()}, {name}, {machine}"


def lead(plan: Plan, due: Due, n: int, after_look: int | None = None) -> str:
    """Say in plain words what was run: until a look, while others are to come."""
    populations = joined([
        f"{name} {d} dimensions, {n} images a generation" for name, (d, n) in due.sizes.items()
    ])
    units = {
        "training": "from the set to tune on",
        "held-apart": "from the set held apart, on which nothing was tuned",
    }.get(plan.unit_set, "as named by hand")
    noises = joined([Noise.parse(noise).words for noise in plan.noises])
    start = "codes drawn" if plan.start == "drawn" else "zeros"
    rendered = ", all codes rendered at the common norm" if plan.at_norm else ""
    stopped = (
        f" Cells that were settled to {100 * plan.within:g} % at one of {plan.looks} looks "
        f"were stopped; {len(due.runs):,} runs would be all. Intervals are at "
        f"{100 * plan.level:g} %, so that all looks together err in 5 %."
        if plan.looks > 1
        else ""
    )
    so_far = (
        f"After look {after_look} of {plan.looks}; the others are to come. "
        if after_look
        else ""
    )
    return (
        f"{so_far}{count(n, 'run')}: {count(len(plan.units), 'unit')} {units}; {noises}; "
        f"{count(plan.seeds, 'seed')}; {count(plan.generations, 'generation')} "
        f"({populations}), from {start}{rendered}."
        f"{stopped}"
    )
