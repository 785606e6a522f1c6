"""Softmax regression by adapt and by scikit-learn on the same features, in turn: the seconds for the strength by cross-validation and
the head of it, and at one strength the seconds and how near the objectives are to the minimum.

usage: python head_fit.py IMAGES FEATURES CLASSES        (scikit-learn; cargo builds the example)"""
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

n, d, k = map(int, sys.argv[1:4])
root = pathlib.Path(__file__).resolve().parent.parent
file = pathlib.Path(tempfile.mkdtemp()) / "features"


def adapt(c):
    command = ["cargo", "run", "--release", "-q", "--example", "head_fit", "--", *map(str, (n, d, k, c, file))]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


told = adapt("path")
seconds = sorted(float(s) for s in re.findall(r"round \d: ([\d.]+) s", told))[1]
strengths = [1 / (n * float(l2)) for l2 in re.findall(r"l2 ([\d.e+-]+):", told)]
best = float(re.search(r"C ([\d.e+-]+),", told)[1])
labels = np.arange(n) % k
x = np.fromfile(file, np.float32).reshape(n, d)
start = time.perf_counter()
z = StandardScaler().fit_transform(x)
LogisticRegressionCV(Cs=strengths, cv=5, scoring="neg_log_loss", max_iter=10_000).fit(z, labels)
theirs = time.perf_counter() - start
print(f"{len(strengths)} strengths, 5 folds: adapt {seconds:.2f} s, scikit-learn {theirs:.2f} s: {seconds / theirs:.3f} of its time")

told = adapt(best)
seconds = sorted(float(s) for s in re.findall(r": ([\d.]+) s", told))[1]
found = float(re.findall(r"objective ([\d.]+)", told)[-1])


def at_once():
    start = time.perf_counter()
    LogisticRegression(C=best, max_iter=10_000).fit(StandardScaler().fit_transform(x), labels)
    return time.perf_counter() - start


theirs = sorted(at_once() for _ in range(3))[1]
print(f"C {best:.1e} alone: adapt {seconds:.3f} s, scikit-learn {theirs:.3f} s: {seconds / theirs:.3f} of its time")
z = StandardScaler().fit_transform(x.astype(np.float64))


def objective(tolerance):
    fit = LogisticRegression(C=best, max_iter=100_000, tol=tolerance).fit(z, labels)
    logits = fit.decision_function(z)
    logits -= logits.max(1, keepdims=True)
    loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(n), labels]
    return loss.mean() + (fit.coef_**2).sum() / (2 * n * best)


least = objective(1e-10)
print(f"C {best:.1e}, above the minimum: adapt {found / least - 1:.1e}, scikit-learn at its default {objective(1e-4) / least - 1:.1e}")
