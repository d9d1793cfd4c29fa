"""How often each rule of success calls noise a success, and how small a rise it finds.

Question
    (1) Of sessions without any change, how many does `evolver.analysis.success` call a success
    at 5 % and at 1 %: by dealing images anew (asked: 3.5 to 6.5 % at 5 %), and by the three
    published t-tests? (2) Which reading of the published test would call more, or fewer?
    (3) How often is a planted rise found?
Method
    A session is one thread of 20, 40 or 80 blocks of 25 to 30 images each, as many in one as in
    another; an image's response is a Poisson number of mean 20. (1) Each session is judged by
    the package as `evolver analyze` does it, 1,999 deals, and by its t-tests; beside them t is
    computed here once more, from sums over all sessions at once, and verdicts are compared.
    (2) That second computation alone, over more sessions, by readings of the published rule:
    where the highest pair may begin at the latest, equal variances or each its own (Welch), one
    block or two, one tail or two. A call is p < alpha and t > 0, so a two-sided test without
    picking calls half of alpha. (3) Sessions of 40 blocks whose mean rises by so many spikes/s,
    as 1 - exp(-block/8).
Repeats
    (1) 2,000 sessions of each length. (2) 100,000 of each. (3) 500 of each rise. Intervals are
    Wilson's, 95 %.
Cost
    About 12 minutes of processor time on one core, nearly all of it dealing; 0.2 GB.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.success_rules``.
"""

from __future__ import annotations

import os

# ruff: noqa: E402  numpy reads these when it is imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from time import process_time
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.special import stdtr  # pyright: ignore[reportUnknownVariableType]

from evolver.analysis.success_rates import share
from evolver.analysis.success_tests import SuccessRule, success

LENGTHS, MEAN = (20, 40, 80), 20.0
FEWEST_IMAGES, MOST_IMAGES = 25, 30
ALPHAS = (0.05, 0.01)
ASKED = (0.035, 0.065)
RISES, POWER_BLOCKS, POWER_SESSIONS, RISE_BLOCKS = (1.0, 2.0, 3.0), 40, 500, 8.0
AT_ONCE = 2_000
PUBLISHED: tuple[Literal["maxinit", "endinit", "maxend"], ...] = (
    "maxinit",
    "endinit",
    "maxend",
)

Floats = NDArray[np.float64]
Starts = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Sessions of one length.

    Attributes
    ----------
    responses : (s, blocks, MOST_IMAGES); NaN where a block has fewer images
    sums, squares : (s, blocks) over a block's images
    n : (s, blocks) images of each block
    """

    responses: Floats
    sums: Floats
    squares: Floats
    n: Starts

    def images(self, session: int) -> tuple[Floats, Starts]:
        """Return the responses and the blocks of a session's images."""
        return (
            self.responses[session][np.isfinite(self.responses[session])],
            np.repeat(np.arange(self.n.shape[1], dtype=np.intp), self.n[session]),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the published rule; the first is that of the paper's code.

    Attributes
    ----------
    width : blocks of each of the two that are compared
    latest : the highest may begin so many blocks before the end
    put_to : where it is put if it begins later, so many blocks before the end
    equal : whether both have one variance, or each its own
    tails : of the test
    """

    name: str
    width: int = 2
    latest: int = 3
    put_to: int = 3
    equal: bool = True
    tails: int = 2


READINGS = (
    Reading("as published"),
    Reading("the last block may be in the highest pair", latest=2, put_to=2),
    Reading("each its own variance (Welch)", equal=False),
    Reading("one-sided", tails=1),
    Reading("one block against one", width=1, latest=1, put_to=1),
)


def draw(rng: np.random.Generator, sessions: int, blocks: int, rise: float = 0.0) -> Sessions:
    """Draw sessions whose mean rises by `rise` spikes/s; 0 for none."""
    n = rng.integers(FEWEST_IMAGES, MOST_IMAGES + 1, (sessions, blocks))
    mean = MEAN + rise * (1 - np.exp(-np.arange(blocks) / RISE_BLOCKS))
    drawn = rng.poisson(mean[:, None], (sessions, blocks, MOST_IMAGES)).astype(np.float64)
    drawn[np.arange(MOST_IMAGES) >= n[:, :, None]] = np.nan
    return Sessions(drawn, np.nansum(drawn, axis=2), np.nansum(drawn**2, axis=2), n)


def t_test(of: Sessions, late: Starts, base: Starts, reading: Reading) -> tuple[Floats, Floats]:
    """Return t and p of blocks that begin at `late` against those at `base`, (s,) each."""
    row = np.arange(len(of.n))[:, None]

    def moments(starts: Starts) -> tuple[Floats, Floats, Floats]:
        at = starts[:, None] + np.arange(reading.width)
        n = of.n[row, at].sum(axis=1).astype(np.float64)
        mean = of.sums[row, at].sum(axis=1) / n
        return n, mean, (of.squares[row, at].sum(axis=1) - n * mean**2) / (n - 1)

    (n_a, mean_a, var_a), (n_b, mean_b, var_b) = moments(late), moments(base)
    dof = n_a + n_b - 2
    if reading.equal:
        error = ((n_a - 1) * var_a + (n_b - 1) * var_b) / dof * (1 / n_a + 1 / n_b)
    else:
        parts = var_a / n_a, var_b / n_b
        error = parts[0] + parts[1]
        dof = error**2 / (parts[0] ** 2 / (n_a - 1) + parts[1] ** 2 / (n_b - 1))
    t = (mean_a - mean_b) / np.sqrt(error)
    return t, reading.tails * stdtr(dof, -np.abs(t))


def called(of: Sessions, pairs: str, reading: Reading = READINGS[0]) -> Floats:
    """Return p where late is above the base, and 1 where it is not, (s,)."""
    blocks = of.n.shape[1]
    highest = (of.sums / of.n).argmax(axis=1)
    highest[highest > blocks - reading.latest] = blocks - reading.put_to
    end, first = np.full_like(highest, blocks - reading.width), np.zeros_like(highest)
    late, base = {
        "maxinit": (highest, first),
        "endinit": (end, first),
        "maxend": (highest, end),
    }[pairs]
    t, p = t_test(of, late, base, reading)
    return np.where(t > 0, p, 1.0)


def batches(total: int) -> Iterator[int]:
    """Yield numbers of sessions that memory holds, `total` in all."""
    for begun in range(0, total, AT_ONCE):
        yield min(AT_ONCE, total - begun)


def judged(
    rng: np.random.Generator, of: Sessions, rules: tuple[SuccessRule, ...], label: str
) -> dict[str, Floats]:
    """Return each rule's p by the package, 1 where responses did not rise, (s,)."""
    found: dict[str, list[float]] = {rule: [] for rule in rules}
    console = Console(stderr=True)
    for session in track(range(len(of.n)), description=label, console=console):
        responses, block = of.images(session)
        for rule in rules:
            verdict = success(responses, block, rule=rule, rng=rng)
            found[rule].append(verdict.p if verdict.t > 0 else 1.0)
    return {rule: np.array(values) for rule, values in found.items()}


def rate(p: Floats, alpha: float) -> str:
    """Say which share of sessions is called, in percent, with its interval."""
    one = share(int((p < alpha).sum()), len(p))
    return f"{100 * one.value:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})"


def print_null(rng: np.random.Generator, sessions: int) -> tuple[bool, int]:
    """Print the table of (1); return whether what is asked is met, and verdicts that differ."""
    met, apart = True, 0
    for blocks in LENGTHS:
        of = draw(rng, sessions, blocks)
        found = judged(rng, of, ("shuffle", *PUBLISHED), f"{blocks} blocks")
        for rule, p in found.items():
            cells = " | ".join(rate(p, alpha) for alpha in ALPHAS)
            print(f"| {blocks} | {rule} | {cells} |", flush=True)
        for pairs in PUBLISHED:
            again = called(of, pairs)
            apart += sum(
                int(((found[pairs] < alpha) != (again < alpha)).sum()) for alpha in ALPHAS
            )
        met &= ASKED[0] <= float((found["shuffle"] < 0.05).mean()) <= ASKED[1]
    return met, apart


def reading_rows(rng: np.random.Generator, sessions: int) -> list[str]:
    """Return the table of (2)."""
    calls = np.zeros((len(READINGS), len(LENGTHS), len(ALPHAS)), dtype=np.int64)
    for j, blocks in enumerate(LENGTHS):
        for some in batches(sessions):
            of = draw(rng, some, blocks)
            for i, reading in enumerate(READINGS):
                p = called(of, "maxinit", reading)
                calls[i, j] += [int((p < alpha).sum()) for alpha in ALPHAS]
    rows: list[str] = []
    for reading, counts in zip(READINGS, calls, strict=True):
        cells = [" / ".join(f"{100 * k / sessions:.2f}" for k in pair) for pair in counts]
        rows.append(f"| {reading.name} | {' | '.join(cells)} |")
    return rows


def print_power(rng: np.random.Generator, sessions: int) -> None:
    """Print the table of (3)."""
    for rise in RISES:
        of = draw(rng, sessions, POWER_BLOCKS, rise)
        found = judged(rng, of, ("shuffle", "maxinit", "endinit"), f"rise of {rise:g}")
        for rule, p in found.items():
            cells = " | ".join(rate(p, alpha) for alpha in ALPHAS)
            print(f"| {rise:g} | {rule} | {cells} |", flush=True)


def main(
    *,
    sessions: Annotated[int, typer.Option(min=20, help="without a change, a length")] = 2_000,
    readings: Annotated[
        int, typer.Option(min=20, help="sessions a length for readings of the published rule")
    ] = 100_000,
    power: Annotated[int, typer.Option(min=20, help="sessions a rise")] = POWER_SESSIONS,
    seed: int = 1,
) -> None:
    """Measure how often rules of success call noise a success, and print the section."""
    rng = np.random.default_rng(seed)
    begun = process_time()
    print("## Rules of success on sessions without a change\n")
    print(f"`python -m benchmarks.success_rules`, {datetime.now().astimezone().date()},")
    print(f"{os.cpu_count()} cores, one used; {sessions:,} sessions of each length, Poisson of")
    print(
        f"mean {MEAN:g}, blocks of {FEWEST_IMAGES} to {MOST_IMAGES} images. Called a success,"
    )
    print("% of sessions (95 %, Wilson):\n")
    print("| blocks | rule | at p < 0.05 | at p < 0.01 |\n|---|---|---|---|")
    met, apart = print_null(rng, sessions)
    print(f"\nAsked of shuffle: 3.5 to 6.5 % at 5 % ({'met' if met else '**missed**'}).")
    print(f"Verdicts by t that a second computation has otherwise: {apart}.\n")
    print(
        f"Readings of maxinit, {readings:,} sessions of each length: % called at 5 % / 1 %.\n"
    )
    print(f"| reading | {' | '.join(f'{b} blocks' for b in LENGTHS)} |\n|---|---|---|---|")
    print("\n".join(reading_rows(rng, readings)))
    print(f"\nA planted rise, {POWER_BLOCKS} blocks, {power} sessions: % called a success.\n")
    print("| rise, spikes/s | rule | at p < 0.05 | at p < 0.01 |\n|---|---|---|---|")
    print_power(rng, power)
    print(f"\nProcessor time: {(process_time() - begun) / 60:.1f} minutes.")


if __name__ == "__main__":
    typer.run(main)
