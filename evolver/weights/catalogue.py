"""The weight files that networks of this package want: where from, which licence and digest.

Knows names only. Sizes are those of the numbers in a file, and so a little short.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A weight file that a generator or a scorer wants."""

    network: str
    """The name it is loaded by."""
    filename: str
    """Its name, or path, at its source."""
    licence: str = "licence: see its source"
    repo: str | None = None
    """Repository on the Hugging Face Hub."""
    page: str | None = None
    """Where a person finds it, if it is on no Hub."""
    size: int | None = None
    """Bytes, about."""
    sha256: str | None = None
    local_as: str | None = None
    """Its name in the folder of weights, if another."""
    shipped: str | None = None
    """Its path beside this module, if it comes along with the package."""

    also_as: tuple[str, ...] = ()
    """Other names it may have in the folder of weights, as that of its download."""

    pickled: bool = False
    """Whether it has to be converted ('evolver weights convert') before it can be used."""

    @property
    def url(self) -> str | None:
        """Where it comes from, for people."""
        return f"https://huggingface.co/{self.repo}" if self.repo else self.page

    @property
    def local_name(self) -> str:
        """Its name in the folder of weights."""
        return self.local_as or self.filename.rpartition("/")[2]


_OWN = "BSD-3-Clause, made by this project"
_RESEARCH = "research only"
_DEEPSIM_SIZES = {  # parameters
    "fc6": 56_097_891,
    "fc6_eucl": 56_097_891,
    "fc7": 56_097_891,
    "fc8": 43_416_675,
    "pool5": 12_702_307,
    "conv3": 8_074_147,
    "conv4": 8_074_147,
    "norm1": 1_034_499,
    "norm2": 1_661_315,
}
_BIGGAN = "as its source says; the package is Apache-2.0"
_BIGGAN_SIZES = {128: 50_400_000, 256: 55_880_000, 512: 56_200_000}  # parameters
_BUCKET = "https://s3.amazonaws.com/models.huggingface.co/biggan"

CNN = KnownFile(
    "mini",
    "cnn.safetensors",
    _OWN,
    sha256="2ad9798b086c550a046fa7420ee788bd5d0fa99cea9d8f3de20b9a2c6fe612cb",
    shipped="mini/cnn.safetensors",
    size=1_702_956,
)
"""The network that scores images; `python -m scorers.mini.train` makes it again."""

CALIBRATION = KnownFile(
    "mini",
    "calibration.safetensors",
    _OWN,
    sha256="f3f7ec6a0c3f13e7b868429cfa3fcb2d3c40a6e2aa4f0d3fddcb5dba83a2fa52",
    shipped="mini/calibration.safetensors",
    size=397_164,
)
"""Responses of its units to reference images; made with it."""

KNOWN: tuple[KnownFile, ...] = (
    KnownFile(
        "mini-texture",
        "texture.safetensors",
        _OWN,
        sha256="6ebbad144d426e09923d53e6c7f7907798a688dc81e133d4ea10ebda47275dfa",
        shipped="mini/texture.safetensors",
        size=3_518_430,
    ),
    KnownFile(
        "mini-object",
        "object.safetensors",
        _OWN,
        sha256="c1a055ecae03afd744ce5ab0219ca80fc6f117b88e0728324edd8a10206b3fc0",
        shipped="mini/object.safetensors",
        size=3_862_496,
    ),
    *(
        KnownFile(
            f"deepsim-{variant}",
            f"upconvGAN_{variant}.pt",
            _RESEARCH,
            repo="binxu/DeePSim_DosovitskiyBrox2016",
            size=4 * parameters,
        )
        for variant, parameters in _DEEPSIM_SIZES.items()
    ),
    KnownFile(
        "caffenet",
        "caffenet.pt",
        _RESEARCH,
        repo="binxu/DeePSim_DosovitskiyBrox2016",
        size=4 * 60_965_224,
    ),
    *(
        KnownFile(
            f"biggan-deep-{size}",
            file,
            _BIGGAN,
            page=f"{_BUCKET}/biggan-deep-{size}-{file}",
            size=4 * parameters if file == "pytorch_model.bin" else None,
            local_as=f"biggan-deep-{size}/{file}",
            also_as=(
                f"biggan-deep-{size}-{file}",
                f"biggan-deep-{size}/biggan-deep-{size}-{file}",
            ),
        )
        for size, parameters in _BIGGAN_SIZES.items()
        for file in ("pytorch_model.bin", "config.json")
    ),
    KnownFile(
        "pggan",
        "pytorch_model.bin",
        "as its source says; the original weights are non-commercial (CC BY-NC 4.0)",
        repo="huggan/pggan-celebahq-1024",
        size=4 * 23_071_507,
        local_as="pggan-celebahq-1024.bin",
    ),
    *(
        KnownFile(
            "stylegan3",
            f"stylegan3-{name}.pkl",
            "non-commercial (NVIDIA Source Code License)",
            page="https://catalog.ngc.nvidia.com/orgs/nvidia/teams/research/models/stylegan3",
            pickled=True,
        )
        for name in ("r-ffhq-1024x1024", "t-ffhq-1024x1024", "r-afhqv2-512x512")
    ),
)
"""Every file of a generator or network, the first of each being its weights."""
