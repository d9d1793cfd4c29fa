"""What a session file says of the axes along which a thread searches.

Knows keys and values, and what contradicts what. Where axes come from is in
`evolver/setup/search_axes.py`, what a search along them is in
`evolver/optimizers/within_axes.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

FIRST_LAYER, METRIC = "first-layer", "metric"
"""What `source` may be, besides a file."""
AXES_EXAMPLE = '{ source = "metric", k = 40 }'
USUAL_ENERGY = 0.999

Energy: TypeAlias = Annotated[float, Meta(gt=0, le=1)]


class AxesTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The optimizer searches along the axes that a generator answers to most, and no others."""

    source: Annotated[
        str,
        Meta(
            min_length=1,
            description="'first-layer': singular vectors of the generator's first weights; "
            "'metric': eigenvectors of its image metric; or a file of either, .npz ('evolver "
            "metric compute') or .safetensors",
        ),
    ]
    k: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="how many axes; without it as many as have `energy`"),
    ] = None
    energy: Annotated[
        Energy | None,
        Meta(
            description="share of the sum of squared singular values, or of eigenvalues; 0.999 "
            "without it"
        ),
    ] = None
    scale: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="0: steps are as long along all axes; p: in proportion to the "
            "eigenvalue's -p (0.2 to 0.4 as published)",
        ),
    ] = 0.0
    outside: Annotated[
        Literal["keep", "drop"],
        Meta(description="what the start has outside of the axes: all codes keep it, or none"),
    ] = "keep"


def axes_contradictions(table: AxesTable, key: str) -> list[str]:
    """Return what no single key of the axes at `key` shows to be wrong."""
    if table.k is not None and table.energy is not None:
        both = f"k = {table.k} and energy = {table.energy:g}"
        return [f"{key}.energy: must be left out where k says how many axes; found {both}"]
    return []
