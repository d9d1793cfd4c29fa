"""The three forms in which a rig may answer, and the arrays of each: the one table of them.

Names, dtypes, axes and meanings; no arrays, no bytes, no numpy. What checks a message, what
scores a response, what writes the recording and docs/PROTOCOL.md all follow this table.

Axes: ``k`` spikes of one showing, ``u`` units of the rig, ``t`` time bins; in a message that
carries several showings, ``p`` showings and ``s`` spikes of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["spikes", "counts", "rates"]
"""Best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormArray:
    """One array of a form.

    Parameters
    ----------
    name : key of the array
    dtype : as on the wire and in the journal, little-endian
    axes : of one showing's array
    joined : how a message has the arrays of several showings: one after the other
        ("end to end"), along a new first axis ("stacked"), or once for all ("shared")
    meaning : of its numbers, with their unit
    """

    name: str
    dtype: str
    axes: tuple[str, ...]
    joined: Literal["end to end", "stacked", "shared"]
    meaning: str

    @property
    def message_axes(self) -> tuple[str, ...]:
        """The axes of the array in a message of several showings."""
        match self.joined:
            case "end to end":
                return ("s", *self.axes[1:])
            case "stacked":
                return ("p", *self.axes)
            case "shared":
                return self.axes


FORMS: dict[Form, tuple[FormArray, ...]] = {
    "spikes": (
        FormArray(
            name="units",
            dtype="<u4",
            axes=("k",),
            joined="end to end",
            meaning="the unit of each spike, a row of the rig's unit table",
        ),
        FormArray(
            name="times_ms",
            dtype="<f4",
            axes=("k",),
            joined="end to end",
            meaning="its time after onset, ms",
        ),
    ),
    "counts": (
        FormArray(
            name="counts",
            dtype="<u2",
            axes=("u", "t"),
            joined="stacked",
            meaning="spikes of each unit in each bin",
        ),
        FormArray(
            name="edges_ms",
            dtype="<f8",
            axes=("t + 1",),
            joined="shared",
            meaning="the bins' edges after onset, ms, rising",
        ),
    ),
    "rates": (
        FormArray(
            name="rates",
            dtype="<f8",
            axes=("u",),
            joined="stacked",
            meaning="spikes/s of each unit, in a window of the rig's own choosing",
        ),
    ),
}
"""The arrays of each form, in the order in which a message carries them."""


@lru_cache
def array_names(form: Form) -> tuple[str, ...]:
    """Return the names of a form's arrays, in order."""
    return tuple(array.name for array in FORMS[form])


def misfit(
    form: Form,
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
    *,
    message: bool = False,
) -> str:
    """Return what is wrong with the shapes of a form's arrays; '' where nothing is.

    Parameters
    ----------
    form : whose arrays they are
    shapes : of all of them, by name
    sizes : of the axes that are known, as ``{"u": 96}``; the others must agree with each other
    message : the arrays are a message's, of several showings; else those of one showing
    """
    known = dict(sizes)
    for array in FORMS[form]:
        axes = array.message_axes if message else array.axes
        shape = shapes[array.name]
        fits = len(axes) == len(shape)
        for axis, length in zip(axes, shape, strict=False):
            letter, extra = (axis[0], 1) if axis.endswith(" + 1") else (axis, 0)
            fits = fits and known.setdefault(letter, length - extra) == length - extra
        if not fits or (not message and known.get("t", 1) < 1):
            return _shapes_wanted(form, shapes, sizes, message=message)
    return ""


def _shapes_wanted(
    form: Form,
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
    *,
    message: bool,
) -> str:
    """Return the sentence that says which shapes are wanted and which came."""
    wanted: list[str] = []
    for array in FORMS[form]:
        axes = array.message_axes if message else array.axes
        wanted.append(f"{array.name} ({', '.join(axes)}{',' * (len(axes) == 1)})")
    lengths = "".join(f", {letter} = {length}" for letter, length in sizes.items())
    got = ", ".join(f"{array.name} {shapes[array.name]}" for array in FORMS[form])
    return f"{form} must have the shapes {' and '.join(wanted)}{lengths}; got {got}"
