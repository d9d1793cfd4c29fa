# ruff: noqa: ANN401
# Arrays here are torch's or numpy's, of any optimizer's state: no types worth writing.
"""Many populations of one optimizer at once, as one batch of tensors.

For campaigns against a network: B units, or B seeds, each with a search of its own. The pure
functions of the optimizer run under `torch.vmap`, once for all populations, on a CPU or a GPU;
nothing of the algorithm is written a second time.

torch is imported when a batch is made and not before.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from evolver.errors import ConfigError, DataError, OrderError
from evolver.optimizers.ask_tell import AskTell, Functions
from evolver.optimizers.by_name import load_optimizer
from evolver.optimizers.within_axes import WithinAxes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

_DTYPES = ("float64", "float32")


def batched(
    name: str,
    d: int,
    *,
    rngs: Sequence[np.random.Generator],
    popsize: int | None = None,
    initial: Any = None,
    dtype: str = "float64",
    device: str = "cpu",
    exact: bool = True,
    **options: Any,
) -> Batched:
    """Return as many new optimizers as there are `rngs`, run as one.

    Parameters
    ----------
    name : the optimizer's, as `load` takes it; one of this room's own, and no composite
    d, popsize, **options : as `load` takes them, the same for all
    rngs : one random generator for each population
    initial : None; or shape (d,), the same for all; or (B, d) or (B, m, d), one for each
    dtype : 'float64', or 'float32' for speed
    device : where it runs: 'cpu', 'cuda', 'cuda:1'
    exact : True draws from `rngs`, so that each population has the codes that it would have
        alone, but for rounding. False draws on the device, seeded from the first of them:
        other codes of the same distribution, much faster, and still the same for equal seeds

    Raises
    ------
    ConfigError
        This optimizer cannot be batched, or a setting is out of its range.
    DataError
        `initial` has the wrong shape or is not finite.
    """
    if not rngs:
        raise ConfigError("rngs must have a random generator for each population; got none")
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(_DTYPES)}; got {dtype!r}")
    starts = _starts(initial, len(rngs), d)
    alone = [
        load_optimizer(name, d, rng=rng, popsize=popsize, initial=start, **options)
        for rng, start in zip(rngs, starts, strict=True)
    ]
    searching = _within(alone[0])
    kind: Any = type(searching)
    if not isinstance(searching, AskTell) or kind.update is AskTell[Any].update:
        raise ConfigError(f"optimizer {name!r} is no pure function of a state: run it alone")
    return Batched(alone, rngs, dtype=dtype, device=device, exact=exact)


def is_batchable(optimizer: object, *, all_told: bool = True) -> bool:
    """Return whether an optimizer is a pure function of its state, its codes and its scores.

    One that runs other optimizers, or climbs a slope, is none. Where not all codes asked for
    are told, the states of one batch must have one shape all the same.
    """
    searching = _within(optimizer)
    kind: Any = type(searching)
    return (
        isinstance(searching, AskTell)
        and (all_told or not kind.keeps_codes)
        and kind.update is not AskTell[Any].update
        and kind._learn is AskTell[Any]._learn  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    )


def _within(optimizer: object) -> object:
    """Return the optimizer that searches along axes; one without any is that itself."""
    return optimizer.inner if isinstance(optimizer, WithinAxes) else optimizer


def _starts(initial: Any, populations: int, d: int) -> list[Any]:
    if initial is None:
        return [None] * populations
    given = np.asarray(initial, dtype=np.float64)
    if given.shape == (d,):
        return [given] * populations
    if given.ndim not in {2, 3} or given.shape[0] != populations or given.shape[-1] != d:
        raise DataError(
            f"initial must have shape ({d},), ({populations}, {d}) or ({populations}, m, {d}); "
            f"got {given.shape}"
        )
    return list(given)


class Batched:
    """B optimizers of one kind, asked and told together; `batched` makes one.

    `ask` and `tell` take turns. All codes of a generation are told, each population's scores
    ranked apart. The draws run one generation ahead, in a thread. `state` is like the single
    optimizer's, and its arrays have B in front.
    """

    def __init__(
        self,
        alone: Sequence[Any],
        rngs: Sequence[np.random.Generator],
        *,
        dtype: str,
        device: str,
        exact: bool,
    ) -> None:
        self._torch: Any = import_module("torch")
        self._device = self._torch.device(device)
        self._dtype = getattr(self._torch, dtype)
        first = alone[0].state
        self._frame = first
        each = [_arrays_of(a.state) for a in alone]
        self._arrays = {n: self._tensor(np.stack([of[n] for of in each])) for n in each[0]}
        self._pure: Functions[Any] = alone[0].functions(self._tensor)
        self._streams = _Streams(rngs, self._tensor) if exact else self._on_device(rngs)
        self.d, self.populations = alone[0].d, len(alone)
        self._asked: Any = None
        # Draws do not depend on scores: the next are made while this generation is scored.
        self._worker = ThreadPoolExecutor(1, "draws")
        self._ahead: Future[Any] = self._worker.submit(self._draw, self._shape())

    def _tensor(self, array: Any) -> torch.Tensor:
        return self._torch.as_tensor(array, dtype=self._dtype, device=self._device)

    def _on_device(self, rngs: Sequence[np.random.Generator]) -> _OnDevice | _Streams:
        if self._device.type == "cpu" and self._dtype == self._torch.float64:
            return _Streams(rngs[:1], self._tensor, len(rngs))  # torch's own are slower
        seed = int(rngs[0].integers(2**63))
        generator = self._torch.Generator(self._device).manual_seed(seed)
        return _OnDevice(self._torch, generator, len(rngs), self._dtype, self._device)

    @property
    def state(self) -> Any:
        """The states of all populations in one: its arrays begin with the axis B."""
        return _with_arrays(self._frame, self._arrays)

    def ask(self) -> torch.Tensor:
        """Draw the next codes of every population, shape (B, n, d), latent units.

        Raises
        ------
        OrderError
            The codes asked for last have not been told yet.
        """
        if self._asked is not None:
            raise OrderError("ask() and tell() take turns: tell() the codes asked for first")
        with self._torch.no_grad():
            draws = self._ahead.result()
            self._ahead = self._worker.submit(self._draw, self._shape())
            given = self._arrays.get("given")
            self._asked = (
                given
                if given is not None and given.shape[1]
                else self._torch.vmap(self._sample)(self._arrays, *draws)
            )
            return self._asked.clone()

    def tell(
        self,
        scores: torch.Tensor | np.ndarray,
        partly: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None:
        """Learn from the scores of what was asked for.

        Parameters
        ----------
        scores : shape (B, n), finite, larger is better, for the codes in their order
        partly : populations that learn from other codes than all of theirs, each by itself:
            its number to codes, (m, d), and scores, (m,); its row of `scores` is not looked at

        Raises
        ------
        OrderError
            Nothing was asked for.
        DataError
            The shape is wrong or a score is not finite. Nothing is learnt.
        """
        asked = self._asked
        if asked is None:
            raise OrderError("ask() and tell() take turns: ask() for codes before tell()")
        with self._torch.no_grad():
            values = self._tensor(scores).contiguous()
            if values.shape != asked.shape[:2]:
                raise DataError(
                    f"scores must have shape {tuple(asked.shape[:2])}, one per code of each "
                    f"population; got {tuple(values.shape)}"
                )
            if not bool(self._torch.isfinite(values).all()):
                raise DataError("scores must be finite; some are not, in this dtype")
            self._after: Any = None
            alone = {
                row: self._update(
                    {name: array[row] for name, array in self._arrays.items()},
                    *(self._tensor(np.ascontiguousarray(part)) for part in of_row),
                )
                for row, of_row in (partly or {}).items()
            }
            self._arrays = self._torch.vmap(self._update)(self._arrays, asked, values)
            self._frame = self._after
            if alone:
                self._arrays = {name: array.clone() for name, array in self._arrays.items()}
            for row, arrays in alone.items():
                for name, array in arrays.items():
                    self._arrays[name][row] = array
        self._asked = None

    def _shape(self) -> Any:
        """Return a state whose arrays have the shapes that one population's have."""
        return _with_arrays(self._frame, {n: a[0] for n, a in self._arrays.items()})

    def _draw(self, shape: Any) -> tuple[Any, ...]:
        return self._pure.draws(shape, self._streams)

    def _sample(self, arrays: dict[str, Any], *draws: Any) -> Any:
        return self._pure.sample(_with_arrays(self._frame, arrays), *draws)

    def _update(self, arrays: dict[str, Any], codes: Any, scores: Any) -> dict[str, Any]:
        after = self._pure.update(_with_arrays(self._frame, arrays), codes, scores)
        # Counters are the same for all: they leave by the side, with no tensor in them.
        self._after = _with_arrays(after, dict.fromkeys(arrays, None))
        new = _arrays_of(after)
        return {name: new[name] for name in arrays}


def _arrays_of(state: Any, prefix: str = "") -> dict[str, Any]:
    """Return what of a state differs from population to population, by name.

    Names of a state within are dotted. Counters and names of optimizers are the same for all.
    """
    counters = _counters(state.__class__)
    arrays: dict[str, Any] = {}
    for f in fields(state):
        value = getattr(state, f.name)
        if is_dataclass(value):
            arrays |= _arrays_of(value, f"{prefix}{f.name}.")
        elif f.name not in counters:
            arrays[f"{prefix}{f.name}"] = value
    return arrays


@cache
def _counters(kind: type[Any]) -> frozenset[str]:
    """Return which fields of a state are whole numbers, or names."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if hint in {int, str})


def _with_arrays(state: Any, arrays: Mapping[str, Any]) -> Any:
    """Return a state with other arrays, by the names that `_arrays_of` gives them."""
    own = {name: array for name, array in arrays.items() if "." not in name}
    for within in {name.partition(".")[0] for name in arrays if "." in name}:
        nested = {
            name.partition(".")[2]: array
            for name, array in arrays.items()
            if name.startswith(f"{within}.")
        }
        own[within] = _with_arrays(getattr(state, within), nested)
    return replace(state, **own)


class _Streams:
    """Generators of numpy: one for each population, as if it were alone; or one for `each`."""

    def __init__(self, rngs: Sequence[np.random.Generator], tensor: Any, each: int = 1) -> None:
        self._rngs, self._tensor, self._each = list(rngs), tensor, each

    def standard_normal(self, size: tuple[int, ...]) -> Any:
        out = np.empty((len(self._rngs), self._each, *size))
        for rows, rng in zip(out, self._rngs, strict=True):
            rng.standard_normal(out=rows)
        return self._tensor(out.reshape(-1, *size))

    def random(self, size: tuple[int, ...]) -> Any:
        out = np.empty((len(self._rngs), self._each, *size))
        for rows, rng in zip(out, self._rngs, strict=True):
            rng.random(out=rows)
        return self._tensor(out.reshape(-1, *size))


class _OnDevice:
    """One generator for all, on the device."""

    def __init__(self, torch: Any, generator: Any, populations: int, *where: Any) -> None:
        self._torch, self._populations = torch, populations
        dtype, device = where
        self._options = {"generator": generator, "dtype": dtype, "device": device}

    def standard_normal(self, size: tuple[int, ...]) -> Any:
        return self._torch.randn((self._populations, *size), **self._options)

    def random(self, size: tuple[int, ...]) -> Any:
        return self._torch.rand((self._populations, *size), **self._options)
