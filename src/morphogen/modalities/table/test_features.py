"""Features of rows: a function of each row alone, saved and restored, and the baseline of independent columns."""

import json
from collections import Counter

import numpy as np
import pyarrow as arrow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from morphogen.core.errors import UserError
from morphogen.core.space import Row
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.features import fit_extractor, independent_baseline, restore_extractor
from morphogen.modalities.table.options import Options

COUNT = 400


def people(seed=0, count=COUNT):
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, count)
    return arrow.table(
        {
            "key": np.arange(count) + 1000 * seed,
            "age": age,
            "income": 20.0 * age + random.gamma(2, 300, count),
            "debt": arrow.array(np.where(random.random(count) < 0.6, 0, random.gamma(2, 100, count))),
            "rooms": arrow.array([None if random.random() < 0.1 else int(random.integers(1, 6)) for _ in range(count)]),
            "city": random.choice(["Rome", "Oslo", "Lima"], count),
        }
    )


TABLE = people()
CODEC = TableCodec.fit([TABLE], Row, Options(rare=3))
EXTRACTOR = fit_extractor([TABLE.slice(0, 150), TABLE.slice(150)], None, codec=CODEC, seed=0)


def test_features_depend_on_each_row_alone():
    together = EXTRACTOR.features(TABLE)
    assert together.shape[0] == COUNT
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    alone = torch.cat([EXTRACTOR.features(TABLE.slice(at, 1)) for at in range(40)])
    assert torch.equal(together[:40], alone)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert torch.equal(together[order], EXTRACTOR.features(TABLE.take(order.numpy())))
    assert EXTRACTOR.features(TABLE.slice(0, 0)).shape == (0, together.shape[1])


def test_only_modelled_columns_change_features():
    first = TABLE.slice(0, 60)
    keyed = first.set_column(0, "key", arrow.array(np.arange(60) + 7))
    assert torch.equal(EXTRACTOR.features(first), EXTRACTOR.features(keyed))  # a key has no features
    assert len(EXTRACTOR.features(TABLE).unique(dim=0)) > 0.98 * COUNT
    for name in ("age", "income", "debt", "city"):
        at = TABLE.column_names.index(name)
        permuted = TABLE.set_column(at, name, TABLE.column(name).take(np.roll(np.arange(COUNT), 1)))
        differ = (EXTRACTOR.features(permuted) != EXTRACTOR.features(TABLE)).any(1)
        assert differ.double().mean() > 0.3, name


def test_numbers_are_quantiles_and_categories_one_hot():
    # Numbers: age, income and debt. One-hot: whether debt is 0, five rooms and missing, three cities.
    features = EXTRACTOR.features(TABLE)
    assert features.shape[1] == 3 + 2 + 6 + 3
    numbers, choices = features[:, :3], features[:, 3:]
    assert set(choices.unique().tolist()) == {0, 1}
    assert torch.equal(choices.sum(1), torch.full((COUNT,), 3.0))
    for column, name in zip(numbers.T, ("age", "income"), strict=False):
        values = TABLE.column(name).to_numpy()
        assert stats.spearmanr(column.numpy(), values).statistic > 0.99
        assert stats.kstest(column.numpy(), "norm").pvalue > 0.01  # quantiles on a normal scale


def test_the_number_of_a_frequent_value_is_the_median():
    debt = EXTRACTOR.features(TABLE)[:, 2]
    owes = torch.from_numpy(TABLE.column("debt").to_numpy() > 0)
    assert (debt[~owes] == 0).all()
    assert len(debt[owes].unique()) > 40


def test_equal_values_have_equal_features_whatever_the_rest_of_the_row():
    age, features = TABLE.column("age").to_pylist(), EXTRACTOR.features(TABLE)[:, 0].tolist()
    assert len(set(zip(age, features, strict=True))) == len(set(age)) < COUNT / 4


def test_many_categories_are_projected_to_few_features_at_equal_distances():
    names = [f"shop {at}" for at in range(300)]
    table = arrow.table({"shop": names * 8, "owner": [f"owner {at}" for at in range(40)] * 60})
    extractor = fit_extractor([table], None, codec=TableCodec.fit([table], Row), seed=0)
    features = extractor.features(table)
    assert features.shape == (2400, 64 + 40)
    shops = features[:300, :64]
    distances = torch.pdist(shops)
    assert len(shops.unique(dim=0)) == 300
    assert distances.min() > 0.7
    assert distances.mean() == pytest.approx(2**0.5, rel=0.02)


def test_a_restored_extractor_returns_the_same_features():
    config, tensors = EXTRACTOR.state()
    again = restore_extractor(json.loads(json.dumps(config)), {name: value.clone() for name, value in tensors.items()})
    assert again.name == EXTRACTOR.name
    assert torch.equal(again.features(people(1)), EXTRACTOR.features(people(1)))
    with pytest.raises(ValueError, match="'counts' is missing"):
        restore_extractor(config, {})


def test_the_name_depends_on_the_training_rows_alone():
    assert EXTRACTOR.name.startswith("numeric-")
    assert len(EXTRACTOR.name) == len("numeric-") + 8
    assert fit_extractor([TABLE], ["a"] * COUNT, codec=CODEC, seed=5).name == EXTRACTOR.name  # neither labels nor seed
    assert fit_extractor([TABLE.slice(0, 300)], None, codec=CODEC, seed=0).name != EXTRACTOR.name


def test_unseen_values_have_features():
    unseen = people(2).slice(0, 3)
    unseen = unseen.set_column(1, "age", arrow.array([17, 500, 40]))
    assert EXTRACTOR.features(unseen).isfinite().all()


def test_a_row_without_a_column_is_refused_by_its_name():
    with pytest.raises(UserError, match="no column 'city'; it has key, age"):
        EXTRACTOR.features(TABLE.drop_columns(["city"]))


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_baseline_has_the_same_columns(count, seed):
    items = people(seed, count)
    baseline = independent_baseline(items, seed)
    assert baseline.schema == items.schema
    for name in items.column_names:
        assert Counter(baseline.column(name).to_pylist()) == Counter(items.column(name).to_pylist())
    assert baseline.equals(independent_baseline(items, seed))


def test_columns_of_the_baseline_are_independent():
    pairs = [
        np.stack([one.column(name).to_numpy() for name in ("age", "income")])
        for one in (TABLE, independent_baseline(TABLE, 0))
    ]
    correlations = [float(np.corrcoef(pair)[0, 1]) for pair in pairs]
    assert correlations[0] > 0.6
    assert abs(correlations[1]) < 4 / COUNT**0.5
    assert not independent_baseline(TABLE, 0).equals(independent_baseline(TABLE, 1))
    chunked = arrow.concat_tables([TABLE.slice(0, 100), TABLE.slice(100)])
    assert independent_baseline(chunked, 0).equals(independent_baseline(TABLE, 0))
