"""A session file with mistakes, as far as it can be read: so that the rest is checked as well.

Knows keys and values; says nothing of what is wrong, which was found before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import cast

STAND_INS: Mapping[str, object] = {
    "session.name": "unnamed",
    "presentation.on_ms": 100.0,
    "presentation.off_ms": 100.0,
    "threads.name": "unnamed",
    "threads.generator": "unnamed",
}
"""What stands for a value that a file must have and has not, by its key without numbers."""


def without(raw: Mapping[str, object], wrong: Sequence[str]) -> dict[str, object]:
    """Return a file's values without the wrong ones, which have their defaults then.

    Parameters
    ----------
    raw : what the TOML reader gave
    wrong : dotted keys, of missing values as well

    Returns
    -------
    what may still be of no use: the caller sees whether it fits
    """
    tree = deepcopy(dict(raw)) if wrong else dict(raw)  # a campaign reads thousands
    for key in wrong:
        _correct(tree, key)
    return tree


def _correct(tree: dict[str, object], key: str) -> None:
    at: object = tree
    *path, last = re.findall(r"[^.\[\]]+", key)
    for name in path:
        if isinstance(at, list) and name.isdigit():
            rows = cast("list[object]", at)
            at = rows[int(name)] if int(name) < len(rows) else None
        elif isinstance(at, dict):
            at = cast("dict[str, object]", at).get(name)
    if not isinstance(at, dict):
        return
    table = cast("dict[str, object]", at)
    general = re.sub(r"\[\d+\]", "", key)
    if general in STAND_INS:
        number = re.search(r"\d+", key)
        stand_in = STAND_INS[general]
        table[last] = f"{stand_in}-{number[0]}" if number else stand_in
    else:
        table.pop(last, None)
