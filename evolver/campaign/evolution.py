"""One task's session, advanced a block at a time by whoever knows what its units say of images.

Knows a session's logic and its simulated neurons. Knows nothing of pixels or networks: it says
of which codes it wants the drives, and is handed them. There is no journal, no recording and no
clock; what happens is what happens in the session by itself, because the same functions do it.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evolver import __version__
from evolver.analysis.trajectories import best_rows, reference_trajectory, trajectory
from evolver.campaign.store import TaskMeta, TaskResult
from evolver.errors import DataError
from evolver.session.block import SHOWN_AT_ONCE
from evolver.session.schedule import REFERENCE
from evolver.setup.places import check_sees_places
from evolver.setup.simulated_rig import build_rig
from rig_bridge.trials import Presentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from evolver.config.tables import Config
    from evolver.session.schedule import Block, Outcome
    from evolver.setup.build import Parts
    from evolver.setup.simulated_rig import Population
    from evolver.types import Codes, Optimizer, Scores
    from rig_bridge.rigs.simulated import Place
    from rig_bridge.trials import TrialResult

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)  # in place of images whose drives are known


@dataclass(frozen=True, slots=True, eq=False)
class ImageAnswers:
    """What one task's units say of images.

    Attributes
    ----------
    names : one an image; images of one name are one image to the neurons' memory
    drives : (n, u) float64
    delays_ms : (n,), by how much later than a usual image each is answered
    """

    names: tuple[str, ...]
    drives: NDArray[np.float64]
    delays_ms: NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _Thread:
    """What a thread leaves behind."""

    scores: list[Scores] = field(default_factory=list["Scores"])  # a generation each
    last: Codes | None = None


class TaskEvolution:
    """One task, from its first block to its result.

    Parameters
    ----------
    config : the task's session file
    digest : the task's
    parts, population : made of it
    optimizers : in place of the parts' own; None: those

    Raises
    ------
    ConfigError
        Images are shown at places of their own, and the units see none.
    """

    def __init__(
        self,
        config: Config,
        digest: str,
        parts: Parts,
        population: Population,
        *,
        optimizers: Sequence[Optimizer] | None = None,
    ) -> None:
        if optimizers is not None:
            parts = replace(parts, optimizers=tuple(optimizers))
        check_sees_places(config)
        self.config, self.digest, self.population = config, digest, population
        self.generators = parts.generators
        self.references = parts.references.images
        self._rig = build_rig(population, config, speed=math.inf)
        hello = self._rig.hello("together", software="evolver")
        self._session = parts.session(population.labels, forms=hello.capabilities)
        self._names = tuple(thread.name for thread in config.all_threads)
        self._units = tuple(thread.fitness.unit for thread in self._session.threads)
        self._threads = [_Thread() for _ in self._names]
        self._reference_scores: list[tuple[Scores, ...]] = []
        self._reference_names: tuple[str, ...] = ()
        self._shown = 0
        self._block: Block | None = None
        self._begun = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether there is no next block."""
        return self._block is None and self._session.finished

    @property
    def is_late(self) -> bool:
        """Whether how late neurons answer depends on the whole image: on its contrast."""
        noisy = self.config.simulation.spikes != "none"
        return noisy and self.population.settings.contrast_ms != 0

    @property
    def lacks_references(self) -> bool:
        """Whether `advance` must be told what the units say of the references."""
        due = self._block is not None and self._block.references > 0
        names = self._reference_names
        return due and (not names or any(self._rig.lacks(name) for name in names))

    def propose(self) -> dict[int, Codes]:
        """Begin the next block; return the codes of each thread that is in it, (n, d)."""
        self._block = self._session.propose()
        codes = {p.thread: p.codes for p in self._block.proposals}
        for thread, asked in codes.items():
            self._threads[thread].last = asked
        return codes

    def places(self, thread: int) -> tuple[Place | None, ...]:
        """Return where each code of a thread is shown; None: where the session's images are.

        Parameters
        ----------
        thread : one of the block, that `propose` returned codes of
        """
        proposals = () if self._block is None else self._block.proposals
        codes, items = next((p.codes, p.items) for p in proposals if p.thread == thread)
        return tuple(item.place for item in items) or (None,) * len(codes)

    def advance(
        self, answers: Mapping[int, ImageAnswers], references: ImageAnswers | None
    ) -> None:
        """Show the block to the neurons, and let the optimizers learn.

        Parameters
        ----------
        answers : by thread, of the codes that `propose` returned
        references : where they are lacking

        Raises
        ------
        OrderError
            No block was proposed.
        MissingResponseError
            A showing was aborted where the session file says that none may.
        DataError
            A score, or an optimizer, has left the numbers.
        """
        block = self._block
        if block is None:
            raise RuntimeError("a block is proposed before it is shown")
        if references is not None:
            self._reference_names = references.names
        told_at = [(told, self.places(thread)) for thread, told in answers.items()]
        if references is not None:
            told_at.append((references, (None,) * len(references.names)))
        for told, places in told_at:
            pairs = zip(told.drives, told.delays_ms.tolist(), strict=True)
            keys = zip(told.names, places, strict=True)
            self._rig.take_drives(dict(zip(keys, pairs, strict=True)))
        names = {thread: told.names for thread, told in answers.items()}
        names[REFERENCE] = self._reference_names
        results: list[TrialResult] = []
        outcome = None
        attempt = 1
        while outcome is None:
            while pending := self._session.still_to_show(block.index, results):
                for first in range(0, len(pending), SHOWN_AT_ONCE):
                    part = pending[first : first + SHOWN_AT_ONCE]
                    results += [self._show(block, number, attempt, names) for number in part]
                    attempt += 1
            try:
                outcome = self._session.commit(block.index, results)
            except DataError:  # looked for only where it is so: that costs as much as scoring
                faulty = self._with_faults(block, results)
                if faulty == results:
                    raise
                results = faulty
        self._shown += len(results)
        images = {name for told in answers.values() for name in told.names}
        numbers = [planned.presentation for planned in block.presentations]
        self._rig.forget(images.difference(self._reference_names), numbers)
        self._block = None
        self._keep(outcome)

    def _show(
        self, block: Block, number: int, attempt: int, names: Mapping[int, Sequence[str]]
    ) -> TrialResult:
        planned = block.planned(number)
        if planned is None:
            raise RuntimeError(f"presentation {number} is none of block {block.index}")
        table, item = self.config.presentation, block.item(planned)
        usual = table.size_deg, table.position_deg
        size_deg, position_deg = (item and item.place) or usual
        return self._rig.present(
            _NO_PIXELS,
            Presentation(
                block=block.index,
                attempt=attempt,
                presentation=number,
                sha256=names[planned.thread][planned.row],
                on_ms=planned.on_ms,
                off_ms=planned.off_ms,
                size_deg=size_deg,
                position_deg=position_deg,
                window_ms=self.config.rig.window_ms,
            ),
        )

    def _with_faults(self, block: Block, results: Sequence[TrialResult]) -> list[TrialResult]:
        """Return results as a session records them: aborted where they cannot be scored."""
        faults = [self._session.fault_of(block.index, result) for result in results]
        return [
            msgspec.structs.replace(result, status="aborted", reason=fault[:200])
            if fault
            else result
            for result, fault in zip(results, faults, strict=True)
        ]

    def _keep(self, outcome: Outcome) -> None:
        for told in outcome.threads:
            self._threads[told.thread].scores.append(told.scores)
        self._reference_scores.append(outcome.reference_scores)

    def best_codes(self) -> dict[int, Codes]:
        """Return, by thread, the code that scored best in its last generation, (1, d)."""
        best: dict[int, Codes] = {}
        for k, thread in enumerate(self._threads):
            if thread.last is not None and np.isfinite(thread.scores[-1]).any():
                row = int(np.nanargmax(thread.scores[-1]))
                best[k] = thread.last[row : row + 1]
        return best

    def result(self, images: Mapping[int, NDArray[np.uint8]]) -> TaskResult:
        """Return what a campaign keeps of the task.

        Parameters
        ----------
        images : by thread, of `best_codes`, (h, w, 3)
        """
        arrays: dict[str, NDArray[Any]] = {}
        width = max((len(row[0]) for row in self._reference_scores), default=0)
        for k, thread in enumerate(self._threads):
            n = len(thread.scores)
            scores = np.concatenate([*thread.scores, np.zeros(0)])
            generation = np.repeat(np.arange(n), [len(rows) for rows in thread.scores])
            drawn = trajectory(scores, generation, groups=n)
            best = best_rows(scores, generation, groups=n)
            shown = np.full((len(self._reference_scores), width), np.nan)
            for row, block in zip(shown, self._reference_scores, strict=True):
                row[: len(block[k])] = block[k]
            references = reference_trajectory(shown)
            arrays[f"mean-{k}"], arrays[f"sem-{k}"] = drawn.mean, drawn.sem
            arrays[f"best-{k}"] = np.where(best >= 0, scores[best], np.nan)
            arrays[f"references-{k}"] = references.mean[references.filled]
            if k in images:
                arrays[f"image-{k}"] = images[k]
        meta = TaskMeta(
            digest=self.digest,
            threads=self._names,
            units=self._units,
            generations=tuple(len(thread.scores) for thread in self._threads),
            presentations=self._shown,
            seconds=round(time.monotonic() - self._begun, 3),
            evolver=__version__,
        )
        return TaskResult(meta, arrays)


def name_of(array: NDArray[Any]) -> str:
    """Return the digest of an array's bytes, 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
