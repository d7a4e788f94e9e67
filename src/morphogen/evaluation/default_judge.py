"""The judge of modalities that declare none: features are the encoded items, whatever they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.extractor import Extractor
from ..core.judge import Advance, Judge
from ..core.modality import Modality

_WIDTH = 256  # features


@final
class EncodedItems(Extractor[Any]):
    """Encoded items as features: numbers by a fixed random projection, tokens by a signed hash of their positions."""

    def __init__(self, codec: Codec[Any], modality: str) -> None:
        self.codec, self.modality = codec, modality
        config, tensors = codec.state()
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name, value in sorted(tensors.items()):
            digest.update(name.encode() + value.contiguous().numpy().tobytes())
        self.name = f"encoded-{digest.hexdigest()[:8]}"

    def features(self, items: Any) -> Tensor:
        x = self.codec.encode(items).flatten(1)
        if x.is_floating_point():
            return x.float() if x.shape[1] <= _WIDTH else x.float() @ _projection(x.shape[1])
        mixed = (x * 0x9E3779B1 + torch.arange(x.shape[1]) * 0x85EBCA77) * 0xC2B2AE35 >> 13
        signs = 1.0 - 2.0 * (mixed >> 20 & 1)
        space = self.codec.space
        # How much padding there is depends on the other items of the batch.
        used = x != space.padding if space.variable_length else torch.ones_like(x, dtype=torch.bool)
        sums = torch.zeros(len(x), _WIDTH).scatter_add_(1, mixed % _WIDTH, signs * used)
        return sums / used.sum(1, keepdim=True).clamp(min=1).sqrt()


def _projection(dimensions: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(dimensions, _WIDTH, generator=random) / _WIDTH**0.5


@final
class DefaultJudge(Judge[Any]):
    """Compares encoded items; there is no baseline, and nothing of the modality's own."""

    def __init__(self, modality: str) -> None:
        self.modality = modality

    def fit_extractor(
        self,
        blocks: Iterable[Any],
        labels: Sequence[str] | None,
        *,
        codec: Codec[Any],
        seed: int,
        advance: Advance | None = None,
    ) -> EncodedItems:
        return EncodedItems(codec, self.modality)

    def restore_extractor(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> EncodedItems:
        raise ValueError(f"the modality '{self.modality}' declares no extractor")

    def baseline(self, items: Any, seed: int) -> None:
        return None


def judge_of(modality: Modality[Any]) -> Judge[Any]:
    """Return the modality's judge, or the default one."""
    return modality.judge() or DefaultJudge(modality.name)
