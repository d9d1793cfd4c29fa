"""Collects what is wrong with a session file, each under its key, until all of it is known.

Knows keys and errors; knows nothing of what the keys mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from evolver.errors import ConfigError, DataError, EvolverError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong."""

    key: str  # dotted, as "threads[2].generator"
    text: str  # with its key: 'KEY: must be ALLOWED; found WHAT'
    error: Exception


def count_text(found: Sequence[Mistake]) -> str:
    """Return how many there are, in words."""
    return "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"


class SeveralMistakesError(ConfigError):
    """Things are wrong with a session file; the message names them all.

    Parameters
    ----------
    source : the file
    found : all of them
    """

    def __init__(self, source: str, found: tuple[Mistake, ...]) -> None:
        lines = "\n".join(f"  {mistake.text}" for mistake in found)
        super().__init__(f"{source} has {count_text(found)}:\n{lines}")
        self.found = found


class Mistakes:
    """What was found to be wrong so far. Whoever can go on without a wrong value goes on."""

    def __init__(self) -> None:
        self._found: list[Mistake] = []

    @property
    def found(self) -> tuple[Mistake, ...]:
        """All of them, in the order in which they were found, those of a table together."""
        heads = [mistake.key.partition(".")[0] for mistake in self._found]
        tables = [head.partition("[")[0] for head in heads]
        order = sorted(
            range(len(heads)),
            key=lambda i: (tables.index(tables[i]), heads.index(heads[i]), i),
        )
        return tuple(self._found[i] for i in order)

    def has(self, key: str) -> bool:
        """Return whether something is wrong at a key, or inside it."""
        return any(
            mistake.key == key or mistake.key.startswith((f"{key}.", f"{key}["))
            for mistake in self._found
        )

    def add(self, key: str, text: str, error: Exception | None = None, *, of: str = "") -> None:
        """Take a mistake; one that is known already counts once.

        Parameters
        ----------
        key : where it is
        text : what must hold, what came, what to do; may begin with the key
        error : what was raised; a `ConfigError` of the text by default
        of : the name of what the key belongs to, as a thread's
        """
        if not text.startswith(key):
            text = f"{key} ({of!r}): {text}" if of else f"{key}: {text}"
        mistake = Mistake(key, text, error or ConfigError(text))
        if all(mistake.text != other.text for other in self._found):
            self._found.append(mistake)

    def at(self, key: str, *kinds: type[Exception], of: str = "") -> Gathering:
        """Take what is raised in here as a mistake at a key, and go on after it.

        Parameters
        ----------
        key, of : as `add` takes them
        *kinds : of errors that are taken; this package's own by default
        """
        return Gathering(self, key, kinds or (EvolverError,), of)

    def raise_any(self, source: str, *, but: Sequence[Mistake] = ()) -> None:
        """Raise what was found: one as what it is, with its key; several as one error.

        What is wrong with data that the file names is wrong with the file.

        Parameters
        ----------
        source : the file, for the message
        but : of what was found, what is left out

        Raises
        ------
        SeveralMistakesError
            There are several; one is raised as the kind of error that it is.
        """
        found = tuple(mistake for mistake in self.found if mistake not in but)
        if not found:
            return
        first, *others = found
        if not others:
            kind = ConfigError if isinstance(first.error, DataError) else type(first.error)
            raise kind(first.text) from first.error
        raise SeveralMistakesError(source, found)


@dataclass(frozen=True, slots=True)
class Gathering:
    """A context in which errors are mistakes at a key; see `Mistakes.at`."""

    mistakes: Mistakes
    key: str
    kinds: tuple[type[Exception], ...]
    of: str

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Take an error, if it is of the kinds."""
        if isinstance(error, SeveralMistakesError):
            for mistake in error.found:
                self.mistakes.add(mistake.key, mistake.text, mistake.error)
            return True
        if not isinstance(error, self.kinds):
            return False
        self.mistakes.add(self.key, str(error), error, of=self.of)
        return True
