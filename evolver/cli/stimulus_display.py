"""`evolver display`: is the screen good enough, how does an image look on it, a rehearsal.

Composition: prints and handles signals. What takes long to import is
imported by the command that needs it.
"""

from __future__ import annotations

import csv
import json
import math
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from evolver import __version__
from evolver.cli.rig_options import KeyFile
from evolver.cli.screen_rig import run_screen_rig
from evolver.cli.terminal import StopSignals, console
from evolver.cli.window_options import (
    DistanceCm,
    FixationDeg,
    Fullscreen,
    Gamma,
    GammaTable,
    Grey,
    Keys,
    MonitorNumber,
    PhotodiodePx,
    RefreshHz,
    Resolution,
    SizeDeg,
    WidthCm,
    WindowOptions,
    XDeg,
    YDeg,
    driver,
)
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from evolver.config.tables import Config
    from rig_bridge.auth import RigKey
    from rig_bridge.rigs.display.screen import Screen
    from rig_bridge.rigs.display.stimulus_display import FrameRecord
    from rig_bridge.rigs.display.timing import FlipTiming

_FOR_EVER_MS = 1e9

app = typer.Typer(
    help="The stimulus display: check its timing, show images, rehearse a session.",
    no_args_is_help=True,
)


@app.command("check")
def check_display(
    width_cm: WidthCm,
    distance_cm: DistanceCm,
    refresh_hz: RefreshHz = 60.0,
    resolution: Resolution = "",
    fullscreen: Fullscreen = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="of showing")] = 10.0,
    on_ms: Annotated[float, typer.Option(min=1, max=10_000, help="image on")] = 100.0,
    off_ms: Annotated[float, typer.Option(min=0, max=10_000, help="blank after it")] = 100.0,
    size_deg: SizeDeg = 4.0,
    x_deg: XDeg = 0.0,
    y_deg: YDeg = 0.0,
    photodiode_px: PhotodiodePx = 60,
    monitor: MonitorNumber = 0,
    gamma: Gamma = None,
    gamma_table: GammaTable = None,
    out: Annotated[
        Path | None, typer.Option(help="file for every flip's time, .csv or .json")
    ] = None,
) -> None:
    """Show noise for some seconds and say how well the screen keeps time.

    Exit status 1, with advice, where frames were dropped or the screen's refresh rate is not
    the one that was stated. Escape or Ctrl-C ends it early.
    """
    from rig_bridge.rigs.display.timing import measure_flips

    if out is not None and out.suffix not in {".csv", ".json"}:
        raise ConfigError(f"--out must name a .csv or a .json file; got {out}")
    window = WindowOptions(
        width_cm=width_cm,
        distance_cm=distance_cm,
        refresh_hz=refresh_hz,
        resolution=resolution,
        fullscreen=fullscreen,
        photodiode_px=photodiode_px,
        monitor=monitor,
        gamma=gamma,
        gamma_table=gamma_table,
    )
    stop = StopSignals()
    with stop.on_signals():
        screen, display = window.open()
        try:
            drawn_by = driver()
            timing, record = measure_flips(
                display,
                screen,
                seconds=seconds,
                on_ms=on_ms,
                off_ms=off_ms,
                size_deg=size_deg,
                position_deg=(x_deg, y_deg),
                stop=stop,
            )
        finally:
            display.close()
    _print(timing, screen, drawn_by, size_deg, (x_deg, y_deg))
    if out is not None:
        _write(out, timing, record, screen, drawn_by)
        console.print(f"every flip's time: {out}")
    for note in timing.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    for fault in timing.faults:
        console.print(f"[bold red]bad:[/] {escape(fault)}")
    if timing.faults:
        raise typer.Exit(1)
    console.print("[green]good[/]")


@app.command("show")
def show_images(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="files of pictures")],
    width_cm: WidthCm,
    distance_cm: DistanceCm,
    refresh_hz: RefreshHz = 60.0,
    resolution: Resolution = "",
    fullscreen: Fullscreen = False,
    size_deg: SizeDeg = 4.0,
    x_deg: XDeg = 0.0,
    y_deg: YDeg = 0.0,
    grey: Grey = 128,
    fixation_deg: FixationDeg = 0.2,
    photodiode_px: PhotodiodePx = 60,
    monitor: MonitorNumber = 0,
    gamma: Gamma = None,
    gamma_table: GammaTable = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="each; by default until a key")
    ] = math.inf,
    screenshot: Annotated[
        Path | None, typer.Option(help="PNG file for the last image as it was on the screen")
    ] = None,
) -> None:
    """Show pictures at a size and a place in degrees, one after the other.

    Any key shows the next one; Escape or Ctrl-C ends it. For mapping a receptive field, and
    for measuring luminance.
    """
    from evolver.setup.images import read_image
    from rig_bridge.trials import Presentation

    loaded = [read_image(path, grey=grey) for path in images]
    window = WindowOptions(
        width_cm=width_cm,
        distance_cm=distance_cm,
        refresh_hz=refresh_hz,
        resolution=resolution,
        fullscreen=fullscreen,
        grey=grey,
        fixation_deg=fixation_deg,
        photodiode_px=photodiode_px,
        monitor=monitor,
        gamma=gamma,
        gamma_table=gamma_table,
    )
    stop = StopSignals()
    keys = Keys(stop, also=lambda: time.monotonic() >= deadline)
    deadline = math.inf
    with stop.on_signals():
        screen, display = window.open(breaks_off=keys)
        try:
            for i, (path, image) in enumerate(zip(images, loaded, strict=True)):
                place = screen.rectangle(size_deg, (x_deg, y_deg), image.shape[:2])
                console.print(
                    f"{escape(str(path))}: {place[2]} x {place[3]} px at {place[0]}, {place[1]}"
                )
                deadline = time.monotonic() + seconds
                keys.screenshot = screenshot
                asked = Presentation(
                    block=0,
                    attempt=1,
                    presentation=i,
                    sha256=str(i),
                    on_ms=_FOR_EVER_MS,
                    off_ms=0.0,
                    size_deg=size_deg,
                    position_deg=(x_deg, y_deg),
                    window_ms=(0.0, 1.0),
                )
                display.prepare({str(i): image})
                display.show(image, asked)
                if keys.ended:
                    break
        finally:
            display.close()


@app.command("rig")
def rehearse(
    session_file: Annotated[Path, typer.Argument(metavar="SESSION.toml", help="session file")],
    width_cm: WidthCm,
    distance_cm: DistanceCm,
    refresh_hz: RefreshHz = 60.0,
    resolution: Resolution = "",
    fullscreen: Fullscreen = False,
    grey: Grey = 128,
    fixation_deg: FixationDeg = 0.2,
    photodiode_px: PhotodiodePx = 60,
    monitor: MonitorNumber = 0,
    gamma: Gamma = None,
    gamma_table: GammaTable = None,
    endpoint: Annotated[str, typer.Option(help="the engine's address, instead")] = "",
    key: KeyFile = None,
    markers: Annotated[
        str, typer.Option(help="name of an LSL stream that tells every onset; '': none")
    ] = "",
) -> None:
    """Be a rig without an animal: a real screen, and the session's simulated units.

    For trying a whole set-up: screen, timing, photodiode, network and engine are those of the
    experiment; only the responses are made up. Escape in the window, or Ctrl-C, ends it.
    """
    from evolver import config
    from rig_bridge.auth import RigKey

    settings, _ = config.load_session_file(session_file)
    _rehearse(
        WindowOptions(
            width_cm=width_cm,
            distance_cm=distance_cm,
            refresh_hz=refresh_hz,
            resolution=resolution,
            fullscreen=fullscreen,
            grey=grey,
            fixation_deg=fixation_deg,
            photodiode_px=photodiode_px,
            monitor=monitor,
            gamma=gamma,
            gamma_table=gamma_table,
        ),
        settings,
        endpoint=endpoint or settings.rig.endpoint,
        key=None if key is None else RigKey.load(key),
        markers=markers,
    )


def _rehearse(
    window: WindowOptions, settings: Config, *, endpoint: str, key: RigKey | None, markers: str
) -> None:
    """Be the rig of a window and simulated units until its session ends; print how it went."""
    from evolver.setup.simulated_rig import build_population, build_rig
    from rig_bridge.rigs.display.rehearsal import Rehearsal
    from rig_bridge.rigs.lsl.streams import MarkedDisplay, MarkerOutlet

    population = replace(build_population(settings), grey=window.grey)
    neurons = build_rig(population, settings, speed=math.inf)
    stop = StopSignals()
    keys = Keys(stop, any_key=False)
    with stop.on_signals(), ExitStack() as closing:
        screen, display = window.open(breaks_off=keys)
        closing.callback(display.close)
        marked = MarkedDisplay(display, MarkerOutlet(markers)) if markers else display
        closing.callback(marked.close)
        rig = Rehearsal(marked, neurons)
        run_screen_rig(
            rig,
            rig.hello("rehearsal", software=f"evolver {__version__}"),
            screen=screen,
            display=display,
            responses=f"simulated units {', '.join(settings.simulation.units)}",
            identity="rehearsal",
            endpoint=endpoint,
            key=key,
            stop=keys.asked_to_stop,
        )


def _print(
    timing: FlipTiming,
    screen: Screen,
    driver: str,
    size_deg: float,
    position_deg: tuple[float, float],
) -> None:
    from rig_bridge.rigs.display.timing import EDGES

    left, top, width, height = screen.rectangle(size_deg, position_deg)
    measured = (
        f"{timing.refresh_hz:.2f} Hz measured, {timing.stated_hz:g} stated"
        if timing.refresh_hz is not None
        else f"not measurable; paced by the clock at {timing.stated_hz:g} Hz"
    )
    facts = Table(box=None, show_header=False, padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    for name, fact in (
        ("screen", f"{screen.width_px} x {screen.height_px} px, driver {driver}"),
        ("a degree", f"{screen.px_per_deg:.2f} px in the middle"),
        (
            "the image",
            f"{size_deg:g}° is {width} x {height} px, its upper left corner at {left}, {top}",
        ),
        ("refresh", measured),
        (
            "vertical blank",
            "the driver waits for it" if timing.waits else "the driver does not wait for it",
        ),
        ("shown", f"{timing.presentations} presentations, {timing.flips} flips"),
        (
            "dropped",
            f"{timing.dropped} frames within presentations, {timing.between} between them",
        ),
        (
            "flip to flip",
            (
                f"median {timing.median:.3f} frames, p99 {timing.p99:.3f}, "
                f"largest {timing.largest:.2f}"
            ),
        ),
    ):
        facts.add_row(name, escape(fact))
    console.print(facts)
    most = max(timing.histogram)
    for k, count in enumerate(timing.histogram):
        if count:
            bar = "█" * max(1, round(30 * count / most))
            console.print(f"  {EDGES[k]:5.2f} to {EDGES[k + 1]:5.2f} frames {count:8d}  {bar}")


def _write(
    path: Path,
    timing: FlipTiming,
    record: tuple[FrameRecord, ...],
    screen: Screen,
    driver: str,
) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                writer = csv.writer(file)
                writer.writerow(("presentation", "flip", "time_ns", "dropped_in_presentation"))
                for frames in record:
                    for k, flip_ns in enumerate(frames.flips_ns):
                        writer.writerow((frames.presentation, k, flip_ns, frames.dropped))
                return
            content: dict[str, Any] = {
                "screen": {**asdict(screen), "px_per_deg": screen.px_per_deg, "driver": driver},
                "timing": asdict(timing),
                "presentations": [asdict(frames) for frames in record],
            }
            json.dump(content, file)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written; {exc.strerror}") from exc
