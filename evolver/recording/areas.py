"""Of which area a recorded unit is: the one that its rig says, or how its label begins.

Knows labels and names. Knows nothing of responses.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from evolver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LISTED = 4  # labels


def named_areas(
    labels: Sequence[str], recorded: Sequence[str], patterns: Mapping[str, str]
) -> tuple[str, ...]:
    """Return each unit's area: the first whose pattern fits its label, else the recorded one.

    Parameters
    ----------
    labels, recorded : (u,) what units and their areas are called; an area may be ""
    patterns : area -> how the labels of its units begin (``*`` and ``?`` stand for any)

    Raises
    ------
    ConfigError
        No label begins as one of the patterns says.
    """
    for area, pattern in patterns.items():
        if not any(_fits(label, pattern) for label in labels):
            more = " …" if len(labels) > _LISTED else ""
            raise ConfigError(
                f"--area {area}={pattern} must be how a unit's label begins; labels are "
                f"{', '.join(labels[:_LISTED])}{more}"
            )
    return tuple(
        next((area for area, pattern in patterns.items() if _fits(label, pattern)), own)
        for label, own in zip(labels, recorded, strict=True)
    )


def _fits(label: str, pattern: str) -> bool:
    return fnmatchcase(label, f"{pattern}*")
