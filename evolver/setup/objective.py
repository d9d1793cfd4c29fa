"""What a gradient climbs: a thread's fitness as a function of codes, with its slope.

Code -> generator -> what the simulated animal sees of the screen -> network -> the units'
drives -> their weighted sum. It is the fitness of the session file before the neurons: without
noise, saturation or rounding of pixels, in the networks' own units. So it rises where the
expected score of one unit does, and also where the neuron is silent or saturated; of several
units, each weighs by its drive.

Composition: joins generators and `scorers`. Knows nothing of optimizers, or of who climbs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from PIL import Image

import scorers
from evolver import seeds
from evolver.checks import check_codes
from evolver.config.fitness_table import FitnessTable
from evolver.errors import ConfigError
from evolver.generators.initial import initial_codes_of
from evolver.session.fitness import Fitness
from evolver.setup.simulated_rig import GREY, ScreenView, screen_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.config.tables import Config
    from evolver.optimizers.gradient import Objective
    from evolver.types import Codes, Generator, Scores
    from scorers.scorer import UnitScorer

_AT_ONCE = 8  # codes in one pass, where the generator does not say
_PROBES = 4


class UnitObjective:
    """The drives that a fitness weighs, as a function of codes; an `Objective`.

    Parameters
    ----------
    generator : whose codes they are
    scorer : the units of the simulated rig
    fitness : of kind 'rate' or 'contrast'
    start : as `Objective` has it
    view : what is seen of the screen; None: the image alone
    """

    def __init__(
        self,
        generator: Generator,
        scorer: UnitScorer,
        fitness: Fitness,
        *,
        start: Callable[..., Codes],
        view: ScreenView | None = None,
    ) -> None:
        self._generator, self._scorer, self._fitness = generator, scorer, fitness
        self._start, self._view = start, view
        self._device = torch.device(
            cast("torch.device | str", getattr(generator, "device", "cpu"))
        )

    def start(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return n codes, (n, d), as the thread's first ones were made."""
        return self._start(n, rng=rng)

    def climb(self, codes: Codes) -> tuple[Scores, Codes]:
        """Return values, (n,), and slopes, (n, d), float64, at codes, (n, d).

        A code's must be the same alone and among others, in the last bit: on a processor each
        has a pass of its own, elsewhere every pass has the generator's `chunk`, the last
        filled up.

        Raises
        ------
        DataError
            Codes are not (n, d) and finite.
        ConfigError
            The generator or a network has no slope.
        """
        check_codes(codes, d=self._generator.d)
        rows = 1 if self._device.type == "cpu" else getattr(self._generator, "chunk", _AT_ONCE)
        values, slopes = np.empty(len(codes)), np.empty(codes.shape)
        for first in range(0, len(codes), rows):
            part = codes[first : first + rows]
            z = torch.zeros((rows, self._generator.d))
            z[: len(part)] = torch.as_tensor(part.astype(np.float32))
            z = z.to(self._device).requires_grad_()
            value = self._value(z)
            (slope,) = torch.autograd.grad(value.sum(), z)
            values[first : first + len(part)] = value.detach().cpu().numpy()[: len(part)]
            slopes[first : first + len(part)] = slope.double().cpu().numpy()[: len(part)]
        return values, slopes

    def _value(self, z: torch.Tensor) -> torch.Tensor:
        """Return what is climbed, (n,) float64, of codes, (n, d)."""
        with torch.enable_grad():
            images = self._generator.synthesize(z)
            if not images.requires_grad:
                raise ConfigError(
                    f"the generator {self._generator.name} must draw images by operators that "
                    "have a slope; its images do not say how they follow from their codes"
                )
            if self._view is not None:
                images = seen_of(images, self._view)
            drives = self._scorer.responses(images).double()
            if not drives.requires_grad:
                raise ConfigError(
                    "the network of the simulated units must have a slope; its responses do "
                    "not say how they follow from the image"
                )
            return self._score_of(drives)

    def _score_of(self, drives: torch.Tensor) -> torch.Tensor:
        fitness = self._fitness
        units = drives[:, fitness.units.tolist()]
        if fitness.kind == "contrast":
            others = drives[:, fitness.others.tolist()]
            by = others.mean(dim=1) if fitness.others_by == "mean" else others.amax(dim=1)
            return fitness.sign * (units.mean(dim=1) - fitness.others_weight * by)
        weights = torch.as_tensor(fitness.weights, device=drives.device)
        return fitness.sign * (units * weights).sum(dim=1)


def seen_of(images: torch.Tensor, view: ScreenView, *, grey: int = GREY) -> torch.Tensor:
    """Return what `ScreenView.of` does of images, (n, 3, h, h) in [0, 1], with a slope.

    Pixels are not rounded where an image is shrunk.
    """
    place = view.place(images.shape[-1])
    if place.side != images.shape[-1]:
        # Rows of the image that PIL's box takes together, from what it makes of single rows.
        rows = Image.fromarray(np.eye(images.shape[-1], dtype=np.float32))
        box = rows.resize((images.shape[-1], place.side), Image.Resampling.BOX)
        shrink = torch.tensor(np.asarray(box), device=images.device)
        images = shrink @ images @ shrink.T
    seen = torch.full((*images.shape[:2], place.view, place.view), grey / 255)
    seen = seen.to(images.device)
    seen[:, :, place.rows, place.columns] = images[:, :, place.image_rows, place.image_columns]
    return seen


def build_objective(config: Config, i: int, generator: Generator) -> Objective:
    """Return what thread number `i` climbs, after a look at its slope at a few codes.

    Raises
    ------
    ConfigError
        A unit of [simulation] or of the fitness does not exist, or the generator, a network or
        the fitness has no slope; the message says which.
    """
    table = config.fitness_of(i)
    key = "fitness" if config.threads[i].fitness is None else f"threads[{i}].fitness"
    _check_fitness(table, key)
    scorer = scorers.load(list(config.simulation.units), networks=config.simulation.networks)
    objective = UnitObjective(
        generator,
        scorer,
        Fitness.resolve(table, scorer.unit_names, key=key),
        start=partial(initial_codes_of, config.threads[i].initial, generator),
        view=screen_view(config),
    )
    _check_slope(objective, generator)
    return objective


def _check_fitness(table: FitnessTable, key: str) -> None:
    """Raise `ConfigError` unless a fitness follows from one image's drives."""
    if table.kind not in {"rate", "contrast"}:
        raise ConfigError(
            f"{key}.kind must be 'rate' or 'contrast' where a gradient is climbed: those have "
            f"a slope in the units' drives; found {table.kind!r}"
        )
    if table.normalise != "none":
        raise ConfigError(
            f"{key}.normalise must be 'none' where a gradient is climbed, which knows of no "
            f"earlier responses; found {table.normalise!r}"
        )


def _check_slope(objective: UnitObjective, generator: Generator) -> None:
    """Raise `ConfigError` where there is no slope, or one that is 0 wherever one looks."""
    codes = objective.start(_PROBES, rng=seeds.stream(0, "objective"))
    try:
        values, slopes = objective.climb(codes)
    except (RuntimeError, NotImplementedError) as exc:  # torch's, of an operator without one
        raise ConfigError(
            f"{generator.name} and the simulated units must have a slope; they have none: "
            f"{str(exc).splitlines()[0][:300]}"
        ) from exc
    if not slopes.any() and values.any():
        raise ConfigError(
            f"what the units answer to {generator.name}'s images must change with the codes; "
            f"its slope is 0 at {_PROBES} first codes. Are pixels rounded, or is the image out "
            "of the units' sight?"
        )
