"""Where the progress of a fit is shown."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from .progress import Lines, NotebookBar, in_notebook, open_display


class Handle:
    """What IPython returns for something that it displays."""

    def __init__(self, shown: Any) -> None:
        self.shown = [shown]

    def update(self, shown: Any) -> None:
        self.shown.append(shown)


def test_a_notebook_gets_a_bar_and_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[Handle] = []

    def display(shown: Any, display_id: bool) -> Handle:
        handles.append(Handle(shown))
        return handles[-1]

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    bar = open_display()
    assert isinstance(bar, NotebookBar)
    bar.update(0.25, "a < b")
    bar.update(0.26, "too soon")
    bar.update(1.0, "done")
    first, second = Image.new("L", (2, 2)), Image.new("L", (3, 3))
    bar.preview(first)
    bar.preview(second)
    bar.stop()
    assert [len(handle.shown) for handle in handles] == [3, 2]
    assert handles[0].shown[1].endswith("25% a &lt; b")
    assert handles[1].shown == [first, second]
    shell.kernel = None  # IPython in a terminal
    assert not in_notebook()


def test_elsewhere_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = open_display()
    assert isinstance(lines, Lines)
    for progress in (0.1, 0.2, 1.0):
        lines.update(progress, "loss 1")
    assert capsys.readouterr().err == " 10% loss 1\n100% loss 1\n"
