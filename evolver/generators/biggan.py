"""BigGAN-deep (Brock et al. 2019), run by the package pytorch-pretrained-biggan.

Knows the package's ways, and closes its traps: a model comes out of it in training mode, with
weights that were never compared with what it needs, from a bucket that may be gone. Knows
nothing of scores or of seeds.

A code is noise and a class embedding, side by side. The truncation picks the statistics that
the network was measured with at so wide a noise. Between two of the 51 that are stored, the
package mixes them with their weights exchanged, and at 0.14, 0.28, 0.56, 0.58 and 0.94 rounding
makes it mix where it should not; both are kept as they are, for the sake of comparison. At 0.7,
which the field uses, the statistics are exact.

Source: A. Brock, J. Donahue and K. Simonyan, "Large scale GAN training for high fidelity
natural image synthesis", ICLR 2019.
"""

from __future__ import annotations

import copy
import hashlib
from functools import lru_cache, partial
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.request import Request, urlopen

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import nn

from evolver.errors import ConfigError, WeightsError
from evolver.generators.frozen import FrozenGenerator
from evolver.generators.scale import CodeScale
from evolver.regular_files import expanded
from evolver.tensors import channels_last, vector_norm
from evolver.weights import hub
from evolver.weights.outlines import without_numbers
from evolver.weights.read import (
    TensorTable,
    chosen_device,
    fill,
    fitted,
    floats,
    read_bytes,
    read_weight_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evolver.types import Codes, Matrix
    from evolver.weights.catalogue import KnownFile

NOISE = 0.7  # standard deviation of the noise that codes start with
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ASKED_S = 10.0  # of a server that may be gone, seconds

_Width = Annotated[int, Meta(ge=1, le=4096)]


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    """What config.json says; bounds are generous, and keep a hostile file small."""

    output_dim: _Width
    z_dim: _Width
    class_embed_dim: _Width
    channel_width: Annotated[int, Meta(ge=8, le=1024)]
    num_classes: Annotated[int, Meta(ge=1, le=100_000)]
    layers: Annotated[
        list[tuple[bool, Annotated[int, Meta(ge=1, le=64)], Annotated[int, Meta(ge=1, le=64)]]],
        Meta(min_length=1, max_length=32),
    ]
    attention_layer_position: Annotated[int, Meta(ge=0, le=32)]
    eps: Annotated[float, Meta(gt=0, lt=1)]
    n_stats: Annotated[int, Meta(ge=2, le=1000)]


class BigGanNet(nn.Module):
    """The package's generator at one truncation.

    Parameters
    ----------
    generator : of a pytorch_pretrained_biggan.BigGAN, its weights in place
    truncation : above 0, at most 1
    """

    def __init__(self, generator: nn.Module, truncation: float) -> None:
        super().__init__()
        self.generator, self.truncation = generator, truncation

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into images (n, 3, h, w), 0 to 1."""
        drawn: torch.Tensor = self.generator(z, self.truncation)
        return ((drawn + 1) / 2).clamp(0, 1)


def load_biggan(
    size: int,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    chunk: int = 4,
    truncation: float = 0.7,
    classes: int | Sequence[int] | None = None,
    revision: str | None = None,
    sha256: str | None = None,
    entry: str | None = None,
) -> FrozenGenerator:
    """Load ``biggan-deep-SIZE``.

    Parameters
    ----------
    size : 128, 256 or 512
    weights : a folder with config.json and pytorch_model.bin or model.safetensors; one of the
        two last, with config.json beside it; ``repo:file`` on the Hub; by name when None
    device : a torch device, "cpu" or "cuda:0"
    chunk : images drawn at once; bounds memory
    truncation : above 0, at most 1
    classes : numbers of the classes that initial codes are of; any when None
    revision : commit, tag or branch on the Hub
    sha256 : the digest the weight file must have
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    ConfigError
        An option or the device does not exist, or the package is not installed.
    WeightsError
        A file is missing, cannot be fetched, or does not fit the other.
    """
    name = f"biggan-deep-{size}"
    _check_truncation(truncation)
    target = chosen_device(device)
    config_file, weight_file, expected = _files(name, weights, revision)
    config = _read_config(config_file)
    file = read_weight_file(weight_file, sha256=sha256 or expected)
    model = _blank(config)
    fitted(file, partial(_fill, model, path=weight_file), entry=entry)
    model.eval()
    # Spectral normalisation divides by a constant from now on: once, and not at every image.
    # In training mode it would move the constant at every image.
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
    table = model.embeddings.weight.detach().T.double().numpy().copy()  # (classes, k)
    d, k = config.z_dim + config.class_embed_dim, config.class_embed_dim
    return FrozenGenerator(
        name,
        channels_last(BigGanNet(model.generator, float(truncation))),
        d=d,
        image_size=config.output_dim,
        sha256=file.sha256,
        device=target,
        chunk=chunk,
        initial=partial(_initial, table, config.z_dim, _chosen(classes, len(table))),
        parts={"noise": (0, d - k), "class": (d - k, d)},
        embeddings=table,
        code_scale=CodeScale(
            0.2, NOISE * config.z_dim**0.5, {"noise": 0.3, "class": 0.06}, rate=0.003, reach=0.4
        ),
    )


def _check_truncation(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"truncation must be a number; got {value!r}")
    if not 0 < value <= 1:
        raise ConfigError(f"truncation must be above 0 and at most 1; got {value}")


def _initial(
    table: Matrix, noise: int, classes: Sequence[int], n: int, rng: np.random.Generator
) -> Codes:
    drawn = NOISE * rng.standard_normal((n, noise))
    return np.hstack([drawn, table[rng.choice(np.asarray(classes), size=n)]])


def _chosen(classes: object, count: int) -> Sequence[int]:
    if classes is None:
        return range(count)
    several = isinstance(classes, list | tuple)
    entries = cast("Sequence[object]", classes) if several else [classes]
    numbers = [entry for entry in entries if type(entry) is int and 0 <= entry < count]
    if not numbers or len(numbers) < len(entries):
        raise ConfigError(
            f"classes must be one or more class numbers, 0 to {count - 1}; got {classes!r}"
        )
    return numbers


def _blank(config: _Config) -> Any:  # noqa: ANN401
    """Return the package's model without weights, of which nothing is shared."""
    _package()
    return copy.deepcopy(_made(msgspec.json.encode(config)))


@lru_cache(maxsize=4)
def _made(config: bytes) -> Any:  # noqa: ANN401
    """Make the package's model without weights, which takes most of a second."""
    package = _package()
    with without_numbers():
        return package.BigGAN(package.BigGANConfig.from_dict(msgspec.json.decode(config)))


def _fill(model: nn.Module, tensors: TensorTable, *, path: Path) -> None:
    fill(model, _with_v(model, floats(tensors, path=path)), path=path)


def _with_v(model: nn.Module, given: TensorTable) -> dict[str, torch.Tensor]:
    """Return the tensors as today's torch names them.

    Before torch 1.1, spectral normalisation stored the divided weight instead of the right
    singular vector, v. Both follow from what else there is: weight = weight_orig / sigma, with
    sigma = u' W v, so any v with that product does; W'u scaled is the one of power iteration.
    """
    tensors = dict(given)
    for name in model.state_dict():
        stem = name.removesuffix("_v")
        if stem == name or name in tensors or not {stem, f"{stem}_orig"} <= set(tensors):
            continue
        weight, original = tensors.pop(stem), tensors[f"{stem}_orig"]
        u = tensors.get(f"{stem}_u")
        if u is None or original.ndim < 2 or u.shape != original.shape[:1]:
            continue  # `fill` says what is missing
        rows = original.flatten(1)
        back = rows.T @ u
        sigma = float(vector_norm(original) / vector_norm(weight).clamp(min=1e-30))
        tensors[name] = back * (sigma / (back @ back).clamp(min=1e-30))
    return tensors


def _read_config(path: Path) -> _Config:
    content = read_bytes(path)
    try:
        config = msgspec.json.decode(content, type=_Config)
    except msgspec.DecodeError as error:
        raise WeightsError(f"{path} must be BigGAN's configuration: {error}") from error
    doubled = 4 * 2 ** sum(layer[0] for layer in config.layers)
    if config.output_dim != doubled or config.z_dim != config.class_embed_dim:
        raise WeightsError(
            f"{path} must describe a network that fits together; its layers draw {doubled} "
            f"pixels and output_dim is {config.output_dim}; z_dim is {config.z_dim} and "
            f"class_embed_dim {config.class_embed_dim}, which must be equal"
        )
    return config


def _files(
    name: str, weights: str | Path | None, revision: str | None
) -> tuple[Path, Path, str | None]:
    """Return configuration, weights, and the digest the weights must have, if it is known."""
    if weights is None:
        config, model = _by_name(name)
        return config, model, None
    location = hub.find_weights(name, weights, revision=revision)
    if location.path.is_dir():
        return (*_in_folder(name, location.path), None)
    start = f"{name}-" if location.path.name.startswith(f"{name}-") else ""
    beside_it = [location.path.parent / f"{s}{_CONFIG}" for s in dict.fromkeys((start, ""))]
    config = next((path for path in beside_it if path.is_file()), None)
    if config is None:
        if expanded(weights).exists():
            raise WeightsError(
                f"{_CONFIG} must lie beside {location.path}, or {name}-{_CONFIG}: it says how "
                f"the network is built, and is needed next. It is published at "
                f"{hub.known_files(name)[1].page}"
            )
        repo, _, file = str(weights).partition(":")
        beside = f"{repo}:{file.rpartition('/')[0]}/{_CONFIG}".replace(":/", ":")
        config = hub.find_weights(name, beside, revision=revision).path
    return config, location.path, location.sha256


def _in_folder(name: str, folder: Path) -> tuple[Path, Path]:
    """Return configuration and weights in a folder, by their own names or the bucket's."""
    starts = ("", f"{name}-")
    configs = [folder / f"{s}{_CONFIG}" for s in starts]
    files = [folder / f"{s}{w}" for s in starts for w in _WEIGHTS]
    config = next((path for path in configs if path.is_file()), None)
    weights = next((path for path in files if path.is_file()), None)
    if config is None or weights is None:
        missing = [
            *([_CONFIG] if config is None else []),
            *([" or ".join(_WEIGHTS)] if weights is None else []),
        ]
        raise WeightsError(
            f"{folder} must hold {_CONFIG} and {' or '.join(_WEIGHTS)}, or the same after "
            f"'{name}-'; needed next: {', '.join(missing)}. It holds "
            f"{', '.join(sorted(p.name for p in folder.iterdir())[:8]) or 'nothing'}"
        )
    return config, weights


def _by_name(name: str) -> tuple[Path, Path]:
    """Return configuration and weights: put there by hand, or fetched by the package."""
    weights, config = map(fetch_biggan, hub.known_files(name))
    return config, weights


def local_biggan_file(wanted: KnownFile) -> Path | None:
    """Return where a file lies: put there by hand, or in the package's cache; or None."""
    if (by_hand := hub.by_hand_file(wanted)) is not None:
        return by_hand
    cache = Path(_package().PYTORCH_PRETRAINED_BIGGAN_CACHE)
    # The package would ask the bucket even for what it has: the name begins with the address's
    # digest, and the rest is the bucket's word.
    named = hashlib.sha256(str(wanted.page).encode()).hexdigest()
    return next((p for p in sorted(cache.glob(f"{named}*")) if p.suffix != ".json"), None)


def fetch_biggan(wanted: KnownFile) -> Path:
    """Return where a file lies, after the package has fetched it if need be.

    Raises
    ------
    WeightsError
        It is not here, and may not be fetched, or the bucket it was published in does not give
        it.
    """
    if (path := local_biggan_file(wanted)) is not None:
        return path
    if hub.offline():
        raise hub.missing_file(wanted, "HF_HUB_OFFLINE says to ask nobody for it")
    hub.check_may_fetch(wanted)
    url = str(wanted.page)
    try:
        # The package waits without end, and takes a file cut short for a whole one.
        with urlopen(Request(url, method="HEAD"), timeout=_ASKED_S) as answer:
            length = answer.headers.get("Content-Length")
        path = Path(_package().cached_path(url))
        if length is not None and path.stat().st_size != int(length):
            path.unlink()
            raise OSError("it was cut short")
    except (OSError, ValueError, HTTPException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise hub.missing_file(
            wanted, f"the bucket it was published in says: {reason}"
        ) from error
    return path


def _package() -> Any:  # noqa: ANN401  it is untyped
    try:
        import pytorch_pretrained_biggan
    except ImportError as error:
        raise ConfigError(
            "BigGAN needs the package pytorch-pretrained-biggan; install it by "
            f"'pip install pytorch-pretrained-biggan': {error}"
        ) from error
    return pytorch_pretrained_biggan


deep_128, deep_256, deep_512 = (partial(load_biggan, size) for size in (128, 256, 512))
