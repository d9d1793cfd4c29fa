"""A decoded session as rows: measures, items, attributes, sites, times, channels.

An undefined value is an empty cell; why it is stands beside it, or in the table of what is
absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evolver.experiments.tables import Table
from evolver.table_files import finite_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from evolver.analysis.rank_tests import MeanInterval
    from evolver.experiments.tables import Cell
    from evolver.reconstruction.results import DecodedSession
    from evolver.types import Vector

TABLE_NAMES = (
    "measures", "items", "attributes", "sites", "times", "rises", "channels", "absent",
)  # fmt: skip
"""Of the files, without their ending."""


def decoding_tables(session: DecodedSession) -> list[Table]:
    """Return everything that was found, as tables."""
    return [
        _measures(session),
        _items(session),
        _attributes(session),
        _sites(session),
        _times(session),
        _rises(session),
        _channels(session),
        Table(
            "absent",
            {"what": "was not worked out", "reason": "why"},
            list(session.absent.items()),
        ),
    ]


def _measures(session: DecodedSession) -> Table:
    meanings = {
        "measure": "its name",
        "of": "codes or images",
        "value": "of decoded and true ones",
        "low": "end of the 95 % interval over items",
        "high": "its other end",
        "items": "how many it is over",
        "floor": "what the mean code reaches",
        "chance": "mean of the random sets",
        "p": "(1 + sets as high) / (1 + sets)",
        "sets": "random ones",
        "reason": "why there is no value",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            one.name,
            one.kind,
            finite_cell(one.value.value),
            finite_cell(one.low),
            finite_cell(one.high),
            one.n,
            finite_cell(one.floor),
            finite_cell(one.chance),
            finite_cell(one.p),
            len(one.null),
            one.value.reason,
        )
        for one in session.measures
    ]
    return Table("measures", meanings, rows)


def _items(session: DecodedSession) -> Table:
    each = item_values(session)
    meanings = {
        "item": "its number in its set",
        "image_id": "row of the recording's images",
        "showings": "whose mean response was decoded",
        "rank": "of the true code among all, 1 is best",
        **dict.fromkeys(each, "of this item"),
    }
    ranks = session.ranks if len(session.ranks) else np.full(len(session.items), np.nan)
    rows: list[tuple[Cell, ...]] = [
        (
            item,
            int(session.image_ids[i]),
            int(session.repeats[i]),
            finite_cell(ranks[i]),
            *(finite_cell(values[i]) for values in each.values()),
        )
        for i, item in enumerate(session.items)
    ]
    return Table("items", meanings, rows)


def item_values(session: DecodedSession) -> dict[str, Vector]:
    """Return the measures that items have of their own, by name, (m,); NaN where not taken."""
    values: dict[str, Vector] = {}
    for one in session.measures:
        if not len(one.each):
            continue
        rows: NDArray[np.int64] = np.arange(len(session.items))
        if one.kind == "images" and session.images is not None:
            rows = session.images.rows
        column = np.full(len(session.items), np.nan)
        column[rows] = one.each
        values[one.name] = column
    return values


def _attributes(session: DecodedSession) -> Table:
    meanings = {
        "direction": "of the generator's first weights, the strongest is 0",
        "r": "of true and decoded scores over items",
        "p": "against decoded codes dealt anew to items",
        "p_best": "the same against the best of all directions of each deal",
    }
    rows: list[tuple[Cell, ...]] = []
    if session.attributes is not None:
        scores, test = session.attributes.scores, session.attributes.test
        rows = [
            (k, finite_cell(scores.r[k]), finite_cell(test.p[k]), finite_cell(test.p_best[k]))
            for k in range(len(scores.r))
        ]
    return Table("attributes", meanings, rows)


def _interval_cells(interval: MeanInterval) -> tuple[Cell, ...]:
    return (finite_cell(interval.mean), finite_cell(interval.low), finite_cell(interval.high))


def _sites(session: DecodedSession) -> Table:
    others = list(dict.fromkeys(name for site in session.sites for name in site.others))
    meanings = {
        "site": "its name; all: all channels",
        "channels": "how many",
        "correlation": "of codes, with this site's responses, all others at their mean",
        "correlation_low": "end of its 95 % interval over items",
        "correlation_high": "its other end",
        "cosine": "about the mean code, the same",
        "cosine_low": "end of its 95 % interval over items",
        "cosine_high": "its other end",
        "items": "how many these are over",
        **{
            f"{name}{end}": meaning
            for name in others
            for end, meaning in (
                ("", "the same"),
                (" low", "end of its 95 % interval over items"),
                (" high", "its other end"),
            )
        },
        "inside": "code correlation of a decoder of the site's channels alone",
        "random_inside": "mean of decoders of as many random channels",
        "p_inside": "(1 + draws as high) / (1 + draws)",
        "outside": "of a decoder of all other channels",
        "random_outside": "mean of decoders of as many random channels",
        "p_outside": "(1 + draws as low) / (1 + draws): whether the site is missed",
    }
    rows: list[tuple[Cell, ...]] = []
    for site in session.sites:
        region = site.region
        cells: tuple[Cell, ...] = (None,) * 6
        if region is not None:
            cells = (
                finite_cell(region.inside.value), finite_cell(region.random_inside.value),
                finite_cell(region.p_inside), finite_cell(region.outside.value),
                finite_cell(region.random_outside.value), finite_cell(region.p_outside),
            )  # fmt: skip
        rows.append((
            site.site,
            site.channels,
            *_interval_cells(site.correlation),
            *_interval_cells(site.cosine),
            site.correlation.n,
            *(
                cell
                for name in others
                for cell in (
                    _interval_cells(site.others[name]) if name in site.others else (None,) * 3
                )
            ),
            *cells,
        ))
    return Table("sites", meanings, rows)


def _times(session: DecodedSession) -> Table:
    meanings = {
        "site": "its name; all: all channels",
        "time_ms": "middle of the window, after onset",
        "correlation": "of codes",
        "low": "end of its 95 % interval over items",
        "high": "its other end",
        "cosine": "about the mean code",
        "pairwise": "share of pairs of items that are told apart",
    }

    def rows() -> Iterator[tuple[Cell, ...]]:
        for course in session.times:
            for i, time in enumerate(course.centres_ms):
                columns = (
                    course.correlation, course.low, course.high, course.cosine, course.pairwise,
                )  # fmt: skip
                yield (
                    course.site,
                    float(time),
                    *(finite_cell(values[i]) for values in columns),
                )

    return Table("times", meanings, list(rows()))


def _rises(session: DecodedSession) -> Table:
    meanings = {
        "site": "its name; all: all channels",
        "channels": "how many",
        "t0_ms": "half way up the sigmoid through the correlations, after onset",
        "low_ms": "end of its 95 % interval over items drawn with replacement",
        "high_ms": "its other end",
        "start": "of the sigmoid",
        "height": "of its rise",
        "steepness": "1/ms",
        "explained": "share of the course's variance",
        "resamplings": "of items",
        "failed": "of them did not rise",
        "reason": "why there is no t0, or no interval",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            one.site,
            one.channels,
            finite_cell(rise.t0_ms),
            finite_cell(rise.low_ms),
            finite_cell(rise.high_ms),
            finite_cell(rise.low),
            finite_cell(rise.height),
            finite_cell(rise.steepness),
            finite_cell(rise.explained),
            rise.resamplings,
            rise.failed,
            rise.reason,
        )
        for one in session.times
        for rise in (one.rise,)
    ]
    return Table("rises", meanings, rows)


def _channels(session: DecodedSession) -> Table:
    meanings = {
        "channel": "row of the unit table",
        "label": "of the rig",
        "area": "of the unit",
        "from_ms": "window of its response",
        "to_ms": "its end",
        "half": "r over items between means of two halves of the repeats",
        "reliability": "of the mean of all repeats, Spearman and Brown",
        "ceiling": "its square root: the largest r that the mean can have with anything",
    }
    channels, found = session.channels, session.reliability
    rows: list[tuple[Cell, ...]] = []
    for i, (label, area) in enumerate(zip(channels.labels, channels.areas, strict=True)):
        cells: tuple[Cell, ...] = (None,) * 3
        if found is not None:
            cells = (
                finite_cell(found.half[i]),
                finite_cell(found.reliability[i]),
                finite_cell(found.ceiling[i]),
            )
        rows.append((i, label, area, *channels.windows_ms[i], *cells))
    return Table("channels", meanings, rows)
