"""A lab's own code, named by where Python finds it: ``module:attr``.

Importing a module runs it: a session file that names one is to be trusted as a program is.
Knows imports. Knows nothing of what is found there, and loads nothing besides.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from evolver.errors import ConfigError


def find_attribute(role: str, name: str) -> Any:  # noqa: ANN401  a lab's own
    """Import what `name` says, and return it.

    Parameters
    ----------
    role : what messages call it, as "generator"
    name : "module:attr", an import path and what is to be found there; `attr` may have dots

    Raises
    ------
    ConfigError
        It cannot be imported.
    """
    path, _, attribute = name.partition(":")
    try:
        target: Any = import_module(path)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # a lab's own code, which may raise anything
        raise ConfigError(
            f"{role} {name!r} must be importable, as module:attr; it is not: "
            f"{error_text(error)}. "
            "Install the module, or put its folder on PYTHONPATH"
        ) from error
    return target


def error_text(error: BaseException) -> str:
    """Return an error of a lab's own code in its own words, with its kind."""
    first = (str(error).strip().splitlines() or [""])[0]
    kind = type(error).__name__
    return f"{kind}: {first}" if first else kind
