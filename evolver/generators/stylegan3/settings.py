"""StyleGAN3's settings, and the schedule of layers that follows from them.

Knows Karras et al. (2021), section 3 and appendix: which layer has which size, rate and cutoff.
Knows numbers only: nothing of tensors, weights or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from evolver.errors import WeightsError

Width: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]  # so finite, too


class MappingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the mapping network."""

    num_layers: Annotated[int, Meta(ge=1, le=64)] = 2
    lr_multiplier: Positive = 0.01
    w_avg_beta: float = 0.998  # of training alone


class StyleGAN3Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a generator, by the names its training gave them.

    The defaults are configuration T's. R has ``conv_kernel`` 1, ``use_radial_filters``, and
    ``channel_base`` and ``channel_max`` doubled.
    """

    z_dim: Width = 512
    c_dim: Annotated[int, Meta(ge=0, le=100_000)] = 0
    w_dim: Width = 512
    img_resolution: Literal[16, 32, 64, 128, 256, 512, 1024, 2048] = 256
    img_channels: Literal[1, 3] = 3
    mapping_kwargs: MappingSettings = MappingSettings()
    channel_base: Annotated[int, Meta(ge=1, le=1 << 20)] = 32768
    channel_max: Width = 512
    num_layers: Annotated[int, Meta(ge=1, le=64)] = 14
    num_critical: Annotated[int, Meta(ge=0, le=63)] = 2
    first_cutoff: Annotated[float, Meta(ge=1, le=1024)] = 2.0
    first_stopband: Annotated[float, Meta(ge=1, le=1024)] = 2**2.1
    last_stopband_rel: Annotated[float, Meta(ge=1, le=2)] = 2**0.3
    margin_size: Annotated[int, Meta(ge=0, le=64)] = 10
    output_scale: Positive = 0.25
    conv_kernel: Literal[1, 3] = 3
    filter_size: Annotated[int, Meta(ge=2, le=16)] = 6
    lrelu_upsampling: Literal[2, 4] = 2
    use_radial_filters: bool = False
    conv_clamp: Positive = 256.0
    num_fp16_res: int = 4  # half precision is not used here
    magnitude_ema_beta: float = 0.999  # of training alone

    @property
    def num_ws(self) -> int:
        """Rows of w that the network takes: the input's, and one a layer."""
        return self.num_layers + 2


@dataclass(frozen=True, slots=True)
class SynthesisLayer:
    """One layer: what goes in, what comes out, and the filters between.

    Sizes in pixels, rates in samples across the unit square, cutoffs and half-widths in cycles
    across it.
    """

    name: str
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_rate: int
    out_rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    kernel: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    radial: bool
    rgb: bool

    @property
    def before(self) -> int:
        """Zeros before the first sample that is upsampled; what is negative is cut away."""
        total = (self.out_size - 1) * self.down + 1
        total -= (self.in_size + self.kernel - 1) * self.up
        total += self.up_taps + self.down_taps - 2
        return (total + self.up) // 2


@dataclass(frozen=True, slots=True)
class CutoffSchedule:
    """Where the network starts, and its layers."""

    size: int
    rate: int
    channels: int
    cutoff: float
    half_width: float
    layers: tuple[SynthesisLayer, ...]


def settings_from(values: object) -> StyleGAN3Settings:
    """Return checked settings.

    Raises
    ------
    WeightsError
        A setting is unknown, or not one this network can have.
    """
    if not isinstance(values, dict):  # msgspec takes an array for a table
        raise WeightsError(
            "the network must be a StyleGAN3 generator by its settings; they must be a table, "
            f"not {type(values).__name__}"
        )
    try:
        settings = msgspec.convert(values, StyleGAN3Settings)
    except msgspec.ValidationError as error:
        raise WeightsError(
            f"the network must be a StyleGAN3 generator by its settings; {error}"
        ) from error
    top = settings.img_resolution / 2
    for good, rule in (
        (settings.num_critical < settings.num_layers, "num_critical must be below num_layers"),
        (settings.first_cutoff < top, f"first_cutoff must be below {top:g}"),
        (
            settings.first_cutoff <= settings.first_stopband,
            "first_stopband must reach first_cutoff",
        ),
        (settings.filter_size % 2 == 0, "filter_size must be even"),
    ):
        if not good:
            raise WeightsError(f"the network's settings contradict each other: {rule}")
    return settings


def schedule(settings: StyleGAN3Settings) -> CutoffSchedule:
    """Return the layers (Karras et al. 2021, appendix C): cutoffs grow geometrically."""
    last = settings.num_layers
    top = settings.img_resolution / 2
    cutoffs: list[float] = []
    widths: list[float] = []
    rates: list[int] = []
    sizes: list[int] = []
    channels: list[int] = []
    for i in range(last + 1):
        e = min(i / (last - settings.num_critical), 1)
        cutoff = settings.first_cutoff * (top / settings.first_cutoff) ** e
        stop = settings.first_stopband * (
            (top * settings.last_stopband_rel / settings.first_stopband) ** e
        )
        rate = 2 ** ceil(log2(min(2 * stop, settings.img_resolution)))
        cutoffs.append(cutoff)
        widths.append(max(stop, rate / 2) - cutoff)
        rates.append(rate)
        sizes.append(rate + 2 * settings.margin_size)
        channels.append(round(min(settings.channel_base / 2 / cutoff, settings.channel_max)))
    sizes[-2:] = [settings.img_resolution] * 2
    channels[-1] = settings.img_channels
    layers: list[SynthesisLayer] = []
    for i in range(last + 1):
        p = max(i - 1, 0)
        rgb = i == last
        between = max(rates[p], rates[i]) * (1 if rgb else settings.lrelu_upsampling)
        up, down = between // rates[p], between // rates[i]
        taps = settings.filter_size
        layers.append(
            SynthesisLayer(
                name=f"L{i}_{sizes[i]}_{channels[i]}",
                in_channels=channels[p],
                out_channels=channels[i],
                in_size=sizes[p],
                out_size=sizes[i],
                in_rate=rates[p],
                out_rate=rates[i],
                in_cutoff=cutoffs[p],
                out_cutoff=cutoffs[i],
                in_half_width=widths[p],
                out_half_width=widths[i],
                kernel=1 if rgb else settings.conv_kernel,
                up=up,
                down=down,
                up_taps=1 if rgb or up == 1 else taps * up,
                down_taps=1 if rgb or down == 1 else taps * down,
                radial=settings.use_radial_filters and i < last - settings.num_critical,
                rgb=rgb,
            )
        )
    return CutoffSchedule(sizes[0], rates[0], channels[0], cutoffs[0], widths[0], tuple(layers))


def expected(settings: StyleGAN3Settings) -> Mapping[str, tuple[int, ...]]:
    """Return name and shape of every tensor that a network of these settings has."""
    plan = schedule(settings)
    z, w, c = settings.z_dim, settings.w_dim, plan.channels
    shapes: dict[str, tuple[int, ...]] = {"mapping.w_avg": (w,)}
    if settings.c_dim:
        shapes |= {"mapping.embed.weight": (w, settings.c_dim), "mapping.embed.bias": (w,)}
    for i in range(settings.mapping_kwargs.num_layers):
        width = w if i else z + (w if settings.c_dim else 0)
        shapes |= {f"mapping.fc{i}.weight": (w, width), f"mapping.fc{i}.bias": (w,)}
    start = "synthesis.input."
    shapes |= {
        f"{start}weight": (c, c),
        f"{start}affine.weight": (4, w),
        f"{start}affine.bias": (4,),
        f"{start}transform": (3, 3),
        f"{start}freqs": (c, 2),
        f"{start}phases": (c,),
    }
    for layer in plan.layers:
        key, k = f"synthesis.{layer.name}.", layer.kernel
        shapes |= {
            f"{key}weight": (layer.out_channels, layer.in_channels, k, k),
            f"{key}bias": (layer.out_channels,),
            f"{key}magnitude_ema": (),
            f"{key}affine.weight": (layer.in_channels, w),
            f"{key}affine.bias": (layer.in_channels,),
        }
        if layer.up_taps > 1:
            shapes[f"{key}up_filter"] = (layer.up_taps,)
        if layer.down_taps > 1:
            shapes[f"{key}down_filter"] = (layer.down_taps,) * (2 if layer.radial else 1)
    return shapes
