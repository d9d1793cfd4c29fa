"""What was asked of a rig and what came of it, one presentation at a time.

Arrays and numbers; no sockets, no bytes. `pack_results` puts the results of several
presentations into one `response` with few arrays, `unpack_results` takes them apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import ProtocolError
from rig_bridge.forms import FORMS, Form, FormArray, array_names
from rig_bridge.messages import (
    ArraySpec,
    PresentationRequest,
    Response,
    Show,
    Showing,
    Trial,
)

Array: TypeAlias = NDArray[Any]
Image: TypeAlias = NDArray[np.uint8]
"""(h, w, 3) sRGB, C-contiguous."""

SHOWING_FIELDS = Showing.__struct_fields__
"""Names of what every result says beside its response."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShowRequest:
    """What the engine asks a rig to show.

    Parameters
    ----------
    block : of the session
    attempt : from 1; larger than every attempt of this block so far
    images : each (h, w, 3) uint8, C-contiguous; sent without a copy, so not to be changed
    sha256 : one per image, of its bytes, 64 hexadecimal digits
    presentations : in the order of showing; `image` is an index into `images`
    size_deg : longer side of the image, degrees of visual angle; of presentations that have
        none of their own
    position_deg : its centre, degrees right of and above fixation; likewise
    """

    block: int
    attempt: int
    images: tuple[Image, ...]
    sha256: tuple[str, ...]
    presentations: tuple[PresentationRequest, ...]
    size_deg: float
    position_deg: tuple[float, float]

    def for_presenter(
        self, asked: PresentationRequest, *, window_ms: tuple[float, float]
    ) -> Presentation:
        """Return one of the presentations as a rig's presenter is asked for it."""
        return Presentation.of(
            self, asked, sha256=self.sha256[asked.image], window_ms=window_ms
        )

    @property
    def places(self) -> bool:
        """Whether a presentation has a size or a position of its own."""
        return any(
            p.size_deg is not None or p.position_deg is not None for p in self.presentations
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """One showing, as the rig's presenter is asked for it.

    `window_ms` is what is to be recorded, relative to onset; `size_deg` and `position_deg` are
    this showing's; the rest is as in `ShowRequest`.
    """

    block: int
    attempt: int
    presentation: int
    sha256: str
    on_ms: float
    off_ms: float
    size_deg: float
    position_deg: tuple[float, float]
    window_ms: tuple[float, float]

    @classmethod
    def of(
        cls,
        request: ShowRequest | Show,
        asked: PresentationRequest,
        *,
        sha256: str,
        window_ms: tuple[float, float],
    ) -> Presentation:
        """Return a presentation at its own place, or else at that of the request it is in."""
        size, position = asked.size_deg, asked.position_deg
        return cls(
            block=request.block,
            attempt=request.attempt,
            presentation=asked.presentation,
            sha256=sha256,
            on_ms=asked.on_ms,
            off_ms=asked.off_ms,
            size_deg=request.size_deg if size is None else size,
            position_deg=request.position_deg if position is None else position,
            window_ms=window_ms,
        )


class TrialResult(Showing, frozen=True, eq=False, kw_only=True):
    """What happened in one presentation: a `Showing`, with its response."""

    form: Form  # spikes, counts or rates
    arrays: dict[str, Array]  # the form's, as `rig_bridge.forms.FORMS` lists them

    @classmethod
    def of(cls, showing: Showing, form: Form, arrays: dict[str, Array]) -> TrialResult:
        """Return a showing and its response as one result."""
        return cls(**_showing_fields(showing), form=form, arrays=arrays)

    @property
    def ok(self) -> bool:
        """Whether the showing was not aborted."""
        return self.status == "ok"


def _showing_fields(showing: Showing) -> dict[str, Any]:
    return {name: getattr(showing, name) for name in SHOWING_FIELDS}


def empty_arrays(
    form: Form, *, units: int, window_ms: tuple[float, float], bins: int = 1
) -> dict[str, Array]:
    """Return the arrays of a response of which nothing was recorded: no spikes, or zeros.

    Parameters
    ----------
    form, units : what the rig answers in, and how many units it has
    window_ms : what was to be recorded, relative to onset; filled by `bins` equal bins
    """
    lengths = {"k": 0, "u": units, "t": bins}
    arrays = {
        array.name: np.zeros([lengths.get(axis, bins + 1) for axis in array.axes], array.dtype)
        for array in FORMS[form]
    }
    if "edges_ms" in arrays:
        arrays["edges_ms"] = np.linspace(*window_ms, bins + 1, dtype="<f8")
    return arrays


def aborted(
    asked: Presentation, reason: str, *, form: Form, units: int, time_ns: int
) -> TrialResult:
    """Return the result of a presentation of which nothing was recorded.

    Parameters
    ----------
    asked, reason : what was asked for, and why nothing came of it
    form : what the rig answers in; the arrays are empty, or zeros
    units : how many the rig has
    time_ns : rig clock; stands for command, onset and offset
    """
    return TrialResult(
        presentation=asked.presentation,
        attempt=asked.attempt,
        status="aborted",
        reason=reason,
        commanded_ns=time_ns,
        onset_ns=time_ns,
        offset_ns=time_ns,
        onset_source="command",
        form=form,
        arrays=empty_arrays(form, units=units, window_ms=asked.window_ms),
    )


def may_share(result: TrialResult, other: TrialResult) -> bool:
    """Return whether two results fit into one response: the same form, and the same bins."""
    return result.form == other.form and all(
        np.array_equal(result.arrays[array.name], other.arrays[array.name])
        for array in FORMS[result.form]
        if array.joined == "shared"
    )


def pack_results(
    results: Sequence[TrialResult], *, block: int, attempt: int
) -> tuple[Response, tuple[Array, ...]]:
    """Return the message and array frames that carry `results`, all of one form.

    Raises
    ------
    ProtocolError
        Forms, or the bin edges of counts, differ; such results need messages of their own.
    """
    form = results[0].form
    if any(r.form != form for r in results):
        raise ProtocolError(
            f"one response must have one form; got {sorted({r.form for r in results})}"
        )
    wanted = set(array_names(form))
    for r in results:
        if set(r.arrays) != wanted:
            raise ProtocolError(
                f"a result of form {form} must have the arrays {sorted(wanted)}; "
                f"got {sorted(r.arrays)}"
            )
    arrays = {a.name: _joined(a, [r.arrays[a.name] for r in results]) for a in FORMS[form]}
    trials = tuple(
        Trial(**_showing_fields(r), length=len(r.arrays["units"]) if form == "spikes" else 0)
        for r in results
    )
    specs = tuple(ArraySpec(n, a.dtype.str, a.shape) for n, a in arrays.items())
    response = Response(block=block, attempt=attempt, form=form, trials=trials, arrays=specs)
    return response, tuple(arrays.values())


def _joined(array: FormArray, values: Sequence[Array]) -> Array:
    """Return an array of several results as a message has it."""
    match array.joined:
        case "end to end":
            return np.concatenate(values)
        case "stacked":
            return np.stack(values)
        case "shared":
            if not all(np.array_equal(value, values[0]) for value in values):
                raise ProtocolError("counts in one response must share their bin edges")
            return values[0]


def unpack_results(response: Response, arrays: Sequence[Array]) -> tuple[TrialResult, ...]:
    """Return the results in a message that `codec` has checked, in the order of its trials."""
    trials, form = response.trials, response.form
    parts: list[dict[str, Array]] = [{} for _ in trials]
    spans = [slice(i, j) for i, j in pairwise(np.cumsum([0, *(t.length for t in trials)]))]
    for array, values in zip(FORMS[form], arrays, strict=True):
        for i, part in enumerate(parts):
            match array.joined:
                case "end to end":
                    part[array.name] = values[spans[i]]
                case "stacked":
                    part[array.name] = values[i]
                case "shared":
                    part[array.name] = values
    return tuple(TrialResult.of(t, form, part) for t, part in zip(trials, parts, strict=True))
