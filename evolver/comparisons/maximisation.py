"""Activation maximisation: how far units are driven through a generator (Ext. Data Fig. 1C, D).

Units of a layer x methods x generators; the score of a run is the largest drive that it came
by, of all its codes and steps. A method is a line of text:

adam, adam:LR          gradient ascent by Adam; without a number its step is the generator's
                       own (0.1 for DeePSim, 0.003 for BigGAN, as published)
sgd:LR                 plain ascent; published 0.01, 0.003 and 0.001, for BigGAN
adam+rotation, adam+scaled, sgd+rotation:LR, ...
                       along the basis of the generator's metric: rotated, as published, or
                       each direction scaled by lambda^(-1/2), clipped
cholesky, cholesky:SIGMA
                       Cholesky CMA-ES, which sees values alone

An image is what the network sees, whole; or it is confined, as published beside that for early
layers: shrunk into the square that the layer's units see, on grey, so that all of what is drawn
is seen.

Starts are codes as the generator's users begin with; for a gradient, one is drawn again while
its score is exactly 0. A run of a gradient has `batch` codes that climb side by side, one of
Cholesky CMA-ES its usual population: they see other numbers of images, which is stated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch

from evolver import optimizers, seeds
from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError
from evolver.optimizers.gradient import NeedsObjective
from evolver.setup.lengths import with_lengths
from scorers.networks.extent import fields
from scorers.networks.network import check_layers
from scorers.networks.preprocessing import resized
from scorers.receptive_field import GREY, Box, box_around

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.types import Codes, Generator, Optimizer, Scores
    from scorers.networks.network import Network

_METHOD = re.compile(
    r"(?P<name>adam|sgd|cholesky)(?:\+(?P<basis>rotation|scaled))?(?::(?P<step>[0-9.eE+-]+))?"
)
_AT_ONCE = 8


class Drives(Protocol):
    """Units whose responses have a slope, as a `scorers.scorer.UnitScorer`'s have."""

    @property
    def unit_names(self) -> tuple[str, ...]:
        """One a unit."""
        ...

    def responses(self, x: torch.Tensor) -> torch.Tensor:
        """Differentiable: x, (n, 3, h, w) in [0, 1], to responses, (n, u)."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """How codes move; `parse_method` reads one."""

    name: str
    basis: str = "none"
    step: float | None = None

    @property
    def climbs(self) -> bool:
        """Whether it takes a slope."""
        return self.name != "cholesky"

    def __str__(self) -> str:
        basis = "" if self.basis == "none" else f"+{self.basis}"
        return f"{self.name}{basis}" + ("" if self.step is None else f":{self.step:g}")


@dataclass(frozen=True, slots=True)
class Confinement:
    """Where an image lies on a grey square.

    Attributes
    ----------
    box : of the image, pixels of the square
    size : of the square, pixels a side, which a network cuts its input from
    """

    box: Box
    size: int

    def around(self, x: torch.Tensor) -> torch.Tensor:
        """Return images, (n, 3, h, h) from 0 to 1, shrunk into the box, on grey."""
        out = torch.full((len(x), 3, self.size, self.size), GREY / 255, device=x.device)
        rows = slice(self.box.top, self.box.top + self.box.side)
        columns = slice(self.box.left, self.box.left + self.box.side)
        out[:, :, rows, columns] = resized(x, (self.box.side, self.box.side))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Maximised:
    """Runs of one method through one generator, on units of one layer.

    Attributes
    ----------
    generator, method, layer : str
    units : tuple of str, their addresses
    best : (u, r) largest drive of each run; u units, r repeats
    codes : (u, r, d) where it was reached
    curve : (steps, u, r) largest drive so far
    images : int, drawn in one run
    confinement : where images were confined to, or None: they were whole
    """

    generator: str
    method: str
    layer: str
    units: tuple[str, ...]
    best: Scores
    codes: Codes
    curve: Scores
    images: int
    confinement: Confinement | None = None


def parse_method(text: str) -> Method:
    """Read a method; raise `ConfigError` where the text is none."""
    match = _METHOD.fullmatch(text)
    step: float | None = None
    if match is not None and match["step"] is not None:
        try:
            step = float(match["step"])
        except ValueError:
            match = None
    if match is None or (match["name"] == "cholesky" and match["basis"]):
        raise ConfigError(
            "a method must be adam, sgd or cholesky, with a step after a colon, as sgd:0.01, "
            f"and for adam and sgd a basis, as adam+rotation or adam+scaled; got {text!r}"
        )
    if match["name"] == "sgd" and step is None:
        raise ConfigError(
            f"{text} must have a step, as sgd:0.01: it depends on the scale of the units"
        )
    return Method(match["name"], match["basis"] or "none", step)


class RowObjective:
    """Drives of units, each row of codes with a unit of its own.

    Parameters
    ----------
    generator : whose codes they are
    scorer : of the units
    unit_of : (n,) the column of `scorer` that each row is scored by
    confinement : where images are confined to; None: they are whole
    """

    def __init__(
        self,
        generator: Generator,
        scorer: Drives,
        unit_of: NDArray[np.intp],
        confinement: Confinement | None = None,
    ) -> None:
        self._confinement = confinement
        self._generator, self._scorer, self._unit_of = generator, scorer, unit_of
        self._device = torch.device(
            cast("torch.device | str", getattr(generator, "device", "cpu"))
        )
        self._at_once = cast("int", getattr(generator, "chunk", _AT_ONCE))
        self._last: tuple[Codes, Scores, Codes] | None = None

    def start(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return n codes, (n, d), as the generator's users begin with."""
        return self._generator.initial_codes(n, rng=rng)

    def climb(self, codes: Codes) -> tuple[Scores, Codes]:
        """Return values, (n,), and slopes, (n, d), of codes, (n, d), a row for each unit.

        Asked again of the same codes, as by a gradient after whoever keeps its record, it
        says what it said.
        """
        if self._last is None or not np.array_equal(codes, self._last[0]):
            self._last = codes.copy(), *self._passes(codes, slopes=True)
        return self._last[1].copy(), self._last[2].copy()

    def values(self, codes: Codes) -> Scores:
        """Return values alone."""
        return self._passes(codes, slopes=False)[0]

    def _passes(self, codes: Codes, *, slopes: bool) -> tuple[Scores, Codes]:
        check_codes(codes, d=self._generator.d)
        if len(codes) != len(self._unit_of):
            raise DataError(
                f"codes must have a row for each unit, {len(self._unit_of)}; got {len(codes)}"
            )
        values = np.empty(len(codes))
        uphill = np.zeros(codes.shape if slopes else (0, 0))
        for first in range(0, len(codes), self._at_once):
            part = slice(first, first + self._at_once)
            z = torch.tensor(codes[part], dtype=torch.float32, device=self._device)
            with torch.set_grad_enabled(slopes):
                z.requires_grad_(slopes)
                images = self._generator.synthesize(z)
                if self._confinement is not None:
                    images = self._confinement.around(images)
                drives = self._scorer.responses(images)
                rows = torch.arange(len(z), device=drives.device)
                unit_of = torch.as_tensor(self._unit_of[part], device=drives.device)
                value = drives[rows, unit_of].double()
            values[part] = value.detach().cpu().numpy()
            if slopes:
                (slope,) = torch.autograd.grad(value.sum(), z)
                uphill[part] = slope.double().cpu().numpy()
        return values, uphill


def maximise(
    generator: Generator,
    scorer: Drives,
    method: Method,
    *,
    layer: str,
    seed: int,
    steps: int = 100,
    repeats: int = 10,
    batch: int = 4,
    metric: str | None = None,
    confinement: Confinement | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Maximised:
    """Drive every unit of a scorer as far as a method does, several times.

    Parameters
    ----------
    generator : through which
    scorer : the units
    method : how
    layer : what they are called together
    seed : of the starts, which are the same for every method, and of what a search draws
    steps : of the ascent, or generations of the search
    repeats : runs a unit
    batch : codes of a run that climb side by side; BigGAN 4 and DeePSim 10, as published
    metric : path of the generator's metric, where the method has a basis
    confinement : where images are confined to; None: they are whole
    progress : told the step, and how many there are

    Raises
    ------
    ConfigError
        The method has a basis and there is no metric, or a setting is out of its range.
    """
    u = len(scorer.unit_names)
    starts = np.stack([
        generator.initial_codes(batch, rng=seeds.stream(seed, "maximise", name, r))
        for name in scorer.unit_names
        for r in range(repeats)
    ])
    if method.climbs:
        searches, width = [_ascent(method, generator, starts, metric, seed)], batch
    else:
        searches = _searches(method, generator, starts, seed)
        width = searches[0].popsize
    unit_of = np.repeat(np.arange(u), repeats * width)
    objective = RowObjective(generator, scorer, unit_of, confinement)
    for search in searches:
        if isinstance(search, NeedsObjective):
            search.use(objective)
    reached = _Reached(len(starts), generator.d, steps)
    for k in range(steps):
        asked = [search.ask() for search in searches]
        codes = np.concatenate(asked)
        values = objective.climb(codes)[0] if method.climbs else objective.values(codes)
        reached.add(k, codes, values)
        first = 0
        for search, own in zip(searches, asked, strict=True):
            search.tell(own, values[first : first + len(own)])
            first += len(own)
        if progress is not None:
            progress(k + 1, steps)
    return Maximised(
        generator=generator.name,
        method=str(method),
        layer=layer,
        units=scorer.unit_names,
        best=reached.best.reshape(u, repeats),
        codes=reached.codes.reshape(u, repeats, -1),
        curve=reached.curve.reshape(steps, u, repeats),
        images=steps * width,
        confinement=confinement,
    )


class _Reached:
    """The largest drive of every run so far, and where.

    Parameters
    ----------
    runs, d, steps : how many runs and steps there are; dimensions of a code

    Attributes
    ----------
    best : (runs,); codes : (runs, d); curve : (steps, runs)
    """

    def __init__(self, runs: int, d: int, steps: int) -> None:
        self.best, self.codes = np.full(runs, -np.inf), np.empty((runs, d))
        self.curve = np.empty((steps, runs))

    def add(self, step: int, codes: Codes, values: Scores) -> None:
        """Take in what a step came by: as many rows for each run, run by run."""
        runs = len(self.best)
        by_run, places = values.reshape(runs, -1), codes.reshape(runs, -1, codes.shape[1])
        highest = by_run.argmax(axis=1)
        value = by_run[np.arange(runs), highest]
        better = value > self.best
        self.best[better] = value[better]
        self.codes[better] = places[better, highest[better]]
        self.curve[step] = self.best


def _options(method: Method, generator: Generator) -> dict[str, Any]:
    step = {} if method.step is None else {_STEP_OF[method.name]: method.step}
    return with_lengths(method.name, step, generator)


def _ascent(
    method: Method, generator: Generator, starts: Codes, metric: str | None, seed: int
) -> Optimizer:
    """Return one ascent of all codes of all runs, (runs, batch, d)."""
    options = _options(method, generator)
    options.pop("sigma", None)
    return optimizers.load(
        method.name,
        generator.d,
        rng=seeds.stream(seed, "ascent"),
        popsize=starts.shape[0] * starts.shape[1],
        initial=starts.reshape(-1, generator.d),
        **basis_options(method, generator, metric),
        **options,
    )


def _searches(
    method: Method, generator: Generator, starts: Codes, seed: int
) -> list[Optimizer]:
    """Return a search of each run, from its first start."""
    options = _options(method, generator)
    return [
        optimizers.load(
            method.name,
            generator.d,
            rng=seeds.stream(seed, "search", i),
            initial=start[0],
            **options,
        )
        for i, start in enumerate(starts)
    ]


_STEP_OF = {"adam": "lr", "sgd": "lr", "cholesky": "sigma"}


def basis_options(method: Method, generator: Generator, metric: str | None) -> dict[str, Any]:
    """Return what an ascent is told of its basis; raise `ConfigError` where it has none."""
    if method.basis == "none":
        return {}
    if metric is None:
        raise ConfigError(
            f"{method} needs the metric of {generator.name}: name its file with --metric "
            f"{generator.name}=FILE.npz; 'evolver metric compute' makes one"
        )
    return {"basis": method.basis, "metric": metric}


def maximised_arrays(run: Maximised) -> dict[str, NDArray[Any]]:
    """Return what of runs is numbers, by name; `maximised_of` takes them."""
    images = np.array([run.images])
    return {"best": run.best, "codes": run.codes, "curve": run.curve, "images": images}


def maximised_of(
    arrays: Mapping[str, NDArray[Any]],
    *,
    generator: str,
    method: str,
    layer: str,
    units: tuple[str, ...],
    confinement: Confinement | None,
) -> Maximised:
    """Return runs, of their arrays and what else `Maximised` says of them."""
    return Maximised(
        generator=generator,
        method=method,
        layer=layer,
        units=units,
        best=arrays["best"],
        codes=arrays["codes"],
        curve=arrays["curve"],
        images=int(arrays["images"][0]),
        confinement=confinement,
    )


def drawn_units(network: Network, layer: str, n: int, *, name: str, seed: int) -> list[str]:
    """Return the addresses of n units of a layer, channels drawn at random, at its centre.

    Parameters
    ----------
    network : whose layer it is
    layer : its name
    n : how many; all channels where it has fewer
    name : what the network is called in addresses
    seed : of the draw
    """
    check_layers(network, [layer])
    channels = network.layers[layer].channels
    rng = seeds.stream(seed, "maximise units", name, layer)
    taken = np.sort(rng.permutation(channels)[:n])
    return [f"{name}:{layer}:{channel}" for channel in taken]


def confinement_of(network: Network, layer: str) -> Confinement | None:
    """Return the square that the units in a layer's centre see; None: they see everything.

    Parameters
    ----------
    network : its input is square
    layer : its name

    Raises
    ------
    ConfigError
        There is no such layer, the input is not square, or the units see nothing.
    """
    check_layers(network, [layer])
    preprocessing = network.preprocessing
    (height, width), (above, before) = preprocessing.uncut_size, preprocessing.cut_off
    if height != width:
        raise ConfigError(
            f"images can be confined where a network's input is square; that of {network.name} "
            f"is cut from {height} x {width} pixels"
        )
    seen = fields(network, [layer])[layer]
    rows, columns = seen.shape
    if not (rows and columns):
        raise ConfigError(f"units of {layer} must see some of the image; they see nothing")
    if (rows, columns) == tuple(preprocessing.size):
        return None
    side = max(rows, columns)
    box = box_around(
        [Box(seen.top + above, seen.left + before, side)], height=height, width=width
    )
    return Confinement(box, height)


def relative_scores(runs: Sequence[Maximised]) -> list[Scores]:
    """Return each run's drive as a share of the largest that any run drove its unit to.

    Parameters
    ----------
    runs : of one layer and the same units; several generators and methods

    Returns
    -------
    one (u, r) a run; NaN for units that nothing drove above 0, which have no such scale
    """
    highest = np.max([run.best.max(axis=1) for run in runs], axis=0)
    scale = np.where(highest > 0, highest, np.nan)
    return [run.best / scale[:, None] for run in runs]
