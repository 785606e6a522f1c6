"""Writes separation.json: features, and which images their neighbours and a linear probe get right, one left out at a time.

usage: make_separation.py          (needs numpy and scikit-learn)"""
import json
import os

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(7)
labels = rng.integers(0, 4, 60)
rows = (rng.standard_normal((4, 9))[labels] * 0.8 + rng.standard_normal((60, 9))).astype(np.float32)
centred = rows.astype(float) - rows.astype(float).mean(0)
standard = centred / centred.std(0)
gram = standard @ standard.T
gram /= np.trace(gram) / len(gram)
targets = np.eye(4)[labels] - np.eye(4)[labels].mean(0)

near, probes = [], []
for i in range(60):
    rest = np.arange(60) != i
    model = KNeighborsClassifier(1, metric="cosine").fit(centred[rest], labels[rest])
    near.append(bool(model.predict(centred[i:i + 1])[0] == labels[i]))
for penalty in (0.01, 0.1, 1.0):
    agree = []
    for i in range(60):
        rest = np.arange(60) != i
        model = KernelRidge(alpha=penalty, kernel="precomputed").fit(gram[np.ix_(rest, rest)], targets[rest])
        agree.append(bool(model.predict(gram[i:i + 1, rest])[0].argmax() == labels[i]))
    probes.append(agree)

# Hard choices: the mean divergence is the mutual information of image and class.
choices = rng.integers(0, 4, 60)
information = mutual_info_score(np.arange(60), choices)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "separation.json"), "w") as out:
    json.dump({"rows": rows.tolist(), "labels": labels.tolist(), "near": near, "probe": max(probes, key=sum),
               "choices": choices.tolist(), "information": information}, out)
