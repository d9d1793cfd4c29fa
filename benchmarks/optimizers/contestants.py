"""Who takes part: optimizers by label, with what they need and what they are made with.

Knows the optimizers' registry, import paths and installed versions. Knows nothing of units,
noise or scores. An optimizer of one's own needs no more than::

    class Mine:
        def __init__(self, d, *, rng, popsize=None, initial=None, **options): ...
        def ask(self): ...                  # (n, d) codes
        def tell(self, codes, scores): ...  # larger is better
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from benchmarks.optimizers.named import attribute
from evolver.errors import ConfigError
from evolver.optimizers import within_axes
from evolver.optimizers.by_name import REGISTRY
from evolver.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import numpy as np

    from evolver.optimizers.within_axes import SearchAxes
    from evolver.types import Codes, Scores, Vector

Value: TypeAlias = bool | int | float | str | list[float]
NORM, SPREAD = "$norm", "$spread"
GENERATIONS, IMAGES = "$generations", "$images"
"""Options with these values get the world's norm R, R / sqrt(d), and a run's length in both. Of
a search along k axes, d is k."""
AXES = "axes."
"""Begins the names of options that say along which axes to search, as in session files."""
USUAL = "usual"
"""The target that is, in each world, what a session gets there that names no optimizer."""
BASELINE = "cholesky"
"""The label all ratios are to."""


class AskAndTell(Protocol):
    """All that is asked of an optimizer here."""

    def ask(self) -> Codes:
        """Draw the next codes, (n, d)."""
        ...

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn from the scored codes."""
        ...


@dataclass(frozen=True, slots=True)
class Contestant:
    """One optimizer with its settings."""

    label: str
    target: str  # a registered name, or "module:Class"
    options: tuple[tuple[str, Value], ...] = ()  # those of its axes begin with `AXES`
    library: str = ""  # distribution whose version changes the results; "" for our own
    most_d: int | None = None  # takes part up to so many dimensions: beyond, minutes a run
    added: bool = False  # by the user, with options that nobody has tried

    def why_not(self, d: int) -> str:
        """Return why it cannot take part at `d` dimensions; "" if it can."""
        if self.most_d is not None and d > self.most_d:
            return f"too slow beyond {self.most_d} dimensions; name it with --only to run it"
        try:
            if self.library:
                metadata.version(self.library)
            self.factory()
        except metadata.PackageNotFoundError:
            return f"{self.library} is not installed: pip install {self.library}"
        except (ConfigError, ImportError) as error:
            return str(error)
        return ""

    def factory(self) -> Any:  # noqa: ANN401  a class, or a function that makes an AskAndTell
        """Import what makes it.

        Raises
        ------
        ConfigError
            It cannot be found or imported.
        """
        if ":" in self.target:
            return attribute(self.target)
        return REGISTRY.find(self.target)

    @property
    def axes(self) -> dict[str, Value]:
        """What its options say of axes, as a session file does; {} of a search without."""
        named = dict(self.options)
        return {n.removeprefix(AXES): value for n, value in named.items() if n.startswith(AXES)}

    def options_in(
        self, d: int, *, popsize: int, norm: float, generations: int
    ) -> dict[str, Value]:
        """Return its options, but for those of axes, with a world's numbers in their places.

        Parameters
        ----------
        d : dimensions it searches in, axes where it has some
        popsize, norm, generations : as `make` takes them
        """
        given: dict[Value, Value] = {
            NORM: norm,
            SPREAD: norm / d**0.5,
            GENERATIONS: generations,
            IMAGES: generations * popsize,
        }
        return {
            name: given.get(value, value) if isinstance(value, str) else value
            for name, value in self.options
            if not name.startswith(AXES)
        }

    def make(
        self,
        d: int,
        *,
        rng: np.random.Generator,
        popsize: int,
        initial: Vector | None,
        norm: float,
        generations: int,
        axes: SearchAxes | None = None,
    ) -> AskAndTell:
        """Return a new optimizer.

        Parameters
        ----------
        d, popsize : latent dimensions, images a generation
        rng, initial : random numbers, and where it starts, (d,)
        norm, generations : the world's, and a run's length
        axes : those that `axes` asks for; needed where it asks for some

        Raises
        ------
        ConfigError
            An option is unknown, or has a value that nothing can be done with.
        """
        options: dict[str, Any] = self.options_in(
            d if axes is None else axes.k, popsize=popsize, norm=norm, generations=generations
        )
        size = options.pop("popsize", popsize)
        common: dict[str, Any] = {"rng": rng, "popsize": size, "initial": initial}
        if self.axes:
            if axes is None:
                raise ConfigError(f"{self.label} searches along axes; it got none")
            common["axes"] = axes
            if ":" not in self.target:  # one's own knows what to do with them
                return within_axes.within_axes(self.target, d, **common, **options)
        return REGISTRY.make(self.target, self.factory(), d, options=options, **common)

    @property
    def digest(self) -> str:
        """Digest of the code it runs: results of other code are never taken for its own."""
        text = f"{self.library} {metadata.version(self.library)}" if self.library else ""
        module = inspect.getmodule(self.factory())
        if module is not None:
            modules = {own.__name__: own for own in _own_modules(module)}
            if self.axes:
                modules |= {own.__name__: own for own in _own_modules(within_axes)}
            text += "".join(sorted(map(_code, modules.values())))
        return hashlib.sha256(text.encode()).hexdigest()


def _own_modules(start: ModuleType) -> list[ModuleType]:
    """Return a module and those of its own package that it uses, directly or not."""
    package = start.__name__.rpartition(".")[0]
    if start.__name__.startswith("evolver.optimizers."):  # also from its room `libraries`
        package = "evolver.optimizers"
    modules, due = {start.__name__: start}, [start]
    while due and package:
        for value in vars(due.pop()).values():
            name = value.__name__ if inspect.ismodule(value) else _home(value)
            if name.startswith(f"{package}.") and name not in modules and name in sys.modules:
                modules[name] = sys.modules[name]
                due.append(modules[name])
    return list(modules.values())


def _home(value: object) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


def _code(module: ModuleType) -> str:
    """Return what a module does, whatever its comments and docstrings say."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return module.__name__
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return module.__name__ + ast.dump(tree)


def _own(label: str, target: str, **options: Value) -> Contestant:
    return Contestant(label, target, tuple(options.items()))


def _peer(
    label: str, target: str, library: str, *, most_d: int | None = None, **options: Value
) -> Contestant:
    return Contestant(label, target, tuple(options.items()), library, most_d)


_FULL = 1024  # dimensions up to which a full covariance is quick enough

FIELD: tuple[Contestant, ...] = (
    # The published comparison's settings (Wang & Ponce, GECCO 2022).
    _own(BASELINE, "cholesky", sigma=3.0, update_every=10),
    _own("sphere-exp", "sphere", schedule="exp", radius=NORM, generations=GENERATIONS),
    _own("sphere-inv", "sphere", schedule="inv", radius=NORM),
    _own("genetic", "genetic"),
    _own("sep", "sep", sigma=3.0),
    _own("snes", "snes", sigma=3.0),
    _own("rank-sphere", "rank-sphere", radius=NORM),
    _own("random", "random", sigma=SPREAD),
    _peer("pycma", "pycma", "cma", most_d=_FULL, sigma=2.0),
    _peer("pycma-diagonal", "pycma", "cma", sigma=2.0, diagonal=True),
    _peer("cmaes-sep", "cmaes", "cmaes", sigma=3.0, algorithm="SepCMA"),
    _peer(
        "nevergrad-cma",
        "nevergrad",
        "nevergrad",
        most_d=_FULL,
        sigma=3.0,
        algorithm="CMA",
        budget=IMAGES,
    ),
    _peer("ngopt", "nevergrad", "nevergrad", sigma=3.0, algorithm="NGOpt", budget=IMAGES),
    _peer("cr-fm-nes", "evosax", "evosax", sigma=3.0, algorithm="CR_FM_NES"),
    _peer("evosax-snes", "evosax", "evosax", sigma=3.0, algorithm="SNES"),
)
"""Everyone there is, in the order of tables."""


def find_contestants(labels: Sequence[str]) -> list[Contestant]:
    """Return contestants by label, in the order of `FIELD`.

    Raises
    ------
    ConfigError
        There is no such label; the message lists what there is.
    """
    known = {c.label: c for c in FIELD}
    unknown = sorted(set(labels) - set(known))
    if unknown:
        raise ConfigError(
            f"an optimizer must be one of {', '.join(known)}, or added by --add; got "
            f"{', '.join(unknown)}{did_you_mean(unknown[0], known)}"
        )
    return [c for c in FIELD if c.label in labels]
