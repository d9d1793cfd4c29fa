"""`evolver compare maximise`: how far units are driven through generators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from evolver.cli.compare.shared import (
    EMBEDDED,
    LAYERS,
    Device,
    Generators,
    SeedOption,
    check_out,
    metric_files,
    once,
    print_rows,
    progress_bar,
    write_figure,
)
from evolver.cli.terminal import console
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.analysis.rank_tests import RankTest
    from evolver.types import Scores

_EXAMPLES = 3  # images of a layer in the figure


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
    out: Annotated[Path, typer.Option(help="figure, a PNG file; a CSV beside it")] = Path(
        "maximisation.png"
    ),
) -> None:
    """Drive units of layers through each generator by each method, and say how far.

    As published: the centre units of random channels, 100 steps, 10 repeats; the largest drive
    of a run; rank-sum over the runs of a layer, each as a share of its unit's largest, and
    signed-rank over units. Images are seen whole, or confined to what the units see, which was
    published beside it for early layers.
    """
    import scorers
    from evolver.analysis.rank_tests import mean_interval, rank_sum, signed_rank
    from evolver.comparisons import maximisation as room
    from evolver.comparisons.figures import LayerPanel, draw_maximisation
    from evolver.comparisons.sources import load_source
    from scorers.units import parse_layer

    check_out(out)
    if units * repeats * batch < 2:
        raise ConfigError("there must be two codes at least: more units, repeats or batch")
    loaded = [load_source(text, device=device) for text in once(generator or EMBEDDED)]
    metrics = metric_files(metric or (), (g.name for g in loaded))
    methods = [room.parse_method(text) for text in once(method or ("adam",))]
    networks = networks_in(session_file)
    panels: list[LayerPanel] = []
    table: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    for text in once(layer or LAYERS):
        network_name, layer_name = parse_layer(text)
        probe = scorers.load([f"{network_name}:{layer_name}:0"], networks=networks)
        network = probe.networks[network_name]
        addresses = room.drawn_units(network, layer_name, units, name=network_name, seed=seed)
        scorer = scorers.load(addresses, networks=networks)
        confinement = room.confinement_of(network, layer_name) if confined else None
        runs: list[room.Maximised] = []
        for g in loaded:
            for how in methods:
                with progress_bar(f"{layer_name}, {g.name}, {how}", steps) as update:
                    run = room.maximise(
                        g,
                        scorer,
                        how,
                        layer=layer_name,
                        seed=seed,
                        steps=steps,
                        repeats=repeats,
                        batch=batch,
                        metric=str(metrics[g.name]) if g.name in metrics else None,
                        confinement=confinement,
                        progress=update,
                    )
                runs.append(run)
        shares = dict(
            zip(
                [(run.generator, run.method) for run in runs],
                room.relative_scores(runs),
                strict=True,
            )
        )
        tests: dict[str, tuple[RankTest, RankTest]] = {}
        for how in methods:
            if len(loaded) > 1:
                a, b = (shares[g.name, str(how)] for g in loaded[:2])
                kept = np.isfinite(a).all(axis=1)
                of_runs = rank_sum(a[kept].ravel(), b[kept].ravel())
                of_units = signed_rank(a[kept].mean(axis=1), b[kept].mean(axis=1))
                tests[str(how)] = of_runs, of_units
                rows.append((layer_name, how, of_runs, of_units))
        examples = {
            g.name: g.render(
                np.stack([
                    unit[values.argmax()]
                    for unit, values in zip(run.codes, run.best, strict=True)
                ])[:_EXAMPLES]
            )
            for g, run in zip(loaded, runs[:: len(methods)], strict=True)
        }
        seen = "all" if confinement is None else str(confinement.box.side)
        label = f"{layer_name}, {seen} px" if confinement is not None else layer_name
        if len(addresses) < units:
            console.print(f"{layer_name} has {len(addresses)} channels: all of them are driven")
        never = int(sum(not np.isfinite(share).all() for share in next(iter(shares.values()))))
        if never:
            console.print(
                f"{layer_name}: {never} of {len(addresses)} units were never driven above 0: "
                "they have no share"
            )
        panels.append(LayerPanel(label, shares, tests, examples))
        for run in runs:
            share = shares[run.generator, run.method]
            table.extend(
                (layer_name, run.generator, run.method, seen, unit, r, run.images, best, part)
                for unit, bests, parts in zip(run.units, run.best, share, strict=True)
                for r, (best, part) in enumerate(zip(bests, parts, strict=True))
            )
    print_rows(
        ("layer", "generator", "method", "share of the unit's largest, mean over units (95 %)"),
        (
            (
                " ".join(p.layer.split()),
                *key,
                mean_interval(_unit_means(s)),
            )
            for p in panels
            for key, s in p.scores.items()
        ),
    )
    if rows:
        names = f"{loaded[0].name} above {loaded[1].name}"
        print_rows(("layer", "method", f"{names}: rank-sum, runs", "signed-rank, units"), rows)
    how_text = (
        f"n = {units} units a layer at most, runs a unit: {repeats}; {steps} steps, "
        f"batch {batch}"
        + ("; images confined to what the units see, on grey" if confined else "")
    )
    write_figure(
        out,
        draw_maximisation(panels, how=how_text),
        (
            "layer",
            "generator",
            "method",
            "confined_to_px",
            "unit",
            "repeat",
            "images",
            "largest_drive",
            "share",
        ),
        table,
    )


def _unit_means(scores: Scores) -> Scores:
    """Return the mean of each unit's runs, (u, r), of those that all have a number."""
    return scores[np.isfinite(scores).all(axis=1)].mean(axis=1)
