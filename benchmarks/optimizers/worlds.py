"""What is searched: a generator, a network's unit, and a common norm of codes.

Knows generators, scorers and the device they run on. Knows nothing of optimizers or noise.
"""
# pyright: basic, reportArgumentType=false, reportCallIssue=false
# torch types the children of a Module as Tensor or Module.

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

import scorers
from benchmarks.optimizers import full_rank, upconv
from benchmarks.optimizers.named import attribute, made, refuse_twins
from benchmarks.optimizers.sight import seen_unit
from evolver import generators, seeds
from evolver.config.axes_table import FIRST_LAYER, METRIC
from evolver.config.usual_optimizers import usual_optimizer
from evolver.errors import ConfigError, DataError, EvolverError
from evolver.generators.by_name import REGISTRY
from evolver.lab_code import error_text
from evolver.registry import did_you_mean
from evolver.row_products import row_by_row
from evolver.setup.lengths import with_lengths
from evolver.setup.search_axes import axes_table, choose_axes
from scorers import networks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.optimizers.contestants import Value
    from evolver.optimizers.within_axes import SearchAxes
    from evolver.types import Codes, Generator, Images, Scorer, Vector

TRAINING, HELD_APART = "training", "held-apart"
UnitSet: TypeAlias = Literal["training", "held-apart"]
LAYERS = ("conv2", "conv3", "conv4", "fc5", "fc6", "logits")
_METRIC_D = 1024  # dimensions up to which a metric has all of its axes
_CHUNK_GPU = 256  # images in a pass there
_OF_CONTRAST = 32  # first codes
_DEEPSIM = "deepsim-fc6"
_OCTAVES, _BISECTIONS = 4.0, 9


@dataclass(frozen=True, slots=True)
class World:
    """A generator and the norm its codes are compared at."""

    name: str
    generator: str  # a registered name, "upconv/WIDTH", "upconv-full/WIDTH", "module:factory"
    norm: float  # latent units: about where Cholesky CMA-ES ends
    foreign: bool = False  # its units are of `foreign`, not of the built-in network
    stands_for: str = ""  # the generator of session files in whose place it is

    @property
    def words(self) -> str:
        """What a heading says."""
        if self.foreign:
            return f"{self.name} ({self.generator}; neurons of other networks)"
        full = full_rank.width_of(self.generator)
        width = upconv.width_of(self.generator) or full
        if width is None:
            return self.name
        share = "full width" if width == 1 else f"1/{width} of its channels"
        rank = ", first layer of full rank" if full else ""
        return f"{self.name} (DeePSim's architecture, seeded weights, {share}{rank})"


MINI = World("mini-texture", "mini-texture", norm=150.0)


def upconv_world(width: int) -> World:
    """Return the 4096-dimensional world with 1/`width` of the architecture's channels."""
    return World(f"upconv-4096/{width}", f"upconv/{width}", norm=300.0, stands_for=_DEEPSIM)


def full_world(width: int) -> World:
    """Return the world of that size whose first layer is of full rank."""
    name = f"upconv-full/{width}"
    return World(name, name, norm=300.0, stands_for=_DEEPSIM)


FOREIGN = World("foreign", "mini-texture", norm=150.0, foreign=True)


def own_world(generator: str, *, norm: float | None = None) -> World:
    """Return the world of a generator named on the command line.

    Without a norm it is that of the presets' world, and 300 of a generator of one's own.
    "foreign" is that preset's world: its generator before neurons of other networks.

    Raises
    ------
    ConfigError
        The norm is no length, or there is no such width.
    """
    if norm is not None and not (math.isfinite(norm) and norm > 0):
        raise ConfigError(
            "--norm must be a finite number above 0, the length of codes at which images are "
            f"compared, latent units; got {norm:g}"
        )
    width = upconv.width_of(generator)
    if width is not None:
        known = upconv_world(width)
    elif (width := full_rank.width_of(generator)) is not None:
        known = full_world(width)
    elif generator == MINI.generator:
        known = MINI
    elif generator == FOREIGN.name:
        known = FOREIGN
    else:
        known = World(generator.rpartition(":")[2], generator, norm=300.0)
    return known if norm is None else replace(known, norm=norm)


def refuse_twin_worlds(worlds: Sequence[World]) -> None:
    """Raise `ConfigError` where two have one name."""
    refuse_twins(
        [world.name for world in worlds],
        "generators must have names that differ",
        "Name the factories of your own differently",
    )


def draw_units(set_name: str, per_layer: int, *, layers: tuple[str, ...] = LAYERS) -> list[str]:
    """Return unit names, `per_layer` of each layer; of a convolution, the map's centre.

    The rule: a layer's channels in the order of a permutation seeded by the layer's name; even
    places are `training`, odd ones `held-apart`, and the first of each set are taken. So the
    sets never share a unit, and more units are the same ones and others.

    Raises
    ------
    ConfigError
        There is no such set, or a layer has too few channels.
    """
    if set_name not in {TRAINING, HELD_APART}:
        raise ConfigError(f"units must be {TRAINING} or {HELD_APART}; got {set_name!r}")
    sizes = networks.load("mini").layers
    names: list[str] = []
    for layer in layers:
        order = seeds.stream(0, "optimizer units", layer).permutation(sizes[layer].channels)
        chosen = order[set_name == HELD_APART :: 2][:per_layer]
        if len(chosen) < per_layer:
            raise ConfigError(
                f"units of a layer must be at most {len(chosen)} of {layer}; got {per_layer}"
            )
        names += [f"mini:{layer}:{channel}" for channel in chosen]
    return names


def layer_of(unit: str) -> str:
    """Return the layer in a unit's name, the factory of a unit of one's own."""
    return unit.partition("@")[0].split(":")[1]


@lru_cache(maxsize=4)
def generator_of(name: str, device: str) -> Generator:
    """Load a generator by a world's `generator`, in the layout that is quick.

    Raises
    ------
    ConfigError
        Nothing has this name.
    """
    if (width := upconv.width_of(name)) is not None:
        generator = upconv.load_upconv(width, device=device)
    elif (width := full_rank.width_of(name)) is not None:
        generator = full_rank.load_full_rank(width, device=device)
    elif ":" in name:
        return attribute(name)(device=device)
    elif name in REGISTRY.names():
        generator = generators.load(name, device=device)
    else:
        raise ConfigError(
            "--generator must be one of upconv/8 and upconv-full/8 (or 1, 2, 4, 16), foreign, "
            "module:factory for one of your own, or one that session files name: "
            f"{', '.join(REGISTRY.names())}; got {name!r}{did_you_mean(name, REGISTRY.names())}"
        )
    convert = getattr(generator, "convert", None)
    if convert is not None:
        convert(torch.float32)
    return generator


def scorer_of(unit: str, device: str) -> Scorer:
    """Load one unit: a name that `scorers.load` knows, or ``module:factory@ARGUMENT``.

    Raises
    ------
    ConfigError
        There is no such unit, or the name stands for several.
    """
    path, own, argument = unit.partition("@")
    if own:
        scorer = made(unit, partial(attribute(path), argument, device=device))
    else:
        scorer = scorers.load(unit, device=device)
    if len(scorer.unit_names) != 1:
        raise ConfigError(f"a unit must be one unit; {unit!r} names {len(scorer.unit_names)}")
    return scorer


class Stage:
    """Codes to one unit's clean scores.

    Parameters
    ----------
    world : World
    unit : the unit's name
    device : a torch device's name
    whole : draw whole images also where the unit sees a part

    Raises
    ------
    ConfigError
        The unit has no measured references, or the device does not exist.
    """

    def __init__(self, world: World, unit: str, *, device: str, whole: bool = False) -> None:
        self.world, self.unit = world, unit
        self._generator = generator_of(world.generator, device)
        self._scorer = scorer_of(unit, device)
        self._device = torch.device(device)
        if hasattr(self._scorer, "responses") and not hasattr(self._generator, "synthesize"):
            raise ConfigError(
                f"before {unit!r} a generator must have synthesize, from codes to images in "
                f"torch; {world.generator} has none. Write it, or name units of your own"
            )
        self.seen = seen_unit(self._generator, self._scorer, whole=whole)
        quantiles = getattr(self._scorer, "reference_quantiles", None)
        if quantiles is None:
            raise ConfigError(
                f"the scorer of {unit!r} must say reference_quantiles, p50 and p99; it does not"
            )
        self._zero = float(quantiles["p50"][0])
        self._one = float(quantiles["p99"][0]) - self._zero
        if not self._one > 0:
            raise ConfigError(
                f"{unit!r} answers all reference images alike, and has no scale. Leave it out"
            )

    @property
    def d(self) -> int:
        """Latent dimensions."""
        return self._generator.d

    @property
    def digest(self) -> str:
        """Digest of the weights of both networks."""
        both = f"{self._generator.sha256} {self._scorer.sha256}"
        return hashlib.sha256(both.encode()).hexdigest()

    def axes(self, table: Mapping[str, object]) -> SearchAxes:
        """Return the generator's axes that a session file's table asks for.

        Without a source they are those of `usual_axes`.

        Raises
        ------
        ConfigError
            The table is wrong, or there are no such axes.
        DataError
            A file's numbers are no axes.
        """
        try:
            wanted = axes_table({"source": usual_axes(self.d), **table}, "axes")
        except ConfigError as error:
            raise ConfigError(f"axes must be as in a session file: {error}") from error
        if wanted.source == METRIC and not hasattr(self._generator, "synthesize"):
            raise ConfigError(
                "axes of the metric must be those of a generator with synthesize, from codes "
                f"to images in torch; {self.world.generator} has none. Write it, or name a "
                "file of axes by axes.source"
            )
        try:
            return choose_axes(wanted, self._generator, options={}).axes
        except EvolverError:
            raise
        except Exception as error:  # anybody's generator
            raise ConfigError(
                "axes must be those of a generator that draws in torch; "
                f"{self.world.generator} fails: {error_text(error)}"
            ) from error

    def usual(self, options: Mapping[str, Value]) -> tuple[str, dict[str, Value]]:
        """Return the optimizer of a session that names none, and its options.

        Parameters
        ----------
        options : those that are named all the same; the others are the generator's lengths
        """
        name = usual_optimizer(self.world.stands_for or self.world.generator)
        return name, with_lengths(name, options, self._generator)

    def start(self, seed: int) -> Vector:
        """Return the code, (d,), where every run of this unit and seed starts."""
        rng = seeds.stream(seed, "start", self.world.name, self.unit)
        return self._generator.initial_codes(1, rng=rng)[0]

    @cached_property
    def contrast(self) -> float:
        """The common image contrast, grey levels.

        Nine of ten first codes have more at the common norm: what many codes have not at any
        length would compare nothing.
        """
        rng = seeds.stream(0, "contrast", self.world.name)
        first = self._generator.initial_codes(_OF_CONTRAST, rng=rng)
        images = self._generator.render(at_norm(first, self.world.norm))
        return float(np.quantile(contrasts(images), 0.1))

    def at_contrast(self, codes: Codes) -> Codes:
        """Return codes, (n, d), each as long as gives its whole image the common contrast.

        By bisection of the length's logarithm, to 2 %. Where no length of a sixteenth to
        sixteen times the code's own gives that contrast, it is the end that comes nearest. A
        code of zeros stays as it is.
        """
        low, high = np.full(len(codes), -_OCTAVES), np.full(len(codes), _OCTAVES)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            images = self._generator.render(codes * 2 ** middle[:, None])
            below = contrasts(images) < self.contrast
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return codes * 2 ** ((low + high) / 2)[:, None]

    def clean(self, codes: Codes) -> Vector:
        """Return clean scores, (n,), of codes, (n, d); the same alone and in any company.

        Images are rounded to whole grey levels, as a screen shows them.

        Raises
        ------
        DataError
            A generator or a unit of one's own does not answer with one thing a code.
        """
        if hasattr(self._scorer, "responses"):
            raw = self._responses(codes)
        else:
            images = self._generator.render(codes)
            if len(images) != len(codes):
                raise DataError(
                    f"{self.world.generator} must draw an image of each of {len(codes)} codes; "
                    f"it draws {len(images)}"
                )
            answers = np.asarray(self._scorer.score(images))
            if answers.shape != (len(codes), 1) or answers.dtype.kind not in "fiu":
                raise DataError(
                    f"{self.unit} must give numbers of shape {(len(codes), 1)}; it gives "
                    f"{answers.dtype} of shape {answers.shape}"
                )
            raw = answers[:, 0]
        return (raw - self._zero) / self._one

    @torch.inference_mode()
    def _responses(self, codes: Codes) -> Vector:
        """Draw and score without leaving the device.

        Passes have a fixed number of images, the last filled up with zeros, so that a score
        never depends on company.
        """
        raw = np.empty(len(codes))
        chunk = self.seen.at_once if self._device.type == "cpu" else _CHUNK_GPU
        for first in range(0, len(codes), chunk):
            part = codes[first : first + chunk]
            z = torch.zeros((chunk, self.d))
            z[: len(part)] = torch.from_numpy(part.astype(np.float32))
            with row_by_row(self._device, chunk):
                answers = self.seen.outputs(z.to(self._device))
            raw[first : first + len(part)] = answers.cpu().numpy()[: len(part)]
        return raw


def usual_axes(d: int) -> str:
    """Return which axes of d dimensions are meant where no source is named.

    Those of the metric up to 1,024 dimensions, and of the first layer beyond.
    """
    return METRIC if d <= _METRIC_D else FIRST_LAYER


def contrasts(images: Images) -> Vector:
    """Return the RMS contrast of images, (n, h, w, 3) uint8: (n,), grey levels.

    The standard deviation over all pixels of their luma (ITU-R BT.601).
    """
    luma = images.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return luma.std(axis=(1, 2))


def at_norm(codes: Codes, norm: float) -> Codes:
    """Return codes, (n, d), rescaled to a common norm; a code of zeros stays as it is."""
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    return codes * (norm / np.where(lengths > 0, lengths, norm))
