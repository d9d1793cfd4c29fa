"""Generators and sets of images, named by a line of text.

A generator is ``NAME`` or ``NAME=WEIGHTS``, as session files name them and the file they may
have. A set of images is one of

scenes         the built-in world, rendered: no photograph, and the embedded generators were
               trained on others of its scenes
white, pink    noise: each pixel by itself, or an amplitude that falls as 1/f in each channel
a folder       its PNG and JPEG files, a random sample; the largest centred square of each
GENERATOR      what it draws of the codes that its users begin with
GENERATOR@HOW  of other codes: 'normal:4' (N(0, 4^2), as published for DeePSim), 'sphere:NORM',
               'class:NUMBER' or others of `evolver.generators.initial`; or 'truncated', as
               published for BigGAN: 0.7 times noise that is normal within two standard
               deviations, beside class numbers N(0, 0.08^2)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evolver import generators, seeds
from evolver.comparisons.tasks import array_digest, text_digest
from evolver.errors import ConfigError, DataError
from evolver.generators.initial import initial_codes_of
from evolver.regular_files import opened
from evolver.weights.hub import nothing_fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evolver.types import Codes, Generator, Images

WORDS = ("scenes", "white", "pink")
"""Sets of images that are neither a folder's nor a generator's."""
_WHITE_SD, _PINK_SD = 0.25, 0.2  # of pixels from 0 to 1, before what is beyond is cut
_BATCH, _SLOW_BATCH = 512, 64  # the latter of files, and of networks, which take seconds
_LARGEST_FILE = 1 << 30  # bytes of an image
_CAMERA = 12_000  # pixels a side, of photographs
_TRUNCATION, _LIMIT, _EMBEDDING_SD = 0.7, 2.0, 0.08


@lru_cache(maxsize=4)
def load_source(text: str, *, device: str = "cpu") -> Generator:
    """Load the generator that a line of text names; its weights must be here already.

    Raises
    ------
    ConfigError
        There is none of this name.
    WeightsError
        Its weights are missing, or of another network.
    """
    name, equals, weights = text.partition("=")
    if not name or bool(equals) != bool(weights):
        raise ConfigError(f"a generator must be NAME or NAME=WEIGHTS; got {text!r}")
    with nothing_fetched():
        return generators.load(name, weights=weights if equals else None, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch:
    """Some images of a set, not made yet.

    Attributes
    ----------
    digest : of all that their pixels depend on but the size that they are brought to
    names : (k,) what each is called: a file, or its number in the set
    make : makes them, (k, size, size, 3) uint8
    """

    digest: str
    names: tuple[str, ...]
    make: Callable[[], Images]


def image_set(text: str, n: int, *, size: int, seed: int, device: str = "cpu") -> Images:
    """Return n images of a set, (n, size, size, 3) uint8; as `image_batches`, all at once."""
    batches = image_batches(text, n, size=size, seed=seed, device=device)
    return np.concatenate([batch.make() for batch in batches])


def image_batches(
    text: str, n: int, *, size: int, seed: int, device: str = "cpu"
) -> list[ImageBatch]:
    """Return n images of a set, some hundreds in a batch, each to be made by itself.

    Parameters
    ----------
    text : which; see the top of this file
    n : how many
    size : of the side they are resized to, pixels
    seed : of what is drawn at random; a larger n begins with the same images, but in a
        folder and among scenes
    device : of a generator

    Raises
    ------
    ConfigError
        There is no such set, or it has fewer images.
    DataError
        A file is no image; also as a batch is made.
    """
    folder = Path(text).expanduser()
    if text in WORDS:
        return _drawn_batches(text, n, size, seed)
    rng = seeds.stream(seed, "image set", text)
    if folder.is_dir():
        return _folder_batches(folder, n, size, rng)
    return _rendered_batches(text, n, size, rng, device)


def _parts(n: int, most: int) -> list[range]:
    return [range(first, min(first + most, n)) for first in range(0, n, most)]


def _numbers(part: range) -> tuple[str, ...]:
    return tuple(map(str, part))


def _drawn_batches(kind: str, n: int, size: int, seed: int) -> list[ImageBatch]:
    """Return scenes or noise; each batch has a random stream of its own."""

    def made(part: range, number: tuple[int, ...]) -> Images:
        rng = seeds.stream(seed, "image set", kind, *number)
        if kind != "scenes":
            return _noise(kind, len(part), size, rng)
        from scorers.mini import scenes

        return squares(list(scenes.sample_scenes(len(part), rng=rng)[0]), size)

    batches: list[ImageBatch] = []
    for i, part in enumerate(_parts(n, _BATCH)):
        number = (i,) if i else ()
        digest = text_digest(kind, seed, i, len(part))
        batches.append(ImageBatch(digest, _numbers(part), partial(made, part, number)))
    return batches


def _rendered_batches(
    text: str, n: int, size: int, rng: np.random.Generator, device: str
) -> list[ImageBatch]:
    name, _, how = text.partition("@")
    try:
        generator = load_source(name, device=device)
    except ConfigError as error:
        raise ConfigError(
            f"images must be {', '.join(WORDS)}, a folder of PNG or JPEG files, or a "
            f"generator, NAME or NAME@CODES; got {text!r}: {error}"
        ) from error
    if how == "truncated":
        codes = _truncated(generator, n, rng)
    else:
        codes = initial_codes_of(how or "generator", generator, n, rng=rng)

    def made(part: range) -> Images:
        return squares(list(generator.render(codes[part.start : part.stop])), size)

    return [
        ImageBatch(
            text_digest(generator.sha256, device, array_digest(codes[part.start : part.stop])),
            _numbers(part),
            partial(made, part),
        )
        for part in _parts(n, _SLOW_BATCH)
    ]


def _folder_batches(
    folder: Path, n: int, size: int, rng: np.random.Generator
) -> list[ImageBatch]:
    from evolver.setup.images import IMAGE_SUFFIXES, read_image

    files = sorted(path for path in folder.iterdir() if path.is_file())
    paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if len(paths) < n:
        others = len(files) - len(paths)
        beside = f", and {others} others, which are passed over" if others else ""
        advice = ". Ask for fewer with -n" if paths else ""
        raise ConfigError(
            f"{folder} must have {n} PNG or JPEG files at least; it has {len(paths)}"
            f"{beside}{advice}"
        )
    taken = [paths[int(i)] for i in np.sort(rng.permutation(len(paths))[:n])]

    def made(part: list[Path]) -> Images:
        return squares([read_image(path, largest=_CAMERA) for path in part], size)

    return [
        ImageBatch(
            text_digest(*map(_file_digest, own)),
            tuple(path.name for path in own),
            partial(made, own),
        )
        for own in (taken[part.start : part.stop] for part in _parts(n, _SLOW_BATCH))
    ]


def _file_digest(path: Path) -> str:
    try:
        with opened(path, at_most=_LARGEST_FILE) as (file, _):
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} must be an image that can be read: {error}") from error


def _noise(kind: str, n: int, size: int, rng: np.random.Generator) -> Images:
    noise = rng.standard_normal((n, size, size, 3))
    spread = _WHITE_SD
    if kind == "pink":
        f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
        f[0, 0] = np.inf
        waves = np.fft.fft2(noise, axes=(1, 2)) / f[..., None]
        noise = np.fft.ifft2(waves, axes=(1, 2)).real
        noise /= noise.std(axis=(1, 2), keepdims=True)
        spread = _PINK_SD
    return np.clip(np.rint(255 * (0.5 + spread * noise)), 0, 255).astype(np.uint8)


def _truncated(generator: Generator, n: int, rng: np.random.Generator) -> Codes:
    parts: dict[str, tuple[int, int]] = getattr(generator, "parts", {})
    if set(parts) != {"class", "noise"}:
        raise ConfigError(
            f"'truncated' codes need a generator with a class and noise, as biggan-deep-256; "
            f"{generator.name} has none"
        )
    codes = np.empty((n, generator.d))
    first, last = parts["class"]
    codes[:, first:last] = _EMBEDDING_SD * rng.standard_normal((n, last - first))
    first, last = parts["noise"]
    noise = rng.standard_normal((n, last - first))
    while (beyond := np.abs(noise) > _LIMIT).any():
        noise[beyond] = rng.standard_normal(int(beyond.sum()))
    codes[:, first:last] = _TRUNCATION * noise
    return codes


def squares(images: Sequence[NDArray[np.uint8]], size: int) -> Images:
    """Return the largest centred square of each image, (h, w, 3), as (n, size, size, 3)."""
    from PIL import Image

    out = np.empty((len(images), size, size, 3), np.uint8)
    for i, image in enumerate(images):
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[top : top + side, left : left + side]
        if side != size:
            resized = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
            square = np.asarray(resized)
        out[i] = square
    return out
