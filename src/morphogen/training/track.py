"""What a run shows while it goes: a progress line, and curves for TensorBoard where it is installed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .loop import Step

_POINTS = 100  # of a curve that is kept


class Track:
    """A progress bar on a terminal, a line every few seconds elsewhere; scalars and sheets to TensorBoard."""

    def __init__(self, folder: Path, batch: int, *, log: bool, show: bool) -> None:
        self.batch, self.show = batch, show
        self._started = time.monotonic()
        self._first: int | None = None
        self._items = 0
        self._shown = 0.0
        self._losses: dict[str, float] = {}
        self.curves: dict[str, list[list[float]]] = {}  # of each figure the step and the value, about a hundred points
        self._recorded: dict[str, float] = {}
        self._writer: Any = None
        self._bar: Any = None
        if log:
            self._writer = _writer(folder)
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.percentage:3.0f}%"),
                BarColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        if self._writer:
            self._writer.close()

    @property
    def items_per_second(self) -> float:
        """Items trained on per second since this process took over."""
        return self._items / max(1e-9, time.monotonic() - self._started)

    def step(self, step: Step) -> None:
        """Show a step."""
        if self._first is None:
            self._first = step.number - 1
        self._items = (step.number - self._first) * self.batch
        smooth = self._losses.get(step.phase, step.loss)
        self._losses[step.phase] = 0.98 * smooth + 0.02 * step.loss
        if step.progress - self._recorded.get(step.phase, 0.0) >= 1 / _POINTS:
            self._recorded[step.phase] = step.progress
            self._record(f"{step.phase} loss", step.number, self._losses[step.phase])
        if self._writer and step.number % 10 == 0:
            self._writer.add_scalar(f"{step.phase}/loss", step.loss, step.number)
            self._writer.add_scalar(f"{step.phase}/learning_rate", step.learning_rate, step.number)
            for name, value in step.parts.items():
                self._writer.add_scalar(f"{step.phase}/{name}", value, step.number)
        if not self.show:
            return
        left = step.seconds * (1 - step.progress) / max(step.progress, 1e-6)
        text = (
            f"{step.phase} loss {self._losses[step.phase]:.4f} · {self.items_per_second:,.0f} items/s · "
            f"step {step.number} · {_clock(left)} left"
        )
        if self._bar:
            self._bar.update(self._task, completed=step.progress, description=text)
        elif time.monotonic() - self._shown > 10 or step.progress >= 1:
            self._shown = time.monotonic()
            print(f"{step.progress:4.0%} {text}", file=sys.stderr, flush=True)

    def figure(self, name: str, value: float, number: int) -> None:
        """A figure that is not of a step."""
        self._record(name.replace("/", " "), number, value)
        if self._writer:
            self._writer.add_scalar(name, value, number)

    def _record(self, name: str, number: int, value: float) -> None:
        self.curves.setdefault(name, []).append([number, round(value, 6)])

    def sheet(self, picture: Any, number: int) -> None:
        """A preview sheet to TensorBoard."""
        if self._writer:
            import numpy as np

            self._writer.add_image("preview", np.asarray(picture), number, dataformats="HWC")


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
