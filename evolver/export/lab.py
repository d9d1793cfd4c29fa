"""What a recording's session file says of the laboratory, as far as it can be read.

Knows the session file's tables; knows nothing of any format.
"""

from __future__ import annotations

from datetime import date

from evolver.config import Config, read_session_file
from evolver.config.lab_tables import (
    SubjectTable,
    birth_contradictions,
    lab_contradictions,
)
from evolver.errors import ConfigError


def config_of(text: str) -> Config | None:
    """Return the values of a recorded session file; None where too little can be read.

    Files of another version may have keys that this one does not know; what can be read is
    read.
    """
    try:
        config, _ = read_session_file(text, source="the recording's session file")
    except ConfigError:
        return None
    return config


def dandi_lacks(subject: SubjectTable) -> list[str]:
    """Return the keys of [subject] that DANDI asks for and a session file left out."""
    lacks = [name for name in ("id", "species", "sex") if getattr(subject, name) is None]
    if subject.age is None and subject.date_of_birth is None:
        lacks.append("age or date_of_birth")
    return lacks


def dandi_refuses(subject: SubjectTable, day: date) -> list[str]:
    """Return what in [subject] contradicts itself or the session's day, as DANDI would say."""
    return [*lab_contradictions(subject), *birth_contradictions(subject, day)]
