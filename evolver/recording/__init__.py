"""The recording: the HDF5 file that is folded from a journal, and its reader.

    read      a recording's arrays, by name
    schema    every name in the file
    fold      a journal to the file
    verify    a file against its journal
    replay    a file as the records of its session

Importing this loads neither h5py nor Pillow; the names below are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evolver.recording.reader import Recording, read
    from evolver.recording.thread_data import ThreadData

_MODULES = {"Recording": "reader", "ThreadData": "thread_data", "read": "reader"}

__all__ = ["Recording", "ThreadData", "read"]


def __getattr__(name: str) -> object:
    """Load a public name from its module, at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
