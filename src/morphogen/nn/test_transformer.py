"""The transformer: causal or not, with a cache or without, and rotary positions."""

from __future__ import annotations

import pytest
import torch

from .rotary import Rotary, rotate
from .transformer import Transformer


def network(causal: bool, size: tuple[int, ...] = (3, 4)) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(size=size, width=64, layers=3, dropout=0.0, causal=causal).eval()
    for parameter in model.parameters():  # the projections start at zero, where nothing is mixed
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_a_position_sees_those_before_it_and_no_other() -> None:
    x = torch.randn(2, 12, 64)
    moved = x.clone()
    moved[:, 7] += 1
    change = (network(True)(moved) - network(True)(x)).abs().amax((0, 2))
    assert (change[:7] == 0).all()
    assert (change[7:] > 1e-4).all()
    both = (network(False)(moved) - network(False)(x)).abs().amax((0, 2))
    assert (both > 1e-4).all()


@pytest.mark.parametrize("beginning", [1, 5, 12])
def test_the_cache_changes_nothing(beginning: int) -> None:
    x = torch.randn(2, 12, 64)
    model = network(True)
    cache = model.cache(2, x)
    parts = [model(x[:, :beginning], cache), *(model(x[:, at : at + 1], cache) for at in range(beginning, 12))]
    torch.testing.assert_close(torch.cat(parts, 1), model(x))


def test_several_positions_after_cached_ones_are_refused() -> None:
    x = torch.randn(1, 12, 64)
    model = network(True)
    cache = model.cache(1, x)
    model(x[:, :2], cache)
    with pytest.raises(ValueError, match="one at a time"):
        model(x[:, 2:5], cache)


@pytest.mark.parametrize("size", [(9,), (3, 4), (2, 3, 2)])
def test_rotation_makes_scores_depend_on_the_distance_alone(size: tuple[int, ...]) -> None:
    """q·k of two cells is that of two others as far apart (arXiv 2104.09864, Equation 11), for each axis."""
    rotary = Rotary(size, 24)
    strides = torch.tensor([1, *reversed(size[1:])]).cumprod(0).flip(0).tolist()
    q, k = torch.randn(24), torch.randn(24)
    cells = torch.Size(size).numel()
    turned_q, turned_k = (rotate(v.expand(1, cells, 1, 1, 24), *rotary(0, cells)).squeeze() for v in (q, k))
    for axis, stride in enumerate(strides):
        near, far = (turned_q[start] @ turned_k[start + stride] for start in (0, (size[axis] - 2) * stride))
        torch.testing.assert_close(near, far)
    torch.testing.assert_close(turned_q.norm(dim=1), q.norm().expand(cells))
