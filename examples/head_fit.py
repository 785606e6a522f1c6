"""Softmax regression by adapt and by scikit-learn on the same features, in turn: seconds, and how near the objectives are.

usage: python head_fit.py IMAGES FEATURES CLASSES C        (scikit-learn; cargo builds the example)"""
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

n, d, k, c = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
root = pathlib.Path(__file__).resolve().parent.parent
file = pathlib.Path(tempfile.mkdtemp()) / "features"
command = ["cargo", "run", "--release", "-q", "--example", "head_fit", "--", *map(str, (n, d, k, c, file))]
labels = np.arange(n) % k
ours, theirs, found = [], [], []
for _ in range(3):
    for line in subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines():
        seconds, objective = re.search(r"([\d.]+) s, .*objective ([\d.]+)", line).groups()
        ours.append(float(seconds)), found.append(float(objective))
    x = np.fromfile(file, np.float32).reshape(n, d)
    for _ in range(3):
        start = time.perf_counter()
        fit = LogisticRegression(C=c, max_iter=10_000).fit(StandardScaler().fit_transform(x), labels)
        theirs.append(time.perf_counter() - start)
z = StandardScaler().fit_transform(x.astype(np.float64))
exact = LogisticRegression(C=c, max_iter=100_000, tol=1e-10).fit(z, labels)


def objective(fit, rows):
    logits = rows @ fit.coef_.T.astype(float) + fit.intercept_
    logits -= logits.max(1, keepdims=True)
    loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(n), labels]
    return loss.mean() + (fit.coef_.astype(float) ** 2).sum() / (2 * n * c)


best, near = objective(exact, z), objective(fit, z)
a, b = statistics.median(ours), statistics.median(theirs)
print(f"adapt {a:.3f} s, scikit-learn {b:.3f} s ({fit.n_iter_[0]} steps): {a / b:.3f} of its time")
print(f"objective above the minimum: adapt {found[-1] / best - 1:.1e}, scikit-learn {near / best - 1:.1e} (relative)")
