"""Writes transfer.json: features, and their LogME and H-score, each straight from its paper's formula.

LogME is the evidence's own maximum, found by an optimiser: the determinant and the quadratic form are computed in full, for
the covariance of the targets, I/beta + F F^T/alpha. The H-score inverts the shrunk covariance. Spearman's is scipy's.

usage: make_transfer.py          (needs numpy, scipy and scikit-learn)"""
import json
import os

import numpy as np
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf


def logme(f, y, classes):
    n = len(f)
    gram = f @ f.T

    def negative(logs, target):
        covariance = np.eye(n) * np.exp(-logs[1]) + gram * np.exp(-logs[0])
        _, log_det = np.linalg.slogdet(covariance)
        fit = target @ np.linalg.solve(covariance, target)
        return 0.5 * (log_det + fit + n * np.log(2 * np.pi)) / n

    best = []
    for c in range(classes):
        target = (y == c).astype(float)
        tries = [minimize(negative, start, (target,), "Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 9999})
                 for start in ([0, 0], [4, 3], [-2, 2])]
        best.append(-min(t.fun for t in tries))
    return float(np.mean(best))


def h_score(f, y, classes):
    f = f - f.mean(0)
    estimate = LedoitWolf(assume_centered=True).fit(f)
    means = np.stack([f[y == c].mean(0) for c in range(classes)])[y]
    between = means.T @ means / len(f)
    return float((1 - estimate.shrinkage_) * np.trace(np.linalg.inv(estimate.covariance_) @ between))


rng = np.random.default_rng(11)
cases = []
for images, features, classes, distance in ((40, 12, 3, 1.0), (30, 45, 4, 0.7), (24, 24, 2, 0.0)):
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    centres = rng.standard_normal((classes, features)) * distance
    rows = np.maximum(centres[labels] + rng.standard_normal((images, features)) + 0.3, 0).astype(np.float32)
    exact = rows.astype(float)
    cases.append({"rows": rows.tolist(), "labels": labels.tolist(), "classes": classes,
                  "logme": logme(exact, labels, classes), "h_score": h_score(exact, labels, classes)})

a = np.round(rng.standard_normal(50), 1).astype(np.float32)
b = np.round(a + rng.standard_normal(50), 1).astype(np.float32)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "transfer.json"), "w") as out:
    json.dump({"cases": cases, "a": a.tolist(), "b": b.tolist(), "spearman": float(spearmanr(a, b).statistic)}, out)
