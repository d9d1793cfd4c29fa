"""What was asked of a rig and what came of it, one presentation at a time.

Arrays and numbers; no sockets, no bytes. `pack` puts the results of several presentations into
one `response` with few arrays, `unpack` takes them apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rig_bridge.errors import ProtocolError
from rig_bridge.messages import ArraySpec, Form, OnsetSource, Response, Status, Trial

Array: TypeAlias = NDArray[Any]
Image: TypeAlias = NDArray[np.uint8]
"""(h, w, 3) sRGB, C-contiguous."""


@dataclass(frozen=True, slots=True)
class PresentationRequest:
    """One showing that the engine asks for.

    Parameters
    ----------
    presentation : unique in the session
    image : index into `ShowRequest.images`
    on_ms, off_ms : image on screen, then blank, milliseconds
    known_attempt : the last attempt of this presentation whose result the engine already has
        (an aborted one that is to be shown again); 0 if none. What came through the same
        `EngineLink` need not be named. From what it kept, a rig answers with later ones only
    """

    presentation: int
    image: int
    on_ms: float
    off_ms: float
    known_attempt: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ShowRequest:
    """What the engine asks a rig to show.

    Parameters
    ----------
    block : of the session
    attempt : from 1; larger than every attempt of this block so far
    images : each (h, w, 3) uint8, C-contiguous; sent without a copy, so not to be changed
    sha256 : one per image, of its bytes, 64 hexadecimal digits
    presentations : in the order of showing
    size_deg : side of the image, degrees of visual angle
    position_deg : its centre, degrees right of and above fixation
    """

    block: int
    attempt: int
    images: tuple[Image, ...]
    sha256: tuple[str, ...]
    presentations: tuple[PresentationRequest, ...]
    size_deg: float
    position_deg: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Presentation:
    """One showing, as the rig's presenter is asked for it.

    `window_ms` is what is to be recorded, relative to onset; the rest is as in `ShowRequest`.
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


@dataclass(frozen=True, slots=True, eq=False)
class TrialResult:
    """What happened in one presentation.

    Parameters
    ----------
    presentation, attempt : which one; the attempt of the show it was presented for
    status, reason : ok, or aborted and why
    commanded_ns, onset_ns, offset_ns : rig clock, nanoseconds
    onset_source : how the onset is known
    form : spikes, counts or rates
    arrays : by form.
        spikes: ``units`` (k,) <u4, ``times_ms`` (k,) <f4 relative to onset;
        counts: ``counts`` (u, t) <u2, ``edges_ms`` (t + 1,) <f8;
        rates: ``rates`` (u,) <f8, spikes/s
    """

    presentation: int
    attempt: int
    status: Status
    reason: str
    commanded_ns: int
    onset_ns: int
    offset_ns: int
    onset_source: OnsetSource
    form: Form
    arrays: dict[str, Array] = field(default_factory=dict[str, Array])


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
    arrays: dict[str, Array] = {
        "spikes": {"units": np.zeros(0, "<u4"), "times_ms": np.zeros(0, "<f4")},
        "counts": {
            "counts": np.zeros((units, 1), "<u2"),
            "edges_ms": np.array(asked.window_ms, "<f8"),
        },
        "rates": {"rates": np.zeros(units, "<f8")},
    }[form]
    return TrialResult(
        asked.presentation,
        asked.attempt,
        "aborted",
        reason,
        time_ns,
        time_ns,
        time_ns,
        "command",
        form,
        arrays,
    )


def may_share(one: TrialResult, other: TrialResult) -> bool:
    """Return whether two results fit into one response: the same form, and the same bins."""
    return one.form == other.form and (
        one.form != "counts" or np.array_equal(one.arrays["edges_ms"], other.arrays["edges_ms"])
    )


def pack(
    results: Sequence[TrialResult], *, block: int, attempt: int
) -> tuple[Response, tuple[Array, ...]]:
    """Return the message and array frames that carry `results`, all of one form.

    Raises
    ------
    ProtocolError
        where forms, or the bin edges of counts, differ; such results need messages of their own
    """
    form = results[0].form
    if any(r.form != form for r in results):
        raise ProtocolError(
            f"one response must have one form; got {sorted({r.form for r in results})}"
        )
    names = {"spikes": ("units", "times_ms"), "counts": ("counts",), "rates": ("rates",)}[form]
    for r in results:
        wanted = {*names, "edges_ms"} if form == "counts" else {*names}
        if set(r.arrays) != wanted:
            raise ProtocolError(
                f"a result of form {form} must have the arrays {sorted(wanted)}; "
                f"got {sorted(r.arrays)}"
            )
    join = np.concatenate if form == "spikes" else np.stack
    arrays: dict[str, Array] = {n: join([r.arrays[n] for r in results]) for n in names}
    if form == "counts":
        edges = results[0].arrays["edges_ms"]
        if not all(np.array_equal(r.arrays["edges_ms"], edges) for r in results):
            raise ProtocolError("counts in one response must share their bin edges")
        arrays["edges_ms"] = edges
    trials = tuple(
        Trial(
            r.presentation,
            r.attempt,
            r.status,
            r.reason,
            r.commanded_ns,
            r.onset_ns,
            r.offset_ns,
            r.onset_source,
            len(r.arrays["units"]) if form == "spikes" else 0,
        )
        for r in results
    )
    specs = tuple(ArraySpec(n, a.dtype.str, a.shape) for n, a in arrays.items())
    return Response(block, attempt, form, trials, specs), tuple(arrays.values())


def unpack(response: Response, arrays: Sequence[Array]) -> tuple[TrialResult, ...]:
    """Return the results in a message that `codec` has checked, in the order of its trials."""
    named = {spec.name: array for spec, array in zip(response.arrays, arrays, strict=True)}
    trials = response.trials
    if response.form == "spikes":
        ends = np.cumsum([0, *(t.length for t in trials)])
        parts = [{n: a[i:j] for n, a in named.items()} for i, j in pairwise(ends)]
    elif response.form == "counts":
        parts = [
            {"counts": counts, "edges_ms": named["edges_ms"]} for counts in named["counts"]
        ]
    else:
        parts = [{"rates": rates} for rates in named["rates"]]
    return tuple(
        TrialResult(
            t.presentation,
            t.attempt,
            t.status,
            t.reason,
            t.commanded_ns,
            t.onset_ns,
            t.offset_ns,
            t.onset_source,
            response.form,
            part,
        )
        for t, part in zip(trials, parts, strict=True)
    )
