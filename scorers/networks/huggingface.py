"""Vision networks of the package transformers, from the Hub or a folder: ``hf:ORG/NAME``.

Knows the files of such a model: ``config.json``, ``preprocessor_config.json``, its weights as
safetensors, whole or in parts. The architecture is made by transformers from its own
description, and no code from a repository is ever run.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import torch

from evolver.errors import ConfigError, WeightsError
from evolver.lab_code import error_text
from evolver.regular_files import expanded, read_regular
from evolver.weights import hub
from evolver.weights.catalogue import KnownFile
from evolver.weights.read import chosen_device, read_weight_file
from scorers.networks.network import ModuleNetwork
from scorers.networks.preprocessing import Interpolation, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

PREFIX = "hf:"
_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
_WEIGHTS, _PARTS = "model.safetensors", "model.safetensors.index.json"
_LARGEST_JSON = 16 << 20
# Of models that see and read, the part that sees.
_TOWERS = {"clip": "CLIPVisionModelWithProjection", "siglip": "SiglipVisionModel"}
_RESAMPLING: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's


def load_huggingface(
    name: str,
    *,
    weights: str | Path | None,
    device: str,
    revision: str | None = None,
) -> ModuleNetwork:
    """Load a network of transformers.

    Parameters
    ----------
    name : ``hf:ORG/NAME``, or ``hf:FOLDER`` where the model was saved by `save_pretrained`
    weights : a safetensors file instead of the model's own, of the same architecture
    device : a torch device
    revision : commit, tag or branch on the Hub; its main branch when None

    Raises
    ------
    ConfigError
        transformers is not installed, or has no such architecture; or the processor's file
        says what cannot be done here.
    WeightsError
        A file is missing, or does not hold what the architecture wants.
    """
    transformers = _transformers()
    find = _finder(name.removeprefix(PREFIX), revision)
    chosen = chosen_device(device)
    description = _json(find(_CONFIG))
    tensors, sha256 = _tensors(find, weights)
    net = _made(transformers, name, description, tensors)
    side = _described_size(description)
    preprocessing = processor_of(_json(find(_PROCESSOR)), side)
    return ModuleNetwork(
        name, net, preprocessing, sha256=sha256, device=chosen, run=lambda x: net(x)
    )


def processor_of(values: dict[str, Any], side: int | None = None) -> Preprocessing:
    """Return what an image processor's own file says is done to images.

    Parameters
    ----------
    values : of ``preprocessor_config.json``
    side : of the network's input, where the file leaves it open

    Raises
    ------
    ConfigError
        It says what this package does not do.
    """
    kind = str(values.get("image_processor_type") or values.get("feature_extractor_type") or "")
    shortest_first = kind.startswith(("CLIP", "ConvNext", "Bit", "LeViT"))
    size = values.get("size", side)
    resize_to: tuple[int, int] | int | None = None
    match size:
        case {"height": int() as height, "width": int() as width}:
            resize_to = height, width
        case {"shortest_edge": int() as edge}:
            resize_to = edge
        case int():
            resize_to = size if shortest_first else (size, size)
        case _:
            raise ConfigError(f"a processor must say a size in pixels; got {size!r}")
    interpolation = _RESAMPLING.get(values.get("resample", 2))
    if interpolation is None:
        raise ConfigError(
            "a processor must resize with resample 0, 2 or 3 (nearest, bilinear, bicubic); "
            f"got {values.get('resample')!r}"
        )
    input_size = (resize_to, resize_to) if isinstance(resize_to, int) else resize_to
    if "crop_pct" in values and kind.startswith("ConvNext") and isinstance(resize_to, int):
        # Small inputs are cut from a larger image, large ones are stretched.
        edge, share = resize_to, float(values.get("crop_pct") or 224 / 256)
        resize_to = int(edge / share) if edge < 384 else (edge, edge)
    elif values.get("do_center_crop"):
        match values.get("crop_size", side):
            case {"height": int() as height, "width": int() as width}:
                input_size = height, width
            case int() as edge:
                input_size = edge, edge
            case crop:
                raise ConfigError(f"a processor must say crop_size in pixels; got {crop!r}")
    if values.get("do_resize") is False:
        resize_to = input_size
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    normalised = bool(values.get("do_normalize", True))
    return Preprocessing(
        input_size,
        resize_to=resize_to,
        interpolation=interpolation,
        scale=round(255 * float(factor), 9),
        mean=_three(values.get("image_mean"), 0.0) if normalised else (0.0, 0.0, 0.0),
        sd=_three(values.get("image_std"), 1.0) if normalised else (1.0, 1.0, 1.0),
    )


def _three(values: Any, default: float) -> tuple[float, ...]:  # noqa: ANN401  from a file
    if values is None:
        return (default,) * 3
    if isinstance(values, int | float):
        return (float(values),) * 3
    return tuple(float(value) for value in values)


def _transformers() -> Any:  # noqa: ANN401  another library
    try:
        return import_module("transformers")
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            "networks named hf: need the package transformers, which must be importable; it "
            f"is not: {error}. pip install 'evolver[transformers]'"
        ) from error


def _finder(reference: str, revision: str | None) -> Callable[[str], Path]:
    """Return what says where a file of the model lies, fetching it if need be."""
    folder = expanded(reference)
    if folder.is_dir():

        def in_folder(filename: str) -> Path:
            path = folder / filename
            if not path.is_file():
                raise WeightsError(
                    f"{folder} must hold {filename}, as save_pretrained writes it; it does not"
                )
            return path

        return in_folder
    if reference.count("/") != 1 or reference.startswith((".", "/", "~")):
        raise ConfigError(
            "hf: must be followed by ORG/NAME on the Hub, or by a folder of this machine; got "
            f"{reference!r}"
        )

    def on_hub(filename: str) -> Path:
        file = KnownFile(f"{PREFIX}{reference}", filename, repo=reference)
        return hub.find_file(file, revision=revision).path

    return on_hub


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_regular(path, at_most=_LARGEST_JSON))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} must be JSON that can be read; {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} must be a JSON object; it is a {type(values).__name__}")
    return cast("dict[str, Any]", values)


def _tensors(
    find: Callable[[str], Path], weights: str | Path | None
) -> tuple[dict[str, torch.Tensor], str]:
    """Return a model's tensors, and a digest of the file or files."""
    if weights is not None:
        paths = [expanded(weights)]
    else:
        try:
            paths = [find(_WEIGHTS)]
        except WeightsError:
            try:
                index = _json(find(_PARTS))
            except WeightsError:
                find(_WEIGHTS)  # says what is missing
                raise
            parts = set(cast("dict[str, str]", index.get("weight_map", {})).values())
            if not parts or any("/" in part or part.startswith(".") for part in parts):
                raise WeightsError(
                    f"{_PARTS} must name the files of the model; it names {sorted(parts)}"
                ) from None
            paths = [find(part) for part in sorted(parts)]
    tensors: dict[str, torch.Tensor] = {}
    digests: list[str] = []
    for path in paths:
        file = read_weight_file(path)
        for table in file.tables.values():
            tensors.update(table)
        digests.append(file.sha256)
    if len(digests) == 1:
        return tensors, digests[0]
    return tensors, hashlib.sha256("".join(digests).encode()).hexdigest()


def _made(
    transformers: Any,  # noqa: ANN401  another library
    name: str,
    description: dict[str, Any],
    tensors: dict[str, torch.Tensor],
) -> torch.nn.Module:
    """Return the network that the description names, with these tensors."""
    kind = description.get("model_type")
    named = cast("list[object]", description.get("architectures") or ["AutoModel"])
    class_name = _TOWERS.get(str(kind)) or str(named[0])
    network_class = getattr(transformers, class_name, None)
    if network_class is None:
        raise ConfigError(
            f"{name} is a {class_name}, which must be one of transformers' networks; version "
            f"{transformers.__version__} has none of that name"
        )
    try:
        config = transformers.AutoConfig.for_model(**description)
        if kind in _TOWERS:
            config = config.vision_config
        with _quiet(transformers):
            net, report = network_class.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are in the report, and refused below
            )
    except Exception as error:  # another library, which raises what it likes
        raise WeightsError(
            f"{name} must load as a {class_name}; transformers says: {error_text(error)}"
        ) from error
    missing = sorted(map(str, report["missing_keys"])) + sorted(
        map(str, report.get("mismatched_keys", ()))
    )
    if missing:
        raise WeightsError(
            f"the weights of {name} must hold the tensors of {class_name}; {len(missing)} are "
            f"missing or of another shape: {', '.join(missing[:4])}"
        )
    return net


@contextmanager
def _quiet(transformers: Any) -> Generator[None]:  # noqa: ANN401  another library
    """Have the library print nothing: what is missing is in its report."""
    log = transformers.utils.logging
    before, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bar:
            log.enable_progress_bar()


def _described_size(description: dict[str, Any]) -> int | None:
    inner = description.get("vision_config")
    seeing = cast("dict[str, Any]", inner) if isinstance(inner, dict) else description
    side = seeing.get("image_size")
    return side if isinstance(side, int) else None
