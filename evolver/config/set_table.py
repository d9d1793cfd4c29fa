"""What a session file says of a set: images that are shown as they are, and nothing learnt.

Knows keys and values, and what contradicts what. How a set's images are made is in
`evolver/setup/stimulus_sets.py`, when each is shown in `evolver/session/set_plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        title="letters, digits, - and _, at most 64 of them, the first no mark",
    ),
]
Degrees: TypeAlias = Annotated[float, Meta(ge=-180, le=180)]
LongerSide: TypeAlias = Annotated[float, Meta(gt=0, le=180)]
GridDegrees: TypeAlias = Annotated[float, Meta(ge=0.01, le=180)]
Seed: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
SetRole: TypeAlias = Literal["train", "test", "probe"]
SetSource: TypeAlias = Literal["codes", "images"]
AroundKind: TypeAlias = Literal["steps", "circles", "sphere"]

FIXED = "fixed"
"""The optimizer of a set, in records: it asks for what is planned, and learns nothing."""
IMAGE_FILES = "images"
"""The generator of a set of image files, in records: a code is an image's number."""
MOST_SHOWINGS = 200_000  # of a set in a session: days
MOST_RENDERED = 5000  # built-in images of a set: seconds
MOST_AXES = 200  # of a set: what is read of tuning takes as many
AROUND = "around"
"""What a set begins with, in records, whose codes lie about an evolved one."""
_CODE_KEYS = ("generator", "codes", "device", "weights", "generator_options")
_STEPS: dict[AroundKind, int] = {"steps": 9, "circles": 11, "sphere": 11}
_QUARTER = 90.0  # degrees


class GridTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how large each image of a set is shown: at every place, in every size."""

    columns: Annotated[int, Meta(ge=1, le=101, description="places from left to right")] = 1
    rows: Annotated[int, Meta(ge=1, le=101, description="places from bottom to top")] = 1
    span_deg: Annotated[
        tuple[GridDegrees, GridDegrees],
        Meta(description="from the first column's centre to the last one's; and of rows"),
    ] = (8.0, 8.0)
    center_deg: Annotated[
        tuple[Degrees, Degrees] | None,
        Meta(description="of the grid; without it presentation.position_deg"),
    ] = None
    sizes_deg: Annotated[
        Annotated[tuple[GridDegrees, ...], Meta(max_length=64)],
        Meta(description="longer side of an image; without any presentation.size_deg"),
    ] = ()

    def places(
        self, position_deg: tuple[float, float], size_deg: float
    ) -> tuple[tuple[float, float, float], ...]:
        """Return each place and size: (degrees right of fixation, up, longer side).

        Places go from left to right and then from bottom to top; at each one, sizes in order.

        Parameters
        ----------
        position_deg, size_deg : the session's, for what the grid leaves out
        """
        center = position_deg if self.center_deg is None else self.center_deg
        across = _spread(center[0], self.span_deg[0], self.columns)
        upward = _spread(center[1], self.span_deg[1], self.rows)
        sizes = self.sizes_deg or (size_deg,)
        return tuple((x, y, size) for y in upward for x in across for size in sizes)


class AroundTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Codes of a set that lie about one that another session evolved."""

    recording: Annotated[
        str, Meta(min_length=1, description="of that session, the .h5 of its folder")
    ]
    thread: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="that evolved the code; without it the first that evolves"),
    ] = None
    code: Annotated[
        Literal["mean", "best"],
        Meta(
            description="'mean' of the last scored generation, or that of the 'best' image, "
            "whose one score was the largest"
        ),
    ] = "mean"
    kind: Annotated[
        AroundKind,
        Meta(
            description="'steps' straight along axes, 'circles' from the code towards axes at "
            "the code's norm, or a 'sphere' of each two axes"
        ),
    ] = "steps"
    metric: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="file of the generator's image metric, whose eigenvectors are the "
            "axes; without it they are the principal components of the thread's codes"
        ),
    ] = None
    part: Annotated[
        Literal["noise", "class"] | None,
        Meta(description="which half of BigGAN's code, of a file that has a metric for each"),
    ] = None
    axes: Annotated[
        Annotated[
            tuple[Annotated[int, Meta(ge=0, le=99_999)], ...], Meta(max_length=MOST_AXES)
        ],
        Meta(
            description="numbers of the axes from 0, of a sphere pairs of them; without any "
            "the published 0, 1, 2, 3, 6, 9, 13, 21, 30, 60 as far as there are so many, of "
            "a sphere 1, 2 and 48, 49"
        ),
    ] = ()
    steps: Annotated[
        Annotated[int, Meta(ge=3, le=101)] | None,
        Meta(
            description="along each axis, an odd number, the code's own image in the middle; "
            "without it 9, of circles and spheres 11"
        ),
    ] = None
    reach: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(
            description="of the last step: latent units, of circles and spheres degrees; "
            "without it 0.4 of the usual norm of codes (0.4 for BigGAN), or 90 degrees"
        ),
    ] = None

    @property
    def number_of_steps(self) -> int:
        """Along each axis."""
        return _STEPS[self.kind] if self.steps is None else self.steps

    @property
    def reach_deg(self) -> float:
        """Of circles and spheres."""
        return _QUARTER if self.reach is None else self.reach


class SetTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Images shown as they are, beside evolving threads or alone. Nothing learns from them."""

    name: Annotated[Name, Meta(description="its name in the recording")]
    role: Annotated[
        SetRole,
        Meta(description="what it is for: a decoder's 'train' or 'test', or a 'probe'"),
    ] = "probe"
    repeats: Annotated[
        int, Meta(ge=1, le=10_000, description="showings of each image in the session")
    ] = 1
    count: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="how many codes, or images; without it all that there are"),
    ] = None
    seed: Annotated[
        Seed | None,
        Meta(description="of the codes, or which images; without it the session's seed"),
    ] = None
    generator: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="draws its images of codes, as a thread's"),
    ] = None
    codes: Annotated[
        str,
        Meta(
            min_length=1,
            description="which codes: those a thread may begin with, as 'generator', "
            "'normal:SCALE', 'class:207', 'file:codes.npz'",
        ),
    ] = "generator"
    images: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="in place of a generator: a folder of PNG or JPEG files of one size, "
            "or 'builtin' (rendered)"
        ),
    ] = None
    device: Annotated[
        str, Meta(min_length=1, description="where the generator runs: 'cpu', 'cuda', 'cuda:1'")
    ] = "cpu"
    weights: Annotated[
        str | None, Meta(description="weight file; without it the one that comes along")
    ] = None
    generator_options: Annotated[
        dict[str, Any], Meta(description="handed to the generator")
    ] = field(default_factory=dict[str, Any])
    around: Annotated[
        AroundTable | None,
        Meta(description="in place of codes: about one that another session evolved"),
    ] = None
    grid: Annotated[
        GridTable | None,
        Meta(description="places and sizes of each image; without it the session's one"),
    ] = None

    @property
    def initial(self) -> str:
        """Say where its codes come from, as the record has it."""
        return self.codes if self.around is None else AROUND

    @property
    def source(self) -> SetSource:
        """What its images are made of."""
        return "codes" if self.images is None else "images"

    def unused_keys(self) -> frozenset[str]:
        """Return the keys that say nothing here: of codes, where others say which."""
        if self.around is not None:
            return frozenset({"codes"})
        return frozenset(() if self.images is None else _CODE_KEYS)

    def places(
        self, position_deg: tuple[float, float], size_deg: float
    ) -> tuple[tuple[float, float, float], ...]:
        """Return where and how large each image is shown; nothing, where the session says."""
        return () if self.grid is None else self.grid.places(position_deg, size_deg)


def set_contradictions(table: SetTable, raw: Mapping[str, object], key: str) -> list[str]:
    """Return what no single key of a set shows to be wrong.

    Parameters
    ----------
    table, raw : its values, and its keys as the file has them
    key : its place in the file
    """
    problems: list[str] = []
    if table.around is not None:
        problems += _around_contradictions(table.around, raw, f"{key}.around")
    if table.images is None and table.generator is None:
        problems.append(
            f"{key}.generator: is missing; must be a generator's name, or {key}.images a "
            "folder of images"
        )
    elif table.images is not None and (given := [k for k in _CODE_KEYS if k in raw]):
        problems.append(
            f"{key}.{given[0]}: must be left out beside {key}.images, whose images are drawn "
            "by nobody"
        )
    elif (
        table.images is None
        and table.around is None
        and table.count is None
        and not table.codes.startswith("file:")
    ):
        problems.append(f"{key}.count: is missing; must say how many codes are drawn")
    if table.images == "builtin" and not 1 <= (table.count or 0) <= MOST_RENDERED:
        problems.append(
            f"{key}.count: must say how many images are rendered, at most {MOST_RENDERED:,}; "
            f"found {table.count or 'none'}"
        )
    sizes = () if table.grid is None else table.grid.sizes_deg
    if len(set(sizes)) < len(sizes):
        problems.append(f"{key}.grid.sizes_deg: must be different sizes; found {list(sizes)}")
    return problems


def _around_contradictions(
    table: AroundTable, raw: Mapping[str, object], key: str
) -> list[str]:
    """Return what contradicts what about an evolved code, and in the set beside it."""
    problems: list[str] = []
    if beside := [name for name in ("images", "codes", "count") if name in raw]:
        problems.append(
            f"{key}: must stand without {beside[0]}: it says which codes are shown, and the "
            "set's generator draws them"
        )
    if table.number_of_steps % 2 == 0:
        problems.append(
            f"{key}.steps: must be an odd number, with the code's own image in the middle; "
            f"found {table.steps}"
        )
    if table.kind != "steps" and table.reach_deg > 180:
        problems.append(
            f"{key}.reach: must be at most 180 degrees, half of a circle; found {table.reach:g}"
        )
    if table.kind == "sphere" and len(table.axes) % 2:
        problems.append(
            f"{key}.axes: must be pairs of axes, of a sphere; found {len(table.axes)} axes"
        )
    if len(set(table.axes)) < len(table.axes) and table.kind != "sphere":
        problems.append(f"{key}.axes: must differ; found {list(table.axes)}")
    if table.part is not None and table.metric is None:
        problems.append(f"{key}.part: must be left out without a metric, of which it is a part")
    return problems


def _spread(center: float, span: float, n: int) -> tuple[float, ...]:
    """Return n equal steps about a centre; the centre alone, of one."""
    if n == 1:
        return (center,)
    return tuple(center + span * (i / (n - 1) - 0.5) for i in range(n))
