"""The optimizer of a thread whose session file names none, by its generator.

Values only: what `python -m benchmarks.optimizers` found, on units that nothing was tuned on.
The evidence, and what it does not say, is in `docs/optimizer-notes.md`.
"""

from __future__ import annotations

ELSEWHERE = "cholesky"
"""For generators that were not compared: the published one, whose settings every lab knows."""
COMPARED = {"deepsim-fc6": "snes", "mini-texture": "snes"}
"""For those that were, by name, on 60 pairs of a unit and a seed; of `deepsim-fc6` a
stand-in with its architecture, its published spectrum and seeded weights."""


def usual_optimizer(generator: str) -> str:
    """Return the name of the optimizer that a thread gets which names none.

    Parameters
    ----------
    generator : as the session file has it
    """
    return COMPARED.get(generator, ELSEWHERE)
