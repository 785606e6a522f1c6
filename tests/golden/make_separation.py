"""Writes separation.json: features, and which images their neighbours and a linear probe get right, one left out at a time.

usage: make_separation.py          (needs numpy and scikit-learn)"""
import json
import os

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(7)
labels = rng.integers(0, 4, 60)
rows = (rng.standard_normal((4, 9))[labels] * 0.8 + rng.standard_normal((60, 9))).astype(np.float32)
centred = rows.astype(float) - rows.astype(float).mean(0)
standard = centred / centred.std(0)
standard /= np.sqrt((standard ** 2).sum() / len(standard))
targets = np.eye(4)[labels]

near, probes = [], []
for i in range(60):
    rest = np.arange(60) != i
    model = KNeighborsClassifier(1, metric="cosine").fit(centred[rest], labels[rest])
    near.append(bool(model.predict(centred[i:i + 1])[0] == labels[i]))
for penalty in (0.01, 0.1, 1.0):
    agree = []
    for i in range(60):
        rest = np.arange(60) != i
        model = Ridge(alpha=penalty).fit(standard[rest], targets[rest])
        # The classes' shares are those of all images.
        given = model.predict(standard[i:i + 1])[0] - targets[rest].mean(0) + targets.mean(0)
        agree.append(bool(given.argmax() == labels[i]))
    probes.append(agree)

# Hard choices: the mean divergence is the mutual information of image and class.
choices = rng.integers(0, 4, 60)
information = mutual_info_score(np.arange(60), choices)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "separation.json"), "w") as out:
    json.dump({"rows": rows.tolist(), "labels": labels.tolist(), "near": near, "probe": max(probes, key=sum),
               "choices": choices.tolist(), "information": information}, out)
