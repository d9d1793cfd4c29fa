"""The record: an append-only journal first, then the HDF5 file folded from it.

`records` says what is kept, `frames`, `storage`, `journal` and `recorder` put it on the disk,
`index` reads it back. `schema`, `fold` and `verify` make the HDF5 file, and `reader` hands out
its arrays by name; `responses` counts spikes for the loop and for the reader alike.

Importing this loads neither h5py nor Pillow; the names below are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evolver.recording.index import JournalIndex, read_journal
    from evolver.recording.journal import JournalWriter
    from evolver.recording.reader import Recording, ThreadData, read
    from evolver.recording.recorder import Recorder

_HOMES = {
    "JournalIndex": "index",
    "JournalWriter": "journal",
    "Recorder": "recorder",
    "Recording": "reader",
    "ThreadData": "reader",
    "read": "reader",
    "read_journal": "index",
}

__all__ = [
    "JournalIndex",
    "JournalWriter",
    "Recorder",
    "Recording",
    "ThreadData",
    "read",
    "read_journal",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module, at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
