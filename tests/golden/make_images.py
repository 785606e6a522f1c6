"""Writes tests/golden/images/: source images, and what Pillow and numpy make of them.

Pillow's resize and torchvision's rules for sizes and crops are the reference. Needs Pillow and numpy; deterministic.
Names: <case>.<ext> is a source, <case>.decoded.png what it decodes to, resize-<case>.png a resized and cropped
image, tensor-<case>.f32 a little-endian f32 tensor. resize.csv and tensor.csv list source, SPEC and layout;
large.csv does it for JPEG files that become far smaller.
"""

import csv
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

OUT = Path(__file__).parent / "images"
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


def photo(width: int, height: int) -> Image.Image:
    """Smooth colours with an edge and some texture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 128 + 100 * np.sin(x / 13) * np.cos(y / 17)
    green = 255 * x / width * (0.6 + 0.4 * np.sin(y / 5))
    blue = 200 - 150 * np.hypot(x - width / 3, y - height / 2) / width
    blue[(x - width * 0.7) ** 2 + (y - height * 0.6) ** 2 < (height / 5) ** 2] = 240
    noise = np.random.default_rng(1).normal(0, 3, (height, width, 3))
    return Image.fromarray(np.clip(np.stack([red, green, blue], 2) + noise, 0, 255).astype(np.uint8))


def gray() -> Image.Image:
    y, x = np.mgrid[0:28, 0:28]
    return Image.fromarray(np.clip(140 + 110 * np.sin(x / 3.0) * np.cos(y / 4.0), 0, 255).astype(np.uint8))


def decoded(name: str, image: Image.Image) -> None:
    image.convert("RGB").save(OUT / f"{name}.decoded.png", optimize=True)


def sources() -> None:
    rgb = photo(97, 61)
    rgb.save(OUT / "rgb.png", optimize=True)
    decoded("rgb", rgb)
    gray().save(OUT / "gray.png")
    decoded("gray", gray())
    # Edges as sharp as they get: what a bicubic overshoots is clipped between the passes, whose order then shows.
    blocks = np.random.default_rng(2).integers(0, 2, (14, 17, 3)).repeat(2, 0).repeat(2, 1)
    Image.fromarray((255 * blocks).astype(np.uint8)).save(OUT / "sharp.png", optimize=True)
    decoded("sharp", Image.open(OUT / "sharp.png"))

    wide = (np.arange(40 * 30).reshape(30, 40) * 54 + 7).astype(np.uint16)
    Image.fromarray(wide).save(OUT / "gray16.png")
    decoded("gray16", Image.fromarray(np.round(wide / 257).astype(np.uint8)))

    small = photo(40, 30)
    alpha = Image.fromarray((np.arange(1200).reshape(30, 40) % 256).astype(np.uint8))
    rgba = small.copy()
    rgba.putalpha(alpha)
    rgba.save(OUT / "rgba.png")
    decoded("rgba", rgba)
    rgba.save(OUT / "webp-lossless.webp", lossless=True, exact=True)
    decoded("webp-lossless", Image.open(OUT / "webp-lossless.webp"))
    small.save(OUT / "webp-lossy.webp", quality=80)
    decoded("webp-lossy", Image.open(OUT / "webp-lossy.webp"))
    gray_alpha = gray().convert("LA")
    gray_alpha.putalpha(alpha.crop((0, 0, 28, 28)))
    gray_alpha.save(OUT / "gray-alpha.png")
    decoded("gray-alpha", gray_alpha)

    palette = small.quantize(16)
    palette.save(OUT / "palette.png", transparency=3)
    decoded("palette", palette)
    bits = gray().point(lambda v: 255 * (v > 128)).convert("1")
    bits.save(OUT / "bits.png")
    decoded("bits", bits)
    for extension in ["bmp", "tiff"]:
        small.save(OUT / f"{extension}.{extension}")
        decoded(extension, small)
    gray().save(OUT / "tiff-lzw.tif", compression="tiff_lzw")
    decoded("tiff-lzw", gray())
    frames = [small.quantize(32), ImageOps.invert(small).quantize(32)]
    frames[0].save(OUT / "gif.gif", save_all=True, append_images=frames[1:], duration=100)
    decoded("gif", Image.open(OUT / "gif.gif"))

    small.convert("CMYK").save(OUT / "cmyk.jpg", quality=95)
    decoded("cmyk", Image.open(OUT / "cmyk.jpg"))
    gray().save(OUT / "jpeg-gray.jpg", quality=95)
    decoded("jpeg-gray", Image.open(OUT / "jpeg-gray.jpg"))
    small.save(OUT / "jpeg-420.jpg", quality=90, subsampling="4:2:0", progressive=True)
    decoded("jpeg-420", Image.open(OUT / "jpeg-420.jpg"))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"exif{orientation}"
        small.save(OUT / f"{name}.jpg", quality=95, subsampling="4:4:4", exif=exif)
        decoded(name, ImageOps.exif_transpose(Image.open(OUT / f"{name}.jpg")))
    # Content, not the extension, says what a file is.
    small.save(OUT / "really-a-png.jpg", format="PNG")
    decoded("really-a-png", small)


def deep_png(values: np.ndarray) -> bytes:
    """A PNG file of 16-bit red, green and blue, [height, width, 3], which Pillow does not write."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def kinds() -> None:
    """What is rarer: deep colours, inks, frames, orientations of other formats; what is refused has no decoded image."""
    small = photo(40, 30)
    deep = (np.arange(40 * 30 * 3).reshape(30, 40, 3) * 18 + 5).astype(np.uint16)
    (OUT / "rgb16.png").write_bytes(deep_png(deep))
    decoded("rgb16", Image.fromarray(np.round(deep / 257).astype(np.uint8)))

    # Adobe's marker tells that inks are stored as luma and chroma (2), or as they are (0); without it they are.
    ink = 255 - np.arange(1200, dtype=np.uint8).reshape(30, 40, 1) // 8
    mixed = np.concatenate([np.asarray(small.convert("CMYK").convert("RGB").convert("YCbCr")), ink], 2)
    for name, values, transform in [("ycck", mixed, 2), ("cmyk-plain", np.asarray(small.convert("CMYK")), None)]:
        content = io.BytesIO()
        Image.frombytes("CMYK", (40, 30), values.tobytes()).save(content, "JPEG", quality=95, subsampling=0)
        content = bytearray(content.getvalue())
        marker = content.index(b"Adobe")
        if transform is None:
            del content[marker - 4 : marker + 12]
        else:
            content[marker + 11] = transform
        (OUT / f"{name}.jpg").write_bytes(content)
        decoded(name, Image.open(OUT / f"{name}.jpg"))

    frames = {"save_all": True, "append_images": [ImageOps.invert(small)], "duration": 100}
    small.save(OUT / "webp-frames.webp", lossless=True, **frames)
    decoded("webp-frames", Image.open(OUT / "webp-frames.webp"))
    small.save(OUT / "png-frames.png", **frames)
    decoded("png-frames", Image.open(OUT / "png-frames.png"))
    # A first frame that is smaller than the canvas. Around it Pillow puts the palette's first colour; black is ours.
    part = photo(20, 12).quantize(16)
    content = io.BytesIO()
    part.save(content, "GIF")
    content = bytearray(content.getvalue())
    frame = content.index(b"\x2c", 13 + 3 * (2 << (content[10] & 7)))
    struct.pack_into("<HH", content, 6, 40, 30)
    struct.pack_into("<HH", content, frame + 1, 7, 5)
    (OUT / "gif-part.gif").write_bytes(content)
    black = Image.new("RGB", (40, 30))
    black.paste(Image.open(OUT / "gif-part.gif").convert("RGB").crop((7, 5, 27, 17)), (7, 5))
    decoded("gif-part", black)

    exif = Image.Exif()
    exif[0x0112] = 1
    small.save(OUT / "exif1.jpg", quality=95, subsampling="4:4:4", exif=exif)
    decoded("exif1", Image.open(OUT / "exif1.jpg"))
    exif[0x0112] = 6
    small.save(OUT / "exif6-png.png", exif=exif)
    small.save(OUT / "exif6-webp.webp", lossless=True, exif=exif)
    small.save(OUT / "exif6-tiff.tif", compression="tiff_lzw", tiffinfo={0x0112: 6})
    for name in ["exif6-png.png", "exif6-webp.webp", "exif6-tiff.tif"]:
        decoded(name.split(".")[0], ImageOps.exif_transpose(Image.open(OUT / name)))

    small.convert("CMYK").save(OUT / "tiff-cmyk.tif", compression="tiff_lzw")
    decoded("tiff-cmyk", Image.open(OUT / "tiff-cmyk.tif"))
    gray().point(lambda v: 255 * (v > 128)).convert("1").save(OUT / "tiff-fax.tif", compression="group4")
    decoded("tiff-fax", Image.open(OUT / "tiff-fax.tif"))
    small.quantize(16).save(OUT / "tiff-palette.tif")
    small.convert("YCbCr").save(OUT / "tiff-ycbcr.tif", compression="tiff_lzw")
    gray().convert("LA").save(OUT / "tiff-gray-alpha.tif")
    gray().convert("F").save(OUT / "tiff-float.tif")


def resize(image: Image.Image, size, crop, filter_name: str) -> Image.Image:
    """torchvision: an int is the shorter side, the longer truncated; the centre crop pads with black. "long:N" is the
    longer side, the shorter truncated."""
    if isinstance(size, str):
        longer, (width, height) = int(size.removeprefix("long:")), image.size
        size = (int(longer * height / width), longer) if height <= width else (longer, int(longer * width / height))
    if isinstance(size, int):
        width, height = image.size
        size = (size, int(size * width / height)) if height <= width else (int(size * height / width), size)
    image = image.resize((size[1], size[0]), FILTERS[filter_name])
    if crop is None:
        return image
    canvas = Image.new(image.mode, (crop[1], crop[0]))
    place = [(image.height - crop[0]) // 2, (image.width - crop[1]) // 2]
    pad = [max(0, (crop[0] - image.height) // 2), max(0, (crop[1] - image.width) // 2)]
    part = image.crop((max(0, place[1]), max(0, place[0]), *image.size))
    canvas.paste(part, (pad[1], pad[0]))
    return canvas


def resized() -> list:
    rows = []
    for source in ["rgb", "gray"]:
        for name in FILTERS:
            rows.append((source, 40, (32, 32), name))
            rows.append((source, (24, 20), None, name))
        for name in ["bilinear", "bicubic"]:
            rows.append((source, 150, (111, 112), name))
            rows.append((source, (90, 130), None, name))
    for name in ["bilinear", "bicubic", "lanczos"]:
        rows += [("sharp", 96, (84, 84), name), ("sharp", 11, (9, 9), name)]
    rows += [("rgb", 20, (33, 28), "bilinear"), ("rgb", (50, 50), (41, 70), "bicubic")]
    rows += [("rgb", "none", (41, 44), "bilinear"), ("rgb", 15, (9, 31), "bicubic")]
    rows += [("rgb", "long:40", (40, 40), "bilinear"), ("gray", "long:45", (51, 45), "bicubic")]
    rows += [("rgb", "long:120", (120, 120), "lanczos")]
    return rows


def spec(size, crop, filter_name: str) -> str:
    size = f"{size[0]}x{size[1]}" if isinstance(size, tuple) else size
    crop = f"{crop[0]}x{crop[1]}" if crop else "none"
    return f"resize={size},crop={crop},filter={filter_name}"


def write_resized() -> None:
    with open(OUT / "resize.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        for number, (source, size, crop, name) in enumerate(resized()):
            image = Image.open(OUT / f"{source}.png")
            box = (image.height, image.width) if size == "none" else size
            resize(image, box, crop, name).save(OUT / f"resize-{number:02d}.png", optimize=True)
            table.writerow([f"resize-{number:02d}.png", f"{source}.png", spec(size, crop, name)])


def write_large() -> None:
    image = photo(603, 449)
    image.save(OUT / "large.jpg", quality=75)
    for orientation in [6, 7]:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(OUT / f"large-turned{orientation}.jpg", quality=75, exif=exif, progressive=True)
    image.convert("L").save(OUT / "large-gray.jpg", quality=75)
    with open(OUT / "large.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        for source in ["large", "large-turned6", "large-turned7", "large-gray"]:
            for size, crop, name in [(60, (48, 48), "bilinear"), ((48, 50), None, "bicubic"), (27, (24, 26), "bilinear")]:
                result = f"{source}-{size if isinstance(size, int) else size[0]}.png"
                upright = ImageOps.exif_transpose(Image.open(OUT / f"{source}.jpg"))
                resize(upright, size, crop, name).save(OUT / result, optimize=True)
                table.writerow([result, f"{source}.jpg", spec(size, crop, name)])


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CAFFE = ([123.68, 116.779, 103.939], [1.0, 1.0, 1.0])
LITE = ([127 / 255] * 3, [128 / 255] * 3)


def tensors() -> list:
    """Name of the case, SPEC, scale, (mean, std), flips channels, to luma, layout. No resizing: values are exact."""
    fixed = "resize=none,crop=30x36"
    return [
        ("imagenet", f"imagenet,{fixed}", 1 / 255, IMAGENET, False, False, "nchw"),
        ("imagenet-nhwc", f"imagenet,{fixed}", 1 / 255, IMAGENET, False, False, "nhwc"),
        ("caffe", f"caffe,{fixed}", 1.0, CAFFE, True, False, "nchw"),
        ("caffe-nhwc", f"caffe,{fixed}", 1.0, CAFFE, True, False, "nhwc"),
        ("lite", f"efficientnet-lite,{fixed}", 1 / 255, LITE, False, False, "nchw"),
        ("own", f"scale=0.5,mean=1:2:3,std=4:5:6,{fixed}", 0.5, ([1, 2, 3], [4, 5, 6]), False, False, "nchw"),
        ("luma", f"raw01,color=gray,{fixed}", 1 / 255, ([0.0], [1.0]), False, True, "nchw"),
        ("padded", "imagenet,resize=none,crop=65x100", 1 / 255, IMAGENET, False, False, "nhwc"),
    ]


def write_tensors() -> None:
    with open(OUT / "tensor.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        for source in ["rgb", "gray"]:
            for name, text, scale, (mean, std), flip, luma, layout in tensors():
                if source == "gray" and name == "padded":
                    continue
                image = Image.open(OUT / f"{source}.png").convert("L" if luma else "RGB")
                crop = tuple(int(n) for n in text.split("crop=")[1].split("x"))
                pixels = np.asarray(resize(image, (image.height, image.width), crop, "nearest"), np.float64)
                # The constants are f32 wherever models are run.
                mean32, std32 = np.array(mean, np.float32), np.array(std, np.float32)
                values = (pixels.reshape(*crop, -1) * scale - mean32.astype(np.float64)) / std32.astype(np.float64)
                values = values[:, :, ::-1] if flip else values
                values = values if layout == "nhwc" else values.transpose(2, 0, 1)
                values.astype("<f4").tofile(OUT / f"tensor-{source}-{name}.f32")
                table.writerow([f"tensor-{source}-{name}.f32", f"{source}.png", text, layout])


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    sources()
    kinds()
    write_resized()
    write_large()
    write_tensors()
