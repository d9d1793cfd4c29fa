"""What a session file may say of how simulated neurons fire: [simulation.neuron].

Knows keys, types and bounds. What recorded sites are like stands in `scorers.neuron.sites`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from msgspec import Meta, Struct

# Of a fixed length by its bounds: beside a bounded number, a `tuple` of a fixed length is read
# by msgspec 0.22 with a length from stray memory.
_THREE = Meta(min_length=3, max_length=3)
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Meta(ge=0, le=1000)]
Peak: TypeAlias = Annotated[float, Meta(gt=0, le=1000)]
Untuned: TypeAlias = Annotated[float, Meta(ge=0, le=0.99)]
Multiple: TypeAlias = Annotated[float, Meta(gt=1, le=100)]
Latency: TypeAlias = Annotated[float, Meta(ge=0, le=1000)]
Rise: TypeAlias = Annotated[float, Meta(ge=0.5, le=1000)]
Decay: TypeAlias = Annotated[float, Meta(ge=0.5, le=10_000)]
Deviation: TypeAlias = Annotated[float, Meta(ge=0, le=3)]
Showings: TypeAlias = Annotated[float, Meta(ge=1, le=1e9)]


class NeuronTable(Struct, frozen=True, forbid_unknown_fields=True):
    """What is otherwise than `area` has it. A list of three: what 10, 50, 90 % are below."""

    baseline_hz: Annotated[
        Rate | Annotated[tuple[Rate, ...], _THREE] | None,
        Meta(description="rate without an image"),
    ] = None
    peak_hz: Annotated[
        Peak | Annotated[tuple[Peak, ...], _THREE] | None,
        Meta(
            description="above it, at the peak of the response to the best hundredth of the "
            "references"
        ),
    ] = None
    untuned: Annotated[
        Untuned | Annotated[tuple[Untuned, ...], _THREE] | None,
        Meta(description="of that, what the median of the references gives"),
    ] = None
    saturation: Annotated[
        Multiple | Annotated[tuple[Multiple, ...], _THREE] | None,
        Meta(description="of that, the highest that any image gives"),
    ] = None
    knee: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None,
        Meta(description="softness of the threshold, of median to best hundredth"),
    ] = None
    silent: Annotated[Share | None, Meta(description="share of units that no image moves")] = (
        None
    )
    latency_ms: Annotated[
        Latency | Annotated[tuple[Latency, ...], _THREE] | None,
        Meta(description="from the image's onset to the response's"),
    ] = None
    rise_ms: Annotated[
        Rise | Annotated[tuple[Rise, ...], _THREE] | None,
        Meta(description="from there to its peak"),
    ] = None
    transient_ms: Annotated[
        Decay | Annotated[tuple[Decay, ...], _THREE] | None,
        Meta(description="time constant of the fall after the peak"),
    ] = None
    sustained: Annotated[
        Share | Annotated[tuple[Share, ...], _THREE] | None,
        Meta(description="of the peak, to which it falls"),
    ] = None
    decay_ms: Annotated[
        Decay | Annotated[tuple[Decay, ...], _THREE] | None,
        Meta(description="time constant after the image is gone"),
    ] = None
    contrast_ms: Annotated[
        Latency | None, Meta(description="later by so much for each halving of contrast")
    ] = None
    gain_sd: Annotated[
        Deviation | None, Meta(description="standard deviation of the gain between trials")
    ] = None
    gain_correlation: Annotated[
        Share | None, Meta(description="of that gain, between units")
    ] = None
    drift_sd: Annotated[
        Deviation | None, Meta(description="standard deviation of a gain that wanders slowly")
    ] = None
    drift_showings: Annotated[
        Showings | None, Meta(description="presentations over which it does")
    ] = None
    adaptation: Annotated[
        Share | None, Meta(description="of the response to an image shown often, what is lost")
    ] = None
    adaptation_showings: Annotated[
        Showings | None, Meta(description="presentations after which 1/e of that is left")
    ] = None
    dead_ms: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="after a cell's spike, in which it fires no other"),
    ] = None
    cells: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(description="that a site picks up, each with a dead time of its own"),
    ] = None
    burst: Annotated[
        Annotated[float, Meta(ge=0, le=0.9)] | None,
        Meta(description="probability that a spike is followed by one in 2-4 ms"),
    ] = None


def neuron_contradictions(table: NeuronTable, key: str) -> list[str]:
    """Return what no single number shows to be wrong: three that do not rise."""
    problems: list[str] = []
    for name in NeuronTable.__struct_fields__:
        value: object = getattr(table, name)
        if not isinstance(value, tuple):
            continue
        numbers = cast("tuple[float, ...]", value)
        if sorted(numbers) != list(numbers):
            problems.append(
                f"{key}.{name}: must be three numbers in rising order, what 10, 50 and 90 % of "
                f"the units are below; found {list(numbers)}"
            )
    return problems
