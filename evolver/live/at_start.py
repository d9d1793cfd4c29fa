"""What a live session meets at its start, looked at before there is anything of it.

One way for `evolver config check` and for `evolver serve`: everything a session file names, its
address, its keys, its folder. All that is wrong is collected; nothing is written or fetched.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from evolver.config.lab_tables import birth_contradictions
from evolver.config.mistakes import Mistake, Mistakes
from evolver.config.tables import Config, read_session_file, session_file_text
from evolver.errors import ConfigError, NotFetchedError, RecordingError
from evolver.live.rigs import engine_keys
from evolver.session_folder import check_can_make
from evolver.setup.build import Parts, gather_parts
from evolver.weights.hub import nothing_fetched
from rig_bridge.errors import EndpointError, InUseError, KeyFileError
from rig_bridge.sockets import check_free

_PASSING = (NotFetchedError, InUseError)
"""What is no mistake of a file's."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A session file, looked at."""

    source: str
    config: Config | None  # as far as it can be read
    parts: Parts | None  # where the file is right and nothing has to be fetched
    mistakes: Mistakes

    @property
    def wrong(self) -> tuple[Mistake, ...]:
        """What must be mended."""
        return tuple(m for m in self.mistakes.found if not isinstance(m.error, _PASSING))

    @property
    def in_use(self) -> tuple[Mistake, ...]:
        """What another process has now: the file is right, and nothing can be served yet."""
        return tuple(m for m in self.mistakes.found if isinstance(m.error, InUseError))

    @property
    def to_fetch(self) -> tuple[Mistake, ...]:
        """Weight files that are not here, and could be fetched; each with its thread's key."""
        return tuple(m for m in self.mistakes.found if isinstance(m.error, NotFetchedError))


def look_at(session_file: Path, *, download: bool, live: bool = True) -> Start:
    """Look at all that a live session of this file needs, as it would at its start.

    Parameters
    ----------
    session_file : its path
    download : whether weights that are not on this machine may be fetched
    live : whether what runs in simulations alone is a mistake

    Raises
    ------
    ConfigError
        There is no such file, or it is no TOML.
    """
    source = str(session_file)
    config, mistakes = read_session_file(session_file_text(session_file), source=source)
    parts = None
    if config is not None:
        with nullcontext() if download else nothing_fetched():
            parts = gather_parts(config, mistakes, live=live)
        gather_start(config, mistakes)
    start = Start(source, config, parts, mistakes)
    return replace(start, parts=None) if start.wrong or start.to_fetch else start


def gather_start(config: Config, mistakes: Mistakes) -> None:
    """Look at address, keys, folder and the subject's age; `mistakes` takes what is wrong."""
    if not mistakes.has("rig.endpoint"):
        with (
            mistakes.at("rig.keys", KeyFileError),
            mistakes.at("rig.endpoint", EndpointError),
        ):
            engine_keys(config)
            check_free(config.rig.endpoint)
    if not mistakes.has("subject"):
        for problem in birth_contradictions(config.subject, datetime.now(UTC).date()):
            mistakes.add(problem.partition(": ")[0], problem)
    if not mistakes.has("session.folder"):
        with mistakes.at("session.folder", RecordingError):
            check_can_make(config)


def check(session_file: Path, *, download: bool) -> None:
    """Say what is wrong with a session file; return where nothing is.

    Raises
    ------
    ConfigError
        Everything that is wrong, or would have to be fetched, together.
    InUseError
        Nothing is, but another process listens at the address now.
    """
    start = look_at(session_file, download=download)
    if start.config is None or start.wrong:
        start.mistakes.raise_any(start.source, but=start.in_use)
    if start.to_fetch:
        lines = "\n".join(f"  {m.text}" for m in start.to_fetch)
        raise ConfigError(
            f"{start.source} needs weights that are not on this machine:\n{lines}\n"
            "Fetch them with 'evolver weights fetch GENERATOR', or add --download"
        )
    for mistake in start.in_use:
        raise InUseError(f"{start.source} is right, and cannot be served now: {mistake.text}")
