"""A data set of the Hugging Face Hub, by its id."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from morphogen.core.errors import UserError, needs_extra, one_line

from .base import Source, class_columns, name_by_content
from .choose_column import HEAD, choose_column, no_column


class HubSource(Source):
    """The splits `train` and `test` of a Hub data set, memory-mapped by `datasets`, items decoded when indexed."""

    def __init__(self, identifier: str, modality: str | None, column: str | None) -> None:
        """`modality` and `column` are those that the user names. Raises UserError if no column has items."""
        splits, self._parts = _load(identifier)
        features = self._parts[0].features
        title = f"the Hub data set {identifier}"
        chosen = choose_column(
            {name: _first_cells(self._parts[0], name) for name in features},
            chosen=column,
            modality=modality,
            file=title,
            features={name: type(feature).__name__ for name, feature in features.items()},
        )
        if chosen is None:
            raise no_column(features, modality, title)
        self._column, self._reader, self.modality = chosen.name, chosen.reader, chosen.reader.modality.name
        self._identifier, self._lock = identifier, threading.Lock()
        self.columns = class_columns({name: self._classes(name) for name in features if self._is_class_like(name)})
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
        return self._reader.read(cell, self._row(index))

    def item_name(self, index: int) -> str:
        if not self._reader.as_paths and _is_string(self._parts[0].features[self._column]):
            return name_by_content(self, index, self._row(index))
        return self._row(index)

    def _row(self, index: int) -> str:
        return f"{self._identifier} row {index}"

    def _is_class_like(self, name: str) -> bool:
        feature = self._parts[0].features[name]
        is_label = hasattr(feature, "names")
        return name != self._column and (is_label or (_is_simple(feature) and "float" not in feature.dtype))

    def _classes(self, name: str) -> list[object]:
        values = [value for part in self._parts for value in part[name]]
        names = getattr(self._parts[0].features[name], "names", None)
        return [names[value] if names and value is not None and value >= 0 else value for value in values]


def _load(identifier: str) -> tuple[list[str], list[Any]]:
    """Return the names and the data of the splits to read, with media as bytes or paths."""
    try:
        import datasets
    except ImportError:
        raise needs_extra("datasets", "hub", f"the Hub data set {identifier}") from None
    _check_reachable(identifier)
    try:
        loaded = datasets.load_dataset(identifier)
    except Exception as error:  # the hub client raises its own, its transport's and the operating system's
        raise UserError(f"the Hub data set {identifier} could not be opened ({one_line(error)})") from None
    splits = [name for name in ("train", "test") if name in loaded] or list(loaded)[:1]
    parts = [loaded[name] for name in splits]
    for name, feature in parts[0].features.items():
        if hasattr(feature, "decode"):  # of media, whose type says whether `datasets` decodes them
            parts = [part.cast_column(name, type(feature)(decode=False)) for part in parts]
    return splits, parts


def _first_cells(part: Any, name: str) -> list[Any]:
    """Return the first cells of a column; of media, which are large, a single one."""
    cells = part.select_columns([name])[: HEAD if _is_simple(part.features[name]) else 1]
    return list(cells[name])


def _is_simple(feature: Any) -> bool:
    return type(feature).__name__ in ("Value", "ClassLabel")


def _is_string(feature: Any) -> bool:
    return _is_simple(feature) and "string" in feature.dtype


def _check_reachable(identifier: str) -> None:
    """Ask the Hub once: `load_dataset` alone would retry for half a minute where there is no network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        HfApi().dataset_info(identifier, timeout=20)
    except OfflineModeIsEnabled:
        return  # as the user wants: what was downloaded before is used
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no local path '{identifier}', and no Hub data set of that id; check the name"
        ) from None
    except Exception as error:
        raise UserError(
            f"there is no local path '{identifier}', and the Hub cannot be reached ({one_line(error)}); "
            "check the connection, or set HF_HUB_OFFLINE=1 to use a data set downloaded before"
        ) from None
