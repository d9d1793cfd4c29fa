"""`evolver config check`, and how checks look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from evolver.cli.terminal import console, error_console, wrapped
from evolver.errors import EvolverError

if TYPE_CHECKING:
    from evolver.config.mistakes import Mistakes
    from evolver.config.tables import Config
    from evolver.setup.build import Parts
    from evolver.setup.preflight import Check

GOOD, TO_MEND, TO_FETCH, IN_USE = 0, 2, 3, 4
"""Exit status."""
# In the order of a table, the worst nearest to what is printed next.
_COLOURS = {"good": "green", "warning": "yellow", "bad": "red"}


def print_checks(session_file: Path, *, download: bool) -> int:
    """Check a session file, print all there is to say; return the exit status."""
    from evolver.config.mistakes import count_text
    from evolver.live.at_start import look_at

    with console.status("loading the generators …"):
        start = look_at(session_file, download=download, live=False)
        units = _simulated_units(start.config, start.mistakes)
    if start.wrong:
        text = f"{session_file} has {count_text(start.wrong)}:"
        error_console.print(f"[bold red]error:[/] {escape(text)}")
        for mistake in start.wrong:
            error_console.print(escape(wrapped(mistake.text, error_console, indent="  ")))
    for mistake in start.to_fetch:
        text = wrapped(f"to fetch: {mistake.text}", console, hanging="  ")
        console.print(escape(text))
    if start.to_fetch:
        console.print("Fetch with 'evolver weights fetch GENERATOR', or check with --download")
    status = GOOD
    if start.wrong or start.parts is None:
        status = TO_MEND if start.wrong else TO_FETCH
    else:
        status = _check_parts(start.parts, units)
    for mistake in start.in_use:
        text = f"not now: {mistake.text}. That is no mistake of the file's"
        console.print(f"[yellow]{escape(wrapped(text, console, hanging='  '))}[/]")
    return IN_USE if start.in_use and status == GOOD else status


def _simulated_units(config: Config | None, mistakes: Mistakes) -> tuple[str, ...]:
    """Return the labels of the simulated rig; none where something is wrong with it."""
    from evolver.setup.simulated_rig import build_population

    if config is None or mistakes.has("simulation"):
        return ()
    with mistakes.at("simulation"):
        return build_population(config).labels
    return ()


def _check_parts(parts: Parts, units: Sequence[str]) -> int:
    """Check what needs the parts of a session and no rig; return the exit status."""
    from evolver.clock import SYSTEM_CLOCK
    from evolver.optimizers.gradient import NeedsObjective
    from evolver.regular_files import expanded
    from evolver.setup import preflight
    from evolver.setup.places import check_sees_places

    recordings = expanded(parts.config.session.folder)
    with console.status("rendering a generation …"):
        checks = [
            *preflight.before_the_rig(
                parts,
                recordings,
                time_ns=SYSTEM_CLOCK.time_ns(),
                monotonic=SYSTEM_CLOCK.monotonic,
            ),
            *preflight.simulated_view(parts.config),
            preflight.disk(parts, len(units), recordings),
        ]
    console.print(checks_table(checks))
    if any(check.verdict == "bad" for check in checks):
        error_console.print("[bold red]error:[/] what is bad must be mended")
        return TO_MEND
    try:
        check_sees_places(parts.config)
        rates_alone = parts.config.simulation.spikes == "none"
        parts.session(units, forms=("rates",) if rates_alone else ("spikes",))
    except EvolverError as exc:  # a rig of the lab's own may have them
        text = f"note: with the simulated rig it would not run: {exc}"
        console.print(escape(wrapped(text, console, hanging="  ")))
        return GOOD
    climbing = [
        f"{table.name} ({table.optimizer})"
        for table, optimizer in zip(parts.config.all_threads, parts.optimizers, strict=True)
        if isinstance(optimizer, NeedsObjective)
    ]
    if climbing:
        text = (
            "note: it runs in 'evolver simulate' alone; the slope of simulated units, which a "
            f"rig's answers do not have, is climbed by {', '.join(climbing)}"
        )
        console.print(escape(wrapped(text, console, hanging="  ")))
    console.print("[green]good[/]")
    return GOOD


def checks_table(checks: Sequence[Check], *, goes_on: bool = False) -> Table:
    """Return checks as a table for the terminal, with what to look at last, in sight.

    Parameters
    ----------
    checks : sequence of Check
    goes_on : the session has shown something before it was interrupted
    """
    table = Table(box=None, padding=(0, 2), show_header=False, title_justify="left")
    table.title = "before the session goes on" if goes_on else "before the first image"
    for check in sorted(checks, key=lambda check: list(_COLOURS).index(check.verdict)):
        colour = _COLOURS[check.verdict]
        table.add_row(f"[{colour}]{check.verdict}[/]", check.name, escape(check.text))
    return table
