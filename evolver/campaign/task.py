"""One task: a simulated session, from its values to what a campaign keeps of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evolver import __version__, config
from evolver.analysis.trajectories import best_rows, reference_trajectory, trajectory
from evolver.campaign.named_files import FileDigests
from evolver.campaign.scratch import scratch_folder
from evolver.campaign.store import TaskMeta, TaskResult
from evolver.optimizers.by_name import find_optimizer
from scorers import parse_units
from scorers.scorer import units_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from evolver import recording
    from evolver.config.tables import Config, ThreadTable
    from scorers.networks.network import Network


def run_task(settings: Config, digest: str, *, kept: Path | None = None) -> TaskResult:
    """Run a session and return what a campaign keeps of it.

    Parameters
    ----------
    settings : the session file's values
    digest : the task's
    kept : a folder in which the session's recording stays; without one it is deleted
    """
    # Here, as whoever only plans needs neither.
    from evolver import recording
    from evolver.live import run_simulated

    begun = time.monotonic()
    with scratch_folder() as scratch:
        folder = scratch if kept is None else kept
        session = msgspec.structs.replace(
            settings.session, name=digest[:16], folder=str(folder)
        )
        own = msgspec.structs.replace(settings, session=session)
        # Folded here: a task has a process for itself and its like, and none begins a second.
        ended = run_simulated(own, config.commented_session_file(own), fold=_fold)
        with recording.read(ended.recording) as opened:
            return _result(opened, digest, time.monotonic() - begun)


def _fold(journal: Path, file: Path) -> None:
    from evolver.recording.fold import fold
    from evolver.setup.recorded_activations import activations_of_text

    fold(journal, file, overwrite=True, activations=activations_of_text)


class WeightDigests:
    """The digests of all weights and files that a session's numbers come from, each found once.

    Parameters
    ----------
    arithmetic : what else they depend on; empty: nothing, they are a session's
    """

    def __init__(self, arithmetic: str = "") -> None:
        self._arithmetic = arithmetic
        self._generators: dict[str, str] = {}
        self._networks: dict[str, Network] = {}
        self._known: set[str] = set()  # units of them that there are
        self._files = FileDigests()

    def __call__(self, settings: Config) -> Mapping[str, str]:
        """Return them by what they are of.

        Raises
        ------
        ConfigError
            There is no such optimizer, generator, network or unit; so that a task which can
            never run is found before any is.
        """
        table = settings.simulation
        for thread in settings.threads:
            find_optimizer(thread.optimizer)
        found = {f"thread {t.name}": self._generator(t) for t in settings.threads}
        found |= {
            f"set {t.name}": self._drawing(t.generator, t.weights, t.generator_options)
            for t in settings.sets
            if t.generator is not None
        }
        for unit in table.units:
            address = parse_units(unit)
            options = table.networks.get(address.network, {})
            network = self._network(address.network, options)
            if (key := _text((unit, options))) not in self._known:
                units_of(network, address)
                self._known.add(key)
            found[f"network {address.network}"] = network.sha256
        found |= self._files(settings)
        return found | ({"arithmetic": self._arithmetic} if self._arithmetic else {})

    def _generator(self, thread: ThreadTable) -> str:
        return self._drawing(thread.generator, thread.weights, thread.generator_options)

    def _drawing(self, name: str, weights: str | None, options: dict[str, Any]) -> str:
        from evolver import generators

        key = _text((name, weights, options))
        if key not in self._generators:
            loaded = generators.load(name, weights=weights, **options)
            self._generators[key] = loaded.sha256
        return self._generators[key]

    def _network(self, name: str, options: Mapping[str, Any]) -> Network:
        from scorers import networks

        key = _text((name, options))
        if key not in self._networks:
            self._networks[key] = networks.load(name, **options)
        return self._networks[key]


def _text(values: object) -> str:
    return msgspec.json.encode(values, order="deterministic").decode()


def _result(opened: recording.Recording, digest: str, seconds: float) -> TaskResult:
    arrays: dict[str, NDArray[Any]] = {}
    generations: list[int] = []
    for k, thread in enumerate(opened.threads):
        n = int(thread.generation.max(initial=-1)) + 1
        generation = thread.generation.astype(np.int64)
        drawn = trajectory(thread.score, generation, groups=n)
        best = best_rows(thread.score, generation, groups=n)
        shown = reference_trajectory(opened.reference_scores[:, k])
        arrays[f"mean-{k}"], arrays[f"sem-{k}"] = drawn.mean, drawn.sem
        arrays[f"best-{k}"] = np.where(best >= 0, thread.score[best], np.nan)
        arrays[f"references-{k}"] = shown.mean[shown.filled]
        if n and best[-1] >= 0:
            arrays[f"image-{k}"] = opened.images[int(thread.image_id[best[-1]])]
        generations.append(n)
    meta = TaskMeta(
        digest=digest,
        threads=tuple(thread.name for thread in opened.threads),
        units=tuple(str(thread.fitness.get("unit", "spikes/s")) for thread in opened.threads),
        generations=tuple(generations),
        presentations=len(opened.presentations),
        seconds=round(seconds, 3),
        evolver=__version__,
    )
    return TaskResult(meta, arrays)
