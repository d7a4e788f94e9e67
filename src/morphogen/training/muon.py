"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS, _ITERATIONS = (3.4445, -4.775, 2.0315), 5
_MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """Nesterov momentum of matrices, orthogonalised, with steps as large as AdamW's (Liu et al., arXiv 2502.16982).

    Computes the same as torch.optim.Muon, but in `dtype`, and for all matrices of one shape at once. torch always uses
    bfloat16; a processor that emulates it took 400 times as long as in single precision.
    """

    def __init__(self, matrices: Sequence[Tensor], *, lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in shapes.items():
                directions = torch.stack([self._direction(matrix) for matrix in matrices])
                orthogonal = orthogonalise(directions, self.dtype).to(matrices[0].dtype)
                length = group["lr"] * 0.2 * max(shape) ** 0.5
                for matrix, update in zip(matrices, orthogonal, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=length)

    def _direction(self, matrix: Tensor) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - _MOMENTUM)
        return matrix.grad.lerp(momentum, _MOMENTUM)


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `(n, rows, columns)` with singular values near 1, most from 0.6 to 1.2, by a Newton-Schulz iteration."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
