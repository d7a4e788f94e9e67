"""Attention against its definition, on either side of where the way is changed."""

from __future__ import annotations

import math

import pytest
import torch

from .attention import _FEW_CELLS, attend


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cells", [1, 5, _FEW_CELLS, _FEW_CELLS + 1])
def test_it_is_a_mean_of_values_weighted_by_the_softmax_of_the_products(cells: int, causal: bool) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, cells, 8, dtype=torch.float64)
    found = attend(q, k, v, causal=causal)
    for cell in {0, cells // 2, cells - 1}:
        stop = cell + 1 if causal else cells
        weights = torch.einsum("bhd,bhmd->bhm", q[:, :, cell], k[:, :, :stop] / math.sqrt(8)).exp()
        expected = torch.einsum("bhm,bhmd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, :stop])
        torch.testing.assert_close(found[:, :, cell], expected)
