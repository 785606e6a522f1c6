"""Images a second from files to features, by adapt and by Pillow with ONNX Runtime, in turn.

usage: python extract.py FOLDER [ROUNDS]        (FOLDER/CLASS/IMAGE; onnxruntime, pillow, numpy; cargo builds the example)"""
import os
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import onnxruntime as ort
from PIL import Image

root = pathlib.Path(__file__).resolve().parent.parent
folder = pathlib.Path(sys.argv[1]).resolve()
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
paths = sorted(path for path in folder.glob("*/*") if path.is_file())
options = ort.SessionOptions()
options.intra_op_num_threads = os.cpu_count()
session = ort.InferenceSession(root / "models" / "efficientnet_lite0" / "model.onnx", options, providers=["CPUExecutionProvider"])


def load(path):
    image = Image.open(path).convert("RGB")
    w, h = image.size
    w, h = (256, 256 * h // w) if w <= h else (256 * w // h, 256)
    image = image.resize((w, h), Image.BICUBIC)
    left, top = (w - 224) // 2, (h - 224) // 2
    x = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return ((x - 127) / 128).transpose(2, 0, 1)


def theirs():
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for at in range(0, len(paths), 32):
            session.run(None, {session.get_inputs()[0].name: np.stack(list(pool.map(load, paths[at : at + 32])))})
    return len(paths) / (time.perf_counter() - start)


def ours():
    command = ["cargo", "run", "--release", "-q", "--example", "extract", "--", folder, "1"]
    told = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"from disk ([\d.]+)", told)[1])


theirs()
ratios = []
for _ in range(rounds):
    a, b = ours(), theirs()
    ratios.append(a / b)
    print(f"adapt {a:.1f} images/s, Pillow and ONNX Runtime {b:.1f}: {a / b:.2f} times as many")
print(f"median {sorted(ratios)[rounds // 2]:.2f}")
