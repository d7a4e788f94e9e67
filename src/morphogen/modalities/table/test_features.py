"""Features of rows: of each alone, without salt, kept and restored, with a floor that has the columns one by one."""

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
from morphogen.core.space import Continuous, Tokens
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.features import floor, own, restored, seen

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
CODEC = TableCodec.fit([TABLE], Tokens)
EXTRACTOR = own([TABLE.slice(0, 150), TABLE.slice(150)], None, codec=CODEC, seed=0)


def test_features_are_those_of_each_row_alone():
    together = EXTRACTOR.features(TABLE)
    assert together.shape[0] == COUNT
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    alone = torch.cat([EXTRACTOR.features(TABLE.slice(at, 1)) for at in range(40)])
    assert torch.equal(together[:40], alone)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert torch.equal(together[order], EXTRACTOR.features(TABLE.take(order.numpy())))
    assert EXTRACTOR.features(TABLE.slice(0, 0)).shape == (0, together.shape[1])


def test_rows_that_are_equal_have_equal_features_and_others_have_others():
    first = TABLE.slice(0, 60)
    keyed = first.set_column(0, "key", arrow.array(np.arange(60) + 7))
    assert torch.equal(EXTRACTOR.features(first), EXTRACTOR.features(keyed))  # a key says nothing of a row
    assert len(EXTRACTOR.features(TABLE).unique(dim=0)) == COUNT
    for name in ("age", "income", "debt", "city"):
        at = TABLE.column_names.index(name)
        moved = TABLE.set_column(at, name, TABLE.column(name).take(np.roll(np.arange(COUNT), 1)))
        differ = (EXTRACTOR.features(moved) != EXTRACTOR.features(TABLE)).any(1)
        assert differ.double().mean() > 0.3, name


def test_there_is_no_salt():
    # Age, income and debt are numbers; debt has nothing or something, rooms five values and none, and there are cities.
    features = EXTRACTOR.features(TABLE)
    assert features.shape[1] == 3 + 2 + 6 + 3
    numbers, choices = features[:, :3], features[:, 3:]
    assert set(choices.unique().tolist()) == {0, 1}
    assert torch.equal(choices.sum(1), torch.full((COUNT,), 3.0))
    for column, name in zip(numbers.T, ("age", "income"), strict=False):
        values = TABLE.column(name).to_numpy()
        assert stats.spearmanr(column.numpy(), values).statistic > 0.99
        assert stats.kstest(column.numpy(), "norm").pvalue > 0.01  # quantiles on a normal scale


def test_a_number_that_is_none_tells_nothing():
    debt = EXTRACTOR.features(TABLE)[:, 2]
    owes = torch.from_numpy(TABLE.column("debt").to_numpy() > 0)
    assert (debt[~owes] == 0).all()
    assert len(debt[owes].unique()) > 100


def test_equal_values_have_equal_features_whatever_the_rest_of_the_row():
    age, features = TABLE.column("age").to_pylist(), EXTRACTOR.features(TABLE)[:, 0].tolist()
    assert len(set(zip(age, features, strict=True))) == len(set(age)) < COUNT / 4


def test_many_choices_are_few_features_and_as_far_from_each_other():
    names = [f"shop {at}" for at in range(300)]
    table = arrow.table({"shop": names * 8, "owner": [f"owner {at}" for at in range(40)] * 60})
    extractor = own([table], None, codec=TableCodec.fit([table], Tokens), seed=0)
    features = extractor.features(table)
    assert features.shape == (2400, 64 + 40)
    shops = features[:300, :64]
    apart = torch.pdist(shops)
    assert len(shops.unique(dim=0)) == 300
    assert apart.min() > 0.7
    assert apart.mean() == pytest.approx(2**0.5, rel=0.02)


def test_what_was_kept_comes_back():
    config, tensors = EXTRACTOR.state()
    again = restored(json.loads(json.dumps(config)), {name: value.clone() for name, value in tensors.items()})
    assert again.name == EXTRACTOR.name
    assert torch.equal(again.features(people(1)), EXTRACTOR.features(people(1)))
    with pytest.raises(ValueError, match="tensors are missing"):
        restored(config, {})


def test_one_table_makes_one_name_and_another_another():
    assert EXTRACTOR.name.startswith("dense-")
    assert len(EXTRACTOR.name) == len("dense-") + 8
    assert own([TABLE], ["a"] * COUNT, codec=CODEC, seed=5).name == EXTRACTOR.name  # neither labels nor seed
    dense = TableCodec.fit([TABLE], Continuous)
    assert own([TABLE], None, codec=dense, seed=0).name == EXTRACTOR.name  # nor what the model is made of
    assert own([TABLE.slice(0, 300)], None, codec=CODEC, seed=0).name != EXTRACTOR.name


def test_rows_of_values_that_were_never_seen_are_read():
    strange = people(2).slice(0, 3)
    strange = strange.set_column(1, "age", arrow.array([17, 500, 40]))
    assert EXTRACTOR.features(strange).isfinite().all()


def test_a_row_without_a_column_is_refused_by_its_name():
    with pytest.raises(UserError, match="no column 'city'; it has key, age"):
        EXTRACTOR.features(TABLE.drop_columns(["city"]))


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_floor_has_the_columns_one_by_one(count, seed):
    items = people(seed, count)
    found = floor(items, seed)
    assert found.schema == items.schema
    for name in items.column_names:
        assert Counter(found.column(name).to_pylist()) == Counter(items.column(name).to_pylist())
    assert found.equals(floor(items, seed))


def test_columns_of_the_floor_have_nothing_to_do_with_each_other():
    pairs = [np.stack([one.column(name).to_numpy() for name in ("age", "income")]) for one in (TABLE, floor(TABLE, 0))]
    correlations = [float(np.corrcoef(pair)[0, 1]) for pair in pairs]
    assert correlations[0] > 0.6
    assert abs(correlations[1]) < 4 / COUNT**0.5
    assert not floor(TABLE, 0).equals(floor(TABLE, 1))
    chunked = arrow.concat_tables([TABLE.slice(0, 100), TABLE.slice(100)])
    assert floor(chunked, 0).equals(floor(TABLE, 0))


def test_rows_are_seen_in_the_order_and_the_types_of_the_model():
    other = TABLE.select(TABLE.column_names[::-1])
    at = other.column_names.index("age")
    other = other.set_column(at, "age", other.column("age").cast(arrow.int16()))
    assert seen(other, CODEC).equals(TABLE)
    assert seen(TABLE.drop_columns(["rooms"]), CODEC).column("rooms").null_count == COUNT
    with pytest.raises(UserError, match="unknown column 'town'"):
        seen(TABLE.append_column("town", TABLE.column("city")), CODEC)
