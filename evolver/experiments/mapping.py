"""A recording's mapping of receptive fields: responses to images at the places of a grid.

Knows recordings whose sets have a grid; evolving threads and other sets may stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver.analysis.receptive_fields import PlaceShowings
from evolver.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.recording import Recording
    from evolver.recording.thread_data import ThreadData
    from evolver.responses import TimeWindow
    from evolver.types import Responses, Vector

_OFF = 0.01  # of a step, by which a showing may be beside its place


@dataclass(frozen=True, slots=True, eq=False)
class FieldMapping:
    """Responses to images at places.

    Attributes
    ----------
    name : of the set
    rates : (p, u) float64 spikes/s in the window, less the baseline's; showings that were not
        aborted
    showings : PlaceShowings, of these
    units : (u,) rows of the recording's unit table
    labels, areas : of these units
    scored : (u,) bool, units that a score of the session is made of
    aborted : showings without a response
    images : different ones
    window_ms, baseline_ms : None: the rig's own, or none
    """

    name: str
    rates: Responses
    showings: PlaceShowings
    units: NDArray[np.int64]
    labels: tuple[str, ...]
    areas: tuple[str, ...]
    scored: NDArray[np.bool_]
    aborted: int
    images: int
    window_ms: TimeWindow | None
    baseline_ms: TimeWindow | None

    @property
    def text(self) -> str:
        """Say what was shown how often, in which window it counts."""
        rows, columns = self.showings.shape
        sizes = len(self.showings.sizes_deg)
        images = "1 image" if self.images == 1 else f"{self.images} images"
        grid = f"{columns} x {rows} places" + (f", {sizes} sizes" if sizes > 1 else "")
        window = "the rig's own window"
        if self.window_ms is not None:
            window = f"{self.window_ms[0]:g} to {self.window_ms[1]:g} ms"
            if self.baseline_ms is not None:
                window += f" less {self.baseline_ms[0]:g} to {self.baseline_ms[1]:g} ms"
        return f"{len(self.rates):,} showings of {images} at {grid}; {window}"


def mapped_sets(recording: Recording) -> list[str]:
    """Return the names of the sets that were shown on a grid of places."""
    return [
        thread.name
        for thread in recording.threads
        if (info := thread.set_info) is not None and info.places
    ]


def read_mapping(
    recording: Recording,
    name: str = "",
    *,
    window_ms: TimeWindow | None = None,
    baseline_ms: TimeWindow | None = None,
) -> FieldMapping:
    """Return what units answered at the places of a set's grid.

    Parameters
    ----------
    recording : Recording
    name : of the set; without one, of the only one with a grid
    window_ms : whose rate counts; None: the fitness's
    baseline_ms : whose rate is taken off; None: the fitness's, or none where there is none

    Raises
    ------
    ConfigError
        There is no such set, or more than one; a window is named for a rig's own rates.
    RecordingError
        Its tables contradict each other, or nothing of it was answered.
    DataError
        The windows are not within what was recorded.
    """
    thread = recording.threads[_name(recording, name)]
    number = recording.threads.names.index(thread.name)
    table = recording.presentations
    mine = table["thread"] == number
    answered = mine & (table["status"] == "ok") & (table["attempt"] > 0)
    fitness = thread.fitness
    if (table["form"][answered] == "rates").any():
        if window_ms is not None or baseline_ms is not None:
            raise ConfigError(
                f"{recording.path} has rates, in a window of its rig's own choosing: leave "
                "--response and --baseline out"
            )
    else:
        window_ms = window_ms or _window(fitness.get("response_ms")) or recording.window_ms
        baseline_ms = baseline_ms or _window(fitness.get("baseline_ms"))
    rates = recording.rates(window_ms, baseline_ms=baseline_ms)[answered]
    if not len(rates):
        raise RecordingError(
            f"{recording.path}: no showing of set {thread.name!r} was answered"
        )
    units = np.flatnonzero(np.isfinite(rates).all(axis=0))
    showings, images = _showings(recording, thread, answered)
    scored = {
        int(unit)
        for other in recording.threads
        for key in ("units", "others")
        for unit in other.fitness.get(key, ())
    }
    return FieldMapping(
        name=thread.name,
        rates=rates[:, units],
        showings=showings,
        units=units.astype(np.int64),
        labels=tuple(str(recording.units["label"][unit]) for unit in units),
        areas=tuple(str(recording.units["area"][unit]) for unit in units),
        scored=np.isin(units, sorted(scored)),
        aborted=int((mine & (table["attempt"] > 0) & (table["status"] != "ok")).sum()),
        images=images,
        window_ms=window_ms,
        baseline_ms=baseline_ms,
    )


def _name(recording: Recording, name: str) -> str:
    names = mapped_sets(recording)
    if name and name in names:
        return name
    there = ", ".join(map(repr, names)) or "none"
    if name:
        raise ConfigError(
            f"--set must name a set with a grid of {recording.path}, one of {there}; got "
            f"{name!r}"
        )
    if len(names) != 1:
        raise ConfigError(
            f"{recording.path} must have one set with a grid of places ([sets.grid] in its "
            f"session file) to be mapped, or --set must say which; it has {there}"
        )
    return names[0]


def _window(value: Any) -> TimeWindow | None:  # noqa: ANN401  of JSON
    return None if value is None else (float(value[0]), float(value[1]))


def _showings(
    recording: Recording, thread: ThreadData, answered: NDArray[np.bool_]
) -> tuple[PlaceShowings, int]:
    """Return where and what each showing was, and how many images there were."""
    info = thread.set_info
    if info is None or not info.places:
        raise RecordingError(f"{recording.path}: {thread.name!r} has no grid of places")
    # Sizes may be in any order in the file, and one may be there twice.
    columns, rows, sizes = (np.unique(values) for values in np.array(info.places).T)
    table = recording.presentations[answered]
    images = thread.images_of_items(table["item"])
    return PlaceShowings(
        row=_nearest(table["y_deg"], rows, thread.name),
        column=_nearest(table["x_deg"], columns, thread.name),
        rows_deg=rows,
        columns_deg=columns,
        image=images,
        size=_nearest(table["size_deg"], sizes, thread.name),
        sizes_deg=sizes,
    ), len(np.unique(images))


def _nearest(values: NDArray[np.float64], places: Vector, name: str) -> NDArray[np.int64]:
    """Return which place each value is."""
    index = np.abs(values[:, None] - places).argmin(axis=1)
    step = float(np.diff(places).min()) if len(places) > 1 else 1.0
    off = np.abs(values - places[index])
    if (off > _OFF * step).any():
        worst = int(off.argmax())
        raise RecordingError(
            f"showings of set {name!r} must be at the places of its grid; one is at "
            f"{values[worst]:g}°, and the nearest is {places[index[worst]]:g}°"
        )
    return index.astype(np.int64)
