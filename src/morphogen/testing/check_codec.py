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
from ..core.noise import Noise
from ..core.space import Grid, Row, Space, TokenSequence
from .examples import canonical


def check_codec(
    codec_class: type[Codec[Any]], items: Any, kinds: Sequence[type[Space]], options: Any = None
) -> list[str]:
    """Check a codec on a collection of items (one that can be sliced); return what was checked.

    It is fitted to each of `kinds` of space. Codes have the space's shape and its kind's type and range, those of a
    TokenSequence any length from the context on. Decoding is a function of code and seed, the same alone and in a
    batch, and encoding again gives the same codes; after save and load too. An item has the same code alone and in a
    batch; fitting in two chunks is fitting at once. What `pack` makes are examples of the space's shape in the items'
    order, that hold every token of every item and no other; numbers of values are positive. Raises AssertionError that
    says which promise is broken.
    """
    checked = []
    for kind in kinds:
        where = f"{codec_class.__name__} to {kind.__name__}"
        codec = codec_class.fit(iter([items]), kind, options)
        assert type(codec.space) is kind, f"{where}: the space is {codec.space}"
        codes = codec.encode(items)
        _check_codes(codec, codes, len(items), where)
        _check_decoding(codec, codes, where)
        _check_saving(codec, items, codes, where)
        _check_fitting(codec, items, codes, options, where)
        for alone in (False, True):
            _check_examples(codec, items, codes, alone, f"{where}, packed{' alone' * alone}")
        values = codec.num_values(items)
        assert values.shape == (len(items),), f"{where}: num_values has shape {tuple(values.shape)}, not {len(items)}"
        assert (values > 0).all(), f"{where}: num_values of item {int(values.argmin())} is {values.min().item()}"
        checked.append(f"{where}: {codec.space}")
    return checked


def _check_codes(codec: Codec[Any], codes: Tensor, count: int, where: str) -> None:
    expected = torch.float32 if isinstance(codec.space, Grid) else torch.int64
    shape = (count, *codec.space.shape)
    if isinstance(codec.space, TokenSequence):
        shape = (count, max(codec.space.context, *codes.shape[1:]))
    assert codes.shape == shape, f"{where}: codes of shape {tuple(codes.shape)}, expected {shape}"
    assert codes.dtype == expected, f"{where}: codes of type {codes.dtype}, expected {expected}"
    check_values(codec.space, codes, where)
    if isinstance(codec.space, TokenSequence):
        assert (codes[:, 0] == codec.space.start).all(), f"{where}: an item does not begin with the start"
        assert (codes == codec.space.end).any(1).all(), f"{where}: an item has no end"
        assert torch.equal(canonical(codec.space, codes), codes), f"{where}: an item is not padded with ends"


def check_values(space: Space, codes: Tensor, where: str) -> None:
    """Raise AssertionError where a value is not finite, or a token not one of the space."""
    if isinstance(space, Grid):
        assert codes.isfinite().all(), f"{where}: a value is not finite"
        return
    vocab = torch.tensor([field.size for field in space.fields] if isinstance(space, Row) else space.vocab)
    assert (codes >= 0).all(), f"{where}: a token below 0"
    assert (codes < vocab).all(), f"{where}: a token beyond the vocabulary"


def _check_decoding(codec: Codec[Any], codes: Tensor, where: str) -> None:
    noise = Noise.consecutive(11, len(codes))
    decoded = codec.decode(codes, noise)
    assert len(decoded) == len(codes), f"{where}: {len(decoded)} items decoded from {len(codes)} codes"
    again = codec.encode(decoded)
    moved = _distance(again, codes)
    assert moved <= 1e-6, f"{where}: decoding and encoding again moves the codes by {moved:.1e}"
    for index in (0, len(codes) - 1):
        alone = codec.decode(codes[index : index + 1], Noise(noise.seeds[index : index + 1]))
        assert content(alone[0:1]) == content(decoded[index : index + 1]), (
            f"{where}: item {index} is not decoded the same alone and in a batch"
        )


def _check_saving(codec: Codec[Any], items: Any, codes: Tensor, where: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        codec.save(Path(folder) / "codec")
        restored = type(codec).load(Path(folder) / "codec")
    assert restored.space == codec.space, f"{where}: after loading the space is {restored.space}"
    assert torch.equal(restored.encode(items), codes), f"{where}: after loading the codes are others"
    assert _state(restored) == _state(codec), f"{where}: after loading the state is another"
    noise = Noise.consecutive(0, len(codes))
    assert content(restored.decode(codes, noise)) == content(codec.decode(codes, noise)), (
        f"{where}: after loading the decoded items are others"
    )


def _check_fitting(codec: Codec[Any], items: Any, codes: Tensor, options: Any, where: str) -> None:
    for index in (0, len(items) - 1):
        alone = canonical(codec.space, codec.encode(items[index : index + 1]), codes.shape[-1])
        assert torch.equal(alone, codes[index : index + 1]), (
            f"{where}: item {index} has another code alone than in a batch"
        )
    half = len(items) // 2
    if half:
        parts = type(codec).fit(iter([items[:half], items[half:]]), type(codec.space), options)
        assert parts.space == codec.space, f"{where}: fitted in two chunks the space is {parts.space}"
        assert _distance(parts.encode(items), codes) <= 1e-4, f"{where}: fitted in two chunks the codes are others"


def _check_examples(codec: Codec[Any], items: Any, codes: Tensor, alone: bool, where: str) -> None:
    space = codec.space
    examples, owners = codec.pack(items, alone)
    shape = (len(owners), *space.shape)
    assert examples.shape == shape, f"{where}: examples of shape {tuple(examples.shape)}, expected {shape}"
    assert examples.dtype == codes.dtype, f"{where}: examples of type {examples.dtype}, expected {codes.dtype}"
    assert owners.dtype == torch.int64, f"{where}: the items of examples are of type {owners.dtype}, expected int64"
    assert (owners.diff() >= 0).all(), f"{where}: the items of examples fall: {owners.tolist()}"
    assert ((owners >= 0) & (owners < len(items))).all(), f"{where}: examples of items that are not there"
    check_values(space, examples, where)
    if isinstance(space, TokenSequence):
        _check_coverage(space, examples, owners, codes, alone, where)


def _check_coverage(
    space: TokenSequence, examples: Tensor, owners: Tensor, codes: Tensor, alone: bool, where: str
) -> None:
    if alone:
        assert owners.unique().tolist() == list(range(len(codes))), f"{where}: an item has no example"
    wanted = [_item(space, code) for code in codes.tolist()]
    covered = [[False] * len(code) for code in wanted]
    for number, (example, owner) in enumerate(zip(examples.tolist(), owners.tolist(), strict=True)):
        parts = _parts(space, example)
        assert not alone or len(parts) == 1, f"{where}: example {number} holds {len(parts)} items"
        for item, part in enumerate(parts, start=owner):
            assert item < len(codes), f"{where}: example {number} holds items after the last"
            code = wanted[item]
            places = [at for at in range(len(code) - len(part) + 1) if code[at : at + len(part)] == part]
            assert places, f"{where}: example {number} holds what item {item} does not"
            for at in places:  # of equal stretches any may be the one that was packed
                covered[item][at : at + len(part)] = [True] * len(part)
    for item, marks in enumerate(covered):
        assert all(marks), f"{where}: token {marks.index(False)} of item {item} stands in no example"


def _parts(space: TokenSequence, example: list[int]) -> list[list[int]]:
    """Return the items, or stretches of one, that an example holds."""
    parts: list[list[int]] = []
    while example:
        part = _item(space, example)
        example = example[len(part) :]
        if part != [space.end] or not parts:
            parts.append(part)
    return parts


def _item(space: TokenSequence, code: list[int]) -> list[int]:
    """Return a code up to the first end, which belongs to it."""
    return code[: code.index(space.end) + 1] if space.end in code else code


def content(items: Any) -> Any:
    """Return what can be compared of items: plain Python where there is a way to it."""
    if isinstance(items, list):
        return [content(item) for item in items]
    for method in ("to_pylist", "tolist", "tobytes"):
        if hasattr(items, method):
            return getattr(items, method)()
    return items


def _distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"codes of shape {tuple(a.shape)}, expected {tuple(b.shape)}"
    return (a - b).abs().max().item() if a.numel() else 0.0


def _state(codec: Codec[Any]) -> tuple[str, dict[str, list[Any]]]:
    config, tensors = codec.state()
    return json.dumps(config, sort_keys=True), {name: value.tolist() for name, value in tensors.items()}
