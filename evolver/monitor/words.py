"""What the live page says in words, as HTML: the line of figures at its head, and the events.

Functions of the model and a set of colours. Everything that came from elsewhere is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from evolver.colours import thread_colour
from evolver.monitor.model import SessionModel

REFERENCE = "#9aa0a6"
_SHOWN = 60


def state(model: SessionModel, *, trouble: bool) -> tuple[str, str]:
    """Return what the session does, and the colour to say it in."""
    if trouble:
        return "cannot be read", "#CC3311"
    if model.ended is not None:
        return model.ended, "#6b7177"
    if model.start is None:
        return "waiting for the first image", "#b58900"
    return ("PAUSED", "#CC3311") if model.paused else ("running", "#009E73")


def head(model: SessionModel, colours: Mapping[str, str], *, trouble: bool) -> str:
    """Return the head of the page."""
    ink, quiet = colours["ink"], colours["quiet"]
    said, colour = state(model, trouble=trouble)
    big = [(f"{model.done}<small> / {model.generations}</small>", "generation", ink)]
    for k, view in enumerate(model.threads):
        scored = view.scored
        text = f"{scored[-1].mean:.1f}" if scored else "…"
        big.append((text, html.escape(view.name), thread_colour(k)))
    if model.references:
        big.append((f"{model.references[-1][1][0]:.1f}", "references", REFERENCE))
    left = model.minutes_left
    share = model.aborted / model.presentations if model.presentations else 0.0
    facts = [
        f"{model.presentations} presentations",
        f"{share:.0%} aborted",
        f"{model.pace:.1f} a second" if np.isfinite(model.pace) else "",
        f"rig idle {model.idle_share:.1%}",
        f"{model.minutes:.0f} min",
        f"{left:.0f} min left" if np.isfinite(left) and model.ended is None else "",
    ]
    cells = "".join(
        f'<div style="margin-right:38px"><div class="value" style="font-size:44px;'
        f'font-weight:650;line-height:1;color:{shade}">{text}</div>'
        f'<div style="font-size:14px;color:{quiet};margin-top:4px">{name}</div></div>'
        for text, name, shade in big
    )
    return (
        f'<div style="color:{ink}"><div style="font-size:20px;margin-bottom:10px">'
        f"<b>{html.escape(model.name) or 'evolver'}</b> "
        f'<span class="state" style="color:{colour};margin-left:12px">'
        f"{html.escape(said)}</span></div>"
        f'<div style="display:flex;flex-wrap:wrap;align-items:flex-end">{cells}'
        f'<div style="font-size:14px;color:{quiet};line-height:1.5;max-width:340px">'
        f"{' · '.join(fact for fact in facts if fact)}</div></div></div>"
    )


def events(model: SessionModel, colours: Mapping[str, str]) -> str:
    """Return the last events, the latest first."""
    quiet = colours["quiet"]
    shades = {"warning": "#b58900", "error": "#CC3311"}
    lines: list[str] = []
    for time_ns, level, name, text in list(model.events)[-_SHOWN:][::-1]:
        at = datetime.fromtimestamp(time_ns / 1e9, tz=UTC).astimezone()
        lines.append(
            f'<div style="color:{shades.get(level, quiet)}">'
            f"{at:%H:%M:%S} {html.escape(name)}: {html.escape(text)}</div>"
        )
    said = "".join(lines) or f'<div style="color:{quiet}">nothing yet</div>'
    return (
        f'<div style="color:{colours["ink"]};font-weight:600;font-size:15px">events</div>'
        '<div style="font-size:13px;line-height:1.5;height:160px;overflow:auto">'
        f"{said}</div>"
    )
