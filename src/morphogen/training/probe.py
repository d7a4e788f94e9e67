"""What the machine can do, measured at the start: the faster precision, and the largest network for a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ..core.config import Frozen
from ..core.errors import UserError
from ..core.model import Batch, GenerativeModel, Phase
from ..core.space import Space, Tokens
from ..nn.nd import autocast, place
from ..nn.precision import bf16_is_emulated
from ..nn.ranks import alone
from .optimise import PartOptimizer, trained_parts
from .options import TrainOptions

# What a network must see to be worth its size, in m minutes: _ITEMS m^¾ pictures of Fashion-MNIST. In three minutes 48
# channels (73,000) beat 16 (500,000) and 64; that ten are enough for 64 (222,000) is a choice, not compared on like
# terms.
_ITEMS = 32_000
# A larger picture tells more: of EmojiTwo at 64 x 64 in three and a half minutes, 48 channels (28,000 items) and 32
# (49,000) came out even, and 16 with ten times as many made blobs. Larger grids need fewer, by this power of the cells.
_CELLS, _POWER = 28 * 28, 2 / 3
# Of sequences of symbols, in m minutes, _SYMBOLS m^¾: of tiny Shakespeare, 4 layers of 128 did best with 1.7 million in
# two minutes, and of 160 with 4.9 million in nine.
_SYMBOLS = 940_000
_PROBED_SYMBOLS = 2048  # that a process takes at once, where it takes sequences
_PROBED = 64  # items a process takes at once where no batch is given
_BATCHES = (16, 32, 64, 128, 256, 512)
_BATCHES_OF_SEQUENCES = (4, 8, *_BATCHES)


class Choice(NamedTuple):
    """What the probe chose, and why; saved in the model folder and never probed again."""

    options: Frozen
    batch: int
    precision: str
    items_per_second: float


@dataclass(frozen=True)
class Speed:
    """Seconds that one process takes: for the loss and gradient of an item, and for a step of the optimiser.

    `share` is that of the budget in which it is so; `least_steps` are what training should have in it, and up to
    `many_steps` a step more is worth more than a larger batch.
    """

    item: float
    step: float
    share: float = 1.0
    least_steps: int = GenerativeModel.least_steps
    many_steps: int = 0
    sizes: tuple[int, ...] = _BATCHES

    def rate(self, batch: int, processes: int) -> float:
        """Items per second of all processes together, which share a batch."""
        return batch / (batch / processes * self.item + self.step)

    def batch(self, seconds: float | None, items: int, processes: int) -> int:
        """The largest batch that leaves enough steps in `seconds` and is no larger than the data."""
        sizes = [size for size in self.sizes if size == self.sizes[0] or size <= max(items, processes)]
        if not seconds:
            return max(size for size in sizes if size <= 8 * self.sizes[0])
        own = self.share * seconds
        wanted = max(self.least_steps, self.many_steps)
        enough = [size for size in sizes if self.rate(size, processes) * own / size >= wanted]
        return max([*enough, sizes[0]])


def needed_items(space: Space, seconds: float) -> float:
    """What a network must see in that time to be worth its size; as many on all grids up to that of 28 x 28."""
    cells = math.prod(space.size)
    if _sequences(space):
        return _SYMBOLS / cells * (seconds / 60) ** 0.75
    return _ITEMS * (seconds / 60) ** 0.75 * min(1.0, (_CELLS / cells) ** _POWER)


def _sequences(space: Space) -> bool:
    """Whether a row is full of symbols that are all learned from, and a few rows are a batch."""
    return isinstance(space, Tokens) and space.start is not None


def speed(model: GenerativeModel, batch: Batch, precision: str, plan: TrainOptions) -> Speed:
    """How fast its first steps are: of each phase in them, the faster of two after one to warm up.

    The model is not the same after.
    """
    phases = [phase for phase in model.phases() if phase.during[0] == 0 < phase.during[1]]
    optimizers = {
        name: PartOptimizer(model.get_submodule(name), phase, plan, precision)
        for name, phase in trained_parts(phases).items()
    }
    of_items = of_steps = 0.0
    for phase in phases:
        with alone():
            times = [_step(model, batch, precision, phase, optimizers[phase.trains]) for _ in range(3)]
        of_items += min(items for items, _ in times[1:]) / phase.every
        of_steps += min(steps for _, steps in times[1:]) / phase.every
    return Speed(
        of_items / len(batch.x),
        of_steps,
        min(phase.during[1] for phase in phases),
        model.least_steps,
        model.many_steps,
        _BATCHES_OF_SEQUENCES if _sequences(model.space) else _BATCHES,
    )


def _step(
    model: GenerativeModel, batch: Batch, precision: str, phase: Phase, optimizer: PartOptimizer
) -> tuple[float, float]:
    """Seconds of loss and gradient, and of the optimiser's step."""
    device = batch.x.device
    _synchronise(device)
    started = time.perf_counter()
    with autocast(precision, device):
        loss = model(batch, phase.name)
    loss.total.backward()
    _synchronise(device)
    turned = time.perf_counter()
    optimizer.step(1e-9)
    model.zero_grad(set_to_none=True)
    _synchronise(device)
    return turned - started, time.perf_counter() - turned


def choose(
    build: Callable[[Frozen], GenerativeModel],
    options: Frozen,
    ladder: Sequence[Mapping[str, Any]],
    sample: Callable[[int], Batch],
    *,
    items: int,
    seconds: float | None,
    plan: TrainOptions,
    processes: int,
    device: torch.device,
) -> Choice:
    """The largest network of the ladder that sees enough items in `seconds`, its batch size, and the precision.

    `ladder` holds changes to the options, smallest first; empty, or without `seconds`, the options stay as they are.
    `sample(n)` is a batch of n items, of the `items` that there are. `processes` share a batch.
    Raises UserError where nothing fits in memory.
    """
    rungs = [options.model_copy(update=dict(change)) for change in ladder] if seconds else []
    first = build(rungs[0] if rungs else options)
    rungs, space = [options] if first.one_size or not rungs else rungs, first.space
    probed = max(4, _PROBED_SYMBOLS // math.prod(space.size)) if _sequences(space) else _PROBED
    at_once = -(-max(1, plan.batch // processes) // plan.accumulate) if plan.batch else probed

    def measure(rung: Frozen, precision: str) -> _Rung:
        model = build(rung)
        place(model, device)
        model.train()
        try:
            found = speed(model, sample(at_once), precision, plan)
        except torch.OutOfMemoryError:
            return _Rung(0.0, plan.batch or _BATCHES[0], False)
        batch = plan.batch or found.batch(seconds, items, processes)
        rate, own = found.rate(batch, processes), (seconds or 0.0) * found.share
        seen = rate * own >= max(needed_items(model.space, own), found.least_steps * batch)
        return _Rung(rate, batch, seen and not _too_large(model, items))

    index = min(len(rungs) - 1, len(rungs) // 2)
    # GPUs without bfloat16 emulate it, slowly.
    half = "fp16" if device.type == "cuda" and not torch.cuda.is_bf16_supported(False) else "bf16"
    tries = ("fp32", half) if device.type != "cpu" or not bf16_is_emulated() else ("fp32",)
    precisions = tries if plan.precision == "auto" else (plan.precision,)
    tried = {name: measure(rungs[index], name) for name in precisions}
    precision = max(tried, key=lambda name: tried[name].rate)
    chosen = tried[precision]
    if chosen.enough:
        while index + 1 < len(rungs) and (larger := measure(rungs[index + 1], precision)).enough:
            index, chosen = index + 1, larger
    else:
        while index and not chosen.enough:
            index -= 1
            chosen = measure(rungs[index], precision)
    if not chosen.rate:
        raise UserError(
            f"the smallest network does not fit in the memory of {device} with {at_once} items at once; "
            "raise --train.accumulate or lower --train.batch"
        )
    batch = chosen.batch
    if device.type == "cuda" and plan.batch is None:
        batch = _fitting(build(rungs[index]), sample, batch, processes, precision, plan, device)
    return Choice(rungs[index], batch, precision, chosen.rate)


class _Rung(NamedTuple):
    rate: float  # items per second; 0 where it did not fit in memory
    batch: int
    enough: bool  # whether it would see what its size needs, and there is as much


def _too_large(model: GenerativeModel, items: int) -> bool:
    """Whether that many rows of symbols are too few for its parameters."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    symbols = items * math.prod(model.space.size)
    return _sequences(model.space) and parameters * model.symbols_a_parameter > symbols


def _fitting(
    model: GenerativeModel,
    sample: Callable[[int], Batch],
    batch: int,
    processes: int,
    precision: str,
    plan: TrainOptions,
    device: torch.device,
) -> int:
    """The batch, halved until a process has the memory for its share."""
    place(model, device)
    model.train()
    while batch > _BATCHES[0]:
        try:
            speed(model, sample(-(-batch // (processes * plan.accumulate))), precision, plan)
            break
        except torch.OutOfMemoryError:
            batch //= 2
    return batch


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_model(
    kind: type[GenerativeModel], space: Space, conditions: Mapping[str, Space], seed: int
) -> Callable[[Frozen], GenerativeModel]:
    """A maker of that family's models with the initial weights of that seed."""

    def build(options: Frozen) -> GenerativeModel:
        torch.manual_seed(seed)
        return kind(space, conditions, options)

    return build
