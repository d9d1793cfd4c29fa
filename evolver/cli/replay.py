"""`evolver replay` and `replay-rig`: a recording played back as if it were a rig."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from rich.markup import escape

from evolver.cli.rig_options import ENGINE, Endpoint, KeyFile
from evolver.cli.terminal import (
    StopSignals,
    check_can_write,
    console,
    print_ended,
    print_news,
    print_rig_end,
    print_warning,
    terminal_console,
    wrapped,
)
from evolver.errors import ConfigError
from evolver.plain_text import plain

if TYPE_CHECKING:
    from evolver.live.replayed import Replay, ReplaySettings
    from evolver.setup.replayed_rig import ReplaySummary

RecordingFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RECORDING.h5", help="recording (.h5)")
]
SpeedOption: TypeAlias = Annotated[
    str, typer.Option(metavar="X|max", help="1 is as recorded; max waits for nothing")
]
GapsOption: TypeAlias = Annotated[
    bool, typer.Option("--keep-gaps", help="wait through pauses between showings, too")
]
MetricOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="for --nearest metric: 'evolver metric compute' writes it"
    ),
]
AnswerOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="nearest|simulated|UNIT,UNIT",
        help="what answers for an image that was never shown: the nearest recorded one; the "
        "recording's own simulated units; or units of networks, one a scored unit, as "
        "mini:fc6:3",
    ),
]


def replay_recording(
    file: RecordingFile,
    speed: SpeedOption = "max",
    session_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="SESSION.toml", help="another session, of its images"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="where the new recording goes, in a folder of its own"
        ),
    ] = None,
    nearest: Annotated[
        Literal["latent", "pixels", "metric"],
        typer.Option(help="what says which image is nearest: codes, pixels, the image metric"),
    ] = "latent",
    metric: MetricOption = None,
    answer: AnswerOption = "nearest",
    keep_gaps: GapsOption = False,
    go_on: Annotated[
        bool,
        typer.Option(
            "--go-on",
            help="where the recorded session ended early, go on to all its generations with "
            "the answers of --answer",
        ),
    ] = False,
    report_too: Annotated[
        bool, typer.Option("--report/--no-report", help="write the report at the end")
    ] = True,
) -> None:
    """Play a recording back as if it were a rig, through a session as any other.

    With its own session file it is the recorded session again, bit for bit, and ends where the
    recording ends, also where that was stopped or killed. With another one
    ('--config': another optimizer, another seed), an image that was never shown is answered by
    the nearest recorded one, and the new recording says so of each.
    """
    from evolver import recording
    from evolver.config import load_session_file, parse_session_file
    from evolver.live.replayed import run_replay

    settings = replace(_settings(speed, keep_gaps, nearest, metric, answer), go_on=go_on)
    if out is not None:
        check_can_write(out, "Name another folder with --out")
    if session_file is None:
        with recording.read(file) as opened:
            config = parse_session_file(opened.config, source="the recording's session file")
    else:
        config, _ = load_session_file(session_file)
    title = f"{config.session.name}: replay of {file.name}, no animal"
    with terminal_console(config, title) as session_console:
        replay = run_replay(
            file, session_console, settings=settings, session_file=session_file, out=out
        )
    print_ended(replay.ended, report_too=report_too)
    _print_summary(replay.summary, replay.inherited)
    print_same(replay, file)


def be_replay_rig(
    file: RecordingFile,
    endpoint: Endpoint = ENGINE,
    speed: SpeedOption = "1",
    answer: AnswerOption = "nearest",
    keep_gaps: GapsOption = False,
    key: KeyFile = None,
) -> None:
    """Be a rig that answers with a recording, for an engine ('evolver serve').

    The nearest image is found by pixels: codes do not travel to rigs. Started before the
    engine, it waits for it; Ctrl-C ends it.
    """
    from evolver.live.replayed import run_replay_rig
    from rig_bridge.auth import RigKey

    settings = _settings(speed, keep_gaps, "pixels", None, answer)
    stop = StopSignals()
    with stop.on_signals():
        console.print(
            f"replay of {escape(file.name)} at speed {escape(speed)}, no animal; connecting to "
            f"{escape(endpoint)} …"
        )
        loaded = None if key is None else RigKey.load(key)
        reason, summary, inherited = run_replay_rig(
            file, settings=settings, endpoint=endpoint, stop=stop, tell=print_news, key=loaded
        )
    print_rig_end(reason)
    _print_summary(summary, inherited)


def _settings(
    speed: str,
    keep_gaps: bool,
    nearest: Literal["latent", "pixels", "metric"],
    metric: Path | None,
    answer: str,
) -> ReplaySettings:
    from evolver.live.replayed import ReplaySettings

    try:
        number = math.inf if speed == "max" else float(speed)
    except ValueError:
        number = math.nan
    if not number > 0:
        raise ConfigError(f"--speed must be a number above 0, or max; got {speed!r}")
    if metric is not None and nearest != "metric":
        raise ConfigError("--metric goes with --nearest metric")
    return ReplaySettings(
        speed=number,
        keep_gaps=keep_gaps,
        nearness=nearest,
        metric_file=metric,
        answer=answer,
    )


def _print_summary(summary: ReplaySummary, inherited: str) -> None:
    from evolver.setup.replayed_rig import EXACT_SHARE

    console.print(wrapped(f"answers: {plain(summary.text())}", console), markup=False)
    if inherited:
        print_warning(plain(inherited))
    share = summary.exact_share
    if share >= EXACT_SHARE or math.isnan(share):
        return
    nearest = sum(map(len, summary.distances.values()))
    few = f"only {share:.1%}" if summary.answers["recorded"] else "none"
    if nearest:
        text = (
            f"{few} of the answers were recorded of the images that were asked for. "
            f"{'The others are' if few != 'none' else 'They are'} responses to other images: "
            "these scores are no test of an optimizer, only of what runs around it"
        )
    else:
        text = (
            f"{few} of the answers were recorded; model neurons gave "
            f"{'the others' if few != 'none' else 'all'}, and scores are theirs"
        )
    print_warning(text)


def print_same(replay: Replay, file: Path) -> None:
    """Say whether it is the recorded session again."""
    if replay.differences is None:
        return
    if replay.ran_out:
        console.print("the recorded session had ended early, and so has this one")
    elif replay.cut_short:
        text = (
            f"this replay was interrupted ({replay.ended.reason}), so it holds less than "
            f"{file.name} and is not compared with it: play it back again"
        )
        print_warning(plain(text))
        return
    if not replay.differences:
        console.print(
            f"[green]the session of {escape(file.name)} again, bit for bit:[/] codes, images, "
            "scores, optimizers' states, statuses, responses"
        )
        return
    console.print(f"[yellow]warning:[/] not the session of {escape(file.name)} bit for bit:")
    for text in replay.differences:
        console.print(f"  {escape(text)}")
