"""`evolver decode`: a recording's sets to codes and images, and what these are worth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from evolver.cli.area_options import AreaLabels, read_area_labels
from evolver.cli.compare.shared import print_rows
from evolver.cli.terminal import check_can_write, console, print_error, print_warning, wrapped
from evolver.cli.units import NetworksFile, networks_in
from evolver.errors import ConfigError
from evolver.plain_text import plain
from evolver.whole_files import whole_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.reconstruction.measures import ImageFeatures
    from evolver.reconstruction.results import DecodedSession, DecodingSettings
    from evolver.reconstruction.sets import DecodingChannels, WindowChoice
    from evolver.reconstruction.walks import UnitResponses
    from evolver.recording import Recording
    from evolver.responses import TimeWindow

PAGE, CODES = "decoding.html", "decoded.npz"
_FIGURES = "reconstructions|chance|sites|regions|times|attributes|ceilings|walk-\\d+"
_TABLES = "measures|items|attributes|sites|times|rises|channels|absent"
OF_DECODINGS = re.compile(
    rf"{re.escape(PAGE)}|{re.escape(CODES)}|({_FIGURES})\.png|({_TABLES})\.(csv|parquet)"
)
_REMEDY = "Name another folder with --out"
_STOPPED = 130  # as a shell says of what a Ctrl-C ended
_NARROWEST_MS, _LONGEST_MS = 0.1, 10_000.0
_DAMAGED = 1  # as other commands end that did what they could


def decode_recording(
    file: Annotated[Path, typer.Argument(metavar="RECORDING.h5", help="recording (.h5)")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder; by default 'decoded' beside the recording"),
    ] = None,
    decoder: Annotated[
        Literal["ridge", "least-squares", "dense", "inverted-glm"],
        typer.Option(
            help="ridge, its penalty by leaving items out; least squares; a dense layer by "
            "Adam; a model of responses, inverted"
        ),
    ] = "ridge",
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="fit on this; those of the role 'train' without it"),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(metavar="SET", help="decode this; those of the role 'test' without it"),
    ] = None,
    area: AreaLabels = None,
    windows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AREA=START:END,...",
            help="response windows of areas, ms after onset, as V1=30:130,IT=80:180; several "
            "allowed",
        ),
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="START END",
            help="of all areas that --windows does not name, ms; without it V1, V4 and IT have "
            "25:125, 50:150 and 75:175, and others 50:200",
        ),
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            metavar="NETWORK:LAYER",
            help="by whose features images are compared, as torchvision:vgg16:features.28",
        ),
    ] = "mini:conv4",
    sets: Annotated[
        int, typer.Option(min=1, max=100_000, help="random ones, for p and its figure")
    ] = 1000,
    folds: Annotated[
        int, typer.Option(min=2, max=100, help="of the items, where there is no test set")
    ] = 5,
    images: Annotated[
        int, typer.Option(min=0, max=1000, help="items whose images are drawn and compared")
    ] = 100,
    walk: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ITEM,ITEM",
            help="draw the way between two test items: between their codes, their decoded "
            "codes, and their responses, decoded; several allowed",
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="of 'evolver encode', whose units are these channels: walks get a row of what "
            "it says of the images on the way, decoded",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            min=0,
            max=10_000,
            help="decoders of random channels, beside those with and without each site; 0: "
            "none of these",
        ),
    ] = 20,
    course: Annotated[
        tuple[float, float],
        typer.Option(metavar="START END", help="time course: from when to when, ms"),
    ] = (-100.0, 200.0),
    width: Annotated[float, typer.Option(help="of the time course's windows, ms")] = 10.0,
    times: Annotated[bool, typer.Option(help="whether there is a time course")] = True,
    resamplings: Annotated[
        int,
        typer.Option(min=0, max=100_000, help="of items, for the interval of when it begins"),
    ] = 200,
    epochs: Annotated[int, typer.Option(min=1, max=100_000, help="of the dense layer")] = 1500,
    space: Annotated[
        Literal["own", "w"],
        typer.Option(help="codes z are compared as they are, or as the w of StyleGAN3"),
    ] = "own",
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="published habits: the test's own z-scores, and sites occluded by the mean of "
            "other test items; both let the test into itself",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="of all that is drawn at random")] = 0,
    device: Annotated[
        str, typer.Option(help="of the generator and the network: 'cpu', 'cuda', 'cuda:1'")
    ] = "cpu",
    parquet: Annotated[bool, typer.Option("--parquet", help="tables also as Parquet")] = False,
    session_file: NetworksFile = None,
) -> None:
    """Decode a recording's stimulus sets: codes, images, and what they are worth.

    A linear map from responses to codes is fitted on the training sets, and decodes the test
    sets; without one, items are left out in turn. Writes figures, tables, one page, and the
    decoded codes, at which an evolution can start: initial = "decoded:FILE:ITEM". What cannot
    be worked out is left out, with the reason; so is what is not done at a Ctrl-C. Exit status:
    0 done; 1 done but for what is damaged in the file; 2 nothing was written; 130 stopped.
    """
    from evolver import recording
    from evolver.reconstruction.results import DecodingSettings
    from evolver.recording.strangers import said_as_recording
    from evolver.report.words import joined
    from evolver.table_files import check_parquet

    if parquet:
        check_parquet()
    _check_times(width, course)
    choice = _window_choice(read_area_labels(area), ",".join(windows or ()), window)
    settings = DecodingSettings(
        decoder=decoder,
        epochs=epochs,
        folds=folds,
        sets=sets,
        draws=draws,
        resamplings=resamplings,
        images=images,
        walks=tuple(map(_pair, walk or [])),
        width_ms=width,
        course_ms=course if times else None,
        seed=seed,
    )
    if paper:
        settings = settings.as_published
    place = out or file.resolve().parent / "decoded"
    check_can_write(place.resolve().parent, _REMEDY)
    with recording.read(file) as opened, said_as_recording(file):
        session, options = _decoded(
            opened,
            settings,
            choice,
            train=train or [],
            test=test or [],
            network=network,
            networks=session_file,
            device=device,
            in_w=space == "w",
            encoder=encoder,
        )
    _write(place, session, options, parquet=parquet)
    _print_session(session)
    console.print(wrapped(f"tables, figures and codes: {place}", console), highlight=False)
    console.print(f"open {escape(str(place / PAGE))} in a browser")
    if session.damaged:
        text = (
            f"{file} is damaged, so that {joined(list(session.damaged))} could not be "
            "had; all else is there. 'evolver verify' says what differs"
        )
        print_error(plain(text))
    if session.stopped:
        raise typer.Exit(_STOPPED)
    if session.damaged:
        raise typer.Exit(_DAMAGED)


def _decoded(
    opened: Recording,
    settings: DecodingSettings,
    choice: WindowChoice,
    *,
    train: list[str],
    test: list[str],
    network: str,
    networks: Path | None,
    device: str,
    in_w: bool,
    encoder: Path | None,
) -> tuple[DecodedSession, dict[str, object]]:
    """Return the decoded session, and the options of its generator."""
    from evolver.attributions.drawing import RecordedGenerators
    from evolver.reconstruction.sets import read_decoding_data
    from evolver.reconstruction.study import decode_session
    from evolver.reconstruction.walks import row_of

    with console.status("reading …") as status:
        data = read_decoding_data(opened, train=train, test=test, windows=choice)
        _check_windows(choice, data.channels.areas)
        if data.test is not None:
            for item in (item for walk in settings.walks for item in walk):
                row_of(item, data.test.items)
        status.update("loading the generator …")
        generator = RecordedGenerators(device=device).of(opened, data.thread)
        if in_w and not isinstance(generator, str):
            _check_space(getattr(generator, "code_space", ""), generator.name)
        features = _features(network, networks, device) if settings.images else "no images"
        told = None
        if encoder is not None:
            told = _encoder(encoder, data.channels, networks, device)
        session = decode_session(
            opened,
            data,
            settings,
            generator=generator,
            features=features,
            network=network,
            in_w=in_w,
            encoder=told,
            progress=lambda what: status.update(f"{escape(what)} …"),
        )
    return session, dict(data.thread.options.get("generator") or {})


def _check_times(width: float, course: TimeWindow) -> None:
    """Raise `ConfigError` where --width or --course are of no time."""
    if not _NARROWEST_MS <= width <= _LONGEST_MS:
        raise ConfigError(
            f"--width must be {_NARROWEST_MS:g} to {_LONGEST_MS:g} ms; got {width:g}"
        )
    if not -_LONGEST_MS <= course[0] < course[1] <= _LONGEST_MS:
        raise ConfigError(
            f"--course must begin before it ends, within {_LONGEST_MS:g} ms; got "
            f"{course[0]:g} {course[1]:g}"
        )


def _check_windows(choice: WindowChoice, areas: Sequence[str]) -> None:
    """Raise `ConfigError` where --windows speaks of an area that no channel is of."""
    from evolver.analysis.decoding_responses import AREA_WINDOWS_MS

    names = {name for area in areas for name in choice.names_of(area)}
    for name, window in choice.of_areas.items():
        if AREA_WINDOWS_MS.get(name) != window and name not in names:
            there = ", ".join(sorted(set(areas)))
            raise ConfigError(f"--windows must be of areas here, {there}; got {name!r}")


def _pair(text: str) -> tuple[str, str]:
    """Return the items between which --walk is."""
    first, comma, second = text.partition(",")
    if not comma or not first.strip() or not second.strip() or first == second:
        raise ConfigError(f"--walk must be two items, as 3,17; got {text!r}")
    return first.strip(), second.strip()


def _encoder(
    file: Path, channels: DecodingChannels, networks: Path | None, device: str
) -> UnitResponses:
    """Return what a fitted encoder says of channels, by their labels, in their order."""
    import numpy as np

    import scorers
    from scorers.encoder_file import read_encoder

    facts, labels = read_encoder(file).facts, channels.labels
    others = [window for window in channels.windows_ms if window != facts.window_ms]
    if facts.window_ms is not None and others and not channels.own_window:
        (start, end), (from_ms, to_ms) = facts.window_ms, others[0]
        raise ConfigError(
            f"--encoder must be of the windows that are decoded: {file} was fitted on "
            f"{start:g} to {end:g} ms, and some channels are read in {from_ms:g} to {to_ms:g} "
            f"ms. Decode with --window {start:g} {end:g}, or fit it on those by --response"
        )
    if facts.baseline_ms is not None:
        raise ConfigError(
            f"--encoder must be of rates of which nothing was taken off; {file} was fitted "
            "with a baseline. Fit it without"
        )
    lacking = [label for label in labels if label not in facts.labels]
    if lacking:
        raise ConfigError(
            f"--encoder must have a unit for each of the {len(labels)} channels; {file} has "
            f"none for {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}"
        )
    scorer = scorers.load(
        f"encoder:{file}:0-{len(facts.labels) - 1}",
        device=device,
        networks=networks_in(networks),
    )
    columns = np.array([facts.labels.index(label) for label in labels])
    return lambda images: scorer.score(images)[:, columns]


def _check_space(space: str, name: str) -> None:
    if space not in {"z", "w"}:
        raise ConfigError(
            f"--space w must be of codes that are mapped to w, as stylegan3's z; {name} has "
            "none"
        )


def _features(name: str, networks: Path | None, device: str) -> ImageFeatures:
    """Return what makes features of images: a layer of a network."""
    from scorers import networks as by_name
    from scorers.feature_pyramid import FeaturePyramid

    network, colon, layer = name.rpartition(":")
    if not colon:
        raise ConfigError(f"--network must be NETWORK:LAYER, as mini:conv4; got {name!r}")
    loaded = by_name.load(network, device=device, **networks_in(networks).get(network, {}))
    pyramid = FeaturePyramid(loaded, [layer])
    return lambda images: pyramid.features(images)[layer].astype("float64")


def _window_choice(
    patterns: dict[str, str], windows: str, window: TimeWindow | None
) -> WindowChoice:
    """Read the options that say when channels respond: --windows, and of others --window."""
    from evolver.analysis.decoding_responses import AREA_WINDOWS_MS
    from evolver.reconstruction.sets import OTHER_WINDOW_MS, WindowChoice

    of_areas: dict[str, TimeWindow] = {} if window is not None else dict(AREA_WINDOWS_MS)
    asked: set[str] = set()
    for text in filter(None, windows.split(",")):
        name, equals, span = text.partition("=")
        start, colon, end = span.partition(":")
        if name.strip() in asked:
            raise ConfigError(f"--windows must name an area once; got {text!r} again")
        asked.add(name.strip())
        try:
            of_areas[name.strip()] = (float(start), float(end))
        except ValueError as error:
            raise ConfigError(
                f"--windows must be AREA=START:END,..., as V1=25:125,IT=75:175; got {text!r}"
            ) from error
        if not (name.strip() and equals and colon):
            raise ConfigError(f"--windows must name an area; got {text!r}")
    if window is not None and not window[0] < window[1]:
        raise ConfigError(
            f"--window must begin before it ends; got {window[0]:g} {window[1]:g}"
        )
    return WindowChoice(of_areas, window or OTHER_WINDOW_MS, patterns)


def _write(
    place: Path, session: DecodedSession, options: dict[str, object], *, parquet: bool
) -> None:
    """Write codes, tables, figures and the page, and put them in their place together."""
    from evolver.generators.decoded_codes import DecodedCodes
    from evolver.reconstruction.tables import decoding_tables
    from evolver.report.decoding_figures import DECODING_FIGURES, draw_decoded_walk
    from evolver.report.decoding_page import write_decoding_page
    from evolver.report.style import save
    from evolver.table_files import table_bytes

    codes = DecodedCodes(
        codes=session.decoded,
        true_codes=session.true,
        items=session.items,
        image_ids=session.image_ids,
        session_id=session.session_id,
        generator=session.generator,
        weights_sha256=session.weights_sha256,
        generator_options=options,
    )
    try:
        with (
            whole_folder(place, earlier=OF_DECODINGS, last=PAGE) as folder,
            console.status("figures …"),
        ):
            (folder / CODES).write_bytes(codes.to_bytes())
            for table in decoding_tables(session):
                for suffix in (".csv", *((".parquet",) if parquet else ())):
                    content = table_bytes(suffix, table.columns, table.rows)
                    (folder / f"{table.name}{suffix}").write_bytes(content)
            drawn: dict[str, Path | None] = {}
            for name, (title, draw) in DECODING_FIGURES.items():
                figure = draw(session)
                path = folder / f"{name}.png"
                drawn[title] = None if figure is None else save(figure, path)
            for number, walked in enumerate(session.walks):
                title = f"From item {walked.first} to {walked.second}"
                path = folder / f"walk-{number}.png"
                drawn[title] = save(draw_decoded_walk(session, walked), path)
            page = write_decoding_page(session, figures=drawn, codes_file=CODES)
            (folder / PAGE).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error}. {_REMEDY}") from error


def _print_session(session: DecodedSession) -> None:
    """Print the sample, measures, sites, and what is absent."""
    from evolver.report.decoding_figures import decoding_sample
    from evolver.report.words import joined, number, p_value

    if session.replay:
        print_warning(plain(session.replay))
    console.print(wrapped(plain(decoding_sample(session)), console), highlight=False)
    if session.left_out:
        counted = joined([f"{n:,} {why}" for why, n in session.left_out.items()])
        console.print(wrapped(f"left out, showings: {counted}", console), highlight=False)
    console.print(wrapped(f"responses: {_windows(session)}", console), highlight=False)
    print_rows(
        ["", "value (95 %)", "n", "chance", "p"],
        [
            (
                one.name,
                one.value.reason or _with_interval(one.value.value, one.low, one.high),
                one.n,
                number(one.chance),
                p_value(one.p).removeprefix("p = ").removeprefix("p ") if one.has_p else "",
            )
            for one in session.measures
        ],
        numbers=True,
    )
    if len(session.sites) > 1:
        console.print("")
        when = {one.site: one.rise for one in session.times}
        print_rows(
            ["site", "channels", "correlation alone", "from, ms"],
            [
                (
                    plain(site.site),
                    site.channels,
                    _with_interval(
                        site.correlation.mean, site.correlation.low, site.correlation.high
                    ),
                    f"{when[site.site].t0_ms:.0f}"
                    if site.site in when and when[site.site].t0_ms == when[site.site].t0_ms
                    else "-",
                )
                for site in session.sites
            ],
            numbers=True,
        )
    for what, why in session.absent.items():
        console.print(
            wrapped(plain(f"no {what}: {why}"), console), highlight=False, markup=False
        )


def _windows(session: DecodedSession) -> str:
    """Say in which window the responses of each area are."""
    from evolver.report.words import joined, window

    channels = session.channels
    if channels.own_window:
        return "rates in a window of the rig's own"
    areas = dict(zip(channels.areas, channels.windows_ms, strict=True))
    return plain(joined([f"{area} {window(of)}" for area, of in areas.items()]))


def _with_interval(value: float, low: float, high: float) -> str:
    from evolver.report.words import number

    if low != low or high != high:
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"
