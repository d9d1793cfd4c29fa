"""A rescored session as rows, for files.

Knows values; an undefined one is an empty cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolver.experiments.tables import Cell, Table
from evolver.table_files import finite_cell

if TYPE_CHECKING:
    from evolver.analysis.quantities import Quantity
    from evolver.experiments.rescored import RescoredSession

_AGREEMENT = {
    "images": "with both scores",
    "spearman": "rank correlation of the two scores",
    "kendall": "tau-b of the two scores",
    "parents": "images of the better half, from which a search by ranks learns",
    "parents_differing": "of them, those that are others by the other score; empty if all tie",
    "turned_deg": "angle between the two directions in which the search moved, degrees",
}


def rescored_tables(session: RescoredSession) -> tuple[Table, ...]:
    """Return the tables of threads, of generations and of images."""
    threads: list[tuple[Cell, ...]] = []
    generations: list[tuple[Cell, ...]] = []
    images: list[tuple[Cell, ...]] = []
    for thread in session.threads:
        whole = thread.agreement
        differing, parents = thread.parents
        threads.append((
            thread.name,
            thread.before_text,
            thread.after_text,
            whole.n,
            _cell(whole.spearman),
            _cell(whole.kendall),
            parents,
            differing if parents else None,
            _cell(thread.turned),
        ))
        for row in thread.generations:
            both = row.agreement
            generations.append((
                thread.name,
                row.generation,
                both.n,
                _cell(both.spearman),
                _cell(both.kendall),
                both.parents,
                None if both.tied else both.parents_differing,
                _cell(row.turned),
                row.by or None,
                row.turned.reason or None,
            ))
            for i, image in enumerate(row.image_id):
                images.append((
                    thread.name,
                    row.generation,
                    i,
                    int(image),
                    finite_cell(row.before[i]),
                    finite_cell(row.after[i]),
                    finite_cell(both.before[i]),
                    finite_cell(both.after[i]),
                ))
    name = {"thread": "of the session"}
    row = name | {"generation": "from 0"}
    return (
        Table(
            "threads",
            name
            | {"recorded": "how scores were made", "other": "how the others are made"}
            | _AGREEMENT,
            threads,
        ),
        Table(
            "generations",
            row
            | _AGREEMENT
            | {"moved_by": "what says where to", "reason": "why it does not say"},
            generations,
        ),
        Table(
            "images",
            row
            | {
                "row": "within the generation, from 0",
                "image": "row of the recording's /images",
                "score": "recorded",
                "other_score": "by the other fitness",
                "rank": "within the generation by the recorded score, 1 is the highest",
                "other_rank": "by the other",
            },
            images,
        ),
    )


def _cell(quantity: Quantity) -> float | None:
    return quantity.value if quantity.defined else None
