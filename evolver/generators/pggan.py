"""Progressive GAN (Karras et al. 2018), the generator of HYPER's faces.

Knows one architecture and the two layouts its weights are published in. Knows nothing of how a
file comes to this machine (`hub`), of scores or of seeds.

Source: T. Karras, T. Aila, S. Laine and J. Lehtinen, "Progressive growing of GANs for improved
quality, stability, and variation", ICLR 2018; HYPER: T. Dado et al., "Hyperrealistic neural
decoding for reconstructing faces from fMRI activations via the GAN latent space", Scientific
Reports 12 (2022), 141.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

from evolver.errors import WeightsError
from evolver.generators.frozen import FrozenGenerator
from evolver.tensors import channels_last
from evolver.weights import hub
from evolver.weights.outlines import without_numbers
from evolver.weights.read import (
    TensorTable,
    chosen_device,
    fill,
    fitted,
    floats,
    read_weight_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SLOPE, _EPSILON = 0.2, 1e-8
_WIDEST, _MOST_BLOCKS = 4096, 9  # 2048 pixels

_OF_HUB = re.compile(r"(layer|output)(\d+)\.(?:\w+\.)?(weight|bias)")
_OF_HYPER = re.compile(r"(\d+)(?:\.(0|3))?\.(weight|bias|b)")


class PgganNet(nn.Module):
    """A stack of blocks, each of which doubles the map and convolves it twice.

    Parameters
    ----------
    d : latent dimensions
    channels : of the first map, which is 4 pixels wide, and of each block's
    """

    def __init__(self, d: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.d, self.blocks = d, len(channels) - 1
        self.image_size = 4 * 2**self.blocks
        first = channels[0]
        self.layer0 = nn.Linear(d, 16 * first, bias=False)
        self.layer0_bias = nn.Parameter(torch.zeros(first))
        self.layer1 = nn.Conv2d(first, first, 3, padding=1)
        for k in range(1, len(channels)):
            cin, cout = channels[k - 1], channels[k]
            self.add_module(f"layer{2 * k}", nn.Conv2d(cin, cout, 3, padding=1))
            self.add_module(f"layer{2 * k + 1}", nn.Conv2d(cout, cout, 3, padding=1))
        self.rgb = nn.Conv2d(channels[-1], 3, 1)

    def raw(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into what the last layer says, (n, 3, h, w); about -1 to 1."""
        x = self.layer0(_unit(z)).view(len(z), -1, 4, 4)
        x = _unit(F.leaky_relu(x + self.layer0_bias.view(1, -1, 1, 1), _SLOPE))
        # The same sums in the order that wide registers like; pixels move by some 1e-6.
        x = x.contiguous(memory_format=torch.channels_last)
        x = _unit(F.leaky_relu(self.layer1(x), _SLOPE))
        for k in range(1, self.blocks + 1):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            for name in (f"layer{2 * k}", f"layer{2 * k + 1}"):
                x = _unit(F.leaky_relu(self.get_submodule(name)(x), _SLOPE))
        return self.rgb(x)

    def first_weights(self) -> list[torch.Tensor]:
        """Return the weights that a code meets first, each (outputs, d)."""
        return [self.layer0.weight]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Turn codes (n, d) into images (n, 3, h, w), 0 to 1."""
        return ((self.raw(z) + 1) / 2).clamp(0, 1)


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Scale the channels of every pixel to a mean square of 1 ('pixelnorm')."""
    return x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + _EPSILON)


def load_pggan(
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    chunk: int = 1,
    revision: str | None = None,
    sha256: str | None = None,
    entry: str | None = None,
) -> FrozenGenerator:
    """Load ``pggan``.

    Parameters
    ----------
    weights : a file of HYPER's (`.params`), of the Hub's layout (`.bin`, `.safetensors`), or
        ``repo:file`` on the Hub; faces of 1024 pixels (CelebA-HQ) when None
    device : a torch device, "cpu" or "cuda:0"
    chunk : images drawn at once; one of 1024 pixels takes about 0.5 GB
    revision : commit, tag or branch on the Hub
    sha256 : the digest the file must have
    entry : the place of the weights in a checkpoint that holds several networks, as "g_ema"

    Raises
    ------
    ConfigError
        An option or the device does not exist.
    WeightsError
        The file is missing, cannot be fetched, or is not of this architecture.
    """
    target = chosen_device(device)
    location = hub.find_weights("pggan", weights, revision=revision)
    file = read_weight_file(location.path, sha256=sha256 or location.sha256)
    net = fitted(file, partial(pggan_net, path=location.path), entry=entry)
    return FrozenGenerator(
        "pggan",
        channels_last(net),
        d=net.d,
        image_size=net.image_size,
        sha256=file.sha256,
        device=target,
        chunk=chunk,
    )


def pggan_net(tensors: TensorTable, *, path: Path) -> PgganNet:
    """Return the network of these weights, in any of their layouts.

    Raises
    ------
    WeightsError
        They are of no such network.
    """
    plain = pggan_names(tensors, path=path)
    net = outline(plain, path=path)
    fill(net, plain, path=path)
    return net


def outline(tensors: Mapping[str, torch.Tensor], *, path: Path) -> PgganNet:
    """Return the network whose tensors these seem to be, without numbers in it.

    Raises
    ------
    WeightsError
        There is no such network, or it would be larger than any that is published.
    """
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    first = shapes.get("layer0.weight", ())
    channels = [(shapes.get("layer0_bias") or (0,))[0]]
    while (block := shapes.get(f"layer{2 * len(channels)}.weight", ())) and block[0]:
        channels.append(block[0])
        if len(channels) > _MOST_BLOCKS + 1:
            break
    if len(first) != 2 or not all(0 < c <= _WIDEST for c in (first[1], *channels)):
        raise WeightsError(
            f"{path} must hold layer0.weight, (16 channels, d), and the layers after it, with "
            f"at most {_WIDEST} channels; it holds {dict(list(shapes.items())[:4])} and more"
        )
    if not 2 <= len(channels) <= _MOST_BLOCKS + 1:
        raise WeightsError(
            f"{path} must have 1 to {_MOST_BLOCKS} blocks of two layers after the first; "
            f"it has {len(channels) - 1}"
        )
    with without_numbers():
        return PgganNet(first[1], channels)


def pggan_names(tensors: Mapping[str, torch.Tensor], *, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors named, scaled and turned as `PgganNet` has them.

    HYPER's file counts all its layers, those without weights as well. The Hub's has what the
    network trained on, which is multiplied by a constant of each layer ('equalised learning
    rate'), and an output for every size, of which the last is used.

    Raises
    ------
    WeightsError
        The names are those of neither, nor of `PgganNet`.
    """
    floats(tensors, path=path)
    if "rgb.weight" in tensors:
        return dict(tensors)
    if any(name.startswith("layer") for name in tensors):
        return _of_hub(tensors, path)
    return _of_hyper(tensors, path)


def _of_hyper(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    matches = _matched(_OF_HYPER, tensors, path)
    # 0 norm, 1 dense, 2 bias, 3 ReLU, 4 norm, 5 convolution, 6 ReLU, 7 norm; 8, 9, ... blocks
    # of convolution, ReLU, norm, convolution, ReLU, norm; then the colours.
    last = max(int(match[1]) for match in matches.values())
    plain: dict[str, torch.Tensor] = {}
    for name, match in matches.items():
        number, inner, kind = int(match[1]), match[2], match[3]
        if (number, kind) == (2, "b"):
            plain["layer0_bias"] = tensors[name]
        elif number == last and inner is None:
            plain[f"rgb.{kind}"] = tensors[name]
        elif number in {1, 5} and inner is None:
            plain[f"layer{number // 5}.{kind}"] = tensors[name]
        elif number >= 8 and inner is not None:
            plain[f"layer{2 * (number - 7) + (inner == '3')}.{kind}"] = tensors[name]
        else:
            raise _odd_names(path, [name])
    return plain


def _of_hub(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    matches = _matched(_OF_HUB, {name: v for name, v in tensors.items() if name != "lod"}, path)
    outputs = [int(match[2]) for match in matches.values() if match[1] == "output"]
    if not outputs:
        raise _odd_names(path, ["no output"])
    plain: dict[str, torch.Tensor] = {}
    for name, match in matches.items():
        layer, number, kind, value = match[1], int(match[2]), match[3], tensors[name]
        if layer == "output":
            if number == max(outputs):
                plain[f"rgb.{kind}"] = _scaled(value, 1.0) if kind == "weight" else value
        elif kind == "bias":
            plain["layer0_bias" if number == 0 else f"layer{number}.bias"] = value
        elif number == 0 and value.ndim == 4:
            # A convolution of one pixel that reaches 4 x 4 is a matrix, read backwards.
            turned = _scaled(value, math.sqrt(2)).flip(2, 3).permute(0, 2, 3, 1)
            plain["layer0.weight"] = turned.reshape(-1, value.shape[1])
        else:
            plain[f"layer{number}.weight"] = _scaled(value, math.sqrt(2))
    return plain


def _matched(
    pattern: re.Pattern[str], tensors: Mapping[str, torch.Tensor], path: Path
) -> dict[str, re.Match[str]]:
    matches: dict[str, re.Match[str]] = {}
    for name in tensors:
        match = pattern.fullmatch(name)
        if match is None:
            raise _odd_names(path, [name])
        matches[name] = match
    if not matches:
        raise _odd_names(path, ["none"])
    return matches


def _scaled(weight: torch.Tensor, gain: float) -> torch.Tensor:
    """Return (out, in, h, w) weights times gain / sqrt(in h w)."""
    return weight * (gain / math.sqrt(max(1, math.prod(weight.shape[1:]))))


def _odd_names(path: Path, names: Sequence[str]) -> WeightsError:
    return WeightsError(
        f"{path} must name its tensors as HYPER's file does (1.weight, 2.b, 5.weight, ...) or "
        f"the Hub's (layer0.weight, ..., output0.weight, ...); it has {', '.join(names[:4])}"
    )
