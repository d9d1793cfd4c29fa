"""The commands of this benchmark: compare, fit."""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy and torch read these when they are imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.neurons import fit as fits
from benchmarks.neurons.experiments import (
    AREAS,
    Experiment,
    measures,
    published,
    quantiles,
    simulated,
)

app = typer.Typer(no_args_is_help=True)

Data = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="the published experiments, npz")
]
Sessions = Annotated[int, typer.Option(min=2, help="simulated sessions an area")]
Workers = Annotated[int | None, typer.Option(min=1, help="processes; one a core by default")]


@app.command()
def compare(
    data: Data,
    *,
    sessions: Sessions = 16,
    workers: Workers = None,
    figure: Annotated[Path | None, typer.Option(help="a PNG to draw")] = None,
) -> None:
    """Run simulated sessions of each area and print them beside the published ones."""
    recorded = {area: [e for e in published(data) if e.area == area] for area in AREAS}
    made = _simulate(recorded, sessions, workers)
    print(_table(recorded, made, sessions))
    if figure is not None:
        from benchmarks.neurons.figure import draw

        draw({"published": recorded, "simulated": made}, figure)


@app.command()
def fit(data: Data, *, sessions: Sessions = 16, workers: Workers = None) -> None:
    """Fit each area's settings to the published experiments and print them."""
    everything = published(data)
    recorded = {area: [e for e in everything if e.area == area] for area in AREAS}
    made = _simulate(recorded, sessions, workers)
    _, showings = fits.fit_adaptation(everything)
    for area in AREAS:
        experiments = recorded[area]
        depth, _ = fits.fit_adaptation(experiments, showings)
        known = replace(
            fits.fit_time_courses(experiments),
            contrast_ms=round(fits.fit_contrast(experiments), 1),
            drift_sd=round(fits.fit_drift(experiments), 3),
            drift_showings=300.0,
            adaptation=round(depth, 2),
            adaptation_showings=round(showings, -1),
            dead_ms=round(fits.fit_dead_time(everything), 1),
        )
        settings, loss = fits.fit_rates(experiments, made[area], known)
        print(f"{area}, loss {loss:.2f}: {settings}", flush=True)


def _simulate(
    recorded: dict[str, list[Experiment]], sessions: int, workers: int | None
) -> dict[str, list[Experiment]]:
    jobs = [
        (area, number, int(np.median([e.mean.shape[1] for e in recorded[area]])))
        for number in range(sessions)
        for area in AREAS
    ]
    made: dict[str, list[Experiment]] = {area: [] for area in AREAS}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for i, experiment in enumerate(pool.map(simulated, jobs)):
            made[experiment.area].append(experiment)
            print(f"\r{i + 1}/{len(jobs)} sessions", end="", flush=True)
    print("\r" + " " * 40 + "\r", end="")
    return made


def _table(
    recorded: dict[str, list[Experiment]], made: dict[str, list[Experiment]], sessions: int
) -> str:
    lines = [
        "## Model neurons against recorded ones",
        "",
        f"`python -m benchmarks.neurons compare DATA.npz --sessions {sessions}`,",
        f"{datetime.now().date()}, {os.cpu_count()} cores. 10/50/90 % of sites; an area's last",
        "column is the share of simulated sites within the published 10 to 90 %.",
        "",
        "| |" + "".join(f" {area} published | simulated | within |" for area in AREAS),
        "|---|" + "---|---|---|" * len(AREAS),
    ]
    wanted = {area: quantiles(recorded[area]) for area in AREAS}
    got = {area: quantiles(made[area]) for area in AREAS}
    for name in wanted["IT"]:
        cells = [name]
        for area in AREAS:
            low, _, high = wanted[area][name]
            values = np.array([measures(e)[name] for e in made[area]])
            within = float(((values >= low) & (values <= high)).sum()) / len(values)
            cells += [_numbers(wanted[area][name]), _numbers(got[area][name]), f"{within:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _numbers(values: np.ndarray) -> str:
    return " / ".join(f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}" for value in values)


if __name__ == "__main__":
    app()
