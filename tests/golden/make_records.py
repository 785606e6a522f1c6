"""Writes tests/golden/records/: small data sets in MNIST's and CIFAR's formats, and what torchvision and numpy read.

torchvision's readers are the reference for IDX; CIFAR's binary version, which torchvision does not read, is written from
the pickles' arrays that torchvision's CIFAR10 and CIFAR100 read. expected.csv lists folder, path, class, split, height,
width and the SHA-256 of the pixels (row by row, the colours of a pixel together). Needs numpy, torch and torchvision;
deterministic.
"""

import csv
import gzip
import hashlib
import pickle
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.mnist import read_image_file, read_label_file

OUT = Path(__file__).parent / "records"
rng = np.random.default_rng(3)
rows = []


def expect(folder: str, path: str, name: str, split: str, image: np.ndarray) -> None:
    image = np.ascontiguousarray(image, dtype=np.uint8)
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    rows.append([folder, path, name, split, image.shape[0], image.shape[1], digest])


def images(count: int, *shape: int) -> np.ndarray:
    """Few different bytes, so that the files stay small in a repository."""
    steps = rng.integers(0, 2, (count, *shape)) * 60
    return (steps + np.arange(count).reshape(-1, *[1] * len(shape)) * 11).astype(np.uint8)


def idx(folder: str, stem: str, split: str, labels: list[int], packed: bool, height: int, width: int) -> None:
    place = OUT / folder
    place.mkdir(exist_ok=True)
    values = images(len(labels), height, width)
    parts = {
        "images-idx3": struct.pack(">4I", 0x803, len(labels), height, width) + values.tobytes(),
        "labels-idx1": struct.pack(">2I", 0x801, len(labels)) + bytes(labels),
    }
    for kind, content in parts.items():
        plain = place / f"{stem}-{kind}-ubyte"
        plain.write_bytes(content)
    read = read_image_file(str(place / f"{stem}-images-idx3-ubyte")).numpy()
    names = read_label_file(str(place / f"{stem}-labels-idx1-ubyte")).tolist()
    for number, (image, label) in enumerate(zip(read, names)):
        expect(folder, f"{stem}-{number:06}", str(label), split, image)
    for plain in (place / f"{stem}-{kind}-ubyte" for kind in parts if packed):
        plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
        plain.unlink()


def cifar(folder: str, reader, batches: dict[str, tuple[str, str]], labels: list[list[int]], names: list[str]) -> None:
    """`batches`: the binary file's stem, then the pickle's name and the split."""
    place = OUT / folder
    place.mkdir(exist_ok=True)
    fine = reader is CIFAR100
    key = "fine_labels" if fine else "labels"

    class Made(reader):
        """The same reader, on files that were not downloaded."""

        train_list = [[pickled, None] for pickled, split in batches.values() if split == "train"]
        test_list = [[pickled, None] for pickled, split in batches.values() if split == "test"]

        def _check_integrity(self) -> bool:
            return True

        def _load_meta(self) -> None:
            self.classes = names

    with tempfile.TemporaryDirectory() as root:
        base = Path(root) / reader.base_folder
        base.mkdir()
        places = {"train": [], "test": []}
        for (stem, (pickled, split)), own in zip(batches.items(), labels):
            values = images(len(own), 3, 32, 32)
            (base / pickled).write_bytes(pickle.dumps({"data": values.reshape(len(own), -1), key: own}))
            coarse = [bytes([label % 20]) if fine else b"" for label in own]
            records = (c + bytes([label]) + v.tobytes() for c, label, v in zip(coarse, own, values))
            (place / f"{stem}.bin").write_bytes(b"".join(records))
            places[split] += [f"{stem}-{number:06}" for number in range(len(own))]
        for split, paths in places.items():
            read = Made(root, train=split == "train")
            for path, image, label in zip(paths, read.data, read.targets):
                expect(folder, path, names[label], split, image)
    (place / ("fine_label_names.txt" if fine else "batches.meta.txt")).write_text("\n".join(names) + "\n\n")


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()
idx("mnist", "train", "train", [10, 2, 9, 2, 10, 9, 2], False, 5, 4)
idx("mnist", "t10k", "test", [2, 10, 9], True, 5, 4)
idx("emnist", "emnist-letters-train", "train", [1, 3, 1, 3], True, 3, 3)
ten = ["zebra", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
batches = {f"data_batch_{i}": (f"data_batch_{i}", "train") for i in (1, 2)} | {"test_batch": ("test_batch", "test")}
cifar("cifar10", CIFAR10, batches, [[0, 3, 0], [3, 0], [3, 0]], ten)
hundred = [f"fine{(i * 37) % 100:02}" for i in range(100)]
cifar("cifar100", CIFAR100, {"train": ("train", "train"), "test": ("test", "test")}, [[99, 7, 99, 7], [7]], hundred)
with open(OUT / "expected.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(rows)
