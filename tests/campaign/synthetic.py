"""A campaign's folder as a run leaves it, of any size, whose results nobody had to compute."""

from __future__ import annotations

import numpy as np

from evolver.campaign.plan import read_campaign
from evolver.campaign.store import Store, TaskMeta, TaskResult
from tests.campaign.files import write

FACTORS = """
[campaign]
name = "synthetic"
session = "session.toml"

[[vary]]
name = "search"
keys = ["threads.texture.optimizer"]
values = [["cholesky"], ["sep"]]
labels = ["</script>", "diagonal"]

[[vary]]
name = "cell"
key = "simulation.units"
values = [["mini:conv3:1"], ["mini:conv3:2"]]

[[vary]]
key = "session.seed"
range = [1, {seeds}]
"""
GENERATIONS = 6


def made(folder, *, seeds, missing=0):
    """Write the store of a campaign of 4 x `seeds` tasks; the last `missing` are not done.

    The diagonal search is better by 2 exactly, at the end; its images are the brighter ones.
    """
    file = write(folder, FACTORS.format(seeds=seeds))
    plan = read_campaign(file, weights=lambda _: {})
    store = Store(folder / "out", make=True)
    store.keep_plan(plan)
    for i, task in enumerate(plan.tasks[: len(plan.tasks) - missing]):
        store.keep(result(task, i))
    return store


def result(task, i):
    """Return one task's result, by its number."""
    rng = np.random.default_rng([i % 1000, len(task.levels["cell"])])
    better = 2.0 * (task.levels["search"] == "diagonal")
    seed = int(task.levels["seed"])
    cell = float(task.levels["cell"][-1])
    rise = np.arange(GENERATIONS) / (GENERATIONS - 1)
    mean = 3.0 + rise * (4.0 * cell + seed % 7) + better * (np.arange(GENERATIONS) > 1)
    image = np.full((64, 64, 3), 40 + 60 * better, dtype=np.uint8)
    image[: 8 + seed % 48, :, i % 3] = 250
    image[:, : 8 + (7 * seed) % 48, (i + 1) % 3] += 50
    meta = TaskMeta(
        digest=task.digest,
        threads=("texture",),
        units=("spikes/s",),
        generations=(GENERATIONS,),
        presentations=60,
        seconds=3.25,
        evolver="0",
    )
    arrays = {
        "mean-0": mean,
        "sem-0": rng.uniform(0.1, 0.6, GENERATIONS),
        "best-0": mean + 1.5,
        "references-0": np.full(GENERATIONS, 3.0),
        "image-0": image,
    }
    return TaskResult(meta, arrays)
