"""CaffeNet, the network that the DeePSim generators were trained to invert.

Jia et al. 2014, "Caffe: Convolutional architecture for fast feature embedding": the BVLC
reference network, AlexNet with pooling before normalisation. Input 227 x 227, BGR, grey levels
of 0 to 255 less ImageNet's mean.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from evolver.weights import hub
from evolver.weights.outlines import without_numbers
from evolver.weights.read import (
    TensorsDifferError,
    TensorTable,
    chosen_device,
    fill,
    fitted,
    read_weight_file,
)
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)
"""Of ImageNet's training images, grey levels: `ilsvrc_2012_mean.npy` over its pixels."""
PREPROCESSING = Preprocessing(
    (227, 227), order="bgr", scale=255.0, mean=MEAN_BGR, sd=(1.0, 1.0, 1.0)
)


def caffenet(classes: int = 1000) -> nn.Sequential:
    """Return the network, its layers called as in Caffe's own description; no weights."""
    norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0)
    pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    return nn.Sequential(
        OrderedDict[str, nn.Module]([
            ("conv1", nn.Conv2d(3, 96, 11, 4)),
            ("relu1", nn.ReLU()),
            ("pool1", pool()),
            ("norm1", norm()),
            ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)),
            ("relu2", nn.ReLU()),
            ("pool2", pool()),
            ("norm2", norm()),
            ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
            ("relu3", nn.ReLU()),
            ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
            ("relu4", nn.ReLU()),
            ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)),
            ("relu5", nn.ReLU()),
            ("pool5", pool()),
            ("flat5", nn.Flatten()),
            ("fc6", nn.Linear(9216, 4096)),
            ("relu6", nn.ReLU()),
            ("fc7", nn.Linear(4096, 4096)),
            ("relu7", nn.ReLU()),
            ("fc8", nn.Linear(4096, classes)),
        ])
    )


def load_caffenet(name: str, *, weights: str | Path | None, device: str) -> ModuleNetwork:
    """Load CaffeNet; its weights lie on the Hub beside the DeePSim generators'.

    Raises
    ------
    WeightsError
        The file is not here and cannot be fetched, or is of another network.
    """
    location = hub.find_weights("caffenet", weights)
    file = read_weight_file(location.path, sha256=location.sha256)
    net = fitted(file, partial(_filled, path=location.path))
    return ModuleNetwork(
        name, net, PREPROCESSING, sha256=file.sha256, device=chosen_device(device)
    )


def _filled(tensors: TensorTable, *, path: Path) -> nn.Sequential:
    """Return the network with these tensors, called as here, or in this order by any names."""
    with without_numbers():
        net = caffenet()
    try:
        fill(net, tensors, path=path)
    except TensorsDifferError:
        wanted = net.state_dict()
        shapes = [tuple(value.shape) for value in tensors.values()]
        if shapes != [tuple(value.shape) for value in wanted.values()]:
            raise
        fill(net, dict(zip(wanted, tensors.values(), strict=True)), path=path)
    return net
