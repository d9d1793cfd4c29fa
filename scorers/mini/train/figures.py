"""What the trained networks can do, measured on scenes none of them saw, and sheets to look at.

Knows networks, scenes and PNG files. Knows nothing of training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from evolver.generators.mini_object import ObjectNet
from evolver.generators.mini_texture import TextureNet
from evolver.seeds import stream
from evolver.types import Images
from scorers.mini import reference_images, scenes
from scorers.mini.network import MiniCNN
from scorers.mini.train import data
from scorers.mini.train.cnn import tensor
from scorers.mini.train.texture import Comparator, codes_of

CALIBRATION_SEED = 5_000
QUANTILES = (0.05, 0.5, 0.99)


def sheet(images: Images, columns: int, *, zoom: int = 1) -> Image.Image:
    """Lay images out in rows, two white pixels between."""
    n, h, w, _ = images.shape
    page = np.full((-(-n // columns) * (h + 2), columns * (w + 2), 3), 255, np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        page[row * (h + 2) :][:h, column * (w + 2) :][:, :w] = image
    drawn = Image.fromarray(page)
    return drawn.resize((drawn.width * zoom, drawn.height * zoom), Image.Resampling.NEAREST)


def to_images(x: torch.Tensor) -> Images:
    """Turn (n, 3, h, w) of 0 to 1 into (n, h, w, 3) uint8."""
    return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.inference_mode()
def in_parts(module: torch.nn.Module, x: torch.Tensor, part: int = 100) -> torch.Tensor:
    """Apply a module a hundred rows at a time, to bound memory."""
    return torch.cat([module(x[k : k + part]) for k in range(0, len(x), part)])


@torch.inference_mode()
def calibrate(net: MiniCNN, path: Path, *, n: int) -> None:
    """Write the quantiles of every unit's response to n reference images, as float16."""
    images = reference_images(n, seed=CALIBRATION_SEED)
    tables: dict[str, NDArray[np.float16]] = {}
    for name in net.layers:  # a layer at a time: all of them together would fill the memory
        wanted = frozenset([name])
        parts = [
            net(tensor(images[k : k + 250]), wanted)[name].flatten(1) for k in range(0, n, 250)
        ]
        tables[name] = np.quantile(torch.cat(parts).numpy(), QUANTILES, axis=0).astype(
            np.float16
        )
    path.write_bytes(save(tables))


@torch.inference_mode()
def of_cnn(net: MiniCNN, out: Path, *, seed: int, n: int) -> dict[str, object]:
    """Return held-out accuracy, over all classes and class by class; draw the first filters."""
    images, labels, _ = data.make(n, seed=seed, name="held-out")
    wanted = frozenset(["logits"])
    logits = torch.cat([
        net(tensor(images[k : k + 250]), wanted)["logits"].argmax(1) for k in range(0, n, 250)
    ])
    right = logits.numpy() == labels
    filters = net.get_parameter("conv1.weight")
    span = filters.abs().amax(dim=(1, 2, 3), keepdim=True)
    sheet(to_images(filters / span / 2 + 0.5), 16, zoom=6).save(out / "mini-filters.png")
    classes = [
        scenes.render(k, stream(seed, "sheet", k).standard_normal((4, 64)))
        for k in range(len(scenes.CLASSES))
    ]
    sheet(np.concatenate(classes), 16).save(out / "mini-world.png")
    return {
        "held_out_accuracy": float(right.mean()),
        "held_out_images": n,
        "chance": 1 / len(scenes.CLASSES),
        "accuracy_by_class": {
            name: round(float(right[labels == k].mean()), 3)
            for k, name in enumerate(scenes.CLASSES)
            if (labels == k).any()
        },
    }


def _errors(
    net: MiniCNN, drawn: torch.Tensor, x: torch.Tensor, mean: torch.Tensor
) -> dict[str, object]:
    """Return pixel and feature error of drawings, and of answering the mean image always."""
    comparator = Comparator(net, x[:500])
    with torch.inference_mode():
        real, seen = comparator(x), comparator(drawn)
        flat = comparator(mean.expand_as(x).contiguous())
    return {
        "pixel_rmse": float((drawn - x).square().mean().sqrt()),
        "pixel_rmse_of_mean_image": float((mean - x).square().mean().sqrt()),
        "feature_error": float(comparator.distance(seen, real)),
        "feature_error_of_mean_image": float(comparator.distance(flat, real)),
    }


def of_texture(
    net: MiniCNN, generator: TextureNet, out: Path, *, seed: int, n: int
) -> dict[str, object]:
    """Return errors of drawing held-out scenes from their fc6; draw samples of the space."""
    images, _, _ = data.make(n, seed=seed, name="held-out")
    x = tensor(images)
    with torch.inference_mode():
        codes = generator.encode(codes_of(net, images))
    drawn = in_parts(generator, codes)
    pairs = np.stack([images[:48], to_images(drawn[:48])], axis=1).reshape(-1, 64, 64, 3)
    sheet(pairs, 16).save(out / "mini-texture-inverted.png")
    normal = torch.as_tensor(stream(seed, "sheet codes").standard_normal((16, 256))).float()
    rows = [in_parts(generator, normal * scale) for scale in (1, 3, 100 / 16, 300 / 16)]
    sheet(to_images(torch.cat(rows)), 16).save(out / "mini-texture-random.png")
    return _errors(net, drawn, x, x.mean(0, keepdim=True)) | {"held_out_images": n}


def of_object(
    net: MiniCNN, generator: ObjectNet, out: Path, *, seed: int, n: int
) -> dict[str, object]:
    """Return errors of drawing held-out objects from their factors; draw classes by pose."""
    images, labels, factors = data.make(
        n, seed=seed, name="held-out objects", classes=scenes.OBJECTS
    )
    x = tensor(images)
    table = generator.embeddings.weight.detach()
    codes = torch.cat([table[labels], torch.as_tensor(factors).float()], dim=1)
    drawn = in_parts(generator, codes)
    pairs = np.stack([images[:48], to_images(drawn[:48])], axis=1).reshape(-1, 64, 64, 3)
    sheet(pairs, 16).save(out / "mini-object-regressed.png")
    pose = 0.7 * torch.as_tensor(stream(seed, "sheet poses").standard_normal((8, 64))).float()
    grid = torch.cat([torch.cat([row.expand(8, -1), pose], dim=1) for row in table])
    sheet(to_images(in_parts(generator, grid)), 16).save(out / "mini-object-classes.png")
    blends: list[torch.Tensor] = []
    for k in range(8):
        share = torch.linspace(0, 1, 8)[:, None]
        a, b = table[3 * k], table[3 * k + 11]
        blends.append(torch.cat([(1 - share) * a + share * b, pose[k].expand(8, -1)], dim=1))
    sheet(to_images(in_parts(generator, torch.cat(blends))), 16).save(
        out / "mini-object-between.png"
    )
    return _errors(net, drawn, x, x.mean(0, keepdim=True)) | {"held_out_images": n}
