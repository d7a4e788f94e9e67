"""Previews during training: the same seeds each time, with the averaged weights, and how varied they are."""

from __future__ import annotations

import math
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from ..core.config import replacing
from ..core.modality import Modality
from ..core.noise import Noise
from ..pipeline import Pipeline
from .collapse import CollapseMonitor, variety
from .dataset import Dataset, spread
from .loop import TrainState
from .tracker import Tracker

_COUNT = 16  # items of a preview
_REAL = 32  # real items that their variety is compared with
_SHARE = 0.1  # of the seconds of training: what previews may take together
_ITEMS = 200  # a first preview is assumed to take as long as training on so many items


class Previews:
    """Writes pictures of samples to `out/previews`, evenly over training, and watches for mode collapse."""

    def __init__(
        self,
        pipeline: Pipeline,
        modality: Modality[Any],
        dataset: Dataset,
        out: Path,
        *,
        count: int,
        progress: float,
        seconds: float | None,
        items_per_second: float,
    ) -> None:
        """`count` previews over the whole of training, of which `progress` is done.

        Of a training of so many `seconds`, at that speed, those are left out that would take too much of it.
        """
        self._pipeline, self._modality, self._dataset, self._out = pipeline, modality, dataset, out
        times = ((number + 1) / (count + 1) for number in range(count))
        self._times = [at for at in times if at > progress]
        self._monitor = CollapseMonitor()
        self._affordable = math.inf if seconds is None else _SHARE * seconds
        self._spent, self._last = 0.0, _ITEMS / max(items_per_second, 1e-9)

    def due(self, progress: float) -> bool:
        """Return whether it is time for the next preview, and it can be afforded; true once for each."""
        if not self._times or progress < self._times[0]:
            return False
        self._times = [at for at in self._times if at > progress]
        return self._spent + self._last <= self._affordable

    def write(self, state: TrainState, tracker: Tracker) -> str:
        """Write a preview; return a warning where the model seems to collapse, else the empty string."""
        started = monotonic()
        warning = self._write(state, tracker)
        self._last = monotonic() - started
        self._spent += self._last
        return warning

    def _write(self, state: TrainState, tracker: Tracker) -> str:
        items = self._sample(state)
        picture = self._modality.preview(items)
        folder = self._out / "previews"
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"step-{state.step:06d}.png") as temporary:
            picture.save(temporary, format="PNG")
        tracker.preview(picture, state.step)
        value = self._variety(items)
        if math.isfinite(value):
            tracker.scalar("variety", value, state.step)
        return self._monitor.observe(value)

    def _sample(self, state: TrainState) -> Any:
        conditions = self._pipeline.artifact.conditions
        real = self._dataset.head(_COUNT, torch.device("cpu")).condition
        values = {
            name: [codec.classes[i % len(codec.classes)] for i in range(_COUNT)]
            if codec.classes
            else codec.decode(real[name], Noise.consecutive(0, _COUNT))
            for name, codec in conditions.items()
        }
        query = self._modality.Query(condition=values)
        state.model.eval()
        with state.ema.applied():
            items = self._modality.concatenate(list(self._pipeline.stream(query, count=_COUNT, seed=0, batch=_COUNT)))
        state.model.train()
        return items

    def _variety(self, items: Any) -> float:
        codec = self._pipeline.artifact.codec
        if codec.space.variable_length:
            return math.nan
        labelled = all(one.classes for one in self._pipeline.artifact.conditions.values())
        cpu = torch.device("cpu")
        # Conditions that are items themselves are those of the first examples: their samples vary as these do.
        indices = spread(0, self._dataset.examples, _REAL)
        real = self._dataset.batch(indices, cpu) if labelled else self._dataset.head(_COUNT, cpu)
        return variety(codec.encode(items).cpu(), real.x)
