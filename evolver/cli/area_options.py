"""The option of several commands that says of which area units are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

AreaLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--area",
        metavar="NAME=LABEL",
        help="units whose labels begin so are of this area, as V1=mini:conv2; several allowed",
    ),
]


def read_area_labels(texts: Sequence[str] | None) -> dict[str, str]:
    """Return how the labels of units of each area begin, area -> pattern.

    Raises
    ------
    ConfigError
        One is of another form, or an area is there twice, or is called as all of them are.
    """
    from evolver.analysis.time_resolved import ALL_SITES

    patterns: dict[str, str] = {}
    for text in texts or ():
        name, equals, pattern = text.partition("=")
        if not (name and equals and pattern):
            raise ConfigError(f"--area must be NAME=LABEL, as V1=mini:conv2; got {text!r}")
        if name in patterns or name == ALL_SITES:
            raise ConfigError(
                f"--area must name each area once, and none {ALL_SITES!r}; got {text!r}"
            )
        patterns[name] = pattern
    return patterns
