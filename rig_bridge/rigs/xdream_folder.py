"""A rig made of two folders, as the MATLAB labs have it: images out, block%03d.mat in.

For a presentation and recording system that watches a folder. Every request of the engine
becomes a folder of PNG files, given its name only when all of them are in it; what the other
side recorded comes back as a MATLAB file of the same number:

    stimulusID   (n,) names of the image files, as cells, with or without .png
    tEvokedResp  (n, channels) one rate a showing and channel, spikes/s

A row a showing, in any order; an image that was shown more than once has as many rows. A row of
NaN, or no row, is an aborted showing. The other side must write the file under another name and
rename it, or write it whole: a file that cannot be read yet is tried again.

Knows folders and files; scipy reads MATLAB's. No clock but the file system's.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Hello, ScreenInfo, Unit
from rig_bridge.trials import Image, Presentation, TrialResult, aborted

_QUIET_S = 0.2
"""A request is complete when nothing was asked for during so long."""
_LARGEST_FILE = 64 << 20
_ODD = (ValueError, TypeError, NotImplementedError)  # what scipy makes of half a file


@dataclass(slots=True, eq=False)
class _Batch:
    """One folder of images."""

    number: int
    asked: dict[str, list[Presentation]] = field(
        default_factory=dict[str, "list[Presentation]"]
    )
    written_ns: int = 0


class XDreamFolder:
    """A presenter whose screen and amplifier are behind a folder.

    Parameters
    ----------
    images : folder for the images; made if need be
    responses : folder in which block%03d.mat appears; made if need be
    channels : of tEvokedResp
    display : the other side's screen
    clock : seconds, monotonic
    """

    def __init__(
        self,
        images: Path,
        responses: Path,
        *,
        channels: int,
        display: ScreenInfo,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for folder in (images, responses):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise EndpointError(f"{folder} must be a folder; {exc.strerror}") from exc
        self._images, self._responses = images, responses
        self._channels, self._display, self._clock = channels, display, clock
        taken = [int(p.name[5:8]) for p in images.glob("block[0-9][0-9][0-9]")]
        self._number = max(taken, default=-1) + 1
        self._open: _Batch | None = None
        self._waiting: list[_Batch] = []
        self._asked_at = 0.0

    def hello(self, name: str, *, software: str) -> Hello:
        """Return what a rig with this presenter says first."""
        units = tuple(Unit(c, 0, "", f"channel {c}") for c in range(self._channels))
        window = (-10_000.0, 10_000.0)
        return Hello(
            name=name,
            software=software,
            capabilities=("rates",),
            units=units,
            display=self._display,
            window_ms=window,
        )

    def prepare(self, images: dict[str, Image]) -> None:
        """Wait for the presentations, which say what is shown how often."""

    def present(self, image: Image, request: Presentation) -> None:
        """Add an image to the folder that is being filled; its answer comes later."""
        if self._open is None:
            self._open = _Batch(self._number)
            self._number += 1
            self._partial.mkdir()
        name = f"b{request.block:04d}_{request.sha256[:16]}"
        if name not in self._open.asked:
            _write_png(self._partial / f"{name}.png", image)
        self._open.asked.setdefault(name, []).append(request)
        self._asked_at = self._clock()

    def collect(self) -> Sequence[tuple[int, TrialResult]]:
        """Hand the folder over once it is complete; return what came back."""
        if self._open is not None and self._clock() - self._asked_at >= _QUIET_S:
            batch, partial = self._open, self._partial
            repeats = max(len(asked) for asked in batch.asked.values())
            (partial / "repeats.txt").write_text(f"{repeats}\n", encoding="ascii")
            batch.written_ns = time.time_ns()
            partial.rename(self._images / f"block{batch.number:03d}")
            self._waiting.append(batch)
            self._open = None
        done: list[tuple[int, TrialResult]] = []
        for batch in list(self._waiting):
            answers = _read_mat(self._responses / f"block{batch.number:03d}.mat")
            if answers is not None:
                self._waiting.remove(batch)
                done += self._results(batch, *answers)
        return done

    def blank(self) -> None:
        """Do nothing: the screen is the other side's."""

    @property
    def _partial(self) -> Path:
        number = self._number - 1 if self._open is None else self._open.number
        return self._images / f".block{number:03d}.partial"

    def _results(
        self, batch: _Batch, names: Sequence[str], rates: NDArray[np.float64]
    ) -> list[tuple[int, TrialResult]]:
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for name, row in zip(names, rates, strict=False):
            if row.shape == (self._channels,) and np.isfinite(row).all():
                rows.setdefault(re.sub(r"\.png$", "", name), []).append(row)
        now = time.time_ns()
        done: list[tuple[int, TrialResult]] = []
        for name, asked in batch.asked.items():
            for request in asked:
                rows_left = rows.get(name, [])
                if rows_left:
                    result = TrialResult(
                        presentation=request.presentation,
                        attempt=request.attempt,
                        status="ok",
                        reason="",
                        commanded_ns=batch.written_ns,
                        onset_ns=batch.written_ns,
                        offset_ns=now,
                        onset_source="command",
                        form="rates",
                        arrays={"rates": rows_left.pop(0).astype("<f8")},
                    )
                else:
                    reason = "no row, or no number, in the MATLAB file"
                    result = aborted(
                        request, reason, form="rates", units=self._channels, time_ns=now
                    )
                done.append((request.block, result))
        return done


def _write_png(path: Path, image: Image) -> None:
    import PIL.Image

    PIL.Image.fromarray(image).save(path)


def _read_mat(path: Path) -> tuple[list[str], NDArray[np.float64]] | None:
    """Return the names and rates of a MATLAB file; None while it is not there, or not whole."""
    if not path.exists() or path.stat().st_size > _LARGEST_FILE:
        return None
    from scipy.io import loadmat  # pyright: ignore[reportUnknownVariableType]
    from scipy.io.matlab import MatReadError

    try:
        wanted = ["stimulusID", "tEvokedResp"]
        loaded: Any = loadmat(  # pyright: ignore[reportUnknownVariableType]
            path, variable_names=wanted, squeeze_me=True
        )
        variables: dict[str, Any] = dict(loaded)  # pyright: ignore[reportUnknownArgumentType]
        names = [str(name) for name in np.atleast_1d(variables["stimulusID"])]
        rates = np.atleast_2d(np.asarray(variables["tEvokedResp"], dtype=np.float64))
    except (MatReadError, OSError, zlib.error, ArithmeticError, LookupError, *_ODD):
        return None  # half written, or not this kind of file: tried again
    if len(names) == 1 and rates.shape[0] != 1:
        rates = rates.T
    if rates.shape[0] != len(names) and rates.shape[1] == len(names):
        rates = rates.T  # one channel, squeezed
    return names, rates
