"""Quantiles on a normal scale: their distribution, and the way back."""

from __future__ import annotations

import torch
from scipy import stats

from .quantile_scale import QuantileScale


def test_items_are_standard_normal_and_their_cells_come_back() -> None:
    random = torch.Generator().manual_seed(0)
    counts = [torch.tensor([500, 0, 3000, 1500]), torch.randint(0, 100, (50,), generator=random)]
    scale = QuantileScale([4, 50])
    scale.fit(counts)
    cell = torch.stack([torch.multinomial(n.double(), 5000, replacement=True, generator=random) for n in counts], dim=1)
    value = scale.normal(cell, torch.rand(cell.shape, generator=random))
    for field in value.double().unbind(1):
        assert stats.kstest(field.numpy(), "norm").pvalue > 0.01
    assert torch.equal(scale.cell(value), cell)
    # Within a field, a larger cell is a larger value.
    edges = scale.normal(torch.arange(4)[:, None].expand(4, 2), torch.full((4, 2), 0.5))
    assert (edges.diff(dim=0) > 0).all()


def test_every_value_has_a_cell() -> None:
    scale = QuantileScale([40])
    value = torch.tensor([[-40.0], [-torch.inf], [40.0], [torch.inf]])
    assert scale.cell(value).flatten().tolist() == [0, 0, 39, 39]
    ends = scale.normal(torch.tensor([[0], [39]]), torch.tensor([[0.0], [1.0]]))
    assert ends.isfinite().all()
    assert scale.cell(ends).flatten().tolist() == [0, 39]
