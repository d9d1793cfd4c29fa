"""The metric a generator gives its latent space: how far an image moves when its code does.

H = d2 D(G(z0), G(z)) / dz2 at z = z0, with D the squared distance of two images (Wang & Ponce
2021, ICLR, "A geometric analysis of deep generative image models and its applications"). Every
distance here is that of two embedded images, D(a, b) = |f(a) - f(b)|^2, whose Hessian at z0,
where the difference is zero, is exactly 2 J'J with J the Jacobian of f(G(z)): products with it
cost one pass forward and one back, H is never formed, and Lanczos finds its leading directions.

Knows tensors and one code at a time. Knows nothing of scores, seeds, networks that compare
images (`scorers.distances`), averages (`average`), or what the metric is for.
"""
# pyright: basic, reportAssignmentType=false, reportCallIssue=false, reportArgumentType=false
# torch.func.vjp's type leaves open whether it returns a third value; scipy's LinearOperator and
# eigsh have types that do not admit what they document.

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from evolver.checks import check_codes
from evolver.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from evolver.types import Generator, Matrix, Vector

    Product = Callable[[torch.Tensor], torch.Tensor]
    Pull = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]

TOLERANCE = 1e-4
"""Lanczos: residual of an eigenvector, relative to its eigenvalue."""
_TOGETHER = 8  # products of the dense route in one pass; bounds memory


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two images are apart: the squared length of the difference of their embeddings.

    Parameters
    ----------
    name : what files say of it
    sha256 : of the weights it runs on; "" where there are none
    embed : differentiable: images, (n, 3, h, w) float32 in [0, 1], to (n, m)
    """

    name: str
    sha256: str
    embed: Callable[[torch.Tensor], torch.Tensor]


def _pixels(images: torch.Tensor) -> torch.Tensor:
    flat = images.flatten(1)
    return flat / flat.shape[1] ** 0.5


PIXELS = Distance("mse", "", _pixels)
"""The mean squared difference of pixels, whose range is 0 to 1."""


def product(
    generator: Generator,
    code: Vector,
    *,
    distance: Distance = PIXELS,
    dimensions: tuple[int, int] | None = None,
) -> Product:
    """Return the function v -> H v at a code.

    One derivative forward, J v, and one back, of that. The pass that the second goes back
    along is made once and serves every product.

    Parameters
    ----------
    generator : Generator
    code : (d,) z0, latent units
    distance : Distance
    dimensions : first, and one past last, of the code's dimensions that move; all by default

    Returns
    -------
    callable of a tensor (k,) float32 on the generator's device, to the same

    Raises
    ------
    DataError
        The code is not (d,) and finite, or its image is not finite.
    ConfigError
        There are no such dimensions, or an operator lacks the derivatives.
    """
    check_codes(code[None], d=generator.d)
    first, last = _checked(dimensions, generator.d)
    device = _device(generator)
    z0 = torch.from_numpy(code.astype(np.float32)).to(device)

    def embedded(x: torch.Tensor) -> torch.Tensor:
        z = torch.cat([z0[:first], x, z0[last:]])
        return distance.embed(generator.synthesize(z[None]))[0]

    x0 = z0[first:last]
    here, pull = torch.func.vjp(embedded, x0)
    if not bool(torch.isfinite(here).all()):
        raise DataError(f"{generator.name} must draw finite pixels; at this code it does not")

    def along(v: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(embedded, (x0,), (v,))[1]

    _load_forward_rules()
    try:
        along(torch.zeros_like(x0))
    except NotImplementedError:
        push = _push_by_pulling(generator.name, pull, x0, here)
        return lambda v: 2 * pull(push(v)[0])[0]
    return lambda v: 2 * pull(along(v))[0]


def _push_by_pulling(name: str, pull: Pull, x0: torch.Tensor, embedding: torch.Tensor) -> Pull:
    """Return the function v -> (J v,) of an operator without a forward derivative.

    `grid_sample` is one. J'u is linear in u, and what it goes back along is J, unless an
    operator goes back only once, and not all of those say so: |Jv|^2 = v'J'Jv tells.

    Raises
    ------
    ConfigError
        An operator goes back only once.
    """
    push: Pull = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(embedding))[1]
    v = torch.cos(torch.arange(len(x0), device=x0.device, dtype=x0.dtype))
    moved = push(v)[0]
    square = moved.square().sum()
    off = float((pull(moved)[0] @ v - square).abs())
    cut = not moved.any() and bool(pull(torch.ones_like(embedding))[0].any())
    if cut or off > 0.01 * float(square):
        raise ConfigError(
            f"the operators of {name} must have a derivative forward, or one that can be gone "
            "back along twice; one of them has neither"
        ) from None
    return push


def dense(
    generator: Generator,
    code: Vector,
    *,
    distance: Distance = PIXELS,
    dimensions: tuple[int, int] | None = None,
) -> Matrix:
    """Return all of H, (k, k) float64, of k moving dimensions; parameters as `product`.

    For small k, and as what Lanczos is compared with: k products, some at a time.
    """
    times = product(generator, code, distance=distance, dimensions=dimensions)
    first, last = _checked(dimensions, generator.d)
    units = torch.eye(last - first, device=_device(generator))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            rows = [torch.vmap(times)(part) for part in units.split(_TOGETHER)]
    except RuntimeError:  # an operator of the generator's own that makes one at a time
        rows = [torch.stack([times(unit) for unit in units])]
    h = torch.cat(rows).double().cpu().numpy()
    return (h + h.T) / 2


def directions(
    generator: Generator,
    code: Vector,
    *,
    k: int,
    distance: Distance = PIXELS,
    dimensions: tuple[int, int] | None = None,
) -> tuple[Vector, Matrix]:
    """Return the k largest eigenvalues of H, (k,), descending, and eigenvectors, (d, k).

    By Lanczos, about 2 k products; where that is no fewer than there are dimensions, `dense`.

    Parameters
    ----------
    generator, code, distance, dimensions : as `product`
    k : directions, at most as many as moving dimensions

    Raises
    ------
    DataError
        As `product`, or the image does not change with its code.
    ConfigError
        `k` or the dimensions are out of range.
    """
    first, last = _checked(dimensions, generator.d)
    d = last - first
    check_k(k, d)
    if is_dense(k, d):
        h = dense(generator, code, distance=distance, dimensions=dimensions)
        _check_slope(generator, h)
        return leading(h, k)
    times = product(generator, code, distance=distance, dimensions=dimensions)
    device = _device(generator)

    def applied(v: Vector) -> Vector:
        x = torch.from_numpy(v.ravel().astype(np.float32)).to(device)
        return times(x).double().cpu().numpy()

    start = applied(np.cos(np.arange(1.0, d + 1)))  # any vector, always the same
    _check_slope(generator, start)
    try:
        values, vectors = eigsh(
            LinearOperator((d, d), matvec=applied, dtype=np.float64),
            k=k,
            which="LA",
            tol=TOLERANCE,
            v0=start / np.linalg.norm(start),
        )
    except ArpackError as error:
        raise DataError(
            f"Lanczos must find {k} directions of {generator.name} at this code; it does not: "
            f"{error}. Ask for fewer"
        ) from error
    return _ordered(values, vectors)


def is_dense(k: int, d: int) -> bool:
    """Return whether k of d directions are found from all of H: Lanczos would save nothing."""
    return 2 * k + 2 >= d


def _checked(dimensions: tuple[int, int] | None, d: int) -> tuple[int, int]:
    first, last = dimensions or (0, d)
    if not 0 <= first < last <= d:
        raise ConfigError(f"dimensions must lie between 0 and {d}; got {first} to {last}")
    return first, last


def check_k(k: int, d: int) -> None:
    """Raise `ConfigError` unless k is a number of directions among d dimensions."""
    if not 1 <= k <= d:
        raise ConfigError(f"k must be a number of directions, 1 to {d}; got {k}")


def _check_slope(generator: Generator, slope: Vector | Matrix) -> None:
    if not np.isfinite(slope).all():
        raise DataError(f"{generator.name} must have a finite slope; at this code it has none")
    if not slope.any():
        raise DataError(
            f"the image of {generator.name} must change with its code; at this one it does "
            "not. Take a shorter one: its pixels may all be black or white"
        )


def _load_forward_rules() -> None:
    """Have torch load what it does the first time, and warns of a decorator of its own by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))


def _device(generator: Generator) -> torch.device:
    return getattr(generator, "device", torch.device("cpu"))


def leading(h: Matrix, k: int) -> tuple[Vector, Matrix]:
    """Return the k largest eigenvalues of a symmetric matrix, as `directions` does."""
    return _ordered(*eigh(h, subset_by_index=(len(h) - k, len(h) - 1)))


def _ordered(values: Vector, vectors: Matrix) -> tuple[Vector, Matrix]:
    """Return them descending, no value negative, the largest entry of every vector positive."""
    order = np.argsort(-values, kind="stable")
    values, vectors = np.maximum(values[order], 0.0), vectors[:, order]
    top = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.where(vectors[top, range(len(top))] < 0, -1.0, 1.0)
