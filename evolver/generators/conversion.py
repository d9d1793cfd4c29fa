"""Weight files of all kinds to safetensors, once: smaller to trust, and quicker to load.

Knows which generators name and scale their tensors in a way of their own. Knows nothing of the
files' bytes (`weights`) nor of where they come from (`hub`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import safetensors.torch
import torch

from evolver.errors import ConfigError, WeightsError
from evolver.generators import deepsim, pggan
from evolver.weights.read import fill, read_weights
from evolver.weights.torch_files import ROW

_PICKLE = b"\x80"


def convert_weights(source: Path, out: Path, *, generator: str) -> str:
    """Write what is in a weight file as safetensors, as the generator takes it.

    Parameters
    ----------
    source : `.pt`, `.bin`, `.params`, `.safetensors`, or an official StyleGAN3 pickle
    out : the file to write; it must not be there
    generator : what the weights are for

    Returns
    -------
    str : the sha256 of what was written, 64 hexadecimal digits

    Raises
    ------
    ConfigError
        `out` is there already, or the generator has no weights of its own kind.
    WeightsError
        The file cannot be read, or not be written, or is not of this generator.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; name another file")
    if generator == "stylegan3":
        from evolver.generators.stylegan3.convert import convert_stylegan3

        return convert_stylegan3(source, out)
    tensors, digest = read_weights(_not_a_pickle(source))
    if generator in {f"deepsim-{variant}" for variant in deepsim.VARIANTS}:
        tensors = deepsim.deepsim_names(tensors, path=source)
        with torch.device("meta"):
            fill(deepsim.DeepSimNet(generator.removeprefix("deepsim-")), tensors, path=source)
    elif generator == "pggan":
        tensors = pggan.pggan_names(tensors, path=source)
        fill(pggan.outline(tensors, path=source), tensors, path=source)
    elif not generator.startswith(("biggan-deep-", "mini-")):
        raise ConfigError(
            f"generator must be one of {', '.join(f'deepsim-{v}' for v in deepsim.VARIANTS)}, "
            f"biggan-deep-..., pggan, stylegan3 or mini-...; found {generator!r}"
        )
    # One entry of metadata: the order of several is anybody's, and the digest must not be.
    content = safetensors.torch.save(
        {name: tensors[name].contiguous() for name in sorted(tensors)},
        metadata={"source_sha256": digest},
    )
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WeightsError(f"{out} cannot be written: {error}") from error
    return hashlib.sha256(content).hexdigest()


def _not_a_pickle(source: Path) -> Path:
    try:
        with source.open("rb") as file:
            start = file.read(len(ROW))
    except OSError as error:
        raise WeightsError(
            f"weights must be a file that can be read; {source}: {error}"
        ) from error
    if start.startswith(_PICKLE) and start != ROW:
        raise WeightsError(
            f"{source} must be a file of tensors; it is a pickle, which would run what is in "
            "it. An official pickle of StyleGAN3 is converted by --as stylegan3"
        )
    return source
