"""The page: figures of a session, redrawn where something changed.

Knows bokeh and the model; opens no file and no socket. One page a browser tab; what it shows is
of the generation that its slider stands at, or of the latest while it follows.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false, reportCallIssue=false
# Bokeh's annotations do not know the shorthands that its models take.

from __future__ import annotations

from typing import Protocol

import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColumnDataSource,
    CustomJS,
    Div,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Select,
    Slider,
    Toggle,
)
from bokeh.palettes import Magma256
from bokeh.plotting import figure

from evolver.colours import thread_colour
from evolver.monitor.model import THUMBNAIL, SessionModel
from evolver.monitor.words import REFERENCE, events, head

_REFRESH_MS = 200
_PLAY_MS = 400
_COLUMNS, _ROWS = 4, 2
_DARK = {"paper": "#14181d", "ink": "#e6e9ec", "quiet": "#8b949e", "grid": "#2a3138"}
_LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "quiet": "#6b7177", "grid": "#e6e8eb"}

TEMPLATE = """
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  html { --paper: #ffffff; --ink: #1f2328; }
  html[data-theme="dark"] { --paper: #14181d; --ink: #e6e9ec; }
  body { background: var(--paper); color: var(--ink); margin: 0; padding: 12px 18px;
         box-sizing: border-box;
         font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
</style>
{% endblock %}
"""


class Source(Protocol):
    """Where the session comes from."""

    trouble: str

    def look(self) -> SessionModel:
        """Return the session as it is now."""
        ...


def build(doc: Document, source: Source) -> None:
    """Put the page of a session into a document."""
    Page(doc, source)


class Page:
    """One tab.

    Parameters
    ----------
    doc : bokeh Document to fill
    source : Source
    """

    def __init__(self, doc: Document, source: Source) -> None:
        self._doc, self._source = doc, source
        self._version = self._scored = -1
        self._threads = 0
        self._dark = False
        self._playing = None
        self._drawn: tuple[int, int, bool, int] | None = None
        self._header = Div(sizing_mode="stretch_width")
        self._events = Div(sizing_mode="stretch_width", height=190)
        self._follow = Toggle(label="follow", active=True, width=80)
        self._slider = Slider(start=0, end=1, value=0, step=1, title="generation", width=420)
        self._play = Button(label="▶ play", width=80)
        self._unit = Select(title="", options=[], width=220)
        self._theme = Toggle(label="dark", active=False, width=70)
        self._body = column(sizing_mode="stretch_width")
        self._figures: list = []
        self._wire()
        doc.title = "evolver"
        doc.template = TEMPLATE
        tools = row(self._follow, self._slider, self._play, self._unit, self._theme)
        doc.add_root(column(self._header, tools, self._body, sizing_mode="stretch_width"))
        doc.add_periodic_callback(self._tick, _REFRESH_MS)
        self._tick()

    def _wire(self) -> None:
        self._slider.on_change("value", self._on_slider)
        self._play.on_click(self._on_play)
        self._unit.on_change("value", lambda _attr, _old, _new: self._redraw())
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

    def _tick(self) -> None:
        self._model = self._source.look()
        model = self._model
        if model.version == self._version and self._threads:
            return
        self._version = model.version
        if len(model.threads) != self._threads:
            self._lay_out()
        self._header.text = head(self._model, self._colours, trouble=bool(self._source.trouble))
        if not self._threads:
            return  # nothing to draw yet
        if model.scored_version != self._scored:
            self._scored = model.scored_version
            latest = self._latest
            self._slider.end = max(1, latest)
            if self._follow.active:
                self._slider.value = latest
            self._draw_scores()
            self._draw_budget()
            self._redraw()
        self._draw_raster()
        self._events.text = events(self._model, self._colours)

    def _lay_out(self) -> None:
        """Make the figures, once it is known how many threads there are."""
        model = self._model
        self._threads = len(model.threads)
        watched = [u for t in model.threads for u in t.units]
        labels = [(str(i), label) for i, label in enumerate(model.unit_labels)][:256]
        self._make_scores()
        self._make_pictures()
        self._make_psth()
        self._make_raster()
        self._make_units()
        self._make_budget()
        right = column(*self._mosaics)
        self._body.children = [
            row(self._scores, right, sizing_mode="stretch_width"),
            row(self._psth, self._raster, self._units, sizing_mode="stretch_width"),
            row(self._budget, self._events, sizing_mode="stretch_width"),
        ]
        self._unit.options = labels
        self._unit.value = str(watched[0]) if watched else ("0" if labels else "")
        self._recolour()

    def _figure(self, title: str, x: str, y: str, height: int) -> figure:
        made = figure(
            title=title,
            height=height,
            tools="",
            toolbar_location=None,
            sizing_mode="stretch_width",
        )
        made.xaxis.axis_label, made.yaxis.axis_label = x, y
        made.title.text_font_size = "15px"
        for axis in (*made.xaxis, *made.yaxis):
            axis.axis_label_text_font_style = "normal"
            axis.axis_label_text_font_size = "13px"
            axis.major_label_text_font_size = "13px"
        made.min_border_right = 14
        self._figures.append(made)
        return made

    def _recolour(self) -> None:
        c = self._colours
        self._theme.label = "light" if self._theme.active else "dark"
        for made in self._figures:
            made.background_fill_color = made.border_fill_color = c["paper"]
            made.outline_line_color = None
            made.title.text_color = c["ink"]
            for axis in (*made.xaxis, *made.yaxis):
                axis.axis_label_text_color = axis.major_label_text_color = c["quiet"]
                axis.axis_line_color = axis.major_tick_line_color = c["quiet"]
                axis.minor_tick_line_color = None
            for grid in (*made.xgrid, *made.ygrid):
                grid.grid_line_color = c["grid"]
            for legend in made.legend:
                legend.background_fill_color, legend.border_line_color = c["paper"], None
                legend.label_text_color = c["ink"]
        if self._threads:
            self._dots.glyph.fill_color = self._dots.glyph.line_color = c["ink"]
        self._header.text = head(self._model, self._colours, trouble=bool(self._source.trouble))
        self._events.text = events(self._model, self._colours)

    # ------------------------------------------------------------------ the figures

    def _make_scores(self) -> None:
        self._scores = self._figure(
            "score: mean ± sem of each generation", "generation", "spikes/s", 340
        )
        self._lines = []
        for k, view in enumerate(self._model.threads):
            data = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
            self._scores.varea(
                "x", "low", "high", source=data, color=thread_colour(k), alpha=0.25
            )
            line = self._scores.line(
                "x",
                "y",
                source=data,
                color=thread_colour(k),
                line_width=3,
                legend_label=view.name,
            )
            self._scores.add_tools(
                HoverTool(renderers=[line], tooltips=[(view.name, "@y{0.0} in @x")])
            )
            self._lines.append(data)
        self._reference_line = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        options = {"source": self._reference_line, "color": REFERENCE}
        self._scores.varea("x", "low", "high", alpha=0.2, **options)
        self._scores.line("x", "y", line_width=2, legend_label="references", **options)
        self._scores.legend.location = "top_left"
        self._scores.legend.background_fill_alpha = 0.6
        self._cursor = ColumnDataSource({"x": [0, 0], "y": [0, 0]})
        self._scores.line("x", "y", source=self._cursor, color=REFERENCE, line_dash="dotted")

    def _draw_scores(self) -> None:
        model = self._model
        low, high = [0.0], [1.0]
        for data, view in zip(self._lines, model.threads, strict=True):
            scored = view.scored
            mean = np.array([g.mean for g in scored])
            sem = np.nan_to_num(np.array([g.sem for g in scored]))
            data.data = {
                "x": [g.number for g in scored],
                "y": mean,
                "low": mean - sem,
                "high": mean + sem,
            }
            low += (mean - sem)[np.isfinite(mean)].tolist()
            high += (mean + sem)[np.isfinite(mean)].tolist()
        mean = np.array([m[0] for _, m, _ in model.references])
        sem = np.nan_to_num(np.array([s[0] for _, _, s in model.references]))
        self._reference_line.data = {
            "x": [at for at, _, _ in model.references],
            "y": mean,
            "low": mean - sem,
            "high": mean + sem,
        }
        low += (mean - sem)[np.isfinite(mean)].tolist()
        high += (mean + sem)[np.isfinite(mean)].tolist()
        self._span = (min(low), max(high) * 1.05)
        self._scores.y_range.start, self._scores.y_range.end = self._span  # type: ignore[union-attr]

    def _make_pictures(self) -> None:
        self._mosaics, self._mosaic_data = [], []
        for view in self._model.threads:
            height = max(120, 340 // max(1, self._threads))
            made = figure(
                title=view.name,
                width=round((height - 34) * _COLUMNS / _ROWS) + 20,
                height=height,
                tools="",
                toolbar_location=None,
                x_range=Range1d(0, _COLUMNS),
                y_range=Range1d(0, _ROWS),
            )
            made.title.text_font_size = "15px"
            made.axis.visible = False
            made.grid.visible = False
            self._figures.append(made)
            data = ColumnDataSource({"image": [_mosaic([])]})
            made.image_rgba("image", x=0, y=0, dw=_COLUMNS, dh=_ROWS, source=data)
            self._mosaics.append(made)
            self._mosaic_data.append(data)

    def _make_psth(self) -> None:
        self._psth = self._figure("PSTH", "time after image onset (ms)", "spikes/s", 250)
        self._psth_data = []
        for k, view in enumerate(self._model.threads):
            for style, alpha in (("solid", 1.0), ("dotted", 0.7)):
                data = ColumnDataSource({"x": [], "y": []})
                self._psth.line(
                    "x",
                    "y",
                    source=data,
                    color=thread_colour(k),
                    line_width=3 if style == "solid" else 2,
                    line_dash=style,
                    alpha=alpha,
                    legend_label=view.name if style == "solid" else f"{view.name}, first",
                )
                self._psth_data.append(data)
        self._psth.legend.location = "top_left"
        self._psth.legend.background_fill_alpha = 0.6
        self._psth.legend.label_text_font_size = "11px"

    def _make_raster(self) -> None:
        self._raster = self._figure(
            "last 300 showings", "time after image onset (ms)", "showing", 250
        )
        self._raster_data = ColumnDataSource({"x": [], "y": []})
        self._dots = self._raster.scatter(
            "x", "y", source=self._raster_data, size=2.5, marker="square"
        )

    def _make_units(self) -> None:
        self._mapper = LinearColorMapper(Magma256, low=0, high=1)
        self._units = self._figure("all units", "time after image onset (ms)", "unit", 250)
        self._units_data = ColumnDataSource({"image": [], "dh": []})
        edges = self._model.edges_ms
        self._units.image(
            "image",
            x=float(edges[0]),
            y=0,
            dw=float(edges[-1] - edges[0]),
            dh="dh",
            source=self._units_data,
            color_mapper=self._mapper,
        )

    def _make_budget(self) -> None:
        self._budget = self._figure("time budget", "block", "seconds", 190)
        self._budget_data = ColumnDataSource({
            "x": [],
            "wait": [],
            "idle": [],
            "render": [],
        })
        self._budget.vbar_stack(
            ["wait", "idle"],
            x="x",
            width=0.9,
            color=["#8f979f", "#CC3311"],
            source=self._budget_data,
            legend_label=["on screen", "rig idle"],
        )
        self._budget.line(
            "x",
            "render",
            source=self._budget_data,
            color="#D55E00",
            line_width=2,
            legend_label="rendering, meanwhile",
        )
        self._budget.legend.location = "bottom_left"
        self._budget.legend.orientation = "horizontal"
        self._budget.legend.background_fill_alpha = 0.6
        self._budget.legend.label_text_font_size = "11px"

    def _draw_budget(self) -> None:
        b = list(self._model.budgets)[-120:]
        self._budget_data.data = {
            "x": [one.block for one in b],
            "wait": [one.wait for one in b],
            "idle": [one.idle for one in b],
            "render": [one.render for one in b],
        }

    @property
    def _colours(self) -> dict[str, str]:
        return _DARK if self._theme.active else _LIGHT

    def _redraw(self) -> None:
        """Draw what depends on the generation and the unit that are chosen."""
        if not self._body.children:
            return
        model, number = self._model, int(self._slider.value)
        unit = int(self._unit.value or 0)
        now = (model.scored_version, number, bool(self._theme.active), unit)
        if now == self._drawn:
            return
        self._drawn = now
        centres = (model.edges_ms[:-1] + model.edges_ms[1:]) / 2
        most = 1.0
        for k, view in enumerate(model.threads):
            generation, first = view.at(number), view.at(0)
            for data, shown in zip(
                self._psth_data[2 * k : 2 * k + 2], (generation, first), strict=True
            ):
                y = [] if shown is None else model.rates(shown, unit)
                data.data = {"x": centres if len(y) else [], "y": y}
            if generation is None:
                continue
            self._mosaic_data[k].data = {"image": [_mosaic(generation.pictures)]}
            self._mosaics[
                k
            ].title.text = (
                f"{view.name}: generation {generation.number}, best {generation.best:.0f}"
            )
            if k == 0:
                rates = model.all_units(k, generation.number)
                most = max(1.0, float(rates.max(initial=0)))
                self._units_data.data = {"image": [rates], "dh": [len(rates)]}
                self._units.title.text = f"all units, {view.name}, generation {number}"
        self._mapper.high = most
        label = model.unit_labels[unit] if unit < len(model.unit_labels) else ""
        self._psth.title.text = f"PSTH of {label}, generation {number}"
        low, high = getattr(self, "_span", (0.0, 1.0))
        self._cursor.data = {"x": [number, number], "y": [low, high]}

    def _draw_raster(self) -> None:
        unit = int(self._unit.value or 0)
        xs, ys = [], []
        for i, (units, times) in enumerate(self._model.raster):
            mine = times[units == unit]
            xs.append(mine)
            ys.append(np.full(len(mine), i))
        if xs:
            self._raster_data.data = {"x": np.concatenate(xs), "y": np.concatenate(ys)}


def _mosaic(pictures: list) -> np.ndarray:
    """Return pictures, best first, as one RGBA image, rows from below as bokeh draws them."""
    n = THUMBNAIL
    canvas = np.zeros((_ROWS * n, _COLUMNS * n, 4), np.uint8)
    for i, picture in enumerate(pictures[: _ROWS * _COLUMNS]):
        if picture is not None:
            top, left = divmod(i, _COLUMNS)
            tile = canvas[top * n : (top + 1) * n, left * n : (left + 1) * n]
            tile[1:-1, 1:-1, :3] = picture[1:-1, 1:-1]
            tile[1:-1, 1:-1, 3] = 255
    return np.ascontiguousarray(canvas[::-1]).view(np.uint32)[..., 0]
