"""A toy of alignment: what of a search's success is how the generator bends the score's space.

A random RealNVP (Dinh et al. 2017) y = f(x) stands for a generator, -1/2 |y - 1|^2 / sigma^2
for a unit. f has an inverse, so that the highest score is 0 at every depth; what depth changes
is how its level sets lie in x. A layer is a coupling and a random turn:

    x2 <- x2 exp(s) + t,   s = tanh(s'),   (s', t) = MLP(x1)        d/2 -> 16 -> 16 -> d, SiLU
    x  <- Q x + b,         Q random orthogonal, b ~ N(0, 1)

with random weights, as torch draws those of a linear layer. Cholesky CMA-ES at 0.5 and Adam at
0.1 go 100 steps from one start N(0, 1), and the value at the final mean is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from evolver import seeds
from evolver.errors import ConfigError
from evolver.optimizers import Adam, CholeskyCMA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evolver.types import Codes, Scores

DEPTHS = (0, 2, 4, 8, 16, 32, 48, 64)
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128, 256)
SEEDS = tuple(range(40, 50))
METHODS = ("cholesky", "adam")
_HIDDEN = 16
_SIGMA, _RATE = 0.5, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentRuns:
    """Values at the final mean, over depths, dimensions and seeds.

    Attributes
    ----------
    depths, dimensions, seeds : tuple of int
    start : (depths, dimensions, seeds) value at the start; NaN where it was not run
    final : method -> (depths, dimensions, seeds); 0 is the highest there is
    steps : int
    """

    depths: tuple[int, ...]
    dimensions: tuple[int, ...]
    seeds: tuple[int, ...]
    start: Scores
    final: dict[str, Scores]
    steps: int


class RandomFlow:
    """A random RealNVP, and the score on what comes out; an `Objective`.

    Parameters
    ----------
    d : int, even, >= 2
    depth : layers; 0 leaves x as it is
    rng : of all weights
    sigma : width of the score
    """

    def __init__(
        self, d: int, depth: int, *, rng: np.random.Generator, sigma: float = 1.0
    ) -> None:
        check_dimensions([d])
        if depth < 0 or not sigma > 0:
            raise ConfigError(f"depth must be >= 0 and sigma > 0; got {depth} and {sigma}")
        self.d, self.depth, self.sigma = d, depth, sigma
        widths = (d // 2, _HIDDEN, _HIDDEN, d)
        self.layers = [_drawn_layer(d, widths, rng) for _ in range(depth)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn x, (n, d) float64, into y, (n, d)."""
        half = self.d // 2
        for linears, turn, shift in self.layers:
            first, second = x[:, :half], x[:, half:]
            hidden = first
            for k, (weight, bias) in enumerate(linears):
                if k:
                    hidden = torch.nn.functional.silu(hidden)
                hidden = hidden @ weight.T + bias
            scale, move = torch.tanh(hidden[:, :half]), hidden[:, half:]
            x = torch.cat([first, second * torch.exp(scale) + move], dim=1) @ turn.T + shift
        return x

    def values(self, codes: Codes) -> Scores:
        """Return -1/2 |y - 1|^2 / sigma^2 of codes, (n, d)."""
        with torch.no_grad():
            return self._score(torch.as_tensor(codes)).numpy()

    def climb(self, codes: Codes) -> tuple[Scores, Codes]:
        """Return values, (n,), and slopes, (n, d)."""
        x = torch.tensor(codes, requires_grad=True)
        value = self._score(x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        return value.detach().numpy(), slope.numpy()

    def start(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Return n codes N(0, 1), (n, d)."""
        return rng.standard_normal((n, self.d))

    def _score(self, x: torch.Tensor) -> torch.Tensor:
        return -0.5 * (self.forward(x) - 1).square().sum(dim=1) / self.sigma**2


def check_dimensions(dimensions: Sequence[int]) -> None:
    """Raise `ConfigError` unless each can be split in two halves."""
    for d in dimensions:
        if d < 2 or d % 2:
            raise ConfigError(f"dimensions must be even, 2 at least; got {d}")


def search_flow(
    depth: int, d: int, seed: int, *, steps: int = 100, sigma: float = 1.0
) -> dict[str, float]:
    """Search one random flow by both methods from one start.

    Parameters
    ----------
    depth, d, seed : of the flow
    steps : generations of the search, and steps of Adam
    sigma : width of the score

    Returns
    -------
    value at the `start`, and at the final mean of each of `METHODS`
    """
    flow = RandomFlow(d, depth, rng=seeds.stream(seed, "flow", d, depth), sigma=sigma)
    x0 = flow.start(1, rng=seeds.stream(seed, "flow start", d, depth))
    rng = seeds.stream(seed, "flow search", d, depth)
    search = CholeskyCMA(d, rng=rng, sigma=_SIGMA, initial=x0[0])
    # Two climb the same way, for an ascent is of two codes at least.
    ascent = Adam(d, rng=rng, lr=_RATE, initial=np.repeat(x0, 2, axis=0))
    ascent.use(flow)
    for _ in range(steps):
        codes = search.ask()
        search.tell(codes, flow.values(codes))
        at = ascent.ask()
        ascent.tell(at, flow.values(at))
    return {
        "start": float(flow.values(x0)[0]),
        "cholesky": float(flow.values(search.state.mean[None])[0]),
        "adam": float(flow.values(ascent.state.codes[:1])[0]),
    }


def run_alignment(
    depths: Sequence[int] = DEPTHS,
    dimensions: Sequence[int] = DIMENSIONS,
    chosen_seeds: Sequence[int] = SEEDS,
    *,
    steps: int = 100,
    search: Callable[[int, int, int], Mapping[str, float]] | None = None,
) -> AlignmentRuns:
    """Search flows of every depth, dimension and seed, by both methods from one start.

    Parameters
    ----------
    depths, dimensions, chosen_seeds : as published by default
    steps : generations of the search, and steps of Adam
    search : returns of depth, d and seed what `search_flow` does, as from a file; NaN where
        there is nothing. None: `search_flow` with these steps
    """
    shape = (len(depths), len(dimensions), len(chosen_seeds))
    values = {name: np.empty(shape) for name in ("start", *METHODS)}
    for i, j, k in product(*(range(many) for many in shape)):
        flow = depths[i], dimensions[j], chosen_seeds[k]
        reached = search(*flow) if search else search_flow(*flow, steps=steps)
        for name, value in reached.items():
            values[name][i, j, k] = value
    start = values.pop("start")
    return AlignmentRuns(
        tuple(depths), tuple(dimensions), tuple(chosen_seeds), start, values, steps
    )


def _drawn_layer(
    d: int, widths: Sequence[int], rng: np.random.Generator
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor, torch.Tensor]:
    """Return the linear layers of a coupling, and the orthogonal matrix and shift after it."""
    linears: list[tuple[torch.Tensor, torch.Tensor]] = []
    for before, after in pairwise(widths):
        bound = 1 / sqrt(before)
        weight = rng.uniform(-bound, bound, (after, before))
        linears.append((
            torch.as_tensor(weight),
            torch.as_tensor(rng.uniform(-bound, bound, after)),
        ))
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    # By the signs of R's diagonal, every orthogonal matrix is as likely (Mezzadri 2007).
    turn = q * np.sign(np.diag(r))
    return linears, torch.as_tensor(turn), torch.as_tensor(rng.standard_normal(d))
