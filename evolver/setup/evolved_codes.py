"""From `[sets.around]` of a session file to the codes about one that another session evolved.

Knows recordings, metrics' files and generators; the geometry is `evolver.generators.around`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING

import numpy as np

from evolver import metric, recording
from evolver.config.set_table import MOST_AXES, AroundTable
from evolver.errors import ConfigError
from evolver.generators.around import (
    circles_around,
    even_steps,
    principal_axes,
    spheres_around,
    steps_around,
)
from evolver.generators.scale import tuning_reach
from evolver.journal.records import AroundInfo

if TYPE_CHECKING:
    from evolver.recording import ThreadData
    from evolver.types import Codes, Generator, Matrix, Vector

_PUBLISHED_AXES = (0, 1, 2, 3, 6, 9, 13, 21, 30, 60)
"""Wang & Ponce, Nature Neuroscience 2026, Fig. 6."""
_PUBLISHED_PAIRS = (1, 2, 48, 49)
"""The second and third, and the 49th and 50th principal components, from 0: Wang & Ponce, Cell
Reports 2022. The first one is what the evolved code lies along."""
_PARTS = {"noise": "nois", "class": "clas"}
"""Halves of BigGAN's code, and what files with a metric of each call them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Evolved:
    """A code, and the evolution it is of."""

    session_id: str
    thread: str
    code: Vector  # (d,) latent units
    codes: Codes  # (n, d) of all scored generations


@dataclass(frozen=True, slots=True, eq=False)
class LatentAxes:
    """Directions that there are to choose from."""

    rows: Matrix  # (k, d) unit vectors
    word: str  # what one is called, before its number
    part: str
    metric_sha256: str


def codes_around(table: AroundTable, generator: Generator) -> tuple[Codes, AroundInfo]:
    """Return codes about an evolved one, (n, d), and what each of them is.

    Parameters
    ----------
    table : which recording, and where about its code
    generator : that draws the set

    Raises
    ------
    ConfigError
        The recording has no such thread, another generator drew its codes, the metric is of
        another one, or there are not so many axes.
    DataError
        The code is zero, or along an axis.
    RecordingError
        The recording cannot be read.
    """
    evolved = _evolved(table, generator)
    axes = (
        _components(evolved, most=max(_numbers(table)) + 1)
        if table.metric is None
        else metric_axes(table.metric, table.part, generator)
    )
    chosen = shown_axes(table, len(axes.rows), axes.word)
    rows = axes.rows[list(chosen)]
    n = table.number_of_steps
    if table.kind == "steps":
        reach = table.reach or tuning_reach(generator, evolved.code)
        made = steps_around(evolved.code, rows, even_steps(n, reach))
    else:
        make = circles_around if table.kind == "circles" else spheres_around
        made = make(evolved.code, rows, even_steps(n, table.reach_deg))
    groups = (
        tuple(zip(chosen[::2], chosen[1::2], strict=True))
        if table.kind == "sphere"
        else tuple((k,) for k in chosen)
    )
    return made.codes, AroundInfo(
        session_id=evolved.session_id,
        thread=evolved.thread,
        code=table.code,
        kind=table.kind,
        norm=sqrt(fsum((evolved.code * evolved.code).tolist())),
        axes=tuple(" and ".join(f"{axes.word} {k}" for k in group) for group in groups),
        numbers=groups,
        part=axes.part,
        metric_sha256=axes.metric_sha256,
        axis=tuple(made.axis.tolist()),
        step=tuple(made.step.tolist()),
        second_step=tuple(made.second_step.tolist()),
    )


def _evolved(table: AroundTable, generator: Generator) -> _Evolved:
    """Read the code that a thread evolved, which the generator must be able to draw."""
    path = table.recording
    with recording.read(path) as opened:
        threads = opened.threads.evolving
        if not threads:
            raise ConfigError(
                f"recording must be of a session with a thread that evolves; {path} has the "
                f"sets {', '.join(opened.threads.names)} alone"
            )
        if table.thread is not None and table.thread not in threads.names:
            raise ConfigError(
                f"thread must be one that evolves in {path}, {', '.join(threads.names)}; found "
                f"{table.thread!r}"
            )
        thread = threads[0 if table.thread is None else table.thread]
        _check_drawn_by(thread, generator, path)
        return _Evolved(opened.session_id, thread.name, *_code(thread, table.code, path))


def _check_drawn_by(thread: ThreadData, generator: Generator, path: str) -> None:
    if thread.weights_sha256 == generator.sha256 and thread.d == generator.d:
        return
    options = thread.options.get("generator", {})
    with_options = f" with generator_options {options}" if options else ""
    raise ConfigError(
        f"the set's generator must be what drew the codes of thread {thread.name!r} in "
        f"{path}: {thread.generator}{with_options}, weights of sha256 "
        f"{thread.weights_sha256[:12]}…; it is {generator.name}, {generator.sha256[:12]}…. "
        "Give the set that thread's generator, weights and generator_options"
    )


def _code(thread: ThreadData, which: str, path: str) -> tuple[Vector, Codes]:
    """Return the evolved code, (d,), and all that were scored before it and with it, (n, d)."""
    scored = np.isfinite(thread.score)
    if not scored.any():
        raise ConfigError(
            f"thread {thread.name!r} of {path} must have a scored generation; the session was "
            "stopped before it had one"
        )
    last = int(thread.generation[scored].max())
    codes = np.asarray(thread.codes, dtype=np.float64)
    evolved = codes[thread.generation <= last]
    if which == "best":
        return codes[int(np.nanargmax(thread.score))], evolved
    return codes[thread.generation == last].mean(axis=0), evolved


def _components(evolved: _Evolved, *, most: int) -> LatentAxes:
    rows = principal_axes(evolved.codes, evolved.code, most=most)
    return LatentAxes(rows, "component", "", "")


def metric_axes(path: str, part: str | None, generator: Generator) -> LatentAxes:
    """Return the eigenvectors of a generator's metric, as axes of its whole code.

    Parameters
    ----------
    path, part : the file, and which half of a code, where it has a metric of each
    generator : of which it must be

    Raises
    ------
    ConfigError
        The file is no metric of this generator, or of no such part.
    """
    halves: dict[str, tuple[int, int]] = getattr(generator, "parts", {})
    provenance = metric.read_provenance(path)
    metric.check_generator(
        provenance,
        path,
        generator=generator.name,
        sha256=generator.sha256,
        remedy="Compute its own: 'evolver metric compute'",
    )
    if provenance is not None:
        first, last = (provenance.first, provenance.last or generator.d)
        name = provenance.part
        if part is not None and part != name:
            raise ConfigError(
                f"part must be left out: {path} holds one metric, of "
                f"{name or 'the whole code'}; found {part!r}"
            )
    elif part is None:
        (first, last), name = (0, generator.d), ""
    elif part not in halves:
        raise ConfigError(f"part must be left out: {generator.name}'s code has no {part!r}")
    else:
        (first, last), name = halves[part], part
    of_part = _PARTS[part] if provenance is None and part is not None else None
    vectors = metric.read_metric(path, d=last - first, part=of_part).eigenvectors
    rows = np.zeros((vectors.shape[1], generator.d))
    rows[:, first:last] = vectors.T
    digest = hashlib.sha256(np.ascontiguousarray(rows, "<f8").tobytes()).hexdigest()
    return LatentAxes(rows, name or "axis", name, digest)


def _numbers(table: AroundTable) -> tuple[int, ...]:
    """Return the axes that are asked for, or of which those that there are will be taken."""
    if table.axes:
        return table.axes
    if table.kind == "sphere":
        return _PUBLISHED_PAIRS
    # The first component is what the code itself lies along: no circle leads there.
    whole = table.kind == "steps" or table.metric is not None
    return _PUBLISHED_AXES if whole else _PUBLISHED_AXES[1:]


def shown_axes(table: AroundTable, available: int, word: str) -> tuple[int, ...]:
    """Return the numbers of the axes that are shown.

    Parameters
    ----------
    table : that may name some
    available, word : how many there are, and what one is called

    Raises
    ------
    ConfigError
        There are not so many, or none of those that are shown without names.
    """
    numbers = _numbers(table)
    if table.axes:
        if beyond := [k for k in table.axes if k >= available]:
            raise ConfigError(
                f"axes must be among the {available} that there are, 0 to {available - 1}; "
                f"found {beyond[0]}"
            )
        return table.axes
    chosen = tuple(k for k in numbers if k < available)
    if table.kind == "sphere":
        chosen = chosen[: len(chosen) // 2 * 2]
    if not chosen:
        raise ConfigError(
            f"axes must be named: there are {available} {word}s, none of those that are shown "
            f"without axes ({', '.join(map(str, numbers))})"
        )
    return chosen[:MOST_AXES]
