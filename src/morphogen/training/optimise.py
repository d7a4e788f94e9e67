"""One optimiser per part of the model: AdamW, or Muon where a weight is a matrix inside the network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..core.model import Phase
from .muon import Muon
from .options import TrainOptions

# The first and last maps of a network, embeddings and modulations are not hidden matrices (KellerJordan/Muon).
_OUTER = ("stem", "head", "embed", "modulation", "null", "conditioner", "level")


class PartOptimizer:
    """AdamW over a part, and optionally Muon over its hidden matrices; a convolution is a matrix of its filters.

    `precision` is that of training: where bf16 pays there, it does in Muon.
    """

    def __init__(self, part: nn.Module, phase: Phase, options: TrainOptions, precision: str = "fp32") -> None:
        named = [(name, p) for name, p in part.named_parameters() if p.requires_grad]
        hidden = _hidden(part) if (options.optimizer or phase.optimizer) == "muon" else set()
        lr = options.lr or phase.lr
        decay = phase.weight_decay if options.weight_decay is None else options.weight_decay
        self.parameters = [p for _, p in named]
        self._hidden = [p for name, p in named if name in hidden]
        self._matrices = [nn.Parameter(_matrix(p.data)) for p in self._hidden]
        rest = [p for name, p in named if name not in hidden]
        self._optimizers: list[torch.optim.Optimizer] = []
        if rest:
            self._optimizers.append(torch.optim.AdamW(rest, lr=lr, betas=phase.betas, weight_decay=decay, fused=True))
        if self._matrices:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self._optimizers.append(Muon(self._matrices, lr=lr, weight_decay=decay, dtype=dtype))

    def step(self, lr: float) -> None:
        """One update at that learning rate; gradients are cleared."""
        for parameter, matrix in zip(self._hidden, self._matrices, strict=True):
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, like=parameter)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        self.clear()

    def clear(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """The optimisers' tensors by name, for a checkpoint."""
        return {
            f"{kind}.{index}.{key}": torch.as_tensor(value)
            for kind, optimizer in enumerate(self._optimizers)
            for index, values in optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take what `state` gave."""
        for kind, optimizer in enumerate(self._optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for name, value in tensors.items():
                which, index, key = name.split(".", 2)
                if int(which) == kind:
                    # In the weight's memory format: the fused kernels walk both in the order of memory.
                    like = parameters[int(index)]
                    kept = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.dim() else value
                    state.setdefault(int(index), {})[key] = kept
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _hidden(part: nn.Module) -> set[str]:
    """The names of the weights that Muon is for: those of linear maps and convolutions inside the network."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    modules = ((name, module) for name, module in part.named_modules() if isinstance(module, kinds))
    return {f"{name}.weight".lstrip(".") for name, _ in modules if not set(_OUTER) & set(name.split("."))}


def _matrix(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """`(out, rest)`, sharing memory with a weight in either memory format."""
    if tensor.dim() == 2:
        return tensor
    last = (0, *range(2, tensor.dim()), 1)
    channels_last = (tensor if like is None else like).permute(last).is_contiguous()
    flat = tensor.permute(last) if channels_last else tensor
    return flat.reshape(len(tensor), -1) if like is not None else flat.view(len(tensor), -1)


def learning_rate(options: TrainOptions, phase: Phase, share: float, increment: float) -> float:
    """Linear warm-up, constant, linear to 0; `share` of the phase is spent before the step, `increment` by it."""
    rise = min(1.0, (share + increment) / options.warm_up) if options.warm_up else 1.0
    hold = phase.hold if options.hold is None else options.hold
    fall = min(1.0, (1.0 - share) / (1.0 - hold)) if hold < 1 else 1.0
    return (options.lr or phase.lr) * rise * max(0.0, fall)


def trained_parts(phases: Iterable[Phase]) -> dict[str, Phase]:
    """Each part by name with the first phase that trains it."""
    parts: dict[str, Phase] = {}
    for phase in phases:
        if phase.during[0] < phase.during[1]:
            parts.setdefault(phase.trains, phase)
    return parts
