"""Who is recorded, with what and by whom: what a lab book asks for, and NWB and DANDI do.

Values only, in the forms that an archive takes, so that what it would refuse after the session
is refused before. Nothing else of a session depends on them: not an image, not a score.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Text: TypeAlias = Annotated[str, Meta(pattern=r"\S", title="not empty")]
_DURATION = (
    r"P(?=\d|T)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
)


class SubjectTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is recorded. All optional; to be shared on DANDI: id, species, sex, and an age."""

    id: Annotated[
        Annotated[
            str, Meta(pattern=r"\A(?=.*\S)[^/\\\r\n]+\Z", title="one line, no / and no \\")
        ]
        | None,
        Meta(description="the lab's name of the animal, the same in every session"),
    ] = None
    species: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"\A([A-Z][a-z]* [a-z]+|"
                r"http://purl\.obolibrary\.org/obo/NCBITaxon_\d+)\Z",
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
    """Return what no single key shows to be wrong: something of a subject without a name."""
    given = [name for name in subject.__struct_fields__ if getattr(subject, name) is not None]
    if given and subject.id is None:
        said = ", ".join(given)
        return [
            f"subject.id: is missing; must be a text where the subject has more (here {said})"
        ]
    return []
