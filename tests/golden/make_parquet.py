"""Writes parquet/: data sets with the images in them, as Hugging Face's `datasets` lays them out.

usage: make_parquet.py          (needs pyarrow and Pillow)"""
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parquet")
for folder in (os.path.join("hub", "data"), "differing"):
    os.makedirs(os.path.join(here, folder), exist_ok=True)
NAMES = ["zebra", "ant", "cow"]


def image(label, number):
    base = [20, 20, 20]
    base[label] = 200
    pixels = bytes((base[c] + number * 7 + x * 3 + y) % 256 for y in range(10) for x in range(12) for c in range(3))
    out = io.BytesIO()
    Image.frombytes("RGB", (12, 10), pixels).save(out, "PNG")
    return {"bytes": out.getvalue(), "path": f"{label}-{number}.png"}


def write(name, labels, compression, first=0, names=NAMES):
    images = [image(label, first + i) for i, label in enumerate(labels)]
    table = pa.table({"image": pa.array(images), "label": pa.array(labels, pa.int64())})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    info = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(info), os.path.join(here, name), compression=compression, row_group_size=5)


# The layout on the hub: shards below data/.
write("hub/data/train-00000-of-00002.parquet", [0, 1, 2] * 4, "snappy")
write("hub/data/train-00001-of-00002.parquet", [2, 1, 0] * 2, "zstd", 40)
write("hub/data/test-00000-of-00001.parquet", [0, 1, 2] * 2, "none", 80)

# Names that look like several labels, or numbers.
write("names.parquet", [0, 1, 2] * 4, "snappy", names=["bag; purse", "0.5", "1.5"])

# Texts and splits in columns, bytes without a struct, nulls, what is no image, a split that is none.
images = [image(i % 2, i)["bytes"] for i in range(14)]
images[3] = None
images[4] = b"no image"
labels = ["left", "right"] * 7
labels[6] = None
splits = ["train"] * 10 + ["test", "validation", "test", "other"]
columns = {"picture": pa.array(images, pa.binary()), "kind": labels, "part": splits, "id": list(range(14))}
pq.write_table(pa.table(columns), os.path.join(here, "columns.parquet"), compression="lz4")

# Packed so that a small page may unpack to any size.
for compression in ("gzip", "brotli"):
    write(f"{compression}.parquet", [0, 1, 2], compression)

# Lists: several labels an image, by number and by name; none, no list, and a number without a name among them.
images = [image(i % 3, i) for i in range(8)]
numbers = [[0], [2, 1], [], None, [0, 1, 2], [-1, 1], [1], [2]]
tags = [["b", "a"], ["a"], [], None, ["c"], ["a", None], ["b"], ["c", "a"]]
table = pa.table({"image": pa.array(images), "labels": pa.array(numbers, pa.list_(pa.int64())), "tags": tags})
sequence = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
info = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, "labels": sequence}}})}
pq.write_table(table.replace_schema_metadata(info), os.path.join(here, "multi.parquet"), row_group_size=3)

# Lists are no columns of one image each.
pq.write_table(pa.table({"image.bytes": [[b"x"]], "label": [1]}), os.path.join(here, "lists.parquet"))

# Numbers without a sign, stored as those with one.
numbers = {"large": pa.array([2**64 - 1, 7] * 2, pa.uint64()), "small": pa.array([2**32 - 1, 7] * 2, pa.uint32())}
columns = {"image": [image(i % 2, i) for i in range(4)], **numbers}
pq.write_table(pa.table(columns), os.path.join(here, "unsigned.parquet"))

# Shards whose numbers stand for different classes.
write("differing/train-00000-of-00002.parquet", [0, 1, 2], "snappy")
write("differing/train-00001-of-00002.parquet", [0, 1, 2], "snappy", 10, NAMES[::-1])

# Images that nobody labelled.
pq.write_table(pa.table({"image": [image(i % 3, 60 + i) for i in range(4)]}), os.path.join(here, "unlabeled.parquet"))

# What tells of images that lie elsewhere.
pq.write_table(pa.table({"path": ["a/0.png", "b/1.png"], "label": ["a", "b"]}), os.path.join(here, "index.parquet"))
