"""Weight files: read without running anything in them, and only when they are the ones named.

Knows safetensors, torch's and MXNet's files by their first bytes, and digests. Knows nothing of
architectures, nor of where files lie or come from (`hub`). Weights may be stored as float16;
they are widened to float32 here, once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError

from evolver.errors import ConfigError, WeightsError
from evolver.weights.mxnet_files import LIST, read_mxnet
from evolver.weights.torch_files import ROW, ZIP, read_torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST = 4 << 30
"""Bytes of a weight file; larger ones are refused before they are read."""


def read_weights(
    path: Path, *, sha256: str | None = None
) -> tuple[dict[str, torch.Tensor], str]:
    """Read a safetensors file, torch's `.pt` or `.bin`, or MXNet's `.params`.

    Parameters
    ----------
    path : the file; what it is, its first bytes say
    sha256 : the digest it must have, 64 hexadecimal digits; any when None

    Returns
    -------
    tensors : floating-point ones as float32, others as stored
    sha256 : the digest of what was read

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another kind, or is not the one named.
    """
    content = read_bytes(path)  # once: what is hashed is what is parsed
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise WeightsError(
            f"{path} must have sha256 {sha256}; it has {digest}. It was changed or cut short: "
            "install the package again, or name your own file with weights="
        )
    tensors = _parse(content, path)
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, digest


def read_bytes(path: Path) -> bytes:
    """Return what is in a file; raise `WeightsError` where it cannot, or it is too large."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise WeightsError(
                f"weights must be a file of at most {LARGEST >> 30} GiB; {path} has {size} B"
            )
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"weights must be a file that can be read; {path}: {error}"
        ) from error


def _parse(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    if content.startswith((ZIP, ROW)):
        return read_torch(content, path=path)
    if content.startswith(LIST):
        arrays = read_mxnet(content, path=path)
        return {name: torch.as_tensor(array.copy()) for name, array in arrays.items()}
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:  # a dtype torch lacks is a KeyError
        raise WeightsError(
            "weights must be a safetensors file, or one of torch's or MXNet's; "
            f"{path}: {str(error)[:200]}"
        ) from error


def fill(net: torch.nn.Module, tensors: Mapping[str, torch.Tensor], *, path: Path) -> None:
    """Put tensors into a network that must want exactly these, by name and shape.

    A network on torch's `meta` device, which has shapes and no numbers, takes them as its own.

    Raises
    ------
    WeightsError
        A tensor is missing, too many, or of another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != given:
        differences = sorted(set(wanted.items()) ^ set(given.items()))
        raise WeightsError(
            f"{path} must hold the tensors of {type(net).__name__}, by name and shape; "
            f"it differs in {differences[:4]}{' and more' if len(differences) > 4 else ''}"
        )
    on_meta = any(value.is_meta for value in net.state_dict().values())
    net.load_state_dict(dict(tensors), assign=on_meta)


def chosen_device(name: str) -> torch.device:
    """Return the torch device of that name; raise `ConfigError` if this machine has none."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device must be one torch can use here, as 'cpu'; {name!r}: {reason}"
        ) from error
    return device
