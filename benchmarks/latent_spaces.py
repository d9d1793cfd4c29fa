"""What is gained by decoding w instead of z, of a small StyleGAN3.

Question
    A decoder is linear, and w is not linear in z. How much nearer are styles that were decoded
    as such to the true ones than codes that were decoded and mapped then (psi = 0.7), where
    responses are linear in w, and where they are linear in z?
Method
    A network in the official format, converted (the tests' own: random weights, 32 dimensions,
    two layers of mapping; or a file of yours). Responses of 200 channels, linear in w or in z,
    of one scale, with noise of a sd; 1,000 training and 200 test images; ridge. Both in w:
    cosine about the mean style, correlation over images, pairwise identification; the gain is
    the mean over test images of the difference of centred cosines, paired, with its 95 % t
    interval.
Repeats
    One world each, for noise of sd 0.5, 1 and 2 (of responses' sd 1).
Cost
    Half a minute of a processor.
Outputs
    A Markdown section for RESULTS.md on standard output.

Run by ``python -m benchmarks.latent_spaces``.
"""

# pyright: reportUnknownMemberType=false
# torch leaves from_numpy's argument open.

from __future__ import annotations

import platform
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from evolver.analysis.decoding import Ridge
from evolver.analysis.latent_spaces import compare_spaces
from evolver.generators.stylegan3 import convert_stylegan3, load_network

if TYPE_CHECKING:
    from evolver.analysis.latent_spaces import SpaceScores
    from evolver.generators.stylegan3 import StyleGAN3
    from evolver.types import Codes, Matrix

TINY = Path(__file__).parents[1] / "tests" / "golden" / "generators" / "stylegan3-t-tiny.pkl"
PSI = 0.7


def main(
    weights: Annotated[Path, typer.Option(help="an official pickle")] = TINY,
    channels: int = 200,
    training: int = 1000,
    test: int = 200,
    seed: int = 1,
) -> None:
    """Measure, and print a section."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "converted.safetensors"
        convert_stylegan3(weights, out)
        net, _ = load_network(out, device="cpu", latent="z", truncation=PSI)
    d = net.settings.z_dim
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((training + test, d))
    w = styles(net, z)
    print(_heading(weights, net, channels, training, test))
    print(
        "| responses are linear in | noise, sd | decoded | cosine about the mean | r | "
        "identified | gain of w (95 %) |"
    )
    print("|---|---:|---|---:|---:|---:|---:|")
    for name, latents in (("w", w), ("z", z)):
        scaled = (latents - latents.mean(axis=0)) / latents.std(axis=0)
        told: Matrix = scaled @ rng.standard_normal((scaled.shape[1], channels)) / np.sqrt(d)
        for noise in (0.5, 1.0, 2.0):
            y: Matrix = told + noise * rng.standard_normal(told.shape)
            compared = compare_spaces(
                Ridge(),
                (y[:training], z[:training]),
                (y[training:], z[training:]),
                lambda codes: styles(net, codes),
            )
            print(_row(name, noise, "w", compared.w, str(compared.gain)))
            print(_row("", noise, "z, then mapped", compared.z, ""), flush=True)


def styles(net: StyleGAN3, z: Codes) -> Codes:
    """Return the truncated styles of codes, (n, w_dim)."""
    with torch.no_grad():
        ws = net.styles(torch.from_numpy(np.asarray(z, dtype=np.float32)))
    return ws[:, 0].numpy().astype(np.float64)


def _row(planted: str, noise: float, space: str, scores: SpaceScores, gain: str) -> str:
    return (
        f"| {planted} | {noise:g} | {space} | {scores.cosine.centred.value:.3f} "
        f"| {scores.correlation.mean.value:.3f} "
        f"| {scores.identification.pairwise.value:.3f} | {gain} |"
    )


def _heading(weights: Path, net: StyleGAN3, channels: int, training: int, test: int) -> str:
    return (
        "## Decoding w against decoding z\n\n"
        f"`python -m benchmarks.latent_spaces`, {datetime.now().astimezone():%Y-%m-%d}, "
        f"{platform.machine()}.\n"
        f"`{weights.name}`: {net.settings.z_dim} to {net.settings.w_dim} dimensions, "
        f"{net.settings.mapping_kwargs.num_layers} layers of mapping, psi {PSI}; {channels} "
        f"channels, {training:,} images fitted, {test} tested.\n"
    )


if __name__ == "__main__":
    typer.run(main)
