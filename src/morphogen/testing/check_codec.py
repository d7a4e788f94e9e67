"""The contract of a modality's codec, run on a few of its items."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.space import Continuous, Space, Tokens


def check_codec(
    codec_class: type[Codec[Any]], items: Any, kinds: Sequence[type[Space]], options: Any = None
) -> list[str]:
    """Check a codec on a collection of items (one that can be sliced), for each kind of space it offers; what it found.

    Codes have the space's shape and its kind's type and range, those of Tokens with an end any length from that on;
    decoding and encoding again gives the same codes; after save and load too; an item has the same code alone and in a
    batch; fitting in two chunks is fitting at once. What `cut` makes are rows of the space's shape in the items' order,
    that hold every symbol of every item and no other; what `blank` knows is true of every item; sizes are positive.
    Raises AssertionError that says which promise is broken.
    """
    done = []
    for kind in kinds:
        where = f"{codec_class.__name__} to {kind.__name__}"
        codec = codec_class.fit(iter([items]), kind, options)
        assert type(codec.space) is kind, f"{where}: the space is {codec.space}"
        codes = codec.encode(items)
        _check_codes(codec, codes, len(items), where)

        again = codec.encode(codec.decode(codes))
        apart = _apart(again, codes)
        assert apart <= 1e-6, f"{where}: decoding and encoding again moves the codes by {apart:.1e}"
        with tempfile.TemporaryDirectory() as folder:
            codec.save(Path(folder) / "codec")
            restored = codec_class.load(Path(folder) / "codec")
        assert restored.space == codec.space, f"{where}: after loading the space is {restored.space}"
        assert torch.equal(restored.encode(items), codes), f"{where}: after loading the codes are others"
        assert _state(restored) == _state(codec), f"{where}: after loading the state is another"
        for index in (0, len(items) - 1):
            alone = codec.encode(items[index : index + 1])
            assert torch.equal(_widened(codec.space, alone, codes), codes[index : index + 1]), (
                f"{where}: item {index} has another code alone than in a batch"
            )
        half = len(items) // 2
        if half:
            parts = codec_class.fit(iter([items[:half], items[half:]]), kind, options)
            assert parts.space == codec.space, f"{where}: fitted in two chunks the space is {parts.space}"
            assert _apart(parts.encode(items), codes) <= 1e-4, f"{where}: fitted in two chunks the codes are others"
        for parted in (False, True):
            _check_rows(codec, items, codes, parted, f"{where}, cut{' alone' * parted}")
        _check_blank(codec, codes, where)
        sizes = codec.sizes(items)
        assert sizes.shape == (len(items),), f"{where}: sizes of shape {tuple(sizes.shape)}, expected {(len(items),)}"
        assert (sizes > 0).all(), f"{where}: the size of item {int(sizes.argmin())} is {sizes.min().item()}"
        done.append(f"{where}: {codec.space}")
    return done


def _check_codes(codec: Codec[Any], codes: Tensor, count: int, where: str) -> None:
    expected = torch.int64 if isinstance(codec.space, Tokens) else torch.float32
    shape = (count, *codec.space.shape)
    if _has_any_length(codec.space):
        shape = (count, max(codec.space.shape[0], *codes.shape[1:]))
    assert codes.shape == shape, f"{where}: codes of shape {tuple(codes.shape)}, expected {shape}"
    assert codes.dtype == expected, f"{where}: codes of type {codes.dtype}, expected {expected}"
    _check_values(codec.space, codes, where)


def _check_values(space: Space, codes: Tensor, where: str) -> None:
    if isinstance(space, Continuous):
        assert codes.isfinite().all(), f"{where}: a code is not finite"
        return
    vocab = torch.as_tensor(space.vocab)
    assert (codes >= 0).all(), f"{where}: a token below 0"
    assert (codes < vocab.reshape(space.size if vocab.ndim else ())).all(), f"{where}: a token beyond the vocab"


def _check_rows(codec: Codec[Any], items: Any, codes: Tensor, alone: bool, where: str) -> None:
    space = codec.space
    rows, owners = codec.cut(items, alone)
    shape = (len(owners), *space.shape)
    assert rows.shape == shape, f"{where}: rows of shape {tuple(rows.shape)}, expected {shape}"
    assert rows.dtype == codes.dtype, f"{where}: rows of type {rows.dtype}, expected {codes.dtype}"
    assert owners.dtype == torch.int64, f"{where}: the items of rows are of type {owners.dtype}, expected int64"
    assert (owners.diff() >= 0).all(), f"{where}: the items of rows fall: {owners.tolist()}"
    assert ((owners >= 0) & (owners < len(items))).all(), f"{where}: rows of items that are not there"
    _check_values(space, rows, where)
    if not isinstance(space, Tokens) or not _has_any_length(space):
        return
    if alone:
        assert owners.unique().tolist() == list(range(len(items))), f"{where}: an item has no row"
    wanted = [_item(space, code) for code in codes.tolist()]
    seen = [[False] * len(code) for code in wanted]
    for number, (row, owner) in enumerate(zip(rows.tolist(), owners.tolist(), strict=True)):
        parts = _parts(space, row)
        assert not alone or len(parts) == 1, f"{where}: row {number} holds {len(parts)} items"
        for item, part in enumerate(parts, start=owner):
            assert item < len(items), f"{where}: row {number} holds items after the last"
            code = wanted[item]
            places = [at for at in range(len(code) - len(part) + 1) if code[at : at + len(part)] == part]
            assert places, f"{where}: row {number} holds what item {item} does not"
            for at in places:  # of equal stretches nobody can tell which was read
                seen[item][at : at + len(part)] = [True] * len(part)
    for item, marks in enumerate(seen):
        assert all(marks), f"{where}: symbol {marks.index(False)} of item {item} stands in no row"


def _parts(space: Tokens, row: list[int]) -> list[list[int]]:
    """The items, or stretches of one, that a row holds."""
    parts: list[list[int]] = []
    while row:
        part = _item(space, row)
        row = row[len(part) :]
        if part != [space.end] or not parts:
            parts.append(part)
    return parts


def _item(space: Tokens, code: list[int]) -> list[int]:
    """Up to the first end, which belongs to it."""
    return code[: code.index(space.end) + 1] if space.end in code else code


def _check_blank(codec: Codec[Any], codes: Tensor, where: str) -> None:
    blank = codec.blank(len(codes))
    if blank is None:
        return
    shape = (len(codes), *codec.space.shape)
    assert blank.x.shape == shape, f"{where}: blank of shape {tuple(blank.x.shape)}, expected {shape}"
    begun = codes[:, : shape[1]]
    assert (blank.x == begun)[blank.known.expand(shape)].all(), f"{where}: what blank knows is not true of the items"


def _has_any_length(space: Space) -> bool:
    return isinstance(space, Tokens) and space.end is not None and len(space.size) == 1


def _widened(space: Space, x: Tensor, like: Tensor) -> Tensor:
    """As wide as `like`, where items have any length."""
    if not isinstance(space, Tokens) or not _has_any_length(space):
        return x
    return torch.nn.functional.pad(x, (0, max(0, like.shape[1] - x.shape[1])), value=space.end)


def _apart(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"codes of shape {tuple(a.shape)}, expected {tuple(b.shape)}"
    return (a - b).abs().max().item() if a.numel() else 0.0


def _state(codec: Codec[Any]) -> tuple[str, dict[str, list[Any]]]:
    config, tensors = codec.state()
    return json.dumps(config, sort_keys=True), {name: value.tolist() for name, value in tensors.items()}
