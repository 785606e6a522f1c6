"""adapt's head beside scikit-learn's best of a grid (LogisticRegression, C from 1e-4 to 0.1) on the same network's features, in turn:
test accuracy, the seconds from the training images to the head, and those of the heads alone, on features that are there. The grid's
best strength is chosen by cross-validation, and by the test images (which no user has, but which costs a fit a strength only).

usage: python grid.py ADAPT DATA...        (DATA/{train,test}/CLASS/IMAGE; onnx, onnxruntime, pillow, scikit-learn)"""
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

adapt, sets = sys.argv[1], [pathlib.Path(path) for path in sys.argv[2:]]
FEATURES = "/Reshape_output_0"
session = peer.session(FEATURES)
strengths = [1e-4, 1e-3, 1e-2, 1e-1]


def features(split):
    classes = sorted(folder.name for folder in split.iterdir())
    items = [(path, k) for k, name in enumerate(classes) for path in sorted((split / name).iterdir())]
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for at in range(0, len(items), 32):
            batch = np.stack(list(pool.map(peer.load, [path for path, _ in items[at : at + 32]])))
            rows.append(session.run([FEATURES], {session.get_inputs()[0].name: batch})[0])
    return np.concatenate(rows), np.array([k for _, k in items])


def fitted(c):
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


for data in sets:
    start = time.perf_counter()
    x, y = features(data / "train")
    extracted = time.perf_counter()
    grid = GridSearchCV(fitted(1), {"logisticregression__C": strengths}, cv=5).fit(x, y)
    searched = time.perf_counter()
    plain = [fitted(c).fit(x, y) for c in strengths]
    end = time.perf_counter()
    extraction, search, fits = extracted - start, searched - extracted, end - searched
    seen, labels = features(data / "test")
    chosen, best = grid.score(seen, labels), max(head.score(seen, labels) for head in plain)
    with tempfile.TemporaryDirectory() as out:
        command = [adapt, "--data", data, "--out", f"{out}/run", "--val", "0", "--cache", "off", "-q"]
        command += ["--preprocess", "efficientnet-lite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        run = json.load(open(f"{out}/run/run.json"))
    heads = run["seconds"]["train"]
    # adapt also looks for copies, outliers and shortcuts among the images on the way.
    ours = run["seconds"]["extract_train"] + run["seconds"]["audit"] + heads
    print(
        f"{data}: adapt {run['metrics']['test']['accuracy']:.4f}, heads {heads:.2f} s, all {ours:.1f} s; "
        f"by cross-validation {chosen:.4f}, heads {search:.2f} s, all {extraction + search:.1f} s, adapt's share "
        f"{heads / search:.2f} and {ours / (extraction + search):.2f}; "
        f"by the test images {best:.4f}, heads {fits:.2f} s, all {extraction + fits:.1f} s, adapt's share "
        f"{heads / fits:.2f} and {ours / (extraction + fits):.2f}",
        flush=True,
    )
