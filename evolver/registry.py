"""Name -> factory, imported when asked for; third parties add theirs through entry points.

Knows names and import paths. Knows nothing of what it finds there, and loads nothing until a
name is asked for, so that listing what exists costs no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from evolver.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Registry:
    """What can be named in a session file for one role.

    Parameters
    ----------
    role : "optimizer", "generator"
    builtin : name -> "module:attribute"
    """

    role: str
    builtin: Mapping[str, str]

    @property
    def group(self) -> str:
        """The entry-point group through which other distributions add names."""
        return f"evolver.{self.role}s"

    def names(self) -> tuple[str, ...]:
        """Return every name, built in or installed, in alphabetical order."""
        installed = {point.name for point in entry_points(group=self.group)}
        return tuple(sorted(installed | set(self.builtin)))

    def find(self, name: str) -> Any:  # noqa: ANN401  each role says what its factories are
        """Return the factory called `name`; the built-in one, if there are two.

        Raises
        ------
        ConfigError
            Nothing has this name (the message lists what there is), or what has it cannot
            be imported.
        """
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in entry_points(group=self.group, name=name):
            try:
                return point.load()
            except (ImportError, AttributeError) as exc:
                raise ConfigError(
                    f"{self.role} {name!r} is installed as {point.value!r}, which must be "
                    f"importable; it is not: {exc}"
                ) from exc
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(
            f"{self.role} must be one of {', '.join(self.names())}; found {name!r}{hint} "
            f"More can be installed, by the entry-point group {self.group!r}"
        )

    def check_options(
        self,
        name: str,
        factory: Callable[..., object],
        options: Iterable[str],
        *,
        common: Collection[str],
    ) -> None:
        """Raise `ConfigError` where `factory` has no option of a name that was given.

        Parameters
        ----------
        name, factory : as `find` takes and returns them
        options : names of the options given
        common : parameters that every factory of the role takes, which are no options
        """
        parameters = signature(factory).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return
        allowed = [p.name for p in parameters if p.name not in common]
        unknown = sorted(set(options) - set(allowed))
        if unknown:
            takes = f"the options {', '.join(allowed)}" if allowed else "no options"
            raise ConfigError(
                f"{self.role} {name!r} takes {takes}; got {', '.join(unknown)}. "
                "Remove it, or correct its name"
            )
