"""`evolver encode`: recordings to an encoder, whose units can be evolved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from evolver.cli.area_options import AreaLabels, read_area_labels
from evolver.cli.compare.shared import print_rows
from evolver.cli.terminal import check_can_write, console, print_error, wrapped
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError
from evolver.plain_text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evolver.analysis.decoding_responses import Reliability
    from evolver.analysis.electrode_maps import ElectrodeLayout
    from evolver.analysis.layer_assignment import EncodingScores
    from evolver.setup.fitted_encoders import FittedEncoder
    from evolver.setup.recorded_answers import RecordedAnswers

_LEAST, _LEAST_TEST = 20, 3  # images
_DAMAGED = 1  # what there is was done


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
    area: AreaLabels = None,
    response: Annotated[
        tuple[float, float],
        typer.Option(metavar="START END", help="window whose rate counts, ms after onset"),
    ] = (50.0, 200.0),
    baseline: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="START END", help="window whose rate is taken off, ms"),
    ] = None,
    test: Annotated[
        float,
        typer.Option(
            min=0.05,
            max=0.5,
            help="share of images that no fit sees, where there is no test set",
        ),
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
    layout: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="where electrodes are, to draw arrays: columns label, array, row, column",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of which images are left out")] = 0,
    device: Annotated[str, typer.Option(help="of the network")] = "cpu",
    session_file: NetworksFile = None,
) -> None:
    """Fit recorded units by a network's features: encoder:FILE:UNIT can then be evolved.

    Each image counts once, with its units' mean rates. A ridge regression for each layer, its
    penalty chosen for each area; each unit is kept by the layer that predicts it best. The
    images that are left out are those of stimulus sets with the role test, or a share of all.
    Where some of them were shown twice, correlations are also given over their ceiling, the
    root of the responses' split-half reliability. Writes the encoder, a table of units (.csv)
    and a figure of layers and areas (.png); with a layout, one of arrays (.electrodes.png).
    Where images of a recording are damaged, ends with 1, after doing what can be done.
    """
    import numpy as np

    from evolver import recording
    from evolver.analysis.encoding import KernelRidge
    from evolver.recording.strangers import said_as_recording
    from evolver.report.words import count
    from evolver.setup.electrode_layout import read_layout
    from evolver.setup.fitted_encoders import fit_encoder
    from evolver.setup.recorded_answers import LOST_PIXELS, recorded_answers
    from evolver.table_files import table_bytes
    from evolver.whole_files import write_whole
    from scorers import networks
    from scorers.encoder_file import write_encoder
    from scorers.feature_pyramid import FeaturePyramid

    if ":" in str(out) or out.suffix != ".safetensors":
        raise ConfigError(
            f"--out must end in .safetensors and have no colon, for addresses; got {str(out)!r}"
        )
    area_labels = read_area_labels(area)
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
        recorded = recorded_answers(
            opened, window_ms=response, baseline_ms=baseline, area_labels=area_labels
        )
        n = len(recorded.showings)
        if n < _LEAST:
            raise ConfigError(f"an encoder must have {_LEAST} images to be fitted; got {n}")
        places, first = (None, 1) if layout is None else read_layout(layout, recorded.labels)
        rng = np.random.default_rng(seed)
        held = _held_out(recorded, test, rng)
        repeated = _reliability(recorded, held, rng)
        fit = fit_encoder(
            pyramid,
            recorded.answers.rows(np.flatnonzero(~held)),
            recorded.answers.rows(np.flatnonzero(held)),
            labels=recorded.labels,
            areas=recorded.areas,
            reliability=repeated.of_means(recorded.showings[held]),
            rng=rng,
            ridge=KernelRidge(candidates=candidates, choice=choice),
            window_ms=response,
            baseline_ms=baseline,
            progress=lambda what: status.update(f"{what} …"),
        )
    of = " of test sets" if recorded.of_test.any() else ""
    sample = (
        f"{(~held).sum():,} images fitted, {held.sum():,}{of} left out, "
        f"{len(recorded.labels):,} units; features of {loaded.name}, {response[0]:g} to "
        f"{response[1]:g} ms"
    )
    digest = write_encoder(out, fit.encoder)
    heads, rows = _table(fit, recorded)
    write_whole(out.with_suffix(".csv"), table_bytes(".csv", heads, rows))
    arrays = _draw(fit, recorded, places, out, sample)
    _print(fit, recorded, sample)
    if repeated.reason:
        console.print(
            wrapped(f"no ceilings: of the images left out, {repeated.reason}", console)
        )
    console.print(wrapped(f"encoder: {out}, sha256 {digest[:12]}…", console), highlight=False)
    console.print(f"table: {out.with_suffix('.csv')}", highlight=False)
    console.print(f"figure: {out.with_suffix('.png')}", highlight=False)
    if places is not None and arrays is not None:
        console.print(f"arrays: {arrays}", highlight=False)
        why = "none of them is 0" if first else "one of them is 0"
        text = f"rows and columns of {layout} are taken to count from {first}: {why}"
        console.print(wrapped(text, console), highlight=False, markup=False)
        missing = int((places.array < 0).sum())
        if missing:
            console.print(wrapped(f"without a place: {count(missing, 'unit')}", console))
    console.print(f"an address: {escape(f'encoder:{out}:0')}", highlight=False)
    if lost := recorded.left_out.get(LOST_PIXELS):
        text = (
            f"{count(lost, 'showing')} could not be used, as pixels of the recordings "
            "are damaged; all else is there. 'evolver verify' says what differs"
        )
        print_error(plain(text))
        raise typer.Exit(_DAMAGED)


def _draw(
    fit: FittedEncoder,
    recorded: RecordedAnswers,
    places: ElectrodeLayout | None,
    out: Path,
    sample: str,
) -> Path | None:
    """Draw layers and areas, and arrays where places are known; return the latter's file."""
    from evolver.report.electrode_figure import draw_electrodes
    from evolver.report.encoding_figure import draw_layers
    from evolver.report.style import save
    from evolver.whole_files import whole_file

    title = "How well layers predict units"
    figure = draw_layers(
        fit.scores, fit.assignment, recorded.areas, title=title, subtitle=sample
    )
    with whole_file(out.with_suffix(".png")) as path:
        save(figure, path)
    if places is None:
        return None
    figure = draw_electrodes(
        places,
        fit.assignment,
        title="Which layer predicts which electrode",
        subtitle=sample,
        over_ceiling=fit.over_ceiling,
    )
    with whole_file(out.with_suffix(".electrodes.png")) as path:
        save(figure, path)
    return out.with_suffix(".electrodes.png")


def _held_out(
    recorded: RecordedAnswers, share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which images no fit sees, (n,): those of test sets, or a share of all."""
    n = len(recorded.showings)
    held = recorded.of_test.copy()
    if not held.any():
        held[rng.permutation(n)[: max(_LEAST_TEST, round(share * n))]] = True
    if held.sum() < _LEAST_TEST or n - held.sum() < _LEAST - _LEAST_TEST:
        raise ConfigError(
            f"an encoder must have {_LEAST_TEST} test images and {_LEAST - _LEAST_TEST} "
            f"others; got {held.sum()} and {n - held.sum()}"
        )
    return held


def _reliability(
    recorded: RecordedAnswers, held: NDArray[np.bool_], rng: np.random.Generator
) -> Reliability:
    """Return how far showings of the images that are left out agree."""
    from evolver.analysis.decoding_responses import split_half_reliability

    shown = held[recorded.image]
    return split_half_reliability(recorded.each[shown], recorded.image[shown], rng=rng)


def _table(
    fit: FittedEncoder, recorded: RecordedAnswers
) -> tuple[list[str], list[list[object]]]:
    """Return a row a unit: what it is called, its layer, its correlations; empty: none."""
    from evolver.table_files import finite_cell

    heads = ["unit", "label", "area", "layer", "r", "p", "p_of_best", "r_over_ceiling"]
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
            *map(
                finite_cell,
                (
                    found.r[unit],
                    found.p[unit],
                    found.p_of_best[unit],
                    fit.over_ceiling[unit],
                    *(score.r[unit] for score in fit.scores.values()),
                ),
            ),
        ])
    return heads, rows


def _print(fit: FittedEncoder, recorded: RecordedAnswers, sample: str) -> None:
    """Print the sample, and a row a layer and area."""
    import numpy as np

    from evolver.analysis.rank_tests import mean_interval
    from evolver.report.words import NONE

    console.print(wrapped(sample, console), highlight=False)
    if recorded.left_out:
        parts = [f"{n:,} {why}" for why, n in recorded.left_out.items()]
        console.print(wrapped(f"left out, showings: {', '.join(parts)}", console))

    ceilings = any(np.isfinite(score.over_ceiling).any() for score in fit.scores.values())

    def row(i: int, layer: str, score: EncodingScores, area: str) -> list[str]:
        members = np.array([a == area for a in recorded.areas])
        mean = mean_interval(score.r[members & np.isfinite(score.r)], within=(-1.0, 1.0))
        share = fit.assignment.shares[area][i]
        cells = [layer, area, str(mean), f"{share.k} of {share.n}"]
        over = score.over_ceiling[members & np.isfinite(score.over_ceiling)]
        median = f"{np.median(over):.2f} ({len(over)})" if len(over) else NONE
        return [*cells, median] if ceilings else cells

    heads = ["layer", "area", "r, mean over units (95 %)", "best of"]
    print_rows(
        [*heads, "r/ceiling"] if ceilings else heads,
        [
            row(i, layer, score, area)
            for area in dict.fromkeys(recorded.areas)
            for i, (layer, score) in enumerate(fit.scores.items())
        ],
    )
    if ceilings:
        text = "r/ceiling: median over the units that have a ceiling, and how many have"
        console.print(wrapped(text, console), highlight=False)
