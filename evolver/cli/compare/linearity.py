"""`evolver compare linearity`: what codes and units say of each other, in straight lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape

from evolver.cli.compare.shared import (
    EMBEDDED,
    LAYERS,
    Device,
    DoneTasks,
    Fresh,
    Generators,
    SeedOption,
    check_out,
    do_tasks,
    metric_files,
    once,
    print_rows,
    progress_bar,
)
from evolver.cli.terminal import console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evolver.comparisons.linearity import Linearity
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome
    from evolver.metric import Metric
    from evolver.types import Codes, Generator, Responses
    from scorers.scorer import UnitScorer

_AT_ONCE = 64  # images of a task
_COLUMNS = (
    "generator", "weights", "part", "k", "network", "layer", "direction", "column", "unit", "n",
    "seed", "metric", "device", "r2", "lambda",
)  # fmt: skip


def compare_linearity(
    generator: Generators = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="several allowed, the first nearest to the image; conv2, conv3, conv4, fc5 "
            "and fc6 of mini without it",
        ),
    ] = None,
    n: Annotated[
        int, typer.Option("-n", min=20, max=1_000_000, help="images; published 5,000")
    ] = 1000,
    units: Annotated[int, typer.Option(min=1, max=10_000, help="of each layer")] = 96,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="GENERATOR=FILE.npz", help="for its first and last directions"),
    ] = None,
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "linearity.png"
    ),
) -> None:
    """Say how linear units are in a generator's code, and its code in units, layer by layer.

    As published: ridge with its penalty chosen by cross-validation, a fifth of the images held
    out by the seed 42; all of the code, its class and noise, directions of its metric. May be
    stopped and given again: it goes on.
    """
    from evolver.comparisons.sources import load_source

    check_out(out)
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    paths = metric_files(metric or (), (g.name for g in loaded))
    asked = _Asked(
        {g.name: g for g in loaded},
        _units(once(layer or LAYERS), units, session_file, seed),
        networks_in(session_file),
        _metrics(loaded, paths),
        {name: str(path) for name, path in paths.items()},
        n,
        seed,
        device,
    )
    _write(asked, _responses(asked, out=out, fresh=fresh))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is asked.

    Attributes
    ----------
    generators : by name
    units : of each layer, NETWORK:LAYER, the addresses
    networks : their options, by name
    metrics, metric_files : of generators that have one
    n, seed, device : as the command has them
    """

    generators: Mapping[str, Generator]
    units: Mapping[str, list[str]]
    networks: Mapping[str, Mapping[str, object]]
    metrics: Mapping[str, Metric]
    metric_files: Mapping[str, str]
    n: int
    seed: int
    device: str

    @property
    def addresses(self) -> list[str]:
        """Return all units, layer by layer."""
        return [address for own in self.units.values() for address in own]

    def codes(self, name: str) -> Codes:
        """Return a generator's codes, (n, d)."""
        from evolver import seeds

        rng = seeds.stream(self.seed, "linearity", name)
        return self.generators[name].initial_codes(self.n, rng=rng)


def _metrics(loaded: Sequence[Generator], paths: Mapping[str, Path]) -> dict[str, Metric]:
    """Read the metrics of generators; one must be its generator's own."""
    from evolver.metric import read_metric

    metrics = {name: read_metric(path) for name, path in paths.items()}
    for g in loaded:
        of = metrics.get(g.name)
        if of is None:
            continue
        made_for = g.name if of.provenance is None else of.provenance.generator
        if of.d != g.d or made_for != g.name:
            raise ConfigError(
                f"the metric of {g.name} must be its own, of {g.d} dimensions; "
                f"{paths[g.name]} is of {made_for} and {of.d} dimensions"
            )
    return metrics


def _units(
    layers: Sequence[str], n: int, session_file: Path | None, seed: int
) -> dict[str, list[str]]:
    """Return the addresses of n units of each layer, by NETWORK:LAYER."""
    import scorers
    from evolver.comparisons.maximisation import drawn_units
    from scorers.units import parse_layer

    networks = networks_in(session_file)
    units: dict[str, list[str]] = {}
    for network, layer in map(parse_layer, layers):
        probe = scorers.load([f"{network}:{layer}:0"], networks=networks)
        units[f"{network}:{layer}"] = drawn_units(
            probe.networks[network], layer, n, name=network, seed=seed
        )
    return units


def _responses(
    asked: _Asked, *, out: Path, fresh: bool
) -> tuple[DoneTasks, dict[str, _Scored]]:
    """Draw and score the images, some dozens a task."""
    import scorers

    scorer = scorers.load(asked.addresses, networks=asked.networks)
    scored = {name: _Scored(asked, name, scorer) for name in asked.generators}

    def act(tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        return scored[tasks[0].levels["generator"]].act(tasks)

    waves = [list(own.tasks) for own in scored.values()]
    return do_tasks("linearity", waves, act, out=out, fresh=fresh), scored


class _Scored:
    """Codes of a generator, and the tasks in which their images are drawn and scored.

    Parameters
    ----------
    asked : how many, by which seed
    name : the generator's
    scorer : of all units
    """

    def __init__(self, asked: _Asked, name: str, scorer: UnitScorer) -> None:
        from evolver.comparisons.tasks import array_digest, comparison_task

        self.codes = asked.codes(name)
        self._generator, self._scorer = asked.generators[name], scorer
        inputs = {
            "weights": self._generator.sha256,
            "device": asked.device,
            "units": asked.addresses,
            "networks": {key: dict(options) for key, options in asked.networks.items()},
            "network weights": {n: own.sha256 for n, own in scorer.networks.items()},
        }
        self.tasks: dict[ComparisonTask, range] = {}
        for first in range(0, asked.n, _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, asked.n))
            levels = {"generator": name, "images": f"{rows[0]}-{rows[-1]}"}
            codes = array_digest(self.codes[rows.start : rows.stop])
            self.tasks[comparison_task("linearity", levels, {**inputs, "codes": codes})] = rows

    def act(self, tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        """Draw and score the images of tasks."""
        from evolver.comparisons.tasks import TaskOutcome

        rows_of = {task.digest: rows for task, rows in self.tasks.items()}
        parts = [rows_of[task.digest] for task in tasks]
        total, ended = sum(map(len, parts)), 0
        with progress_bar(f"{self._generator.name}, images", total) as update:
            for rows in parts:
                images = self._generator.render(self.codes[rows.start : rows.stop])
                yield TaskOutcome({"responses": self._scorer.score(images)})
                ended += len(rows)
                update(ended, total)


def _write(asked: _Asked, scored: tuple[DoneTasks, Mapping[str, _Scored]]) -> None:
    """Fit, print and write; of a command that was stopped, the generators that are through."""
    from evolver.comparisons.figures import draw_linearity

    done, by_generator = scored
    found: dict[str, list[list[Linearity]]] = {}
    for name, own in by_generator.items():
        outcomes = done.kept.outcomes(list(own.tasks))
        if len(outcomes) == len(own.tasks):
            responses = np.concatenate([outcome.arrays["responses"] for outcome in outcomes])
            with console.status(f"{escape(name)}: fitting …"):
                found[name] = _fitted(asked, name, own.codes, responses)
    done.check_enough(found)
    fitted = asked.n - -(-asked.n // 5)
    counts = ", ".join(str(len(own)) for own in asked.units.values())
    how = f"n = {fitted} images fitted, {asked.n - fitted} held out"
    layers = [layer.partition(":")[2] for layer in asked.units]
    _print(layers, found)
    console.print(f"mean R²; {how}; units of each layer: {counts}")
    _print_trends(asked, found)
    figure = draw_linearity(layers, found, how=f"{how}; units of each layer: {counts}")
    done.write(figure, _COLUMNS, _rows(asked, found))


def _fitted(
    asked: _Asked, name: str, codes: Codes, responses: Responses
) -> list[list[Linearity]]:
    """Return for each layer what its units and each part of the code say of each other."""
    from evolver.comparisons import linearity as room

    of = asked.metrics.get(name)
    axes = None if of is None else of.eigenvectors
    parts = room.code_parts(asked.generators[name], metric=axes, seed=asked.seed)
    layer_of = np.repeat(np.arange(len(asked.units)), [len(u) for u in asked.units.values()])
    return [
        room.linearity(codes, responses[:, layer_of == i], parts)
        for i in range(len(asked.units))
    ]


def _print(layers: Sequence[str], found: Mapping[str, list[list[Linearity]]]) -> None:
    print_rows(
        ("generator", "part", "k", "direction", *layers),
        (
            (
                name,
                by_layer[0][p].part,
                by_layer[0][p].k,
                direction,
                *(f"{getattr(of_layer[p], which).mean:.3f}" for of_layer in by_layer),
            )
            for name, by_layer in found.items()
            for p in range(len(by_layer[0]))
            for direction, which in (("to units", "to_units"), ("to code", "to_codes"))
        ),
    )


def _print_trends(asked: _Asked, found: Mapping[str, list[list[Linearity]]]) -> None:
    """Say how linearity goes with depth, where there are depths."""
    from evolver import seeds
    from evolver.analysis.linear_maps import depth_trend

    for name, by_layer in found.items() if len(asked.units) > 1 else ():
        trend = depth_trend(
            range(len(by_layer)),
            [of_layer[0].to_units.r2 for of_layer in by_layer],
            rng=seeds.stream(asked.seed, "depth"),
        )
        console.print(
            f"{name}: units from the code against depth, Spearman {trend.rho:+.2f} "
            f"({trend.low:+.2f} to {trend.high:+.2f}, 95 %), {trend.n} units",
            markup=False,
        )


def _rows(
    asked: _Asked, found: Mapping[str, list[list[Linearity]]]
) -> Iterator[tuple[object, ...]]:
    """Yield a row for every unit, and every dimension of a part, of every layer."""
    for name, by_layer in found.items():
        weights = asked.generators[name].sha256[:12]
        settings = asked.n, asked.seed, asked.metric_files.get(name, ""), asked.device
        for (address, units), of_layer in zip(asked.units.items(), by_layer, strict=True):
            network, _, layer = address.partition(":")
            for part in of_layer:
                begin = name, weights, part.part, part.k, network, layer
                for i, (unit, r2) in enumerate(zip(units, part.to_units.r2, strict=True)):
                    yield *begin, "to units", i, unit, *settings, r2, part.to_units.penalty
                for i, r2 in enumerate(part.to_codes.r2):
                    yield *begin, "to code", i, "", *settings, r2, part.to_codes.penalty
