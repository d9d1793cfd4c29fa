# pyright: basic, reportAttributeAccessIssue=false, reportInvalidTypeForm=false
# pynwb and hdmf make their classes as they are imported; no checker sees what is in them.
"""What was shown, for an NWB file: trials in the order of time, and images.

Knows a recording, its clock and pynwb.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hdmf.common import DynamicTable
from numpy.typing import NDArray
from pynwb.epoch import TimeIntervals

from evolver.export.clock import SessionClock
from evolver.export.image_files import image_shapes
from evolver.export.lab import config_of
from evolver.export.nwb_columns import Streams, column, table
from evolver.export.nwb_words import shown_at, two_clocks
from evolver.recording import Recording
from evolver.recording import schema as s

_TRIAL_COLUMNS = (
    ("status", "ok, aborted, or missing: planned and never shown"),
    ("reason", "why it was aborted"),
    ("presentation", "unique in the session, in the order planned"),
    ("attempt", "from 1; 0 where it was never shown"),
    ("block", "block it was planned in; -1 unknown"),
    ("generation", "of its thread; -1 a reference image"),
    ("row", "row of the generation's codes, or of the block's references"),
    ("repeat", "from 0, of the image in its block"),
    ("image_id", "id in the tables of stimulus/images; -1 unknown"),
    ("is_reference", "whether it is a reference image"),
    ("on_ms", "planned time on the screen, ms"),
    ("off_ms", "planned time to the next, ms"),
    ("onset_source", "simulated, command, flip or photodiode"),
    ("form", "of the response: spikes, counts, rates; empty where there is none"),
    ("rig", "which of the rigs in scratch/rigs showed it; -1 unknown or none"),
    ("commanded_ns", "rig's own clock, ns; 0 unknown"),
    ("onset_ns", "rig's own clock, ns; 0 unknown"),
    ("offset_ns", "rig's own clock, ns; 0 unknown"),
    ("received_ns", "when the answer came, engine clock, ns since 1970; 0 never"),
)

_TRIALS = "a row an attempt to show an image, in the order of time"
_REPLAYED = tuple(
    (known.name, known.meaning)
    for known in s.PRESENTATION_COLUMNS
    if known.name.startswith("answer")
)
_OF_SETS = tuple(
    (known.name, known.meaning)
    for known in s.PRESENTATION_COLUMNS
    if known.name in {"item", *s.PLACE_COLUMNS}
)


class Trials:
    """The rows of a recording's presentations in the order of time.

    Parameters
    ----------
    recording, clock : of a session
    """

    def __init__(self, recording: Recording, clock: SessionClock) -> None:
        self._recording, self._clock = recording, clock
        shown = recording.presentations
        self._start = clock.rig_seconds(shown["onset_ns"], shown["rig"])
        # NaN sorts last; what was never shown stays in the order planned.
        self.order = np.argsort(self._start, kind="stable")
        """(p,) trial to row."""
        self.of_row = np.empty(len(shown), dtype=np.int64)
        """(p,) row to trial."""
        self.of_row[self.order] = np.arange(len(shown))

    def table(self) -> TimeIntervals:
        """Return them as NWB has trials."""
        recording, order = self._recording, self.order
        shown = recording.presentations[order]
        names = np.array([*recording.threads.names, ""], dtype=np.str_)
        stop = self._clock.rig_seconds(shown["offset_ns"], shown["rig"])
        columns = [
            column("start_time", "onset on the session's clock, s", self._start[order]),
            column("stop_time", "offset on the session's clock, s", stop),
            column("thread", "name; empty for a reference image", names[shown["thread"]]),
            *(column(name, meaning, shown[name].copy()) for name, meaning in _TRIAL_COLUMNS),
        ]
        if recording.is_replay:
            columns += [column(name, what, shown[name].copy()) for name, what in _REPLAYED]
        if recording.threads.sets:
            columns += [column(name, what, shown[name].copy()) for name, what in _OF_SETS]
        return TimeIntervals(
            name="trials",
            description=(
                "a row an attempt to show an image, in the order of time"
                + two_clocks(recording)
            ),
            id=np.arange(len(shown)),
            columns=columns,
        )


def image_tables(recording: Recording, streams: Streams) -> Iterator[DynamicTable]:
    """Yield every image, in a table for each size."""
    images = recording.images
    shapes = image_shapes(recording)
    place = shown_at(config_of(recording.config))
    for shape in dict.fromkeys(shapes):
        ids = np.flatnonzero([other == shape for other in shapes])
        lost = np.array([images.is_lost(int(image_id)) for image_id in ids])
        pixels = streams.new((len(ids), *shape), np.uint8, _pixels(recording, ids, lost, shape))
        sizes = "" if len(set(shapes)) == 1 else f"_{shape[0]}x{shape[1]}"
        labels = recording.image_labels[ids]
        yield table(
            f"images{sizes}",
            f"every image that was made, once; a trial's image_id is an id here{place}",
            [
                column(
                    "sha256",
                    "digest of the pixels' bytes",
                    recording.image_sha256[ids],
                ),
                column("label", "name of a reference image; else empty", labels),
                column(
                    "is_reference",
                    "whether it is a reference image",
                    recording.image_is_reference[ids],
                ),
                column("is_lost", "whether its pixels are lost, and zero here", lost),
                column("pixels", "(height, width, 3) sRGB, 0 to 255", pixels),
            ],
            ids=ids,
        )


def _pixels(
    recording: Recording,
    ids: NDArray[np.intp],
    lost: NDArray[np.bool_],
    shape: tuple[int, int, int],
) -> Iterator[NDArray[np.uint8]]:
    for image_id, gone in zip(ids, lost, strict=True):
        if gone:
            yield np.zeros((1, *shape), dtype=np.uint8)
        else:
            yield recording.images[int(image_id)][None]
