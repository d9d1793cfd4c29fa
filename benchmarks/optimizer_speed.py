"""What a generation of each optimizer costs, beside the dense recursion and beside peers.

Question
    Time and memory of ask + tell at d = 4096, n = 40, one thread, for every optimizer, as a
    ratio to the dense recursion of Cholesky CMA-ES (A and its inverse stored, written as its
    equations are), and to drawing a generation's 164 thousand normal numbers alone; and
    whether any separable search of another library is faster than ours.
Method
    One process, one thread. In each round every contestant in turn runs one evolution from
    the start; the order is turned between rounds. Scores (the first coordinate plus noise)
    are made outside the timed parts. Times are the process's CPU seconds, all its threads
    together: what else the machine does is left out, and a peer's threads are counted. All
    are called as their users call them: ours by ask and tell, with all their checks; peers by
    their own ask and tell, on float64 (evosax: float32, compiled by jax, in the generations
    not counted). A covariance update of Cholesky CMA-ES
    falls on every tenth generation, which is where the mean leaves the median. CholeskyCMA
    and the dense recursion have equal streams and are told equal scores in a last, untimed
    run, where their codes are compared. Memory is that of one more, under tracemalloc.
Repeats
    75 generations (an evolution of the field's usual length) after 2 that are not counted, in
    each of 3 rounds; times of all rounds together.
Cost
    About a minute and 0.7 GB (the dense recursion's) on one core. Peers take part where they
    are installed. With ``--full`` a few generations of those that keep a full covariance, too:
    some minutes and 2 GB.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.optimizer_speed``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy reads these when it is imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import platform
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from math import exp, log, sqrt
from pathlib import Path
from time import process_time
from typing import Annotated, Any, Protocol

import numpy as np
import typer

from evolver.optimizers import load, state_to_dict
from evolver.types import Codes, Scores

D, N, EVERY, SIGMA, CUTOFF = 4096, 40, 10, 3.0, 500
WARM_UP, ROUNDS = 2, 3


class Contestant(Protocol):
    """What is timed."""

    def ask(self) -> Codes:
        """Draw the next codes, (n, d)."""
        ...

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn from all of them."""
        ...


class Draw:
    """The random numbers of a generation, and nothing else."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def ask(self) -> Codes:
        """Draw them."""
        return self.rng.standard_normal((N, D))

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn nothing."""


class Dense:
    """The recursion with A and its inverse stored, as its equations are written."""

    def __init__(self, rng: np.random.Generator) -> None:
        mu = N // 2
        weights = np.array([log(N / 2 + 0.5) - log(i) for i in range(1, mu + 1)])
        self.w = weights / weights.sum()
        self.mu_eff = 1 / float((self.w**2).sum())
        self.c_c, self.c_1 = 4 / (D + 4), 2 / (D + sqrt(2)) ** 2
        self.c_s = sqrt(self.mu_eff) / (sqrt(self.mu_eff) + sqrt(D))
        self.d_s = 1 + self.c_s + 2 * max(0.0, sqrt((self.mu_eff - 1) / (D + 1)) - 1)
        self.chi = sqrt(D) * (1 - 1 / (4 * D) + 1 / (21 * D**2))
        self.m, self.p_s, self.p_c = np.zeros(D), np.zeros(D), np.zeros(D)
        self.a, self.inverse = np.eye(D), np.eye(D)
        self.sigma, self.generation, self.rng = SIGMA, 0, rng

    def ask(self) -> Codes:
        """Draw the next codes, (n, d)."""
        self.z = self.rng.standard_normal((N, D))
        return self.m + self.sigma * (self.z @ self.a)

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn from all of them."""
        best = np.argsort(-scores)[: len(self.w)]
        self.m, z_w = self.w @ codes[best], self.w @ self.z[best]
        gain_s = sqrt(self.c_s * (2 - self.c_s) * self.mu_eff)
        gain_c = sqrt(self.c_c * (2 - self.c_c) * self.mu_eff)
        self.p_s = (1 - self.c_s) * self.p_s + gain_s * z_w
        self.p_c = (1 - self.c_c) * self.p_c + gain_c * (z_w @ self.a)
        length = float(np.linalg.norm(self.p_s))
        self.sigma *= exp(self.c_s / self.d_s * (length / self.chi - 1))
        self.generation += 1
        if self.generation % EVERY == 0:
            v = self.p_c @ self.inverse
            squared, keep = float(v @ v), sqrt(1 - self.c_1)
            root = sqrt(1 + squared * self.c_1 / (1 - self.c_1))
            self.a = keep * self.a + keep / squared * (root - 1) * np.outer(v, self.p_c)
            shrink = (1 - 1 / root) / (keep * squared)
            self.inverse = self.inverse / keep - shrink * np.outer(self.inverse @ v, v)


class PeerCmaes:
    """SepCMA or CMA of cmaes."""

    def __init__(self, algorithm: str = "SepCMA") -> None:
        library: Any = import_module("cmaes")
        self.es = getattr(library, algorithm)(np.zeros(D), SIGMA, population_size=N, seed=1)

    def ask(self) -> Codes:
        """Draw one by one, as its users do."""
        return np.array([self.es.ask() for _ in range(N)])

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Minimise."""
        self.es.tell(list(zip(codes, (-scores).tolist(), strict=True)))


class PeerPycma:
    """pycma with a diagonal covariance, or a full one."""

    def __init__(self, *, diagonal: bool = True) -> None:
        library: Any = import_module("cma")
        options = {"popsize": N, "seed": 1, "verbose": -9, "CMA_diagonal": diagonal}
        self.es = library.CMAEvolutionStrategy(np.zeros(D), SIGMA, options)

    def ask(self) -> Codes:
        """Draw."""
        return self.es.ask()

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Minimise."""
        self.es.tell(codes, list(-scores))


class PeerNevergrad:
    """DiagonalCMA of nevergrad."""

    def __init__(self) -> None:
        ng: Any = import_module("nevergrad")
        space = ng.p.Array(init=np.zeros(D)).set_mutation(sigma=SIGMA)
        space.random_state.seed(1)
        self.es = ng.optimizers.registry["DiagonalCMA"](space, budget=3000, num_workers=N)
        self.candidates: list[Any] = []

    def ask(self) -> Codes:
        """Draw."""
        self.candidates = [self.es.ask() for _ in range(N)]
        return np.array([c.value for c in self.candidates])

    def tell(self, codes: Codes, scores: Scores) -> None:  # noqa: ARG002  it keeps its own
        """Minimise."""
        for candidate, score in zip(self.candidates, scores, strict=True):
            self.es.tell(candidate, -float(score))


class PeerEvosax:
    """An algorithm of evosax, float32."""

    compiled: dict[str, Any] = {}  # noqa: RUF012  jax compiles for each object anew

    def __init__(self, name: str) -> None:
        self.jax: Any = import_module("jax")
        algorithms: Any = import_module("evosax.algorithms")
        zeros = np.zeros(D, np.float32)
        if name not in self.compiled:
            self.compiled[name] = getattr(algorithms, name)(population_size=N, solution=zeros)
        self.es = self.compiled[name]
        self.params = self.es.default_params.replace(std_init=SIGMA)
        self.key = self.jax.random.key(0)
        self.state = self.es.init(self.key, zeros, self.params)

    def ask(self) -> Codes:
        """Draw."""
        self.key, key = self.jax.random.split(self.key)
        codes, self.state = self.es.ask(key, self.state, self.params)
        return np.asarray(codes)

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Minimise."""
        self.state, _ = self.es.tell(self.key, codes, -scores, self.state, self.params)
        self.jax.block_until_ready(self.state)


def ours(name: str, **options: Any) -> Contestant:  # noqa: ANN401
    """Return one of this project's optimizers."""
    return load(name, D, rng=np.random.default_rng(0), popsize=N, **options)


def basis() -> tuple[Codes, Codes]:
    """Return eigenvalues over four decades, and eigenvectors (a permutation: any will do)."""
    return np.geomspace(1e-2, 1e2, CUTOFF), np.eye(D)[:, :CUTOFF]


OURS: dict[str, dict[str, Any]] = {
    "cholesky": {"sigma": SIGMA, "update_every": EVERY},
    "sphere": {"base": False},
    "sep": {"sigma": SIGMA},
    "snes": {"sigma": SIGMA},
    "rank-sphere": {},
    "random": {"sigma": SIGMA},
    "genetic": {},
    "hessian": {"cutoff": CUTOFF},
}
PEERS: dict[str, tuple[str, Callable[[], Contestant]]] = {
    "cmaes SepCMA": ("cmaes", PeerCmaes),
    "pycma, diagonal": ("cma", PeerPycma),
    "nevergrad DiagonalCMA": ("nevergrad", PeerNevergrad),
    "evosax Sep_CMA_ES": ("evosax", lambda: PeerEvosax("Sep_CMA_ES")),
    "evosax SNES": ("evosax", lambda: PeerEvosax("SNES")),
}

FULL: dict[str, tuple[str, Callable[[], Contestant], int]] = {  # and generations
    "pycma, full": ("cma", lambda: PeerPycma(diagonal=False), 12),
    "evosax CMA_ES": ("evosax", lambda: PeerEvosax("CMA_ES"), 2),
    "cmaes CMA": ("cmaes", lambda: PeerCmaes("CMA"), 1),
}
"""Peers that keep a full covariance: minutes, so a few generations each."""


def contestants() -> dict[str, Callable[[], Contestant]]:
    """Return everyone who can take part here, by name."""
    makers: dict[str, Callable[[], Contestant]] = {
        "draw": Draw,
        "dense": lambda: Dense(np.random.default_rng(0)),
    }
    for name, options in OURS.items():
        if name == "hessian":
            options = options | {"basis": basis()}
        makers[name] = lambda name=name, options=options: ours(name, **options)
    return makers | {n: make for n, (module, make) in PEERS.items() if installed(module)}


def installed(module: str) -> bool:
    """Return whether a peer can be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(module)
    except ImportError:
        return False
    return True


def evolution(
    optimizer: Contestant, generations: int, *, warm_up: int = WARM_UP
) -> list[float]:
    """Return the seconds that ask + tell took in each generation."""
    noise, seconds = np.random.default_rng(2), list[float]()
    for _ in range(warm_up + generations):
        jitter = noise.standard_normal(N)
        start = process_time()
        codes = optimizer.ask()
        asked = process_time() - start
        scores = np.array([code[0] for code in codes], dtype=np.float64) + jitter
        start = process_time()
        optimizer.tell(codes, scores)
        seconds.append(asked + process_time() - start)
    return seconds[warm_up:]


def full(own: list[float]) -> None:
    """Print what peers with a full covariance take, beside CholeskyCMA's seconds, `own`."""
    everyone = {"**cholesky**": own}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, (module, make, few) in FULL.items():
            if installed(module):
                everyone[name] = evolution(make(), few, warm_up=1)
    print(
        "\n| with a full covariance | generations | median, ms | mean, ms | of ours | means |"
    )
    print("|---|---|---|---|---|---|")
    for name, taken in everyone.items():
        middle, mean = float(np.median(taken)), float(np.mean(taken))
        ratios = middle / float(np.median(own)), mean / float(np.mean(own))
        print(
            f"| {name} | {len(taken)} | {1e3 * middle:.1f} | {1e3 * mean:.1f} "
            f"| {ratios[0]:.0f} | {ratios[1]:.0f} |"
        )


def timed(generations: int) -> dict[str, list[float]]:
    """Return the seconds of every contestant's generations, of all rounds."""
    everyone = contestants()
    names, seconds = list(everyone), {name: list[float]() for name in everyone}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of the peers
        for turn in range(ROUNDS):
            for name in names[turn:] + names[:turn]:
                seconds[name] += evolution(everyone[name](), generations)
    return seconds


def apart(generations: int) -> float:
    """Return the largest difference of CholeskyCMA's codes from the dense recursion's."""
    factored, dense = ours("cholesky", **OURS["cholesky"]), Dense(np.random.default_rng(0))
    noise, worst = np.random.default_rng(2), 0.0
    for _ in range(generations):
        codes, reference = factored.ask(), dense.ask()
        worst = max(worst, float(np.abs(codes - reference).max() / np.abs(reference).max()))
        scores = codes[:, 0] + noise.standard_normal(N)
        factored.tell(codes, scores)
        dense.tell(reference, scores)
    return worst


def memory(name: str, generations: int) -> tuple[int, int]:
    """Return the bytes of the last state, and the peak of a run beyond what it was made of."""
    options = OURS[name] | ({"basis": basis()} if name == "hessian" else {})
    optimizer: Any = ours(name, **options)
    tracemalloc.start()
    for _ in range(generations):
        codes = optimizer.ask()
        optimizer.tell(codes, codes[:, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    values = state_to_dict(optimizer.state).values()
    return sum(v.nbytes for v in values if isinstance(v, np.ndarray)), peak


def machine_line() -> str:
    """Name the processor, the operating system and numpy's version."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, numpy {np.__version__}"


def main(
    *,
    generations: Annotated[int, typer.Option(min=30, help="a round")] = 75,
    with_full: Annotated[
        bool, typer.Option("--full", help="peers with a full covariance too")
    ] = False,
) -> None:
    """Measure the speed of the optimizers at d = 4096, n = 40, and print the section."""
    seconds = timed(generations)
    median = {name: float(np.median(taken)) for name, taken in seconds.items()}
    mean = {name: float(np.mean(taken)) for name, taken in seconds.items()}
    print("## Optimizers: ask + tell at d = 4096, n = 40, one thread\n")
    print(f"`python -m benchmarks.optimizer_speed`, {datetime.now().astimezone().date()},")
    print(f"{machine_line()}; {ROUNDS} rounds of {generations} generations;")
    print(f"Cholesky updates every {EVERY}th, the Hessian basis has {CUTOFF} directions.\n")
    print(
        "| a generation | median, ms | mean, ms | of the dense: medians | means | of the draw |"
    )
    print("|---|---|---|---|---|---|")
    labels = {"dense": "dense recursion, numpy", "draw": "drawing its random numbers alone"}
    for name in sorted(seconds, key=lambda name: median[name]):
        label = labels.get(name, f"**{name}**" if name in OURS else name)
        ratios = (
            median[name] / median["dense"],
            mean[name] / mean["dense"],
            median[name] / median["draw"],
        )
        times = f"{1e3 * median[name]:.2f} | {1e3 * mean[name]:.2f}"
        print(f"| {label} | {times} | {ratios[0]:.3f} | {ratios[1]:.3f} | {ratios[2]:.2f} |")
    print("\n| ours | state, MB | peak of a run, MB |\n|---|---|---|")
    for name in OURS:
        held, peak = memory(name, generations)
        print(f"| {name} | {held / 1e6:.2f} | {peak / 1e6:.1f} |")
    print(
        f"\nCodes of CholeskyCMA and of the dense recursion differ by at most "
        f"{apart(generations):.1e} of their\nlargest. The dense recursion holds 268 MB in A "
        "and its inverse;"
    )
    print("the Hessian basis, 33 MB, is no part of the state.")
    if with_full:
        full(seconds["cholesky"])


if __name__ == "__main__":
    typer.run(main)
