"""From a session file's values to the parts of a session: generators, optimizers, references.

Knows which room makes what, and which named random stream each part gets. Knows nothing of
sockets, of the order in which a session runs, or of printing.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from evolver import generators, metric, optimizers, seeds
from evolver.config.tables import (
    Config,
    FitnessTable,
    ReferencesTable,
    ThreadTable,
    parse_session_file,
)
from evolver.errors import ConfigError, DataError
from evolver.journal import records
from evolver.optimizers import default_popsize
from evolver.session.fitness import Fitness
from evolver.session.schedule import Position, Schedule, Session, Thread
from evolver.types import Codes, Generator, Images, Optimizer, Vector

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_LARGEST_IMAGE = 2048  # pixels a side
_VERSIONS_OF = ("evolver", "numpy", "torch", "pyzmq", "msgpack", "msgspec", "h5py", "pillow")


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """The images shown in every block beside the evolving ones."""

    images: tuple[NDArray[np.uint8], ...]  # each (h, w, 3)
    labels: tuple[str, ...]


def build_generators(config: Config) -> tuple[Generator, ...]:
    """Load one generator a thread; raise `ConfigError` naming the thread where one fails."""
    loaded: list[Generator] = []
    for i, thread in enumerate(config.threads):
        try:
            loaded.append(_build_generator(thread))
        except ConfigError as exc:
            raise ConfigError(f"threads[{i}] ({thread.name!r}): {exc}") from exc
    return tuple(loaded)


def build_references(table: ReferencesTable, *, seed: int) -> References:
    """Return the session's reference images: rendered, or drawn from a folder.

    Raises
    ------
    ConfigError
        The folder does not exist, or has fewer images than are asked for.
    """
    if table.count == 0:
        return References((), ())
    if table.source == "builtin":
        from scorers.mini import scenes

        rng = seeds.stream(seed, "references")
        images, classes, _ = scenes.sample(table.count, rng=rng)
        return References(tuple(images), tuple(scenes.CLASSES[int(i)] for i in classes))
    folder = Path(table.source).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            "references.source: must be 'builtin' or a folder of PNG or JPEG files; "
            f"{table.source!r} is not a folder"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)
    if len(files) < table.count:
        raise ConfigError(
            f"references.count: must be at most the number of PNG and JPEG files in {folder}, "
            f"{len(files)}; found {table.count}"
        )
    shuffled = seeds.stream(seed, "references").permutation(len(files))
    picked = [files[i] for i in sorted(int(i) for i in shuffled[: table.count])]
    return References(tuple(map(read_image, picked)), tuple(p.stem for p in picked))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the image in a PNG or JPEG file, (h, w, 3) uint8 sRGB; transparency over grey.

    Raises
    ------
    DataError
        The file is no image, or larger than 2048 pixels a side.
    """
    import PIL.Image

    try:
        with PIL.Image.open(path) as opened:
            if max(opened.size) > _LARGEST_IMAGE:
                raise DataError(
                    f"{path} must be at most {_LARGEST_IMAGE} pixels a side; it is "
                    f"{opened.size[0]} x {opened.size[1]}"
                )
            image = _without_alpha(opened)
    except (OSError, ValueError) as exc:  # PIL's own errors are OSErrors
        if isinstance(exc, DataError):
            raise
        raise DataError(
            f"{path} must be a PNG or JPEG image; it cannot be read: {exc}"
        ) from exc
    return np.asarray(image, dtype=np.uint8)


def _without_alpha(image: Image) -> Image:
    import PIL.Image

    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        grey = PIL.Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        return PIL.Image.alpha_composite(grey, rgba).convert("RGB")
    return image.convert("RGB")


def build_optimizers(config: Config, made: Sequence[Generator]) -> tuple[Optimizer, ...]:
    """Make one optimizer a thread; raise `ConfigError` naming the thread where one fails."""
    seed = config.session.seed
    return tuple(
        _build_optimizer(
            i,
            table,
            generator,
            seed=seed,
            generations=config.session.generations,
            rng=seeds.stream(seed, "optimizer", table.name),
        )
        for i, (table, generator) in enumerate(zip(config.threads, made, strict=True))
    )


def _build_optimizer(
    i: int,
    table: ThreadTable,
    generator: Generator,
    *,
    seed: int,
    generations: int,
    rng: np.random.Generator,
) -> Optimizer:
    # Streams are named by the thread, so that adding one changes no other's random numbers.
    n = table.popsize or default_popsize(generator.d)
    try:
        initial = _initial_codes(
            table.initial, generator, n, rng=seeds.stream(seed, "initial", table.name)
        )
        options = table.optimizer_options
        for basis in _bases(options):
            metric.check_generator(
                metric.read_provenance(basis),
                basis,
                generator=generator.name,
                sha256=generator.sha256,
                remedy="Compute its own: 'evolver geometry compute'",
            )
        if "generations" in signature(optimizers.find(table.optimizer)).parameters:
            options = {"generations": generations, **options}  # a schedule over the session
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
    text: str, generator: Generator, n: int, *, rng: np.random.Generator
) -> Codes | Vector | None:
    """Return the first population, (n, d), or the one code to begin at, (d,); None: zero."""
    if text == "zeros":
        return None
    from evolver.generators.initial import start

    codes = start(text, generator, n, rng=rng)
    return codes[0] if (codes == codes[0]).all() else codes


def fresh(index: int, thread: Thread) -> Thread:  # noqa: ARG001  others put it elsewhere
    """Return `thread` as it is: where a session begins."""
    return thread


def build_session(
    config: Config,
    made: Sequence[Generator],
    *,
    labels: Sequence[str],
    references: int,
    restore: Callable[[int, Thread], Thread] = fresh,
    position: Position | None = None,
    schedule: Schedule | None = None,
) -> Session:
    """Return the session's logic, its fitness resolved against the rig's units.

    Parameters
    ----------
    config : the session file's values
    made : one generator a thread, from `build_generators`
    labels : one a unit, in the order of the rig's table
    references : number of reference images
    restore : puts a thread where it stood when the session was interrupted
    position : where the session stood then
    schedule : another than the session file's

    Raises
    ------
    ConfigError
        An optimizer is unknown or its options are, or a unit is not in the rig's table.
    """
    seed = config.session.seed
    threads: list[Thread] = []
    for i, (table, generator) in enumerate(zip(config.threads, made, strict=True)):
        key = "fitness" if table.fitness is None else f"threads[{i}].fitness"
        fitness = Fitness.resolve(config.fitness_of(i), labels, key=key)
        rng = seeds.stream(seed, "optimizer", table.name)
        optimizer = _build_optimizer(
            i,
            table,
            generator,
            seed=seed,
            generations=config.session.generations,
            rng=rng,
        )
        threads.append(restore(i, Thread(table.name, optimizer, fitness, rng)))
    return Session(
        threads,
        references=references,
        repeats=config.presentation.repeats,
        generations=config.session.generations,
        order=partial(seeds.stream, seed, "order"),
        schedule=schedule or config.presentation.schedule,
        position=position,
    )


def run_start(
    config: Config,
    text: str,
    made: Sequence[Generator],
    session: Session,
    *,
    session_id: str,
    created: str,
    mode: str,
    weights: Sequence[records.WeightFile],
) -> records.RunStart:
    """Return the record of everything that was decided before the first image."""
    threads = tuple(
        records.ThreadInfo(
            name=table.name,
            optimizer=table.optimizer,
            generator=table.generator,
            d=generator.d,
            popsize=thread.optimizer.popsize,
            image_size=generator.image_size,
            weights_sha256=generator.sha256,
            options=json.dumps({
                "optimizer": table.optimizer_options,
                "generator": table.generator_options,
                "initial": table.initial,
                "device": table.device,
            }),
            fitness=_fitness_text(config.fitness_of(i), thread.fitness),
        )
        for i, (table, generator, thread) in enumerate(
            zip(config.threads, made, session.threads, strict=True)
        )
    )
    files = [
        records.WeightFile(f"generator:{table.name}", table.generator, generator.sha256)
        for table, generator in zip(config.threads, made, strict=True)
    ]
    return records.RunStart(
        journal_version=records.JOURNAL_VERSION,
        session_id=session_id,
        name=config.session.name,
        created=created,
        seed=config.session.seed,
        mode="live" if mode == "live" else "simulate",
        config=text,
        threads=threads,
        weights=(*files, *weights),
        versions=versions(),
        machine=machine(),
        window_ms=config.rig.window_ms,
    )


def _fitness_text(table: FitnessTable, fitness: Fitness) -> str:
    said = cast("dict[str, object]", msgspec.to_builtins(table))
    return json.dumps(
        said | {"units": fitness.units.tolist(), "weights": fitness.weights.tolist()}
    )


def machine() -> dict[str, str]:
    """Return what the arithmetic of a session depends on: processor, threads, instructions."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
        "torch_capability": str(torch.backends.cpu.get_cpu_capability()),
    }


def versions() -> dict[str, str]:
    """Return the version of every package that a session's numbers depend on."""
    found: dict[str, str] = {}
    for name in _VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # e.g. torch built from source
            found[name] = "unknown"
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
            loaded[name] = _build_generator(table)
        return loaded[name].render(np.asarray(codes, dtype=np.float64))

    return render


def _build_generator(table: ThreadTable) -> Generator:
    return generators.load(
        table.generator, weights=table.weights, device=table.device, **table.generator_options
    )
