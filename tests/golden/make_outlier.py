"""Writes outlier.json: distances from the nearest class mean by scikit-learn's normalize and cosine_similarity, each training image's,
or group's, by the means of the others (tests/metrics.rs).

usage: python make_outlier.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import pathlib
import numpy as np
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize


def means(rows, labels, classes):
    return np.stack([rows[labels == k].sum(0) for k in range(classes)])


def case(seed, images, classes, features, groups=None):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    centres = rng.gamma(1, 1, (classes, features))
    rows = (centres[labels] + rng.gamma(1, .7, (images, features))).astype(np.float32)
    others = (rng.gamma(1, 1, (5, features))).astype(np.float32)
    group = rng.integers(0, groups, images) if groups else np.arange(images)
    unit = normalize(rows.astype(np.float64))
    own = np.zeros(images)
    for g in np.unique(group):
        out = group == g
        left = means(unit[~out], labels[~out], classes)
        own[out] = 1 - cosine_similarity(unit[out], left[np.abs(left).sum(1) > 0]).max(1)
    threshold = np.sort(own)[int(np.ceil(.99 * images)) - 1]
    scores = 1 - cosine_similarity(others.astype(np.float64), means(unit, labels, classes)).max(1)
    return dict(rows=rows.tolist(), labels=labels.tolist(), groups=group.tolist() if groups else [], classes=classes,
                threshold=threshold, others=others.tolist(), scores=scores.tolist())


cases = [case(1, 40, 4, 12), case(2, 150, 3, 8), case(3, 60, 5, 10, 9), case(4, 12, 6, 7, 4)]
pathlib.Path(__file__).with_name("outlier.json").write_text(json.dumps(cases) + "\n")
