"""What a user names by an import path; knows nothing of what it is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from evolver.errors import ConfigError


def attribute(path: str) -> Any:  # noqa: ANN401  whatever the user names
    """Import ``module:attribute``.

    Raises
    ------
    ConfigError
        It cannot be imported; the message says why.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"a thing of your own is named module:name; got {path!r}")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{path!r} must be importable here; it is not: {error}") from error
