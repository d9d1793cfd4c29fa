"""A session file (TOML) turned into frozen, validated values; unknown keys are refused.

Knows the keys, their types and their bounds, and how to say all that is wrong with a file at
once. Knows nothing of what the names in it stand for: whether a generator exists, or a rig
answers, is found out by those who build them. One description of every key serves three ends:
checking, the error text, and the commented file that `commented_session_file` writes.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct, field, structs

from evolver.config.axes_table import AXES_EXAMPLE, AxesTable, axes_contradictions
from evolver.config.fitness_table import (
    FitnessTable,
    WindowMs,
    fitness_contradictions,
    unused_given,
)
from evolver.config.lab_tables import (
    DeviceTable,
    ExperimenterTable,
    SubjectTable,
    lab_contradictions,
)
from evolver.config.mistakes import Mistakes, SeveralMistakesError
from evolver.config.neuron_table import NeuronTable, neuron_contradictions
from evolver.config.partly_read import without
from evolver.config.set_table import (
    FIXED,
    IMAGE_FILES,
    Degrees,
    LongerSide,
    Name,
    Seed,
    SetTable,
    set_contradictions,
)
from evolver.config.usual_optimizers import usual_optimizer
from evolver.config.validation import collect, commented_fields
from evolver.errors import ConfigError
from evolver.regular_files import read_regular

AreaName: TypeAlias = Literal["V1", "V4", "IT"]
Popsize: TypeAlias = Annotated[int, Meta(ge=2, le=10_000)]

_FASTEST = 10_000.0


class SessionTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What this session is."""

    name: Annotated[Name, Meta(description="names the recording's folder")]
    seed: Annotated[
        Seed, Meta(description="every random number of the session follows from it")
    ] = 1
    generations: Annotated[
        int, Meta(ge=1, le=100_000, description="the session ends after so many a thread")
    ] = 40
    folder: Annotated[
        str, Meta(min_length=1, description="recordings go to a folder of their own in here")
    ] = "recordings"


class PresentationTable(Struct, frozen=True, forbid_unknown_fields=True):
    """How one image is shown. Labs differ: on_ms and off_ms have no default."""

    on_ms: Annotated[float, Meta(gt=0, le=10_000, description="image on the screen")]
    off_ms: Annotated[float, Meta(ge=0, le=10_000, description="blank after it")]
    repeats: Annotated[
        int, Meta(ge=1, le=100, description="showings of each image in a block")
    ] = 1
    schedule: Annotated[
        Literal["references", "alternate", "together"],
        Meta(
            description=(
                "what is shown while the next generation is computed: the 'references', as a "
                "block of their own; the other thread, as the threads 'alternate'; or nothing, "
                "all being one block, 'together'"
            )
        ),
    ] = "references"
    set_showings: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="showings of sets in a block, where no thread evolves; else they are "
            "spread over the generations",
        ),
    ] = 100
    size_deg: Annotated[
        LongerSide, Meta(description="longer side of an image, degrees of visual angle")
    ] = 3.0
    position_deg: Annotated[
        tuple[Degrees, Degrees],
        Meta(description="its centre: right of and above fixation, degrees"),
    ] = (0.0, 0.0)
    mapped: Annotated[
        date | None,
        Meta(description="the day the receptive field was mapped; not today: warns"),
    ] = None


class ReferencesTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Images shown in every block beside the evolving ones: a yardstick, and a drift alarm."""

    count: Annotated[int, Meta(ge=0, le=500, description="images a block; 0 for none")] = 10
    source: Annotated[
        str,
        Meta(
            min_length=1, description="'builtin' (rendered), or a folder of PNG or JPEG files"
        ),
    ] = "builtin"
    grey: Annotated[
        int,
        Meta(
            ge=0, le=255, description="behind a file's transparent pixels; the display's --grey"
        ),
    ] = 128


class ThreadTable(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """One optimizer driving one generator. Write as many [[threads]] as the session has."""

    name: Annotated[Name, Meta(description="its name in the recording")]
    generator: Annotated[
        str,
        Meta(
            min_length=1,
            description="'mini-texture', 'mini-object'; 'deepsim-fc6', 'biggan-deep-256', "
            "'stylegan3', 'pggan', ... (`evolver weights list`); 'fourier', pixels without a "
            "network; or 'module:attr', a torch module of your own",
        ),
    ]
    optimizer: Annotated[
        str,
        Meta(
            min_length=1,
            description="'cholesky', 'sphere', 'sep', 'snes', 'hessian', 'genetic', "
            "'random', 'rank-sphere', 'composite'; 'adam' and 'sgd' in simulations; 'guided', "
            "experimental; or of a library: 'pycma', 'cmaes', 'nevergrad', 'evosax'; without "
            "it the one that suits the generator",
        ),
    ] = ""
    popsize: Annotated[
        Popsize | None,
        Meta(description="images a generation; without it 4 + floor(3 log2 d)"),
    ] = None
    initial: Annotated[
        str,
        Meta(
            min_length=1,
            description="where it starts: 'generator', as its users do; 'zeros'; "
            "'normal:SCALE'; 'sphere:NORM'; 'class:207,36', beside class embeddings; "
            "'file:codes.npz'; 'decoded:FILE:ITEM', a code that 'evolver decode' wrote",
        ),
    ] = "generator"
    device: Annotated[
        str, Meta(min_length=1, description="where the generator runs: 'cpu', 'cuda', 'cuda:1'")
    ] = "cpu"
    weights: Annotated[
        str | None, Meta(description="weight file; without it the one that comes along")
    ] = None
    optimizer_options: Annotated[
        dict[str, Any],
        Meta(
            description="handed to the optimizer, e.g. { sigma = 3.0 }; lengths that are left "
            "out follow the generator",
            examples=["{ sigma = 5.0 }"],
        ),
    ] = field(default_factory=dict[str, Any])
    generator_options: Annotated[
        dict[str, Any], Meta(description="handed to the generator")
    ] = field(default_factory=dict[str, Any])
    axes: Annotated[
        AxesTable | None,
        Meta(
            description="search along these directions of the code alone, as { source = "
            "'first-layer' }; without it along all",
            examples=[AXES_EXAMPLE],
        ),
    ] = None
    fitness: Annotated[
        FitnessTable | None,
        Meta(description="the thread's own fitness, instead of the session's"),
    ] = None

    def __post_init__(self) -> None:
        """Name the optimizer where the file does not."""
        if not self.optimizer:
            structs.force_setattr(self, "optimizer", usual_optimizer(self.generator))
            structs.force_setattr(self, "_chosen", True)  # beside the fields: no part of it

    @property
    def names_optimizer(self) -> bool:
        """Whether the optimizer was named, and not chosen for the generator.

        Of a table that was read from a file; a copy of it names what that one got.
        """
        return "_chosen" not in self.__dict__


class RigTable(Struct, frozen=True, forbid_unknown_fields=True):
    """How the rig is reached."""

    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^tcp://[^\s:]+:(\d{1,5}|\*)$",
            title="tcp://ADDRESS:PORT",
            description="where the engine listens; the rig connects to it",
        ),
    ] = "tcp://127.0.0.1:5571"
    keys: Annotated[
        str | None,
        Meta(
            description="folder of keys ('evolver keys new'); an address other machines can "
            "reach needs one",
        ),
    ] = None
    answer_timeout_s: Annotated[
        float,
        Meta(gt=0, le=3600, description="silence after which a request is sent again"),
    ] = 30.0
    window_ms: Annotated[
        WindowMs, Meta(description="spikes are recorded in this window around onset")
    ] = (-100.0, 300.0)


WatchdogName: TypeAlias = Literal[
    "aborts",
    "invalid",
    "spike loss",
    "dead unit",
    "noisy unit",
    "baseline",
    "drift",
    "pace",
    "idle",
    "clock",
    "disk",
]


class WatchdogsTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What a session warns of, and what it pauses for. What is normal, the first blocks say."""

    pause_on: Annotated[
        tuple[WatchdogName, ...],
        Meta(
            description="pause on these until an operator resumes, only warn of the others; a "
            "simulation, which nobody could resume, only warns"
        ),
    ] = ("disk", "invalid")
    aborts_in_a_row: Annotated[
        int, Meta(ge=1, le=10_000, description="aborted showings, one after the other")
    ] = 20
    abort_share: Annotated[
        float, Meta(gt=0, le=1, description="aborted, of the last 200 showings")
    ] = 0.5
    silent_showings: Annotated[
        int, Meta(ge=1, le=100_000, description="showings without a spike of a scored unit")
    ] = 150
    noisy_hz: Annotated[
        float, Meta(gt=0, le=10_000, description="mean rate of a scored unit, spikes/s")
    ] = 300.0
    drift_sd: Annotated[
        float,
        Meta(
            gt=0,
            le=100,
            description="baseline, or the references' response, away from the first blocks, "
            "standard deviations",
        ),
    ] = 5.0
    slow_block: Annotated[
        float,
        Meta(ge=1, le=100, description="a block's time on the rig, as planned times this"),
    ] = 2.0
    idle_s: Annotated[
        float, Meta(ge=0, le=3600, description="the rig has nothing to show, seconds")
    ] = 1.0
    clock_s: Annotated[
        float,
        Meta(gt=0, le=3600, description="the rig's clock jumps against the engine's, seconds"),
    ] = 0.5
    disk_minutes: Annotated[
        tuple[
            Annotated[float, Meta(ge=0, le=100_000)], Annotated[float, Meta(ge=0, le=100_000)]
        ],
        Meta(
            description="left at the present pace: warn below the first, pause below the second"
        ),
    ] = (30.0, 5.0)


class SimulationTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated rig: CNN units turned into spiking neurons."""

    units: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="NETWORK:LAYER:CHANNEL[:ROW:COLUMN], one a neuron or several, as "
            "mini:fc5:0-7; 'evolver units NETWORK' lists what there is",
        ),
    ] = ("mini:fc6:0",)
    networks: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            description="a network's weights and options, by its name in units; a lab's own: "
            '{ lenet = { module = "lab:LeNet", weights = "lenet.pt", size = 28, '
            'order = "grey" } }'
        ),
    ] = field(default_factory=dict[str, dict[str, Any]])
    view_deg: Annotated[
        Annotated[float, Meta(gt=0, le=180)] | None,
        Meta(
            description="networks see a square of so many degrees about fixation, the image on "
            "it at its size and place on grey; without it the image alone, of any size",
        ),
    ] = None
    record: Annotated[
        tuple[str, ...],
        Meta(
            description="units, as in `units`, whose activations to every image the recording "
            "holds, of live sessions too; at most 512 MiB of them",
        ),
    ] = ()
    spikes: Annotated[
        Literal["poisson", "none"],
        Meta(description="'poisson' spike trains, or 'none': noise-free rates"),
    ] = "poisson"
    area: Annotated[
        AreaName | Annotated[tuple[AreaName, ...], Meta(min_length=1)],
        Meta(
            description="whose neurons they fire like: rates, noise and time course; one for "
            'all, or one for each entry of `units`, as ["V1", "IT"]'
        ),
    ] = "IT"
    single: Annotated[
        bool, Meta(description="single cells, not what an electrode's site picks up of several")
    ] = False
    neuron: NeuronTable = NeuronTable()
    abort_rate: Annotated[
        float, Meta(ge=0, le=0.95, description="share of showings broken off")
    ] = 0.02
    speed: Annotated[
        float,
        Meta(gt=0, description="1 is real time; at most 10000, or inf: waits for nothing"),
    ] = 1.0
    seed: Annotated[
        Seed | None, Meta(description="of the neurons; without it the session's seed")
    ] = None

    @property
    def areas(self) -> tuple[AreaName, ...]:
        """The area of each entry of `units`."""
        return (self.area,) * len(self.units) if isinstance(self.area, str) else self.area


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole session file."""

    session: SessionTable
    presentation: PresentationTable
    threads: Annotated[tuple[ThreadTable, ...], Meta(max_length=64)] = ()
    sets: Annotated[tuple[SetTable, ...], Meta(max_length=64)] = ()
    fitness: FitnessTable = FitnessTable()
    references: ReferencesTable = ReferencesTable()
    rig: RigTable = RigTable()
    watchdogs: WatchdogsTable = WatchdogsTable()
    simulation: SimulationTable = SimulationTable()
    subject: SubjectTable = SubjectTable()
    device: DeviceTable = DeviceTable()
    experimenter: ExperimenterTable = ExperimenterTable()

    @property
    def all_threads(self) -> tuple[ThreadTable, ...]:
        """Every thread, in the record's order: those that evolve, then the sets."""
        return (*self.threads, *map(_set_thread, self.sets))

    def key_of(self, thread: int) -> str:
        """Return the key of thread number `thread` in the file: "threads[0]", "sets[1]"."""
        j = thread - len(self.threads)
        return f"threads[{thread}]" if j < 0 else f"sets[{j}]"

    def as_recorded(self, optimizers: Mapping[str, str]) -> Config:
        """Return it with the optimizers that a session was begun with, by the threads' names.

        What suits a generator may have been another then, where the file names none. A thread
        that is not among them keeps its own.
        """
        threads = tuple(
            structs.replace(t, optimizer=optimizers.get(t.name, t.optimizer))
            for t in self.threads
        )
        return structs.replace(self, threads=threads)

    def fitness_of(self, thread: int) -> FitnessTable:
        """Return the fitness of thread number `thread`: its own, or the session's.

        Of a set, by which nothing learns, the mean rate of the session's units.
        """
        if thread >= len(self.threads):
            table = self.fitness
            return FitnessTable(
                units=table.units,
                response_ms=table.response_ms,
                baseline_ms=table.baseline_ms,
                response_unit=table.response_unit,
                missing=table.missing,
                max_attempts=table.max_attempts,
            )
        own = self.threads[thread].fitness
        return self.fitness if own is None else own


def _set_thread(table: SetTable) -> ThreadTable:
    """Return a set as the thread that it is in the record."""
    return ThreadTable(
        table.name,
        table.generator or IMAGE_FILES,
        optimizer=FIXED,
        initial=table.initial,
        device=table.device,
        weights=table.weights,
        generator_options=table.generator_options,
    )


_LONGEST_FILE = 1 << 20  # bytes; one of 64 threads has some 30 kB


def parse_session_file(text: str, *, source: str = "the session file") -> Config:
    """Return the values in a session file's `text`.

    Raises
    ------
    ConfigError
        naming every mistake in the file: its key, what was found, what is allowed
    """
    config, mistakes = read_session_file(text, source=source)
    if config is None or mistakes.found:
        raise SeveralMistakesError(source, mistakes.found)
    return config


def read_session_file(text: str, *, source: str) -> tuple[Config | None, Mistakes]:
    """Return the values in a session file's `text`, as far as they can be read, and mistakes.

    What is wrong has its default in the values, or what stands for it, so that the rest can be
    checked; None: there is too little to go on with.

    Raises
    ------
    ConfigError
        The text is no TOML.
    """
    try:
        raw = tomllib.loads(text)
        if "campaign" in raw and "session" not in raw:
            raise ConfigError(
                f"{source} must be a session file; it is a campaign's, which 'evolver campaign "
                "run' runs, and which names a session file"
            )
        return _read(raw)
    except ValueError as exc:
        raise ConfigError(f"{source} is not valid TOML: {str(exc)[:300]}") from exc
    except RecursionError as exc:
        raise ConfigError(
            f"{source} must be a session file; its values lie too deep in one another"
        ) from exc


def read_values(raw: dict[str, Any], *, source: str = "the session file") -> Config:
    """Return the values of a session file that was read as TOML, or changed since.

    Raises
    ------
    ConfigError
        as `parse_session_file`
    """
    config, mistakes = _read(raw)
    if config is None or mistakes.found:
        raise SeveralMistakesError(source, mistakes.found)
    return config


def _read(raw: dict[str, Any]) -> tuple[Config | None, Mistakes]:
    """Do the work of `read_session_file`, which has read the text."""
    problems: list[str] = []
    collect(raw, Config, "", problems)
    mistakes, config = Mistakes(), None
    for problem in problems:
        mistakes.add(problem.partition(": ")[0], problem)
    with suppress(msgspec.ValidationError):
        rest = without(raw, [mistake.key for mistake in mistakes.found])
        config = msgspec.convert(rest, Config)
        of_tables = (*_unused_keys(raw, config), *_set_problems(raw, config))
        for problem in (*of_tables, *_contradictions(config)):
            if not mistakes.has(key := problem.partition(": ")[0]):
                mistakes.add(key, problem)
    return config, mistakes


def load_session_file(path: Path) -> tuple[Config, str]:
    """Return the values in the session file at `path`, and its text.

    Raises
    ------
    ConfigError
        if the file cannot be read, or has mistakes: see `parse_session_file`
    """
    text = session_file_text(path)
    return parse_session_file(text, source=str(path)), text


def session_file_text(path: Path, *, what: str = "session file") -> str:
    """Return the text of the session file at `path`; raise `ConfigError` if there is none."""
    try:
        content = read_regular(path, at_most=_LONGEST_FILE)
        text = content.decode("utf-8-sig")  # some editors begin a file with a mark
        return text.replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} must be a text file in UTF-8: {exc}") from exc
    except OSError as exc:
        hint = ""
        if isinstance(exc, FileNotFoundError) and path.parent.is_dir():
            there = sorted(p.name for p in path.parent.glob("*.toml"))
            near = difflib.get_close_matches(path.name, there, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if what == "session file":
                hint += " 'evolver config new FILE' writes one to start from"
        raise ConfigError(
            f"the {what} {path} cannot be read: {exc.strerror or exc}{hint}"
        ) from exc


def _unused_keys(raw: dict[str, Any], config: Config) -> list[str]:
    """Return which keys of a fitness its kind does not use."""
    problems = unused_given(raw.get("fitness"), config.fitness, "fitness")
    threads = raw.get("threads")
    rows = cast("list[object]", threads) if isinstance(threads, list) else []
    for i, (row, thread) in enumerate(zip(rows, config.threads, strict=False)):
        if isinstance(row, dict) and thread.fitness is not None:
            own = cast("dict[str, object]", row).get("fitness")
            problems += unused_given(own, thread.fitness, f"threads[{i}].fitness")
    return problems


def _set_problems(raw: dict[str, Any], config: Config) -> list[str]:
    """Return what is wrong with sets that no single key shows."""
    given = raw.get("sets")
    rows = cast("list[object]", given) if isinstance(given, list) else []
    problems: list[str] = []
    for i, (row, table) in enumerate(zip(rows, config.sets, strict=False)):
        keys = cast("dict[str, object]", row) if isinstance(row, dict) else {}
        problems += set_contradictions(table, keys, f"sets[{i}]")
    return problems


def _contradictions(config: Config) -> list[str]:
    """Return what no single key shows to be wrong."""
    problems: list[str] = []
    if not config.threads and not config.sets:
        problems.append("threads: is missing; must be at least 1 [[table]], or one of [[sets]]")
    names = [thread.name for thread in config.all_threads]
    places = [f"threads[{i}]" for i in range(len(config.threads))]
    places += [f"sets[{i}]" for i in range(len(config.sets))]
    for i, name in enumerate(names):
        if name == "references":
            problems.append(f"{places[i]}.name: must not be {name!r}, whose rows are others'")
        if name in names[:i]:
            problems.append(
                f"{places[i]}.name: must differ from every other thread's; "
                f"found {name!r} again (first in {places[names.index(name)]})"
            )
    for i, thread in enumerate(config.threads):
        if thread.axes is not None:
            problems += axes_contradictions(thread.axes, f"threads[{i}].axes")
        if thread.fitness is not None:
            problems += fitness_contradictions(
                thread.fitness,
                config.rig.window_ms,
                f"threads[{i}].fitness",
                references=config.references.count,
            )
    problems += fitness_contradictions(
        config.fitness, config.rig.window_ms, "fitness", references=config.references.count
    )
    warn, pause = config.watchdogs.disk_minutes
    if warn < pause:
        problems.append(
            "watchdogs.disk_minutes: must warn no later than it pauses, the larger number "
            f"first; found {list(config.watchdogs.disk_minutes)}"
        )
    problems += neuron_contradictions(config.simulation.neuron, "simulation.neuron")
    areas, units = config.simulation.areas, config.simulation.units
    if len(areas) != len(units):
        problems.append(
            f"simulation.area: must be one area, or one for each of the {len(units)} entries "
            f"of simulation.units; found {len(areas)}"
        )
    problems += lab_contradictions(config.subject)
    speed = config.simulation.speed
    if _FASTEST < speed < float("inf"):  # its clock would run out of nanoseconds
        problems.append(
            f"simulation.speed: must be at most {_FASTEST:g}, or inf; found {speed:g}"
        )
    if not config.rig.window_ms[0] < config.rig.window_ms[1]:
        problems.append(
            f"rig.window_ms: must start before it ends; found {list(config.rig.window_ms)}"
        )
    return problems


def commented_session_file(config: Config) -> str:
    """Return the text of a session file with `config`'s values and every key explained.

    Keys that stand at their default are written too, behind a ``#`` where they have no value.
    """
    head = (
        "# A session file of evolver. Every key is here; one with a default may be left out.\n"
        "# Times are in milliseconds, angles in degrees of visual angle, rates in spikes/s.\n"
    )
    return head + commented_fields(config)
