"""One optimiser per trained module: Muon for the matrices that a phase names, AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..core.model import Phase
from .muon import Muon
from .options import TrainOptions


class ModuleOptimizer:
    """AdamW over a module, and Muon over the parameters in `phase.muon`; a convolution is a matrix of its filters.

    `precision` is that of training: where bf16 pays there, it pays in Muon, too.
    """

    def __init__(self, module: nn.Module, phase: Phase, options: TrainOptions, precision: str = "fp32") -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        muon = phase.muon if options.optimizer == "muon" else frozenset()
        lr = options.lr or phase.lr
        decay = phase.weight_decay if options.weight_decay is None else options.weight_decay
        self.parameters = [p for _, p in named]
        self._hidden = [p for name, p in named if name in muon]
        self._matrices = [nn.Parameter(_matrix(p.data)) for p in self._hidden]
        rest = [p for name, p in named if name not in muon]
        self.optimizers: list[torch.optim.Optimizer] = []
        if rest:
            self.optimizers.append(torch.optim.AdamW(rest, lr=lr, betas=phase.betas, weight_decay=decay, fused=True))
        if self._matrices:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self.optimizers.append(Muon(self._matrices, lr=lr, weight_decay=decay, dtype=dtype))

    def step(self, lr: float) -> None:
        """Update the parameters at that learning rate, and clear the gradients."""
        for parameter, matrix in zip(self._hidden, self._matrices, strict=True):
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, like=parameter)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        self.clear()

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the optimisers' tensors by name, for a checkpoint."""
        return {
            f"{number}.{index}.{key}": torch.as_tensor(value)
            for number, optimizer in enumerate(self.optimizers)
            for index, values in optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over the tensors that `state` returned."""
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for name, value in tensors.items():
                owner, index, key = name.split(".", 2)
                if int(owner) == number:
                    # In the weight's memory format: the fused kernels walk both in the order of memory.
                    like = parameters[int(index)]
                    copy = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.dim() else value
                    state.setdefault(int(index), {})[key] = copy
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _matrix(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Return `(out, rest)`, sharing memory with a weight in either memory format."""
    if tensor.dim() == 2:
        return tensor
    last = (0, *range(2, tensor.dim()), 1)
    channels_last = (tensor if like is None else like).permute(last).is_contiguous()
    flat = tensor.permute(last) if channels_last else tensor
    return flat.reshape(len(tensor), -1) if like is not None else flat.view(len(tensor), -1)


def learning_rate(options: TrainOptions, phase: Phase, done: float, increment: float) -> float:
    """Return the rate of a step: linear warm-up, constant, linear decay to 0.

    `done` of the phase is over before the step, which adds `increment`.
    """
    rise = min(1.0, (done + increment) / options.warm_up) if options.warm_up else 1.0
    decay_start = phase.decay_start if options.decay_start is None else options.decay_start
    fall = min(1.0, (1.0 - done) / (1.0 - decay_start)) if decay_start < 1 else 1.0
    return (options.lr or phase.lr) * rise * max(0.0, fall)


def trained_modules(phases: Iterable[Phase]) -> dict[str, Phase]:
    """Return each trained module by name, with the first phase that trains it."""
    modules: dict[str, Phase] = {}
    for phase in phases:
        if phase.span[0] < phase.span[1]:
            modules.setdefault(phase.module, phase)
    return modules
