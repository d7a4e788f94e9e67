"""Muon against torch.optim.Muon, which computes in bfloat16, and against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphogen.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 20, 20), (2, 16, 48), (2, 48, 16)])
def test_singular_values_are_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(-3, 3, shape[0])[:, None, None]
    orthogonal = orthogonalise(matrices, torch.float32)
    values = torch.linalg.svdvals(orthogonal)
    assert values.min() > 0.1  # the smallest of a square matrix have not converged
    assert values.median() > 0.6
    assert values.max() < 1.25
    # The same directions: U S V' becomes about U V'.
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    assert (torch.linalg.diagonal(u.mT @ orthogonal @ vh.mT) > 0).all()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_torch_but_for_its_rounding(decay: float) -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(12, 30)), nn.Parameter(torch.randn(30, 12)), nn.Parameter(torch.randn(12, 30))]
    theirs = [nn.Parameter(one.detach().clone()) for one in ours]
    first = [weight.detach().clone() for weight in ours]
    muon = Muon(ours, lr=0.02, weight_decay=decay, dtype=torch.float32)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        muon.step()
        reference.step()
    for one, other, initial in zip(ours, theirs, first, strict=True):
        assert (one - other).norm() < 0.02 * (one - initial).norm()
        momentum = muon.state[one]["momentum_buffer"], reference.state[other]["momentum_buffer"]
        torch.testing.assert_close(*momentum)


def test_a_matrix_without_a_gradient_is_left_alone() -> None:
    one, other = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    one.grad = torch.randn(3, 3)
    Muon([one, other], lr=0.1, weight_decay=0.1, dtype=torch.bfloat16).step()
    assert (other == 1).all()
    assert (one != 1).all()
