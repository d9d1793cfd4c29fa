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
    ColorBar,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    Label,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
    Span,
)
from bokeh.palettes import Magma256
from bokeh.plotting import figure
from numpy.typing import NDArray

from evolver.analysis.trajectories import pooled
from evolver.colours import BUDGET, REFERENCE_BOTH, VERMILION, mixed, thread_colour
from evolver.monitor.model import GenerationView, SessionModel, ThreadView
from evolver.monitor.pictures import THUMBNAIL, Thumbnail
from evolver.monitor.psth import RASTER_SHOWINGS
from evolver.report.words import in_unit, is_rate, score, shorten

_COLUMNS, _ROWS = 4, 2
_BUDGET_BLOCKS = 120
_PICTURE_WIDTH, _NAME, _PICTURE_NAME = 280, 12, 30
_LEGEND_COLUMNS = 3
MIN_WIDTH = 380  # beside what is left free at both sides, a telephone's 420
_UNIT = 18  # letters of a unit's label in a title, which a narrow figure would cut
"""Of a figure, pixels: two stand side by side on a page 900 wide, three on one of 1,300."""
_BEHIND = ":host { background-color: var(--paper) !important; }"
"""Of a figure: white by itself, it shows as a line where a canvas ends inside a pixel."""
_OVER = "over"
"""The name of a second range of heights, 0 to 1 of the frame, whatever the data are."""
_BAR, _FIRST_BAR = 0.035, 0.9
"""Height of a window's bar and the middle of the first thread's, in shares of the frame."""
_TIME = "time after image onset (ms)"


class ScoreFigure:
    """Mean and sem of every generation's scores, the references' beside them.

    Parameters
    ----------
    threads : the session's
    numbers : of those that are drawn, whose scores are counted in the same; None: all
    """

    def __init__(
        self, threads: Sequence[ThreadView], numbers: Sequence[int] | None = None
    ) -> None:
        self._numbers = list(range(len(threads))) if numbers is None else list(numbers)
        self._unit = threads[self._numbers[0]].score_unit
        self.figure = _new_figure(
            "score: mean ± sem",
            "generation",
            in_unit("score", self._unit),
            340 if len(self._numbers) == len(threads) else 240,
            fixed=True,
        )
        self._lines = [
            self._line(threads[k].scores_of, thread_colour(k), 0.25, 3) for k in self._numbers
        ]
        self._references = self._line("references", REFERENCE_BOTH, 0.2, 2)
        _legend_above(self.figure)
        _whole_numbers(self.figure.xaxis)
        self._cursor = Span(
            location=0, dimension="height", line_color=REFERENCE_BOTH, line_dash="dotted"
        )
        self.figure.add_layout(self._cursor)

    def _line(self, name: str, colour: str, alpha: float, width: int) -> ColumnDataSource:
        data = ColumnDataSource({"x": [], "y": [], "low": [], "high": []})
        self.figure.varea("x", "low", "high", source=data, color=colour, alpha=alpha)
        line = self.figure.line(
            "x", "y", source=data, color=colour, line_width=width, legend_label=name
        )
        # A line of one point is none.
        self.figure.scatter("x", "y", source=data, color=colour, size=width + 2)
        self.figure.add_tools(HoverTool(renderers=[line], tooltips=[(name, self._tip)]))
        return data

    @property
    def _tip(self) -> str:
        digits = "0.0" if "spikes/s" in self._unit else "0.00"
        return f"@y{{{digits}}} {self._unit} in generation @x"

    def draw(self, model: SessionModel) -> None:
        """Draw every score there is."""
        low, high = ([0.0], [0.01]) if is_rate(self._unit) else ([], [])
        for data, k in zip(self._lines, self._numbers, strict=True):
            scored = model.threads[k].scored
            self._draw_line(
                data,
                [g.number for g in scored],
                np.array([g.mean for g in scored]),
                np.array([g.sem for g in scored]),
                (low, high),
            )
        at, mean, sem = pooled(
            np.array([at for at, _, _ in model.references]),
            np.array([means[self._numbers[0]] for _, means, _ in model.references]),
            np.array([sems[self._numbers[0]] for _, _, sems in model.references]),
        )
        self._draw_line(self._references, at.tolist(), mean, sem, (low, high))
        self.figure.legend.items[-1].visible = bool(model.references)
        first, last = min(low, default=0.0), max(high, default=1.0)
        room = max(0.05 * (last - first), 1e-3 * max(abs(first), abs(last)), 1e-3)
        on_zero = first == 0 and is_rate(self._unit)
        self.figure.y_range.start = first - (0 if on_zero else room)
        self.figure.y_range.end = last + room

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
        self._cursor.location = number


class PictureFigure:
    """The images of one thread's generation that scored best."""

    def __init__(self, view: ThreadView, n_threads: int) -> None:
        height = 356 if n_threads == 1 else 186
        self._name, self._unit = shorten(view.name, _PICTURE_NAME), view.score_unit
        self.figure = figure(
            title=self._name,
            width=max(_PICTURE_WIDTH, round((height - 50) * _COLUMNS / _ROWS) + 20),
            height=height,
            tools="",
            toolbar_location=None,
            stylesheets=[_BEHIND],
            x_range=Range1d(0, _COLUMNS),
            y_range=Range1d(0, _ROWS),
        )
        self.figure.title.text_font_size = "12px"
        self.figure.left, self.figure.below = [], []  # unseen axes would leave a mark
        self.figure.grid.visible = False
        self._data = ColumnDataSource({"image": [mosaic([])]})
        self.figure.image_rgba("image", x=0, y=0, dw=_COLUMNS, dh=_ROWS, source=self._data)

    def draw(self, model: SessionModel, generation: GenerationView) -> None:
        """Draw a generation's best images."""
        self._data.data = {"image": [mosaic(model.pictures(generation))]}
        best = (
            f"best {_best(generation.best, self._unit)}"
            if np.isfinite(generation.best)
            else "not scored"
        )
        self.figure.title.text = f"{self._name}\ngen. {generation.number}: {best}"


def _best(best: float, unit: str) -> str:
    first = unit.partition(",")[0]  # that it is minimised the axis of scores says
    return f"{best:.0f} spikes/s" if unit == "spikes/s" else f"{score(best, unit)} {first}"


class PsthFigure:
    """One unit's PSTH in a generation of every thread, and in its first."""

    def __init__(self, threads: Sequence[ThreadView]) -> None:
        self.figure = _new_figure("PSTH", _TIME, "response (spikes/s)", 280, fixed=True)
        self._times = _TimeMarks(self.figure, legend=True)
        self._now = [self._line(k, view.name) for k, view in enumerate(threads)]
        self._first = [self._line(k, "", "dashed") for k in range(len(threads))]
        # One entry for all: whose a dashed line is, its colour says.
        self._first_key = self.figure.line(
            [np.nan], [np.nan], line_width=2, line_dash="dashed", legend_label="first"
        )
        _legend_above(self.figure)
        items = self.figure.legend[0].items
        windows = len(items) - len(threads) - 1
        self.figure.legend[0].items = items[windows:] + items[:windows]  # lines first

    def _line(self, k: int, name: str, dash: str = "solid") -> GlyphRenderer:
        label = {"legend_label": shorten(name, _NAME)} if name else {}
        return self.figure.line(
            "x",
            "y",
            source=ColumnDataSource({"x": [], "y": []}),
            color=thread_colour(k),
            line_width=3 if dash == "solid" else 2,
            line_dash=dash,
            **label,
        )

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Draw first generations between their thread's colour and the page's ink."""
        for k, line in enumerate(self._first):
            line.glyph.line_color = mixed(thread_colour(k), colours["ink"], 0.45)
        self._first_key.glyph.line_color = colours["quiet"]
        self._times.recolour(colours)

    def draw(self, model: SessionModel, number: int, unit: int) -> None:
        """Draw one unit's PSTHs up to a generation."""
        self.figure.visible = model.responses.has_psth
        centres = (model.edges_ms[:-1] + model.edges_ms[1:]) / 2
        highest = 1.0
        for lines, at in ((self._now, number), (self._first, 0)):
            for line, view in zip(lines, model.threads, strict=True):
                generation = view.at(at)
                rates = None if generation is None else model.rates(generation, unit)
                if rates is None or not np.isfinite(rates).all():
                    line.data_source.data = {"x": [], "y": []}
                else:
                    line.data_source.data = {"x": centres, "y": rates}
                    highest = max(highest, float(rates.max(initial=0)))
        self.figure.y_range.start, self.figure.y_range.end = 0, highest * 1.2
        self.figure.y_range.end /= 1 - _room_above(model)
        self._times.draw(model)
        label = model.unit_labels[unit] if unit < len(model.unit_labels) else ""
        self.figure.title.text = f"PSTH, gen. {number}: {shorten(label, _UNIT)}"


class RasterFigure:
    """One unit's spikes in the last showings."""

    def __init__(self) -> None:
        self.figure = _new_figure(
            f"last {RASTER_SHOWINGS} showings", _TIME, "showing", 280, fixed=True
        )
        self._times = _TimeMarks(self.figure)
        _whole_numbers(self.figure.yaxis)
        self._data = ColumnDataSource({"x": [], "y": []})
        self._dots = self.figure.scatter("x", "y", source=self._data, size=2.5, marker="square")

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Draw the spikes in the page's ink."""
        self._dots.glyph.fill_color = self._dots.glyph.line_color = colours["ink"]
        self._times.recolour(colours)

    def draw(self, model: SessionModel, unit: int) -> None:
        """Draw one unit's spikes."""
        self.figure.visible = model.responses.has_raster
        times, places = [np.zeros(0)], [np.zeros(0)]
        for place, (units, times_ms) in enumerate(model.responses.raster):
            own = times_ms[units == unit]
            times.append(own)
            places.append(np.full(len(own), place))
        self._data.data = {"x": np.concatenate(times), "y": np.concatenate(places)}
        shown = max(1, len(model.responses.raster))
        self.figure.y_range.start, self.figure.y_range.end = (
            -0.5,
            (shown - 0.5) * 1.12 / (1 - _room_above(model)),
        )
        self._times.draw(model)


class UnitsFigure:
    """Every unit's PSTH in a generation of the first thread, as a picture."""

    def __init__(self) -> None:
        self.figure = _new_figure("all units", _TIME, "unit", 280, fixed=True)
        _whole_numbers(self.figure.yaxis)
        self._mapper = LinearColorMapper(Magma256, low=0, high=1)
        self._data = ColumnDataSource({"image": [], "x": [], "dw": [], "dh": []})
        self.figure.image(
            "image",
            x="x",
            y=-0.5,  # a unit's row has its number in the middle
            dw="dw",
            dh="dh",
            source=self._data,
            color_mapper=self._mapper,
        )
        self._times = _TimeMarks(self.figure, windows=False)
        self._bar = ColorBar(
            color_mapper=self._mapper,
            width=10,
            padding=4,
            ticker=BasicTicker(desired_num_ticks=4),
            title="spikes/s",
            title_text_font_style="normal",
        )
        self.figure.add_layout(self._bar, "right")

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Draw the colour bar's words in the page's ink."""
        self._bar.background_fill_color = colours["paper"]
        self._bar.title_text_color = self._bar.major_label_text_color = colours["quiet"]
        self._bar.major_tick_line_color = colours["quiet"]
        self._times.recolour(colours)

    def draw(self, model: SessionModel, view: ThreadView, generation: GenerationView) -> None:
        """Draw a generation's PSTHs."""
        self.figure.visible = model.responses.has_psth
        edges, rates = model.edges_ms, model.all_units(generation)
        self._mapper.high = max(1.0, float(rates.max(initial=0)))
        name = shorten(view.name, _NAME)
        self.figure.title.text = f"all units, {name}, generation {generation.number}"
        units = max(1, len(rates))
        self.figure.y_range.start, self.figure.y_range.end = -0.5, units * 1.12 - 0.5
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
        self._times.draw(model)


class _TimeMarks:
    """What all figures over time share: limits, scored and baseline windows, image-on bar.

    Parameters
    ----------
    drawing : the figure; made before its data, so that windows lie behind them
    windows : whether there are windows; False: the bar only
    legend : whether the windows have entries in the legend
    """

    def __init__(self, drawing: figure, *, windows: bool = True, legend: bool = False) -> None:
        self._drawing = drawing
        drawing.x_range = Range1d(-100, 300)
        drawing.y_range = Range1d(0, 1)
        drawing.extra_y_ranges = {_OVER: Range1d(0, 1)}
        self._windows = {
            name: drawing.vstrip(
                x0="x0",
                x1="x1",
                source=ColumnDataSource({"x0": [], "x1": []}),
                line_color=None,
                **({"legend_label": text} if legend else {}),
            )
            for name, text in (("baseline", "baseline"), ("response", "scored"))
            if windows
        }
        # Entries of the legend, of the windows above; none where it has none.
        items = drawing.legend[0].items if legend else []
        self._keys = dict(zip(self._windows, items, strict=legend))
        self._bars = {
            name: drawing.hbar(
                y="y",
                left="x0",
                right="x1",
                height=_BAR * 0.8,
                source=ColumnDataSource({"y": [], "x0": [], "x1": [], "color": []}),
                color="color",
                alpha=alpha,
                line_color=None,
                y_range_name=_OVER,
            )
            for name, alpha in (("baseline", 0.4), ("response", 1.0))
            if windows
        }
        self._on = drawing.segment(
            "x0",
            0.97,
            "x1",
            0.97,
            source=ColumnDataSource({"x0": [], "x1": []}),
            line_width=5,
            y_range_name=_OVER,
        )
        self._text = Label(
            x=0, y=0.97, text="", x_offset=6, y_range_name=_OVER, text_baseline="middle"
        )
        self._text.text_font_size = "11px"
        drawing.add_layout(self._text)

    def recolour(self, colours: Mapping[str, str]) -> None:
        """Give the marks the page's colours."""
        for name, strip in self._windows.items():
            strip.glyph.fill_color = colours[name]
        self._on.glyph.line_color = self._text.text_color = colours["ink"]

    def draw(self, model: SessionModel) -> None:
        """Draw the session's windows, and the bar for as long as an image is on.

        Windows that all threads share are shaded; others are a bar in each thread's colour.
        """
        start, end = float(model.edges_ms[0]), float(model.edges_ms[-1])
        self._drawing.x_range.start, self._drawing.x_range.end = start, end
        shared = share_windows(model)
        less = sorted({t.less_name for t in model.threads if t.baseline_ms})
        names = {"baseline": " or ".join(less), "response": "scored"}
        for name, strip in self._windows.items():
            found = [
                (k, *window)
                for k, t in enumerate(model.threads)
                if (window := t.baseline_ms if name == "baseline" else t.response_ms)
            ]
            shaded, bars = (found[:1], []) if shared else ([], found)
            strip.data_source.data = {
                "x0": [first for _, first, _ in shaded],
                "x1": [last for _, _, last in shaded],
            }
            self._bars[name].data_source.data = {
                "y": [_FIRST_BAR - _BAR * k for k, _, _ in bars],
                "x0": [first for _, first, _ in bars],
                "x1": [last for _, _, last in bars],
                "color": [thread_colour(k) for k, _, _ in bars],
            }
            if name in self._keys:
                key = self._keys[name]
                key.visible = bool(found)
                key.renderers = [strip if shared else self._bars[name]]
                key.label = {"value": names[name]}
        on = min(model.on_ms, end) if np.isfinite(model.on_ms) else None
        self._on.data_source.data = {
            "x0": [] if on is None else [max(0.0, start)],
            "x1": [] if on is None else [on],
        }
        self._text.x = on or 0.0
        fits = on is not None and on < start + 0.75 * (end - start)
        self._text.text = "image on" if fits else ""


def share_windows(model: SessionModel) -> bool:
    """Whether all threads are scored by the same windows."""
    return len({(t.response_ms, t.baseline_ms) for t in model.threads}) <= 1


def _room_above(model: SessionModel) -> float:
    """Return the share of a figure's height over its data that the windows' bars take."""
    return 0.0 if share_windows(model) else _BAR * len(model.threads)


class BudgetFigure:
    """Where the last blocks' time went."""

    def __init__(self) -> None:
        self.figure = _new_figure("time budget", "block", "time (s)", 220)
        parts = ["wait", "idle", "paused", "no_rig", "frozen"]
        self._data = ColumnDataSource({name: [] for name in ("x", *parts, "render")})
        self.figure.vbar_stack(
            parts,
            x="x",
            width=0.9,
            color=["#a9b0b7", *(BUDGET[name] for name in parts[1:])],
            source=self._data,
            line_color=None,
            legend_label=["on screen", "rig idle", "paused", "no rig", "engine frozen"],
        )
        # Marks: every second block may render nothing, and a line between would zigzag.
        self.figure.scatter(
            "x",
            "render",
            source=self._data,
            marker="dash",
            size=8,
            color=VERMILION,
            line_width=3,
            legend_label="rendering, meanwhile",
        )
        _whole_numbers(self.figure.xaxis)
        _legend_above(self.figure)
        items = self.figure.legend[0].items
        items.insert(
            2, items.pop()
        )  # the longest text last in its row: it sets its column's width

    def draw(self, model: SessionModel) -> None:
        """Draw the last blocks."""
        latest = list(model.budgets)[-_BUDGET_BLOCKS:]
        self._data.data = {
            "x": [block for block, _ in latest],
            "wait": [budget.wait for _, budget in latest],
            "idle": [budget.idle for _, budget in latest],
            "paused": [budget.paused for _, budget in latest],
            "no_rig": [budget.no_rig for _, budget in latest],
            "frozen": [budget.frozen for _, budget in latest],
            "render": [budget.render for _, budget in latest],
        }


def recolour(figures: Sequence[figure], colours: Mapping[str, str]) -> None:
    """Give figures the page's colours."""
    for drawing in figures:
        # What is behind is the style sheet's: a canvas painted twice keeps a line of the first.
        drawing.background_fill_color = drawing.border_fill_color = None
        drawing.outline_line_color = None
        drawing.title.text_color = colours["ink"]
        for axis in (*drawing.xaxis, *drawing.yaxis):
            axis.axis_label_text_color = axis.major_label_text_color = colours["quiet"]
            axis.axis_line_color = axis.major_tick_line_color = colours["quiet"]
            axis.minor_tick_line_color = None
        for grid in (*drawing.xgrid, *drawing.ygrid):
            grid.grid_line_color = colours["grid"]
        for legend in drawing.legend:
            legend.background_fill_color = legend.border_line_color = None
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


def _new_figure(title: str, x: str, y: str, height: int, *, fixed: bool = False) -> figure:
    drawing = figure(
        title=title,
        height=height,
        min_width=MIN_WIDTH,
        tools="",
        toolbar_location=None,
        sizing_mode="stretch_width",
        stylesheets=[_BEHIND],
    )
    if fixed:  # a range that follows the data as well goes its own way in the browser
        drawing.y_range = Range1d(0, 1)
    drawing.xaxis.axis_label, drawing.yaxis.axis_label = x, y
    drawing.title.text_font_size = "15px"
    for axis in (*drawing.xaxis, *drawing.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "13px"
    drawing.min_border_right = 14
    return drawing


def _legend_above(drawing: figure) -> None:
    """Put the legend over the frame: inside, it would cover data."""
    legend = drawing.legend[0]
    legend.orientation, legend.ncols = "horizontal", _LEGEND_COLUMNS
    legend.label_text_font_size, legend.glyph_height, legend.label_height = "12px", 14, 14
    legend.spacing, legend.padding, legend.margin = 6, 0, 4
    drawing.add_layout(legend, "above")


def _whole_numbers(axis: object) -> None:
    """Let an axis of things that are counted have whole numbers only."""
    axis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
    axis.formatter = NumeralTickFormatter(format="0")
