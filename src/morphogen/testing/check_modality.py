"""The contract of a modality, run on a few of its items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..core import plugins
from ..core.config import Frozen
from ..core.errors import BadItem, UserError
from ..core.modality import Modality, Record, modalities
from ..core.noise import Noise
from ..core.query import Query
from ..core.space import TokenSequence
from .check_codec import check_codec, content
from .keywords import check_keywords
from .refusal import refusal

_KINDS: tuple[Any, ...] = ("file", "array", "cells", "rows", "object")


def check_modality(
    modality: Modality[Any], items: Any, folder: Path, *, mask: Frozen | None = None, options: Any = None
) -> list[str]:
    """Check a modality on a collection of its items; return what was checked.

    What it declares is complete; it claims the files that it writes, and reads from them items of the same codes; its
    default family models one of its kinds of space, and each kind has a codec that keeps its contract (see
    `check_codec`); collections can be taken apart and joined; a preview is drawn; of items with a `mask` all else is
    known, and comes back. What is no item is refused as a BadItem. `folder` is an empty one to write to. Raises
    AssertionError that says which promise is broken.
    """
    where = f"modality '{modality.name}'"
    _check_declarations(modality, where)
    assert modality.Options.model_json_schema(), f"{where}: its Options have no JSON schema"
    options = modality.Options() if options is None else options
    codecs = [modality.fit(iter([items]), kind, options) for kind in modality.spaces]
    for kind, codec in zip(modality.spaces, codecs, strict=True):
        assert type(codec.space) is kind, f"{where}: fit to {kind.__name__} gives {codec.space}"
    checked = check_codec(type(codecs[0]), items, modality.spaces, options)
    _check_collections(modality, items, where)
    _check_files(modality, items, codecs[0], folder, where)
    for codec in codecs:
        _check_requests(modality, items, codec, where)
        codec.save(folder / type(codec.space).__name__)
        restored = modality.load_codec(folder / type(codec.space).__name__)
        assert restored.space == codec.space, f"{where}: load_codec gives a codec to {restored.space}"
    picture = modality.preview(items)
    assert min(picture.size) > 0, f"{where}: the preview is empty"
    if modality.Mask is not None:
        assert modality.Mask.model_json_schema(), f"{where}: its Mask has no JSON schema"
        if mask is not None:
            for codec in codecs:
                _check_mask(modality, items, codec, mask, where)
            checked.append(f"{where}: a mask {mask!r}")
    refused = refusal(BadItem, lambda: modality.read(object(), "the item"))
    assert refused is not None, f"{where}: reads an item from a plain object"
    assert "the item" in refused, f"{where}: does not name the item that it cannot read: {refused}"
    return checked


def _check_declarations(modality: Modality[Any], where: str) -> None:
    assert modalities().get(modality.name) is modality, f"{where}: its name is not that of its folder"
    for name in ("noun", "plural"):
        assert getattr(modality, name), f"{where}: it has no {name}"
    assert issubclass(modality.Query, Query), f"{where}: its Query is not one of core.query"
    assert set(modality.accepts) <= set(_KINDS), f"{where}: accepts {sorted(modality.accepts)}, known: {_KINDS}"
    assert modality.accepts, f"{where}: accepts nothing"
    for family in plugins.known("families"):
        for entry in plugins.models(family).values():
            check_keywords(entry.Controls, modality, f"{where}, family '{family}'")
    plugins.kind_for(modality.default_family, modality.spaces)  # refused by a UserError where it models none
    for kind in _KINDS:
        example: Any = {"cells": [object()], "file": Path("no such file.-")}.get(kind, object())
        strength = modality.claims(Record(kind, example, "no such file.-")) if kind not in ("array", "rows") else 0.0
        assert strength == 0, f"{where}: claims {kind} of anything, with {strength}"


def _check_collections(modality: Modality[Any], items: Any, where: str) -> None:
    order = [len(items) - 1, 0]
    taken = modality.take(items, order)
    assert len(taken) == 2, f"{where}: take gives {len(taken)} items for 2 indices"
    joined = modality.concatenate([taken, modality.take(items, [0])])
    assert len(joined) == 3, f"{where}: concatenate gives {len(joined)} items of 2 and 1"
    assert content(joined[1:2]) == content(joined[2:3]), f"{where}: take or concatenate changes an item"


def _check_files(modality: Modality[Any], items: Any, codec: Any, folder: Path, where: str) -> None:
    half = len(items) // 2
    parts = [modality.take(items, range(half)), modality.take(items, range(half, len(items)))]
    paths = modality.write(iter(parts), folder / "items")
    assert paths, f"{where}: write returns no files"
    assert all(path.is_file() for path in paths), f"{where}: write returns files that are not there: {paths}"
    loaded = modality.load(paths)
    assert len(loaded) == len(items), f"{where}: {len(loaded)} items are loaded of {len(items)} that were written"
    x, again = codec.encode(items), codec.encode(loaded)
    assert torch.equal(x, again), f"{where}: items that are written and loaded have other codes"
    assert not modality.differing(items, loaded, codec), f"{where}: items that are written and loaded differ"
    swapped = modality.take(items, [1, 0, *range(2, len(items))])
    if not torch.equal(x[0], x[1]):
        assert modality.differing(items, swapped, codec) == [0, 1], f"{where}: differing misses items that differ"
    if len(paths) == len(items):
        strength = modality.claims(Record("file", paths[0], paths[0].name))
        assert strength > 0, f"{where}: does not claim {paths[0].name}, which it wrote"


def _check_requests(modality: Modality[Any], items: Any, codec: Any, where: str) -> None:
    """One way from a query to items, whatever the kind of space."""
    x = codec.encode(items)
    noise = Noise.consecutive(5, len(x))
    requests = list(codec.requests(modality.Query(), noise))
    seeds = torch.cat([request.noise.seeds for request in requests])
    assert torch.equal(seeds, noise.seeds), f"{where}: requests do not cover the samples in order"
    start = 0
    for request in requests:
        made = codec.finish(x[start : start + len(request)], request)
        assert len(made) == len(request), f"{where}: finish gives {len(made)} items of {len(request)} samples"
        start += len(request)
    gathered = codec.gather([codec.decode(x, noise)])
    assert len(gathered) == len(items), f"{where}: gather gives {len(gathered)} items of {len(items)}"
    aligned = codec.align(gathered)
    assert len(aligned) == len(items), f"{where}: align gives {len(aligned)} items of {len(items)}"
    _refuses_conditions(modality, codec, noise, where)


def _refuses_conditions(modality: Modality[Any], codec: Any, noise: Noise, where: str) -> None:
    query = modality.Query(condition={"no such condition": "x"})
    refused = refusal(UserError, lambda: list(codec.requests(query, noise)))
    assert refused is not None, f"{where}: ignores a condition that does not exist"
    assert "no such condition" in refused, f"{where}: does not name the condition that it refuses: {refused}"


def _check_mask(modality: Modality[Any], items: Any, codec: Any, mask: Frozen, where: str) -> None:
    where = f"{where} as {type(codec.space).__name__}"
    missing = modality.mask(items, mask)
    observed = codec.observe(items, missing)
    x = codec.encode(items)
    known = observed.known.expand(observed.x.shape)
    assert not known.all(), f"{where}: all is known in spite of the mask"
    assert known.any(), f"{where}: nothing is known but what the mask leaves"
    if not isinstance(codec.space, TokenSequence):
        assert torch.equal(observed.x[known], x[known]), f"{where}: what is known has another code"
        merged = codec.encode(codec.merge_known(x.roll(1, 0), Noise.consecutive(0, len(x)), items, missing))
        assert torch.equal(merged[known], x[known]), f"{where}: what is known does not come back"
