"""Experiments made of numbers, in the archive's format and in the plain layout."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

TIME = np.arange(200) + 0.5


def psth(rise, *, peak_ms=100.0, sd_ms=25.0, base=12.0, rng=None):
    """(b, 200) spikes/s whose bump grows with `rise`, (b,)."""
    bump = np.exp(-0.5 * ((TIME - peak_ms) / sd_ms) ** 2)
    noise = 0 if rng is None else rng.normal(0, 0.5, (len(rise), 200))
    return base + 70 * np.asarray(rise)[:, None] * bump + noise


def thread(rng, blocks, *, start, end, peak_ms):
    """Return mean and sem of each block from 50 to 200 ms, and the PSTHs of both."""
    rise = start + (end - start) * (1 - np.exp(-np.arange(blocks) / (blocks / 5)))
    mean = psth(rise, peak_ms=peak_ms, rng=rng)
    sem = np.full_like(mean, 1.5)
    rate = mean[:, 50:200].mean(axis=1)
    return rate, np.full(blocks, 0.8), mean, sem


def archive(path, experiments, *, seed=0, damage=None):
    """Write an archive; `experiments` are dicts of its meta list. Returns its arrays."""
    rng = np.random.default_rng(seed)
    meta, arrays = [], {}
    for one in experiments:
        said = {
            "animal": "A",
            "unit": "Ch1U1",
            "area": "IT",
            "date": "2026-01-02",
            "thread0_space": "fc6",
            "thread1_space": "BigGAN_class",
            "tags": [],
            **{k: v for k, v in one.items() if k != "threads"},
        }
        blocks = int(one.get("num_generations", 20))
        ends = one.get("threads", ((0.3, 1.0, 90.0), (0.4, 0.8, 130.0)))
        columns, rates = np.zeros((blocks, 8)), np.zeros((2, blocks, 2, 200))
        for k, (start, end, peak_ms) in enumerate(ends):
            mean, sem, psths, errors = thread(
                rng, blocks, start=start, end=end, peak_ms=peak_ms
            )
            columns[:, 3 * k : 3 * k + 3] = np.stack([mean, mean - sem, mean + sem], axis=1)
            columns[:, 6 + k] = 15 + rng.normal(0, 0.5, blocks)
            rates[k] = np.stack([psths, errors], axis=1)
        meta.append(said)
        arrays[f"{said['id']}/trajectory"] = columns.astype(np.float32)
        arrays[f"{said['id']}/psth"] = rates.astype(np.float32)
    if damage is not None:
        damage(meta, arrays)
    np.savez(path, meta=json.dumps(meta), **arrays)
    return arrays


def lab(areas=("V1", "V4", "IT"), each=5):
    """Entries of a lab: V1 and V4 rise with the first generator, IT with both, late."""
    found = []
    for area in areas:
        for i in range(each):
            late = area == "IT"
            second = (0.4, 1.0 if late else 0.42, 140.0)
            found.append({
                "id": f"{area}-{i}",
                "area": area,
                "num_generations": 16 + i,
                "threads": ((0.3, 1.0 - 0.01 * i, 90.0), second),
            })
    return found


STEPS = np.linspace(-0.4, 0.4, 9)


def axes(rng, centres, *, half="class", height=30.0, repeats=8, without_origin=()):
    """Return what experiment.json says of axes, and their arrays: Gaussians at `centres`."""
    said, arrays = [], {}
    for i, centre in enumerate(centres):
        name = f"{half}-{i}"
        said.append({"name": name, "half": half, "eigenvector": i})
        step = np.repeat(STEPS if i not in without_origin else STEPS[STEPS != 0], repeats)
        drive = 10 + height * np.exp(-0.5 * ((step - centre) / 0.15) ** 2)
        arrays[f"tuning/{name}/step"] = step
        arrays[f"tuning/{name}/response"] = drive + rng.normal(0, 2, len(step))
    return said, arrays


def plain(
    folder, *, blocks=20, images=12, seed=0, pictures=True, gains=(0.8, 0.5), tuned=(), **said
):
    """Write the plain layout with responses of single images; return responses and blocks.

    `gains` are the threads' rises, `tuned` of each thread what `axes` gives.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    block = np.repeat(np.arange(blocks), images)
    arrays, responses, threads = {}, [], []
    for k, generator in enumerate(("one-gan", "other-gan")):
        rise = 0.2 + gains[k] * np.arange(blocks) / blocks
        mean = psth(rise, peak_ms=90 + 30 * k, rng=rng)
        response = 10 + 60 * rise[block] + rng.normal(0, 6, len(block))
        arrays |= {
            f"{k}/response": response,
            f"{k}/block": block,
            f"{k}/references": rng.normal(20, 1, blocks),
            f"{k}/psth": mean,
            f"{k}/psth_sem": np.ones_like(mean),
        }
        threads.append({"name": f"thread {k}", "generator": generator})
        if tuned:
            threads[-1]["axes"] = tuned[k][0]
            arrays |= {f"{k}/{part}": values for part, values in tuned[k][1].items()}
        if pictures:
            threads[-1]["best"] = f"best-{k}.png"
            pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"best-{k}.png")
        responses.append(response)
    text = {
        "format": "evolver experiment 1",
        "id": folder.name,
        "area": "IT",
        "threads": threads,
        **said,
    }
    (folder / "experiment.json").write_text(json.dumps(text))
    np.savez(folder / "arrays.npz", **arrays)
    return responses, block
