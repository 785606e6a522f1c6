"""adapt's head beside scikit-learn's best of a grid (LogisticRegression, C from 1e-4 to 0.1) on the same network's features, in turn:
test accuracy, the seconds from the training images to the head, and those of the heads alone, on features that are there.

usage: python grid.py ADAPT DATA [ROUNDS]        (DATA/{train,test}/CLASS/IMAGE; onnx, onnxruntime, pillow, scikit-learn)"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import peer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

adapt, data = sys.argv[1], pathlib.Path(sys.argv[2])
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 2
FEATURES = "/Reshape_output_0"
session = peer.session(FEATURES)
strengths = [1e-4, 1e-3, 1e-2, 1e-1]


def features(split):
    classes = sorted(folder.name for folder in (data / split).iterdir())
    items = [(path, k) for k, name in enumerate(classes) for path in sorted((data / split / name).iterdir())]
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for at in range(0, len(items), 32):
            batch = np.stack(list(pool.map(peer.load, [path for path, _ in items[at : at + 32]])))
            rows.append(session.run([FEATURES], {session.get_inputs()[0].name: batch})[0])
    return np.concatenate(rows), np.array([k for _, k in items])


def fitted(c):
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


for _ in range(rounds):
    start = time.perf_counter()
    x, y = features("train")
    extracted = time.perf_counter()
    grid = GridSearchCV(fitted(1), {"logisticregression__C": strengths}, cv=5).fit(x, y)
    end = time.perf_counter()
    theirs, their_heads = end - start, end - extracted
    seen, labels = features("test")
    chosen, best = grid.score(seen, labels), max(fitted(c).fit(x, y).score(seen, labels) for c in strengths)
    with tempfile.TemporaryDirectory() as out:
        command = [adapt, "--data", data, "--out", f"{out}/run", "--val", "0", "--cache", "off", "-q"]
        command += ["--preprocess", "efficientnet-lite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run = json.load(open(f"{out}/run/run.json"))
    our_heads = run["seconds"]["train"]
    # adapt also looks for copies, outliers and shortcuts among the images on the way.
    ours = run["seconds"]["extract_train"] + run["seconds"]["audit"] + our_heads
    print(
        f"scikit-learn: by cross-validation {chosen:.4f}, best of the grid by the test images {best:.4f}, {theirs:.1f} s; "
        f"adapt: {run['metrics']['test']['accuracy']:.4f}, {ours:.1f} s, {ours / theirs:.2f} of the time; "
        f"heads alone: {our_heads:.1f} s against {their_heads:.1f} s, {our_heads / their_heads:.2f}"
    )
