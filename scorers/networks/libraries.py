"""Networks of torchvision and timm by name: ``torchvision:resnet50``, ``timm:vgg16.tv_in1k``.

Both need torchvision, whose compiled operators must fit the torch that is installed. Knows how
either library describes its weights and what is done to images.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evolver.errors import ConfigError, WeightsError
from evolver.lab_modules import fill_module
from evolver.weights import hub
from evolver.weights.read import chosen_device
from scorers.networks.network import ModuleNetwork, nearest_text
from scorers.networks.preprocessing import Interpolation, Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


def load_torchvision(
    name: str, *, weights: str | Path | None, device: str, entry: str | None = None
) -> ModuleNetwork:
    """Load a network of torchvision.

    Parameters
    ----------
    name : ``torchvision:NAME``
    weights : a file of the same architecture, as a robust twin's checkpoint; the library's
        own, which must lie in the folder of weights, when None
    device : a torch device
    entry : the place of the weights in a checkpoint that holds several networks

    Raises
    ------
    ConfigError
        torchvision cannot be imported, or has no such network.
    WeightsError
        The weight file is missing, or is of another network.
    """
    library = _imported("torchvision")
    short = name.partition(":")[2]
    known = list(library.models.list_models(module=library.models))
    if short not in known:
        raise ConfigError(
            f"torchvision must have the network that is named; it has none called {short!r}"
            f"{nearest_text(short, known)}"
        )
    own = library.models.get_model_weights(short).DEFAULT
    steps = own.transforms()
    net = library.models.get_model(short, weights=None)
    if weights is None:
        place = hub.weights_folder() / str(own.url).rpartition("/")[2]
        if not place.is_file():
            raise WeightsError(
                f"the weights of {name} must lie at {place}; fetch them from {own.url}, or "
                "name another file"
            )
        weights = place
    sha256 = fill_module(net, name, weights, entry=entry)
    (side,), (edge,) = steps.crop_size, steps.resize_size
    preprocessing = Preprocessing(
        (side, side),
        resize_to=edge,
        interpolation=_interpolation(str(steps.interpolation.value)),
        mean=tuple(steps.mean),
        sd=tuple(steps.std),
        odd_margin="even",
    )
    return ModuleNetwork(name, net, preprocessing, sha256=sha256, device=chosen_device(device))


def load_timm(
    name: str, *, weights: str | Path | None, device: str, entry: str | None = None
) -> ModuleNetwork:
    """Load a network of timm.

    Parameters
    ----------
    name : ``timm:NAME``, as ``timm:vgg16.tv_in1k``
    weights : a file of the same architecture; the library's own, from the Hub, when None
    device, entry : as `load_torchvision`

    Raises
    ------
    ConfigError
        timm cannot be imported, or has no such network.
    WeightsError
        The weight file is missing, or is of another network.
    """
    library = _imported("timm")
    short = name.partition(":")[2]
    if not library.is_model(short):
        raise ConfigError(
            f"timm must have the network that is named; it has none called {short!r}"
            f"{nearest_text(short, library.list_models())}"
        )
    net = library.create_model(short, pretrained=False)
    values = net.pretrained_cfg
    if weights is None:
        repo = values.get("hf_hub_id")
        if not repo:
            raise WeightsError(f"{name} has no weights on the Hub; name a file")
        weights = f"{repo}:model.safetensors"
    sha256 = fill_module(net, name, weights, entry=entry)
    _, height, width = values["input_size"]
    share = float(values.get("crop_pct") or 1.0)
    preprocessing = Preprocessing(
        (height, width),
        resize_to=int(min(height, width) / share),
        interpolation=_interpolation(str(values.get("interpolation", "bilinear"))),
        mean=tuple(values["mean"]),
        sd=tuple(values["std"]),
        odd_margin="even",
    )
    return ModuleNetwork(name, net, preprocessing, sha256=sha256, device=chosen_device(device))


def _imported(library: str) -> Any:  # noqa: ANN401  another library
    try:
        module = import_module(library)
        if library == "torchvision":
            import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:  # the latter: operators for another torch
        raise ConfigError(
            f"networks named {library}: need the package {library}, and torchvision's "
            "compiled operators for the torch that is installed; they do not load: "
            f"{str(error).splitlines()[0]}. pip install 'evolver[{library}]'"
        ) from error
    return module


def _interpolation(name: str) -> Interpolation:
    known: dict[str, Interpolation] = {
        "nearest": "nearest",
        "bilinear": "bilinear",
        "bicubic": "bicubic",
    }
    if name not in known:
        raise ConfigError(f"images must be resized by {', '.join(known)}; got {name!r}")
    return known[name]
