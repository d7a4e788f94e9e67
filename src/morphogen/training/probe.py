"""The start-up probe: measures the machine, and picks the precision, the network's size and the batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch

from ..core.config import Frozen
from ..core.errors import UserError
from ..core.model import Batch, GenerativeModel
from ..core.space import Space
from ..nn.nd import place
from ..nn.precision import bf16_is_emulated
from .options import TrainOptions
from .speed import Speed, Stopwatch, load_compiler
from .stages import Stage, stages

# The items that a network must read to be worth its size, in m minutes: _ITEMS m^¾ pictures of 28 x 28. Fitted to six
# sets in two minutes (benchmarks/README.md): of 20,000 pictures or more, 48 channels that read 39,000 to 59,000 items
# were worse than 32 by 18 to 141 %; of 2,000 or fewer, which hold less to learn, better by 4 to 49 %. That the items
# grow with the minutes to the power of ¾ was found on Fashion-MNIST alone.
_ITEMS = 40_000
_MANY, _COUNT_POWER, _FEWEST = 20_000, 1 / 4, 0.57  # pictures; their power, and the least share of _ITEMS
# A larger grid holds more to learn from: on EmojiTwo at 64 x 64, in three and a half minutes, 48 channels (28,000
# items) and 32 (49,000) came out even. So larger grids need fewer items, by this power of the number of cells.
_CELLS, _POWER = 28 * 28, 2 / 3
# Of token sequences, _TOKENS m^¾: on tiny Shakespeare, 4 layers of 128 did best with 1.7 million tokens in two minutes,
# and of 160 with 4.9 million in nine.
_TOKENS = 940_000
_PROBED_TOKENS = 2048  # per process and step, of token sequences
_PROBED_ITEMS = 64  # per process and step, of all else, where no batch is given
_SMALLEST_BATCH = 16  # to which it is halved where memory is short
_SHARE, _SECONDS = 0.08, 10.0  # of the budget, or where steps are counted: what the probe may take
_GROWTH = 3.0  # how many times longer the next network may take to measure


class Choice(NamedTuple):
    """What the probe chose, and the seconds that it took.

    `rates` are the items per second of each stage, by the names of its phases; `items_per_second` is their mean.
    """

    options: Frozen
    batch: int
    precision: str
    threads: int
    items_per_second: float
    seconds: float
    rates: Mapping[str, float]


def needed_items(space: Space, seconds: float, items: int) -> float:
    """Return how many items, of so many different ones, a network must read in that time to be worth its size."""
    if space.variable_length:
        return _TOKENS / space.positions * (seconds / 60) ** 0.75
    different = min(1.0, max(_FEWEST, (items / _MANY) ** _COUNT_POWER))
    return _ITEMS * different * (seconds / 60) ** 0.75 * min(1.0, (_CELLS / space.positions) ** _POWER)


def share_of_items(model: GenerativeModel) -> float:
    """Return the share of the needed items that a model needs: less than 1 of a small one, which learns less."""
    return min(1.0, model.parameter_count / model.full_size) if model.full_size else 1.0


class _Candidate(NamedTuple):
    """A network at the precision and number of threads at which it is fastest."""

    precision: str
    threads: int
    rate: float  # items per second over all stages; 0 where it did not fit in memory
    rates: Mapping[str, float]  # of each stage
    batch: int
    enough: bool  # whether each stage would read as many items as its size needs, and there are as many
    seconds: float  # that measuring took


class _Measured(NamedTuple):
    """A stage of training, and its speed at each number of threads."""

    stage: Stage
    speeds: Mapping[int, Speed]


@dataclass(frozen=True)
class Probe:
    """Measures networks on this machine.

    `build` makes a model from options, `sample(n)` a batch of n of the `items` that there are. `seconds` is the budget,
    None where steps are counted. `processes` share a batch, and each computes with one of the numbers of `threads`.
    """

    build: Callable[[Frozen], GenerativeModel]
    sample: Callable[[int], Batch]
    items: int
    seconds: float | None
    options: TrainOptions
    processes: int
    device: torch.device
    threads: tuple[int, ...] = (1,)

    def choose(self, options: Frozen, sizes: Sequence[Mapping[str, Any]]) -> Choice:
        """Return the largest network that reads enough items in each stage, and how it is trained fastest.

        `sizes` are changes to the options, smallest first; where there are none, or no seconds, the options stay. It
        begins with the smallest one, and where its share of the budget is over it returns the best so far. Raises
        UserError where nothing fits in memory.
        """
        before = torch.get_num_threads()
        load_compiler()
        try:
            return self._choose(options, sizes)
        finally:
            torch.set_num_threads(before)

    def _choose(self, options: Frozen, sizes: Sequence[Mapping[str, Any]]) -> Choice:
        started = time.perf_counter()
        deadline = started + (_SHARE * self.seconds if self.seconds else _SECONDS)
        candidates = [options.model_copy(update=options.read_fields(size)) for size in sizes] if self.seconds else []
        first = self.build(candidates[0] if candidates else options)
        candidates = [options] if first.fixed_size or not candidates else candidates
        at_once = self._micro_batch(first.space)
        chosen, best = candidates[0], self._measure(candidates[0], at_once, deadline)
        if not best.rate:
            raise UserError(
                f"the smallest network does not fit in the memory of {self.device} with {at_once} items at once; "
                "raise --train.grad-accumulation or lower --train.batch"
            )
        for candidate in candidates[1:]:
            if not best.enough or time.perf_counter() + _GROWTH * best.seconds > deadline:
                break
            larger = self._measure(candidate, at_once, deadline)
            if not larger.enough:
                break
            chosen, best = candidate, larger
        batch = best.batch
        if self.device.type == "cuda" and self.options.batch is None:
            batch = self._fitting_batch(chosen, batch, best.precision)
        seconds = time.perf_counter() - started
        return Choice(chosen, batch, best.precision, best.threads, best.rate, seconds, best.rates)

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

    def _measure(self, options: Frozen, at_once: int, deadline: float) -> _Candidate:
        """Return how a network is trained fastest: the precision is compared without the load of the moment."""
        started = time.perf_counter()
        measured: dict[str, list[_Measured]] = {}
        try:
            for precision in self._precisions():
                now = time.perf_counter()
                if not measured or 2 * now - started < deadline:  # the second one takes as long as the first
                    model = self._placed(options)
                    measured[precision] = self._stages(model, precision, at_once, deadline)
        except torch.OutOfMemoryError:
            return _Candidate("", 0, 0.0, {}, self.options.batch or _SMALLEST_BATCH, False, 0.0)
        precision = max(measured, key=lambda name: _unloaded_rate(measured[name], at_once))
        parts = measured[precision]
        # One number of threads to begin with: the loop chooses again in each stage.
        numbers = set.intersection(*(set(part.speeds) for part in parts))
        threads = max(sorted(numbers), key=lambda number: _mean_rate([part.speeds[number] for part in parts], at_once))
        speeds = [part.speeds[threads] for part in parts]
        most = self.items // model.min_steps_per_epoch
        batch = self.options.batch or min(speed.batch(self.seconds, most, self.processes) for speed in speeds)
        rates = [speed.rate(batch, self.processes) for speed in speeds]
        return _Candidate(
            precision,
            threads,
            sum(speed.share * rate for speed, rate in zip(speeds, rates, strict=True)),
            {part.stage.name: rate for part, rate in zip(parts, rates, strict=True)},
            batch,
            all(self._enough(model, part.stage, rate, batch) for part, rate in zip(parts, rates, strict=True))
            and not self._too_large(model),
            time.perf_counter() - started,
        )

    def _stages(self, model: GenerativeModel, precision: str, at_once: int, deadline: float) -> list[_Measured]:
        """Return the speeds of each stage of training, which share the time until the deadline."""
        measured, all_stages = [], stages(model.phases())
        for number, stage in enumerate(all_stages):
            now = time.perf_counter()
            end = now + (deadline - now) / (len(all_stages) - number)
            stopwatch = Stopwatch(model, precision, self.options, stage)
            if self.device.type == "cpu":
                batch = stopwatch.affordable(self.sample, at_once, end)
            else:
                batch = self.sample(at_once)
            measured.append(_Measured(stage, stopwatch.speeds(batch, self.threads, end)))
        return measured

    def _enough(self, model: GenerativeModel, stage: Stage, rate: float, batch: int) -> bool:
        """Return whether a stage, which reads so many items per second, reads as many as each network in it needs."""
        seconds = (self.seconds or 0.0) * stage.share
        needed = max(needed_items(phase.space or model.space, seconds, self.items) for phase in stage.phases)
        return rate * seconds >= max(needed * share_of_items(model), model.min_steps * batch)

    def _too_large(self, model: GenerativeModel) -> bool:
        """Return whether there are too few tokens for the model's parameters."""
        return model.parameter_count * model.min_tokens_per_parameter > self.items * model.space.positions

    def _fitting_batch(self, options: Frozen, batch: int, precision: str) -> int:
        """Return the batch, halved until a process has the memory for its share."""
        model = self._placed(options)
        while batch > _SMALLEST_BATCH:
            try:
                at_once = -(-batch // (self.processes * self.options.grad_accumulation))
                for stage in stages(model.phases()):
                    stopwatch = Stopwatch(model, precision, self.options, stage)
                    stopwatch.speeds(self.sample(at_once), self.threads[:1], 0.0)
                break
            except torch.OutOfMemoryError:
                batch //= 2
        return batch

    def _placed(self, options: Frozen) -> GenerativeModel:
        model = self.build(options)
        place(model, self.device)
        model.train()
        return model


def _mean_rate(speeds: Sequence[Speed], at_once: int) -> float:
    """Return the geometric mean of the stages' items per second, so that no fast stage outweighs the others."""
    return prod(speed.rate(at_once, 1) ** speed.share for speed in speeds)


def _unloaded_rate(parts: Sequence[_Measured], at_once: int) -> float:
    """Return the mean rate on one thread, or as few as were measured, as if no other program ran."""
    speeds = [part.speeds[min(part.speeds)] for part in parts]
    return prod(speed.load**speed.share for speed in speeds) * _mean_rate(speeds, at_once)


def build_model(
    model: type[GenerativeModel], space: Space, conditions: Mapping[str, Space], seed: int
) -> Callable[[Frozen], GenerativeModel]:
    """Return a function that makes the model from options, always with the same initial weights."""

    def build(options: Frozen) -> GenerativeModel:
        torch.manual_seed(seed)
        return model(space, conditions, options)

    return build
