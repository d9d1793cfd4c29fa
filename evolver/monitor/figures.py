"""The page's figures: each is made once, and drawn again from the model where that changed.

Knows bokeh's figures and the model; knows nothing of documents, controls or sessions' folders.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false, reportCallIssue=false
# Bokeh's annotations do not know the shorthands that its models take.

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.palettes import Magma256
from bokeh.plotting import figure
from numpy.typing import NDArray

from evolver.colours import BUDGET, REFERENCE_BOTH, VERMILION, thread_colour
from evolver.monitor.model import GenerationView, SessionModel, ThreadView
from evolver.monitor.pictures import THUMBNAIL, Thumbnail
from evolver.monitor.psth import RASTER_SHOWINGS

_COLUMNS, _ROWS = 4, 2
_BUDGET_BLOCKS = 120
_TIME = "time after image onset (ms)"


class ScoreFigure:
    """Mean and sem of every generation's scores, the references' beside them."""

    def __init__(self, threads: Sequence[ThreadView]) -> None:
        self.figure = _new_figure(
            "score: mean ± sem of each generation", "generation", "spikes/s", 340
        )
        self._span = (0.0, 1.0)
        self._lines = [
            self._line(view.name, thread_colour(k), 0.25, 3) for k, view in enumerate(threads)
        ]
        self._references = self._line("references", REFERENCE_BOTH, 0.2, 2)
        self.figure.legend.location = "top_left"
        self.figure.legend.background_fill_alpha = 0.6
        self.figure.xaxis.ticker = BasicTicker(min_interval=1)
        self._cursor = ColumnDataSource({"x": [0, 0], "y": [0, 0]})
        self.figure.line(
            "x", "y", source=self._cursor, color=REFERENCE_BOTH, line_dash="dotted"
        )

    def _line(self, name: str, colour: str, alpha: float, width: int) -> ColumnDataSource:
        data = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        self.figure.varea("x", "low", "high", source=data, color=colour, alpha=alpha)
        line = self.figure.line(
            "x", "y", source=data, color=colour, line_width=width, legend_label=name
        )
        # A line of one point is none.
        self.figure.scatter("x", "y", source=data, color=colour, size=width + 2)
        self.figure.add_tools(
            HoverTool(renderers=[line], tooltips=[(name, "@y{0.0} in @x{0.0}")])
        )
        return data

    def draw(self, model: SessionModel) -> None:
        """Draw every score there is."""
        low, high = [0.0], [1.0]
        for data, view in zip(self._lines, model.threads, strict=True):
            scored = view.scored
            self._draw_line(
                data,
                [g.number for g in scored],
                np.array([g.mean for g in scored]),
                np.array([g.sem for g in scored]),
                (low, high),
            )
        self._draw_line(
            self._references,
            [at for at, _, _ in model.references],
            np.array([means[0] for _, means, _ in model.references]),
            np.array([sems[0] for _, _, sems in model.references]),
            (low, high),
        )
        self.figure.legend.items[-1].visible = bool(model.references)
        self._span = (min(low), max(high) * 1.05)
        self.figure.y_range.start, self.figure.y_range.end = self._span

    @staticmethod
    def _draw_line(
        data: ColumnDataSource,
        at: Sequence[float],
        mean: NDArray[np.float64],
        sem: NDArray[np.float64],
        limits: tuple[list[float], list[float]],
    ) -> None:
        half = np.nan_to_num(sem)
        data.data = {"x": at, "y": mean, "low": mean - half, "high": mean + half}
        limits[0].extend((mean - half)[np.isfinite(mean)].tolist())
        limits[1].extend((mean + half)[np.isfinite(mean)].tolist())

    def mark(self, number: int) -> None:
        """Mark the generation that the other figures are of."""
        self._cursor.data = {"x": [number, number], "y": list(self._span)}


class PictureFigure:
    """The images of one thread's generation that scored best."""

    def __init__(self, view: ThreadView, n_threads: int) -> None:
        height = max(120, 340 // max(1, n_threads))
        self._name = view.name
        self.figure = figure(
            title=view.name,
            width=round((height - 34) * _COLUMNS / _ROWS) + 20,
            height=height,
            tools="",
            toolbar_location=None,
            x_range=Range1d(0, _COLUMNS),
            y_range=Range1d(0, _ROWS),
        )
        self.figure.title.text_font_size = "15px"
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self._data = ColumnDataSource({"image": [mosaic([])]})
        self.figure.image_rgba("image", x=0, y=0, dw=_COLUMNS, dh=_ROWS, source=self._data)

    def draw(self, model: SessionModel, generation: GenerationView) -> None:
        """Draw a generation's best images."""
        self._data.data = {"image": [mosaic(model.pictures(generation))]}
        best = f"{generation.best:.0f}" if np.isfinite(generation.best) else "not scored"
        self.figure.title.text = f"{self._name}: generation {generation.number}, best {best}"


class PsthFigure:
    """One unit's PSTH in a generation of every thread, and in its first."""

    def __init__(self, threads: Sequence[ThreadView]) -> None:
        self.figure = _new_figure("PSTH", _TIME, "spikes/s", 250)
        self._now = [self._line(k, view.name, "solid") for k, view in enumerate(threads)]
        self._first = [
            self._line(k, f"{view.name}, first", "dotted") for k, view in enumerate(threads)
        ]
        _small_legend(self.figure, "top_left")

    def _line(self, k: int, name: str, dash: str) -> ColumnDataSource:
        data = ColumnDataSource({"x": [], "y": []})
        self.figure.line(
            "x",
            "y",
            source=data,
            color=thread_colour(k),
            line_width=3 if dash == "solid" else 2,
            line_dash=dash,
            alpha=1.0 if dash == "solid" else 0.7,
            legend_label=name,
        )
        return data

    def draw(self, model: SessionModel, number: int, unit: int) -> None:
        """Draw one unit's PSTHs up to a generation."""
        self.figure.visible = model.responses.has_psth
        centres = (model.edges_ms[:-1] + model.edges_ms[1:]) / 2
        for data, at in ((self._now, number), (self._first, 0)):
            for source, view in zip(data, model.threads, strict=True):
                generation = view.at(at)
                rates = None if generation is None else model.rates(generation, unit)
                if rates is None or not np.isfinite(rates).all():
                    source.data = {"x": [], "y": []}
                else:
                    source.data = {"x": centres, "y": rates}
        label = model.unit_labels[unit] if unit < len(model.unit_labels) else ""
        self.figure.title.text = f"PSTH of {label}, generation {number}"


class RasterFigure:
    """One unit's spikes in the last showings."""

    def __init__(self) -> None:
        self.figure = _new_figure(f"last {RASTER_SHOWINGS} showings", _TIME, "showing", 250)
        self._data = ColumnDataSource({"x": [], "y": []})
        self._dots = self.figure.scatter("x", "y", source=self._data, size=2.5, marker="square")

    def recolour(self, ink: str) -> None:
        """Draw the spikes in the page's ink."""
        self._dots.glyph.fill_color = self._dots.glyph.line_color = ink

    def draw(self, model: SessionModel, unit: int) -> None:
        """Draw one unit's spikes."""
        self.figure.visible = model.responses.has_raster
        times, places = [np.zeros(0)], [np.zeros(0)]
        for place, (units, times_ms) in enumerate(model.responses.raster):
            own = times_ms[units == unit]
            times.append(own)
            places.append(np.full(len(own), place))
        self._data.data = {"x": np.concatenate(times), "y": np.concatenate(places)}


class UnitsFigure:
    """Every unit's PSTH in a generation of the first thread, as a picture."""

    def __init__(self) -> None:
        self.figure = _new_figure("all units", _TIME, "unit", 250)
        self.figure.yaxis.ticker = BasicTicker(min_interval=1)
        self._mapper = LinearColorMapper(Magma256, low=0, high=1)
        self._data = ColumnDataSource({"image": [], "x": [], "dw": [], "dh": []})
        self.figure.image(
            "image",
            x="x",
            y=0,
            dw="dw",
            dh="dh",
            source=self._data,
            color_mapper=self._mapper,
        )

    def draw(self, model: SessionModel, view: ThreadView, generation: GenerationView) -> None:
        """Draw a generation's PSTHs."""
        self.figure.visible = model.responses.has_psth
        edges, rates = model.edges_ms, model.all_units(generation)
        self._mapper.high = max(1.0, float(rates.max(initial=0)))
        self.figure.title.text = f"all units, {view.name}, generation {generation.number}"
        if len(rates):
            # The picture's pixels are of one width: bins cut short at an end are drawn so too.
            self._data.data = {
                "image": [rates],
                "x": [float(edges[0])],
                "dw": [float(edges[-1] - edges[0])],
                "dh": [len(rates)],
            }
        else:
            self._data.data = {"image": [], "x": [], "dw": [], "dh": []}


class BudgetFigure:
    """Where the last blocks' time went."""

    def __init__(self) -> None:
        self.figure = _new_figure("time budget", "block", "seconds", 220)
        self._data = ColumnDataSource({"x": [], "wait": [], "idle": [], "render": []})
        self.figure.vbar_stack(
            ["wait", "idle"],
            x="x",
            width=0.9,
            color=["#8f979f", BUDGET["idle"]],
            source=self._data,
            legend_label=["on screen", "rig idle"],
        )
        self.figure.line(
            "x",
            "render",
            source=self._data,
            color=VERMILION,
            line_width=2,
            legend_label="rendering, meanwhile",
        )
        self.figure.xaxis.ticker = BasicTicker(min_interval=1)
        _small_legend(self.figure, "top_left")
        self.figure.legend.orientation = "horizontal"
        self.figure.add_layout(self.figure.legend[0], "above")  # it would cover the bars

    def draw(self, model: SessionModel) -> None:
        """Draw the last blocks."""
        latest = list(model.budgets)[-_BUDGET_BLOCKS:]
        self._data.data = {
            "x": [block for block, _ in latest],
            "wait": [budget.wait for _, budget in latest],
            "idle": [budget.idle for _, budget in latest],
            "render": [budget.render for _, budget in latest],
        }


def recolour(figures: Sequence[figure], colours: Mapping[str, str]) -> None:
    """Give figures the page's colours."""
    for drawing in figures:
        drawing.background_fill_color = drawing.border_fill_color = colours["paper"]
        drawing.outline_line_color = None
        drawing.title.text_color = colours["ink"]
        for axis in (*drawing.xaxis, *drawing.yaxis):
            axis.axis_label_text_color = axis.major_label_text_color = colours["quiet"]
            axis.axis_line_color = axis.major_tick_line_color = colours["quiet"]
            axis.minor_tick_line_color = None
        for grid in (*drawing.xgrid, *drawing.ygrid):
            grid.grid_line_color = colours["grid"]
        for legend in drawing.legend:
            legend.background_fill_color = colours["paper"]
            legend.border_line_color = None
            legend.label_text_color = colours["ink"]


def mosaic(pictures: Sequence[Thumbnail | None]) -> NDArray[np.uint32]:
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


def _new_figure(title: str, x: str, y: str, height: int) -> figure:
    drawing = figure(
        title=title,
        height=height,
        tools="",
        toolbar_location=None,
        sizing_mode="stretch_width",
    )
    drawing.xaxis.axis_label, drawing.yaxis.axis_label = x, y
    drawing.title.text_font_size = "15px"
    for axis in (*drawing.xaxis, *drawing.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "13px"
    drawing.min_border_right = 14
    return drawing


def _small_legend(drawing: figure, location: str) -> None:
    drawing.legend.location = location
    drawing.legend.background_fill_alpha = 0.6
    drawing.legend.label_text_font_size = "11px"
