"""The Inception that Frechet distances are published with: features and logits of images.

The network of 2015 with its own resizing and average pooling, as torch-fidelity has it, whose
weights were converted from those of the original program; torchvision's Inception of the same
shape has other weights and gives other numbers. Knows images, a library and a weight file.
"""

from __future__ import annotations

import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evolver.checks import check_images
from evolver.errors import ConfigError, WeightsError
from evolver.weights.hub import weights_folder
from evolver.weights.read import chosen_device, fitted, read_weight_file

if TYPE_CHECKING:
    from evolver.types import Images, Matrix
    from evolver.weights.read import TensorTable

FILE = "weights-inception-2015-12-05-6726825d.pth"
ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
SIDE = 256
"""Of the images of the published sets, pixels."""
_DIGEST = FILE.removesuffix(".pth").rpartition("-")[2]  # what its sha256 begins with
_FEATURES = ["2048", "logits_unbiased"]
_AT_ONCE = 16


def load_inception(*, weights: Path | None = None, device: str = "cpu") -> FidInception:
    """Load the network.

    Parameters
    ----------
    weights : a file of the same tensors; the published one, in the folder of weights, when None
    device : a torch device

    Raises
    ------
    ConfigError
        torch-fidelity cannot be imported.
    WeightsError
        The weight file is missing, or is another.
    """
    try:
        library = import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as error:  # the latter: operators for another torch
        raise ConfigError(
            "--features fid needs the package torch-fidelity, and torchvision's compiled "
            "operators for the torch that is installed; they do not load: "
            f"{str(error).splitlines()[0]}. pip install 'evolver[fid]'"
        ) from error
    place = weights_folder() / FILE if weights is None else weights
    if not place.is_file():
        raise WeightsError(
            f"the weights of FID's Inception must lie at {place}; fetch them from {ADDRESS}, "
            "or name their file with --fid-weights"
        )
    read = read_weight_file(place)
    if weights is None and not read.sha256.startswith(_DIGEST):
        raise WeightsError(
            f"{place} must have a sha256 that begins with {_DIGEST}; it has {read.sha256}. "
            f"Fetch it again from {ADDRESS}"
        )
    net = fitted(read, partial(_filled, library, place=place))
    return FidInception(net, read.sha256, chosen_device(device))


class FidInception:
    """Features and logits of images, as `evolver.comparisons.sets.Features`.

    Parameters
    ----------
    net : torch-fidelity's extractor of `2048` and `logits_unbiased`
    sha256 : of its weight file
    device : where it runs
    """

    def __init__(self, net: torch.nn.Module, sha256: str, device: torch.device) -> None:
        self.name, self.side = "fid", SIDE
        self._net, self.sha256, self._device = net.to(device), sha256, device

    def measure(self, images: Images) -> tuple[Matrix, Matrix]:
        """Return pooled features, (n, 2048), and logits without their bias, (n, 1008).

        Parameters
        ----------
        images : (n, h, w, 3) uint8, of any size: resized as the original program does
        """
        check_images(images)
        parts: list[tuple[Matrix, Matrix]] = []
        for first in range(0, len(images), _AT_ONCE):
            part = np.ascontiguousarray(images[first : first + _AT_ONCE].transpose(0, 3, 1, 2))
            pixels = torch.tensor(part, device=self._device)
            with torch.inference_mode():
                pooled, logits = self._net(pixels)
            parts.append((
                pooled.double().numpy(force=True),
                logits.double().numpy(force=True),
            ))
        return np.concatenate([p for p, _ in parts]), np.concatenate([q for _, q in parts])


def _filled(library: Any, tensors: TensorTable, *, place: Path) -> torch.nn.Module:  # noqa: ANN401
    """Return the extractor with checked tensors in it.

    It loads its weights itself, as pickles: so it is given a file of its own, which holds what
    was read from the real one as tensors alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / FILE
        torch.save(dict(tensors), own)
        try:
            return library.FeatureExtractorInceptionV3(
                "fid", list(_FEATURES), feature_extractor_weights_path=str(own)
            )
        except RuntimeError as error:  # tensors of other names or shapes
            raise WeightsError(
                f"{place} must hold the tensors of FID's Inception; it does not: "
                f"{str(error).splitlines()[0]}"
            ) from error
