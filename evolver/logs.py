"""Where the log of a process goes: its standard error, with nothing in it but text.

Knows Python's logging. What is logged may hold anybody's words, as a lab's error in a
traceback, and is read in a terminal.
"""

from __future__ import annotations

import logging
import sys

from evolver.plain_text import plain

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Plain(logging.Formatter):
    """Writes a dot for every character that cannot be printed, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def log_to_stderr(level: int) -> None:
    """Log to this process's standard error from a level on, such as ``logging.INFO``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
