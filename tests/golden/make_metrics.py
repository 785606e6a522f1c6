"""Writes regression.json, multilabel.json, projection.json and bootstrap.json: what scikit-learn says about the cases of tests/metrics/, and
what a bootstrap in numpy with its own random numbers and 4,000 resamples says.

usage: python make_metrics.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import os
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import (accuracy_score, average_precision_score, hamming_loss, log_loss, mean_absolute_error,
                             precision_recall_fscore_support, precision_score, r2_score, roc_auc_score, root_mean_squared_error)

HERE = os.path.dirname(os.path.abspath(__file__))


def plain(x):
    return [float(v) for v in np.asarray(x, np.float64).ravel()]


def regression_case(name, y, p):
    y, p = np.asarray(y, np.float32), np.asarray(p, np.float32)
    figures = {}
    for key, score in (('r2', r2_score), ('mae', mean_absolute_error), ('rmse', root_mean_squared_error)):
        wide = y.astype(np.float64), p.astype(np.float64)
        figures[key] = float(score(*wide))
        figures['per_' + key] = plain(score(*wide, multioutput='raw_values'))
    return dict(name=name, targets=y.shape[1], truth=plain(y), predicted=plain(p), **figures)


def regression(rng):
    y = rng.normal(size=(40, 3)) * [1, 100, 0.01] + [0, 1000, 5]
    constant = y.copy()
    constant[:, 1] = 7
    right = constant + rng.normal(size=y.shape) * 0.1
    right[:, 1] = 7
    return [regression_case('three targets', y, y + rng.normal(size=y.shape) * [0.3, 40, 0.02]),
            regression_case('one target', y[:, :1], y[:, :1] * 0.8),
            regression_case('equal values', constant, constant + 0.5),
            regression_case('equal values, all right', constant, right)]


def multilabel_case(name, y, p, thresholds):
    y, p = np.asarray(y, int), np.asarray(p, np.float32)
    given = (p >= np.asarray(thresholds, np.float32)).astype(int)
    precision, recall, f1, support = precision_recall_fscore_support(y, given, zero_division=0)
    precise = [float(average_precision_score(a, b)) if a.any() else None for a, b in zip(y.T, p.T.astype(np.float64))]
    some = [v for v in precise if v is not None]
    areas = [float(roc_auc_score(a, b)) if 0 < a.sum() < len(a) else None for a, b in zip(y.T, p.T.astype(np.float64))]
    defined = [v for v in areas if v is not None]
    losses = [log_loss(a, b, labels=[0, 1]) for a, b in zip(y.T, p.T.astype(np.float64))]
    return dict(name=name, labels=y.shape[1], truth=y.ravel().tolist(), probabilities=plain(p), thresholds=thresholds,
                subset_accuracy=accuracy_score(y, given), hamming_loss=hamming_loss(y, given),
                **{f'{average}_{name}': float(value) for average in ('micro', 'macro') for name, value in zip(
                    ('precision', 'recall', 'f1'), precision_recall_fscore_support(y, given, average=average, zero_division=0))},
                average_precision=float(np.mean(some)) if some else None, precision=plain(precision), recall=plain(recall),
                f1=plain(f1), support=support.tolist(), per_average_precision=precise, per_roc_auc=areas,
                roc_auc=float(np.mean(defined)) if defined else None, log_loss=float(np.mean(losses)))


def multilabel(rng):
    y = rng.random((50, 4)) < [0.5, 0.3, 0.1, 0.7]
    p = np.clip(y * 0.4 + rng.random((50, 4)) * 0.6, 0, 1)
    absent = y.copy()
    absent[:, 2] = False
    return [multilabel_case('four labels', y, p, [0.5] * 4),
            multilabel_case('thresholds and ties', y, np.round(p * 8) / 8, [0.25, 0.5, 0.75, 0.375]),
            multilabel_case('a label without images', absent, p, [0.5] * 4),
            multilabel_case('nothing given', y, p, [1.0] * 4)]


def figures(y, p, k):
    pred = p.argmax(1)
    present = sorted(set(y) | set(pred))
    truth = np.clip(p[np.arange(len(y)), y], np.finfo(float).eps, 1 - np.finfo(float).eps)
    return dict(accuracy=(pred == y).mean(), log_loss=-np.log(truth).mean(),
                macro_f1=np.mean([2 * ((y == c) & (pred == c)).sum() / ((y == c).sum() + (pred == c).sum()) for c in present]),
                brier=((p - np.eye(k)[y]) ** 2).sum(1).mean(),
                weighted_precision=precision_score(y, pred, average='weighted', zero_division=0),
                roc_auc=np.mean([roc_auc_score(y == c, p[:, c]) for c in set(y)]),
                average_precision=np.mean([average_precision_score(y == c, p[:, c]) for c in set(y)]))


def bootstrap(rng):
    y = rng.permutation(np.repeat(np.arange(4), [120, 60, 30, 6]))

    def draw(sharp):
        z = rng.normal(size=(len(y), 4)) + sharp * np.eye(4)[y]
        e = np.exp(z)
        return (e / e.sum(1, keepdims=True)).astype(np.float32).astype(np.float64)

    a, b = draw(1.5), draw(1.2)
    keys = list(figures(y, a, 4))

    def bounds(resample):
        rows, differences = [], []
        for _ in range(4000):
            i = resample()
            one, other = figures(y[i], a[i], 4), figures(y[i], b[i], 4)
            rows.append([one[key] for key in keys])
            differences.append([one[key] - other[key] for key in keys])
        def moved(values, whole):
            # Less what resampling does to a figure; the interval holds the figure.
            low, high = np.percentile(values, [2.5, 97.5], axis=0) - np.mean(values, axis=0) + whole
            return dict(zip(keys, np.stack([np.minimum(low, whole), np.maximum(high, whole)]).T.tolist()))

        one, other = (np.array([figures(y, p, 4)[key] for key in keys]) for p in (a, b))
        return [moved(rows, one), moved(differences, one - other)]

    intervals, differences = bounds(lambda: rng.integers(0, len(y), len(y)))
    # Whole groups, of images for which a is about as good, some large and some small.
    order = np.argsort(-np.log(a[np.arange(len(y)), y]) + rng.normal(size=len(y)))
    groups = np.empty(len(y), int)
    groups[order] = np.searchsorted(np.sort(rng.choice(np.arange(1, len(y)), 39, replace=False)), np.arange(len(y)), 'right')
    own = [np.flatnonzero(groups == g) for g in range(40)]
    of_groups, differences_of_groups = bounds(lambda: np.concatenate([own[g] for g in rng.integers(0, 40, 40)]))
    return dict(classes=4, labels=y.tolist(), a=plain(a), b=plain(b), intervals=intervals, differences=differences,
                groups=groups.tolist(), intervals_of_groups=of_groups, differences_of_groups=differences_of_groups)


def projection(rng):
    rows = (rng.normal(size=(40, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]) @ rng.normal(size=(6, 6)) + 3
    rows = rows.astype(np.float32)
    return dict(rows=plain(rows), points=plain(PCA(2, svd_solver='full').fit_transform(rows.astype(np.float64))))


for name, make in (('regression.json', regression), ('multilabel.json', multilabel), ('bootstrap.json', bootstrap),
                   ('projection.json', projection)):
    with open(os.path.join(HERE, name), 'w') as f:
        json.dump(make(np.random.default_rng(0)), f, separators=(',', ':'))
        f.write('\n')
