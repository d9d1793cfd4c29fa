"""What the units of many tasks say of many images, in whole passes, on any device.

The networks are a session's in another layout and dtype, a pass is as large as is stated, and
no more of an image is drawn, nor of a network worked out, than units look at. The numbers are
a session's but for rounding, by which a pixel between two grey levels may fall to either side.

Knows tensors, generators and scorers. Knows nothing of optimizers, spikes or results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
import torch

from evolver.campaign.drives import (
    IMAGES_AT_ONCE,
    Asked,
    SessionArithmetic,
    in_passes,
    networks_of,
)
from evolver.campaign.evolution import ImageAnswers
from evolver.campaign.shared import Shared
from evolver.campaign.sight import Sight, sight_of_place
from evolver.errors import DataError
from evolver.windows import Window
from scorers.scorer import units_of
from scorers.units import parse_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.campaign.evolution import TaskEvolution
    from scorers.scorer import UnitScorer

IMAGES_ON_DEVICE = 4096
"""Images in a pass where that is not on a processor."""


class Way(Protocol):
    """From codes to the units of all tasks that share it."""

    def pixels(self, z: torch.Tensor) -> torch.Tensor:
        """Return what is looked at of images, (n, 3, h, w) in [0, 1], of codes, (n, d)."""
        ...

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return what units put out, (n, k), of those pixels."""
        ...

    def columns(self, labels: Sequence[str]) -> list[int]:
        """Return where units, by their names, are among the k."""
        ...


class FastArithmetic:
    """An `Arithmetic` in whole passes.

    What cannot be done so goes by a session's arithmetic: units that see the screen and not the
    image alone, networks and generators that have no other layout, references, and the images
    that are kept.

    Parameters
    ----------
    evolutions, shared : as `SessionArithmetic` takes them
    networks : FastNetworks
    at_once : images in a pass, but that a generation is not divided; 64 on a processor and
        4,096 elsewhere without it
    """

    def __init__(
        self,
        evolutions: Sequence[TaskEvolution],
        shared: Shared,
        networks: FastNetworks,
        *,
        at_once: int | None = None,
    ) -> None:
        on_processor = networks.device.type == "cpu"
        self._at_once = at_once or (IMAGES_AT_ONCE if on_processor else IMAGES_ON_DEVICE)
        self._session = SessionArithmetic(evolutions, shared)
        self._networks = networks
        self._ways = {id(e): networks.ways(e) for e in evolutions}

    def answers(self, asked: Sequence[Asked]) -> list[ImageAnswers]:
        """Return what each task's units say of the images of its codes."""
        rows: dict[bool, list[int]] = {True: [], False: []}
        for i, one in enumerate(asked):
            rows[self._way(one) is not None].append(i)
        fast, slow = ([asked[i] for i in rows[kind]] for kind in (True, False))
        told = in_passes(fast, lambda one: id(self._way(one)), self._pass, self._at_once)
        answers = dict(zip(rows[True], told, strict=True))
        answers |= dict(zip(rows[False], self._session.answers(slow), strict=True))
        return [answers[i] for i in range(len(asked))]

    def references(self, evolution: TaskEvolution) -> ImageAnswers:
        """Return what a task's units say of its reference images: a session's numbers."""
        return self._session.references(evolution)

    def images(self, asked: Sequence[Asked]) -> list[NDArray[np.uint8]]:
        """Return the images of codes, each (n, h, w, 3): a session's, of these codes."""
        return self._session.images(asked)

    def apart(self, evolution: TaskEvolution) -> tuple[str, ...]:
        """Return why a task goes by a session's arithmetic; empty where it does not."""
        return tuple(dict.fromkeys(w for w in self._ways[id(evolution)] if isinstance(w, str)))

    def _way(self, one: Asked) -> Way | None:
        way = self._ways[id(one.evolution)][one.thread]
        return None if isinstance(way, str) else way

    @torch.inference_mode()
    def _pass(self, asked: Sequence[Asked]) -> list[ImageAnswers]:
        way = self._way(asked[0])
        if way is None:
            raise RuntimeError("a pass is of tasks that have a way")
        codes = torch.as_tensor(np.concatenate([one.codes for one in asked]))
        pixels = way.pixels(codes.to(self._networks.dtype).to(self._networks.device))
        grey_levels = pixels.mul_(255).round_()
        late = [
            one.evolution.population.delay_ms if one.evolution.is_late else None
            for one in asked
        ]
        images = (
            grey_levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy() if any(late) else ()
        )
        outputs = way.outputs(grey_levels.div_(255))
        drives = outputs.to(torch.float64).cpu().numpy()
        if not np.isfinite(drives).all():
            raise DataError(
                "generators and networks must put out finite numbers; for these codes some do "
                "not"
            )
        answers: list[ImageAnswers] = []
        first = 0
        for one, delay in zip(asked, late, strict=True):
            rows = slice(first, first + len(one))
            own = drives[rows, way.columns(one.evolution.population.labels)]
            names = tuple(_name_of(code) for code in one.codes)
            delays = np.zeros(len(one))
            if delay is not None:
                delays = np.array([delay(image) for image in images[rows]])
            answers.append(ImageAnswers(names, own, delays))
            first = rows.stop
        return answers


class FastNetworks:
    """Generators and networks in the layout and dtype of fast passes, each loaded once.

    Parameters
    ----------
    device, dtype : of all of them
    """

    def __init__(self, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self._shared = Shared(device)
        self._converted: dict[int, bool] = {}
        self._ways: dict[Hashable, Way] = {}

    def ways(self, evolution: TaskEvolution) -> list[Way | str]:
        """Return the way of each of a task's threads, or why there is none."""
        config = evolution.config
        if evolution.population.view is not None:
            whole = "with simulation.view_deg units see the screen"
            return [whole for _ in config.all_threads]
        ways = [self._way(evolution, k) for k in range(len(config.threads))]
        return [*ways, *("a set's images are drawn as a session does" for _ in config.sets)]

    def _way(self, evolution: TaskEvolution, thread: int) -> Way | str:
        config = evolution.config
        table = msgspec.structs.replace(config.threads[thread], device=str(self.device))
        generator: Any = self._shared.generator(table)
        units, options = config.simulation.units, config.simulation.networks
        scorer = self._shared.scorer(list(units), networks=options)
        for part in (generator, *scorer.networks.values()):
            if not self._convert(part):
                return f"{part.name} has one layout and dtype"
        shared = (id(generator), networks_of(evolution))
        sight = _sight(scorer, units, generator.image_size, whole=evolution.is_late)
        if sight is not None:
            key = (*shared, sight.place, sight.drawn)
            return self._ways.setdefault(key, _OnePlace(generator, sight))
        layers = frozenset((a.network, a.layer) for a in map(parse_units, units))
        way = self._ways.setdefault((*shared, layers), _Whole(generator, self._shared, options))
        if isinstance(way, _Whole):
            way.add(units)
        return way

    def _convert(self, part: Any) -> bool:  # noqa: ANN401  a generator or a network
        """Return whether a part has the layout and dtype of fast passes, now."""
        if id(part) not in self._converted:
            convert = getattr(part, "convert", None)
            self._converted[id(part)] = convert is not None
            if convert is not None:
                convert(self.dtype)
        return self._converted[id(part)]


class _Whole:
    """Whole images, and all of the network as far as the deepest unit."""

    def __init__(self, generator: Any, shared: Shared, options: Any) -> None:  # noqa: ANN401
        self._generator, self._image = generator, Window.whole(generator.image_size)
        self._shared, self._options = shared, options
        self._units: dict[str, None] = {}
        self._scorer: UnitScorer | None = None
        self._columns: dict[str, int] = {}

    def pixels(self, z: torch.Tensor) -> torch.Tensor:
        """Return images."""
        return self._generator.synthesize_part(z, self._image)

    def add(self, units: Sequence[str]) -> None:
        """Have the units of these addresses too."""
        if not self._units.keys() >= set(units):
            self._units |= dict.fromkeys(units)
            self._scorer = None

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return what all units put out, (n, k)."""
        return self._all().responses(x)

    def columns(self, labels: Sequence[str]) -> list[int]:
        """Return where units, by their names, are among the k."""
        self._all()
        return [self._columns[label] for label in labels]

    def _all(self) -> UnitScorer:
        if self._scorer is None:
            self._scorer = self._shared.scorer(list(self._units), networks=self._options)
            self._columns = {name: i for i, name in enumerate(self._scorer.unit_names)}
        return self._scorer


class _OnePlace:
    """The part of images that units at one place of a convolution see.

    Parameters
    ----------
    generator, sight : of its tasks
    """

    def __init__(self, generator: Any, sight: Sight) -> None:  # noqa: ANN401
        self._generator, self._sight = generator, sight

    def pixels(self, z: torch.Tensor) -> torch.Tensor:
        """Return that part of images, or all of them."""
        return self._generator.synthesize_part(z, self._sight.drawn)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Return what all channels put out there, (n, channels)."""
        return self._sight.outputs(x)

    def columns(self, labels: Sequence[str]) -> list[int]:
        """Return the channels of units, by their names: NETWORK:LAYER:CHANNEL:ROW:COLUMN."""
        return [int(label.split(":")[-3]) for label in labels]


def _sight(
    scorer: UnitScorer, units: Sequence[str], image_size: int, *, whole: bool
) -> Sight | None:
    """Return what the units see, if all are at one place and can be seen alone there."""
    places: set[tuple[str, int, int]] = set()
    for address in map(parse_units, units):
        for layer, _, position in units_of(scorer.networks[address.network], address):
            if layer.kind != "map" or not isinstance(position, tuple):
                return None
            places.add((layer.name, *position))
    if len(places) != 1 or len(scorer.networks) != 1:
        return None
    (network,) = scorer.networks.values()
    return sight_of_place(network, places.pop(), image_size=image_size, whole=whole)


def _name_of(code: NDArray[np.float64]) -> str:
    """Return what stands for a code's image, and costs less than the image's digest."""
    return hashlib.blake2b(np.ascontiguousarray(code).data, digest_size=16).hexdigest()
