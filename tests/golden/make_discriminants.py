"""Writes discriminants.json: scikit-learn's shrunk discriminant analysis on standardised features (tests/heads.rs).

    pip install scikit-learn numpy && python make_discriminants.py
"""
import json
import pathlib

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

STRENGTHS = [0.95, 0.85, 0.7, 0.5, 0.3, 0.1, 0.03, 0.01]  # SHRINKAGES in src/train/heads/candidates.rs


def case(seed, counts, features):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    mixing = random.normal(size=(features, features)) / np.sqrt(features)
    centres = 0.8 * random.normal(size=(len(counts), features))
    x = (centres[labels] + random.normal(size=(len(labels), features)) @ mixing + 1).astype(np.float32)
    scaled = StandardScaler().fit_transform(x.astype(np.float64))
    fit = lambda s: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s).fit(scaled, labels)
    logits = {str(s): fit(s).predict_log_proba(scaled).ravel().tolist() for s in STRENGTHS}
    return {"labels": labels.tolist(), "features": features, "x": x.ravel().tolist(), "log_probabilities": logits}


# More images than features, fewer, and classes of different sizes.
cases = [case(1, [30, 30, 30], 8), case(2, [14, 14, 14], 90), case(3, [40, 12, 20], 30)]
pathlib.Path(__file__).with_name("discriminants.json").write_text(json.dumps(cases))
