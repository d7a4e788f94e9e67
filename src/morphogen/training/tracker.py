"""What a run shows while it trains: a progress line, and curves for TensorBoard where it is installed."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .loop import Step
from .progress import Display, open_display

_POINTS = 100  # of a curve that is kept
_LOG_EVERY = 10  # steps between points for TensorBoard


class Tracker:
    """Shows the progress, and writes scalars and previews to TensorBoard."""

    def __init__(self, folder: Path, batch: int, *, log: bool, show: bool) -> None:
        """`folder` is for TensorBoard, where `log` is set; the progress is shown where `show` is."""
        self.batch = batch
        self._started = time.monotonic()
        self._first_step: int | None = None
        self._items = 0
        self._losses: dict[str, float] = {}  # by phase, smoothed
        self.curves: dict[str, list[list[float]]] = {}  # name → [[step, value], …], about a hundred points
        self._recorded: dict[str, float] = {}
        self._writer: Any = _summary_writer(folder) if log else None
        self._display = open_display() if show else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display:
            self._display.stop()
        if self._writer:
            self._writer.close()

    @property
    def items_per_second(self) -> float:
        """The speed of training since this process took over."""
        return self._items / max(1e-9, time.monotonic() - self._started)

    def step(self, step: Step) -> None:
        """Record and show a step."""
        if self._first_step is None:
            self._first_step = step.number - 1
        self._items = (step.number - self._first_step) * self.batch
        smooth = self._losses.get(step.phase, step.loss)
        self._losses[step.phase] = 0.98 * smooth + 0.02 * step.loss
        if step.progress - self._recorded.get(step.phase, 0.0) >= 1 / _POINTS:
            self._recorded[step.phase] = step.progress
            self._record(f"{step.phase} loss", step.number, self._losses[step.phase])
        if self._writer and step.number % _LOG_EVERY == 0:
            self._writer.add_scalar(f"{step.phase}/loss", step.loss, step.number)
            self._writer.add_scalar(f"{step.phase}/learning_rate", step.learning_rate, step.number)
            for name, value in step.parts.items():
                self._writer.add_scalar(f"{step.phase}/{name}", value, step.number)
        if self._display:
            self._show(self._display, step)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Record a value that belongs to no phase."""
        self._record(name.replace("/", " "), step, value)
        if self._writer:
            self._writer.add_scalar(name, value, step)

    def preview(self, picture: Any, step: int) -> None:
        """Show a preview where there is a notebook, and write it to TensorBoard."""
        if self._display:
            self._display.preview(picture)
        if self._writer:
            import numpy as np

            self._writer.add_image("preview", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def _record(self, name: str, step: int, value: float) -> None:
        self.curves.setdefault(name, []).append([step, round(value, 6)])

    def _show(self, display: Display, step: Step) -> None:
        seconds_left = step.seconds * (1 - step.progress) / max(step.progress, 1e-6)
        display.update(
            step.progress,
            f"{step.phase} loss {self._losses[step.phase]:.4f} · {self.items_per_second:,.0f} items/s · "
            f"step {step.number} · {_clock(seconds_left)} left",
        )


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
