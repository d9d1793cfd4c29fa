"""Which row of a set's thread each showing is, and which image each row.

A row of a set is a showing that was planned, and images come again. Knows the recording's
reader, and nothing of what the images are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.recording.reader import Recording


def rows_of_showings(recording: Recording, thread: int) -> NDArray[np.int64]:
    """Return the row of a thread's codes that each presentation shows, (p,).

    -1 of the presentations of other threads, and where the row is lost.

    Parameters
    ----------
    recording : an open one
    thread : its number
    """
    rows, table = recording.threads[thread], recording.presentations
    at = np.full(len(table), -1, dtype=np.int64)
    mine = np.flatnonzero(table["thread"] == thread)
    if not len(mine) or not len(rows.row):
        return at
    # A generation and its row as one number.
    width = int(max(table["row"][mine].max(), rows.row.max())) + 1
    keys = rows.generation.astype(np.int64) * width + rows.row
    wanted = table["generation"][mine].astype(np.int64) * width + table["row"][mine]
    order = np.argsort(keys, kind="stable")
    place = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    known = keys[place] == wanted
    at[mine[known]] = place[known]
    return at


def images_of_rows(recording: Recording, thread: int) -> NDArray[np.int64]:
    """Return the number of each row's image in its set, (N,), from 0; -1 where it has none.

    Not a row of `Recording.images`: two images of a set may have the same pixels.

    Parameters
    ----------
    recording : an open one
    thread : number of the set among its threads

    Raises
    ------
    RecordingError
        The file does not say what the set is.
    """
    rows = recording.threads[thread]
    at = rows_of_showings(recording, thread)
    shown = at >= 0
    of = np.full(len(rows.row), -1, dtype=np.int64)
    of[at[shown]] = rows.images_of_items(recording.presentations["item"][shown])
    return np.maximum(of, -1)
