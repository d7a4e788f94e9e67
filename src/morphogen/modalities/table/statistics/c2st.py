"""The classifier two-sample test (C2ST): can boosted trees distinguish synthetic rows from real ones?"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrow_columns import check_same_columns, matrices_of


def c2st_auc(real: Any, synthetic: Any, *, seed: int = 0, folds: int = 5) -> float:
    """Return the cross-validated AUC of boosted trees on equal numbers of real and synthetic rows.

    .5 is best; slightly less occurs where rows are duplicates. Histogram gradient boosting of scikit-learn, at its
    defaults (Lopez-Paz & Oquab, arXiv 1610.06545).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    check_same_columns(real, synthetic)
    (a, b), categories = matrices_of(real, synthetic)
    count, random = min(len(a), len(b)), np.random.default_rng(seed)
    x = np.concatenate([a[random.permutation(len(a))[:count]], b[random.permutation(len(b))[:count]]])
    y = np.repeat([0, 1], count)
    scores = np.empty(2 * count)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y):
        trees = HistGradientBoostingClassifier(categorical_features=categories, random_state=seed).fit(
            x[train], y[train]
        )
        scores[test] = trees.predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, scores))
