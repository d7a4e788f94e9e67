"""The classifier two-sample test (C2ST): can boosted trees distinguish generated items from real ones?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .intervals import auc_error

LEAST = 20  # items of each side


class ClassifierTest(NamedTuple):
    """The area under the ROC curve (.5 is guessing), its standard error, and how generated each other item looks."""

    area: float
    error: float
    scores: NDArray[np.float64]  # (M,), NaN where an item was not scored


def classifier_test(
    real: NDArray[np.float64],
    other: NDArray[np.float64],
    categories: NDArray[np.bool_] | None = None,
    *,
    seed: int = 0,
    folds: int = 5,
    trees: int = 100,
    most: int | None = None,
) -> ClassifierTest:
    """Return the cross-validated result for items `(N, d)` and `(M, d)`; `most` of each, and equally many, are read.

    The area is that of pairs: how often the classifier picks the generated one of a real and a generated item. Slightly
    less than .5 occurs where items are duplicates. Histogram gradient boosting of scikit-learn, with `trees` trees
    (Lopez-Paz & Oquab, arXiv 1610.06545).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    count, random = min(len(real), len(other), most or len(real)), np.random.default_rng(seed)
    chosen = [random.permutation(len(x))[:count] for x in (real, other)]
    x, y = np.concatenate([real[chosen[0]], other[chosen[1]]]), np.repeat([0, 1], count)
    scores = np.empty(2 * count)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
        model = HistGradientBoostingClassifier(categorical_features=categories, max_iter=trees, random_state=seed)
        scores[test] = model.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    area = float(roc_auc_score(y, scores))
    every = np.full(len(other), np.nan)
    every[chosen[1]] = scores[count:]
    return ClassifierTest(area, auc_error(area, count, count), every)
