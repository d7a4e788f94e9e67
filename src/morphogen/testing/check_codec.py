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

    Codes have the space's shape and its kind's type and range; decoding and encoding again gives the same codes; after
    save and load too; an item has the same code alone and in a batch; fitting in two chunks is fitting at once.
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
            assert torch.equal(alone, codes[index : index + 1]), (
                f"{where}: item {index} has another code alone than in a batch"
            )
        half = len(items) // 2
        if half:
            parts = codec_class.fit(iter([items[:half], items[half:]]), kind, options)
            assert parts.space == codec.space, f"{where}: fitted in two chunks the space is {parts.space}"
            assert _apart(parts.encode(items), codes) <= 1e-4, f"{where}: fitted in two chunks the codes are others"
        done.append(f"{where}: {codec.space}")
    return done


def _check_codes(codec: Codec[Any], codes: Tensor, count: int, where: str) -> None:
    expected = torch.int64 if isinstance(codec.space, Tokens) else torch.float32
    shape = (count, *codec.space.shape)
    assert codes.shape == shape, f"{where}: codes of shape {tuple(codes.shape)}, expected {shape}"
    assert codes.dtype == expected, f"{where}: codes of type {codes.dtype}, expected {expected}"
    if isinstance(codec.space, Continuous):
        assert codes.isfinite().all(), f"{where}: a code is not finite"
        return
    vocab = torch.as_tensor(codec.space.vocab)
    assert (codes >= 0).all(), f"{where}: a token below 0"
    assert (codes < vocab.reshape(codec.space.size if vocab.ndim else ())).all(), f"{where}: a token beyond the vocab"


def _apart(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"codes of shape {tuple(a.shape)}, expected {tuple(b.shape)}"
    return (a - b).abs().max().item() if a.numel() else 0.0


def _state(codec: Codec[Any]) -> tuple[str, dict[str, list[Any]]]:
    config, tensors = codec.state()
    return json.dumps(config, sort_keys=True), {name: value.tolist() for name, value in tensors.items()}
