"""The latents of a model: encode items, decode latents, reconstruct items, embed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..artifact import to_cpu
from ..core.errors import UserError
from ..core.model import EmbeddingModel, LatentModel
from ..core.noise import Noise
from ..latent_codec import decode_latents, encode_latents
from ..pipeline import Pipeline

__all__ = ["decode", "embeddings", "encode", "reconstruct"]


def encode(pipeline: Pipeline, items: Any) -> Tensor:
    """Return the latents of items, `(B, *latent.shape)`. Raises UserError where the family has no latents."""
    return encode_latents(pipeline.artifact, _encoded(pipeline, items))


def decode(pipeline: Pipeline, z: Tensor, *, condition: Mapping[str, Any] | None = None, seed: int = 0) -> Any:
    """Return the items of latents; what a decoder samples comes from the seed `seed + i` of item i.

    Raises UserError where the family has no latents.
    """
    noise, encoded = Noise.consecutive(seed, len(z)), pipeline.encode_conditions(condition or {}, len(z))
    x = decode_latents(pipeline.artifact, z, noise, encoded)
    return pipeline.codec.gather([pipeline.codec.decode(x, noise)])


def reconstruct(pipeline: Pipeline, items: Any, *, condition: Mapping[str, Any] | None = None, seed: int = 0) -> Any:
    """Return items encoded to latents and decoded again. Raises UserError where the family has no latents."""
    return decode(pipeline, encode(pipeline, items), condition=condition, seed=seed)


def embeddings(pipeline: Pipeline, items: Any) -> Tensor:
    """Return an embedding of each item, `(B, d)`: its latent where that is of numbers, else the model's embedding.

    Raises UserError where the family has neither.
    """
    artifact = pipeline.artifact
    if isinstance(artifact.model, LatentModel):
        z = encode(pipeline, items)
        if z.is_floating_point():
            return z.flatten(1)
    if not isinstance(artifact.model, EmbeddingModel):
        raise UserError(f"the family '{pipeline.family}' makes no embeddings of items; choose another extractor")
    with torch.no_grad(), artifact.autocast():
        parts = [to_cpu(artifact.model.embeddings(batch)) for batch in artifact.batches(_encoded(pipeline, items))]
    return torch.cat(parts)


def _encoded(pipeline: Pipeline, items: Any) -> Tensor:
    return pipeline.codec.encode(pipeline.codec.align(items))
