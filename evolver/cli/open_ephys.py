"""`evolver open-ephys`: the stimulus display and Open Ephys as one rig; and an emulator of it.

Composition: prints and handles signals. What takes long to import is imported by the command
that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.markup import escape

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
    from rig_bridge.rigs.open_ephys.client import Health, OpenEphys
    from rig_bridge.rigs.open_ephys.units import UnitTable
    from rig_bridge.rigs.sampled.windows import WindowTiming

Host = Annotated[str, typer.Option(help="of Open Ephys")]
Port = Annotated[int, typer.Option(min=1, max=65534, help="data port of the ZMQ Interface")]
Electrodes = Annotated[int, typer.Option(min=1, max=1000, help="each of them one unit")]
Emulated = Annotated[
    bool, typer.Option("--emulated", help="Open Ephys is 'evolver open-ephys-emulator'")
]
TtlLine = Annotated[
    int, typer.Option(min=-1, max=255, help="TTL line of the photodiode, from 0; -1: none")
]


def open_ephys(
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
    endpoint: Endpoint = ENGINE,
    key: KeyFile = None,
    host: Host = "127.0.0.1",
    port: Port = 5556,
    stream: Annotated[str, typer.Option(help="its name; by default the first heard")] = "",
    units: Annotated[
        Path | None,
        typer.Option(help="CSV file: electrode and, as needed, sorted_id,channel,area,label"),
    ] = None,
    electrodes: Electrodes = 16,
    electrode_name: Annotated[
        str, typer.Option(help="in the GUI, {} being its number from 1")
    ] = "Electrode {}",
    photodiode_line: TtlLine = 0,
    sample_rate: Annotated[
        float | None,
        typer.Option(min=1, max=1e6, help="Hz; needed where no continuous channel is sent"),
    ] = None,
    settle_ms: Annotated[
        float, typer.Option(min=0, max=5000, help="longer than the GUI's audio buffer")
    ] = 50.0,
    stall_s: Annotated[
        float, typer.Option(min=0.1, max=600, help="without data: what is shown is aborted")
    ] = 2.0,
    alarm_ms: Annotated[
        float, typer.Option(min=0.1, max=1000, help="of the clocks' residual, rms")
    ] = 5.0,
    widest_ms: Annotated[
        tuple[float, float], typer.Option(help="widest window around onset it may record")
    ] = (-500.0, 1000.0),
    emulated: Emulated = False,
) -> None:
    """Be a rig: images on this machine's screen, spikes from Open Ephys' ZMQ Interface.

    A photodiode on the screen's corner square, wired to a TTL line, tells when each image was
    seen. Escape or Ctrl-C ends it. With --emulated the emulator is told what is on the screen,
    for trying all of it without hardware.
    """
    from rig_bridge.auth import RigKey
    from rig_bridge.rigs.open_ephys.units import UnitTable
    from rig_bridge.rigs.sampled.windows import WindowTiming

    if photodiode_line >= 0 and photodiode_px == 0:
        raise ConfigError(
            "a photodiode needs its square on the screen; --photodiode-px must be above 0, or "
            "--photodiode-line -1"
        )
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
    table = (
        UnitTable.electrodes(electrodes, electrode_name)
        if units is None
        else UnitTable.load(units)
    )
    timing = WindowTiming(
        photodiode_line=None if photodiode_line < 0 else photodiode_line,
        stream=stream,
        rate_hz=sample_rate,
        settle_ms=settle_ms,
        stall_s=stall_s,
        alarm_ms=alarm_ms,
    )
    _run_rig(
        window,
        table,
        timing,
        host=host,
        port=port,
        endpoint=endpoint,
        key=None if key is None else RigKey.load(key),
        widest_ms=widest_ms,
        emulated_electrodes=electrodes if emulated else 0,
    )


def _run_rig(
    window: WindowOptions,
    units: UnitTable,
    timing: WindowTiming,
    *,
    host: str,
    port: int,
    endpoint: str,
    key: RigKey | None,
    widest_ms: tuple[float, float],
    emulated_electrodes: int,
) -> None:
    """Be the rig of a window and Open Ephys until its session ends; print how it went.

    Parameters
    ----------
    emulated_electrodes : of the emulator that is told what is on the screen; 0: none is
    """
    from rig_bridge.rigs.combined import CombinedRig
    from rig_bridge.rigs.open_ephys.client import OpenEphys
    from rig_bridge.rigs.open_ephys.lamp import Lamp

    stop = StopSignals()
    keys = Keys(stop, any_key=False)
    lamp = None
    if emulated_electrodes:
        line = timing.photodiode_line or 0
        lamp = Lamp(host, port, electrodes=emulated_electrodes, line=line)
    with stop.on_signals(), ExitStack() as closing:
        screen, display = window.open(
            breaks_off=keys if lamp is None else lambda: lamp.frame() or keys()
        )
        watched = display if lamp is None else lamp.watch(display)
        closing.callback(watched.close)
        acquisition = OpenEphys(host, port, units=units, timing=timing)
        closing.callback(acquisition.close)
        rig = CombinedRig(watched, acquisition)
        run_screen_rig(
            rig,
            rig.hello(
                "open ephys", software=f"evolver {__version__}", widest_window_ms=widest_ms
            ),
            screen=screen,
            display=display,
            responses=f"{len(units.units)} units of Open Ephys at {host}:{port}",
            identity="open-ephys",
            endpoint=endpoint,
            key=key,
            stop=_HealthPrinter(acquisition, keys.asked_to_stop),
        )
        health = acquisition.health
    _print_health(health)


def emulate_open_ephys(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Port = 5556,
    electrodes: Electrodes = 16,
    channels: Annotated[
        int, typer.Option(min=0, max=384, help="continuous channels that are sent")
    ] = 1,
    line: Annotated[int, typer.Option(min=0, max=255, help="of the photodiode")] = 0,
    baseline_hz: Annotated[float, typer.Option(min=0, max=500, help="of every neuron")] = 8.0,
    peak_hz: Annotated[float, typer.Option(min=0, max=1000, help="to a good image")] = 80.0,
    seed: Annotated[int, typer.Option(min=0, help="of the spikes")] = 1,
    fault: Annotated[
        str,
        typer.Option(
            metavar="KIND[:N]",
            help="tell the emulator that runs there to drop, duplicate, reorder or malform N "
            "messages, stall for N ms, or restart; then end",
        ),
    ] = "",
) -> None:
    """Be Open Ephys' ZMQ Interface with simulated neurons, to try a rig without one.

    The neurons see what the rig shows through linear receptive fields of coarse colours.
    """
    from evolver import seeds
    from rig_bridge.rigs.open_ephys.emulator import Emulation, Emulator

    if fault:
        _ask_fault(host, port, fault)
        return
    emulation = Emulation(
        seeds.stream(seed, "emulator"),
        electrodes=electrodes,
        channels=channels,
        line=line,
        baseline_hz=baseline_hz,
        peak_hz=peak_hz,
    )
    stop = StopSignals()
    with stop.on_signals(), Emulator(emulation, host=host, port=port) as running:
        console.print(
            f"emulating Open Ephys, {electrodes} electrodes, at {escape(host)}:{running.port}; "
            "Ctrl-C ends it"
        )
        while not stop():
            running.wait(0.2)
    console.print(f"{emulation.sent} messages were sent, {running.lights} images seen")


def _ask_fault(host: str, port: int, asked: str) -> None:
    """Tell an emulator to make a fault."""
    from rig_bridge.rigs.open_ephys.emulator import Fault
    from rig_bridge.rigs.open_ephys.lamp import ask_fault

    name, _, count = asked.partition(":")
    fault = next((kind for kind in get_args(Fault) if kind == name), None)
    if fault is None or not (count or "1").isdecimal():
        raise ConfigError(
            f"--fault must be one of {', '.join(get_args(Fault))}, and a whole number after a "
            f"colon; got {asked!r}"
        )
    answer = ask_fault(host, port, fault, int(count or "1"))
    if not answer:
        raise ConfigError(f"no emulator answers at {host}:{port}; start one without --fault")
    console.print(escape(answer))


class _HealthPrinter:
    """Prints how the acquisition is doing when that changes; asked between presentations."""

    def __init__(self, acquisition: OpenEphys, stop: Callable[[], bool]) -> None:
        self._acquisition, self._stop = acquisition, stop
        self._printed = (False, False, False)
        self._aborted = 0

    def __call__(self) -> bool:
        """Return whether the operator wants an end."""
        health = self._acquisition.health
        now = (health.answers, health.has_samples, health.clocks.alarmed)
        for texts, is_so, was_so in zip(
            (
                ("Open Ephys answers", "Open Ephys does not answer any more"),
                ("samples come", "no samples any more"),
                (
                    "[bold red]alarm:[/] clocks of screen and acquisition do not go together",
                    "the clocks go together again",
                ),
            ),
            now,
            self._printed,
            strict=True,
        ):
            if is_so != was_so:
                console.print(texts[0] if is_so else texts[1])
        self._printed = now
        tally = health.tally
        if tally.aborted > self._aborted:
            self._aborted = tally.aborted
            console.print(f"aborted so far: {tally.aborted}; the last: {escape(tally.reason)}")
        return self._stop()


def _print_health(health: Health) -> None:
    tally, clocks = health.tally, health.clocks
    residual = clocks.residual
    console.print(
        f"{tally.messages} messages, {tally.spikes} spikes, {clocks.matched} images with an "
        f"edge of the photodiode, {clocks.missed} without"
    )
    console.print(
        f"clocks: residual {residual.rms_s * 1000:.2f} ms rms, {residual.max_s * 1000:.2f} ms "
        f"at most, {clocks.steps} steps"
    )
    for count, what in (
        (tally.lost, "messages were lost"),
        (tally.duplicates, "messages came twice"),
        (health.malformed, "messages could not be read"),
        (tally.restarts, "restarts of the acquisition"),
        (tally.stalls, "stalls"),
        (tally.jumps, "jumps of the sample clock"),
        (tally.wild, "time stamps that cannot be"),
        (sum(tally.other_sources.values()), "spikes of what is no unit"),
    ):
        if count:
            console.print(f"{count} {what}")
