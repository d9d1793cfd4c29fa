"""Name -> factory, imported when asked for; third parties add theirs through entry points.

Knows names and import paths. Knows nothing of what it finds there, and loads nothing until a
name is asked for, so that listing what exists costs no torch.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from evolver.errors import ConfigError, EvolverError
from evolver.lab_code import OWN_FAILURES, error_text
from evolver.regular_files import PARSER_ERRORS


@dataclass(frozen=True, slots=True)
class Registry:
    """What can be named in a session file for one role.

    Parameters
    ----------
    role : "optimizer", "generator", "scorer"
    builtin : name -> "module:attribute"
    common : parameters that every factory of the role takes, which are no options
    """

    role: str
    builtin: Mapping[str, str]
    common: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The entry-point group through which other distributions add names."""
        return f"evolver.{self.role}s"

    def names(self) -> tuple[str, ...]:
        """Return every name, built in or installed, in alphabetical order."""
        installed = {point.name for point in entry_points(group=self.group)}
        return tuple(sorted(installed | set(self.builtin)))

    def find(self, name: object) -> Any:  # noqa: ANN401  each role says what its factories are
        """Return the factory called `name`, a text; the built-in one, if there are two.

        Raises
        ------
        ConfigError
            Nothing has this name (the message lists what there is), or what has it cannot
            be imported.
        """
        if not isinstance(name, str):
            raise ConfigError(f"{self.role} must be a name, which is a text; got {name!r}")
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in entry_points(group=self.group, name=name):
            try:
                return point.load()
            except OWN_FAILURES as exc:
                raise ConfigError(
                    f"{self.role} {name!r} is installed as {point.value!r}, which must be "
                    f"importable; it is not: {error_text(exc)}"
                ) from exc
        raise ConfigError(
            f"{self.role} must be one of {', '.join(self.names())}; found {name!r}"
            f"{did_you_mean(name, self.names())} "
            f"More can be installed, by the entry-point group {self.group!r}"
        )

    def check_common(self, options: Collection[str]) -> None:
        """Refuse options of a thread that are called as what every factory of the role takes.

        Raises
        ------
        ConfigError
            One is; the message names it.
        """
        taken = sorted(set(options) & set(self.common))
        if taken:
            raise ConfigError(
                f"{self.role}_options must not have {', '.join(taken)}: of "
                f"{', '.join(self.common)}, which every {self.role} takes, a thread has keys, "
                "or the session gives them"
            )

    def check_options(
        self,
        name: str,
        factory: Callable[..., object],
        options: Collection[str],
        *,
        also: Sequence[str] = (),
        chosen_for: str = "",
    ) -> None:
        """Refuse options that a factory does not take; one that takes any checks its own.

        Parameters
        ----------
        name : what a session file calls the factory
        factory : its parameters are the options, but for those in `common`
        options : the names that were given
        also : names besides that are taken
        chosen_for : the generator, where the file does not name the factory; else empty

        Raises
        ------
        ConfigError
            An option is unknown; the message lists what is taken, and names the nearest.
        """
        parameters = inspect.signature(factory).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        names = [
            *also,
            *(
                p.name
                for p in parameters
                if p.kind in {p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD}
                and p.name not in self.common
            ),
        ]
        unknown = sorted(set(options) - set(names))
        if unknown:
            takes = f"the options {', '.join(names)}" if names else "no options"
            text = (
                f"{self.role} {name!r} takes {takes}; got {', '.join(unknown)}"
                f"{did_you_mean(unknown[0], names)} Remove it, or correct its name"
            )
            if chosen_for:
                text += (
                    f". The file names no {self.role}, and {name} is chosen for {chosen_for}: "
                    f"to use {unknown[0]}, name one that has it"
                )
            raise ConfigError(text)

    def make(
        self,
        name: str,
        factory: Callable[..., Any],
        *arguments: object,
        options: Mapping[str, object],
        **common: object,
    ) -> Any:  # noqa: ANN401  each role says what its factories make
        """Return what a factory makes with options from a session file.

        Parameters
        ----------
        name, factory : as `check_options` takes them
        *arguments : what every factory of the role takes
        **common : likewise, by name
        options : of this one

        Raises
        ------
        ConfigError
            An option is unknown, or has a value that the factory cannot do anything with.
        """
        self.check_options(name, factory, options)
        try:
            return factory(*arguments, **common, **options)
        except EvolverError:
            raise
        except PARSER_ERRORS as exc:  # of other libraries, that find a value wrong in their way
            if not options or isinstance(exc, MemoryError):
                raise
            given = ", ".join(f"{key} = {value!r}"[:80] for key, value in options.items())
            raise ConfigError(
                f"{self.role} {name!r} must be made with values it can use; with {given} it "
                f"failed: {error_text(exc)}"
            ) from exc


def did_you_mean(name: str, names: Collection[str]) -> str:
    """Return the end of a sentence that names what `name` was perhaps meant to be."""
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
