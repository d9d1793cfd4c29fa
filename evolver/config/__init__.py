"""Session files: the values in them, their defaults, and all that may be wrong with one.

    Config                  a whole session file; its tables are in `tables`
    parse_session_file      the values in a text
    read_session_file       the values as far as they can be read, and what is wrong
    load_session_file       the values in a file, and its text
    commented_session_file  the text of a session file, of any values, every key explained
    presets                 session files to start from

`validation` finds every mistake of a file at once, `mistakes` collects what others find, and
`partly_read` gives them what can be read of a file with mistakes. This room knows values only:
nothing of files but the session file itself, nothing of what the names in it stand for.
"""

from evolver.config.tables import (
    Config,
    FitnessTable,
    PresentationTable,
    ReferencesTable,
    RigTable,
    SessionTable,
    SimulationTable,
    ThreadTable,
    WatchdogsTable,
    commented_session_file,
    load_session_file,
    parse_session_file,
    read_session_file,
    session_file_text,
)

__all__ = [
    "Config",
    "FitnessTable",
    "PresentationTable",
    "ReferencesTable",
    "RigTable",
    "SessionTable",
    "SimulationTable",
    "ThreadTable",
    "WatchdogsTable",
    "commented_session_file",
    "load_session_file",
    "parse_session_file",
    "read_session_file",
    "session_file_text",
]
