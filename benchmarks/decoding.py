"""Decoders at the size of a published recording, beside scikit-learn's plain route.

Question
    How long do `evolver.analysis`'s decoders take at 4,000 trials of 960 channels, to 512
    latents: (1) a fit of least squares and of ridge, (2) a permutation test of 1,000 sets of
    100 latents, (3) a time course of 30 windows? And scikit-learn in the same run?
Method
    Numbers of a linear Gaussian world, in float64, one thread. (1) `LeastSquares`, `Ridge` and
    `InvertedGLM` beside ``LinearRegression`` and ``RidgeCV`` of the same penalties, which
    leaves one out as well. (2) `latent_permutation` by correlation and by mean cosine; the
    plain route draws the same sets and takes ``paired_cosine_distances``, and products of what
    ``StandardScaler`` makes. (3) `decoded_courses` beside ``make_pipeline(StandardScaler(),
    LinearRegression())`` of each window. `Dense` has no match there: some of its epochs, and
    what all 1,500 would take.
Repeats
    Each once, ours first; results are compared, and a difference is printed.
Cost
    Some minutes of a processor; 2 GB.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.decoding``.
"""

# pyright: basic
# scikit-learn has no types.

from __future__ import annotations

import os

# ruff: noqa: E402  numpy reads these when it is imported
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import platform
from datetime import datetime
from time import process_time
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import sklearn
import typer
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evolver.analysis.decoding import Dense, InvertedGLM, LeastSquares, Ridge
from evolver.analysis.latent_metrics import latent_permutation, mean_correlation, mean_cosine
from evolver.analysis.linear_maps import LAMBDAS
from evolver.analysis.time_bins import bin_edges
from evolver.analysis.time_resolved import decoded_courses

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TEST, EPOCHS_TIMED, PUBLISHED_EPOCHS = 100, 2, 1500


def main(
    trials: int = 4000,
    channels: int = 960,
    latents: int = 512,
    windows: int = 30,
    sets: Annotated[int, typer.Option(help="of random latents")] = 1000,
) -> None:
    """Measure, and print a section."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((latents, channels)) / np.sqrt(latents)
    x = rng.standard_normal((trials + TEST, latents))
    y = x @ w + rng.standard_normal((trials + TEST, channels))
    train, test = slice(0, trials), slice(trials, None)
    print(_heading(trials, channels, latents))
    print("| | ours, s | scikit-learn, s | ratio | largest difference |")
    print("|---|---:|---:|---:|---:|")
    ours, ours_s = _timed(lambda: LeastSquares().fit(y[train], x[train]))
    plain, plain_s = _timed(lambda: LinearRegression().fit(y[train], x[train]))
    decoded = ours.predict(y[test])
    _row("least squares, a fit", ours_s, plain_s, decoded, plain.predict(y[test]))
    ridge, ours_s = _timed(lambda: Ridge().fit(y[train], x[train]))
    plain, plain_s = _timed(lambda: RidgeCV(LAMBDAS).fit(y[train], x[train]))
    _row("ridge, a fit", ours_s, plain_s, ridge.predict(y[test]), plain.predict(y[test]))
    _, ours_s = _timed(lambda: InvertedGLM().fit(y[train], x[train]))
    print(f"| inverted GLM, a fit | {ours_s:.2f} | | | |", flush=True)
    _permutation(x[test], decoded, sets)
    _course(x, w, train, test, windows, rng)
    dense = Dense(epochs=EPOCHS_TIMED)
    _, ours_s = _timed(lambda: dense.fit(y[train], x[train]))
    whole = ours_s / EPOCHS_TIMED * PUBLISHED_EPOCHS
    print(f"| dense layer, an epoch | {ours_s / EPOCHS_TIMED:.2f} | | | |")
    print(
        f"\nAll {PUBLISHED_EPOCHS} epochs of the dense layer would take {whole / 60:.0f} min."
    )


def _permutation(x: NDArray[np.float64], decoded: NDArray[np.float64], sets: int) -> None:
    def draw(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.standard_normal((n, x.shape[1]))

    def plain() -> NDArray[np.float64]:
        rng = np.random.default_rng(2)
        total = np.zeros(2)
        for _ in range(sets):
            fresh = draw(len(x), rng)
            scaled = [StandardScaler().fit_transform(table) for table in (fresh, decoded)]
            total += (
                (scaled[0] * scaled[1]).mean(),
                (1 - paired_cosine_distances(fresh, decoded)).mean(),
            )
        return total / sets

    rng = np.random.default_rng(2)
    measures = (mean_correlation, mean_cosine)
    ours, ours_s = _timed(
        lambda: latent_permutation(x, decoded, measures, draw, rng=rng, sets=sets)
    )
    theirs, plain_s = _timed(plain)
    _row(f"permutation, {sets:,} sets", ours_s, plain_s, ours.mean, theirs)


def _course(
    x: NDArray[np.float64],
    w: NDArray[np.float64],
    train: slice,
    test: slice,
    windows: int,
    rng: np.random.Generator,
) -> None:
    psths = rng.standard_normal((len(x), w.shape[1], windows), dtype=np.float32)
    psths[..., windows // 2 :] += (x @ w).astype(np.float32)[..., None]

    def plain() -> NDArray[np.float64]:
        decoded = []
        for window in range(windows):
            y = psths[..., window].astype(np.float64)
            fit = make_pipeline(StandardScaler(), LinearRegression()).fit(y[train], x[train])
            decoded.append(fit.predict(y[test]))
        return np.stack(decoded)

    edges = bin_edges(windows, bin_ms=10, start_ms=-100)
    ours, ours_s = _timed(
        lambda: decoded_courses(
            LeastSquares(), (psths[train], x[train]), (psths[test], x[test]), edges_ms=edges
        )
    )
    theirs, plain_s = _timed(plain)
    _row(f"time course, {windows} windows", ours_s, plain_s, ours[0].decoded, theirs)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what comes, and the processor's seconds: others may use it as well."""
    begin = process_time()
    value = work()
    return value, process_time() - begin


def _row(name: str, ours_s: float, plain_s: float, ours: Any, theirs: Any) -> None:  # noqa: ANN401  arrays
    difference = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
    print(
        f"| {name} | {ours_s:.2f} | {plain_s:.2f} | {plain_s / ours_s:.1f} "
        f"| {difference:.1g} |",
        flush=True,
    )


def _heading(trials: int, channels: int, latents: int) -> str:
    return (
        "## Decoders beside scikit-learn\n\n"
        f"`python -m benchmarks.decoding`, {datetime.now().astimezone():%Y-%m-%d}, "
        f"{platform.machine()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}:"
        f"\n{trials:,} trials of {channels} channels, to {latents} latents; processor seconds, "
        "one thread.\n"
    )


if __name__ == "__main__":
    typer.run(main)
