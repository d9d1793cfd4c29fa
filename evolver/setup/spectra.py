"""The directions that a generator answers to: computed once, kept, and read from files.

Of two kinds: the right singular vectors of the weights that a code meets first (a minute of
processor time at 4096 by 4096), and the eigenvectors of the image metric (`evolver.metric`).
Knows generators, files and this user's cache, where what was computed lies under a name that
depends on the weights and on how it was computed. Knows nothing of searches.

A file is a safetensors file: ``vectors`` (m, d) float64, one a row, orthonormal, leading first;
``values`` (v,) float64, v >= m, descending eigenvalues, squared singular values; and, in the
metadata of files that evolver writes, `SpectrumFacts` as JSON.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from platformdirs import user_cache_path

from evolver import metric, seeds
from evolver.config.axes_table import FIRST_LAYER, METRIC
from evolver.errors import ConfigError, DataError, WeightsError
from evolver.metric.average import average
from evolver.metric.file import PARTS
from evolver.metric.products import leading
from evolver.weights.file_bytes import read_bytes
from evolver.weights.kinds import kind_of, meaning
from evolver.weights.read import parse_safetensors, safetensors_metadata
from evolver.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evolver.types import Generator, Matrix, Vector

logger = logging.getLogger(__name__)

SPECTRUM_VERSION = 1
_KEY = "evolver_axes"  # in a safetensors file's metadata
_LARGEST = 1 << 30  # bytes of a file
_KEPT = 0.9999  # of the energy: axes up to there are kept, or as many as were asked for
_DENSE = 1024  # dimensions up to which the whole metric is computed
_POINTS = 4  # codes that the metric is averaged over
_ROUNDED = 1e-5  # of the largest eigenvalue: a smaller negative one is a 0 of float32
_NOTHING = 1e-12  # of the largest eigenvalue: a direction that the generator does not answer to


class SpectrumFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a spectrum is of."""

    version: int
    generator: str
    weights_sha256: str
    source: str  # 'first-layer' or 'metric'
    first: int  # of these dimensions of the code: first, and one past last
    last: int
    whole: bool  # whether `values` are all eigenvalues there are
    sha256: str = ""  # of values and vectors
    settings: str = ""  # what else they depend on


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Directions of latent space, those that a generator answers to most first."""

    values: Vector  # (v,) >= 0, descending: eigenvalues, as far as they are known
    vectors: Matrix  # (m, d) orthonormal rows, m <= v, of the first of them
    whole: bool  # whether no eigenvalue is missing

    @property
    def energy(self) -> Vector:
        """Share of the sum of values that the first 1, 2, ... m directions have, (m,)."""
        parts = self.values / self.values.max()  # whose sum is finite however large they are
        shares = np.cumsum(parts) / parts.sum()
        return np.minimum(shares[: len(self.vectors)], 1.0)


def generator_spectrum(
    generator: Generator,
    source: str,
    *,
    span: tuple[int, int] | None = None,
    k: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Spectrum:
    """Return a generator's leading directions, from this user's cache or computed.

    Parameters
    ----------
    generator : Generator
    source : `FIRST_LAYER` or `METRIC`
    span : first, and one past last, of the dimensions they are of; all by default
    k : how many are needed; None: those with 0.9999 of the energy
    options : that the generator was loaded with

    Raises
    ------
    ConfigError
        The generator does not say which weights a code meets first, or there is no metric of
        these dimensions; the message says what to do.
    DataError
        As `evolver.metric.products.directions`.
    """
    first, last = span or (0, generator.d)
    settings: dict[str, Any] = {"options": dict(options or {})}
    if source == METRIC:
        dense = last - first <= _DENSE
        if k is None and not dense:
            raise ConfigError(
                f"k must be given for a metric of {last - first} dimensions: all of its "
                f"eigenvalues, of which energy is a share, are computed up to {_DENSE}. Say k, "
                "or take source = 'first-layer'"
            )
        settings |= {"points": _POINTS, "k": None if dense else k}
    facts = SpectrumFacts(
        version=SPECTRUM_VERSION,
        generator=generator.name,
        weights_sha256=generator.sha256,
        source=source,
        first=first,
        last=last,
        whole=source == FIRST_LAYER or last - first <= _DENSE,
        settings=msgspec.json.encode(settings, order="deterministic").decode(),
    )
    path = spectra_folder() / f"{_name(facts)}.safetensors"
    kept = _kept(path, facts)
    if kept is not None and (k is None or k <= len(kept.vectors)):
        return kept
    logger.info("computing the axes of %s (%s)", generator.name, source)
    values, vectors = (
        _first_layer(generator, (first, last))
        if source == FIRST_LAYER
        else _metric(generator, (first, last), k)
    )
    energies = np.cumsum(values) / values.sum()
    # Rounding leaves a direction that nothing answers to a value that is not quite zero.
    answered = int((values > _NOTHING * values[0]).sum())
    needed = max(k or 1, int(np.searchsorted(energies, _KEPT)) + 1)
    vectors = np.ascontiguousarray(vectors[: min(needed, answered)])
    _keep(path, facts, values, vectors)
    # As it will be read the next time: whoever computes it goes on with the same bits.
    return Spectrum(values, vectors, facts.whole)


def spectra_folder() -> Path:
    """Return the folder of what was computed."""
    return user_cache_path("evolver") / "axes"


def _name(facts: SpectrumFacts) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def _first_layer(generator: Generator, span: tuple[int, int]) -> tuple[Vector, Matrix]:
    """Return squared singular values of the first weights, and right singular vectors in rows.

    Of several layers that a code meets first, they stand one below the other.
    """
    weights_of = getattr(generator, "first_weights", None)
    stated: list[Matrix] | None = None if weights_of is None else weights_of()
    if not stated:
        raise ConfigError(
            f"source must be 'metric' or a file: {generator.name} has no first linear layer "
            "that its code meets, or does not say which it is"
        )
    weights = np.concatenate(stated, axis=1)  # (d, outputs)
    if len(weights) != generator.d:
        raise ConfigError(
            f"source must be 'metric' or a file: the first weights of {generator.name} meet "
            f"{len(weights)} numbers that are made of its code, not the {generator.d} of the "
            "code itself. Its codes of the space 'w' have such weights"
        )
    own = weights[span[0] : span[1]]
    if own.shape[1] < own.shape[0]:  # no more directions than outputs
        vectors, singular, _ = np.linalg.svd(own, full_matrices=False)
        return singular**2, _signed(vectors.T)
    values, columns = leading(own @ own.T, len(own))
    return values, columns.T


def _signed(rows: Matrix) -> Matrix:
    """Return directions, (m, d), of which the largest number of each is positive."""
    top = np.abs(rows).argmax(axis=1)
    return rows * np.where(rows[range(len(rows)), top] < 0, -1.0, 1.0)[:, None]


def _metric(
    generator: Generator, span: tuple[int, int], k: int | None
) -> tuple[Vector, Matrix]:
    """Return eigenvalues of the metric in pixels, averaged over codes, and its eigenvectors."""
    d = span[1] - span[0]
    parts: Mapping[str, tuple[int, int]] = getattr(generator, "parts", {})
    names = [name for name, of in parts.items() if of == span]
    if span != (0, generator.d) and not names:
        known = ", ".join(f"{name} {list(of)}" for name, of in parts.items())
        raise ConfigError(
            f"a metric must be of all of the code, or of a part with a name: {generator.name} "
            f"has {known or 'none'}; got {list(span)}"
        )
    points = np.concatenate([
        generator.initial_codes(1, rng=seeds.stream(0, "axes", i)) for i in range(_POINTS)
    ])
    part = "" if span == (0, generator.d) else names[0]
    computed = average(generator, points, k=d if d <= _DENSE else k or d, part=part)
    return computed.eigenvalues, computed.eigenvectors.T


def _keep(path: Path, facts: SpectrumFacts, values: Vector, vectors: Matrix) -> None:
    """Keep what was computed; a folder that cannot be written costs computing it again."""
    from safetensors.numpy import save

    facts = msgspec.structs.replace(facts, sha256=_digest(values, vectors))
    tensors = {
        "values": np.ascontiguousarray(values, "<f8"),
        "vectors": np.ascontiguousarray(vectors, "<f8"),
    }
    try:
        write_whole(path, save(tensors, metadata={_KEY: msgspec.json.encode(facts).decode()}))
    except OSError as error:
        logger.warning("not kept for the next time: %s", error)


def _kept(path: Path, wanted: SpectrumFacts) -> Spectrum | None:
    """Return what was kept; None where there is nothing, or it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    try:
        spectrum, facts = _file(path, status.st_mtime_ns, status.st_size)
    except (WeightsError, DataError) as error:
        logger.warning("computed anew, as %s cannot be read: %s", path, error)
        return None
    if facts is None or msgspec.structs.replace(facts, sha256="") != wanted:
        logger.warning("computed anew, as %s is not of what its name says", path)
        return None
    return spectrum


def read_spectrum(
    path: str | Path, generator: Generator, *, span: tuple[int, int] | None = None
) -> Spectrum:
    """Read directions from a file: of this room, a metric's, or one in a public layout.

    Parameters
    ----------
    path : .safetensors as the head of this file says; any other is an npz, as
        `evolver.metric.read_metric` reads it
    generator, span : that they must be of, as far as the file says

    Raises
    ------
    ConfigError
        The file is missing, cannot be read, or is of another generator or other dimensions.
    DataError
        Its numbers are no orthonormal directions.
    """
    first, last = span or (0, generator.d)
    if not Path(path).expanduser().exists():
        raise ConfigError(
            f"source must be {FIRST_LAYER!r}, {METRIC!r}, or a file; there is none called "
            f"{str(path)!r} in {Path.cwd()}, where the command was called"
        )
    if Path(path).suffix != ".safetensors":
        try:
            return _of_metric_file(path, generator, (first, last))
        except ConfigError as error:  # which calls the file what `hessian` calls it
            text = str(error)
            if text.startswith("basis "):
                text = f"source {text.removeprefix('basis ')}"
            raise ConfigError(text) from error
    try:
        place = Path(path).expanduser()
        status = place.stat()
        spectrum, facts = _file(place, status.st_mtime_ns, status.st_size)
    except (OSError, RuntimeError, WeightsError) as error:
        raise ConfigError(f"source must be a file of axes; {path}: {error}") from error
    if facts is not None:
        stated = (facts.generator, facts.weights_sha256, facts.first, facts.last)
        ours = (generator.name, generator.sha256, first, last)
        if stated != ours:
            raise ConfigError(
                f"{path} must be of the generator that draws, and of the dimensions searched; "
                f"it is of {_of(*stated)}, and this is {_of(*ours)}"
            )
    if spectrum.vectors.shape[1] != last - first:
        raise DataError(
            f"vectors in {path} must be (m, {last - first}), one a row; got "
            f"{spectrum.vectors.shape}"
        )
    return spectrum


def _of(generator: str, sha256: str, first: int, last: int) -> str:
    return f"{generator} with weights of sha256 {sha256}, dimensions {first} to {last}"


def _of_metric_file(path: str | Path, generator: Generator, span: tuple[int, int]) -> Spectrum:
    """Read a metric's file; of public ones of BigGAN's halves, that of the half."""
    d = span[1] - span[0]
    parts: Mapping[str, tuple[int, int]] = getattr(generator, "parts", {})
    halves: dict[str, str] = dict(zip(("noise", "class"), PARTS, strict=True))
    part = next((halves[name] for name, of in parts.items() if of == span), None)
    provenance = metric.read_provenance(path)
    whole_code = span == (0, generator.d)
    part = None if provenance is not None or whole_code else part
    metric.check_generator(
        provenance,
        path,
        generator=generator.name,
        sha256=generator.sha256,
        remedy="Compute its own: 'evolver metric compute'",
    )
    if provenance is not None and (provenance.first, provenance.last) != span:
        raise ConfigError(
            f"{path} must be of the dimensions searched, {list(span)}; it is of "
            f"{[provenance.first, provenance.last]}"
        )
    leading_directions = metric.read_metric(path, d=d, part=part)
    return Spectrum(
        leading_directions.eigenvalues,
        np.ascontiguousarray(leading_directions.eigenvectors.T),
        whole=len(leading_directions.eigenvalues) == d,
    )


@lru_cache(maxsize=4)
def _file(path: Path, time_ns: int, size: int) -> tuple[Spectrum, SpectrumFacts | None]:
    """Read a file of axes; the same one of the same age once, as a campaign's tasks ask for it.

    Raises
    ------
    WeightsError
        It cannot be read, or says that it had other numbers.
    DataError
        Its numbers are no spectrum.
    """
    del time_ns, size
    content = read_bytes(path, at_most=_LARGEST)
    if (kind := kind_of(content)) != "safetensors":
        raise WeightsError(f"{path} must be a safetensors file; it is {meaning(kind)}")
    try:
        tensors = {
            name: tensor.double().numpy()
            for name, tensor in parse_safetensors(content, path).items()
            if name in {"values", "vectors"}
        }
    except TypeError as error:
        raise WeightsError(f"{path} must hold real numbers; {error}") from error
    if "vectors" not in tensors:
        raise WeightsError(f"{path} must hold axes, 'vectors' (m, d), one a row; it has none")
    vectors = tensors["vectors"]
    facts = _facts(content, path)
    values = tensors.get("values", np.ones(len(vectors)))
    descending = values.ndim == 1 and vectors.ndim == 2 and len(vectors) <= len(values)
    if not (
        descending
        and len(vectors)
        and np.isfinite(values).all()
        and np.isfinite(vectors).all()
        and (np.diff(values) <= 0).all()
        and values[0] > 0
        and values[-1] >= -_ROUNDED * values[0]
    ):
        raise DataError(
            f"{path} must hold finite vectors (m, d), and values (v,) with v >= m, descending "
            "from one above 0, none of them negative; it has shapes "
            f"{vectors.shape} and {values.shape}"
        )
    values = np.maximum(values, 0.0)
    if facts is not None and facts.sha256 != _digest(values, vectors):
        raise WeightsError(f"{path} is damaged: its numbers are not those it was written with")
    for array in (values, vectors):
        array.setflags(write=False)
    whole = facts.whole if facts is not None else len(values) == vectors.shape[1]
    return Spectrum(values, vectors, whole), facts


def _facts(content: bytes, path: Path) -> SpectrumFacts | None:
    """Return what a file says of itself; None of others' files."""
    try:
        metadata = safetensors_metadata(content)
        if _KEY not in metadata:
            return None
        facts = msgspec.json.decode(metadata[_KEY], type=SpectrumFacts)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path} must say what its axes are of; {str(error)[:200]}"
        ) from error
    if facts.version != SPECTRUM_VERSION:
        raise WeightsError(
            f"{path} must be of version {SPECTRUM_VERSION}; it has {facts.version}, which "
            "another release of evolver wrote"
        )
    return facts


def _digest(values: Vector, vectors: Matrix) -> str:
    sha = hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes())
    sha.update(np.ascontiguousarray(vectors, "<f8").tobytes())
    return sha.hexdigest()
