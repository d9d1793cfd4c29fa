"""What the page shows before a session's first image: its plan, the checks, how to confirm.

Knows texts; where they come from is the business of `sources`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from evolver.colours import AMBER, GREEN, RED

_SHADES = {"good": GREEN, "warning": AMBER, "bad": RED}


@dataclass(frozen=True, slots=True)
class BeforeView:
    """A session that waits.

    Attributes
    ----------
    name : the session's
    plan : how many generations of which threads; empty where it is not known
    waiting : for what, as the engine says it; empty where it has not said
    checks : (verdict, name, text) of each pre-flight check; none before they are made
    to_confirm : whether an operator has to confirm them
    no_rig_since_ns : where it waits for a rig, since when there is none, engine clock
    goes_on : it has a record already
    """

    name: str
    plan: str = ""
    waiting: str = ""
    checks: tuple[tuple[str, str, str], ...] = ()
    to_confirm: bool = False
    no_rig_since_ns: int = 0
    goes_on: bool = False


def before_html(before: BeforeView, colours: Mapping[str, str]) -> str:
    """Return what is known before the first image, as HTML."""
    quiet, ink = colours["quiet"], colours["ink"]
    rows = "".join(
        f'<tr class="check"><td style="color:{_SHADES.get(verdict, quiet)};font-weight:600;'
        f'padding:3px 14px 3px 0">{html.escape(verdict)}</td>'
        f'<td style="padding:3px 14px 3px 0;white-space:nowrap">{html.escape(name)}</td>'
        f'<td style="padding:3px 0">{html.escape(text)}</td></tr>'
        for verdict, name, text in before.checks
    )
    parts = [
        f'<p style="color:{quiet};font-size:14px;margin:8px 0">{html.escape(before.plan)}</p>'
    ]
    if before.to_confirm:
        kept = "and keep what was recorded" if before.goes_on else "without a recording"
        parts.append(
            f'<p class="confirm" style="border-left:5px solid {AMBER};padding:4px 0 4px 12px;'
            'margin:14px 0;font-size:17px">Nothing is shown before the checks are confirmed: '
            "answer <b>yes</b> in the terminal of <code>evolver serve</code>, or run "
            "<code>evolver ctl confirm</code>. Answer <b>no</b>, or run <code>evolver ctl stop"
            f"</code>, to end {kept}.</p>"
        )
    if rows:
        parts.append(
            f'<div style="font-weight:600;font-size:15px;margin-top:14px">checks</div>'
            f'<table style="border-collapse:collapse;font-size:14px;line-height:1.45">{rows}'
            "</table>"
        )
    elif before.plan:
        parts.append(
            f'<p style="color:{quiet};font-size:14px">The checks are shown here once they are '
            "made.</p>"
        )
    return f'<div class="before" style="color:{ink};max-width:1000px">{"".join(parts)}</div>'
