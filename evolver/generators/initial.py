"""Where an evolution starts: codes, as the field makes them.

Knows codes, their lengths, and a generator's face. Knows nothing of optimizers, of session
files or of where a seed comes from: random generators are handed in. Torch is loaded by
`invert` alone.

| in use | codes |
|---|---|
| DeePSim, genetic algorithm | `normal`, length about 64 at 4096 dimensions |
| DeePSim, CMA | `zeros`, with a step of 2 or 3 |
| sphere search | `on_sphere` of length 300 |
| BigGAN | `beside_class`: noise 0.7 wide beside a class embedding |
| a lab's own | `from_npz`, or `invert` a photograph |
| what a brain showed | `read_decoded`, one of a file that `evolver decode` wrote |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from evolver.checks import check_images
from evolver.errors import ConfigError, DataError
from evolver.generators.decoded_codes import read_decoded
from evolver.numpy_files import NumpyArchive, opened_archive, read_array
from evolver.regular_files import PARSER_ERRORS, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from evolver.types import Codes, Generator, Images, Matrix, Scores

_LARGEST_FILE = 256 << 20  # bytes of a file of codes, unpacked
_MOST_CODES = 100_000
_CLASS_NOISE = 0.7
_LARGEST_CODE = 1e6  # of one number of a code to begin with; networks compute in float32


def zeros(n: int, d: int) -> Codes:
    """Return n codes of zeros, (n, d)."""
    return np.zeros((n, d))


def normal(n: int, d: int, *, rng: np.random.Generator, scale: float = 1.0) -> Codes:
    """Return n codes, (n, d), of independent normal numbers with standard deviation `scale`."""
    if not 0 < scale <= _LARGEST_CODE:
        raise ConfigError(
            f"scale must be a positive number, at most {_LARGEST_CODE:g}; got {scale}"
        )
    return scale * rng.standard_normal((n, d))


def on_sphere(n: int, d: int, *, rng: np.random.Generator, norm: float) -> Codes:
    """Return n codes, (n, d), in directions that are all as likely, each of length `norm`."""
    largest = _LARGEST_CODE * d**0.5
    if not 0 < norm <= largest:
        raise ConfigError(f"norm must be a positive number, at most {largest:g}; got {norm}")
    drawn = rng.standard_normal((n, d))
    return drawn * (norm / np.linalg.norm(drawn, axis=1, keepdims=True))


def beside_class(
    n: int,
    generator: Generator,
    *,
    rng: np.random.Generator,
    classes: Sequence[int] | None = None,
    noise: float = _CLASS_NOISE,
) -> Codes:
    """Return n codes, (n, d): class embeddings, beside normal noise.

    Parameters
    ----------
    n : number of codes
    generator : one whose code has the parts "noise" and "class", as BigGAN's
    rng : of the noise, and of which class a code is of
    classes : numbers of the classes to draw from; all when None
    noise : standard deviation of the noise

    Raises
    ------
    ConfigError
        The generator has no classes, or not these.
    """
    parts = cast("dict[str, tuple[int, int]]", getattr(generator, "parts", {}))
    table = cast("Matrix | None", getattr(generator, "embeddings", None))
    if table is None or not {"noise", "class"} <= set(parts):
        raise ConfigError(
            f"codes beside a class need a generator with classes, as biggan-deep-256; "
            f"{generator.name} has none"
        )
    chosen = np.arange(len(table)) if classes is None else np.asarray(classes)
    if (
        chosen.ndim != 1
        or not chosen.size
        or not set(chosen.tolist()) <= set(range(len(table)))
    ):
        raise ConfigError(
            f"classes must be one or more of 0 to {len(table) - 1}; got {classes!r}"
        )
    codes = np.empty((n, generator.d))
    codes[:, slice(*parts["noise"])] = noise * rng.standard_normal((
        n,
        parts["noise"][1] - parts["noise"][0],
    ))
    codes[:, slice(*parts["class"])] = table[rng.choice(chosen, size=n)]
    return codes


def from_npz(path: Path, *, d: int, key: str | None = None) -> Codes:
    """Read codes from a NumPy file.

    Parameters
    ----------
    path : a `.npz` archive or a `.npy` file; nothing in it is unpickled
    d : latent dimensions that the codes must have
    key : the array's name in an archive; may be left out where it holds one alone

    Returns
    -------
    codes : (n, d) float64; an array of (d,) is one code

    Raises
    ------
    DataError
        The file cannot be read, is too large, or holds no codes of d finite numbers.
    """

    def fits(shape: tuple[int, ...]) -> bool:
        rows = shape if len(shape) == 2 else (1, *shape)
        return len(rows) == 2 and rows[1] == d and 1 <= rows[0] <= _MOST_CODES

    try:
        with opened_archive(path) as archive:
            if archive is not None:
                array = archive.read(_key(archive, path, key), fits=fits)
            else:
                with opened(path, at_most=_LARGEST_FILE) as (file, size):
                    array = read_array(file, size, str(path), fits=fits)
    except DataError as error:
        if "another shape" in str(error):
            raise DataError(f"codes in {path} must have shape (n, {d}); {error}") from error
        raise
    except PARSER_ERRORS as error:
        raise DataError(f"{path} must be a file that numpy.savez writes: {error}") from error
    codes = np.atleast_2d(array)
    if codes.ndim != 2 or codes.shape[1] != d or not 1 <= len(codes) <= _MOST_CODES:
        raise DataError(f"codes in {path} must have shape (n, {d}); they have {array.shape}")
    codes = codes.astype(np.float64)
    if not (np.abs(codes) <= _LARGEST_CODE).all():
        raise DataError(
            f"codes in {path} must be finite, and at most {_LARGEST_CODE:g} in size"
        )
    return codes


def _path_and_key(text: str) -> tuple[Path, str | None]:
    """Return the file of PATH or PATH:KEY, and the key; a file's name may have colons."""
    whole = Path(text).expanduser()
    path, colon, key = text.rpartition(":")
    if not colon or whole.exists():
        return whole, None
    return Path(path).expanduser(), key or None


def _key(archive: NumpyArchive, path: Path, key: str | None) -> str:
    """Return the name of the codes in an archive."""
    if key is None and len(archive.names) == 1:
        (key,) = archive.names
    if key is None or key not in archive.names:
        raise DataError(
            f"{path} must hold the codes under a name that is given as key; it holds "
            f"{', '.join(sorted(archive.names)[:8])}; key is {key!r}"
        )
    return key


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    """What `invert` returns: codes, and how near their images come."""

    codes: Codes
    """(n, d), the best seen of each image."""
    distances: Scores
    """(n,) root mean squared difference of pixels, 0 to 1, at those codes."""


def invert(
    generator: Generator,
    images: Images,
    *,
    rng: np.random.Generator,
    steps: int = 300,
    rate: float = 0.1,
    start: Codes | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Inverted:
    """Find codes that draw given images, by Adam on the squared difference of pixels.

    Parameters
    ----------
    generator : what is to draw them; its `synthesize` is differentiated
    images : (n, h, w, 3) uint8 sRGB; of any size, and resized to the generator's
    rng : of the codes it starts from
    steps : of the descent
    rate : Adam's step, latent units
    start : codes to start from, (n, d); the generator's initial ones when None
    progress : told the step and the mean distance after each

    Returns
    -------
    Inverted : the best codes seen; never worse than those it started from

    Raises
    ------
    DataError
        Images or `start` have another shape.
    """
    import torch

    from evolver.tensors import descend

    check_images(images)
    n = len(images)
    first = generator.initial_codes(n, rng=rng) if start is None else start
    if first.shape != (n, generator.d):
        raise DataError(f"start must have shape ({n}, {generator.d}); got {first.shape}")
    device = cast("torch.device | str", getattr(generator, "device", "cpu"))
    wanted = _resized(images, generator.image_size, device)
    z = torch.tensor(first, dtype=torch.float32, device=device, requires_grad=True)
    adam = torch.optim.Adam([z], lr=rate)
    best, nearest = z.detach().clone(), torch.full((n,), torch.inf, device=device)
    for step in range(steps + 1):  # the last one measures where the one before it arrived
        each = (generator.synthesize(z) - wanted).square().mean(dim=(1, 2, 3))
        with torch.no_grad():
            better = each < nearest
            nearest = torch.where(better, each, nearest)
            best = torch.where(better[:, None], z, best)
        if progress is not None:
            progress(step, float(each.detach().mean().sqrt()))
        if step == steps:
            break
        descend(each.sum(), adam)
    return Inverted(best.double().cpu().numpy(), nearest.sqrt().double().cpu().numpy())


def _resized(images: Images, size: int, device: torch.device | str) -> torch.Tensor:
    """Return images as (n, 3, size, size) float32, 0 to 1."""
    import torch

    pixels = torch.tensor(images, device=device).permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.interpolate(
        pixels, (size, size), mode="bilinear", antialias=True
    )


def codes_in_file(text: str, *, d: int) -> Codes:
    """Return all codes, (n, d), of the file that "file:PATH[:KEY]" names.

    Raises
    ------
    DataError
        The file's codes cannot be read.
    """
    path, key = _path_and_key(text.removeprefix("file:"))
    return from_npz(path, d=d, key=key)


def file_of_codes(text: str) -> Path | None:
    """Return the file that a line of text names, as `initial_codes_of` reads it; None: none."""
    kind, _, value = text.partition(":")
    try:
        if kind == "file" and value:
            return _path_and_key(value)[0]
        if kind == "decoded" and value:
            return Path(value.rpartition(":")[0]).expanduser()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ):  # nobody's home, a NUL: whoever reads it says so
        return Path(value)
    return None


def initial_codes_of(
    text: str, generator: Generator, n: int, *, rng: np.random.Generator
) -> Codes:
    """Return n codes, (n, d), made as a line of text says.

    Parameters
    ----------
    text : "generator" (as its users start), "zeros", "normal" or "normal:SCALE", "sphere:NORM",
        "class:NUMBER[,NUMBER...]", "decoded:FILE:ITEM", one code of a file of decoded ones, or
        "file:PATH[:KEY]", whose codes are gone through in order, and again from the first where
        there are fewer than n
    generator : what the codes are for
    n : number of codes
    rng : of the random ones

    Raises
    ------
    ConfigError
        The text says none of these.
    DataError
        The file's codes cannot be read.
    """
    kind, _, value = text.partition(":")
    try:
        if kind == "generator" and not value:
            return generator.initial_codes(n, rng=rng)
        if kind == "zeros" and not value:
            return zeros(n, generator.d)
        if kind == "normal":
            return normal(n, generator.d, rng=rng, scale=float(value or 1))
        if kind in {"sphere", "shell"}:  # 'shell' is in recordings of version 0.1
            return on_sphere(n, generator.d, rng=rng, norm=float(value))
        if kind == "class":
            classes = [int(number) for number in value.split(",")]
            return beside_class(n, generator, rng=rng, classes=classes)
    except ValueError as error:
        raise ConfigError(
            f"a number must follow {kind!r} and a colon; found {text!r}"
        ) from error
    if kind == "file" and value:
        codes = codes_in_file(text, d=generator.d)
        return codes[np.arange(n) % len(codes)]
    if kind == "decoded" and value:
        path_text, _, item = value.rpartition(":")
        if not path_text or not item:
            raise ConfigError(f"a decoded code is named 'decoded:FILE:ITEM'; found {text!r}")
        code = read_decoded(Path(path_text).expanduser()).code_of(item, generator)
        return np.tile(code, (n, 1))
    raise ConfigError(
        "initial codes must be 'generator', 'zeros', 'normal:SCALE', 'sphere:NORM', "
        f"'class:NUMBER,...', 'file:PATH:KEY' or 'decoded:FILE:ITEM'; found {text!r}"
    )
