"""Damaged pickles by the thousand, read in a process of their own: ``FILE COUNT SEED``.

The process may use 1 GB and a minute a file, and ends with an error the moment anything is run:
an audit hook sees every import, compilation, call of the system and file that Python opens.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from evolver.errors import WeightsError
from evolver.weights import safe_network

FORBIDDEN = (
    "compile", "ctypes", "exec", "import", "marshal", "open", "os.", "pickle", "socket",
    "subprocess",
)  # fmt: skip
EVIL = (b"os", b"system", b"builtins", b"eval", b"posix", b"__reduce__", b"nt", b"torch.load")
_seen: list[str] = []
_watched: int | None = None  # the thread that reads; others may open what they like


def _hook(event: str, args: tuple[object, ...]) -> None:  # noqa: ARG001  as sys wants it
    if threading.get_ident() == _watched and event.startswith(FORBIDDEN):
        _seen.append(event)


@contextmanager
def nothing_is_run():
    """Raise at the end if anything was run, imported or opened meanwhile."""
    global _watched
    if not hasattr(sys, "_mutants_hook"):
        sys.addaudithook(_hook)
        sys._mutants_hook = True
    _seen.clear()
    _watched = threading.get_ident()
    try:
        yield
    finally:
        _watched = None
    if _seen:
        raise AssertionError(f"reading must run nothing; it did {_seen[:5]}")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one to eight of them, or spans of them, changed."""
    changed = bytearray(content)
    # Most of a file is numbers; the instructions are at its start and end, and between.
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(changed))
        span = rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(9):
            case 0 | 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at] ^= 1 << rng.randrange(8)
            case 3:
                del changed[at : at + span]
            case 4:
                changed[at:at] = rng.randbytes(span)
            case 5:
                other = rng.randrange(len(changed))
                changed[at:at] = changed[other : other + span]
            case 6:
                changed[at : at + 4] = rng.choice((
                    b"\xff\xff\xff\x7f",
                    b"\0\0\0\x80",
                    b"\0" * 4,
                ))
            case 7:
                evil = rng.choice(EVIL)
                changed[at:at] = (
                    b"\x8c" + bytes([len(evil)]) + evil + rng.choice((b"", b"\x93"))
                )
            case _:
                del changed[at:]
        if not changed:
            return b""
    return bytes(changed)


def read(content: bytes) -> str:
    """Read a file as converting does; return how it ended, "read" or the error."""
    with nothing_is_run():
        try:
            value = safe_network.parse_network(content)
            generator = value.get("G_ema") if isinstance(value, dict) else None
            if isinstance(generator, safe_network.Module):
                safe_network.tensors(generator, at_most=len(content))
        except WeightsError as error:
            return str(error)
    return "read"


def main() -> None:
    path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    whole = Path(path).read_bytes()
    rng = random.Random(seed)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    endings = {"read": 0, "refused": 0}
    for _ in range(count):
        content = mutate(whole, rng)
        signal.alarm(60)
        ending = read(content)
        signal.alarm(0)
        endings["read" if ending == "read" else "refused"] += 1
    sys.stdout.write(json.dumps(endings | {"peak_kb": _peak_kb()}))


def _peak_kb() -> int:
    """Return the most memory this program had; what its parent had does not count."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
