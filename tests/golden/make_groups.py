"""Writes groups.json: how scikit-learn's StratifiedGroupKFold deals groups into folds (tests/heads/groups.rs). No two groups are as unequal
in their classes, so that its order of the groups, and so all of it, hangs on nothing drawn.

usage: python make_groups.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import pathlib
import numpy as np
from sklearn.model_selection import StratifiedGroupKFold


def case(seed, groups, classes, most, folds):
    rng = np.random.default_rng(seed)
    while True:
        counts = rng.integers(0, most, (groups, classes))
        if len(np.unique(np.round(counts.std(1), 9))) == groups and (counts.sum(1) > 0).all():
            break
    labels = np.repeat(np.tile(np.arange(classes), groups), counts.ravel())
    group = np.repeat(np.repeat(np.arange(groups), classes), counts.ravel())
    order = rng.permutation(len(labels))
    labels, group = labels[order], group[order]
    fold = np.zeros(len(labels), int)
    for number, (_, own) in enumerate(StratifiedGroupKFold(folds).split(labels, labels, group)):
        fold[own] = number
    return dict(labels=labels.tolist(), groups=group.tolist(), folds=folds, fold=fold.tolist())


cases = [case(1, 8, 3, 9, 3), case(2, 12, 4, 14, 5), case(3, 9, 2, 30, 4)]
pathlib.Path(__file__).with_name("groups.json").write_text(json.dumps(cases) + "\n")
