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
from .ema import Average
from .optimise import PartOptimizer, learning_rate, trained_parts
from .options import TrainOptions


class Step(NamedTuple):
    """What one phase of one step did. Where `finite` is False the weights were left alone: the reader decides."""

    number: int  # steps that are whole, from 0
    progress: float  # share of the budget that whole steps spent
    seconds: float  # of training, this phase included
    phase: str
    loss: float
    parts: dict[str, float]
    learning_rate: float
    finite: bool
    whole: bool  # the last phase of its step: only then is the state one to save


@dataclass
class Budget:
    """How long to train: a number of steps, seconds of wall clock, or what of both ends first.

    Progress is the share that is spent.
    """

    steps: int | None = None
    seconds: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        shares = [step / self.steps] if self.steps else []
        return max([*shares, seconds / self.seconds] if self.seconds else shares)


@dataclass
class TrainState:
    """All that a checkpoint holds. `seconds` are those spent before this process took over."""

    model: GenerativeModel
    average: Average
    optimizers: dict[str, PartOptimizer]
    step: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    rate: float = 1.0  # lowered when training is rolled back
    rollbacks: int = 0
    begun: list[str] = field(default_factory=list)  # phases
    settled: list[str] = field(default_factory=list)  # parts that took their averaged weights
    best: float = math.inf  # the lowest loss on items kept from training
    checks: int = 0  # how often it was looked at
    kept: dict[str, torch.Tensor] = field(default_factory=dict)  # the averaged weights of that time
    loss_scale: float = 65536.0  # what fp16 losses are multiplied by, so that small gradients do not vanish
    scaled: int = 0  # steps since it was changed

    @classmethod
    def create(cls, model: GenerativeModel, options: TrainOptions, precision: str = "fp32") -> TrainState:
        parts = trained_parts(model.phases())
        optimizers = {
            name: PartOptimizer(model.get_submodule(name), phase, options, precision) for name, phase in parts.items()
        }
        return cls(
            model, Average(model, {name: options.average or one.average for name, one in parts.items()}), optimizers
        )


def train(
    state: TrainState,
    *,
    budget: Budget,
    options: TrainOptions,
    precision: str = "fp32",
    accelerator: Accelerator,
    prepared: nn.Module,
    read: Callable[[int], list[Batch]],
    first: Callable[[], Iterator[Batch]],
    share_read: float,
) -> Iterator[Step]:
    """Yield one Step per update until the budget is spent; `precision` is fp32, bf16 or fp16.

    `prepared` is the model as Accelerate wrapped it; `read(step)` this rank's micro-batches; `first()` batches for
    `begin`, alike on all ranks; `share_read` of the items are read in a step, by all ranks together.
    Random numbers of a step depend on the seed, the step and the rank only, so that a resumed run continues exactly.
    """
    model, phases = state.model, model_phases(state.model)
    started = time.monotonic() - state.seconds
    prepared.train()
    # What one step takes of the budget: known for steps; of a wall-clock budget, what the last one took by itself.
    taken = 1 / budget.steps if budget.steps else 1e-4
    while state.progress < 1:
        before = state.progress
        _settle(state, phases, before)
        active = [p for p in phases if p.during[0] <= before < p.during[1] and state.step % p.every == 0]
        batches = read(state.step)
        for phase in active:
            _begin(state, phase, options, first)
        entered = time.monotonic()
        seen: dict[str, float] = {}
        for phase in active:
            torch.manual_seed(_seed(options.seed, state.step, phase.name, accelerator.process_index))
            low, high = phase.during
            share = (before - low) / (high - low)
            rate = learning_rate(options, phase, share, taken / (high - low)) * state.rate
            loss, parts, finite = _update(state, phase, options, precision, accelerator, prepared, batches, rate)
            seen |= parts
            last_of_part = phase is [p for p in active if p.trains == phase.trains][-1]
            if finite and last_of_part:
                # A part that is trained on every k-th step only moves k steps' worth at once.
                increment = taken * min(p.every for p in phases if p.trains == phase.trains) / (high - low)
                state.average.update(phase.trains, share + increment, increment)
            whole = phase is active[-1]
            # Rank 0 decides how much of a wall-clock budget is spent.
            state.seconds = _from_rank_0(time.monotonic() - started, accelerator)
            if whole and finite:
                state.step += 1
                state.progress = min(1.0, budget.progress(state.step, state.seconds))
                if budget.seconds:
                    spent = _from_rank_0(time.monotonic() - entered, accelerator) / budget.seconds
                    taken = max(spent, 1 / budget.steps if budget.steps else 0.0)
                model.adapt(state.progress, state.step * share_read, seen)
            yield Step(
                number=state.step,
                progress=state.progress,
                seconds=state.seconds,
                phase=phase.name,
                loss=loss,
                parts=parts,
                learning_rate=rate,
                finite=finite,
                whole=whole,
            )
            if not finite:
                break
    for phase in phases:
        # Phases that only look at the data once, at the end.
        _settle(state, phases, phase.during[0])
        _begin(state, phase, options, first)
    _settle(state, phases, 1.0)


def _begin(state: TrainState, phase: Phase, options: TrainOptions, first: Callable[[], Iterator[Batch]]) -> None:
    """Once per phase, before its first step: alike on all ranks."""
    if phase.name in state.begun:
        return
    torch.manual_seed(_seed(options.seed, state.step, phase.name, 0))
    state.model.eval()
    with torch.no_grad():
        state.model.begin(phase.name, first())
    state.model.train()
    state.begun.append(phase.name)


def model_phases(model: GenerativeModel) -> list[Phase]:
    """The model's phases. Raises ValueError where names, parts or optimisers clash, or a stretch has none."""
    phases, kind = list(model.phases()), type(model).__name__
    if len({phase.name for phase in phases}) != len(phases):
        raise ValueError(f"{kind} has two phases of one name: {[phase.name for phase in phases]}")
    parts = {phase.trains for phase in phases}
    if any(a != b and (not a or b.startswith(f"{a}.")) for a in parts for b in parts):
        raise ValueError(f"{kind} has parts inside one another, which two optimisers would both move: {sorted(parts)}")
    wishes = {(one.trains, one.optimizer, one.betas, one.weight_decay, one.average) for one in phases}
    if len(wishes) > len(parts):
        raise ValueError(f"{kind} has phases of one part that ask for different optimisers: {sorted(wishes)}")
    reached = 0.0
    for low, high in sorted(phase.during for phase in phases if phase.every == 1):
        if low > reached:
            raise ValueError(f"{kind} trains nothing from {reached:.0%} to {low:.0%} of the budget")
        reached = max(reached, high)
    if reached < 1:
        raise ValueError(f"{kind} trains nothing from {reached:.0%} of the budget on")
    return phases


def _update(
    state: TrainState,
    phase: Phase,
    options: TrainOptions,
    precision: str,
    accelerator: Accelerator,
    prepared: nn.Module,
    batches: list[Batch],
    rate: float,
) -> tuple[float, dict[str, float], bool]:
    optimizer = state.optimizers[phase.trains]
    scale = state.loss_scale if precision == "fp16" else 1.0
    with _Only(state.model, phase):
        total = torch.zeros((), device=accelerator.device)
        parts: dict[str, torch.Tensor] = {}
        items = sum(len(batch.x) for batch in batches)
        for number, batch in enumerate(batches):
            share, last = len(batch.x) / items, number + 1 == len(batches)
            context = accelerator.no_sync(prepared) if not last else torch.enable_grad()
            with context:
                with autocast(precision, accelerator.device):
                    loss: Loss = prepared(batch, phase.name)
                accelerator.backward(scale * share * loss.total.float())
            total = total + share * loss.total.detach()
            for name, value in loss.parts.items():
                parts[name] = parts.get(name, torch.zeros_like(total)) + share * value
        if scale != 1:
            torch._foreach_mul_([p.grad for p in optimizer.parameters if p.grad is not None], 1 / scale)
        norm = accelerator.clip_grad_norm_(optimizer.parameters, options.clip or phase.clip)
        seen = torch.stack([total, *parts.values()])
        if accelerator.num_processes > 1:
            seen = accelerator.reduce(seen, reduction="mean")
        figures = seen.tolist()
        finite, overflown = math.isfinite(figures[0]), not math.isfinite(float(norm))
        if finite and not overflown:
            optimizer.step(rate)
        else:
            optimizer.clear()
        if precision == "fp16":
            _rescale(state, overflown)
    # A gradient that overflows for its scale costs the step and no more.
    return figures[0], dict(zip(parts, figures[1:], strict=True)), finite and (not overflown or scale > 1)


def _rescale(state: TrainState, overflown: bool) -> None:
    """Dynamic loss scaling: half where gradients overflow, double after 2,000 steps without (arXiv 1710.03740, 3.2)."""
    state.scaled = 0 if overflown else state.scaled + 1
    if overflown:
        state.loss_scale /= 2
    elif state.scaled == 2000:
        state.loss_scale, state.scaled = state.loss_scale * 2, 0


class _Only:
    """Inside, only the parameters that a phase trains need gradients."""

    def __init__(self, model: nn.Module, phase: Phase) -> None:
        prefix = f"{phase.trains}." if phase.trains else ""
        self._frozen = [
            p for name, p in model.named_parameters() if prefix and not name.startswith(prefix) and p.requires_grad
        ]

    def __enter__(self) -> None:
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self._frozen:
            parameter.requires_grad_(True)


def _settle(state: TrainState, phases: list[Phase], progress: float) -> None:
    """A part whose last phase has ended takes its averaged weights."""
    for part in trained_parts(phases):
        ends = max(phase.during[1] for phase in phases if phase.trains == part)
        if progress >= ends and part not in state.settled:
            state.average.settle(part)
            state.settled.append(part)


def _seed(seed: int, step: int, name: str, rank: int) -> int:
    text = f"{seed} {step} {rank} {name}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _from_rank_0(value: float, accelerator: Accelerator) -> float:
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)))
