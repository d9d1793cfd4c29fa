"""A rig made of two folders, as the MATLAB labs have it: images out, block%03d.mat in.

For a presentation and recording system that watches a folder. Every request of the engine
becomes a folder of PNG files, given its name only when all of them are in it; what the other
side recorded comes back as a MATLAB file of the same number:

    stimulusID   (n,) names of the image files, as cells, with or without .png
    tEvokedResp  (n, channels) one rate a showing and channel, spikes/s

A row a showing, in any order; an image that was shown more than once has as many rows. A row of
NaN, or no row, is an aborted showing. The other side must write the file under another name and
rename it, or write it whole: a file that cannot be read yet is tried again, until it has not
changed for ten seconds; then its showings are aborted and the reason is said.

Nothing older than its request is an answer. A request has a number that is in neither folder,
and a mark of its own, drawn at random, in the names of its images: a file that names none of
them answers something else, whenever it was written, and is said once and left alone.

Knows folders and files; `mat_files` reads MATLAB's. No clock but the file system's.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import EndpointError
from rig_bridge.messages import Hello, Level, ScreenInfo, Unit
from rig_bridge.rigs.mat5_files import MatFileError
from rig_bridge.rigs.mat_files import is_hdf5, read_rates
from rig_bridge.steady import unix_ns
from rig_bridge.trials import Image, Presentation, TrialResult, aborted

_QUIET_S = 0.2
"""A request is complete when nothing was asked for during so long."""
_WHOLE_S = 0.5  # unchanged for so long, HDF5 is read: until it is closed it may hold zeros
_NEVER_S = 10.0  # unchanged for so long and unreadable, a file will never be readable
_NUMBERED = re.compile(r"\.?block(\d{3,9})\b")


@dataclass(slots=True, eq=False)
class _Batch:
    """One folder of images, and the file that may answer it."""

    number: int
    mark: str  # in its images' names, and in no other request's
    asked: dict[str, list[Presentation]] = field(
        default_factory=dict[str, "list[Presentation]"]
    )
    written_ns: int = 0
    seen: tuple[int, int, int] | None = None  # inode, size and time of the file
    seen_at: float = 0.0  # since when it has not changed
    is_settled: bool = False  # looked into for the last time, unless it changes


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
        self._notices: list[tuple[Level, str]] = []
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

    def present(self, image: Image, request: Presentation) -> TrialResult | None:
        """Add an image to the folder that is being filled; its answer comes later.

        Where the folder refuses it, the showing is aborted at once.
        """
        try:
            if self._open is None:
                self._open = self._new_batch()
            batch = self._open
            name = f"b{request.block:04d}_{request.sha256[:16]}_{batch.mark}"
            if name not in batch.asked:
                _write_png(_partial(self._images, batch.number) / f"{name}.png", image)
        except OSError as exc:
            return self._aborted(request, f"its image cannot be written: {exc.strerror}")
        batch.asked.setdefault(name, []).append(request)
        self._asked_at = self._clock()
        return None

    def collect(self) -> Sequence[tuple[int, TrialResult]]:
        """Hand the folder over once it is complete; return what came back."""
        done: list[tuple[int, TrialResult]] = []
        if self._open is not None and self._clock() - self._asked_at >= _QUIET_S:
            batch, self._open = self._open, None
            try:
                self._hand_over(batch)
            except OSError as exc:
                reason = f"its folder cannot be handed over: {exc.strerror}"
                done += self._all_aborted(batch, reason)
            else:
                self._waiting.append(batch)
        for batch in list(self._waiting):
            results = self._answer(batch)
            if results is not None:
                self._waiting.remove(batch)
                done += results
        return done

    def notices(self) -> Sequence[tuple[Level, str]]:
        """Return what people should know of the files that came, each once."""
        said, self._notices = self._notices, []
        return said

    def blank(self) -> None:
        """Do nothing: the screen is the other side's."""

    # ------------------------------------------------------------------ out

    def _new_batch(self) -> _Batch:
        """Make a folder to be filled, whose number nothing in either folder has."""
        number = self._next_number()
        while True:
            try:
                _partial(self._images, number).mkdir()
            except FileExistsError:  # another rig was quicker
                number += 1
            else:
                return _Batch(number, secrets.token_hex(4))

    def _next_number(self) -> int:
        """Return the number after the largest in either folder, leftovers of a crash too."""
        names = (p.name for f in (self._images, self._responses) for p in f.iterdir())
        numbers = (int(found[1]) for name in names if (found := _NUMBERED.match(name)))
        return max(numbers, default=-1) + 1

    def _hand_over(self, batch: _Batch) -> None:
        partial = _partial(self._images, batch.number)
        if self._folder(batch).exists() or self._file(batch).exists():
            batch.number = self._next_number()  # taken since the first image was asked for
        repeats = max(len(asked) for asked in batch.asked.values())
        (partial / "repeats.txt").write_text(f"{repeats}\n", encoding="ascii")
        batch.written_ns = unix_ns()
        partial.rename(self._folder(batch))

    def _folder(self, batch: _Batch) -> Path:
        return self._images / f"block{batch.number:03d}"

    def _file(self, batch: _Batch) -> Path:
        return self._responses / f"block{batch.number:03d}.mat"

    # ------------------------------------------------------------------ back

    def _answer(self, batch: _Batch) -> list[tuple[int, TrialResult]] | None:
        """Return the results of a batch; None: wait on."""
        path = self._file(batch)
        try:
            status = path.stat()
        except OSError:  # not there, or just being renamed
            batch.seen = None
            return None
        seen = status.st_ino, status.st_size, status.st_mtime_ns
        if seen != batch.seen:
            batch.seen, batch.seen_at, batch.is_settled = seen, self._clock(), False
        unchanged_s = self._clock() - batch.seen_at
        if batch.is_settled:
            return None
        try:
            if unchanged_s < _WHOLE_S and is_hdf5(path):
                return None
            names, rates = read_rates(path, channels=self._channels)
        except MatFileError as exc:
            if unchanged_s < _NEVER_S:
                return None
            self._notices.append(("error", f"{path.name} is no answer: {exc}"[:2000]))
            return self._all_aborted(batch, f"{path.name}: {exc}")
        if not batch.asked.keys() & set(names):
            batch.is_settled = True
            first = f"the first is {names[0]!r}" if names else "it has no row"
            said = (
                f"{path.name} is of another request, and is left alone: stimulusID must name "
                f"images of {self._folder(batch).name}, as {next(iter(batch.asked))!r}; {first}"
            )
            self._notices.append(("error", said[:2000]))
            return None
        return self._results(batch, names, rates)

    def _results(
        self, batch: _Batch, names: Sequence[str], rates: NDArray[np.float64]
    ) -> list[tuple[int, TrialResult]]:
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for name, row in zip(names, rates, strict=True):
            if np.isfinite(row).all():
                rows.setdefault(name, []).append(row)
        now = max(unix_ns(), batch.written_ns)
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
                    result = self._aborted(request, reason)
                done.append((request.block, result))
        return done

    def _all_aborted(self, batch: _Batch, reason: str) -> list[tuple[int, TrialResult]]:
        return [
            (request.block, self._aborted(request, reason))
            for asked in batch.asked.values()
            for request in asked
        ]

    def _aborted(self, request: Presentation, reason: str) -> TrialResult:
        return aborted(
            request,
            reason[:200],
            form="rates",
            units=self._channels,
            time_ns=unix_ns(),
        )


def _partial(images: Path, number: int) -> Path:
    return images / f".block{number:03d}.partial"


def _write_png(path: Path, image: Image) -> None:
    import PIL.Image

    PIL.Image.fromarray(image).save(path)
