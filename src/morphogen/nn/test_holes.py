"""Holes patched up from what is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from .holes import patched


@pytest.mark.parametrize("size", [(9,), (6, 7), (3, 5, 4)])
def test_what_is_known_stays_and_the_rest_is_made_of_it(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 2, *size)
    known = torch.rand(4, 1, *size) < torch.tensor([0.9, 0.5, 0.1, 0.0]).reshape(4, *[1] * (len(size) + 1))
    hidden = torch.where(known, x, torch.nan)

    def clean(values: Tensor) -> Tensor:
        return values.nan_to_num(1e9)

    found = patched(clean(hidden), known)
    assert torch.equal(found, patched(torch.where(known, x, -1e9), known)), "what is hidden shows through"
    assert torch.equal(found[known.expand_as(x)], x[known.expand_as(x)])
    for one, mask, made in zip(x[:3], known[:3], found[:3], strict=True):
        inside = one[:, mask[0]]
        assert made.amin() >= inside.amin() - 1e-6
        assert made.amax() <= inside.amax() + 1e-6
    assert (found[3] == 0).all(), "of what is not known at all nothing is said"


def test_a_flat_picture_stays_flat() -> None:
    known = torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    known[..., :3, :3] = True
    assert torch.allclose(patched(torch.where(known, 0.7, 5.0), known), torch.tensor(0.7))
