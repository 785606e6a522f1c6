"""Writes several.json: what scikit-learn's LogisticRegression of each label, and Ridge, give on features standardised as heads have
them, at all strengths of the path; and what Ridge gives for each image when it is left out, alone or with every other image.

usage: python make_several.py            (scikit-learn 1.9.1, numpy 2.4; beside the script)"""
import json
import os
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict

HERE = os.path.dirname(os.path.abspath(__file__))


def standardised(x):
    """Deviations have a floor: the root mean square of all over the root of the number of images."""
    variance = x.var(0)
    floor = np.sqrt(variance.sum() / (variance > 0).sum()) / np.sqrt(len(x))
    return (x - x.mean(0)) / np.maximum(np.sqrt(variance), floor)


def plain(values):
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def case(rng, images, features, outputs):
    x = rng.normal(size=(images, features)).astype(np.float32)
    x[:, 0] *= 0.01  # below the floor
    x[:, 1] += 5
    linear = x[:, :3] @ rng.normal(size=(3, outputs)) + 0.5 * rng.normal(size=(images, outputs))
    bounds = [np.quantile(column, share) for column, share in zip(linear.T, np.linspace(0.3, 0.8, outputs))]
    labels = (linear > bounds).astype(int)
    values = (linear * [10 ** k for k in range(outputs)] + 100).astype(np.float32)
    z = standardised(x.astype(np.float64))
    rows = []
    for step in range(13):
        l2 = features / (images * 1e-2 * 10 ** (0.5 * step))
        fits = [LogisticRegression(C=1 / (images * l2), tol=1e-10, max_iter=100000).fit(z, y) for y in labels.T]
        ridge = Ridge(alpha=images * l2)
        left_out = cross_val_predict(ridge, z, values.astype(np.float64), cv=LeaveOneOut())
        halves = cross_val_predict(ridge, z, values.astype(np.float64), cv=LeaveOneGroupOut(), groups=np.arange(images) % 2)
        rows.append(dict(l2=l2, probabilities=plain(np.stack([f.predict_proba(z)[:, 1] for f in fits], 1)),
                         values=plain(ridge.fit(z, values.astype(np.float64)).predict(z)), left_out=plain(left_out), halves=plain(halves)))
    return dict(images=images, features=features, outputs=outputs, x=plain(x), labels=labels.ravel().tolist(),
                values=plain(values), path=rows)


if __name__ == '__main__':
    rng = np.random.default_rng(5)
    cases = [case(rng, 40, 8, 3), case(rng, 24, 40, 2)]
    with open(os.path.join(HERE, 'several.json'), 'w') as file:
        json.dump(cases, file)
