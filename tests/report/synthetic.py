"""Evolutions made of numbers alone: what figures are drawn from, with every odd case."""

from __future__ import annotations

import numpy as np

from evolver.analysis.success_tests import success
from evolver.analysis.trajectories import evenly, reference_trajectory, trajectory
from evolver.report.evolution import Evolution, ScoredImage, ThreadEvolution

EDGES = np.arange(-100, 301, 10.0)
NAMES = ("texture", "object", "third", "fourth")


def patch(rng, size, strength, theta, *, coloured):
    """A grating in noise that grows clearer with `strength`, 0 to 1."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    wave = np.sin(9 * (x * np.cos(theta) + y * np.sin(theta))) * np.exp(-(x**2 + y**2) * 1.8)
    noise = rng.normal(0, 0.6, (size, size))
    base = strength * wave + (1 - strength) * noise
    tone = np.array([1.0, 0.7, 0.45]) if coloured else np.array([0.5, 0.8, 1.0])
    return np.clip(127 + 120 * base[..., None] * tone, 0, 255).astype(np.uint8)


def evolution(
    *,
    threads=2,
    generations=30,
    references=10,
    size=64,
    means=True,
    spikes=True,
    silent=False,
    dropped=False,
    one_fitness=True,
    units=None,
    scales=None,
    names=NAMES,
    name="demo",
    seed=0,
):
    """Return an `Evolution` that rises from below the references to above them.

    `units` are what each thread's scores are counted in; None: spikes/s. `scales` are a factor
    and what is added then, of each thread's scores.
    """
    rng = np.random.default_rng(seed)
    made = []
    for k in range(threads):
        n = 40 if k % 2 == 0 else 28
        generation = np.repeat(np.arange(generations), n)
        share = 1 - np.exp(-generation / max(generations / 4, 1))
        scores = 8 + (44 - 16 * k) * share + rng.normal(0, 7, len(generation))
        factor, added = (1, 0) if scales is None else scales[k]
        scores = scores * factor + added
        if silent:
            scores[:] = 0
        if dropped:
            scores[rng.random(len(scores)) < 0.3] = np.nan
            scores[generation == generations // 2] = np.nan
        reference = rng.normal(14, 4, references) + rng.normal(0, 5, (generations, references))
        reference = reference * factor + added
        centres = (EDGES[1:] + EDGES[:-1]) / 2
        shape = np.exp(-0.5 * ((centres - 110) / 35) ** 2) * (centres > 40)
        drive = np.array([1 - np.exp(-g / max(generations / 4, 1)) for g in range(generations)])
        psth = 6 + (10 + (90 - 25 * k) * drive[:, None]) * shape
        psth = rng.poisson(psth * 0.01 * n) / 0.01 / n * (0 if silent else 1)
        values = trajectory(scores, generation, groups=generations)
        film = evenly(values.filled, at_most=12)
        top = np.sort(np.nan_to_num(scores[generation == generations - 1]))[::-1][:5]
        made.append(
            ThreadEvolution(
                name=names[k],
                optimizer="cholesky",
                generator=f"mini-{NAMES[k]}",
                unit_label="unit 0",
                response_ms=(50.0, 200.0),
                baseline_ms=None,
                block=np.arange(generations),
                scores=values,
                references=reference_trajectory(reference),
                best_score=values.mean + 12 * factor,
                film=film,
                best=tuple(
                    ScoredImage(
                        patch(rng, size, g / generations, k, coloured=k == 0),
                        score=float(values.mean[g] + 12 * factor),
                    )
                    for g in film
                ),
                means=tuple(
                    patch(rng, size, 0.3 + 0.7 * g / generations, k, coloured=k == 0)
                    for g in film
                )
                if means
                else (),
                no_means="" if means else "the weights are not on this machine",
                top=tuple(
                    ScoredImage(
                        patch(rng, size, 0.95, k + 0.1 * i, coloured=k == 0), score=float(s)
                    )
                    for i, s in enumerate(top)
                ),
                best_references=tuple(
                    ScoredImage(
                        patch(rng, size, 0.5, i, coloured=True),
                        label=f"grating {i}",
                        score=float((22 - i) * factor + added),
                        sem=float(1.3 * abs(factor)),
                        n=generations,
                    )
                    for i in range(min(references, 5))
                ),
                psth=psth if spikes else None,
                reference_psth=8 + 25 * shape if spikes and references else None,
                verdict=success(scores, generation, rng=np.random.default_rng(seed)),
                score_unit="spikes/s" if units is None else units[k],
                fitness="rate" if units is None else f"made of {units[k]}",
            )
        )
    b = np.arange(generations)
    budget = {
        "propose": rng.uniform(0.001, 0.002, len(b)),
        "render": rng.uniform(0.02, 0.04, len(b)),
        "encode": rng.uniform(0.001, 0.003, len(b)),
        "send": rng.uniform(0.0005, 0.001, len(b)),
        "wait": rng.uniform(1.9, 2.1, len(b)),
        "score": rng.uniform(0.002, 0.004, len(b)),
        "journal": rng.uniform(0.004, 0.01, len(b)),
        "blocked": rng.uniform(0.001, 0.006, len(b)),
        "idle": rng.uniform(0.0, 0.01, len(b)),
    }
    budget["total"] = sum(budget.values())
    return Evolution(
        name=name,
        threads=tuple(made),
        blocks=b,
        generation=b.astype(float),
        edges_ms=EDGES,
        on_ms=100.0,
        one_fitness=one_fitness,
        budget=budget,
    )
