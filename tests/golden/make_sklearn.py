"""Writes metrics.json and train.json: what scikit-learn says about the cases of tests/metrics.rs and tests/heads/softmax.rs.

usage: python make_sklearn.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import os
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (accuracy_score, average_precision_score, balanced_accuracy_score, brier_score_loss,
                             cohen_kappa_score, confusion_matrix, f1_score, log_loss, matthews_corrcoef,
                             precision_recall_fscore_support, roc_auc_score, top_k_accuracy_score)
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

HERE = os.path.dirname(os.path.abspath(__file__))


def plain(x):
    return [float(v) for v in np.asarray(x, np.float64).ravel()]


def defined(values):
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None


def reliability(y, p):
    """Images, mean top probability and accuracy of 15 bins (low, high], as in the code of Guo et al. 2017."""
    top, right, edges, rows = p.max(1), p.argmax(1) == y, np.linspace(0, 1, 16), []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (top > low) & (top <= high)
        n = int(inside.sum())
        rows.append([n, float(top[inside].mean()) if n else 0.0, float(right[inside].mean()) if n else 0.0])
    return rows


def baseline(y, k):
    """The most frequent class, always; for the losses the classes' shares."""
    x, labels = np.zeros((len(y), 1)), list(range(k))
    most = DummyClassifier(strategy='most_frequent').fit(x, y).predict(x)
    shares = np.zeros((len(y), k))
    shares[:, np.unique(y)] = DummyClassifier(strategy='prior').fit(x, y).predict_proba(x)
    return dict(accuracy=accuracy_score(y, most), balanced_accuracy=balanced_accuracy_score(y, most),
                macro_f1=f1_score(y, most, zero_division=0, average='macro'),
                log_loss=log_loss(y, y_proba=shares, labels=labels), brier=brier_score_loss(y, shares, labels=labels))


def metric_case(name, y, p):
    y, p = np.asarray(y), np.asarray(p, np.float32)
    k = p.shape[1]
    classes, pred = list(range(k)), p.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(y, pred, labels=classes, zero_division=0)
    macro = precision_recall_fscore_support(y, pred, zero_division=0, average='macro')
    wide = p.astype(np.float64)
    loss = log_loss(y, y_proba=wide, labels=classes)
    averages = {f'{average}_{figure}': value for average in ('micro', 'weighted') for figure, value in zip(
        ('precision', 'recall', 'f1'),
        precision_recall_fscore_support(y, pred, labels=classes, zero_division=0, average=average))}
    own = np.eye(k)[y]
    some, all_ = own.any(0), own.all(0)
    auc = [roc_auc_score(own[:, j], wide[:, j]) if some[j] and not all_[j] else None for j in classes]
    precise = [average_precision_score(own[:, j], wide[:, j]) if some[j] else None for j in classes]
    kappa = None if len(set(y) | set(pred)) == 1 else cohen_kappa_score(y, pred, labels=classes)
    bins = reliability(y, wide)
    return dict(**averages, brier=brier_score_loss(y, wide, labels=classes), per_roc_auc=auc, per_average_precision=precise,
                roc_auc=defined(auc), average_precision=defined(precise), cohen_kappa=kappa,
                mcc=matthews_corrcoef(y, pred), reliability=bins, baseline=baseline(y, k),
                ece=sum(n * abs(a - c) for n, c, a in bins) / len(y),
                **{f'top{top}_accuracy': top_k_accuracy_score(y, wide, k=top, labels=classes) if k > top else None for top in (2, 3, 5)},
                n=len(y), name=name, classes=k, labels=y.tolist(), probabilities=plain(p), accuracy=accuracy_score(y, pred),
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
    seven = np.repeat(np.arange(7), [20, 15, 10, 10, 8, 5, 3])
    many = np.round(draw(seven, 7, 1.0) * 8) / 8
    return [metric_case('seven classes', seven, draw(seven, 7, 1.0)),
            metric_case('seven classes, many ties', seven, many),
            metric_case('one class only', [1] * 6, np.eye(3, dtype=np.float32)[[1] * 6] * 0.5 + np.float32(1 / 6)),
            metric_case('one class only, errors', [1] * 6, draw(np.array([0, 1, 1, 2, 1, 1]), 3, 5.0)),
            metric_case('balanced', balanced, draw(balanced, 4, 1.5)),
            metric_case('imbalanced', skewed, draw(skewed, 4, 1.0)),
            metric_case('never predicted', balanced, never),
            metric_case('absent from labels', absent, draw(absent, 4, 1.0)),
            metric_case('two classes', two, draw(two, 2, 0.7)),
            metric_case('perfect', balanced, np.eye(4, dtype=np.float32)[balanced]),
            metric_case('ties', [0, 1, 2, 3, 0, 1, 2, 3], ties)]


def train_case(name, counts, features, c, constant, weights=None):
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
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100000, class_weight=weights).fit(xs, y)
    p = model.predict_proba(xs)
    cross = (-np.log(p[np.arange(len(y)), y]) * compute_sample_weight(weights, y)).mean()
    binary = len(counts) == 2
    # Two classes: scikit-learn has one weight vector w, a softmax has w/2 and -w/2, so that ||W||^2 = ||w||^2 / 2.
    l2 = (2 if binary else 1) / (len(y) * c)
    square = (model.coef_ ** 2).sum() / (2 if binary else 1)
    return dict(name=name, classes=len(counts), features=features, labels=y.tolist(), x=plain(x), l2=l2, balanced=weights is not None,
                objective=cross + l2 / 2 * square, probabilities=[round(v, 9) for v in plain(p)])


def train():
    return [train_case('constant feature', [30, 30, 30, 30], 20, 0.1, True),
            train_case('imbalanced', [100, 40, 10], 12, 1.0, False),
            train_case('two classes', [40, 20], 6, 0.5, False),
            train_case('classes weighted', [100, 40, 10], 12, 1.0, False, 'balanced')]


for name, cases in (('metrics.json', metrics()), ('train.json', train())):
    with open(os.path.join(HERE, name), 'w') as f:
        json.dump(cases, f, separators=(',', ':'))
        f.write('\n')
