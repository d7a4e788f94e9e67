"""A data set of the Hugging Face Hub, by its id."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UserError, needs_extra

from .base import Source, offered
from .documents import named_by_text
from .rows import HEAD, choose_column, mean_lengths, read_cell


class HubSource(Source):
    """The splits `train` and `test` of a Hub data set, memory-mapped by `datasets`, items decoded when asked for."""

    def __init__(self, identifier: str, modality: str | None, column: str | None) -> None:
        try:
            import datasets
        except ImportError:
            raise needs_extra("datasets", "hub", f"the Hub data set {identifier}") from None
        _check_reachable(identifier)
        try:
            found = datasets.load_dataset(identifier)
        except Exception as error:  # the hub client raises its own, its transport's and the operating system's
            raise UserError(f"the Hub data set {identifier} could not be opened ({_line(error)})") from None
        splits = [name for name in ("train", "test") if name in found] or list(found)[:1]
        self._parts = [found[name] for name in splits]
        features = self._parts[0].features
        media = {
            name: "audio" if isinstance(feature, datasets.Audio) else "image"
            for name, feature in features.items()
            if isinstance(feature, (datasets.Image, datasets.Audio))
        }
        strings = [name for name, one in features.items() if isinstance(one, datasets.Value) and "string" in one.dtype]
        head = self._parts[0].select_columns(strings)[:HEAD] if strings else {}
        lengths = mean_lengths([dict(zip(head, row, strict=True)) for row in zip(*head.values(), strict=True)])
        file = f"the Hub data set {identifier}"
        chosen = choose_column(media, lengths, list(features), column, modality, file)
        self._column, self._literal, self.modality = chosen.column, chosen.literal, chosen.modality
        audio = isinstance(features[self._column], datasets.Audio)
        self._identifier, self._lock = identifier, threading.Lock()
        raw = datasets.Audio(decode=False) if audio else datasets.Image(decode=False)
        others = {}
        for name, feature in features.items():
            simple = isinstance(feature, (datasets.ClassLabel, datasets.Value)) and "float" not in str(feature)
            if simple and name != self._column:
                values = [value for part in self._parts for value in part[name]]
                names = feature.names if isinstance(feature, datasets.ClassLabel) else None
                others[name] = [
                    names[value] if names and value is not None and value >= 0 else value for value in values
                ]
        self.columns = offered(others)
        if isinstance(features[self._column], (datasets.Image, datasets.Audio)):
            self._parts = [part.cast_column(self._column, raw) for part in self._parts]
        self._sizes = [len(part) for part in self._parts]
        self.description = f"Hub data set {identifier}: {sum(self._sizes)} rows, {chosen.words}"
        if len(splits) == 2:
            self.test = np.arange(len(self)) >= self._sizes[0]
            self.description += f", its own test split of {self._sizes[1]}"

    def __len__(self) -> int:
        return sum(self._sizes)

    def read(self, index: int) -> Any:
        part, row = (0, index) if index < self._sizes[0] else (1, index - self._sizes[0])
        with self._lock:
            cell = self._parts[part][row][self._column]
        return read_cell(cell, self.modality, Path(), self._row(index), self._literal)

    def item_name(self, index: int) -> str:
        return named_by_text(self, index, self._row(index)) if self._literal else self._row(index)

    def _row(self, index: int) -> str:
        return f"{self._identifier} row {index}"


def _check_reachable(identifier: str) -> None:
    """Ask the Hub once: `load_dataset` alone would retry for half a minute where there is no network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        HfApi().dataset_info(identifier, timeout=20)
    except OfflineModeIsEnabled:
        return  # asked for: what was downloaded before is used
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no local path '{identifier}', and no Hub data set of that id; check the name"
        ) from None
    except Exception as error:
        raise UserError(
            f"there is no local path '{identifier}', and the Hub cannot be reached ({_line(error)}); "
            "check the connection, or set HF_HUB_OFFLINE=1 to use a data set downloaded before"
        ) from None


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
