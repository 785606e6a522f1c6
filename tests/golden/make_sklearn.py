"""Writes metrics.json and train.json: what scikit-learn says about the cases of tests/metrics.rs and tests/train.rs.

usage: python make_sklearn.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import os
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss,
                             precision_recall_fscore_support)
from sklearn.preprocessing import StandardScaler

HERE = os.path.dirname(os.path.abspath(__file__))


def plain(x):
    return [float(v) for v in np.asarray(x, np.float64).ravel()]


def metric_case(name, y, p):
    y, p = np.asarray(y), np.asarray(p, np.float32)
    k = p.shape[1]
    classes, pred = list(range(k)), p.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(y, pred, labels=classes, zero_division=0)
    macro = precision_recall_fscore_support(y, pred, labels=classes, zero_division=0, average='macro')
    wide = p.astype(np.float64)
    loss = log_loss(y, y_proba=wide, labels=classes)
    return dict(name=name, classes=k, labels=y.tolist(), probabilities=plain(p), accuracy=accuracy_score(y, pred),
                balanced_accuracy=balanced_accuracy_score(y, pred), macro_precision=macro[0], macro_recall=macro[1],
                macro_f1=macro[2], log_loss=loss, precision=plain(precision), recall=plain(recall), f1=plain(f1),
                support=support.tolist(), confusion=confusion_matrix(y, pred, labels=classes).tolist())


def metrics():
    rng = np.random.default_rng(0)

    def draw(y, k, sharp):
        z = rng.normal(size=(len(y), k)) + sharp * np.eye(k)[y]
        e = np.exp(z - z.max(1, keepdims=True))
        return (e / e.sum(1, keepdims=True)).astype(np.float32)

    balanced = np.repeat(np.arange(4), 25)
    skewed = np.repeat(np.arange(4), [120, 30, 8, 2])
    never = draw(balanced, 4, 1.0)
    never[:, 2] *= 0.01
    never /= never.sum(1, keepdims=True)
    absent = np.repeat([0, 1, 3], [10, 20, 5])
    two = np.repeat([0, 1], [30, 12])
    ties = np.full((8, 4), 0.25, np.float32)
    ties[4:] = [0.0, 0.5, 0.5, 0.0]
    return [metric_case('balanced', balanced, draw(balanced, 4, 1.5)),
            metric_case('imbalanced', skewed, draw(skewed, 4, 1.0)),
            metric_case('never predicted', balanced, never),
            metric_case('absent from labels', absent, draw(absent, 4, 1.0)),
            metric_case('two classes', two, draw(two, 2, 0.7)),
            metric_case('perfect', balanced, np.eye(4, dtype=np.float32)[balanced]),
            metric_case('ties', [0, 1, 2, 3, 0, 1, 2, 3], ties)]


def train_case(name, counts, features, c, constant):
    rng = np.random.default_rng(len(counts))
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.normal(size=(len(counts), features))[y] * 0.7 + rng.normal(size=(len(y), features))
    x = (x * rng.uniform(0.01, 30, features) + rng.normal(size=features) * 10).astype(np.float32)
    if constant:
        x[:, 3] = 0.1
    order = rng.permutation(len(y))
    x, y = x[order], y[order]
    scaler = StandardScaler().fit(x.astype(np.float64))
    xs = scaler.transform(x.astype(np.float64))
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100000).fit(xs, y)
    p = model.predict_proba(xs)
    cross = -np.log(p[np.arange(len(y)), y]).mean()
    binary = len(counts) == 2
    # Two classes: scikit-learn has one weight vector w, a softmax has w/2 and -w/2, so that ||W||^2 = ||w||^2 / 2.
    l2 = (2 if binary else 1) / (len(y) * c)
    square = (model.coef_ ** 2).sum() / (2 if binary else 1)
    return dict(name=name, classes=len(counts), features=features, labels=y.tolist(), x=plain(x), l2=l2,
                objective=cross + l2 / 2 * square, probabilities=[round(v, 9) for v in plain(p)])


def train():
    return [train_case('constant feature', [30, 30, 30, 30], 20, 0.1, True),
            train_case('imbalanced', [100, 40, 10], 12, 1.0, False),
            train_case('two classes', [40, 20], 6, 0.5, False)]


for name, cases in (('metrics.json', metrics()), ('train.json', train())):
    with open(os.path.join(HERE, name), 'w') as f:
        json.dump(cases, f, separators=(',', ':'))
        f.write('\n')
