"""What a recording hands out that is more than an array: a thread, and the images.

Knows the names inside /threads/<k> and /images; knows nothing of the rest of the file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evolver.config.set_table import FIXED
from evolver.errors import RecordingError
from evolver.journal.records import AxesInfo, SetInfo, axes_info, set_info
from evolver.recording import schema as s
from evolver.recording.hdf5 import (
    array_at,
    attributes,
    dataset_at,
    group_at,
    is_in,
    names_in,
    part_of,
    text_at,
)
from evolver.regular_files import PARSER_ERRORS
from evolver.types import Images

_FORMATS = ("WEBP", "PNG")


@dataclass(frozen=True, slots=True, eq=False)
class ThreadData:
    """One thread: what its optimizer proposed, and what it was told.

    N is the number of codes of all generations together, in the order they were proposed.
    """

    name: str
    optimizer: str
    generator: str
    d: int
    popsize: int
    image_size: int  # pixels
    weights_sha256: str
    options: dict[str, Any]
    fitness: dict[str, Any]
    codes_exact: bool  # whether no code lost digits when it became float32
    codes: NDArray[np.float32]  # (N, d) latent units
    generation: NDArray[np.int32]  # (N,) from 0
    row: NDArray[np.int32]  # (N,) row within its generation
    image_id: NDArray[np.int64]  # (N,) rows of Recording.images
    score: NDArray[np.float64]  # (N,) NaN where dropped, or never committed
    sem: NDArray[np.float64]  # (N,) NaN where shown once, dropped or never committed
    fitness_states: dict[str, NDArray[Any]]  # a row a block; empty where it learnt nothing
    _states: h5py.Group

    def __repr__(self) -> str:
        """Name it in a line, without its arrays."""
        stopped = f", {self.stopped} without scores" if self.stopped else ""
        return (
            f"<ThreadData {self.name!r}: {self.optimizer} on {self.generator}, d={self.d}, "
            f"{len(self.codes)} codes, {self.generations} generations{stopped}>"
        )

    @property
    def is_set(self) -> bool:
        """Whether it is a set of fixed images, from which nothing learns."""
        return self.optimizer == FIXED

    @property
    def set_info(self) -> SetInfo | None:
        """What a set is; None of a thread that evolves.

        Raises
        ------
        RecordingError
            The file does not say.
        """
        if not self.is_set:
            return None
        info = set_info(json.dumps(self.options))
        if info is None:
            raise RecordingError(f"the options of set {self.name!r} must say what it is")
        return info

    @property
    def axes(self) -> tuple[AxesInfo, ...]:
        """Along which axes it searches, or parts of its code are; none: along all.

        Raises
        ------
        RecordingError
            The file says what is no axes.
        """
        return axes_info(json.dumps(self.options))

    def images_of_items(self, items: NDArray[Any]) -> NDArray[np.int64]:
        """Return which image of the set each item is of, from 0; negative ones stay so.

        An image's places follow one another.

        Raises
        ------
        RecordingError
            It is no set, or the file does not say what it is.
        """
        info = self.set_info
        if info is None:
            raise RecordingError(f"thread {self.name!r} evolves: it has no items")
        return np.asarray(items, dtype=np.int64) // max(1, len(info.places))

    @property
    def generations(self) -> int:
        """How many generations are complete: scored, and learnt from."""
        return len(np.unique(self.generation[np.isfinite(self.score)]))

    @property
    def stopped(self) -> int:
        """How many were proposed and have no score: the session was stopped inside them."""
        return len(np.unique(self.generation)) - self.generations

    def has_state(self, generation: int) -> bool:
        """Return whether `state` has a generation."""
        return is_in(self._states, s.generation_name(generation))

    def state(self, generation: int) -> dict[str, Any]:
        """Return the optimizer's state before it was asked for a generation.

        Returns
        -------
        dict: the optimizer's own arrays and numbers by name, and ``rng_state``, the state of
        its random generator, as `numpy.random.BitGenerator.state` gives and takes it

        Raises
        ------
        RecordingError
            There is no such generation.
        """
        name = s.generation_name(generation)
        if not is_in(self._states, name):
            known = [int(key) for key in names_in(self._states)]
            raise RecordingError(
                f"thread {self.name!r} has generations {known}; got {generation}"
            )
        group = group_at(self._states, name)
        state = attributes(group)
        for key in names_in(group):
            if key != s.STATE_RNG:
                state[key] = array_at(group, key)
        state[s.STATE_RNG] = json.loads(text_at(group, s.STATE_RNG) or "{}")
        return state


class RecordedThreads(Sequence[ThreadData]):
    """A session's threads in order, ``threads[0]``, and by name, ``threads["texture"]``."""

    def __init__(self, threads: Sequence[ThreadData]) -> None:
        self._threads = tuple(threads)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._threads)

    @overload
    def __getitem__(self, key: int | str) -> ThreadData: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[ThreadData, ...]: ...

    def __getitem__(self, key: int | str | slice) -> ThreadData | tuple[ThreadData, ...]:
        """Return one thread; `KeyError` for a name that there is not."""
        if not isinstance(key, str):
            return self._threads[key]
        for thread in self._threads:
            if thread.name == key:
                return thread
        raise KeyError(f"threads are {self.names}; got {key!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Every thread's name, in order."""
        return tuple(thread.name for thread in self._threads)

    @property
    def evolving(self) -> RecordedThreads:
        """Those that learn; their numbers are the same, for sets come after them."""
        return RecordedThreads([thread for thread in self._threads if not thread.is_set])

    @property
    def sets(self) -> RecordedThreads:
        """Those of fixed images."""
        return RecordedThreads([thread for thread in self._threads if thread.is_set])

    def __repr__(self) -> str:
        """Name them in a line."""
        return f"<RecordedThreads of {', '.join(map(repr, self.names)) or 'none'}>"


class ImageTable(Sequence[NDArray[np.uint8]]):
    """Images by id, decoded when asked for: ``images[7]`` is (h, w, 3) uint8 sRGB."""

    def __init__(self, group: h5py.Group) -> None:
        self._pixels = dataset_at(group, s.I_PIXELS)
        self._offsets = array_at(group, s.I_OFFSETS)
        self._shapes = array_at(group, s.I_SHAPE)
        self._encodings = array_at(group, s.I_ENCODING)

    def __len__(self) -> int:
        """Return how many images the session showed or proposed."""
        return len(self._encodings)

    def __getitem__(self, image_id: int) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return one image; `IndexError` beyond the last, `RecordingError` if it is lost."""
        if not -len(self) <= image_id < len(self):
            raise IndexError(f"image ids are from 0 to {len(self) - 1}; got {image_id}")
        at = int(image_id) % len(self)
        encoding, shape = self._encodings[at], tuple(self._shapes[at])
        if encoding == s.ENCODING_MISSING:
            raise RecordingError(
                f"the pixels of image {at} are lost; its codes and the generator can make it "
                "again, and its sha256 says whether it is the same"
            )
        data = part_of(self._pixels, slice(self._offsets[at], self._offsets[at + 1]))
        try:
            if encoding == s.ENCODING_RAW:
                return data.reshape(shape)
            with Image.open(io.BytesIO(data.tobytes()), formats=_FORMATS) as image:
                if (image.height, image.width) == shape[:2]:  # before it is unpacked
                    return np.array(image.convert("RGB"))
        except PARSER_ERRORS as exc:
            raise RecordingError(
                f"the pixels of image {at} must be WebP or PNG, and cannot be decoded: {exc}. "
                "The file was damaged after it was made; fold the journal again"
            ) from exc
        raise RecordingError(f"image {at} must be of the shape {shape} that the file states")

    def __repr__(self) -> str:
        """Name it in a line."""
        return f"<ImageTable of {len(self)} images>"

    def shape_of(self, image_id: int) -> tuple[int, int, int]:
        """Return an image's height, width and 3; zeros of one whose pixels are lost."""
        height, width, channels = map(int, self._shapes[image_id])
        return height, width, channels

    def is_lost(self, image_id: int) -> bool:
        """Return whether an image's pixels are not in the file."""
        return bool(self._encodings[image_id] == s.ENCODING_MISSING)

    def stack(self, image_ids: Sequence[int] | NDArray[np.integer[Any]]) -> Images:
        """Return images of one size as one array, (n, h, w, 3) uint8."""
        return np.stack([self[int(image_id)] for image_id in image_ids])


def _fitness_states(group: h5py.Group) -> dict[str, NDArray[Any]]:
    if not is_in(group, s.T_FITNESS_STATES):
        return {}
    states = group_at(group, s.T_FITNESS_STATES)
    return {name: array_at(states, name) for name in names_in(states)}


def read_thread(group: h5py.Group) -> ThreadData:
    """Return one thread of a recording, from its group."""
    attrs = attributes(group)
    return ThreadData(
        name=attrs[s.T_NAME],
        optimizer=attrs[s.T_OPTIMIZER],
        generator=attrs[s.T_GENERATOR],
        d=attrs[s.T_D],
        popsize=attrs[s.T_POPSIZE],
        image_size=attrs[s.T_IMAGE_SIZE],
        weights_sha256=attrs[s.T_WEIGHTS_SHA256],
        options=json.loads(text_at(group, s.T_OPTIONS) or "{}"),
        fitness=json.loads(text_at(group, s.T_FITNESS) or "{}"),
        codes_exact=bool(attrs[s.T_CODES_EXACT]),
        codes=array_at(group, s.T_CODES),
        generation=array_at(group, s.T_GENERATION),
        row=array_at(group, s.T_ROW),
        image_id=array_at(group, s.T_IMAGE_ID),
        score=array_at(group, s.T_SCORE),
        sem=array_at(group, s.T_SEM),
        fitness_states=_fitness_states(group),
        _states=group_at(group, s.T_STATES),
    )
