"""What the page and the tables say in words: what was run, and how to read it."""

from __future__ import annotations

import platform
from datetime import datetime
from typing import TYPE_CHECKING

import torch

from benchmarks.optimizers.noise import Noise
from benchmarks.optimizers.run import LEADERS, REPEATS
from evolver.report.words import count, joined

if TYPE_CHECKING:
    from benchmarks.optimizers.plan import Due, Plan


NOTES = (
    (
        "A clean score is a unit's activation: 0 at the median, 1 at the 99th percentile of "
        "5,000 reference images. Optimizers learn from noisy scores and are judged by clean "
        "ones."
    ),
    (
        "Ratio: the geometric mean over pairs of a unit and a seed. Where a score of a pair is "
        "not above 0, no ratio means anything: \N{GREEK CAPITAL LETTER DELTA} is then the mean "
        "difference, in units of the scale. In brackets, the bootstrap interval, at 95 % where "
        "nothing else is said: units are drawn, each with its seeds; there is none with fewer "
        "than five units."
    ),
    (
        "Pairs: how many. Resolves: half of the interval, the smallest true difference that is "
        "told from none in every second comparison (one 1.4 times as large, in four of five). "
        "What is smaller was not looked for."
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


RATIOS_CAPTION = (
    "Clean scores as ratios to Cholesky's under the same noise, with 95 % intervals over "
    "units. Filled, of the best image; open, of the final mean image."
)
CURVES_CAPTION = (
    "Means over units and seeds. Clean scores in parts of the unit's largest; below, the norm "
    "of each generation's mean code, latent units."
)


REPEATS_NOTE = (
    f"Of the {LEADERS} images with the highest noisy scores, the best by the mean of {REPEATS} "
    "more presentations of each."
)
REACH_NOTE = (
    "Of the best image so far, by clean scores: median over pairs, and the share that never "
    "get there. Cholesky's own score may have been reached before."
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
