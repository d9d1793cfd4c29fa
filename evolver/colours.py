"""Colours of figures and pages, each chosen once.

Knows hexadecimal colours only: no matplotlib, no browser.
"""

from __future__ import annotations

from colorsys import hls_to_rgb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
SKY, ORANGE, RED, AMBER = "#56B4E9", "#E69F00", "#CC3311", "#b58900"

THREADS = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE)
"""Okabe & Ito's palette: told apart under the common forms of colour blindness. The first four
are a session's usual threads; yellow is left out, as it is too pale for a line."""
# Many lines in one figure: Tol's muted palette goes on where Okabe & Ito's ends.
_SERIES = (
    *THREADS,
    "#882255",
    "#999933",
    "#332288",
    "#CC6677",
    "#117733",
    "#44AA99",
    "#88CCEE",
    "#DDCC77",
    "#661100",
    "#6699CC",
)

INK, QUIET, GRID = "#1f2328", "#6b7177", "#e6e8eb"
REFERENCE = "#666666"
"""Reference images, on white; `REFERENCE_BOTH` is readable on the dark page too."""
REFERENCE_BOTH = "#9aa0a6"
UNMEASURED, RESPONSE_WINDOW, BASELINE_WINDOW = "#d5d8dc", "#f0f1f3", "#f7f7f8"

# What the engine waits for, in grey, and what it does itself, in colour.
BUDGET = {
    "wait": "#c9cdd2",
    "idle": RED,
    "paused": "#e6e8eb",
    "no_rig": "#7d868f",
    "frozen": "#4d565f",
    "propose": BLUE,
    "render": VERMILION,
    "encode": ORANGE,
    "send": SKY,
    "score": GREEN,
    "blocked": PURPLE,
}
"""Parts of a block's time, in the order they are stacked."""

PAGE_LIGHT = {
    "paper": "#fbfbfa",
    "card": "#ffffff",
    "ink": INK,
    "quiet": "#62686e",
    "line": "#e1e4e8",
    "accent": "#0b62a4",
    "warn-paper": "#fff4e0",
    "warn-line": "#d98500",
    "warn-ink": "#6b4100",
    "error": "#d1242f",
}
PAGE_DARK = {
    "paper": "#15181c",
    "card": "#1d2126",
    "ink": "#e6e8ea",
    "quiet": "#9aa2aa",
    "line": "#333a41",
    "accent": "#6fb6ee",
    "warn-paper": "#3a2b10",
    "warn-line": "#d98500",
    "warn-ink": "#ffd899",
}
"""What differs from `PAGE_LIGHT` on the pages of reports, where the reader prefers dark."""

LIVE_LIGHT = {
    "paper": "#ffffff",
    "ink": INK,
    "quiet": QUIET,
    "grid": GRID,
    "response": "#e4e8ed",
    "baseline": "#f2f3f5",
}
LIVE_DARK = {
    "paper": "#14181d",
    "ink": "#e6e9ec",
    "quiet": "#8b949e",
    "grid": "#2a3138",
    "response": "#2b333d",
    "baseline": "#1e242b",
}

# Nothing but greys beside images that are judged; the mark alone has a colour.
PERSON_LIGHT = {
    **PAGE_LIGHT,
    "paper": "#f4f4f4",
    "line": "#d4d4d4",
    "frame": "#e4e4e4",
    "hover": "#cfcfcf",
}
PERSON_DARK = {
    **PAGE_DARK,
    "paper": "#181818",
    "card": "#262626",
    "line": "#3a3a3a",
    "frame": "#2a2a2a",
    "hover": "#444444",
}


def thread_colour(index: int) -> str:
    """Return the colour of a thread, the same in every figure."""
    return THREADS[index % len(THREADS)]


def series_colour(index: int) -> str:
    """Return the colour of one of many lines in a figure; no two have the same.

    The chosen ones first; behind them hues by the golden angle, which never come back to the
    same place, in three lightnesses.
    """
    if index < len(_SERIES):
        return _SERIES[index]
    extra = index - len(_SERIES)
    hue, lightness = (0.11 + extra * 0.6180339887) % 1, (0.35, 0.5, 0.62)[extra % 3]
    red, green, blue = (round(255 * part) for part in hls_to_rgb(hue, lightness, 0.55))
    return f"#{red:02x}{green:02x}{blue:02x}"


def mixed(colour: str, other: str, share: float) -> str:
    """Return a colour on its way to another: share 0 is the first, 1 the other."""
    parts = zip(*(bytes.fromhex(text[1:]) for text in (colour, other)), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def css_variables(colours: Mapping[str, str]) -> str:
    """Write colours as custom properties of a style sheet: '--ink: #1f2328; …'."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
