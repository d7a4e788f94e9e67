"""A folder of files, its sub-folders the classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError, unknown

from .base import Source, of_suffix, readers

_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation"}


class FolderSource(Source):
    """The files of one modality under a folder, or a single file."""

    def __init__(self, root: Path, names: list[str], modality: str, ignored: int = 0) -> None:
        self.root, self.modality = root, modality
        self._names = sorted(names)  # paths relative to root
        self._reader = readers()[modality]
        noun = f"{modality} file{'s' * (len(names) != 1)}"
        self.description = f"folder {root.name or root}: {len(names)} {noun}"
        levels = [name.split("/")[:-1] for name in self._names]
        if all(levels):
            tops = {level[0].lower() for level in levels}
            if tops <= _TRAIN | _TEST and tops & _TRAIN and tops & _TEST:
                self.test = np.array([level[0].lower() in _TEST for level in levels])
                self.description += f", {int(self.test.sum())} of them in its own test split"
                levels = [level[1:] for level in levels]
        if all(len(level) == 1 for level in levels):
            known: dict[str, str] = {}
            self.columns = {"label": [known.setdefault(level[0], level[0]) for level in levels]}
            self.description += f", label from {len(known)} sub-folder{'s' * (len(known) > 1)}"
        elif any(levels):
            self.description += ", no label (not every file stands in exactly one level of sub-folder)"
        if ignored:
            self.description += f" ({ignored} other file{'s' * (ignored > 1)} ignored)"

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Any:
        return self._reader.read(self.root / self._names[index])

    def item_name(self, index: int) -> str:
        return self._names[index]


def open_folder(root: Path, modality: str | None) -> FolderSource:
    """The files of `modality`, else of the modality with most files. Raises UserError naming what was found instead."""
    if modality is not None and modality not in readers():
        raise unknown("modality", modality, readers())
    names: dict[str, list[str]] = {}
    endings: Counter[str] = Counter()
    for name in walk(root):
        endings[Path(name).suffix.lower() or "without suffix"] += 1
        kind = of_suffix(name)
        if kind is not None and modality in (None, kind):
            names.setdefault(kind, []).append(name)
    if not endings:
        raise UserError(f"the folder {root} is empty; expected files such as {_examples(modality)}")
    if not names:
        found = ", ".join(f"{number} {ending}" for ending, number in endings.most_common(4))
        raise UserError(
            f"the folder {root} holds {found}; expected files such as {_examples(modality)}, in it or in sub-folders"
        )
    # As many captions as pictures are not what a folder is of.
    kind = max(names, key=lambda name: (len(names[name]), name != "text"))
    return FolderSource(root, names[kind], kind, ignored=endings.total() - len(names[kind]))


def walk(root: Path) -> Iterator[str]:
    """Relative paths of all files below, hidden ones left out; links are followed, each folder entered once."""
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        yield from (f"{prefix}{name}" for name in sorted(files) if not name.startswith("."))


def _examples(modality: str | None) -> str:
    modules = [readers()[modality]] if modality else list(readers().values())
    return ", ".join(sorted(suffix for module in modules for suffix in module.SUFFIXES)[:6])
