"""From a set in a session file to its codes, the plan of its showings, and what draws it.

Knows generators, image files and random streams; when a block comes, and what is made of it,
is the session's. A set of image files is drawn by `ImageFiles`, whose code is an image's
number, so that a set is a thread like any other to the loop, the record and the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evolver import seeds
from evolver.config.set_table import IMAGE_FILES, MOST_SHOWINGS, SetTable
from evolver.config.tables import Config
from evolver.errors import ConfigError, DataError
from evolver.generators.initial import codes_in_file, initial_codes_of
from evolver.journal.records import AroundInfo, SetInfo
from evolver.optimizers.fixed import FixedCodes
from evolver.session.set_plan import SetPlan
from evolver.setup.evolved_codes import codes_around
from evolver.setup.references import images_from
from evolver.types import Codes, Generator, Images

if TYPE_CHECKING:
    import torch

_MOST_PIXELS = 2 << 30  # bytes of a set's image files, in memory: no disk is waited for


@dataclass(frozen=True, slots=True, eq=False)
class StimulusSet:
    """A set, made.

    Attributes
    ----------
    plan : when each item is shown
    optimizer : asks for the codes, a share after the other
    info : what the record says of it
    """

    plan: SetPlan
    optimizer: FixedCodes
    info: SetInfo


@dataclass(frozen=True, slots=True, eq=False)
class SetCodes:
    """A set's codes, before it is decided when each is shown.

    Attributes
    ----------
    codes : (n, d) every image's
    around : where about an evolved code they lie, of codes that do
    """

    codes: Codes
    around: AroundInfo | None = None

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.codes)


class ImageFiles:
    """Image files in a generator's place: a code is the number of an image; a `Generator`.

    Parameters
    ----------
    images : (h, w, 3) uint8 each, of one shape
    labels : what each is called

    Raises
    ------
    DataError
        There are none, they differ in shape, or are too many for memory.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> None:
        shapes = {image.shape for image in images}
        if len(shapes) != 1:
            sizes = ", ".join(f"{w} x {h}" for h, w, _ in sorted(shapes)[:6])
            raise DataError(
                f"images of a set must be of one size; these are of {len(shapes)}: "
                f"{sizes or 'none'}. Bring them to one, or make a set of each"
            )
        size = sum(image.nbytes for image in images)
        if size > _MOST_PIXELS:
            raise DataError(
                f"images of a set must fit into {_MOST_PIXELS >> 20} MiB of pixels; these "
                f"{len(images)} are {size >> 20} MiB. Scale them down, or set count"
            )
        self._images, self.labels = np.stack(images), tuple(labels)
        self.name, self.d = IMAGE_FILES, 1
        self.image_size = max(self._images.shape[1:3])
        digest = hashlib.sha256()
        for image in self._images:
            digest.update(hashlib.sha256(np.ascontiguousarray(image).data).digest())
        self.sha256 = digest.hexdigest()

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self._images)

    def render(self, codes: Codes) -> Images:
        """Return the images of numbers, (n, 1), as (n, h, w, 3) uint8.

        Raises
        ------
        DataError
            A code is no number of an image.
        """
        numbers = np.asarray(codes, dtype=np.float64)
        rows = numbers[:, 0].astype(np.intp) if numbers.ndim == 2 else np.zeros(0, np.intp)
        fits = numbers.shape == (len(rows), 1) and np.array_equal(rows, numbers[:, 0])
        if not fits or not ((rows >= 0) & (rows < len(self._images))).all():
            raise DataError(
                f"codes of image files must be numbers from 0 to {len(self._images) - 1}, "
                f"(n, 1); got an array of shape {numbers.shape}"
            )
        return self._images[rows]

    def synthesize(self, z: torch.Tensor) -> torch.Tensor:
        """Raise `ConfigError`: files have no slope."""
        raise ConfigError(f"image files cannot be differentiated; got {tuple(z.shape)} codes")

    def initial_codes(self, n: int, *, rng: np.random.Generator) -> Codes:  # noqa: ARG002
        """Return the numbers of the first n images, and again from the first, (n, 1)."""
        return (np.arange(n, dtype=np.float64) % len(self._images))[:, None]


def image_files(table: SetTable, key: str, *, seed: int, grey: int) -> ImageFiles:
    """Return what draws a set of image files.

    Parameters
    ----------
    table, key : the set, and its place in the session file
    seed : the session's
    grey : behind transparent pixels

    Raises
    ------
    ConfigError
        The folder does not exist, or has fewer images than are asked for.
    DataError
        Files are no images, too large, or of different sizes.
    """
    drawn = images_from(
        table.images or "",
        table.count,
        grey=grey,
        rng=seeds.stream(_seed(table, seed), "set images", table.name),
        keys=(f"{key}.images", f"{key}.count"),
    )
    return ImageFiles(drawn.images, drawn.labels)


def set_codes(table: SetTable, generator: Generator, *, seed: int) -> SetCodes:
    """Return a set's codes: every image's number, of files.

    Parameters
    ----------
    table : the set
    generator : what draws it
    seed : the session's

    Raises
    ------
    ConfigError
        Its codes cannot be made as the file says.
    DataError
        A file's codes cannot be read, or there are none about an evolved one.
    RecordingError
        The recording of an evolved code cannot be read.
    """
    rng = seeds.stream(_seed(table, seed), "set codes", table.name)
    if isinstance(generator, ImageFiles):
        return SetCodes(generator.initial_codes(len(generator), rng=rng))
    if table.around is not None:
        return SetCodes(*codes_around(table.around, generator))
    if not table.codes.startswith("file:"):
        return SetCodes(initial_codes_of(table.codes, generator, table.count or 1, rng=rng))
    codes = codes_in_file(table.codes, d=generator.d)
    if table.count is not None and table.count > len(codes):
        raise DataError(
            f"count must be at most the {len(codes)} codes of {table.codes!r}; found "
            f"{table.count}"
        )
    return SetCodes(codes[: table.count])


def build_sets(
    config: Config, codes: Sequence[SetCodes], drawn_by: Sequence[Generator]
) -> tuple[StimulusSet, ...]:
    """Return every set, in shares: one with each generation of those that evolve.

    Where none evolves, there are as many blocks as the showings of all sets need.

    Parameters
    ----------
    config : the session file's values
    codes, drawn_by : of each of its sets

    Raises
    ------
    ConfigError
        A set has too many showings.
    """
    show, seed = config.presentation, config.session.seed
    places = [table.places(show.position_deg, show.size_deg) for table in config.sets]
    showings = [
        len(rows) * max(1, len(where)) * table.repeats
        for table, rows, where in zip(config.sets, codes, places, strict=True)
    ]
    blocks = config.session.generations
    if not config.threads:
        blocks = max(1, -(-sum(showings) // show.set_showings))
    made: list[StimulusSet] = []
    for j, table in enumerate(config.sets):
        if showings[j] > MOST_SHOWINGS:
            raise ConfigError(
                f"{table.name} must have at most {MOST_SHOWINGS:,} showings; it has "
                f"{showings[j]:,}: {len(codes[j])} images, {max(1, len(places[j]))} places and "
                f"sizes, {table.repeats} repeats"
            )
        plan = SetPlan(
            images=len(codes[j]),
            places=places[j],
            repeats=table.repeats,
            blocks=blocks,
            rng=seeds.stream(seed, "set order", table.name),
        )
        made.append(_stimulus_set(table, plan, codes[j], drawn_by[j], seed=seed))
    return tuple(made)


def _stimulus_set(
    table: SetTable, plan: SetPlan, made: SetCodes, generator: Generator, *, seed: int
) -> StimulusSet:
    rows = [
        np.array([item.image for item in plan.block(k)], dtype=np.intp)
        for k in range(plan.blocks)
    ]
    info = SetInfo(
        role=table.role,
        source=table.source,
        images=plan.images,
        items=plan.items,
        repeats=plan.repeats,
        blocks=plan.blocks,
        seed=_seed(table, seed),
        labels=generator.labels if isinstance(generator, ImageFiles) else (),
        places=plan.places,
        codes_sha256=hashlib.sha256(np.ascontiguousarray(made.codes).data).hexdigest(),
        around=made.around,
    )
    return StimulusSet(plan, FixedCodes(made.codes, rows), info)


def _seed(table: SetTable, seed: int) -> int:
    return seed if table.seed is None else table.seed
