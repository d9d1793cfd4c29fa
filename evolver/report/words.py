"""Numbers and names as people read them, the same in figures, pages and the terminal.

Knows text and numbers only.
"""

from __future__ import annotations

from math import isfinite

NONE = "\N{EN DASH}"
"""Stands where there is no value."""


def number(value: float) -> str:
    """Write a score, a rate or a time with about three digits; a dash for NaN."""
    if not isfinite(value):
        return NONE
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 1 else f"{value:.2f}"
    if float(text) == 0:
        text = "0"
    return text.replace("-", "\N{MINUS SIGN}")


def score(value: float, unit: str) -> str:
    """Write a score as live tables have it: rates to a tenth, others to a hundredth."""
    if not isfinite(value):
        return "-"
    return f"{value:.1f}" if "spikes/s" in unit else f"{value:.2f}"


def in_unit(what: str, unit: str) -> str:
    """Write what an axis shows and in which unit: 'score (z)', 'score, (spikes/s)²'."""
    return f"{what}, {unit}" if "(" in unit else f"{what} ({unit})"


def is_rate(unit: str) -> bool:
    """Whether scores of a unit are spikes/s, whose axes have 0 on them."""
    return unit.startswith("spikes/s")


def with_sem(mean: float, sem: float) -> str:
    """Write mean ± sem, or the mean alone where the error is unknown."""
    return f"{number(mean)} ± {number(sem)}" if isfinite(sem) else number(mean)


def span(first: int, last: int) -> str:
    """Write the whole numbers from first to last: '3', '0–4'."""
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def count(n: int, singular: str, plural: str = "") -> str:
    """Write a number of things: '1 block', '2,400 images'."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def window(window_ms: tuple[float, float] | None) -> str:
    """Write a window of time after onset: '50 to 200 ms'."""
    if window_ms is None:
        return NONE
    start, end = (f"{t:g}".replace("-", "\N{MINUS SIGN}") for t in window_ms)
    return f"{start} to {end} ms"


def duration(seconds: float) -> str:
    """Write a length of time: '430 ms', '12.4 s', '3 min 20 s', '1 h 5 min'."""
    if not isfinite(seconds):
        return NONE
    if seconds < 1:
        return f"{number(seconds * 1000)} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def joined(parts: list[str]) -> str:
    """Join words as a sentence does: 'a', 'a and b', 'a, b and c'."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def interval_words(interval: str, level: float) -> str:
    """Write what kind of interval a share has: "90 % interval, Wilson's"."""
    kind = {"wilson": "Wilson's", "paper": "as published, of a Beta distribution"}[interval]
    return f"{100 * level:g} % interval, {kind}"


def p_value(p: float) -> str:
    """Write a probability: 'p = 0.03', 'p < 0.001'."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def shorten(text: str, most: int) -> str:
    """Cut a long name, so that it stays in its place in a figure."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
