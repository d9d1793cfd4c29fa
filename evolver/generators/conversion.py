"""Weight files of all kinds to safetensors, once: smaller to trust, and quicker to load.

Knows which generators name and scale their tensors in a way of their own. Knows nothing of the
files' bytes (`weights`) nor of where they come from (`hub`).
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

import safetensors.torch

from evolver.errors import ConfigError, WeightsError
from evolver.generators import deepsim, pggan
from evolver.weights.read import TensorTable, fitted, read_weight_file


def convert_weights(
    source: Path, out: Path, *, generator: str, entry: str | None = None
) -> str:
    """Write what is in a weight file as safetensors, as the generator takes it.

    Parameters
    ----------
    source : `.pt`, `.bin`, `.params`, `.safetensors`, or an official StyleGAN3 pickle
    out : the file to write; it must not be there
    generator : what the weights are for
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

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
    file = read_weight_file(source)
    tensors = fitted(file, partial(_checked, generator, path=source), entry=entry)
    # One entry of metadata: the order of several is anybody's, and the digest must not be.
    content = safetensors.torch.save(
        {name: tensors[name].contiguous() for name in sorted(tensors)},
        metadata={"source_sha256": file.sha256},
    )
    unfinished = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(out)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise WeightsError(f"{out} cannot be written: {error}") from error
    return hashlib.sha256(content).hexdigest()


def _checked(generator: str, tensors: TensorTable, *, path: Path) -> TensorTable:
    """Return tensors as the generator takes them; `WeightsError` if another's."""
    if generator in {f"deepsim-{variant}" for variant in deepsim.VARIANTS}:
        net = deepsim.deepsim_net(generator.removeprefix("deepsim-"), tensors, path=path)
        return net.state_dict()
    if generator == "pggan":
        return pggan.pggan_net(tensors, path=path).state_dict()
    if not generator.startswith(("biggan-deep-", "mini-")):
        raise ConfigError(
            f"generator must be one of {', '.join(f'deepsim-{v}' for v in deepsim.VARIANTS)}, "
            f"biggan-deep-..., pggan, stylegan3 or mini-...; found {generator!r}"
        )
    return tensors
