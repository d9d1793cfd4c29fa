"""The one assembly: from a session file's values to the parts of a session, and the session.

Whoever needs parts has them from here: checks, pre-flight, simulation, live sessions, resume.
Each optimizer is made once. Knows which room makes what, and which named random stream each
part gets. Knows nothing of sockets, of the order in which a session runs, or of printing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from evolver import generators, metric, optimizers, seeds
from evolver.config.tables import Config, ThreadTable, parse_session_file
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.generators.by_name import REGISTRY as GENERATORS
from evolver.optimizers.by_name import REGISTRY as OPTIMIZERS
from evolver.session.fitness import Fitness
from evolver.session.schedule import Session, Thread
from evolver.setup.lengths import with_lengths
from evolver.setup.references import References, build_references
from evolver.types import Codes, Generator, Images, Optimizer, Vector

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
    restored: Restored | None  # what a journal says of a session that was interrupted

    @property
    def popsizes(self) -> tuple[int, ...]:
        """Images a generation, a thread each, as its optimizer says."""
        return tuple(optimizer.popsize for optimizer in self.optimizers)

    @property
    def presentations(self) -> int:
        """Showings of one generation of every thread, and of the references once."""
        images = sum(self.popsizes) + len(self.references.images)
        return images * self.config.presentation.repeats

    def session(self, labels: Sequence[str]) -> Session:
        """Return the session's logic, its fitness resolved against a rig's units.

        Parameters
        ----------
        labels : one a unit, in the order of the rig's table

        Raises
        ------
        ConfigError
            A unit is not in the rig's table.
        """
        config, restored = self.config, self.restored
        threads: list[Thread] = []
        for i, table in enumerate(config.threads):
            key = "fitness" if table.fitness is None else f"threads[{i}].fitness"
            fitness = Fitness.resolve(config.fitness_of(i), labels, key=key)
            thread = Thread(table.name, self.optimizers[i], fitness, self.streams[i])
            threads.append(thread if restored is None else restored.thread(i, thread))
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
        )


def build_parts(config: Config, *, restored: Restored | None = None) -> Parts:
    """Load and make everything a session file names.

    Parameters
    ----------
    config : the session file's values
    restored : a session that is to go on, as its journal has it; None: a new one

    Raises
    ------
    ConfigError
        Something does not exist here, or cannot be made as the file wants it; the message names
        the thread. Or a weight file is not the one that `restored` was begun with.
    """
    networks = _load_generators(config)
    if restored is not None:
        restored.check_weights(networks)
    references = None if restored is None else restored.references()
    if references is None:
        references = build_references(config.references, seed=config.session.seed)
    # Streams are named by the thread, so that adding one changes no other's random numbers.
    streams = tuple(
        seeds.stream(config.session.seed, "optimizer", table.name) for table in config.threads
    )
    options = tuple(
        _optimizer_options(config, i, generator) for i, generator in enumerate(networks)
    )
    searches = tuple(
        _build_optimizer(config, i, networks[i], options[i], rng=rng)
        for i, rng in enumerate(streams)
    )
    return Parts(config, networks, searches, options, streams, references, restored)


def _load_generators(config: Config) -> tuple[Generator, ...]:
    loaded: list[Generator] = []
    for i, table in enumerate(config.threads):
        try:
            loaded.append(_load_generator(table))
        except (ConfigError, WeightsError) as exc:
            raise type(exc)(f"threads[{i}] ({table.name!r}): {exc}") from exc
    return tuple(loaded)


def _load_generator(table: ThreadTable) -> Generator:
    GENERATORS.check_common(table.generator_options)
    return generators.load(
        table.generator, weights=table.weights, device=table.device, **table.generator_options
    )


def _optimizer_options(config: Config, i: int, generator: Generator) -> dict[str, Any]:
    """Return a thread's optimizer options, with what follows from its generator and session."""
    table = config.threads[i]
    try:
        OPTIMIZERS.check_common(table.optimizer_options)
        options = with_lengths(table.optimizer, table.optimizer_options, generator)
        if "generations" in signature(optimizers.find(table.optimizer)).parameters:
            # a schedule over the session
            options = {"generations": config.session.generations, **options}
    except ConfigError as exc:
        raise ConfigError(f"threads[{i}] ({table.name!r}): {exc}") from exc
    return options


def _build_optimizer(
    config: Config,
    i: int,
    generator: Generator,
    options: dict[str, Any],
    *,
    rng: np.random.Generator,
) -> Optimizer:
    table = config.threads[i]
    try:
        initial = _initial_codes(table, generator, seed=config.session.seed)
        for basis in _bases(options):
            metric.check_generator(
                metric.read_provenance(basis),
                basis,
                generator=generator.name,
                sha256=generator.sha256,
                remedy="Compute its own: 'evolver metric compute'",
            )
        return optimizers.load(
            table.optimizer,
            generator.d,
            rng=rng,
            popsize=table.popsize,
            initial=initial,
            **options,
        )
    except (ConfigError, DataError) as exc:
        raise ConfigError(f"threads[{i}] ({table.name!r}): {exc}") from exc
    except MemoryError as exc:
        raise ConfigError(
            f"threads[{i}] ({table.name!r}): {table.optimizer} must fit into memory, with "
            f"codes of {generator.d:,} dimensions; there is not enough. "
            "'sep' and 'rank-sphere' need no matrix"
        ) from exc


def _bases(options: object) -> Iterator[str]:
    """Return the metric files that optimizer options name, those of a composite's parts too."""
    if isinstance(options, dict):
        for name, value in cast("dict[str, object]", options).items():
            if name == "basis" and isinstance(value, str):
                yield value
            else:
                yield from _bases(value)
    elif isinstance(options, list):
        for value in cast("list[object]", options):
            yield from _bases(value)


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
            table = next(t for t in config.threads if t.name == name)
            loaded[name] = _load_generator(table)
        return loaded[name].render(np.asarray(codes, dtype=np.float64))

    return render
