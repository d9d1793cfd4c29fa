"""The page of a decoded session: measures, figures, sites and times, every item.

Knows a `DecodedSession` and the template; the numbers are worked out before. The page's script
sorts and filters. It loads nothing, and what it shows of files is text, never markup.
"""

from __future__ import annotations

import base64
import io
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from evolver import __version__
from evolver.analysis.time_resolved import ALL_SITES
from evolver.colours import PAGE_DARK, PAGE_LIGHT, css_variables
from evolver.reconstruction.measures import LARGEST_IMAGE, MOST_IDENTIFIED
from evolver.reconstruction.tables import item_values
from evolver.report.decoding_figures import decoding_sample
from evolver.report.words import NONE, joined, number, p_value, window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from evolver.analysis.rank_tests import MeanInterval
    from evolver.reconstruction.results import (
        DecodedSession,
        DecodedSite,
        DecodingMeasure,
    )

_SIDE, _QUALITY, _DIGITS = 96, 88, 5
_DECODERS = {
    "ridge": "ridge regression of codes on responses, its penalty chosen by leaving out each "
    "training item in turn",
    "least-squares": "least squares of codes on responses",
    "dense": "a dense layer by Adam, L2 in the gradient",
    "inverted-glm": "a linear model of responses by codes, inverted",
}


def write_decoding_page(
    session: DecodedSession,
    *,
    figures: Mapping[str, Path | None],
    codes_file: str,
) -> str:
    """Return the page's text.

    Parameters
    ----------
    session : what is shown
    figures : title -> PNG, held by the page; None where there is nothing to draw
    codes_file : name of the file of decoded codes
    """
    environment = Environment(
        loader=PackageLoader("evolver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("decoding.html.j2").render(
        title=session.name,
        lead=_lead(session),
        replay=session.replay,
        absent=list(session.absent.items()),
        measures=[_measure_row(one) for one in session.measures],
        method=decoding_method(session),
        figures=[
            (title, base64.b64encode(path.read_bytes()).decode("ascii"))
            for title, path in figures.items()
            if path is not None
        ],
        no_figures=[title for title, path in figures.items() if path is None],
        sites=_site_rows(session),
        codes_file=codes_file,
        data=_as_script(_data(session)),
        version=__version__,
        light=css_variables(PAGE_LIGHT),
        dark=css_variables(PAGE_DARK),
    )


def decoding_method(session: DecodedSession) -> str:
    """Say how everything was found."""
    settings = session.settings
    parts = [
        f"Decoder: {_DECODERS[settings.decoder]}{f' ({session.fit})' if session.fit else ''}.",
        "Responses: mean rates in each area's window, z-scores by the training showings"
        + (
            ", of the test by its own mean and sd (as published)."
            if settings.statistics == "paper"
            else "."
        ),
        "Repeats of an item are averaged.",
        (
            "Intervals: Student's t over items where each has a value, else of leaving items "
            "out (jackknife); of shares, Wilson's."
        ),
        (
            f"Chance: {settings.sets:,} sets of fresh codes of the training prior in the true "
            "ones' place; of images, decoded ones dealt anew to items."
        ),
        "Floor: what the mean training code reaches.",
    ]
    if session.space:
        parts.append(f"Codes are compared as the {session.space} they are mapped to.")
    if session.channels.own_window:
        parts.append("The rig sent rates, in a window of its own.")
    if session.images is not None and session.images.differing:
        parts.append(
            f"{session.images.differing} of {len(session.images.rows)} true images drawn here "
            "differ in pixels from those shown, as another processor's do."
        )
    if session.images is not None and session.images.unread:
        parts.append(
            f"{session.images.unread} of the shown images are damaged in the recording, so "
            "that drawn ones could not be compared with them."
        )
    if len(session.items) > MOST_IDENTIFIED:
        parts.append(f"One of {MOST_IDENTIFIED} items is told from the others.")
    if session.images is not None and max(session.images.true.shape[1:3]) > LARGEST_IMAGE:
        parts.append(f"SSIM and luminance are of images shrunk to {LARGEST_IMAGE} pixels.")
    return " ".join(parts)


def _lead(session: DecodedSession) -> str:
    channels = session.channels
    areas = list(dict.fromkeys(channels.areas))
    text = f"{decoding_sample(session)} in {joined(areas[:6])}"
    if len(areas) > 6:
        text += f" and {len(areas) - 6} more"
    if session.silent:
        text += f", {session.silent:,} of them silent"
    text += (
        f". {session.train_showings:,} showings for training"
        + (f", {session.test_showings:,} for the test" if session.test_names else "")
        + "."
    )
    if session.left_out:
        counted = joined([f"{n:,} {why}" for why, n in session.left_out.items()])
        text += f" Left out, showings: {counted}."
    if session.stopped:
        text += " Stopped before its end."
    return text


def _measure_row(one: DecodingMeasure) -> tuple[str, ...]:
    interval = ""
    if isfinite(one.low):
        interval = f" ({number(one.low)} to {number(one.high)})"
    return (
        one.name,
        one.value.reason or f"{number(one.value.value)}{interval}",
        f"{one.n:,}",
        number(one.floor),
        number(one.chance),
        p_value(one.p) if one.has_p else NONE,
    )


def _site_rows(session: DecodedSession) -> list[tuple[str, ...]]:
    return [_site_row(session, site) for site in session.sites]


def _site_row(session: DecodedSession, site: DecodedSite) -> tuple[str, ...]:
    channels = session.channels
    windows = dict.fromkeys(
        own
        for own, area in zip(channels.windows_ms, channels.areas, strict=True)
        if site.site in {area, ALL_SITES}
    )
    region = site.region
    cells = [NONE] * 4
    if region is not None:
        cells = [
            f"{number(region.inside.value)}, {p_value(region.p_inside)}",
            number(region.random_inside.value),
            f"{number(region.outside.value)}, {p_value(region.p_outside)}",
            number(region.random_outside.value),
        ]
    rise = next((one.rise for one in session.times if one.site == site.site), None)
    when = NONE
    if rise is not None:
        when = rise.reason
        if isfinite(rise.t0_ms):
            when = f"{rise.t0_ms:.0f}"
            if isfinite(rise.low_ms):
                when += f" ({rise.low_ms:.0f} to {rise.high_ms:.0f})"
    return (
        site.site,
        f"{site.channels:,}",
        joined([window(own) for own in windows]),
        _interval_text(site.correlation),
        _interval_text(site.cosine),
        *cells,
        when,
    )


def _interval_text(interval: MeanInterval) -> str:
    if not isfinite(interval.low):
        return number(interval.mean)
    return f"{number(interval.mean)} ({number(interval.low)} to {number(interval.high)})"


def _data(session: DecodedSession) -> dict[str, Any]:
    columns: list[dict[str, Any]] = [
        {
            "name": "item",
            "title": "its number in its set",
            "kind": "text",
            "letters": 40,
            "values": list(session.items),
        },
        _column("showings", "whose mean was decoded", session.repeats),
    ]
    if all(item.isdecimal() for item in session.items):
        columns[0] = _column("item", "its number in its set", [int(i) for i in session.items])
    if len(session.ranks):
        columns.append(_column("rank", "of the true code among all; 1 is best", session.ranks))
    columns += [
        _column(name, "of this item", values) for name, values in item_values(session).items()
    ]
    images: list[list[str] | None] = [None] * len(session.items)
    if session.images is not None:
        for i, row in enumerate(session.images.rows):
            images[int(row)] = [
                _small(session.images.true[i]),
                _small(session.images.decoded[i]),
            ]
    return {"columns": columns, "images": images}


def _column(name: str, title: str, values: Sequence[float] | NDArray[Any]) -> dict[str, Any]:
    rounded = [float(f"{v:.{_DIGITS}g}") if isfinite(v) else None for v in map(float, values)]
    return {"name": name, "title": title, "kind": "number", "values": rounded}


def _small(image: NDArray[np.uint8]) -> str:
    """Return an image as a JPEG of at most `_SIDE` pixels a side, in base64."""
    made = Image.fromarray(image)
    made.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    made.save(file, "JPEG", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _as_script(data: dict[str, Any]) -> str:
    """Return JSON that no HTML parser takes for markup."""
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")
