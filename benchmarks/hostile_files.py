"""Files that were damaged, or made to do harm: what this package makes of them.

Question
    Of N files with bytes changed, cut off or doubled, how many are read or refused with an
    error of ours (held); how many raise anything else, end the process, hang, or give other
    data without a word (failed)?
Method
    A good file of every kind that is taken from outside: a recording, a journal's segment, a
    session file, weights as safetensors, as torch writes them and as MXNet does, a StyleGAN3
    pickle, codes as npz, a reference image as PNG and as JPEG. Each is changed by a seeded rule
    of its number (1 to 16 bytes set, often near the beginning or the end where the structure
    is; a stretch removed, or doubled) and read by a child process, as a session does. The child
    says how each file ended; where it ends itself, or says nothing for 30 s, the file it was at
    has done that. Of recordings, everything that was read is compared with the whole file's.
Repeats
    200 files a kind; ``--files N`` of them; with ``--quick`` 20. The same files each time,
    whatever the version: run on two checkouts, it compares them.
Cost
    About 4 minutes on two cores.
Outputs
    A Markdown table on standard output.

Run by ``python -m benchmarks.hostile_files [--quick] [--files N] [--kind KIND]``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
PATIENCE_S = 30.0
SESSION = """
[session]
name = "small"
folder = "{folder}"
generations = 2

[presentation]
on_ms = 100
off_ms = 100

[fitness]
units = [0]

[references]
count = 2

[[threads]]
name = "texture"
generator = "mini-texture"
optimizer = "cholesky"
popsize = 4
"""


# ------------------------------------------------------------------ good files


def _make_recording(folder: Path) -> Path:
    """Return a small recording, folded from a simulated session."""
    return next(_session(folder).rglob("session.h5"))


def _make_journal(folder: Path) -> Path:
    return next(_session(folder).rglob("segment-000000.evj"))


def _session(folder: Path) -> Path:
    file = folder / "session.toml"
    file.write_text(SESSION.format(folder=folder / "out"))
    command = [sys.executable, "-m", "evolver", "simulate", str(file), "--no-report"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def _make_session_file(folder: Path) -> Path:
    path = folder / "new.toml"
    subprocess.run(
        [sys.executable, "-m", "evolver", "config", "new", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def _make_safetensors(folder: Path) -> Path:
    import safetensors.torch
    import torch

    path = folder / "a.safetensors"
    safetensors.torch.save_file(  # pyright: ignore[reportUnknownMemberType]
        {"w": torch.arange(600.0).reshape(20, 30), "b": torch.ones(4)}, path
    )
    return path


def _make_torch(folder: Path) -> Path:
    import torch

    path = folder / "a.pt"
    torch.save({"w": torch.arange(600.0).reshape(20, 30), "b": torch.ones(4)}, path)
    return path


def _make_mxnet(folder: Path) -> Path:
    return Path(shutil.copy(GOLDEN / "generators" / "pggan_hyper_tiny.params", folder))


def _make_stylegan3(folder: Path) -> Path:
    return Path(shutil.copy(GOLDEN / "generators" / "stylegan3-t-tiny.pkl", folder))


def _make_codes(folder: Path) -> Path:
    np.savez_compressed(
        folder / "codes.npz", codes=np.random.default_rng(0).normal(size=(40, 60))
    )
    return folder / "codes.npz"


def _picture(path: Path) -> Path:
    from PIL import Image

    levels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return path


def _make_png(folder: Path) -> Path:
    return _picture(folder / "a.png")


def _make_jpeg(folder: Path) -> Path:
    return _picture(folder / "a.jpg")


# ------------------------------------------------------------------ readers, as a session has


def _read_recording(path: Path) -> str:
    """Return a digest of everything in it that is data."""
    from evolver import recording

    digest = hashlib.sha256()
    with recording.read(path) as opened:
        digest.update(opened.presentations.tobytes())
        for thread in opened.threads:
            for array in (thread.codes, thread.score, thread.generation):
                digest.update(np.ascontiguousarray(array).tobytes())
        for image in opened.images:
            digest.update(np.ascontiguousarray(image).tobytes())
        for values in opened.all_spikes():
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _read_journal(path: Path) -> str:
    from evolver.recording.fold import fold

    with tempfile.TemporaryDirectory() as folder:
        fold(path.parent, Path(folder) / "a.h5")
    return ""


def _read_session_file(path: Path) -> str:
    from evolver.config import parse_session_file
    from evolver.errors import ConfigError

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:  # as the command line does
        raise ConfigError("not UTF-8") from error
    parse_session_file(text)
    return ""


def _read_weights(path: Path) -> str:
    from evolver.weights.read import read_weights as read

    read(path)
    return ""


def _read_stylegan3(path: Path) -> str:
    from evolver.generators.stylegan3 import convert_stylegan3

    with tempfile.TemporaryDirectory() as folder:
        convert_stylegan3(path, Path(folder) / "a.safetensors")
    return ""


def _read_codes(path: Path) -> str:
    from evolver.generators.initial import from_npz

    from_npz(path, d=60)
    return ""


def _read_picture(path: Path) -> str:
    from evolver.config.tables import ReferencesTable
    from evolver.setup.references import build_references

    build_references(ReferencesTable(count=1, source=str(path.parent)), seed=0)
    return ""


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], str]]] = {
    "recording": (_make_recording, _read_recording),
    "journal": (_make_journal, _read_journal),
    "session file": (_make_session_file, _read_session_file),
    "safetensors": (_make_safetensors, _read_weights),
    "torch": (_make_torch, _read_weights),
    "MXNet": (_make_mxnet, _read_weights),
    "StyleGAN3 pickle": (_make_stylegan3, _read_stylegan3),
    "codes, npz": (_make_codes, _read_codes),
    "PNG": (_make_png, _read_picture),
    "JPEG": (_make_jpeg, _read_picture),
}


# ------------------------------------------------------------------ changed, and read


def changed(whole: bytes, number: int) -> bytes:
    """Return the `number`-th damaged copy of a file."""
    rng, data = random.Random(number), bytearray(whole)
    near = rng.random() < 0.7  # where the structure is
    at = lambda: (  # noqa: E731
        rng.choice((
            rng.randrange(min(2000, len(data))),
            len(data) - 1 - rng.randrange(min(2000, len(data))),
        ))
        if near
        else rng.randrange(len(data))
    )
    match rng.randrange(10):
        case 0:
            return bytes(data[: rng.randrange(len(data))])
        case 1:
            start = at()
            del data[start : start + rng.randrange(1, 40)]
        case 2:
            start = at()
            data[start:start] = data[start : start + rng.randrange(1, 40)]
        case _:
            for _ in range(rng.choice((1, 1, 2, 4, 16))):
                data[at()] = rng.randrange(256)
    return bytes(data)


def child(kind: str, good: Path, first: int, end: int) -> None:
    """Read damaged files `first` to `end`; say on standard output how each ended."""
    from evolver.errors import EvolverError

    _, read = KINDS[kind]
    whole = good.read_bytes()
    usual = read(good)
    for number in range(first, end):
        print(json.dumps(["at", number]), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / good.name
            path.write_bytes(changed(whole, number))
            try:
                outcome = "read" if read(path) == usual else "other data, unsaid"
            except EvolverError:
                outcome = "refused"
            except Exception as error:  # noqa: BLE001  which, is the question
                outcome = f"raises {type(error).__name__}"
        print(json.dumps(["done", number, outcome]), flush=True)


def _output(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise RuntimeError("the child has no output")
    return process.stdout


def campaign(kind: str, good: Path, many: int) -> Counter[str]:
    """Return how many of `many` damaged files ended how."""
    outcomes: Counter[str] = Counter()
    number = 0
    while number < many:
        command = [sys.executable, "-m", "benchmarks.hostile_files", "--child", kind]
        process = subprocess.Popen(
            [*command, str(good), str(number), str(many)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with selectors.DefaultSelector() as selector, _output(process) as said:
            selector.register(said, selectors.EVENT_READ)
            started, hung = False, False
            while True:
                if not selector.select(PATIENCE_S * (1 if started else 10)):
                    hung = True
                    break
                line = said.readline()
                if not line:
                    break
                started = True
                what, at, *rest = json.loads(line)
                number = at + (what == "done")
                outcomes.update(rest)
            process.kill()
        status = process.wait()
        if not started:
            raise RuntimeError(f"the good file of {kind} cannot be read; status {status}")
        if number < many:
            outcomes["hangs" if hung else "ends the process"] += 1
            number += 1
    return outcomes


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--child"]:
        kind, good, first, end = sys.argv[2:]
        child(kind, Path(good), int(first), int(end))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--kind", choices=KINDS, action="append")
    given = parser.parse_args()
    many = 20 if given.quick else given.files
    print("| kind | tried | read | refused | failed | how |\n|---|---:|---:|---:|---:|---|")
    for kind in given.kind or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = campaign(kind, KINDS[kind][0](Path(folder)), many)
        read, refused = outcomes.pop("read", 0), outcomes.pop("refused", 0)
        how = ", ".join(f"{n} {text}" for text, n in outcomes.most_common())
        print(
            f"| {kind} | {many} | {read} | {refused} | {outcomes.total()} | {how} |", flush=True
        )


if __name__ == "__main__":
    main()
