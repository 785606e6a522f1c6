"""Writes tests/golden/augment/: changes of light, colour and direction, crops, and what random crops are on average.

Pillow's resize and ImageEnhance, torchvision's adjust_hue and RandomResizedCrop.get_params, and PyTorch's grid_sample are the
reference. Needs numpy, Pillow, torch and torchvision; deterministic. `source.png` and `gray.png` are changed; changes.csv
lists which, brightness, contrast, saturation, hue, degrees and order, and changes.png and grays.png hold the results one
below the other. boxes.csv lists filters and crops (first row, first column, height, width), boxes.png their 9x13 results.
draws.csv lists sizes and the least area, and of 20,000 crops the mean and deviation of their area's share, of the logarithm
of their proportion, and of their centre's place, in shares of height and width.
"""

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

OUT = Path(__file__).parent / "augment"
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()


def photo(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 128 + 120 * np.sin(x / 5) * np.cos(y / 7)
    green = 255 * x / width * (0.6 + 0.4 * np.sin(y / 3))
    blue = 200 - 180 * np.hypot(x - width / 3, y - height / 2) / width
    return Image.fromarray(np.clip(np.stack([red, green, blue], 2), 0, 255).astype(np.uint8))


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Bilinear, the border's pixels outside."""
    pixels = torch.from_numpy(np.array(image)).to(torch.float64)
    pixels = pixels.reshape(image.height, image.width, -1).permute(2, 0, 1)[None]
    y, x = torch.meshgrid(
        torch.arange(image.height) - (image.height - 1) / 2, torch.arange(image.width) - (image.width - 1) / 2, indexing="ij"
    )
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    grid = torch.stack([(cos * x - sin * y) / (image.width / 2), (sin * x + cos * y) / (image.height / 2)], -1)
    turned = torch.nn.functional.grid_sample(pixels, grid[None].double(), padding_mode="border", align_corners=False)
    values = turned[0].permute(1, 2, 0).round().numpy().astype(np.uint8)
    return Image.fromarray(values.squeeze())


def hue(image: Image.Image, turns: float) -> Image.Image:
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255
    turned = F.adjust_hue(values, turns).permute(1, 2, 0) * 255
    return Image.fromarray(turned.round().clamp(0, 255).numpy().astype(np.uint8))


def change(image: Image.Image, factors: list[float], turns: float, degrees: float, order: str) -> Image.Image:
    if degrees:
        image = rotate(image, degrees)
    enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    for step in map(int, order):
        if step == 3:
            image = hue(image, turns) if turns else image
        elif image.mode != "L" or step < 2:
            image = enhancers[step](image).enhance(factors[step])
    return image


def stack(name: str, images: list[Image.Image]) -> None:
    Image.fromarray(np.concatenate([np.array(image) for image in images])).save(OUT / name)


def write(name: str, rows: list[list]) -> None:
    with open(OUT / name, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


source = photo(24, 17)
gray = source.convert("L")
source.save(OUT / "source.png")
gray.save(OUT / "gray.png")
changes = [
    ["source", 0.6, 1, 1, 0, 0, "0123"],
    ["source", 1.37, 1, 1, 0, 0, "0123"],
    ["source", 1, 0.6, 1, 0, 0, "0123"],
    ["source", 1, 1.4, 1, 0, 0, "0123"],
    ["source", 1, 1, 0, 0, 0, "0123"],
    ["source", 1, 1, 0.6, 0, 0, "0123"],
    ["source", 1, 1, 1.4, 0, 0, "0123"],
    ["source", 1, 1, 1, 0.05, 0, "0123"],
    ["source", 1, 1, 1, -0.05, 0, "0123"],
    ["source", 1, 1, 1, 0.4, 0, "0123"],
    ["source", 1.2, 0.7, 1.3, 0, 0, "2310"],
    ["source", 0.8, 1.3, 0.7, 0, 0, "1203"],
    ["source", 1, 1, 1, 0, 15, "0123"],
    ["source", 1, 1, 1, 0, -7.5, "0123"],
    ["gray", 1.2, 0.7, 0, 0, 0, "1023"],
    ["gray", 0.7, 1.3, 0, 0, 0, "0123"],
    ["gray", 1, 1, 1, 0, 12, "0123"],
]
results = [(which, change(source if which == "source" else gray, row[:3], *row[3:])) for which, *row in changes]
write("changes.csv", changes)
stack("changes.png", [image for which, image in results if which == "source"])
stack("grays.png", [image for which, image in results if which == "gray"])

filters = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
crops = [[0, 0, 17, 24], [3, 2, 11, 17], [10, 19, 7, 5], [0, 1, 1, 1]]
boxes = [[name, *crop] for name in filters for crop in crops]
resized = [
    source.resize((13, 9), Image.Resampling[name.upper()], box=(left, top, left + width, top + height))
    for name, top, left, height, width in boxes
]
write("boxes.csv", boxes)
stack("boxes.png", resized)

torch.manual_seed(0)
draws = []
for height, width, scale in [(28, 28, 0.6), (300, 400, 0.6), (300, 400, 0.35), (64, 640, 0.35), (90, 30, 0.6)]:
    image = torch.empty(3, height, width)
    crops = [RandomResizedCrop.get_params(image, [scale, 1.0], [3 / 4, 4 / 3]) for _ in range(20000)]
    top, left, rows, columns = np.array(crops, dtype=np.float64).T
    figures = [
        rows * columns / (height * width),
        np.log(columns / rows),
        (top + rows / 2) / height,
        (left + columns / 2) / width,
    ]
    draws.append([height, width, scale, *(f"{v:.6f}" for values in figures for v in (values.mean(), values.std()))])
write("draws.csv", draws)
