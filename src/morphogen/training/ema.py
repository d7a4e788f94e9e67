"""The moving average of the weights: what samples are drawn with, and what is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of a model's parameters, by name.

    A half-life is a fraction of a phase. It grows with the fraction that is done, up to its full length, so that early
    weights are forgotten.
    """

    def __init__(self, model: nn.Module, half_lives: Mapping[str, float]) -> None:
        """`half_lives` maps each trained submodule to its half-life; "" is the whole model."""
        self.model, self.half_lives = model, dict(half_lives)
        self.shadow: dict[str, Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, module: str, done: float, increment: float) -> None:
        """Average a submodule's weights after a step, which adds `increment` to the fraction `done` of its phase."""
        half_life = min(self.half_lives[module], 0.2 * done)
        decay = 0.5 ** (increment / half_life) if half_life > 0 else 0.0
        pairs = [(self.shadow[name], p) for name, p in self._parameters(module)]
        torch._foreach_lerp_([s for s, _ in pairs], [p.detach() for _, p in pairs], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: str) -> None:
        """Give a submodule its averaged weights."""
        for name, parameter in self._parameters(module):
            parameter.copy_(self.shadow[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model its averaged weights within the block."""
        current = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.copy_to("")
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(current[name])

    def _parameters(self, module: str) -> Iterator[tuple[str, nn.Parameter]]:
        prefix = f"{module}." if module else ""
        return ((name, p) for name, p in self.model.named_parameters() if name.startswith(prefix))
