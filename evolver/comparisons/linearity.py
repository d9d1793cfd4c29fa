"""Latent linearity, both ways: units from codes, and codes from units (Ext. Data Fig. 5D, E).

Images of a generator, its usual codes; a layer's units, at the centre. Ridge from the code to
each unit and from the units to the code, held out; by all of the code, by each part that has a
meaning of its own (BigGAN's class and noise), and, with a metric, by its leading and last
directions, beside as many at random. All statistics are `evolver.analysis.linear_maps`, which
take recorded neurons' responses in place of units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evolver import seeds
from evolver.analysis.linear_maps import (
    LAMBDAS,
    HeldOut,
    held_out_r2,
    random_directions,
    split_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evolver.types import Codes, Generator, Matrix, Responses

SPLIT_SEED = 42
"""Published, of the split in four fifths and one."""
LEADING = (512, 256, 128)
"""Directions, as many as there are; with fewer than any, all of the metric's, or half of d."""
RANDOM = (128, 256)


@dataclass(frozen=True, slots=True, eq=False)
class Linearity:
    """What one part of the code and one layer say of each other.

    Attributes
    ----------
    part : str, of the code
    k : int, its dimensions
    to_units : HeldOut, (u,), units from the code
    to_codes : HeldOut, (k,), the code from units
    """

    part: str
    k: int
    to_units: HeldOut
    to_codes: HeldOut


def code_parts(
    generator: Generator, *, metric: Matrix | None = None, seed: int = 0
) -> dict[str, Matrix]:
    """Return the parts of a code that are compared, as directions, (d, k).

    Parameters
    ----------
    generator : whose code it is
    metric : (d, m) eigenvectors of its metric, the leading one first; all of them for 'last'
    seed : of the random directions
    """
    d = generator.d
    parts: dict[str, Matrix] = {"all": np.eye(d)}
    named: Mapping[str, tuple[int, int]] = getattr(generator, "parts", {})
    for name, (first, last) in named.items():
        if last - first < d:
            parts[name] = np.eye(d)[:, first:last]
    if metric is None:
        return parts
    axes = metric.shape[1]
    leading = [k for k in LEADING if k <= axes and k < d] or [min(axes, d // 2)]
    for k in leading:
        parts[f"first {k}"] = metric[:, :k]
        if axes == d:
            parts[f"last {k}"] = metric[:, -k:]
    for k in dict.fromkeys((*RANDOM, *leading)):
        if k < d:
            rng = seeds.stream(seed, "random directions", k)
            parts[f"random {k}"] = random_directions(d, k, rng=rng)
    return parts


def linearity(
    codes: Codes,
    responses: Responses,
    parts: Mapping[str, Matrix],
    *,
    penalties: Sequence[float] = LAMBDAS,
    seed: int = SPLIT_SEED,
) -> list[Linearity]:
    """Return how linear responses are in each part of the code, and the part in responses.

    Parameters
    ----------
    codes : (n, d)
    responses : (n, u) of units, or of recorded neurons
    parts : name -> directions, (d, k)
    penalties : on offer
    seed : of the split; the rows that are held out are the same for all
    """
    train, test = split_rows(len(codes), rng=seeds.stream(seed, "split"))
    found: list[Linearity] = []
    for name, directions in parts.items():
        along = codes @ directions
        found.append(
            Linearity(
                name,
                directions.shape[1],
                held_out_r2(along, responses, train=train, test=test, penalties=penalties),
                held_out_r2(responses, along, train=train, test=test, penalties=penalties),
            )
        )
    return found
