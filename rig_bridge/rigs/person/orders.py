"""What a page asks of the person's rig, and what it is told: values with their limits.

Knows nothing of how they travel. A browser is a stranger: what is not one of these orders,
within these limits, is refused by whoever reads it.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Mode: TypeAlias = Literal["pick", "rank", "rate"]
"""How a person answers: likes or not; likes in order; so many stars."""

MOST_STARS = 5
GridName: TypeAlias = Annotated[str, Meta(max_length=64)]
Place: TypeAlias = Annotated[int, Meta(ge=0, le=100_000)]
Stars: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_STARS)]


class _Order(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of every order; each names the grid that it is about, and is void for another."""

    grid: GridName


class Appeared(_Order, frozen=True, tag="appeared"):
    """Every image of the grid is on the page now."""


class Mark(_Order, frozen=True, tag="mark"):
    """Give the image at a place so many stars; 0 takes them away.

    To pick and to rank, one is all there is: the first image that has it is liked best.
    """

    place: Place
    stars: Stars


class Clear(_Order, frozen=True, tag="clear"):
    """Take all marks away."""


class Restore(_Order, frozen=True, tag="restore"):
    """Bring back what `Clear` took, where nothing was marked since."""


class Send(_Order, frozen=True, tag="send"):
    """Answer what appeared. `nothing`: also where nothing is marked, else that is a slip."""

    nothing: bool = False


class Again(_Order, frozen=True, tag="again"):
    """Do not answer: these are to be shown another time, in another order."""


PersonOrder: TypeAlias = Appeared | Mark | Clear | Restore | Send | Again


class GridView(Struct, frozen=True):
    """A grid as a page draws it. Which image is whose, it does not say."""

    name: str
    block: int
    sizes: list[tuple[int, int]]  # height and width of each image, by its place
    marks: list[int]  # by place: 1, the rank from 1, or stars; 0: none
    marked: int
    can_restore: bool


Phase: TypeAlias = Literal["no engine", "no images yet", "making", "paused", "grid", "over"]
"""What a page is about; 'no images yet': this rig was shown none of the session's."""


class View(Struct, frozen=True):
    """All that a page shows."""

    phase: Phase
    mode: Mode
    question: str  # what the person is asked; "": the page's own words for the mode
    session: str  # its name
    connected: bool
    held: bool
    news: str  # of the connection, or why it is over
    answered: int  # grids
    put_off: bool  # the last grid was not answered: it is to be shown again
    grid: GridView | None
