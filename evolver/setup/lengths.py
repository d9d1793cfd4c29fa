"""The lengths that a session file leaves to the generator: step sizes, spreads, radii.

Knows which options of an optimizer are lengths, and what a generator says of its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from math import sqrt
from typing import Any, cast

from evolver import optimizers
from evolver.generators.scale import CodeScale, code_scale
from evolver.types import Generator

_SPREADS = ("genetic", "random", "adam", "sgd")
"""Optimizers whose `sigma` is the spread of codes about one, not a step."""
_RATE = 0.1
"""Adam's step by the spread of a generator's codes: DeePSim's, of N(0, 1), as published."""


def with_lengths(
    optimizer: str, options: Mapping[str, Any], generator: Generator
) -> dict[str, Any]:
    """Return an optimizer's options, with the lengths that were left out.

    `sigma` of a search by steps is the generator's step; `sigma` of one that spreads its codes
    about one, the `radius` of a sphere and Adam's `lr` follow its norm, where it has one, or
    what its users set. A step along a basis is no length of a code, and is left to the
    optimizer; SGD's `lr` is none either, as the slope's scale is in it. A composite's parts are
    treated each by itself.

    Parameters
    ----------
    optimizer : its name in a session file
    options : as the session file has them
    generator : the one whose codes it makes

    Raises
    ------
    ConfigError
        No optimizer has this name.
    """
    return _with_lengths(optimizer, options, generator, code_scale(generator), generator.d)


def _with_lengths(
    optimizer: str, options: Mapping[str, Any], generator: Generator, scale: CodeScale, d: int
) -> dict[str, Any]:
    taken = signature(optimizers.find(optimizer)).parameters
    if "optimizer" in taken:  # it runs another one, whose options stand beside its own
        optimizer = str(options.get("optimizer", taken["optimizer"].default))
        taken = signature(optimizers.find(optimizer)).parameters
    lengths: dict[str, float] = {}
    spread = None if scale.norm is None else scale.norm / sqrt(generator.d)
    if optimizer in _SPREADS:
        if spread is not None:
            lengths["sigma"] = round(spread, 3)
    elif "sigma" in taken and "basis" not in taken:
        lengths["sigma"] = scale.step
    if optimizer == "adam":
        if scale.rate is not None:
            lengths["lr"] = scale.rate
        elif spread is not None:
            lengths["lr"] = round(_RATE * spread, 4)
    if "radius" in taken and scale.norm is not None:
        lengths["radius"] = round(scale.norm * sqrt(d / generator.d), 3)
    chosen = lengths | dict(options)
    parts = chosen.get("parts")
    if isinstance(parts, list):
        chosen["parts"] = [_part(part, generator, scale) for part in cast("list[Any]", parts)]
    return chosen


def _part(part: Any, generator: Generator, scale: CodeScale) -> Any:  # noqa: ANN401  from a session file
    """Return a composite's part with its lengths; anything else as it is, to be refused."""
    match part:
        case {"optimizer": str(name), "slice": [int(first), int(stop)]} if name:
            spans: Mapping[str, tuple[int, int]] = getattr(generator, "parts", {})
            steps = [
                scale.part_steps[of]
                for of, span in spans.items()
                if of in scale.part_steps and span[0] <= first < stop <= span[1]
            ]
            own = CodeScale(steps[0], scale.norm) if steps else scale
            options = part.get("options", {})
            if not isinstance(options, dict):
                return part
            given = cast("dict[str, Any]", options)
            lengths = _with_lengths(name, given, generator, own, stop - first)
            return {**part, "options": lengths}
        case _:
            return part
