"""How far a fit has come: a bar on a terminal, a bar and previews in a notebook, a line every few seconds elsewhere."""

from __future__ import annotations

import html
import sys
import time
from typing import Any, Protocol

from ..core.log import say

_LINE_SECONDS, _NOTEBOOK_SECONDS = 10.0, 0.5  # between updates


class Display(Protocol):
    """What shows the progress."""

    def update(self, progress: float, text: str) -> None:
        """Show a share of the budget, and what there is to say of it."""

    def preview(self, picture: Any) -> None:
        """Show a preview, a PIL image, where that can be."""

    def stop(self) -> None:
        """Show no more."""


def open_display() -> Display:
    """Return the display that suits where this process runs."""
    if in_notebook():
        return NotebookBar()
    return TerminalBar() if sys.stderr.isatty() else Lines()


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Lines:
    """A message every ten seconds, and one at the end."""

    def __init__(self) -> None:
        self._said = 0.0

    def update(self, progress: float, text: str) -> None:
        if time.monotonic() - self._said > _LINE_SECONDS or progress >= 1:
            self._said = time.monotonic()
            say(f"{progress:4.0%} {text}")

    def preview(self, picture: Any) -> None:
        pass

    def stop(self) -> None:
        pass


class TerminalBar:
    """A bar on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.percentage:3.0f}%"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def update(self, progress: float, text: str) -> None:
        self._bar.update(self._task, completed=progress, description=text)

    def preview(self, picture: Any) -> None:
        pass

    def stop(self) -> None:
        self._bar.stop()


class NotebookBar:
    """A bar in the output of a cell, and below it the newest preview."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html, self._display = HTML, display
        self._shown = 0.0
        self._bar = display(HTML(""), display_id=True)
        self._picture: Any = None

    def update(self, progress: float, text: str) -> None:
        if time.monotonic() - self._shown > _NOTEBOOK_SECONDS or progress >= 1:
            self._shown = time.monotonic()
            value = f'<progress value="{min(progress, 1.0):.4f}" max="1" style="width: 16em"></progress>'
            self._bar.update(self._html(f"{value} {progress:.0%} {html.escape(text)}"))

    def preview(self, picture: Any) -> None:
        if self._picture is None:
            self._picture = self._display(picture, display_id=True)
        else:
            self._picture.update(picture)

    def stop(self) -> None:
        pass
