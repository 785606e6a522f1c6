"""Writes perceptron.json: points whose class no line tells from another, and how many of fresh ones scikit-learn finds (tests/heads.rs).

usage: python make_perceptron.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import pathlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(4)


def draw(images):
    """Two classes in the quarters of a plane, crosswise, and a third around; four features of noise beside."""
    x = rng.normal(size=(images, 6))
    labels = np.where(np.hypot(x[:, 0], x[:, 1]) > 1.8, 2, (x[:, 0] * x[:, 1] > 0).astype(int))
    return np.round(x * [1, 5, 1, 0.2, 3, 1] + 2, 3).astype(np.float32), labels


(x, labels), (fresh, truth) = draw(600), draw(600)
scaler = StandardScaler().fit(x)
networks = [MLPClassifier(128, alpha=1e-3, max_iter=300, random_state=s).fit(scaler.transform(x), labels) for s in range(5)]
plain = lambda values: [round(float(v), 3) for v in np.ravel(values)]
case = dict(x=plain(x), labels=labels.tolist(), fresh=plain(fresh), truth=truth.tolist(),
            linear=LogisticRegression().fit(scaler.transform(x), labels).score(scaler.transform(fresh), truth),
            networks=[network.score(scaler.transform(fresh), truth) for network in networks])
print(case["linear"], case["networks"])
pathlib.Path(__file__).with_name("perceptron.json").write_text(json.dumps(case) + "\n")
