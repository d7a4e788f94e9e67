"""Cells of fields as tokens: a bijection, and values of cells mapped to those of their tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ..core.space import Field, Row
from .field_tokens import FINE, FieldTokens

FIELDS = st.tuples(st.sampled_from([0, 1, 5, 127, 128, 129, 135, 136, 200, 1000]), st.integers(0, 4)).map(
    lambda pair: Field(max(1, sum(pair)), pair[0])
)
ROWS = st.lists(FIELDS, min_size=1, max_size=4).map(lambda fields: Row(tuple(fields)))


def every_cell(space: Row) -> Tensor:
    """Rows `(N, fields)` in which each field takes each of its cells."""
    at = torch.arange(max(field.size for field in space.fields))
    return torch.stack([at % field.size for field in space.fields], dim=1)


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_decoding_reverses_encoding(space: Row) -> None:
    tokens, cells = FieldTokens(space), every_cell(space)
    encoded = tokens.encode(cells)
    assert encoded.shape[1] == len(tokens.sizes) == len(tokens.field) == len(tokens.place)
    assert (encoded >= 0).all()
    assert (encoded < torch.tensor(tokens.sizes)).all()
    assert torch.equal(tokens.decode(encoded), cells)
    for number, field in enumerate(space.fields):
        positions = tokens.positions(number)
        assert [tokens.field[position] for position in positions] == [number] * len(positions)
        assert len(encoded[:, positions].unique(dim=0)) == field.size
        assert torch.equal(tokens.cell(number, encoded), cells[:, number])


@settings(deadline=None, max_examples=40)
@given(ROWS, st.integers(0, 99))
def test_any_tokens_stand_for_a_cell(space: Row, seed: int) -> None:
    tokens = FieldTokens(space)
    random = torch.Generator().manual_seed(seed)
    some = torch.stack([torch.randint(size, (50,), generator=random) for size in tokens.sizes], dim=1)
    cells = tokens.decode(some)
    assert (cells >= 0).all()
    assert (cells < torch.tensor([field.size for field in space.fields])).all()
    assert torch.equal(tokens.decode(tokens.encode(cells)), cells)


@settings(deadline=None, max_examples=40)
@given(FIELDS, st.integers(0, 99), st.booleans(), st.booleans())
def test_values_of_cells_are_those_of_their_tokens(field: Field, seed: int, one_row: bool, boolean: bool) -> None:
    """Coarse: the largest of the cells that share the first token; fine: the cell's own, and 0 where there is none."""
    space = Row((Field(3), field))
    tokens, cells = FieldTokens(space), every_cell(space)[: field.size]
    encoded = tokens.encode(cells)[:, tokens.positions(1)]
    first, last = encoded[:, 0], encoded[:, -1]
    cell = torch.arange(field.size)
    values = torch.rand(1 if one_row else len(cells), field.size, generator=torch.Generator().manual_seed(seed))
    values = values > 0.5 if boolean else values
    own = values.expand(len(cells), -1)
    coarse = tokens.coarse(1, values)
    assert coarse.shape == (len(values), tokens.sizes[tokens.first[1]])
    for at in range(0, len(cells), 7):
        together = cell[first == first[at]]
        assert coarse.expand(len(cells), -1)[at, first[at]] == own[at, together].amax()
    if tokens.is_split(1):
        fine = tokens.fine(1, values, first)
        assert fine.shape == (len(cells), FINE + 1)
        assert torch.equal(fine[cell, last], own[cell, cell])
        shared = (first[:, None] == first).sum(1)
        assert (fine.count_nonzero(1) <= shared).all()


def test_a_number_of_many_cells_takes_two_tokens() -> None:
    tokens = FieldTokens(Row((Field(300), Field(127, 127), Field(131, 129))))
    assert tokens.sizes == [300, 127, 17 + 2, FINE + 1]
    assert tokens.encode(torch.tensor([[299, 5, 128], [0, 126, 129], [1, 0, 130]])).tolist() == [
        [299, 5, 16, 0],
        [0, 126, 17, FINE],
        [1, 0, 18, FINE],
    ]


def test_values_of_fields_are_spread_to_their_positions() -> None:
    tokens = FieldTokens(Row((Field(3), Field(130, 130), Field(2))))
    assert tokens.spread(torch.tensor([[1, 2, 3]])).tolist() == [[1, 2, 2, 3]]
    assert tokens.spread(torch.tensor([[True, False, True]])).dtype == torch.bool


@pytest.mark.parametrize("count", [0, 3])
def test_no_rows_and_some(count: int) -> None:
    tokens = FieldTokens(Row((Field(3), Field(130, 130))))
    x = torch.zeros(count, 2, dtype=torch.int64)
    assert torch.equal(tokens.decode(tokens.encode(x)), x)
