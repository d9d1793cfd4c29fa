"""The one assembly: from a session file's values to the parts of a session, and the session.

Whoever needs parts has them from here: checks, pre-flight, simulation, live sessions, resume.
Each optimizer is made once. Knows which room makes what, and which named random stream each
part gets. Knows nothing of sockets, of the order in which a session runs, or of printing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evolver import generators, metric, optimizers, seeds
from evolver.config.mistakes import Mistakes
from evolver.config.set_table import FIXED, IMAGE_FILES
from evolver.config.tables import Config, ThreadTable, parse_session_file
from evolver.errors import ConfigError, DataError, RecordingError, WeightsError
from evolver.generators.by_name import REGISTRY as GENERATORS
from evolver.generators.by_name import find_generator
from evolver.journal.records import AxesInfo
from evolver.optimizers.by_name import REGISTRY as OPTIMIZERS
from evolver.optimizers.gradient import NeedsObjective, is_ascent
from evolver.registry import Registry
from evolver.session.fitness import Fitness, Target
from evolver.session.schedule import Session, Thread
from evolver.setup.lengths import with_lengths
from evolver.setup.references import References, build_references
from evolver.setup.search_axes import (
    ChosenAxes,
    choose_axes,
    choose_in_parts,
    option_files,
)
from evolver.setup.stimulus_sets import (
    SetCodes,
    StimulusSet,
    build_sets,
    image_files,
    set_codes,
)
from evolver.setup.targets import build_target
from evolver.types import Codes, Generator, Images, Optimizer, Vector
from rig_bridge.forms import Form

if TYPE_CHECKING:
    from evolver.setup.resume import Restored


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a session file names, loaded and made, before any rig has joined.

    The optimizers are the session's own and change with it: one session is made of one `Parts`.
    """

    config: Config
    generators: tuple[Generator, ...]  # one a thread, as the next two
    optimizers: tuple[Optimizer, ...]
    optimizer_options: tuple[dict[str, Any], ...]  # with what the session file left open
    streams: tuple[np.random.Generator, ...]  # the optimizers' random numbers
    references: References
    targets: tuple[Target | None, ...]  # a thread each, that its fitness compares with
    restored: Restored | None  # what a journal says of a session that was interrupted
    recorded: Mapping[str, str]  # address of recorded activations -> sha256 of its network
    sets: tuple[StimulusSet, ...] = ()  # the last of the threads
    axes: tuple[tuple[AxesInfo, ...], ...] = ()  # a thread that evolves each; of its parts

    @property
    def lengths(self) -> tuple[int, ...]:
        """Generations of the whole session, a thread each; of a set, shares."""
        evolving = (self.config.session.generations,) * len(self.config.threads)
        return (*evolving, *(made.plan.blocks for made in self.sets))

    @property
    def popsizes(self) -> tuple[int, ...]:
        """Images a generation, a thread each, as its optimizer says."""
        return tuple(optimizer.popsize for optimizer in self.optimizers)

    @property
    def presentations(self) -> int:
        """Showings of one generation of every thread, and of the references once.

        Of a set, whose shares are showings, the largest share.
        """
        evolving = self.popsizes[: len(self.config.threads)]
        images = sum(evolving) + len(self.references.images)
        shares = sum(self.popsizes[len(self.config.threads) :])
        return images * self.config.presentation.repeats + shares

    @property
    def done(self) -> tuple[int, ...]:
        """Generations that each thread has behind it: none, unless the session goes on."""
        if self.restored is None:
            return tuple(0 for _ in self.optimizers)
        last = self.restored.history.threads
        return tuple(0 if t is None else t.generation + (t.committed is not None) for t in last)

    @property
    def left(self) -> int:
        """Generations that are left, of the thread that has most before it."""
        return max(n - done for n, done in zip(self.lengths, self.done, strict=True))

    def session(self, labels: Sequence[str], *, forms: Sequence[Form] = ()) -> Session:
        """Return the session's logic, its fitness resolved against a rig's units.

        Parameters
        ----------
        labels : one a unit, in the order of the rig's table
        forms : in which the rig may answer; empty: not known

        Raises
        ------
        ConfigError
            Units are not in the rig's table, or its answers cannot be scored as the file wants;
            all of it is named, with the keys.
        """
        config, restored = self.config, self.restored
        threads: list[Thread] = []
        mistakes = Mistakes()
        for i, table in enumerate(config.all_threads):
            key = "fitness" if table.fitness is None else f"threads[{i}].fitness"
            j = i - len(config.threads)
            with mistakes.at(key):
                fitness = Fitness.resolve(
                    config.fitness_of(i), labels, key=key, target=self.targets[i]
                )
                if forms:
                    fitness.check_forms(forms, key)
                plan = self.sets[j].plan if j >= 0 else None
                threads.append(
                    Thread(table.name, self.optimizers[i], fitness, self.streams[i], plan=plan)
                )
        mistakes.raise_any("the session file")
        if restored is not None:
            threads = [restored.thread(i, thread) for i, thread in enumerate(threads)]
        return Session(
            threads,
            references=len(self.references.images),
            repeats=config.presentation.repeats,
            generations=config.session.generations,
            on_ms=config.presentation.on_ms,
            off_ms=config.presentation.off_ms,
            order=partial(seeds.stream, config.session.seed, "order"),
            schedule=config.presentation.schedule,
            position=None if restored is None else restored.position,
            fitness_states=None if restored is None else restored.fitness_states,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Makers:
    """What makes the parts that sessions may share; another way than the usual is handed in."""

    generator: Callable[[ThreadTable], Generator]
    references: Callable[[Config], References]


def build_parts(
    config: Config,
    *,
    restored: Restored | None = None,
    live: bool = False,
    makers: Makers | None = None,
) -> Parts:
    """Load and make everything a session file names.

    Parameters
    ----------
    config : the session file's values
    restored : a session that is to go on, as its journal has it; None: a new one
    live : its rig comes over the network, and nothing is known of a slope of its responses
    makers : of what many sessions may share; None: this one has all to itself

    Raises
    ------
    ConfigError
        Something does not exist here, or cannot be made as the file wants it; the message names
        every such key, and the thread. Or a weight file is not the one that `restored` was
        begun with.
    WeightsError
        A weight file is missing, and nothing else is wrong.
    """
    mistakes = Mistakes()
    parts = gather_parts(config, mistakes, restored=restored, live=live, makers=makers)
    mistakes.raise_any("the session file")
    if parts is None:
        raise RuntimeError("parts are missing only where something is wrong")
    return parts


def gather_parts(
    config: Config,
    mistakes: Mistakes,
    *,
    restored: Restored | None = None,
    live: bool = False,
    makers: Makers | None = None,
) -> Parts | None:
    """Load and make everything that can be; None where anything is wrong.

    Parameters
    ----------
    config, restored, live, makers : as `build_parts` takes them; keys that are wrong
        already, in `mistakes`, are passed over
    mistakes : gets all that is wrong, each under its key
    """
    makers = makers or USUAL
    networks: list[Generator | None] = [
        _gather_generator(config, i, mistakes, makers) for i in range(len(config.threads))
    ]
    networks += _gather_set_generators(config, mistakes, makers)
    if restored is not None and not mistakes.found:
        restored.check_weights([network for network in networks if network is not None])
    references = None if restored is None else restored.references()
    if references is None and not mistakes.has("references"):
        with mistakes.at("references"):
            references = makers.references(config)
    targets = _gather_targets(config, mistakes, references, restored)
    # Streams are named by the thread, so that adding one changes no other's random numbers.
    streams = tuple(
        seeds.stream(config.session.seed, "optimizer", table.name)
        for table in config.all_threads
    )
    options: list[dict[str, Any]] = []
    searches: list[Optimizer] = []
    axes: list[tuple[AxesInfo, ...]] = []
    evolving = len(config.threads)
    for i, (network, rng) in enumerate(zip(networks[:evolving], streams, strict=False)):
        made = _gather_optimizer(config, i, network, mistakes, rng=rng, live=live)
        if made is not None:
            searches.append(made.optimizer)
            options.append(made.options)
            axes.append(made.axes)
            if restored is not None:
                with mistakes.at(f"threads[{i}].axes"):
                    restored.check_axes(i, made.axes)
    sets = _gather_sets(config, networks[evolving:], mistakes, restored)
    searches += [made.optimizer for made in sets]
    options += [{} for _ in sets]
    loaded = tuple(network for network in networks if network is not None)
    recorded: Mapping[str, str] = {}
    if config.simulation.record and not mistakes.found and references is not None:
        with mistakes.at("simulation.record"):
            recorded = _recorded(config, searches[:evolving], references, sets)
    if mistakes.found or references is None:
        return None
    return Parts(
        config=config,
        generators=loaded,
        optimizers=tuple(searches),
        optimizer_options=tuple(options),
        streams=streams,
        references=references,
        targets=targets,
        restored=restored,
        recorded=recorded,
        sets=sets,
        axes=tuple(axes),
    )


def _gather_set_generators(
    config: Config, mistakes: Mistakes, makers: Makers
) -> list[Generator | None]:
    """Load what draws each set; sets of one generator, with the same options, share it."""
    made: list[Generator | None] = []
    like: list[tuple[object, ...]] = []
    for j, table in enumerate(config.sets):
        same = (table.generator, table.weights, table.device, table.generator_options)
        if table.images is not None:
            key, drawn = f"sets[{j}].images", None
            with mistakes.at(key, of=table.name):
                drawn = image_files(
                    table,
                    f"sets[{j}]",
                    seed=config.session.seed,
                    grey=config.references.grey,
                )
            made.append(drawn)
        elif same in like and makers is USUAL:
            made.append(made[like.index(same)])
        else:
            made.append(_gather_generator(config, len(config.threads) + j, mistakes, makers))
        like.append(same)
    return made


def _gather_sets(
    config: Config,
    drawn_by: Sequence[Generator | None],
    mistakes: Mistakes,
    restored: Restored | None,
) -> tuple[StimulusSet, ...]:
    """Make the sets, where what draws them could be made."""
    codes: list[SetCodes] = []
    there: list[Generator] = []
    for j, (table, generator) in enumerate(zip(config.sets, drawn_by, strict=True)):
        key = f"sets[{j}].{'codes' if table.around is None else 'around'}"
        if generator is None or mistakes.has(key):
            continue
        with mistakes.at(key, of=table.name), mistakes.at(key, RecordingError):
            codes.append(set_codes(table, generator, seed=config.session.seed))
            there.append(generator)
    if not config.sets or len(codes) < len(config.sets):
        return ()
    with mistakes.at("sets"):
        made = build_sets(config, codes, there)
        if restored is not None:
            restored.check_sets([part.info for part in made])
        return made
    return ()


def _gather_targets(
    config: Config,
    mistakes: Mistakes,
    references: References | None,
    restored: Restored | None,
) -> tuple[Target | None, ...]:
    """Return what each thread's fitness compares responses with, where that can be found."""
    targets: list[Target | None] = []
    for i, thread in enumerate(config.all_threads):
        table = config.fitness_of(i)
        key = "fitness" if thread.fitness is None else f"threads[{i}].fitness"
        target = None
        if not mistakes.has(f"{key}.target") and (
            references is not None or not table.needs_references
        ):
            with mistakes.at(f"{key}.target"):
                target = build_target(table, () if references is None else references.labels)
                if target is not None and target.sha256 and restored is not None:
                    restored.check_target(i, target.sha256)
        targets.append(target)
    return tuple(targets)


def _recorded(
    config: Config,
    searches: Sequence[Optimizer],
    references: References,
    sets: Sequence[StimulusSet],
) -> Mapping[str, str]:
    """Look at the units whose activations are recorded; return their networks' digests."""
    from evolver.setup.recorded_activations import check_size, load_activations

    activations = load_activations(config)
    if activations is None:
        return {}
    # An optimizer may ask for one more than its population.
    evolved = config.session.generations * sum(s.popsize + 1 for s in searches)
    fixed = sum(made.plan.images for made in sets)
    images = evolved + len(references.images) + fixed
    check_size(len(activations.units), images=images)
    return activations.weights


def _gather_factory(
    registry: Registry,
    find: Callable[[str], Any],
    table: ThreadTable,
    key: str,
    mistakes: Mistakes,
) -> Any:  # noqa: ANN401  each role says what its factories make
    """Return what makes a thread's generator or optimizer, as `registry` has it, or None.

    The names of its options are checked as far as they can be.

    Parameters
    ----------
    registry, find : of the role; a thread's keys are called as it is
    table, key : of the thread
    """
    name: str = getattr(table, registry.role)
    options: dict[str, object] = getattr(table, f"{registry.role}_options")
    at = partial(mistakes.at, of=table.name)
    factory: Any = None
    if not mistakes.has(f"{key}.{registry.role}"):
        with at(f"{key}.{registry.role}"):
            factory = find(name)
    with at(f"{key}.{registry.role}_options"):
        registry.check_common(options)
    if factory is not None:
        with at(f"{key}.{registry.role}_options"):
            chosen = registry is OPTIMIZERS and not table.names_optimizer
            registry.check_options(
                name,
                factory,
                set(options) - set(registry.common),
                chosen_for=table.generator if chosen else "",
            )
    return factory


def _gather_generator(
    config: Config, i: int, mistakes: Mistakes, makers: Makers
) -> Generator | None:
    """Load a thread's generator; None where that cannot be."""
    from evolver.weights.read import chosen_device  # loads torch

    table, key = config.all_threads[i], config.key_of(i)
    at = partial(mistakes.at, of=table.name)
    before = len(mistakes.found)
    factory = _gather_factory(GENERATORS, find_generator, table, key, mistakes)
    with at(f"{key}.device"):
        chosen_device(table.device)
    if factory is None or len(mistakes.found) > before:
        return None
    faulty = "generator_options" if table.generator_options else "generator"
    with at(f"{key}.{faulty}"), at(f"{key}.weights", WeightsError):
        return makers.generator(table)
    return None


def thread_generator(table: ThreadTable) -> Generator:
    """Load the generator that a thread's table names."""
    GENERATORS.check_common(table.generator_options)
    return generators.load(
        table.generator, weights=table.weights, device=table.device, **table.generator_options
    )


def session_references(config: Config) -> References:
    """Make the reference images of a session file."""
    return build_references(config.references, seed=config.session.seed)


USUAL = Makers(thread_generator, session_references)
"""Everything made anew."""


def _gather_optimizer(
    config: Config,
    i: int,
    generator: Generator | None,
    mistakes: Mistakes,
    *,
    rng: np.random.Generator,
    live: bool,
) -> _MadeOptimizer | None:
    """Make a thread's optimizer; None where that cannot be.

    Without a generator, names are checked all the same.
    """
    table, key = config.threads[i], f"threads[{i}]"
    at = partial(mistakes.at, of=table.name)
    before = len(mistakes.found)
    kind = _gather_factory(OPTIMIZERS, optimizers.find, table, key, mistakes)
    if generator is None:
        return None
    initial = None
    if not mistakes.has(f"{key}.initial"):
        with at(f"{key}.initial"):
            initial = _initial_codes(table, generator, seed=config.session.seed)
    climbs = is_ascent(kind)  # whose basis is no file
    for name, path in option_files(table.optimizer_options):
        if name == "source" or (name == "basis" and climbs):
            continue
        with at(f"{key}.optimizer_options.{name}"):
            _check_basis(path, generator)
    axes: ChosenAxes | None = None
    if table.axes is not None and not mistakes.has(f"{key}.axes"):
        with at(f"{key}.axes"):
            axes = choose_axes(table.axes, generator, options=table.generator_options)
    if kind is None or len(mistakes.found) > before:
        _gather_each_option(table, key, generator, mistakes)
        return None
    try:
        options = with_lengths(table.optimizer, table.optimizer_options, generator)
        if "generations" in signature(kind).parameters:
            # a schedule over the session
            options = {"generations": config.session.generations, **options}
        given, of_parts = choose_in_parts(
            options, generator, generator_options=table.generator_options
        )
        made = optimizers.load(
            table.optimizer,
            generator.d,
            rng=rng,
            popsize=table.popsize,
            initial=initial,
            axes=None if axes is None else axes.axes,
            **given,
        )
    except (ConfigError, DataError) as exc:
        blamed = _blamed(table, str(exc))
        mistakes.add(f"{key}.{blamed}", str(exc), exc, of=table.name)
        _gather_each_option(table, key, generator, mistakes, but=blamed)
        return None
    except MemoryError:
        mistakes.add(
            f"{key}.optimizer",
            f"{table.optimizer} must fit into memory, with codes of {generator.d:,} "
            "dimensions; there is not enough. 'sep', 'snes' and 'rank-sphere' need no matrix",
            of=table.name,
        )
        return None
    if isinstance(made, NeedsObjective):
        with at(f"{key}.optimizer"):
            _hand_objective(made, config, i, generator, live=live)
        if len(mistakes.found) > before:
            return None
    chosen = of_parts if axes is None else (axes, *of_parts)
    return _MadeOptimizer(made, options, tuple(one.info for one in chosen))


def _gather_each_option(
    table: ThreadTable, key: str, generator: Generator, mistakes: Mistakes, *, but: str = ""
) -> None:
    """Find what is wrong with options each by itself: all together tell of the first alone.

    Parameters
    ----------
    table, key : of the thread
    generator : its codes'
    mistakes : what is found is added
    but : the key of what is known to be wrong
    """
    for name, value in table.optimizer_options.items():
        if name in OPTIMIZERS.common or but == f"optimizer_options.{name}":
            continue
        try:
            optimizers.load(
                table.optimizer,
                generator.d,
                rng=np.random.default_rng(0),
                popsize=table.popsize,
                **{name: value},
            )
        except (ConfigError, DataError) as error:
            if str(error).partition(" ")[0] == name:
                place = f"{key}.optimizer_options.{name}"
                mistakes.add(place, str(error), error, of=table.name)
        except MemoryError:
            return


@dataclass(frozen=True, slots=True, eq=False)
class _MadeOptimizer:
    """A thread's optimizer, and what is recorded of it."""

    optimizer: Optimizer
    options: dict[str, Any]  # with what the session file left open
    axes: tuple[AxesInfo, ...]  # that it searches along, or its parts do


def _hand_objective(
    optimizer: NeedsObjective, config: Config, i: int, generator: Generator, *, live: bool
) -> None:
    """Hand an optimizer what it climbs; raise `ConfigError` where there is no slope."""
    if live:
        raise ConfigError(
            f"{config.threads[i].optimizer!r} must run in 'evolver simulate': it climbs the "
            "slope of simulated units, and what a rig answers has none"
        )
    from evolver.setup.objective import build_objective  # loads torch

    optimizer.use(build_objective(config, i, generator))


def _blamed(table: ThreadTable, message: str) -> str:
    """Return the key of a thread that a message is about: it begins with an argument's name."""
    name = message.partition(" ")[0].partition("[")[0].strip(":,")
    if name in {"popsize", "initial"} or (name == "axes" and table.axes is not None):
        return name
    options = table.optimizer_options
    if name in options:
        return f"optimizer_options.{name}"
    return "optimizer_options" if options else "optimizer"


def _check_basis(basis: str, generator: Generator) -> None:
    metric.check_generator(
        metric.read_provenance(basis),
        basis,
        generator=generator.name,
        sha256=generator.sha256,
        remedy="Compute its own: 'evolver metric compute'",
    )


def _initial_codes(
    table: ThreadTable, generator: Generator, *, seed: int
) -> Codes | Vector | None:
    """Return codes to begin with, (n, d), or the one code to begin at, (d,); None: zero.

    There is no optimizer yet that could be asked for its population size, so n is the usual one
    where the file names none: an optimizer with another begins with those, or at their mean.
    """
    if table.initial == "zeros":
        return None
    from evolver.generators.initial import initial_codes_of

    n = table.popsize or optimizers.default_popsize(generator.d)
    rng = seeds.stream(seed, "initial", table.name)
    codes = initial_codes_of(table.initial, generator, n, rng=rng)
    return codes[0] if (codes == codes[0]).all() else codes


def renderers(text: str) -> Callable[[str, NDArray[np.floating[Any]]], Images]:
    """Return what renders codes as a recorded session did.

    Parameters
    ----------
    text : the recording's session file

    Returns
    -------
    callable of (thread's name, codes (n, d)) -> images (n, h, w, 3) uint8

    Raises
    ------
    EvolverError
        by the callable, where a generator or its weights are not on this machine
    """
    config = parse_session_file(text, source="the recording's session file")
    loaded: dict[str, Generator] = {}

    def render(name: str, codes: NDArray[np.floating[Any]]) -> Images:
        if name not in loaded:
            table = next(t for t in config.all_threads if t.name == name)
            if table.generator == IMAGE_FILES and table.optimizer == FIXED:
                raise ConfigError(f"{name} is a set of image files, which no code draws again")
            loaded[name] = thread_generator(table)
        return loaded[name].render(np.asarray(codes, dtype=np.float64))

    return render
