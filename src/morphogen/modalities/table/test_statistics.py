"""Shape, Trend, the two-sample test and utility of tables, against closed forms."""

from __future__ import annotations

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
import pytest
from sklearn.metrics import roc_auc_score

from morphogen.core.errors import UserError
from morphogen.metrics.statistics.intervals import auc_error
from morphogen.modalities.table.features import independent_baseline
from morphogen.modalities.table.statistics.c2st import c2st_auc
from morphogen.modalities.table.statistics.column_quality import shape, trend
from morphogen.modalities.table.statistics.utility import utility


def test_closed_forms() -> None:
    real = arrow.table({"x": list(range(100)), "k": ["a"] * 50 + ["b"] * 50})
    assert shape(real, real) == trend(real, real) == 1
    shifted = arrow.table({"x": list(range(20, 120)), "k": ["a"] * 80 + ["b"] * 20})
    assert shape(real, shifted) == pytest.approx((0.8 + 0.7) / 2)
    random = np.random.default_rng(0)
    x = random.normal(size=3000)
    pair = arrow.table({"x": x, "y": 0.8 * x + 0.6 * random.normal(size=3000)})
    baseline = independent_baseline(pair, 0)
    assert trend(pair, baseline) == pytest.approx(0.6, abs=0.03)
    assert shape(pair, baseline) > 0.97
    assert c2st_auc(pair, baseline) > 0.65
    assert c2st_auc(pair.slice(0, 1500), pair.slice(1500)) == pytest.approx(0.5, abs=0.04)
    labelled = pair.append_column("k", arrow.array(np.where(x > 0, "yes", "no")))
    assert utility(labelled, labelled, "k")[0] > 0.99
    assert utility(independent_baseline(labelled, 0), labelled, "k")[0] == pytest.approx(0.5, abs=0.1)


def test_infinite_numbers_count_as_missing() -> None:
    x = np.random.default_rng(0).normal(size=300)
    x[:3] = np.inf
    table = arrow.table({"x": x, "k": ["a", "b", "c"] * 100, "y": -x})
    assert shape(table, table) == trend(table, table) == 1
    assert c2st_auc(table, table) < 0.5
    assert utility(table, table, "x")[0] > 0.9


RANKS = (lambda x: -x, lambda x: -np.abs(x), lambda x: x)  # the best scores of low, middle and high


def test_utility_of_classes_and_numbers() -> None:
    """The AUC of classes with known noise is known, and so is R² of a number with known noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=8000)
    kinds = np.digitize(x + 0.7 * random.normal(size=8000), [-0.6, 0.6])
    number = x + random.normal(size=8000)
    table = arrow.table({"x": x, "kind": np.array(["low", "middle", "high"])[kinds], "number": number})
    train, test = table.slice(0, 6000), table.slice(6000)
    value, error = utility(train.drop(["number"]), test.drop(["number"]), "kind")
    best = np.mean([roc_auc_score(kinds[6000:] == kind, rank(x[6000:])) for kind, rank in enumerate(RANKS)])
    assert best - 0.03 < value < best + 0.01
    assert error == pytest.approx(auc_error(value, 670, 1330), rel=0.4)
    value, error = utility(train.drop(["kind"]), test.drop(["kind"]), "number")
    assert value == pytest.approx(0.5, abs=4 * error)
    assert 0.005 < error < 0.05
    # A class without training rows counts .5.
    train, test = train.drop(["number"]), test.drop(["number"])
    without_high = train.filter(compute.not_equal(train.column("kind"), "high"))
    assert utility(without_high, test, "kind")[0] < utility(train, test, "kind")[0] - 0.05
    alone = train.slice(0, 1).set_column(1, "kind", arrow.array(["new"]))
    many = arrow.concat_tables([train, train, alone])  # enough for early stopping
    assert utility(many, test, "kind")[0] > 0.7
    names = arrow.array([str(at) for at in range(8000)])
    with pytest.raises(UserError, match="classes of at least 10 rows"):
        utility(
            train.append_column("name", names.slice(0, 6000)), test.append_column("name", names.slice(6000)), "name"
        )


def test_one_column_has_no_pair_that_differs() -> None:
    table = arrow.table({"x": list(range(60))})
    assert trend(table, table) == 1
    assert trend(table, arrow.table({"x": [0] * 60})) == 1
