"""A few tasks that advance together, block by block, to their results.

Joins the tasks' sessions to what makes and sees their images. Knows nothing of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evolver.campaign.drives import IMAGES_AT_ONCE, Arithmetic, Asked, SessionArithmetic
from evolver.campaign.evolution import TaskEvolution
from evolver.campaign.members import Member, companies, searches_apart
from evolver.campaign.shared import Shared

if TYPE_CHECKING:
    from evolver.campaign.fast_drives import FastNetworks
    from evolver.campaign.store import Store
    from evolver.config.tables import Config
    from evolver.setup.build import Parts
    from evolver.setup.simulated_rig import Population

TASKS_AT_ONCE = 32
"""In a wave; together with the images in a pass, what bounds its memory."""


@dataclass(frozen=True, slots=True)
class Together:
    """How tasks advance together.

    Attributes
    ----------
    arithmetic : "session": every number as in a session by itself; "fast": in whole passes of
        float32 and batches of optimizers, the same but for rounding
    device : of networks and batches, with "fast"
    tasks : in a wave
    images : in a pass; None: as suits the device
    """

    arithmetic: Literal["session", "fast"] = "session"
    device: str = "cpu"
    tasks: int = TASKS_AT_ONCE
    images: int | None = None

    @property
    def tag(self) -> str:
        """What of it results depend on; empty where they are a session's, bit for bit."""
        return "" if self.arithmetic == "session" else f"fast float32, {self.device}"


class Waves:
    """Runs waves, one after the other, with what they share.

    Parameters
    ----------
    together : Together
    networks : for fast passes, in another dtype than float32; None: made when needed

    Attributes
    ----------
    apart : by digest, why something of a task was done by itself though asked was "fast"
    """

    def __init__(self, together: Together, *, networks: FastNetworks | None = None) -> None:
        self._together, self._networks = together, networks
        self._shared = Shared()
        self.apart: dict[str, tuple[str, ...]] = {}

    def run(self, tasks: Sequence[tuple[str, Config]], store: Store) -> dict[str, str]:
        """Run tasks and keep their results.

        A task that fails costs the others nothing: where it is not known which failed, as in a
        pass of all their images, each is run in a wave of its own.

        Parameters
        ----------
        tasks : digest and session file of each
        store : where results and failures are kept

        Returns
        -------
        dict : by digest, why a task failed; empty where its result is there
        """
        ends: dict[str, str] = {}
        made: list[tuple[str, Config, Parts, Population]] = []
        for digest, config in tasks:
            try:
                made.append((
                    digest,
                    config,
                    self._shared.parts(config),
                    self._shared.population(config),
                ))
            except KeyboardInterrupt:
                raise
            except BaseException as exc:  # noqa: BLE001  whatever a task raises is that task's
                ends[digest] = store.keep_failure(digest, exc)
        if not made:
            return ends
        try:
            ends |= self._advance(made, store)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001
            if len(made) == 1:
                return ends | {made[0][0]: store.keep_failure(made[0][0], exc)}
            for digest, config, *_ in made:
                ends |= self.run([(digest, config)], store)
        return ends

    def _advance(
        self, made: Sequence[tuple[str, Config, Parts, Population]], store: Store
    ) -> dict[str, str]:
        fast = self._together.arithmetic == "fast"
        optimizers = [list(parts.optimizers) for _, _, parts, _ in made]
        if fast:
            configs, all_parts = [m[1] for m in made], [m[2] for m in made]
            optimizers = companies(configs, all_parts, device=self._together.device)
        ends: dict[str, str] = {}
        going: list[TaskEvolution] = []
        for (digest, config, parts, population), own in zip(made, optimizers, strict=True):
            try:
                going.append(TaskEvolution(config, digest, parts, population, optimizers=own))
            except KeyboardInterrupt:
                raise
            except BaseException as exc:  # noqa: BLE001
                ends[digest] = store.keep_failure(digest, exc)
                _leave(own)
        members = {m[0]: own for m, own in zip(made, optimizers, strict=True)}
        arithmetic = self._arithmetic(going)
        for evolution in going if fast else ():
            own = members[evolution.digest]
            whys = arithmetic.apart(evolution) + searches_apart(evolution.config, own)
            self.apart |= {evolution.digest: whys} if whys else {}
        finished: list[TaskEvolution] = []
        while going:
            # Who is a block ahead of its batch, as of fewer references, waits for the others.
            due = [_may_propose(members[e.digest]) for e in going]
            proposed = [(e, e.propose()) for e, may in zip(going, due, strict=True) if may]
            ahead = [e for e, may in zip(going, due, strict=True) if not may]
            asked = [Asked(e, k, codes) for e, block in proposed for k, codes in block.items()]
            answers = arithmetic.answers(asked)
            told = dict(zip(((id(o.evolution), o.thread) for o in asked), answers, strict=True))
            going = ahead
            for evolution, block in proposed:
                own = {k: told[id(evolution), k] for k in block}
                lacks = evolution.lacks_references
                references = arithmetic.references(evolution) if lacks else None
                try:
                    evolution.advance(own, references)
                except KeyboardInterrupt:
                    raise
                except BaseException as exc:  # noqa: BLE001
                    ends[evolution.digest] = store.keep_failure(evolution.digest, exc)
                    _leave(members[evolution.digest])
                    continue
                (finished if evolution.finished else going).append(evolution)
                if evolution.finished:
                    _leave(members[evolution.digest])
        best = [Asked(e, k, code) for e in finished for k, code in e.best_codes().items()]
        images = {
            (id(one.evolution), one.thread): rendered[0]
            for one, rendered in zip(best, arithmetic.images(best), strict=True)
        }
        for evolution in finished:
            own_images = {k: image for (e, k), image in images.items() if e == id(evolution)}
            store.keep(evolution.result(own_images))
            ends[evolution.digest] = ""
        return ends

    def _arithmetic(self, evolutions: Sequence[TaskEvolution]) -> Arithmetic:
        if self._together.arithmetic == "session":
            at_once = self._together.images or IMAGES_AT_ONCE
            return SessionArithmetic(evolutions, self._shared, at_once=at_once)
        from evolver.campaign.fast_drives import FastArithmetic, FastNetworks

        if self._networks is None:
            self._networks = FastNetworks(device=self._together.device)
        return FastArithmetic(
            evolutions, self._shared, self._networks, at_once=self._together.images
        )


def _may_propose(optimizers: Sequence[object]) -> bool:
    return all(o.may_ask for o in optimizers if isinstance(o, Member))


def _leave(optimizers: Sequence[object]) -> None:
    for optimizer in optimizers:
        if isinstance(optimizer, Member):
            optimizer.leave()
