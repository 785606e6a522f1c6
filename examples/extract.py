"""Images a second from files to features, by adapt and by Pillow with ONNX Runtime, in turn.

usage: python extract.py FOLDER [ROUNDS]        (FOLDER/CLASS/IMAGE; onnx, onnxruntime, pillow, numpy; cargo builds the example)"""
import os
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import peer

folder = pathlib.Path(sys.argv[1]).resolve()
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
paths = sorted(path for path in folder.glob("*/*") if path.is_file())
session = peer.session()


def theirs():
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for at in range(0, len(paths), 32):
            session.run(None, {session.get_inputs()[0].name: np.stack(list(pool.map(peer.load, paths[at : at + 32])))})
    return len(paths) / (time.perf_counter() - start)


def ours():
    command = ["cargo", "run", "--release", "-q", "--example", "extract", "--", folder, "1"]
    told = subprocess.run(command, cwd=peer.root, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"from disk ([\d.]+)", told)[1])


theirs()
ratios = []
for _ in range(rounds):
    a, b = ours(), theirs()
    ratios.append(a / b)
    print(f"adapt {a:.1f} images/s, Pillow and ONNX Runtime {b:.1f}: {a / b:.2f} times as many")
print(f"median {sorted(ratios)[rounds // 2]:.2f}")
