"""Values and gradients, against torch's own and by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from .fused_ops import normalised, squared_relu

PAIRS: list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    (squared_relu, lambda x: F.relu(x).square()),
    (normalised, lambda x: F.rms_norm(x, (x.shape[-1],))),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_gradients_are_those_of_torch(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    x = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    weight = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    x[0] *= 1e-3
    results = []
    for function in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        (y * weight).sum().backward()
        results.append((y, leaf.grad))
        assert y.dtype == dtype
        with torch.no_grad():
            torch.testing.assert_close(function(x), y)
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("function", [squared_relu, normalised])
def test_gradients_are_those_of_finite_differences(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(function, x)
    weight = torch.ones_like(x).requires_grad_()
    (gradient,) = torch.autograd.grad((function(x) * weight).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_zeros_stay_zeros() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    normalised(x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool((normalised(x) == 0).all())
