"""`evolver encode`: recordings to an encoder, whose units can be evolved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from evolver.cli.compare.shared import print_rows
from evolver.cli.terminal import check_can_write, console, wrapped
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.analysis.layer_assignment import EncodingScores
    from evolver.setup.fitted_encoders import FittedEncoder
    from evolver.setup.recorded_answers import RecordedAnswers

_LEAST = 20  # images


def encode_recordings(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="RECORDING.h5...", help="recordings of one rig's units"),
    ],
    layers: Annotated[
        str, typer.Option(metavar="LAYER,LAYER", help="of the network, first to last")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.safetensors", help="the encoder; table and figure lie beside it"
        ),
    ],
    network: Annotated[
        str,
        typer.Option(metavar="NETWORK", help="whose features; 'evolver units' lists layers"),
    ] = "mini",
    response: Annotated[
        tuple[float, float],
        typer.Option(metavar="START END", help="window whose rate counts, ms after onset"),
    ] = (50.0, 200.0),
    baseline: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="window whose rate is taken off, ms"),
    ] = None,
    test: Annotated[
        float, typer.Option(min=0.05, max=0.5, help="share of images that no fit sees")
    ] = 0.2,
    choice: Annotated[
        Literal["cv", "gcv", "paper"],
        typer.Option(
            help="of penalties: tenths of the images left out, generalised cross-validation, "
            "or that as published"
        ),
    ] = "cv",
    candidates: Annotated[
        int, typer.Option(min=2, max=100, help="degrees of freedom on offer, and one")
    ] = 5,
    most: Annotated[
        int,
        typer.Option("--features", min=1, help="of a layer, before it is smoothed and thinned"),
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="of which images are left out")] = 0,
    device: Annotated[str, typer.Option(help="of the network")] = "cpu",
    session_file: NetworksFile = None,
) -> None:
    """Fit recorded units by a network's features: encoder:FILE:UNIT can then be evolved.

    Each image counts once, with its units' mean rates. A ridge regression for each layer, its
    penalty chosen for each area; each unit is kept by the layer that predicts it best. Writes
    the encoder, a table of units (.csv) and a figure of layers and areas (.png).
    """
    import numpy as np

    from evolver import recording
    from evolver.analysis.encoding import KernelRidge
    from evolver.recording.strangers import said_as_recording
    from evolver.report.encoding_figure import draw_layers
    from evolver.report.style import save
    from evolver.setup.fitted_encoders import fit_encoder
    from evolver.setup.recorded_answers import recorded_answers
    from evolver.table_files import table_bytes
    from evolver.whole_files import whole_file, write_whole
    from scorers import networks
    from scorers.encoder_file import write_encoder
    from scorers.feature_pyramid import FeaturePyramid

    if ":" in str(out) or out.suffix != ".safetensors":
        raise ConfigError(
            f"--out must end in .safetensors and have no colon, for addresses; got {str(out)!r}"
        )
    check_can_write(out.resolve().parent, "Name another file with --out")
    with console.status("loading the network …"):
        loaded = networks.load(
            network, device=device, **networks_in(session_file).get(network, {})
        )
        pyramid = FeaturePyramid(
            loaded, [name.strip() for name in layers.split(",")], most=most
        )
    with ExitStack() as stack, console.status("reading …") as status:
        opened = [stack.enter_context(recording.read(file)) for file in files]
        stack.enter_context(said_as_recording(files[0]))
        recorded = recorded_answers(opened, window_ms=response, baseline_ms=baseline)
        n = len(recorded.showings)
        if n < _LEAST:
            raise ConfigError(f"an encoder must have {_LEAST} images to be fitted; got {n}")
        rng = np.random.default_rng(seed)
        order = rng.permutation(n)
        held = max(3, round(test * n))
        fit = fit_encoder(
            pyramid,
            recorded.answers.rows(np.sort(order[held:])),
            recorded.answers.rows(np.sort(order[:held])),
            labels=recorded.labels,
            areas=recorded.areas,
            rng=rng,
            ridge=KernelRidge(candidates=candidates, choice=choice),
            progress=lambda what: status.update(f"{what} …"),
        )
    sample = (
        f"{n - held:,} images fitted, {held:,} left out, {len(recorded.labels):,} units; "
        f"features of {loaded.name}, {response[0]:g} to {response[1]:g} ms"
    )
    digest = write_encoder(out, fit.encoder)
    heads, rows = _table(fit, recorded)
    write_whole(out.with_suffix(".csv"), table_bytes(".csv", heads, rows))
    title = "How well layers predict units"
    with whole_file(out.with_suffix(".png")) as path:
        save(
            draw_layers(
                fit.scores, fit.assignment, recorded.areas, title=title, subtitle=sample
            ),
            path,
        )
    _print(fit, recorded, sample)
    console.print(wrapped(f"encoder: {out}, sha256 {digest[:12]}…", console), highlight=False)
    console.print(f"table: {out.with_suffix('.csv')}", highlight=False)
    console.print(f"figure: {out.with_suffix('.png')}", highlight=False)
    console.print(f"an address: {escape(f'encoder:{out}:0')}", highlight=False)


def _table(
    fit: FittedEncoder, recorded: RecordedAnswers
) -> tuple[list[str], list[list[object]]]:
    """Return a row a unit: what it is called, its layer, its correlations."""
    heads = ["unit", "label", "area", "layer", "r", "p", "p_of_best"]
    heads += [f"r_{layer}" for layer in fit.scores]
    found = fit.assignment
    rows: list[list[object]] = []
    for unit, (label, area) in enumerate(zip(recorded.labels, recorded.areas, strict=True)):
        best = int(found.best[unit])
        rows.append([
            unit,
            label,
            area,
            found.layers[best] if best >= 0 else "",
            float(found.r[unit]),
            float(found.p[unit]),
            float(found.p_of_best[unit]),
            *(float(score.r[unit]) for score in fit.scores.values()),
        ])
    return heads, rows


def _print(fit: FittedEncoder, recorded: RecordedAnswers, sample: str) -> None:
    """Print the sample, and a row a layer and area."""
    import numpy as np

    from evolver.analysis.rank_tests import mean_interval

    console.print(wrapped(sample, console), highlight=False)
    if recorded.left_out:
        parts = [f"{n:,} {why}" for why, n in recorded.left_out.items()]
        console.print(wrapped(f"left out, showings: {', '.join(parts)}", console))

    def row(i: int, layer: str, score: EncodingScores, area: str) -> list[str]:
        members = np.array([a == area for a in recorded.areas])
        mean = mean_interval(score.r[members & np.isfinite(score.r)], within=(-1.0, 1.0))
        share = fit.assignment.shares[area][i]
        return [layer, area, str(mean), f"{share.k} of {share.n}"]

    print_rows(
        ["layer", "area", "r, mean over units (95 %)", "best of"],
        [
            row(i, layer, score, area)
            for area in dict.fromkeys(recorded.areas)
            for i, (layer, score) in enumerate(fit.scores.items())
        ],
    )
