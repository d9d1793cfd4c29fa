"""Which experiments are one session under several names.

A recording is known by its session's id, whatever its file is called and whenever it was
folded; an experiment of another source by its id together with its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evolver.experiments.experiment import Experiment


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """A session that is there once more.

    Attributes
    ----------
    where : str, the file or folder that does not count
    of : str, the one that does
    """

    where: str
    of: str

    @property
    def reason(self) -> str:
        """Why it does not count."""
        return f"the same session as {self.of}, where it counts"


def same_session(experiment: Experiment) -> bytes:
    """Return what two experiments have in common if, and only if, they are one session."""
    if experiment.session_id:
        return f"session {experiment.session_id}".encode()
    digest = sha256(repr(experiment.id).encode("utf-8", "surrogatepass"))
    for thread in experiment.threads:
        digest.update(repr((thread.name, thread.generator)).encode("utf-8", "surrogatepass"))
        arrays = [thread.course.mean, thread.course.sem]
        if thread.single is not None:
            arrays += [thread.single.response, thread.single.block.astype(np.float64)]
        if thread.psth is not None:
            arrays.append(thread.psth.mean)
        for array in arrays:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.digest()


def size_of_session(experiment: Experiment) -> int:
    """Return how much of a session there is: its images with a response, else its blocks."""
    return sum(
        len(one.course) if one.images is None else int(one.images.sum())
        for one in experiment.threads
    )


def place_of(experiment: Experiment) -> str:
    """Return the file or folder of an experiment, with its name where a file holds several."""
    single = experiment.reader != "published archive"
    return experiment.source if single else f"{experiment.source}, {experiment.id}"
