"""`evolver lsl`: the stimulus display and a stream of the Lab Streaming Layer as one rig.

Composition: prints and handles signals. What takes long to import is imported by the command
that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from evolver import __version__
from evolver.cli.rig_options import ENGINE, Endpoint, KeyFile
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
    WidthCm,
    WindowOptions,
)
from evolver.errors import ConfigError

if TYPE_CHECKING:
    from rig_bridge.auth import RigKey
    from rig_bridge.messages import Unit
    from rig_bridge.rigs.lsl.streams import LslAcquisition
    from rig_bridge.rigs.lsl.windows import StreamReading


def lsl(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="name of the LSL stream")],
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
    kind: Annotated[
        Literal["spikes", "voltages", "counts", "rates"],
        typer.Option(
            help="what a sample is: a unit's number (irregular stream); or, a channel a unit, "
            "a voltage, spikes since the sample before, or a rate"
        ),
    ] = "spikes",
    bin_ms: Annotated[
        float | None,
        typer.Option(help="count spikes in bins of so long; by default spike times are sent"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="of voltages, in the stream's unit; below 0: crossed downwards"),
    ] = None,
    rate_window_ms: Annotated[
        tuple[float, float], typer.Option(help="of rates, from onset")
    ] = (50.0, 200.0),
    heartbeats: Annotated[
        bool,
        typer.Option("--heartbeats", help="a stream of spikes sends -1 when all before is out"),
    ] = False,
    latency_ms: Annotated[
        float, typer.Option(min=0, help="from a spike to its sample's arrival, at most")
    ] = 200.0,
    jitter_ms: Annotated[
        float, typer.Option(min=0, help="of a regular stream's time stamps")
    ] = 2.0,
    ahead_ms: Annotated[
        float, typer.Option(min=0, help="a time stamp further beyond now is unreadable")
    ] = 50.0,
    patience_s: Annotated[
        float, typer.Option(min=0, help="a window not complete by then is aborted")
    ] = 5.0,
    units: Annotated[
        Path | None, typer.Option(help="CSV file: label and, as needed, channel,unit,area")
    ] = None,
    unit_count: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="units of a stream of spikes, without a file"),
    ] = None,
    find_s: Annotated[float, typer.Option(min=0.1, max=3600, help="to find the stream")] = 10.0,
    markers: Annotated[
        str, typer.Option(help="name of an LSL stream for every onset; by default none")
    ] = "",
    endpoint: Endpoint = ENGINE,
    key: KeyFile = None,
    widest_ms: Annotated[
        tuple[float, float], typer.Option(help="widest window around onset it may record")
    ] = (-500.0, 1000.0),
) -> None:
    """Be a rig: images on this machine's screen, responses from a Lab Streaming Layer stream.

    Responses are placed around each image's onset by the clock that all LSL streams share.
    Escape or Ctrl-C ends it.
    """
    from rig_bridge.auth import RigKey

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
    reading = _reading(
        kind=kind,
        bin_ms=bin_ms,
        threshold=threshold,
        rate_window_ms=rate_window_ms,
        heartbeats=heartbeats,
        latency_ms=latency_ms,
        jitter_ms=jitter_ms,
        ahead_ms=ahead_ms,
        patience_s=patience_s,
        keep_s=max(10.0, 2 * (widest_ms[1] - widest_ms[0]) / 1000 + patience_s),
    )
    table = _units(kind, units, unit_count)
    _run_rig(
        window,
        stream,
        reading,
        table,
        find_s=find_s,
        markers=markers,
        endpoint=endpoint,
        key=None if key is None else RigKey.load(key),
        widest_ms=widest_ms,
    )


def _run_rig(
    window: WindowOptions,
    stream: str,
    reading: StreamReading,
    units: tuple[Unit, ...] | None,
    *,
    find_s: float,
    markers: str,
    endpoint: str,
    key: RigKey | None,
    widest_ms: tuple[float, float],
) -> None:
    """Be the rig of a window and a stream until its session ends; print how it went.

    Parameters
    ----------
    units : the unit table; None: the stream's own channels
    markers : name of the stream of onsets; '': none
    """
    from rig_bridge.rigs.combined import CombinedRig
    from rig_bridge.rigs.lsl.streams import LslAcquisition, MarkedDisplay, MarkerOutlet

    stop = StopSignals()
    keys = Keys(stop, any_key=False)
    with stop.on_signals(), ExitStack() as closing:
        acquisition = LslAcquisition(stream, reading, units=units, timeout_s=find_s)
        closing.callback(acquisition.close)
        screen, bare = window.open(breaks_off=keys)
        display = MarkedDisplay(bare, MarkerOutlet(markers)) if markers else bare
        closing.callback(display.close)
        rig = CombinedRig(display, acquisition)
        run_screen_rig(
            rig,
            rig.hello("lsl", software=f"evolver {__version__}", widest_window_ms=widest_ms),
            screen=screen,
            display=bare,
            responses=f"{len(acquisition.units)} units of the LSL stream {stream}",
            identity="lsl",
            endpoint=endpoint,
            key=key,
            stop=_StreamReport(acquisition, keys.asked_to_stop),
        )
        late = acquisition.late
    if late:
        console.print(
            f"{late} spikes came later than --latency-ms {reading.latency_ms:g} allows"
        )


def _reading(**options: object) -> StreamReading:
    """Return how the stream is read; raise `ConfigError` where the options contradict."""
    from rig_bridge.rigs.lsl.windows import StreamReading

    try:
        return StreamReading(**options)  # pyright: ignore[reportArgumentType]
    except ValueError as exc:
        raise ConfigError(f"the options of the stream must go together: {exc}") from exc


def _units(kind: str, file: Path | None, count: int | None) -> tuple[Unit, ...] | None:
    """Return the unit table; None: a regular stream's own channels."""
    from rig_bridge.rigs.lsl.units import load_units, numbered_units

    if file is not None and count is not None:
        raise ConfigError("units must be told once: give --units or --unit-count, not both")
    if file is not None:
        return load_units(file)
    if count is not None:
        return numbered_units(count)
    if kind == "spikes":
        raise ConfigError(
            "a stream of spikes names no units; give --units FILE.csv, or --unit-count N"
        )
    return None


class _StreamReport:
    """Prints whenever the stream goes or comes; asked between presentations."""

    def __init__(self, acquisition: LslAcquisition, stop: Callable[[], bool]) -> None:
        self._acquisition, self._stop = acquisition, stop
        self._connected = True

    def __call__(self) -> bool:
        """Return whether the operator wants an end."""
        connected = self._acquisition.connected
        if connected != self._connected:
            self._connected = connected
            console.print(
                "the stream is back" if connected else "[bold red]the stream is gone[/]"
            )
        return self._stop()
