"""Files of decoded codes: what `evolver decode` writes, and evolutions start from.

Knows numpy's archives and a generator's face. A code means something to the generator alone
whose images were shown, so its name, digest and space are in the file, and are compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evolver.errors import DataError
from evolver.numpy_files import archive_bytes, opened_archive
from evolver.regular_files import PARSER_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver.numpy_files import NumpyArchive
    from evolver.types import Codes, Generator, Vector

FORMAT = "evolver decoded codes 1"
_MOST_ITEMS, _WIDEST = 1_000_000, 1_000_000
_LARGEST_CODE = 1e6  # of one number; networks compute in float32
_ITEMS_NAMED = 6


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCodes:
    """Codes that were decoded from responses.

    Attributes
    ----------
    codes : (m, d) float64, decoded
    true_codes : (m, d) float64, of the images that were shown
    items : (m,) what each image is called: its number in its set, or SET/NUMBER of several sets
    image_ids : (m,) int64, rows of the recording's images
    session_id : of the recording
    generator : name of the one that drew the images
    weights_sha256 : of its weights
    generator_options : as the session file had them
    """

    codes: Codes
    true_codes: Codes
    items: tuple[str, ...]
    image_ids: NDArray[np.int64]
    session_id: str
    generator: str
    weights_sha256: str
    generator_options: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the file."""
        return archive_bytes({
            "format": np.array(FORMAT),
            "codes": self.codes,
            "true_codes": self.true_codes,
            "items": np.array(self.items, dtype=np.str_),
            "image_ids": self.image_ids,
            "session_id": np.array(self.session_id),
            "generator": np.array(self.generator),
            "weights_sha256": np.array(self.weights_sha256),
            "generator_options": np.array(json.dumps(self.generator_options)),
        })

    def code_of(self, item: str, generator: Generator) -> Vector:
        """Return the decoded code of an item, (d,), for a generator.

        Raises
        ------
        DataError
            There is no such item, or the code is another generator's.
        """
        if item not in self.items:
            some = ", ".join(self.items[:_ITEMS_NAMED])
            more = " …" if len(self.items) > _ITEMS_NAMED else ""
            raise DataError(
                f"an item must be one of the {len(self.items)} that were decoded, "
                f"{some}{more}; got {item!r}"
            )
        if (generator.name, generator.sha256) != (self.generator, self.weights_sha256):
            raise DataError(
                f"decoded codes are of {self.generator} with the weights "
                f"{self.weights_sha256[:12]}…, and mean nothing to another generator; this is "
                f"{generator.name} with {generator.sha256[:12]}…"
            )
        space = str(getattr(generator, "code_space", ""))
        recorded = str(self.generator_options.get("latent", "z" if space else ""))
        code = self.codes[self.items.index(item)]
        if recorded != space or code.shape != (generator.d,):
            raise DataError(
                f"decoded codes are {len(code)} numbers of the space {recorded!r}; "
                f"{generator.name} takes {generator.d} of {space!r}: set its generator_options "
                "as the recorded session had them"
            )
        return code


def read_decoded(path: Path) -> DecodedCodes:
    """Read a file of decoded codes; nothing in it is unpickled.

    Raises
    ------
    DataError
        It cannot be read, or is not what `evolver decode` writes.
    """
    try:
        with opened_archive(path) as archive:
            if archive is None or "format" not in archive.names:
                raise DataError(
                    f"{path} must be a file that 'evolver decode' writes; it is not"
                )
            if (form := _text(archive, "format")) != FORMAT:
                raise DataError(f"{path} must be of the format {FORMAT!r}; it is of {form!r}")
            return _read(archive, path)
    except PARSER_ERRORS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} must be a file that 'evolver decode' writes: {error}"
        ) from error


def _read(archive: NumpyArchive, path: Path) -> DecodedCodes:
    def is_codes(shape: tuple[int, ...]) -> bool:
        return len(shape) == 2 and shape[0] <= _MOST_ITEMS and shape[1] <= _WIDEST

    codes = archive.read("codes", fits=is_codes).astype(np.float64)
    m = len(codes)
    true = archive.read("true_codes", fits=lambda shape: shape == codes.shape)
    items = archive.read("items", fits=lambda shape: shape == (m,), text=True)
    image_ids = archive.read("image_ids", fits=lambda shape: shape == (m,))
    if not (np.isfinite(codes).all() and np.isfinite(true).all()):
        raise DataError(f"{path} must hold finite codes; it does not")
    if len({str(item) for item in items}) < m:
        raise DataError(f"{path} must call each code otherwise; some items have one name")
    if (np.abs(codes) > _LARGEST_CODE).any():
        raise DataError(f"codes in {path} must be at most {_LARGEST_CODE:g} in size")
    options: object = json.loads(_text(archive, "generator_options"))
    if not isinstance(options, dict):
        raise DataError(f"{path} must hold generator_options as a JSON object")
    return DecodedCodes(
        codes=codes,
        true_codes=true.astype(np.float64),
        items=tuple(str(item) for item in items),
        image_ids=image_ids.astype(np.int64),
        session_id=_text(archive, "session_id"),
        generator=_text(archive, "generator"),
        weights_sha256=_text(archive, "weights_sha256"),
        generator_options=cast("dict[str, Any]", options),
    )


def _text(archive: NumpyArchive, name: str) -> str:
    """Return a text of the file."""
    return str(archive.read(name, fits=lambda shape: shape == (), text=True))
