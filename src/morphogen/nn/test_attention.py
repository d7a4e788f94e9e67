"""Attention against its definition, by both implementations."""

from __future__ import annotations

import math

import pytest
import torch

from .attention import _MAX_PLAIN, attend


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("positions", [1, 5, _MAX_PLAIN, _MAX_PLAIN + 1])
def test_it_is_the_mean_of_values_weighted_by_the_softmax_of_the_products(positions: int, causal: bool) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, positions, 8, dtype=torch.float64)
    result = attend(q, k, v, causal=causal)
    for position in {0, positions // 2, positions - 1}:
        stop = position + 1 if causal else positions
        weights = torch.einsum("bhd,bhmd->bhm", q[:, :, position], k[:, :, :stop] / math.sqrt(8)).exp()
        expected = torch.einsum("bhm,bhmd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, :stop])
        torch.testing.assert_close(result[:, :, position], expected)
