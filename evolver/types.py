"""Words every module shares.

Axis letters, the only ones used in docstrings: ``n`` images in a generation, ``d`` latent
dimensions, ``h w`` pixels, ``u`` units (neurons), ``t`` time bins, ``p`` presentations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Vector: TypeAlias = NDArray[np.float64]
"""(d,) latent units."""
Matrix: TypeAlias = NDArray[np.float64]
"""Two dimensions, whose meaning is said where it is used."""
Codes: TypeAlias = NDArray[np.float64]
"""(n, d) latent units."""
Scores: TypeAlias = NDArray[np.float64]
"""(n,) larger is better, always finite."""
Images: TypeAlias = NDArray[np.uint8]
"""(n, h, w, 3) sRGB, 0 to 255."""
Responses: TypeAlias = NDArray[np.float64]
"""(n, u) one number per image and unit; spikes/s for neurons, activations for CNN units."""


class Optimizer(Protocol):
    """Proposes codes, learns from their scores."""

    state_type: ClassVar[type[Any]]
    """Class of `state`."""

    @classmethod
    def from_state(cls, state: Any, *, rng: np.random.Generator) -> Self:  # noqa: ANN401  as `state`
        """Go on from a state, at the beginning of a generation."""
        ...

    @property
    def d(self) -> int:
        """Latent dimensions."""
        ...

    @property
    def popsize(self) -> int:
        """Codes drawn by one `ask`."""
        ...

    @property
    def state(self) -> Any:  # noqa: ANN401  each optimizer has a frozen dataclass of its own
        """All that changes between generations: a frozen dataclass of arrays and numbers."""
        ...

    def ask(self) -> Codes:
        """Draw the next codes, shape (n, d)."""
        ...

    def tell(self, codes: Codes, scores: Scores) -> None:
        """Learn from the scored codes."""
        ...

    def adopt(self, codes: Codes) -> None:
        """Take `codes`, (n, d), for what the last `ask` returned."""
        ...


class Generator(Protocol):
    """Turns latent codes into images."""

    @property
    def name(self) -> str:
        """The name it is loaded by."""
        ...

    @property
    def d(self) -> int:
        """Latent dimensions."""
        ...

    @property
    def image_size(self) -> int:
        """Height and width of its images, pixels."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the weight file it runs on, 64 hexadecimal digits."""
        ...

    def render(self, codes: Codes) -> Images:
        """Turn codes, (n, d) latent units, into images, (n, h, w, 3) uint8 sRGB."""
        ...

    def synthesize(self, z: torch.Tensor) -> torch.Tensor:
        """Differentiable: z, (n, d) float32, to images, (n, 3, h, w) float32 in [0, 1]."""
        ...

    def initial_codes(self, n: int, *, rng: np.random.Generator) -> Codes:
        """Codes, (n, d), where users of this generator start an evolution."""
        ...


class Scorer(Protocol):
    """Images to unit responses, without an animal."""

    @property
    def unit_names(self) -> tuple[str, ...]:
        """One label per unit, in the order of the columns `score` returns."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the weight file it runs on."""
        ...

    def score(self, images: Images) -> Responses:
        """Turn images, (n, h, w, 3) uint8 of any size, into responses, (n, u) float64."""
        ...
