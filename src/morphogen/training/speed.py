"""How fast a network trains on this machine, measured on a few steps under the load that there is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.files import memory_left
from ..core.model import Batch, GenerativeModel, Phase
from ..nn.distributed import alone
from ..nn.nd import autocast
from .optimise import ModuleOptimizer, trained_modules
from .options import TrainOptions
from .stages import Stage, stages

_BATCHES = (16, 32, 64, 128, 256, 512)
_WINDOW_BATCHES = (4, 8, *_BATCHES)
_FEW = 64  # items, by which the memory of all others is known
_ROUNDS = 3  # of which the median counts
_ROUND_SECONDS = 0.1  # of the steps of a round, of which there is one at least
_HOPELESS, _SLACK = 3.0, 0.1  # a number of threads that is so many times slower, and seconds, is not tried further


@dataclass(frozen=True)
class Speed:
    """Seconds that one process takes: for the loss and gradient of an item, and for a step of the optimiser.

    `share` is the fraction of the budget in which the measured phases run, `min_steps` how many steps they should have;
    up to `preferred_steps`, more steps are worth more than a larger batch. `load` is the seconds of wall clock for each
    second of computing, 1 where no other program had the processor meanwhile.
    """

    item: float
    step: float
    share: float = 1.0
    min_steps: int = GenerativeModel.min_steps
    preferred_steps: int = 0
    sizes: tuple[int, ...] = _BATCHES
    load: float = 1.0
    memory: float = 0.0  # bytes that an item takes until its gradient is computed

    def rate(self, batch: int, processes: int) -> float:
        """Return the items per second of all processes together, which share a batch."""
        return batch / (batch / processes * self.item + self.step)

    def batch(self, seconds: float | None, items: int, processes: int) -> int:
        """Return the largest batch that leaves enough steps in `seconds` and is no larger than the data and the memory.

        It does not depend on the load of this moment.
        """
        most = max(items, processes)
        if self.memory:
            most = min(most, int(memory_left() / self.memory))
        sizes = [size for size in self.sizes if size == self.sizes[0] or size <= most]
        if not seconds:
            return max(size for size in sizes if size <= 8 * self.sizes[0])
        steps = max(self.min_steps, self.preferred_steps)
        enough = [
            size for size in sizes if self.load * self.rate(size, processes) * self.share * seconds / size >= steps
        ]
        return max([*enough, sizes[0]])


class _Times(NamedTuple):
    """Seconds of a step of all phases: for loss and gradient, for the optimisers, and of computing on one core."""

    gradient: float
    update: float
    computing: float

    @property
    def total(self) -> float:
        return self.gradient + self.update


class Stopwatch:
    """Times steps of a model in a stage of its training, by default the first; the steps change the model."""

    def __init__(
        self, model: GenerativeModel, precision: str, options: TrainOptions, stage: Stage | None = None
    ) -> None:
        self._model, self._precision, self._batch = model, precision, options.batch
        self._memory = 0.0  # bytes of an item
        stage = stage or stages(model.phases())[0]
        self._phases, self._share = stage.phases, stage.share
        self._optimizers = {
            name: ModuleOptimizer(model.get_submodule(name), phase, options, precision)
            for name, phase in trained_modules(self._phases).items()
        }

    def affordable(self, sample: Callable[[int], Batch], most: int, deadline: float) -> Batch:
        """Return a batch of at most so many items, of which two steps end before the deadline.

        Raises UserError where a batch that was asked for needs more memory than there is.
        """
        count = max(1, min(most // 16, _FEW))
        while True:
            batch = sample(count)
            self._memory = self._memory or self._bytes_of_item(batch)
            if self._batch and self._memory * most > (left := memory_left()):
                raise UserError(
                    f"a batch of {self._batch:,} needs about {self._memory * most / 2**30:,.1f} GiB of memory, and "
                    f"{left / 2**30:,.1f} GiB are free; lower --train.batch, or raise --train.grad-accumulation"
                )
            self._step(batch)  # warms up
            if count == most or 2 * 4 * self._step(batch).total > deadline - time.perf_counter():
                return batch
            count = min(most, 4 * count)

    def speeds(self, batch: Batch, threads: tuple[int, ...], deadline: float) -> dict[int, Speed]:
        """Return the speed at each number of threads, in turns until the deadline, by `time.perf_counter`.

        The first number is measured in any case. The median of rounds counts.
        """
        rounds: dict[int, list[_Times]] = {}
        for _ in range(_ROUNDS):
            for count in threads:
                if rounds and time.perf_counter() > deadline:
                    break
                torch.set_num_threads(count)
                fastest = min((times[0].total for times in rounds.values()), default=math.inf)
                first = rounds[count][0] if count in rounds else self._step(batch)  # which warms up
                if first.total <= _HOPELESS * fastest + _SLACK:
                    rounds.setdefault(count, []).append(self._round(batch))
        medians = {count: sorted(times, key=lambda one: one.total)[len(times) // 2] for count, times in rounds.items()}
        # Several threads wait for each other: their time of computing does not tell of other programs.
        alone_on_core = medians.get(1)
        load = max(1.0, alone_on_core.total / max(alone_on_core.computing, 1e-9)) if alone_on_core else 1.0
        return {count: self._speed(times, len(batch.x), load) for count, times in medians.items()}

    def _speed(self, times: _Times, items: int, load: float) -> Speed:
        model = self._model
        return Speed(
            item=times.gradient / items,
            step=times.update,
            share=self._share,
            min_steps=model.min_steps,
            preferred_steps=model.preferred_steps,
            sizes=_WINDOW_BATCHES if model.space.variable_length else _BATCHES,
            load=load if model.device.type == "cpu" else 1.0,
            memory=self._memory,
        )

    def _bytes_of_item(self, batch: Batch) -> float:
        """Return the bytes that an item takes until its gradient is computed, in the phase that takes most."""
        own = {parameter.untyped_storage().data_ptr() for parameter in self._model.parameters()}
        most = 0
        for phase in self._phases:
            storages: dict[int, int] = {}

            def count(tensor: Tensor, storages: dict[int, int] = storages) -> Tensor:
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
                return tensor

            with (
                alone(),
                torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
                autocast(self._precision, batch.x.device),
            ):
                loss = self._model(batch, phase.name)
            del loss
            most = max(most, sum(size for place, size in storages.items() if place not in own))
        return most / len(batch.x)

    def _round(self, batch: Batch) -> _Times:
        """Return the mean of steps that take a tenth of a second or more."""
        started, steps = time.perf_counter(), [self._step(batch)]
        while time.perf_counter() - started < _ROUND_SECONDS:
            steps.append(self._step(batch))
        return _Times(*(sum(values) / len(steps) for values in zip(*steps, strict=True)))

    def _step(self, batch: Batch) -> _Times:
        """Return the seconds of a step: of each phase by how often it runs."""
        gradient = update = computing = 0.0
        with alone():
            for phase in self._phases:
                started = time.process_time()
                seconds, further = self._phase(batch, phase)
                gradient += seconds / phase.every
                update += further / phase.every
                computing += (time.process_time() - started) / phase.every
        return _Times(gradient, update, computing)

    def _phase(self, batch: Batch, phase: Phase) -> tuple[float, float]:
        """Return the seconds of loss and gradient, and of the optimiser's step."""
        device = batch.x.device
        _synchronise(device)
        started = time.perf_counter()
        with autocast(self._precision, device):
            loss = self._model(batch, phase.name)
        loss.total.backward()
        _synchronise(device)
        differentiated = time.perf_counter()
        self._optimizers[phase.module].step(1e-9)
        self._model.zero_grad(set_to_none=True)
        _synchronise(device)
        return differentiated - started, time.perf_counter() - differentiated


def load_compiler() -> None:
    """Let torch load its compiler, which the first step of any optimiser does and which takes seconds."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
