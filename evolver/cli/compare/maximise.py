"""`evolver compare maximise`: how far units are driven through generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

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

    from evolver.analysis.rank_tests import RankTest
    from evolver.comparisons.figures import LayerPanel
    from evolver.comparisons.maximisation import Confinement, Maximised, Method
    from evolver.comparisons.tasks import ComparisonTask, TaskOutcome
    from evolver.types import Generator, Images, Scores
    from scorers.scorer import UnitScorer

_EXAMPLES = 3  # images of a layer in the figure
_COLUMNS = (
    "network", "layer", "generator", "weights", "method", "metric", "confined_to_px", "unit",
    "repeat", "seed", "steps", "batch", "repeats", "units", "device", "images", "largest_drive",
    "share",
)  # fmt: skip


def compare_maximisation(
    generator: Generators = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="several allowed; conv2, conv3, conv4, fc5 and fc6 of mini without it",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="adam[:LR], sgd:LR, adam+rotation, adam+scaled, sgd+scaled:LR, "
            "cholesky[:SIGMA]; several allowed; adam without it"
        ),
    ] = None,
    units: Annotated[int, typer.Option(min=1, max=1000, help="of each layer")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="or generations of cholesky")] = 100,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="runs a unit")] = 10,
    batch: Annotated[
        int, typer.Option(min=1, max=1000, help="codes of a run that climb side by side")
    ] = 4,
    confined: Annotated[
        bool,
        typer.Option(
            "--confined/--whole",
            help="shrink images into the square that a layer's units see, on grey",
        ),
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="GENERATOR=FILE.npz", help="for the methods along a basis"),
    ] = None,
    session_file: NetworksFile = None,
    seed: SeedOption = 1,
    device: Device = "cpu",
    fresh: Fresh = False,
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "maximisation.png"
    ),
) -> None:
    """Drive units of layers through each generator by each method, and say how far.

    As published: the centre units of random channels, 100 steps, 10 repeats; the largest drive
    of a run; rank-sum over the runs of a layer, each as a share of its unit's largest, and
    signed-rank over units. Images are seen whole, or confined to what the units see, which was
    published beside it for early layers. May be stopped and given again: it goes on.
    """
    from evolver.comparisons.maximisation import parse_method
    from evolver.comparisons.sources import load_source

    check_out(out)
    if units * repeats * batch < 2:
        raise ConfigError("there must be two codes at least: more units, repeats or batch")
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    how = _How(
        {g.name: g for g in loaded},
        {str(m): m for m in map(parse_method, once(method or ("adam",)))},
        metric_files(metric or (), (g.name for g in loaded)),
        {"seed": seed, "steps": steps, "repeats": repeats, "batch": batch},
        device,
    )
    for g in loaded:
        for own in how.methods.values():
            how.check(g, own)
    layers = _layers(once(layer or LAYERS), units, session_file, seed, confined=confined)
    _write(how, layers, units, _driven(how, layers, out=out, fresh=fresh))


@dataclass(frozen=True, slots=True, eq=False)
class _How:
    """By whom and how units are driven.

    Attributes
    ----------
    generators, methods : by name
    metrics : files, by generator
    settings : seed, steps, repeats, batch
    device : of generators
    """

    generators: Mapping[str, Generator]
    methods: Mapping[str, Method]
    metrics: Mapping[str, Path]
    settings: Mapping[str, int]
    device: str

    def metric(self, generator: str, method: str) -> str | None:
        """Return the metric's file, where a method uses it."""
        used = self.methods[method].basis != "none" and generator in self.metrics
        return str(self.metrics[generator]) if used else None

    def check(self, g: Generator, method: Method) -> None:
        """Raise `ConfigError` where a method lacks what it needs: before anything is run."""
        from evolver.comparisons.maximisation import basis_options

        basis_options(method, g, self.metric(g.name, str(method)))


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer, and the units of it that are driven.

    Attributes
    ----------
    network, name : str
    scorer : of the units
    confinement : where images are confined to, or None
    digest : of all that its drives depend on
    """

    network: str
    name: str
    scorer: UnitScorer
    confinement: Confinement | None
    digest: str

    @property
    def seen(self) -> str:
        """Return the side of what images are confined to, pixels, or 'all'."""
        return "all" if self.confinement is None else str(self.confinement.box.side)


def _layers(
    texts: Sequence[str], units: int, session_file: Path | None, seed: int, *, confined: bool
) -> list[_Layer]:
    """Load the layers, and draw their units."""
    import scorers
    from evolver.comparisons import maximisation as room
    from evolver.comparisons.tasks import text_digest
    from scorers.units import parse_layer

    networks = networks_in(session_file)
    layers: list[_Layer] = []
    for network_name, name in map(parse_layer, texts):
        probe = scorers.load([f"{network_name}:{name}:0"], networks=networks)
        network = probe.networks[network_name]
        addresses = room.drawn_units(network, name, units, name=network_name, seed=seed)
        within = room.confinement_of(network, name) if confined else None
        place = None if within is None else (within.box.top, within.box.left, within.box.side)
        options = networks.get(network_name, {})
        digest = text_digest(network.sha256, options, addresses, place)
        scorer = scorers.load(addresses, networks=networks)
        layers.append(_Layer(network_name, name, scorer, within, digest))
        if len(addresses) < units:
            console.print(
                f"{name} has {len(addresses)} channels: all of them are driven", markup=False
            )
    return layers


def _driven(
    how: _How, layers: Sequence[_Layer], *, out: Path, fresh: bool
) -> tuple[DoneTasks, list[dict[tuple[str, str], Maximised]]]:
    """Drive the units; return of each layer what is done, by generator and method."""
    from evolver.comparisons.maximisation import maximised_of
    from evolver.weights.file_bytes import digest_of

    files = {name: digest_of(path) for name, path in how.metrics.items()}
    cells: dict[ComparisonTask, tuple[_Layer, str, str]] = {
        _cell_task(how, own, generator, method, files): (own, generator, method)
        for own in layers
        for generator in how.generators
        for method in how.methods
    }
    cell_of = {task.digest: cell for task, cell in cells.items()}

    def act(tasks: Sequence[ComparisonTask]) -> Iterator[TaskOutcome]:
        for task in tasks:
            yield _drive(how, *cell_of[task.digest])

    done = do_tasks("maximise", [[task] for task in cells], act, out=out, fresh=fresh)
    runs: list[dict[tuple[str, str], Maximised]] = []
    for layer in layers:
        runs.append({})
        for task, (own, generator, method) in cells.items():
            outcome = done.kept.outcome(task) if own is layer else None
            if outcome is not None:
                runs[-1][generator, method] = maximised_of(
                    outcome.arrays,
                    generator=generator,
                    method=method,
                    layer=own.name,
                    units=own.scorer.unit_names,
                    confinement=own.confinement,
                )
    return done, runs


def _cell_task(
    how: _How, layer: _Layer, generator: str, method: str, files: Mapping[str, str]
) -> ComparisonTask:
    from evolver.comparisons.tasks import comparison_task

    used = how.metric(generator, method) is not None
    return comparison_task(
        "maximise",
        {
            "network": layer.network,
            "layer": layer.name,
            "generator": generator,
            "method": method,
            "confined to": layer.seen,
        },
        {
            "weights": how.generators[generator].sha256,
            "device": how.device,
            "units": layer.digest,
            "metric": files[generator] if used else "",
            **how.settings,
        },
    )


def _drive(how: _How, layer: _Layer, generator: str, method: str) -> TaskOutcome:
    """Drive a layer's units through one generator by one method."""
    from evolver.comparisons.maximisation import maximise, maximised_arrays
    from evolver.comparisons.tasks import TaskOutcome

    steps = how.settings["steps"]
    with progress_bar(f"{layer.name}, {generator}, {method}", steps) as update:
        run = maximise(
            how.generators[generator],
            layer.scorer,
            how.methods[method],
            layer=layer.name,
            metric=how.metric(generator, method),
            confinement=layer.confinement,
            progress=update,
            **how.settings,
        )
    return TaskOutcome(maximised_arrays(run))


def _write(
    how: _How,
    layers: Sequence[_Layer],
    units: int,
    driven: tuple[DoneTasks, Sequence[Mapping[tuple[str, str], Maximised]]],
) -> None:
    """Print and write what there is; of a command that was stopped, layers that are through."""
    from evolver.comparisons.figures import draw_maximisation

    done, by_layer = driven
    cells = len(how.generators) * len(how.methods)
    whole = [
        (layer, runs)
        for layer, runs in zip(layers, by_layer, strict=True)
        if len(runs) == cells
    ]
    done.check_enough(whole)
    panels = [_panel(how, layer, runs) for layer, runs in whole]
    _print(how, panels)
    how_text = (
        "n = {units} units a layer at most, runs a unit: {repeats}; {steps} steps, "
        "batch {batch}".format(units=units, **how.settings)
    )
    if any(layer.confinement is not None for layer in layers):
        how_text += "; images confined to what the units see, on grey"
    rows = (
        row
        for (layer, runs), panel in zip(whole, panels, strict=True)
        for row in _rows(how, layer, runs, panel)
    )
    done.write(draw_maximisation(panels, how=how_text), _COLUMNS, rows)


def _panel(how: _How, layer: _Layer, runs: Mapping[tuple[str, str], Maximised]) -> LayerPanel:
    """Return what is said of a layer: shares of the largest, tests, examples."""
    from evolver.analysis.rank_tests import rank_sum, signed_rank
    from evolver.comparisons.figures import LayerPanel
    from evolver.comparisons.maximisation import relative_scores

    shares = dict(zip(runs, relative_scores(list(runs.values())), strict=True))
    tests: dict[str, tuple[RankTest, RankTest]] = {}
    for method in how.methods if len(how.generators) > 1 else ():
        a, b = (shares[name, method] for name in list(how.generators)[:2])
        kept = np.isfinite(a).all(axis=1)
        of_runs = rank_sum(a[kept].ravel(), b[kept].ravel())
        tests[method] = of_runs, signed_rank(a[kept].mean(axis=1), b[kept].mean(axis=1))
    first = next(iter(how.methods))
    examples = {name: _examples(g, runs[name, first]) for name, g in how.generators.items()}
    never = int((~np.isfinite(next(iter(shares.values()))).all(axis=1)).sum())
    if never:
        console.print(
            f"{layer.name}: {never} of {len(layer.scorer.unit_names)} units were never driven "
            "above 0: they have no share",
            markup=False,
        )
    label = layer.name if layer.confinement is None else f"{layer.name}, {layer.seen} px"
    return LayerPanel(label, shares, tests, examples)


def _examples(g: Generator, run: Maximised) -> Images:
    """Return the images of some units' highest drives."""
    best = [codes[values.argmax()] for codes, values in zip(run.codes, run.best, strict=True)]
    return g.render(np.stack(best)[:_EXAMPLES])


def _print(how: _How, panels: Sequence[LayerPanel]) -> None:
    from evolver.analysis.rank_tests import mean_interval
    from evolver.comparisons.figures import SHARE

    print_rows(
        ("layer", "generator", "method", "share of the largest (95 %)"),
        (
            (p.layer, *key, mean_interval(_unit_means(shares), within=SHARE))
            for p in panels
            for key, shares in p.scores.items()
        ),
    )
    rows = [(p.layer, name, *both) for p in panels for name, both in p.tests.items()]
    if rows:
        first, second = list(how.generators)[:2]
        heads = f"{first} above {second}: rank-sum, runs", "signed-rank, units"
        print_rows(("layer", "method", *heads), rows)


def _unit_means(scores: Scores) -> Scores:
    """Return the mean of each unit's runs, (u, r), of those that all have a number."""
    return scores[np.isfinite(scores).all(axis=1)].mean(axis=1)


def _rows(
    how: _How,
    layer: _Layer,
    runs: Mapping[tuple[str, str], Maximised],
    panel: LayerPanel,
) -> Iterator[tuple[object, ...]]:
    """Yield a row for every run of every unit."""
    settings = [how.settings[name] for name in ("seed", "steps", "batch", "repeats")]
    for (generator, method), run in runs.items():
        weights = how.generators[generator].sha256[:12]
        metric = how.metric(generator, method) or ""
        begin = layer.network, layer.name, generator, weights, method, metric, layer.seen
        end = *settings, len(run.units), how.device, run.images
        share = panel.scores[generator, method]
        for unit, bests, parts in zip(run.units, run.best, share, strict=True):
            for r, (best, part) in enumerate(zip(bests, parts, strict=True)):
                yield *begin, unit, r, *end, best, part
