"""From what a session file says of axes to the axes along which a thread searches.

Knows a table of the file, spectra, and what is recorded of axes. Knows nothing of how an
optimizer searches along them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from evolver.config.axes_table import (
    AXES_EXAMPLE,
    FIRST_LAYER,
    METRIC,
    USUAL_ENERGY,
    AxesTable,
    axes_contradictions,
)
from evolver.config.validation import collect
from evolver.errors import ConfigError
from evolver.journal.records import AxesInfo
from evolver.optimizers.within_axes import SearchAxes, make_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evolver.setup.spectra import Spectrum
    from evolver.types import Generator


@dataclass(frozen=True, slots=True, eq=False)
class ChosenAxes:
    """Axes, and what is recorded of them."""

    axes: SearchAxes
    info: AxesInfo


def choose_axes(
    table: AxesTable,
    generator: Generator,
    *,
    options: Mapping[str, Any],
    span: tuple[int, int] | None = None,
) -> ChosenAxes:
    """Return the axes that a table asks for.

    Parameters
    ----------
    table : AxesTable
    generator, options : whose codes are searched, and what it was loaded with
    span : first, and one past last, of the dimensions they are in; all by default

    Raises
    ------
    ConfigError
        There are no such axes of this generator, or fewer than were asked for.
    DataError
        A file's numbers are no axes.
    """
    from evolver.setup.spectra import generator_spectrum, read_spectrum  # loads torch

    computed = table.source in {FIRST_LAYER, METRIC}
    if computed:
        spectrum = generator_spectrum(
            generator, table.source, span=span, k=table.k, options=options
        )
    else:
        spectrum = read_spectrum(table.source, generator, span=span)
    k = _count(table, spectrum)
    axes = _axes(spectrum, k, table.scale, keeps=table.outside == "keep", computed=computed)
    info = AxesInfo(
        source=table.source,
        k=k,
        d=axes.d,
        energy=float(spectrum.energy[k - 1]),
        whole=spectrum.whole,
        scale=table.scale,
        outside=table.outside,
        sha256=axes.sha256,
        first=0 if span is None else span[0],
    )
    return ChosenAxes(axes, info)


@lru_cache(maxsize=8)
def _axes(
    spectrum: Spectrum, k: int, scale: float, *, keeps: bool, computed: bool
) -> SearchAxes:
    """Return the first k directions as axes; the same object for all tasks of a campaign."""
    return make_axes(
        spectrum.vectors[:k],
        values=spectrum.values[:k],
        exponent=scale,
        keeps_outside=keeps,
        computed=computed,
    )


def _count(table: AxesTable, spectrum: Spectrum) -> int:
    """Return how many axes a table asks for."""
    energy = spectrum.energy
    there = len(energy)
    if table.k is not None:
        if table.k > there:
            raise ConfigError(
                f"k must be at most {there}, the directions that {table.source} has and the "
                f"generator answers to; got {table.k}"
            )
        return table.k
    wanted = USUAL_ENERGY if table.energy is None else table.energy
    if energy[-1] < wanted - 1e-12:
        raise ConfigError(
            f"energy must be at most {energy[-1]:.6g}, which the {there} directions of "
            f"{table.source} have; got {wanted:g}. Say k"
        )
    return min(int(np.searchsorted(energy, wanted - 1e-12)) + 1, there)


def choose_in_parts(
    options: Mapping[str, Any], generator: Generator, *, generator_options: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[ChosenAxes, ...]]:
    """Return a composite's options with the axes of its parts made, and those axes.

    What is not as a part should be is left as it is, for the composite to refuse.

    Raises
    ------
    ConfigError, DataError
        As `choose_axes`; or a part's axes are no table of them. The message names the part.
    """
    parts = options.get("parts")
    if not isinstance(parts, list):
        return dict(options), ()
    made: list[Any] = []
    chosen: list[ChosenAxes] = []
    for i, part in enumerate(cast("list[Any]", parts)):
        match part:
            case {"axes": axes, "slice": [int(first), int(last)], "optimizer": str()} if (
                0 <= first < last <= generator.d
            ):
                try:
                    of_part = choose_axes(
                        axes_table(axes, f"parts[{i}].axes"),
                        generator,
                        options=generator_options,
                        span=(first, last),
                    )
                except ConfigError as error:
                    if str(error).startswith("parts["):
                        raise
                    raise ConfigError(f"parts[{i}].axes: {error}") from error
                made.append({**part, "axes": of_part.axes})
                chosen.append(of_part)
            case _:
                made.append(part)
    return {**options, "parts": made}, tuple(chosen)


def option_files(options: object) -> Iterator[tuple[str, str]]:
    """Yield what optimizer options name that may be a file, and under which of their keys.

    A metric's (`basis`, `metric`), and the `source` of axes; those of a composite's parts too.
    """
    if isinstance(options, dict):
        for name, value in cast("dict[str, object]", options).items():
            if not isinstance(value, str):
                yield from option_files(value)
            elif name in {"metric", "basis", "source"}:
                yield name, value
    elif isinstance(options, list):
        for value in cast("list[object]", options):
            yield from option_files(value)


def axes_table(value: object, key: str) -> AxesTable:
    """Return a table of axes that stands in the options of an optimizer, at `key`.

    Raises
    ------
    ConfigError
        It is no such table; the message names all that is wrong.
    """
    problems: list[str] = []
    collect(value, AxesTable, key, problems, example=AXES_EXAMPLE)
    if not problems:
        table = msgspec.convert(value, AxesTable)
        problems = axes_contradictions(table, key)
        if not problems:
            return table
    raise ConfigError("; ".join(problems))
