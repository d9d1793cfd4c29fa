"""Who is recorded, with what and by whom: what a lab book asks for, and NWB and DANDI do.

Values only, in the forms that an archive takes, so that what it would refuse after the session
is refused before. Nothing else of a session depends on them: not an image, not a score.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Text: TypeAlias = Annotated[str, Meta(pattern=r"\S", title="not empty")]
_DURATION = (
    r"P(?=\d|T)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
)

_OLDEST_YEARS = 150
_DAYS = {"Y": 365.25, "M": 365.25 / 12, "W": 7.0, "D": 1.0}


class SubjectTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is recorded. All optional; to be shared on DANDI: id, species, sex, and an age."""

    id: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"\A[^/\\\s]([^/\\\r\n]*[^/\\\s])?\Z",
                title="one line, no / and no \\, no space at its ends",
            ),
        ]
        | None,
        Meta(description="the lab's name of the animal, the same in every session"),
    ] = None
    species: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"\A([A-Z][a-z]* [a-z]+|"
                r"http://purl\.obolibrary\.org/obo/NCBITaxon_[1-9]\d*)\Z",
                title="two Latin words, as 'Macaca mulatta', or "
                "http://purl.obolibrary.org/obo/NCBITaxon_9544",
            ),
        ]
        | None,
        Meta(description="its species"),
    ] = None
    sex: Annotated[
        Literal["M", "F", "O", "U"] | None, Meta(description="male, female, other, unknown")
    ] = None
    age: Annotated[
        Annotated[
            str,
            Meta(
                pattern=rf"\A({_DURATION}(/({_DURATION})?)?|/{_DURATION})\Z",
                title="an ISO 8601 duration, as 'P7Y6M', or a range, as 'P7Y/P8Y'",
            ),
        ]
        | None,
        Meta(description="age on the day of the session"),
    ] = None
    date_of_birth: Annotated[
        date | None, Meta(description="instead of the age, or beside it")
    ] = None
    weight: Annotated[
        Annotated[
            str,
            Meta(pattern=r"\A\d+(\.\d+)? (kg|g|mg)\Z", title="with its unit, as '7.4 kg'"),
        ]
        | None,
        Meta(description="weight on the day of the session"),
    ] = None
    strain: Annotated[Text | None, Meta(description="strain")] = None
    genotype: Annotated[Text | None, Meta(description="genotype")] = None
    description: Annotated[Text | None, Meta(description="what else is to be known of it")] = (
        None
    )


class DeviceTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What is recorded with. All optional; areas and channels come from the rig's units."""

    name: Annotated[
        Annotated[
            str, Meta(pattern=r"\A(?=.*\S)[^/\\:\r\n]+\Z", title="one line, no / no \\ no :")
        ]
        | None,
        Meta(description="the array or probe; without it the rig's name"),
    ] = None
    manufacturer: Annotated[Text | None, Meta(description="who made it")] = None
    model: Annotated[Text | None, Meta(description="the maker's name of the model")] = None
    serial_number: Annotated[Text | None, Meta(description="of this one")] = None
    description: Annotated[
        Text | None, Meta(description="where it is implanted, since when, how it is wired")
    ] = None
    electrodes: Annotated[
        Text | None, Meta(description="spacing, material and impedance of its electrodes")
    ] = None
    sampling_hz: Annotated[
        Annotated[float, Meta(gt=0, le=10_000_000)] | None,
        Meta(description="samples a second of the signal that spikes were found in"),
    ] = None


class ExperimenterTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Who records, where and why. All optional."""

    names: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"\A[\w \-.']*\w[\w \-.']*,\s+[\w \-.']*\w[\w \-.']*\Z",
                    title="'Last, First'",
                ),
            ],
            ...,
        ],
        Meta(description="everybody, each as 'Last, First' or 'Last, First M.'"),
    ] = ()
    lab: Annotated[Text | None, Meta(description="the lab")] = None
    institution: Annotated[Text | None, Meta(description="the institution")] = None
    description: Annotated[
        Text | None, Meta(description="what the experiment is for, in a sentence or several")
    ] = None
    keywords: Annotated[tuple[Text, ...], Meta(description="to be found by")] = ()
    protocol: Annotated[
        Text | None, Meta(description="number of the protocol that allows the experiment")
    ] = None
    publications: Annotated[
        tuple[Text, ...], Meta(description="that it belongs to, as 'doi:10.1016/...'")
    ] = ()


def lab_contradictions(subject: SubjectTable) -> list[str]:
    """Return what no single key shows to be wrong, and what is wrong whatever day it is."""
    problems: list[str] = []
    given = [name for name in subject.__struct_fields__ if getattr(subject, name) is not None]
    if given and subject.id is None:
        said = ", ".join(given)
        problems.append(
            f"subject.id: is missing; must be a text where the subject has more (here {said})"
        )
    bounds = [_days(bound) for bound in (subject.age or "").split("/") if bound]
    if len(bounds) == 2 and not bounds[0] < bounds[1]:
        problems.append(
            "subject.age: a range must begin with the lower age, as 'P7Y/P8Y'; found "
            f"{subject.age!r}"
        )
    if max(bounds, default=0) > _OLDEST_YEARS * _DAYS["Y"]:
        problems.append(
            f"subject.age: must be at most {_OLDEST_YEARS} years; found {subject.age!r}"
        )
    return problems


def birth_contradictions(subject: SubjectTable, day: date) -> list[str]:
    """Return what is wrong with a date of birth, and with an age beside it, on a session's day.

    An age is compared to the digit that it is given in: 'P7Y' may be a year off, 'P7Y6M' a
    month.
    """
    born = subject.date_of_birth
    if born is None:
        return []
    days = (day - born).days
    if not 0 <= days <= _OLDEST_YEARS * _DAYS["Y"]:
        return [
            (
                f"subject.date_of_birth: must be before the session's day, {day}, by at most "
                f"{_OLDEST_YEARS} years; found {born}"
            )
        ]
    lower, _, upper = (subject.age or "").partition("/")
    if "/" not in (subject.age or ""):
        upper = lower
    young = lower and days < _days(lower) - _digit(lower)
    old = upper and days > _days(upper) + _digit(upper)
    if young or old:
        return [
            (
                f"subject.age: must be the age on the session's day, {day}, of who was born on "
                f"{born}, or be left out; found {subject.age!r}"
            )
        ]
    return []


def _days(duration: str) -> float:
    """Return an ISO 8601 duration in days; what is shorter than a day counts as nothing."""
    dates = duration.partition("T")[0]
    return sum(float(n) * _DAYS[unit] for n, unit in re.findall(r"([\d.]+)([YMWD])", dates))


def _digit(duration: str) -> float:
    """Return the smallest unit that a duration is given in, in days, and two days more."""
    units = re.findall(r"[YMWD]", duration.partition("T")[0])
    return min((_DAYS[unit] for unit in units), default=1.0) + 2
