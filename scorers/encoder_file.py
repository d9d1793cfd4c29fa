"""The file of a fitted encoder: what units answer, as a linear map of a network's features.

Knows bytes and arrays; FILE_FORMAT.md has the format. Knows nothing of images, and runs no
network: nothing in a file is run, and all of it is looked at before any is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from safetensors.numpy import save

from evolver import __version__
from evolver.errors import DataError, WeightsError
from evolver.regular_files import expanded
from evolver.weights.kinds import kind_of, meaning
from evolver.weights.read import parse_safetensors, read_bytes, safetensors_metadata
from evolver.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ENCODER_VERSION = 1
MOST_ENCODED = 1 << 20
"""Units of one file."""
_LARGEST_ENCODER = 2 << 30  # bytes of a file
_KEY = "evolver_encoder"  # in a safetensors file's metadata
_MOST_LAYERS = 1000


class EncoderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says beside its numbers: JSON in the metadata of a safetensors file."""

    version: int
    network: str
    """As addresses begin."""
    network_sha256: str
    """Of the weights that the features are of."""
    most_features: int
    """Above which a layer is smoothed and thinned."""
    layers: tuple[str, ...]
    labels: tuple[str, ...]
    """Of units; u."""
    areas: tuple[str, ...]
    quantity: str
    """What is predicted, as "spikes/s"."""
    window_ms: tuple[float, float] | None = None
    """Whose rate it is, after onset; None: not said."""
    baseline_ms: tuple[float, float] | None = None
    """Whose rate was taken off; None: none was, or it is not said."""
    made_by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedLayer:
    """The units that are predicted by one layer.

    Attributes
    ----------
    mean : (k,) float32, of the features
    weights : (v, k) float32, a row a unit
    units : (v,) int64, which of the file's units they are, ascending
    """

    mean: NDArray[np.float32]
    weights: NDArray[np.float32]
    units: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class UnitEncoder:
    """Units as linear maps: y = (features - mean) weights + constant.

    Attributes
    ----------
    facts : all but numbers
    layers : by name; every unit is in one
    constant : (u,) float32
    r : (u,) float32, correlation with images that the fit has not seen; NaN unknown
    sha256 : of the file; empty before there is one
    """

    facts: EncoderFacts
    layers: Mapping[str, EncodedLayer]
    constant: NDArray[np.float32]
    r: NDArray[np.float32]
    sha256: str = ""


def write_encoder(path: Path, encoder: UnitEncoder) -> str:
    """Write an encoder to a file, whole or not at all; return the file's sha256.

    Raises
    ------
    DataError
        Its numbers do not fit together, or are not finite.
    OSError
        It cannot be written there.
    """
    wrong = _wrong(encoder)
    if wrong:
        raise DataError(f"an encoder must be whole: {wrong}")
    tensors: dict[str, NDArray[np.generic]] = {
        "constant": np.ascontiguousarray(encoder.constant),
        "r": np.ascontiguousarray(encoder.r),
    }
    for i, name in enumerate(encoder.facts.layers):
        layer = encoder.layers[name]
        tensors[f"mean/{i}"] = np.ascontiguousarray(layer.mean)
        tensors[f"weights/{i}"] = np.ascontiguousarray(layer.weights)
        tensors[f"units/{i}"] = np.ascontiguousarray(layer.units)
    facts = msgspec.structs.replace(encoder.facts, made_by=f"evolver {__version__}")
    content = save(tensors, metadata={_KEY: msgspec.json.encode(facts).decode()})
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def read_encoder(path: str | Path) -> UnitEncoder:
    """Read an encoder.

    Parameters
    ----------
    path : the file; ``~`` at its start is the user's home

    Raises
    ------
    WeightsError
        The file is missing, damaged, too large, of another kind or of a later version.
    """
    place = expanded(path)
    if not place.exists():
        raise WeightsError(
            f"an encoder must be a file on this machine; {str(path)!r} is none. A relative "
            "path is of the folder that the command is called in"
        )
    content = read_bytes(place, at_most=_LARGEST_ENCODER)
    kind = kind_of(content)
    if kind != "safetensors":
        raise WeightsError(
            f"an encoder must be a file that was fitted and written as one; {place} is "
            f"{meaning(kind)}"
        )
    tensors = _arrays(content, place)
    facts = _facts(content, place)
    try:
        layers = {
            name: EncodedLayer(
                tensors[f"mean/{i}"], tensors[f"weights/{i}"], tensors[f"units/{i}"]
            )
            for i, name in enumerate(facts.layers)
        }
        constant, r = tensors["constant"], tensors["r"]
    except KeyError as error:
        raise WeightsError(
            f"{place} must hold the numbers of each layer that it names; {error} is missing"
        ) from error
    encoder = UnitEncoder(facts, layers, constant, r, hashlib.sha256(content).hexdigest())
    wrong = _wrong(encoder)
    if wrong:
        raise WeightsError(f"{place} must hold a whole encoder: {wrong}. Fit it again")
    return encoder


def _arrays(content: bytes, place: Path) -> dict[str, NDArray[Any]]:
    tensors = parse_safetensors(content, place)
    try:
        return {name: value.numpy() for name, value in tensors.items()}
    except TypeError as error:  # numbers that numpy has not, as bfloat16
        raise WeightsError(f"{place} must hold float32 and int64; {error}") from error


def _facts(content: bytes, place: Path) -> EncoderFacts:
    """Return what a safetensors file, that was parsed already, says as an encoder's."""
    try:
        text = safetensors_metadata(content)[_KEY]
        version = msgspec.json.decode(text, type=_Version).version
        if version != ENCODER_VERSION:
            raise WeightsError(
                f"{place} must be an encoder of version {ENCODER_VERSION}; it has {version}, "
                "which another release of evolver wrote"
            )
        return msgspec.json.decode(text, type=EncoderFacts)
    except KeyError as error:
        raise WeightsError(
            f"an encoder must be a file that was fitted and written as one; {place} holds "
            "tensors of something else"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{place} must say what it is an encoder of; {str(error)[:200]}"
        ) from error


class _Version(msgspec.Struct):
    version: int


def _wrong(encoder: UnitEncoder) -> str:
    """Return what is wrong with an encoder; nothing where it is whole."""
    facts, layers = encoder.facts, encoder.layers
    u = len(facts.labels)
    if not 1 <= u <= MOST_ENCODED or len(facts.areas) != u:
        return (
            f"1 to {MOST_ENCODED:,} units must each have an area; {u} have {len(facts.areas)}"
        )
    listed = facts.layers
    if not 1 <= len(listed) <= _MOST_LAYERS or sorted(listed) != sorted(layers):
        return f"its layers must be 1 to {_MOST_LAYERS}, each once; got {len(listed)}"
    for name, values in {"constant": encoder.constant, "r": encoder.r}.items():
        if values.dtype != np.float32 or values.shape != (u,):
            return f"{name} must be ({u},) float32; it is {values.shape} {values.dtype}"
    if not np.isfinite(encoder.constant).all():
        return "constant must be finite"
    for name, layer in layers.items():
        if (layer.mean.ndim, layer.weights.ndim, layer.units.ndim) != (1, 2, 1):
            return f"{name} must have a mean, a table of weights, and units"
        v, k = len(layer.units), len(layer.mean)
        dtypes = layer.mean.dtype, layer.weights.dtype, layer.units.dtype
        if dtypes != (np.float32, np.float32, np.int64):
            return f"{name} must be float32, float32 and int64; it is {dtypes}"
        shapes = layer.mean.shape, layer.weights.shape, layer.units.shape
        if shapes != ((k,), (v, k), (v,)):
            return f"{name} must have a weight for each feature and unit; it has {shapes}"
        if not (np.isfinite(layer.mean).all() and np.isfinite(layer.weights).all()):
            return f"the numbers of {name} must be finite"
    units = np.concatenate([layer.units for layer in layers.values()])
    if not np.array_equal(np.sort(units), np.arange(u)):
        return f"each of {u} units must be in one layer"
    return ""
