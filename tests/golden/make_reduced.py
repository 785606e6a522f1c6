"""Writes reduced/: JPEG files that are far larger than what they become, and what Pillow makes of them, decoded in full.

usage: make_reduced.py          (needs numpy and Pillow)"""
import os

import numpy as np
from PIL import Image, ImageOps

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reduced")
rng = np.random.default_rng(3)
HEIGHT, WIDTH = 900, 1230

# Detail at every scale, as photographs have it, and two hard edges.
pixels = np.zeros((HEIGHT, WIDTH, 3))
for cells in (3, 6, 12, 25, 50, 100, 200):
    noise = rng.standard_normal((cells, cells, 3)).astype(np.float32)
    layers = [Image.fromarray(noise[..., c]).resize((WIDTH, HEIGHT), Image.BICUBIC) for c in range(3)]
    pixels += np.stack([np.asarray(layer) for layer in layers], -1) / cells**0.8
pixels = pixels / pixels.std() * 45 + 120
pixels[200:420, 300:520] = (240, 30, 40)
pixels[500:, 900:905] = 0
image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

for name, mode, orientation in (("color", "RGB", 1), ("gray", "L", 1), ("turned", "RGB", 6)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = os.path.join(here, f"{name}.jpg")
    image.convert(mode).save(path, quality=80, exif=exif)
    seen = ImageOps.exif_transpose(Image.open(path))
    width, height = seen.size
    edge = 96 / min(width, height)
    seen = seen.resize((int(width * edge), int(height * edge)), Image.BILINEAR)
    left, top = (seen.width - 80) // 2, (seen.height - 80) // 2
    seen.crop((left, top, left + 80, top + 80)).save(os.path.join(here, f"{name}.png"))
