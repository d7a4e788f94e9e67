"""Unknown cells interpolated from known ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from .masking import patched


@pytest.mark.parametrize("size", [(9,), (6, 7), (3, 5, 4)])
def test_known_cells_stay_and_the_rest_lies_between_them(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 2, *size)
    known = torch.rand(4, 1, *size) < torch.tensor([0.9, 0.5, 0.1, 0.0]).reshape(4, *[1] * (len(size) + 1))
    hidden = torch.where(known, x, torch.nan)

    def clean(values: Tensor) -> Tensor:
        return values.nan_to_num(1e9)

    filled = patched(clean(hidden), known)
    assert torch.equal(filled, patched(torch.where(known, x, -1e9), known)), "hidden values leak"
    assert torch.equal(filled[known.expand_as(x)], x[known.expand_as(x)])
    for item, mask, result in zip(x[:3], known[:3], filled[:3], strict=True):
        inside = item[:, mask[0]]
        assert result.amin() >= inside.amin() - 1e-6
        assert result.amax() <= inside.amax() + 1e-6
    assert (filled[3] == 0).all(), "nothing is known"


def test_a_flat_picture_stays_flat() -> None:
    known = torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    known[..., :3, :3] = True
    assert torch.allclose(patched(torch.where(known, 0.7, 5.0), known), torch.tensor(0.7))
