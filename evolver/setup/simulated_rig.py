"""The simulated rig of a session file: CNN units as spiking neurons, here or across a socket.

Composition: joins `scorers` (what a unit sees, how a neuron fires) to `rig_bridge` (how a rig
presents). `LocalRig` answers inside this process and waits for nothing; `run_rig` connects to
an engine, as a rig in the next room does. Both give the same spikes for the same session file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import scorers
from evolver import __version__, seeds
from evolver.clock import Clock
from evolver.config.mistakes import Mistakes
from evolver.config.tables import Config, SimulationTable
from evolver.errors import ConfigError
from evolver.setup.places import check_sees_places
from rig_bridge.auth import RigKey
from rig_bridge.client import RigClient
from rig_bridge.events import Responded, RigEvent
from rig_bridge.forms import Form
from rig_bridge.messages import Hello, ScreenInfo
from rig_bridge.rigs.simulated import NOTHING_SHOWN, EarlierShowings, Place, SimulatedRig
from rig_bridge.trials import ShowRequest
from scorers.neuron import SETTINGS, Adaptation, NeuronConfig, SpikingPopulation, site
from scorers.neuron.areas import AreaPart, AreaPopulation

if TYPE_CHECKING:
    from evolver.types import Vector
    from scorers.scorer import UnitScorer

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of sRGB's channels, as they are
_USUAL_CONTRAST = 0.24  # the references' median
_LARGEST_VIEW = 2048  # pixels a side
_PLACED_AT_ONCE = 16  # views of the screen, each of 12 MB where it is largest
GREY = 128
"""Of the simulated screen."""


@dataclass(frozen=True, slots=True)
class PlaceInView:
    """Where an image lies in what is seen of a screen, pixels."""

    side: int  # of the image, once it is shrunk
    view: int  # of what is seen
    rows: slice  # of what is seen, that the image fills
    image_rows: slice  # of the image, that are seen
    columns: slice
    image_columns: slice


@dataclass(frozen=True, slots=True)
class ScreenView:
    """The square of a screen that networks see, fixation in its middle.

    Parameters
    ----------
    view_deg : its side, degrees of visual angle
    size_deg : side of the square that an image fills
    position_deg : that square's centre, right of and above fixation
    """

    view_deg: float
    size_deg: float
    position_deg: tuple[float, float] = (0.0, 0.0)

    def of(self, image: NDArray[np.uint8], grey: int) -> NDArray[np.uint8]:
        """Return what is seen of a square image, (h, h, 3), to scale: (v, v, 3) uint8.

        The image keeps its pixels, of which as many are a degree as it has; what lies outside
        of the view is not seen. An image that is very small in a wide view is shrunk first, by
        means over its pixels, so that a view has at most 2,048 pixels a side.
        """
        place = self.place(len(image))
        if place.side != len(image):
            size = (place.side, place.side)
            image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        seen = np.full((place.view, place.view, 3), grey, dtype=np.uint8)
        seen[place.rows, place.columns] = image[place.image_rows, place.image_columns]
        return seen

    def place(self, height: int) -> PlaceInView:
        """Return where a square image of so many pixels a side lies in what is seen."""
        per_degree = min(height / self.size_deg, _LARGEST_VIEW / self.view_deg)
        side = max(1, round(per_degree * self.size_deg))
        view = max(1, round(per_degree * self.view_deg))
        right, up = self.position_deg
        top = round(view / 2 - per_degree * up - side / 2)
        left = round(view / 2 + per_degree * right - side / 2)
        return PlaceInView(side, view, *_overlap(top, side, view), *_overlap(left, side, view))


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """What the simulated animal is made of."""

    scorer: UnitScorer  # images to drives
    neurons: SpikingPopulation | AreaPopulation  # drives to spikes
    seed: int
    view: ScreenView | None = None  # what is seen of the screen; None: the image alone
    grey: int = GREY  # around an image that is not square, as on a screen
    settings: NeuronConfig = field(default_factory=NeuronConfig)  # how the neurons fire
    areas: tuple[str, ...] = ()  # of each unit

    @property
    def labels(self) -> tuple[str, ...]:
        """One a unit: the name of the CNN's unit."""
        return self.scorer.unit_names

    def delay_ms(self, image: NDArray[np.uint8]) -> float:
        """Return by how much later than a usual image this one is answered.

        Latencies rise as contrast falls (Gawne, Kjaer & Richmond, J. Neurophysiol. 76, 1996):
        by `contrast_ms` for each halving, of the standard deviation of luminance against that
        of the references, within two doublings and three halvings.
        """
        if self.settings.contrast_ms == 0:
            return 0.0
        contrast = float((image @ _LUMINANCE).std()) / 127.5
        halvings = np.log2(_USUAL_CONTRAST / max(contrast, 1e-6))
        return self.settings.contrast_ms * float(np.clip(halvings, -2.0, 3.0))

    def highest_rates(self, window_ms: tuple[float, float], *, on_ms: float) -> Vector:
        """Return what infinitely many showings of each unit's best image give on average.

        Parameters
        ----------
        window_ms : (start, end) relative to onset, in which spikes are counted
        on_ms : how long the image is on screen

        Returns
        -------
        ndarray : (u,) float64, spikes/s, baseline included; NaN for units of which nobody knows
            the best image. With a `view`, an image that leaves part of a unit's field grey
            reaches less
        """
        drives = self.scorer.highest_responses
        known = np.isfinite(drives)
        drives = np.where(known, drives, self.neurons.neurons.threshold)
        rates = self.neurons.expected_rates(drives[None], window_ms, on_ms=on_ms)[0]
        return np.where(known, rates, np.nan)

    def respond(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return the drives of images of any sizes, each (h, w, 3) uint8: (n, u) float64.

        What is seen is the square that a display fills, as networks stretch what is none; or
        the screen about fixation with that square on it.
        """
        return responses_of(self.scorer, images, self.view, grey=self.grey)

    def respond_at(
        self, shown: Sequence[tuple[NDArray[np.uint8], Place]]
    ) -> NDArray[np.float64]:
        """Return the drives of images, each at its own size and place: (n, u) float64.

        Raises
        ------
        ValueError
            Nothing is said of the screen that is seen.
        """
        if self.view is None:
            raise ValueError("places need a view of the screen to be in")
        return placed_responses(self.scorer, shown, self.view, grey=self.grey)


def responses_of(
    scorer: UnitScorer,
    images: Sequence[NDArray[np.uint8]],
    view: ScreenView | None = None,
    *,
    grey: int = GREY,
) -> NDArray[np.float64]:
    """Return what units answer to images of any sizes, each (h, w, 3) uint8: (n, u) float64.

    Parameters
    ----------
    scorer : its units
    images : of any sizes
    view : what is seen of the screen; None: the image alone, on a square
    grey : of the screen
    """
    images = [on_square(image, grey) for image in images]
    if view is not None:
        images = [view.of(image, grey) for image in images]
    responses = np.empty((len(images), len(scorer.unit_names)))
    for shape in {image.shape for image in images}:
        rows = [i for i, image in enumerate(images) if image.shape == shape]
        responses[rows] = scorer.score(np.stack([images[i] for i in rows]))
    return responses


def placed_responses(
    scorer: UnitScorer,
    shown: Sequence[tuple[NDArray[np.uint8], Place]],
    view: ScreenView,
    *,
    grey: int = GREY,
) -> NDArray[np.float64]:
    """Return what units answer to images at sizes and places of their own: (n, u) float64.

    Parameters
    ----------
    scorer : its units
    shown : images of any sizes, each (h, w, 3) uint8, and where each is
    view : how much of the screen is seen
    grey : of the screen
    """
    drives = np.empty((len(shown), len(scorer.unit_names)))
    for start in range(0, len(shown), _PLACED_AT_ONCE):
        seen: list[NDArray[np.uint8]] = []
        for image, (size_deg, position_deg) in shown[start : start + _PLACED_AT_ONCE]:
            own = replace(view, size_deg=size_deg, position_deg=position_deg)
            seen.append(own.of(on_square(image, grey), grey))
        drives[start : start + len(seen)] = responses_of(scorer, seen)
    return drives


def screen_view(config: Config) -> ScreenView | None:
    """Return what networks see of the screen, as a session file says; None: the image alone."""
    if config.simulation.view_deg is None:
        return None
    show = config.presentation
    return ScreenView(config.simulation.view_deg, show.size_deg, show.position_deg)


def _overlap(start: int, length: int, frame: int) -> tuple[slice, slice]:
    """Return where a stretch lies in a frame, and which part of the stretch that is."""
    first, last = max(start, 0), max(min(start + length, frame), 0)
    first = min(first, last)
    return slice(first, last), slice(first - start, last - start)


def on_square(image: NDArray[np.uint8], grey: int) -> NDArray[np.uint8]:
    """Return an image in the middle of a square of its longer side."""
    height, width, _ = image.shape
    side = max(height, width)
    if height == width:
        return image
    square = np.full((side, side, 3), grey, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def build_population(
    config: Config, *, load: Callable[..., UnitScorer] | None = None
) -> Population:
    """Return the neurons of a session file's [simulation] table.

    Parameters
    ----------
    config : the session file's values
    load : called as `scorers.load`, in its place

    Raises
    ------
    ConfigError
        A unit does not exist, or a number is out of its range; the message names the key.
    """
    table = config.simulation
    seed = config.session.seed if table.seed is None else table.seed
    mistakes = Mistakes()
    load = scorers.load if load is None else load
    scorer = None
    with mistakes.at("simulation.units"):
        scorer = load(list(table.units), networks=table.networks)
    if scorer is None:
        each = Mistakes()  # which of them
        for i, unit in enumerate(table.units):
            with each.at(f"simulation.units[{i}]"):
                load(unit, networks=table.networks)
        each.raise_any("the session file")
        mistakes.raise_any("the session file")
        raise RuntimeError("a scorer is missing only where something is wrong")
    try:
        neurons, settings = _neurons(scorer, table, seed)
    except ConfigError as exc:
        raise ConfigError(f"simulation.neuron: {exc}") from exc
    areas = np.repeat(table.areas, scorer.counts)
    return Population(
        scorer,
        neurons,
        seed,
        screen_view(config),
        settings=settings,
        areas=tuple(map(str, areas)),
    )


def _neurons(
    scorer: UnitScorer, table: SimulationTable, seed: int
) -> tuple[SpikingPopulation | AreaPopulation, NeuronConfig]:
    """Return a scorer's units as neurons; and in whose numbers an image's delay is told."""
    stream = partial(seeds.stream, seed, "simulation")
    names = sorted(set(table.areas))
    if len(names) == 1:
        settings = neuron_settings(table, names[0])
        return SpikingPopulation(scorer.reference_quantiles, settings, stream), settings
    areas = np.repeat(table.areas, scorer.counts)
    parts: list[AreaPart] = []
    for name in names:
        rows = np.flatnonzero(areas == name)
        own = {q: values[rows] for q, values in scorer.reference_quantiles.items()}
        settings = neuron_settings(table, name)
        # Each area's numbers come from streams of its own, whatever the others are.
        drawn = SpikingPopulation(own, settings, partial(stream, "area", name))
        parts.append(AreaPart(rows, drawn, settings))
    told = replace(
        parts[0].settings,
        contrast_ms=max(part.settings.contrast_ms for part in parts),
        adaptation=max(part.settings.adaptation for part in parts),
    )
    return AreaPopulation(parts, told), told


def neuron_settings(table: SimulationTable, area: str) -> NeuronConfig:
    """Return how a [simulation] table's neurons fire: as an area's, but for what it says.

    Raises
    ------
    ConfigError
        A number is out of its bounds.
    """
    given = {name: getattr(table.neuron, name) for name in SETTINGS}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(site(area, single=table.single), **changes)


def build_rig(
    population: Population,
    config: Config,
    *,
    speed: float,
    earlier: EarlierShowings = NOTHING_SHOWN,
    form: Form | None = None,
    bin_ms: float = 10.0,
) -> SimulatedRig:
    """Return a presenter whose screen is seen by `population`.

    `earlier` is what was shown already, in a session that goes on; `form` what it answers in,
    with bins of `bin_ms`; None: rates where the table has no spikes, else spikes.
    """
    table = config.simulation
    settings, show = population.settings, config.presentation
    form = form or ("rates" if table.spikes == "none" else "spikes")
    quiet = table.spikes == "none" and form == "rates"
    return SimulatedRig(
        population.respond,
        population.neurons,
        respond_at=None if population.view is None else population.respond_at,
        usual_place=(show.size_deg, show.position_deg),
        labels=population.labels,
        areas=[f"simulated {name}" + " cell" * table.single for name in population.areas],
        stream=partial(seeds.stream, population.seed, "simulation"),
        speed=speed,
        abort_rate=table.abort_rate,
        form=form,
        bin_ms=bin_ms,
        rate_window_ms=config.fitness.response_ms,
        expected_rates=population.neurons.expected_rates if quiet else None,
        delay_ms=population.delay_ms,
        memory=Adaptation(settings.adaptation, settings.adaptation_showings),
        earlier=earlier,
    )


class LocalRig:
    """A `RigPort` that is answered in this process, at once.

    Parameters
    ----------
    population : Population
    config : the session file's values
    clock : for the time budget
    earlier : what was shown already, in a session that goes on
    """

    def __init__(
        self,
        population: Population,
        config: Config,
        *,
        clock: Clock,
        earlier: EarlierShowings = NOTHING_SHOWN,
    ) -> None:
        self._rig = build_rig(population, config, speed=math.inf, earlier=earlier)
        self._window_ms = config.rig.window_ms
        self._clock = clock
        self._events: list[RigEvent] = []
        self._attempts: dict[int, int] = {}
        self.hello = _hello(self._rig, population)
        self.connected = True
        self.encode_seconds = self.send_seconds = 0.0

    def next_attempt(self, block: int) -> int:
        """Return the attempt number that the next `show` of this block must have."""
        return self._attempts.get(block, 0) + 1

    def hold(self, on: bool) -> None:  # noqa: FBT001  as the port's
        """Do nothing: all is over before anyone could ask."""

    def show(self, request: ShowRequest) -> None:
        """Present everything asked for; `poll` returns what came of it."""
        self._attempts[request.block] = request.attempt
        shown = [
            (request.images[p.image], request.for_presenter(p, window_ms=self._window_ms))
            for p in request.presentations
        ]
        self._rig.prepare_places(shown)
        trials = tuple(self._rig.present(image, asked) for image, asked in shown)
        self._events.append(Responded(request.block, trials))

    def poll(self, timeout_s: float) -> list[RigEvent]:  # noqa: ARG002  nothing to wait for
        """Return what came of the last `show`, once."""
        events, self._events = self._events, []
        return events

    def ack(self, block: int, presentations: Sequence[int]) -> None:
        """Nothing is kept here, so nothing is forgotten."""


def run_rig(
    config: Config,
    *,
    endpoint: str,
    stop: Callable[[], bool],
    tell: Callable[[str], None],
    key: RigKey | None = None,
) -> str:
    """Be a rig until the engine's session ends; return why it did.

    Parameters
    ----------
    config : of which [simulation], [rig] and the session's seed count
    endpoint : the engine's address
    stop : asked between presentations; True leaves
    tell : told why no engine has this rig
    key : for an engine that has keys

    Raises
    ------
    ConfigError
        The session shows images at places, and the units see none.
    RefusedError
        The engine does not want this rig.
    """
    check_sees_places(config)
    population = build_population(config)
    rig = build_rig(population, config, speed=config.simulation.speed)
    hello = _hello(rig, population)
    identity = f"simulated-rig-{os.getpid()}"
    client = RigClient(
        endpoint, hello=hello, presenter=rig, identity=identity, key=key, tell=tell
    )
    return client.run(stop=stop)


def _hello(rig: SimulatedRig, population: Population) -> Hello:
    screen = ScreenInfo(
        1920, 1080, 60.0, 40.0, background_grey=population.grey, places=rig.sees_places
    )
    return rig.hello("simulated rig", software=f"evolver {__version__}", display=screen)
