"""The losses of critic and generator, functions of the critic's scores of real and generated items.

relativistic: arXiv 1807.00734, as in R3GAN (arXiv 2501.05441); nonsaturating: arXiv 1406.2661; hinge: arXiv 1705.02894;
wasserstein: arXiv 1704.00028.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["relativistic", "nonsaturating", "hinge", "wasserstein"]


def critic_loss(name: LossName, real: Tensor, fake: Tensor) -> Tensor:
    """Return the critic's loss, a scalar, from scores `(B,)` of real and generated items."""
    if name == "relativistic":
        return F.softplus(fake - real).mean()
    if name == "nonsaturating":
        return (F.softplus(fake) + F.softplus(-real)).mean()
    if name == "hinge":
        return (F.relu(1 + fake) + F.relu(1 - real)).mean()
    return (fake - real).mean()


def generator_loss(name: LossName, real: Tensor, fake: Tensor) -> Tensor:
    """Return the generator's loss, a scalar, from scores `(B,)` of real and generated items."""
    if name == "relativistic":
        return F.softplus(real - fake).mean()
    if name == "nonsaturating":
        return F.softplus(-fake).mean()
    return -fake.mean()


@torch.compiler.disable  # double backward, which the compiler does not support
def squared_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return |∇D(x)|² of each item, `(B,)`, itself differentiable: R1 and R2 of Mescheder et al., arXiv 1801.04406.

    It is computed in single precision under fp16 autocast, because squares overflow there.
    """
    kind = x.device.type
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) is not torch.float16
    with torch.enable_grad(), torch.autocast(kind, torch.bfloat16, enabled=half):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return (|∇D| − 1)² at a random point between each pair, `(B,)` (WGAN-GP, arXiv 1704.00028, Equation 3)."""
    share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    between = real + share * (fake - real)
    return ((squared_gradient(critic, between) + 1e-12).sqrt() - 1).square()
