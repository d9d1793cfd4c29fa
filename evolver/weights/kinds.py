"""What a file is, by its first bytes and its table of contents: said here and nowhere else.

Knows the layouts that weights are published in, and those that are handed in by mistake. Knows
nothing of how any is read. A safetensors file is recognised before a pickle: the length that it
begins with may be any number, 0x80 and 0x02 among its bytes.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Final, Literal, TypeAlias

from evolver.regular_files import PARSER_ERRORS

FileKind: TypeAlias = Literal[
    "safetensors", "torch zip", "torch row", "mxnet", "pickle", "npz", "npy", "zip",
    "TorchScript", "hdf5", "lfs pointer", "web page", "json", "empty", "unknown",
]  # fmt: skip

MOST_TENSORS: Final = 20_000
"""TensorTable, or entries, of one file of any kind; the largest network here has 900."""
ROW: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of torch's older layout, a row of pickles."""
MXNET: Final = struct.pack("<Q", 0x112)
"""First bytes of MXNet's lists."""
_ZIP: Final = b"PK\x03\x04"
_ZIP_ENTRY: Final = b"PK\x01\x02"
_LONGEST_HEADER: Final = 100 << 20  # bytes, as the safetensors library has it
_LFS: Final = b"version https://git-lfs.github.com/spec/"

_MEANS: Final[dict[FileKind, str]] = {
    "safetensors": "a safetensors file",
    "torch zip": "a file of torch.save",
    "torch row": "a file of torch.save, in torch's older layout",
    "mxnet": "MXNet's .params",
    "pickle": "a pickle, which would run what is in it. An official pickle of StyleGAN3 is "
    "converted once, by 'evolver weights convert FILE OUT.safetensors --as stylegan3'",
    "npz": "a numpy archive (.npz), as codes and metrics are kept in",
    "npy": "a numpy array (.npy)",
    "zip": "a zip archive; unpack it, and name what is in it",
    "TorchScript": "a TorchScript archive, which is a program. Save the module's state_dict()",
    "hdf5": "an HDF5 file, as Keras writes weights and evolver its recordings",
    "lfs pointer": "a Git LFS pointer: it stands for the file, which was not fetched. Run "
    "'git lfs pull' in its repository, or download it from its page",
    "web page": "a web page, as a download gives that wanted a login. Fetch it again",
    "json": "JSON, as the configuration beside a network's weights",
    "empty": "empty",
    "unknown": "of no kind that is known here",
}


def kind_of(content: bytes) -> FileKind:
    """Return what a whole file's bytes are; they may be damaged all the same."""
    if not content:
        return "empty"
    if content.startswith(ROW):
        return "torch row"
    if content.startswith(MXNET) and content[8:16] == bytes(8):
        return "mxnet"
    if _is_safetensors(content):
        return "safetensors"
    if content.startswith(_ZIP):
        return _kind_of_zip(content)
    if content.startswith(b"\x80") and content[1:2] in {b"\2", b"\3", b"\4", b"\5"}:
        return "pickle"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if content.startswith(_LFS):
        return "lfs pointer"
    start = content[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "web page"
    return "json" if start.startswith((b"{", b"[")) else "unknown"


def meaning(kind: FileKind) -> str:
    """Return what a kind is, for people, and what to do where it cannot be used."""
    return _MEANS[kind]


def entry_count(content: bytes) -> int:
    """Return the most entries that a zip archive may list; nothing of it is parsed."""
    return content.count(_ZIP_ENTRY)


def _is_safetensors(content: bytes) -> bool:
    if len(content) < 10:
        return False
    (length,) = struct.unpack("<Q", content[:8])
    return 2 <= length <= min(_LONGEST_HEADER, len(content) - 8) and content[8:9] == b"{"


def _kind_of_zip(content: bytes) -> FileKind:
    if entry_count(content) > 2 * MOST_TENSORS:
        return "torch zip"  # whose reader refuses it, with the number
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except PARSER_ERRORS:
        return "torch zip"  # cut short, as a broken download leaves it
    if any(name.endswith("/constants.pkl") for name in names):
        return "TorchScript"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch zip"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"
