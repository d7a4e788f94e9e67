"""The training loop: a generator of small steps over one state, which its reader may save and restore."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from ..core.model import Batch, GenerativeModel, Loss, Phase
from ..nn.nd import autocast
from .budget import Budget
from .ema import EMA
from .optimise import ModuleOptimizer, learning_rate, trained_modules
from .options import TrainOptions

_FIRST_INCREMENT = 1e-4  # of a wall-clock budget: what the first step is assumed to take
_GROWTH_INTERVAL = 2000  # good steps after which the loss scale of fp16 is doubled


class Step(NamedTuple):
    """The result of one phase of one step. Where `finite` is False no weight changed: the reader decides."""

    number: int  # completed steps
    progress: float  # fraction of the budget that completed steps took
    seconds: float  # of training so far
    phase: str
    loss: float
    parts: dict[str, float]
    learning_rate: float
    finite: bool
    duration: float  # seconds of computing this phase of this step
    last: bool  # the last phase of its step: only then may the state be saved


@dataclass
class TrainState:
    """All that a checkpoint holds. `seconds` were spent before this process took over."""

    model: GenerativeModel
    ema: EMA
    optimizers: dict[str, ModuleOptimizer]
    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    lr_scale: float = 1.0  # halved when training is rolled back
    rollbacks: int = 0
    initialized: list[str] = field(default_factory=list)  # phases
    frozen: list[str] = field(default_factory=list)  # modules whose last phase is over
    best_loss: float = math.inf  # lowest validation loss so far
    validations: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)  # the averaged weights of that loss
    loss_scale: float = 65536.0  # of fp16: keeps small gradients from vanishing
    good_steps: int = 0  # since the loss scale was changed

    @classmethod
    def create(cls, model: GenerativeModel, options: TrainOptions, precision: str = "fp32") -> TrainState:
        """Return the state before the first step."""
        modules = trained_modules(model.phases())
        optimizers = {
            name: ModuleOptimizer(model.get_submodule(name), phase, options, precision)
            for name, phase in modules.items()
        }
        half_lives = {name: options.ema_half_life or phase.ema_half_life for name, phase in modules.items()}
        return cls(model, EMA(model, half_lives), optimizers)


@dataclass(frozen=True)
class Setup:
    """What the loop needs besides the state; the same in every step.

    `wrapped` is the model as Accelerate wrapped it. `micro_batches(step)` returns this process's share of a batch,
    `first_batches()` the items that `GenerativeModel.initialize` reads, the same in all processes. A step reads
    `epochs_per_step` of the training data, over all processes.
    """

    options: TrainOptions
    accelerator: Accelerator
    wrapped: nn.Module
    micro_batches: Callable[[int], list[Batch]]
    first_batches: Callable[[], Iterator[Batch]]
    epochs_per_step: float
    precision: str = "fp32"


def train(state: TrainState, budget: Budget, setup: Setup) -> Iterator[Step]:
    """Yield a Step after each phase of each step until the budget is used.

    Random numbers depend on the seed, the step, the phase and the process only, so that a resumed run continues
    exactly.
    """
    phases = model_phases(state.model)
    started = time.monotonic() - state.seconds
    setup.wrapped.train()
    increment = 1 / budget.steps if budget.steps else _FIRST_INCREMENT
    while state.progress < 1:
        before = state.progress
        _freeze_finished(state, phases, before)
        active = [p for p in phases if p.span[0] <= before < p.span[1] and state.step % p.every == 0]
        batches = setup.micro_batches(state.step)
        for phase in active:
            _initialize(state, phase, setup)
        step_started = time.monotonic()
        parts: dict[str, float] = {}
        for phase in active:
            phase_started = time.monotonic()
            step = _train_phase(state, phase, setup, batches, before, increment)
            parts |= step.parts
            if step.finite and phase is [p for p in active if p.module == phase.module][-1]:
                _average(state, phase, phases, before, increment)
            duration = time.monotonic() - phase_started
            # Process 0 decides how much of a wall-clock budget is used, and what is kept of it.
            state.seconds = _from_process_0(time.monotonic() - started, setup.accelerator)
            last = phase is active[-1]
            if last and step.finite:
                state.step += 1
                progress = _from_process_0(budget.progress(state.step, state.seconds), setup.accelerator)
                state.progress = min(1.0, max(state.progress, progress))  # the reserve may have shrunk
                increment = _next_increment(budget, step_started, increment, setup.accelerator)
                state.model.on_step_end(state.progress, state.step * setup.epochs_per_step, parts)
            yield step._replace(
                number=state.step, progress=state.progress, seconds=state.seconds, duration=duration, last=last
            )
            if not step.finite:
                break
    for phase in phases:
        # A phase with an empty span only reads the data, once.
        _freeze_finished(state, phases, phase.span[0])
        _initialize(state, phase, setup)
    _freeze_finished(state, phases, 1.0)


def model_phases(model: GenerativeModel) -> list[Phase]:
    """Return the model's phases.

    Raises ValueError where names, modules or optimisers conflict, or nothing is trained during a part of the budget.
    """
    phases, kind = list(model.phases()), type(model).__name__
    names = [phase.name for phase in phases]
    if len(set(names)) != len(names):
        raise ValueError(f"{kind} has two phases of one name: {names}")
    modules = {phase.module for phase in phases}
    if any(a != b and (not a or b.startswith(f"{a}.")) for a in modules for b in modules):
        raise ValueError(f"{kind} trains modules inside one another, with two optimisers: {sorted(modules)}")
    settings = {(p.module, p.muon, p.betas, p.weight_decay, p.ema_half_life) for p in phases}
    if len(settings) > len(modules):
        raise ValueError(
            f"{kind} has phases of one module with different muon, betas, weight_decay or ema_half_life: {names}"
        )
    for phase in phases:
        parameters = dict(model.get_submodule(phase.module).named_parameters())
        wrong = sorted(name for name in phase.muon if name not in parameters or parameters[name].dim() < 2)
        if wrong:
            raise ValueError(f"{kind}: phase '{phase.name}' names no matrices of '{phase.module}' in muon: {wrong}")
    reached = 0.0
    for low, high in sorted(phase.span for phase in phases if phase.every == 1):
        if low > reached:
            raise ValueError(f"{kind} trains nothing from {reached:.0%} to {low:.0%} of the budget")
        reached = max(reached, high)
    if reached < 1:
        raise ValueError(f"{kind} trains nothing from {reached:.0%} of the budget on")
    return phases


def _initialize(state: TrainState, phase: Phase, setup: Setup) -> None:
    """Call the model's `initialize` once for each phase, in the same way in all processes."""
    if phase.name in state.initialized:
        return
    torch.manual_seed(_seed(setup.options.seed, state.step, phase.name, 0))
    state.model.eval()
    with torch.no_grad():
        state.model.initialize(phase.name, setup.first_batches())
    state.model.train()
    state.initialized.append(phase.name)


def _train_phase(
    state: TrainState, phase: Phase, setup: Setup, batches: list[Batch], before: float, increment: float
) -> Step:
    """Update the weights of one phase; `before` is the progress before the step."""
    torch.manual_seed(_seed(setup.options.seed, state.step, phase.name, setup.accelerator.process_index))
    low, high = phase.span
    done = (before - low) / (high - low)
    lr = learning_rate(setup.options, phase, done, increment / (high - low)) * state.lr_scale
    optimizer = state.optimizers[phase.module]
    scale = state.loss_scale if setup.precision == "fp16" else 1.0
    with _OnlyTrained(state.model, phase):
        total, parts = _backward(setup, phase, batches, scale)
        if scale != 1:
            torch._foreach_mul_([p.grad for p in optimizer.parameters if p.grad is not None], 1 / scale)
        norm = setup.accelerator.clip_grad_norm_(optimizer.parameters, setup.options.clip or phase.clip)
        losses = torch.stack([total, *parts.values()])
        if setup.accelerator.num_processes > 1:
            losses = setup.accelerator.reduce(losses, reduction="mean")
        loss, *values = losses.tolist()
        finite, overflow = math.isfinite(loss), not math.isfinite(float(norm))
        if finite and not overflow:
            optimizer.step(lr)
        else:
            optimizer.clear()
        if setup.precision == "fp16":
            _rescale(state, overflow)
    return Step(
        number=state.step,
        progress=before,
        seconds=state.seconds,
        phase=phase.name,
        loss=loss,
        parts=dict(zip(parts, values, strict=True)),
        learning_rate=lr,
        # A gradient that overflows because of the loss scale costs one step and no more.
        finite=finite and (not overflow or scale > 1),
        duration=0.0,
        last=False,
    )


def _backward(
    setup: Setup, phase: Phase, batches: list[Batch], scale: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Add up the gradients of all micro-batches; return the mean loss and its parts."""
    accelerator = setup.accelerator
    total = torch.zeros((), device=accelerator.device)
    parts: dict[str, torch.Tensor] = {}
    items = sum(len(batch.x) for batch in batches)
    for number, batch in enumerate(batches):
        weight, last = len(batch.x) / items, number + 1 == len(batches)
        with torch.enable_grad() if last else accelerator.no_sync(setup.wrapped):
            with autocast(setup.precision, accelerator.device):
                loss: Loss = setup.wrapped(batch, phase.name)
            accelerator.backward(scale * weight * loss.total.float())
        total = total + weight * loss.total.detach()
        for name, value in loss.parts.items():
            parts[name] = parts.get(name, torch.zeros_like(total)) + weight * value
    return total, parts


def _rescale(state: TrainState, overflow: bool) -> None:
    """Adapt the loss scale: half after an overflow, double after 2,000 good steps (arXiv 1710.03740, section 3.2)."""
    state.good_steps = 0 if overflow else state.good_steps + 1
    if overflow:
        state.loss_scale /= 2
    elif state.good_steps == _GROWTH_INTERVAL:
        state.loss_scale, state.good_steps = state.loss_scale * 2, 0


def _average(state: TrainState, phase: Phase, phases: list[Phase], before: float, increment: float) -> None:
    """Update the moving average of the module that a phase trains."""
    low, high = phase.span
    # A module that is trained on every k-th step only moves by k steps at once.
    share = increment * min(p.every for p in phases if p.module == phase.module) / (high - low)
    state.ema.update(phase.module, (before - low) / (high - low) + share, share)


def _next_increment(budget: Budget, step_started: float, increment: float, accelerator: Accelerator) -> float:
    """Return what the next step will take of the budget: of a wall-clock budget, as much as the last one."""
    if not budget.seconds:
        return increment
    taken = _from_process_0((time.monotonic() - step_started) / budget.training_seconds, accelerator)
    return max(taken, 1 / budget.steps if budget.steps else 0.0)


class _OnlyTrained:
    """Within the block only the parameters that a phase trains require gradients."""

    def __init__(self, model: nn.Module, phase: Phase) -> None:
        prefix = f"{phase.module}." if phase.module else ""
        self._others = [
            p for name, p in model.named_parameters() if prefix and not name.startswith(prefix) and p.requires_grad
        ]

    def __enter__(self) -> None:
        for parameter in self._others:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self._others:
            parameter.requires_grad_(True)


def _freeze_finished(state: TrainState, phases: list[Phase], progress: float) -> None:
    """Give each module whose last phase is over its averaged weights."""
    for module in trained_modules(phases):
        end = max(phase.span[1] for phase in phases if phase.module == module)
        if progress >= end and module not in state.frozen:
            state.ema.copy_to(module)
            state.frozen.append(module)


def _seed(seed: int, step: int, name: str, process: int) -> int:
    text = f"{seed} {step} {process} {name}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _from_process_0(value: float, accelerator: Accelerator) -> float:
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)))
