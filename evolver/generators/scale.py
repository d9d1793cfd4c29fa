"""How long a generator's codes are, and how far a search's first steps should reach.

An optimizer knows numbers alone: a step of 3 is small for DeePSim and makes noise of BigGAN's
images. So what a session file leaves out is taken from here, by `evolver.setup.lengths`. Knows
codes. Knows nothing of networks or optimizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evolver.types import Generator, Vector

_STEP = 0.05  # of a code's usual norm: measured for the built-in generators, and DeePSim's 3
_REACH = 0.4  # of a code's norm: what is evolved is a code's neighbourhood, not another code
_CODES = 64


@dataclass(frozen=True, slots=True)
class CodeScale:
    """The lengths of a generator's codes."""

    step: float
    """First step size, sigma, of a search in all dimensions, latent units."""
    norm: float | None
    """What a code's norm stays near while its images are the generator's; None where codes may
    grow, as DeePSim's do, from 64 to 430 in an evolution."""
    part_steps: Mapping[str, float] = field(default_factory=dict[str, float])
    """The first step size in a part of the code, where users set one of its own."""
    rate: float | None = None
    """Step of gradient ascent (Adam's `lr`), latent units, where users set one."""
    reach: float | None = None
    """How far from an evolved code tuning is looked at along an axis, where users say."""


def code_scale(generator: Generator) -> CodeScale:
    """Return the lengths of a generator's codes: those it states, or else those it begins with.

    The usual norm is the root mean square of what `initial_codes` returns, and the step 0.05 of
    it.
    """
    stated = getattr(generator, "code_scale", None)
    if isinstance(stated, CodeScale):
        return stated
    codes = generator.initial_codes(_CODES, rng=np.random.default_rng(0))
    norm = sqrt((codes * codes).sum() / _CODES)
    if not norm:
        return CodeScale(_STEP, None)
    return CodeScale(step=_readable(_STEP * norm), norm=_readable(norm))


def tuning_reach(generator: Generator, code: Vector) -> float:
    """Return how far from an evolved code, (d,), the steps along an axis reach, latent units.

    What the generator states; else 0.4 of the norm that its codes keep, or, where they grow,
    of this code's.
    """
    scale = code_scale(generator)
    if scale.reach is not None:
        return scale.reach
    norm = scale.norm or sqrt(float((code * code).sum()))
    return _readable(_REACH * norm) if norm else scale.step


def _readable(length: float) -> float:
    """Round to two digits: it is a rule of thumb, and is read by people."""
    return float(f"{length:.2g}")
