"""The classifier two-sample test (C2ST) of two tables."""

from __future__ import annotations

from typing import Any

from morphogen.metrics.statistics.c2st import classifier_test

from .arrow_columns import check_same_columns, matrices_of


def c2st_auc(real: Any, synthetic: Any, *, seed: int = 0, folds: int = 5) -> float:
    """Return the cross-validated AUC of boosted trees on equal numbers of real and synthetic rows; .5 is best."""
    check_same_columns(real, synthetic)
    (a, b), categories = matrices_of(real, synthetic)
    return classifier_test(a, b, categories, seed=seed, folds=folds).area
