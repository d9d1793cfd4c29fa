"""The page: a session's figures and texts, redrawn where something changed.

Knows bokeh's documents and controls, and the model; opens no file and no socket. One page a
browser tab; it is of the generation that its slider stands at, or of the latest while it
follows.
"""

from __future__ import annotations

import html
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from bokeh.document import Document
from bokeh.events import ConnectionLost, DocumentReady
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, Div, Select, Slider, Toggle

from evolver.clock import duration_text, waiting_text
from evolver.colours import (
    AMBER,
    GREEN,
    LIVE_DARK,
    LIVE_LIGHT,
    QUIET,
    RED,
    REFERENCE_BOTH,
    css_variables,
    thread_colour,
)
from evolver.monitor.before import BeforeView, before_html
from evolver.monitor.figures import (
    MIN_WIDTH,
    BudgetFigure,
    PictureFigure,
    PsthFigure,
    RasterFigure,
    ScoreFigure,
    UnitsFigure,
    recolour,
)
from evolver.monitor.model import SessionModel
from evolver.monitor.psth import UNITS_IN_FULL
from evolver.report.words import NONE, score
from evolver.session.ports import held_text

_REFRESH_MS = 200
_PLAY_MS = 400
_EVENTS = 60
_WRAP = {"flex-wrap": "wrap"}
"""Of a row: what has no room goes below instead of being cut."""
_PICTURES_IN_A_COLUMN, _PICTURE_COLUMNS_PX = 2, 600
# Custom properties of the page reach into the controls.
_CONTROLS = """
.bk-btn, .bk-btn:hover, .bk-input {
  background-color: var(--paper); color: var(--ink); border-color: var(--quiet); }
.bk-btn.bk-active { background-color: var(--grid); color: var(--ink); }
"""

TEMPLATE = f"""
{{% block preamble %}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  html {{ {css_variables(LIVE_LIGHT)} }}
  html[data-theme="dark"] {{ {css_variables(LIVE_DARK)} }}
  html body {{ background: var(--paper); color: var(--ink); margin: 0; padding: 12px 18px;
         box-sizing: border-box;
         font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
</style>
{{% endblock %}}
"""


_LOST = """
head.text = head.text.replace(/(<span class="state"[^>]*>)[^<]*/,
  '$1no connection to the session: it has ended, or its page was started again')
"""
"""What stands in the head once nothing comes any more: what it said may not be so."""


class PageSource(Protocol):
    """Where the session comes from."""

    trouble: str
    before: BeforeView | None  # where it waits for its first image, or to be resumed

    def look(self) -> SessionModel:
        """Return the session as it is now."""
        ...


def build_page(doc: Document, source: PageSource) -> None:
    """Put the page of a session into a document."""
    Page(doc, source)


class Page:
    """One tab.

    Parameters
    ----------
    doc : bokeh Document to fill
    source : PageSource
    """

    def __init__(self, doc: Document, source: PageSource) -> None:
        self._doc, self._source = doc, source
        self._model = source.look()
        self._version = self._scored = -1
        self._threads = 0
        self._playing = None
        self._drawn_texts = False
        self._state: str = ""
        self._drawn: tuple[int, int, int] | None = None  # scored version, generation, unit
        self._header = Div(sizing_mode="stretch_width")
        self._notes = Div(sizing_mode="stretch_width", visible=False)
        self._before = Div(sizing_mode="stretch_width", visible=False)
        self._waited: BeforeView | None = None
        self._events = Div(sizing_mode="stretch_width", height=210, min_width=MIN_WIDTH)
        self._follow = Toggle(label="follow", active=True, width=80)
        self._slider = Slider(start=0, end=1, value=0, step=1, title="generation", width=360)
        self._play = Button(label="▶ play", width=80)
        self._unit = Select(title="", options=[], width=200)
        self._theme = Toggle(label="dark", active=False, width=70)
        self._body = column(sizing_mode="stretch_width")
        self._wire()
        doc.title = tab_title(self._model, source.before)
        doc.template = TEMPLATE  # pyright: ignore[reportAttributeAccessIssue]  a text will do
        for control in (self._follow, self._play, self._unit, self._theme):
            control.stylesheets = [_CONTROLS]
        playback = (self._follow, self._slider, self._play, self._unit)
        for control in playback:
            control.visible = False  # there is nothing to play back yet
        self._tools = row(*playback, self._theme, styles=_WRAP)
        doc.add_root(
            column(
                self._header,
                self._before,
                self._tools,
                self._notes,
                self._body,
                sizing_mode="stretch_width",
            )
        )
        doc.add_periodic_callback(self._tick, _REFRESH_MS)
        self._tick()

    def _wire(self) -> None:
        self._slider.on_change("value", self._on_slider)
        self._play.on_click(self._on_play)
        self._unit.on_change("value", lambda _attr, _old, _new: self._redraw_unit())
        self._theme.on_change("active", lambda _attr, _old, _new: self._recolour())
        self._theme.js_on_change(
            "active",
            CustomJS(
                code="document.documentElement.dataset.theme = cb_obj.active ? 'dark' : 'light'"
            ),
        )
        self._doc.js_on_event(
            DocumentReady,
            CustomJS(
                args={"toggle": self._theme},
                code="toggle.active = matchMedia('(prefers-color-scheme: dark)').matches",
            ),
        )
        self._doc.js_on_event(ConnectionLost, CustomJS(args={"head": self._header}, code=_LOST))

    # ------------------------------------------------------------------ what the user does

    def _on_slider(self, _attr: str, _old: int, new: int) -> None:
        if new != self._latest:
            self._follow.active = False
        self._redraw()

    def _on_play(self) -> None:
        if self._playing is not None:
            self._stop()
            return
        self._follow.active = False
        if self._slider.value >= self._slider.end:
            self._slider.value = self._slider.start
        self._play.label = "❚❚ stop"
        self._playing = self._doc.add_periodic_callback(self._step, _PLAY_MS)

    def _step(self) -> None:
        if self._slider.value >= self._slider.end:
            self._stop()
        else:
            self._slider.value += 1

    def _stop(self) -> None:
        if self._playing is not None:
            self._doc.remove_periodic_callback(self._playing)
            self._playing = None
            self._play.label = "▶ play"

    # ------------------------------------------------------------------ redrawing

    @property
    def _latest(self) -> int:
        scored = [g.number for t in self._model.threads for g in t.scored]
        return max(scored, default=0)

    @property
    def _colours(self) -> dict[str, str]:
        return LIVE_DARK if self._theme.active else LIVE_LIGHT

    def _tick(self) -> None:
        model = self._model = self._source.look()
        before = self._source.before
        trouble = bool(self._source.trouble)
        state, _ = _state(model, before, trouble=trouble)  # it changes while nothing comes
        drawn = (model.version, before, state)
        if drawn == (self._version, self._waited, self._state) and self._drawn_texts:
            return
        self._version, self._waited, self._state = drawn
        self._drawn_texts = True
        if len(model.threads) != self._threads:
            self._lay_out()
        self._draw_texts()
        if not self._threads:
            return  # nothing to draw yet
        self._list_units()
        if model.scored_version != self._scored:
            self._scored = model.scored_version
            latest = self._latest
            self._slider.end = max(1, latest)
            if self._follow.active:
                self._slider.value = latest
            for scores in self._scores:
                scores.draw(model)
            self._budget.draw(model)
            self._redraw()
        self._raster.draw(model, self._chosen_unit)

    def _lay_out(self) -> None:
        """Make the figures, once it is known how many threads there are."""
        for control in (self._follow, self._slider, self._play, self._unit):
            control.visible = True
        threads = self._model.threads
        self._threads = len(threads)
        self._scores = [
            ScoreFigure(threads, numbers) for numbers in self._model.score_units.values()
        ]
        self._mosaics = [PictureFigure(view, self._threads) for view in threads]
        self._psth, self._raster = PsthFigure(threads), RasterFigure()
        self._units, self._budget = UnitsFigure(), BudgetFigure()
        pictures = [mosaic.figure for mosaic in self._mosaics]
        right = (
            column(*pictures)
            if len(pictures) <= _PICTURES_IN_A_COLUMN
            else row(*pictures, width=_PICTURE_COLUMNS_PX, styles=_WRAP)
        )
        self._body.children = [
            row(
                column(
                    [f.figure for f in self._scores],
                    sizing_mode="stretch_width",
                    min_width=MIN_WIDTH,  # a column knows nothing of what is in it
                ),
                right,
                sizing_mode="stretch_width",
                styles=_WRAP,
            ),
            row(
                self._psth.figure,
                self._raster.figure,
                self._units.figure,
                self._budget.figure,
                self._events,
                sizing_mode="stretch_width",
                styles=_WRAP,
            ),
        ]
        self._recolour()

    def _list_units(self) -> None:
        """Offer the units there are; the first choice is one that a thread watches."""
        labels = self._model.unit_labels[:UNITS_IN_FULL]
        if len(self._unit.options) == len(labels):
            return
        self._unit.options = [(str(row), label) for row, label in enumerate(labels)]
        if not self._unit.value:
            watched = [unit for view in self._model.threads for unit in view.units]
            self._unit.value = str(next((u for u in watched if u < len(labels)), 0))

    @property
    def _chosen_unit(self) -> int:
        return int(self._unit.value or 0)

    def _recolour(self) -> None:
        self._theme.label = "light" if self._theme.active else "dark"
        if self._threads:
            figures = (*self._scores, *self._mosaics, self._psth, self._raster, self._units)
            recolour([f.figure for f in (*figures, self._budget)], self._colours)
            for over_time in (self._psth, self._raster, self._units):
                over_time.recolour(self._colours)
        self._draw_texts()

    def _draw_texts(self) -> None:
        model, colours = self._model, self._colours
        before = self._source.before
        title = tab_title(model, before)
        if title != self._doc.title:
            self._doc.title = title
        self._header.text = header_html(
            model, colours, trouble=bool(self._source.trouble), before=before
        )
        if before is not None and model.start is not None and not before.to_confirm:
            before = None  # it waits in its middle: the header says for what
        self._before.visible = before is not None
        self._before.text = "" if before is None else before_html(before, colours)
        notes = [*filter(None, [self._source.trouble]), *model.notes]
        self._notes.text = notes_html(notes)
        self._notes.visible = bool(notes)
        self._events.text = events_html(model, colours)

    def _redraw_unit(self) -> None:
        """Draw what depends on the unit that is chosen."""
        if self._threads:
            self._redraw()
            self._raster.draw(self._model, self._chosen_unit)

    def _redraw(self) -> None:
        """Draw what depends on the generation that is chosen."""
        if not self._threads:
            return
        model, number, unit = self._model, int(self._slider.value), self._chosen_unit
        if (model.scored_version, number, unit) == self._drawn:
            return
        self._drawn = (model.scored_version, number, unit)
        self._psth.draw(model, number, unit)
        for k, view in enumerate(model.threads):
            generation = view.at(number)
            if generation is not None:
                self._mosaics[k].draw(model, generation)
                if k == 0:
                    self._units.draw(model, view, generation)
        for scores in self._scores:
            scores.mark(number)


# ---------------------------------------------------------------------- texts, as HTML


def _state(model: SessionModel, before: BeforeView | None, *, trouble: bool) -> tuple[str, str]:
    """Return what the session does, and the colour to say it in."""
    if trouble:
        return "cannot be read", RED
    if model.ended is not None:
        return model.ended, QUIET
    if before is not None and before.waiting:
        now_ns = time.time_ns()
        text = waiting_text(before.waiting, before.no_rig_since_ns, now_ns)
        return held_text(text, model.state(now_ns)), AMBER
    if model.start is None:
        return "waiting for the first image", AMBER
    state = model.state(time.time_ns())
    return (state, GREEN) if state == "running" else (state.upper(), RED)


def header_html(
    model: SessionModel,
    colours: Mapping[str, str],
    *,
    trouble: bool,
    before: BeforeView | None = None,
) -> str:
    """Return the head of the page; before the first image, the name and what is waited for."""
    ink, quiet = colours["ink"], colours["quiet"]
    state, colour = _state(model, before, trouble=trouble)
    name = model.name or (before.name if before is not None else "") or "evolver"
    head = (
        f'<div style="color:{ink}"><div style="font-size:20px;margin-bottom:10px">'
        f"<b>{html.escape(name)}</b> "
        f'<span class="state" style="color:{colour};margin-left:12px">'
        f"{html.escape(state)}</span></div>"
    )
    if model.replay:
        head += (
            f'<div role="status" style="background:{RED};color:white;font-size:18px;'
            'font-weight:bold;padding:6px 10px;margin-bottom:10px">'
            f"{html.escape(model.replay)}: recorded responses, no animal</div>"
        )
    if model.start is None:
        return f"{head}</div>"
    total = f"<small> / {model.generations}</small>" if model.generations else ""
    steps = "blocks" if all(view.is_set for view in model.threads) else "generations"
    big = [(f"{model.done}{total}", f"{steps} done", ink)]
    for k, view in enumerate(model.threads):
        name = html.escape(f"{view.scores_of}, {view.score_unit}")
        latest = _latest([g.mean for g in view.scored], view.score_unit)
        big.append((latest, name, thread_colour(k)))
    if model.references:
        unit = model.threads[0].score_unit
        latest = _latest([means[0] for _, means, _ in model.references], unit)
        big.append((latest, html.escape(f"references, {unit}"), REFERENCE_BOTH))
    left_s = model.left_s if model.ended is None else None
    share = model.aborted / model.presentations if model.presentations else 0.0
    facts = [
        f"{model.presentations} presentations",
        f"{share:.0%} aborted",
        f"{model.pace:.1f} a second" if np.isfinite(model.pace) else "",
        f"rig idle {model.idle_share:.1%}",
        f"{duration_text(model.elapsed_s)} since the first image",
        f"paused {duration_text(paused_s)}" if (paused_s := model.tally.paused_s) >= 1 else "",
        f"no rig for {duration_text(gone_s)}" if (gone_s := model.tally.no_rig_s) >= 1 else "",
        f"engine frozen {duration_text(stood_s)}"
        if (stood_s := model.tally.frozen_s) >= 1
        else "",
        f"{duration_text(math.ceil(left_s))} left" if left_s is not None else "",
    ]
    cells = "".join(
        f'<div style="margin-right:38px"><div class="value" style="font-size:44px;'
        f'font-weight:650;line-height:1;color:{shade}">{text}</div>'
        f'<div style="font-size:14px;color:{quiet};margin-top:4px">{name}</div></div>'
        for text, name, shade in big
    )
    return (
        f'{head}<div style="display:flex;flex-wrap:wrap;align-items:flex-end">{cells}'
        f'<div style="font-size:14px;color:{quiet};line-height:1.5">'
        f"{' · '.join(fact.replace(' ', '&nbsp;') for fact in facts if fact)}"
        "</div></div></div>"
    )


def tab_title(model: SessionModel, before: BeforeView | None) -> str:
    """Return what a browser calls the page: the session, and whether it is a replay."""
    name = model.name or (before.name if before is not None else "")
    if not name:
        return "evolver"
    return f"REPLAY: {name}, no animal" if model.replay else f"{name}: evolver"


def _latest(means: Sequence[float], unit: str) -> str:
    """Write the last of some means that is a number, or a dash."""
    return next((score(mean, unit) for mean in reversed(means) if np.isfinite(mean)), NONE)


def events_html(model: SessionModel, colours: Mapping[str, str]) -> str:
    """Return the last events, the latest first."""
    quiet = colours["quiet"]
    shades = {"warning": AMBER, "error": RED}
    lines: list[str] = []
    for time_ns, level, name, text in list(model.events)[-_EVENTS:][::-1]:
        at = datetime.fromtimestamp(time_ns / 1e9, tz=UTC).astimezone()
        lines.append(
            f'<div style="color:{shades.get(level, quiet)}">'
            f"{at:%H:%M:%S} {html.escape(name)}: {html.escape(text)}</div>"
        )
    content = "".join(lines) or f'<div style="color:{quiet}">nothing yet</div>'
    return (
        f'<div style="color:{colours["ink"]};font-weight:600;font-size:15px">events</div>'
        '<div style="font-size:13px;line-height:1.5;height:160px;overflow:auto">'
        f"{content}</div>"
    )


def notes_html(notes: Sequence[str]) -> str:
    """Return what the page cannot show, a line each."""
    lines = "".join(f"<div>{html.escape(note)}</div>" for note in notes)
    return f'<div class="notes" style="color:{AMBER};font-size:14px">{lines}</div>'
