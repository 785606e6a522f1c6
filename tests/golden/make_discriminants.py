"""Writes discriminants.json: scikit-learn's shrunk discriminant analysis on standardised features, cosines where its covariance is that of a
sphere, and the class mean that is nearest by the cosine (tests/heads.rs).

    pip install scikit-learn numpy && python make_discriminants.py
"""
import json
import pathlib

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler, normalize

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
    # Of each half the probabilities by the other, as with two groups of images in turn.
    halves = np.arange(len(labels)) % 2
    other = lambda s, half: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s).fit(scaled[halves != half], labels[halves != half])
    held_out = {str(s): np.empty((len(labels), len(counts))) for s in STRENGTHS}
    for s in STRENGTHS:
        for half in range(2):
            held_out[str(s)][halves == half] = other(s, half).predict_proba(scaled[halves == half])

    def alike(train, own, s, test):
        """Scalar products with the means of length 1, around a middle of them, both times the covariance's root inverse."""
        found = LinearDiscriminantAnalysis(solver="eigen", shrinkage=s).fit(train, own)
        values, vectors = np.linalg.eigh(found.covariance_)
        root = vectors / np.sqrt(values) @ vectors.T
        middle = np.average(found.means_, axis=0, weights=np.sqrt(np.bincount(own)))
        return (test - middle) @ root @ normalize((found.means_ - middle) @ root).T

    cosines = {str(s): np.round(alike(scaled, labels, s, scaled), 6).ravel().tolist() for s in STRENGTHS}
    # Here each half standardises by itself.
    apart = {}
    for s in STRENGTHS:
        held = np.empty((len(labels), len(counts)))
        for half in range(2):
            scaler = StandardScaler().fit(x[halves != half].astype(np.float64))
            train, test = scaler.transform(x[halves != half]), scaler.transform(x[halves == half])
            held[halves == half] = alike(train, labels[halves != half], s, test)
        apart[str(s)] = np.round(held, 6).ravel().tolist()
    deviations = x.std(0)  # none is below the floor that heads have
    assert deviations.min() > np.sqrt((deviations ** 2).mean() / len(x))
    means = np.stack([scaled[labels == k].mean(0) for k in range(len(counts))])
    middle = np.average(means, axis=0, weights=np.sqrt(counts))
    nearest = cosine_similarity(scaled - middle, means - middle).argmax(1).tolist()
    held_out = {s: np.round(p, 7).ravel().tolist() for s, p in held_out.items()}
    told = {"log_probabilities": logits, "halves": held_out, "nearest": nearest, "alike": cosines, "alike_halves": apart}
    return {"labels": labels.tolist(), "features": features, "x": x.ravel().tolist(), **told}


# More images than features, fewer, and classes of different sizes of both.
cases = [case(1, [30, 30, 30], 8), case(2, [14, 14, 14], 90), case(3, [40, 12, 20], 30), case(4, [24, 8, 10], 90)]
pathlib.Path(__file__).with_name("discriminants.json").write_text(json.dumps(cases))
