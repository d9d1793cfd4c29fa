"""What is to be run: worlds, units, optimizers, noises and seeds; and the presets.

Knows no result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.optimizers import foreign, worlds
from benchmarks.optimizers.contestants import (
    BASELINE,
    FIELD,
    USUAL,
    Contestant,
    find_contestants,
)
from benchmarks.optimizers.named import own_failures
from benchmarks.optimizers.outcomes import Spec
from benchmarks.optimizers.worlds import (
    FOREIGN,
    MINI,
    Stage,
    World,
    full_world,
    upconv_world,
)
from evolver.analysis.across_runs import LEVEL
from evolver.config.axes_table import FIRST_LAYER, METRIC
from evolver.errors import ConfigError, EvolverError
from evolver.lab_code import error_text
from evolver.optimizers import default_popsize
from evolver.registry import did_you_mean

if TYPE_CHECKING:
    from evolver.optimizers.within_axes import SearchAxes

LOOKS = 4
"""How often a sequential plan looks whether a cell is settled."""
PUBLISHED = (BASELINE, "genetic", "pycma", "pycma-diagonal", "sphere-exp", "sphere-inv")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything there is to choose."""

    preset: str
    worlds: tuple[World, ...]
    unit_set: str  # "training", "held-apart", or "named" by the user
    units: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    noises: tuple[str, ...]
    seeds: int
    generations: int
    popsize: int | None = None  # images a generation; None: 4 + floor(3 log2 d)
    start: Literal["drawn", "zeros"] = "drawn"
    at_norm: bool = False  # rescale all codes to the world's norm before they are rendered
    device: str = "cpu"
    looks: int = 1  # how often it is looked whether a cell is settled, the last time included
    within: float = 0.05  # ratios nearer to 1 are as good as none

    @property
    def level(self) -> float:
        """Of every interval: what a single one would have is divided among the looks."""
        return 1 - (1 - LEVEL) / self.looks

    def units_of(self, world: World) -> tuple[str, ...]:
        """Return the units of a world: foreign ones are as many."""
        if world.foreign and self.unit_set != "named":
            return tuple(foreign.units(self.unit_set, len(self.units)))
        return self.units


@dataclass(frozen=True, slots=True)
class Due:
    """A plan, spelled out."""

    runs: list[tuple[Spec, Contestant]]
    skipped: list[tuple[str, str, str]]  # world, label, reason
    sizes: dict[str, tuple[int, int]]  # world -> dimensions, images a generation
    axes: dict[tuple[str, str], int]  # world, label -> along how many axes it searches


def preset(name: str, *, unit_set: str, device: str, per_layer: int | None = None) -> Plan:
    """Return a preset's plan; `per_layer` units of each layer in place of its own number.

    Raises
    ------
    ConfigError
        There is no such preset, or a layer has too few units.
    """
    width, looks = 8 if device == "cpu" else 1, 1
    narrow = upconv_world(width)
    if name == "quick":
        labels = (BASELINE, "sphere-exp", "genetic", "sep", "pycma-diagonal", "snes")
        units = worlds.draw_units(unit_set, per_layer or 1, layers=worlds.LAYERS[1:])
        noises, seeds, generations = ("0", "0.2", "poisson-20"), 1, 8
        chosen: tuple[World, ...] = (MINI, narrow)
    elif name == "standard":
        labels = tuple(c.label for c in FIELD)
        units = worlds.draw_units(unit_set, per_layer or 5)
        noises, seeds, generations = ("0", "0.2", "0.5", "poisson-20", "poisson-100"), 2, 75
        chosen = (MINI, narrow, full_world(width), FOREIGN)
        looks = LOOKS
    elif name == "published":
        labels = PUBLISHED
        units = worlds.draw_units(unit_set, per_layer or 1)
        noises, seeds, generations = ("0", "0.2", "0.5"), 5, 75
        chosen = (narrow,)
    else:
        near = did_you_mean(name, ("quick", "standard", "published"))
        raise ConfigError(
            f"the preset must be quick, standard or published; got {name!r}{near}"
        )
    return Plan(
        preset=name,
        worlds=chosen,
        units=tuple(units),
        contestants=tuple(find_contestants([c.label for c in FIELD if c.label in labels])),
        noises=noises,
        seeds=seeds,
        generations=generations,
        start="zeros" if name == "published" else "drawn",
        unit_set=unit_set,
        device=device,
        looks=looks,
    )


def spell_out(plan: Plan) -> Due:
    """Return every run of a plan, and who cannot take part.

    Raises
    ------
    ConfigError
        A generator, unit or device does not exist, or an optimizer that the user added cannot
        be made in any world, because of its options.
    """
    runs: list[tuple[Spec, Contestant]] = []
    skipped: list[tuple[str, str, str]] = []
    sizes: dict[str, tuple[int, int]] = {}
    axes: dict[tuple[str, str], int] = {}
    entries: dict[str, list[_Entry]] = {c.label: [] for c in plan.contestants}
    for world in plan.worlds:
        digests: dict[str, str] = {}
        stage: Stage | None = None
        for unit in plan.units_of(world):
            stage = Stage(world, unit, device=plan.device)
            digests[unit] = stage.digest
            sizes[world.name] = (stage.d, plan.popsize or default_popsize(stage.d))
        d, popsize = sizes[world.name]
        playing: list[tuple[Contestant, str]] = []
        for named in plan.contestants:
            contestant = _as_usual(named, stage)
            reason = contestant.why_not(d)
            if stage is not None and not reason:
                entry = _enter(contestant, plan, stage, popsize)
                entries[contestant.label].append(entry)
                reason = entry.reason
                if entry.axes:
                    axes[world.name, contestant.label] = entry.axes
            if reason:
                skipped.append((world.name, contestant.label, reason))
            else:
                playing.append((contestant, contestant.digest))
        for seed in range(1, plan.seeds + 1):
            for unit in plan.units_of(world):
                for noise in plan.noises:
                    for contestant, code in playing:
                        spec = Spec(
                            world=world.name,
                            generator=world.generator,
                            norm=world.norm,
                            unit=unit,
                            networks=digests[unit],
                            noise=noise,
                            seed=seed,
                            optimizer=contestant.label,
                            target=contestant.target,
                            options=dict(contestant.options),
                            code=code,
                            generations=plan.generations,
                            popsize=popsize,
                            start=plan.start,
                            at_norm=plan.at_norm,
                            device=plan.device.partition(":")[0],
                        )
                        runs.append((spec, contestant))
    _refuse_unmade(entries)
    if not runs:
        why = "; ".join(f"{label}: {reason}" for _, label, reason in skipped)
        raise ConfigError(f"at least one optimizer must be able to take part; none is. {why}")
    return Due(runs, skipped, sizes, axes)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An optimizer in one world."""

    axes: int = 0  # along how many it searches; 0: anywhere
    reason: str = ""  # why it cannot take part
    by_options: bool = False  # whether that is what its options ask for, and not the world


def _as_usual(contestant: Contestant, stage: Stage | None) -> Contestant:
    """Return what a session would get in this world, where an optimizer stands for that."""
    if contestant.target != USUAL or stage is None:
        return contestant
    target, options = stage.usual(dict(contestant.options))
    return replace(contestant, target=target, options=tuple(options.items()))


def _enter(contestant: Contestant, plan: Plan, stage: Stage, popsize: int) -> _Entry:
    """Make what an optimizer needs of a world and, of one that the user added, itself.

    Others have options that are known to be right, and libraries that take seconds to load.
    """
    axes: SearchAxes | None = None
    if contestant.axes:
        try:
            axes = stage.axes(contestant.axes)
        except EvolverError as error:
            of_file = contestant.axes.get("source", METRIC) not in {METRIC, FIRST_LAYER}
            return _Entry(reason=str(error), by_options=of_file)
    k = 0 if axes is None else axes.k
    if not contestant.added:
        return _Entry(k)
    failures: list[BaseException] = []
    with own_failures(failures.append):
        contestant.make(
            stage.d,
            rng=np.random.default_rng(0),
            popsize=popsize,
            initial=stage.start(1) if plan.start == "drawn" else None,
            norm=stage.world.norm,
            generations=plan.generations,
            axes=axes,
        )
    for error in failures:
        known = isinstance(error, EvolverError)
        why = str(error) if known else f"it cannot be made: {error_text(error)}"
        return _Entry(reason=why, by_options=True)
    return _Entry(k)


def _refuse_unmade(entries: dict[str, list[_Entry]]) -> None:
    """Raise `ConfigError` where an optimizer's options are why it takes part in no world."""
    for label, tried in entries.items():
        wrong = [entry.reason for entry in tried if entry.by_options]
        if wrong and all(entry.reason for entry in tried):
            raise ConfigError(f"{label}: {wrong[0]}")


def only(plan: Plan, labels: tuple[str, ...]) -> Plan:
    """Return the plan with these optimizers, however slow, and the baseline."""
    chosen = [replace(c, most_d=None) for c in find_contestants((*labels, BASELINE))]
    return replace(plan, contestants=tuple(chosen))
