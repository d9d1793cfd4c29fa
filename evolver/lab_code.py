"""A lab's own code, named by where Python finds it: ``module:attr``.

Importing a module runs it: a session file that names one is to be trusted as a program is.
Knows imports. Knows nothing of what is found there, and loads nothing besides.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from evolver.errors import ConfigError, DataError, EvolverError
from evolver.plain_text import one_line

OWN_FAILURES = Exception, SystemExit
"""What a lab's own code may raise; a Ctrl-C is the operator's."""

_LONGEST = 300  # characters of an error that are said


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
    except OWN_FAILURES as error:
        remedy = "Mend it, or the name"
        if isinstance(error, ImportError):
            remedy = "Install the module, or put its folder on PYTHONPATH"
        raise ConfigError(
            f"{role} {name!r} must be importable, as module:attr; it is not: "
            f"{error_text(error)}. {remedy}"
        ) from error
    return target


@contextmanager
def own_errors(must: str) -> Generator[None]:
    """Have what a lab's own code raises while it runs said as an error of this package.

    A Ctrl-C is passed on, and so is what is an error of this package already.

    Parameters
    ----------
    must : what must hold of it, as "generator 'lab:Net' must draw an image from every code"

    Raises
    ------
    DataError
        The code raised something, or would have ended the program.
    """
    try:
        yield
    except (EvolverError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise DataError(f"{must}; it fails: {error_text(error)}") from error


def error_text(error: BaseException) -> str:
    """Return an error of a lab's own code in its own words, with its kind; of one line."""
    try:
        words = one_line(str(error))[:_LONGEST]
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  it has no words
        words = ""
    kind = type(error).__name__
    return f"{kind}: {words}" if words else kind
