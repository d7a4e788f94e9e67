"""The start-up probe: measures the machine, and picks the precision, the network's size and the batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ..core.config import Frozen
from ..core.errors import UserError
from ..core.model import Batch, GenerativeModel, Phase
from ..core.space import Space
from ..nn.distributed import alone
from ..nn.nd import autocast, place
from ..nn.precision import bf16_is_emulated
from .optimise import ModuleOptimizer, trained_modules
from .options import TrainOptions

# The items that a network must read to be worth its size, in m minutes: _ITEMS m^¾ pictures of Fashion-MNIST. In three
# minutes 48 channels (73,000 items) beat 16 (500,000) and 64; that ten minutes are enough for 64 (222,000) is a choice.
_ITEMS = 32_000
# A larger grid holds more to learn from: on EmojiTwo at 64 x 64, in three and a half minutes, 48 channels (28,000
# items) and 32 (49,000) came out even. So larger grids need fewer items, by this power of the number of cells.
_CELLS, _POWER = 28 * 28, 2 / 3
# Of token sequences, _TOKENS m^¾: on tiny Shakespeare, 4 layers of 128 did best with 1.7 million tokens in two minutes,
# and of 160 with 4.9 million in nine.
_TOKENS = 940_000
_PROBED_TOKENS = 2048  # per process and step, of token sequences
_PROBED_ITEMS = 64  # per process and step, of all else, where no batch is given
_BATCHES = (16, 32, 64, 128, 256, 512)
_WINDOW_BATCHES = (4, 8, *_BATCHES)


class Choice(NamedTuple):
    """What the probe chose."""

    options: Frozen
    batch: int
    precision: str
    items_per_second: float


@dataclass(frozen=True)
class Speed:
    """Seconds that one process takes: for the loss and gradient of an item, and for a step of the optimiser.

    `share` is the fraction of the budget in which the measured phases run, `min_steps` how many steps it should have;
    up to `preferred_steps`, more steps are worth more than a larger batch.
    """

    item: float
    step: float
    share: float = 1.0
    min_steps: int = GenerativeModel.min_steps
    preferred_steps: int = 0
    sizes: tuple[int, ...] = _BATCHES

    def rate(self, batch: int, processes: int) -> float:
        """Return the items per second of all processes together, which share a batch."""
        return batch / (batch / processes * self.item + self.step)

    def batch(self, seconds: float | None, items: int, processes: int) -> int:
        """Return the largest batch that leaves enough steps in `seconds` and is no larger than the data."""
        sizes = [size for size in self.sizes if size == self.sizes[0] or size <= max(items, processes)]
        if not seconds:
            return max(size for size in sizes if size <= 8 * self.sizes[0])
        steps = max(self.min_steps, self.preferred_steps)
        enough = [size for size in sizes if self.rate(size, processes) * self.share * seconds / size >= steps]
        return max([*enough, sizes[0]])


def needed_items(space: Space, seconds: float) -> float:
    """Return the items that a network must read in that time to be worth its size."""
    if space.variable_length:
        return _TOKENS / space.positions * (seconds / 60) ** 0.75
    return _ITEMS * (seconds / 60) ** 0.75 * min(1.0, (_CELLS / space.positions) ** _POWER)


def speed(model: GenerativeModel, batch: Batch, precision: str, options: TrainOptions) -> Speed:
    """Return the speed of the model's first steps: of each phase, the faster of two after one to warm up.

    The steps change the model.
    """
    phases = [phase for phase in model.phases() if phase.span[0] == 0 < phase.span[1]]
    optimizers = {
        name: ModuleOptimizer(model.get_submodule(name), phase, options, precision)
        for name, phase in trained_modules(phases).items()
    }
    per_batch = per_step = 0.0
    for phase in phases:
        with alone():
            times = [_time_step(model, batch, precision, phase, optimizers[phase.module]) for _ in range(3)]
        per_batch += min(gradient for gradient, _ in times[1:]) / phase.every
        per_step += min(update for _, update in times[1:]) / phase.every
    return Speed(
        per_batch / len(batch.x),
        per_step,
        min(phase.span[1] for phase in phases),
        model.min_steps,
        model.preferred_steps,
        _WINDOW_BATCHES if model.space.variable_length else _BATCHES,
    )


def _time_step(
    model: GenerativeModel, batch: Batch, precision: str, phase: Phase, optimizer: ModuleOptimizer
) -> tuple[float, float]:
    """Return the seconds of loss and gradient, and of the optimiser's step."""
    device = batch.x.device
    _synchronise(device)
    started = time.perf_counter()
    with autocast(precision, device):
        loss = model(batch, phase.name)
    loss.total.backward()
    _synchronise(device)
    differentiated = time.perf_counter()
    optimizer.step(1e-9)
    model.zero_grad(set_to_none=True)
    _synchronise(device)
    return differentiated - started, time.perf_counter() - differentiated


class _Candidate(NamedTuple):
    rate: float  # items per second; 0 where it did not fit in memory
    batch: int
    enough: bool  # whether it would read as many items as its size needs, and there are as many


@dataclass(frozen=True)
class Probe:
    """Measures networks on this machine.

    `build` makes a model from options, `sample(n)` a batch of n of the `items` that there are. `seconds` is the budget,
    None where steps are counted. `processes` share a batch.
    """

    build: Callable[[Frozen], GenerativeModel]
    sample: Callable[[int], Batch]
    items: int
    seconds: float | None
    options: TrainOptions
    processes: int
    device: torch.device

    def choose(self, options: Frozen, sizes: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the largest network that reads enough items in the budget, its batch size, and the precision.

        `sizes` are changes to the options, smallest first; where there are none, or no seconds, the options stay.
        Raises UserError where nothing fits in memory.
        """
        candidates = [options.model_copy(update=options.read_fields(size)) for size in sizes] if self.seconds else []
        first = self.build(candidates[0] if candidates else options)
        candidates = [options] if first.fixed_size or not candidates else candidates
        at_once = self._micro_batch(first.space)
        index = min(len(candidates) - 1, len(candidates) // 2)
        measured = {name: self._measure(candidates[index], name, at_once) for name in self._precisions()}
        precision = max(measured, key=lambda name: measured[name].rate)
        best = measured[precision]
        if best.enough:
            while index + 1 < len(candidates):
                larger = self._measure(candidates[index + 1], precision, at_once)
                if not larger.enough:
                    break
                index, best = index + 1, larger
        else:
            while index and not best.enough:
                index -= 1
                best = self._measure(candidates[index], precision, at_once)
        if not best.rate:
            raise UserError(
                f"the smallest network does not fit in the memory of {self.device} with {at_once} items at once; "
                "raise --train.grad-accumulation or lower --train.batch"
            )
        batch = best.batch
        if self.device.type == "cuda" and self.options.batch is None:
            batch = self._fitting_batch(candidates[index], batch, precision)
        return Choice(candidates[index], batch, precision, best.rate)

    def _micro_batch(self, space: Space) -> int:
        """Return how many items a process takes at once while it is measured."""
        if self.options.batch:
            return -(-max(1, self.options.batch // self.processes) // self.options.grad_accumulation)
        return max(4, _PROBED_TOKENS // space.positions) if space.variable_length else _PROBED_ITEMS

    def _precisions(self) -> tuple[str, ...]:
        if self.options.precision != "auto":
            return (self.options.precision,)
        # GPUs without bfloat16 emulate it, slowly.
        half = "fp16" if self.device.type == "cuda" and not torch.cuda.is_bf16_supported(False) else "bf16"
        return ("fp32", half) if self.device.type != "cpu" or not bf16_is_emulated() else ("fp32",)

    def _measure(self, options: Frozen, precision: str, at_once: int) -> _Candidate:
        model = self._placed(options)
        try:
            measured = speed(model, self.sample(at_once), precision, self.options)
        except torch.OutOfMemoryError:
            return _Candidate(0.0, self.options.batch or _BATCHES[0], False)
        batch = self.options.batch or measured.batch(self.seconds, self.items, self.processes)
        rate, seconds = measured.rate(batch, self.processes), (self.seconds or 0.0) * measured.share
        enough = rate * seconds >= max(needed_items(model.space, seconds), measured.min_steps * batch)
        return _Candidate(rate, batch, enough and not self._too_large(model))

    def _too_large(self, model: GenerativeModel) -> bool:
        """Return whether there are too few tokens for the model's parameters."""
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return parameters * model.min_tokens_per_parameter > self.items * model.space.positions

    def _fitting_batch(self, options: Frozen, batch: int, precision: str) -> int:
        """Return the batch, halved until a process has the memory for its share."""
        model = self._placed(options)
        while batch > _BATCHES[0]:
            try:
                at_once = -(-batch // (self.processes * self.options.grad_accumulation))
                speed(model, self.sample(at_once), precision, self.options)
                break
            except torch.OutOfMemoryError:
                batch //= 2
        return batch

    def _placed(self, options: Frozen) -> GenerativeModel:
        model = self.build(options)
        place(model, self.device)
        model.train()
        return model


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_model(
    model: type[GenerativeModel], space: Space, conditions: Mapping[str, Space], seed: int
) -> Callable[[Frozen], GenerativeModel]:
    """Return a function that makes the model from options, always with the same initial weights."""

    def build(options: Frozen) -> GenerativeModel:
        torch.manual_seed(seed)
        return model(space, conditions, options)

    return build
