"""How much a soak does: a share that fits into ten minutes, or all of it.

`make soak` runs the share; `make soak-full` sets EVOLVER_SOAK=full.
"""

import os


def share(full: int, scaled: int) -> int:
    """Return how many of something to do."""
    return full if os.environ.get("EVOLVER_SOAK") == "full" else scaled
