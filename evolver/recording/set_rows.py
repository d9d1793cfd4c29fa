"""Which image of a set each row of its thread is: a row is a showing, and images come again.

Knows the recording's reader, and nothing of what the images are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.recording.reader import Recording


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
    info = rows.set_info
    places = 1 if info is None else max(1, len(info.places))
    table = recording.presentations
    mine = table[table["thread"] == thread]
    of = np.full(len(rows.row), -1, dtype=np.int64)
    if not len(mine):
        return of
    # A generation and its row as one number.
    width = int(max(mine["row"].max(), rows.row.max(initial=0))) + 1
    keys = mine["generation"].astype(np.int64) * width + mine["row"]
    order = np.argsort(keys, kind="stable")
    wanted = rows.generation.astype(np.int64) * width + rows.row
    at = np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)
    known = keys[order][at] == wanted
    of[known] = mine["item"][order][at[known]].astype(np.int64) // places
    return np.where(of < 0, -1, of)
