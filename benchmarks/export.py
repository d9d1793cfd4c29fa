# pyright: basic
# h5py leaves half of its arguments untyped.
"""Exports of a long session: the memory they take.

Question
    Does a session of six hours export under 1 GB of memory, whatever is in it?
Method
    A recording of made-up spikes and smooth images is written with the schema's own writers,
    and exported with `evolver export` in a process of its own, which prints at its end what
    the system says of it: its largest resident set, and its processor time.
Repeats
    One of each format.
Cost
    Ten minutes of a processor, and some gigabytes of disk; `--presentations` and others make it
    less.
Outputs
    A line a format: seconds of processor, MiB at most, MiB of the file.

Run by ``python -m benchmarks.export``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from evolver.recording import hdf5
from evolver.recording import schema as s

_WINDOW_MS = (-100.0, 300.0)
_BIN_MS = 10.0
_ROWS = 500
_START_NS = 1_700_000_000_000_000_000


def make_recording(
    path: Path, *, presentations: int, units: int, images: int, size: int, spikes: float
) -> None:
    """Write a recording that is as large as a long session's.

    Parameters
    ----------
    path : the file
    presentations, units, images : how many
    size : pixels a side of an image
    spikes : of each unit in each window, on average
    """
    rng = np.random.default_rng(0)
    popsize = 40
    with h5py.File(path, "w") as file:
        file.attrs.update({
            s.A_FORMAT: s.FORMAT,
            s.A_SCHEMA_VERSION: s.SCHEMA_VERSION,
            s.A_SESSION_ID: "0" * 32,
            s.A_NAME: "long",
            s.A_CREATED: "2023-11-14T22:13:20Z",
            s.A_SEED: 0,
            s.A_MODE: "live",
            s.A_WINDOW_MS: _WINDOW_MS,
            s.A_COMPLETE: 1,
            s.A_END_REASON: "finished",
        })
        for name in (s.CONFIG, s.VERSIONS, s.MACHINE):
            hdf5.write_text(file, name, "{}")
        hdf5.write_text(file, s.WEIGHTS, "[]")
        hdf5.write_texts(file, s.WARNINGS, [])
        unit_rows = [(unit, 0, "IT", f"IT-{unit}") for unit in range(units)]
        hdf5.write_table(file, s.UNITS, s.UNIT_COLUMNS, unit_rows)
        rig = file.create_group(f"{s.RIGS}/0")
        rig.attrs.update({"name": "rig", "software": "1", "time_ns": _START_NS})
        hdf5.write_text(rig, s.RIG_INFO, "{}")
        hdf5.write_array(rig, s.RIG_UNITS, np.arange(units, dtype=np.uint32))
        _write_thread(file, rng, images, popsize, size)
        _write_images(file, images, size)
        _write_presentations(file, presentations, images)
        _write_responses(file, rng, presentations, units, spikes)
        blocks = [
            (k, _START_NS + k * 10**10, _START_NS + k * 10**10 + 9 * 10**9, 1, *[0.1] * 13, 1)
            for k in range(images // popsize)
        ]
        hdf5.write_table(file, s.BLOCKS, s.BLOCK_COLUMNS, blocks)
        hdf5.write_table(file, s.SENT, s.SENT_COLUMNS, [])
        hdf5.write_table(file, s.EVENTS, s.EVENT_COLUMNS, [])
        references = file.create_group(s.REFERENCES)
        hdf5.write_array(references, s.REF_SCORES, np.zeros((len(blocks), 1, 0)))
        hdf5.write_array(references, s.REF_IMAGE_ID, np.zeros((len(blocks), 0), np.int64))


def _write_thread(
    file: h5py.File, rng: np.random.Generator, images: int, popsize: int, size: int
) -> None:
    d = 4096
    thread = file.create_group(f"{s.THREADS}/0")
    thread.attrs.update({
        s.T_NAME: "texture",
        s.T_OPTIMIZER: "cholesky",
        s.T_GENERATOR: "deepsim-fc6",
        s.T_D: d,
        s.T_POPSIZE: popsize,
        s.T_IMAGE_SIZE: size,
        s.T_WEIGHTS_SHA256: "0" * 64,
        s.T_CODES_EXACT: 1,
    })
    hdf5.write_text(thread, s.T_OPTIONS, "{}")
    hdf5.write_text(thread, s.T_FITNESS, "{}")
    hdf5.write_array(thread, s.T_CODES, rng.normal(size=(images, d)).astype(np.float32))
    row = np.arange(images)
    hdf5.write_array(thread, s.T_GENERATION, (row // popsize).astype(np.int32))
    hdf5.write_array(thread, s.T_ROW, (row % popsize).astype(np.int32))
    hdf5.write_array(thread, s.T_IMAGE_ID, row.astype(np.int64))
    hdf5.write_array(thread, s.T_SCORE, rng.normal(size=images))
    hdf5.write_array(thread, s.T_SEM, rng.normal(size=images) ** 2)
    states = thread.create_group(s.T_STATES)
    for generation in range(images // popsize):
        state = states.create_group(s.generation_name(generation))
        state.attrs["sigma"] = 3.0
        hdf5.write_array(state, "mean", rng.normal(size=d))
        hdf5.write_array(state, "rows", rng.normal(size=(2 * generation, d)))
        hdf5.write_text(state, s.STATE_RNG, json.dumps({"state": generation}))


def _write_images(file: h5py.File, images: int, size: int) -> None:
    group = file.create_group(s.IMAGES)
    n_bytes = 3 * size * size
    hdf5.write_texts(group, s.I_SHA256, ["0" * 64] * images)
    hdf5.write_texts(group, s.I_LABEL, [""] * images)
    hdf5.write_array(group, s.I_IS_REFERENCE, np.zeros(images, np.uint8))
    shape = np.array([size, size, 3], np.int32)
    hdf5.write_array(group, s.I_SHAPE, np.tile(shape, (images, 1)))
    hdf5.write_array(group, s.I_ENCODING, np.full(images, s.ENCODING_RAW, np.uint8))
    hdf5.write_array(group, s.I_OFFSETS, np.arange(images + 1, dtype=np.int64) * n_bytes)
    pixels = hdf5.Growing(group, s.I_PIXELS, (), "|u1", compress=False)
    x = np.linspace(0, 6, size)
    for image in range(images):
        wave = (
            127 + 100 * np.sin(x[:, None] + image) * np.cos(x[None, :, None] + np.arange(3))[0]
        )
        pixels.add(np.repeat(wave[:, :1], size, 1).astype(np.uint8).repeat(3).ravel()[:n_bytes])
    pixels.close()


def _write_presentations(file: h5py.File, presentations: int, images: int) -> None:
    rows = []
    for k in range(presentations):
        onset = 10**9 + 216 * 10**6 * k
        times = (onset - 8_000_000, onset, onset + 10**8)
        plan = (k, k // 1000, 0, k % 40, k % images, False, 0, 1, "ok", "", 100.0, 116.0)
        after = (
            "photodiode",
            _START_NS + onset + 3 * 10**8,
            k // 1000,
            "spikes",
            0,
            "",
            0,
            0.0,
        )
        rows.append((*plan, *times, *after))
    hdf5.write_table(file, s.PRESENTATIONS, s.PRESENTATION_COLUMNS, rows)


def _write_responses(
    file: h5py.File, rng: np.random.Generator, presentations: int, units: int, spikes: float
) -> None:
    group = file.create_group(s.SPIKES)
    unit = hdf5.Growing(group, s.S_UNIT, (), "<u4")
    time = hdf5.Growing(group, s.S_TIME_MS, (), "<f4")
    bins = round((_WINDOW_MS[1] - _WINDOW_MS[0]) / _BIN_MS)
    psth_group = file.create_group(s.PSTH)
    psth = hdf5.Growing(psth_group, s.P_COUNTS, (units, bins), "|u1")
    counts = np.zeros(presentations, np.int64)
    for first in range(0, presentations, _ROWS):
        rows = min(_ROWS, presentations - first)
        drawn = rng.poisson(spikes / bins, (rows, units, bins)).astype(np.uint8)
        psth.add(drawn)
        row, of_unit, place = np.nonzero(drawn)
        times = drawn[row, of_unit, place]
        row, of_unit, place = (np.repeat(one, times) for one in (row, of_unit, place))
        unit.add(of_unit.astype(np.uint32))
        within = rng.uniform(0, 0.99, len(place))
        time.add((_WINDOW_MS[0] + _BIN_MS * (place + within)).astype(np.float32))
        counts[first : first + rows] = np.bincount(row, minlength=rows)
    for one in (unit, time, psth):
        one.close()
    hdf5.write_array(group, s.S_OFFSETS, np.concatenate([[0], np.cumsum(counts)]))
    edges = np.arange(bins + 1) * _BIN_MS + _WINDOW_MS[0]
    hdf5.write_array(psth_group, s.P_EDGES_MS, edges)
    hdf5.write_array(psth_group, s.P_VALID, np.ones(presentations, np.uint8))
    file.create_group(s.COUNTS)
    rates = file.create_group(s.RATES)
    hdf5.write_array(rates, s.R_ROWS, np.zeros(0, np.int64))
    hdf5.write_array(rates, s.R_RATES, np.zeros((0, units)))


_RUN = """
import resource, sys
from evolver.cli.app import main
sys.argv = ["evolver", *sys.argv[1:]]
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("used", used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True)
"""


def measure(recording: Path, kind: str, target: Path) -> tuple[float, float]:
    """Export a recording in a process of its own.

    Returns
    -------
    seconds of processor time; the largest resident set, MiB
    """
    where = [str(target)] if kind == "parquet" else ["--out", str(target)]
    words = [sys.executable, "-c", _RUN, "export", kind, str(recording), *where]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    used = [line.split() for line in done.stdout.splitlines() if line.startswith("used ")]
    if done.returncode or not used:
        raise SystemExit(done.stdout + done.stderr)
    largest = float(used[-1][2]) / (2**20 if sys.platform == "darwin" else 2**10)
    return float(used[-1][1]), largest


def main() -> None:
    """Make a recording, export it, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presentations", type=int, default=100_000)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--spikes", type=float, default=5.0, help="a unit and window")
    parser.add_argument("--kinds", nargs="+", default=["nwb", "mat", "parquet"])
    parser.add_argument("--folder", type=Path, help="for the files; else a temporary one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        recording = Path(folder) / "session.h5"
        make_recording(
            recording,
            presentations=chosen.presentations,
            units=chosen.units,
            images=chosen.images,
            size=chosen.size,
            spikes=chosen.spikes,
        )
        used = resource.getrusage(resource.RUSAGE_SELF)
        with h5py.File(recording) as file:
            spikes = len(hdf5.dataset_at(file, s.SPIKES, s.S_UNIT))
        print(
            f"{chosen.presentations} presentations, {chosen.units} units, {spikes} spikes, "
            f"{chosen.images} images: {os.path.getsize(recording) >> 20} MiB, made in "
            f"{used.ru_utime + used.ru_stime:.0f} s",
            flush=True,
        )
        for kind in chosen.kinds:
            target = Path(folder) / f"x.{kind}"
            seconds, largest = measure(recording, kind, target)
            files = target.iterdir() if target.is_dir() else [target]
            written = sum(path.stat().st_size for path in files) >> 20
            print(
                f"{kind:8} {seconds:7.1f} s {largest:7.0f} MiB at most, {written} MiB written",
                flush=True,
            )


if __name__ == "__main__":
    main()
