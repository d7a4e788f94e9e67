"""A folder of files, its sub-folders the classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError
from morphogen.core.modality import Modality, Record, read_item

from .base import Source
from .claims import Claim, accepted, claim

_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation"}


class FolderSource(Source):
    """The files of one modality under a folder, or a single file."""

    def __init__(self, root: Path, names: list[str], modality: Modality[Any], ignored: int = 0) -> None:
        """`names` are paths relative to `root`; `ignored` is the number of other files in the folder."""
        self.root, self.modality, self._modality = root, modality.name, modality
        self._names = sorted(names)
        kind = f"{modality.name} file{'s' * (len(names) != 1)}"
        self.description = f"folder {root.name or root}: {len(names)} {kind}"
        levels = [name.split("/")[:-1] for name in self._names]
        if all(levels):
            tops = {level[0].lower() for level in levels}
            if tops <= _TRAIN | _TEST and tops & _TRAIN and tops & _TEST:
                self.test = np.array([level[0].lower() in _TEST for level in levels])
                self.description += f", {int(self.test.sum())} of them in its own test split"
                levels = [level[1:] for level in levels]
        if all(len(level) == 1 for level in levels):
            labels: dict[str, str] = {}
            self.columns = {"label": [labels.setdefault(level[0], level[0]) for level in levels]}
            self.description += f", label from {len(labels)} sub-folder{'s' * (len(labels) > 1)}"
        elif any(levels):
            self.description += ", no label (not every file stands in exactly one level of sub-folder)"
        if ignored:
            self.description += f" ({ignored} other file{'s' * (ignored > 1)} ignored)"

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Any:
        path = self.root / self._names[index]
        return read_item(self._modality, path, str(path))

    def item_name(self, index: int) -> str:
        return self._names[index]


def single_file(path: Path, modality: Modality[Any]) -> FolderSource:
    """Return one file as a source of one item."""
    source = FolderSource(path.parent, [path.name], modality)
    source.description = f"the single file {path.name}"
    return source


def open_folder(root: Path, modality: str | None) -> FolderSource:
    """Return the files of the modality that claims most of them; of equal numbers, that with the strongest claim.

    All files with one suffix are of one modality. Raises UserError that counts the files if none is claimed.
    """
    names: dict[str, list[str]] = {}
    for name in _walk(root):
        names.setdefault(_suffix(name), []).append(name)
    if not names:
        raise UserError(f"the folder {root} is empty; expected files such as {accepted('file', modality)}")
    claims: dict[str, Claim] = {}
    for suffix, group in names.items():
        if winner := claim([Record("file", root / group[0], Path(group[0]).name)], modality):
            claims[suffix] = winner
    if not claims:
        counts = Counter({suffix: len(group) for suffix, group in names.items()})
        content = ", ".join(f"{number} {suffix or 'without suffix'}" for suffix, number in counts.most_common(4))
        raise UserError(
            f"the folder {root} holds {content}; expected files such as {accepted('file', modality)}, in it or in "
            "sub-folders"
        )
    files: dict[str, list[str]] = {}
    for suffix, winner in claims.items():
        files.setdefault(winner.modality.name, []).extend(names[suffix])
    winners = {winner.modality.name: winner for winner in claims.values()}
    most = max(files, key=lambda name: (len(files[name]), winners[name].strength))
    ignored = sum(map(len, names.values())) - len(files[most])
    return FolderSource(root, files[most], winners[most].modality, ignored)


def _suffix(name: str) -> str:
    """Return the suffix of a file name in lower case, such as `.png` or `.txt.gz`."""
    suffixes = Path(name.lower()).suffixes
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _walk(root: Path) -> Iterator[str]:
    """Yield the relative paths of all files that are not hidden; links are followed, each folder is entered once."""
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
