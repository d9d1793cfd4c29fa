"""What a presenter hands over, checked where it is handed over: a rig does not end by a value.

Values only. A result that can go on the wire comes back with its arrays as the wire has them;
anything else becomes the aborted result of the same showing, whose reason says what was wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from rig_bridge.codec import MAX_FRAME_BYTES
from rig_bridge.forms import FORMS, Form, FormArray, array_names, misfit
from rig_bridge.messages import Showing
from rig_bridge.trials import SHOWING_FIELDS, Array, Presentation, TrialResult, aborted

VALUE_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError)
"""What a value that nobody expected raises; not what a device or a program that fails does."""


class _UnfitError(Exception):
    """A value cannot go on the wire; says why."""


def checked_result(
    result: object,
    asked: Presentation,
    *,
    capabilities: Sequence[Form],
    units: int,
    time_ns: int,
) -> TrialResult:
    """Return a result as it goes on the wire, aborted where it cannot.

    Integers and floats of another width are cast where that changes no value beyond rounding.

    Parameters
    ----------
    result : what a presenter returned
    asked : the showing it must be of
    capabilities, units : the forms and the number of units of the rig's hello
    time_ns : stands for the times of an aborted one; rig clock
    """
    try:
        return _checked(result, asked, capabilities, units)
    except _UnfitError as exc:
        reason = f"cannot be sent: {exc}"
    except VALUE_ERRORS as exc:  # of an array of objects, and what else there may be
        reason = f"cannot be sent: {type(exc).__name__}: {exc}"
    return aborted(asked, reason[:200], form=capabilities[0], units=units, time_ns=time_ns)


def showing_fault(showing: Showing, asked: Presentation) -> str:
    """Return what in a display's showing cannot be; '' where nothing is."""
    try:
        _checked_showing(showing, asked)
    except _UnfitError as exc:
        return f"cannot be sent: {exc}"[:200]
    return ""


def _checked(
    result: object, asked: Presentation, capabilities: Sequence[Form], units: int
) -> TrialResult:
    if not isinstance(result, TrialResult):
        raise _UnfitError(f"a TrialResult must be returned; got {type(result).__name__}")
    fields = _checked_showing(result, asked)
    form = result.form
    if form not in capabilities:
        raise _UnfitError(f"form must be one of the hello's {capabilities}; got {form!r}")
    given = cast("Mapping[str, Any]", result.arrays)
    if set(given) != set(array_names(form)):
        wanted = array_names(form)
        raise _UnfitError(f"{form} must have the arrays {wanted}; got {tuple(given)}")
    arrays = {array.name: _as_on_wire(array, given[array.name]) for array in FORMS[form]}
    shapes = {name: array.shape for name, array in arrays.items()}
    if wrong := misfit(form, shapes, {"u": units}):
        raise _UnfitError(wrong)
    if form == "spikes" and len(arrays["units"]) and int(arrays["units"].max()) >= units:
        largest = int(arrays["units"].max())
        raise _UnfitError(f"units must be 0 to {units - 1}, the hello's; got {largest}")
    if "edges_ms" in arrays and not (np.diff(arrays["edges_ms"]) > 0).all():
        raise _UnfitError("edges_ms must increase")
    return TrialResult(**fields, form=form, arrays=arrays)


def _checked_showing(showing: Showing, asked: Presentation) -> dict[str, Any]:
    """Return the fields of a showing, as a message has them."""
    raw = {name: _plain(getattr(showing, name)) for name in SHOWING_FIELDS}
    try:
        # Read as what came over the wire would be: its limits are said once.
        fields = msgspec.to_builtins(msgspec.convert(raw, Showing))
    except (msgspec.ValidationError, TypeError) as exc:
        raise _UnfitError(str(exc)) from exc
    label = (fields["presentation"], fields["attempt"])
    if label != (asked.presentation, asked.attempt):
        raise _UnfitError(
            f"presentation and attempt must be {(asked.presentation, asked.attempt)}; "
            f"got {label}"
        )
    if fields["offset_ns"] < fields["onset_ns"]:
        raise _UnfitError(
            f"offset_ns must not be before onset_ns; got {fields['offset_ns']} < "
            f"{fields['onset_ns']}: was a clock set?"
        )
    return fields


def _plain(value: object) -> object:
    """Return numpy's integers and texts as Python's own."""
    return value.item() if isinstance(value, np.integer | np.str_) else value


def _as_on_wire(wanted: FormArray, value: object) -> Array:
    """Return an array in the dtype of the wire, where every value fits into it."""
    dtype = np.dtype(wanted.dtype)
    given = np.asarray(value)
    if not given.size and given.dtype.kind in "fiu":
        return np.ascontiguousarray(given.astype(dtype))
    kinds = "fiu" if dtype.kind == "f" else "iu"
    if given.dtype.kind not in kinds:
        raise _UnfitError(
            f"{wanted.name} must be {dtype.str} or fit into it; got {given.dtype}"
        )
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = given.astype(dtype)
        if not np.isfinite(array).all():
            raise _UnfitError(f"{wanted.name} must be finite, as {dtype.str} too")
    else:
        limits = np.iinfo(dtype)
        low, high = int(given.min()), int(given.max())
        if low < limits.min or high > limits.max:
            raise _UnfitError(
                f"{wanted.name} must be {limits.min} to {limits.max}; got {low} to {high}"
            )
        array = given.astype(dtype)
    if array.nbytes > MAX_FRAME_BYTES:
        raise _UnfitError(f"{wanted.name} must have at most {MAX_FRAME_BYTES} bytes")
    return np.ascontiguousarray(array)
