"""A generator's metric, averaged over points of its latent space; what is finished is kept.

Knows codes, and a folder with a file a point, in the format of `file`. Knows nothing of
how a point's directions are found (`products`), nor of how points are drawn.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from evolver import metric
from evolver.checks import check_codes
from evolver.errors import ConfigError
from evolver.metric.file import Metric, Provenance
from evolver.metric.products import PIXELS, Distance, check_k, directions, is_dense, leading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from evolver.types import Codes, Generator, Matrix, Vector

_LARGEST = 16_384  # dimensions of an average, which is formed: 2 GiB of float64


def average(
    generator: Generator,
    points: Codes,
    *,
    k: int,
    distance: Distance = PIXELS,
    part: str = "",
    folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    seed: int | None = None,
    norm: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Metric:
    """Return the metric averaged over points: the leading directions of the mean of V L V'.

    Of each point the k leading directions are taken, so what is cut off there is missing from
    the mean: the last of its eigenvalues are a little small, unless k is all there is.

    Parameters
    ----------
    generator : Generator
    points : (n, d) codes, latent units
    k : directions, at every point and of the average
    distance : Distance
    part : a part of the code by its name in `generator.parts`, as "noise"; all of it when ""
    folder : keeps every finished point; what it holds of the same points is not computed again
    progress : called with points done and points in all, at the start and after each
    seed, norm : how the points were drawn, to be noted
    options : that the generator was loaded with, to be noted

    Raises
    ------
    DataError
        As `directions`.
    ConfigError
        As `directions`; or there is no such part, there are no points, or the folder holds
        points of something else.
    """
    check_codes(points, d=generator.d)
    if not len(points):
        raise ConfigError("points must be at least one code; got none")
    first, last = span = _dimensions(generator, part)
    d = last - first
    check_k(k, d)
    if d > _LARGEST:
        raise ConfigError(f"a metric must be of at most {_LARGEST} dimensions; got {d}")
    provenance = msgspec.structs.replace(
        _provenance(generator, distance, points, k, span),
        part=part,
        seed=seed,
        norm=norm,
        options=dict(options or {}),
    )
    compute = partial(directions, generator, k=k, distance=distance, dimensions=span)
    progress(0, len(points))
    total = np.zeros((d, d))
    for i, point in enumerate(points):
        path = None if folder is None else folder / f"point-{i:05d}.npz"
        at_point = _at_point(point, compute, provenance, path, k)
        total += (at_point.eigenvectors * at_point.eigenvalues) @ at_point.eigenvectors.T
        progress(i + 1, len(points))
    values, vectors = leading(total / len(points), k)
    return metric.make_metric(values, vectors, d=d, provenance=provenance)


def _provenance(
    generator: Generator, distance: Distance, points: Codes, k: int, span: tuple[int, int]
) -> Provenance:
    first, last = span
    return Provenance(
        generator=generator.name,
        weights_sha256=generator.sha256,
        distance=distance.name,
        distance_sha256=distance.sha256,
        solver="dense" if is_dense(k, last - first) else "lanczos",
        points=len(points),
        points_sha256=_digest(points),
        first=first,
        last=last,
        software=f"evolver {version('evolver')}, torch {torch.__version__}",
    )


def _at_point(
    point: Vector,
    compute: Callable[[Vector], tuple[Vector, Matrix]],
    whole: Provenance,
    path: Path | None,
    k: int,
) -> Metric:
    """Return the metric at one code: read from `path` if it is there, else computed."""
    d = whole.last - whole.first
    own = msgspec.structs.replace(whole, points=1, points_sha256=_digest(point[None]))
    finished = None if path is None else _finished(path, own, d, k)
    if finished is not None:
        return finished
    values, vectors = compute(point)
    computed = metric.make_metric(values, vectors, d=d, provenance=own)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        metric.write_metric(computed, path)
    return computed


def _finished(path: Path, wanted: Provenance, d: int, k: int) -> Metric | None:
    """Return a point that was finished before; None if it was not."""
    if not path.exists():
        return None
    finished = metric.read_metric(path, d=d)
    same = msgspec.structs.replace(wanted, software="")
    if (
        finished.provenance is None
        or len(finished.eigenvalues) != k
        or (msgspec.structs.replace(finished.provenance, software="") != same)
    ):
        raise ConfigError(
            f"{path} must be a point of this computation; it is of another generator, "
            "distance, code or count. Name another folder, or remove it"
        )
    return finished


def _dimensions(generator: Generator, part: str) -> tuple[int, int]:
    if not part:
        return 0, generator.d
    parts: Mapping[str, tuple[int, int]] = getattr(generator, "parts", {})
    if part not in parts:
        names = ", ".join(parts) or "none"
        raise ConfigError(f"part of {generator.name} must be one of ({names}); got {part!r}")
    return parts[part]


def _digest(codes: Codes) -> str:
    return hashlib.sha256(np.ascontiguousarray(codes, "<f8").tobytes()).hexdigest()
