"""Which way an optimizer moved in a recorded generation, and would have by other scores.

Knows optimizers and recorded threads. The optimizer is put where its recorded state says, is
asked for the recorded codes, and told other scores of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evolver import seeds
from evolver.errors import EvolverError
from evolver.optimizers import find, state_from_dict, state_to_dict
from evolver.optimizers.gradient import is_ascent
from evolver.optimizers.ranks import rank_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.recording import ThreadData
    from evolver.types import Codes, Optimizer, Scores, Vector

_CENTRES = ("mean", "base")
"""What optimizers call the code that their search is about, latent units."""
OWN_UPDATE = "its optimizer's own update"
PARENTS_MEAN = "the weighted mean of the better half"


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """How a search moved in one generation, by the recorded scores and by others.

    Attributes
    ----------
    before, after : (d,) latent units, from where it stood to where it went, by either score
    by : what says so, `OWN_UPDATE` or `PARENTS_MEAN`
    repeats : whether the optimizer comes to the very state that the record has next; None where
        that is not known
    """

    before: Vector
    after: Vector
    by: str
    repeats: bool | None = None


def moves_of(
    thread: ThreadData, generation: int, before: Scores, after: Scores
) -> Moves | None:
    """Return how a search moved, given the codes of a recorded generation.

    Parameters
    ----------
    thread : recorded
    generation : of its
    before, after : (n,) the recorded scores of its codes, and others; NaN of those left out

    Returns
    -------
    Moves, or None where fewer than two codes have either score
    """
    told, other = np.isfinite(before), np.isfinite(after)
    if told.sum() < 2 or other.sum() < 2:
        return None
    codes = thread.codes[thread.generation == generation]
    own = _own_moves(thread, generation, codes, (before, told), (after, other))
    if own is not None:
        return own
    wide = codes.astype(np.float64)
    return Moves(
        _parents_move(wide[told], before[told]),
        _parents_move(wide[other], after[other]),
        PARENTS_MEAN,
    )


def _parents_move(codes: Codes, scores: Scores) -> Vector:
    """Return the way from the mean of all codes to that of the better half, by ranks."""
    return rank_weights(scores) @ codes - codes.mean(axis=0)


def _own_moves(
    thread: ThreadData,
    generation: int,
    codes: NDArray[np.float32],
    *scores: tuple[Scores, NDArray[np.bool_]],
) -> Moves | None:
    """Return what the optimizer itself does; None where it cannot be put there.

    It is not here, its state is not in the file, or it has no code that its search is about,
    in the coordinates of the codes.
    """
    if not thread.has_state(generation):
        return None
    values = thread.state(generation)
    rng_state = values.pop("rng_state")
    name = next((n for n in _CENTRES if np.shape(values.get(n, 0.0)) == (thread.d,)), "")
    if not name or "origin" in values:  # whose mean is of other coordinates
        return None
    try:
        kind = find(thread.optimizer)
        if is_ascent(kind):
            return None
        moves: list[Vector] = []
        states: list[Any] = []
        for values_told, rows in scores:
            optimizer = _put_back(kind, values, rng_state)
            start = np.array(values[name], dtype=np.float64)
            asked = _asked(optimizer, codes)
            if len(values.get("given", ())) or values.get("age") == 0:  # not about it yet
                start = asked[rows].mean(axis=0)
            optimizer.tell(asked[rows], values_told[rows])
            states.append(optimizer.state)
            moves.append(np.asarray(getattr(optimizer.state, name)) - start)
    except EvolverError:
        return None
    return Moves(moves[0], moves[1], OWN_UPDATE, _is_next(thread, generation, states[0]))


def _put_back(kind: Any, values: dict[str, Any], rng_state: dict[str, Any]) -> Optimizer:  # noqa: ANN401  a class of optimizers
    rng = seeds.stream(0, "rescored")
    rng.bit_generator.state = rng_state
    return kind.from_state(state_from_dict(kind.state_type, values), rng=rng)


def _asked(optimizer: Optimizer, codes: NDArray[np.float32]) -> Codes:
    """Ask for the recorded codes: as they were drawn, or as the file has them."""
    asked = optimizer.ask()
    if asked.shape == codes.shape and np.array_equal(asked.astype(np.float32), codes):
        return asked
    recorded = codes.astype(np.float64)
    optimizer.adopt(recorded)
    return recorded


def _is_next(thread: ThreadData, generation: int, state: Any) -> bool | None:  # noqa: ANN401  each optimizer's own
    if not thread.has_state(generation + 1):
        return None
    recorded = thread.state(generation + 1)
    recorded.pop("rng_state")
    after = state_to_dict(state)
    return after.keys() == recorded.keys() and all(
        np.array_equal(value, recorded[name], equal_nan=True) for name, value in after.items()
    )
