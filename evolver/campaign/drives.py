"""What the units of many tasks say of many images, as a session works it out.

One call of a generator renders for all tasks that share it, one of a scorer looks for all that
share networks, in passes of a stated number of images. Every number is the one that a task has
by itself, bit for bit, because a generator and a scorer give an image the same alone and among
others. Knows generators and scorers. Knows nothing of optimizers, spikes or results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from evolver.campaign.evolution import ImageAnswers, name_of
from evolver.campaign.shared import text_of
from evolver.setup.simulated_rig import placed_responses, responses_of
from scorers import parse_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evolver.campaign.evolution import TaskEvolution
    from evolver.campaign.shared import Shared
    from evolver.types import Codes
    from scorers.scorer import UnitScorer

IMAGES_AT_ONCE = 64
"""Images in a pass: what is between two layers of a small network stays in the cache."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One generation of one task's thread, or with thread -1 nothing but its references."""

    evolution: TaskEvolution
    thread: int
    codes: Codes

    def __len__(self) -> int:
        return len(self.codes)


class Arithmetic(Protocol):
    """How images are made and looked at."""

    def answers(self, asked: Sequence[Asked]) -> list[ImageAnswers]:
        """Return what each task's units say of the images of its codes."""
        ...

    def references(self, evolution: TaskEvolution) -> ImageAnswers:
        """Return what a task's units say of its reference images."""
        ...

    def images(self, asked: Sequence[Asked]) -> list[NDArray[np.uint8]]:
        """Return the images of codes, each (n, h, w, 3)."""
        ...

    def apart(self, evolution: TaskEvolution) -> tuple[str, ...]:
        """Return why a task goes by a session's arithmetic where that was not asked for."""
        ...


class SessionArithmetic:
    """As a session does it; many tasks' images in one call of the generator and the network.

    Parameters
    ----------
    evolutions : the tasks that will ask; one scorer has the units of all that share networks
    shared : what they were loaded by
    at_once : images in a pass, but that a generation is not divided
    """

    def __init__(
        self,
        evolutions: Sequence[TaskEvolution],
        shared: Shared,
        *,
        at_once: int = IMAGES_AT_ONCE,
    ) -> None:
        self._at_once = at_once
        units: dict[str, dict[str, None]] = {}
        for evolution in evolutions:
            of_all = units.setdefault(networks_of(evolution), {})
            of_all.update(dict.fromkeys(evolution.config.simulation.units))
        self._scorers: dict[str, UnitScorer] = {}
        for evolution in evolutions:
            key = networks_of(evolution)
            if key not in self._scorers:
                options = evolution.config.simulation.networks
                self._scorers[key] = shared.scorer(list(units[key]), networks=options)
        self._columns = {
            key: {name: i for i, name in enumerate(scorer.unit_names)}
            for key, scorer in self._scorers.items()
        }

    def answers(self, asked: Sequence[Asked]) -> list[ImageAnswers]:
        """Return what each task's units say of the images of its codes."""

        def seen(part: Sequence[Asked]) -> list[ImageAnswers]:
            return self._seen(part, [list(images) for images in self.images(part)])

        return in_passes(asked, _sight, seen, self._at_once)

    def references(self, evolution: TaskEvolution) -> ImageAnswers:
        """Return what a task's units say of its reference images."""
        only = Asked(evolution, -1, np.zeros((0, 0)))
        return self._seen([only], [evolution.references])[0]

    def images(self, asked: Sequence[Asked]) -> list[NDArray[np.uint8]]:
        """Return the images of codes, each (n, h, w, 3)."""

        def rendered(part: Sequence[Asked]) -> list[NDArray[np.uint8]]:
            generator = part[0].evolution.generators[part[0].thread]
            images = generator.render(np.concatenate([one.codes for one in part]))
            return split(images, [len(one) for one in part])

        return in_passes(asked, _generator_of, rendered, self._at_once)

    def apart(self, evolution: TaskEvolution) -> tuple[str, ...]:  # noqa: ARG002
        """Return nothing: this is a session's."""
        return ()

    def _seen(
        self, asked: Sequence[Asked], images: Sequence[Sequence[NDArray[np.uint8]]]
    ) -> list[ImageAnswers]:
        first = asked[0].evolution
        key, population = networks_of(first), first.population
        every = [image for of_one in images for image in of_one]
        places = [
            place
            for one in asked
            for place in (
                (None,) * len(one.evolution.references)
                if one.thread < 0
                else one.evolution.places(one.thread)
            )
        ]
        scorer, view, grey = self._scorers[key], population.view, population.grey
        usual = [i for i, place in enumerate(places) if place is None]
        drives = np.empty((len(every), len(scorer.unit_names)))
        drives[usual] = responses_of(scorer, [every[i] for i in usual], view, grey=grey)
        if view is not None and len(usual) < len(every):
            own = [(i, place) for i, place in enumerate(places) if place is not None]
            shown = [(every[i], place) for i, place in own]
            drives[[i for i, _ in own]] = placed_responses(scorer, shown, view, grey=grey)
        answers: list[ImageAnswers] = []
        rows = split(drives, [len(of_one) for of_one in images])
        for one, of_one, responses in zip(asked, images, rows, strict=True):
            columns = [self._columns[key][u] for u in one.evolution.population.labels]
            delay = one.evolution.population.delay_ms
            delays = np.array([delay(image) for image in of_one], dtype=np.float64)
            names = tuple(name_of(image) for image in of_one)
            answers.append(ImageAnswers(names, responses[:, columns], delays))
        return answers


def networks_of(evolution: TaskEvolution) -> str:
    """Return what is equal for tasks whose units one scorer can have."""
    table = evolution.config.simulation
    names = sorted({parse_units(text).network for text in table.units})
    return text_of([(name, table.networks.get(name, {})) for name in names])


def in_passes(
    asked: Sequence[Asked],
    group: Callable[[Asked], Hashable],
    answer: Callable[[Sequence[Asked]], list[_T]],
    at_once: int,
) -> list[_T]:
    """Return what `answer` says of each, called for some at a time.

    Parameters
    ----------
    asked : what is answered
    group : those for which it is equal may be answered together
    answer : called for some of one group
    at_once : images, at most, that it is called for, or one generation
    """
    members: dict[Hashable, list[int]] = {}
    for i, one in enumerate(asked):
        members.setdefault(group(one), []).append(i)
    answers: dict[int, _T] = {}
    for rows in members.values():
        first = 0
        while first < len(rows):
            end, images = first + 1, len(asked[rows[first]])
            while end < len(rows) and images + len(asked[rows[end]]) <= at_once:
                images += len(asked[rows[end]])
                end += 1
            part = rows[first:end]
            told = answer([asked[i] for i in part])
            answers |= dict(zip(part, told, strict=True))
            first = end
    return [answers[i] for i in range(len(asked))]


def split(rows: NDArray[np.generic], lengths: Sequence[int]) -> list[NDArray[Any]]:
    """Return rows as parts of these lengths."""
    return np.split(rows, np.cumsum(lengths)[:-1])


def _sight(one: Asked) -> Hashable:
    """Return what is equal for images that are made and seen the same way."""
    population = one.evolution.population
    return _generator_of(one), networks_of(one.evolution), population.view, population.grey


def _generator_of(one: Asked) -> Hashable:
    return id(one.evolution.generators[one.thread])
