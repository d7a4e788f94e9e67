"""Averaged weights: what is sampled from, and what is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of a model's parameters, by name, whose half-life is a share of a phase.

    The half-life grows with the share spent, to `half_life`, so that early weights are forgotten (warm-up).
    """

    def __init__(self, model: nn.Module, half_lives: Mapping[str, float]) -> None:
        """`half_lives` of each part that is trained, "" being the whole model."""
        self.model, self.half_lives = model, dict(half_lives)
        self.shadow: dict[str, Tensor] = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, part: str, share: float, increment: float) -> None:
        """After a step of a phase that trains `part`: `share` of the phase is spent, `increment` by this step."""
        half_life = min(self.half_lives[part], 0.2 * share)
        decay = 0.5 ** (increment / half_life) if half_life > 0 else 0.0
        pairs = [(self.shadow[name], p) for name, p in self._of(part)]
        torch._foreach_lerp_([s for s, _ in pairs], [p.detach() for _, p in pairs], 1 - decay)

    @torch.no_grad()
    def settle(self, part: str) -> None:
        """The part takes its averaged weights for good."""
        for name, parameter in self._of(part):
            parameter.copy_(self.shadow[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with averaged weights, for a preview or to save."""
        current = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.settle("")
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(current[name])

    def _of(self, part: str) -> Iterator[tuple[str, nn.Parameter]]:
        prefix = f"{part}." if part else ""
        return ((name, p) for name, p in self.model.named_parameters() if name.startswith(prefix))
