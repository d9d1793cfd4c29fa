"""The generator of a recorded thread, loaded again from what the recording says of it.

A recording may be a stranger's. So what it names is loaded only if it is a generator by name:
``module:attribute`` is a program of somebody's, which no analysis runs. Nothing is fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from evolver.config.tables import ThreadTable, parse_session_file
from evolver.errors import ConfigError, EvolverError
from evolver.plain_text import one_line
from evolver.setup.build import thread_generator
from evolver.weights.hub import nothing_fetched

if TYPE_CHECKING:
    from evolver.recording import Recording, ThreadData
    from evolver.types import Generator

Drawing: TypeAlias = "Generator | str"
"""A generator, or why there is none."""


class RecordedGenerators:
    """Generators of recorded threads, each loaded once.

    Parameters
    ----------
    device : where they run; the session's own device is the rig's
    """

    def __init__(self, *, device: str = "cpu") -> None:
        self._device = device
        self._loaded: dict[bytes, Drawing] = {}

    def of(self, opened: Recording, thread: ThreadData) -> Drawing:
        """Return a thread's generator, or why it cannot be had."""
        try:
            table = self._table(opened, thread)
        except ConfigError as error:
            return str(error)
        key = msgspec.json.encode((
            table.generator,
            table.weights,
            table.generator_options,
        ))
        if key not in self._loaded:
            try:
                with nothing_fetched():
                    self._loaded[key] = thread_generator(table)
            except EvolverError as error:
                self._loaded[key] = one_line(str(error))
        drawing = self._loaded[key]
        if not isinstance(drawing, str) and drawing.sha256 != thread.weights_sha256:
            return (
                f"the session's {thread.generator} had other weights than the one here, "
                f"{thread.weights_sha256[:12]}… and {drawing.sha256[:12]}…"
            )
        return drawing

    def _table(self, opened: Recording, thread: ThreadData) -> ThreadTable:
        if ":" in thread.generator:
            raise ConfigError(
                f"{thread.generator} is a program of a lab's own, which is not run because a "
                "recording names it"
            )
        try:
            config = parse_session_file(opened.config)
        except ConfigError as error:
            raise ConfigError(
                "the session file in the recording cannot be read: " + str(error).split("\n")[0]
            ) from error
        for table in config.all_threads:
            if table.name == thread.name and table.generator == thread.generator:
                return msgspec.structs.replace(table, device=self._device)
        raise ConfigError(f"the recording's session file has no thread {thread.name!r}")
