"""From a source to encoded training data on disk, and back from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core import plugins
from ..core.codec import Codec
from ..core.condition import LabelCodec
from ..core.config import build, write_json
from ..core.errors import UserError, unknown
from ..core.model import Batch, GenerativeModel
from ..data.digest import source_digest
from ..data.encode import chunks, encode_source, unreadable
from ..data.sources import Source
from ..data.split import split_by_hash
from ..data.store import EncodedStore
from ..pipeline import Pipeline, load_codec, load_condition
from ..through import codec_through

SMALL = "small"  # the condition of a model that enlarges
_VALIDATED, _SHARE, _MOST = 200, 0.05, 1_000  # items from which on so large a share is kept, about so many at most
_PART = 0.025  # of the rows, where they are parts of a few long items, at the end of the last
_FEW = 100  # items, of which a model learns little but themselves
_SURVEYED = 4_000  # items the codec is fitted to, spread over the source

Say = Callable[[str], None]


@dataclass
class Data:
    """The encoded rows and the conditions of each: the first `count` to train on, `validating` those after them."""

    store: EncodedStore
    conditions: dict[str, Tensor | EncodedStore]
    count: int
    validating: range

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        x = self.store.read(indices).to(device)
        return Batch(x, {name: _read(value, indices).to(device) for name, value in self.conditions.items()})


def _read(values: Tensor | EncodedStore, indices: Tensor) -> Tensor:
    return values.read(indices) if isinstance(values, EncodedStore) else values[indices]


def prepare(
    source: Source,
    kind: type[GenerativeModel],
    condition: str | Sequence[str] | None,
    codec_options: Mapping[str, Any],
    out: Path,
    tell: Say,
    *,
    spec: str | None,
    opening: Mapping[str, str | None],
    through: Pipeline | None,
    enlarge: int | None,
) -> tuple[int, int]:
    """Fit the codecs, split, and encode the training items to disk.

    `spec` is what the source can be opened by again, with `opening`, the column and the separator it was opened with.

    Returns how many rows there are to train on, and where those for validation, of a family that validates, begin.

    With `through`, a trained autoencoder, what is encoded are its latents. With `enlarge`, a factor, each item's
    smaller version is the condition SMALL.
    """
    fit_codec = _codec(source, kind, codec_options, through, enlarge)
    names = [condition] if isinstance(condition, str) else list(condition or ())
    if enlarge and SMALL in names:
        raise UserError(f"--enlarge makes a condition '{SMALL}', and a column is called so; rename the column")
    for name in names:
        if name != Path(name).name or name.startswith("."):
            raise UserError(f"the column '{name}' cannot name a folder of the model; rename it to condition on it")
        if name not in source.columns:
            if not source.columns:
                raise UserError(f"{source.description} has no column '{name}' to condition on; use class sub-folders")
            raise unknown("column", name, source.columns)
    test = source.test if source.test is not None else split_by_hash(source.item_names())
    indices = np.flatnonzero(~np.asarray(test))
    held_out = np.flatnonzero(np.asarray(test))
    if not len(indices) and source.test is None:
        indices, held_out = held_out, indices  # of a handful, nothing is held out
    if not len(indices):
        raise UserError(f"{source.description} has no training items; add some to its training split")
    validating = _validating(source, indices, names) if kind.validates else indices[:0]
    indices = indices[~np.isin(indices, validating)]
    spread = indices[np.unique(np.linspace(0, len(indices) - 1, min(_SURVEYED, len(indices))).astype(int))]
    if through is None and plugins.sole(plugins.load("modalities", source.modality, "codec"), Codec).fits_to_all:
        spread = np.sort(np.concatenate((indices, validating)))
    fitted = fit_codec(chunks(source, spread))
    if len(spread) < len(indices):
        tell(f"looked at {len(spread):,} of them:")
    for note in getattr(fitted, "notes", ()):
        tell(note)
    labels = {}
    for name in names:
        column = source.columns[name]
        labels[name] = LabelCodec.fit([[column[i] for i in indices.tolist()]])
        counts = Counter(column[i] for i in indices.tolist() if column[i])
        rare = [value for value, count in counts.items() if count < 10]
        few = f"; fewer than 10 examples of {', '.join(rare[:5])}" if rare else ""
        lost = sorted(set(column) - set(counts) - {""})
        gone = f"; not learned, for all their items are held out: {', '.join(lost[:5])}" if lost else ""
        tell(f"condition '{name}': {len(counts)} classes{few}{gone}")
    folder = out / "training"
    folder.mkdir(parents=True, exist_ok=True)
    _, kept, items, skipped = encode_source(
        source, fitted, folder / "train.store", indices, validating, alone=bool(names or enlarge or kind.one_item_a_row)
    )
    trained, validating = kept[~np.isin(kept, validating)], kept[np.isin(kept, validating)]
    count = int((items < len(trained)).sum())
    begin = count
    if kind.validates and not len(validating) and len(items) > len(kept) and count >= _VALIDATED:
        # Of a few long items the last rows; the one before them overlaps.
        begin = count - min(max(1, int(_PART * count)), _MOST)
        count = begin - 1
    if count < _FEW:
        tell(f"only {count} to train on: expect copies of them; give hundreds")
    lost_items = unreadable(source, held_out)
    skipped += lost_items.values()
    held_out = held_out[[index not in lost_items for index in held_out.tolist()]]
    if skipped:
        tell(f"skipped {len(skipped)} of {len(source)} items that cannot be read: {'; '.join(skipped[:3])}")
    values = {name: one.encode([source.columns[name][i] for i in kept.tolist()]) for name, one in labels.items()}
    fitted.save(out / "codec")
    if enlarge:
        small = fitted.reduced(enlarge)
        small.save(out / "conditions" / SMALL)
        encode_source(source, small, folder / f"condition-{SMALL}.store", kept)
        tell(f"condition '{SMALL}': the same at {small.space}")
    for name, one in labels.items():
        one.save(out / "conditions" / name)
        np.save(folder / f"condition-{name}.npy", values[name].numpy()[items], allow_pickle=False)
    split = {
        "source": source.description,
        "spec": spec,
        "opening": dict(opening),
        "digest": source_digest(source),
        "modality": source.modality,
        "official": source.test is not None,
        "train": len(trained),
        "validation": validating.tolist(),
        "held_out": held_out.tolist(),
        "skipped": skipped,
    }
    write_json(out / "split.json", split)
    validated = f", {len(validating):,} to tell which weights are best" if len(validating) else ""
    rows = f" in {count:,} rows" if len(items) != len(kept) else ""
    if begin > count:
        validated = f", {len(items) - begin:,} rows more to tell which weights are best"
    tell(f"{len(trained):,} items to train on{rows}{validated}, {len(held_out):,} held out")
    return count, begin


def _validating(source: Source, indices: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Of the training items, those kept for validation: none of a few, nor all of a class of the columns `names`."""
    if len(indices) < _VALIDATED:
        return indices[:0]
    names_of_all = source.item_names()
    items = [names_of_all[index] for index in indices.tolist()]
    chosen = split_by_hash(items, share=min(_SHARE, _MOST / len(indices)), seed=1)
    for name in names:
        classes = [source.columns[name][index] for index in indices.tolist()]
        trained = {one for one, kept in zip(classes, chosen, strict=True) if not kept}
        chosen &= np.array([one in trained for one in classes])
    return indices[chosen]


def _codec(
    source: Source,
    kind: type[GenerativeModel],
    options: Mapping[str, Any],
    through: Pipeline | None,
    enlarge: int | None,
) -> Callable[[Iterable[Any]], Codec[Any]]:
    """How the codec is fitted to chunks of items. Raises UserError where the settings do not go together."""
    if through is not None and enlarge:
        raise UserError("--enlarge does not go with --through: a latent's cells are as few as the smaller picture's")
    if through is None:
        own = plugins.sole(plugins.load("modalities", source.modality, "codec"), Codec)
        chosen = build(plugins.load("modalities", source.modality, "options").Options, options, "codec")
        wanted = next((one for one in own.spaces if one in kind.accepts), kind.accepts[0])
        return lambda items: own.fit(items, wanted, chosen)
    if through.modality != source.modality:
        raise UserError(
            f"--through leads to a model of modality '{through.modality}', and the source is of '{source.modality}'; "
            "fit that one on such a source first"
        )
    if options:
        raise UserError(f"codec.{min(options)} does not apply with --through: the model gone through has its own codec")
    fits = [wanted for wanted in kind.accepts if isinstance(getattr(through.model, "latent", None), wanted)]
    return lambda items: codec_through(through).fit(items, (fits or kind.accepts)[0], through)


def reopen(out: Path, settings: Mapping[str, Any]) -> tuple[Codec[Any], dict[str, Codec[Any]], Data]:
    """What `prepare` left on disk."""
    codec = load_codec(settings["modality"], out / "codec")
    conditions = {
        name: load_condition(settings["modality"], out / "conditions" / name) for name in settings["conditions"]
    }
    folder = out / "training"
    values: dict[str, Tensor | EncodedStore] = {
        name: _column(folder / f"condition-{name}.npy")
        if isinstance(one, LabelCodec)
        else EncodedStore(folder / f"condition-{name}.store")
        for name, one in conditions.items()
    }
    store = EncodedStore(folder / "train.store")
    return codec, conditions, Data(store, values, settings["items"], range(settings["validating_from"], len(store)))


def _column(file: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file} cannot be read ({error}); remove the folder and fit again") from None
