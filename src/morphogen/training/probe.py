"""What the machine can do, measured at the start: the faster precision, and the largest network for a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from ..core.config import Frozen
from ..core.model import Batch, GenerativeModel
from ..core.space import Space
from ..nn.nd import place

# What a network must see to be worth its size, in m minutes: _ITEMS m^¾. On Fashion-MNIST in three minutes, 48 channels
# (73,000 items) beat 16 (500,000); other sizes of pictures are not measured.
_ITEMS = 48_000
_STEPS = 2_000  # what it should see them in
_BATCHES = (16, 32, 64, 128, 256, 512)


class Choice(NamedTuple):
    """What the probe chose, and why; saved in the model folder and never probed again."""

    options: Frozen
    batch: int
    precision: str
    items_per_second: float


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a network runs in that precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def seconds_per_step(model: GenerativeModel, batch: Batch, precision: str) -> float:
    """Forward and backward of the first phase, the faster of two runs after one to warm up."""
    device, phase = batch.x.device, model.phases()[0].name
    times = []
    for _ in range(3):
        _synchronise(device)
        started = time.perf_counter()
        with autocast(precision, device):
            loss = model(batch, phase)
        loss.total.backward()
        _synchronise(device)
        times.append(time.perf_counter() - started)
        model.zero_grad(set_to_none=True)
    return min(times[1:])


def choose(
    build: Callable[[Frozen], GenerativeModel],
    options: Frozen,
    ladder: Sequence[Mapping[str, Any]],
    sample: Callable[[int], Batch],
    *,
    items: int,
    seconds: float | None,
    batch: int | None,
    precision: str,
    device: torch.device,
) -> Choice:
    """The largest network of the ladder that sees enough items in `seconds`, its batch size, and the precision.

    `ladder` holds changes to the options, smallest first; empty, or without `seconds`, the options stay as they are.
    `sample(n)` is a batch of n items, of the `items` that there are.
    """
    probe_batch = batch or 64
    rungs = [options.model_copy(update=dict(change)) for change in ladder] if seconds else []
    rungs = rungs or [options]

    def measure(rung: Frozen, precision: str) -> float:
        model = build(rung)
        place(model, device)
        model.train()
        try:
            return probe_batch / seconds_per_step(model, sample(probe_batch), precision)
        except torch.OutOfMemoryError:
            return 0.0

    index = min(len(rungs) - 1, len(rungs) // 2)
    if precision == "auto":
        rates = {name: measure(rungs[index], name) for name in ("fp32", "bf16")}
        precision = max(rates, key=lambda name: rates[name])
        rate = rates[precision]
    else:
        rate = measure(rungs[index], precision)
    needed = _ITEMS * ((seconds or 0) / 60) ** 0.75
    enough = (lambda rate: rate * seconds >= needed) if seconds else (lambda rate: True)
    if enough(rate):
        while index + 1 < len(rungs) and enough(larger := measure(rungs[index + 1], precision)):
            index, rate = index + 1, larger
    else:
        while index and not enough(rate):
            index -= 1
            rate = measure(rungs[index], precision)
    if batch is None:
        wanted = min(rate * seconds / _STEPS if seconds else 128, items)
        batch = max(size for size in _BATCHES if size <= max(wanted / 0.75, _BATCHES[0]))
    return Choice(rungs[index], batch, precision, rate)


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
