"""From an official pickle, once, to a file that is safe to load: safetensors with JSON in it.

Knows both files. Knows nothing of arithmetic. The settings travel in the header of the
safetensors file, as JSON, so that one digest names weights and settings together.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
import safetensors.numpy

from evolver.errors import WeightsError
from evolver.generators.stylegan3.settings import StyleGAN3Settings, expected, settings_from
from evolver.weights.kinds import kind_of, meaning
from evolver.weights.read import floats, parse_safetensors, read_bytes
from evolver.weights.safe_network import Module, StoredArray, read_network, tensors
from evolver.whole_files import write_whole

if TYPE_CHECKING:
    import torch

FORMAT = "stylegan3-1"
"""What the header of a converted file says it is."""
_ENTRY = "evolver"
_LONGEST_HEADER = 1 << 20


def convert_stylegan3(path: str | Path, out: str | Path) -> str:
    """Convert the moving-average generator in an official StyleGAN3 pickle.

    Nothing in the pickle is run; see `evolver.weights.safe_pickle`.

    Parameters
    ----------
    path : the pickle, as ``stylegan3-r-ffhq-1024x1024.pkl``
    out : the safetensors file to write, in one step; one that is there is replaced

    Returns
    -------
    str : the sha256 of what was written, which depends on nothing but the pickle

    Raises
    ------
    WeightsError
        The pickle cannot be read, holds what is not allowed, or is of another network; or `out`
        cannot be written.
    """
    path, out = Path(path), Path(out)
    value, content = read_network(path)
    networks = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    generator = networks.get("G_ema")
    if not isinstance(generator, Module) or generator.class_name != "Generator":
        raise WeightsError(f"{path} must hold a Generator called G_ema, as StyleGAN3's do")
    if not isinstance(given := generator.state.get("_init_args"), tuple) or given:
        raise WeightsError(f"{path} must hold its settings by name")
    settings = settings_from(generator.state.get("_init_kwargs"))
    weights = tensors(generator, at_most=len(content))
    _check(settings, weights, path)
    about = {
        "format": FORMAT,
        "config": msgspec.to_builtins(settings),
        "source_sha256": hashlib.sha256(content).hexdigest(),
    }
    # One entry: the order of several is anybody's, and the digest must not depend on it.
    header = {_ENTRY: json.dumps(about, sort_keys=True)}
    written = safetensors.numpy.save(
        {k: np.array(weights[k], np.float32, order="C") for k in sorted(weights)},
        metadata=header,
    )
    _replace(out, written)
    return hashlib.sha256(written).hexdigest()


def read_converted(
    path: Path, *, sha256: str | None = None
) -> tuple[StyleGAN3Settings, dict[str, torch.Tensor], str]:
    """Read what `convert_stylegan3` wrote.

    Parameters
    ----------
    path : the file
    sha256 : the digest it must have, 64 hexadecimal digits; any when None

    Returns
    -------
    settings : the network's settings
    tensors : its weights, float32
    sha256 : of the file

    Raises
    ------
    WeightsError
        The file is missing, or is no converted generator.
    """
    content = read_bytes(path)  # once: what is hashed is what is parsed
    kind = kind_of(content)
    if kind != "safetensors":
        raise WeightsError(
            f"{path} must be a converted StyleGAN3 generator, a safetensors file; it is "
            f"{meaning(kind)}"
        )
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{path} must have sha256 {sha256}; it has {digest}. Fetch it again")
    about = _about(content)
    if about.get("format") != FORMAT:
        raise WeightsError(
            f"{path} must be a converted StyleGAN3 generator, format {FORMAT!r}; "
            f"found {str(about.get('format'))[:80]!r}"
        )
    settings = settings_from(about.get("config"))
    weights = parse_safetensors(content, path)
    floats(weights, path=path)
    _check(settings, {k: v.float().numpy() for k, v in weights.items()}, path)
    return settings, weights, digest


def _about(content: bytes) -> dict[str, Any]:
    """Return what the header says of the network; nothing, if it is another's file."""
    (length,) = struct.unpack("<Q", content[:8])
    if length > _LONGEST_HEADER:
        return {}
    try:
        header = json.loads(content[8 : 8 + length])
        about = json.loads(header["__metadata__"][_ENTRY])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", about) if isinstance(about, dict) else {}


def _check(settings: StyleGAN3Settings, weights: dict[str, StoredArray], path: Path) -> None:
    """Raise `WeightsError` unless the tensors are those of a network with these settings."""
    wanted, shapes = dict(expected(settings)), {k: v.shape for k, v in weights.items()}
    if wanted != shapes:
        differences = sorted(set(wanted.items()) ^ set(shapes.items()))
        raise WeightsError(
            f"{path} must hold the tensors of its settings, by name and shape; it differs in "
            f"{differences[:4]}{' and more' if len(differences) > 4 else ''}"
        )
    for name, value in weights.items():
        if not np.issubdtype(value.dtype, np.floating) or not np.isfinite(value).all():
            raise WeightsError(f"{path} must hold finite numbers; {name} does not")
        if name.endswith("magnitude_ema") and not value > 0:
            raise WeightsError(f"{path}: {name} must be above 0; it is {value}")


def _replace(out: Path, content: bytes) -> None:
    try:
        write_whole(out, content)
    except OSError as error:
        raise WeightsError(f"weights must be written to {out}; {error}") from error
