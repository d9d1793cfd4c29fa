"""Decoders at the size of a published recording, and what of them is not scikit-learn's.

Question
    Least squares, ridge, z-scores and nonnegative factors are scikit-learn's. At 4,000 trials
    of 960 channels to 512 latents: (1) what do they take through `evolver.analysis`, beside
    scikit-learn called directly, and do numbers differ? What is kept of our own where
    scikit-learn has something near: (2) a permutation test of 1,000 sets of 100 latents, (3)
    kernel ridge with penalties by degrees of freedom, (4) a smoothed course; is it equal, and
    how many times faster? (5) How long do the others take: the inverted GLM, a time course
    of 30 windows, the dense layer?
Method
    Numbers of a linear Gaussian world, in float64, one thread. (2) The plain route draws the
    same sets and takes ``paired_cosine_distances``, and products of what ``StandardScaler``
    makes. (3) The plain route is ``GridSearchCV`` of a ``KernelCenterer`` and a ``KernelRidge``
    of the same kernel, penalties and folds, for each of three areas; it has no degrees of
    freedom, which `penalties_of` finds before. Features are twice as many as images, or a
    quarter, where the kernel is singular and a penalty of 0 is offered. (4) 60 blocks,
    ``GaussianProcessRegressor`` with the same kernel, start, bounds and number of restarts. (5)
    Of the dense layer some epochs, and what all 1,500 would take.
Repeats
    Each once, ours first; results are compared, and a difference is printed. (4) ten courses.
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
import warnings
from datetime import datetime
from time import process_time
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import sklearn
import typer
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge as PlainKernelRidge
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, StandardScaler

from evolver.analysis.decoding import Dense, InvertedGLM, LeastSquares, Ridge
from evolver.analysis.decoding_responses import response_scale
from evolver.analysis.encoding import KernelRidge
from evolver.analysis.gaussian_process import smooth_course
from evolver.analysis.latent_metrics import latent_permutation, mean_correlation, mean_cosine
from evolver.analysis.linear_maps import LAMBDAS
from evolver.analysis.nonnegative_factors import nonnegative_factors
from evolver.analysis.time_bins import bin_edges
from evolver.analysis.time_resolved import decoded_courses

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TEST, EPOCHS_TIMED, PUBLISHED_EPOCHS = 100, 2, 1500
COURSES, BLOCKS = 10, 60


def main(
    trials: int = 4000,
    channels: int = 960,
    latents: int = 512,
    windows: int = 30,
    sets: Annotated[int, typer.Option(help="of random latents")] = 1000,
    images: Annotated[int, typer.Option(help="of kernel ridge")] = 1000,
) -> None:
    """Measure, and print a section."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal((latents, channels)) / np.sqrt(latents)
    x = rng.standard_normal((trials + TEST, latents))
    y = x @ w + rng.standard_normal((trials + TEST, channels))
    train, test = slice(0, trials), slice(trials, None)
    print(_heading(trials, channels, latents))
    print("| scikit-learn's | by evolver, s | directly, s | ratio | largest difference |")
    print("|---|---:|---:|---:|---:|")
    ours, ours_s = _timed(lambda: LeastSquares().fit(y[train], x[train]))
    plain, plain_s = _timed(lambda: LinearRegression().fit(y[train], x[train]))
    decoded = ours.predict(y[test])
    _row("least squares, a fit", ours_s, plain_s, decoded, plain.predict(y[test]))
    ridge, ours_s = _timed(lambda: Ridge().fit(y[train], x[train]))
    plain, plain_s = _timed(lambda: RidgeCV(list(LAMBDAS)).fit(y[train], x[train]))
    _row("ridge, a fit", ours_s, plain_s, ridge.predict(y[test]), plain.predict(y[test]))
    _scores(y)
    _factors(rng)
    print("\n| our own | ours, s | scikit-learn's nearest, s | ratio | largest difference |")
    print("|---|---:|---:|---:|---:|")
    _permutation(x[test], decoded, sets)
    _kernel_ridge("more features", images, 2 * images, channels, rng)
    _kernel_ridge("fewer features", images, images // 4, channels, rng)
    _courses(rng)
    print("\n| no match there | s |\n|---|---:|")
    _, ours_s = _timed(lambda: InvertedGLM().fit(y[train], x[train]))
    print(f"| inverted GLM, a fit | {ours_s:.2f} |", flush=True)
    _course(x, w, train, test, windows, rng)
    dense = Dense(epochs=EPOCHS_TIMED)
    _, ours_s = _timed(lambda: dense.fit(y[train], x[train]))
    whole = ours_s / EPOCHS_TIMED * PUBLISHED_EPOCHS
    print(f"| dense layer, an epoch | {ours_s / EPOCHS_TIMED:.2f} |")
    print(
        f"\nAll {PUBLISHED_EPOCHS} epochs of the dense layer would take {whole / 60:.0f} min."
    )


def _scores(y: NDArray[np.float64]) -> None:
    ours, ours_s = _timed(lambda: response_scale(y).scores(y))
    plain, plain_s = _timed(lambda: StandardScaler().fit_transform(y))
    _row("z-scores", ours_s, plain_s, ours, plain)


def _factors(rng: np.random.Generator) -> None:
    """Three factors of 28 x 28 places and 512 channels, as a mask of a layer has."""
    parts = rng.random((784, 4)) ** 3 @ rng.random((4, 512)) ** 3
    matrix = np.maximum(parts + 0.3 * rng.standard_normal(parts.shape), 0)

    def plain() -> NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return cast("Any", NMF)(3, init="nndsvda", random_state=0).fit_transform(
                matrix / matrix.max()
            )

    ours, ours_s = _timed(lambda: nonnegative_factors(matrix, 3))
    theirs, plain_s = _timed(plain)
    _row("nonnegative factors", ours_s, plain_s, ours.left, theirs * matrix.max())


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


def _kernel_ridge(
    name: str, images: int, width: int, units: int, rng: np.random.Generator
) -> None:
    """Three areas, four penalties, ten folds."""
    features = rng.standard_normal((images, width))
    weights = rng.standard_normal((width, units)) / np.sqrt(width)
    y = features @ weights + rng.standard_normal((images, units))
    areas = [("V1", "V4", "IT")[i % 3] for i in range(units)]
    ours, ours_s = _timed(
        lambda: KernelRidge().fit(features, y, groups=areas, rng=np.random.default_rng(3))
    )
    fold = np.empty(images, dtype=int)
    order = np.random.default_rng(3).permutation(images)
    for i, rows in enumerate(np.array_split(order, 10)):
        fold[rows] = i

    def plain() -> NDArray[np.float64]:
        kernel = features @ features.T
        guess = np.empty_like(y)
        for area in dict.fromkeys(areas):
            columns = np.array([a == area for a in areas])
            centred = make_pipeline(KernelCenterer(), PlainKernelRidge(kernel="precomputed"))
            search = GridSearchCV(
                centred,
                {"kernelridge__alpha": ours.offered.tolist()},
                scoring="neg_mean_squared_error",
                cv=PredefinedSplit(fold),
            )
            mean = y[:, columns].mean(axis=0)  # it has no constant
            guess[:, columns] = search.fit(kernel, y[:, columns] - mean).predict(kernel) + mean
        return guess

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that kernels of fewer features are singular
        theirs, plain_s = _timed(plain)
    _row(f"kernel ridge, {name}", ours_s, plain_s, ours.predict(features), theirs)


def _courses(rng: np.random.Generator) -> None:
    at = np.arange(BLOCKS, dtype=np.float64)
    curves = [
        30 - 20 * np.exp(-at / 15) + 2 * rng.standard_normal(BLOCKS) for _ in range(COURSES)
    ]

    def plain(curve: NDArray[np.float64]) -> Any:  # noqa: ANN401  an array
        noise = WhiteKernel((2 / curve.std()) ** 2)
        model = GaussianProcessRegressor(
            ConstantKernel(1.0) * RBF(2.0, (1.0, 5.0)) + noise,
            alpha=1e-2,
            normalize_y=True,
            n_restarts_optimizer=3,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(at[:, None], curve).predict(at[:, None])

    ours, ours_s = _timed(
        lambda: np.stack([smooth_course(c, np.full(BLOCKS, 2.0)).mean for c in curves])
    )
    theirs, plain_s = _timed(lambda: np.stack([plain(c) for c in curves]))
    _row(f"smoothed courses, {COURSES}", ours_s, plain_s, ours, theirs)


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
    edges = bin_edges(windows, bin_ms=10, start_ms=-100)
    _, ours_s = _timed(
        lambda: decoded_courses(
            LeastSquares(), (psths[train], x[train]), (psths[test], x[test]), edges_ms=edges
        )
    )
    print(f"| time course, {windows} windows | {ours_s:.2f} |", flush=True)


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
        "## Decoders and scikit-learn\n\n"
        f"`python -m benchmarks.decoding`, {datetime.now().astimezone():%Y-%m-%d}, "
        f"{platform.machine()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}:"
        f"\n{trials:,} trials of {channels} channels, to {latents} latents; processor seconds, "
        "one thread.\n"
    )


if __name__ == "__main__":
    typer.run(main)
