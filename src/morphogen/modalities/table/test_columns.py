"""One column as cells: round trips, P(condition | cell), privacy of rare values, units, and masks of constraints."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.space import Field
from morphogen.modalities.table.binning import SUBBINS, fit_numbers
from morphogen.modalities.table.categories import Categories
from morphogen.modalities.table.column import CellCondition
from morphogen.modalities.table.column_state import column_from_state
from morphogen.modalities.table.columns import Bins, Values
from morphogen.modalities.table.constraint_masks import Missing, Order, Without
from morphogen.modalities.table.units import Units, find_units, to_column, to_numbers

RANDOM = np.random.default_rng(0)


def fitted(array: Any, bins: int = 16, rare: int = 1) -> Values | Bins:
    return fit_numbers(array, np.zeros(len(array), bool), find_units(array), bins=bins, rare=rare)


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=30, max_size=300),
    st.integers(-(10**6), 10**6),
    st.integers(0, 10**6),
    st.sampled_from([1, 7, 100]),
)
@settings(max_examples=60, deadline=None)
def test_the_likelihood_of_a_range_is_the_share_of_a_cell_inside_it(
    values: list[int], low: int, width: int, step: int
) -> None:
    array = np.array(values, dtype=np.int64) * step
    low, high = low * step, (low + width) * step
    column = fitted(array, bins=4)
    if isinstance(column, Values):
        return
    likelihood = column.likelihood(CellCondition(low=low, high=high))
    inside = (np.arange(4000) + 0.5) / 4000
    for cell in range(0, column.field.ordered, 5):
        if column.edges[cell] == column.edges[cell + 1]:
            continue
        cells = np.full(len(inside), cell)
        decoded, _ = column.decode(cells, inside)
        share = ((decoded >= low) & (decoded <= high)).mean()
        assert abs(share - likelihood[cell]) < 1e-3 + 1 / 4000
        bottom, top = column.bounds(cells)
        assert ((bottom <= decoded) & (decoded <= top)).all()
        if share > 0:
            ends = (np.full(len(decoded), float(end)) for end in (low, high))
            clipped = column.within(decoded, cells, inside, *ends)
            assert ((clipped >= low) & (clipped <= high)).all()


def test_a_number_lies_in_its_cell_and_cells_hold_about_equally_many() -> None:
    array = RANDOM.normal(size=2000)
    array[:100] = 0.25
    column = fitted(array)
    assert isinstance(column, Bins)
    assert column.spikes.tolist() == [0.25]
    assert column.field == Field(16 * SUBBINS + 1 + 1, ordered=16 * SUBBINS)
    cells = column.encode(array, np.zeros(2000, bool))
    assert set(cells[:100]) == {column.field.ordered}
    low, high = (column.decode(cells, np.full(2000, at))[0] for at in (0.0, 1 - 1e-12))
    assert ((low <= array + 1e-12) & (array <= high + 1e-12)).all()
    assert np.bincount(cells[100:]).max() < 4 * 2000 / 128
    ordered = column.ranges()[: column.field.ordered]
    assert (np.diff(ordered[:, 0]) >= 0).all()
    assert np.isinf(column.ranges()[column.missing_cell]).all()


def test_few_numbers_have_a_cell_each_and_rare_ones_go_to_the_nearest() -> None:
    array = np.array([1, 2, 4] * 100 + [3, 9])
    column = fitted(array, rare=3)
    assert isinstance(column, Values)
    assert column.field == Field(4, ordered=3)
    cells = column.encode(np.array([1, 2, 4, 3, 9, 0]), np.array([False, False, False, False, False, True]))
    assert cells.tolist() == [0, 1, 2, 1, 2, 3]
    assert column.decode(np.arange(4), np.zeros(4))[0][:3].tolist() == [1, 2, 4]


@pytest.mark.parametrize("count", [5, 10**6], ids=["values", "bins"])
@pytest.mark.parametrize("decimals", [0, 2, 15], ids=["whole", "cents", "real"])
def test_infinities_and_nan_come_back(count: int, decimals: int) -> None:
    regular = np.round(RANDOM.random(1000) * count, decimals) if decimals < 15 else RANDOM.normal(size=1000)
    array = np.concatenate([np.round(regular) if count == 5 else regular, [np.inf] * 3, [np.nan] * 20, [-np.inf] * 2])
    column = fitted(array)
    assert isinstance(column, Values if count == 5 else Bins)
    again = column_from_state(column.state(), column.kind)
    back, _ = again.decode(again.encode(array, np.zeros(len(array), bool)), np.full(len(array), 0.5))
    special = ~np.isfinite(array)
    assert np.array_equal(back[special], array[special], equal_nan=True)
    assert np.isfinite(back[~special]).all()
    if decimals < 15:
        assert np.array_equal(np.round(back[~special], decimals), back[~special])


def test_the_ends_of_a_column_disclose_no_single_row() -> None:
    array = np.concatenate([RANDOM.normal(size=5000), [1000.0, 2000.0]])
    bins = fitted(array, rare=5)
    assert isinstance(bins, Bins)
    assert bins.edges.max() <= np.sort(array)[-5]
    assert bins.edges.min() >= np.sort(array)[4]


def test_a_rare_category_becomes_another_word_or_missing() -> None:
    given, missing = ["a", "never seen", None], np.array([False, False, True])
    for other, cells, values in (("other", [0, 2, 3], ["a", "other", None]), (None, [0, 3, 3], ["a", None, None])):
        column = Categories(["a", "b"], [300, 100], other=other)
        assert column.encode(given, missing).tolist() == cells
        decoded, is_missing = column.decode(np.array(cells), np.zeros(3))
        assert decoded.tolist() == values
        assert is_missing.tolist() == [value is None for value in values]
        assert column.encode(decoded.tolist(), is_missing).tolist() == cells
        assert column.likelihood(CellCondition(values=("b",), missing=True)).tolist() == [0, 1, 0, 1]
    column = Categories(["a", "b"], [300, 100], other="other")
    assert column.likelihood(CellCondition(values=("other",))).tolist() == [0, 0, 1, 0]
    flag = Categories([False], [300], other=False)  # a boolean that is true in a few rows
    assert flag.encode([True, False], np.zeros(2, dtype=bool)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.array([10, 40, 20]), Units(0, 10, -1)),
        (np.array([0.5, 1.25]), Units(50, 75, 2)),
        (np.array([np.pi, 1.0]), Units(0, 0, -1)),
        (np.array([0.5, np.nan]), Units(0, 0, 1)),
        (np.array([0.001794872, 0.05]), Units(1794872, 48205128, 9)),
        (np.array([10**18, 10**18 + 1]), Units(0, 1, -1)),
        (np.array([1.1], dtype=np.float32), Units(0, 1, 1)),
    ],
)
def test_units(values: Any, units: Units) -> None:
    assert find_units(values) == units
    assert np.allclose(units.restore(units.count(values)), values, rtol=1e-7, equal_nan=True)


def test_values_come_back_in_the_type_of_their_column() -> None:
    numbers, times = [1, 2, None, 3], [datetime.time(1), None, datetime.time(2, 3)]
    for kind, cells in (
        (arrow.int16(), numbers),
        (arrow.uint8(), numbers),
        (arrow.float32(), numbers),
        (arrow.decimal128(8, 1), [decimal.Decimal("1.5"), None]),
        (arrow.time32("s"), times),
        (arrow.date32(), [datetime.date(1999, 1, 1), None]),
    ):
        array = arrow.array(cells, kind)
        values, missing = to_numbers(array)
        assert to_column(values, missing, kind).equals(array), kind


@pytest.mark.parametrize("strict", [False, True])
def test_an_order_allows_the_cells_that_leave_room(strict: bool) -> None:
    units = Units()
    low, high = Values(units, np.array([1, 3, 5])), Values(units, np.array([1, 2, 3]))
    mask = Order((0, low), (2, high), strict)
    x = torch.tensor([[1, 9, 0], [3, 9, 0], [1, 9, 0]])  # low is 3, missing, 3
    known = torch.tensor([[True, True, False], [True, True, False], [False, True, False]])
    allowed = mask.allowed(2, x, known)
    assert allowed is not None
    # Of high: 1, 2, 3 or missing, beside a low of 3; anything beside a missing or an unknown low.
    assert allowed.tolist() == [[False, False, not strict, True], [True] * 4, [True] * 4]
    other = mask.allowed(0, torch.tensor([[0, 0, 2]]), torch.tensor([[False, False, True]]))
    assert other is not None
    assert other.tolist() == [[True, not strict, False, True]]
    assert mask.allowed(0, x, torch.zeros(1, 3, dtype=torch.bool)) is None
    assert mask.fields == {0, 2}


@pytest.mark.parametrize("unless", [False, True])
def test_a_column_is_missing_where_another_one_decides(unless: bool) -> None:
    mask = Missing((0, 3), (1, np.array([True, False])), unless)  # the first cell of field 1 is the value
    x, known = torch.tensor([[0, 0], [0, 1]]), torch.tensor([[False, True]])
    allowed = mask.allowed(0, x, known)
    assert allowed is not None
    present, missing = [True, True, False], [False, False, True]
    assert allowed.tolist() == ([present, missing] if unless else [missing, [True] * 3])
    deciding = mask.allowed(1, torch.tensor([[2, 0], [0, 0]]), torch.tensor([[True, False]]))
    assert deciding is not None
    assert deciding.tolist() == ([[False, True], [True, False]] if unless else [[True, True], [False, True]])
    assert Without(4, 3, 2).allowed(4, x, known).tolist() == [[True, True, False]]
